r"""The PyTorch form of an activation as one expression, and how well the compiled function keeps its digits.

>>> from derivations.activations import REGISTRY
>>> torch_form(REGISTRY["softplus"].expr), torch_form(REGISTRY["rational"].expr)
('torch.logaddexp(z, torch.zeros_like(z))', 'z/(z**2 + 1)')
>>> row = torch_row(REGISTRY["tanh"])
>>> row.text, str(row.status)
('torch.tanh(z)', 'SUPPORTED')
"""

from __future__ import annotations

from functools import cache
from typing import Any

import torch
from sympy import Expr, Float, Function, Integer, Number, Pow, Rational
from sympy.printing.str import StrPrinter

from derivations.activation_rows import Property
from derivations.activations import Activation, Z
from derivations.claim import Status
from derivations.functions import step
from numerics.elementwise import ELEMENTWISE
from numerics.tolerances import same_formula

__all__ = ["torch_form", "torch_row"]

#: Where compiled and exact values are compared: both sides of 0, dense and far.
POINTS = tuple(Rational(k, 7) for k in (-84, -35, -20, -13, -9, -5, -3, -1, 1, 2, 4, 6, 11, 15, 24, 40, 84))


class _Torch(StrPrinter):
    printmethod = None

    def _print_Function(self, expr: Function) -> str:
        if isinstance(expr, step):
            argument = self._print(expr.args[0])
            above = f"({argument} > 0).to(z.dtype)"
            return (
                above if expr.args[1] == 0 else f"({above} + {self._print(expr.args[1])}*({argument} == 0))"
            )
        template = ELEMENTWISE.get(type(expr))
        if template is None:
            raise KeyError(type(expr).__name__)
        return template.format(self._print(expr.args[0]))

    _print_Abs = _print_sign = _print_Function

    def _print_Exp1(self, expr: Expr) -> str:
        return repr(float(expr))

    def _print_Pi(self, expr: Expr) -> str:
        return repr(float(expr))

    def _print_Pow(self, expr: Pow, rational: bool = False) -> str:
        if expr.is_number:
            return repr(float(expr))
        if abs(expr.exp) == Rational(1, 2):
            return ("1/" if expr.exp < 0 else "") + f"torch.sqrt({self._print(expr.base)})"
        return super()._print_Pow(expr, rational=False)

    def _print_Rational(self, expr: Rational) -> str:
        return str(expr.p) if expr.q == 1 else f"{expr.p}/{expr.q}"


def torch_form(expr: Expr) -> str:
    """Return a formula in ``z`` as one PyTorch expression.

    Raises
    ------
    KeyError
        If it holds a function that has no PyTorch form here.
    """
    return _Torch().doprint(expr)


@cache
def torch_row(activation: Activation) -> Property:
    """Return the PyTorch form as a row: SUPPORTED where the compiled function agrees with an exact evaluation.

    The values of the formula in thirty digits and those of the compiled two-layer network with one neuron of weights 1 are compared
    at rational points up to 12; an overflow of float64 is left out.
    """
    try:
        code = torch_form(activation.derivative(0))
    except KeyError as missing:
        text = f"none: {missing.args[0]} is not compiled"
        return Property("PyTorch form", rf"\text{{{text}}}", text, Status.REFUTED)
    pairs = [
        (found, exact) for found, exact in zip(_compiled(activation), _exact(activation)) if exact is not None
    ]
    error = max((abs(found - exact) / max(1.0, abs(exact)) for found, exact in pairs), default=float("inf"))
    tolerance = same_formula(torch.float64)
    status = Status.SUPPORTED if error <= tolerance else Status.UNDECIDED
    reason = (
        f"Compiled values differ from thirty digits by at most {error:.1e}, relative to max(1, |sigma|), at {len(pairs)} points;"
        f" the bound is {tolerance:.0e}."
    )
    latex = r"\texttt{" + code.replace("_", r"\_") + "}"
    return Property("PyTorch form", latex, code, status, reason)


def _compiled(activation: Activation) -> list[float]:
    from derivations.problem import Problem
    from numerics.compile import compile_system

    points = [[float(point)] for point in POINTS]
    system = compile_system(Problem.two_layer(activation, "square"), points, [0.0] * len(points), 1)
    return system.outputs(torch.ones(2, dtype=torch.float64)).tolist()


def _exact(activation: Activation) -> list[float | None]:
    values: list[Any] = [activation.derivative(0).subs(Z, Float(point, 40)).evalf(30) for point in POINTS]
    return [
        float(value) if isinstance(value, Number | Integer) and abs(value) < 1e300 else None
        for value in values
    ]
