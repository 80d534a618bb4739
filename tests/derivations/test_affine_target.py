import itertools

import numpy as np
import pytest
from sympy import Integer, Matrix, N, Rational, Symbol, simplify, sqrt, sympify
from sympy.polys.matrices import DomainMatrix

from derivations.activations import activation
from derivations.affine_target import Shape, inertia_of, kink_functions, sign_of
from derivations.errors import AssumptionError
from derivations.interval import IntervalProblem
from derivations.interval_cells import CellRisk, cells
from derivations.interval_critical import critical_kinks
from derivations.problem import Problem

X = Symbol("x", real=True)
ZERO, ONE = Integer(0), Integer(1)


def shape(left, slope=1, lower=0, upper=1, intercept=0, right=1):
    return Shape(sympify(left), *map(Integer, (right, lower, upper, slope, intercept, 2)))


def leaky(g):
    network = Problem.two_layer(
        activation(f"max(z, {g}*z)"), "square", input_bias=True, output_bias=True, factor=2
    )
    return IntervalProblem(network, ZERO, ONE, X, X)


def close(values, published):
    return np.allclose([float(u) for u in values], published, rtol=1e-9, atol=0)


def test_relu_values_are_those_of_even_numbers_of_kinks():
    found = kink_functions(shape(0), 6)
    assert [u.value for u in found] == [Rational(1, 12 * (n + 1) ** 4) for n in (0, 2, 4, 6)]
    assert [u.orientations for u in found] == [("right", "left") * k for k in range(4)]
    assert [u.inertia for u in found] == [(n, n, n + 1) for n in (0, 2, 4, 6)]


def test_a_relu_kink_function_scales_with_slope_and_interval():
    found = kink_functions(shape(0, slope=-3, lower=-1, upper=2, intercept=5), 2)[1]
    assert found.value == Rational(9 * 27, 12 * 81)
    assert found.kinks == (0, 1)
    assert found.slopes == (-2, -2)


def test_leaky_relu_has_the_published_values():
    found = {u.orientations: u for u in kink_functions(shape(Rational(1, 4)), 2)}
    assert found["right",].value == found["left",].value == Rational(1, 108)
    assert (found["right",].kinks, found["right",].slopes) == ((Rational(2, 3),), (2,))
    assert found["left",].kinks == (Rational(1, 3),)
    right, left = found["right", "left"], found["left", "right"]
    assert close(
        [right.value, *right.kinks, *right.slopes],
        [0.000495927168, 0.3207149131, 0.6792850869, *[0.6075710521] * 2],
    )
    assert close(
        [left.value, *left.kinks, *left.slopes],
        [0.00232921501, 0.2360679775, 0.7639320225, *[1.3665631460] * 2],
    )
    assert set(found) == {(), ("right",), ("left",), ("right", "left"), ("left", "right")}


def test_three_leaky_kinks_have_the_published_values():
    found = next(
        u for u in kink_functions(shape(Rational(1, 4)), 3) if u.orientations == ("right", "left", "right")
    )
    assert close([found.value, *found.kinks], [0.000240592565, 0.2676610825, 0.5669152706, 0.8661694587])
    assert found.inertia == (3, 3, 4)


def test_a_symbolic_slope_gives_the_closed_form():
    t = Symbol("t", positive=True)
    g = 1 / (1 + t)  # any number between 0 and 1
    for found in kink_functions(shape(g), 1)[1:]:
        root = sqrt(g)
        assert simplify(found.value - (1 - root) ** 2 / (12 * (1 + root) ** 2)) == 0
        place = 1 / (1 + root) if found.orientations == ("right",) else root / (1 + root)
        assert simplify(found.kinks[0] - place) == 0


def test_slopes_whose_sign_is_open_are_refused():
    with pytest.raises(AssumptionError, match="sign"):
        kink_functions(shape(Symbol("g", positive=True)), 2)


def test_a_constant_target_leaves_only_itself():
    assert kink_functions(shape(0, slope=0), 3) == ()


def test_an_even_activation_has_no_kinks():
    assert [u.value for u in kink_functions(shape(Integer(-1)), 4)] == [Rational(1, 12)]


@pytest.mark.parametrize("g", ["1/4", "0", "1/10"])
def test_one_neuron_agrees_with_the_stationary_points_of_its_profile(g):
    line = leaky(g)
    expected = set()
    for cell in cells(line, 1):
        if cell.orientations[0] in ("right", "left"):
            for point in critical_kinks(CellRisk(line, cell)):
                values = {str(k): float(v) for k, v in point.items()}
                expected.add((cell.orientations, round(values["p"], 12), round(values["mu"], 12)))
    found = {
        (u.orientations, round(float(u.kinks[0]), 12), round(float(u.slopes[0]), 12))
        for u in kink_functions(shape(Rational(g)), 1)[1:]
    }
    assert found == expected


@pytest.mark.parametrize(("g", "width"), [("0", 2), ("1/4", 1), ("1/4", 2), ("-1/2", 2)])
def test_the_gradient_of_the_exact_risk_vanishes_on_the_cell(g, width):
    line = leaky(g)
    for u in kink_functions(shape(Rational(g)), width):
        if len(u.kinks) != width:
            continue
        cell = next(
            c
            for c in cells(line, width)
            if c.orientations == u.orientations and c.order == (tuple(range(width)),)
        )
        risk = CellRisk(line, cell)
        at = dict(zip(risk.symbols("mu"), u.slopes, strict=True)) | dict(
            zip(risk.symbols("p"), u.kinks, strict=True)
        )
        sides = [(Rational(g) if name == "right" else 1) for name in u.orientations]
        at[risk.c] = u.at_lower - sum(
            s * mu * (0 - p) for s, mu, p in zip(sides, u.slopes, u.kinks, strict=True)
        )
        assert all(abs(N(v.xreplace(at), 30)) < 1e-25 for v in risk.gradient_in_kinks)
        assert abs(N(risk.risk_in_kinks.xreplace(at) - u.value, 30)) < 1e-25


def test_the_inertia_is_that_of_the_eigenvalues():
    draws = np.random.default_rng(0)
    for _ in range(20):
        a = draws.integers(-2, 3, (4, 3))
        matrix = a @ np.diag(draws.choice([-1, 1], 3)) @ a.T
        values = np.linalg.eigvalsh(matrix.astype(float))
        expected = (int((values < -1e-9).sum()), int((abs(values) <= 1e-9).sum()), int((values > 1e-9).sum()))
        assert inertia_of(DomainMatrix.from_Matrix(Matrix(matrix.tolist())).to_field()) == expected


def test_signs_of_rational_functions_of_positive_symbols():
    t = Symbol("t", positive=True)
    assert [sign_of(u) for u in (t / (1 + t), -1 / (1 + t), t - t, sqrt(2) - Rational(3, 2))] == [
        1,
        -1,
        0,
        -1,
    ]


def test_too_many_kinks_are_refused():
    with pytest.raises(ValueError, match="from 0 to 6"):
        kink_functions(shape(0), 7)


def test_kinks_and_ends_follow_one_another():
    for u in kink_functions(shape(Rational(1, 4)), 2):
        assert all(float(a) < float(b) for a, b in itertools.pairwise(u.nodes))
        assert u.nodes[0] == 0
        assert u.nodes[-1] == 1
