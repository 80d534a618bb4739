"""All that ``derive`` shows, printed: it compiles without overfull lines, has no residue, and is the same in every process."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from functools import cache
from pathlib import Path

import pytest
from sympy import Rational, Symbol, exp, log, pi, sqrt

from derivations.activations import activation
from derivations.derivation import Derivation
from derivations.diagonal_model import DiagonalProblem
from derivations.errors import AssumptionError
from derivations.formula_model import FormulaProblem
from derivations.indexed import Index, Tensor, isum
from derivations.latex import latex
from derivations.plain import plain
from derivations.problem import Problem, d, m, n
from workbench.derive import SHOWN, derive
from workbench.errors import NotThere
from workbench.tex import escape

ETA, LAMBDA = Symbol("eta", positive=True), Symbol("lambda", positive=True)
PROBLEMS = {
    "general": Problem.two_layer(input_bias=True, output_bias=True),
    "tanh": Problem.two_layer("tanh", "square", input_bias=True),
    "relu": Problem.two_layer("relu", "logistic", input_bias=True, scale="1/m"),
    "slope at the kink": Problem.two_layer(activation("leaky_relu(1/10)", kink=Rational(1, 4)), "hinge", reduction="sum"),
    "vector": Problem.two_layer(
        "gelu", "square", input_bias=True, output_bias=True, vector_output=True, scale="1/sqrt(m*d)", weight_decay="1/10"
    ),
    "rates": Problem.two_layer(
        "gaussian", "exponential", input_bias=True, rate=(("a", ETA), ("w", Rational(1, 3)), ("b", Rational(1, 3))), factor="2"
    ),
    "user's formulas": Problem.two_layer("sin(z)*exp(-z**2/2) + z/3", "log(1 + (f - y)**2)", freeze=("a",)),
    "deep": Problem.deep(3, "softplus", "square"),
    "deep, no biases": Problem.deep(3, "relu", "correlation", input_bias=False, output_bias=False),
    "deep, vector": Problem.deep(2, "tanh", vector_output=True, weight_decay=LAMBDA, freeze=("b1",)),
    "diagonal": DiagonalProblem.of(2),
    "diagonal, general depth": DiagonalProblem.of(Symbol("D", integer=True, positive=True), weight_decay=Rational(1, 10)),
    "formula": FormulaProblem.of("a1*exp(w1*x) + c*abs(x - c)", ["a1", "w1", "c"], loss="logistic"),
}  # fmt: skip

#: What would be left over by a derivation or a printer that does not know an object.
RESIDUE = re.compile(
    r"Derivative\(|Subs\b|KroneckerDelta|DiracDelta|Heaviside|Integral\(|Piecewise|ISum|_f\d|_n\d|_m\d\b|\bnan\b|zoo|\\left\."
    r"|\\frac\{\d+\}\{1\}|\\frac\{\\partial [^ ]*\}\{[^{}]*\}\^"
)
#: In displayed equations also what no paper prints; their delimiters have fixed sizes, so that lines may break.
UNUSUAL = re.compile(
    r"\\left|\\right|\\sqrt\{\d+\} \d|\\sqrt\{[^{}]*\} \\sqrt|[({]- \\frac|\\exp\\Bigl\(-?\\frac\{\d+\}\{\d+\}\\Bigr\)"
)


@cache
def shown(name):
    """All that can be derived of a problem: name to (derivation, its LaTeX)."""
    found = {}
    for what in SHOWN:
        try:
            derivation = derive(PROBLEMS[name], what)
        except (AssumptionError, NotThere, ValueError):
            continue
        found[what] = (derivation, derivation.latex())
    return found


@pytest.mark.parametrize("name", PROBLEMS)
def test_nothing_is_left_over_in_print(name):
    found = shown(name)
    assert {
        "risk",
        "gradient",
        "gradient-flow",
        "hessian",
        "ntk",
        "jacobian",
        "gauss-newton",
        "tangent-map",
    } <= set(found)
    for what, (derivation, tex) in found.items():
        text = tex + " ".join(getattr(derivation, "notes", ()))
        left = RESIDUE.search(text) or (UNUSUAL.search(tex) if isinstance(derivation, Derivation) else None)
        assert left is None, f"{what}: {left and text[max(0, left.start() - 60) : left.end() + 40]!r}"
        assert text.count("{") == text.count("}"), what
        if r"\delta_{" in tex.replace(r"\delta_{ik}", "") and hasattr(derivation, "notes"):
            assert "Kronecker" in text, f"{what}: a Kronecker delta is printed and not explained"


def test_the_residues_are_noticed():
    for text in (
        r"\left. f \right|_{x}",
        r"\frac{\partial R}{\partial w_k}^{\top} w_k",
        "Derivative(f, x)",
        "x_{_f12}",
    ):
        assert RESIDUE.search(text), text
    for text in (
        r"\sqrt{2} 6",
        r"\left(x\right)",
        r"\sqrt{2} \sqrt{\pi}",
        r"\exp\Bigl(-\frac{1}{2}\Bigr)",
        r"(- \frac{1}{2})",
    ):
        assert UNUSUAL.search(text), text
    fine = r"6 \sqrt{2} e^{-1/2} - \frac{1}{n} \frac{\partial R}{\partial w_k} \Bigl(-\frac{1}{2}\Bigr)"
    assert not RESIDUE.search(fine)
    assert not UNUSUAL.search(fine)


SCRIPT = """
import sys
sys.path.insert(0, {folder!r})
import test_all_latex as tests
for name in {names!r}:
    for what in {objects!r}:
        derivation = tests.derive(tests.PROBLEMS[name], what)
        print(name, what, derivation.latex(), derivation.text())
"""


def test_two_processes_print_the_same():
    """SymPy's order of factors depends on hashes; ours does not."""
    folder, printed = Path(__file__).parent, []
    objects = [
        "risk",
        "gradient-flow",
        "hessian",
        "ntk",
        "gauss-newton",
        "output-dynamics",
        "tangent-map",
        "kkt-norm",
    ]
    script = SCRIPT.format(
        folder=str(folder), names=["vector", "relu", "formula", "deep, vector"], objects=objects
    )
    for seed in ("1", "4242"):
        done = subprocess.run(
            [sys.executable, "-c", script],
            capture_output=True,
            text=True,
            timeout=200,
            check=True,
            cwd=folder.parents[1],
            env={**os.environ, "PYTHONHASHSEED": seed},
        )
        printed.append(done.stdout)
    assert len(printed[0]) > 20_000
    assert printed[0] == printed[1]


# ---- numbers and derivatives as a paper prints them

K, L, I = Index("k", m), Index("l", d), Index("i", n)
A, X = Tensor("a", (m,)), Tensor("x", (n, d))
Z = Symbol("z", real=True)


@pytest.mark.parametrize(
    ("expr", "expected"),
    [
        (6 * sqrt(2) * Z, r"6 \sqrt{2} z"),
        (exp(-Rational(1, 2)) * Z, r"e^{-1/2} z"),
        (exp(-Rational(1, 2)), r"e^{-1/2}"),
        (exp(-(Z**2) / 2) / sqrt(2 * pi), r"\frac{1}{\sqrt{2 \pi}} e^{-z^{2}/2}"),
        (5 * 2 ** Rational(1, 3), r"5 \cdot 2^{1/3}"),
        (-Rational(1, 2), r"-\frac{1}{2}"),
        (2 * log(2) * Z, r"2 \log(2) z"),
        (isum(A[K], K) / sqrt(m * d), r"\frac{1}{\sqrt{d m}} \sum_{k=1}^{m} a_k"),
        (A[K] * (LAMBDA + 1), r"(\lambda + 1) a_k"),
        (A[K] * (1 - A[K]), r"a_k (1 - a_k)"),
    ],
)
def test_numbers_are_printed_as_in_a_paper(expr, expected):
    assert latex(expr) == expected


def printed(derivation):
    return [f"{row.left} = {row.tex}" for row in derivation.rows([*derivation.system, *derivation.where])]


def test_print_of_the_main_equations_of_vector_outputs():
    problem = Problem.two_layer("relu", "square", input_bias=True, vector_output=True, scale="1/sqrt(m)")
    assert printed(derive(problem, "gradient-flow")) == [
        r"\dot{a}_{kc} = -\frac{1}{\sqrt{m}} \sum_{i=1}^{n} r_{ic} \sigma(z_{ik})",
        r"\dot{w}_k = -\sum_{i=1}^{n} \delta_{ik} x_i",
        r"\dot{b}_k = -\sum_{i=1}^{n} \delta_{ik}",
        r"z_{ik} = w_k^{\top} x_i + b_k",
        r"f_{ic} = \frac{1}{\sqrt{m}} \sum_{k=1}^{m} a_{kc} \sigma(z_{ik})",
        r"r_{ic} = \frac{1}{n} (f_{ic} - y_{ic})",
        r"\delta_{ik} = \frac{1}{\sqrt{m}} \sigma'(z_{ik}) \sum_{c=1}^{o} a_{kc} r_{ic}",
        r"\sigma(z) = (z)_{+}",
        r"\sigma'(z) = \mathbf{1}\{z > 0\}",
    ]
    assert printed(derive(problem, "ntk"))[0] == (
        r"\Theta_{ic,jc'} = \frac{1}{m} \delta_{cc'} \sum_{k=1}^{m} \sigma(z_{ik}) \sigma(z_{jk}) + "
        r"\frac{1}{m} (x_i^{\top} x_j + 1) \sum_{k=1}^{m} a_{kc} a_{kc'} \sigma'(z_{ik}) \sigma'(z_{jk})"
    )


def test_print_of_the_main_equations_of_a_deep_network():
    problem = Problem.deep(3, "tanh", "square", input_bias=False, output_bias=False)
    assert printed(derive(problem, "gradient")) == [
        r"\frac{\partial R}{\partial W^{(1)}_{pq}} = \sum_{i=1}^{n} \delta^{(1)}_{ip} x_{iq}",
        r"\frac{\partial R}{\partial W^{(2)}_{pq}} = \sum_{i=1}^{n} \delta^{(2)}_{ip} \sigma\bigl(z^{(1)}_{iq}\bigr)",
        r"\frac{\partial R}{\partial W^{(3)}_q} = \sum_{i=1}^{n} r_i \sigma\bigl(z^{(2)}_{iq}\bigr)",
        r"z^{(1)}_{ip} = \sum_{l=1}^{d} W^{(1)}_{pl} x_{il}",
        r"z^{(2)}_{ip} = \sum_{q=1}^{m_1} W^{(2)}_{pq} \sigma\bigl(z^{(1)}_{iq}\bigr)",
        r"f_i = \sum_{p=1}^{m_2} W^{(3)}_p \sigma\bigl(z^{(2)}_{ip}\bigr)",
        r"r_i = \frac{1}{n} (f_i - y_i)",
        r"\delta^{(2)}_{ip} = W^{(3)}_p r_i \sigma'\bigl(z^{(2)}_{ip}\bigr)",
        r"\delta^{(1)}_{ip} = \sigma'\bigl(z^{(1)}_{ip}\bigr) \sum_{q=1}^{m_2} W^{(2)}_{qp} \delta^{(2)}_{iq}",
        r"\sigma(z) = \tanh(z)",
        r"\sigma'(z) = 1 - \tanh^{2}(z)",
    ]
    kernel = printed(derive(problem, "ntk"))
    assert kernel[1] == r"\dot{f}_i = -\sum_{j=1}^{n} \Theta_{ij} r_j"
    assert (
        r"g^{(1)}_{ip} = \sigma'\bigl(z^{(1)}_{ip}\bigr) \sum_{q=1}^{m_2} W^{(2)}_{qp} g^{(2)}_{iq}" in kernel
    )


def test_terms_that_vanish_are_not_printed():
    """The second derivative of relu is 0 almost everywhere, that of tanh is not."""
    hessian = derive(Problem.two_layer("relu", "square"), "hessian")
    assert printed(hessian)[2] == (
        r"\frac{\partial^{2} R}{\partial w_k \, \partial w_q^{\top}} = "
        r"\frac{1}{n} a_k a_q \sum_{i=1}^{n} \sigma'(z_{ik}) \sigma'(z_{iq}) x_i x_i^{\top}"
    )
    assert "almost everywhere" in " ".join(hessian.notes)
    assert r"\sigma''(z_{ik})" in derive(Problem.two_layer("tanh", "square"), "hessian").latex()
    assert r"\sigma''(z_{ik})" in derive(Problem.two_layer("relu_power(2)", "square"), "hessian").latex()


def test_derivatives_carry_their_indices_in_plain_text():
    problem = Problem.two_layer(input_bias=True, vector_output=True)
    jacobian = [line.strip() for line in derive(problem, "jacobian").text().splitlines()]
    assert jacobian[1:4] == [
        "df[i,c]/da[k,c'] = delta(c,c')*sigma(z[i,k])",
        "df[i,c]/dw[k,l] = a[k,c]*x[i,l]*sigma'(z[i,k])",
        "df[i,c]/db[k] = a[k,c]*sigma'(z[i,k])",
    ]
    hessian = derive(Problem.two_layer(output_bias=True), "hessian")
    assert [plain(e.lhs) for e in hessian.system][1:3] == ["d2R/(da[k] dw[q,l'])", "d2R/(da[k] dc)"]


# ---- what TeX makes of it

PAGE = r"""\documentclass[11pt,a4paper]{article}
\usepackage[T1]{fontenc}\usepackage[margin=25mm]{geometry}\usepackage{amsmath,amssymb,lmodern,array,booktabs,longtable}
\allowdisplaybreaks\emergencystretch=4em
\begin{document}
%s
\end{document}
"""
#: Points by which a line may stick out; a sentence with long inline formulas needs a little.
ALLOWED = 5.0


@pytest.mark.tex
def test_everything_compiles_on_one_run_without_overfull_lines(tmp_path):
    parts = []
    for name in PROBLEMS:
        for what, (derivation, tex) in shown(name).items():
            head = rf"\subsection*{{{escape(f'{name}: {what}, {derivation.title}')}}}"
            parts.append("\n".join([head, tex, "", " ".join(getattr(derivation, "notes", ())), ""]))
    assert len(parts) > 180
    (tmp_path / "page.tex").write_text(PAGE % "\n".join(parts), encoding="utf-8")
    command = [shutil.which("pdflatex"), "-interaction=nonstopmode", "-halt-on-error", "page.tex"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, timeout=200, check=False)
    log_text = (tmp_path / "page.log").read_text(encoding="latin-1")
    errors = [line for line in log_text.splitlines() if line.startswith(("!", "l."))]
    assert done.returncode == 0, "\n".join(errors)
    overfull = re.findall(r"Overfull \\hbox \(([\d.]+)pt too wide\)[^\n]*", log_text)
    assert [width for width in overfull if float(width) > ALLOWED] == []
    assert "Missing character" not in log_text
