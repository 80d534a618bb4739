"""Krawczyk's operator: roots known in closed form or to 100 digits, and boxes that must not be certified."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress

import flint
import mpmath
import pytest

from numerics.krawczyk import NotCertified, krawczyk

Function = Callable[[list[object]], list[object]]


def one(f: Callable, df: Callable) -> tuple[Function, Function]:
    return lambda x: [f(x[0])], lambda x: [[df(x[0])]]


CUBE = one(lambda u: u**3 - 2, lambda u: 3 * u**2)


def test_a_root_is_enclosed_and_so_is_its_distance_from_the_given_point() -> None:
    found = krawczyk(*CUBE, [1.2599210498948732 + 3e-12])
    with flint.ctx.workprec(200):
        root = flint.arb(2).root(3)
        assert found.zero[0].contains(root)
        assert found.zero[0].rad() < 1e-20
        assert 2.9e-12 < found.error < 3.1e-12
        assert (root - flint.arb(found.centre[0])).abs_upper() <= found.error


def test_the_radius_is_that_of_a_box_with_one_root() -> None:
    near = one(lambda u: u * (u - flint.arb("1e-6")), lambda u: 2 * u - flint.arb("1e-6"))
    found = krawczyk(*near, [0.0], radii=(1e-3, 1e-5, 1e-7, 1e-9))
    assert found.radius == 1e-7


@pytest.mark.parametrize("gap", ["1e-9", "1e-12", "1e-15"])
def test_no_box_with_two_roots_is_certified(gap: str) -> None:
    near = one(lambda u: u * (u - flint.arb(gap)), lambda u: 2 * u - flint.arb(gap))
    with suppress(NotCertified):
        assert krawczyk(*near, [0.0]).radius < float(gap)


@pytest.mark.parametrize(
    ("f", "df", "start"),
    [
        (lambda u: u**2, lambda u: 2 * u, 1e-9),  # a double root
        (lambda u: u**2 + flint.arb("1e-14"), lambda u: 2 * u, 1e-7),  # nearly one
        (lambda u: (-u).exp(), lambda u: -(-u).exp(), 40.0),  # a zero at infinity: the value is 4e-18 here
        (
            lambda u: u**3 - 2,
            lambda u: -3 * u**2,
            1.2599210498948732 + 1e-7,
        ),  # a derivative of the wrong sign
        (lambda u: u**3 - 2, lambda u: 3 * u**2, 1.3),  # a root, but farther away than any box reaches
        (lambda u: u.log(), lambda u: 1 / u, -1.0),  # not defined
        (lambda u: 0 * u, lambda u: 0 * u, 1.0),  # singular everywhere
    ],
)
def test_a_false_root_is_not_certified(f: Callable, df: Callable, start: float) -> None:
    with pytest.raises(NotCertified):
        krawczyk(*one(f, df), [start])


def test_a_point_that_is_not_a_root_is_not_certified() -> None:
    with pytest.raises(NotCertified):
        krawczyk(lambda x: [x[0] ** 2 + x[1] ** 2 + 1, x[0] - x[1]], lambda x: [[2 * x[0], 2 * x[1]], [flint.arb(1), flint.arb(-1)]], [0.3, 0.3])  # fmt: skip


def test_an_ill_conditioned_root_needs_a_smaller_box() -> None:
    steep = one(lambda u: flint.arb("1e-9") * u + u**2 / 2, lambda u: flint.arb("1e-9") + u)
    found = krawczyk(*steep, [0.0])
    assert found.radius == 1e-10


@pytest.mark.parametrize("digits", [50, 100, 400])
def test_the_enclosure_holds_the_root_to_any_number_of_digits(digits: int) -> None:
    """Two equations, cos x = y and sin y = x / 2, solved by mpmath on its own."""
    with mpmath.workdps(digits + 60):
        root = mpmath.findroot(
            lambda x, y: [mpmath.cos(x) - y, mpmath.sin(y) - x / 2],
            (0.9, 0.5),
            tol=mpmath.mpf(10) ** (-digits - 10),
        )
        expected = [mpmath.nstr(u, digits + 50) for u in root]
    start = [float(u) for u in expected]
    bits = int(digits * 3.33) + 64
    found = krawczyk(
        lambda x: [x[0].cos() - x[1], x[1].sin() - x[0] / 2],
        lambda x: [[-x[0].sin(), flint.arb(-1)], [flint.arb(-0.5), x[1].cos()]],
        start,
        precision=bits,
    )
    with flint.ctx.workprec(bits + 200):
        for ball, number in zip(found.zero, expected, strict=True):
            assert ball.contains(flint.arb(number))
            assert ball.rel_accuracy_bits() >= digits * 3.32


def test_no_unknowns_have_one_zero() -> None:
    found = krawczyk(lambda x: [], lambda x: [], [])
    assert (found.zero, found.error) == ((), 0.0)
