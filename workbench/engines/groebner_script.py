"""Decompose a system with finitely many solutions by SymPy's Groebner bases; run as a file, in a process with limits.

Reads the names and equations from the file ``system`` (JSON), writes the answer in the grammar of ``workbench.engines.answers``.
It imports SymPy and nothing of ours.

The radical of a zero-dimensional ideal is the ideal with the squarefree part of one polynomial in each unknown added (Seidenberg);
in a lexicographic basis with a separating linear form as last unknown it is then in shape position.
"""

from __future__ import annotations

import itertools
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from sympy import QQ, Expr, Poly, Symbol, groebner, symbols
from sympy.polys.orderings import grevlex, lex

__all__ = ["decompose"]

FORMS = 12


def decompose(names: list[str], equations: list[dict[str, str]]) -> list[str]:
    """Return the lines of the answer."""
    unknowns = symbols(names)
    given = [
        Poly({tuple(map(int, m.split(","))): QQ(c) for m, c in f.items()}, *unknowns, domain=QQ)
        for f in equations
    ]
    basis = groebner(given, *unknowns, order="grevlex")
    if basis.exprs == [1]:
        return ["DIMENSION -1", "DEGREE 0", "END"]
    if not basis.is_zero_dimensional:
        raise SystemExit("positive dimension")
    count = len(_staircase(basis, unknowns))
    t = symbols("t")
    squarefree = []
    for u in unknowns:
        others = [v for v in unknowns if v != u]
        last = (
            basis.fglm("lex")
            if not others
            else groebner(basis.exprs, *others, u, order="grevlex").fglm("lex")
        )
        squarefree.append(Poly(last.exprs[-1], u, domain=QQ).sqf_part().as_expr())
    radical = groebner([*basis.exprs, *squarefree], *unknowns, order="grevlex")
    distinct = len(_staircase(radical, unknowns))
    for k in range(FORMS):
        form = (
            unknowns[-1 - k] if k < len(unknowns) else sum((k + j * j) * u for j, u in enumerate(unknowns, 1))
        )
        shape = groebner([*radical.exprs, t - form], *unknowns, t, order="grevlex").fglm("lex")
        minimal = Poly(shape.exprs[-1], t, domain=QQ)
        if minimal.degree() == distinct:
            return ["DIMENSION 0", f"DEGREE {count}", *_points(shape, minimal, unknowns, t), "END"]
    raise SystemExit("no separating form")


def _staircase(basis: Any, unknowns: Sequence[Symbol]) -> list[tuple[int, ...]]:
    """Return the monomials that no leading monomial divides."""
    leading = [Poly(f, *unknowns).monoms(order=grevlex)[0] for f in basis.exprs]
    tops = [min(m[j] for m in leading if sum(m) == m[j] > 0) for j in range(len(unknowns))]
    return [
        m
        for m in itertools.product(*[range(top) for top in tops])
        if not any(all(u >= v for u, v in zip(m, l, strict=True)) for l in leading)
    ]


def _points(shape: Any, minimal: Poly, unknowns: Sequence[Symbol], t: Symbol) -> list[str]:
    """Return the lines of the components, one for each irreducible factor of the minimal polynomial."""
    out = []
    for factor, _ in minimal.factor_list()[1]:
        out += [f"COMPONENT 0 {factor.degree()}", f"MINIMAL {_written(factor)}"]
        for u in unknowns:
            (row,) = (
                f
                for f in shape.exprs
                if Poly(f, *unknowns, t).monoms(order=lex)[0] == _exponents(u, unknowns)
            )
            out.append(f"COORDINATE {_written(Poly(_solved(row, u), t, domain=QQ).rem(factor))}")
    return out


def _exponents(u: Symbol, unknowns: Sequence[Symbol]) -> tuple[int, ...]:
    return (*[int(v == u) for v in unknowns], 0)


def _solved(row: Expr, u: Symbol) -> Expr:
    """Solve an equation that is linear in u, with a number as coefficient."""
    return -row.coeff(u, 0) / row.coeff(u, 1)


def _written(p: Poly) -> str:
    terms = [f"{c}*t^{k}" if k else str(c) for (k,), c in p.terms() if c]
    return "+".join(terms).replace("+-", "-") or "0"


if __name__ == "__main__":
    content = json.loads(Path("system").read_text(encoding="utf-8"))
    Path("answer").write_text(
        "\n".join(decompose(content["names"], content["equations"])) + "\n", encoding="utf-8"
    )
