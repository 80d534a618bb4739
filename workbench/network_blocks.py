"""Sections of a report that a study asks for by name and that belong to the network alone: activation and kernels.

>>> from derivations.problem import Problem
>>> [block.title for block in network_blocks(Problem.two_layer("relu"), ("problem", "kernels"))["kernels"]]
['']
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from derivations.activation_table import ActivationTable
from derivations.errors import AssumptionError
from derivations.wide_network import KernelDerivation
from workbench.derive import derive
from workbench.errors import NotThere
from workbench.report_content import MORE_SECTIONS, Block
from workbench.tex import Tex

__all__ = ["network_blocks"]

SOURCES = r"~\cite{neal1996, lee2018, jacot2018}"


def network_blocks(problem: Any, sections: Sequence[str]) -> dict[str, Sequence[Block]]:
    """Return the paragraphs of those of ``sections`` that are in ``MORE_SECTIONS``; what does not exist is said with its reason."""
    return {name: [_block(problem, name)] for name in sections if name in MORE_SECTIONS}


def _block(problem: Any, name: str) -> Block:
    try:
        found = derive(problem, name)
    except (NotThere, AssumptionError) as reason:
        return Block("", f"Nothing is derived here: {reason}.")
    if isinstance(found, ActivationTable):
        formula = found["formula"].latex
        text = rf"For the activation ${formula}$ the following is derived, each line with its status."
        return Block("", Tex(text), Tex(found.latex()))
    assert isinstance(found, KernelDerivation)
    return Block("", Tex(" ".join(found.notes) + f" See{SOURCES}."), Tex(found.latex_equations()))
