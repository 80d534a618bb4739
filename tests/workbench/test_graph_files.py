"""Files of a graph, read back by programs that did not write them."""

import json
import shutil
import subprocess
from pathlib import Path

import networkx as nx
import pytest

from workbench.graph_files import SUFFIXES, dot, tikz, write_graph


@pytest.fixture
def graph() -> nx.MultiDiGraph:
    """Awkward content: a quote and a brace in a name, lists, None, parallel edges, a way to infinity."""
    graph = nx.MultiDiGraph(study='a "quoted" name')
    signs = {"negative": 1, "zero": 0, "positive": 2}
    graph.add_node("m1.1", width=1, value=0.5, kind="saddle", inertia=signs, theta={"a": [1.0]}, radius=None)
    graph.add_node(
        "m1.2", width=1, value=2.4e-4, kind="minimum", inertia=signs | {"negative": 0, "positive": 3}
    )
    graph.add_node("inf.m1.1", width=1, value=0.1, kind="infinity")
    graph.add_edge("m1.1", "m1.2", kind="descent", sign=1)
    graph.add_edge("m1.1", "m1.2", kind="descent", sign=-1)
    graph.add_edge("m1.1", "inf.m1.1", kind="descent", sign=1)
    return graph


def test_graphml_reads_back_as_the_same_graph(graph: nx.MultiDiGraph, tmp_path: Path) -> None:
    write_graph(graph, tmp_path / "g.graphml")
    back = nx.read_graphml(tmp_path / "g.graphml")
    assert nx.is_isomorphic(back, graph, node_match=lambda a, b: a["value"] == b["value"])
    assert json.loads(back.nodes["m1.1"]["theta"]) == {"a": [1.0]}
    assert "radius" not in back.nodes["m1.1"]


def test_cytoscape_json_reads_back_as_the_same_graph(graph: nx.MultiDiGraph, tmp_path: Path) -> None:
    write_graph(graph, tmp_path / "g.json")
    content = json.loads((tmp_path / "g.json").read_text())
    back = nx.cytoscape_graph(content)
    assert nx.is_isomorphic(back, graph, node_match=lambda a, b: a["kind"] == b["kind"])
    names = [edge["data"]["id"] for edge in content["elements"]["edges"]]
    assert len(set(names)) == graph.number_of_edges()


@pytest.mark.skipif(shutil.which("dot") is None, reason="Graphviz is not installed")
def test_graphviz_draws_the_dot_file(graph: nx.MultiDiGraph, tmp_path: Path) -> None:
    write_graph(graph, tmp_path / "g.dot")
    done = subprocess.run(
        ["dot", "-Tplain", str(tmp_path / "g.dot")], capture_output=True, text=True, check=False, timeout=60
    )
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    assert sum(line.startswith("node ") for line in lines) == 3
    assert sum(line.startswith("edge ") for line in lines) == 3


def test_dot_quotes_what_it_must(graph: nx.MultiDiGraph) -> None:
    text = dot(graph)
    assert text.startswith('digraph "a \\"quoted\\" name" {')
    assert '[label="m1.1\\n0.5\\n(1, 0, 2)"' in text


@pytest.mark.skipif(shutil.which("pdflatex") is None, reason="TeX is not installed")
def test_the_tex_file_compiles_as_it_stands(graph: nx.MultiDiGraph, tmp_path: Path) -> None:
    write_graph(graph, tmp_path / "g.tex")
    done = subprocess.run(
        ["pdflatex", "-interaction=nonstopmode", "-halt-on-error", "g.tex"],
        cwd=tmp_path,
        capture_output=True,
        check=False,
        timeout=120,
    )
    assert done.returncode == 0, done.stdout[-2000:]
    assert (tmp_path / "g.pdf").stat().st_size > 1000


def test_the_picture_has_one_arrow_for_parallel_descents_with_their_number(graph: nx.MultiDiGraph) -> None:
    drawn = [line for line in tikz(graph).splitlines() if "\\draw" in line]
    assert len(drawn) == 2
    assert "{2}" in drawn[0]
    assert r"R=2.4\times 10^{-4}" in tikz(graph)


def test_another_suffix_is_refused_with_the_accepted_ones(graph: nx.MultiDiGraph, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"found the suffix '\.gml'; accepted: \.graphml"):
        write_graph(graph, tmp_path / "g.gml")
    assert SUFFIXES == (".graphml", ".dot", ".json", ".tikz", ".tex")
