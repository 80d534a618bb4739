r"""The graph of a landscape as a file: GraphML, DOT (Graphviz), Cytoscape JSON and TikZ, told by the suffix.

All attributes of nodes and edges go into GraphML and Cytoscape JSON; lists and tables become JSON text, None is left out.  DOT has them
as well, with labels, shapes and colours for Graphviz.  TikZ is a drawing to be put into a paper: ``\input`` a ``.tikz``
file (package ``tikz``, libraries ``arrows.meta``), or compile a ``.tex`` file as it stands.

>>> import networkx as nx
>>> graph = nx.MultiDiGraph(study="one step")
>>> graph.add_node("m1.1", width=1, value=0.5, kind="saddle", inertia={"negative": 1, "zero": 0, "positive": 1})
>>> graph.add_node("m1.2", width=1, value=0.0, kind="minimum", inertia={"negative": 0, "zero": 0, "positive": 2})
>>> _ = graph.add_edge("m1.1", "m1.2", kind="descent", sign=1)
>>> print(dot(graph).splitlines()[3])
  "m1.2" [label="m1.2\n0\n(0, 0, 2)", shape="ellipse", color="#4477AA", width_m="1", value="0.0", kind="minimum", ...
>>> [line for line in tikz(graph).splitlines() if "\\draw" in line]
['  \\draw[descent] (n0) to[bend left=12] (n1);']
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import networkx as nx

from workbench.graph_sheet import level_names, levels
from workbench.output import write

__all__ = ["SUFFIXES", "dot", "flat", "tikz", "write_graph"]

#: Colour and DOT shape of each kind of node; the colours are those of the figures.
LOOKS = {
    "constant network": ("#777777", "ellipse"),
    "minimum": ("#4477AA", "ellipse"),
    "saddle": ("#EE6677", "diamond"),
    "degenerate": ("#CCBB44", "box"),
    "maximum": ("#AA3377", "triangle"),
    "infinity": ("#777777", "plaintext"),
    "unresolved": ("#777777", "plaintext"),
}
#: DOT attributes that edges of each kind get.
STROKES = {
    "splitting": 'color="#777777"',
    "null": 'color="#777777", style="dashed"',
    "lifting": 'color="#777777", style="dotted"',
    "descent": 'color="#117733"',
    "contains": 'color="#CCBB44", style="dashed"',
    "symmetry": 'color="#66CCEE", dir="both"',
}
#: Names that DOT reads as instructions of its own.
DOT_WORDS = {"width": "width_m", "label": "label_", "shape": "shape_", "color": "color_", "style": "style_"}
ACROSS, UP, BLOCK = (
    3.2,
    0.95,
    0.6,
)  # cm between points of a row, between rows, and between the blocks of two widths


def flat(content: Mapping[str, Any]) -> dict[str, str | int | float | bool]:
    """Return attributes as files of graphs can hold them: lists and tables as JSON text, None left out."""
    return {
        name: value if isinstance(value, str | int | float | bool) else json.dumps(value)
        for name, value in content.items()
        if value is not None
    }


def _flattened(graph: nx.MultiDiGraph) -> nx.MultiDiGraph:
    plain = nx.MultiDiGraph(**flat(graph.graph))
    for name, content in graph.nodes(data=True):
        plain.add_node(name, **flat(content))
    for source, target, content in graph.edges(data=True):
        plain.add_edge(source, target, **flat(content))
    return plain


def cytoscape(graph: nx.MultiDiGraph) -> str:
    """Return the graph as Cytoscape JSON (``elements``), which Cytoscape and cytoscape.js read."""
    content = nx.cytoscape_data(_flattened(graph))
    for edge in content["elements"]["edges"]:  # cytoscape.js wants an id for each of several parallel edges
        data = edge["data"]
        data["id"] = f"{data['source']} {data['kind']} {data['target']} {data.get('key', 0)}"
    return json.dumps(content, ensure_ascii=False, indent=1)


def dot(graph: nx.MultiDiGraph) -> str:
    """Return the graph in the DOT language, ranked by width."""
    lines = [f"digraph {_quoted(graph.graph.get('study', 'landscape'))} {{", '  rankdir="LR";']
    names = _risks(graph)
    for name, content in graph.nodes(data=True):
        colour, shape = LOOKS.get(content["kind"], LOOKS["unresolved"])
        label = "\n".join(part for part in (name, names[name], _signs(content)) if part)
        own = {"label": label, "shape": shape, "color": colour}
        more = {DOT_WORDS.get(key, key): value for key, value in flat(content).items()}
        lines.append(f"  {_quoted(name)} [{_attributes(own | more)}];")
    for source, target, content in graph.edges(data=True):
        more = {DOT_WORDS.get(key, key): value for key, value in flat(content).items()}
        stroke = STROKES.get(content["kind"], "")
        given = ", ".join(part for part in (stroke, _attributes(more)) if part)
        lines.append(f"  {_quoted(source)} -> {_quoted(target)} [{given}];")
    for width in sorted({content["width"] for _, content in graph.nodes(data=True)}):
        same = "; ".join(_quoted(n) for n, content in graph.nodes(data=True) if content["width"] == width)
        lines.append(f"  {{ rank=same; {same} }}")
    return "\n".join([*lines, "}"]) + "\n"


def _attributes(content: Mapping[str, Any]) -> str:
    return ", ".join(f"{key}={_quoted(value)}" for key, value in content.items())


def _quoted(value: Any) -> str:
    text = str(value).replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
    return f'"{text}"'


def tikz(graph: nx.MultiDiGraph) -> str:
    """Return the graph as a ``tikzpicture``: a column of points for each width, risks in order from below upwards.

    Edges of one kind between the same points are drawn once, with their number.
    """
    places, number = _places(graph), {name: i for i, name in enumerate(graph.nodes)}
    names = _risks(graph)
    lines = [r"\begin{tikzpicture}[", "  every node/.style={font=\\scriptsize, inner sep=1.5pt},"]
    for kind, (colour, _) in LOOKS.items():
        lines.append(f"  {kind}/.style={{draw={_colour(colour)}, thick, fill=white, rounded corners=1pt}},")
    lines += [
        "  splitting/.style={gray}, null/.style={gray, dashed}, lifting/.style={gray, dotted},",
        "  descent/.style={-{Stealth[length=4pt]}, green!45!black},",
        "  contains/.style={-{Stealth[length=4pt]}, yellow!60!black, dashed}, symmetry/.style={cyan!60!black},",
        "]",
    ]
    for name, content in graph.nodes(data=True):
        x, y = places[name]
        kind = content["kind"] if content["kind"] in LOOKS else "unresolved"
        text = r"$\infty$" if kind == "infinity" else "?" if kind == "unresolved" else name
        risk = names[name].replace("×10", r"\times 10").replace("\N{MINUS SIGN}", "-")
        below = ", ".join(part for part in (rf"$R={_powers(risk)}$", _signs(content)) if part)
        lines.append(
            rf"  \node[{kind}, align=center] (n{number[name]}) at ({x:.2f}, {y:.2f}) {{{text}\\{below}}};"
        )
    counts = Counter((s, t, content["kind"]) for s, t, content in graph.edges(data=True))
    for (source, target, kind), count in counts.items():
        style = kind if kind in STROKES else "gray, densely dotted"
        badge = f" node[midway, fill=white]{{{count}}}" if count > 1 else ""
        bend = " to[bend left=12]" if kind == "descent" else " to"
        lines.append(rf"  \draw[{style}] (n{number[source]}){bend}{badge} (n{number[target]});")
    return "\n".join([*lines, r"\end{tikzpicture}"]) + "\n"


SUPERSCRIPTS = str.maketrans("⁰¹²³⁴⁵⁶⁷⁸⁹⁻", "0123456789-")


def _powers(text: str) -> str:
    """Write the superscripts of a risk such as ``2.4×10⁻⁴`` as TeX."""
    base = text.rstrip("⁰¹²³⁴⁵⁶⁷⁸⁹⁻")
    power = text[len(base) :].translate(SUPERSCRIPTS)
    return f"{base}^{{{power}}}" if power else base


def _colour(code: str) -> str:
    """Return a colour as xcolor mixes it, without a definition outside the picture."""
    red, green, blue = (int(code[i : i + 2], 16) for i in (1, 3, 5))
    return f"{{rgb,255:red,{red};green,{green};blue,{blue}}}"


def tex(graph: nx.MultiDiGraph) -> str:
    """Return a document with the picture on a page of its size, with what every TeX distribution has."""
    places = list(_places(graph).values())
    width = max(x for x, _ in places) - min(x for x, _ in places) + 6.0
    height = max(y for _, y in places) - min(y for _, y in places) + 4.0
    return "\n".join(
        [
            r"\documentclass{article}",
            rf"\usepackage[paperwidth={width:.1f}cm, paperheight={height:.1f}cm, margin=1cm]{{geometry}}",
            r"\usepackage{tikz}",
            r"\usetikzlibrary{arrows.meta}",
            r"\pagestyle{empty}",
            r"\begin{document}\centering",
            tikz(graph).rstrip(),
            r"\end{document}",
            "",
        ]
    )


def _places(graph: nx.MultiDiGraph) -> dict[str, tuple[float, float]]:
    """Return where each node stands, in cm: rows are levels of the risk, blocks of columns are widths."""
    listed = list(graph.nodes(data=True))
    level = levels([content["value"] for _, content in listed])
    places, left = {}, 0.0
    for width in sorted({content["width"] for _, content in listed}):
        taken: Counter[int] = Counter()
        for (name, content), row in zip(listed, level, strict=True):
            if content["width"] == width:
                places[name] = (left + ACROSS * taken[row], UP * row)
                taken[row] += 1
        left += ACROSS * max(taken.values()) + BLOCK
    return places


def _risks(graph: nx.MultiDiGraph) -> dict[str, str]:
    """Return the risk of each node in words, with as many digits as tell the levels apart."""
    listed = [(name, content["value"]) for name, content in graph.nodes(data=True)]
    level = levels([value for _, value in listed])
    lowest: dict[int, float] = {}
    for (_, value), row in zip(listed, level, strict=True):
        lowest[row] = min(value, lowest.get(row, value))
    words = level_names([lowest[row] for row in sorted(lowest)])
    return {name: words[row] for (name, _), row in zip(listed, level, strict=True)}


def _signs(content: Mapping[str, Any]) -> str:
    signs = content.get("inertia")
    return f"({signs['negative']}, {signs['zero']}, {signs['positive']})" if signs else ""


def _graphml(graph: nx.MultiDiGraph) -> str:
    return "\n".join(nx.generate_graphml(_flattened(graph))) + "\n"


WRITERS: dict[str, Callable[[nx.MultiDiGraph], str]] = {
    ".graphml": _graphml,
    ".dot": dot,
    ".json": cytoscape,
    ".tikz": tikz,
    ".tex": tex,
}
SUFFIXES = tuple(WRITERS)


def write_graph(graph: nx.MultiDiGraph, path: str | Path) -> None:
    """Write the graph in the format of the suffix (``.graphml``, ``.dot``, ``.json``, ``.tikz``, ``.tex``), whole or not at all.

    Raises
    ------
    ValueError
        If the suffix is another one.
    """
    suffix = Path(path).suffix.lower()
    if suffix not in WRITERS:
        raise ValueError(f"{Path(path).name}: found the suffix {suffix!r}; accepted: {', '.join(SUFFIXES)}")
    text = WRITERS[suffix](graph)
    write(str(path), lambda draft: draft.write_text(text, encoding="utf-8", newline="\n"))
