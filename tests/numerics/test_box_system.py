"""Gradient, Jacobian and Hessian over boxes against Arb at points of the boxes, and against automatic differentiation."""

from __future__ import annotations

import pytest
import torch
from sympy import Rational

from derivations.formula_model import FormulaProblem
from derivations.problem import Problem
from numerics.box_system import BoxSystem
from numerics.interval_tensors import Interval, NotEnclosed

flint = pytest.importorskip("flint")

from numerics.balls import BallSystem  # noqa: E402

DATA = {
    "x": [Rational(u, 7) for u in (3, -5, 1, 8, -2, 4)],
    "y": [Rational(1, 10), Rational(-2, 3), Rational(9, 7)],
}
SIZES = {"n": 3, "d": 2, "m": 2, "o": 1}

CASES = {
    "tanh": (
        Problem.two_layer("tanh", "square", input_bias=True, weight_decay=Rational(1, 1000)),
        DATA,
        SIZES,
    ),
    "biases, sum, factor and scale": (
        Problem.two_layer(
            "sigmoid",
            "square",
            input_bias=True,
            output_bias=True,
            reduction="sum",
            factor=Rational(1, 3),
            scale="1/sqrt(m)",
        ),
        DATA,
        SIZES,
    ),
    "logistic loss": (Problem.two_layer("erf", "logistic", weight_decay=Rational(1, 10)), DATA, SIZES),
    "two outputs": (
        Problem.two_layer("gaussian", "square", vector_output=True),
        {"x": DATA["x"], "y": [*DATA["y"], *DATA["y"]]},
        {**SIZES, "o": 2},
    ),
    "a formula": (
        FormulaProblem.of("a*sin(w*x) + 1/(1 + exp(a - w)) + sqrt(1 + a**2)", ["a", "w"]),
        {"x": DATA["y"], "y": DATA["y"]},
        {"n": 3, "d": 1},
    ),
    "two hidden layers": (
        Problem.deep(3, "softplus", "square"),
        {"x": DATA["x"], "y": DATA["y"]},
        {"n": 3, "d": 2, "m1": 2, "m2": 1, "o": 1},
    ),
}


def boxes(count: int, batch: int = 12) -> tuple[Interval, torch.Tensor]:
    """Boxes from tiny to wide, and a point in each."""
    generator = torch.Generator().manual_seed(count)
    middle = torch.randn(count, batch, generator=generator, dtype=torch.float64)
    radius = torch.rand(count, batch, generator=generator, dtype=torch.float64)
    radius = radius * torch.logspace(-6, 0.3, batch, dtype=torch.float64)
    share = 2 * torch.rand(count, batch, generator=generator, dtype=torch.float64) - 1
    return Interval(middle - radius, middle + radius), middle + share * radius


@pytest.mark.parametrize("name", CASES)
def test_enclosures_hold_what_arb_finds_at_points_of_the_boxes(name: str) -> None:
    problem, data, sizes = CASES[name]
    system, exact = BoxSystem(problem, data, sizes), BallSystem(problem, data, sizes)
    box, at = boxes(system.P)
    gradient, hessian = system.gradient(box), system.hessian(box)
    here = system.gradient(Interval.around(at))
    assert float(here.rad.max()) < 1e-9
    with flint.ctx.workprec(150):
        for b in range(at.shape[1]):
            _, slope, curve = exact.value_gradient_hessian([flint.arb(u) for u in at[:, b].tolist()])
            for i in range(system.P):
                for found in (gradient, here):
                    assert flint.arb(float(found.lo[i, b])) <= slope[i] <= flint.arb(float(found.hi[i, b]))
                for j in range(system.P):
                    assert (
                        flint.arb(float(hessian.lo[i, j, b]))
                        <= curve[i][j]
                        <= flint.arb(float(hessian.hi[i, j, b]))
                    )


@pytest.mark.parametrize("name", CASES)
def test_the_hessian_is_the_sum_of_the_parts_from_jacobian_weights_and_curvature(name: str) -> None:
    problem, data, sizes = CASES[name]
    system = BoxSystem(problem, data, sizes)
    _, at = boxes(system.P)
    here = Interval.around(at)
    outputs, jacobian = system.jacobian(here)
    weights, rest = system.curvature(here, outputs)
    J, whole = jacobian.mid, system.hessian(here).mid
    found = torch.einsum("npb,nb,nqb->pqb", J, weights.mid, J) + rest.mid
    assert float((found - whole).abs().max()) < 1e-11 * (1 + float(whole.abs().max()))


def test_the_jacobian_is_that_of_a_network_written_by_hand() -> None:
    problem, data, sizes = CASES["tanh"]
    system = BoxSystem(problem, data, sizes)
    _, at = boxes(system.P, 1)
    x = torch.tensor([float(u) for u in data["x"]], dtype=torch.float64).reshape(3, 2)

    def network(theta: torch.Tensor) -> torch.Tensor:
        return torch.tanh(x @ theta[2:6].reshape(2, 2).T + theta[6:]) @ theta[:2]

    outputs, jacobian = system.jacobian(Interval.around(at))
    assert torch.allclose(outputs.mid[:, 0], network(at[:, 0]), rtol=1e-13, atol=1e-13)
    assert torch.allclose(jacobian.mid[..., 0], torch.func.jacrev(network)(at[:, 0]), rtol=1e-13, atol=1e-13)


def test_the_force_times_the_output_weight_is_the_derivative_in_the_pre_activation() -> None:
    problem, data, sizes = CASES["tanh"]
    system = BoxSystem(problem, data, sizes)
    _, at = boxes(system.P, 1)
    _, force = system.at_critical(Interval.around(at), None)
    assert force is not None
    x = torch.tensor([float(u) for u in data["x"]], dtype=torch.float64).reshape(3, 2)
    y = torch.tensor([float(u) for u in data["y"]], dtype=torch.float64)
    theta = at[:, 0]
    z = (x @ theta[2:6].reshape(2, 2).T + theta[6:]).requires_grad_()
    risk = (torch.tanh(z) @ theta[:2] - y).square().mean() / 2
    (wanted,) = torch.autograd.grad(risk, z)
    assert torch.allclose(force.mid[..., 0] * theta[:2], wanted, rtol=1e-12, atol=1e-14)


def test_bounds_of_the_outputs_narrow_the_gradient() -> None:
    problem, data, sizes = CASES["tanh"]
    system = BoxSystem(problem, data, sizes)
    wide = Interval(
        torch.full((system.P, 1), -9.0, dtype=torch.float64),
        torch.full((system.P, 1), 9.0, dtype=torch.float64),
    )
    bounds = Interval(
        torch.full((3, 1), -1.0, dtype=torch.float64), torch.full((3, 1), 1.0, dtype=torch.float64)
    )
    free, held = (system.at_critical(wide, u)[0] for u in (None, bounds))
    assert float(held.hi[0, 0]) < 3 < 9 < float(free.hi[0, 0])


@pytest.mark.parametrize("activation", ["relu", "softsign", "abs"])
def test_activations_with_kinks_are_refused(activation: str) -> None:
    with pytest.raises(NotEnclosed, match="has no enclosure on batches"):
        BoxSystem(Problem.two_layer(activation, "square"), DATA, SIZES)


def test_a_box_of_the_wrong_length_is_refused() -> None:
    system = BoxSystem(*CASES["tanh"])
    with pytest.raises(ValueError, match="boxes have 3 coordinates, required are P = 8"):
        system.gradient(Interval.around(torch.zeros(3, 1, dtype=torch.float64)))
