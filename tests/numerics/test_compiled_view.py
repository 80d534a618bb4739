"""A compiled system shows sizes, parameters, outputs and its source."""

from __future__ import annotations

import json

import pytest

from derivations.problem import Problem
from numerics.compile import compile_system
from numerics.compiled_view import OUTPUTS


@pytest.fixture(scope="module")
def system():
    problem = Problem.two_layer("tanh", "square", input_bias=True, vector_output=True, freeze=("w",))
    return compile_system(problem, [[1.0, 2.0], [0.5, -1.0]], [[0.1], [0.2]], 3)


def test_its_json_holds_what_is_needed_to_call_it(system):
    content = system.to_dict()
    assert json.loads(json.dumps(content)) == content
    assert content["sizes"] == {"n": 2, "d": 2, "o": 1, "m": 3}
    blocks = {u["name"]: u for u in content["parameters"]}
    assert [(u["shape"], u["length"], u["rate"]) for u in blocks.values()] == [
        ([3, 1], 3, 1.0), ([3, 2], 6, 0.0), ([3], 3, 1.0),
    ]  # fmt: skip
    assert sum(u["length"] for u in blocks.values()) == content["P"] == system.P
    assert content["source"] == system.source
    assert content["outputs"]["outputs"] == "(n, o)"
    for name, _ in OUTPUTS:
        assert callable(getattr(system, name))


def test_its_html_folds_the_source_and_escapes_it(system):
    page = system._repr_html_()
    assert "<details><summary>generated source</summary><pre>" in page
    assert "value_gradient" in page
    assert "<td>(3, 2)</td>" in page
    assert "two_layer system, n = 2, d = 2, o = 1, m = 3, P = 12, float64 on cpu" in page
    assert page.count("<pre>") == 1
    assert "->" not in page.replace("-&gt;", "")


def test_it_links_to_its_problem(system):
    assert system.derived_from is system.problem
