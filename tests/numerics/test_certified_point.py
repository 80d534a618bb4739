"""Certified critical points: exact and published ones, orbits, frozen blocks, and what must be refused."""

from __future__ import annotations

import flint
import mpmath
import pytest
from sympy import Rational

from derivations.formula_model import FormulaProblem
from derivations.problem import Problem
from numerics.balls import BallSystem
from numerics.certified_point import NotCertified, certify, decimals, outward
from numerics.orbit_fields import independent, orbit_fields
from numerics.spectrum import Inertia


def numbers(*given: str) -> list[Rational]:
    return [Rational(u) for u in given]


@pytest.fixture
def published() -> BallSystem:
    """exp, one input: the critical point (1, -log 2) has residuals (1, -4, 4), risk 33 and Hessian [[21/8, 3/4], [3/4, 5]]."""
    problem = Problem.two_layer("exp", "square", reduction="sum", factor="2")
    return BallSystem(
        problem, {"x": numbers("0", "1", "2"), "y": numbers("0", "9/2", "-15/4")}, {"n": 3, "d": 1, "m": 1}
    )


def test_a_published_point_is_certified_and_enclosed(published: BallSystem) -> None:
    found = certify(published, [1.0, -0.6931471805599453])
    with flint.ctx.workprec(200):
        assert found.theta[0].contains(1)
        assert found.theta[1].contains(-flint.arb(2).log())
        assert found.value.contains(33)
        assert max(float(u.rad()) for u in found.theta) < 1e-24
    assert (found.inertia, found.unique, found.radius) == (Inertia(0, 0, 2), True, 1e-8)
    assert found.error < 1e-16
    lower, upper = outward(found.value)
    assert lower < 33 < upper
    assert upper - lower < 1e-13


def test_hundred_digits_agree_with_mpmath(published: BallSystem) -> None:
    found = certify(published, [1.0, -0.6931471805599453], precision=420)
    with mpmath.workdps(110):
        assert decimals(found.theta[1], 100) == "-" + mpmath.nstr(mpmath.log(2), 100)
        assert decimals(found.theta[0], 100).rstrip("0") in ("1.", "1", "0." + "9" * 100)


@pytest.mark.parametrize("theta", [[1.0, -0.6931], [0.9, -0.7], [0.0, 3.0]])
def test_a_point_that_is_not_critical_is_not_certified(published: BallSystem, theta: list[float]) -> None:
    with pytest.raises(NotCertified):
        certify(published, theta)


def test_a_vanishing_gradient_on_the_way_to_infinity_is_not_certified() -> None:
    problem = Problem.two_layer("linear", "exponential")
    system = BallSystem(problem, {"x": numbers("1"), "y": numbers("1")}, {"n": 1, "d": 1, "m": 1})
    with pytest.raises(NotCertified):
        certify(system, [7.0, 7.0])


def test_a_wrong_sign_in_the_hessian_is_noticed(
    published: BallSystem, monkeypatch: pytest.MonkeyPatch
) -> None:
    right = published.value_gradient_hessian

    def wrong(theta: list) -> tuple:
        value, gradient, hessian = right(theta)
        hessian[0][0] = -hessian[0][0]
        return value, gradient, hessian

    monkeypatch.setattr(published, "value_gradient_hessian", wrong)
    with pytest.raises(NotCertified):
        certify(published, [1.0, -0.6931471805599453 + 1e-9])


def test_every_index_of_a_polynomial_with_known_critical_points_is_certified() -> None:
    """R = mean of (a^3 - 3 a + b^2 t)... with t = +-1: (a^3 - 3 a)^2 / 2 + b^4 / 2: the points a = 0, +-1, +-sqrt 3 at b = 0 have a
    vanishing b-part of the Hessian; with the decay of 1/4 in b instead all of them are nondegenerate."""
    problem = FormulaProblem.of("(a**3 - 3*a)*t + b*u", ["a", "b"], ["t", "u"], reduction="sum")
    data = {"t": numbers("1", "0"), "u": numbers("0", "1"), "y": numbers("0", "0")}
    system = BallSystem(problem, data, {"n": 2, "d": 2})
    root = 3**0.5
    for a, inertia in (
        (0.0, (0, 0, 2)),
        (1.0, (1, 0, 1)),
        (-1.0, (1, 0, 1)),
        (root, (0, 0, 2)),
        (-root, (0, 0, 2)),
    ):
        found = certify(system, [a, 0.0])
        assert found.inertia == Inertia(*inertia)
        with flint.ctx.workprec(200):
            exact = flint.arb(3).sqrt() * (1 if a > 0 else -1) if abs(a) > 1.5 else flint.arb(a)
            assert found.theta[0].contains(exact)


def test_a_nearly_singular_hessian_is_not_certified() -> None:
    """R = (t^2 - eps)^2 / 2 has a minimum, a maximum at 0 and a minimum within 2e-9: no box of radius 1e-8 does."""
    problem = FormulaProblem.of("t**2*u", ["t"], ["u"], reduction="sum")
    degenerate = BallSystem(problem, {"u": numbers("1"), "y": numbers("0")}, {"n": 1, "d": 1})
    with pytest.raises(NotCertified):
        certify(degenerate, [0.0])
    close = BallSystem(problem, {"u": numbers("1"), "y": numbers("1e-18")}, {"n": 1, "d": 1})
    found = certify(close, [0.0])
    assert (found.inertia, found.radius < 1e-9) == (Inertia(1, 0, 0), True)


def test_a_frozen_block_is_kept_and_does_not_count() -> None:
    """f = a w x with a = 1/2 frozen: the best w is 2 mean(xy) / mean(x^2)."""
    problem = Problem.two_layer("linear", "square", freeze=("a",))
    system = BallSystem(problem, {"x": numbers("1", "2"), "y": numbers("1", "-1")}, {"n": 2, "d": 1, "m": 1})
    found = certify(system, [0.5, -0.4])
    with flint.ctx.workprec(200):
        assert found.theta[0] == flint.arb(0.5)
        assert found.theta[1].contains(flint.arb(-2) / 5)
    assert found.inertia == Inertia(0, 0, 1)


ORBITS = {
    "scaling": ("cubic", {}, 1, Inertia(0, 1, 1)),
    "shift": ("exp", {"input_bias": True}, 1, Inertia(0, 1, 2)),
    "rotation": ("quadratic", {"input_bias": True}, 2, Inertia(0, 3, 3)),
}


@pytest.mark.parametrize("name", ORBITS)
def test_a_point_on_an_orbit_is_certified_on_a_slice(name: str) -> None:
    """The minimum in coordinates that the symmetry keeps is known: polynomials of degree 3 and 2, one exponential."""
    activation, options, width, inertia = ORBITS[name]
    xs = numbers("-1", "0", "1", "2")
    ys = numbers("1", "-1/2", "2", "5")
    problem = Problem.two_layer(activation, "square", reduction="sum", **options)
    system = BallSystem(problem, {"x": xs, "y": ys}, {"n": 4, "d": 1, "m": width})
    x, y = [float(u) for u in xs], [float(u) for u in ys]
    if name == "scaling":  # a w^3 = sum x^3 y / sum x^6
        best = sum(u**3 * v for u, v in zip(x, y, strict=True)) / sum(u**6 for u in x)
        theta = [best / 8, 2.0]
    elif name == "shift":  # mpmath, to 30 digits
        with mpmath.workdps(30):

            def slope(p: mpmath.mpf, w: mpmath.mpf) -> list[mpmath.mpf]:
                e = [p * mpmath.exp(w * u) - v for u, v in zip(x, y, strict=True)]
                return [
                    sum(r * mpmath.exp(w * u) for r, u in zip(e, x, strict=True)),
                    sum(r * u * mpmath.exp(w * u) for r, u in zip(e, x, strict=True)),
                ]

            p, w = mpmath.findroot(slope, (0.6, 1.0))
            theta = [float(p / mpmath.exp(mpmath.mpf("0.3"))), float(w), 0.3]
    else:  # the quadratic x^2 c2 + x c1 + c0 fitted by least squares, written as a1 (x + b1)^2 + a2 b2^2
        with mpmath.workdps(30):
            design = mpmath.matrix([[u**2, u, 1] for u in x])
            c2, c1, c0 = mpmath.lu_solve(design.T * design, design.T * mpmath.matrix(y))
            shift = c1 / (2 * c2)
            theta = [float(c2), float(c0 - c2 * shift**2), 1.0, 0.0, float(shift), 1.0]
    fields = independent(orbit_fields(problem, system.layout), theta)
    found = certify(system, theta, fields)
    assert (found.inertia, len(fields)) == (inertia, inertia.zero)
    with flint.ctx.workprec(128):
        assert all(u.contains(0) for u in system.gradient(found.theta))
    with pytest.raises(NotCertified):
        certify(system, theta)
    with pytest.raises(NotCertified):
        certify(system, theta, [*fields, fields[0]])


def test_decimals_are_right_to_the_last_but_one() -> None:
    with flint.ctx.workprec(400), mpmath.workdps(110):
        assert decimals(flint.arb.pi(), 100)[:-1] == mpmath.nstr(mpmath.pi, 100)[:-1]
    assert decimals(flint.arb(0), 20) == "0"


def test_bounds_as_floats_lie_outside() -> None:
    with flint.ctx.workprec(200):
        lower, upper = outward(flint.arb(1) / 10)
        assert flint.arb(lower) < flint.arb(1) / 10 < flint.arb(upper)
