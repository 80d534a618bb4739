"""Images of parameters under symmetries of the data, against networks written by hand and the derived risk."""

from __future__ import annotations

import pytest
import torch
from sympy import Expr, Integer

from derivations.formula_model import FormulaProblem
from derivations.problem import Problem
from derivations.sample_symmetries import sample_symmetries
from numerics.compile import CompiledSystem
from numerics.sample_moves import moved

SQUARE = [[1, 0], [0, 1], [-1, 0], [0, -1]]


def exact(rows: list[list[int]]) -> list[list[Expr]]:
    return [[Integer(u) for u in row] for row in rows]


def compiled(problem: Problem, y: list[list[int]], sizes: dict[str, int]) -> CompiledSystem:
    targets = torch.tensor(y, dtype=torch.float64)
    shaped = targets if problem.vector_output else targets[:, 0]
    return CompiledSystem(problem, torch.tensor(SQUARE, dtype=torch.float64), shaped, sizes)


CASES = {
    "shift of the outputs": (
        Problem.two_layer("gelu", "square", input_bias=True, output_bias=True, scale="1/m"),
        [[3], [-1], [3], [-1]],
        {"m": 3},
    ),
    "several outputs": (
        Problem.two_layer("tanh", "square", input_bias=True, output_bias=True, vector_output=True),
        [[1, 0], [0, 1], [1, 0], [0, 1]],
        {"m": 2},
    ),
    "deep": (Problem.deep(3, "gelu", "square"), [[1], [-1], [1], [-1]], {"m1": 2, "m2": 3}),
    "deep with several outputs": (
        Problem.deep(2, "gelu", "square", vector_output=True),
        [[1, 2], [2, 1], [1, 2], [2, 1]],
        {"m1": 3},
    ),
    "weight decay": (
        Problem.two_layer("gelu", "logistic", input_bias=True, weight_decay="1/5"),
        [[1], [-1], [1], [-1]],
        {"m": 2},
    ),
}


@pytest.mark.parametrize("case", CASES)
def test_images_have_the_same_risk_and_gradients_of_the_same_size(case: str) -> None:
    problem, y, sizes = CASES[case]
    system = compiled(problem, y, sizes)
    theta = torch.randn(6, system.P, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    found = sample_symmetries(problem, exact(SQUARE), exact(y))
    assert len(found) >= 7
    for symmetry in found:
        image = moved(system, symmetry, theta)
        torch.testing.assert_close(system.value(image), system.value(theta), rtol=1e-12, atol=0)
        if not any(symmetry.shift):
            torch.testing.assert_close(
                system.gradient(image).norm(dim=1), system.gradient(theta).norm(dim=1), rtol=1e-10, atol=0
            )


def test_a_neuron_written_by_hand_is_moved_as_stated() -> None:
    """f'(S x + t) = T f(x) + s at points that are no samples, with sigma = tanh evaluated here."""
    problem = Problem.two_layer("tanh", "square", input_bias=True, output_bias=True)
    x, y = [[0.0], [1.0], [2.0]], [[0.0], [1.0], [2.0]]
    system = CompiledSystem(
        problem, torch.tensor(x, dtype=torch.float64), torch.tensor(y, dtype=torch.float64)[:, 0], {"m": 1}
    )
    (symmetry,) = sample_symmetries(problem, exact([[0], [1], [2]]), exact([[0], [1], [2]]))
    theta = torch.tensor([1.5, -0.7, 0.3, 0.2], dtype=torch.float64)
    a, w, b, c = theta.tolist()
    a2, w2, b2, c2 = moved(system, symmetry, theta).tolist()
    at = torch.linspace(-2, 2, 9, dtype=torch.float64)
    plain = a * torch.tanh(w * at + b) + c
    image = a2 * torch.tanh(w2 * (2 - at) + b2) + c2
    torch.testing.assert_close(image, 2 - plain, rtol=1e-13, atol=1e-13)


def test_models_that_are_no_networks_are_refused() -> None:
    problem = FormulaProblem.of("a*x", ["a"])
    system = CompiledSystem(
        problem, torch.ones(2, 1, dtype=torch.float64), torch.ones(2, dtype=torch.float64), {}
    )
    (symmetry,) = sample_symmetries(
        Problem.two_layer("gelu", "square"), exact([[-1], [1]]), exact([[-1], [1]])
    )
    with pytest.raises(ValueError, match="kind formula"):
        moved(system, symmetry, torch.ones(1, dtype=torch.float64))
