"""Analysis workbench for the loss landscapes of neural networks.

>>> import workbench as wb
>>> "five-points" in wb.shipped_studies()
True
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from derivations.problem import Problem as Problem
    from derivations.teacher import Teacher as Teacher
    from workbench.analysis import Analysis as Analysis
    from workbench.study import Study as Study
    from workbench.study import load as load
    from workbench.study import shipped_studies as shipped_studies
    from workbench.study import study_from_mapping as study_from_mapping

__all__ = ["Analysis", "Problem", "Study", "Teacher", "load", "shipped_studies", "study_from_mapping"]

# Loaded on first use, so that `workbench --help` does not wait for SymPy and PyTorch.
_HOMES = {
    "Analysis": "workbench.analysis",
    "Problem": "derivations.problem",
    "Study": "workbench.study",
    "Teacher": "derivations.teacher",
    "load": "workbench.study",
    "shipped_studies": "workbench.study",
    "study_from_mapping": "workbench.study",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'workbench' has no attribute '{name}'; it has {', '.join(__all__)}")
    return getattr(import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    return sorted(__all__)
