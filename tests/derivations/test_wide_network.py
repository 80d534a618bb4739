"""Kernels of wide networks as equations: read back and evaluated, against published values and random networks written by hand."""

from __future__ import annotations

import math

import pytest
import torch
from sympy import Float, Integer, Rational, Symbol

from derivations.derivation import Derivation
from derivations.errors import AssumptionError
from derivations.formula_model import FormulaProblem
from derivations.indexed import Entry, ISum, open_sum
from derivations.problem import Problem
from derivations.wide_network import derive_kernels

X = [[1.0, 0.5], [-0.3, 0.8], [2.0, -1.0]]
EXACT = [[Integer(1), Rational(1, 2)], [Rational(-3, 10), Rational(4, 5)], [Integer(2), Integer(-1)]]


class Reader:
    """Evaluates the printed equations at two samples, layer by layer; knows nothing of how they were derived."""

    def __init__(self, derivation, x, **symbols):
        self.rules = {
            e.lhs.tensor.name: e.rhs
            for e in (*derivation.system, *derivation.where)
            if isinstance(e.lhs, Entry)
        }
        self.x = x
        self.symbols = {Symbol(name, positive=True): value for name, value in symbols.items()}
        self.m = symbols.get("m")

    def __call__(self, name, i, j, layer=None):
        rule = self.rules.get(name)
        if rule is None:  # the equation of layer l stands for every layer
            head, number = name.split("(")
            layer = int(number[:-1])
            rule = self.rules[f"{head}(l)" if f"{head}(l)" in self.rules else f"{head}(l-1)"]
            layer += f"{head}(l)" not in self.rules
        value = self.read(rule, {"i": i, "j": j}, layer)
        value = value.subs(self.symbols)
        value = value.subs({u: self.m for u in value.free_symbols if u.name == "m"})
        return value.doit().evalf(25)

    def read(self, expr, at, layer):
        if isinstance(expr, ISum):
            body, index = open_sum(expr)
            return sum(self.read(body, {**at, index.name: l}, layer) for l in range(len(self.x[0])))
        if isinstance(expr, Entry):
            where = [at[u.name] for u in expr.indices]
            if expr.tensor.name == "x":
                return self.x[where[0]][where[1]]
            name = expr.tensor.name
            if layer is not None:
                name = name.replace("(l-1)", f"({layer - 1})").replace("(l)", f"({layer})")
            return self(name, *where, layer)
        if not expr.args:
            return expr
        return expr.func(*[self.read(u, at, layer) for u in expr.args])


def agrees(value, text):
    return abs(float(value) - float(text)) <= 0.51 * 10.0 ** -len(text.partition(".")[2])


ROWS = {
    ("relu", 0, 1): (".17786636425883", ".26669168321526", ".20453553258035"),
    ("relu", 0, 2): (".84693445970814", ".35241638234957", "1.3755590332325"),
    ("relu", 1, 2): (".040150134228703", ".11910806556483", "-.12660115756206"),
    ("relu", 0, 0): (".625", ".5", "1.25"),
    ("erf", 0, 1): (".043425556092108", ".43493034331138", ".086918590423245"),
    ("erf", 0, 2): (".32126484356577", ".23442240147752", ".67289844578205"),
    ("erf", 1, 2): ("-.36183820859812", ".2904246181152", "-.7684326739594"),
    ("erf", 0, 0): (".5064965711423", ".51979786748912", "1.1562439055037"),
}


@pytest.mark.parametrize(("name", "i", "j"), ROWS)
def test_the_equations_give_the_published_values(name, i, j):
    read = Reader(derive_kernels(Problem.two_layer(name, "square", scale="1/sqrt(m)")), EXACT)
    mean, slope, tangent = ROWS[name, i, j]
    assert agrees(read("K", i, j), mean)
    assert agrees(read("Q'", i, j), slope)
    assert agrees(read("Theta", i, j), tangent)


@pytest.mark.parametrize("depth", [2, 3, 4, 5])
def test_the_recursion_gives_the_published_values(depth):
    """relu, sigma_w^2 = 2, no biases, unit vectors with inner product .3: one, two, three and four hidden layers."""
    expected = [
        (".4827442838", ".6618402890"),
        (".5975484852", "1.0346012996"),
        (".6758208545", "1.4040337266"),
        (".7321619168", "1.7658265753"),
    ]
    u = Float("0.3", 40)
    x = [[Float(1, 40), Float(0, 40)], [u, (1 - u**2) ** Rational(1, 2)]]
    problem = Problem.deep(depth, "relu", "square", input_bias=False, output_bias=False)
    read = Reader(derive_kernels(problem), x, sigma_w=2 ** Rational(1, 2))
    assert agrees(read("K", 0, 1), expected[depth - 2][0])
    assert agrees(read("Theta", 0, 1), expected[depth - 2][1])
    assert float(read("Theta", 0, 0)) == pytest.approx(depth, abs=1e-9)


def draws(problem, x, m, count, seed):
    """f, and its gradients by automatic differentiation, of ``count`` networks written by hand: NNGP and NTK samples."""
    generator = torch.Generator().manual_seed(seed)

    def normal(*shape):
        return torch.randn(count, *shape, generator=generator, dtype=torch.float64).requires_grad_()

    x = torch.tensor(x, dtype=torch.float64)
    sigma = {"relu": torch.relu, "tanh": torch.tanh, "erf": torch.erf, "sin": torch.sin}[
        problem.activation.name
    ]
    a, w, b, c = normal(m), normal(m, x.shape[1]), normal(m), normal()
    blocks = {"a": a, "w": w}
    z = torch.einsum("rkl,il->rki", w, x)
    if problem.input_bias:
        z, blocks["b"] = z + b[..., None], b
    f = float(problem.scale.subs(dict.fromkeys(problem.scale.free_symbols, m))) * torch.einsum(
        "rk,rki->ri", a, sigma(z)
    )
    if problem.output_bias:
        f, blocks["c"] = f + c[:, None], c
    rates = {u.name: float(u.rate) if u.trained else 0.0 for u in problem.blocks}
    rows = []
    for i in range(len(x)):
        gradients = torch.autograd.grad(f[:, i].sum(), list(blocks.values()), retain_graph=True)
        rows.append(
            torch.cat(
                [math.sqrt(rates[name]) * g.reshape(count, -1) for name, g in zip(blocks, gradients)], 1
            )
        )
    jacobian = torch.stack(rows, 1)
    return torch.einsum("ri,rj->rij", f, f).detach(), jacobian @ jacobian.transpose(1, 2)


VARIANTS = {
    "bare": Problem.two_layer("relu", "square", scale="1/sqrt(m)"),
    "biases": Problem.two_layer("erf", "square", input_bias=True, output_bias=True, scale="1/sqrt(m)"),
    "scale 1": Problem.two_layer("sin", "square", input_bias=True),
    "mean field": Problem.two_layer("relu", "square", output_bias=True, scale="1/m"),
    "rates": Problem.two_layer(
        "relu",
        "square",
        input_bias=True,
        output_bias=True,
        rate=(("a", Integer(3)), ("b", Integer(2)), ("c", Rational(1, 2))),
    ),
    "frozen": Problem.two_layer("relu", "square", input_bias=True, output_bias=True, freeze=("a", "c")),
}


@pytest.mark.parametrize("name", VARIANTS)
def test_the_kernels_are_the_means_over_random_networks_of_finite_width(name):
    """Exact at every width: 40000 networks of three neurons, mean within four standard errors; seed 1."""
    problem, m, count = VARIANTS[name], 3, 40_000
    read = Reader(derive_kernels(problem), X, m=Integer(m))
    for quantity, sample in zip(("K", "Theta"), draws(problem, X, m, count, seed=1)):
        mean, error = sample.mean(0), sample.std(0) / math.sqrt(count)
        for i in range(3):
            for j in range(3):
                assert abs(float(mean[i, j]) - float(read(quantity, i, j))) <= 4 * float(error[i, j]) + 1e-12


def test_the_tangent_kernel_concentrates_as_the_width_grows():
    """Relative spread of one entry falls like m^{-1/2}; the limit of relu at one input has variance 5/4 |x|^4 / m in its first block."""
    problem = Problem.two_layer("relu", "square", scale="1/sqrt(m)", freeze=("w",))
    spreads = []
    for m in (16, 64, 256):
        _, tangent = draws(problem, X, m, 4000, seed=2)
        spreads.append(float(tangent[:, 0, 0].std()))
        assert spreads[-1] == pytest.approx(
            1.25 * math.sqrt(5 / (4 * m)), rel=0.07
        )  # 4 standard errors: 4/sqrt(8000), heavy tail
    slope = math.log(spreads[2] / spreads[0]) / math.log(16)
    assert slope == pytest.approx(-0.5, abs=0.05)


@pytest.mark.parametrize("frozen", [(), ("W2", "b1", "b3"), ("W3", "b2")])
def test_deep_kernels_are_those_of_wide_random_networks(frozen):
    """Three layers of weights, erf, biases, 200 neurons each, 40 networks, gradients in NTK parametrisation by autograd; seed 3."""
    problem = Problem.deep(3, "erf", "square", freeze=frozen)
    weight, bias = 1.5, 0.4
    read = Reader(derive_kernels(problem), X, sigma_w=Float(weight), sigma_b=Float(bias))
    generator = torch.Generator().manual_seed(3)
    x, size, count = torch.tensor(X, dtype=torch.float64), 200, 40
    products, kernels = [], []
    for _ in range(count):
        shapes = {"W1": (size, 2), "b1": (size,), "W2": (size, size), "b2": (size,), "W3": (size,), "b3": ()}
        free = {
            name: torch.randn(shape, generator=generator, dtype=torch.float64).requires_grad_()
            for name, shape in shapes.items()
        }
        h = torch.erf(x @ free["W1"].T + bias * free["b1"])
        h = torch.erf(weight / math.sqrt(size) * h @ free["W2"].T + bias * free["b2"])
        f = weight / math.sqrt(size) * h @ free["W3"] + bias * free["b3"]
        trained = [value for name, value in free.items() if name not in frozen]
        rows = [
            torch.cat([g.reshape(-1) for g in torch.autograd.grad(u, trained, retain_graph=True)]) for u in f
        ]
        jacobian = torch.stack(rows)
        products.append(torch.outer(f, f).detach())
        kernels.append(jacobian @ jacobian.T)
    for quantity, sample in (("K", torch.stack(products)), ("Theta", torch.stack(kernels))):
        mean, error = sample.mean(0), sample.std(0) / math.sqrt(count)
        for i in range(3):
            for j in range(3):
                # the limit is approached at the rate 1/size, with a constant seen to be below 4
                room = 4 * float(error[i, j]) + 4 / size
                assert abs(float(mean[i, j]) - float(read(quantity, i, j))) <= room


def test_layer_by_layer_and_recursion_agree():
    """Rates of 1 written out layer by layer, as different ones are, give what the recursion gives."""
    same = derive_kernels(Problem.deep(5, "relu", "square"))
    apart = derive_kernels(Problem.deep(5, "relu", "square", rate=(("W1", Integer(2)),)))
    numbers = {"sigma_w": Float("1.2"), "sigma_b": Float("0.3")}
    first, second = (Reader(u, EXACT, **numbers) for u in (same, apart))
    assert abs(first("K", 0, 1) - second("K", 0, 1)) < 1e-15
    # doubling the rate of W1 adds its own part once more: sigma_w^8 x.x' times the four slopes
    slopes = math.prod(float(first(f"Q'({layer})", 0, 1)) for layer in range(1, 5))
    added = 1.2**8 * 0.1 * slopes
    assert float(second("Theta", 0, 1) - first("Theta", 0, 1)) == pytest.approx(added, rel=1e-9)


def test_notes_state_the_law_and_the_scale():
    def notes(**options):
        return " ".join(derive_kernels(Problem.two_layer("relu", "square", **options)).notes)

    assert "entries of $a$, $w$, $b$ are independent and $N(0, 1)$" in notes(input_bias=True)
    assert "NTK parametrisation. As $m \\to \\infty$" in notes(scale="1/sqrt(m)")
    assert "both kernels grow with $m$" in notes()
    assert "tends to $0$" in notes(scale="1/m")
    assert "Not trained" in notes(freeze=("a",))
    assert "those of each output" in notes(vector_output=True)
    deep = " ".join(derive_kernels(Problem.deep(4, "relu", "square")).notes)
    assert "$N(0, \\sigma_w^2/m_{l-1})$" in deep
    assert "$m_1 \\to \\infty$, then $m_2 \\to \\infty$, and so on" in deep
    assert "biases" not in " ".join(
        derive_kernels(Problem.deep(3, "relu", "square", input_bias=False, output_bias=False)).notes
    )


def test_every_form_states_the_assumptions():
    found = derive_kernels(Problem.two_layer("relu", "square"))
    for form in (found.text(), found.latex(), found._repr_markdown_(), str(found.to_dict())):
        assert "N(0, 1)" in form
    assert "N(0, 1)" not in found.latex_equations()
    assert isinstance(found, Derivation)
    assert r"\kappa_1(u) &= \frac{1}{\pi} \Bigl(u \bigl(\pi - \arccos(u)\bigr)" in found.latex()
    assert found.equations[1].lhs == found.system[1].lhs


def test_general_and_unsolved_activations_keep_their_means():
    for problem in (
        Problem.two_layer(None, "square"),
        Problem.two_layer("tanh", "square"),
        Problem.deep(3, "tanh"),
    ):
        assert r"\mathbb{E}[\sigma'(u) \sigma'(v)]" in derive_kernels(problem).latex()


def test_a_formula_has_no_width():
    model = FormulaProblem.of("a*exp(w*x)", ["a", "w"])
    with pytest.raises(AssumptionError, match="no width that could grow"):
        derive_kernels(model)


def test_means_that_are_infinite_for_every_input_are_refused():
    """E exp(2 u^2) is infinite from variance 1/4 on, and a bias of variance 1 exceeds that; without it small inputs are left."""
    with pytest.raises(AssumptionError, match="infinite for variances from 1/4 on"):
        derive_kernels(Problem.two_layer("exp(z**2)", "square", input_bias=True))
    found = derive_kernels(Problem.two_layer("exp(z**2)", "square"))
    assert "The means exist where $S_{kk} < \\frac{1}{4}$" in " ".join(found.notes)
