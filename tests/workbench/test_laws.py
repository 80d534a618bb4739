"""The number of conservation laws as commands show it: exact, numerical, searched, or said to be open."""

from __future__ import annotations

import json

import pytest
from sympy import Integer
from typer.testing import CliRunner

import workbench as wb
from derivations.claim import Status
from derivations.formula_model import FormulaProblem
from derivations.problem import Problem
from workbench.cli import app
from workbench.laws import MOST_SHOWN, counted_laws, law_statements
from workbench.study import study_from_mapping


def study(model, data=None, **more):
    content = {"schema": 1, "name": "laws", "model": model, "loss": {"kind": "square"}, **more}
    return study_from_mapping({**content, **({"data": data} if data else {})})


SAMPLES = {"x": [[1.0], [0.5], [-2.0]], "y": [1.0, 0.0, 2.0]}


@pytest.mark.parametrize(
    ("problem", "sizes", "laws", "listed", "complete", "status"),
    [
        (Problem.two_layer("relu"), {"m": 2, "d": 2}, 2, 2, True, Status.PROVED),
        (Problem.two_layer("linear"), {"m": 2, "d": 1}, 3, 3, True, Status.PROVED),
        (Problem.two_layer("tanh"), {"m": 2, "d": 2}, 0, 0, True, Status.SUPPORTED),
        (Problem.two_layer("exp", input_bias=True), {"m": 1, "d": 1}, 1, 1, True, Status.SUPPORTED),
        (FormulaProblem.of("a*b*x", ["a", "b"]), {}, 1, 1, True, Status.PROVED),
        (FormulaProblem.of("a*exp(w*x + b)", ["a", "w", "b"]), {}, 1, 1, True, Status.SUPPORTED),
    ],
)
def test_complete_lists_are_said_to_be_complete(problem, sizes, laws, listed, complete, status):
    (found,) = law_statements(problem, sizes)
    numbers = found.to_dict()["numbers"]
    assert (numbers["laws"], numbers["listed"], numbers["complete"]) == (laws, listed, complete)
    assert found.status is status
    assert json.dumps(found.to_dict())


def test_an_incomplete_list_is_searched_for_polynomials():
    count, search = law_statements(
        Problem.two_layer("relu"), {"m": 2, "d": 1}
    )  # neurons of equal sign: a linear net
    assert (count.numbers["laws"], count.numbers["listed"], count.numbers["complete"]) == (3, 2, False)
    assert (search.numbers["independent"], search.numbers["complete"]) == (3, True)
    blocks = FormulaProblem.of("(1 + u*v)*(1 + s*t)*x", ["u", "v", "s", "t"])
    count, search = law_statements(blocks, {})
    assert (count.numbers["laws"], count.numbers["listed"], count.status) == (3, 2, Status.PROVED)
    assert (search.numbers["degree"], search.numbers["independent"], search.numbers["complete"]) == (
        4,
        2,
        False,
    )
    assert "not functions of such polynomials" in search.statement
    assert search.status is Status.PROVED


def test_weight_decay_is_left_out_and_said_to_be():
    (found,) = law_statements(Problem.two_layer("relu", weight_decay=Integer(1)), {"m": 1, "d": 1})
    assert "without weight decay" in found.statement
    assert counted_laws(Problem.two_layer("relu", weight_decay=Integer(1)), {"m": 1, "d": 1}) is None


def test_large_networks_and_formulas_without_values_are_left_open():
    (found,) = law_statements(Problem.two_layer("relu"), {"m": 10, "d": 3})
    assert found.status is Status.UNDECIDED
    assert str(MOST_SHOWN) in found.statement
    (found,) = law_statements(FormulaProblem.of("a*log(w*x)", ["a", "w"]), {})
    assert found.status is Status.UNDECIDED
    assert "not counted" in found.statement


def test_frozen_blocks_are_said_to_have_random_values():
    (found, *_) = law_statements(Problem.two_layer("quadratic", freeze=("a",)), {"m": 2, "d": 2})
    assert r"The frozen $\mathtt{a}$ had random values" in found.statement


def test_what_has_no_count_has_no_statement():
    assert law_statements(Problem.two_layer(), {"m": 1, "d": 1}) == []
    assert law_statements(Problem.two_layer("relu", freeze=("a", "w")), {"m": 1, "d": 1}) == []


def test_the_count_is_shown_with_the_laws_of_a_study():
    model = {"kind": "two_layer", "activation": "relu", "width": 2}
    found = wb.Analysis(study(model, SAMPLES)).derive("conservation").statements
    names = [s.name for s in found]
    assert names[0] == "balance of a neuron"
    assert "number of conservation laws" in names
    assert [s.name for s in wb.Analysis(study(model)).derive("conservation").statements] == names[:1]


def test_a_formula_study_needs_no_data_for_its_laws(tmp_path):
    path = tmp_path / "growth.toml"
    path.write_text(
        'schema = 1\nname = "growth"\n[model]\nkind = "formula"\noutput = "a*exp(w*x + b)"\n'
        'parameters = ["a", "w", "b"]\ninputs = ["x"]\n[loss]\nkind = "square"\n'
    )
    command = ["derive", str(path), "--show", "conservation", "--show", "symmetries", "--show", "identities"]
    result = CliRunner().invoke(app, [*command, "--format", "json"])
    assert result.exit_code == 0, result.output
    content = json.loads(result.stdout)["derivations"]
    law, count = content["conservation"]["statements"]
    assert (law["name"], law["status"]) == ("quadratic law", "PROVED")
    assert count["numbers"]["laws"] == 1
    assert content["symmetries"]["statements"][0]["name"] == "affine symmetry of parameters"
    assert content["identities"]["statements"][0]["kind"] == "group"


def test_identities_are_shown_by_the_command_and_by_python(tmp_path):
    path = tmp_path / "two.toml"
    path.write_text(
        'schema = 1\nname = "two"\n[model]\nkind = "two_layer"\nactivation = "tanh"\ninput_bias = true\n[loss]\nkind = "square"\n'
    )
    for form in ("text", "latex"):
        result = CliRunner().invoke(app, ["derive", str(path), "--show", "identities", "--format", form])
        assert result.exit_code == 0, result.output
        assert "Splitting of a neuron (PROVED)." in result.stdout
        assert "Completeness of the list (PROVED)." in result.stdout
    found = wb.Analysis(wb.Problem.two_layer(activation="relu")).identities()
    assert [u.name for u in found.statements][:2] == ["permutation of neurons", "scaling of a neuron"]
