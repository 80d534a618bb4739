"""Decimals of a number known to lie in an interval."""

from __future__ import annotations

from typing import Any

from mpmath import mp

__all__ = ["decimals"]


def decimals(interval: Any, digits: int) -> str:
    """Return the middle of an interval with so many significant digits; the last may be off by one.

    >>> from mpmath import iv
    >>> decimals(iv.mpf(1) / 3, 8)
    '0.33333333'
    """
    with mp.workdps(digits + 10):
        middle = (mp.mpf(interval.a) + mp.mpf(interval.b)) / 2
        return mp.nstr(middle, digits, strip_zeros=False)
