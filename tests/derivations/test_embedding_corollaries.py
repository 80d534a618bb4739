"""Corollaries of the splitting law against numbers computed here, and wrong ones that are refuted."""

import math

import numpy as np
import pytest

from derivations.claim import Status
from derivations.embedding_corollaries import certificate, plateau_end, subspaces, two_copies


def test_two_copies_and_equal_shares_are_derived_and_the_undivided_statement_is_refuted():
    assert two_copies().status is Status.PROVED
    wrong = two_copies(divided=False)
    assert wrong.status is Status.REFUTED
    assert "equal shares of 2" in wrong.reason


def test_the_curve_from_the_end_of_a_plateau_is_cubic():
    assert plateau_end().status is Status.PROVED
    # E1 of the sheet is an end with a positive semidefinite Hessian: half of the residual is e, R = sum (f - y)^2.
    x = np.array([[1, 0], [0, 1], [1, 1], [1, -1]], dtype=float)
    y = np.array([1.0, 1.0, 0.0, 0.0])
    w, zeta = np.array([-math.log(3), 0.0]), np.array([0.0, 1.0])

    def risk(s):
        f = (1 - s) * np.exp(x @ (w - s**2 * zeta / (1 - s))) + s * np.exp(x @ (w + s * zeta))
        return np.sum((f - y) ** 2)

    e = np.exp(x @ w) - y
    expected = np.sum(e * np.exp(x @ w) * (x @ zeta) ** 2)
    for s in (1e-2, -1e-2):
        assert (risk(s) - risk(0)) / s**3 == pytest.approx(expected, rel=0.05)


def test_the_certificate_holds_on_both_exact_points():
    assert certificate().status is Status.PROVED
    w = np.linspace(-4, 3, 100)
    assert (1 * np.exp(0 * w) - 4 * np.exp(w) + 4 * np.exp(2 * w) > -1e-12).all()


@pytest.mark.parametrize(("narrow", "wide", "count"), [(1, 4, 1), (2, 3, 6), (2, 4, 14), (3, 4, 36)])
def test_counts_are_the_published_ones(narrow, wide, count):
    found = subspaces(narrow, wide)
    assert (found.status, found.computed, found.expected) == (Status.PROVED, count, count)
