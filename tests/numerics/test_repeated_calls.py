"""A compiled function must give the same answer whenever and however often it is called.

Arrays computed once from the data, and temporaries that are overwritten in place, must not leak from call to call.
"""

from __future__ import annotations

import pytest
import torch

from derivations.problem import Problem
from numerics.compile import compile_system

LOSSES = ["square", "logistic", "exponential", "hinge", "correlation", "(1 - y*f)**2"]
QUANTITIES = ["value", "outputs", "gradient", "hessian", "value_gradient", "value_gradient_hessian", "hvp"]


@pytest.mark.parametrize("loss", LOSSES)
@pytest.mark.parametrize("vector", [False, True])
def test_second_calls_agree_with_first_ones(loss: str, vector: bool) -> None:
    problem = Problem.two_layer("tanh", loss, input_bias=True, output_bias=True, vector_output=vector)
    generator = torch.Generator().manual_seed(3)
    x = torch.randn(7, 2, generator=generator, dtype=torch.float64)
    y = torch.randn(7, *([2] if vector else []), generator=generator, dtype=torch.float64).sign()

    def fresh():  # type: ignore[no-untyped-def]
        return compile_system(problem, x, y, 3)

    size = fresh().P
    points = [torch.randn(size, generator=generator, dtype=torch.float64) for _ in range(3)]
    v = torch.randn(size, generator=generator, dtype=torch.float64)
    for name in QUANTITIES:
        expected = []
        for point in points:
            call = getattr(fresh(), name)
            out = call(point, v) if name == "hvp" else call(point)
            expected.append(out if isinstance(out, tuple) else (out,))
        system = fresh()
        for _ in range(3):
            for point, right in zip(points, expected, strict=True):
                call = getattr(system, name)
                out = call(point, v) if name == "hvp" else call(point)
                for got, wanted in zip(out if isinstance(out, tuple) else (out,), right, strict=True):
                    torch.testing.assert_close(got, wanted, rtol=1e-12, atol=1e-12)
            batch = torch.stack(points)
            out = getattr(system, name)(batch, v) if name == "hvp" else getattr(system, name)(batch)
            for row, right in enumerate(expected):
                for got, wanted in zip(out if isinstance(out, tuple) else (out,), right, strict=True):
                    torch.testing.assert_close(got[row], wanted, rtol=1e-12, atol=1e-12)
    assert torch.equal(system.x, x)
    assert torch.equal(system.y, y)
