"""Interval arithmetic on batches against Arb, which shares no code with it, and against exact fractions."""

from __future__ import annotations

import math
from fractions import Fraction
from typing import Any

import pytest
import torch

from numerics.interval_tensors import (
    LIBRARY_ERROR,
    SMALLEST,
    Interval,
    NotEnclosed,
    function,
    power,
    reciprocal,
    summed,
)

flint = pytest.importorskip("flint")

#: Name, its Arb form, and the torch function of the vector library behind it.
FUNCTIONS: dict[str, tuple[Any, Any]] = {
    "tanh": (lambda u: u.tanh(), torch.tanh),
    "exp": (lambda u: u.exp(), torch.exp),
    "sinh": (lambda u: u.sinh(), torch.sinh),
    "cosh": (lambda u: u.cosh(), torch.cosh),
    "asinh": (lambda u: u.asinh(), torch.asinh),
    "atan": (lambda u: u.atan(), torch.atan),
    "erf": (lambda u: u.erf(), torch.erf),
    "sigmoid": (lambda u: 1 / (1 + (-u).exp()), torch.sigmoid),
    "softplus": (
        lambda u: u.exp().log1p() if u < 700 else u + (-u).exp().log1p(),
        lambda u: torch.logaddexp(u, torch.zeros_like(u)),
    ),
    "sech2": (lambda u: u.sech() ** 2, lambda u: torch.cosh(u).pow(-2)),
    "sin": (lambda u: u.sin(), None),
    "cos": (lambda u: u.cos(), None),
    "log": (lambda u: u.log(), torch.log),
    "sqrt": (lambda u: u.sqrt(), torch.sqrt),
}
POSITIVE = {"log", "sqrt"}


def arguments(name: str, count: int = 300) -> torch.Tensor:
    """Random arguments of every size, and those at which implementations change their formula or lose digits."""
    generator = torch.Generator().manual_seed(7)
    size = torch.logspace(-18, 2.3, count, dtype=torch.float64)
    random = (2 * torch.rand(count, generator=generator, dtype=torch.float64) - 1) * 2 * size
    special = [
        0.0,
        5e-324,
        1e-310,
        1e-160,
        2.0**-27,
        0.625,
        0.5,
        1.0,
        19.06154746539849,
        20.0,
        22.0,
        36.04,
        37.5,
        44.0,
    ]
    special += [math.pi / 2, math.pi, 3 * math.pi / 2, 1e5, 300.0, 354.9, 355.1, 690.0]
    at = torch.tensor([*special, *(-u for u in special)], dtype=torch.float64)
    found = torch.cat([random, at, torch.nextafter(at, at + 1), torch.nextafter(at, at - 1)])
    if name in ("exp", "sinh", "cosh"):
        found = found[found.abs() <= 690]
    return found[found > 1e-299] if name in POSITIVE else found


def holds(found: Interval, j: int, value: object) -> bool:
    """Whether no end of an interval is on the wrong side of a ball; saturated values are both 1 to 400 bits."""
    return not (value < flint.arb(float(found.lo[j])) or value > flint.arb(float(found.hi[j])))  # type: ignore[operator]


@pytest.mark.parametrize("name", FUNCTIONS)
def test_the_value_of_a_function_is_in_its_enclosure_at_a_point_and_over_a_box(name: str) -> None:
    exact, _ = FUNCTIONS[name]
    at = arguments(name)
    generator = torch.Generator().manual_seed(11)
    width = torch.logspace(-17, 1.2, len(at), dtype=torch.float64) * torch.rand(len(at), generator=generator)
    lo, hi = at - width, at + width
    lo = lo.clamp(min=1e-300) if name in POSITIVE else lo
    wide, narrow = function(name)(Interval(lo, hi)), function(name)(Interval.around(at))
    with flint.ctx.workprec(400):
        for j, u in enumerate(at.tolist()):
            value = exact(flint.arb(u))
            for found in (wide, narrow):
                assert holds(found, j, value), (name, u)
            for end in (float(lo[j]), float(hi[j])):
                assert holds(wide, j, exact(flint.arb(end))), (name, u, end)


@pytest.mark.parametrize("name", [name for name, (_, library) in FUNCTIONS.items() if library is not None])
def test_the_error_of_the_vector_library_is_a_quarter_of_what_is_allowed_at_most(name: str) -> None:
    exact, library = FUNCTIONS[name]
    at = arguments(name, 2000)
    worst = 0.0
    with flint.ctx.workprec(400):
        for u, value in zip(at.tolist(), library(at).tolist(), strict=True):
            error = abs(flint.arb(value) - exact(flint.arb(u)))
            room = abs(exact(flint.arb(u))) * LIBRARY_ERROR + SMALLEST
            worst = max(worst, float((error / room).abs_upper()))
    assert worst < 0.25


def test_enclosures_of_smooth_functions_are_nearly_as_narrow_as_their_range() -> None:
    u = Interval(
        torch.tensor([-1.0, 2.0], dtype=torch.float64), torch.tensor([0.5, 2.5], dtype=torch.float64)
    )
    found = function("sech2")(u)
    assert found.hi[0] == 1.0
    assert found.lo[0] == pytest.approx(1 / math.cosh(1) ** 2, rel=1e-13)
    assert found.lo[1] == pytest.approx(1 / math.cosh(2.5) ** 2, rel=1e-13)
    wave = function("cos")(Interval(u.lo, u.hi + 1))
    assert wave.hi[0] == 1.0
    assert wave.lo[1] == -1.0


@pytest.mark.parametrize("name", ["relu", "Abs", "step", "sign", "tan", "no_such_function"])
def test_functions_with_kinks_or_poles_are_refused(name: str) -> None:
    with pytest.raises(NotEnclosed, match="has no enclosure on batches"):
        function(name)


def _random(generator: torch.Generator, *shape: int) -> Interval:
    middle = torch.randn(*shape, generator=generator, dtype=torch.float64) * 10.0 ** torch.randint(
        -8, 8, shape, generator=generator
    )
    width = torch.rand(*shape, generator=generator, dtype=torch.float64) * middle.abs()
    return Interval(middle - width, middle + width)


def _inside(u: Interval, generator: torch.Generator) -> list[Fraction]:
    # Half of the members are ends: there rounding shows.
    share = (4 * torch.rand(u.lo.shape, generator=generator, dtype=torch.float64) - 1.5).clamp(0, 1)
    at = torch.where(share == 1, u.hi, torch.minimum(u.lo + share * (u.hi - u.lo), u.hi))
    return [Fraction(v) for v in at.flatten().tolist()]


def test_sums_products_powers_and_quotients_hold_every_exact_value() -> None:
    generator = torch.Generator().manual_seed(3)
    first, second = _random(generator, 400), _random(generator, 400)
    results = {
        "sum": (first + second, lambda a, b: a + b),
        "difference": (first - second, lambda a, b: a - b),
        "product": (first * second, lambda a, b: a * b),
        "square": (power(first, 2), lambda a, b: a**2),
        "cube": (power(first, 3), lambda a, b: a**3),
        "fifth": (power(first, 5), lambda a, b: a**5),
        "inverse square": (power(first, -2), lambda a, b: 1 / a**2),
        "inverse": (reciprocal(first), lambda a, b: 1 / a),
        "scaled": (first.scaled(-0.3), lambda a, b: a * Fraction(-0.3)),
    }
    for _ in range(5):
        one, two = _inside(first, generator), _inside(second, generator)
        for name, (found, rule) in results.items():
            for j, (a, b) in enumerate(zip(one, two, strict=True)):
                if a == 0:
                    continue
                lo, hi = float(found.lo[j]), float(found.hi[j])
                value = rule(a, b)
                assert lo == -math.inf or Fraction(lo) <= value, name
                assert hi == math.inf or value <= Fraction(hi), name


def test_a_sum_of_products_holds_the_exact_value_although_its_terms_cancel() -> None:
    generator = torch.Generator().manual_seed(5)
    first, second = _random(generator, 50, 30), _random(generator, 50, 30)
    first = first.apply(lambda t: torch.cat([t, t], dim=1))
    second = Interval(torch.cat([second.lo, -second.hi], dim=1), torch.cat([second.hi, -second.lo], dim=1))
    found = summed(first, second, [1])
    one, two = first.mid, second.mid
    for j in range(50):
        value = sum(Fraction(a) * Fraction(b) for a, b in zip(one[j].tolist(), two[j].tolist(), strict=True))
        assert Fraction(float(found.lo[j])) <= value <= Fraction(float(found.hi[j]))


def test_no_bound_is_claimed_after_a_division_by_an_interval_around_zero() -> None:
    around = Interval(torch.tensor([-1.0], dtype=torch.float64), torch.tensor([2.0], dtype=torch.float64))
    found = reciprocal(around)
    assert not bool(found.excludes_zero()[0])
    again = found * Interval.around(torch.zeros(1, dtype=torch.float64))
    assert not bool(again.excludes_zero()[0])
    whole = around.met(again)
    assert whole.lo.tolist() == [-1.0]
    assert whole.hi.tolist() == [2.0]
