"""Symmetries and conservation laws of formulas and diagonal networks, against closed forms and integrated flows."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
from sympy import Add, Integer, Matrix, Rational, S, Symbol, simplify

from derivations import formula_fields
from derivations.claim import Status
from derivations.conservation import conserved_quantities
from derivations.diagonal_laws import diagonal_laws, diagonal_symmetries
from derivations.diagonal_model import DiagonalProblem
from derivations.errors import AssumptionError
from derivations.formula_fields import affine_fields
from derivations.formula_laws import formula_laws, formula_symmetries
from derivations.formula_model import FormulaProblem
from derivations.formula_potentials import formula_potentials
from derivations.indexed import entries
from derivations.law_count import law_count
from derivations.law_search import law_search
from derivations.problem import Dim, Problem
from derivations.symmetry import symmetries


def formula(text, names, inputs=("x",), **options):
    return FormulaProblem.of(text, names.split(), list(inputs), **options)


#: formula -> number of affine fields, number of quadratic or linear laws, whether the list is complete
KNOWN = {
    "a*b*x": ("a b", 1, 1, Status.PROVED),
    "a*b*c*x": ("a b c", 2, 2, Status.PROVED),
    "(a**2 + b**2)*x": ("a b", 1, 0, Status.PROVED),
    "(a**2 - b**2)*x": ("a b", 1, 1, Status.PROVED),
    "a**3*b*x": ("a b", 1, 1, Status.PROVED),
    "(a + b)*x": ("a b", 3, 2, Status.PROVED),
    "a*exp(w*x + b) + c": ("a w b c", 1, 1, Status.SUPPORTED),
    "a*exp(w*x) + c": ("a w c", 0, 0, Status.SUPPORTED),
    "a*tanh(w*x + b)": ("a w b", 0, 0, Status.SUPPORTED),
    "a*max(0, w*x + b)": ("a w b", 1, 1, Status.SUPPORTED),
    "a*abs(w*x)": ("a w", 1, 1, Status.SUPPORTED),
    "a*b/(1 + c**2)*x + d*x**2": ("a b c d", 1, 1, Status.PROVED),
    "sqrt(a**2 + b**2)*x": ("a b", 1, 0, Status.PROVED),
    "a*sin(w*x) + b*cos(w*x)": ("a b w", 0, 0, Status.SUPPORTED),
    "u1*v1*x + u2*v2*x": ("u1 u2 v1 v2", 6, 4, Status.PROVED),  # so(2, 2)
}


@pytest.mark.parametrize("text", KNOWN)
def test_number_of_fields_and_laws(text):
    names, fields, laws, exhaustive = KNOWN[text]
    problem = formula(text, names)
    found = affine_fields(problem)
    assert (len(found.fields), found.exhaustive) == (fields, exhaustive)
    assert set(found.residuals) <= {0}
    quantities = [law for law in formula_laws(problem) if law.quantity is not None]
    assert len(quantities) == laws
    assert all(law.proved and law.decay == 0 for law in quantities)
    statements = (*formula_symmetries(problem), *formula_laws(problem))
    assert all(text.count("$") % 2 == 0 for s in statements for text in (s.statement, *s.steps))


@pytest.mark.parametrize("text", KNOWN)
def test_fields_keep_the_output_by_sympys_own_derivatives(text):
    problem = formula(text, KNOWN[text][0])
    x = Symbol("x", real=True)
    for field in affine_fields(problem).fields:
        change = Add(
            *[u * problem.formula.diff(s) for s, u in zip(field.names, field.components, strict=True)]
        )
        for value in (Rational(3, 7), Rational(-11, 5)):
            point = {s: Rational(2 * k + 1, 3) for k, s in enumerate(field.names)}
            assert abs(change.doit().xreplace({x: value}).xreplace(point).evalf(30)) < 1e-25


def test_a_wrong_field_leaves_a_residual():
    problem = formula("a*exp(w*x + b) + c", "a w b c")
    a, _, b, _ = problem.names
    assert formula_fields.along(problem, {a: -a, b: S.One}) == 0
    assert formula_fields.along(problem, {a: a, b: S.One}) != 0
    assert formula_fields.along(problem, {a: -a, b: 2 * S.One}) != 0


def test_rates_and_frozen_parameters_enter():
    (law,) = formula_laws(formula("a*b*x", "a b", rate=(("a", Integer(3)),)))
    a, b = (block.tensor() for block in formula("a*b*x", "a b").blocks)
    assert simplify(law.quantity / (a**2 - 3 * b**2)).is_number
    frozen = formula("a*b*x", "a b", freeze=("b",))
    assert affine_fields(frozen).fields == ()
    (none,) = formula_laws(frozen)
    assert (none.quantity, none.status) == (None, Status.PROVED)
    # a law that holds for every frozen value is still found
    (law,) = [u for u in formula_laws(formula("a*b*k*x", "a b k", freeze=("k",))) if u.quantity is not None]
    assert law.proved


def test_weight_decay_turns_quadratic_laws_into_exponentials_and_breaks_the_others():
    (law,) = formula_laws(formula("a*b*x", "a b", weight_decay=Rational(1, 10)))
    assert law.decay == Rational(1, 5)
    (law,) = formula_laws(formula("a*exp(w*x + b)", "a w b", weight_decay=Rational(1, 10)))
    assert law.decay is None
    turn, _ = formula_symmetries(formula("(a**2 + b**2)*x", "a b", weight_decay=Integer(1)))
    scale, _ = formula_symmetries(formula("a*b*x", "a b", weight_decay=Integer(1)))
    assert (turn.keeps_risk, scale.keeps_risk) == (True, False)


def flow(problem, theta, xs, ys, until, steps):
    """Runge-Kutta of order 4 for the mean of half the squared error, derivatives by central differences of the formula."""
    names, x = problem.names, problem.inputs[0]

    def outputs(at):
        point = dict(zip(names, map(float, at), strict=True))
        return [float(problem.formula.xreplace({**point, x: v}).evalf()) for v in xs]

    def slope(at):
        f, total, h = outputs(at), np.zeros(len(at)), 1e-5
        for k in range(len(at)):
            up, down = at.copy(), at.copy()
            up[k] += h
            down[k] -= h
            rise = (np.array(outputs(up)) - np.array(outputs(down))) / (2 * h)
            total[k] = -float(np.mean((np.array(f) - np.array(ys)) * rise))
        return total

    at, h = np.array(theta), until / steps
    for _ in range(steps):
        k1 = slope(at)
        k2 = slope(at + h / 2 * k1)
        k3 = slope(at + h / 2 * k2)
        at = at + h / 6 * (k1 + 2 * k2 + 2 * k3 + slope(at + h * k3))
    return at


@pytest.mark.parametrize("text", ["a*exp(w*x + b) + c", "a**3*b*x", "a*max(0, w*x + b)"])
def test_laws_hold_along_an_integrated_flow(text):
    problem = formula(text, KNOWN[text][0])
    entries = {block.tensor(): s for block, s in zip(problem.blocks, problem.names, strict=True)}
    start = [0.7, -0.4, 0.9, 0.2][: len(problem.names)]
    end = flow(problem, start, (0.3, -0.2, 0.8), (0.5, 1.0, -0.7), 0.2, 20)
    for law in formula_laws(problem):
        whole = law.quantity.xreplace(entries)
        before, after = (
            float(whole.xreplace(dict(zip(problem.names, at, strict=True)))) for at in (start, end)
        )
        assert after == pytest.approx(before, abs=1e-7)
    assert np.abs(end - np.array(start)).max() > 0.02


# -- counts


@pytest.mark.parametrize(
    ("text", "names", "laws", "known"),
    [
        ("a*b*x", "a b", 1, 1),
        ("a*b*c*x", "a b c", 2, 2),
        ("(1 + u*v)*(1 + s*t)*x", "u v s t", 3, 2),  # two residual blocks: the third law is no polynomial
        ("a1*w1**2*x**2 + a2*w2**2*x**2", "a1 w1 a2 w2", 3, 2),
        ("a**2*sin(x) + a*b*x", "a b", 0, 0),
        ("a*x + b", "a b", 0, 0),
        ("(a**2 + b**2)*x", "a b", 1, 0),  # the angle
    ],
)
def test_formulas_are_counted_exactly(text, names, laws, known):
    found = law_count(formula(text, names), {})
    assert (found.laws, found.known, found.complete) == (laws, known, laws == known)
    assert found.status is Status.PROVED


def test_the_count_of_a_formula_is_that_of_the_network_it_writes_out():
    text = "a1*(w11*x1 + w12*x2)**2 + a2*(w21*x1 + w22*x2)**2"
    written = law_count(formula(text, "a1 a2 w11 w12 w21 w22", ("x1", "x2")), {})
    network = law_count(Problem.two_layer("quadratic"), {"m": 2, "d": 2})
    assert (written.laws, written.levels) == (network.laws, network.levels)


def test_a_search_among_polynomials_of_a_formula():
    found = law_search(formula("(1 + u*v)*(1 + s*t)*x", "u v s t"), {}, degree=4)
    assert {str(u) for u in found.generators} == {"s**2 - t**2", "u**2 - v**2"}
    assert (found.independent, found.count.laws, found.complete) == (2, 3, False)


def test_frozen_values_are_those_given_and_whole_formulas_are_refused():
    problem = formula("a*k*x + b*x", "a b k", freeze=("k",))
    (found,) = formula_potentials(problem, values={"k": "1/2"}).polynomials
    assert str(found) == "1/2*a + b"
    with pytest.raises(AssumptionError, match="law_rank"):
        formula_potentials(formula("a*exp(w*x)", "a w"))
    with pytest.raises(AssumptionError, match="law_rank"):
        formula_potentials(formula("a*max(0, w*x)", "a w"))
    with pytest.raises(AssumptionError, match="linearly independent"):
        formula_potentials(formula("a*sin(x)**2 + b*cos(x)**2 + a**2*b", "a b"))
    with pytest.raises(ValueError, match="frozen blocks are"):
        formula_potentials(problem, values={"a": 1})
    with pytest.raises(ValueError, match="no block is trained"):
        formula_potentials(formula("a*x", "a", freeze=("a",)))


def test_too_many_parameters_are_refused_with_what_to_do():
    names = [f"a{k}" for k in range(17)]
    with pytest.raises(AssumptionError, match="freeze some"):
        affine_fields(FormulaProblem.of("*".join(names) + "*x", names))


# -- diagonal networks


@pytest.mark.parametrize("depth", [1, 2, 3, 4, Dim("D")], ids=str)
def test_diagonal_networks_have_one_law_for_each_coordinate(depth):
    law, count = diagonal_laws(DiagonalProblem.of(depth))
    assert law.proved
    assert law.quantity is not None
    assert count.proved
    assert "exactly $d$" in count.statement
    assert conserved_quantities(DiagonalProblem.of(depth)) == (law, count)


@pytest.mark.parametrize(("depth", "known"), [(1, 2), (2, 2), (3, 0), (4, 0)])
def test_the_exact_count_of_a_diagonal_network_agrees(depth, known):
    text = f"(u1**{depth} - v1**{depth})*x1 + (u2**{depth} - v2**{depth})*x2"
    found = law_count(formula(text, "u1 u2 v1 v2", ("x1", "x2")), {})
    assert (found.laws, found.known) == (2, known)  # beyond depth 2 the invariant is no polynomial


@pytest.mark.parametrize("depth", [1, 2, 3, 4])
def test_symmetries_of_diagonal_networks(depth):
    found = {s.name: s for s in symmetries(DiagonalProblem.of(depth))}
    assert all(s.proved and set(s.residuals.values()) == {0} for s in found.values())
    assert ("sign of an entry" in found) == (depth % 2 == 0)
    assert ("exchange of a coordinate" in found) == (depth % 2 == 1)
    assert len(found) == 2
    assert len(diagonal_symmetries(DiagonalProblem.of(Dim("D")))) == 1


def test_weight_decay_of_a_diagonal_network():
    law, _ = diagonal_laws(DiagonalProblem.of(2, weight_decay=Rational(1, 4)))
    assert law.decay == Rational(1, 2)
    law, _ = diagonal_laws(DiagonalProblem.of(4, weight_decay=Rational(1, 4)))
    assert law.decay == Rational(-1, 2)  # u^-2 + v^-2 grows


@pytest.mark.parametrize("depth", [1, 2, 3, 4])
@pytest.mark.parametrize("frozen", ["u", "v"])
def test_with_a_frozen_block_a_diagonal_network_conserves_nothing(depth, frozen):
    (count,) = diagonal_laws(DiagonalProblem.of(depth, freeze=(frozen,)))
    assert count.proved
    assert "no function of the $d$ trained parameters" in count.statement
    text = f"(u1**{depth} - v1**{depth})*x1 + (u2**{depth} - v2**{depth})*x2"
    left = FormulaProblem.of(
        text, ["u1", "u2", "v1", "v2"], ["x1", "x2"], freeze=(f"{frozen}1", f"{frozen}2")
    )
    assert law_count(left, {}).laws == 0
    moved = diagonal_symmetries(DiagonalProblem.of(depth, freeze=(frozen,)))[-1]
    assert rf"The frozen $\mathtt{{{frozen}}}$ moves with it" in moved.statement


@pytest.mark.parametrize("depth", [1, 2, 3, 4])
def test_a_diagonal_network_with_two_rates_keeps_its_invariant_along_the_flow(depth):
    """One coordinate and one sample, negative v, by small steps of the written flow."""
    law, count = diagonal_laws(DiagonalProblem.of(depth, rate=(("u", Integer(3)), ("v", Rational(1, 2)))))
    assert law.proved
    assert count.proved
    u_l, v_l = (e for e in sorted(entries(law.quantity), key=str))
    x, y, h = 1.3, 0.4, 1e-4

    def value(u, v):
        return float(law.quantity.xreplace({u_l: Rational(str(u)), v_l: Rational(str(v))}))

    def speed(u, v):
        r = (u**depth - v**depth) * x - y
        return -3 * depth * u ** (depth - 1) * r * x, 0.5 * depth * v ** (depth - 1) * r * x

    u, v = 0.9, -0.6
    start = value(u, v)
    for _ in range(2000):
        p, q = speed(u, v)
        p, q = speed(u + h / 2 * p, v + h / 2 * q)
        u, v = u + h * p, v + h * q
    assert abs(u - 0.9) > 0.05
    assert value(u, v) == pytest.approx(start, abs=1e-6)  # seen: 5e-9


def test_two_rates_and_weight_decay_of_a_diagonal_network():
    options = {"rate": (("u", Integer(3)),), "weight_decay": Rational(1, 4)}
    law, _ = diagonal_laws(DiagonalProblem.of(2, **options))
    assert law.decay is None
    assert r"falls at the constant rate $\frac{3}{2}$" in law.statement  # 2 * 3 * 1 / 4
    law, _ = diagonal_laws(DiagonalProblem.of(3, **options))
    assert law.decay is None
    assert "obeys no equation of its own" in law.statement


def test_the_law_of_a_diagonal_network_with_decay_along_its_flow():
    """Depth 4, decay 1/4, one sample: u^-2 + v^-2 = e^(t/2) times its start, by small steps."""
    u, v, x, y, decay, h = 0.9, 0.6, 1.3, 0.4, 0.25, 1e-4
    start = u**-2 + v**-2
    for _ in range(5000):

        def slope(u, v):
            r = (u**4 - v**4) * x - y
            return -(4 * u**3 * r * x + decay * u), -(-4 * v**3 * r * x + decay * v)

        a, b = slope(u, v)
        a, b = slope(u + h / 2 * a, v + h / 2 * b)
        u, v = u + h * a, v + h * b
    assert u**-2 + v**-2 == pytest.approx(start * math.exp(0.5 * 5000 * h), rel=1e-6)


def test_the_lie_algebra_of_a_bilinear_form_is_orthogonal():
    """so(2, 2): the commutators of the fields found stay in their span."""
    fields = affine_fields(formula("u1*v1*x + u2*v2*x", "u1 u2 v1 v2")).fields
    matrices = [Matrix(f.matrix) for f in fields]
    span = Matrix([list(u) for u in matrices])
    for one, other in itertools.combinations(matrices, 2):
        bracket = one * other - other * one
        assert span.col_join(Matrix([list(bracket)])).rank() == span.rank() == 6
