"""Verdicts about samples of a teacher: whether they separate a branch of global minima, and what a flow near it recovers.

>>> str(Separation.NOT), str(Recovery.ALMOST)
('not separated', 'almost every point')
"""

from __future__ import annotations

from enum import StrEnum

__all__ = ["Recovery", "Separation"]


class Separation(StrEnum):
    """Whether samples separate a branch from other parameters with R = 0, almost everywhere on it."""

    SEPARATED = "separated"
    NOT = "not separated"
    OPEN = "open"


class Recovery(StrEnum):
    """Which points of a branch have a neighbourhood all of whose gradient flows end at parameters of the same function."""

    EVERY = "every point"
    ALMOST = "almost every point"
    NONE = "no point"
    OPEN = "open"
