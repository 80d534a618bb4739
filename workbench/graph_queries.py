r"""What a theorist asks of the graph of a landscape, answered from its nodes and edges and from nothing else.

The graph is that of :attr:`workbench.landscape.Landscape.graph`: nodes are orbits of critical points (or strata of critical
manifolds), edges of kind ``descent`` are measured runs of the gradient flow, ``splitting``, ``null`` and ``lifting`` are embeddings
into wider networks.  An answer says no more than these records hold: a path of descents is a sequence of runs, each from the point where
the one before ended; what no run has reached may still be reachable.

>>> import networkx as nx
>>> graph = nx.MultiDiGraph(study="two basins")
>>> graph.add_node("m1.1", width=1, value=0.0, kind="minimum", strict_saddle=False, global_minimum=True)
>>> graph.add_node("m1.2", width=1, value=0.2, kind="minimum", strict_saddle=False, global_minimum=False)
>>> graph.add_node("m1.3", width=1, value=0.7, kind="saddle", strict_saddle=True, global_minimum=False)
>>> for sign, target in ((1, "m1.1"), (-1, "m1.2")):
...     _ = graph.add_edge("m1.3", target, kind="descent", sign=sign, time=9.0, loss_drop=0.5)
>>> print(ask(graph, "escapes").statement)
1 of 1 strict saddle reaches a global minimum by descents
>>> [(merge.value, merge.via, merge.parts) for merge in merges(graph, 1)]
[(0.7, 'm1.3', (('m1.1',), ('m1.2',)))]
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import networkx as nx

from derivations.html_table import html_table
from workbench.errors import Refusal, unknown_name

__all__ = [
    "EMBEDDINGS",
    "QUESTIONS",
    "STRING",
    "Answer",
    "Merge",
    "ask",
    "embedding_order",
    "leaves",
    "merges",
]

EMBEDDINGS = ("splitting", "null", "lifting")
#: Begin of the name of a string between two minima, where it stands in the place of a saddle.
STRING = "string "
#: Significant digits of a risk, and what risks may differ by, relative to 1 + |R|, and still be one.
DIGITS, AGREE = 8, 1e-12


@dataclass(frozen=True)
class Answer:
    """A sentence with the table that it summarises.

    Attributes
    ----------
    question : str
        Name of the question, with the point it is about.
    statement : str
        The answer in one sentence.
    heads, rows : tuple of str, tuple of tuple of str
        The table.
    notes : tuple of str
        What limits the answer.
    """

    question: str
    statement: str
    heads: tuple[str, ...] = ()
    rows: tuple[tuple[str, ...], ...] = ()
    notes: tuple[str, ...] = ()

    def to_dict(self) -> dict[str, Any]:
        """Return the JSON form: rows are objects with the heads as keys."""
        rows = [dict(zip(self.heads, row, strict=True)) for row in self.rows]
        return {
            "question": self.question,
            "statement": self.statement,
            "rows": rows,
            "notes": list(self.notes),
        }

    def _repr_html_(self) -> str:
        return html_table(self.heads, self.rows, self.statement)


@dataclass(frozen=True)
class Merge:
    """Two or more basins that meet: ``parts`` are the leaves on each side, ``value`` the risk of the saddle ``via``, or on a string."""

    value: float
    via: str
    parts: tuple[tuple[str, ...], ...]


def ask(graph: nx.MultiDiGraph, question: str) -> Answer:
    """Answer one of ``QUESTIONS``; a question about a point is written ``descents-into:m2.3``.

    Raises
    ------
    Refusal
        If there is no such question or no such point, or the point is missing or not wanted.
    """
    name, _, about = question.partition(":")
    if name not in QUESTIONS:
        raise unknown_name(name, QUESTIONS, "a question")
    answer, wants_point = QUESTIONS[name]
    if wants_point and about not in graph:
        found = f"the point '{about}'" if about else "no point"
        raise Refusal(found, f"{name}:ID with the id of a node such as {next(iter(graph), 'm1.1')}")
    if about and not wants_point:
        raise Refusal(f"'{question}'", f"{name}, which is about the whole graph")
    return answer(graph, about) if wants_point else answer(graph)


# -- the graph, seen from its descents ----------------------------------------------------------------------------------------


def _edges(graph: nx.MultiDiGraph, *kinds: str) -> Iterator[tuple[str, str, dict[str, Any]]]:
    return ((s, t, details) for s, t, details in graph.edges(data=True) if details["kind"] in kinds)


def _descents(graph: nx.MultiDiGraph) -> nx.DiGraph:
    """Return the graph of the descents alone, over all nodes."""
    simple = nx.DiGraph()
    simple.add_nodes_from(graph.nodes)
    simple.add_edges_from((s, t) for s, t, _ in _edges(graph, "descent"))
    return simple


def leaves(graph: nx.MultiDiGraph, width: int) -> list[str]:
    """Return the nodes of a width where descents end and none leaves: minima, points left open, and ways to infinity.

    Ends of runs that were not resolved are no leaves, and neither is a strict saddle whose descents are not known.
    """
    down = _descents(graph)
    return [
        name
        for name, content in graph.nodes(data=True)
        if content["width"] == width
        and down.out_degree(name) == 0
        and content["kind"] != "unresolved"
        and not content.get("strict_saddle")
    ]


def merges(graph: nx.MultiDiGraph, width: int) -> list[Merge]:
    r"""Return at which saddles the basins of one width are found to meet, lowest first: the disconnectivity graph.

    A descent from s to t is a path along which the risk does not rise, so s and t lie in one component of the sublevel set
    :math:`\{R \le R(s)\}`.  Joining all ends of the descents of each saddle, in the order of their risks, gives for every two leaves an
    upper bound of the barrier between them, in the space of parameters up to permutation and sign flips; a lower saddle that
    was not found, or whose descents were not followed, would lower it.  A string between two minima joins them as well, at the largest risk
    on it; ``via`` then names the string.

    Source: Becker and Karplus, J. Chem. Phys. 106 (1997) 1495 (disconnectivity graphs); Wales, Energy Landscapes (2003), chapter 5.
    """
    down = _descents(graph)
    steps = [
        (content["value"], name, tuple(down.successors(name)), True)
        for name, content in graph.nodes(data=True)
        if content["width"] == width
    ]
    steps += [
        (s["value"], f"{STRING}{s['first']} {s['second']}", (s["first"], s["second"]), False)
        for s in graph.graph.get("strings", ())
        if s["width"] == width
    ]
    basin = {name: frozenset([name]) for name in leaves(graph, width)}
    out = []
    for value, name, ends, is_point in sorted(steps):
        below = {basin[target] for target in ends if target in basin}
        if name in basin or not below:
            continue
        whole = frozenset().union(*below)
        if len(below) > 1:
            parts = tuple(sorted(tuple(sorted(part)) for part in below))
            out.append(Merge(value, name, parts))
        joined = {n for n, part in basin.items() if part in below}
        for member in whole | joined | ({name} if is_point else set()):
            basin[member] = whole
    return out


def embedding_order(graph: nx.MultiDiGraph) -> nx.DiGraph:
    """Return the Hasse diagram of the embedding order: an edge where nothing lies between, with the ``kinds`` of the embeddings."""
    order = nx.DiGraph()
    ends = ("infinity", "unresolved")
    order.add_nodes_from((n, content) for n, content in graph.nodes(data=True) if content["kind"] not in ends)
    for source, target, details in _edges(graph, *EMBEDDINGS):
        kinds = order.get_edge_data(source, target, {"kinds": ()})["kinds"]
        order.add_edge(source, target, kinds=tuple(sorted({*kinds, details["kind"]})))
    reduced = nx.transitive_reduction(order)
    order.remove_edges_from([edge for edge in list(order.edges) if not reduced.has_edge(*edge)])
    return order


# -- the questions ------------------------------------------------------------------------------------------------------------


def _descents_into(graph: nx.MultiDiGraph, point: str) -> Answer:
    runs = [(s, details) for s, t, details in _edges(graph, "descent") if t == point]
    rows = tuple(
        (
            source,
            str(details.get("direction", "")),
            "+" if details.get("sign", 1) > 0 else "-",
            _number(details.get("loss_drop")),
            _number(details.get("time")),
        )
        for source, details in runs
    )
    sources = len({row[0] for row in rows})
    statement = (
        f"{_count(len(rows), 'descent')} from {_count(sources, 'point')} {_ends(len(rows))} at {point}"
    )
    return Answer(
        f"descents-into:{point}", statement, ("from", "direction", "side", "loss drop", "time"), rows
    )


def _ends(count: int) -> str:
    return "ends" if count == 1 else "end"


def _escapes(graph: nx.MultiDiGraph) -> Answer:
    """Say of every strict saddle where the descents from it finally lead."""
    down, rows, reached = _descents(graph), [], 0
    best, known = _lowest(graph)
    saddles = [name for name, content in graph.nodes(data=True) if content.get("strict_saddle")]
    for saddle in saddles:
        below = nx.descendants(down, saddle)
        finals = sorted(name for name in below if down.out_degree(name) == 0)
        verdict = _verdict(graph, below & best, finals)
        reached += verdict == "yes"
        rows.append((saddle, _number(graph.nodes[saddle]["value"]), ", ".join(finals) or "none", verdict))
    verb = "reaches" if len(saddles) == 1 else "reach"
    what = "a global minimum" if known else "the lowest listed minimum of their width"
    statement = f"{reached} of {_count(len(saddles), 'strict saddle')} {verb} {what} by descents"
    notes = (
        "a sequence of descents, each along one negative eigendirection; directions in between may lead elsewhere",
        *(() if known else ("not of every width an entry is known to be a global minimum",)),
    )
    heads = ("saddle", "risk", "descents end at", f"{what.replace('their', 'its')} among them")
    return Answer("escapes", statement, heads, tuple(rows), notes)


def _lowest(graph: nx.MultiDiGraph) -> tuple[set[str], bool]:
    """Return the global minima of each width, or where none is known its lowest minima; and whether all are known."""
    best: set[str] = set()
    known = True
    for width in {content["width"] for _, content in graph.nodes(data=True)}:
        inside = {n: c for n, c in graph.nodes(data=True) if c["width"] == width}
        certain = {name for name, content in inside.items() if content.get("global_minimum")}
        minima = {n: c["value"] for n, c in inside.items() if c["kind"] in ("minimum", "degenerate")}
        low = min(minima.values(), default=0.0)
        best |= certain or {name for name, value in minima.items() if value <= low + AGREE * (1 + abs(low))}
        known &= bool(certain)
    return best, known


def _verdict(graph: nx.MultiDiGraph, best: set[str], finals: Sequence[str]) -> str:
    if best:
        return "yes"
    kinds = {graph.nodes[name]["kind"] for name in finals}
    if not finals or "unresolved" in kinds:
        return "open: a run is not resolved" if finals else "open: no descent is known"
    return "no: to infinity only" if kinds == {"infinity"} else "no"


def _turning(graph: nx.MultiDiGraph) -> Answer:
    """Say of every minimum at which width its embedded copies are strict saddles."""
    order, rows, turned = embedding_order(graph), [], 0
    minima = [name for name, content in graph.nodes(data=True) if content["kind"] == "minimum"]
    listed = sorted({content["width"] for _, content in graph.nodes(data=True)})
    for name in minima:
        width = graph.nodes[name]["width"]
        copies = nx.descendants(order, name)
        first: dict[str, int] = {}
        for wide in (w for w in listed if w > width):
            among = [graph.nodes[c].get("strict_saddle") for c in copies if graph.nodes[c]["width"] == wide]
            if any(among):
                first.setdefault("some", wide)
            if among and all(among):
                first.setdefault("all", wide)
        turned += "some" in first
        value = _number(graph.nodes[name]["value"])
        rows.append((name, value, str(len(copies)), _width(first.get("some")), _width(first.get("all"))))
    statement = f"{turned} of {_count(len(minima), 'minimum', 'minima')} {'has' if turned == 1 else 'have'} embedded copies that are strict saddles"
    heads = ("minimum", "risk", "wider entries", "some are strict saddles at", "all are at")
    note = "of a critical manifold the representative counts; its inertia may differ on other parts of the manifold"
    return Answer("turning", statement, heads, tuple(rows), (note,))


def _width(width: int | None) -> str:
    return "no listed width" if width is None else f"width {width}"


def _order(graph: nx.MultiDiGraph) -> Answer:
    order = embedding_order(graph)
    rows = tuple((s, ", ".join(kinds), t) for s, t, kinds in sorted(order.edges(data="kinds")))
    roots = sum(order.in_degree(name) == 0 for name, _ in order.nodes(data="width"))
    statement = (
        f"{_count(len(rows), 'covering relation')} between {_count(order.number_of_nodes(), 'entry', 'entries')}; "
        f"{roots} {'is' if roots == 1 else 'are'} embedded from no narrower one"
    )
    return Answer("order", statement, ("narrow", "by", "wide"), rows)


def _chains(graph: nx.MultiDiGraph) -> Answer:
    """Follow, from every strict saddle, the longest sequence of descents."""
    down, rows = _descents(graph), []
    tail: dict[str, tuple[str, ...]] = {}
    for name in reversed(list(nx.topological_sort(down))):
        below = [tail[target] for target in sorted(down.successors(name))]
        tail[name] = (name, *max(below, key=len, default=()))
    for name, path in sorted(tail.items(), key=lambda item: (-len(item[1]), item[0])):
        if len(path) > 1 and down.in_degree(name) == 0:
            rows.append((str(len(path) - 1), " → ".join(path)))
    longest = max((len(path) - 1 for path in tail.values()), default=0)
    statement = f"the longest sequence of descents has {_count(longest, 'step')}"
    return Answer("chains", statement, ("descents", "saddle to saddle"), tuple(rows))


def _barriers(graph: nx.MultiDiGraph) -> Answer:
    rows = []
    for width in sorted({content["width"] for _, content in graph.nodes(data=True)}):
        for merge in merges(graph, width):
            parts = " | ".join(", ".join(part) for part in merge.parts)
            level = str(graph.nodes[merge.via].get("status", "")) if merge.via in graph else "SUPPORTED"
            rows.append((str(width), _number(merge.value), merge.via, level, parts))
    strings = sum(row[2] not in graph for row in rows)
    statement = f"{_count(len(rows) - strings, 'saddle')} where basins are found to meet"
    if strings:
        statement += f", and {_count(strings, 'string')} that {'joins' if strings == 1 else 'join'} them lower than any listed saddle"
    note = "each risk is an upper bound of the barrier, up to permutations and sign flips; a saddle that was not found may lower it"
    heads = ("width", "at most", "by way of", "that risk is", "parts")
    return Answer("barriers", statement, heads, tuple(rows), (note,))


Answering = Callable[..., Answer]
#: The answer to each question, and whether it is about one point.
QUESTIONS: dict[str, tuple[Answering, bool]] = {
    "descents-into": (_descents_into, True),
    "escapes": (_escapes, False),
    "turning": (_turning, False),
    "order": (_order, False),
    "chains": (_chains, False),
    "barriers": (_barriers, False),
}


def _number(value: float | None) -> str:
    return "" if value is None else f"{value:.{DIGITS}g}"


def _count(count: int, one: str, many: str = "") -> str:
    return f"{count} {one if count == 1 else many or one + 's'}"
