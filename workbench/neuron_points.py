"""The KKT conditions of the correlation of one neuron with the samples of a study, and every point that solves them.

>>> from workbench.analysis import Analysis
>>> from workbench.study import study_from_mapping
>>> found = Analysis(study_from_mapping({"schema": 1, "name": "line", "model": {"activation": "relu", "input_bias": False},
...     "loss": {"kind": "correlation"}, "data": {"x": [[1, 0], [1, 1]], "y": [3, -2]}})).derive("kkt-neuron")
>>> print(found.text().partition("  KKT points")[2])
: 2, PROVED to be all
    u = (sqrt(2)/2 = 0.7071067812..., -sqrt(2)/2 = -0.7071067812...): G = 3*sqrt(2)/2 = 2.121320344..., maximum, on the kink of sample 2 with slope 3/4
    u = (0, 1): G = -2, minimum, on the kink of sample 1 with slope 2/3
  G = 0 on 3 faces of KKT points
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Any

from sympy import Expr, Integer, latex, sstr

from derivations.claim import Status
from derivations.errors import AssumptionError
from derivations.kkt import Conditions
from derivations.problem import Problem
from workbench.correlation import SpherePoint, SpherePoints, sphere_points
from workbench.data import Dataset
from workbench.errors import NotThere

__all__ = ["NeuronConditions", "neuron_conditions"]


@dataclass(frozen=True)
class NeuronConditions(Conditions):
    """KKT conditions of one neuron, with its KKT points.

    Parameters
    ----------
    points : SpherePoints or None
        The complete list; None where it is not computed, and ``reason`` says why.
    reason : str
        Why there are no points.
    unknowns : str
        ``u``, or ``(u, b)`` with input bias.
    """

    points: SpherePoints | None = None
    reason: str = ""
    unknowns: str = "u"

    @property
    def status(self) -> Status:
        """PROVED where all points are listed, else UNDECIDED."""
        return Status.UNDECIDED if self.points is None else Status.PROVED

    def text(self) -> str:
        """Return the plain text: title, conditions, and the points."""
        return "\n".join([super().text(), *self._lines()])

    def _lines(self) -> list[str]:
        if self.points is None:
            return [f"  KKT points: UNDECIDED, {self.reason}"]
        found = self.points
        lines = [f"  KKT points: {len(found.points) or 'none'}, PROVED to be all"]
        lines += [f"    {self.unknowns} = {_line(p)}" for p in found.points]
        if found.flat:
            lines.append(
                f"  G = 0 on {len(found.flat)} face{'s' if len(found.flat) > 1 else ''} of KKT points"
            )
        if found.euler is not None:
            lines.append(f"  sum of (-1)^index: {found.euler[0]}, on the sphere {found.euler[1]}")
        return lines

    def to_dict(self) -> dict[str, Any]:
        """Return the JSON form, with the points."""
        out = super().to_dict() | {"status": str(self.status), "points": []}
        if self.points is None:
            return out | {"reason": self.reason}
        for p in self.points.points:
            out["points"].append(
                {
                    "direction": [str(u) for u in p.direction],
                    "value": str(p.value),
                    "numbers": {"direction": [float(u) for u in p.direction], "value": float(p.value)},
                    "kind": p.kind,
                    "index": p.index,
                    "attracting": p.attracting,
                    "slopes": {str(i): str(t) for i, t in (p.slopes or {}).items()},
                }
            )
        return out | {
            "flat": [list(signs) for signs in self.points.flat],
            "faces": self.points.faces,
            "euler": self.points.euler,
        }


def neuron_conditions(conditions: Conditions, problem: Problem, data: Dataset | None) -> NeuronConditions:
    """Return the conditions with the points for the samples of a study; with input bias the bias is the last coordinate of u."""
    values = {f.name: getattr(conditions, f.name) for f in fields(conditions)}
    if data is None or problem.activation is None or not data.scalar_output:
        return NeuronConditions(**values, reason="samples with one output and an activation are needed")
    bias = [Integer(1)] if problem.input_bias else []
    x = [[*row, *bias] for row in data.x]
    try:
        points = sphere_points(problem.activation, x, [row[0] for row in data.y])
    except (ValueError, AssumptionError, NotThere) as error:
        return NeuronConditions(**values, reason=str(error))
    values["notes"] = (
        *conditions.notes,
        *[_sentence(p, "(u, b)" if bias else "u") for p in points.points],
        "These are all KKT points with $G \\ne 0$.",
    )
    return NeuronConditions(**values, points=points, unknowns="(u, b)" if bias else "u")


def _line(p: SpherePoint) -> str:
    kinks = ", ".join(f"{i} with slope {_number(t)}" for i, t in (p.slopes or {}).items())
    sample = "sample" if len(p.kink) == 1 else "samples"
    return f"({', '.join(map(_number, p.direction))}): G = {_number(p.value)}, {p.kind}" + (
        f", on the kink of {sample} {kinks}" if kinks else ""
    )


def _number(value: Expr) -> str:
    """Write a rational number as it is, another one with its decimal value."""
    return sstr(value) if value.is_Rational else f"{sstr(value)} = {float(value):.10g}..."


def _sentence(p: SpherePoint, unknowns: str) -> str:
    place = ", ".join(latex(u) for u in p.direction)
    slopes = ", ".join(
        rf"\sigma'(0) = {latex(t)} \text{{ for sample }} {i}" for i, t in (p.slopes or {}).items()
    )
    return f"KKT point ${unknowns} = ({place})$, $G = {latex(p.value)}$: {p.kind}" + (
        f", with ${slopes}$." if slopes else "."
    )
