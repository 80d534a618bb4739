"""Formula models and diagonal networks: derived equations against SymPy's own differentiation, and as a paper prints."""

from __future__ import annotations

import importlib.util
from dataclasses import replace
from pathlib import Path

import pytest
from sympy import Add, Float, Integer, Rational, Symbol, simplify

from derivations.canonical import vanishes
from derivations.claim import Status
from derivations.diagonal_model import DiagonalProblem, diagonal_invariant, predictor_flow
from derivations.equations import WHATS, derive
from derivations.errors import FormulaError
from derivations.formula import parse_formula
from derivations.formula_model import FormulaProblem
from derivations.generic import bind
from derivations.indexed import Dim, Index, ISum, isum
from derivations.problem import Problem, d, n

_SPEC = importlib.util.spec_from_file_location("brute_force", Path(__file__).with_name("brute_force.py"))
assert _SPEC is not None
assert _SPEC.loader is not None
brute_force = importlib.util.module_from_spec(_SPEC)
_SPEC.loader.exec_module(brute_force)

SAMPLES = 3

MODELS = {
    "exponential": ("a1*exp(w1*x) + c", ["a1", "w1", "c"], ["x"]),
    "two inputs": ("a*tanh(b*t) + b**2*u/(1 + a**2)", ["a", "b"], ["t", "u"]),
    "oscillation": ("A*sin(omega*t + phi)", ["A", "omega", "phi"], ["t"]),
    "root": ("sqrt(1 + p**2*x1**2) - q*log(2 + x2**2)", ["p", "q"], ["x1", "x2"]),
    "kinks": ("a*abs(x - b) + max(a, x)*sign(x + 7)", ["a", "b"], ["x"]),
    "an input named like nothing else": ("k*m*d", ["k", "m"], ["d"]),
}
CASES = [(name, {}) for name in MODELS]
CASES += [
    (name, {"reduction": "sum", "factor": Integer(2), "weight_decay": Rational(1, 3)})
    for name in ("root", "kinks")
]
CASES += [("exponential", {"loss": "(f - y)**4"})]


def written_out(text, parameters, inputs, options):
    """Risk of the formula in scalar symbols, written without the index calculus."""
    p = {name: Symbol(name, real=True) for name in parameters}
    losses = []
    for i in range(1, SAMPLES + 1):
        x = {name: Symbol(f"{name}_{i}", real=True) for name in inputs}
        f, y = parse_formula(text, {**p, **x}), Symbol(f"y_{i}", real=True)
        losses.append((f - y) ** 4 if options.get("loss") else (f - y) ** 2 / 2)
    mean = Rational(1, SAMPLES) if options.get("reduction", "mean") == "mean" else 1
    decay = options.get("weight_decay", 0)
    return options.get("factor", 1) * mean * Add(*losses) + decay / 2 * Add(*[s**2 for s in p.values()]), p


def inlined(problem, expr):
    return bind(problem.derived.inline(expr), problem.functions)


def numbers(name, places):
    """A number of 40 digits for every leaf: off every kink of the models above."""
    return Float(Rational(sum(map(ord, name)) % 7 + 2, 5) + Rational(3 * sum(places), 7), 40)


def at_numbers(expr, parameters, inputs):
    rule = {Symbol(name, real=True): numbers(name, ()) for name in parameters}
    for i in range(1, SAMPLES + 1):
        rule |= {Symbol(f"{name}_{i}", real=True): numbers(name, (i,)) for name in (*inputs, "y")}
    return expr.xreplace(rule)


@pytest.mark.parametrize(("name", "options"), CASES, ids=str)
def test_value_gradient_and_hessian_equal_scalar_differentiation(name, options):
    text, parameters, inputs = MODELS[name]
    problem = FormulaProblem.of(text, parameters, inputs, **options)
    risk, p = written_out(text, parameters, inputs, options)
    sizes = {"n": SAMPLES}

    def derived(expr):
        return brute_force.value(inlined(problem, expr), {}, sizes, numbers)

    def agree(found, wanted):
        difference = (found - at_numbers(wanted, parameters, inputs)).doit()
        return abs(difference.evalf(30)) < 1e-20

    assert agree(derived(problem.risk()), risk)
    for row in parameters:
        assert agree(derived(problem.derived[problem.gradient[row]].expr), risk.diff(p[row])), row
        for column in parameters[parameters.index(row) :]:
            expr, rows, columns = problem.hessian_block(row, column)
            assert rows == columns == ()
            # The second derivative of the written-out kinks holds Dirac distributions, 0 off the kinks.
            assert agree(derived(expr), risk.diff(p[row], p[column])), (row, column)


def test_equations_print_as_a_paper_prints_them():
    problem = FormulaProblem.of("a1*exp(w1*x1) + c", ["a1", "w1", "c"], ["x1"], freeze=("c",))
    found = derive(problem, "gradient").latex()
    assert r"\frac{\partial R}{\partial w_1} &= a_1 \sum_{i=1}^{n} r_i x^{(1)}_i e^{w_1 x^{(1)}_i}" in found
    assert r"f_i &= a_1 e^{w_1 x^{(1)}_i} + c" in found
    assert derive(problem, "gradient-flow").system[2].rhs == 0
    for what in WHATS:
        text = derive(problem, what).latex()
        assert "Derivative" not in text
        assert "Subs" not in text


def test_the_kernel_is_the_sum_over_trained_parameters():
    problem = FormulaProblem.of("a*x + b", ["a", "b"], freeze=("b",), rate=(("a", Integer(3)),))
    (kernel, _) = derive(problem, "ntk").system
    x = problem.input_tensors[0]
    assert kernel.rhs == 3 * x[Index("i", n)] * x[Index("j", n)]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("a*z", ["a"], ["x"]), "unknown name"),
        (("a*x", ["a", "b"], ["x"]), "'b' does not occur"),
        (("a*x", ["a", "a"], ["x"]), "named twice"),
        (("f*x", ["f"], ["x"]), "the equations use themselves"),
        (("a*grad_a", ["a", "grad_a"], ["x"]), "the equations use themselves"),
        (("2**(a*x)", ["a"], ["x"]), "only e may be its base"),
    ],
)
def test_refusals_of_a_formula(arguments, message):
    with pytest.raises(FormulaError, match=message):
        FormulaProblem.of(*arguments)


def test_columns_are_cut_out_of_the_data():
    class Matrix:
        shape = (5, 2)

        def __getitem__(self, place):
            return place

    problem = FormulaProblem.of("a*t + u", ["a"], ["t", "u"])
    everything = slice(None)
    assert problem.leaf_values(Matrix(), "targets") == {
        "t": (everything, 0),
        "u": (everything, 1),
        "y": "targets",
    }
    with pytest.raises(ValueError, match="x has 2 columns; the formula has 1 inputs: x"):
        FormulaProblem.of("a*x", ["a"]).leaf_values(Matrix(), None)


def test_a_formula_problem_keeps_its_formula_when_options_change():
    problem = FormulaProblem.of("a*x", ["a"])
    assert replace(problem, weight_decay=Integer(1)).formula == problem.formula
    assert hash(problem) == hash(FormulaProblem.of("a*x", ["a"]))
    with pytest.raises(ValueError, match="'b' is not a block"):
        FormulaProblem.of("a*x", ["a"], freeze=("b",))


@pytest.mark.parametrize("depth", [1, 2, 3, 5])
def test_diagonal_network_equals_scalar_differentiation(depth):
    problem = DiagonalProblem.of(depth, weight_decay=Rational(1, 7))
    sizes = {"n": 2, "d": 2}

    def derived(expr, at=None):
        return brute_force.value(inlined(problem, expr), at or {}, sizes, brute_force.scalars)

    u, v = ([Symbol(f"{name}_{l}", real=True) for l in (1, 2)] for name in "uv")
    losses = []
    for i in (1, 2):
        x = [Symbol(f"x_{i}_{l}", real=True) for l in (1, 2)]
        f = Add(*[(u[l] ** depth - v[l] ** depth) * x[l] for l in (0, 1)])
        losses.append((f - Symbol(f"y_{i}", real=True)) ** 2 / 2)
    risk = Add(*losses) / 2 + Rational(1, 14) * Add(*[s**2 for s in (*u, *v)])
    assert (derived(problem.risk()) - risk).expand() == 0
    for name, entries in (("u", u), ("v", v)):
        for place, symbol in enumerate(entries, start=1):
            at = {Index("l", d): place}
            found = derived(problem.derived[problem.gradient[name]].expr, at)
            assert (found - risk.diff(symbol)).expand() == 0
            expr, rows, columns = problem.hessian_block(name, "v")
            for other, second in enumerate(v, start=1):
                found = derived(expr, {rows[0]: place, columns[0]: other})
                assert (found - risk.diff(symbol, second)).expand() == 0


@pytest.mark.parametrize("depth", [1, 2, 3, 4, Dim("D")], ids=str)
def test_the_invariant_of_a_diagonal_network_is_proved(depth):
    statement = diagonal_invariant(DiagonalProblem.of(depth, rate=(("u", Integer(2)), ("v", Integer(2)))))
    assert statement.status is Status.PROVED


def test_the_invariant_needs_equal_rates_and_no_decay():
    with pytest.raises(ValueError, match="with one rate"):
        diagonal_invariant(DiagonalProblem.of(2, rate=(("u", Integer(2)),)))
    with pytest.raises(ValueError, match="weight decay 0, got 1"):
        diagonal_invariant(DiagonalProblem.of(2, weight_decay=Integer(1)))
    with pytest.raises(ValueError, match="weight decay 0"):
        predictor_flow(DiagonalProblem.of(2, weight_decay=Integer(1)))


@pytest.mark.parametrize("depth", [1, 2, 3, Dim("D")], ids=str)
@pytest.mark.parametrize(
    "options", [{}, {"rate": (("v", Integer(5)),)}, {"freeze": ("v",)}], ids=["", "rates", "frozen"]
)
def test_the_predictor_flows_as_its_parts_do(depth, options):
    problem = DiagonalProblem.of(depth, **options)
    (equation,) = predictor_flow(problem).system
    l = Index("l", d)
    expected = Integer(0)
    for block, sign in zip(problem.blocks, (1, -1), strict=True):
        if block.trained:
            chain = sign * depth * block.tensor[l] ** (depth - 1)
            expected -= chain * block.rate * problem.derived[problem.gradient[block.name]].expr
    moment = next(iter(expected.atoms(ISum)))
    stand_in = Symbol("g")
    difference = (equation.rhs - expected).xreplace({moment: stand_in})
    assert simplify(difference) == 0


def test_the_predictor_flow_prints_as_in_the_papers():
    found = predictor_flow(DiagonalProblem.of(2)).latex()
    assert r"\dot{\beta}_l &= -4 (u_l^{2} + v_l^{2}) \sum_{i=1}^{n} r_i x_{il}" in found


def test_a_diagonal_network_of_depth_one_half_is_refused():
    for depth in (0, Rational(1, 2), 1.5):
        with pytest.raises(ValueError, match="an integer >= 1"):
            DiagonalProblem.of(depth)


def test_diagonal_network_compiles_as_any_problem():
    torch = pytest.importorskip("torch")
    from numerics.compile import CompiledSystem

    x = torch.tensor([[1.0, -2.0], [0.5, 3.0], [2.0, 1.0]], dtype=torch.float64)
    y = torch.tensor([1.0, -1.0, 0.5], dtype=torch.float64)
    system = CompiledSystem(DiagonalProblem.of(3), x, y, {})
    theta = system.pack({"u": [0.5, -1.0], "v": [1.5, 0.25]}).requires_grad_()
    u, v = theta[:2], theta[2:]
    risk = ((x @ (u**3 - v**3) - y) ** 2).mean() / 2
    (slope,) = torch.autograd.grad(risk, theta)
    assert torch.allclose(system.value(theta.detach()), risk.detach(), rtol=1e-12)
    assert torch.allclose(system.gradient(theta.detach()), slope, rtol=1e-12)


def test_a_deep_linear_network_is_a_problem_already():
    """The flow of W2 W1 conserves W1 W1^T - W2^T W2: proved from the derived gradients."""
    problem = Problem.deep(2, "linear", input_bias=False, output_bias=False, vector_output=True)
    first, second = (problem.derived[problem.gradient[f"W{layer}"]] for layer in (1, 2))
    W1, W2 = problem.parameters
    p, q, l, c = Index("p", W1.dims[0]), Index("p'", W1.dims[0]), Index("l", d), Index("c", W2.dims[0])
    left = isum(first.at((p, l)) * W1[q, l] + first.at((q, l)) * W1[p, l], l)
    right = isum(second.at((c, p)) * W2[c, q] + second.at((c, q)) * W2[c, p], c)
    keep = [entry.tensor for entry in problem.derived if not entry.tensor.name.startswith(("z", "delta"))]
    assert not vanishes(bind(problem.derived.inline(left, keep), problem.functions))
    assert vanishes(bind(problem.derived.inline(left - right, keep), problem.functions))
