r"""No quantity :math:`\alpha|a_k|^2 + \beta|w_k|^2 + \gamma b_k^2` is conserved for all data: proof by a determinant.

Along the flow of one sample the derivative of that quantity is :math:`-2\,\partial R/\partial\sigma(z)` times

.. math:: \alpha' \sigma(z) + \beta' (z - b)\, \sigma'(z) + \gamma'\, b\, \sigma'(z),

the primed coefficients being the plain ones times the rates of the blocks; z and b are free.  If these functions have
values of non-zero determinant at as many points, all coefficients vanish.

>>> from derivations.hidden_layer import hidden_layers
>>> problem = Problem.two_layer("tanh")
>>> (layer,) = hidden_layers(problem)
>>> independence(problem.activation, layer, ("out", "in")).points
((3/7, 0), (2, 0))
>>> independence(Problem.two_layer("relu").activation, layer, ("out", "in")) is None
True
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass

from sympy import Expr, Integer, Matrix, Rational, S, latex
from sympy.core.evalf import PrecisionExhausted

from derivations.activations import Activation, Z
from derivations.hidden_layer import HiddenLayer
from derivations.problem import Problem

__all__ = ["Independence", "independence", "no_balance"]

_GREEK = {"out": r"\alpha", "in": r"\beta", "bias": r"\gamma"}
_POINTS = (Rational(3, 7), Integer(2), Rational(-11, 5), Rational(1, 3))


@dataclass(frozen=True)
class Independence:
    """Points (z, b) and the determinant, not 0, of the values of the functions of ``roles`` there."""

    roles: tuple[str, ...]
    points: tuple[tuple[Expr, Expr], ...]
    determinant: Expr


def independence(activation: Activation, layer: HiddenLayer, roles: Sequence[str]) -> Independence | None:
    """Return a proof that the functions of ``roles`` are independent, or None where no determinant was found.

    Parameters
    ----------
    roles : sequence of str
        Some of ``out``, ``in``, ``bias``: sigma(z), (z - b) sigma'(z), b sigma'(z); b is 0 without a bias.
    """
    slope = activation.derivative(1)
    biases = (S.Zero, S.One, -Rational(1, 2)) if layer.bias is not None else (S.Zero,)

    def row(z: Expr, b: Expr) -> list[Expr]:
        value, first = activation.expr.subs(Z, z), slope.subs(Z, z)
        every = {"out": value, "in": (z - b) * first, "bias": b * first}
        return [every[role] for role in roles]

    for chosen in itertools.combinations(itertools.product(_POINTS, biases), len(roles)):
        determinant = Matrix([row(*point) for point in chosen]).det()
        if _is_nonzero(determinant):
            return Independence(tuple(roles), chosen, determinant)
    return None


def _is_nonzero(value: Expr) -> bool:
    """Return whether an error-tracked evaluation to 30 digits is not 0."""
    try:
        number = value.evalf(30, strict=True)
    except (PrecisionExhausted, ValueError, TypeError):
        return False
    return bool(number.is_Float and number != 0)


def no_balance(problem: Problem, layer: HiddenLayer, proof: Independence) -> tuple[str, tuple[str, ...]]:
    """Return the sentence and the steps for the trained parts ``proof.roles`` of a neuron."""
    bias, roles = layer.bias is not None, proof.roles
    function = {
        "out": r"\sigma(z)",
        "in": (r"(z - b)" if bias else "z") + r"\, \sigma'(z)",
        "bias": r"b\, \sigma'(z)",
    }
    kind = " + ".join(f"{_GREEK[role]} {layer.square_tex(role, 'k')}" for role in roles)
    condition = " + ".join(f"{_GREEK[role]}' {function[role]}" for role in roles)
    where = ", ".join(
        f"$(z, b) = ({latex(z)}, {latex(b)})$" if bias else f"$z = {latex(z)}$" for z, b in proof.points
    )
    text = (
        f"Neurons of {layer.words}: no quantity ${kind}$ with coefficients that are not all zero is conserved for all data. "
        "None of this kind exists; other kinds are not excluded."
    )
    frozen = [role for role in layer.blocks if role not in roles]
    if frozen:
        text += " The other parts of a neuron are frozen."
    homogeneous = problem.activation is not None and problem.activation.homogeneity_degree is not None
    if frozen == ["bias"] and homogeneous:
        text += f" (Neurons with ${layer.tex['bias'] % 'k'} = 0$ are an exception.)"
    several = len(roles) > 1
    steps = [
        r"One sample: the time derivative is $-2\, \partial R/\partial \sigma(z)$, not zero for suitable data, times "
        f"${condition}$, where the primed coefficients are the plain ones times the rates of the blocks.",
        f"As the data and the weights vary, $z$ {'and $b$ take' if bias else 'takes'} every value, so this function "
        "vanishes identically.",
        f"At {where} the {'determinant of the values of these functions' if several else 'value of this function'} is "
        rf"${latex(proof.determinant.evalf(6))} \neq 0$; hence ${' = '.join(_GREEK[role] for role in roles)} = 0$.",
    ]
    if problem.weight_decay != 0:
        steps.append(
            "Weight decay adds a part that does not depend on the data and cannot cancel one that does."
        )
    return text, tuple(steps)
