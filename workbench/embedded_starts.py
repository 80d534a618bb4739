r"""Starts next to the critical manifolds that contain the known points, from which new points of a width branch off.

A critical point of width r lies, split and filled up with dead neurons, on critical manifolds of every larger width m
(``workbench.network``).  Points of width m that random starts hardly ever meet are close to such a manifold: pairs of neurons that
nearly agree with large output weights of opposite signs, a neuron with a small output weight.  A start is a random member of such a
manifold, moved a little:

* a known point, in turn a narrower one and one of width m, in any of its images;
* while neurons are missing, one of its neurons is split with the share :math:`\gamma = 1/2 + s\,t` for the copy, t drawn from the
  Cauchy distribution, so that shares far outside [0, 1] occur, or a dead neuron is added;
* in some, one neuron is made more linear: its input weights are divided by 4 and its output weights multiplied by 4, since
  a neuron with small input weights and large output weights is a further way in which points are close to narrower or simpler ones;
* all weights are moved by one of ``DISTANCES``, input weights of a neuron the less the larger its output weight;
* one start in ``FRESH`` is Gaussian instead, for points that are next to nothing known;
* the search from there follows none, one or two of the lowest eigenvectors uphill, or is one for points of every index.

Nothing is assumed of the starts: they are as good for risks whose copies are no critical points (weight decay).

Source: Zhang, Li, Zhang, Luo, Xu, arXiv:2111.15527 (the manifolds).
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from numerics.compile import CompiledSystem
from numerics.critical import SCALES, starts
from numerics.spectrum import spectrum
from workbench.network import Architecture, Network

__all__ = ["embedded_starts", "saddle_starts"]

Array = NDArray[np.float64]

#: How far the weights are moved.  On the 21-sample problem, from 0.03 and 0.1 every saddle of three neurons was met by one start in 60 or
#: more, from 0.3 and 1 by one in 700; the larger ones stay for problems with few known points.
DISTANCES = (0.03, 0.1, 0.03, 0.3, 0.1, 1.0)
#: Distances from a saddle at which descents start.
SIDES = (0.05, 0.3)
#: Fraction of the missing neurons that are copies, the others being dead, and the spread s of their shares.
COPIES, SPREAD = 0.6, 0.7
#: Fraction of the starts with a neuron made more linear, and by how much.
LINEAR, FACTOR = 0.125, 4.0
#: One start in so many is a fresh random one.
FRESH = 5
#: Numbers of eigenvectors that are followed uphill where none is asked for: minima, and saddles of low index; -1 stands for every index.
FOLLOWED = (1, 0, 1, -1, 2, -1)


def embedded_starts(
    system: CompiledSystem,
    width: int,
    points: Sequence[Network],
    shape: Architecture,
    count: int,
    seed: int,
    index: int | None = None,
) -> tuple[Tensor, Tensor]:
    """Return (count, P) starts of a width next to manifolds of known points, and how many eigenvectors (count,) each is to follow.

    Parameters
    ----------
    system : CompiledSystem
        Of that width.
    points : sequence of Network
        Known points, none wider.
    seed : int
        The same seed gives the same starts.
    index : int, optional
        Every second start follows so many.
    """
    draw = np.random.default_rng(seed)
    chosen = [min(u, system.P) for u in (FOLLOWED if index is None else (index, index, 0, -1))]
    rows, uphill = [], []
    narrow, own = ([p for p in points if (p.width < width) == below] for below in (True, False))
    for turn in range(count):
        pool = (narrow or own) if turn % 2 == 0 else (own or narrow)
        net = _member(_image(pool[turn // 2 % len(pool)], shape, draw), width, shape, draw)
        if draw.random() < LINEAR:
            net = _with_linear_neuron(net, draw)
        distance = DISTANCES[int(draw.integers(len(DISTANCES)))]
        uphill.append(chosen[int(draw.integers(len(chosen)))])
        size = np.maximum(np.abs(net.a).max(axis=1, initial=0.0), 1.0)[:, None]
        a = net.a + distance * draw.standard_normal(net.a.shape)
        w = net.w + distance * draw.standard_normal(net.w.shape) / size
        c = None if net.c is None else net.c + distance * draw.standard_normal(net.c.shape)
        rows.append(system.pack(Network(a, w, c).to_blocks(shape)))
    theta, fresh = torch.stack(rows), starts(system, count, seed)
    theta[::FRESH] = fresh[::FRESH]
    return theta, torch.tensor(uphill, device=system.device)


def saddle_starts(system: CompiledSystem, saddle: Tensor) -> Tensor:
    """Return starts (2 S k, P) of descents on both sides of a saddle (P,) along its k negative eigenvectors, at S distances.

    They lead to minima next to the saddle, those included whose basins random starts do not meet.
    """
    found = spectrum(system.hessian(saddle))
    negative = found.vectors[:, : found.inertia.negative].T
    return torch.cat([saddle + side * sign * negative for side in SIDES for sign in (1, -1)])


def _image(net: Network, shape: Architecture, draw: np.random.Generator) -> Network:
    """Return a random image under permutations and signs of neurons."""
    flips = [k for k in range(net.width) if shape.flip and draw.random() < 0.5]
    order, turned = draw.permutation(net.width), net.flipped(flips, shape)
    return Network(turned.a[order], turned.w[order], turned.c)


def _with_linear_neuron(net: Network, draw: np.random.Generator) -> Network:
    a, w, k = net.a.copy(), net.w.copy(), int(draw.integers(net.width))
    a[k], w[k] = a[k] * FACTOR, w[k] / FACTOR
    return Network(a, w, net.c)


def _member(net: Network, width: int, shape: Architecture, draw: np.random.Generator) -> Network:
    """Return a random wide network with the function of a narrow one."""
    a, w = list(net.a), list(net.w)
    while len(a) < width:
        if net.width and draw.random() < COPIES:
            k = int(draw.integers(len(a)))
            share = 0.5 + SPREAD * draw.standard_cauchy()
            a, w = [*a, share * a[k]], [*w, w[k]]
            a[k] = (1 - share) * a[k]
        else:
            scale = SCALES[int(draw.integers(len(SCALES)))]
            a, w = [*a, np.zeros(shape.q)], [*w, scale * draw.standard_normal(shape.inputs)]
    return Network(np.array(a).reshape(-1, shape.q), np.array(w).reshape(-1, shape.inputs), net.c)
