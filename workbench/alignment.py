r"""Copies of one network that lie nearest to another one, under the symmetries that keep distances.

Permutations of the neurons are isometries of the parameters, and so are sign flips :math:`(a, w) \to (\pm a, -w)` of an even or an odd
activation.  They leave the risk as it is, so they map critical points, balls around them and trajectories of the gradient flow to
such.  A flip that moves a constant into the output bias is no isometry and is left out.

>>> import numpy as np
>>> from derivations.problem import Problem
>>> from workbench.network import architecture
>>> shape = architecture(Problem.two_layer("tanh", "square"), 1, 1)
>>> here = Network(np.array([[1.0], [2.0]]), np.array([[3.0], [4.0]]), None)
>>> there = Network(np.array([[-2.0], [1.0]]), np.array([[-4.0], [3.5]]), None)
>>> [(round(copy.distance, 6), copy.network.a.ravel().tolist()) for copy in copies_near(here, there, shape, 2)]
[(0.5, [-2.0, 1.0]), (1.802776, [-1.0, 2.0])]
"""

from __future__ import annotations

import itertools
import math
from typing import NamedTuple

import numpy as np

from workbench.network import Architecture, Network

__all__ = ["Copy", "copies_near"]

#: Largest width at which all orders of the neurons are tried; above, each neuron takes the nearest one that is free.
EVERY_ORDER = 6
#: Copies nearer to each other than this, relative to 1 + the largest weight, count once.
ONE_COPY = 1e-6


class Copy(NamedTuple):
    """A copy of a network, and its Euclidean distance in all parameters from the network it was aligned with."""

    distance: float
    network: Network


def copies_near(net: Network, other: Network, shape: Architecture, count: int = 1) -> list[Copy]:
    """Return the copies of ``net`` nearest to ``other``, of one width, at most ``count`` (1 or 2) of them, the nearest first.

    Above ``EVERY_ORDER`` neurons they are near ones, not always the nearest.

    Raises
    ------
    ValueError
        If the widths differ, or ``count`` is neither 1 nor 2.
    """
    if count not in (1, 2):
        raise ValueError(f"count: found {count}; accepted: 1 or 2")
    width = net.width
    if width != other.width:
        raise ValueError(f"found networks of {width} and {other.width} neurons; accepted: two of one width")
    signs = (1, -1) if shape.flip and shape.half == 0 else (1,)
    right = np.concatenate([other.a, other.w], axis=1)
    images = [np.concatenate([(shape.flip if s < 0 else 1) * net.a, s * net.w], axis=1) for s in signs]
    cost = np.stack([((image[:, None, :] - right[None, :, :]) ** 2).sum(axis=2) for image in images])
    constant = 0.0 if net.c is None or other.c is None else float(((net.c - other.c) ** 2).sum())
    # (cost, neuron of net for each place, sign for each place)
    choices: list[tuple[float, tuple[int, ...], tuple[int, ...]]] = []
    orders = itertools.permutations(range(width)) if width <= EVERY_ORDER else [_greedy(cost.min(axis=0))]
    for order in orders:
        best = tuple(int(cost[:, k, place].argmin()) for place, k in enumerate(order))
        total = constant + sum(
            float(cost[s, k, place]) for place, (k, s) in enumerate(zip(order, best, strict=True))
        )
        choices.append((total, order, best))
        if count > 1:
            for place, k in enumerate(order if len(signs) > 1 else ()):
                turned = (*best[:place], 1 - best[place], *best[place + 1 :])
                more = float(cost[turned[place], k, place] - cost[best[place], k, place])
                choices.append((total + more, order, turned))
    choices.sort(key=lambda choice: choice[0])
    out: list[Copy] = []
    size = ONE_COPY * (1 + float(np.abs(right).max(initial=0.0)))
    for total, order, chosen in choices:
        rows = np.array([images[s][k] for k, s in zip(order, chosen, strict=True)]).reshape(width, -1)
        copy = Network(rows[:, : net.a.shape[1]], rows[:, net.a.shape[1] :], net.c)
        seen = any(
            max(np.abs(copy.a - u.network.a).max(initial=0.0), np.abs(copy.w - u.network.w).max(initial=0.0))
            <= size
            for u in out
        )
        if not seen:
            out.append(Copy(math.sqrt(total), copy))
        if len(out) == count:
            break
    return out


def _greedy(cost: np.ndarray) -> tuple[int, ...]:
    """Return for each place the nearest neuron that is still free, the clearest choices first."""
    order = [-1] * cost.shape[0]
    free = set(range(cost.shape[0]))
    for place in np.argsort(cost.min(axis=0)):
        k = min(free, key=lambda k: float(cost[k, place]))
        order[int(place)] = k
        free.remove(k)
    return tuple(order)
