"""Points in number fields, against SymPy's real roots and mpmath."""

from __future__ import annotations

import mpmath
import pytest
from sympy import QQ, Poly, Rational, Symbol, real_roots, ring, sqrt

from derivations.algebraic_points import Conjugates

T, t = ring("t", QQ)
R, x, y = ring("x,y", QQ)


def test_the_real_points_are_the_real_roots_in_order():
    q = t**5 - 5 * t**3 + t**2 + 4 * t - 2
    factors = [f for f, _ in q.factor_list()[1]]
    found = [p for f in factors for p in Conjugates(f, (t, T(1))).real_points()]
    expected = sorted(float(u) for u in real_roots(Poly(q.as_expr(), Symbol("t"))))
    assert sorted(float(p.box(60)[0].mid.a) for p in found) == pytest.approx(expected, abs=1e-15)


def test_boxes_contain_the_point_and_shrink():
    (point,) = Conjugates(t**3 - 2, (t, t**2 - t)).real_points()
    with mpmath.workdps(400):
        root = mpmath.mpf(2) ** (mpmath.mpf(1) / 3)
        for bits in (20, 200, 1000):
            first, second = point.box(bits)
            assert first.a <= root <= first.b
            assert second.a <= root**2 - root <= second.b
            assert second.delta.b < mpmath.mpf(2) ** (8 - bits)


def test_a_zero_is_told_from_a_tiny_number():
    (_, point) = Conjugates(t**2 - 2, (t, T(0))).real_points()
    near = Rational(str(sqrt(2).evalf(60)))
    assert point.sign(x**2 - 2) == 0
    assert point.sign(x - QQ(near.p, near.q)) == (1 if near < sqrt(2) else -1)
    assert point.sign(R.zero) == 0
    assert point.is_zero(x**4 - 4)
    assert not point.is_zero(x**4 - 5)


def test_exact_forms_by_degree():
    assert [str(u) for u in Conjugates(3 * t - 2, (t, T(5))).real_points()[0].exact(1)] == ["2/3", "5"]
    low, high = Conjugates(-(t**2) + t + 1, (t, t - 1)).real_points()
    assert [
        u.equals(v) for u, v in zip(low.exact(2), ((1 - sqrt(5)) / 2, (-1 - sqrt(5)) / 2), strict=True)
    ] == [True] * 2
    assert high.exact(2)[0].equals((1 + sqrt(5)) / 2)
    (cubic,) = Conjugates(t**3 - t - 1, (t, t**2)).real_points()
    assert abs(cubic.exact(3)[1].evalf(20) - mpmath.mpf("1.7548776662466927600")) < 1e-15
    assert cubic.exact(2) is None


def test_equations_are_decided_exactly():
    family = Conjugates(t**4 - 10 * t**2 + 1, ((t**3 - 9 * t) * QQ(1, 2), (11 * t - t**3) * QQ(1, 2)))
    assert family.satisfies([x**2 - 2, y**2 - 3])
    assert not family.satisfies([x**2 - 2, y**2 - 3 + QQ(1, 10**50)])
