"""Flows across and along kinks against hand-solved ones, published values, and a plain integrator far from kinks."""

import math
from collections.abc import Callable, Sequence

import pytest
import torch
from torch import Tensor

from derivations.problem import Problem
from numerics.compile import CompiledSystem, compile_system
from numerics.events import Event, norm_reaches
from numerics.flow import Status, integrate
from numerics.pieces import Piecewise, network_pieces
from numerics.sliding import SlidingRun, integrate_pieces
from numerics.sliding_mode import Undecided, decide

F64 = torch.float64
RTOL = 1e-9
# Error of a state over the tolerance of a step; up to 30 was seen after a dozen pieces.
GLOBAL_OVER_LOCAL = 300.0


def by_hand(
    gradient: Callable[[Tensor, Tensor], Tensor],
    normals: Sequence[Sequence[float]],
    offsets: Sequence[float],
    rates: Sequence[float] | None = None,
    **options: object,
) -> Piecewise:
    """Piecewise flow with hyperplanes ``normals . theta = offsets``; gradient(theta, sides) row by row."""
    matrix, shift = torch.tensor(normals, dtype=F64), torch.tensor(offsets, dtype=F64)
    speed = torch.ones(matrix.shape[1], dtype=F64) if rates is None else torch.tensor(rates, dtype=F64)
    count = len(matrix)
    names = {"kinds": (0,) * count, "samples": tuple(range(count)), "affine": (True,) * count}
    return Piecewise(
        rate=lambda theta, sides: -speed * gradient(theta, sides),
        surfaces=lambda theta, sides: theta @ matrix.T - shift,
        normals=lambda theta, sides, which: matrix[list(which)],
        rates=speed,
        labels=tuple(f"surface {k}" for k in range(count)),
        **{**names, **options},  # type: ignore[arg-type]
    )


def follow(pieces: Piecewise, start: Sequence[float], *times: float, **options: object) -> SlidingRun:
    return integrate_pieces(
        pieces,
        torch.tensor(start, dtype=F64),
        times[-1],
        save_at=torch.tensor(times, dtype=F64),
        rtol=RTOL,
        atol=RTOL,
        **options,  # type: ignore[arg-type]
    )


def close(found: Tensor, expected: Sequence[Sequence[float]] | Tensor, factor: float = 1.0) -> None:
    difference = float((found - torch.as_tensor(expected, dtype=F64)).abs().max())
    assert difference <= factor * GLOBAL_OVER_LOCAL * RTOL, difference


# --------------------------------------------------------------------- solved by hand


def test_on_the_absolute_value_the_flow_stays_where_it_arrives() -> None:
    """R = |x| + y^2 / 2 from (1, 1): x = 1 - t until t = 1, then 0; y = exp(-t)."""
    pieces = by_hand(lambda t, s: torch.stack([s[:, 0], t[:, 1]], 1), [[1.0, 0.0]], [0.0])
    run = follow(pieces, [1.0, 1.0], 0.5, 1.5, 3.0, energy=lambda t: t[:, 0].abs() + t[:, 1] ** 2 / 2)
    close(run.states, [[0.5, math.exp(-0.5)], [0.0, math.exp(-1.5)], [0.0, math.exp(-3)]])
    assert run.status is Status.FINISHED
    assert [(k.time, k.channel, k.direction) for k in run.kinks] == [(pytest.approx(1.0, abs=1e-12), 0, -1)]
    assert [(s.start, s.end, s.surfaces) for s in run.slides] == [(pytest.approx(1.0, abs=1e-12), 3.0, (0,))]
    assert run.energy_increases == 0
    assert run.steps < 200


def test_the_flow_leaves_the_kink_when_the_push_from_one_side_ends() -> None:
    r"""R = |x| - x y - y on x = 0: y' = 1, pushes 1 + y and 1 - y; at y = 1 it leaves to x > 0.

    Then x' = y - 1, y' = 1 + x, so x = cosh s - 1, y = 1 + sinh s.
    """

    def gradient(t: Tensor, s: Tensor) -> Tensor:
        return torch.stack([s[:, 0] - t[:, 1], -t[:, 0] - 1], 1)

    pieces = by_hand(gradient, [[1.0, 0.0]], [0.0])
    # From (0, -0.5) on the kink: it leaves after 1.5.
    run = follow(pieces, [0.0, -0.5], 1.0, 1.5, 2.5)
    close(run.states, [[0.0, 0.5], [0.0, 1.0], [math.cosh(1) - 1, 1 + math.sinh(1)]], 10)
    assert [(s.start, s.surfaces) for s in run.slides] == [(0.0, (0,))]
    assert run.slides[0].end == pytest.approx(1.5, abs=1e-7)
    # The mirror image leaves to the other side: R = |x| + x y - y.
    mirror = by_hand(lambda t, s: torch.stack([s[:, 0] + t[:, 1], t[:, 0] - 1], 1), [[1.0, 0.0]], [0.0])
    run = follow(mirror, [0.0, -0.5], 1.0, 1.5, 2.5)
    close(run.states, [[0.0, 0.5], [0.0, 1.0], [1 - math.cosh(1), 1 + math.sinh(1)]], 10)


def test_a_kink_that_does_not_hold_is_crossed_at_its_time() -> None:
    """x' = -1 above and -3 below 0: x = 1 - t, then -3 (t - 1)."""
    pieces = by_hand(lambda t, s: torch.where(s > 0, 1.0, 3.0).to(F64), [[1.0]], [0.0])
    run = follow(pieces, [1.0], 0.9, 1.1, 2.0)
    close(run.states, [[0.1], [-0.3], [-3.0]])
    assert run.slides == ()
    assert run.modes == 2
    assert run.rejected == 0


def test_block_rates_decide_which_velocity_is_the_shortest() -> None:
    """R = 5 |x + 2 y| + x with rates (1, 3), on the kink.

    The velocity D (g + 5 t n) is tangent: n = (1, 2), n' D n = 13, n' D g = 1, so that 5 t = -1/13.
    """
    pieces = by_hand(
        lambda t, s: 5 * s * torch.tensor([[1.0, 2.0]], dtype=F64) + torch.tensor([[1.0, 0.0]], dtype=F64),
        [[1.0, 2.0]],
        [0.0],
        rates=[1.0, 3.0],
    )
    run = follow(pieces, [2.0, -1.0], 0.5, 1.0)
    velocity = torch.tensor([-(1 - 1 / 13), 3 * 2 / 13], dtype=F64)
    start = torch.tensor([2.0, -1.0], dtype=F64)
    close(run.states, torch.stack([start + 0.5 * velocity, start + velocity]))
    assert float(velocity @ torch.tensor([1.0, 2.0], dtype=F64)) == pytest.approx(0, abs=1e-15)


def test_a_frozen_coordinate_does_not_move_while_sliding() -> None:
    """R = |x + y| - y with y frozen: x goes to -y and stays."""
    pieces = by_hand(
        lambda t, s: s * torch.ones(1, 2, dtype=F64) - torch.tensor([[0.0, 1.0]], dtype=F64),
        [[1.0, 1.0]],
        [0.0],
        rates=[1.0, 0.0],
    )
    run = follow(pieces, [1.0, 0.5], 1.0, 2.0)
    close(run.states, [[0.0, 0.5], [-0.5, 0.5]])


def corner(t: Tensor, s: Tensor) -> Tensor:
    """Gradient of R = |x| + 2 |x - y| + z^2/2 - z x."""
    one, two = s[:, 0], 2 * s[:, 1]
    return torch.stack([one + two - t[:, 2], -two, t[:, 2] - t[:, 0]], 1)


def test_two_kinks_at_once_hold_the_flow_in_their_intersection() -> None:
    """On x = 0 and x = y the flow reaches x = y = 0; there z' = -z."""
    pieces = by_hand(corner, [[1.0, 0.0, 0.0], [1.0, -1.0, 0.0]], [0.0, 0.0])

    def energy(t: Tensor) -> Tensor:
        x, y, z = t.unbind(1)
        return x.abs() + 2 * (x - y).abs() + z**2 / 2 - z * x

    # On x = y alone both move by the mean: x' = y' = -(1 - z)/2.
    run = follow(pieces, [0.3, 0.3, 0.0], 0.1, 4.0, 5.0, energy=energy)
    assert [set(s.surfaces) for s in run.slides] == [{1}, {0, 1}]
    arrived = run.slides[0].end
    assert float(run.states[1, :2].abs().max()) <= 1e-12
    ratio = float(run.states[2, 2] / run.states[1, 2])
    assert ratio == pytest.approx(math.exp(-1), rel=1e-6)
    assert run.energy_increases == 0
    # x obeys x'' = (z - ...)/2: with z' = x - z and x' = (z - 1)/2 a linear system, solved by matrix exponential.
    matrix = torch.tensor([[0.0, 0.5, -0.5], [1.0, -1.0, 0.0], [0.0, 0.0, 0.0]], dtype=F64)
    at = torch.linalg.matrix_exp(matrix * arrived) @ torch.tensor([0.3, 0.0, 1.0], dtype=F64)
    assert float(at[0]) == pytest.approx(0, abs=1e-7)
    early = torch.linalg.matrix_exp(matrix * 0.1) @ torch.tensor([0.3, 0.0, 1.0], dtype=F64)
    close(run.states[0], torch.stack([early[0], early[0], early[1]]))


def test_parallel_kinks_that_cancel_are_no_kink() -> None:
    """|x| - |-x| = 0: the sum rule would hold the flow at 0; the exact set lets it pass."""
    pieces = by_hand(lambda t, s: (s[:, :1] + s[:, 1:]) / 2 + 1, [[1.0], [-1.0]], [0.0, 0.0], samples=(0, 1))
    run = follow(pieces, [0.5], 0.25, 1.0)
    close(run.states, [[0.25], [-0.5]])
    assert run.slides == ()


def test_parallel_kinks_that_add_up_hold() -> None:
    """R = |x| + |-2 x|/2 + x/2 on one surface."""
    pieces = by_hand(lambda t, s: s[:, :1] - s[:, 1:] + 0.5, [[1.0], [-2.0]], [0.0, 0.0])
    run = follow(pieces, [1.0], 1.0, 2.0)
    close(run.states, [[0.0], [0.0]])
    assert run.slides[0].surfaces == (0, 1)
    assert run.slides[0].start == pytest.approx(1 / 2.5, abs=1e-10)


def test_the_top_of_a_kink_that_repels_is_at_rest_and_beside_it_the_flow_runs_off() -> None:
    pieces = by_hand(lambda t, s: -s, [[1.0]], [0.0])
    close(follow(pieces, [0.0], 1.0).states, [[0.0]])
    close(follow(pieces, [1e-3], 1.0).states, [[1.001]])
    close(follow(pieces, [-1e-3], 1.0).states, [[-1.001]])


def test_events_and_limits_work_along_a_slide() -> None:
    pieces = by_hand(lambda t, s: torch.stack([s[:, 0], -t[:, 1]], 1), [[1.0, 0.0]], [0.0])
    run = follow(pieces, [0.5, 1.0], 9.0, events=[norm_reaches(math.e, stop=True)])
    assert run.status is Status.EVENT
    assert float(run.times[-1]) == pytest.approx(1.0, abs=1e-7)
    assert [c.event for c in run.crossings] == [f"norm {math.e:g}"]
    far = follow(pieces, [0.5, 1.0], 90.0, max_norm=1e3)
    assert far.status is Status.AT_INFINITY
    assert far.entry == 1
    assert follow(pieces, [0.5, 1.0], 9.0, max_steps=10).status is Status.STEP_LIMIT
    rest = by_hand(lambda t, s: torch.stack([s[:, 0], t[:, 1]], 1), [[1.0, 0.0]], [0.0])
    assert follow(rest, [0.5, 1.0], 90.0, stationary_norm=1e-3).status is Status.CONVERGED


def test_a_run_may_end_at_the_first_kink() -> None:
    pieces = by_hand(lambda t, s: torch.ones_like(t), [[1.0]], [0.25])
    run = follow(pieces, [1.0], 0.5, 9.0, stop_at_kink=True)
    assert run.status is Status.EVENT
    assert run.times.tolist() == pytest.approx([0.5, 0.75])
    close(run.states, [[0.5], [0.25]])


def test_blow_up_after_a_kink_keeps_its_time() -> None:
    """y' = y^2 throughout, from 1; a kink of x at 0.5 restarts the clock of the pieces."""
    pieces = by_hand(lambda t, s: torch.stack([s[:, 0], -(t[:, 1] ** 2)], 1), [[1.0, 0.0]], [0.0])
    run = follow(pieces, [0.5, 1.0], 9.0, max_norm=1e4)
    assert run.status is Status.DIVERGED
    assert run.blow_up_time == pytest.approx(1.0, rel=1e-6)
    assert run.entry == 1


# --------------------------------------------------------------------- what is not decided is said


def test_kinks_of_different_layers_in_one_sample_are_not_decided() -> None:
    pieces = by_hand(lambda t, s: s, [[1.0, 0.0], [0.0, 1.0]], [0.0, 0.0], samples=(3, 3), kinds=(0, 1))
    run = follow(pieces, [0.0, 0.0], 1.0)
    assert run.status is Status.STALLED
    assert "different layers meet in one sample: surface 0 and surface 1" in run.reason


def test_more_kinks_than_directions_are_not_decided_where_the_flow_would_stay() -> None:
    """R = |x| + |y| + |x + y| at 0: three kinks through a point of the plane."""
    normals = [[1.0, 0.0], [0.0, 1.0], [1.0, 1.0]]
    matrix = torch.tensor(normals, dtype=F64)
    pieces = by_hand(lambda t, s: s @ matrix, normals, [0.0] * 3)
    with pytest.raises(Undecided, match="more kinks meet here than there are directions"):
        decide(pieces, torch.zeros(2, dtype=F64), torch.ones(3, dtype=F64), (0, 1, 2))
    run = follow(pieces, [0.0, 0.0], 1.0)
    assert (run.status, run.times.tolist()) == (Status.STALLED, [0.0])


def test_three_kinks_through_a_point_of_the_plane_are_crossed_where_the_flow_does_not_stay() -> None:
    normals = [[1.0, 0.0], [0.0, 1.0], [1.0, 1.0]]
    matrix = torch.tensor(normals, dtype=F64)
    push = torch.tensor([4.0, 4.0], dtype=F64)
    pieces = by_hand(lambda t, s: s @ matrix / 4 - push, normals, [0.0] * 3)
    run = follow(pieces, [0.0, 0.0], 1.0)
    close(run.states, [[3.5, 3.5]])


def test_curved_kinks_that_touch_are_not_decided() -> None:
    pieces = by_hand(lambda t, s: s.sum(1, keepdim=True), [[1.0], [2.0]], [0.0, 0.0], affine=(False, False))
    assert "curved kinks touch" in follow(pieces, [0.0], 1.0).reason


def test_changes_of_mode_that_accumulate_end_the_run() -> None:
    """A gradient that is none: the flow turns inwards around 0 through four quadrants and gets there in finite time."""

    def inwards(t: Tensor, s: Tensor) -> Tensor:
        return torch.stack([s[:, 1] + 0.5 * s[:, 0], -s[:, 0] + 0.5 * s[:, 1]], 1)

    pieces = by_hand(inwards, [[1.0, 0.0], [0.0, 1.0]], [0.0, 0.0])
    run = follow(pieces, [1.0, 0.1], 50.0)
    assert run.status in (Status.STALLED, Status.FINISHED)
    assert run.modes < 1000


def test_a_start_in_float32_or_a_batch_is_refused() -> None:
    pieces = by_hand(lambda t, s: s, [[1.0]], [0.0])
    with pytest.raises(ValueError, match=r"one point \(P,\) in float64, got \(1,\) in torch.float32"):
        integrate_pieces(pieces, torch.ones(1), 1.0, save_at=torch.tensor([1.0]))
    with pytest.raises(ValueError, match=r"got \(1, 1\)"):
        integrate_pieces(pieces, torch.ones(1, 1, dtype=F64), 1.0, save_at=torch.tensor([1.0]))


# --------------------------------------------------------------------- networks


def network(problem: Problem, x: object, y: object, width: int) -> tuple[CompiledSystem, Piecewise]:
    system = compile_system(problem, x, y, width)
    return system, network_pieces(system)


# Two-homogeneous networks as in Kumar, Haupt, arXiv:2402.09226; values computed from exact piecewise flows, the norms of
# the aligning neuron with mpmath.
X3, Y3 = [[1, 0.5], [-0.3, 1], [0.6, -0.8]], [1, -0.5, 0.8]
X5 = [[1, 0.2], [0.8, -0.4], [0.6, 0.5], [-0.5, 0.9], [-0.9, 0.3]]
Y5 = [1, 0.7, 0.9, -0.6, -0.3]


def test_the_correlation_flow_slides_along_the_kink_of_the_first_sample() -> None:
    system, pieces = network(Problem.two_layer("relu", "correlation", reduction="sum"), X3, Y3, 1)
    start = torch.tensor([-0.7, -0.2, 0.6], dtype=F64)
    run = follow(pieces, (start / start.norm()).tolist(), 1.0, 4.0, energy=system.value)
    assert [(round(k.time, 7), pieces.labels[k.channel]) for k in run.kinks] == [
        (0.1214035, "neuron 1, sample 1")
    ]
    expected = torch.tensor(
        [[-1.1921664, -0.5138360, 1.0276720], [-5.4806288, -2.4468824, 4.8937649]], dtype=F64
    )
    assert float((run.states - expected).abs().max()) <= 6e-8  # the published digits
    assert run.energy_increases == 0
    assert run.steps < 200


@pytest.mark.parametrize(
    ("delta", "norm", "deficit"),
    [
        (1e-2, 0.08842949464, 1.31246e-3),
        (1e-4, 0.00884682875, 1.310929e-5),
        (1e-6, 8.84686965e-4, 1.310749e-7),
    ],
)
def test_from_small_weights_a_neuron_aligns_with_its_kkt_direction(
    delta: float, norm: float, deficit: float
) -> None:
    _, pieces = network(Problem.two_layer("relu", "square", reduction="sum"), X3, Y3, 1)
    start = torch.tensor([0.7, 0.5, -0.5], dtype=F64)
    start = delta * start / start.norm()
    until = math.log(1 / delta) / (4 * 0.7433034374)
    run = integrate_pieces(
        pieces, start, until, save_at=torch.tensor([until], dtype=F64), rtol=1e-11, atol=1e-18
    )
    end = run.states[-1]
    assert float(end.norm()) == pytest.approx(norm, rel=1e-8)
    best = torch.tensor([1.0, 0.9955557351, -0.0941741912], dtype=F64) / math.sqrt(2)
    best = best / best.norm()
    distance = torch.linalg.vector_norm(end / end.norm() - best)  # |u - v|^2 = 2 (1 - cos)
    assert float(distance**2 / 2) == pytest.approx(deficit, rel=2e-5)


@pytest.mark.parametrize(
    ("delta", "values"),
    [
        (1e-3, {2.0: 1.3726192, 4.0: 0.2720188, 6.0: 0.2306266, 10.0: 0.0208290, 40.0: 0.0194423}),
        (1e-5, {4.0: 1.3737973, 6.0: 0.3276051, 10.0: 0.2344887, 20.0: 0.0194514}),
    ],
)
def test_two_neurons_pass_by_the_saddle_on_the_way_to_the_minimum(
    delta: float, values: dict[float, float]
) -> None:
    system, pieces = network(Problem.two_layer("relu", "square", reduction="sum"), X5, Y5, 2)
    start = torch.tensor([0.6, -0.5, 0.3, 0.2, -0.3, 0.4], dtype=F64)
    run = integrate_pieces(
        pieces,
        delta * start / start.norm(),
        max(values),
        save_at=torch.tensor(list(values), dtype=F64),
        rtol=1e-10,
        atol=1e-16,
        energy=system.value,
    )
    assert system.value(run.states).tolist() == pytest.approx(list(values.values()), abs=6e-8)
    assert run.energy_increases == 0
    balance = run.states[:, :2] ** 2 - (run.states[:, 2:].view(-1, 2, 2) ** 2).sum(2)
    assert float((balance - balance[0]).abs().max()) <= 1e-8


def test_antipodal_samples_make_a_smooth_flow() -> None:
    """y relu(u.x) - y relu(-u.x) = y u.x: v' = y u.x, u' = y v x, whatever the sides."""
    x, y = [[1.0, 0.5], [-1.0, -0.5]], [1.0, -1.0]
    _, pieces = network(Problem.two_layer("relu", "correlation", reduction="sum"), x, y, 1)
    start = torch.tensor([-1.0, 0.2, 0.4], dtype=F64)  # u.x = 0.4 falls through 0
    run = follow(pieces, start.tolist(), 0.3, 1.0)
    along, size = 0.4, 1.25  # u.x and |x|^2
    root = math.sqrt(size)
    for time, state in zip((0.3, 1.0), run.states, strict=True):
        c, s = math.cosh(root * time), math.sinh(root * time)
        v, p = -1.0 * c + along / root * s, along * c - root * s
        expected = [v, 0.2 + (p - along) / size * 1.0, 0.4 + (p - along) / size * 0.5]
        close(state, expected)
    assert run.slides == ()


def test_a_hinge_holds_a_sample_at_its_margin_until_the_other_one_is_satisfied() -> None:
    """Linear f = a.x, first layer frozen to the identity, R = sum max(0, 1 - y f).

    Both unsatisfied: a' = (0.5, 1) from (0.9, 0); at t = 0.2 sample 1 has margin 1; then a = (1, .), a' = (0, 1) until
    -0.5 + a_2 = 1.
    """
    problem = Problem.two_layer("linear", "hinge", reduction="sum", freeze=("w",))
    system, pieces = network(problem, [[1.0, 0.0], [-0.5, 1.0]], [1.0, 1.0], 2)
    run = follow(pieces, [0.9, 0.0, 1.0, 0.0, 0.0, 1.0], 0.1, 0.2, 1.0, 3.0, energy=system.value)
    close(run.states[:, :2], [[0.95, 0.1], [1.0, 0.2], [1.0, 1.0], [1.0, 1.5]])
    assert [tuple(pieces.labels[k] for k in s.surfaces) for s in run.slides] == [
        ("loss, sample 1",),
        ("loss, sample 1", "loss, sample 2"),
    ]
    assert run.slides[0].end == pytest.approx(1.5, abs=1e-9)
    assert run.rate_norm <= 1e-12
    assert run.energy_increases == 0


def euler(system: CompiledSystem, start: Tensor, until: float, steps: int) -> Tensor:
    """Explicit Euler, whose error on a sliding flow is O(step)."""
    theta = start.clone()
    for _ in range(steps):
        theta = theta + until / steps * system.flow(theta)
    return theta


@pytest.mark.parametrize("loss", ["square", "hinge"])
@pytest.mark.parametrize("seed", [0, 1, 2])
def test_random_networks_agree_with_small_euler_steps_and_lose_energy(loss: str, seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    x, y = (
        torch.randn(6, 2, generator=generator, dtype=F64),
        torch.randn(6, generator=generator, dtype=F64).sign(),
    )
    system, pieces = network(Problem.two_layer("relu", loss, input_bias=True, reduction="sum"), x, y, 3)
    start = torch.randn(system.P, generator=generator, dtype=F64)
    run = follow(pieces, start.tolist(), 1.0, energy=system.value)
    assert run.status is Status.FINISHED, run.reason
    assert run.energy_increases == 0
    coarse, fine = (float((euler(system, start, 1.0, n) - run.states[-1]).norm()) for n in (1000, 4000))
    assert fine <= 2e-2
    assert fine <= 0.6 * coarse or fine <= 1e-3


def test_a_deep_network_agrees_with_small_euler_steps() -> None:
    generator = torch.Generator().manual_seed(3)
    x, y = torch.randn(5, 2, generator=generator, dtype=F64), torch.randn(5, generator=generator, dtype=F64)
    system = compile_system(Problem.deep(3, "relu", "square"), x, y, [3, 2])
    start = 0.8 * torch.randn(system.P, generator=generator, dtype=F64)
    run = follow(network_pieces(system), start.tolist(), 2.0, energy=system.value)
    assert run.status is Status.FINISHED, run.reason
    assert run.energy_increases == 0
    assert float((euler(system, start, 2.0, 4000) - run.states[-1]).norm()) <= 2e-2


def test_without_kinks_on_the_way_it_is_the_plain_flow() -> None:
    system, pieces = network(Problem.two_layer("leaky_relu(1/3)", "square"), [[1.0], [2.0]], [1.0, 1.0], 1)
    start = torch.tensor([0.5, 0.4], dtype=F64)
    run = follow(pieces, start.tolist(), 1.0, 5.0)
    plain = integrate(
        system.flow, start[None], 5.0, rtol=RTOL, atol=RTOL, save_at=torch.tensor([1.0, 5.0], dtype=F64)
    )
    close(run.states, plain.states[0])
    assert run.modes == 1


def test_where_a_plain_integrator_chatters_the_flow_goes_on() -> None:
    system, pieces = network(Problem.two_layer("relu", "square", input_bias=True, reduction="sum"), X5, Y5, 3)
    start = torch.randn(system.P, generator=torch.Generator().manual_seed(11), dtype=F64)
    plain = integrate(system.flow, start[None], 2.0, method="dopri5", rtol=1e-8, atol=1e-10, max_steps=600)
    assert plain.status == (Status.STEP_LIMIT,)
    stopped = float(plain.final_time[0])
    run = follow(pieces, start.tolist(), stopped, 2.0)
    assert run.status is Status.FINISHED
    assert run.steps + run.rejected < 500
    assert run.slides[0].start < stopped
    # The chatter keeps to the tolerance in each step; 1e-6 was seen.
    assert float((run.states[0] - plain.final_state[0]).abs().max()) <= 1e-5


def test_an_event_function_sees_every_mode() -> None:
    _, pieces = network(Problem.two_layer("relu", "correlation", reduction="sum"), X3, Y3, 1)
    start = torch.tensor([-0.7, -0.2, 0.6], dtype=F64)
    run = follow(
        pieces, (start / start.norm()).tolist(), 4.0, events=[Event("norm", lambda y: y.norm(dim=1) - 2)]
    )
    assert len(run.crossings) == 1
    assert run.crossings[0].time > run.kinks[0].time
