"""The congruence behind the inertia of a split neuron, proved for a symbolic number of copies."""

from __future__ import annotations

import functools
import itertools

import pytest

from derivations import splitting_law as module
from derivations.claim import Status
from derivations.problem import Problem
from derivations.splitting_law import curvature_expressions, splitting_law, splitting_law_residuals


@pytest.mark.parametrize(("bias", "vector"), list(itertools.product([False, True], repeat=2)))
def test_the_four_residuals_vanish(bias, vector):
    problem = Problem.two_layer(input_bias=bias, vector_output=vector, output_bias=True, scale="1/sqrt(m)")
    assert splitting_law_residuals(problem) == {"outputs": 0, "first order": 0, "second order": 0, "form": 0}


def test_without_the_side_condition_on_the_output_weights_the_first_order_differs(monkeypatch):
    monkeypatch.setattr(module, "_epsilon", lambda copy, out: module.Tensor("e", (module.COPIES,))[copy])
    found = splitting_law_residuals(Problem.two_layer())
    assert found["outputs"] == 0
    assert found["first order"] != 0


def test_without_the_side_condition_on_the_input_weights_the_first_order_differs(monkeypatch):
    monkeypatch.setattr(
        module, "_zeta", lambda i, copy, name: module.Tensor(name, (i.dim, module.COPIES))[i, copy]
    )
    assert splitting_law_residuals(Problem.two_layer())["first order"] != 0


def test_fractions_that_do_not_sum_to_one_change_the_outputs(monkeypatch):
    monkeypatch.setattr(module, "_gamma", lambda copy: module.Tensor("g", (module.COPIES,))[copy])
    assert splitting_law_residuals(Problem.two_layer())["outputs"] != 0


@pytest.mark.parametrize("name", ["V_w", "V_b", "U_ww", "U_wb", "U_bb"])
def test_a_wrong_factor_in_the_form_is_noticed(monkeypatch, name):
    right = module.curvature_expressions

    def wrong(problem, layer):
        expressions = right(problem, layer)
        expr, indices = expressions[name]
        return {**expressions, name: (expr / 2, indices)}

    monkeypatch.setattr(module, "curvature_expressions", wrong)
    assert splitting_law_residuals(Problem.two_layer(input_bias=True))["form"] != 0


def test_expressions_have_the_documented_blocks():
    found = curvature_expressions(Problem.two_layer(input_bias=True, vector_output=True))
    axes = {name: [u.name for u in indices] for name, (_, indices) in found.items()}
    assert axes == {
        "V_w": ["k", "l", "c"],
        "V_b": ["k", "c"],
        "U_ww": ["k", "l", "l'"],
        "U_wb": ["k", "l"],
        "U_bb": ["k"],
    }
    assert set(curvature_expressions(Problem.two_layer())) == {"V_w", "U_ww"}


def test_statement_is_proved_and_well_formed():
    for problem in (Problem.two_layer(), Problem.two_layer(vector_output=True, scale="1/m")):
        law = splitting_law(problem)
        assert law.status is Status.PROVED
        assert all(text.count("$") % 2 == 0 for text in (law.statement, *law.steps))
    assert r"$V_k = 0$ and $\rho = 0$ where $a_k \neq 0$" in splitting_law(Problem.two_layer()).steps[-1]


def test_frozen_blocks_have_no_rows_in_the_hessians_of_the_law():
    @functools.cache
    def law(*freeze):
        return splitting_law(Problem.two_layer(input_bias=True, freeze=freeze))

    assert r"congruent to $H \oplus B$ with $B = G \otimes U_k$" in law("a").statement
    assert r"\rho" not in law("a").statement
    assert "frozen" in law("a").steps[-1]
    assert "rows and columns of trained input weights" in law("w").statement
    assert r"so that $\rho = 0$" in law("w", "b").statement
    assert "trained" not in law().statement
    for freeze in (("a",), ("w",), ("b",), ("w", "b")):
        found = law(*freeze)
        assert all(text.count("$") % 2 == 0 for text in (found.statement, *found.steps))


@pytest.mark.parametrize("layer", [1, 2])
def test_the_law_holds_in_every_layer_of_a_deep_network(layer):
    problem = Problem.deep(3, "tanh", vector_output=True)
    assert splitting_law_residuals(problem, layer) == {
        "outputs": 0,
        "first order": 0,
        "second order": 0,
        "form": 0,
    }
    found = splitting_law(problem, layer)
    assert found.name == f"inertia of a split neuron, layer {layer}"
    assert all(text.count("$") % 2 == 0 for text in (found.statement, *found.steps))
    assert (r"m_{2}-\rho" if layer == 1 else r"o-\rho") in found.statement
    assert (r"r_i = \delta^{(2)}_i" if layer == 1 else r"r_i = \partial R / \partial f_i") in found.steps[0]


def test_a_copy_that_does_not_see_what_moves_before_the_layer_is_noticed(monkeypatch):
    right = module._zeta
    monkeypatch.setattr(
        module,
        "_zeta",
        lambda i, copy, name: right(i, copy, name) if name == "h" else module.Tensor(name, (i.dim,))[i],
    )
    assert splitting_law_residuals(Problem.deep(3), 2)["second order"] != 0


def test_weight_decay_and_layers_that_are_not_there_are_refused():
    with pytest.raises(ValueError, match="without weight decay, got weight decay 1; set it to 0"):
        splitting_law(Problem.two_layer(weight_decay=1))
    with pytest.raises(ValueError, match="there is no hidden layer 3; the network has 2"):
        splitting_law_residuals(Problem.deep(3), 3)
