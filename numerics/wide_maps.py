r"""The embeddings of ``derivations.compatible_embedding`` and ``derivations.lifting`` as numbers, layer by layer.

A network is a chain of weights and biases, W (out, in) and b (out,) or None, the same for two-layer and deep networks.  The
wide weights are built from the equations, apart from the symbolic parametrisation: N by two projections.

>>> one = torch.ones(1, 1, dtype=torch.float64)
>>> narrow = Chain((one, 2 * one), (None, None))
>>> wide = compatible(narrow, (Group((0, 0), (0.25, 0.75)),))
>>> [w.tolist() for w in wide.weights]
[[[1.0], [1.0]], [[0.5, 1.5]]]
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

import torch
from torch import Tensor

__all__ = ["Chain", "Group", "chain_of", "compatible", "flat", "insert_layer", "three_copies"]


class Chain(NamedTuple):
    """Weights and biases from the inputs on."""

    weights: tuple[Tensor, ...]
    biases: tuple[Tensor | None, ...]

    @property
    def widths(self) -> tuple[int, ...]:
        """Widths of the hidden layers."""
        return tuple(w.shape[0] for w in self.weights[:-1])


class Group(NamedTuple):
    """The wide neurons of one hidden layer: whom each one copies (-1: a null neuron), its share, and its constant if null."""

    parents: tuple[int, ...]
    shares: tuple[float, ...]
    constants: tuple[float, ...] = ()


def chain_of(blocks: Mapping[str, Tensor]) -> Chain:
    """Return the chain of the blocks of one point, ``a``, ``w``, ``b``, ``c`` or ``W1``, ``b1``, ..."""
    if "a" in blocks:
        a, c = blocks["a"], blocks.get("c")
        out = a[:, None] if a.dim() == 1 else a
        return Chain((blocks["w"], out.T), (blocks.get("b"), None if c is None else c.reshape(-1)))
    depth = sum(name.startswith("W") for name in blocks)
    weights = [blocks[f"W{l}"] for l in range(1, depth + 1)]
    weights[-1] = weights[-1].reshape(-1, weights[-1].shape[-1])
    biases = [blocks.get(f"b{l}") for l in range(1, depth + 1)]
    biases[-1] = None if biases[-1] is None else biases[-1].reshape(-1)
    return Chain(tuple(weights), tuple(biases))


def flat(chain: Chain, kind: str) -> Tensor:
    """Return the flat vector of a chain in the block order of ``two_layer`` or ``deep``."""
    if kind == "two_layer":
        (w, out), (b, c) = chain.weights, chain.biases
        parts = [out.T, w, b, c]
    else:
        parts = [part for pair in zip(chain.weights, chain.biases, strict=True) for part in pair]
    return torch.cat([part.reshape(-1) for part in parts if part is not None])


def compatible(
    chain: Chain,
    groups: Sequence[Group],
    *,
    noise: Sequence[Tensor | None] = (),
    sigma: Callable[[Tensor], Tensor] = torch.zeros_like,
    ratio: float = 1.0,
) -> Chain:
    r"""Return the compatible wide network.

    Parameters
    ----------
    chain : Chain
        The narrow network.
    groups : sequence of Group
        One for each hidden layer; the shares of the copies of each neuron sum to 1, those of null neurons are 0.
    noise : sequence of Tensor
        For each layer of weights a matrix of the wide shape, whose projection is N; None or nothing for N = 0.
    sigma : callable
        The activation, for the constants of null neurons.
    ratio : float
        Factor of the output weights, s(m)/s(m').

    Raises
    ------
    ValueError
        If the shares of a neuron do not sum to 1, or a neuron has no copy.
    """
    ends = [
        _end(chain.weights[0].shape[1]),
        *(_checked(g, m) for g, m in zip(groups, chain.widths, strict=True)),
    ]
    ends.append(_end(chain.weights[-1].shape[0]))
    weights: list[Tensor] = []
    biases: list[Tensor | None] = []
    for l, (w, b) in enumerate(zip(chain.weights, chain.biases, strict=True)):
        columns, rows = ends[l], ends[l + 1]
        wide = w[torch.tensor(rows.parents)][:, torch.tensor(columns.parents)] * w.new_tensor(columns.shares)
        wide = wide * w.new_tensor([float(p >= 0) for p in rows.parents])[:, None]
        drawn = noise[l] if noise and 0 < l < len(chain.weights) - 1 else None
        extra = torch.zeros_like(wide) if drawn is None else _projected(drawn, rows, columns)
        last = l == len(chain.weights) - 1
        weights.append((ratio if last else 1.0) * wide + extra)
        if b is None:
            biases.append(None)
            continue
        constants = b.new_tensor(columns.constants or (0.0,) * len(columns.parents))
        null = b.new_tensor([float(p < 0) for p in columns.parents])
        start = b[torch.tensor(rows.parents)]
        if any(p < 0 for p in rows.parents):
            own = b.new_tensor(rows.constants)
            start = torch.where(torch.tensor([p < 0 for p in rows.parents]), own, start)
        biases.append(start - extra @ (null * sigma(constants)))
    return Chain(tuple(weights), tuple(biases))


def _end(size: int) -> Group:
    return Group(tuple(range(size)), (1.0,) * size)


def _checked(group: Group, width: int) -> Group:
    for k in range(width):
        total = sum(s for p, s in zip(group.parents, group.shares, strict=True) if p == k)
        if not any(p == k for p in group.parents) or abs(total - 1) > 1e-12:
            raise ValueError(
                f"the shares of neuron {k} sum to {total}; every neuron needs copies whose shares sum to 1"
            )
    if any(s != 0 for p, s in zip(group.parents, group.shares, strict=True) if p < 0):
        raise ValueError(f"null neurons have the shares {group.shares}; theirs are 0")
    return group


def _projected(noise: Tensor, rows: Group, columns: Group) -> Tensor:
    """Return N: its rows sum to 0 over the copies of a column neuron, and its columns with the shares of a row neuron."""
    out = noise.clone()
    for k in {p for p in columns.parents if p >= 0}:
        at = torch.tensor([j for j, p in enumerate(columns.parents) if p == k])
        out[:, at] = out[:, at] - out[:, at].mean(dim=1, keepdim=True)
    shares = out.new_tensor(rows.shares)
    for k in {p for p in rows.parents if p >= 0}:
        at = torch.tensor([i for i, p in enumerate(rows.parents) if p == k])
        out[at] = out[at] - (shares[at] @ out[at])[None, :]
    return out


def three_copies(chain: Chain) -> Chain:
    """Return three copies of the hidden layers side by side, their outgoing weights with the signs +, +, -."""
    first = torch.cat([chain.weights[0]] * 3)
    inner = [torch.block_diag(w, w, w) for w in chain.weights[1:-1]]
    last = chain.weights[-1]
    biases = [None if b is None else torch.cat([b] * 3) for b in chain.biases[:-1]]
    return Chain((first, *inner, torch.cat([last, last, -last], dim=1)), (*biases, chain.biases[-1]))


def insert_layer(
    chain: Chain, number: int, into: Tensor, shift: Tensor | None, slope: Tensor, level: Tensor
) -> Chain:
    r"""Return the chain with a layer before the weights ``number`` (from 1): :math:`\hat W`, :math:`\hat b` given, the rest solved.

    :math:`\tilde W = W (\Lambda \hat W)^+`, so :math:`\Lambda \hat W` needs full column rank;
    :math:`\tilde b = b - \tilde W (\Lambda \hat b + \mu)`.

    Raises
    ------
    ValueError
        If the rank is not full.
    """
    w, b = chain.weights[number - 1], chain.biases[number - 1]
    scaled = slope[:, None] * into
    if int(torch.linalg.matrix_rank(scaled)) < scaled.shape[1]:
        raise ValueError(
            f"the new units span {int(torch.linalg.matrix_rank(scaled))} of {scaled.shape[1]} directions; add units"
        )
    out = w @ torch.linalg.pinv(scaled)
    constants = level if shift is None else slope * shift + level
    weights = (*chain.weights[: number - 1], into, out, *chain.weights[number:])
    behind = None if b is None else b - out @ constants
    return Chain(weights, (*chain.biases[: number - 1], shift, behind, *chain.biases[number:]))
