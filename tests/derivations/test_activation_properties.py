"""Derived properties: exact where a hand computation is known, against dense numerical scans, and undecided where they must be."""

from __future__ import annotations

import re
import shutil
import subprocess
from itertools import pairwise

import mpmath
import pytest
from sympy import E, Integer, Rational, S, erf, exp, log, oo, pi, sqrt

from derivations.activation_bounds import Tail, lipschitz, supremum, tail
from derivations.activation_properties import half_line, is_analytic_formula
from derivations.activation_rows import properties
from derivations.activation_table import activation_table
from derivations.activations import REGISTRY, Z, activation
from derivations.cells import NotDecided, cells, real_zeros
from derivations.claim import Status
from derivations.decide import Finding, identically_zero, is_zero, vanishes_for_positive
from derivations.functions import relu, step
from derivations.registry import MEMBERS

NAMES = [*REGISTRY, *MEMBERS]
#: Formulas that are not registered, for what must hold of any.
FORMULAS = [
    "z*tanh(z)",
    "sin(z) - tanh(z)",
    "abs(z - 1) + relu(z)",
    "log(1 + z**2)",
    "sqrt(1 + z**2)",
    "atan(z)",
    "max(z, z/10, -1)",
]


def values(sigma, order, points):
    formula = sigma.derivative(order)
    return [float(formula.subs(Z, Rational(point)).evalf(20)) for point in points]


# ---- decisions


def test_decisions_about_constants():
    assert is_zero(sqrt(3 + 2 * sqrt(2)) - 1 - sqrt(2)) is Status.PROVED
    assert is_zero(sqrt(2) - Rational(141421356237, 10**11)) is Status.REFUTED
    assert is_zero(S.Infinity) is Status.REFUTED
    with pytest.raises(ValueError, match="identically_zero"):
        is_zero(Z)


def test_one_side_alone_can_vanish():
    assert vanishes_for_positive(relu(-Z), Z).proved
    assert vanishes_for_positive(relu(Z), Z).refuted
    assert identically_zero(relu(Z) * relu(-Z), Z).proved


# ---- parity up to an affine part

AFFINE = {
    **dict.fromkeys(["linear", "cubic", "tanh", "erf", "sin", "softsign", "rational"], (-1, 0, 0)),
    **dict.fromkeys(["abs", "quadratic", "cos", "gaussian", "monomial(4)"], (1, 0, 0)),
    **dict.fromkeys(["relu", "softplus", "gelu", "silu", "swish", "erf_gelu"], (1, 0, -1)),
    "sigmoid": (-1, 1, 0),
    "leaky_relu(1/10)": (1, 0, Rational(-11, 10)),
    "polynomial(1, 1/2, 0, -1/3)": (-1, 2, 0),
    "exp": None,
    "relu_power(2)": None,
}


@pytest.mark.parametrize("name", NAMES)
def test_parity_up_to_an_affine_part(name):
    found = REGISTRY[name].affine_parity
    if AFFINE[name] is None:
        assert (found.sign, found.status) == (0, Status.REFUTED)
        return
    assert (found.sign, found.constant, found.slope) == AFFINE[name]
    for point, value in zip((0.7, 3.0), values(REGISTRY[name], 0, (0.7, 3))):
        (mirrored,) = values(REGISTRY[name], 0, (-Rational(point),))
        assert mirrored == pytest.approx(
            found.sign * value + float(found.constant + found.slope * point), abs=1e-12
        )


def test_parity_of_what_is_both_and_of_formulas():
    assert activation("1 - 2*z").affine_parity.sign == -1  # odd about 1
    assert activation("z + tanh(z) + 3").affine_parity.constant == 6
    assert activation("z**2 + z").affine_parity.slope == -2
    assert activation("exp(z) + z").affine_parity.status is Status.REFUTED


# ---- homogeneity on a half-line


@pytest.mark.parametrize(
    ("name", "right", "left"),
    [
        ("linear", (1, 1), (1, -1)),
        ("relu", (1, 1), (None, 0)),
        ("abs", (1, 1), (1, 1)),
        ("leaky_relu(1/10)", (1, 1), (1, Rational(-1, 10))),
        ("relu_power(3)", (3, 1), (None, 0)),
        ("monomial(4)", (4, 1), (4, 1)),
        ("relu(z) + 3*relu(-z)**2", (1, 1), (2, 3)),
        ("step(z)", (0, 1), (None, 0)),
        ("tanh", None, None),
        ("relu(z) + exp(z) - exp(abs(z))", (1, 1), None),
    ],
)
def test_homogeneity_on_each_side(name, right, left):
    for side, expected in ((1, right), (-1, left)):
        found = half_line(activation(name), side)
        if expected is None:
            assert (found.degree, found.factor, found.status) == (None, None, Status.REFUTED)
        else:
            assert (found.degree, found.factor, found.status) == (*expected, Status.PROVED)


def test_a_side_is_1_or_minus_1():
    for function in (half_line, tail):
        with pytest.raises(ValueError, match="got 0"):
            function(REGISTRY["relu"], 0)


# ---- cells and breaks


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("relu", [(0, 1)]),
        ("relu(2*z - 1)", [(Rational(1, 2), 1)]),
        ("relu_power(3)", [(0, 3)]),
        ("softsign", [(0, 2)]),
        ("step(z)", [(0, 0)]),
        ("abs(abs(z) - 1)", [(-1, 1), (0, 1), (1, 1)]),
        ("max(z, z/10, -1)", [(-10, 1), (0, 1)]),
        ("relu(z**2 - 2)", [(-sqrt(2), 1), (sqrt(2), 1)]),
        ("relu(z) + relu(-z)", [(0, 1)]),
        ("relu(z) - relu(-z)", []),  # the identity
        ("z*abs(z)", [(0, 2)]),
        ("abs(exp(z))", []),
        ("relu(tanh(z) - 1/3)", None),
        ("abs(sin(z))", None),  # infinitely many
        ("tanh", []),
        ("1/z", None),
    ],
)
def test_points_where_a_derivative_jumps(text, expected):
    found = activation(text).breaks
    if expected is None and text != "relu(tanh(z) - 1/3)":
        assert (found.value, found.status) == (None, Status.UNDECIDED)
    elif expected is None:
        (kink,) = found.value  # artanh(1/3) = log(2)/2
        assert (is_zero(kink.point - log(2) / 2), kink.order) == (Status.PROVED, 1)
    else:
        assert [(u.point, u.order) for u in found.value] == expected
        assert found.status is Status.PROVED


def test_one_sided_derivatives_at_a_kink():
    (kink,) = activation("leaky_relu(1/10)").breaks.value
    assert kink.left[:3] == (0, Rational(1, 10), 0)
    assert kink.right[:3] == (0, 1, 0)
    (kink,) = activation("exp(abs(z))").breaks.value
    assert (kink.left, kink.right) == ((1, -1, 1, -1, 1), (1, 1, 1, 1, 1))


def test_cells_cover_the_line_and_hold_the_function():
    for text in ["abs(abs(z) - 1) + relu(z - 3)*z", "max(z, z/10, -1)", "step(z)*(z**2 + 1)"]:
        sigma = activation(text)
        parts = cells(sigma.expr, Z)
        assert (parts[0].lower, parts[-1].upper) == (-oo, oo)
        for before, after in pairwise(parts):
            assert before.upper == after.lower
        for part in parts:
            assert part.lower < part.inner < part.upper
            assert part.inner.is_Rational
            assert (sigma.expr - part.expr).subs(Z, part.inner) == 0


def test_narrow_cells_have_an_inner_point():
    parts = cells(relu(Z - sqrt(2)) + relu(Z - Rational(14142135, 10**7)), Z)
    assert len(parts) == 3
    assert parts[1].lower < parts[1].inner < parts[1].upper


def test_zeros_that_cannot_be_listed_are_not_guessed():
    assert real_zeros((Z**2 - 2) * exp(Z), Z, -oo, oo) == (-sqrt(2), sqrt(2))
    assert real_zeros((Z**2 - 2) * exp(Z), Z, S.Zero, oo) == (sqrt(2),)
    with pytest.raises(NotDecided):
        real_zeros(Z - exp(-(Z**3)) + erf(Z), Z, -oo, oo)
    with pytest.raises(NotDecided, match="interval"):
        real_zeros(Integer(0), Z, -oo, oo)


# ---- analyticity


@pytest.mark.parametrize("name", NAMES)
def test_analyticity_of_the_registry(name):
    kinked = {"relu", "abs", "softsign", "leaky_relu(1/10)", "relu_power(2)"}
    found = REGISTRY[name].analytic
    assert (found.value, found.status) == (
        (False, Status.REFUTED) if name in kinked else (True, Status.PROVED)
    )


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("1/(1 + z**2)", True),
        ("1/(2 + sin(z))", True),
        ("1/(3/2 + tanh(z) + sin(sqrt(2)*z)/4)", None),  # true, but not shown
        ("log(1 + exp(z)) + atan(z)**3", True),
        ("sqrt(1 + z**4)", True),
        ("sqrt(z**2)", False),
        ("sin(z)/z", None),
        ("1/(1 - z**2)", None),
        ("tan(z)", None),
        ("2**z", True),
        ("1/(1 + abs(z))", False),
    ],
)
def test_analyticity_of_formulas_is_shown_or_left_open(text, value):
    assert activation(text).analytic.value is value


def test_analyticity_is_asked_on_the_closed_interval():
    assert is_analytic_formula(1 / (1 + Z), S.Zero, oo)
    assert not is_analytic_formula(1 / Z, S.Zero, oo)
    assert not is_analytic_formula(sqrt(Z), S.Zero, oo)


# ---- multiplicity


@pytest.mark.parametrize(
    ("text", "p"),
    [
        ("linear", 1),
        ("tanh", 1),
        ("z*tanh(z)", 2),
        ("z**2*tanh(z)", 3),
        ("sin(z) - tanh(z)", 3),  # papers/condensation.md: cancellation must be found by series
        ("z - sin(z) - z**3/6", 5),
        ("sigmoid", 1),
        ("softplus", 1),
        ("cos", 2),
        ("gaussian", 2),
        ("monomial(7)", 7),
        ("polynomial(5, 0, 0, 1/3)", 3),
        ("softsign", 1),  # the second derivative jumps, the first does not vanish
        ("sin(z)/z", 2),
        ("relu(z - 1) + z", 1),
    ],
)
def test_multiplicity(text, p):
    found = activation(text).multiplicity
    assert (found.value, found.status) == (p, Status.PROVED)


@pytest.mark.parametrize(
    ("text", "status"),
    [
        ("relu", Status.REFUTED),
        ("relu_power(2)", Status.REFUTED),
        ("abs", Status.REFUTED),
        ("abs(sin(z))", Status.UNDECIDED),
        ("z**20", Status.UNDECIDED),  # beyond the orders tried
    ],
)
def test_no_multiplicity(text, status):
    found = activation(text).multiplicity
    assert (found.value, found.status) == (None, status)


# ---- period and shift law


@pytest.mark.parametrize(
    ("text", "value", "status"),
    [
        ("sin", 2 * pi, Status.PROVED),
        ("cos", 2 * pi, Status.PROVED),
        ("sin(3*z) + cos(2*z)", 2 * pi, Status.PROVED),
        ("sin(z)**2", pi, Status.PROVED),
        ("abs(sin(z))", pi, Status.PROVED),
        ("tanh", None, Status.REFUTED),
        ("linear", None, Status.REFUTED),
        ("exp", None, Status.REFUTED),
        ("relu", None, Status.REFUTED),
        ("z*sin(z)", None, Status.UNDECIDED),
        ("sin(z) + sin(sqrt(2)*z)", None, Status.UNDECIDED),
    ],
)
def test_period(text, value, status):
    found = activation(text).period
    assert (found.value, found.status) == (value, status)


@pytest.mark.parametrize(
    ("text", "value", "status"),
    [
        ("exp", 1, Status.PROVED),
        ("2*exp(-z/3)", Rational(-1, 3), Status.PROVED),
        ("exp(z) + 1", None, Status.REFUTED),
        ("tanh", None, Status.REFUTED),
        ("step(z)", None, Status.REFUTED),  # sigma' = 0 almost everywhere, and yet no shift law
        ("sigmoid", None, Status.REFUTED),
    ],
)
def test_exponential_shift_law(text, value, status):
    found = activation(text).shift_rate
    assert (found.value, found.status) == (value, status)


# ---- infinity


@pytest.mark.parametrize(
    ("name", "left", "right"),
    [
        ("linear", (-oo, 1, 0), (oo, 1, 0)),
        ("relu", (0, 0, 0), (oo, 1, 0)),
        ("leaky_relu(1/10)", (-oo, Rational(1, 10), 0), (oo, 1, 0)),
        ("tanh", (-1, 0, -1), (1, 0, 1)),
        ("sigmoid", (0, 0, 0), (1, 0, 1)),
        ("softplus", (0, 0, 0), (oo, 1, 0)),
        ("gelu", (0, 0, 0), (oo, 1, 0)),
        ("silu", (0, 0, 0), (oo, 1, 0)),
        ("erf", (-1, 0, -1), (1, 0, 1)),
        ("softsign", (-1, 0, -1), (1, 0, 1)),
        ("rational", (0, 0, 0), (0, 0, 0)),
        ("gaussian", (0, 0, 0), (0, 0, 0)),
        ("exp", (0, 0, 0), (oo, None, None)),
        ("quadratic", (oo, None, None), (oo, None, None)),
        ("cubic", (-oo, None, None), (oo, None, None)),
        ("sqrt(1 + z**2) + z/2", (oo, Rational(-1, 2), 0), (oo, Rational(3, 2), 0)),
        ("abs(z - 1)", (oo, -1, 1), (oo, 1, -1)),
        ("atan(z)", (-pi / 2, 0, -pi / 2), (pi / 2, 0, pi / 2)),
    ],
)
def test_limits_and_asymptotes(name, left, right):
    sigma = activation(name)
    assert [found.value for found in sigma.tails] == [Tail(*left), Tail(*right)]
    for side, found in zip((-1, 1), sigma.tails):
        if found.value.slope is not None:
            at = Integer(side * 10**4)
            line = found.value.slope * at + found.value.offset
            assert abs(float((sigma.expr.subs(Z, at) - line).evalf(20))) < 2e-4


def test_a_limit_that_values_contradict_is_not_taken():
    """SymPy finds 0 for the offset of (z - 1)/(2 + exp(-2 z^2)), which is -1/2."""
    found = activation("relu(z - 1)/(2 + exp(-2*z**2))").tails[1]
    assert (found.value, found.status) in (
        (None, Status.UNDECIDED),
        (Tail(oo, Rational(1, 2), Rational(-1, 2)), Status.PROVED),
    )
    (found,) = {u.status for u in activation("1/log(2 + z**2)").tails}
    assert found is Status.UNDECIDED  # true, but too slow to be seen


def test_an_oscillating_offset_is_no_asymptote():
    assert activation("z + sin(z)").tails[1].value == Tail(oo, S.One, None)


def test_oscillation_has_no_limit():
    for name in ("sin", "cos"):
        for found in REGISTRY[name].tails:
            assert (found.value, found.status) == (None, Status.REFUTED)
            assert "oscillates between $-1$ and $1$" in found.reason


# ---- Lipschitz constants

EXACT = {
    "linear": (1, 0),
    "relu": (1, None),
    "abs": (1, None),
    "leaky_relu(1/10)": (1, None),
    "leaky_relu(-3)": (3, None),
    "relu_power(2)": (None, 2),
    "quadratic": (None, 2),
    "cubic": (None, None),
    "tanh": (1, 4 * sqrt(3) / 9),
    "sigmoid": (Rational(1, 4), sqrt(3) / 18),
    "softplus": (1, Rational(1, 4)),
    "erf": (2 / sqrt(pi), 2 * sqrt(2) * exp(-Rational(1, 2)) / sqrt(pi)),
    "gelu": ((1 + erf(1)) / 2 + 1 / (E * sqrt(pi)), sqrt(2 / pi)),
    "sin": (1, 1),
    "cos": (1, 1),
    "gaussian": (exp(-Rational(1, 2)), 1),
    "exp": (None, None),
    "softsign": (1, 2),
    "rational": (1, Rational(3, 4) + sqrt(2) / 2),
    "log(1 + z**2)": (1, 2),
    "sqrt(1 + z**2)": (1, 1),
    "atan(z)": (1, 3 * sqrt(3) / 8),
    "abs(z - 1) + relu(z)": (2, None),
    "tanh(3*z)": (3, 4 * sqrt(3)),
    "step(z)": (None, None),
}


@pytest.mark.parametrize("text", EXACT)
def test_exact_lipschitz_constants(text):
    for order, expected in enumerate(EXACT[text]):
        found = lipschitz(activation(text), order)
        if expected is None:
            assert (found.value, found.status) == (None, Status.REFUTED)
        else:
            assert found.status is Status.PROVED
            assert is_zero(found.value - expected) is Status.PROVED


@pytest.mark.parametrize("text", [*EXACT, "silu", "z*tanh(z)"])
def test_lipschitz_constants_bound_a_dense_scan_and_are_reached(text):
    sigma = activation(text)
    points = [Rational(k, 8) for k in range(-32, 33)]
    for order, found in enumerate((sigma.lipschitz, sigma.lipschitz_derivative)):
        if found.value is None:
            assert found.status is Status.REFUTED
            continue
        bound, radius = float(found.value), float(found.radius or 0)
        formula = sigma.derivative(order + 1)
        seen = max(abs(float(formula.subs(Z, point).evalf(15))) for point in points)
        assert seen <= bound + radius + 1e-14
        if radius:  # CERTIFIED: the maximum is attained near the middle
            assert seen >= bound - 5e-3


def test_a_certified_constant_of_silu():
    """1.0998393201..., where z tanh(z/2) = 2: Newton's method in thirty digits."""
    with mpmath.workdps(30):
        z = mpmath.findroot(lambda u: u * mpmath.tanh(u / 2) - 2, 2.4)
        s = 1 / (1 + mpmath.exp(-z))
        wanted = s + z * s * (1 - s)
        found = REGISTRY["silu"].lipschitz
        assert found.status is Status.CERTIFIED
        assert (
            abs(mpmath.mpf(str(found.value)) - wanted) <= mpmath.mpf(found.radius.p) / found.radius.q < 1e-12
        )


@pytest.mark.parametrize(
    "text", ["sin(z) - tanh(z)", "sin(z)/z", "abs(sin(z))", "1/(1 + exp(z**2))", "sin(z) + cos(sqrt(2)*z)"]
)
def test_what_is_not_known_stays_undecided(text):
    found = activation(text).lipschitz
    assert (found.value, found.status) == (None, Status.UNDECIDED)
    assert found.reason


def test_stationary_points_of_high_degree_give_a_certified_number():
    found = activation("tanh(2*z) + tanh(z)").lipschitz_derivative
    assert found.status is Status.CERTIFIED
    formula = activation("tanh(2*z) + tanh(z)").derivative(2)
    seen = max(abs(float(formula.subs(Z, Rational(k, 64)).evalf(15))) for k in range(64))
    assert seen <= float(found.value) <= seen + 1e-3
    assert found.radius < Rational(1, 10**12)


def test_the_order_of_a_lipschitz_constant():
    with pytest.raises(ValueError, match="got 2"):
        lipschitz(REGISTRY["tanh"], 2)


@pytest.mark.parametrize(
    ("expr", "lower", "upper", "value"),
    [
        (Z / (1 + Z**2), S.Zero, Rational(1, 2), Rational(2, 5)),  # increasing up to the end
        (Z**2 - Z, S.Zero, S.One, Rational(1, 4)),
        (step(Z - 1) * 0 + 3, -oo, oo, 3),
        (1 / Z, S.Zero, S.One, None),
    ],
)
def test_suprema_on_intervals(expr, lower, upper, value):
    found = supremum(expr, lower, upper)
    assert (found.value, found.status) == (value, Status.PROVED if value is not None else Status.REFUTED)


# ---- the table


@pytest.mark.parametrize("name", ["relu", "tanh", "softplus", "exp", "leaky_relu(1/10)", "abs(sin(z))"])
def test_table_rows(name):
    rows = properties(activation(name), highest_hermite=1)
    labels = [row.name for row in rows]
    assert len(labels) == len(set(labels))
    assert {
        "formula",
        "value at 0",
        "first derivative",
        "kinks",
        "parity",
        "multiplicity at 0",
        "dual kernel",
    } <= set(labels)
    for found in rows:
        assert isinstance(found.status, Status)
        assert found.latex.count("{") == found.latex.count("}")
        assert not re.search(r"@|Infinity|None|Finding|Float|\\left|\bzoo\b", found.latex + found.text)
        assert (r"\text{undecided}" in found.latex) == (found.status is Status.UNDECIDED)
        assert ("undecided" in found.text) == (found.status is Status.UNDECIDED)
        assert found.status is not Status.UNDECIDED or found.reason


def row(name, label, **options):
    (found,) = [r for r in properties(activation(name), **options) if r.name == label]
    return found.latex, found.status


@pytest.mark.parametrize(
    ("name", "label", "value", "status"),
    [
        ("sigmoid", "parity", r"\sigma(-z) = 1 - \sigma(z)", Status.PROVED),
        ("softplus", "parity", r"\sigma(-z) = \sigma(z) - z", Status.PROVED),
        ("relu", "homogeneity", r"\sigma(\lambda z) = \lambda \sigma(z),\ \lambda > 0", Status.PROVED),
        (
            "relu(z) + 3*relu(-z)**2",
            "homogeneity",
            r"\sigma(t) = t,\quad \sigma(-t) = 3 t^{2},\quad t > 0",
            Status.PROVED,
        ),
        ("exp", "exponential shift law", r"\sigma(z + s) = e^{s} \sigma(z)", Status.PROVED),
        ("sin", "period", r"\sigma(z + 2 \pi) = \sigma(z)", Status.PROVED),
        ("exp", "Lipschitz constant", r"\infty", Status.REFUTED),
        ("silu", "Lipschitz constant", r"\sup \lvert\sigma'\rvert = 1.0998393201\ldots", Status.CERTIFIED),
        (
            "relu",
            "limit at plus infinity",
            r"\lim_{z \to \infty} \sigma(z) = \infty,\ \text{asymptote } z",
            Status.PROVED,
        ),
        ("tanh", "Hermite coefficient 3", r"c_{3} = -0.1484371907\ldots", Status.CERTIFIED),
        ("sin", "Hermite coefficient 1", r"c_{1} = e^{-1/2}", Status.PROVED),
        (
            "erf",
            "dual kernel",
            r"\mathbb{E}[\sigma(u) \sigma(v)] = \frac{2}{\pi} \arcsin\Bigl(\frac{2 \rho}{3}\Bigr)",
            Status.PROVED,
        ),
        # sigma jumps: its own series holds, that of sigma' would miss the jump
        (
            "sign(z) + relu(z) + z**2",
            "dual kernel",
            r"\mathbb{E}[\sigma(u) \sigma(v)] = \sum_{j \ge 0} c_j^2 \rho^j",
            Status.PROVED,
        ),
        ("sign(z) + relu(z) + z**2", "dual kernel of the derivative", r"\text{undecided}", Status.UNDECIDED),
        ("exp(z)*tanh(z)", "dual kernel", r"\text{undecided}", Status.UNDECIDED),
        ("exp(z**2/2)", "dual kernel", r"\text{does not exist}", Status.REFUTED),
        ("step(z)", "homogeneity", r"\sigma(\lambda z) = \sigma(z),\ \lambda > 0", Status.PROVED),
        ("exp(z + 1)", "dual kernel", r"\mathbb{E}[\sigma(u) \sigma(v)] = e^{\rho + 3}", Status.PROVED),
    ],
)
def test_printed_rows(name, label, value, status):
    assert row(name, label) == (value, status)


def test_the_number_of_derivatives_is_checked():
    with pytest.raises(ValueError, match="got 5"):
        properties(REGISTRY["relu"], highest_derivative=5)


def test_a_finding_says_whether_it_is_known():
    assert Finding(1, Status.CERTIFIED).known
    assert not Finding(1, Status.SUPPORTED).known


PAGE = r"""\documentclass{article}\usepackage{amsmath,amssymb,array,longtable}\begin{document}
%s
\end{document}"""


@pytest.mark.tex
def test_every_row_compiles(tmp_path):
    names = [
        "relu",
        "tanh",
        "sigmoid",
        "gelu",
        "sin",
        "softsign",
        "rational",
        "leaky_relu(1/10)",
        "abs(sin(z))",
    ]
    body = "\n".join(activation_table(activation(name), highest_hermite=2).latex() for name in names)
    (tmp_path / "page.tex").write_text(PAGE % body, encoding="utf-8")
    command = [shutil.which("pdflatex"), "-interaction=nonstopmode", "-halt-on-error", "page.tex"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stdout[-2000:]


def test_an_activation_that_is_flat_on_all_scales_tried_is_not_an_error():
    found = {row.name: row for row in properties(activation("tanh(z/10**50)"), highest_hermite=1)}
    assert found["parity"].status is Status.PROVED
    assert found["Lipschitz constant"].status in (Status.PROVED, Status.CERTIFIED, Status.UNDECIDED)
