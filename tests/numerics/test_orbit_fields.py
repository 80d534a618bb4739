"""Fields of continuous symmetries on balls, against autograd: the risk does not change along them."""

from __future__ import annotations

import itertools
import random

import flint
import pytest
import torch

from derivations.diagonal_model import DiagonalProblem
from derivations.formula_model import FormulaProblem
from derivations.problem import Problem
from numerics.orbit_fields import independent, orbit_fields
from numerics.reference import Reference

X = torch.tensor([[0.5, -1.0], [1.5, 0.25], [-0.75, 2.0]], dtype=torch.float64)
Y = torch.tensor([0.3, -1.2, 0.7], dtype=torch.float64)


def layout(shapes: dict[str, tuple[int, ...]]) -> list[tuple[str, tuple[int, ...], slice]]:
    out, start = [], 0
    for name, shape in shapes.items():
        length = int(torch.Size(shape).numel())
        out.append((name, shape, slice(start, start + length)))
        start += length
    return out


NETWORKS = {
    "scaling": (("cubic",), {"input_bias": True}, (2,), 2),
    "scaling and rotation": (("quadratic",), {"input_bias": True}, (3,), 6),
    "shift": (("exp",), {"input_bias": True}, (2,), 2),
    "scaling and mixing": (("linear",), {"output_bias": True}, (2,), 6),
    "mixing with weight decay": (("linear",), {"weight_decay": "1/10"}, (3,), 3),
    "scaling with weight decay": (("cubic",), {"weight_decay": "1/10"}, (2,), 0),
    "none": (("tanh",), {"input_bias": True}, (3,), 0),
}


@pytest.mark.parametrize("name", NETWORKS)
def test_the_risk_does_not_change_along_a_field(name: str) -> None:
    (activation,), options, widths, count = NETWORKS[name]
    plain = {key: 0.1 if key == "weight_decay" else value for key, value in options.items()}
    oracle = Reference(X, Y, activation, "square", widths, **plain)
    fields = orbit_fields(Problem.two_layer(activation, "square", **options), layout(oracle.shapes))
    assert len(fields) == count
    size = sum(torch.Size(shape).numel() for shape in oracle.shapes.values())
    theta = torch.randn(size, dtype=torch.float64)
    gradient = oracle.gradient(theta)
    for field in fields:
        direction = [float(u) for u in field.value([flint.arb(float(u)) for u in theta])]
        assert any(direction)
        along = float(gradient @ torch.tensor(direction, dtype=torch.float64))
        assert abs(along) <= 1e-12 * float(gradient.norm()) * sum(u * u for u in direction) ** 0.5


def test_the_risk_of_a_deep_network_does_not_change_along_a_field() -> None:
    oracle = Reference(X, Y, "cubic", "square", (2, 3), kind="deep", input_bias=True)
    fields = orbit_fields(
        Problem.deep(3, "cubic", "square", input_bias=True, output_bias=False), layout(oracle.shapes)
    )
    assert len(fields) == 5
    theta = 0.5 * torch.randn(sum(torch.Size(s).numel() for s in oracle.shapes.values()), dtype=torch.float64)
    for field in fields:
        direction = torch.tensor(
            [float(field.entry(j, theta.tolist(), float)) for j in range(len(theta))], dtype=torch.float64
        )
        gradient = oracle.gradient(theta)
        assert abs(float(gradient @ direction)) <= 1e-12 * float(gradient.norm() * direction.norm())


def test_the_outputs_of_a_formula_and_of_a_diagonal_network_do_not_change_along_a_field() -> None:
    a, w, b = 0.7, -0.4, 0.2
    (field,) = orbit_fields(
        FormulaProblem.of("a*exp(w*x + b)", ["a", "w", "b"]), layout({"a": (), "w": (), "b": ()})
    )
    da, dw, db = (field.entry(j, [a, w, b], float) for j in range(3))
    assert dw == 0
    assert da + a * db == pytest.approx(0)
    fields = orbit_fields(DiagonalProblem.of(3), layout({"u": (2,), "v": (2,)}))
    u, v = [0.5, -1.5], [2.0, 0.25]
    for k, field in enumerate(fields):
        moved = [field.entry(j, [*u, *v], float) for j in range(4)]
        assert u[k] ** 2 * moved[k] - v[k] ** 2 * moved[2 + k] == pytest.approx(0)
        assert moved[1 - k] == moved[3 - k] == 0


def test_a_field_that_would_move_a_frozen_block_is_left_out() -> None:
    problem = Problem.two_layer("cubic", "square", freeze=("a",))
    assert orbit_fields(problem, layout({"a": (2,), "w": (2, 2)})) == []


@pytest.mark.parametrize("activation", ["quadratic", "exp", "linear"])
def test_the_derivative_of_a_field_is_that_of_its_values(activation: str) -> None:
    problem = Problem.two_layer(activation, "square", input_bias=True)
    shapes = {"a": (2,), "w": (2, 1), "b": (2,)}
    theta = [random.gauss(0, 1) for _ in range(6)]
    step = 1e-6
    for field, j in itertools.product(orbit_fields(problem, layout(shapes)), range(6)):
        above, below = (
            field.value([flint.arb(u + s * (i == j)) for i, u in enumerate(theta)]) for s in (step, -step)
        )
        slope = field.derivative([flint.arb(u) for u in theta])
        for i in range(6):
            assert float(above[i] - below[i]) / (2 * step) == pytest.approx(float(slope[i][j]), abs=1e-8)


def test_independent_fields_span_the_tangent_space_of_the_orbit() -> None:
    """Three quadratic neurons in two dimensions: a 9-dimensional space, 3 invariants of the form, so orbits of dimension 6."""
    problem = Problem.two_layer("quadratic", "square")
    fields = orbit_fields(problem, layout({"a": (3,), "w": (3, 2)}))
    theta = [1.0, -0.5, 2.0, 0.3, 1.0, -1.2, 0.4, 0.8, 0.6]
    chosen = independent(fields, theta)
    assert (len(fields), len(chosen)) == (6, 6)
    doubled = [0.7, 0.7, 2.0, 0.3, 1.0, 0.3, 1.0, 0.8, 0.6]
    matrix = torch.tensor([[f.entry(j, doubled, float) for j in range(9)] for f in fields])
    assert len(independent(fields, doubled)) == int(torch.linalg.matrix_rank(matrix))


def test_at_a_fixed_point_of_the_symmetries_no_field_is_left() -> None:
    problem = Problem.two_layer("quadratic", "square")
    fields = orbit_fields(problem, layout({"a": (2,), "w": (2, 2)}))
    assert independent(fields, [1e-17] * 6) == []
