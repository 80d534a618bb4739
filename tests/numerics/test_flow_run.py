"""Interrupted runs, blow-up and blame: the loop behind ``integrate``."""

import math
from collections.abc import Mapping

import pytest
import torch
from torch import Tensor

from numerics.events import Event
from numerics.flow import FlowResult, Status, integrate

F64 = torch.float64


class Killed(Exception):
    pass


class Memory:
    """Keeps the last state; the run is killed after so many attempts."""

    def __init__(self, every: int, kill_at: int | None) -> None:
        self.every, self.kill_at, self.calls = every, kill_at, 0
        self.kept: dict[str, Tensor] | None = None

    def load(self) -> Mapping[str, Tensor] | None:
        return self.kept

    def due(self) -> bool:
        self.calls += 1
        if self.kill_at is not None and self.calls == self.kill_at:
            raise Killed
        return self.calls % self.every == 0

    def save(self, state: Mapping[str, Tensor]) -> None:
        self.kept = {name: value.clone() for name, value in state.items()}


def stiff(y: Tensor) -> Tensor:
    """One fast and one slow variable, the second one a label that sets how fast."""
    return torch.stack(
        [
            -(10.0 ** y[:, 1]) * (y[:, 0] - torch.cos(y[:, 2])),
            torch.zeros_like(y[:, 1]),
            torch.ones_like(y[:, 2]),
        ],
        1,
    )


def jacobian(y: Tensor) -> Tensor:
    out = torch.zeros(len(y), 3, 3, dtype=y.dtype)
    fast = 10.0 ** y[:, 1]
    out[:, 0, 0], out[:, 0, 2] = -fast, -fast * torch.sin(y[:, 2])
    out[:, 0, 1] = -math.log(10) * fast * (y[:, 0] - torch.cos(y[:, 2]))
    return out


START = torch.tensor([[0.0, 0.0, 0.0], [0.0, 4.0, 0.0], [2.0, 1.0, 1.0], [0.5, 5.0, 0.3]], dtype=F64)


def run(checkpoint: Memory | None, **options: object) -> FlowResult:
    return integrate(
        stiff,
        START,
        6.0,
        jacobian=jacobian,
        energy=lambda y: y[:, 0],
        events=[Event("x", lambda y: y[:, 0])],
        checkpoint=checkpoint,
        rtol=1e-6,
        **options,  # type: ignore[arg-type]
    )


def same(one: FlowResult, other: FlowResult) -> None:
    for left, right in zip((*one.times, *one.states), (*other.times, *other.states), strict=True):
        assert torch.equal(left, right)
    for name in ("final_state", "steps", "rejected", "evaluations", "stiff_steps", "next_step"):
        assert torch.equal(getattr(one, name), getattr(other, name)), name
    assert torch.equal(one.switched_at.nan_to_num(-1), other.switched_at.nan_to_num(-1))
    assert one.status == other.status
    assert len(one.crossings) == len(other.crossings)
    for left, right in zip(one.crossings, other.crossings, strict=True):
        assert (left.row, left.time, left.direction) == (right.row, right.time, right.direction)
        assert torch.equal(left.state, right.state)


@pytest.mark.parametrize(
    "options",
    [{}, {"record": True}, {"save_at": torch.linspace(0, 6, 9, dtype=F64)}],
    ids=["ends", "all", "grid"],
)
@pytest.mark.parametrize("kill_at", [7, 60, 100])
def test_a_killed_run_goes_on_and_ends_in_the_same_bits(options: dict, kill_at: int) -> None:
    whole = run(None, **options)
    assert whole.method == "dop853, rodas4"
    memory = Memory(5, kill_at)
    with pytest.raises(Killed):
        run(memory, **options)
    assert memory.kept is not None
    memory.kill_at = None
    same(run(memory, **options), whole)


def test_a_run_killed_many_times_loses_nothing() -> None:
    whole = run(None)
    memory = Memory(3, 20)
    for _ in range(1000):
        try:
            result = run(memory)
        except Killed:
            memory.calls = 0
            continue
        break
    same(result, whole)


# --------------------------------------------------------------------- blow-up and blame


@pytest.mark.parametrize("power", [1.5, 2.0, 3.0])
def test_the_blow_up_time_of_a_pure_power_is_found(power: float) -> None:
    """y' = y^q from 1 blows up at 1 / (q - 1)."""
    result = integrate(
        lambda y: torch.stack([-y[:, 0], y[:, 1] ** power], 1),
        torch.tensor([[0.5, 1.0]], dtype=F64),
        10.0,
        max_norm=1e3,
    )
    assert result.status == (Status.DIVERGED,)
    assert float(result.blow_up_time) == pytest.approx(1 / (power - 1), rel=1e-6)
    assert int(result.entry) == 1


def test_exponential_growth_has_no_blow_up_time_and_names_the_entry_that_runs_off() -> None:
    result = integrate(
        lambda y: y * torch.tensor([0.1, 0.2, 1.0], dtype=F64), torch.ones(1, 3, dtype=F64), 1e3
    )
    assert result.status == (Status.AT_INFINITY,)
    assert bool(result.blow_up_time.isnan())
    assert int(result.entry) == 2


def test_a_rate_that_stops_being_finite_names_its_entry_and_time() -> None:
    """sqrt(1 - t) in the middle entry is NaN beyond t = 1."""
    result = integrate(
        lambda y: torch.stack([torch.ones_like(y[:, 0]), torch.sqrt(1 - y[:, 0]), -y[:, 2]], 1),
        torch.tensor([[0.0, 0.0, 1.0]], dtype=F64),
        3.0,
    )
    assert result.status == (Status.DIVERGED,)
    assert float(result.final_time) == pytest.approx(1.0, abs=1e-6)
    assert int(result.entry) == 1


def test_a_start_whose_rate_is_not_finite_names_the_entry() -> None:
    start = torch.tensor([[1.0, -1.0], [1.0, 1.0]], dtype=F64)
    result = integrate(lambda y: -torch.log(y), start, 1.0)
    assert result.status == (Status.DIVERGED, Status.FINISHED)
    assert result.entry.tolist() == [1, -1]
