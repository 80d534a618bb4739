"""PyTorch form of each elementwise function: one line per function, ``{}`` stands for the argument."""

from __future__ import annotations

import sympy

from derivations.functions import relu, sech2, sigmoid, softplus

__all__ = ["ELEMENTWISE"]

#: SymPy class of the function to the PyTorch expression.
ELEMENTWISE: dict[type, str] = {
    sympy.tanh: "torch.tanh({})",
    sympy.exp: "torch.exp({})",
    sympy.log: "torch.log({})",
    sympy.sin: "torch.sin({})",
    sympy.cos: "torch.cos({})",
    sympy.tan: "torch.tan({})",
    sympy.sinh: "torch.sinh({})",
    sympy.cosh: "torch.cosh({})",
    sympy.asinh: "torch.asinh({})",
    sympy.atan: "torch.atan({})",
    sympy.erf: "torch.erf({})",
    sympy.Abs: "torch.abs({})",
    sympy.sign: "torch.sign({})",
    relu: "torch.relu({})",
    sigmoid: "torch.sigmoid({})",
    # torch.nn.functional.softplus switches to the identity at 20 and loses 2e-9; logaddexp does not.
    softplus: "torch.logaddexp({0}, torch.zeros_like({0}))",
    sech2: "torch.cosh({}).pow(-2)",
}
