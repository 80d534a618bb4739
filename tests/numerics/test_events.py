"""Events against the times at which closed-form solutions reach them."""

import math

import pytest
import torch
from torch import Tensor

from numerics.events import Event, loss_reaches, norm_reaches, rate_reaches
from numerics.flow import Status, integrate

F64 = torch.float64
RTOL = 1e-9
# Error of an event time over the tolerance: the continuous extension has order 4 and 3; up to 6 was seen.
TIME_OVER_TOLERANCE = 50.0
METHODS = pytest.mark.parametrize("method", ["dopri5", "rodas4"])


def rotation(y: Tensor) -> Tensor:
    return torch.stack([-y[:, 1], y[:, 0]], dim=1)


def rotation_jacobian(y: Tensor) -> Tensor:
    return torch.tensor([[0.0, -1.0], [1.0, 0.0]], dtype=y.dtype).expand(len(y), 2, 2)


def circle(*phases: float) -> Tensor:
    return torch.tensor([[math.cos(p), math.sin(p)] for p in phases], dtype=F64)


def spin(*events: Event, method: str = "dopri5", until: float = 20.0, **options: object):  # type: ignore[no-untyped-def]
    return integrate(
        rotation,
        circle(0.0, 1.0, 2.0),
        until,
        jacobian=rotation_jacobian,
        method=method,
        rtol=RTOL,
        atol=RTOL,
        events=events,
        **options,  # type: ignore[arg-type]
    )


@METHODS
def test_every_zero_of_a_rotation_is_found_at_its_time_with_its_direction(method: str) -> None:
    result = spin(Event("axes", lambda y: y), method=method)
    for row, phase in enumerate((0.0, 1.0, 2.0)):
        found = [c for c in result.crossings if c.row == row]
        # cos(t + phase) falls at pi/2 + 2 pi k and rises at 3 pi/2; sin rises at 0 (mod 2 pi) and falls at pi.
        expected = sorted(
            (k * math.pi / 2 - phase, (k + 1) % 2, {0: 1, 1: -1, 2: -1, 3: 1}[k % 4]) for k in range(1, 40)
        )
        expected = [u for u in expected if 0 < u[0] < 20]
        assert [(c.channel, c.direction) for c in found] == [u[1:] for u in expected]
        for crossing, (time, _, _) in zip(found, expected, strict=True):
            assert abs(crossing.time - time) <= TIME_OVER_TOLERANCE * RTOL
            assert float(crossing.state.norm()) == pytest.approx(1, abs=TIME_OVER_TOLERANCE * RTOL)


def test_only_the_wanted_direction_is_recorded() -> None:
    rises = spin(Event("x", lambda y: y[:, 0], direction=1))
    falls = spin(Event("x", lambda y: y[:, 0], direction=-1))
    assert {c.direction for c in rises.crossings} == {1}
    assert {c.direction for c in falls.crossings} == {-1}
    assert len(rises.crossings) + len(falls.crossings) == len(spin(Event("x", lambda y: y[:, 0])).crossings)


@METHODS
def test_an_event_that_stops_ends_its_own_trajectory_there_and_no_other(method: str) -> None:
    start = torch.tensor([[1.0], [4.0], [0.5]], dtype=F64)
    result = integrate(
        lambda y: -y,
        start,
        3.0,
        jacobian=lambda y: -torch.ones(len(y), 1, 1, dtype=F64),
        method=method,
        rtol=RTOL,
        atol=RTOL,
        save_at=torch.tensor([0.0, 0.5, 1.5, 3.0], dtype=F64),
        events=[norm_reaches(0.6, stop=True), norm_reaches(0.7)],
    )
    assert result.status == (Status.EVENT, Status.EVENT, Status.FINISHED)
    for row, size in enumerate((1.0, 4.0)):
        assert float(result.final_time[row]) == pytest.approx(
            math.log(size / 0.6), abs=TIME_OVER_TOLERANCE * RTOL
        )
        assert float(result.final_state[row, 0]) == pytest.approx(0.6, abs=1e-12)
        assert float(result.final_rate_norm[row]) == pytest.approx(0.6, abs=1e-12)
    assert [u.tolist()[:-1] for u in result.times[:2]] == [[0.0, 0.5], [0.0, 0.5, 1.5]]
    assert [(c.row, c.event) for c in result.crossings] == [
        (0, "norm 0.7"),
        (0, "norm 0.6"),
        (1, "norm 0.7"),
        (1, "norm 0.6"),
    ]


def test_what_happens_after_the_stop_in_the_same_step_is_not_recorded() -> None:
    """dy/dt = -1 is integrated in one step, which passes 0.5 (stop) and 0.25."""
    result = integrate(
        lambda y: -torch.ones_like(y),
        torch.ones(1, 1, dtype=F64),
        0.9,
        first_step=10.0,
        events=[norm_reaches(0.25), norm_reaches(0.5, stop=True), norm_reaches(0.75)],
    )
    assert int(result.steps) == 1
    assert [c.event for c in result.crossings] == ["norm 0.75", "norm 0.5"]
    assert float(result.final_time) == pytest.approx(0.5, abs=1e-15)


def test_a_dip_inside_one_step_is_seen_and_without_interior_points_is_not() -> None:
    """y = (t - 1)^2 - 0.1 along dt/dt = 1: two zeros inside the one step from 0 to 2."""

    def dip(y: Tensor) -> Tensor:
        return (y[:, 0] - 1) ** 2 - 0.1

    def run(interior: int) -> list[float]:
        found = integrate(
            lambda y: torch.ones_like(y),
            torch.zeros(1, 1, dtype=F64),
            2.0,
            first_step=5.0,
            events=[Event("dip", dip, interior=interior)],
        )
        return [c.time for c in found.crossings]

    assert run(3) == pytest.approx([1 - math.sqrt(0.1), 1 + math.sqrt(0.1)], abs=1e-14)
    assert run(0) == []


def test_leaving_zero_is_no_event_and_reaching_it_is_one() -> None:
    """From y = 0 with dy/dt = 1; and y that decays to exactly 0 by an indicator."""
    leaves = integrate(
        lambda y: torch.ones_like(y), torch.zeros(1, 1, dtype=F64), 1.0, events=[Event("y", lambda y: y)]
    )
    assert leaves.crossings == ()
    reaches = integrate(
        lambda y: torch.ones_like(y),
        torch.zeros(1, 1, dtype=F64),
        1.0,
        events=[Event("clip", lambda y: (y - 0.5).clamp_max(0.0))],
    )
    assert [c.time for c in reaches.crossings] == pytest.approx([0.5], abs=1e-14)


def test_thresholds_of_loss_and_rate() -> None:
    """theta' = -theta, R = |theta|^2 / 2: R = 1e-3 and |rate| = 1e-2 at known times."""
    start = torch.tensor([[3.0, 4.0]], dtype=F64)
    result = integrate(
        lambda y: -y,
        start,
        10.0,
        rtol=RTOL,
        atol=1e-14,
        events=[loss_reaches(lambda y: (y**2).sum(1) / 2, 1e-3), rate_reaches(lambda y: -y, 1e-2, stop=True)],
    )
    assert result.status == (Status.EVENT,)
    times = [math.log(5 / math.sqrt(2e-3)), math.log(500)]
    assert [c.time for c in result.crossings] == pytest.approx(times, abs=1e-6)
    assert [c.event for c in result.crossings] == ["loss 0.001", "stationary 0.01"]


def test_a_batch_has_the_events_of_each_trajectory_alone() -> None:
    together = spin(Event("axes", lambda y: y)).crossings
    alone = []
    for row, phase in enumerate((0.0, 1.0, 2.0)):
        single = integrate(
            rotation,
            circle(phase),
            20.0,
            method="dopri5",
            rtol=RTOL,
            atol=RTOL,
            events=[Event("axes", lambda y: y)],
        )
        alone += [(row, c.channel, c.direction, c.time) for c in single.crossings]
    assert [(c.row, c.channel, c.direction) for c in together] == [u[:3] for u in alone]
    assert [c.time for c in together] == pytest.approx([u[3] for u in alone], abs=1e-13)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Event("x", lambda y: y, direction=2), "direction of event 'x' must be -1, 0 or 1, got 2"),
        (lambda: Event("x", lambda y: y, interior=-1), "interior of event 'x' must be at least 0, got -1"),
        (
            lambda: spin(Event("x", lambda y: y.sum())),
            r"event 'x' must return a tensor of shape \(3,\) or \(3, K\), got \(\)",
        ),
        (lambda: spin(Event("x", lambda y: 1.0)), "got float"),  # type: ignore[arg-type,return-value]
    ],
)
def test_bad_events_are_refused(make, message: str) -> None:  # type: ignore[no-untyped-def]
    with pytest.raises(ValueError, match=message):
        make()


def test_an_event_that_stops_gives_the_first_crossings_of_each_row_and_no_later_ones() -> None:
    """y' = 1 in one large step: thresholds at 1, 2, 2 and 3 from the starts 0, 1.5 and 2.5."""
    levels = torch.tensor([1.0, 2.0, 2.0, 3.0], dtype=torch.float64)
    start = torch.tensor([[0.0], [1.5], [2.5]], dtype=torch.float64)
    looked = []

    def thresholds(y: Tensor) -> Tensor:
        looked.append(len(y))
        return y - levels

    stop = Event("threshold", thresholds, stop=True)
    result = integrate(torch.ones_like, start, 10.0, events=[stop], first_step=10.0)
    found = [(c.row, c.channel, c.direction, round(c.time, 12)) for c in result.crossings]
    assert found == [(0, 0, 1, 1.0), (1, 1, 1, 0.5), (1, 2, 1, 0.5), (2, 3, 1, 0.5)]
    assert [round(float(y[0]), 12) for y in result.final_state] == [1.0, 2.0, 3.0]
    assert max(looked) == len(start)  # bisected row by row, however many functions cross
