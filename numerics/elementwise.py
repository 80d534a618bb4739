"""PyTorch form of each elementwise function: one line per function, ``{}`` stands for the argument."""

from __future__ import annotations

import sympy

from derivations.functions import relu, sech2, sigmoid, softplus
from derivations.relu_means import relu_mean, relu_mean_curve, relu_mean_slope

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
    sympy.asin: "torch.asin({})",
    sympy.erf: "torch.erf({})",
    sympy.Abs: "torch.abs({})",
    sympy.sign: "torch.sign({})",
    relu: "torch.relu({})",
    sigmoid: "torch.sigmoid({})",
    # torch.nn.functional.softplus switches to the identity at 20 and loses 2e-9; logaddexp does not.
    softplus: "torch.logaddexp({0}, torch.zeros_like({0}))",
    sech2: "torch.cosh({}).pow(-2)",
    # A correlation that rounding puts beyond 1 counts as 1; 0.159... is 1 / (2 pi).
    relu_mean: (
        "((torch.sqrt(((1 - {0}) * (1 + {0})).clamp(min=0)) + {0} * (torch.asin({0}.clamp(-1, 1)) + 1.5707963267948966))"
        " * 0.15915494309189535)"
    ),
    relu_mean_slope: "(torch.asin({0}.clamp(-1, 1)) * 0.15915494309189535 + 0.25)",
    # Its coefficient in a second derivative vanishes at 1 faster than it grows; angles below 1e-7 count as 0.
    relu_mean_curve: (
        "torch.where((1 - {0}) * (1 + {0}) > 1e-14, (1 - {0}) * (1 + {0}), math.inf).rsqrt() * 0.15915494309189535"
    ),
}
