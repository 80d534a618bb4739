"""Decimals of intervals."""

from __future__ import annotations

import mpmath
from mpmath.ctx_iv import MPIntervalContext

from derivations.decimal_digits import decimals


def test_digits_are_those_of_the_number():
    iv = MPIntervalContext()
    iv.prec = 400
    assert decimals(iv.sqrt(2), 50) == mpmath.nstr(mpmath.mp.sqrt(2), 15)[:3] + decimals(iv.sqrt(2), 50)[3:]
    with mpmath.workdps(80):
        assert abs(mpmath.mpf(decimals(iv.sqrt(2), 50)) - mpmath.sqrt(2)) < mpmath.mpf(10) ** -48
    assert decimals(-iv.mpf(1) / 3, 6) == "-0.333333"
