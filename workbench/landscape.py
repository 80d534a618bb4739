r"""The landscape of a study: critical points of all widths, how they are embedded and how the flow connects them.

``Landscape.graph`` is a NetworkX ``MultiDiGraph`` whose nodes are the entries (keys: ids such as ``m2.3``) and whose edges
are of kind ``splitting``, ``null`` and ``descent``, and ``contains`` and ``symmetry`` within a width (``workbench.incidences``).  Descents lower
the risk, so they form no cycle; the others keep it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import networkx as nx

from derivations.critical_sets import CriticalSets
from derivations.html_table import html_table
from workbench.channel_ends import ends_of
from workbench.descent_records import Barrier, judged_barriers
from workbench.errors import Refusal
from workbench.exact_sets import sets_content
from workbench.graph_files import write_graph
from workbench.graph_queries import Answer, ask, embedding_order, leaves, merges
from workbench.options import DRAWINGS
from workbench.results import Channel, CriticalPoint, Edge, EmbeddingCheck, WidthSearch

if TYPE_CHECKING:
    from workbench.completeness import Completeness
    from workbench.exact import ExactAnswer
    from workbench.exact_cells import CellAnswer
    from workbench.exhaustive import Exhausted
    from workbench.manifolds import CriticalManifold
    from workbench.slices import Surface

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
    derived_from : object
        The analysis that explored it, with its study and problem.
    exact_sets : tuple of CriticalSets
        Exact classifications that stand for the search, one for each width; empty where points were searched.
    not_told_apart : tuple of (str, str)
        Pairs of certified isolated points that are not shown to be different up to symmetry.
    exact : ExactAnswer, CellAnswer or None
        The exact solution of a polynomial problem, where the points come from one.
    not_exact : str
        Why a polynomial problem was searched and not solved exactly; empty where it is none, or was.
    exhausted : mapping
        What branch and prune has shown, by width, where it was tried.
    completeness : Completeness or None
        What is known of the completeness of the list.
    strings : tuple of Barrier
        What strings between the lowest minima of each width have found; ``barriers`` puts it together with the descents.
    strata : tuple of mappings
        For every irreducible point and wider width: its strata, listed and missing, and how many labelled pieces they have.
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
    derived_from: Any = field(default=None, compare=False, repr=False)
    exact_sets: tuple[CriticalSets, ...] = ()
    not_told_apart: tuple[tuple[str, str], ...] = ()
    exact: ExactAnswer | CellAnswer | None = None
    not_exact: str = ""
    exhausted: Mapping[int, Exhausted] = field(default_factory=dict)
    completeness: Completeness | None = None
    strata: tuple[Mapping[str, Any], ...] = ()
    strings: tuple[Barrier, ...] = ()

    def __getitem__(self, name: str) -> CriticalPoint:
        """Return the entry with an id such as ``m2.3``."""
        for point in self.points:
            if point.id == name:
                return point
        raise KeyError(f"no critical point '{name}'; there are {', '.join(p.id for p in self.points)}")

    def manifold(self, name: str) -> CriticalManifold:
        """Return the critical manifold of an entry as an object, with equations, cells, ``sample`` and ``check``.

        Raises
        ------
        KeyError
            If there is no such entry.
        Refusal
            If it has no manifold of its own: a constant network, an entry that is one of a continuum, or another kind of model.
        """
        from workbench.incidences import manifold_at

        return manifold_at(self, name)

    @cached_property
    def graph(self) -> nx.MultiDiGraph:
        """The graph; node and edge attributes are the fields of the records.

        Descents that meet no critical point end in nodes of kind ``infinity`` or ``unresolved``, one for all of a width that level off
        at the same risk; see ``workbench.channel_ends``.
        """
        graph = nx.MultiDiGraph(study=self.study, seed=self.seed)
        graph.graph["strings"] = [
            {"width": b.width, "first": b.first, "second": b.second, "value": b.string} for b in self.strings
        ]
        for point in self.points:
            graph.add_node(
                point.id, **point.to_dict(), kinds=(point.manifold or {}).get("kinds", [point.kind])
            )
        for edge in self.edges:
            graph.add_edge(edge.source, edge.target, kind=edge.kind, **edge.details)
        for end in ends_of(self.channels):
            graph.add_node(end.id, id=end.id, width=end.width, value=end.value, kind=end.kind)
            for channel in end.channels:
                details = {
                    name: value
                    for name, value in vars(channel).items()
                    if name not in ("id", "source", "width")
                }
                graph.add_edge(channel.source, end.id, kind="descent", **details)
        return graph

    @cached_property
    def barriers(self) -> tuple[Barrier, ...]:
        """The lowest upper bounds known of the barriers between the lowest minima of each width."""
        joined = {width: merges(self.graph, width) for width in {b.width for b in self.strings}}
        return tuple(judged_barriers(self.strings, joined, {point.id: point for point in self.points}))

    def ask(self, question: str) -> Answer:
        """Answer a question about the graph, such as ``escapes`` or ``descents-into:m2.1``; see ``workbench.graph_queries``.

        Raises
        ------
        Refusal
            If there is no such question, or no such point.
        """
        return ask(self.graph, question)

    def write_graph(self, path: str | Path) -> None:
        """Write the graph in the format of the suffix; see ``workbench.graph_files``."""
        write_graph(self.graph, path)

    def descents_form_no_cycle(self) -> bool:
        """Whether the descents, taken alone, are acyclic, as strictly decreasing risk demands."""
        descents = nx.DiGraph([(e.source, e.target) for e in self.edges if e.kind == "descent"])
        return nx.is_directed_acyclic_graph(descents)

    def plot(self, ax: Any = None) -> Any:
        """Draw the graph in layers, width to the right and risk upwards; return the figure, or ``ax`` if given."""
        from workbench.plots import draw_graph

        return draw_graph(self.points, self.edges, self.channels, ax=ax)

    def plot_spectra(self, ax: Any = None) -> Any:
        """Draw the Hessian spectra of all entries; return the figure, or ``ax`` if given."""
        from workbench.plots import draw_spectra

        return draw_spectra(self.points, ax=ax)

    def slice(self, coordinates: tuple[str, str] | None = None, points: Sequence[str] = ()) -> Surface:
        """Return the risk on a plane, with the points on it; it has ``plot``.

        Parameters
        ----------
        coordinates : pair of str, optional
            Two coordinates such as ``a1`` and ``w1``, at the lowest point or the one of ``points``.
        points : sequence of str
            Without coordinates: two or three ids, through which the plane goes.

        Raises
        ------
        Refusal
            If a coordinate or a point is not there, or they span no plane.
        """
        from workbench.slices import slice_through, slice_with

        listed = [point for point in self.points if point.width]
        if not listed:
            raise Refusal("no critical point", "a study with at least one")
        last = max(point.width for point in listed)
        width = next((point.width for point in listed if point.id in points), last)
        same = [point for point in listed if point.width == width]
        system = self.derived_from.compile(width if self._two_layer else None)
        if coordinates is None:
            return slice_through(system, same, points)
        if len(points) > 1:
            raise Refusal(f"two coordinates and {len(points)} points", "two coordinates at one point")
        return slice_with(system, same, coordinates, points[0] if points else None)

    @property
    def _two_layer(self) -> bool:
        return bool(getattr(self.derived_from.study.model, "kind", "") == "two_layer")

    def drawn_as(self, drawing: str) -> Any:
        """Return something with ``plot``: the graph in ``layers``, as ``hasse`` diagram, or as ``disconnectivity`` graph.

        Raises
        ------
        ValueError
            If there is no such drawing.
        """
        if drawing not in DRAWINGS:
            raise ValueError(f"found the drawing {drawing!r}; accepted: {', '.join(DRAWINGS)}")
        return _Drawn(self, drawing)

    def view(self, coordinates: tuple[str, str] | None, points: Sequence[str]) -> Any:
        """Return what ``critical --figure`` draws: the spectra, or the risk on a plane."""
        if coordinates is None and not points:
            return _Spectra(self)
        return self.slice(coordinates, points)

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
            "at_infinity": [way.to_dict() for search in self.searches for way in search.at_infinity],
            "runs_to_infinity": sum(search.runs_to_infinity for search in self.searches),
            "unconverged": sum(search.unconverged for search in self.searches),
            "not_told_apart": [list(pair) for pair in self.not_told_apart],
            "completeness": self._completeness(),
            "strata": [dict(row) for row in self.strata],
            "barriers": [barrier.to_dict() for barrier in self.barriers],
            **({"exact_sets": sets_content(self.exact_sets)} if self.exact_sets else {}),
            **({"exact": self.exact.to_dict()} if self.exact is not None else {}),
            **({"not_exact": self.not_exact} if self.not_exact else {}),
        }

    def proof(self) -> dict[str, Any] | None:
        """Return what exact algebra or an exact classification of every width says of completeness; None where there is neither."""
        if self.exact is not None:
            return self.exact.completeness()
        found = sum(point.width > 0 for point in self.points)
        if self.exact_sets and len(self.exact_sets) == len(self.searches):
            method = self.exact_sets[-1].method
            return {"status": "PROVED", "method": method, "expected": found, "found": found}
        return None

    def _completeness(self) -> dict[str, Any]:
        if self.completeness is not None:
            return self.completeness.to_dict()
        method = "no bound on the number of critical points is known here"
        found = sum(point.width > 0 for point in self.points)
        return self.proof() or {"status": "UNDECIDED", "method": method, "expected": None, "found": found}

    def _repr_html_(self) -> str:
        rows = [
            (p.id, p.stratum, f"{p.value:.10g}", tuple(p.inertia.to_dict().values()), p.kind, p.found)
            for p in self.points
        ]
        heads = ("id", "stratum", "R", "inertia (−, 0, +)", "kind", "found")
        return html_table(heads, rows, f"{self.study}: critical points")

    def _repr_latex_(self) -> str:
        rows = [
            rf"\text{{{p.id}}} & {p.value:.6g} & ({p.inertia.negative}, {p.inertia.zero}, {p.inertia.positive})"
            for p in self.points
        ]
        body = r" \\ ".join([r"\text{point} & R & (n_-, n_0, n_+)", *rows])
        return rf"$\displaystyle \begin{{array}}{{lll}} {body} \end{{array}}$"


@dataclass(frozen=True)
class _Drawn:
    """The graph of a landscape in one of its drawings."""

    of: Landscape
    drawing: str

    def plot(self, ax: Any = None) -> Any:
        from workbench.plots import draw_disconnectivity, draw_hasse

        if self.drawing == "layers":
            return self.of.plot(ax)
        graph = self.of.graph
        if self.drawing == "hasse":
            return draw_hasse(embedding_order(graph), ax=ax)
        widths = sorted({content["width"] for _, content in graph.nodes(data=True)})
        found = {
            width: (
                {
                    name: (graph.nodes[name]["value"], graph.nodes[name]["kind"])
                    for name in leaves(graph, width)
                },
                merges(graph, width),
            )
            for width in widths
        }
        return draw_disconnectivity(found, ax=ax)


@dataclass(frozen=True)
class _Spectra:
    """The Hessian spectra of a landscape, as something to draw."""

    of: Landscape

    def plot(self, ax: Any = None) -> Any:
        return self.of.plot_spectra(ax)
