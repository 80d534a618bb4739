"""Each public result displays itself in a notebook, turns into JSON, and links to what it was derived from."""

from __future__ import annotations

import json
from html.parser import HTMLParser

import pytest

import workbench as wb

STUDY = {
    "schema": 1,
    "name": "a-b",
    "model": {"activation": "tanh", "width": 1, "input_bias": True},
    "data": {"x": [[-1.0], [0.0], [1.0]], "y": [0.5, 0.1, -0.3]},
    "landscape": {"widths": [1], "starts": 12, "seed": 0},
}
POINT = {"a": [1.0], "w": [[0.5]], "b": [0.1]}
DERIVED = (
    "gradient-flow",
    "hessian",
    "ntk",
    "kernels",
    "activation",
    "symmetries",
    "conservation",
    "embedding",
    "identities",
    "kkt-norm",
)


@pytest.fixture(scope="module")
def analysis():
    return wb.Analysis(wb.study_from_mapping(STUDY))


@pytest.fixture(scope="module")
def results(analysis, tmp_path_factory):
    landscape = analysis.landscape()
    found = {what: analysis.derive(what) for what in DERIVED}
    return found | {
        "analysis": analysis,
        "compiled": analysis.compile(),
        "evaluation": analysis.evaluate([POINT]),
        "trajectories": analysis.flow([POINT], 1.0, count=5),
        "critical": analysis.critical(),
        "landscape": landscape,
        "critical point": landscape.points[0],
        "verification": analysis.verify(),
        "report": analysis.report(tmp_path_factory.mktemp("report"), pdf=False),
    }


NAMES = (
    *DERIVED,
    "analysis",
    "compiled",
    "evaluation",
    "trajectories",
    "critical",
    "landscape",
    "critical point",
    "verification",
    "report",
)


class Balanced(HTMLParser):
    """Fails on a tag that is closed without having been opened, or in the wrong order."""

    def __init__(self):
        super().__init__()
        self.open = []

    def handle_starttag(self, tag, attrs):
        self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag


@pytest.mark.parametrize("name", NAMES)
def test_a_result_displays_itself(results, name):
    result = results[name]
    forms = {
        form: getattr(result, form)() for form in ("_repr_html_", "_repr_latex_") if hasattr(result, form)
    }
    assert forms, type(result)
    assert all(isinstance(form, str) and form for form in forms.values())
    if "_repr_html_" in forms:
        page = Balanced()
        page.feed(forms["_repr_html_"])
        assert page.open == []
    elif "_repr_latex_" in forms:
        assert forms["_repr_latex_"].startswith("$")


@pytest.mark.parametrize("name", NAMES)
def test_a_result_is_json(results, name):
    content = results[name].to_dict()
    assert content
    json.dumps(content)


@pytest.mark.parametrize("name", [name for name in NAMES if name not in ("analysis", "critical point")])
def test_a_result_links_to_what_it_was_derived_from(results, analysis, name):
    seen, result = [], results[name]
    while getattr(result, "derived_from", None) is not None:
        result = result.derived_from
        seen.append(result)
    assert seen
    if name != "report":
        assert analysis in seen or analysis.problem in seen
    else:
        assert seen[-1].study_name == "a-b"


def test_links_and_displays_do_not_disturb_equality(analysis):
    from dataclasses import replace

    first = analysis.derive("gradient-flow")
    assert first == replace(first, derived_from=None)
    assert "derived_from" not in repr(first)


def test_statements_are_escaped():
    from derivations.claim import Status
    from derivations.statement import Statement

    page = Statement("a<b>", "$x < y$", ("<i>",), Status.PROVED)._repr_html_()
    assert page == "<p><b>a&lt;b&gt; (PROVED).</b> $x &lt; y$</p><ul><li>&lt;i&gt;</li></ul>"
