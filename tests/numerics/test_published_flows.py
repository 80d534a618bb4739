"""Flows with known answers: modes of a diagonal model, the fast-slow flow of two time scales, hinge dynamics in the mean field."""

import math

import pytest
import torch
from torch import Tensor

from derivations.formula_model import FormulaProblem
from derivations.problem import Problem
from numerics.compile import compile_system
from numerics.descent import descend
from numerics.events import Event
from numerics.flow import Status, integrate

F64 = torch.float64


# --------------------------------------------------------------------- modes learned one after the other

DIAGONAL = FormulaProblem.of(
    "u1*v1*x1 + u2*v2*x2 + u3*v3*x3",
    ["u1", "v1", "u2", "v2", "u3", "v3"],
    ["x1", "x2", "x3"],
    reduction="sum",
)


@pytest.mark.parametrize(
    ("delta", "half_times"),
    [
        (1e-3, (2.4856870855, 4.7403249998, 13.1223613774)),
        (1e-6, (4.7882722341, 9.3454954080, 26.9378739354)),
    ],
)
def test_modes_of_a_diagonal_network_are_half_learned_at_the_logistic_times(
    delta: float, half_times: tuple[float, ...]
) -> None:
    """u = v = delta: a = u v obeys a' = 2 a (y - a), so a = y/2 at log((y - delta^2)/delta^2)/(2 y)."""
    targets = torch.tensor([3.0, 1.5, 0.5], dtype=F64)
    system = compile_system(DIAGONAL, torch.eye(3, dtype=F64), targets, ())
    half = Event("half", lambda theta: theta[:, 0::2] * theta[:, 1::2] - targets / 2)
    result = integrate(
        system.flow,
        torch.full((1, 6), delta, dtype=F64),
        30.0,
        jacobian=system.flow_jacobian,
        rtol=1e-10,
        atol=1e-16,
        energy=system.value,
        events=[half],
    )
    assert [c.channel for c in result.crossings] == [0, 1, 2]
    assert [c.time for c in result.crossings] == pytest.approx(half_times, abs=2e-9)
    formula = [math.log((y - delta**2) / delta**2) / (2 * y) for y in (3.0, 1.5, 0.5)]
    assert formula == pytest.approx(half_times, abs=1e-9)
    assert result.energy_increases is not None
    assert result.energy_increases.tolist() == [0]


# --------------------------------------------------------------------- Berthier, Montanari, Zhou, arXiv:2303.00055
# Equations re-derived and solved to high accuracy elsewhere; the second layer is faster by 1/eps.


def polynomial(coefficients: Tensor, s: Tensor, shift: int) -> Tensor:
    """sum_k c_k s^k (shift 0) or its derivative (shift 1)."""
    total = torch.zeros_like(s)
    for k in range(len(coefficients) - 1, shift - 1, -1):
        total = total * s + coefficients[k] * (k if shift else 1)
    return total


def exact_rate(theta: Tensor) -> Tensor:
    """The closed equations in (a, s, r12, r13, r23) for three neurons, eps = 1/10."""
    sigma, phi = torch.tensor([0.2, 1, 2**-0.5, 0], dtype=F64), torch.tensor([0.1, 1, 0.8, 0.3], dtype=F64)
    v, u = sigma * phi, sigma**2
    a, s = theta[:, :3], theta[:, 3:6]
    r = torch.ones(len(theta), 3, 3, dtype=F64)
    for column, (i, j) in enumerate(((0, 1), (0, 2), (1, 2))):
        r[:, i, j] = r[:, j, i] = theta[:, 6 + column]
    slope = polynomial(v, s, 1)
    pull = polynomial(u, r, 1)
    da = (polynomial(v, s, 0) - (a[:, None] * polynomial(u, r, 0)).mean(2)) / 0.1
    ds = a * ((1 - s**2) * slope - (a[:, None] * pull * (s[:, None] - r * s[:, :, None])).mean(2))

    def half(i: int, j: int) -> Tensor:
        push = (a * pull[:, i] * (r[:, j] - r[:, i, j, None] * r[:, i])).mean(1)
        return a[:, i] * (slope[:, i] * (s[:, j] - r[:, i, j] * s[:, i]) - push)

    dr = [half(i, j) + half(j, i) for i, j in ((0, 1), (0, 2), (1, 2))]
    return torch.cat([da, ds, torch.stack(dr, 1)], 1)


def test_three_neurons_in_the_closed_equations_reach_the_known_state() -> None:
    start = torch.tensor([[1.0, -0.5, 0.3, 0.1, -0.2, 0.05, 0.2, -0.1, 0.3]], dtype=F64)
    rate = exact_rate(start)[0]
    assert rate[:3].tolist() == pytest.approx((-3.388431457505, -0.258725830020, -0.000857864376), abs=1e-11)
    assert rate[3:6].tolist() == pytest.approx((1.05260571414, -0.33623839841, 0.292753136342), abs=1e-10)
    assert rate[6:].tolist() == pytest.approx((0.045749033201, 0.000820134188, -0.045103591642), abs=1e-11)
    result = integrate(exact_rate, start, 1.0, method="dopri5", rtol=1e-11, atol=1e-13)
    known = (
        *(2.370860785726, -0.519274576192, 0.638318207778),
        *(0.96113072868, -0.335403465339, 0.410444684276),
        *(-0.209797985499, 0.280051775345, 0.203430288825),
    )
    assert result.final_state[0].tolist() == pytest.approx(known, abs=1e-9)


def mean_field(eps: float) -> tuple:  # type: ignore[type-arg]
    """Two types a_0 = 1, -1 with sigma_k = phi_k = 1 for k = 1, 2; the residual r_1."""

    def residuals(theta: Tensor) -> tuple[Tensor, Tensor]:
        a, s = theta[:, :2], theta[:, 2:]
        return 1 - (a * s).mean(1, keepdim=True), 1 - (a * s**2).mean(1, keepdim=True)

    def rate(theta: Tensor) -> Tensor:
        a, s = theta[:, :2], theta[:, 2:]
        one, two = residuals(theta)
        return torch.cat([(s * one + s**2 * two) / eps, a * (1 - s**2) * (one + 2 * s * two)], 1)

    def jacobian(theta: Tensor) -> Tensor:
        a, s = theta[:, :2], theta[:, 2:]
        one, two = residuals(theta)
        d_one, d_two = -torch.cat([s, a], 1) / 2, -torch.cat([s**2, 2 * a * s], 1) / 2
        out = torch.zeros(len(theta), 4, 4, dtype=F64)
        out[:, :2] = s[:, :, None] * d_one[:, None] + s[:, :, None] ** 2 * d_two[:, None]
        speed = (a * (1 - s**2))[:, :, None]
        out[:, 2:] = speed * (d_one[:, None] + 2 * s[:, :, None] * d_two[:, None])
        for i in (0, 1):
            out[:, i, 2 + i] += (one + 2 * s * two)[:, i]
            push = (one + 2 * s * two)[:, i]
            out[:, 2 + i, i] += (1 - s[:, i] ** 2) * push
            out[:, 2 + i, 2 + i] += a[:, i] * (2 * (1 - s[:, i] ** 2) * two[:, 0] - 2 * s[:, i] * push)
        out[:, :2] /= eps
        return out

    half = [
        Event(f"r{k + 1}", lambda theta, k=k: residuals(theta)[k][:, 0] - 0.5, direction=-1) for k in (0, 1)
    ]
    return rate, jacobian, half


@pytest.mark.parametrize(
    ("eps", "first", "second"),
    [(1e-4, None, 1.585124), (1e-6, 0.0041432768, 1.907678), (1e-8, 5.29792563e-4, 2.045844)],
)
def test_degree_one_and_two_are_learned_at_their_times(
    eps: float, first: float | None, second: float
) -> None:
    rate, jacobian, half = mean_field(eps)
    start = torch.tensor([[1.0, -1.0, 0.0, 0.0]], dtype=F64)
    result = integrate(
        rate, start, 4 * eps**0.25, jacobian=jacobian, rtol=1e-9, atol=1e-13, events=half, max_norm=1e8
    )
    assert result.status == (Status.FINISHED,)
    times = {c.event: c.time for c in reversed(result.crossings)}
    if first is not None:
        assert times["r1"] == pytest.approx(first, rel=1e-7)
    assert (times["r2"] - times["r1"]) / eps**0.25 == pytest.approx(second, rel=2e-6)
    assert ("rodas4" in result.method) == (eps < 1e-4)  # 1/eps is stiff


# --------------------------------------------------------------------- Pellegrini, Biroli, arXiv:2006.11209
# The single-node theory, solved by quadrature, for a finite paired network on Gaussian data with the linear hinge.


def paired_nodes(pairs: int, d: int, seed: int) -> tuple[Tensor, Tensor]:
    """Nodes (a, w), (-a, -w) with E a^2 = E w_1^2 = 1 and E a w = 0 exactly, which is all the theory needs."""
    generator = torch.Generator().manual_seed(seed)
    table = torch.randn(pairs, d + 1, generator=generator, dtype=F64)
    whitened, _ = torch.linalg.qr(table)
    whitened = whitened * math.sqrt(pairs)
    a, w = whitened[:, 0], whitened[:, 1:]
    return torch.cat([a, -a]), torch.cat([w, -w])


@pytest.mark.slow
def test_a_finite_network_follows_the_single_node_theory_of_the_hinge() -> None:
    d, n, pairs, step = 20, 20_000, 21, 0.1
    generator = torch.Generator().manual_seed(1)
    x = torch.randn(n // 2, d, generator=generator, dtype=F64)
    # The force is E|x_1|, whose sampling error would be 0.8 % of gamma: set to its exact value.
    x[:, 0] *= math.sqrt(2 / math.pi) / float(x[:, 0].abs().mean())
    x = torch.cat([x, -x])
    m = 2 * pairs
    a, w = paired_nodes(pairs, d, 2)
    # theta' = -M dL/dtheta: the mobility M as the rate of both blocks.
    problem = Problem.two_layer("relu", "hinge", scale="1/m", rate=(("a", integer(m)), ("w", integer(m))))
    system = compile_system(problem, x / math.sqrt(d), torch.sign(x[:, 0]), m)
    start = system.pack({"a": a, "w": w})[None]
    grid = torch.tensor([160, 320])
    result = descend(system, start, step, 320, save_at=grid)
    for state, gamma, unsatisfied in zip(
        result.states[:, 0], (1.322424029, 1.721539520), (0.798332340, 0.432957143), strict=True
    ):
        found = state[:m]
        # a(t) = a_0 cosh g + w_0 sinh g with orthogonal a_0, w_0 of mean square 1.
        assert math.asinh(float((found * w[:, 0]).mean())) == pytest.approx(gamma, abs=0.01)
        share = (torch.sign(x[:, 0]) * system.outputs(state) < 1).double().mean()
        assert float(share) == pytest.approx(unsatisfied, abs=0.015)


def integer(value: int):  # type: ignore[no-untyped-def]
    from sympy import Integer

    return Integer(value)
