"""Verification supports what is right, refutes what is broken, and says when it cannot tell."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest
import torch
from sympy import Integer, Rational

from derivations.activations import REGISTRY, Activation, Z
from derivations.claim import Claim, Relation, Status
from derivations.losses import Loss, loss
from derivations.problem import Problem
from numerics import steppers
from numerics.compile import CompiledSystem, compile_system
from workbench import flow_checks, verify
from workbench.verify import Verification, check_derivatives, check_integrators, oracle_for

X = [[-1.0], [-0.5], [0.0], [0.5], [1.0]]
Y = [-0.4, 0.1, 0.3, -0.2, 0.5]


def compiled(activation="tanh", loss="square", dtype=torch.float64, **options) -> CompiledSystem:
    problem = Problem.two_layer(activation, loss, input_bias=True, **options)
    return compile_system(problem, X, Y, 2, dtype=dtype)


def by_name(claims: list[Claim]) -> dict[str, Claim]:
    return {claim.claim: claim for claim in claims}


@pytest.fixture(scope="module")
def system():
    return compiled()


@pytest.fixture(scope="module")
def integrators():
    return by_name(check_integrators(compiled("quadratic"), seed=1))


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
def test_a_correct_derivation_is_supported(dtype):
    claims = by_name(check_derivatives(compiled(dtype=dtype), seed=3, points=4))
    assert list(claims) == ["outputs", "value", "gradient", "hessian", "hvp"]
    for claim in claims.values():
        assert claim.status is Status.SUPPORTED
        assert claim.residual <= claim.tolerance
        assert (claim.evidence["seed"], claim.evidence["points"], claim.evidence["finite_points"]) == (
            3,
            4,
            4,
        )


def test_a_deep_network_and_every_option_are_understood():
    options = {
        "scale": "1/m",
        "factor": "3/2",
        "weight_decay": "1/7",
        "reduction": "sum",
        "output_bias": True,
    }
    claims = check_derivatives(compiled("softplus", "logistic", **options))
    deep = compile_system(Problem.deep(3, "erf", "square"), X, Y, (2, 3))
    assert {claim.status for claim in [*claims, *check_derivatives(deep)]} == {Status.SUPPORTED}


@pytest.mark.parametrize("broken", ["outputs", "hvp", "gradient", "hessian", "value"])
def test_an_error_in_any_derivative_is_refuted_with_its_place(system, broken, monkeypatch):
    def spoil(result):
        result = result.clone()
        result[1].view(-1)[-1] *= 1 + 1e-9
        return result

    if broken in ("outputs", "hvp"):
        true = getattr(CompiledSystem, broken)
        monkeypatch.setattr(CompiledSystem, broken, lambda self, *a: spoil(true(self, *a)))
    else:
        true_all, place = (
            CompiledSystem.value_gradient_hessian,
            ["value", "gradient", "hessian"].index(broken),
        )

        def all_three(self, theta):
            return tuple(spoil(r) if p == place else r for p, r in enumerate(true_all(self, theta)))

        monkeypatch.setattr(CompiledSystem, "value_gradient_hessian", all_three)
    claims = by_name(check_derivatives(system))
    assert {name for name, claim in claims.items() if claim.status is Status.REFUTED} == {broken}
    claim = claims[broken]
    assert claim.residual > claim.tolerance
    assert claim.evidence["counterexample"]["point"] == 1
    assert claim.computed == pytest.approx(claim.expected * (1 + 1e-9), rel=1e-12)
    assert Verification(tuple(claims.values()), "broken").refuted


def test_a_wrong_derivative_rule_is_refuted(monkeypatch):
    wrong = Activation("softplus", REGISTRY["softplus"].expr, "s")  # equal formula: the oracle applies
    true = Activation.derivative
    factor = {1: Rational(10**9 + 1, 10**9)}
    monkeypatch.setattr(Activation, "derivative", lambda self, n=1: true(self, n) * factor.get(n, 1))
    claims = by_name(check_derivatives(compiled(wrong)))
    assert claims["value"].status is Status.SUPPORTED
    assert claims["gradient"].status is Status.REFUTED


def test_a_formula_is_checked_by_differences_and_taylor_slopes():
    claims = by_name(check_derivatives(compiled("z/(1 + z**2)", "log(1 + (f - y)**2)"), points=3))
    assert list(claims) == ["gradient", "hessian", "hvp", "taylor"]
    assert {claim.status for claim in claims.values()} == {Status.SUPPORTED}
    assert claims["taylor"].computed == pytest.approx({"value": 1, "gradient": 2, "hessian": 3}, abs=0.2)


@pytest.mark.parametrize(("order", "broken"), [(1, "gradient"), (2, "hessian")])
def test_a_wrong_rule_for_a_formula_is_refuted_by_both_tests(order, broken, monkeypatch):
    true = Activation.derivative
    monkeypatch.setattr(
        Activation, "derivative", lambda self, n=1: true(self, n) * (Rational(11, 10) if n == order else 1)
    )
    claims = by_name(check_derivatives(compiled("z/(2 + z**2)"), points=3))
    assert claims[broken].status is Status.REFUTED
    assert claims["taylor"].status is Status.REFUTED


def test_a_polynomial_of_low_degree_leaves_no_remainder():
    system = compile_system(Problem.two_layer("z + 1", "f - y", freeze=("w",)), [[0.0]], [0.0], 1)
    claim = by_name(check_derivatives(system, points=3))["taylor"]  # R = a is linear
    assert claim.status is Status.SUPPORTED
    assert set(claim.evidence["exact_at"]) == {"gradient", "hessian"}


def test_overflow_is_undecided_not_refuted():
    system = compile_system(Problem.two_layer("exp", "square"), [[1e4], [-1e4]], [0.0, 1.0], 2)
    assert {c.status for c in check_derivatives(system)} == {Status.UNDECIDED}
    claims = by_name(check_integrators(system))
    assert claims["descent"].status is Status.UNDECIDED
    assert "overflows" in claims["descent"].evidence["reason"]


def test_an_oracle_serves_only_the_registered_formula():
    assert oracle_for(compiled("tanh")) is not None
    assert oracle_for(compiled(Activation("tanh", Z**3))) is None  # a name is not enough
    assert oracle_for(compiled("tanh", Loss("square", loss("correlation").expr))) is None
    assert oracle_for(compiled("z**2")) is None
    hinge = oracle_for(compiled("tanh", loss("linear_hinge", margin=Rational(5, 2))))
    assert hinge is not None
    assert hinge.margin == 2.5


def test_the_flow_is_checked(integrators):
    assert list(integrators) == ["order of dopri5", "order of rodas4", "descent", "conserved quantity"]
    assert {claim.status for claim in integrators.values()} == {Status.SUPPORTED}
    for method, order in (("dopri5", 5), ("rodas4", 4)):
        claim = integrators[f"order of {method}"]
        assert claim.relation is Relation.AT_LEAST
        assert claim.computed >= order - claim.tolerance
        assert all(
            a > b for a, b in zip(claim.evidence["errors"], claim.evidence["errors"][1:], strict=False)
        )
    conserved = integrators["conserved quantity"]
    assert conserved.evidence["largest change of the first term"] > 1e3 * conserved.residual


@pytest.mark.parametrize(
    ("options", "present"),
    [
        ({"activation": "relu"}, True),
        ({"activation": "relu", "rate": (("w", Integer(3)),)}, True),
        ({"activation": "relu", "weight_decay": 1}, False),
        ({"activation": "relu", "freeze": ("a",)}, False),
    ],
)
def test_conservation_is_claimed_only_where_it_holds(options, present):
    claims = by_name(check_integrators(compiled(**options), seed=2))
    assert ("conserved quantity" in claims) == present
    if present:
        assert claims["conserved quantity"].status is Status.SUPPORTED


def test_a_quantity_that_is_not_conserved_is_refuted(monkeypatch):
    true = flow_checks._squares
    monkeypatch.setattr(flow_checks, "_squares", lambda s, t, degree, rates: true(s, t, 2 * degree, rates))
    assert by_name(check_integrators(compiled("relu")))["conserved quantity"].status is Status.REFUTED


def test_a_flow_uphill_is_refuted(monkeypatch):
    monkeypatch.setattr(CompiledSystem, "flow", lambda self, theta: self.rates * self.gradient(theta))
    monkeypatch.setattr(
        CompiledSystem, "flow_jacobian", lambda self, t: self.rates[:, None] * self.hessian(t)
    )
    assert by_name(check_integrators(compiled("tanh")))["descent"].status is Status.REFUTED


def test_an_integrator_of_lower_order_is_refuted(monkeypatch):
    def euler(rate, y, f, jacobian, h):
        trial = method.step(rate, y, f, jacobian, h)
        return replace(trial, state=y + h[:, None] * f, rate=None)

    method = steppers.METHODS["dopri5"]
    spoiled = replace(method, step=euler)
    monkeypatch.setitem(steppers.METHODS, "dopri5", spoiled)
    assert flow_checks._linear_order("dopri5", {}).status is Status.REFUTED


def test_the_json_and_the_table(system):
    verification = Verification(tuple(check_derivatives(system, points=2)), "five-points")
    content = json.loads(json.dumps(verification.to_dict(), allow_nan=False))
    assert (content["schema"], content["study"]) == (1, "five-points")
    assert set(content["claims"][0]) == {
        "name", "claim", "statement", "source", "relation", "status",
        "computed", "expected", "residual", "tolerance", "evidence",
    }  # fmt: skip
    assert not verification.refuted
    page = verification._repr_html_()
    assert page.count("<tr>") == 1 + len(verification.claims)
    hostile = Verification((Claim("a<b>", "c", "d & e"),), "s")._repr_html_()
    assert "a&lt;b&gt;" in hostile
    assert "d &amp; e" in hostile


def test_numbers_that_json_cannot_hold_become_words():
    assert verify.json_number(float("inf")) == "inf"
    assert verify.json_number(0.5) == 0.5


def test_refusals(system):
    with pytest.raises(ValueError, match="points must be at least 1"):
        check_derivatives(system, points=0)
    with pytest.raises(ValueError, match="starts must be at least 1"):
        check_integrators(system, starts=0)
    with pytest.raises(ValueError, match="orders are measured in float64"):
        check_integrators(compiled(dtype=torch.float32))
