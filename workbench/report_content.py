"""What a report is made from: plain records and LaTeX already derived; nothing here computes or draws.

>>> ReportContent("Two neurons", "two", "schema = 1", sections=("problem", "grap"))
Traceback (most recent call last):
    ...
ValueError: sections: found 'grap'; accepted: problem, gradient_flow, ..., verification
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from derivations.claim import Claim, Status
from workbench.measurements.measured import Picture
from workbench.results import Channel, CriticalPoint, Edge, EmbeddingCheck, WidthSearch
from workbench.tex import Tex

__all__ = ["MORE_SECTIONS", "RESULT_SECTIONS", "SECTIONS", "Block", "DataSummary", "ReportContent", "plain"]

SECTIONS: dict[str, str] = {
    "problem": "The problem",
    "gradient_flow": "Gradient flow",
    "symmetries": "Symmetries and conserved quantities",
    "critical_points": "Critical points",
    "embedding": "Embeddings of narrower networks",
    "graph": "The graph of the landscape",
    "verification": "Verification",
}
#: Sections that a report has where the study asks for them.
MORE_SECTIONS: dict[str, str] = {
    "activation": "The activation",
    "kernels": "Kernels of wide networks",
}
#: Sections of the report of a result of the library.
RESULT_SECTIONS: dict[str, str] = {
    "result": "The result",
    "assumptions": "Assumptions",
    "proofs": "Claims and their derivations",
    "pictures": "Figures",
}


@dataclass(frozen=True)
class Block:
    r"""A paragraph and a display: one step of a section.

    Attributes
    ----------
    title : str
        Heading as plain text; empty for none.
    text : str
        Sentences; escaped unless it is ``Tex``.
    display : Tex
        Whole environments such as ``\begin{align} ... \end{align}``; empty for none.
    """

    title: str
    text: str = Tex()
    display: Tex = Tex()  # noqa: RUF009 - an immutable string

    def __post_init__(self) -> None:
        if self.display and not isinstance(self.display, Tex):
            raise TypeError(f"block {self.title!r}: display is LaTeX, mark it so: Tex(...), not str")


@dataclass(frozen=True)
class DataSummary:
    """Sizes of the data (numbers, or names of symbols), where they come from and their SHA-256.

    ``population`` is a sentence about inputs that are no samples; it stands in place of the sizes.
    """

    samples: int | str
    inputs: int | str
    outputs: int | str
    source: str
    sha256: str = ""
    population: Tex = Tex()  # noqa: RUF009 - an immutable string


@dataclass(frozen=True)
class ReportContent:
    """Everything a report says; the texts between the tables are generated from these records.

    Attributes
    ----------
    title, study_name, study_toml : str
        Plain text; the study file is listed at the end.
    data_summary : DataSummary or None
        None: the data are symbolic.
    sections : tuple of str
        Which sections, in this order.
    derivations : mapping
        Section -> its blocks.
    points, edges, channels, searches, checks, claims : sequences of records
        Tables and figures are made from them; an empty sequence says that there are none.
    landscape_json : mapping
        The JSON of the landscape, written out as it is; its ``completeness`` is put into words.
    provenance : mapping of str to object
        Versions, device, dtype, seed, run time; in this order.
    references : sequence of str
        Bibliography keys used besides those in claims and blocks.
    warnings : sequence of str
        Plain sentences, shown on the first page.
    pictures : sequence of Picture
        Figures of a result: name, caption in LaTeX, and what draws it.

    Raises
    ------
    ValueError
        If a section, or the section of a derivation, is unknown or repeated.
    """

    title: str
    study_name: str
    study_toml: str
    data_summary: DataSummary | None = None
    sections: Sequence[str] = tuple(SECTIONS)
    derivations: Mapping[str, Sequence[Block]] = field(default_factory=dict)
    points: Sequence[CriticalPoint] = ()
    edges: Sequence[Edge] = ()
    channels: Sequence[Channel] = ()
    searches: Sequence[WidthSearch] = ()
    checks: Sequence[EmbeddingCheck] = ()
    claims: Sequence[Claim] = ()
    landscape_json: Mapping[str, Any] = field(default_factory=dict)
    provenance: Mapping[str, Any] = field(default_factory=dict)
    references: Sequence[str] = ()
    warnings: Sequence[str] = ()
    pictures: Sequence[Picture] = ()

    def __post_init__(self) -> None:
        for name in [*self.sections, *self.derivations]:
            if name not in SECTIONS | MORE_SECTIONS | RESULT_SECTIONS:
                known = list(SECTIONS)
                accepted = f"{known[0]}, {known[1]}, ..., {known[-1]}"
                raise ValueError(f"sections: found {name!r}; accepted: {accepted}")
        if len(set(self.sections)) < len(self.sections):
            raise ValueError(f"sections: found one of them twice in {list(self.sections)}; name each once")

    @property
    def refuted(self) -> bool:
        """Whether a claim is refuted."""
        return any(claim.status is Status.REFUTED for claim in self.claims)

    def to_dict(self) -> dict[str, Any]:
        """Return the JSON beside the report: every number that its tables and figures show, and those left out."""
        return {
            "schema": 1,
            "study": self.study_name,
            "title": self.title,
            "data": vars(self.data_summary) if self.data_summary else None,
            "landscape": plain(self.landscape_json),
            "searches": plain([search.to_dict() for search in self.searches]),
            "critical_points": plain([point.to_dict() for point in self.points]),
            "edges": plain([edge.to_dict() for edge in self.edges]),
            "channels": plain([channel.to_dict() for channel in self.channels]),
            "embedding_checks": plain([check.to_dict() for check in self.checks]),
            "claims": plain([claim.to_dict() for claim in self.claims]),
            "provenance": plain(self.provenance),
            "warnings": list(self.warnings),
        }


def plain(value: Any) -> Any:
    """Make a value JSON: numbers that are not finite, and everything unknown to JSON, become text.

    >>> plain({"a": (1, float("inf")), 2: None})
    {'a': [1, 'inf'], '2': None}
    """
    if isinstance(value, Mapping):
        return {str(key): plain(entry) for key, entry in value.items()}
    if isinstance(value, list | tuple):
        return [plain(entry) for entry in value]
    if isinstance(value, float):
        return float(value) if math.isfinite(value) else str(value)
    if value is None or isinstance(value, bool | int | str):
        return value
    return str(value)
