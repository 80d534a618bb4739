"""Wide networks built layer by layer keep outputs and criticality; inertias are those of published and exact values.

Critical points are made by construction: for parameters and inputs that are given, the residual is a vector orthogonal to every
tangent function, and the targets are the outputs minus it.  Gradients and Hessians come from autograd.
"""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
import torch

from derivations.problem import Problem
from numerics.compile import compile_system
from numerics.reference import Reference
from numerics.spectrum import spectrum
from numerics.splitting_law import curvature, predict_split_inertia
from numerics.wide_maps import Chain, Group, chain_of, compatible, flat, insert_layer, three_copies

tensor = lambda *values: torch.tensor(values, dtype=torch.float64)  # noqa: E731


def blocks_of(oracle, theta):
    return oracle._blocks(theta)


def critical(oracle, theta, v):
    """Return the oracle with targets at which theta is critical for half the mean of squares."""
    jacobian = oracle.jacobian(theta).reshape(-1, oracle.P)
    tangent, _ = torch.linalg.qr(jacobian)
    e = v.reshape(-1) - tangent @ (tangent.T @ v.reshape(-1))
    return replace(oracle, y=oracle.outputs(theta) - e.reshape(oracle.y.shape))


def counts(oracle, theta):
    found = spectrum(oracle.hessian(theta)).inertia
    return found.positive, found.zero, found.negative


def published():
    """T1 of the embedding principle in deep networks: tanh, widths 1 and 1, ten samples."""
    i = torch.arange(1, 11, dtype=torch.float64)
    x = torch.stack(
        [(1.7 * i).cos().round(decimals=3), (1.2 * (2.3 * i + 0.4).sin()).round(decimals=3)], dim=1
    )
    oracle = Reference(x, torch.zeros(10, dtype=torch.float64), "tanh", "square", (1, 1), "deep", True, True)
    theta = tensor(0.9, -0.6, 0.2, 1.1, -0.3, 1.4, 0.25)
    return critical(oracle, theta, (3.1 * i**2).sin().round(decimals=3)), theta


def at(oracle, chain):
    return replace(oracle, widths=chain.widths), flat(chain, oracle.kind)


def check(oracle, theta, wide, point):
    assert float((wide.outputs(point) - oracle.outputs(theta)).abs().max()) < 1e-13
    assert float(wide.gradient(point).abs().max()) < 1e-13


def test_the_point_of_the_source_is_critical_with_its_value_and_inertia():
    oracle, theta = published()
    assert float(oracle.value(theta)) == pytest.approx(0.07212590755492669, abs=1e-12)
    assert counts(oracle, theta) == (5, 0, 2)


@pytest.mark.parametrize(
    ("first", "second", "share", "expected"),
    [(0.5, 0.5, 0.5, (8, 3, 4)), (0.3, 0.9, 0.4, (8, 3, 4)), (2.0, -1.0, 0.7, (7, 3, 5))],
)
def test_compatible_embeddings_of_the_source_have_its_inertias(first, second, share, expected):
    oracle, theta = published()
    chain = chain_of(blocks_of(oracle, theta))
    before = share * first + (1 - share) * second
    groups = (Group((0, 0), (before, 1 - before)), Group((0, 0), (share, 1 - share)))
    wanted = 1.1 * tensor([first, 1 - first], [second, 1 - second])
    noise = wanted - 1.1 * tensor([before, 1 - before], [before, 1 - before])
    wide, point = at(oracle, compatible(chain, groups, noise=(None, noise, None)))
    assert torch.allclose(blocks_of(wide, point)["W2"], wanted, atol=1e-14)
    check(oracle, theta, wide, point)
    assert counts(wide, point) == expected


def test_three_copies_have_the_inertia_of_the_source_and_at_least_the_rank_of_the_second_part():
    oracle, theta = published()
    wide, point = at(oracle, three_copies(chain_of(blocks_of(oracle, theta))))
    check(oracle, theta, wide, point)
    assert counts(wide, point) == (10, 8, 7)
    second = oracle.hessian(theta) - oracle.jacobian(theta).T @ oracle.jacobian(theta) / 10
    rank = int(torch.linalg.matrix_rank(second[:-1, :-1], rtol=1e-10))
    assert rank == 5  # (5, 0, 2) + 5 either way is (10, ., 7)


def random_deep(widths, *, seed, outputs=1, n=60, bias=True):
    generator = torch.Generator().manual_seed(seed)
    x = torch.randn(n, 2, generator=generator, dtype=torch.float64)
    y = torch.zeros(n, outputs, dtype=torch.float64) if outputs > 1 else torch.zeros(n, dtype=torch.float64)
    oracle = Reference(x, y, "tanh", "square", widths, "deep", bias, bias)
    theta = torch.randn(oracle.P, generator=generator, dtype=torch.float64)
    return (
        critical(oracle, theta, torch.randn(y.shape, generator=generator, dtype=torch.float64)),
        theta,
        generator,
    )


def test_members_with_copies_null_neurons_and_noise_are_critical_and_their_corank_grows_by_the_dimension():
    oracle, theta, generator = random_deep((2, 2), seed=3)
    chain = chain_of(blocks_of(oracle, theta))
    groups = (
        Group((0, 1, 0, -1, 1), (0.4, 1.7, 0.6, 0.0, -0.7), (0.0, 0.0, 0.0, 0.8, 0.0)),
        Group((1, 0, -1, 0), (1.0, -0.3, 0.0, 1.3), (0.0, 0.0, -0.5, 0.0)),
    )
    noise = torch.randn(4, 5, generator=generator, dtype=torch.float64)
    wide, point = at(oracle, compatible(chain, groups, noise=(None, noise, None), sigma=torch.tanh))
    check(oracle, theta, wide, point)
    fresh = torch.randn(200, 2, generator=generator, dtype=torch.float64)
    there, narrow = replace(wide, x=fresh), replace(oracle, x=fresh)
    assert float((there.outputs(point) - narrow.outputs(theta)).abs().max()) < 1e-13
    before, after = counts(oracle, theta), counts(wide, point)
    added = (3, 2)  # neurons in the two layers
    assert after[1] - before[1] >= sum(added) + added[0] * added[1]
    assert all(b >= a for a, b in zip(before, after, strict=True))


def test_the_dimension_of_the_family_is_the_rank_of_its_parametrisation():
    oracle, theta, generator = random_deep((2, 2), seed=5)
    chain = chain_of(blocks_of(oracle, theta))
    parents = ((0, 1, 0, -1), (0, 1, 1, 0, -1))
    free = torch.randn(3 + 3 + 20, generator=generator, dtype=torch.float64)

    def image(t):
        groups = (
            Group(parents[0], (1 - t[0], 1.0, t[0], 0.0), (0.0, 0.0, 0.0, t[1])),
            Group(parents[1], (1 - t[2], 1 - t[3], t[3], t[2], 0.0), (0.0, 0.0, 0.0, 0.0, t[4])),
        )
        return flat(
            compatible(chain, groups, noise=(None, t[6:].reshape(5, 4), None), sigma=torch.tanh), "deep"
        )

    step = 1e-6
    unit = step * torch.eye(len(free), dtype=torch.float64)
    jacobian = torch.stack([(image(free + u) - image(free - u)) / (2 * step) for u in unit])
    added = (2, 3)
    values = torch.linalg.svdvals(jacobian)
    assert int((values > 1e-6 * values[0]).sum()) == sum(added) + added[0] * added[1]


def test_a_map_that_keeps_outputs_and_not_the_adjoints_is_not_critical():
    oracle, theta, _ = random_deep((2, 2), seed=7)
    half = Group((0, 1, 0), (0.5, 1.0, 0.5))
    wide = compatible(chain_of(blocks_of(oracle, theta)), (half, half))
    moved = wide.weights[1] + tensor([0.3, 0.0, -0.3], [0.0, 0.0, 0.0], [0.0, 0.0, 0.0])
    broken = Chain((wide.weights[0], moved, wide.weights[2]), wide.biases)
    there, point = at(oracle, broken)
    assert float((there.outputs(point) - oracle.outputs(theta)).abs().max()) < 1e-14  # rows still sum to W
    assert float(there.gradient(point).abs().max()) > 1e-4


def test_shares_that_do_not_sum_to_one_and_null_neurons_with_a_share_are_refused():
    narrow = Chain((torch.ones(1, 1), torch.ones(1, 1)), (None, None))
    with pytest.raises(ValueError, match=r"sum to 0\.9; every neuron needs copies whose shares sum to 1"):
        compatible(narrow, (Group((0, 0), (0.5, 0.4)),))
    with pytest.raises(ValueError, match="null neurons have the shares"):
        compatible(narrow, (Group((0, -1), (1.0, 0.1)),))
    with pytest.raises(ValueError, match="span 0 of 1 directions; add units"):
        insert_layer(narrow, 1, torch.ones(1, 1), None, torch.zeros(1), torch.zeros(1))


@pytest.mark.parametrize("layer", [1, 2])
def test_the_splitting_law_predicts_the_inertia_in_every_layer_of_a_deep_network(layer):
    oracle, theta, _ = random_deep((2, 3), seed=11)
    system = compile_system(Problem.deep(3, "tanh", "square"), oracle.x, oracle.y, (2, 3))
    chain = chain_of(blocks_of(oracle, theta))
    before = spectrum(oracle.hessian(theta))
    for shares in [(0.5, 0.5), (1.4, -0.4), (1.0, 0.0), (0.2, 0.3, 0.5), (2.0, -0.5, -0.5)]:
        parents = [tuple(range(2)), tuple(range(3))]
        sizes = [(1.0,) * 2, (1.0,) * 3]
        parents[layer - 1] += (0,) * (len(shares) - 1)
        sizes[layer - 1] = (shares[0], *sizes[layer - 1][1:], *shares[1:])
        groups = [Group(p, s) for p, s in zip(parents, sizes, strict=True)]
        wide, point = at(oracle, compatible(chain, groups))
        V, U = curvature(system, theta, layer)[0]
        assert V.shape == ((3, 3), (3, 1))[layer - 1]
        predicted = before.inertia + predict_split_inertia(V, U, shares, before.tolerance)
        assert spectrum(wide.hessian(point)).inertia == predicted
        if layer == 1:  # two adjoints behind the layer: every split is a strict saddle
            assert predicted.negative > before.inertia.negative


def test_a_lifted_relu_network_has_the_zeros_of_its_manifold_and_no_other_change():
    generator = torch.Generator().manual_seed(2)
    x = torch.randn(40, 2, generator=generator, dtype=torch.float64)
    oracle = Reference(x, torch.zeros(40, dtype=torch.float64), "relu", "square", (2,), "deep", True, True)
    theta = torch.randn(oracle.P, generator=generator, dtype=torch.float64)
    oracle = critical(oracle, theta, torch.randn(40, generator=generator, dtype=torch.float64))
    chain = chain_of(blocks_of(oracle, theta))
    into = torch.randn(3, 2, generator=generator, dtype=torch.float64)
    h = torch.relu(x @ chain.weights[0].T + chain.biases[0])
    shift = 0.5 - (h @ into.T).min(dim=0).values  # every unit is active on every sample
    lifted = insert_layer(
        chain, 2, into, shift, torch.ones(3, dtype=torch.float64), torch.zeros(3, dtype=torch.float64)
    )
    deeper, point = at(oracle, lifted)
    assert deeper.widths == (2, 3)
    check(oracle, theta, deeper, point)
    before, after = counts(oracle, theta), counts(deeper, point)
    assert tuple(b - a for a, b in zip(before, after, strict=True)) == (0, 3 * (2 + 1 + 1) - 2 * 1, 0)
    # A unit that is not affine on the data changes the outputs.
    kinked = insert_layer(
        chain, 2, into, shift - 1, torch.ones(3, dtype=torch.float64), torch.zeros(3, dtype=torch.float64)
    )
    deeper, point = at(oracle, kinked)
    assert float((deeper.outputs(point) - oracle.outputs(theta)).abs().max()) > 1e-3


def test_the_relu_example_of_one_neuron_has_two_new_zeros():
    x = tensor([0.5], [1.0], [2.0], [-1.0])
    oracle = Reference(
        x, torch.zeros(4, dtype=torch.float64), "relu", "square", (1,), "two_layer", True, True
    )
    oracle = critical(oracle, tensor(1.3, 0.7, 1.1, 0.2), tensor(1.0, -0.4, 0.7, 0.3))
    theta = tensor(1.3, 0.7, 1.1, 0.2)
    chain = chain_of(blocks_of(oracle, theta))
    lifted = insert_layer(chain, 2, tensor([2.0]), tensor(-0.1), tensor(1.0), tensor(0.0))
    deeper = replace(oracle, widths=lifted.widths, kind="deep")
    point = flat(lifted, "deep")
    check(oracle, theta, deeper, point)
    before, after = counts(oracle, theta), counts(deeper, point)
    assert tuple(b - a for a, b in zip(before, after, strict=True)) == (0, 2, 0)


def test_two_layer_three_copies_add_the_rank_of_the_second_part_exactly():
    generator = torch.Generator().manual_seed(9)
    x = torch.randn(30, 2, generator=generator, dtype=torch.float64)
    oracle = Reference(
        x, torch.zeros(30, 2, dtype=torch.float64), "tanh", "square", (2,), "two_layer", True, True
    )
    theta = torch.randn(oracle.P, generator=generator, dtype=torch.float64)
    oracle = critical(oracle, theta, torch.randn(30, 2, generator=generator, dtype=torch.float64))
    wide, point = at(oracle, three_copies(chain_of(blocks_of(oracle, theta))))
    check(oracle, theta, wide, point)
    jacobian = oracle.jacobian(theta).reshape(-1, oracle.P)
    second = (oracle.hessian(theta) - jacobian.T @ jacobian / 30)[:-2, :-2]
    rank, size = int(torch.linalg.matrix_rank(second, rtol=1e-10)), oracle.P - 2
    before, after = counts(oracle, theta), counts(wide, point)
    assert tuple(b - a for a, b in zip(before, after, strict=True)) == (rank, 2 * (size - rank), rank)


def test_the_exact_example_with_a_flat_direction_is_split_into_a_saddle_and_not_by_null_fractions():
    # exp, x = 0, 1, 2, y = (0, 9/2, -15/4), R = sum (f - y)^2: critical at (1, -ln 2), U = 2.
    x, y = tensor([0.0], [1.0], [2.0]), tensor(0.0, 4.5, -3.75)
    oracle = Reference(x, y, "exp", "square", (1,), factor=2.0, reduction="sum")
    theta = tensor(1.0, -math.log(2))
    assert float(oracle.value(theta)) == pytest.approx(33)
    for alpha, expected in [
        (0.5, (0, 2, 2.308754489232, 5.441245510768)),
        (1.5, (-1.830649553024, 0, 4.568928698254, 9.011720854769)),
        (1.0, (0, 0, 4.056999531835, 6.193000468165)),
    ]:
        wide, point = at(
            oracle, compatible(chain_of(blocks_of(oracle, theta)), (Group((0, 0), (1 - alpha, alpha)),))
        )
        found = torch.linalg.eigvalsh(wide.hessian(point))
        assert torch.allclose(found, tensor(*expected), atol=1e-9)
