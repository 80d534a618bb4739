"""What a measurement is given, and what it returns."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from derivations.theorem import Finding
from workbench.progress import Progress, Silent

__all__ = ["Bench", "Measured", "Picture"]


@dataclass(frozen=True)
class Bench:
    """Where and how is measured."""

    device: str = "cpu"
    dtype: str = "float64"
    seed: int = 0
    progress: Progress = field(default_factory=Silent)


@dataclass(frozen=True)
class Picture:
    """A figure of a result: a name for its file, a caption in LaTeX, and what draws it."""

    name: str
    caption: str
    draw: Callable[[], Any]


@dataclass(frozen=True)
class Measured:
    """Findings by the label of the claim, the graph that the result yields (a NetworkX graph) and the figures."""

    findings: Mapping[str, Finding] = field(default_factory=dict)
    graph: Any = None
    pictures: tuple[Picture, ...] = ()
