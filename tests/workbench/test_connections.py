"""Descents of the shipped one-dimensional data against published values and an integration written here."""

from __future__ import annotations

import numpy as np
import pytest
import torch

import workbench as wb
from numerics.spectrum import Inertia, Spectrum
from workbench.connections import PER_DIMENSION, SAMPLED, STEP_OFF, departures, sampled
from workbench.landscape import Landscape

A1, B1, ZERO = 0.008172288778, 0.000240427032, 1.362909818


def spectrum(*levels: float) -> Spectrum:
    count = len(levels)
    turned = torch.linalg.qr(
        torch.randn(count, count, generator=torch.Generator().manual_seed(5), dtype=torch.float64)
    )[0]
    negative = sum(u < 0 for u in levels)
    return Spectrum(levels, turned, Inertia(negative, 0, count - negative), 0.0, None, None)


def drawn(levels: tuple[float, ...], seed: int = 0) -> list:
    return sampled(
        7,
        torch.ones(len(levels), dtype=torch.float64),
        spectrum(*levels),
        torch.Generator().manual_seed(seed),
    )


def test_directions_are_drawn_from_the_sphere_in_the_negative_eigenspace() -> None:
    levels = (-3.0, -2.0, -0.5, 1.0, 4.0)
    found, basis, theta = drawn(levels), spectrum(*levels).vectors, torch.ones(5, dtype=torch.float64)
    assert len(found) == 3 * PER_DIMENSION
    for start in found:
        step = (start.theta - theta) / (STEP_OFF * (1 + float(theta.norm())))
        assert float(step.norm()) == pytest.approx(1.0)
        assert float((basis[:, 3:].T @ step).norm()) < 1e-12
        inside = (basis[:, :3].T @ step).abs().tolist()
        assert inside == pytest.approx([abs(u) for u in start.coordinates])
        assert start.eigenvalue == pytest.approx(
            sum(u * c**2 for u, c in zip(levels, start.coordinates, strict=False))
        )
        assert (start.node, start.direction, start.sign) == (7, SAMPLED, 1)
    mean = torch.tensor([start.coordinates for start in found]).mean(dim=0)
    assert float(mean.norm()) < 0.5


def test_one_negative_direction_needs_no_draws() -> None:
    assert drawn((-1.0, 2.0)) == []


def test_the_seed_decides_the_draws() -> None:
    one, two, three = drawn((-2.0, -1.0)), drawn((-2.0, -1.0)), drawn((-2.0, -1.0), 1)
    assert [s.coordinates for s in one] == [s.coordinates for s in two] != [s.coordinates for s in three]


def test_eigendirections_come_in_pairs() -> None:
    starts = departures(0, torch.zeros(3, dtype=torch.float64), spectrum(-2.0, -1.0, 1.0))
    assert [(s.direction, s.sign, s.coordinates) for s in starts] == [
        (k, s, None) for k in (0, 1) for s in (1, -1)
    ]


def between(landscape: Landscape, source: float, target: float, **wanted: object) -> list[dict]:
    at = {p.id: p.value for p in landscape.points}
    return [
        e.details
        for e in landscape.edges
        if e.kind == "descent"
        and (at[e.source], at[e.target]) == pytest.approx((source, target), abs=1e-8)
        and all(e.details.get(name) == value for name, value in wanted.items())
    ]


def test_every_descent_tells_its_transit_apart_from_its_arrival(connected_line: Landscape) -> None:
    descents = [e for e in connected_line.edges if e.kind == "descent"]
    assert descents
    for edge in descents:
        transit, arrival = edge.details["transit"], edge.details["arrival"]
        assert transit["status"] == "SUPPORTED"
        assert 0 < transit["time"] <= edge.details["time"]
        assert edge.details["action"] == edge.details["loss_drop"] > 0
        assert "away" not in edge.details
        if connected_line[edge.target].kind == "minimum":
            assert arrival["status"] == "CERTIFIED"
            assert arrival["distance"] < arrival["radius"]
        else:
            assert (arrival["status"], arrival["radius"]) == ("UNDECIDED", None)


def gradient(theta: np.ndarray, x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Gradient for one neuron a tanh(w x + b) under half the mean square, written out."""
    a, w, b = theta
    s = np.tanh(w * x + b)
    e = (a * s - y) / len(x)
    return np.array([e @ s, (e * a * (1 - s**2)) @ x, (e * a * (1 - s**2)).sum()])


def test_the_action_and_the_transit_time_are_those_of_an_integration_written_here(
    connected_line: Landscape,
) -> None:
    data = wb.Analysis(wb.load(wb.shipped_studies()["tanh-1d"])).dataset
    x, y = np.array(data.x_float())[:, 0], np.array(data.y_float())[:, 0]
    start, end = (
        next(p for p in connected_line.points if p.width == 1 and abs(p.value - u) < 1e-8) for u in (ZERO, A1)
    )
    there, goal = ([p.theta["a"][0], p.theta["w"][0][0], p.theta["b"][0]] for p in (start, end))
    hessian = np.array(
        [gradient(np.array(there) + h, x, y) - gradient(np.array(there) - h, x, y) for h in 1e-6 * np.eye(3)]
    )
    u = np.linalg.eigh((hessian + hessian.T) / 4e-6)[1][:, 0]
    goal, theta = np.array(goal), np.array(there) + STEP_OFF * u * np.sign(u[0])
    step, action, near = 0.01, 0.0, None
    for k in range(6000):
        k1 = gradient(theta, x, y)
        k2 = gradient(theta - step / 2 * k1, x, y)
        k3 = gradient(theta - step / 2 * k2, x, y)
        k4 = gradient(theta - step * k3, x, y)
        middle = gradient(theta - step / 2 * k2, x, y)
        theta = theta - step / 6 * (k1 + 2 * k2 + 2 * k3 + k4)
        last = gradient(theta, x, y)
        action += step / 6 * (k1 @ k1 + 4 * middle @ middle + last @ last)
        distance = min(np.linalg.norm(theta - s * goal) for s in (1, -1))  # the activation is odd
        if distance > 1e-2 * (1 + np.linalg.norm(goal)):
            near = None
        elif near is None:
            near = (k + 1) * step
    found = [d for d in between(connected_line, ZERO, A1, direction=0) if "drawn" not in d]
    assert len(found) == 2  # from both sides, at width 1
    for details in found:
        assert details["action"] == pytest.approx(action, rel=1e-4)
        assert near <= details["transit"]["time"] <= near * 10 ** (1 / 12) * 1.01


def test_drawn_directions_from_the_zero_network_lead_past_its_eigendirections(
    connected_line: Landscape,
) -> None:
    """Along an eigendirection one neuron stays zero, so that the flow ends at a saddle; from anywhere else both take part."""
    eigen = between(connected_line, ZERO, A1, sign=1)
    assert any(details.get("drawn") == 2 * PER_DIMENSION and details["share"] == 0 for details in eigen)
    (free,) = between(connected_line, ZERO, B1)
    assert (free["direction"], free["share"], free["drawn"]) == (SAMPLED, 1.0, 2 * PER_DIMENSION)
    assert np.linalg.norm(free["coordinates"]) == pytest.approx(1.0)


def test_the_split_fit_of_one_neuron_reaches_the_best_fit_of_two_on_both_sides(
    connected_line: Landscape,
) -> None:
    split = next(p for p in connected_line.points if p.copies == (2,))
    ends = {
        (e.target, e.details["sign"])
        for e in connected_line.edges
        if e.source == split.id and e.kind == "descent"
    }
    best = next(p.id for p in connected_line.points if p.width == 2 and abs(p.value - B1) < 1e-9)
    assert ends == {(best, 1), (best, -1)}
