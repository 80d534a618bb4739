"""The identities against numbers of networks written by hand and against quadrature, with no code shared."""

from __future__ import annotations

import math

import mpmath
import pytest
from sympy import Integer, Rational

from derivations.claim import Status
from derivations.margin_proofs import LOSSES, kkt_identity, loss_rates, monotone, sandwich

DEGREES = (Integer(1), Integer(2), Integer(3), Rational(5, 2))


@pytest.mark.parametrize("loss", LOSSES)
@pytest.mark.parametrize("degree", DEGREES, ids=str)
def test_the_identities_are_proved_for_every_degree_and_loss(degree: Integer, loss: str) -> None:
    for found in (monotone(degree, loss), kkt_identity(degree, loss)):
        assert found.status is Status.PROVED, found.reason
        assert found.steps


@pytest.mark.parametrize("loss", LOSSES)
def test_the_flow_with_its_sign_turned_is_refuted_with_what_is_left(loss: str) -> None:
    found = monotone(Integer(2), loss, sign=-1)
    assert found.status is Status.REFUTED
    assert "is left, which is" in found.reason


@pytest.mark.parametrize("loss", LOSSES)
@pytest.mark.parametrize("samples", [1, 2, 4, 9])
def test_the_sandwich_is_proved(samples: int, loss: str) -> None:
    assert sandwich(samples, loss).status is Status.PROVED


@pytest.mark.parametrize("margins", [[0.3, 0.3, 0.3], [0.2, 4.0, 1.0], [5.0, 5.1, 9.0]])
def test_the_sandwich_holds_for_numbers_and_the_logistic_loss_needs_its_extra_term(
    margins: list[float],
) -> None:
    n, low = len(margins), min(margins)
    level = sum(math.log1p(math.exp(-q)) for q in margins)
    phi = -math.log(math.expm1(level))
    assert phi <= low <= phi + math.log(n) + (n - 1) * math.log1p(math.exp(-low))
    if margins == [0.3, 0.3, 0.3]:
        assert low > phi + math.log(n)


@pytest.mark.parametrize("degree", DEGREES, ids=str)
def test_the_rates_of_one_sample_are_proved(degree: Integer) -> None:
    assert loss_rates(degree).status is Status.PROVED


@pytest.mark.parametrize(
    ("time", "margin", "scaled"),
    [(1e2, 7.8917531877, 0.1721475), (1e4, 13.0794157669, 0.1922904), (1e8, 22.8907111193, 0.2108609)],
)
def test_one_sample_of_degree_two_has_the_published_margins(
    time: float, margin: float, scaled: float
) -> None:
    q = mpmath.findroot(lambda u: mpmath.ei(u) - mpmath.ei(1) - 4 * time, margin)
    assert float(q) == pytest.approx(margin, abs=1e-9)
    assert math.exp(-float(q)) * time * math.log(time) == pytest.approx(scaled, abs=1e-6)
    # The closed form is the solution of q' = 4 q exp(-q).
    assert float(mpmath.quad(lambda u: mpmath.exp(u) / (4 * u), [1, q])) == pytest.approx(time, rel=1e-9)
