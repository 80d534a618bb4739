"""SymPy's Groebner bases as an engine: always there, in a process with limits, for small systems with finitely many solutions."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from pathlib import Path

from sympy.polys.rings import PolyElement

from workbench.engines.answers import Answer, read_answer
from workbench.engines.process import EngineError, Limits, OutOfTime, run

__all__ = ["solve"]

_SCRIPT = Path(__file__).with_name("groebner_script.py")


def solve(equations: Sequence[PolyElement], limits: Limits) -> Answer:
    """Return the irreducible components of a system with finitely many solutions over the complex numbers.

    Raises
    ------
    OutOfTime
        If the limits are reached.
    EngineError
        If there are infinitely many solutions.
    """
    ring = equations[0].ring
    names = [f"v{j + 1}" for j in range(ring.ngens)]
    rows = [{",".join(map(str, m)): str(c) for m, c in f.clear_denoms()[1].terms()} for f in equations]
    system = json.dumps({"names": names, "equations": rows})
    try:
        finished = run([sys.executable, "-I", str(_SCRIPT)], {"system": system}, limits)
    except OutOfTime:
        raise
    except EngineError as error:
        if "positive dimension" in str(error):
            raise EngineError(
                "there are infinitely many critical points over the complex numbers, which SymPy does not decompose; Singular "
                "does: on Debian and Ubuntu, apt-get install singular-ui"
            ) from None
        raise
    return read_answer(finished.answer, ring.clone(symbols=names), "SymPy")
