"""What ``derive --show`` gives: names, forms, refusals."""

from __future__ import annotations

import json

import pytest
from sympy import Symbol

from derivations.activation_table import ActivationTable
from derivations.claim import Status
from derivations.derivation import Derivation
from derivations.formula_model import FormulaProblem
from derivations.population import GaussianProblem
from derivations.problem import Problem
from derivations.wide_network import KernelDerivation
from workbench.derive import SHOWN, derive, with_notes
from workbench.errors import NotThere

PROBLEM = Problem.two_layer("tanh", "square", input_bias=True)


@pytest.mark.parametrize("what", ["activation", "kernels", "gradient-flow", "symmetries"])
def test_every_result_has_three_forms_and_its_source(what):
    found = derive(PROBLEM, what)
    assert found.text().strip()
    assert found.latex().strip()
    content = found.to_dict()
    assert json.loads(json.dumps(content)) == content
    assert (content["name"], found.derived_from) == (what, PROBLEM)


def test_kinds_of_results():
    assert isinstance(derive(PROBLEM, "activation"), ActivationTable)
    assert isinstance(derive(PROBLEM, "kernels"), KernelDerivation)
    assert isinstance(derive(PROBLEM, "gradient"), Derivation)


def test_the_activation_carries_its_pytorch_form():
    assert derive(PROBLEM, "activation")["PyTorch form"].text == "torch.tanh(z)"


@pytest.mark.parametrize("what", ["activation", "kernels"])
def test_a_formula_model_has_none_of_them(what):
    with pytest.raises(NotThere, match=f"'{what}' of a formula model is not there"):
        derive(FormulaProblem.of("a*exp(w*x)", ["a", "w"]), what)


def test_a_general_activation_has_no_table_but_kernels():
    general = Problem.two_layer(None, "square")
    with pytest.raises(NotThere, match="name one, such as activation = 'tanh'"):
        derive(general, "activation")
    assert "E[sigma(u)*sigma(v)]" in derive(general, "kernels").text()


def test_unknown_names_are_refused_with_the_nearest():
    with pytest.raises(ValueError, match=r"[Dd]id you mean 'kernels'"):
        derive(PROBLEM, "kernel")
    assert {"activation", "kernels"} <= set(SHOWN)


@pytest.mark.parametrize("form", ["text", "latex"])
def test_what_equations_hold_for_is_shown_with_them(form):
    relu = Problem.two_layer("relu", "logistic", weight_decay="1/5")
    for what, said in {
        "kkt": r"Minimise $\frac{1}{2} \lVert\theta\rVert^2$ subject to",
        "hessian": "derivatives are meant almost everywhere",
        "euler": "the part of the risk that comes from the data",
        "balanced": r"$w_k = \rho_k u_k$",
    }.items():
        assert with_notes(derive(relu, what), form).count(said) == 1
    kernels = derive(relu, "kernels")  # carry their notes themselves
    assert with_notes(kernels, form) == (kernels.latex() if form == "latex" else kernels.text())
    found = derive(relu, "symmetries")
    assert with_notes(found, form) == (found.latex() if form == "latex" else found.text())


def test_the_text_of_the_balanced_flow_tells_the_two_flows_apart():
    lines = derive(Problem.two_layer("relu"), "balanced").text().splitlines()
    assert [line.endswith("  if Q[k] = 0") for line in lines if line.strip().startswith("du/dt")] == [
        False,
        True,
    ]


def test_a_population_without_a_law_says_that_this_is_open():
    x = Symbol("x1", real=True)
    network = Problem.two_layer("erf", "square")
    (found,) = derive(GaussianProblem(network, (x,), x, 1), "conservation").statements
    assert found.status is Status.UNDECIDED
    assert "open" in found.statement
