"""Generated source: what is computed once, names, constants, contraction order, refusals."""

from __future__ import annotations

import itertools
import math
import re

import pytest
import torch
from sympy import Integer, Max, Min, Piecewise, Rational, Symbol, cos, exp, log, pi, sqrt, tanh

from derivations.functions import relu, sech2, sigmoid, softplus, step
from derivations.generic import GenericFunction
from derivations.indexed import Delta, Dim, Index, Tensor, isum
from derivations.problem import Problem
from derivations.system import Declaration, System
from numerics.contraction import contraction_order
from numerics.elementwise import ELEMENTWISE
from numerics.emit_nodes import Plan
from numerics.lowering import lower

n, m = Dim("n"), Dim("m")
i, j, k, q, r = Index("i", n), Index("j", n), Index("k", m), Index("q", m), Index("r", m)
A, W, X = Tensor("A", (m,)), Tensor("W", (m, m)), Tensor("X", (n, m))
B, N, M = 2, 4, 3


def draw(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


DATA = {"A": draw(B, M), "W": draw(B, M, M, seed=1), "X": draw(N, M, seed=2)}
SYSTEM = System((Declaration(A, (k,)), Declaration(W, (k, q)), Declaration(X, (i, k))))


SIZES = {"n": N, "m": M}


def execute(lowered, data, sizes, block=3):
    """Execute the generated source on tensors laid out as the plan wants them: what numerics.compile does."""
    namespace = {"torch": torch, "math": math}
    exec(lowered.source, namespace)
    numbers = [sizes[s] for s in lowered.sizes]
    like = next(iter(data.values()))
    prepared = namespace["made_data"](*[data[name] for name in lowered.data], *numbers, like)
    last = [block] if lowered.plan.blocked else []
    return namespace["made"](*[data[name] for name in lowered.arguments], *prepared, *numbers, *last)


def run(outputs, system=SYSTEM, batched=(A, W), data=DATA, functions=None, sizes=SIZES, plan=None):
    """Lower and execute; points come first in data and results, whatever the plan."""
    plan = plan or Plan("first")
    lowered = lower("made", system, outputs, batched, functions or {}, plan)
    names = {t.name for t in batched}
    if plan.layout == "last":
        turned = {u: v.movedim(0, -1).contiguous() if u in names else v for u, v in data.items()}
        return lowered, [u.movedim(-1, 0) for u in execute(lowered, turned, sizes)]
    if plan.layout == "single":
        rows = [{u: v[row] if u in names else v for u, v in data.items()} for row in range(B)]
        return lowered, [
            torch.stack(r) for r in zip(*[execute(lowered, row, sizes) for row in rows], strict=True)
        ]
    return lowered, execute(lowered, data, sizes)


def one(expr, labels, **options):
    lowered, (result,) = run({"out": (expr, labels)}, **options)
    return lowered, result


CASES = {
    "matrix product": (isum(W[k, q] * X[i, q], q), (i, k), lambda a, w, x: x @ w.T),
    "transposed": (isum(W[q, k] * X[i, q], q), (k, i), lambda a, w, x: (x @ w).T),
    "quadratic form": (isum(A[k] * W[k, q] * A[q], k, q), (), lambda a, w, x: a @ w @ a),
    "trace of a product": (isum(W[k, q] * W[q, k], k, q), (), lambda a, w, x: torch.trace(w @ w)),
    "outer": (A[k] * A[q], (q, k), lambda a, w, x: torch.outer(a, a)),
    "delta": (Delta(k, q) * A[k] + W[k, q], (k, q), lambda a, w, x: torch.diag(a) + w),
    "delta alone": (Delta(k, q), (k, q), lambda a, w, x: torch.eye(M, dtype=torch.float64)),
    "delta beside a matrix product and an array": (
        isum(W[k, r] * X[i, r] * X[i, q], r, i) + 2 * W[k, q] - 3 * Delta(k, q) * A[k],
        (k, q),
        lambda a, w, x: w @ x.T @ x + 2 * w - 3 * torch.diag(a),
    ),
    "delta beside a square": (
        1 - A[k] ** 2 * A[q] ** 2 + Delta(k, q) * A[k],
        (q, k),
        lambda a, w, x: 1 - torch.outer(a, a) ** 2 + torch.diag(a),
    ),
    "an array and its transpose": (W[k, q] - 2 * W[q, k], (k, q), lambda a, w, x: w - 2 * w.T),
    "a product with the transpose": (
        tanh(W[k, q]) * tanh(W[q, k]),
        (k, q),
        lambda a, w, x: w.tanh() * w.T.tanh(),
    ),
    "constants of inner sums": (
        isum((2 - 2 * A[k] ** 2) * (3 * X[i, k]), k) / n,
        (i,),
        lambda a, w, x: 6 * x @ (1 - a**2) / N,
    ),
    "one operand twice": (isum(W[k, q] * W[r, q], q), (r, k), lambda a, w, x: w @ w.T),
    "data only": (isum(X[i, k] ** 2, i), (k,), lambda a, w, x: (x**2).sum(0)),
    "broadcast constant": (Integer(3), (k,), lambda a, w, x: torch.full((M,), 3.0, dtype=torch.float64)),
    "sizes": (A[k] / m + isum(Integer(1), i), (k,), lambda a, w, x: a / M + N),
    "negative terms": (-A[k] - 2 * A[k] ** 2, (k,), lambda a, w, x: -a - 2 * a**2),
    "only negative": (-A[k] - exp(A[k]), (k,), lambda a, w, x: -a - torch.exp(a)),
    "powers": (
        (1 + A[k] ** 2) ** Rational(-3, 2) + sqrt(1 + A[k] ** 2) + 1 / (2 + A[k] ** 2) + (A[k] ** 2) ** 3,
        (k,),
        lambda a, w, x: (1 + a**2) ** -1.5 + (1 + a**2).sqrt() + 1 / (2 + a**2) + a**6,
    ),
    "power of a base": (
        Integer(2) ** A[k] + (1 + A[k] ** 2) ** A[k],
        (k,),
        lambda a, w, x: 2**a + (1 + a**2) ** a,
    ),
    "constants": (pi * A[k] + sqrt(2) + Rational(1, 3), (k,), lambda a, w, x: torch.pi * a + 2**0.5 + 1 / 3),
    "largest": (Max(A[k], 0, Rational(1, 3)), (k,), lambda a, w, x: a.clamp(min=1 / 3)),
    "smallest": (Min(A[k], A[q]), (k, q), lambda a, w, x: torch.minimum(a[:, None], a[None, :])),
    "step": (step(A[k], Rational(1, 3)), (k,), lambda a, w, x: (a > 0).double()),
    "sum of a product of sums": (
        isum((A[k] + X[i, k]) * (A[k] - X[i, k]), k),
        (i,),
        lambda a, w, x: (a**2 - x**2).sum(1),
    ),
    "function of a sum": (cos(isum(A[k] * X[i, k], k)), (i,), lambda a, w, x: torch.cos(x @ a)),
    "sum of functions": (isum(tanh(W[k, q]) * A[q], q), (k,), lambda a, w, x: torch.tanh(w) @ a),
}


PLANS = {
    "one point": Plan("single"),
    "one point, many samples": Plan("single", many=True),
    "one point in blocks": Plan("single", many=True, blocked=True),
    "one point, nothing overwritten": Plan("single", in_place=False),
    "points first": Plan("first", many=True),
    "points first, nothing overwritten": Plan("first", in_place=False),
    "points last": Plan("last"),
    "points last, nothing overwritten": Plan("last", in_place=False),
}


@pytest.mark.parametrize("plan", PLANS.values(), ids=PLANS)
@pytest.mark.parametrize("name", CASES)
def test_values_and_shapes(name, plan):
    expr, labels, by_hand = CASES[name]
    _, result = one(expr, labels, plan=plan)
    wanted = torch.stack([by_hand(DATA["A"][row], DATA["W"][row], DATA["X"]) for row in range(B)])
    torch.testing.assert_close(result, wanted, rtol=1e-13, atol=1e-13)


#: Functions of a correlation, defined from -1 to 1.
OF_A_CORRELATION = {"asin", "relu_mean", "relu_mean_slope", "relu_mean_curve"}


@pytest.mark.parametrize("function", [f for f in ELEMENTWISE if f is not log], ids=lambda f: f.__name__)
def test_every_elementwise_function_equals_its_exact_value(function):
    size = Rational(1, 8) if function.__name__ in OF_A_CORRELATION else Rational(1)
    _, result = one(function(size * A[k]), (k,))
    for found, drawn in zip(result.flatten().tolist(), DATA["A"].flatten().tolist(), strict=True):
        argument = size * Rational(drawn)
        assert abs(argument) < 1 or size == 1
        assert found == pytest.approx(float(function(argument).doit().evalf(30)), rel=1e-14)


def test_the_logarithm():
    _, result = one(log(1 + A[k] ** 2), (k,))
    torch.testing.assert_close(result, torch.log(1 + DATA["A"] ** 2))


@pytest.mark.parametrize(
    ("expr", "arguments", "expected"),
    [
        (softplus(A[k]), (-800.0, 0.0, 800.0), (0.0, 0.6931471805599453, 800.0)),
        (sigmoid(A[k]), (-800.0, 0.0, 800.0), (0.0, 0.5, 1.0)),
        (sech2(A[k]), (-800.0, 0.0, 20.0), (0.0, 1.0, 1.6993417021166355e-17)),
        (
            softplus(A[k]),
            (-40.0, 21.0, 30.0),
            (4.248354255291589e-18, 21.000000000758256, 30.000000000000092),
        ),
        (relu(A[k]), (-1.0, 0.0, 2.0), (0.0, 0.0, 2.0)),
        (step(A[k], Rational(1, 3)), (-1.0, 0.0, 2.0), (0.0, 1 / 3, 1.0)),
    ],
)
def test_stable_forms_at_extreme_arguments(expr, arguments, expected):
    _, result = one(expr, (k,), data={"A": torch.tensor([arguments], dtype=torch.float64)})
    assert result[0].tolist() == pytest.approx(expected, rel=1e-14, abs=0)
    assert result.dtype == torch.float64


def test_float32_stays_float32():
    data = {name: block.float() for name, block in DATA.items()}
    for name, (expr, labels, _) in CASES.items():
        _, result = one(expr, labels, data=data)
        assert result.dtype == torch.float32, name


def test_an_activation_is_evaluated_once_however_it_is_indexed():
    lowered, _ = run(
        {"a": (tanh(W[k, q]), (k, q)), "b": (tanh(W[q, k]), (k, q)), "c": (isum(tanh(W[q, k]), q), (k,))}
    )
    assert lowered.source.count("torch.tanh") == 1


def test_the_gradient_of_a_network_evaluates_tanh_once():
    problem = Problem.two_layer("tanh", "square", input_bias=True)
    outputs = {
        name: (problem.gradient[name][problem.block(name).indices], problem.block(name).indices)
        for name in "awb"
    }
    source = lower("gradient", problem.derived, outputs, problem.parameters, problem.functions).source
    assert len(re.findall(r"\.tanh_\(|torch\.tanh\(", source)) == 1
    assert "eye" not in source


@pytest.mark.parametrize("name", ["lambda", "torch", "B", "dtype", "t0", "t12", "n", "m", "x'", "class"])
def test_names_that_python_or_the_source_use_themselves(name):
    tensor = Tensor(name, (m,))
    system = System((Declaration(tensor, (k,)),))
    _, result = one(
        2 * tensor[k] / n,
        (k,),
        system=system,
        batched=(tensor,),
        data={name: DATA["A"]},
        sizes={"n": 4, "m": M},
    )
    torch.testing.assert_close(result, DATA["A"] / 2)


def test_a_definition_named_like_a_leaf_of_another_shape():
    scalar = Tensor("A", ())
    system = SYSTEM.define(scalar, (), isum(A[k] ** 2, k))
    _, result = one(scalar() * A[k], (k,), system=system)
    torch.testing.assert_close(result, DATA["A"] * DATA["A"].square().sum(1, keepdim=True))


def test_sizes_become_arguments():
    lowered, result = one(Symbol("s") * A[k] + n, (k,), sizes={"s": 2.0, "n": 7})
    assert set(lowered.sizes) == {"s", "n"}
    torch.testing.assert_close(result, 2 * DATA["A"] + 7)


@pytest.mark.parametrize(
    ("expr", "labels", "message"),
    [
        (W[k, k], (k,), "repeated or constant index"),
        (W[k, 1], (k,), "repeated or constant index"),
        (Delta(k, 1) * A[k], (k,), "constant index"),
        (Piecewise((A[k], A[k] > 1), (0, True)), (k,), "Piecewise has no PyTorch form"),
        (GenericFunction("sigma", (0,), A[k]), (k,), "GenericFunction has no PyTorch form"),
    ],
)
def test_what_cannot_be_lowered_is_refused_by_name(expr, labels, message):
    with pytest.raises(NotImplementedError, match=message):
        one(expr, labels)


def cost(order, factors, keep, size):
    """Multiplications of a contraction tree, counted directly."""
    groups, total = [set(labels) for labels in factors], 0
    for left, right in order:
        first, second = groups[left], groups[right]
        rest = [g for p, g in enumerate(groups) if p not in (left, right)]
        work = 1
        for label in first | second:
            work *= size[label]
        total += work
        groups = [*rest, (first | second) & set(keep).union(*rest)]
    assert len(groups) == 1
    return total


@pytest.mark.parametrize("seed", range(6))
def test_the_contraction_order_is_the_cheapest(seed):
    generator = torch.Generator().manual_seed(seed)
    size = dict(zip("abcd", torch.randint(2, 50, (4,), generator=generator).tolist(), strict=True))
    factors = []
    for _ in range(4):
        mask = torch.rand(4, generator=generator) < 0.6
        factors.append({label for label, used in zip("abcd", mask.tolist(), strict=True) if used} or {"a"})
    keep = frozenset("a") & frozenset().union(*factors)

    def trees(count):
        if count == 1:
            yield []
            return
        for pair in itertools.combinations(range(count), 2):
            for rest in trees(count - 1):
                yield [pair, *rest]

    cheapest = min(cost(tree, factors, keep, size) for tree in trees(4))

    def price(left, right, first, second, out):
        return math.prod(size[label] for label in first | second)

    found = contraction_order([frozenset(f) for f in factors], keep, price)
    assert cost(found, factors, keep, size) == cheapest


def test_data_are_prepared_once_and_never_overwritten():
    expr = isum(X[i, k] ** 2 * tanh(A[k]) * X[i, q], i) + exp(isum(X[i, k] * X[i, q], i))
    lowered = lower("made", SYSTEM, {"out": (expr, (k, q))}, (A, W), {}, Plan("single"))
    main = lowered.source.partition("def made(")[2]
    assert "X" not in re.findall(r"\w+", main.partition("\n")[2])
    namespace = {"torch": torch, "math": math}
    exec(lowered.source, namespace)
    numbers = [SIZES[s] for s in lowered.sizes]
    kept = namespace["made_data"](DATA["X"], *numbers, DATA["X"])
    copies = [u.clone() for u in kept]
    a = DATA["A"][0]
    for _ in range(2):
        (found,) = namespace["made"](a, DATA["X"], *kept, *numbers)
        x = DATA["X"]
        torch.testing.assert_close(found, (x**2 * a.tanh()).T @ x + (x.T @ x).exp(), rtol=1e-13, atol=1e-13)
    assert all(torch.equal(u, v) for u, v in zip(kept, copies, strict=True))


def test_a_sweep_needs_sums_over_samples_after_it_only():
    one_sweep = lower(
        "made",
        SYSTEM,
        {"out": (isum(tanh(A[k] * X[i, k]), i), (k,))},
        (A, W),
        {},
        PLANS["one point in blocks"],
    )
    assert one_sweep.plan.blocked
    assert "for start in range(0, n, block):" in one_sweep.source
    centred = isum((X[i, k] * A[k] - isum(X[j, k] * A[k], j)) ** 2, i)
    two_sweeps = lower("made", SYSTEM, {"out": (centred, (k,))}, (A, W), {}, PLANS["one point in blocks"])
    assert not two_sweeps.plan.blocked
    _, result = one(centred, (k,), plan=PLANS["one point in blocks"])
    wanted = [((DATA["X"] * a - (DATA["X"] * a).sum(0)) ** 2).sum(0) for a in DATA["A"]]
    torch.testing.assert_close(result, torch.stack(wanted), rtol=1e-13, atol=1e-13)
