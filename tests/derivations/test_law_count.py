"""Conservation laws counted and searched: every check value of Marcotte, Gribonval, Peyre that concerns an architecture."""

from __future__ import annotations

import math

import pytest
from sympy import Rational, log, simplify, symbols

from derivations.claim import Status
from derivations.errors import AssumptionError
from derivations.law_count import (
    count_laws,
    law_count,
    lie_algebra_dimension,
    polynomial_potentials,
    rate_of_change,
)
from derivations.law_search import law_search, search_laws
from derivations.potentials import Span, at_point, potentials
from derivations.problem import Problem


def two_layer(activation, n, m, r, **options):
    """U sigma(V^T x) with U n x r and V m x r, in the letters of the paper."""
    return Problem.two_layer(activation, vector_output=True, **options), {"m": r, "d": m, "o": n}


def deep_linear(*widths):
    depth = len(widths) - 1
    problem = Problem.deep(depth, "linear", input_bias=False, output_bias=False, vector_output=True)
    hidden = {f"m{layer}": widths[layer] for layer in range(1, depth)}
    return problem, {"d": widths[0], "o": widths[-1], **hidden}


@pytest.mark.parametrize(
    ("n", "m", "r", "dimension", "trace", "laws"),
    [
        (1, 1, 1, 2, 1, 1),
        (1, 1, 2, 4, 1, 3),
        (1, 2, 2, 6, 3, 3),
        (2, 2, 3, 12, 6, 6),
        (2, 3, 4, 20, 10, 10),
        (1, 2, 5, 15, 3, 12),
        (3, 3, 2, 12, 9, 3),
    ],
)
def test_two_layer_linear_networks(n, m, r, dimension, trace, laws):
    found = law_count(*two_layer("linear", n, m, r))
    assert (found.dimension, found.trace, found.laws, found.known) == (dimension, trace, laws, laws)
    assert (found.status, found.complete) == (Status.PROVED, True)
    # the closed form: r (r + 1)/2 for r <= n + m, else (n + m) r - (n + m)(n + m - 1)/2
    s = n + m
    assert laws == (r * (r + 1) // 2 if r <= s else s * r - s * (s - 1) // 2)


@pytest.mark.parametrize(
    ("sizes", "algebra"), [((2, 3, 4), 10), ((3, 3, 2), 15), ((1, 1, 1), 1), ((2, 2, 3), 6)]
)
def test_the_lie_algebra_of_a_linear_network_is_orthogonal(sizes, algebra):
    assert lie_algebra_dimension(potentials(*two_layer("linear", *sizes))) == algebra
    n, m, _ = sizes
    assert algebra == (n + m) * (n + m - 1) // 2


@pytest.mark.parametrize(
    ("sizes", "options", "dimension", "trace", "laws"),
    [((1, 2, 2), {}, 6, 4, 2), ((3, 2, 3), {}, 15, 12, 3), ((2, 2, 3), {"input_bias": True}, 15, 12, 3)],
)
def test_relu_networks_have_one_law_for_each_neuron(sizes, options, dimension, trace, laws):
    found = law_count(*two_layer("relu", *sizes, **options))
    assert (found.dimension, found.trace, found.laws, found.known) == (dimension, trace, laws, laws)
    assert (found.status, found.complete) == (Status.PROVED, True)
    assert not found.whole  # inputs were drawn; the known laws close the gap


@pytest.mark.parametrize(("sizes", "algebra"), [((1, 2, 2), 6), ((3, 2, 3), 30)])
def test_the_lie_algebra_of_a_relu_network_is_a_sum_over_neurons(sizes, algebra):
    assert lie_algebra_dimension(potentials(*two_layer("relu", *sizes))) == algebra


def test_relu_neurons_on_a_line_merge_into_a_linear_network():
    """d = 1 without bias: all hyperplanes are {0}; neurons with one sign of v see the same data."""
    counts = {law_count(Problem.two_layer("relu"), {"m": 2, "d": 1}, seed=s).laws for s in range(6)}
    assert counts == {2, 3}
    for seed in range(6):
        found = law_count(Problem.two_layer("relu"), {"m": 2, "d": 1}, seed=seed)
        same = found.point[2] * found.point[3] > 0
        assert (found.laws, found.known, found.complete) == ((3, 2, False) if same else (2, 2, True))


@pytest.mark.parametrize(
    ("d", "signs", "laws"),
    [
        (2, "++", 0),
        (2, "+++", 2),
        (2, "+-", 1),
        (2, "++--", 4),
        (3, "++-", 2),
        (3, "+--+", 4),
        (3, "++++", 3),
        (4, "++--", 4),
    ],
)
def test_quadratic_networks_with_fixed_signs(d, signs, laws):
    problem = Problem.two_layer("quadratic", freeze=("a",))
    values = {"a": [1 if sign == "+" else -1 for sign in signs]}
    found = law_count(problem, {"m": len(signs), "d": d}, values=values)
    assert (found.laws, found.known) == (laws, 0)
    assert (found.status, found.complete) == (
        (Status.PROVED, True) if laws == 0 else (Status.SUPPORTED, False)
    )


@pytest.mark.parametrize(
    ("d", "r", "laws", "known"), [(1, 1, 1, 1), (2, 1, 1, 1), (2, 2, 2, 2), (1, 2, 3, 2)]
)
def test_quadratic_networks_with_trained_outputs(d, r, laws, known):
    found = law_count(Problem.two_layer("quadratic"), {"m": r, "d": d})
    assert (found.laws, found.known, found.complete) == (laws, known, laws == known)
    assert found.status is Status.PROVED


@pytest.mark.parametrize(
    ("widths", "laws", "known"),
    [
        ((2, 1, 1, 2), 2, 2),
        ((2, 2, 1), 3, 3),
        ((2, 1, 2, 1), 4, 4),
        ((1, 2, 1, 1), 4, 4),
        ((2, 2, 2, 1), 6, 6),
        ((1, 1, 1, 1), 2, 2),
        ((1, 2, 2, 1), 7, 6),
    ],
)
def test_deep_linear_networks(widths, laws, known):
    found = law_count(*deep_linear(*widths))
    assert (found.laws, found.known, found.complete) == (laws, known, laws == known)
    assert found.status is Status.PROVED


@pytest.mark.parametrize(
    ("sigma", "law"),
    [
        ("relu", "a1**2 - w11**2"),
        ("leaky_relu(1/10)", "a1**2 - w11**2"),
        ("relu_power(2)", "2*a1**2 - w11**2"),
        ("cubic", "3*a1**2 - w11**2"),
        ("relu(z)**2 - 3*relu(-z)**2", "2*a1**2 - w11**2"),
        ("z + z**3", None),
        ("relu(z) + z**2", None),
    ],
)
def test_one_neuron_has_a_law_if_and_only_if_its_activation_is_homogeneous(sigma, law):
    """C5: powers on both sides of 0, with different coefficients, and then p a^2 - w^2."""
    found = law_search(Problem.two_layer(sigma), {"m": 1, "d": 1})
    assert [str(u) for u in found.laws] == ([law] if law else [])
    assert found.count.laws == (0 if law is None else 1)


def test_two_levels_of_brackets_are_needed_where_the_paper_says_so():
    assert law_count(*deep_linear(2, 2, 2, 1)).levels == (2, 3, 4, 4)


def test_structured_points_are_not_generic():
    """Equal neurons: the rank of the gradient fields drops, which is why points are random."""
    problem, sizes = two_layer("linear", 1, 2, 2)
    found = potentials(problem, sizes)
    a1, a2, w11, w12, w21, w22 = symbols("a11 a21 w11 w12 w21 w22")
    outputs = [a1 * w11 + a2 * w21, a1 * w12 + a2 * w22]
    generic = polynomial_potentials(outputs, [a1, a2, w11, w12, w21, w22])
    equal = polynomial_potentials(outputs, [a1, a2, w11, w12, w21, w22], point=[1, 1, 2, 3, 2, 3])
    assert count_laws(generic).trace == count_laws(found).trace == 3
    assert count_laws(equal).trace < 3


def test_rates_and_frozen_blocks_enter():
    problem = Problem.two_layer("relu", rate=(("a", Rational(3)),))
    (law,) = law_search(problem, {"m": 1, "d": 2}).laws
    assert str(law) == "a1**2 - 3*w11**2 - 3*w12**2"
    frozen = Problem.two_layer("linear", freeze=("a",))
    assert law_count(frozen, {"m": 2, "d": 1}).laws == 1  # the direction orthogonal to a
    assert law_search(frozen, {"m": 2, "d": 1}, degree=1, values={"a": [2, 3]}).independent == 1


# ---- two residual blocks, a law that is no polynomial


def residual_blocks():
    u, v, s, t = symbols("u v s t", positive=True)
    return (u, v, s, t), polynomial_potentials([(1 + u * v) * (1 + s * t)], [u, v, s, t])


def test_residual_blocks_have_a_third_law_that_no_polynomial_search_finds():
    _, blocks = residual_blocks()
    found = search_laws(blocks, 4)
    assert (found.count.laws, found.independent, found.complete) == (3, 2, False)
    assert found.count.status is Status.PROVED


def test_the_third_law_of_residual_blocks():
    (u, v, s, t), _ = residual_blocks()
    potential = (1 + u * v) * (1 + s * t)

    def half(p, q):
        return log((p + q) / (p - q)) / 2 + (p**2 + q**2) / 4

    law = half(u, v) - half(s, t)
    assert simplify(sum(law.diff(p) * potential.diff(p) for p in (u, v, s, t))) == 0


def test_the_residual_network_keeps_its_three_laws_along_the_flow():
    """The check value: theta(5) from (0.6, 0.3, 0.2, 0.5), by Runge-Kutta of order 4."""
    xs, ys = (1.0, -0.7, 0.4), (2.5, 0.3, -0.6)

    def relu(z):
        return max(z, 0.0)

    def flow(theta):
        u, v, s, t = theta
        total = [0.0] * 4
        for x, y in zip(xs, ys, strict=True):
            h = x + u * relu(v * x)
            error = h + s * relu(t * h) - y
            first, second = float(v * x > 0), float(t * h > 0)
            inner = 1 + s * t * second
            slopes = (inner * relu(v * x), inner * u * x * first, relu(t * h), s * h * second)
            total = [g - 2 / 3 * error * slope for g, slope in zip(total, slopes, strict=True)]
        return total

    def laws(theta):
        u, v, s, t = theta

        def half(p, q):
            return 0.5 * math.log(abs((p + q) / (p - q))) + (p * p + q * q) / 4

        return u * u - v * v, s * s - t * t, half(u, v) - half(s, t)

    theta = [0.6, 0.3, 0.2, 0.5]
    start, h = laws(theta), 5 / 4000
    for _ in range(4000):
        k1 = flow(theta)
        k2 = flow([p + h / 2 * q for p, q in zip(theta, k1, strict=True)])
        k3 = flow([p + h / 2 * q for p, q in zip(theta, k2, strict=True)])
        k4 = flow([p + h * q for p, q in zip(theta, k3, strict=True)])
        theta = [
            p + h / 6 * (a + 2 * b + 2 * c + d) for p, a, b, c, d in zip(theta, k1, k2, k3, k4, strict=True)
        ]
    assert theta == pytest.approx([0.79673401, 0.60397440, 0.47680666, 0.66132034], abs=1e-8)
    assert start == pytest.approx((0.27, -0.21, 0.16565721), abs=1e-8)
    assert laws(theta) == pytest.approx(start, abs=1e-9)


# ---- the search


def test_independent_is_not_linearly_independent():
    """W3: four quadratic laws of the (1, 1, 2) network, three independent ones."""
    found = law_search(*two_layer("linear", 1, 1, 2))
    assert {str(law) for law in found.laws} == {
        "a11**2 - w11**2",
        "a21**2 - w21**2",
        "a11*a21 - w11*w21",
        "a11*w21 - a21*w11",
    }
    assert (found.independent, found.complete) == (3, True)
    first, second, third, fourth = (
        next(law for law in found.laws if str(law) == name)
        for name in ("a11**2 - w11**2", "a21**2 - w21**2", "a11*a21 - w11*w21", "a11*w21 - a21*w11")
    )
    assert (third**2 - first * second - fourth**2).expand() == 0


def test_every_law_that_is_found_is_proved_and_all_balances_are_found():
    found = law_search(*two_layer("linear", 2, 3, 4))
    assert len(found.laws) == found.independent == found.count.laws == 10
    assert set(found.residuals) == {0}
    assert "a11*a21 + a12*a22 - w11*w21 - w12*w22 - w13*w23" in {str(law) for law in found.laws}


def test_inner_products_of_neurons_of_opposite_sign():
    values = {"a": [1, 1, -1, -1]}
    problem = Problem.two_layer("quadratic", freeze=("a",))
    found = law_search(problem, {"m": 4, "d": 2}, values=values)
    assert {str(law) for law in found.laws} == {f"w{p}1*w{q}1 + w{p}2*w{q}2" for p in (1, 2) for q in (3, 4)}
    assert found.complete


def test_a_higher_degree_finds_products_but_no_new_law():
    problem, sizes = two_layer("linear", 1, 1, 1)
    assert [len(law_search(problem, sizes, degree=k).laws) for k in (1, 2, 3, 4)] == [0, 1, 1, 2]
    assert law_search(problem, sizes, degree=4).independent == 1


def test_there_is_no_law_where_there_is_none():
    problem = Problem.two_layer("quadratic", freeze=("a",))
    found = law_search(problem, {"m": 2, "d": 2}, degree=3, values={"a": [1, 1]})
    assert (found.laws, found.independent, found.complete) == ((), 0, True)


# ---- the pieces


def test_a_quantity_that_is_not_conserved_is_refused():
    found = potentials(*two_layer("linear", 1, 1, 1))
    a, w = found.ring.gens
    assert rate_of_change(a**2 - w**2, found.polynomials[0], found.rates) == 0
    with pytest.raises(ValueError, match="not conserved"):
        count_laws(found, [a**2 + w**2])


def test_potentials_of_a_polynomial_activation_are_its_coefficients_in_the_data():
    found = potentials(Problem.two_layer("z + z**2", input_bias=True), {"m": 1, "d": 1})
    a, w, b = found.ring.gens
    assert set(found.polynomials) == {a * b + a * b**2, a * w + 2 * a * w * b, a * w**2}
    assert found.whole


def test_span_is_exact():
    span = Span()
    assert span.add({0: 1, 1: 2})
    assert span.add({1: 1, 2: 1})
    assert not span.add({0: 1, 1: 3, 2: 1})
    assert not span.add({})
    assert span.add({0: 1, 1: 3, 2: Rational(10**30 + 1, 10**30)})
    assert len(span) == 3


def test_points_are_random_and_repeatable():
    first = law_count(*two_layer("linear", 1, 2, 2), seed=1)
    assert first.point == law_count(*two_layer("linear", 1, 2, 2), seed=1).point
    assert first.point != law_count(*two_layer("linear", 1, 2, 2), seed=2).point
    assert all(value != 0 for value in first.point)


def test_values_of_polynomials_at_points():
    found = potentials(*two_layer("linear", 1, 1, 1))
    (p,) = found.polynomials
    assert at_point(p, found.point) == found.point[0] * found.point[1]


@pytest.mark.parametrize(
    ("found", "words"),
    [
        (
            law_count(*two_layer("linear", 1, 2, 2)),
            ["exactly 3 independent functions are", "function of the known ones"],
        ),
        (
            law_count(*deep_linear(1, 2, 2, 1)),
            ["exactly 7 independent functions", "give 6 of them: there are more"],
        ),
        (
            law_count(Problem.two_layer("quadratic", freeze=("a",)), {"m": 2, "d": 2}, values={"a": [1, 1]}),
            ["no function is conserved"],
        ),
        (law_count(*two_layer("relu", 1, 2, 1)), ["exactly 1 function is conserved", "within its cells"]),
    ],
)
def test_the_sentence_says_what_is_known(found, words):
    statement = found.statement()
    assert statement.status is found.status
    assert all(word in statement.statement for word in words), statement.statement
    assert all(step.endswith(".") for step in statement.steps)


@pytest.mark.parametrize(
    ("problem", "sizes", "options", "error", "message"),
    [
        (Problem.two_layer("tanh"), {"m": 1, "d": 1}, {}, AssumptionError, "law_rank"),
        (Problem.two_layer(), {"m": 1, "d": 1}, {}, AssumptionError, "sigma is general"),
        (Problem.two_layer("relu"), {"m": 1}, {}, ValueError, "size d is missing"),
        (Problem.two_layer("relu"), {"m": 0, "d": 1}, {}, ValueError, "at least 1"),
        (
            Problem.two_layer("relu", freeze=("a", "w")),
            {"m": 1, "d": 1},
            {},
            ValueError,
            "no block is trained",
        ),
        (
            Problem.two_layer("relu"),
            {"m": 1, "d": 1},
            {"values": {"a": [1]}},
            ValueError,
            "frozen blocks are",
        ),
        (
            Problem.two_layer("relu", freeze=("a",)),
            {"m": 2, "d": 1},
            {"values": {"a": [1]}},
            ValueError,
            "more entries",
        ),
        (
            Problem.two_layer("linear", output_bias=True, scale="1/sqrt(m)"),
            {"m": 2, "d": 1},
            {},
            ValueError,
            "rational",
        ),
    ],
)
def test_what_cannot_be_counted_is_refused(problem, sizes, options, error, message):
    with pytest.raises(error, match=message):
        law_count(problem, sizes, **options)


def test_a_search_of_no_degree_or_too_many_unknowns_is_refused():
    with pytest.raises(ValueError, match="degree 0"):
        law_search(*two_layer("linear", 1, 1, 1), degree=0)
    with pytest.raises(ValueError, match="takes 1 to"):
        law_search(*two_layer("linear", 2, 3, 4), degree=5)
