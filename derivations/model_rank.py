r"""Model rank: the dimension of the span of the derivatives of a network by its parameters, as functions of the input.

A two-layer network has the tangent functions :math:`\sigma(\varphi_k)` and :math:`a_k \sigma'(\varphi_k)\, x_l`.  Neurons with equal input weights,
or opposite ones where :math:`\sigma(-z) = s\,\sigma(z) + \alpha + \beta z`, share them up to affine functions, neurons without input weights give
affine functions, and the rest is independent (``derivations.generic_activation``); the rank is that of an exact matrix.

The model rank of a target is the least rank of the parameters that have it as output.  It equals the number of samples
from which on the target is linearly stable for almost all inputs, the optimistic sample size:

.. math:: \operatorname{rank}(f^*) = k\,(d + 1), \qquad k \text{ the least width that expresses } f^* .

Source: arXiv:2211.11623 (2022), Lemma 1, Theorem 1, Propositions 2 and 5.

>>> from derivations.activations import REGISTRY
>>> u, v = (4, -3, 2), (-2, 5, 3)
>>> [model_rank(REGISTRY[name], [1, 2], [u, [-t for t in u]]).rank for name in ("tanh", "sigmoid", "softplus", "exp")]
[4, 5, 7, 8]
>>> model_rank(REGISTRY["tanh"], [1, 0], [u, v]).rank
5
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from sympy import Expr, Float, Integer, Matrix, S, sympify
from sympy.polys.matrices import DomainMatrix

from derivations.activations import Activation, Z
from derivations.claim import Status
from derivations.decide import is_zero
from derivations.errors import AssumptionError
from derivations.generic_activation import NeuronClasses, neuron_classes

__all__ = ["ModelRank", "model_rank", "optimistic_size"]


@dataclass(frozen=True)
class ModelRank:
    """The rank at a point and how it comes about.

    Attributes
    ----------
    rank : int
        Dimension of the tangent functions.
    classes : tuple of tuple of int
        Neurons (from 0) that share a non-constant pre-activation up to what the activation identifies.
    active : int
        Classes with an output weight that is not 0.
    constant : tuple of int
        Neurons without input weights.
    status : Status
        PROVED, or UNDECIDED where the independence of the classes is not shown.
    reason : str
        LaTeX.
    """

    rank: int
    classes: tuple[tuple[int, ...], ...]
    active: int
    constant: tuple[int, ...]
    status: Status
    reason: str


def model_rank(
    activation: Activation,
    a: Sequence[Any],
    w: Sequence[Sequence[Any]],
    b: Sequence[Any] | None = None,
    *,
    output_bias: bool = False,
) -> ModelRank:
    """Return the model rank of a two-layer network at exact parameters.

    Parameters
    ----------
    activation : Activation
        Analytic, no polynomial.
    a : sequence of m numbers
        Output weights.
    w : m rows of d numbers
        Input weights.
    b : sequence of m numbers, optional
        Hidden biases.
    output_bias : bool
        Whether there is an output bias.

    Raises
    ------
    AssumptionError
        If the neurons of the activation are not independent in the way required, or a comparison of weights is not decided.
    ValueError
        If the shapes do not fit, or a number is a float.
    """
    outer, rows, shifts = _checked(a, w, b)
    classes = neuron_classes(activation, bias=b is not None, linear=True)
    size = len(rows[0])
    full = [tuple(row) + ((shift,) if b is not None else ()) for row, shift in zip(rows, shifts, strict=True)]
    groups, constant = _groups(full, size, classes)
    functions = _tangents(activation, outer, full, size, groups, constant, classes)
    if output_bias:
        width = len(functions[0])
        functions.append([S.One if j == width - size - 1 else S.Zero for j in range(width)])
    rank = DomainMatrix.from_Matrix(Matrix(functions), extension=True).to_field().rank()
    active = sum(any(_vanishes(outer[k]) is False for k, _ in members) for members in groups)
    listed = tuple(tuple(k for k, _ in members) for members in groups)
    return ModelRank(rank, listed, active, tuple(constant), classes.status, classes.reason)


def _checked(
    a: Sequence[Any], w: Sequence[Sequence[Any]], b: Sequence[Any] | None
) -> tuple[list[Expr], list[list[Expr]], list[Expr]]:
    outer = [sympify(u, strict=True) for u in a]
    rows = [[sympify(u, strict=True) for u in row] for row in w]
    shifts = [sympify(u, strict=True) for u in b] if b is not None else [S.Zero] * len(rows)
    if not rows or len({len(row) for row in rows}) != 1 or not rows[0]:
        raise ValueError(
            f"w has rows of lengths {[len(row) for row in rows]}; give m >= 1 rows of one length d >= 1"
        )
    if not len(outer) == len(rows) == len(shifts):
        raise ValueError(
            f"{len(outer)} output weights, {len(rows)} rows of input weights, {len(shifts)} biases; give m of each"
        )
    for value in [*outer, *shifts, *(u for row in rows for u in row)]:
        if value.has(Float) or value.free_symbols or value.is_real is not True:
            raise ValueError(
                f"found {value}; the rank is decided from exact real numbers: write 1/10 as Rational(1, 10)"
            )
    return outer, rows, shifts


def _vanishes(value: Expr) -> bool:
    status = is_zero(value)
    if status is Status.UNDECIDED:
        raise AssumptionError(f"whether {value} is 0 could not be decided; give rational weights")
    return status is Status.PROVED


def _groups(
    full: Sequence[Sequence[Expr]], size: int, classes: NeuronClasses
) -> tuple[list[list[tuple[int, int]]], list[int]]:
    """Return the classes of neurons, each with its sign to the first of its class, and the neurons without input weights."""
    groups: list[list[tuple[int, int]]] = []
    constant = []
    for k, row in enumerate(full):
        if all(_vanishes(u) for u in row[:size]):
            constant.append(k)
            continue
        for members in groups:
            first = full[members[0][0]]
            sign = next(
                (
                    e
                    for e in ((1, -1) if classes.sign else (1,))
                    if all(_vanishes(u - e * v) for u, v in zip(row, first, strict=True))
                ),
                0,
            )
            if sign:
                members.append((k, sign))
                break
        else:
            groups.append([(k, 1)])
    return groups, constant


def _tangents(
    activation: Activation,
    outer: Sequence[Expr],
    full: Sequence[Sequence[Expr]],
    size: int,
    groups: Sequence[Sequence[tuple[int, int]]],
    constant: Sequence[int],
    classes: NeuronClasses,
) -> list[list[Expr]]:
    """Return the tangent functions as rows over the basis: sigma and sigma' x_l for each class, then 1 and x_1, ..., x_d."""
    entering = len(full[0])
    block = 1 + entering
    width = block * len(groups) + 1 + size
    tail = block * len(groups)

    def affine(row: list[Expr], factor: Expr, direction: int | None) -> None:
        """Add factor times x_l, or times 1 for the bias."""
        row[tail if direction is None or direction >= size else tail + 1 + direction] += factor

    table = []
    for t, members in enumerate(groups):
        for k, sign in members:
            value = [S.Zero] * width
            value[block * t] = S.One if sign > 0 else Integer(classes.sign)
            if sign < 0:
                affine(value, classes.constant, None)
                for l, u in enumerate(full[members[0][0]]):
                    affine(value, classes.slope * u, l)
            table.append(value)
            if _vanishes(outer[k]):
                continue
            for l in range(entering):
                row = [S.Zero] * width
                row[block * t + 1 + l] = S.One if sign > 0 else Integer(-classes.sign)
                if sign < 0:
                    affine(row, -classes.slope, l)
                table.append(row)
    for k in constant:
        at = full[k][size] if entering > size else S.Zero
        value = [S.Zero] * width
        affine(value, S.Zero if _vanishes(activation.derivative(0).subs(Z, at)) else S.One, None)
        table.append(value)
        if not _vanishes(outer[k] * activation.derivative(1).subs(Z, at)):
            for l in range(entering):
                row = [S.Zero] * width
                affine(row, S.One, l)
                table.append(row)
    return table


def optimistic_size(neurons: Expr | int, inputs: Expr | int) -> Expr:
    """Return k (d + 1), the model rank of a target that k neurons, and no fewer, express; d counts the bias of a neuron.

    >>> optimistic_size(3, 2)
    9
    """
    return sympify(neurons, strict=True) * (sympify(inputs, strict=True) + 1)
