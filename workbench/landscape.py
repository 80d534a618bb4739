r"""The landscape of a study: critical points of all widths, how they are embedded and how the flow connects them.

``Landscape.graph`` is a NetworkX ``MultiDiGraph`` whose nodes are the entries (keys: ids such as ``m2.3``) and whose edges
are keyed ``splitting``, ``null`` and ``descent``.  Descents lower the risk, so they form no cycle; embeddings keep it.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import networkx as nx

from workbench.atomic import replacing
from workbench.results import Channel, CriticalPoint, Edge, EmbeddingCheck, WidthSearch

__all__ = ["Landscape"]

SCHEMA = 1


@dataclass(frozen=True)
class Landscape:
    """Records of an exploration, as a graph, as JSON and as a drawing.

    Attributes
    ----------
    study, seed : str, int
        What was explored.
    points, edges, channels, checks, searches : tuples of records
        See ``workbench.results``.
    connected : bool
        Whether embeddings and descents were looked for; False for the critical points of one width.
    seconds : float
        Run time.
    """

    study: str
    seed: int
    points: tuple[CriticalPoint, ...]
    edges: tuple[Edge, ...]
    channels: tuple[Channel, ...]
    checks: tuple[EmbeddingCheck, ...]
    searches: tuple[WidthSearch, ...]
    connected: bool = True
    seconds: float = 0.0

    def __getitem__(self, name: str) -> CriticalPoint:
        """Return the entry with an id such as ``m2.3``."""
        for point in self.points:
            if point.id == name:
                return point
        raise KeyError(f"no critical point '{name}'; there are {', '.join(p.id for p in self.points)}")

    @cached_property
    def graph(self) -> nx.MultiDiGraph:
        """The graph; node and edge attributes are the fields of the records, channels are nodes of kind ``infinity``."""
        graph = nx.MultiDiGraph(study=self.study, seed=self.seed)
        for point in self.points:
            graph.add_node(point.id, **point.to_dict())
        for edge in self.edges:
            graph.add_edge(edge.source, edge.target, kind=edge.kind, **edge.details)
        for channel in self.channels:
            kind = "infinity" if channel.reason == "infinity" else "unresolved"
            graph.add_node(channel.id, id=channel.id, width=channel.width, value=channel.value, kind=kind)
            details = {
                name: value for name, value in vars(channel).items() if name not in ("id", "source", "width")
            }
            graph.add_edge(channel.source, channel.id, kind="descent", **details)
        return graph

    def descents_form_no_cycle(self) -> bool:
        """Whether the descents, taken alone, are acyclic, as strictly decreasing risk demands."""
        descents = nx.DiGraph([(e.source, e.target) for e in self.edges if e.kind == "descent"])
        return nx.is_directed_acyclic_graph(descents)

    def write_graphml(self, path: str | Path) -> None:
        """Write the graph as GraphML, whole or not at all; lists and tables become JSON text, None is left out."""
        flat = nx.MultiDiGraph()
        for name, content in self.graph.nodes(data=True):
            flat.add_node(name, **_flat(content))
        for source, target, content in self.graph.edges(data=True):
            flat.add_edge(source, target, **_flat(content))
        with replacing(Path(path)) as draft:
            nx.write_graphml(flat, draft)

    def plot(self, ax: Any = None) -> Any:
        """Draw the graph in layers, width to the right and risk upwards; return the figure, or ``ax`` if given."""
        from workbench.plots import draw_graph

        return draw_graph(self.points, self.edges, self.channels, ax=ax)

    def plot_spectra(self, ax: Any = None) -> Any:
        """Draw the Hessian spectra of all entries; return the figure, or ``ax`` if given."""
        from workbench.plots import draw_spectra

        return draw_spectra(self.points, ax=ax)

    def to_dict(self) -> dict[str, Any]:
        """Return the JSON of schema 1."""
        return {
            "schema": SCHEMA,
            "study": self.study,
            "seed": self.seed,
            "critical_points": [point.to_dict() for point in self.points],
            "edges": [edge.to_dict() for edge in self.edges],
            "channels": [channel.to_dict() for channel in self.channels],
            "embedding_checks": [check.to_dict() for check in self.checks],
            "searches": [search.to_dict() for search in self.searches],
            "runs_to_infinity": sum(search.runs_to_infinity for search in self.searches),
            "unconverged": sum(search.unconverged for search in self.searches),
            "completeness": {
                "status": "UNDECIDED",
                "method": "multi-start search; no bound on the number of critical points is known here",
                "expected": None,
                "found": sum(point.width > 0 for point in self.points),
            },
        }

    def _repr_html_(self) -> str:
        head = "".join(
            f"<th>{name}</th>" for name in ("id", "stratum", "R", "inertia (−, 0, +)", "kind", "found")
        )
        rows = "".join(
            f"<tr><td>{p.id}</td><td>{p.stratum}</td><td>{p.value:.10g}</td><td>({p.inertia.negative}, "
            f"{p.inertia.zero}, {p.inertia.positive})</td><td>{p.kind}</td><td>{p.found}</td></tr>"
            for p in self.points
        )
        return f"<table><caption>{self.study}: critical points</caption><tr>{head}</tr>{rows}</table>"

    def _repr_latex_(self) -> str:
        rows = [
            rf"\text{{{p.id}}} & {p.value:.6g} & ({p.inertia.negative}, {p.inertia.zero}, {p.inertia.positive})"
            for p in self.points
        ]
        body = r" \\ ".join([r"\text{point} & R & (n_-, n_0, n_+)", *rows])
        return rf"$\displaystyle \begin{{array}}{{lll}} {body} \end{{array}}$"


def _flat(content: Mapping[str, Any]) -> dict[str, Any]:
    return {
        name: value if isinstance(value, str | int | float | bool) else json.dumps(value)
        for name, value in content.items()
        if value is not None
    }
