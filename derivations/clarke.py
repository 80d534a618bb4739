r"""The Clarke subdifferential of a piecewise smooth function at an exact point: the hull of limiting gradients.

A formula in relu, Abs, Max and Min is smooth on each cell of an arrangement; near a point only the kinks through it
matter.  With one gradient :math:`g_s` for each activation pattern s whose cell touches the point,

.. math:: \partial F(\theta) = \operatorname{conv}\{g_s : s \text{ a sign vector of } (\nabla z_j(\theta) \cdot v)_j\},

where :math:`z_j` are the arguments that vanish (Scholtes, *Introduction to piecewise differentiable equations*, 2012,
Proposition 4.3.1).  The sum rule, term by term, gives only a larger set: patterns that no direction v realises do not count.
So :math:`|u| - |{-u}|` has the subdifferential {0}, while the sum rule gives [-2, 2]:

>>> from sympy import Abs, symbols
>>> u, = symbols("u,", real=True)
>>> clarke_vertices(relu(u) + relu(-u) - Abs(u), {u: 0}).gradients
((0,),)
>>> found = clarke_vertices(relu(u) - u / 4, {u: 0})
>>> found.gradients, found.membership().switches
(((3/4,), (-1/4,)), {u: 1/4})

Exactness needs kinks that are affine in the variables, or with linearly independent gradients; otherwise the linear signs
might not tell the cells, and the point is refused.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

from sympy import Abs, Add, Dummy, Expr, Integer, Matrix, Piecewise, Symbol, expand, sign

from derivations.activations import without_max
from derivations.exact_lp import exact_numbers, exact_sign, nonnegative_solution, sign_patterns
from derivations.functions import relu, step

__all__ = ["ClarkeSet", "Membership", "Vertex", "clarke_vertices"]


@dataclass(frozen=True)
class Vertex:
    """Gradient (P,) of the smooth piece whose kinks have the signs ``pattern``, one for each kink through the point."""

    pattern: tuple[int, ...]
    gradient: tuple[Expr, ...]


@dataclass(frozen=True)
class Membership:
    r"""Whether a vector lies in the subdifferential, with the proof.

    Parameters
    ----------
    weights : tuple of Expr or None
        Convex weights of the vertices that give the vector; None if it lies outside.
    direction : tuple of Expr or None
        If it lies outside: v with ``(g - target) . v < 0`` for every vertex g.  For target 0 all one-sided derivatives
        along v are negative, a descent direction.
    switches : dict
        For each kink argument the total weight of the patterns on its positive side: the coefficient
        :math:`t \in [0, 1]` that stands for its step.
    """

    weights: tuple[Expr, ...] | None
    direction: tuple[Expr, ...] | None
    switches: dict[Expr, Expr]

    @property
    def holds(self) -> bool:
        """Whether the vector lies in the subdifferential."""
        return self.weights is not None


@dataclass(frozen=True)
class ClarkeSet:
    """The subdifferential at a point.

    Parameters
    ----------
    variables : tuple of Symbol
        Coordinates, (P,).
    point : tuple of Expr
        Exact, (P,).
    kinks : tuple of Expr
        Arguments of relu or Abs that vanish there.
    vertices : tuple of Vertex
        One for each reachable activation pattern; gradients may repeat or lie inside the hull of others.
    """

    variables: tuple[Symbol, ...]
    point: tuple[Expr, ...]
    kinks: tuple[Expr, ...]
    vertices: tuple[Vertex, ...]

    @cached_property
    def gradients(self) -> tuple[tuple[Expr, ...], ...]:
        """The limiting gradients without repetition; one alone means differentiable at the point."""
        return tuple(dict.fromkeys(v.gradient for v in self.vertices))

    def membership(self, target: Sequence[Expr] | None = None) -> Membership:
        """Decide exactly whether ``target`` (0 by default) lies in the subdifferential.

        Raises
        ------
        ValueError
            If the target has another length or is not exact.
        """
        size = len(self.variables)
        goal = exact_numbers(target if target is not None else [0] * size, "the target")
        if len(goal) != size:
            raise ValueError(f"the target has {len(goal)} coordinates, the variables are {size}")
        rows = [[v.gradient[p] for v in self.vertices] for p in range(size)]
        rows.append([Integer(1)] * len(self.vertices))
        found = nonnegative_solution(rows, [*goal, Integer(1)])
        if found.solution is None:
            assert found.certificate is not None
            # y g + tau <= 0 and y goal + tau > 0 for (y, tau): y (g - goal) < 0.
            return Membership(None, found.certificate[:-1], {})
        return Membership(found.solution, None, self.switches(found.solution))

    def switches(self, weights: Sequence[Expr]) -> dict[Expr, Expr]:
        """Return, for each kink argument, the share of ``weights`` on its positive side; (number of vertices,)."""
        total = Add(*weights)
        return {
            kink: Add(*[c for c, v in zip(weights, self.vertices, strict=True) if v.pattern[j] > 0]) / total
            for j, kink in enumerate(self.kinks)
            if total != 0
        }


def clarke_vertices(expr: Expr, point: Mapping[Symbol, Expr | int]) -> ClarkeSet:
    r"""Return the Clarke subdifferential of ``expr`` at ``point`` by its limiting gradients.

    Parameters
    ----------
    expr : Expr
        Formula in the symbols of ``point`` with kinks relu, Abs, Max, Min; these may be nested as long as no argument
        that vanishes depends on another one that does.
    point : mapping
        Exact value of each variable; the order is that of the coordinates.

    Returns
    -------
    ClarkeSet
        All reachable patterns with their gradients.

    Raises
    ------
    ValueError
        If a value is not exact, a symbol has no value, a jump (step, sign) or Piecewise occurs, or too many cells meet.
    NotImplementedError
        If kinks through the point are neither affine nor independent, or depend on each other.
    """
    variables = tuple(point)
    values = dict(zip(variables, exact_numbers(point.values(), "the point"), strict=True))
    if not variables:
        raise ValueError("the point has no coordinates; give {symbol: exact value}")
    if missing := sorted(str(u) for u in expr.free_symbols - set(variables)):
        raise ValueError(
            f"no value for {', '.join(missing)}; the point gives {', '.join(map(str, variables))}"
        )
    if expr.has(step, sign, Piecewise):
        raise ValueError(
            f"{expr} contains a step, a sign or Piecewise; a locally Lipschitz function of relu, Abs, Max, Min is required"
        )
    smooth, switches = _resolved(without_max(expr), values)
    gradient = [expand(smooth.diff(u)).subs(values) for u in variables]
    patterns = sign_patterns(_normals(list(switches), values))
    vertices = []
    for pattern in patterns:
        on = {s: Integer(side > 0) for s, side in zip(switches.values(), pattern, strict=True)}
        vertices.append(Vertex(pattern, tuple(expand(g.subs(on)) for g in gradient)))
    return ClarkeSet(variables, tuple(values.values()), tuple(switches), tuple(vertices))


def _resolved(expr: Expr, values: Mapping[Symbol, Expr]) -> tuple[Expr, dict[Expr, Dummy]]:
    """Replace kinks, innermost first: by their branch, or by a switch in {0, 1} times the argument if it vanishes."""
    switches: dict[Expr, Dummy] = {}
    while atoms := sorted(expr.atoms(relu, Abs), key=str):
        atom = next(u for u in atoms if not u.args[0].has(relu, Abs))
        argument = atom.args[0]
        side = exact_sign(expand(argument.subs(values)))
        if side:
            branch = argument if side > 0 else (-argument if isinstance(atom, Abs) else Integer(0))
        else:
            if argument.has(*switches.values()):
                raise NotImplementedError(
                    f"the kink of {argument} depends on another kink through the same point; only kinks that are "
                    "smooth near the point are resolved"
                )
            on = switches.setdefault(argument, Dummy("s"))
            branch = (2 * on - 1) * argument if isinstance(atom, Abs) else on * argument
        expr = expr.xreplace({atom: branch})
    return expr, switches


def _normals(arguments: Sequence[Expr], values: Mapping[Symbol, Expr]) -> list[list[Expr]]:
    """Return the gradients of the kink arguments, after making sure that their signs tell the cells."""
    normals = [[expand(z.diff(u)).subs(values) for u in values] for z in arguments]
    curved = [z for z in arguments if any(z.diff(u).free_symbols & set(values) for u in values)]
    if curved and Matrix(normals).rank(iszerofunc=lambda u: exact_sign(expand(u)) == 0) < len(normals):
        raise NotImplementedError(
            f"the kinks {', '.join(map(str, arguments))} are not affine and their gradients are dependent at the point; "
            "choose a point where they are independent, or hold the outer weights fixed"
        )
    return normals
