"""Krawczyk boxes: zeros known in closed form are enclosed, false and multiple ones are not."""

from __future__ import annotations

import mpmath
import pytest
from sympy import QQ, ring

from derivations.polynomial_boxes import Boxes, BoxPoint, disjoint, interval_value, signs

R, x, y = ring("x,y", QQ)


def test_a_box_contains_the_zero_to_the_precision_asked():
    boxes = Boxes([x**2 + y**2 - 4, x * y - 1])
    point = BoxPoint(boxes, boxes.certified([1.9, 0.5]))
    with mpmath.workdps(500):
        root = (mpmath.sqrt(6) + mpmath.sqrt(2)) / 2
        for bits in (40, 100, 900):
            u, v = point.box(bits)
            assert u.a <= root <= u.b
            assert v.a <= 1 / root <= v.b
            assert u.delta.b < mpmath.mpf(2) ** (90 - bits)
    assert signs(point.enclosure(x - y, 60)) == 1


def test_complex_zeros_have_boxes_off_the_real_axis():
    boxes = Boxes([x**2 + 1, y - x])
    found = boxes.certified([1.1j, 0.9j])
    assert found[0].imag.a > 0.9
    assert disjoint(found, boxes.certified([-1.1j, -0.9j]))
    assert not disjoint(found, found)


def test_a_multiple_zero_is_not_certified():
    assert Boxes([x**2, y]).certified([1e-9, 0.0]) is None
    assert Boxes([(x - y) ** 2, x + y - 2]).certified([1.0, 1.0]) is None


def test_a_box_that_would_hold_two_zeros_is_not_certified():
    """The zeros of x^2 - 10^-60 are found by Newton's method, but closer than the boxes of 40 bits are wide."""
    close = Boxes([x**2 - QQ(1, 10**60), y])
    assert close.certified([1e-30, 0.0], 40) is None
    found = close.certified([1e-30, 0.0], 300)
    assert found is not None
    assert found[0].a > 0


def test_where_there_is_no_zero_nothing_is_certified():
    assert Boxes([x**2 + 1, y]).certified([0.3, 0.0]) is None


def test_a_wrong_jacobian_is_noticed():
    """Krawczyk's operator contracts only with a true enclosure; the false one leads Newton's method astray."""
    false = [[-2 * x, R.zero], [R.zero, R.one]]
    assert Boxes([x**2 - 2, y], false).certified([1.4, 0.0]) is None


def test_values_over_a_box_contain_those_at_its_points():
    iv = mpmath.iv
    box = [iv.mpf([0.5, 1]), iv.mpf([-1, 2])]
    value = interval_value(3 * x**2 * y - QQ(1, 3) * x, box, iv)
    for u in (0.5, 0.7, 1.0):
        for v in (-1.0, 0.0, 2.0):
            assert 3 * u**2 * v - u / 3 in value


def test_a_system_that_is_not_square_is_refused():
    with pytest.raises(ValueError, match="1 equations in 2 unknowns"):
        Boxes([x])
