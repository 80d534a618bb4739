r"""Two-layer networks as sets of neurons: which parameters give the same function, and the smallest network that does.

For an analytic activation that is not a polynomial the functions :math:`\sigma(w_k \cdot x + b_k)` of different neurons
are linearly independent, up to the sign symmetry of :math:`\sigma` and to the constant functions.  A network is
*irreducible* if no two neurons agree up to sign, no output weight vanishes, and no neuron is constant where there is an
output bias to replace it.  ``reduce`` merges and drops neurons until that holds; what it counts on the way (copies of each
neuron, dead neurons) names the stratum of the critical manifold a wide point lies on.

Source: Zhang, Zhang, Luo, arXiv:2405.17501, Theorem 5.1; Simsek et al., arXiv:2105.12221.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from derivations.activations import Activation, Z
from derivations.almost_everywhere import has_kinks
from derivations.problem import Problem
from workbench.errors import NotThere

__all__ = ["Architecture", "Network", "Reduction", "architecture"]

Array = NDArray[np.float64]

# Neurons of one group agree to 1e-9 where Newton has converged on a plateau and to 1e-6 near its ends, where the Hessian
# in the direction of their difference vanishes like the smaller output weight; different neurons of a critical point that
# was worth listing differed by more than 1e-2.
SAME_NEURON = 1e-5
# Irreducible points found twice: parameters along the flattest direction (eigenvalue 1e-7) agree to 1e-5.
SAME_POINT = 1e-4
SAME_VALUE = 1e-8
# Where strata of a critical manifold meet, convergence slows down and neurons agree only to about 1e-4. A reduction this
# loose is believed only if the narrow point it leads to is critical and has the same value.
NEARLY_SAME_NEURON = 1e-3
SAME_LEVEL = 1e-12


@dataclass(frozen=True)
class Architecture:
    r"""What the reduction must know of a model.

    Attributes
    ----------
    flip : int
        Sign s of a parity :math:`\sigma(-z) = 2h + s\,\sigma(z)`, with s = -1 or 1; 0 where none is proved.
    half : float
        h above; non-zero only with an output bias, which takes up the constant.
    """

    d: int
    q: int
    input_bias: bool
    output_bias: bool
    vector_output: bool
    scale: float
    activation: Activation
    flip: int
    half: float

    @property
    def inputs(self) -> int:
        """Length of the input weights of a neuron, its bias included."""
        return self.d + self.input_bias

    def sigma(self, z: float) -> float:
        """Value of the activation."""
        return float(self.activation.expr.subs(Z, z).evalf()) if z else float(self.activation.value_at_zero)

    def orbit_size(self, copies: tuple[int, ...], dead: int, resting: int = 0) -> int:
        r"""Return the number of images of a stratum: :math:`m!/(\prod_g c_g!\; l!)`, times :math:`2^{m-l-r}` with a parity.

        The sign of a dead neuron, or of one of the r resting ones, whose input weights vanish, maps the stratum to itself.
        """
        m = sum(copies) + dead
        orders = math.factorial(m) // (math.prod(math.factorial(c) for c in copies) * math.factorial(dead))
        return orders * (2 ** (sum(copies) - resting) if self.flip else 1)


def architecture(problem: Problem, d: int, q: int) -> Architecture:
    """Return the architecture of a problem with input dimension d and output dimension q.

    Raises
    ------
    NotThere
        If the identities that keep the network function are more than permutations, sign flips, splitting and dead
        neurons, so that copies of one point would be listed as different ones.
    """
    sigma = problem.activation
    if problem.kind != "two_layer" or sigma is None:
        raise NotThere(
            f"the landscape of a {problem.kind} model is not there yet; it needs kind = 'two_layer' and an activation"
        )
    if problem.freeze:
        raise NotThere(
            f"the landscape with frozen blocks ({', '.join(problem.freeze)}) is not there yet; leave freeze empty"
        )
    if problem.loss is not None and has_kinks(problem.loss.expr):
        raise NotThere(
            f"the landscape of the loss '{problem.loss.name}' is not there yet: at its kinks critical points need one-sided"
            " derivatives; use a smooth loss such as square or logistic"
        )
    _refuse_larger_groups(sigma, problem)
    scale = problem.scale.subs({"d": d})
    if scale.free_symbols:
        raise NotThere(
            f"the landscape links widths, so the scale must not depend on m; found scale = {problem.scale}"
        )
    # sigma(-z) = constant + slope z + sign sigma(z): a flip needs no slope, and an output bias for a constant.
    parity = sigma.affine_parity
    usable = parity.slope == 0 and (parity.constant == 0 or problem.output_bias)
    flip, half = (parity.sign, float(parity.constant / 2)) if usable else (0, 0.0)
    return Architecture(
        d, q, problem.input_bias, problem.output_bias, problem.vector_output, float(scale), sigma, flip, half
    )


def _refuse_larger_groups(sigma: Activation, problem: Problem) -> None:
    if sigma.is_smooth is not True:
        raise NotThere(
            f"the landscape of '{sigma.name}' is not there yet: at its kinks critical points need one-sided derivatives;"
            " use a smooth activation such as tanh, erf, gelu or softplus"
        )
    if sigma.expr.is_polynomial(Z) or sigma.homogeneity[1].proved:
        raise NotThere(
            f"the landscape of '{sigma.name}' is not there yet: its neurons are linearly dependent or can be rescaled, so"
            " critical points come in larger families; use an activation that is not a polynomial, such as tanh"
        )
    shifts = sigma.shift_rate.known or sigma.period.known
    if problem.input_bias and shifts:
        raise NotThere(
            f"the landscape of '{sigma.name}' with an input bias is not there yet: shifting the bias leaves the function"
            " unchanged, so critical points come in larger families; set input_bias = false"
        )


@dataclass(frozen=True, eq=False)
class Network:
    """Output weights ``a`` (m, q), input weights with the bias last ``w`` (m, inputs), output bias ``c`` (q,) or None."""

    a: Array
    w: Array
    c: Array | None

    @property
    def width(self) -> int:
        """Number of neurons."""
        return self.a.shape[0]

    @classmethod
    def from_blocks(cls, blocks: Mapping[str, Any], shape: Architecture) -> Network:
        """Return the network of a dictionary of blocks (arrays or nested lists)."""
        a = np.asarray(blocks["a"], dtype=np.float64).reshape(-1, shape.q)
        w = np.asarray(blocks["w"], dtype=np.float64).reshape(-1, shape.d)
        if shape.input_bias:
            w = np.column_stack([w, np.asarray(blocks["b"], dtype=np.float64)])
        c = np.asarray(blocks["c"], dtype=np.float64).reshape(shape.q) if shape.output_bias else None
        return cls(a, w, c)

    def to_blocks(self, shape: Architecture) -> dict[str, Any]:
        """Return the blocks as nested lists."""
        blocks: dict[str, Any] = {"a": (self.a if shape.vector_output else self.a[:, 0]).tolist()}
        blocks["w"] = self.w[:, : shape.d].tolist()
        if shape.input_bias:
            blocks["b"] = self.w[:, shape.d].tolist()
        if self.c is not None:
            blocks["c"] = self.c.tolist() if shape.vector_output else float(self.c[0])
        return blocks

    def flipped(self, rows: list[int], shape: Architecture) -> Network:
        """Return the network with the sign symmetry applied to the given neurons; the function is unchanged."""
        a, w, c = self.a.copy(), self.w.copy(), None if self.c is None else self.c.copy()
        for k in rows:
            if c is not None:
                c += shape.scale * 2 * shape.half * a[k]
            a[k] *= shape.flip
            w[k] *= -1
        return Network(a, w, c)

    def standard(self, shape: Architecture) -> Network:
        """Return the copy whose neurons have a positive leading input weight and stand in decreasing order of size."""
        flips = []
        if shape.flip:
            flips = [k for k in range(self.width) if self.w[k][_leading(self.w[k])] < 0]
        net = self.flipped(flips, shape)
        size = np.round(np.abs(net.a).max(axis=1, initial=0.0), 6)
        order = sorted(range(net.width), key=lambda k: (-size[k], *np.round(net.w[k], 6)))
        return Network(net.a[order], net.w[order], net.c)

    def distance(self, other: Network, shape: Architecture) -> float:
        """Return the distance (largest entry, relative to the size) of the orbits of two networks of one width."""
        if self.width != other.width:
            return math.inf
        size = 1 + max((float(np.abs(u).max()) for u in (self.a, self.w) if u.size), default=0.0)
        cost = np.full((self.width, self.width), math.inf)
        for sign in (1, -1) if shape.flip else (1,):
            weight = shape.flip if sign < 0 else 1
            left = np.concatenate([weight * self.a, sign * self.w], axis=1)
            right = np.concatenate([other.a, other.w], axis=1)
            cost = np.minimum(cost, np.abs(left[:, None, :] - right[None, :, :]).max(axis=2))
        constant = 0.0
        if self.c is not None and other.c is not None and shape.half == 0:
            constant = float(np.abs(self.c - other.c).max())
        return max(_assign(cost), constant) / size

    def reduce(self, shape: Architecture, tolerance: float = SAME_NEURON) -> Reduction:
        """Return the irreducible network with the same function, and how its neurons occur in this one.

        ``tolerance`` is relative to the size of the weights compared.
        """
        c = None if self.c is None else self.c.copy()
        groups: list[list[tuple[int, int]]] = []
        for k in range(self.width):
            for group in groups:
                sign = self._agrees(group[0][0], k, shape, tolerance)
                if sign:
                    group.append((k, sign))
                    break
            else:
                groups.append([(k, 1)])
        a, w, copies, silent = [], [], [], []
        largest = 1 + float(np.abs(self.a).max(initial=0.0))
        for group in groups:
            first = self.w[group[0][0]]
            total = np.zeros(shape.q)
            for k, sign in group:
                total += self.a[k] * (shape.flip if sign < 0 else 1)
                if sign < 0 and c is not None:
                    c += shape.scale * 2 * shape.half * self.a[k]
            constant = float(np.abs(first[: shape.d]).max(initial=0.0)) <= tolerance
            bias = float(first[shape.d]) if shape.input_bias else 0.0
            zero = constant and abs(shape.sigma(bias)) <= tolerance
            if np.abs(total).max() <= tolerance * largest or zero:
                silent += [first] * len(group)
            elif constant and c is not None:
                c += shape.scale * total * shape.sigma(bias)
                silent += [first] * len(group)
            else:
                a.append(total)
                w.append(first)
                copies.append(len(group))
        order = sorted(range(len(a)), key=lambda j: (-float(np.abs(a[j]).max()), *np.round(w[j], 6)))
        narrow = Network(
            np.array([a[j] for j in order]).reshape(-1, shape.q),
            np.array([w[j] for j in order]).reshape(-1, shape.inputs),
            c,
        )
        rest = np.array(silent).reshape(-1, shape.inputs)
        return Reduction(narrow, tuple(copies[j] for j in order), rest)

    def orbit_size(self, shape: Architecture) -> int:
        """Return the number of images under permutations and sign flips, counting each parameter vector once.

        Equal neurons, output weights included, are not told apart, and a flip leaves a vanishing neuron alone.
        """
        rows = np.concatenate([self.a, self.w], axis=1)
        turned = np.concatenate([shape.flip * self.a, -self.w], axis=1) if shape.flip else rows
        classes: list[list[int]] = []
        for k in range(self.width):
            for members in classes:
                near = min(
                    np.abs(rows[k] - rows[members[0]]).max(), np.abs(turned[k] - rows[members[0]]).max()
                )
                if near <= SAME_NEURON * (1 + np.abs(rows[k]).max()):
                    members.append(k)
                    break
            else:
                classes.append([k])
        orders = math.factorial(self.width) // math.prod(math.factorial(len(members)) for members in classes)
        fixed = [np.abs(rows[k] - turned[k]).max() <= SAME_NEURON for k in range(self.width)]
        return orders * 2 ** sum(not still for still in fixed)

    def stabilisers(self, shape: Architecture) -> list[tuple[tuple[int, ...], tuple[int, ...]]]:
        """Return symmetries that leave this network where it is, as (order of the neurons, neurons to flip).

        They are swaps of equal neurons and sign flips of neurons that vanish; the identity is not listed.
        """
        rows = np.concatenate([self.a, self.w], axis=1)
        size, plain = SAME_NEURON * (1 + float(np.abs(rows).max(initial=0.0))), tuple(range(self.width))
        out: list[tuple[tuple[int, ...], tuple[int, ...]]] = []
        for j, k in itertools.combinations(range(self.width), 2):
            if np.abs(rows[j] - rows[k]).max() <= size:
                order = list(plain)
                order[j], order[k] = k, j
                out.append((tuple(order), ()))
        still = [k for k in plain if shape.flip < 0 and np.abs(rows[k]).max() <= size]
        out += [
            (plain, tuple(some))
            for r in range(1, len(still) + 1)
            for some in itertools.combinations(still, r)
        ]
        return out

    def moved(self, symmetry: tuple[tuple[int, ...], tuple[int, ...]], shape: Architecture) -> Network:
        """Return the image under a symmetry of ``stabilisers``; it is linear, so directions are mapped the same way."""
        order, flips = symmetry
        net = Network(self.a[list(order)], self.w[list(order)], self.c)
        return net.flipped(list(flips), shape) if flips else net

    def _agrees(self, j: int, k: int, shape: Architecture, relative: float) -> int:
        tolerance = relative * (1 + float(np.abs(self.w[j]).max(initial=0.0)))
        if np.abs(self.w[j] - self.w[k]).max(initial=0.0) <= tolerance:
            return 1
        if shape.flip and np.abs(self.w[j] + self.w[k]).max(initial=0.0) <= tolerance:
            return -1
        return 0

    def match(
        self, other: Network, shape: Architecture, tolerance: float = SAME_POINT
    ) -> tuple[int, ...] | None:
        """Return for each neuron the neuron of ``other`` it equals up to sign, or None if the orbits differ."""
        if self.distance(other, shape) > tolerance:
            return None
        left, right = np.concatenate([self.a, self.w], axis=1), np.concatenate([other.a, other.w], axis=1)
        cost = np.abs(left[:, None, :] - right[None, :, :]).max(axis=2)
        if shape.flip:
            turned = np.concatenate([shape.flip * self.a, -self.w], axis=1)
            cost = np.minimum(cost, np.abs(turned[:, None, :] - right[None, :, :]).max(axis=2))
        return tuple(int(j) for j in cost.argmin(axis=1)) if self.width else ()

    def embed(self, copies: tuple[int, ...], silent: Array) -> Network:
        """Return the wide network: neuron g in ``copies[g]`` equal parts, then neurons with a = 0 and the given inputs."""
        a = [self.a[g] / count for g, count in enumerate(copies) for _ in range(count)]
        w = [self.w[g] for g, count in enumerate(copies) for _ in range(count)]
        zeros = np.zeros((len(silent), self.a.shape[1]))
        return Network(
            np.concatenate([np.array(a).reshape(-1, self.a.shape[1]), zeros]),
            np.concatenate([np.array(w).reshape(-1, self.w.shape[1]), silent]),
            self.c,
        )


@dataclass(frozen=True)
class Reduction:
    """An irreducible network, the copies of each of its neurons, and the input weights of neurons that add nothing."""

    network: Network
    copies: tuple[int, ...]
    silent: Array

    @property
    def dead(self) -> int:
        """Number of neurons that add nothing."""
        return len(self.silent)

    @property
    def is_trivial(self) -> bool:
        """Whether nothing was merged or dropped."""
        return self.dead == 0 and all(count == 1 for count in self.copies)


def _leading(w: Array) -> int:
    # Entries within a millionth of the largest count as equally large, so that rounding does not choose the sign.
    size = np.abs(w)
    return int(np.argmax(size >= size.max() * (1 - 1e-6)))


def _assign(cost: Array) -> float:
    """Return the smallest over all assignments of the largest cost."""
    size = cost.shape[0]
    if size <= 6:
        every = itertools.permutations(range(size))
        return min(
            (max((cost[i, j] for i, j in enumerate(order)), default=0.0) for order in every), default=0.0
        )
    worst, free = 0.0, list(range(size))
    for i in range(size):
        j = min(free, key=lambda j: cost[i, j])
        free.remove(j)
        worst = max(worst, float(cost[i, j]))
    return worst
