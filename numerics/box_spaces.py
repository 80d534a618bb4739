"""The spaces in which all critical points of a problem are: from the a priori bounds of a network, or a box that is given.

>>> from sympy import Rational
>>> from derivations.problem import Problem
>>> problem = Problem.two_layer("tanh", "square", weight_decay=Rational(1, 10))
>>> data = {"x": [Rational(1), Rational(2)], "y": [Rational(1), Rational(1, 2)]}
>>> space = network_space(BoxSystem(problem, data, {"n": 2, "d": 1, "m": 2, "o": 1}))
>>> len(space.images), space.above, space.positive.tolist()
(7, [(2, 3)], [2, 3])
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence

import torch

from derivations.a_priori import a_priori
from numerics.box_contraction import Neurons
from numerics.box_program import inexact, nearest
from numerics.box_system import BoxSystem
from numerics.branch_prune import Image, Space
from numerics.interval_tensors import Interval, down, up

__all__ = ["given_space", "network_space"]

#: A box of no width has no volume to compare with.
LEAST_RADIUS = 1e-6


def given_space(system: BoxSystem, lower: Sequence[float], upper: Sequence[float]) -> Space:
    """Return the box with the ends given, P each; nothing is assumed of the critical points in it."""
    lo, hi = (torch.tensor(list(ends), dtype=torch.float64) for ends in (lower, upper))
    if lo.shape != (system.P,) or hi.shape != (system.P,) or not bool((lo <= hi).all()):
        raise ValueError(
            f"a box has P = {system.P} lower and as many upper ends, none below the lower one; found {list(lower)} and {list(upper)}"
        )
    return Space(system, Interval(lo, hi), torch.nonzero(lo < hi)[:, 0])


def network_space(system: BoxSystem) -> Space:
    """Return a domain that meets every orbit of critical points of a two-layer network with weight decay and one output.

    Raises
    ------
    AssumptionError
        If an assumption of the a priori bounds is not met.
    """
    problem, sizes = system.problem, system.sizes
    found = a_priori(problem, system.data["y"], sizes.get("m", 0))  # refuses all but two layers
    width, inputs, samples = sizes["m"], sizes["d"], sizes["n"]
    places = {name: torch.arange(where.start, where.stop) for name, _, where in system.layout}
    output = torch.cat([places[name] for name in ("a", "c") if name in places])
    radius = torch.full((system.P,), max(found.input_radius, LEAST_RADIUS), dtype=torch.float64)
    radius[output] = max(found.output_radius, LEAST_RADIUS)
    weights = places["w"].reshape(width, inputs)
    x = torch.tensor([nearest(u) for u in system.data["x"]], dtype=torch.float64).reshape(samples, inputs)
    if problem.input_bias:
        weights = torch.cat([weights, places["b"][:, None]], dim=1)
        x = torch.cat([x, torch.ones(samples, 1, dtype=torch.float64)], dim=1)
    decay = torch.tensor([nearest(problem.weight_decay)], dtype=torch.float64)
    square = problem.loss is not None and problem.loss.name == "square"
    outputs = None
    if found.outputs is not None:
        half = inexact(torch.tensor([nearest(u) for u in system.data["y"]], dtype=torch.float64)[:, None] / 2)
        outputs = Interval(down(half.lo - found.outputs), up(half.hi + found.outputs))
    sign = _sign(system)
    return Space(
        system,
        Interval(-radius, radius),
        torch.cat([output, *(places[name] for name in ("w", "b") if name in places)]),
        len(output) if square else 0,
        outputs,
        Neurons(places["a"], weights, inexact(x), inexact(decay)),
        _images(system.P, torch.cat([places["a"][:, None], weights], dim=1), sign),
        [(int(weights[k, 0]), int(weights[k + 1, 0])) for k in range(width - 1)],
        weights[:, 0] if sign else torch.empty(0, dtype=torch.long),
    )


def _sign(system: BoxSystem) -> int:
    """Return s with sigma(-z) = s sigma(z) where that is proved, else 0: (a, w, b) -> (s a, -w, -b) keeps the risk."""
    activation = system.problem.activation
    return 0 if activation is None else activation.parity.sign


def _images(count: int, neurons: torch.Tensor, sign: int) -> list[Image]:
    """Return the permutations of the neurons with all changes of sign, without the identity."""
    width = len(neurons)
    found = []
    for order in itertools.permutations(range(width)):
        for flips in itertools.product((1, -1) if sign else (1,), repeat=width):
            places, signs = torch.arange(count), torch.ones(count, dtype=torch.float64)
            for k, (source, flip) in enumerate(zip(order, flips, strict=True)):
                places[neurons[k]] = neurons[source]
                signs[neurons[k]] = flip
                if flip < 0:
                    signs[neurons[k, 0]] = sign
            found.append(Image(places, signs))
    return found[1:]
