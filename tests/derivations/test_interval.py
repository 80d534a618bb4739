"""Risks over an interval: closed forms, exact numbers, integrals and quadrature must all agree."""

from __future__ import annotations

import itertools
from dataclasses import replace

import mpmath
import pytest
from sympy import (
    Abs,
    Add,
    Integer,
    Integral,
    Max,
    Rational,
    Symbol,
    exp,
    expand,
    factor,
    radsimp,
    sign,
    simplify,
    sqrt,
    symbols,
)

from derivations.activations import activation
from derivations.errors import AssumptionError
from derivations.functions import relu
from derivations.generic import GenericFunction, bind
from derivations.indexed import Delta, Entry, Index, ISum, open_sum, replace_index
from derivations.interval import INTERVAL_WHATS, IntervalProblem
from derivations.interval_cells import Cell, CellRisk, cell_at, cells
from derivations.interval_critical import critical_kinks
from derivations.interval_point import interval_point
from derivations.piecewise import half_lines, integral, pieces
from derivations.problem import Problem, m

x = Symbol("x", real=True)
alpha, p, mu, c = symbols("alpha p mu c", real=True)
QUARTER = activation("max(z, z/4)")


def line(sigma="relu", lower=0, upper=1, target=x, reduction="integral", **options):
    """The setting of the sheet: factor 2 makes the loss the plain squared error."""
    network = Problem.two_layer(
        sigma, **{"loss": "square", "input_bias": True, "output_bias": True, "factor": 2, **options}
    )
    return IntervalProblem(network, Integer(lower), Integer(upper), x, target, reduction)


# ---- C1: closed forms ------------------------------------------------------------------------------------------


def test_one_right_oriented_relu_is_the_polynomial_of_the_sheet():
    found = CellRisk(line(target=alpha * x), Cell(("right",), ((0,),))).risk_in_kinks
    wanted = (
        c**2 - alpha * c + alpha**2 / 3 + mu * c * (1 - p) ** 2
        - mu * alpha * (1 - p) ** 2 * (2 + p) / 3 + mu**2 * (1 - p) ** 3 / 3
    )  # fmt: skip
    assert expand(found - wanted) == 0


def test_one_left_oriented_relu_is_the_polynomial_of_the_sheet():
    found = CellRisk(line(target=alpha * x), Cell(("left",), ((0,),))).risk_in_kinks
    wanted = c**2 - alpha * c + alpha**2 / 3 - mu * c * p**2 + mu * alpha * p**3 / 3 + mu**2 * p**3 / 3
    assert expand(found - wanted) == 0


P1, P2 = symbols("p_1 p_2", real=True)


@pytest.mark.parametrize(
    ("orientations", "order", "wanted"),
    [
        (("right", "right"), (0, 1), (1 - P2) ** 2 * (2 + P2 - 3 * P1) / 6),
        (("left", "left"), (0, 1), P1**2 * (3 * P2 - P1) / 6),
        (("right", "left"), (0, 1), -((P2 - P1) ** 3) / 6),
        (("right", "left"), (1, 0), Integer(0)),
    ],
)
def test_pair_integrals(orientations, order, wanted):
    first, second = symbols("mu_1 mu_2", real=True)
    found = CellRisk(line(), Cell(orientations, (order,))).risk_in_kinks
    assert expand(found.coeff(first, 1).coeff(second, 1) / 2 - wanted) == 0


def test_profile_of_one_relu():
    """W6: the best slopes for a given kink, the risk there, and that it has no stationary point."""
    risk = CellRisk(line(target=alpha * x), Cell(("right",), ((0,),)))
    best, profile = risk.profile
    assert simplify(best[c] - alpha * p * (p + 1) / (3 * p + 1)) == 0
    assert simplify(best[mu] - alpha * (2 * p + 1) / ((1 - p) * (3 * p + 1))) == 0
    assert simplify(profile - alpha**2 * p**3 / (3 * (3 * p + 1))) == 0
    assert simplify(profile.diff(p) - alpha**2 * p**2 * (2 * p + 1) / (3 * p + 1) ** 2) == 0
    assert critical_kinks(CellRisk(line(), Cell(("right",), ((0,),)))) == ()


def test_profile_of_one_leaky_relu_has_the_stationary_kink_of_the_sheet():
    for orientation, kink, slope in (("right", Rational(2, 3), 2), ("left", Rational(1, 3), 2)):
        risk = CellRisk(line(QUARTER), Cell((orientation,), ((0,),)))
        assert critical_kinks(risk) == ({mu: slope, c: Rational(1, 2), p: kink},)
        assert risk.risk_in_kinks.xreplace({mu: slope, c: Rational(1, 2), p: kink}) == Rational(1, 108)
    # g = 1/3: the kink is irrational.
    (found,) = critical_kinks(CellRisk(line(activation("max(z, z/3)")), Cell(("right",), ((0,),))))
    assert simplify(found[p] - 1 / (1 + sqrt(Rational(1, 3)))) == 0
    assert simplify(found[mu] - sqrt(3)) == 0


def test_critical_points_of_one_neuron_are_asked_for_where_they_are_isolated():
    with pytest.raises(AssumptionError, match="with its kink inside"):
        critical_kinks(CellRisk(line(), Cell(("positive",))))
    with pytest.raises(AssumptionError, match="numbers for alpha"):
        critical_kinks(CellRisk(line(target=alpha * x), Cell(("right",), ((0,),))))


# ---- check values at exact points ----------------------------------------------------------------------------


def spectrum(point):
    with mpmath.workdps(30):
        found = mpmath.eigsy(mpmath.matrix(point.hessian.evalf(30).tolist()), eigvals_only=True)
        return sorted(float(u) for u in found)


W1 = {"w": [1, -1], "b": ["-1/3", "2/3"], "a": ["2/3", "-2/3"], "c": "1/2"}
W1_SCALED = {"w": [2, -2], "b": ["-2/3", "4/3"], "a": ["1/3", "-1/3"], "c": "1/2"}
CRITICAL = [
    ("relu", W1, Rational(1, 972), [-0.02668673, -0.00568834, 0, 0, 0.05761478, 0.52443630, 3.21438435]),
    ("relu", W1_SCALED, Rational(1, 972), [-0.01283153, -0.00442930, 0, 0, 0.05832244, 0.83246466, 3.04897030]),
    (QUARTER, {"w": [1], "b": ["-2/3"], "a": [2], "c": "1/2"}, Rational(1, 108), [-0.03101212, 0, 0.57021156, 5.70154131]),
    (QUARTER, {"w": [-1], "b": ["1/3"], "a": [-2], "c": "1/2"}, Rational(1, 108), [-0.05755616, 0, 0.37148256, 4.42681435]),
]  # fmt: skip


@pytest.mark.parametrize(
    ("sigma", "theta", "value", "eigenvalues"), CRITICAL, ids=["W1", "W1 scaled", "W3 right", "W3 left"]
)
def test_saddles_are_critical_exactly_and_have_their_spectra(sigma, theta, value, eigenvalues):
    point = interval_point(line(sigma), theta)
    assert point.value == value
    assert set(point.gradient) == {0}
    assert spectrum(point) == pytest.approx(eigenvalues, abs=6e-9)  # the sheet gives eight decimals


GENERIC = {"w": [1, -1], "b": [-0.25, 0.6], "a": [0.5, -0.8], "c": 0.2}


@pytest.mark.parametrize(
    ("sigma", "value", "gradient"),
    [  # gradients of the sheet, in its order w, b, v, c
        (
            "relu",
            0.0941654167,
            [-0.146872917, 0.079996667, -0.227125, 0.2774, -0.180183333, -0.108054167, -0.60675],
        ),
        (
            activation("max(z, z/10)"),
            0.0906553875,
            [-0.142318437, 0.0963842, -0.22850625, 0.299676, -0.17038375, -0.10427675, -0.597075],
        ),
    ],
    ids=["relu", "leaky"],
)
def test_generic_points_of_the_sheet(sigma, value, gradient):
    point = interval_point(line(sigma), GENERIC)
    w, b, a, last = gradient[:2], gradient[2:4], gradient[4:6], gradient[6:]
    assert float(point.value) == pytest.approx(value, abs=6e-11)
    assert [float(u) for u in point.gradient] == pytest.approx([*a, *w, *b, *last], abs=6e-10)


def test_two_leaky_kinks_with_a_root():
    """W4: gaps proportional to (1, u, 1), u = sqrt(1 + g)."""
    u = sqrt(Rational(5, 4))
    s = 2 + u
    slope = radsimp(expand((s + s / u) / s**2))
    first, second = radsimp(1 / s), radsimp((1 + u) / s)
    theta = {"w": [1, -1], "b": [-first, second], "a": [slope, -slope], "c": 0}
    theta["c"] = -interval_point(line(QUARTER), theta).gradient[-1] / 2
    point = interval_point(line(QUARTER), theta)
    assert set(point.gradient) == {0}
    assert float(point.value) == pytest.approx(0.000495927168, abs=6e-13)
    assert simplify(point.value - Rational(9, 16) / (12 * s**4)) == 0
    assert [float(first), float(second), float(slope)] == pytest.approx(
        [0.3207149131, 0.6792850869, 0.6075710521]
    )


def test_levels_of_n_kinks_are_exact():
    """C3: L_n = 1 / (12 (n+1)^4), n even, kinks equally spaced, orientations alternating."""
    for count in (2, 4):
        kinks = [Rational(i, count + 1) for i in range(1, count + 1)]
        signs = [(-1) ** i for i in range(count)]
        theta = {
            "w": signs,
            "b": [-s * q for s, q in zip(signs, kinks, strict=True)],
            "a": [s * Rational(2, count + 1) for s in signs],
            "c": 0,
        }
        theta["c"] = -interval_point(line(), theta).gradient[-1] / 2
        point = interval_point(line(), theta)
        assert set(point.gradient) == {0}
        assert point.value == Rational(1, 12 * (count + 1) ** 4)


# ---- one formula, four ways ---------------------------------------------------------------------------------

CASES = {
    "relu": (line(target=x), GENERIC),
    "leaky, scaled and decayed": (
        line(QUARTER, -1, 2, x**2 - x, "mean", scale="1/m", weight_decay="1/5"),
        {"a": [1, "-2/3", 2], "w": [1, -2, "1/2"], "b": ["1/3", 1, 3], "c": "-1/7"},
    ),
    "abs against a bent target": (
        line("abs", 0, 2, Abs(2 * x - 1) + Max(x, 1)),
        {"a": [1, -2], "w": [3, -2], "b": ["-1/2", 3], "c": "1/9"},
    ),
    "relu squared": (
        line(activation("relu(z)**2"), -1, 1, x**3),
        {"a": ["1/2", 1], "w": [1, -2], "b": ["1/3", "1/5"], "c": 0},
    ),
    "quadratic": (line("quadratic", 0, 1, x), {"a": ["1/2", 1], "w": [1, -2], "b": ["1/3", "1/5"], "c": 0}),
    "quartic loss, no output bias": (
        line(loss="(f - y)**4", output_bias=False),
        {"a": [2], "w": [1], "b": ["-1/4"]},
    ),
    "correlation": (line(loss="correlation"), GENERIC),
}  # fmt: skip


@pytest.fixture(scope="module", params=CASES, ids=str)
def case(request):
    interval, theta = CASES[request.param]
    point = interval_point(interval, theta)
    cell = cell_at(interval, point.w, point.b)
    return interval, point, CellRisk(interval, cell)


def at(risk, point):
    values = [*point.a, *point.w, *point.b, *([point.c] if risk.interval.problem.output_bias else [])]
    return dict(zip(risk.parameters, values, strict=True))


def test_the_formula_of_the_cell_has_the_exact_values(case):
    _, point, risk = case
    rule = at(risk, point)
    assert risk.risk.xreplace(rule) == point.value
    assert tuple(u.xreplace(rule) for u in risk.gradient) == point.gradient
    found = [[risk.risk.diff(u, v).xreplace(rule) for v in risk.parameters] for u in risk.parameters]
    assert point.hessian.tolist() == found


def test_slopes_and_kinks_are_coordinates(case):
    risk = case[2]
    if not risk.homogeneous:
        with pytest.raises(AssumptionError, match="1-homogeneous activation without weight decay"):
            _ = risk.risk_in_kinks
        return
    assert simplify(risk.to_parameters(risk.collected) - risk.risk) == 0
    # The chain rule of the module's first lines, exactly.
    letters = [risk.symbols(name) for name in ("a", "w", "b", "mu", "p")]
    s = risk.scale
    for a, w, b, slope, kink in zip(*letters, strict=True):
        in_slope, in_kink = (risk.to_parameters(risk.risk_in_kinks.diff(u)) for u in (slope, kink))
        assert simplify(risk.risk.diff(a) - s * w * in_slope) == 0
        assert simplify(risk.risk.diff(b) + in_kink / w) == 0
        assert simplify(risk.risk.diff(w) - s * a * in_slope - b / w**2 * in_kink) == 0


def numeric(interval, point):
    """Plain functions of a real number: the network, its target and the loss, sharing nothing with the integrals."""
    sigma = interval.problem.activation.expr
    z = next(iter(sigma.free_symbols))
    branch = {s: sigma.subs(z, s * Symbol("t", positive=True)) for s in (1, -1)}
    scale = float(interval.problem.scale.subs(m, len(point.a)))

    def value(u):
        t = mpmath.mpf(abs(u))
        side = branch[1 if u >= 0 else -1]
        return mpmath.mpf(str(side.subs(Symbol("t", positive=True), Rational(str(t))).evalf(25)))

    def loss(t):
        f = sum(
            scale * float(a) * value(w * t + b) for a, w, b in zip(point.a, point.w, point.b, strict=True)
        )
        y = interval.target.subs(x, Rational(str(t))).evalf(25)
        expr = interval.problem.loss.expr
        F, Y = (next(s for s in expr.free_symbols if s.name == name) for name in "fy")
        return mpmath.mpf(str(expr.subs({F: Rational(str(f + float(point.c))), Y: y}).evalf(25)))

    return loss


def test_the_exact_value_is_that_of_quadrature(case):
    interval, point, _ = case
    ends = [float(interval.lower), float(interval.upper)]
    breaks = [0.5, 1.0, *[float(q) for q in point.kinks if q is not None]]
    inside = sorted({q for q in breaks if ends[0] < q < ends[1]} | set(ends))
    found = mpmath.quad(numeric(interval, point), inside, method="gauss-legendre", maxdegree=3)
    decay = float(interval.problem.weight_decay) / 2
    squares = sum(float(u) ** 2 for u in (*point.a, *point.w, *point.b, point.c))
    assert float(interval.weight) * float(found) + decay * squares == pytest.approx(
        float(point.value), rel=1e-9
    )


def test_the_integral_equations_have_the_exact_values(case):
    interval, point, risk = case
    wanted = dict(zip(risk.parameters, point.gradient, strict=True))
    for block in interval.problem.blocks:
        expr = interval.gradient(block.name)
        for k, symbol in enumerate(risk.symbols(block.name) if block.name != "c" else (risk.c,), start=1):
            assert evaluated(interval, point, expr, k) == wanted[symbol]


def test_the_hessian_in_integrals_has_the_exact_values(case):
    interval, point, risk = case
    letters = [block.name for block in interval.problem.blocks]
    places = {u: j for j, u in enumerate(risk.parameters)}
    for row, column in itertools.combinations_with_replacement(letters, 2):
        expr = interval.hessian_block(row, column)
        rows = risk.symbols(row) if row != "c" else (risk.c,)
        columns = risk.symbols(column) if column != "c" else (risk.c,)
        for k, u in enumerate(rows, start=1):
            for q, v in enumerate(columns, start=1):
                assert evaluated(interval, point, expr, k, q) == point.hessian[places[u], places[v]], (u, v)


def evaluated(interval, point, expr, k, q=1):
    """Evaluate an indexed expression with integrals: kinks cut by ``pieces``, then polynomials integrated."""
    expr = replace_index(replace_index(expr, Index("k", m), Integer(k)), Index("q", m), Integer(q))
    letters = {
        "a": point.a,
        "w": point.w,
        "b": point.b,
        "p": tuple(-b / w for w, b in zip(point.w, point.b, strict=True)),
    }
    problem = interval.problem

    def network(t):
        scale = problem.scale.subs(m, len(point.a))
        terms = zip(point.a, point.w, point.b, strict=True)
        return point.c + Add(*[scale * a * problem.activation.apply((0,), w * t + b) for a, w, b in terms])

    def target(t):
        return interval.target.subs(x, t)

    def loss(order):
        return lambda t: interval.weight * problem.loss.apply((order, 0), network(t), target(t))

    functions = {
        "f": lambda _, t: network(t),
        "y": lambda _, t: target(t),
        "r": lambda _, t: loss(1)(t),
        "sigma": problem.activation.apply,
        "ell": problem.loss.apply,
    }

    def walk(e):
        if isinstance(e, ISum):
            body, index = open_sum(e)
            return Add(*[walk(replace_index(body, index, Integer(j))) for j in range(1, len(point.a) + 1)])
        if isinstance(e, Integral):
            body = bind(walk(e.function), functions)
            parts = pieces(body, x, interval.lower, interval.upper)
            return Add(*[integral(u.expr, x, u.lower, u.upper) for u in parts])
        if isinstance(e, Entry):
            return letters[e.tensor.name][int(e.indices[0]) - 1] if e.indices else point.c
        if isinstance(e, Delta):
            raise AssertionError(f"{e} is decided by integers")
        if isinstance(e, GenericFunction):
            return GenericFunction(e.args[0], e.orders, *[walk(u) for u in e.arguments])
        return e.func(*[walk(u) for u in e.args]) if e.args else e

    return bind(walk(expr), functions).subs(m, len(point.a)).doit()


# ---- equations in print -------------------------------------------------------------------------------------


def test_the_flow_prints_as_a_paper_prints_it():
    found = line().derive("gradient-flow")
    assert r"\dot{w}_k &= -a_k \int\limits_{0}^{1} r(x) \sigma'(w_k x + b_k) x\, dx" in found.latex()
    assert r"f(x) &= \sum_{k=1}^{m} a_k \sigma(w_k x + b_k) + c" in found.latex()
    assert r"r(x) &= 2 f(x) - 2 y(x)" in found.latex()


@pytest.mark.parametrize("what", INTERVAL_WHATS)
def test_every_derivation_of_an_interval_prints(what):
    for options in (
        {},
        {"weight_decay": "1/2", "freeze": ("b",), "rate": (("a", Integer(3)),), "scale": "1/m"},
    ):
        found = line("abs", **options).derive(what)
        text = found.latex() + "".join(found.notes)
        assert r"\left" not in text
        assert "_1" not in found.text().replace("T_1", "")  # no bound index is left without a name
        assert found.to_dict()["equations"]


def test_the_kernel_drives_the_output():
    found = line().derive("ntk")
    assert r"\dot{f}(x) &= -\int\limits_{0}^{1} \Theta(x, x') r(x')\, dx'" in found.latex()


def test_weight_decay_moves_the_output_besides_the_kernel():
    decayed = replace(line(), problem=replace(line().problem, weight_decay=Rational(1, 3)))
    shown = decayed.derive("ntk").text()
    (line_of_f,) = [row for row in shown.splitlines() if "dot_f(x) = " in row]
    # f itself comes from a and c; w and b together from the pre-activation.
    for part in (
        "-c/3",
        "- sum(a[k]*sigma(x*w[k] + b[k]), k=1..m)/3",
        "- sum((x*w[k] + b[k])*a[k]*sigma'(x*w[k] + b[k]), k=1..m)/3",
        "- Integral(r(x')*Theta(x, x'), (x', 0, 1))",
    ):
        assert part in line_of_f


def test_a_cell_prints_with_its_condition():
    risk = CellRisk(line(), Cell(("right", "left"), ((0, 1),)))
    found = risk.derive("risk")
    assert r"0 < p_1 < p_2 < 1" in found.notes[0]
    assert r"\frac{\mu_1 \mu_2}{3} (p_1 - p_2)^{3}" in found.latex()
    equations = risk.derive("critical-equations")
    assert len(equations.system) == 5
    assert r"w_k \ne 0" in equations.notes[1]
    assert all(e.lhs == 0 for e in equations.system)
    assert len(CellRisk(line("quadratic"), Cell(("positive",))).derive("gradient").system) == 4


# ---- cells --------------------------------------------------------------------------------------------------


def test_the_cells_cover_every_generic_point_once():
    bent = line(target=Abs(2 * x - 1))
    assert len(list(cells(line(), 1))) == 4
    assert len(list(cells(bent, 1))) == 6
    # 2 x 2 without kinks inside, 2 x 2 x 2 pieces with one, 4 pairs x (2 orders x 3 ways to cut) with two.
    found = list(cells(bent, 2))
    assert len(found) == len(set(found)) == 4 + 2 * 2 * 2 * 2 + 4 * 2 * 3
    inside = {"w": [1, -2], "b": ["-1/4", "3/2"], "a": [1, 1], "c": 0}
    point = interval_point(bent, inside)
    assert cell_at(bent, point.w, point.b) == Cell(("right", "left"), ((0,), (1,)))
    with pytest.raises(ValueError, match="more than 2000 cells at width 6"):
        list(cells(line(), 6))


@pytest.mark.parametrize(
    ("w", "b", "message"),
    [
        ([1], [0], "vanishes at an end"),
        ([0], [0], "vanishes at an end"),
        ([2], [-1], "coincides with one of the target"),
    ],
)
def test_walls_between_cells_are_named(w, b, message):
    with pytest.raises(AssumptionError, match=message):
        cell_at(line(target=Abs(2 * x - 1)), [Integer(u) for u in w], [Integer(u) for u in b])


def test_two_equal_kinks_are_a_wall():
    with pytest.raises(AssumptionError, match="two kinks coincide"):
        cell_at(line(), [Integer(4), Integer(8)], [Integer(-1), Integer(-2)])


# ---- where there is nothing to differentiate ----------------------------------------------------------------


def test_the_stated_derivative_counts_at_a_degenerate_neuron():
    theta = {"a": [3], "w": [0], "b": [0], "c": 0}
    half = line(activation("relu", kink=Rational(1, 2)))
    assert interval_point(line(), theta).gradient == (0, 0, 0, -1)
    # 2 int (0 - x) x / 2 * 3 and 2 int (0 - x) / 2 * 3
    assert interval_point(half, theta).gradient == (0, -1, Rational(-3, 2), -1)


@pytest.mark.parametrize(
    ("theta", "target", "message"),
    [
        ({"a": [1], "w": [0], "b": [0], "c": 0}, x, "w = b = 0"),
        ({"a": [1], "w": [1], "b": [-1], "c": 0}, x, "on the end 1"),
        ({"a": [1], "w": [2], "b": [-1], "c": 0}, sign(x - Rational(1, 2)), "jump of the target at 1/2"),
    ],
)
def test_no_hessian_at_a_wall(theta, target, message):
    with pytest.raises(AssumptionError, match=message):
        _ = interval_point(line(target=target), theta).hessian


def test_a_kink_on_an_end_where_the_residual_vanishes_has_a_hessian():
    point = interval_point(line(target=Integer(0) * x), {"a": [1], "w": [1], "b": [-1], "c": 0})
    assert point.hessian[3, 3] == 2


def test_without_input_bias_the_kink_stays_at_zero():
    interval = line(lower=-1, input_bias=False)
    point = interval_point(interval, {"a": [2, 1], "w": [1, -3], "c": "1/2"})
    t = symbols("a_1 a_2 w_1 w_2 c_0", positive=True)
    left = t[4] + t[1] * t[3] * -x  # for x < 0, with w_2 = -t[3]
    right = t[4] + t[0] * t[2] * x
    risk = integral(expand((left - x) ** 2), x, Integer(-1), Integer(0)) + integral(
        expand((right - x) ** 2), x, Integer(0), Integer(1)
    )
    rule = dict(zip(t, [2, 1, 1, 3, Rational(1, 2)], strict=True))
    assert point.value == risk.subs(rule)
    signs = [1, 1, 1, -1, 1]
    assert point.gradient == tuple(s * risk.diff(u).subs(rule) for s, u in zip(signs, t, strict=True))
    assert point.hessian[2, 3] == -risk.diff(t[2], t[3]).subs(rule)
    with pytest.raises(AssumptionError, match="every kink is at x = 0"):
        list(cells(interval, 1))


@pytest.mark.parametrize(
    ("build", "error", "message"),
    [
        (lambda: line(activation("max(z, tanh(z))")), AssumptionError, "polynomial for z < 0"),
        (lambda: line(activation("step(z)")), AssumptionError, "jumps at 0"),
        (lambda: line(loss="hinge"), AssumptionError, "'hinge' has a kink"),
        (lambda: interval_point(line("tanh"), GENERIC), AssumptionError, "'tanh' is not piecewise polynomial"),
        (lambda: interval_point(line(loss="logistic"), GENERIC), AssumptionError, "'logistic' is no polynomial"),
        (lambda: CellRisk(line(target=1 / (x + 1)), Cell(("positive",))), AssumptionError, r"target 1/\(x \+ 1\) is no polynomial in x"),
        (lambda: pieces(1 / x, x, Integer(0), Integer(1)), AssumptionError, "target that is a polynomial"),
        (lambda: line(target=Abs(x - alpha)), AssumptionError, "not exact numbers"),
        (lambda: line(lower=1), ValueError, "required is lower < upper"),
        (lambda: line(reduction="sum"), ValueError, "'integral' or 'mean'"),
        (lambda: line().derive("gradeint"), ValueError, "did you mean 'gradient'"),
        (lambda: IntervalProblem(Problem.deep(3, "relu", "square"), Integer(0), Integer(1), x, x), AssumptionError, "two-layer"),
        (lambda: interval_point(line(), {"a": [1]}), ValueError, "this network has a, w, b, c"),
        (lambda: interval_point(line(), {**GENERIC, "b": [1]}), ValueError, "'b' has 1 numbers, a has 2"),
        (lambda: interval_point(line(target=alpha * x), GENERIC), AssumptionError, "needs numbers for alpha"),
        (lambda: Cell(("up",)), ValueError, "one of right, left"),
        (lambda: Cell(("right",)), ValueError, "kinks inside"),
        (lambda: CellRisk(line(), Cell(("positive",), ((), ()))), ValueError, "1 pieces, the order of the cell 2"),
        (lambda: CellRisk(line(), Cell(("positive",))).derive("flow"), ValueError, "no derivation 'flow' of a cell"),
    ],
)  # fmt: skip
def test_refusals(build, error, message):
    with pytest.raises(error, match=message):
        build()


def test_smooth_networks_keep_their_integrals():
    smooth = line("tanh", target=Abs(x - Rational(1, 3)) + exp(x))
    assert smooth.jump == 0
    assert [u.upper for u in smooth.target_pieces] == [Rational(1, 3), 1]
    assert r"\int\limits_{0}^{1} r(x) \sigma'(w_k x + b_k) x\, dx" in smooth.derive("gradient-flow").latex()
    for what in INTERVAL_WHATS:
        assert "p[k]" not in smooth.derive(what).text()  # no term of a moving kink
    assert line("quadratic").inexact == line(target=Abs(x - Rational(1, 2))).inexact == ""


# ---- pieces -------------------------------------------------------------------------------------------------


def test_nested_kinks_are_cut_exactly():
    bump = relu(1 - Abs(3 * x - 2))
    found = pieces(bump, x, Integer(0), Integer(1))
    assert [(u.lower, u.upper, u.expr) for u in found] == [
        (0, Rational(1, 3), 0),
        (Rational(1, 3), Rational(2, 3), 3 * x - 1),
        (Rational(2, 3), 1, 3 - 3 * x),
    ]
    roots = pieces(Abs(x**2 - Rational(1, 2)), x, Integer(0), Integer(1))
    assert [u.upper for u in roots] == [sqrt(2) / 2, 1]
    total = Add(*[integral(u.expr, x, u.lower, u.upper) for u in roots])
    assert float(total) == pytest.approx(
        float(mpmath.quad(lambda t: abs(t * t - 0.5), [0, 0.5**0.5, 1])), rel=1e-12
    )


def test_half_lines_of_activations():
    z = next(iter(activation("relu").expr.free_symbols))
    assert half_lines(activation("max(z, z/3)")) == (z / 3, z)
    assert half_lines(activation("cubic")) == (z**3, z**3)
    assert factor(half_lines(activation("z*abs(z)"))[0] + z**2) == 0


def test_a_target_with_a_singularity_in_the_interval_is_refused():
    x = Symbol("x", real=True)
    network = Problem.two_layer("relu", "square", input_bias=True)
    for target in (1 / x, 1 / (2 * x - 1)):
        with pytest.raises(AssumptionError, match="has a singularity"):
            IntervalProblem(network, Integer(-1), Integer(1), x, target)
    IntervalProblem(network, Integer(-1), Integer(1), x, 1 / (1 + x**2))
