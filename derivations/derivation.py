r"""A derived set of equations with its definitions and conventions, and its three forms: SymPy, LaTeX, plain text.

>>> from sympy import symbols
>>> u, v = symbols("u v")
>>> d = Derivation("example", "An example", (Equation(u, v**2),), where=(Equation(v, 1 - u),))
>>> print(d.text())
An example
    u = v**2
  where
    v = 1 - u
>>> d.equations
(Eq(u, v**2),)
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from sympy import Eq, Expr

from derivations.indexed import Tensor
from derivations.latex import latex_pair
from derivations.latex_lines import TEXT_WIDTH, Row, display
from derivations.plain import plain

__all__ = ["Derivation", "Equation"]


@dataclass(frozen=True)
class Equation:
    r"""``lhs = rhs``; ``condition`` is LaTeX such as ``k = 1, \\dots, m``, ``when`` plain text; both may be empty."""

    lhs: Expr
    rhs: Expr
    condition: str = ""
    when: str = ""

    @property
    def sympy(self) -> Eq:
        """The unevaluated SymPy equation."""
        return Eq(self.lhs, self.rhs, evaluate=False)


@dataclass(frozen=True)
class Derivation:
    """Equations derived from a problem.

    Parameters
    ----------
    name : str
        What was asked for, ``gradient-flow``.
    title : str
        Heading, plain text.
    system : tuple of Equation
        The result.
    where : tuple of Equation
        Definitions of what occurs in it, in the order they are computed.
    notes : tuple of str
        Conventions as LaTeX sentences.
    hide : tuple of str
        Dimensions whose indices disappear in print.
    names : mapping
        Index names by dimension that differ from the usual ones.
    derived_from : object
        The problem they were derived from, where that is known.
    """

    name: str
    title: str
    system: tuple[Equation, ...]
    where: tuple[Equation, ...] = ()
    notes: tuple[str, ...] = ()
    hide: tuple[str, ...] = ("d",)
    names: Mapping[str, Sequence[str]] = field(default_factory=dict)
    derived_from: Any = field(default=None, compare=False, repr=False)

    @property
    def equations(self) -> tuple[Eq, ...]:
        """The equations as SymPy objects, unevaluated ``Eq``."""
        return tuple(equation.sympy for equation in self.system)

    def rows(self, equations: Sequence[Equation]) -> list[Row]:
        """Return both sides of each equation as LaTeX."""
        everything = (*self.system, *self.where)
        deltas = any(
            t.tex.startswith(r"\delta")
            for e in everything
            for side in (e.lhs, e.rhs)
            for t in side.atoms(Tensor)
        )
        out = []
        for equation in equations:
            left, right = latex_pair(
                equation.lhs, equation.rhs, hide=self.hide, names=self.names, indicator=deltas
            )
            out.append(Row(left, right, equation.condition))
        return out

    def latex(self, width: float = TEXT_WIDTH) -> str:
        """Return the ``align`` of the equations and, after the word where, that of the definitions."""
        main = display(self.rows(self.system), width=width, end="," if self.where else ".")
        return main + (f"\nwhere\n{self.latex_where(width)}" if self.where else "")

    def latex_where(self, width: float = TEXT_WIDTH) -> str:
        """Return the ``align`` of the definitions alone, empty if there are none."""
        return display(self.rows(self.where), width=width) if self.where else ""

    def text(self) -> str:
        """Return the plain text: title, equations, definitions."""
        out = [self.title, *self._plain(self.system)]
        return "\n".join([*out, "  where", *self._plain(self.where)] if self.where else out)

    def _plain(self, equations: Sequence[Equation]) -> list[str]:
        return [
            f"    {self._text(e, e.lhs)} = {self._text(e, e.rhs)}" + (f"  {e.when}" if e.when else "")
            for e in equations
        ]

    def _text(self, equation: Equation, side: Expr) -> str:
        other = equation.rhs if side is equation.lhs else equation.lhs
        return plain(side, beside=other, names=self.names)

    def __str__(self) -> str:
        return self.text()

    def _repr_latex_(self) -> str:
        """Jupyter and marimo render one block; definitions follow in the same alignment."""
        rows = [*self.rows(self.system), *self.rows(self.where)]
        body = display(rows).replace("{align}", "{aligned}").replace(r" \notag", "")
        return f"$$\n{body}\n$$"

    def to_dict(self) -> dict[str, Any]:
        """Return the JSON form."""

        def listed(equations: Sequence[Equation]) -> list[dict[str, str]]:
            return [
                {
                    "lhs": self._text(equation, equation.lhs),
                    "rhs": self._text(equation, equation.rhs),
                    "latex": f"{row.left} = {row.tex}",
                    "text": self._plain([equation])[0].strip(),
                    **({"condition": equation.condition} if equation.condition else {}),
                }
                for equation, row in zip(equations, self.rows(equations), strict=True)
            ]

        return {
            "name": self.name,
            "title": self.title,
            "equations": listed(self.system),
            "where": listed(self.where),
            "notes": list(self.notes),
            "latex": self.latex(),
        }
