r"""The setting of a teacher-student problem whose global minima are enumerated: its assumptions checked, its sizes read.

>>> from derivations.problem import Problem
>>> teacher_student(Problem.two_layer("tanh", "square"), 3, 1, 2)[0].sign
-1
"""

from __future__ import annotations

from collections.abc import Sequence

from sympy import Expr, sympify

from derivations.claim import Status
from derivations.decide import is_zero
from derivations.errors import AssumptionError
from derivations.generic_activation import NeuronClasses, neuron_classes
from derivations.neuron_blocks import Shape
from derivations.problem import Problem, d, m

__all__ = ["teacher_student"]


def teacher_student(
    problem: Problem, width: int, teacher_width: int | None = None, inputs: int | None = None
) -> tuple[Shape, NeuronClasses]:
    """Return the sizes of a teacher-student problem with what its activation identifies; see ``global_minima`` for the assumptions.

    Raises
    ------
    AssumptionError, ValueError
        As ``derivations.global_minima.global_minima``.
    """
    activation = problem.activation
    _check_problem(problem)
    assert activation is not None  # checked
    teacher = problem.teacher
    m0, size = _sizes(problem, teacher_width, inputs)
    classes = neuron_classes(activation, bias=problem.input_bias)
    with_numbers = teacher is not None and bool(teacher.weights)
    if with_numbers:
        _check_teacher(problem, classes.sign)
    shape = Shape(
        width=width,
        teacher=m0,
        inputs=size + problem.input_bias,
        sign=classes.sign,
        constant=_differs(classes.constant, "the constant of the parity"),
        silent=not _differs(classes.at_zero, "sigma(0)"),
        steep=_differs(classes.slope_at_zero, "sigma'(0)"),
        bias=problem.input_bias,
        output_bias=problem.output_bias,
        outer=_outer(problem, width, size, classes) if with_numbers else (),
    )
    return shape, classes


def _differs(value: Expr, what: str) -> bool:
    status = is_zero(sympify(value, strict=True))
    if status is Status.UNDECIDED:
        raise AssumptionError(f"whether {what} = {value} is 0 could not be decided")
    return status is Status.REFUTED


def _check_problem(problem: Problem) -> None:
    found = ""
    if problem.kind != "two_layer":
        found = f"kind = '{problem.kind}'; branches are enumerated for kind = 'two_layer'"
    elif problem.activation is None:
        found = "a general activation; name one, such as activation = 'tanh'"
    elif problem.loss is None or problem.loss.name != "square":
        name = "a general loss" if problem.loss is None else f"the loss {problem.loss.name}"
        found = f"{name}; the risk vanishes exactly where the student is the teacher for the loss 'square'"
    elif problem.weight_decay != 0:
        found = f"weight decay {problem.weight_decay}, which moves the minima; set weight_decay = '0'"
    elif problem.vector_output:
        found = "several outputs; branches are enumerated for one output"
    elif any(not b.trained for b in problem.blocks):
        fixed = [b.name for b in problem.blocks if not b.trained]
        found = f"blocks that are not trained ({', '.join(fixed)}); branches are enumerated for training all blocks"
    if found:
        raise AssumptionError(f"found {found}")
    teacher = problem.teacher
    if teacher is None:
        return
    if teacher.kind != "two_layer" or teacher.vector_output or not teacher.shares_activation(problem):
        raise AssumptionError(
            "the teacher is no two-layer network with one output and the activation of the student; then the student need not reach it"
        )
    for name, has in (("b", problem.input_bias), ("c", problem.output_bias)):
        if teacher.has(name) and not has:
            raise AssumptionError(
                f"the teacher has the bias {name} and the student has not; give the student this bias"
            )


def _sizes(problem: Problem, teacher_width: int | None, inputs: int | None) -> tuple[int, int]:
    teacher = problem.teacher
    own = (teacher.width, teacher.inputs) if teacher is not None else (None, None)
    out = []
    for name, stated, given in zip(("teacher_width", "inputs"), (teacher_width, inputs), own, strict=True):
        value = stated if given is None else given
        if value is None:
            raise ValueError(f"the teacher has no weights; say {name}, or give the teacher numbers")
        if stated is not None and stated != value:
            raise ValueError(
                f"{name} = {stated}, and the weights of the teacher say {given}; leave {name} out"
            )
        out.append(value)
    return out[0], out[1]


def _outer(problem: Problem, width: int, size: int, classes: NeuronClasses) -> tuple[Expr, ...]:
    """Return the right sides of the equations for the output weights, the output scales divided out."""
    teacher = problem.teacher
    assert teacher is not None
    blocks = teacher.blocks
    here = problem.scale.subs({m: width, d: size})
    there = teacher.scale.subs({m: len(blocks["w"]), d: size})
    unit = classes.at_zero if _differs(classes.at_zero, "sigma(0)") else 1
    bias = blocks.get("c", 0) / (here * unit) if problem.output_bias else here * 0
    return (*(sympify(u, strict=True) * there / here for u in blocks["a"]), sympify(bias, strict=True))


def _check_teacher(problem: Problem, sign: int) -> None:
    teacher = problem.teacher
    assert teacher is not None
    blocks = teacher.blocks
    shifts = blocks.get("b", [None] * len(blocks["w"]))
    rows: list[Sequence[Expr]] = [
        [*row, *([shift] if shift is not None else [])]
        for row, shift in zip(blocks["w"], shifts, strict=True)
    ]
    for j, value in enumerate(blocks["a"]):
        if not _differs(value, f"the output weight {j + 1} of the teacher"):
            raise AssumptionError(f"output weight {j + 1} of the teacher is 0; leave this neuron out")
        if not any(_differs(u, "an input weight of the teacher") for u in blocks["w"][j]):
            raise AssumptionError(
                f"the input weights of neuron {j + 1} of the teacher are 0; leave this neuron out"
            )
    for i, row in enumerate(rows):
        for j in range(i):
            for e in (1, -1) if sign else (1,):
                if not any(
                    _differs(u - e * v, "a difference of weights") for u, v in zip(row, rows[j], strict=True)
                ):
                    raise AssumptionError(
                        f"neurons {j + 1} and {i + 1} of the teacher have {'equal' if e > 0 else 'opposite'} input weights; merge them"
                    )
