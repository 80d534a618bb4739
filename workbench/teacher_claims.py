"""The claim that a student with enough neurons reaches the targets of its teacher, checked on the compiled network."""

from __future__ import annotations

from collections.abc import Iterator

from derivations.claim import Claim, Relation, Status
from derivations.teacher import embedded
from numerics.compile import CompiledSystem
from numerics.tolerances import same_formula

__all__ = ["teacher_claims"]


def teacher_claims(system: CompiledSystem) -> Iterator[Claim]:
    r"""Yield the claim that :math:`f(x_i) = y_i`, :math:`R = 0` and :math:`\nabla R = 0` at the parameters of the teacher.

    Spare neurons stand at 0.  Nothing is yielded where there is no teacher, or where the student does not contain it
    (another activation, fewer neurons, a bias missing), where the loss is not the square loss, or with weight decay:
    then the risk need not vanish there.

    Parameters
    ----------
    system : CompiledSystem
        The student on samples of the teacher.
    """
    problem = system.problem
    if problem.teacher is None or problem.loss is None or problem.loss.name != "square":
        return
    if problem.weight_decay != 0:
        return
    widths = [system.sizes[str(dim)] for dim in problem.hidden_dims]
    blocks = embedded(problem.teacher, problem, widths)
    if blocks is None:
        return
    theta = system.pack({name: _floats(value) for name, value in blocks.items()})
    scale = max(1.0, float(system.y.abs().max()))
    gap = float((system.outputs(theta) - system.y).abs().max()) / scale
    value, gradient = system.value_gradient(theta)
    # The risk is quadratic in the gap, its gradient linear with the Jacobian as factor.
    slope = float(gradient.norm()) / max(
        1.0, float(system.jacobian(theta).norm()) * scale * float(problem.factor)
    )
    residual, tolerance = max(gap, slope), same_formula(theta.dtype)
    room = max(1.0, float(problem.factor)) * float(system.y.numel())  # a sum over samples and outputs
    exact = residual <= tolerance and float(value) <= (tolerance * scale) ** 2 * room
    yield Claim(
        "teacher",
        "global minimum",
        r"At the parameters of the teacher, spare neurons being 0, $f(x_i) = y_i$, $R = 0$ and $\nabla R = 0$.",
        relation=Relation.EQUAL,
        status=Status.SUPPORTED if exact else Status.REFUTED,
        computed=float(value),
        expected=0.0,
        residual=residual,
        tolerance=tolerance,
        evidence={"widths": widths, "largest |f - y|": gap * scale, "gradient norm": float(gradient.norm())},
    )


def _floats(value: object) -> object:
    if isinstance(value, tuple):
        return [_floats(u) for u in value]
    return float(value.evalf(30))  # type: ignore[attr-defined]  # SymPy numbers
