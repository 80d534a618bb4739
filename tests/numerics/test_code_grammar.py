"""The language of generated code holds all that the generator writes, and nothing that could do harm."""

from __future__ import annotations

import pytest

from derivations.activations import REGISTRY as ACTIVATIONS
from derivations.formula_model import FormulaProblem
from derivations.losses import REGISTRY as LOSSES
from derivations.problem import Problem
from numerics.code_grammar import is_generated
from numerics.emit_nodes import Plan
from numerics.generated import generated

PLANS = [
    Plan("single"),
    Plan("single", True, True),
    Plan("first", True),
    Plan("last"),
    Plan("last", in_place=False),
    Plan("last", in_place=False, fused=True),
]


@pytest.mark.parametrize(
    "sigma", [*ACTIVATIONS, "max(z, z/10)", "z/(1 + z**2)", "atan(z)*cos(z)", "min(max(z, 0), 1)"]
)
def test_every_activation_is_in_the_language(sigma):
    problem = Problem.two_layer(sigma, "square", input_bias=True, scale="1/sqrt(m*d)", factor="3/2")
    for plan in (Plan("single"), Plan("last")):
        function = generated(problem, "value_gradient", plan)
        assert is_generated(function.source, function.name), function.source


@pytest.mark.parametrize("plan", PLANS)
@pytest.mark.parametrize("what", ["value_gradient_hessian", "hvp", "jacobian", "ntk", "outputs"])
def test_every_function_in_every_layout_is_in_the_language(what, plan):
    problem = Problem.two_layer("relu", "logistic", vector_output=True, output_bias=True, weight_decay="1/7")
    function = generated(problem, what, plan)
    assert is_generated(function.source, function.name), function.source


@pytest.mark.parametrize("ell", [*LOSSES, "log(1 + (f - y)**2)"])
def test_every_loss_is_in_the_language(ell):
    for problem in (Problem.deep(3, "tanh", ell), FormulaProblem.of("a*exp(w*x)", ["a", "w"], ["x"], ell)):
        function = generated(problem, "value_gradient", Plan("single"))
        assert is_generated(function.source, function.name), function.source


def whole(body: str, arguments: str = "theta, x") -> str:
    """Return a source with ``body`` in the second function."""
    return f"def f_data(x, like):\n    return ()\n\n\ndef f({arguments}):\n    {body}\n"


@pytest.mark.parametrize(
    "body",
    [
        "return (theta * x,)",
        "t0 = torch.tanh(theta)\n    t0.mul_(math.pi)\n    del t0\n    return (x,)",
        "for start in range(0, 3, 2):\n        z = x[start : start + 2].t()\n    return (z.sum((0, 1)), len(z))",
        "t = (x > 0).to(x.dtype)\n    return (torch.add(t, x, alpha=-2.5), t[:, None])",
    ],
)
def test_arithmetic_is_in_the_language(body):
    assert is_generated(whole(body), "f")


@pytest.mark.parametrize(
    "body",
    [
        "import os\n    return (x,)",
        "return (__import__('os'),)",
        "return (eval(x),)",
        "return (open(0),)",
        "return (torch.load(x),)",
        "return (torch.hub.load(x),)",
        "return (torch.ops.aten,)",
        "return (x.__class__,)",
        "return (math.__loader__,)",
        "return (x.numpy(),)",
        "return (x.share_memory_(),)",
        "return (x.apply_(math.exp),)",
        "return (theta(x),)",
        "y = torch\n    return (y.mm(x),)",
        "torch = x\n    return (torch,)",
        "x.data = theta\n    return (x,)",
        "return (lambda: x,)",
        "return ([u for u in x],)",
        "return ('text',)",
        "return (f'{x}',)",
        "global x\n    return (x,)",
        "while x:\n        pass",
        "with x:\n        pass",
        "try:\n        pass\n    finally:\n        pass",
        "def g():\n        pass\n    return (x,)",
        "return (yet_unknown,)",
        "return (f_data,)",
        "x @= theta\n    return (x if x else x,)",
        "return (y := x,)",
    ],
)
def test_anything_else_is_not(body):
    assert not is_generated(whole(body), "f")


@pytest.mark.parametrize(
    "source",
    [
        "",
        "def f(x):\n    return (x,)\n",
        whole("return (x,)") + "\nprint(1)\n",
        whole("return (x,)", "theta, x=open(0)"),
        whole("return (x,)", "theta, x: print(1)"),
        whole("return (x,)", "*x"),
        whole("return (x,)").replace("def f(", "@print\ndef f("),
        whole("return (x,)").replace("def f(theta, x)", "def f(theta, x) -> print(1)"),
        whole("return (x,)").replace("def f(", "async def f("),
        whole("return (x"),
        "\0",
        "(" * 10_000,
    ],
)
def test_two_plain_functions_are_required(source):
    assert not is_generated(source, "f")
