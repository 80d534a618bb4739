"""Starts next to critical manifolds: what they have in common with the known points, and what they find."""

from __future__ import annotations

import numpy as np
import pytest
import torch

import workbench as wb
import workbench.embedded_starts as module
from numerics.critical import find_critical_points, polish, starts
from workbench.embedded_starts import embedded_starts, saddle_starts
from workbench.network import Network, architecture

#: The best fit of one neuron to the 21 samples, as published.
A1 = Network(np.array([[2.114296872029]]), np.array([[0.476965966290, 0.141833335041]]), None)


@pytest.fixture(scope="module")
def line():
    analysis = wb.Analysis(wb.load(wb.shipped_studies()["tanh-1d"]))
    return analysis.compile, architecture(analysis.problem, 1, 1)


def outputs(blocks, x: torch.Tensor) -> torch.Tensor:
    """The network function written out by hand."""
    return torch.tanh(x[:, None] * blocks["w"][:, 0] + blocks["b"]) @ blocks["a"]


def test_members_of_a_manifold_have_the_function_of_the_narrow_point(line, monkeypatch) -> None:
    compiled, shape = line
    system, x = compiled(3), torch.linspace(-4, 4, 9, dtype=torch.float64)
    monkeypatch.setattr(module, "DISTANCES", (0.0,))
    monkeypatch.setattr(module, "LINEAR", 0.0)
    monkeypatch.setattr(module, "FRESH", 50)
    theta, _ = embedded_starts(system, 3, [A1], shape, 40, 1)
    wanted = outputs(
        {name: torch.tensor(u, dtype=torch.float64) for name, u in A1.to_blocks(shape).items()}, x
    )
    for row in theta[1:]:
        torch.testing.assert_close(outputs(system.unpack(row), x), wanted, rtol=1e-9, atol=1e-9)
    shares = torch.stack([system.unpack(row)["a"] for row in theta[1:]]) / A1.a[0, 0]
    assert float(shares.abs().max()) > 2  # far outside [0, 1]
    assert bool((shares == 0).any())  # dead neurons


def test_the_same_seed_gives_the_same_starts(line) -> None:
    compiled, shape = line
    system = compiled(2)
    first, again, other = (embedded_starts(system, 2, [A1], shape, 30, seed) for seed in (5, 5, 6))
    assert torch.equal(first[0], again[0])
    assert torch.equal(first[1], again[1])
    assert not torch.equal(first[0], other[0])
    assert set(first[1].tolist()) == set(module.FOLLOWED)


def test_an_index_is_followed_by_every_second_start(line) -> None:
    compiled, shape = line
    _, uphill = embedded_starts(compiled(1), 1, [A1], shape, 400, 5, 2)
    share = float((uphill == 2).double().mean())
    assert abs(share - 0.5) < 4 * 0.5 / 20  # four standard errors
    _, uphill = embedded_starts(compiled(1), 1, [A1], shape, 40, 5, 7)
    assert int(uphill.max()) == 3  # no more than there are parameters


def test_points_of_three_neurons_are_next_to_points_of_two(line) -> None:
    """A saddle that 1 in 700 random starts meets, and a minimum that 1 in 400 meets."""
    compiled, shape = line
    theta, _ = polish(compiled(2), find_critical_points(compiled(2), starts(compiled(2), 60, 0)).theta)
    published = (0.000240427032, 0.004317867300)  # B1 and B2
    value = compiled(2).value(theta)
    narrow = [
        Network.from_blocks(compiled(2).unpack(theta[(value - u).abs().argmin()]), shape) for u in published
    ]
    theta0, uphill = embedded_starts(compiled(3), 3, narrow, shape, 240, 0)
    value = compiled(3).value(find_critical_points(compiled(3), theta0, index=uphill, max_steps=120).theta)
    for point in (0.000223690094, 0.003882001760):
        assert bool(((value - point).abs() < 1e-10).any()), point


def test_descents_leave_a_saddle_on_both_sides_of_each_negative_eigenvector(line) -> None:
    compiled, _ = line
    system = compiled(2)
    split = system.pack(
        {
            "a": [A1.a[0, 0] / 2] * 2,
            "w": [[A1.w[0, 0]]] * 2,
            "b": [A1.w[0, 1]] * 2,
        }
    )
    theta0 = saddle_starts(system, split)
    assert theta0.shape == (4, 6)  # one negative eigenvalue, two sides, two distances
    torch.testing.assert_close(theta0.mean(dim=0), split)
    found = find_critical_points(system, theta0, index=torch.zeros(4, dtype=torch.long))
    theta, _ = polish(system, found.theta)
    assert float(system.value(theta).min()) == pytest.approx(0.000240427032, abs=1e-11)  # B1, as published
