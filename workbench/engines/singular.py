r"""Singular: dimension, irreducible components over the rationals, multiplicities, all by exact Groebner bases.

Decker, Greuel, Pfister, Schoenemann: Singular, a computer algebra system for polynomial computations, version 4.  Debian package
``singular-ui``; any ``Singular`` on PATH is found.  The components are those of ``minAssGTZ`` of its library ``primdec.lib``
(Gianni, Trager, Zacharias 1988).
"""

from __future__ import annotations

import re
import shutil
from collections.abc import Sequence
from dataclasses import dataclass

from sympy.polys.rings import PolyElement, PolyRing

from derivations.algebraic_points import Conjugates
from workbench.engines.answers import T_RING, Answer, read_answer, read_polynomial, written
from workbench.engines.process import EngineError, Limits, run

__all__ = ["Examined", "count", "examine", "find", "multiplicity", "solve"]

#: Linear forms tried as a number that separates the solutions of one component.
_FORMS = 12
#: Powers of an ideal that are tried until a multiplicity settles.
MOST_MULTIPLICITY = 12

_COUNT = r"""
ring R = 0, ({names}), dp;
ideal J = std(ideal({equations}));
write(":a answer", string(dim(J)) + " " + string(mult(J)));
quit;
"""

_PROGRAM = r"""
LIB "primdec.lib";
short = 0; option(redSB); system("random", 1);
ring R = 0, ({names}), dp;
ideal I = {equations};
ideal J = std(I);
write(":a answer", "DIMENSION " + string(dim(J)));
write(":a answer", "DEGREE " + string(mult(J)));
proc form(int k)
{{
  int i; int c = 1; poly f;
  if (k < {count}) {{ return(var({count} - k)); }}
  for (i = 1; i <= {count}; i++) {{ f = f + c*var(i); c = ((k - {count} + 2)*c + i) mod 17 - 5; }}
  return(f);
}}
proc points(ideal P, int D)
{{
  int k, i;
  def B = basering;
  for (k = 0; k < {forms}; k++)
  {{
    setring B;
    ring S = 0, ({names}, t), dp;
    ideal Q = std(imap(B, P) + ideal(t - form(k)));
    ring L = 0, ({names}, t), lp;
    ideal Q = fglm(S, Q);
    if (leadexp(Q[1])[{count} + 1] == D)
    {{
      write(":a answer", "MINIMAL " + string(Q[1]));
      for (i = 1; i <= {count}; i++) {{ write(":a answer", "COORDINATE " + string(reduce(var(i), Q))); }}
      return();
    }}
    setring B; kill S; kill L;
  }}
}}
proc component(ideal P)
{{
  int j;
  write(":a answer", "COMPONENT " + string(dim(P)) + " " + string(mult(P)));
  if (dim(P) > 0) {{ for (j = 1; j <= size(P); j++) {{ write(":a answer", "GENERATOR " + string(P[j])); }} }}
  else {{ points(P, mult(P)); }}
}}
proc split(ideal J)
{{
  int a, b; list A;
  def B = basering;
  ring S = 0, ({names}, t), dp;
  ideal Q = std(imap(B, J) + ideal(t - form({count})));
  ring L = 0, ({names}, t), lp;
  ideal Q = fglm(S, Q);
  list F = factorize(Q[1], 1);
  setring S;
  list F = imap(L, F);
  for (a = 1; a <= size(F[1]); a++)
  {{
    ideal P = std(Q + ideal(F[1][a]));
    if (vdim(P) == deg(F[1][a])) {{ A = list(P); }} else {{ A = minAssGTZ(P); }}
    for (b = 1; b <= size(A); b++)
    {{
      ideal E = eliminate(A[b], t);
      setring B; ideal E = std(imap(S, E)); component(E); kill E;
      setring S; kill E;
    }}
    kill P;
  }}
}}
if (dim(J) == 0) {{ split(J); }}
if (dim(J) > 0)
{{
  list A = minAssGTZ(J); int a;
  for (a = 1; a <= size(A); a++) {{ component(std(A[a])); }}
}}
write(":a answer", "END");
quit;
"""


_EXAMINE = r"""
short = 0; option(redSB);
ring R = 0, ({order}), dp;
ideal P = std(ideal({equations}));
poly risk = {risk};
intvec u = indepSet(P);
write(":a answer", "FREE " + string(u));
int j, k; poly others; ideal E;
for (j = 1; j <= nvars(R); j++)
{{
  if (u[j] == 0)
  {{
    others = 1;
    for (k = 1; k <= nvars(R); k++) {{ if (k != j and u[k] == 0) {{ others = others*var(k); }} }}
    if (others == 1) {{ E = P; }} else {{ E = eliminate(P, others); }}
    for (k = 1; k <= size(E); k++) {{ write(":a answer", "RELATION " + string(j) + " " + string(E[k])); }}
  }}
}}
poly rest = reduce(risk, P);
ring S = 0, ({names}, t), dp;
if (deg(imap(R, rest)) <= 0) {{ write(":a answer", "VALUE " + string(t - imap(R, rest))); }}
else
{{
  ideal V = eliminate(imap(R, P) + ideal(t - imap(R, rest)), {product});
  write(":a answer", "VALUE " + string(V[1]));
}}
write(":a answer", "END");
quit;
"""

_MULTIPLICITY = r"""
ring S = 0, ({names}, t), dp;
ideal Q = {prime};
ideal E = eliminate(Q, t);
ring R = 0, ({names}), dp;
ideal I = {equations};
ideal E = imap(S, E);
ideal power = E; int before = -1; int now = vdim(std(I + power)); int k;
for (k = 2; k <= {most} and now != before; k++) {{ before = now; power = std(power*E); now = vdim(std(I + power)); }}
if (now == before) {{ write(":a answer", string(now)); }}
quit;
"""


def find() -> str | None:
    """Return the path of Singular, or None."""
    return shutil.which("Singular")


def count(equations: Sequence[PolyElement], limits: Limits) -> tuple[int, int]:
    """Return dimension and degree of the solution set over the complex numbers, by a Groebner basis over the rationals.

    For dimension 0 the degree is the number of solutions with their multiplicities; dimension -1 says that there are none.
    """
    answer = _run(_COUNT, equations, limits).split()
    if len(answer) != 2 or not all(re.fullmatch(r"-1|[0-9]{1,9}", u) for u in answer):
        raise EngineError(f"Singular left {' '.join(answer)[:80]!r} where two numbers are expected")
    return int(answer[0]), int(answer[1])


def solve(equations: Sequence[PolyElement], limits: Limits) -> Answer:
    """Return the irreducible components of a system over the rationals.

    Raises
    ------
    OutOfTime
        If the limits are reached.
    EngineError
        If Singular is not there or its answer is refused.
    """
    return read_answer(_run(_PROGRAM, equations, limits), _ring(equations), "Singular")


def _ring(equations: Sequence[PolyElement]) -> PolyRing:
    """Return the ring under the names given to Singular."""
    ring = equations[0].ring
    return ring.clone(symbols=[f"v{j + 1}" for j in range(ring.ngens)])


def _run(program: str, equations: Sequence[PolyElement], limits: Limits, **more: object) -> str:
    path = find()
    if path is None:
        raise EngineError("Singular was not found; on Debian and Ubuntu: apt-get install singular-ui")
    names = [str(u) for u in _ring(equations).symbols]
    text = ", ".join(written(u, names) for u in equations)
    filled = program.format(names=",".join(names), equations=text, count=len(names), forms=_FORMS, **more)
    finished = run([path, "-q", "--no-rc", "--no-tty", "program"], {"program": filled}, limits)
    if "? " in finished.output:
        raise EngineError(f"Singular reports an error: {finished.output.strip()[:200]!a}")
    return finished.answer


@dataclass(frozen=True)
class Examined:
    """What a component of positive dimension is like.

    Parameters
    ----------
    free : tuple of int
        Numbers of unknowns that are independent on it, as many as its dimension.
    relations : tuple of (int, polynomial)
        For each other unknown what it satisfies over the free ones; several lines where that is no single equation.
    value : polynomial in t
        Irreducible; the values of the risk on the component are roots of it.
    """

    free: tuple[int, ...]
    relations: tuple[tuple[int, PolyElement], ...]
    value: PolyElement


def examine(
    generators: Sequence[PolyElement], risk: PolyElement, limits: Limits, *, backwards: bool = True
) -> Examined:
    """Return free unknowns, relations and the values of the risk on a component given by its prime ideal.

    The first unknowns are solved for where possible and the last ones stay free; with ``backwards`` false the other way round.
    """
    ring = _ring(generators)
    names = [str(u) for u in ring.symbols]
    content, whole = risk.clear_denoms()
    text = f"({written(whole, names)})/{int(content)}"
    order = list(reversed(names)) if backwards else names
    more = {"risk": text, "product": "*".join(names), "order": ",".join(order)}
    answer = _run(_EXAMINE, generators, limits, **more)
    lines = [line.split(maxsplit=1) for line in answer.splitlines() if line.strip()]
    try:
        if [line[0] for line in lines if line[0] != "RELATION"] != ["FREE", "VALUE", "END"]:
            raise ValueError
        flags = [int(u) for u in lines[0][1].split(",")]
        relations = []
        for _, rest in lines[1:-2]:
            number, polynomial = rest.split(maxsplit=1)
            relations.append(
                (names.index(order[int(number) - 1]), read_polynomial(polynomial.replace(" ", ""), ring))
            )
        value = read_polynomial(lines[-2][1].replace(" ", ""), T_RING if "v" not in lines[-2][1] else ring)
        if len(flags) != ring.ngens or value.ring is not T_RING or value.degree() < 1:
            raise ValueError
    except (ValueError, IndexError):
        raise EngineError(
            f"Singular left {answer[:80]!r} where a description of a component is expected"
        ) from None
    given = generators[0].ring
    moved = tuple((j, given.from_dict(dict(f))) for j, f in relations)
    free = sorted(names.index(name) for name, flag in zip(order, flags, strict=True) if flag)
    return Examined(tuple(free), moved, value)


def multiplicity(equations: Sequence[PolyElement], family: Conjugates, limits: Limits) -> int | None:
    """Return how often the isolated solutions of a family count; None where that does not settle."""
    names = [str(u) for u in _ring(equations).symbols]
    prime = [_in_t(family.minimal)]
    prime += [f"{name}-({_in_t(g)})" for name, g in zip(names, family.coordinates, strict=True)]
    answer = _run(_MULTIPLICITY, equations, limits, prime=", ".join(prime), most=MOST_MULTIPLICITY).strip()
    if not answer:
        return None
    if not re.fullmatch("[0-9]{1,9}", answer) or int(answer) % family.degree:
        raise EngineError(f"Singular left {answer[:80]!r} where a multiple of {family.degree} is expected")
    return int(answer) // family.degree


def _in_t(polynomial: PolyElement) -> str:
    """Write a polynomial in t with rational coefficients."""
    return "+".join(f"({c.numerator}/{c.denominator})*t^{k}" for (k,), c in polynomial.terms()) or "0"
