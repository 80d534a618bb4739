"""The integrators against rooted-tree order conditions, closed forms, mpmath and published values."""

import dataclasses
import math
from collections.abc import Callable, Iterator
from decimal import Decimal, localcontext
from fractions import Fraction
from typing import NamedTuple

import mpmath
import numpy as np
import pytest
import torch
from torch import Tensor

from numerics import steppers
from numerics.controller import Controller, error_ratio
from numerics.flow import FlowError, FlowResult, Status, integrate, measured_order
from numerics.steppers import METHODS, Trial, evaluate_dense
from numerics.tableaux import DOP853, DORMAND_PRINCE, RODAS4
from numerics.tolerances import MIN_HALVINGS, SLOPE_MARGIN, same_formula

F64 = torch.float64
# Global error over the tolerance of a step: the problems are contractive or short; 0.03 to 10 was seen.
GLOBAL_OVER_LOCAL = 20.0
# The weight polynomials of DOP853 have coefficients up to some hundreds, which cancel: 1.4e-13 was seen at states of size 1.
DENSE_ROUNDING = 1e-12
ALL_METHODS = pytest.mark.parametrize("method", ["dopri5", "dop853", "rodas4"])


def column(*values: float, dtype: torch.dtype = F64) -> Tensor:
    return torch.tensor(values, dtype=dtype)[:, None]


# --------------------------------------------------------------------- problems with a closed form


class Problem(NamedTuple):
    rate: Callable[[Tensor], Tensor]
    jacobian: Callable[[Tensor], Tensor]
    start: Tensor
    exact: Callable[[float], Tensor]
    until: float


def logistic() -> Problem:
    start = column(0.1, 0.3, 0.6)

    def exact(t: float) -> Tensor:
        grown = start * math.exp(t)
        return grown / (1 - start + grown)

    return Problem(lambda y: y * (1 - y), lambda y: (1 - 2 * y)[:, :, None], start, exact, 2.0)


def linear(matrix: Tensor, start: Tensor, until: float) -> Problem:
    """Rate theta @ matrix^T, solved through the eigenvalues in complex arithmetic."""
    values, vectors = torch.linalg.eig(matrix)

    def exact(t: float) -> Tensor:
        power = vectors @ torch.diag(torch.exp(values * t)) @ torch.linalg.inv(vectors)
        return start @ power.real.T

    return Problem(lambda y: y @ matrix.T, lambda y: matrix.expand(len(y), -1, -1), start, exact, until)


def spiral() -> Problem:
    return linear(
        torch.tensor([[-0.3, -2.0], [2.0, -0.3]], dtype=F64), torch.tensor([[1.0, 0.5]], dtype=F64), 2.0
    )


def quadratic() -> Problem:
    generator = torch.Generator().manual_seed(3)
    factor = torch.randn(4, 4, dtype=F64, generator=generator)
    hessian = factor @ factor.T / 4
    return linear(-hessian, torch.randn(3, 4, dtype=F64, generator=generator), 1.0)


PROBLEMS = {"logistic": logistic, "spiral": spiral, "quadratic": quadratic}


def solve(problem: Problem, **options: object) -> FlowResult:
    options.setdefault("until", problem.until)
    return integrate(problem.rate, problem.start, jacobian=problem.jacobian, **options)  # type: ignore[arg-type]


# --------------------------------------------------------------------- order conditions

Tree = tuple["Tree", ...]


def trees(order: int) -> Iterator[Tree]:
    """All rooted trees with `order` nodes; a tree is the sorted tuple of the trees at its root."""

    def forests(nodes: int, largest: Tree | None) -> Iterator[tuple[Tree, ...]]:
        if nodes == 0:
            yield ()
            return
        for size in range(1, nodes + 1):
            for tree in trees(size):
                if largest is None or (size, tree) <= (weight(largest), largest):
                    for rest in forests(nodes - size, tree):
                        yield (tree, *rest)

    yield from forests(order - 1, None)


def weight(tree: Tree) -> int:
    return 1 + sum(map(weight, tree))


def density(tree: Tree) -> int:
    return weight(tree) * math.prod(map(density, tree))


def stage_weights(tree: Tree, branching: np.ndarray, chain: np.ndarray) -> np.ndarray:
    """Elementary weights of the stages; a node with one child uses `chain` (other for Rosenbrock methods)."""
    matrix = chain if len(tree) == 1 else branching
    parts = [matrix @ stage_weights(child, branching, chain) for child in tree]
    return math.prod(parts, start=np.ones(len(branching), dtype=branching.dtype))


def square(rows: tuple[tuple[float | Fraction, ...], ...], dtype: type) -> np.ndarray:
    matrix = np.zeros((len(rows), len(rows)), dtype=dtype)
    for i, row in enumerate(rows):
        matrix[i, : len(row)] = row
    return matrix


def up_to(order: int) -> list[Tree]:
    return [tree for n in range(1, order + 1) for tree in trees(n)]


def test_number_of_rooted_trees_is_the_known_one() -> None:
    assert [len(list(trees(n))) for n in range(1, 9)] == [1, 1, 2, 4, 9, 20, 48, 115]


def test_dormand_prince_meets_its_order_conditions_exactly() -> None:
    a = square(DORMAND_PRINCE.a, object)
    b = a[-1]
    embedded = b - np.array(DORMAND_PRINCE.error, dtype=object)
    for tree in up_to(5):
        assert b @ stage_weights(tree, a, a) == Fraction(1, density(tree))
    for tree in up_to(4):
        assert embedded @ stage_weights(tree, a, a) == Fraction(1, density(tree))
    assert any(embedded @ stage_weights(t, a, a) != Fraction(1, density(t)) for t in trees(5))


@pytest.mark.parametrize("s", [Fraction(1, 7), Fraction(1, 2), Fraction(4, 5), Fraction(1)])
def test_dormand_prince_dense_output_meets_order_four_exactly(s: Fraction) -> None:
    a = square(DORMAND_PRINCE.a, object)
    b = np.array([sum(p * s ** (k + 1) for k, p in enumerate(row)) for row in DORMAND_PRINCE.dense])
    for tree in up_to(4):
        assert b @ stage_weights(tree, a, a) == s ** weight(tree) / density(tree)


# The published coefficients have 30 digits, the largest are about 500: 2e-26 was seen.
THIRTY_DIGITS = Decimal("1e-24")


def decimals(row: tuple[Fraction, ...], length: int) -> np.ndarray:
    values = [Decimal(u.numerator) / Decimal(u.denominator) for u in row]
    return np.array(values + [Decimal(0)] * (length - len(row)), dtype=object)


def weights_of_trees(order: int) -> list[tuple[Tree, np.ndarray]]:
    """Elementary weights of the stages of DOP853 and of its continuous extension, in 50 digits."""
    rows = (*DOP853.a, *DOP853.extra)
    a = np.array([decimals(row, len(rows)) for row in rows])
    one = np.full(len(rows), Decimal(1), dtype=object)

    def stages(tree: Tree) -> np.ndarray:
        return math.prod((a @ stages(child) for child in tree), start=one)

    return [(tree, stages(tree)) for tree in up_to(order)]


def test_dop853_meets_its_order_conditions_to_thirty_digits() -> None:
    with localcontext() as context:
        context.prec = 50
        count = len(DOP853.a) + len(DOP853.extra)
        b, first, second = (decimals(u, count) for u in (DOP853.a[-1], DOP853.error, DOP853.second_error))
        left = {5: Decimal(0), 3: Decimal(0)}
        for tree, stages in weights_of_trees(8):
            assert abs(b @ stages - 1 / Decimal(density(tree))) < THIRTY_DIGITS, tree
            for embedded, weights in ((5, first), (3, second)):
                if weight(tree) <= embedded:
                    assert abs(weights @ stages) < THIRTY_DIGITS, tree
                elif weight(tree) == embedded + 1:
                    left[embedded] = max(left[embedded], abs(weights @ stages))
        assert min(left.values()) > Decimal("1e-6")


@pytest.mark.parametrize("s", [Fraction(1, 7), Fraction(1, 2), Fraction(4, 5), Fraction(1)])
def test_dop853_dense_output_meets_order_seven_to_thirty_digits(s: Fraction) -> None:
    with localcontext() as context:
        context.prec = 50
        exact = tuple(sum((p * s ** (k + 1) for k, p in enumerate(row)), Fraction(0)) for row in DOP853.dense)
        b, at = decimals(exact, len(exact)), Decimal(s.numerator) / Decimal(s.denominator)
        for tree, stages in weights_of_trees(7):
            assert abs(b @ stages - at ** weight(tree) / density(tree)) < THIRTY_DIGITS, tree


@pytest.mark.parametrize(("table", "bound"), [(DORMAND_PRINCE, 3.31), (DOP853, 6.39)])
def test_stability_on_the_negative_axis_ends_just_beyond_the_stiff_ratio(table: object, bound: float) -> None:
    """The stability function is a polynomial in z with coefficients b A^k 1: |R| passes 1 near ``bound``."""
    rows = square(table.a, float)  # type: ignore[attr-defined]
    b, power, coefficients = rows[-1], np.ones(len(rows)), [1.0]
    for _ in range(len(rows)):
        coefficients.append(float(b @ power))
        power = rows @ power
    grid = -np.linspace(0.01, bound - 0.02, 500)
    assert np.abs(np.polyval(coefficients[::-1], grid)).max() <= 1
    assert abs(np.polyval(coefficients[::-1], -bound - 0.02)) > 1
    assert bound - 0.5 < table.stiff_ratio < bound  # type: ignore[attr-defined]


class Rosenbrock(NamedTuple):
    """RODAS4 in the textbook variables k = Gamma^-1 U, in which the order conditions are stated."""

    alpha: np.ndarray
    beta: np.ndarray
    to_k: np.ndarray  # weights of U times this are weights of k


def rosenbrock() -> Rosenbrock:
    a, c = square(RODAS4.a, float), square(RODAS4.c, float)
    gamma = np.linalg.inv(np.eye(len(a)) / RODAS4.gamma - c)
    return Rosenbrock(a @ gamma, a @ gamma + gamma, gamma)


def test_rodas_meets_its_order_conditions() -> None:
    alpha, beta, to_k = rosenbrock()
    solution = np.array([*RODAS4.a[4], 1.0, 1.0])
    embedded = np.array([*RODAS4.a[4], 1.0, 0.0])
    bound = same_formula(F64)
    for order, weights in ((4, solution @ to_k), (3, embedded @ to_k)):
        for tree in up_to(order):
            assert weights @ stage_weights(tree, alpha, beta) == pytest.approx(1 / density(tree), rel=bound)


@pytest.mark.parametrize("s", [0.15, 0.5, 0.8])
def test_rodas_dense_output_meets_order_three(s: float) -> None:
    alpha, beta, to_k = rosenbrock()
    solution = np.array([*RODAS4.a[4], 1.0, 1.0])
    d2, d3 = (np.array([*row, 0.0]) for row in RODAS4.dense)
    weights = (s * solution + s * (1 - s) * (d2 + s * d3)) @ to_k
    for tree in up_to(3):
        expected = s ** weight(tree) / density(tree)
        assert weights @ stage_weights(tree, alpha, beta) == pytest.approx(expected, rel=same_formula(F64))


def test_rodas_is_stiffly_accurate_and_damps_the_infinitely_stiff() -> None:
    alpha, beta, to_k = rosenbrock()
    b = np.array([*RODAS4.a[4], 1.0, 1.0]) @ to_k
    np.testing.assert_allclose(beta[-1], b, rtol=0, atol=same_formula(F64))
    assert 1 - b @ np.linalg.solve(beta, np.ones(len(b))) == pytest.approx(0, abs=same_formula(F64))
    assert alpha[-1].sum() == pytest.approx(1, rel=same_formula(F64))


# --------------------------------------------------------------------- measured order


@ALL_METHODS
@pytest.mark.parametrize("name", PROBLEMS)
def test_measured_order_is_the_nominal_one(name: str, method: str) -> None:
    problem = PROBLEMS[name]()
    counts = [16, 32, 64, 128] if method == "rodas4" else [8, 16, 32, 64]
    until = problem.until
    if method == "dop853":  # order 8 meets rounding soon, and shows over larger steps
        counts, until = ([6, 8, 10, 12, 16], 6.0) if name == "logistic" else ([4, 6, 8, 10, 12], 4.0)
    fit = measured_order(
        problem.rate,
        problem.start,
        until,
        problem.exact(until),
        method,
        counts,
        problem.jacobian,
    )
    assert sum(fit.usable) > MIN_HALVINGS, fit
    assert abs(fit.order - fit.nominal_order) <= SLOPE_MARGIN, fit
    assert fit.nominal_order == {"dopri5": 5, "dop853": 8, "rodas4": 4}[method]


@ALL_METHODS
def test_a_wrong_coefficient_lowers_the_measured_order(method: str, monkeypatch: pytest.MonkeyPatch) -> None:
    name = {"dopri5": "DORMAND_PRINCE", "dop853": "DOP853", "rodas4": "RODAS4"}[method]
    table = getattr(steppers, name)
    row = (*table.a[3][:-1], float(table.a[3][-1]) * 1.01)
    monkeypatch.setattr(steppers, name, dataclasses.replace(table, a=(*table.a[:3], row, *table.a[4:])))
    p = logistic()
    fit = measured_order(p.rate, p.start, p.until, p.exact(p.until), method, [8, 16, 32, 64], p.jacobian)
    assert fit.order < fit.nominal_order - 1, fit


def test_no_order_is_reported_from_errors_at_rounding_level() -> None:
    p = logistic()
    fit = measured_order(p.rate, p.start, 0.01, p.exact(0.01), "dopri5", [8, 16, 32])
    assert math.isnan(fit.order)
    assert fit.usable == (False, False, False)


@pytest.mark.parametrize(
    ("change", "found"),
    [
        ({"method": "euler"}, "unknown method 'euler'"),
        ({"method": "rodas4"}, "needs jacobian="),
        ({"step_counts": [8, 8, 16]}, r"increasing positive integers, got \(8, 8, 16\)"),
        ({"exact_final": torch.zeros(2, 1, dtype=F64)}, r"\(3, 1\) and \(2, 1\)"),
    ],
)
def test_measured_order_says_what_is_wrong(change: dict, found: str) -> None:
    p = logistic()
    arguments = {"exact_final": p.start, "method": "dopri5", "step_counts": [8, 16, 32], **change}
    with pytest.raises(ValueError, match=found):
        measured_order(p.rate, p.start, 1.0, **arguments)


# --------------------------------------------------------------------- accuracy of the adaptive runs


@ALL_METHODS
@pytest.mark.parametrize("rtol", [1e-4, 1e-7, 1e-10])
@pytest.mark.parametrize("name", PROBLEMS)
def test_error_follows_the_tolerance(name: str, rtol: float, method: str) -> None:
    problem = PROBLEMS[name]()
    result = solve(problem, method=method, rtol=rtol, atol=rtol)
    error = (result.final_state - problem.exact(problem.until)).abs().max()
    assert float(error) <= GLOBAL_OVER_LOCAL * rtol
    assert set(result.status) == {Status.FINISHED}
    assert result.final_time.tolist() == [problem.until] * len(problem.start)


@pytest.mark.parametrize("until", [1.0, 1e3, 1e6, 1e9])
def test_stiff_linear_flow_to_a_billion_in_hundreds_of_steps(until: float) -> None:
    values = torch.logspace(-6, 4, 11, dtype=F64)
    generator = torch.Generator().manual_seed(0)
    basis, _ = torch.linalg.qr(torch.randn(11, 11, dtype=F64, generator=generator))
    start = torch.randn(1, 11, dtype=F64, generator=generator)
    hessian = (basis * values) @ basis.T
    rtol = 1e-6
    result = integrate(
        lambda y: -y @ hessian,
        start,
        until,
        jacobian=lambda y: -hessian.expand(len(y), -1, -1),
        rtol=rtol,
        atol=rtol,
    )
    exact = (start @ basis * torch.exp(-values * until)) @ basis.T
    assert result.method == "rodas4"
    assert result.status == (Status.FINISHED,)
    assert int(result.steps + result.rejected) < 600
    assert float((result.final_state - exact).abs().max()) <= GLOBAL_OVER_LOCAL * rtol


def robertson(y: Tensor) -> Tensor:
    a, b, c = y.unbind(1)
    first = -0.04 * a + 1e4 * b * c
    third = 3e7 * b * b
    return torch.stack([first, -first - third, third], dim=1)


def robertson_jacobian(y: Tensor) -> Tensor:
    _, b, c = y.unbind(1)
    zero = torch.zeros_like(b)
    first = torch.stack([zero - 0.04, 1e4 * c, 1e4 * b], dim=1)
    third = torch.stack([zero, 6e7 * b, zero], dim=1)
    return torch.stack([first, -first - third, third], dim=1)


def test_robertson_reaches_the_published_values() -> None:
    """Test Set for IVP Solvers (Mazzia & Magherini), problem ROBER at t = 1e11."""
    reference = torch.tensor(
        [[0.2083340149701255e-07, 0.8333360770334713e-13, 0.9999999791665050]], dtype=F64
    )
    start = torch.tensor([[1.0, 0.0, 0.0]], dtype=F64)
    rtol = 1e-7
    result = integrate(robertson, start, 1e11, jacobian=robertson_jacobian, rtol=rtol, atol=1e-20)
    assert result.status == (Status.FINISHED,)
    relative = (result.final_state - reference).abs() / reference
    assert float(relative.max()) <= GLOBAL_OVER_LOCAL * rtol


@ALL_METHODS
def test_van_der_pol_agrees_with_mpmath(method: str) -> None:
    with mpmath.workdps(20):
        oracle = mpmath.odefun(lambda t, y: [y[1], (1 - y[0] ** 2) * y[1] - y[0]], 0, [2, 0])
        expected = torch.tensor([[float(v) for v in oracle(3)]], dtype=F64)

    def rate(y: Tensor) -> Tensor:
        return torch.stack([y[:, 1], (1 - y[:, 0] ** 2) * y[:, 1] - y[:, 0]], dim=1)

    def jacobian(y: Tensor) -> Tensor:
        x, v = y.unbind(1)
        one = torch.ones_like(x)
        return torch.stack([torch.stack([0 * x, one], 1), torch.stack([-2 * x * v - 1, 1 - x**2], 1)], dim=1)

    start = torch.tensor([[2.0, 0.0]], dtype=F64)
    result = integrate(rate, start, 3.0, jacobian=jacobian, method=method, rtol=1e-9, atol=1e-9)
    assert float((result.final_state - expected).abs().max()) <= GLOBAL_OVER_LOCAL * 1e-9


@ALL_METHODS
def test_float32_stays_float32_and_meets_its_tolerance(method: str) -> None:
    problem = logistic()
    rtol = 1e-4
    result = integrate(
        problem.rate,
        problem.start.float(),
        problem.until,
        jacobian=problem.jacobian,
        method=method,
        rtol=rtol,
        atol=rtol,
    )
    assert result.final_state.dtype == torch.float32
    assert result.final_time.dtype == F64
    assert set(result.status) == {Status.FINISHED}
    error = (result.final_state - problem.exact(problem.until)).abs().max()
    assert float(error) <= GLOBAL_OVER_LOCAL * rtol


def test_float32_warns_and_states_the_tolerance_it_used() -> None:
    with pytest.warns(
        UserWarning, match=r"rtol = 1e-08 is below what torch.float32 resolves; 1.19e-05 is used"
    ):
        result = integrate(lambda y: -y, column(1.0, dtype=torch.float32), 1.0, rtol=1e-8)
    assert result.rtol == pytest.approx(100 * torch.finfo(torch.float32).eps)


def test_device_gives_the_closed_form(device: str) -> None:
    problem = logistic()
    result = integrate(
        problem.rate,
        problem.start.to(device),
        problem.until,
        jacobian=problem.jacobian,
        save_at=torch.tensor([0.5, 1.0], dtype=F64),
        energy=lambda y: -(y**2 / 2 - y**3 / 3).sum(1),
    )
    assert result.final_state.device.type == device
    error = (result.final_state.cpu() - problem.exact(problem.until)).abs().max()
    assert float(error) <= GLOBAL_OVER_LOCAL * result.rtol


# --------------------------------------------------------------------- rows are independent


@ALL_METHODS
def test_a_batch_equals_each_trajectory_alone(method: str) -> None:
    scales = torch.tensor([1e-3, 1.0, 50.0, 2e3], dtype=F64)

    def rate(y: Tensor) -> Tensor:
        """Time scale carried as a second, constant parameter: row by row another speed."""
        return torch.stack([-y[:, 1] * torch.sinh(y[:, 0]), torch.zeros_like(y[:, 1])], dim=1)

    def jacobian(y: Tensor) -> Tensor:
        x, k = y.unbind(1)
        top = torch.stack([-k * torch.cosh(x), -torch.sinh(x)], 1)
        return torch.stack([top, torch.zeros_like(top)], 1)

    start = torch.stack([torch.linspace(0.5, 2, 4, dtype=F64), scales], 1)
    times = torch.linspace(0, 1, 11, dtype=F64)
    options = {"jacobian": jacobian, "method": method, "save_at": times}
    together = integrate(rate, start, 1.0, **options)
    assert len(set(together.steps.tolist())) == 4
    for b in range(4):
        alone = integrate(rate, start[b : b + 1], 1.0, **options)
        assert alone.steps[0] == together.steps[b]
        assert alone.rejected[0] == together.rejected[b]
        assert alone.evaluations[0] == together.evaluations[b]
        bound = same_formula(F64)
        torch.testing.assert_close(alone.states[0], together.states[b], rtol=bound, atol=bound)


@ALL_METHODS
def test_finished_rows_leave_the_batch_and_every_evaluation_is_counted(method: str) -> None:
    seen: list[int] = []
    factored: list[int] = []

    def rate(y: Tensor) -> Tensor:
        seen.append(len(y))
        return -(y**3)

    def jacobian(y: Tensor) -> Tensor:
        factored.append(len(y))
        return -3 * y[:, :, None] ** 2

    result = integrate(rate, column(1e-3, 1.0, 30.0), 1.0, jacobian=jacobian, method=method)
    assert seen[0] == 3
    assert seen[-1] == 1
    assert sum(seen) == int(result.evaluations.sum())
    assert sum(factored) == int(result.jacobian_evaluations.sum())


@ALL_METHODS
def test_one_non_finite_evaluation_costs_a_rejected_step_and_nothing_else(method: str) -> None:
    for failing in range(2, 16):
        calls: list[int] = []

        def rate(y: Tensor, calls: list[int] = calls, failing: int = failing) -> Tensor:
            calls.append(1)
            return torch.full_like(y, math.nan) if len(calls) == failing else -y

        result = integrate(
            rate,
            column(1.0),
            1.0,
            jacobian=lambda y: -torch.ones_like(y)[:, :, None],
            method=method,
            first_step=0.01,
        )
        assert result.status == (Status.FINISHED,), failing
        assert result.rejected.tolist() == [1], failing
        error = abs(float(result.final_state) - math.exp(-1))
        assert error <= GLOBAL_OVER_LOCAL * result.rtol, failing


def test_a_failing_row_does_not_disturb_the_others() -> None:
    result = integrate(lambda y: y**2, column(-1.0, 4.0, 0.1), 1.0)
    assert result.status == (Status.FINISHED, Status.DIVERGED, Status.FINISHED)
    exact = column(-1 / 2, 0.1 / 0.9)
    error = (result.final_state[[0, 2]] - exact).abs().max()
    assert float(error) <= GLOBAL_OVER_LOCAL * result.rtol


# --------------------------------------------------------------------- step-size control


def test_the_controller_follows_its_formula() -> None:
    control = Controller(error_order=4)
    ratio = torch.tensor([0.5, 0.5, 3.0, 0.5, 1e-30, 1e30], dtype=F64)
    last = torch.tensor([0.5, 0.2, 0.2, 0.5, 1.0, 1.0], dtype=F64)
    accepted = ratio <= 1
    after_rejection = torch.tensor([False, False, False, True, False, False])
    finite = torch.ones(6, dtype=torch.bool)
    expected = [
        0.9 * 0.5**-0.17 * 0.5**0.04,
        0.9 * 0.5**-0.17 * 0.2**0.04,
        0.9 * 3**-0.2,
        min(1.0, 0.9 * 0.5**-0.17 * 0.5**0.04),
        8.0,
        0.2,
    ]
    factor = control.factor(ratio, last, accepted, after_rejection, finite)
    assert factor.tolist() == pytest.approx(expected, rel=same_formula(F64))
    assert control.factor(ratio, last, accepted, after_rejection, ~finite).tolist() == [0.1] * 6


def test_two_estimates_of_an_error_combine_by_their_formula() -> None:
    state, error, second = (torch.full((2, 4), u, dtype=F64) for u in (1.0, 3e-8, 5e-7))
    error[1], second[1] = 0, 0
    scale = torch.full_like(state, 1e-8)
    found = error_ratio(Trial(state, error, state[None], second_error=second), scale)
    assert found.tolist() == pytest.approx([9 / math.hypot(3, 5), 0], rel=same_formula(F64))
    assert error_ratio(Trial(state, error, state[None]), scale)[0] == pytest.approx(3, rel=same_formula(F64))


@ALL_METHODS
@pytest.mark.parametrize("name", PROBLEMS)
def test_few_steps_are_rejected_on_smooth_problems(name: str, method: str) -> None:
    result = solve(PROBLEMS[name](), method=method)
    assert bool((result.rejected <= 1 + result.steps // 20).all())


@ALL_METHODS
def test_steps_do_not_depend_on_the_unit_of_time(method: str) -> None:
    attempts = set()
    for scale in (1e-8, 1.0, 1e8):
        result = integrate(
            lambda y, scale=scale: -scale * y,  # type: ignore[misc]
            column(1.0),
            1 / scale,
            jacobian=lambda y, scale=scale: torch.full_like(y, -scale)[:, :, None],  # type: ignore[misc]
            method=method,
        )
        attempts.add((int(result.steps), int(result.rejected)))
    assert len(attempts) == 1
    assert attempts.pop()[1] == 0


@pytest.mark.parametrize("start", [0.0, 1e-30])
def test_a_start_at_zero_finds_its_first_step(start: float) -> None:
    result = integrate(lambda y: 1 - y, column(start), 1.0)
    error = abs(float(result.final_state) - (1 - math.exp(-1)))
    assert error <= GLOBAL_OVER_LOCAL * result.rtol
    assert int(result.steps + result.rejected) < 30


# --------------------------------------------------------------------- recorded and saved states


@ALL_METHODS
@pytest.mark.parametrize("name", PROBLEMS)
def test_saved_states_are_accurate_and_do_not_constrain_the_steps(name: str, method: str) -> None:
    problem = PROBLEMS[name]()
    times = torch.linspace(0, problem.until, 203, dtype=F64)
    plain = solve(problem, method=method)
    saved = solve(problem, method=method, save_at=times)
    assert torch.equal(saved.steps, plain.steps)
    more = METHODS[method].dense_rates * saved.steps
    assert torch.equal(saved.evaluations, plain.evaluations + more)
    exact = torch.stack([problem.exact(float(t)) for t in times], dim=1)
    for b, (t, y) in enumerate(zip(saved.times, saved.states, strict=True)):
        assert torch.equal(t, times)
        assert float((y - exact[b]).abs().max()) <= GLOBAL_OVER_LOCAL * saved.rtol
        assert torch.equal(y[0], problem.start[b])
        assert torch.equal(y[-1], plain.final_state[b])


@ALL_METHODS
def test_dense_output_has_its_stated_order(method: str) -> None:
    problem, chosen = spiral(), METHODS[method]
    y, f, jacobian = problem.start, problem.rate(problem.start), problem.jacobian(problem.start)
    rows = torch.arange(len(y))
    sizes, errors = [(1.0 if method == "dop853" else 0.2) / 2**k for k in range(MIN_HALVINGS + 2)], []
    for size in sizes:
        h = torch.full((len(y),), size, dtype=F64)
        trial = chosen.step(problem.rate, y, f, jacobian, h)
        coefficients = chosen.dense(problem.rate, y, trial, problem.rate(trial.state), rows, h)
        error = 0.0
        for s in (0.2, 0.5, 0.9):
            inside = evaluate_dense(y, coefficients, torch.full_like(h, s))
            error = max(error, float((inside - problem.exact(s * size)).abs().max()))
        errors.append(error)
        end = evaluate_dense(y, coefficients, torch.ones_like(h))
        torch.testing.assert_close(end, trial.state, rtol=same_formula(F64), atol=DENSE_ROUNDING)
    slope = np.polyfit(np.log(sizes), np.log(errors), 1)[0]
    assert abs(slope - (chosen.dense_order + 1)) <= SLOPE_MARGIN


def test_a_trajectory_that_ends_early_keeps_its_times_and_its_end() -> None:
    times = torch.tensor([0.0, 0.25, 0.5, 3.0], dtype=F64)
    result = integrate(lambda y: y**2, column(1.0, -1.0), 4.0, save_at=times)
    assert result.status == (Status.DIVERGED, Status.FINISHED)
    assert result.times[0][:3].tolist() == [0, 0.25, 0.5]
    assert result.times[0][3] == result.final_time[0]
    assert torch.equal(result.states[0][3], result.final_state[0])
    assert result.times[1].tolist() == [0, 0.25, 0.5, 3, 4]
    assert not any(bool(torch.isnan(y).any()) for y in result.states)


def test_float32_times_that_round_past_the_end_mean_the_end() -> None:
    times = torch.tensor([0.05, 0.1])
    assert float(times[-1]) > 0.1
    result = integrate(lambda y: -y, column(1.0), 0.1, save_at=times)
    assert result.times[0].tolist() == [float(times[0]), 0.1]


def test_by_default_start_and_end_are_kept_and_record_keeps_every_step() -> None:
    start = column(1.0, 5.0)
    brief = integrate(lambda y: -y, start, 2.0)
    full = integrate(lambda y: -y, start, 2.0, record=True)
    for b in range(2):
        assert brief.times[b].tolist() == [0.0, 2.0]
        assert len(full.times[b]) == int(full.steps[b]) + 1
        assert bool((full.times[b].diff() > 0).all())
        assert full.times[b][-1] == 2.0
        exact = start[b] * torch.exp(-full.times[b])[:, None]
        assert float((full.states[b] - exact).abs().max()) <= GLOBAL_OVER_LOCAL * full.rtol
        assert float(full.times[b].diff().max()) == pytest.approx(float(full.largest_step[b]))
        assert float(full.times[b].diff()[:-1].min()) == pytest.approx(float(full.smallest_step[b]))
        assert float(full.mean_step[b]) == pytest.approx(2.0 / int(full.steps[b]))


# --------------------------------------------------------------------- how trajectories end


@ALL_METHODS
def test_blow_up_is_diverged_with_the_time_of_the_pole(method: str) -> None:
    start = column(0.5, 1.0, 4.0)
    result = integrate(lambda y: y**2, start, 10.0, jacobian=lambda y: 2 * y[:, :, None], method=method)
    assert set(result.status) == {Status.DIVERGED}
    # theta = max_norm is reached 1e-6 before the pole at 1/theta0.
    torch.testing.assert_close(result.final_time, 1 / start[:, 0], rtol=0, atol=2e-6)


def test_a_logarithmic_pole_is_diverged_although_the_state_stays_small() -> None:
    result = integrate(torch.exp, column(0.0), 10.0)
    assert result.status == (Status.DIVERGED,)
    assert float(result.final_time) == pytest.approx(1.0, abs=GLOBAL_OVER_LOCAL * result.rtol)


def test_leaving_the_domain_of_the_rate_is_diverged() -> None:
    result = integrate(lambda y: -torch.sqrt(y) - 1, column(1.0), 10.0)
    # du/dt with u = sqrt(y): 2 u u' = -(u + 1), so y reaches 0 at t = 2 (1 - log 2).
    assert result.status == (Status.DIVERGED,)
    assert float(result.final_time) == pytest.approx(
        2 * (1 - math.log(2)), abs=GLOBAL_OVER_LOCAL * result.rtol
    )


@ALL_METHODS
def test_a_rate_too_large_for_the_clock_is_diverged(method: str) -> None:
    """y = sqrt(1 - t) ends at t = 1 with an unbounded rate; no evaluation is non-finite on the way."""
    result = integrate(
        lambda y: -1 / (2 * y),
        column(1.0),
        2.0,
        jacobian=lambda y: 1 / (2 * y[:, :, None] ** 2),
        method=method,
    )
    assert result.status == (Status.DIVERGED,)
    assert float(result.final_time) == pytest.approx(1.0, abs=GLOBAL_OVER_LOCAL * result.rtol)


def test_a_non_finite_rate_at_the_start_is_diverged_at_time_zero() -> None:
    result = integrate(lambda y: 1 / y, column(0.0, 1.0), 1.0)
    assert result.status == (Status.DIVERGED, Status.FINISHED)
    assert float(result.final_time[0]) == 0
    assert math.isnan(float(result.smallest_step[0]))
    assert math.isnan(float(result.mean_step[0]))


@pytest.mark.parametrize("power", [0.5, 1.0])
def test_unbounded_growth_without_a_pole_is_at_infinity(power: float) -> None:
    result = integrate(lambda y: y**power, column(1.0), 1e6, rtol=1e-6)
    assert result.status == (Status.AT_INFINITY,)
    assert float(result.final_state) > 1e6


@ALL_METHODS
def test_a_stationary_trajectory_stops_where_the_rate_says(method: str) -> None:
    result = integrate(
        lambda y: -y,
        column(1.0, 1e-9, 100.0),
        math.inf,
        jacobian=lambda y: -torch.ones_like(y)[:, :, None],
        method=method,
        stationary_norm=1e-6,
    )
    assert set(result.status) == {Status.CONVERGED}
    assert float(result.final_rate_norm.max()) <= 1e-6
    assert result.final_time[1] == 0
    assert result.steps[1] == 0
    assert float(result.final_time[0]) > math.log(1e6)


def test_rodas4_reaches_a_degenerate_minimum_far_below_its_tolerance() -> None:
    """R = x^4/4 + 50 y^2: the rate along x decays only like t^(-3/2), to 1e-12 after 5e7 time units."""

    def rate(y: Tensor) -> Tensor:
        return torch.stack([-(y[:, 0] ** 3), -100 * y[:, 1]], 1)

    def jacobian(y: Tensor) -> Tensor:
        return torch.diag_embed(torch.stack([-3 * y[:, 0] ** 2, torch.full_like(y[:, 1], -100.0)], 1))

    start = torch.tensor([[1.0, 1.0]], dtype=F64)
    result = integrate(rate, start, math.inf, jacobian=jacobian, stationary_norm=1e-12)
    assert result.status == (Status.CONVERGED,)
    assert float(result.final_time) >= 5e7
    exact = (1 + 2 * float(result.final_time)) ** -0.5
    assert float(result.final_state[0, 0]) == pytest.approx(exact, rel=GLOBAL_OVER_LOCAL * 1e-6)


def test_step_limit_counts_attempts_and_points_at_stiffness() -> None:
    result = integrate(lambda y: -1e4 * (y - 1), column(0.0), 1e3, method="dopri5", max_steps=500)
    assert result.status == (Status.STEP_LIMIT,)
    assert int(result.steps + result.rejected) == 500
    assert int(result.stiff_steps) > 100
    assert "rodas4" in result.status[0].message
    assert 0 < float(result.final_time) < 1e3


def test_sliding_along_a_jump_of_the_rate_ends_at_the_step_limit() -> None:
    result = integrate(lambda y: -torch.sign(y), column(1.0), 100.0, max_steps=300)
    assert result.status == (Status.STEP_LIMIT,)
    assert float(result.final_time) == pytest.approx(1.0, abs=GLOBAL_OVER_LOCAL * result.rtol * 300)


def test_a_cliff_that_no_step_can_cross_is_stalled() -> None:
    """The clock resolves 1e-16, in which a rate of 1e12 moves the state by 1e4 tolerances."""
    result = integrate(lambda y: torch.where(y > 0.5, 1e12, 1.0).to(y.dtype), column(0.0), 2.0)
    assert result.status == (Status.STALLED,)
    assert float(result.final_time) == pytest.approx(0.5, abs=result.rtol)


def test_require_returns_the_result_or_names_the_first_failure() -> None:
    result = integrate(lambda y: y**2, column(0.1, 4.0), 1.0)
    assert result.require(Status.FINISHED, Status.DIVERGED) is result
    assert result.rows(Status.DIVERGED).tolist() == [1]
    with pytest.raises(FlowError, match=r"1 of 2 .* row 1: diverged at t = 0.249999.*Likely cause"):
        result.require(Status.FINISHED)


@pytest.mark.parametrize("status", list(Status))
def test_every_status_explains_itself(status: Status) -> None:
    assert status.message.endswith(".")
    assert status == status.value


# --------------------------------------------------------------------- energy and progress


def double_well(y: Tensor) -> Tensor:
    return ((y**2 - 1) ** 2 / 4).sum(1) + (y[:, 0] * y[:, 1])


def double_well_rate(y: Tensor) -> Tensor:
    return -(y * (y**2 - 1)) - y.flip(1)


@ALL_METHODS
def test_energy_never_rises_along_a_gradient_flow(method: str) -> None:
    generator = torch.Generator().manual_seed(1)
    start = torch.randn(20, 2, dtype=F64, generator=generator)

    def jacobian(y: Tensor) -> Tensor:
        return torch.diag_embed(1 - 3 * y**2) - torch.ones(2, 2, dtype=F64).fliplr() * (
            1 - torch.eye(2, dtype=F64)
        )

    result = integrate(double_well_rate, start, 200.0, jacobian=jacobian, method=method, energy=double_well)
    assert result.energy_increases is not None
    assert int(result.energy_increases.sum()) == 0
    assert bool((double_well(result.final_state) < double_well(start)).all())


def test_tolerated_noise_at_the_stability_limit_is_no_energy_increase() -> None:
    values = torch.tensor([1.0, 70.0], dtype=F64)
    result = integrate(
        lambda y: -values * (y - 1),
        torch.tensor([[0.0, 0.0]], dtype=F64),
        100.0,
        rtol=1e-5,
        energy=lambda y: (values * (y - 1) ** 2).sum(1) / 2,
    )
    assert int(result.stiff_steps) > 100
    assert result.energy_increases is not None
    assert result.energy_increases.tolist() == [0]


def test_energy_increases_are_counted_when_the_sign_is_wrong() -> None:
    start = torch.tensor([[0.3, 0.2], [0.1, -0.4]], dtype=F64)
    result = integrate(lambda y: -double_well_rate(y), start, 0.5, energy=double_well)
    assert result.energy_increases is not None
    assert torch.equal(result.energy_increases, result.steps)
    assert integrate(double_well_rate, start, 0.5).energy_increases is None


def test_progress_rises_to_one() -> None:
    seen: list[float] = []
    integrate(lambda y: -y, column(1.0, 2.0), 50.0, progress=seen.append)
    assert seen == sorted(seen)
    assert seen[-1] == 1.0
    assert len(seen) > 10
    assert all(0 <= fraction <= 1 for fraction in seen)


# --------------------------------------------------------------------- the door


@pytest.mark.parametrize(("rtol", "method"), [(1e-5, "dopri5"), (1e-6, "dop853"), (1e-10, "dop853")])
def test_auto_takes_the_method_of_order_eight_for_tight_tolerances(rtol: float, method: str) -> None:
    problem = logistic()
    result = integrate(problem.rate, problem.start, problem.until, rtol=rtol, atol=rtol)
    assert result.method == method
    error = (result.final_state - problem.exact(problem.until)).abs().max()
    assert float(error) <= GLOBAL_OVER_LOCAL * rtol


def test_order_eight_needs_fewer_evaluations_than_order_five_at_a_tight_tolerance() -> None:
    eighth, fifth = (solve(spiral(), method=u, rtol=1e-10, atol=1e-10) for u in ("dop853", "dopri5"))
    assert 2 * int(eighth.evaluations) < int(fifth.evaluations)
    assert 5 * int(eighth.steps) < int(fifth.steps)


def test_auto_stays_with_dopri5_where_nothing_is_stiff() -> None:
    def jacobian(y: Tensor) -> Tensor:
        return -torch.eye(y.shape[1], dtype=F64).expand(len(y), -1, -1)

    for parameters, given in ((64, True), (2, False)):
        start = torch.ones(1, parameters, dtype=F64)
        result = integrate(lambda y: -y, start, 0.1, jacobian=jacobian if given else None, rtol=1e-4)
        assert result.method == "dopri5"
        assert result.switched_at.isnan().all()


def test_auto_hands_over_the_stiff_trajectories_and_no_others() -> None:
    """Rows with eigenvalues 1 and 1e4 on the way to 100: only the second ones are stiff."""
    speed = torch.tensor([1.0, 1e4], dtype=F64)

    def jacobian(y: Tensor) -> Tensor:
        size = torch.where(y[:, 1] > 0.5, speed[1], speed[0])
        zero = torch.zeros_like(size)
        return torch.stack([torch.stack([-size, zero], 1), torch.stack([zero, zero], 1)], 1)

    def rate(y: Tensor) -> Tensor:
        size = torch.where(y[:, 1] > 0.5, speed[1], speed[0])
        return torch.stack([-size * (y[:, 0] - 1), torch.zeros_like(size)], 1)

    start = torch.tensor([[0.0, 0.0], [0.0, 1.0], [0.5, 0.0]], dtype=F64)
    grid = torch.tensor([0.01, 1.0, 2.0], dtype=F64)
    result = integrate(rate, start, 2.0, jacobian=jacobian, save_at=grid)
    assert result.method == "dop853, rodas4"
    assert torch.isfinite(result.switched_at).tolist() == [False, True, False]
    assert set(result.status) == {Status.FINISHED}
    assert int(result.steps[1]) < 400  # without the hand-over 2 * 1e4 / 3.3
    alone = integrate(rate, start[1:2], 2.0, method="dopri5")
    assert int(alone.steps) > 5000
    exact = torch.stack([1 - torch.exp(-grid), 1 - torch.exp(-1e4 * grid), 1 - torch.exp(-grid) / 2])
    found = torch.stack([states[:, 0] for states in result.states])
    assert float((found - exact).abs().max()) <= GLOBAL_OVER_LOCAL * 1e-8


@pytest.mark.parametrize(
    ("change", "error", "found"),
    [
        ({"theta0": [[1.0]]}, TypeError, "tensor of shape .B, P., got list"),
        ({"theta0": torch.ones(3, dtype=F64)}, ValueError, r"shape \(B, P\) with B, P >= 1, got \(3,\)"),
        ({"theta0": torch.ones(0, 3, dtype=F64)}, ValueError, r"got \(0, 3\)"),
        ({"theta0": torch.ones(1, 1, dtype=torch.int64)}, TypeError, "float64 or float32, got torch.int64"),
        ({"theta0": column(1.0, math.nan)}, ValueError, "finite, row 1 is not"),
        ({"theta0": column(1.0, 2e6)}, ValueError, "row 1 has norm 2e.06, beyond max_norm"),
        ({"until": -1.0}, ValueError, "until must be a positive time, got -1.0"),
        ({"until": math.nan}, ValueError, "until must be a positive time, got nan"),
        ({"until": math.inf}, ValueError, "until = inf needs stationary_norm="),
        ({"rtol": 0.0}, ValueError, "rtol must be positive, got 0.0"),
        ({"max_steps": 0}, ValueError, "max_steps must be positive, got 0"),
        ({"first_step": -1.0}, ValueError, "first_step must be positive, got -1.0"),
        ({"stationary_norm": 0.0}, ValueError, "stationary_norm must be positive, got 0.0"),
        (
            {"method": "euler"},
            ValueError,
            "unknown method 'euler'; accepted are 'auto', 'dopri5', 'dop853', 'rodas4'",
        ),
        ({"method": "rodas4"}, ValueError, "'rodas4' needs jacobian=.*got None"),
        ({"save_at": torch.tensor([0.5, 0.2])}, ValueError, "strictly increasing, got .0.5, 0.2"),
        (
            {"save_at": torch.tensor([-0.5, 0.2])},
            ValueError,
            r"in \[0, until\] = \[0, 1\], got times from -0.5 to 0.2",
        ),
        (
            {"save_at": torch.tensor([0.5, 1.5])},
            ValueError,
            r"in \[0, until\] = \[0, 1\], got times from 0.5 to 1.5",
        ),
        ({"save_at": torch.ones(2, 2)}, ValueError, r"shape \(T,\) with T >= 1, got \(2, 2\)"),
        ({"save_at": [0.5]}, ValueError, "with T >= 1, got list"),
        ({"save_at": torch.tensor([0.5]), "record": True}, ValueError, "give one of them, got both"),
        (
            {"rate": lambda y: y[:, 0]},
            ValueError,
            r"rate\(theta\) must have shape \(1, 1\) for this theta, got \(1,\)",
        ),
        ({"rate": lambda y: y.float()}, TypeError, "torch.float64 on cpu like theta, got torch.float32"),
        ({"rate": lambda y: 0.0}, TypeError, r"must return a tensor of shape \(1, 1\), got float"),
        (
            {"jacobian": lambda y: y, "method": "rodas4"},
            ValueError,
            r"jacobian\(theta\) must have shape \(1, 1, 1\)",
        ),
        ({"energy": lambda y: y}, ValueError, r"energy\(theta\) must have shape \(1,\)"),
    ],
)
def test_bad_input_says_what_was_found_and_what_is_required(
    change: dict, error: type[Exception], found: str
) -> None:
    arguments = {"rate": lambda y: -y, "theta0": column(1.0), "until": 1.0, **change}
    with pytest.raises(error, match=found):
        integrate(**arguments)


def test_the_start_is_left_alone_and_no_graph_is_recorded() -> None:
    start = column(1.0).requires_grad_()
    result = integrate(lambda y: -y, start, 1.0)
    assert not result.final_state.requires_grad
    assert start.tolist() == [[1.0]]
