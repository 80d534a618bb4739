r"""Kernels of a network over its random initialisation: NNGP and NTK, at every width or in the limit of infinite width.

Two layers, :math:`f = s \sum_k a_k \sigma(w_k \cdot x + b_k) + c` with independent N(0, 1) entries.  With
:math:`S_{ij}` the covariance of :math:`z_{ik}` and :math:`z_{jk}`, exact for every m,

.. math::
    K_{ij} = \mathbb{E}[f_i f_j] = m s^2\, \mathbb{E}[\sigma(u)\sigma(v)] + 1, \qquad
    \overline\Theta_{ij} = m s^2 \bigl( \mathbb{E}[\sigma(u)\sigma(v)] + S_{ij}\, \mathbb{E}[\sigma'(u)\sigma'(v)] \bigr) + 1,

the last 1 with an output bias only.  In NTK parametrisation, :math:`m s^2 = 1`, the tangent kernel tends to
:math:`\overline\Theta` as m grows and the outputs to a Gaussian process with covariance K.

Deep networks: the first layer and the biases as below, :math:`W^{(l)}` with entries :math:`N(0, \sigma_w^2/m_{l-1})`,

.. math::
    S^{(l)} = \sigma_w^2\, \mathbb{E}_{S^{(l-1)}}[\sigma\sigma] + \sigma_b^2, \qquad
    T^{(l)} = S^{(l)} + \sigma_w^2\, T^{(l-1)}\, \mathbb{E}_{S^{(l-1)}}[\sigma'\sigma'], \qquad T^{(0)} = S^{(0)} .

Assumptions
-----------
independent Gaussian initialisation : stated in the first note of the result
infinite width (deep networks) : the widths go to infinity one after the other, the first one first
means exist : closed form, or a Lipschitz constant of sigma; else the note says that it is not shown

Source
------
Neal (1996) and Lee et al. (2018), arXiv:1711.00165, for K; Jacot, Gabriel, Hongler (2018), arXiv:1806.07572, Theorem 1, for the
deep tangent kernel - equalities in the limit.

>>> from derivations.problem import Problem
>>> kernels = derive_kernels(Problem.two_layer("relu", "square", scale="1/sqrt(m)"))
>>> print("\n".join(line for line in kernels.text().splitlines() if "=" in line and "$" not in line))
    K[i,j] = Q[i,j]
    Theta[i,j] = Q[i,j] + Q'[i,j]*S[i,j]
    S[i,j] = sum(x[i,l]*x[j,l], l=1..d)
    rho[i,j] = S[i,j]/(sqrt(S[i,i])*sqrt(S[j,j]))
    Q[i,j] = kappa1(rho[i,j])*sqrt(S[i,i])*sqrt(S[j,j])/2
    Q'[i,j] = kappa0(rho[i,j])/2
    kappa1(u) = (u*(pi - acos(u)) + sqrt(1 - u**2))/pi
    kappa0(u) = (pi - acos(u))/pi
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from sympy import Add, Expr, Integer, Mul, Pow, S, Symbol, limit, simplify, sqrt

from derivations.activations import Activation
from derivations.derivation import Derivation, Equation
from derivations.errors import AssumptionError
from derivations.indexed import Entry, Index, Tensor, isum
from derivations.latex import latex
from derivations.latex_lines import TEXT_WIDTH
from derivations.pair_means import kappa0, kappa1, largest_variance, mean_notes, pair_mean
from derivations.problem import Problem, d, m, n

__all__ = ["KernelDerivation", "derive_kernels"]

_I, _J, _L = Index("i", n), Index("j", n), Index("l", d)
_U = Symbol("u", real=True)
_SW, _SB = Symbol("sigma_w", positive=True) ** 2, Symbol("sigma_b", positive=True) ** 2


@dataclass(frozen=True)
class KernelDerivation(Derivation):
    """Equations of kernels; text and LaTeX begin with the notes, which state the law of the initial parameters."""

    def latex(self, width: float = TEXT_WIDTH) -> str:
        """Return the notes as sentences and the ``align`` environments."""
        return "\n".join([" ".join(self.notes), self.latex_equations(width)])

    def latex_equations(self, width: float = TEXT_WIDTH) -> str:
        """Return the ``align`` environments alone."""
        return super().latex(width)

    def text(self) -> str:
        """Return title, notes and equations; mathematics of the notes stays LaTeX between dollars."""
        title, *rest = super().text().splitlines()
        return "\n".join([title, *(f"    {note}" for note in self.notes), *rest])

    def _repr_markdown_(self) -> str:
        return "\n\n".join([" ".join(self.notes), self._repr_latex_()])


def derive_kernels(problem: Problem) -> KernelDerivation:
    """Return NNGP and NTK of a two-layer or deep network as equations in samples i and j.

    Raises
    ------
    AssumptionError
        If the model is a formula, or the means do not exist.
    """
    if problem.kind == "two_layer":
        return _two_layer(problem)
    if problem.kind == "deep":
        return _deep(problem)
    raise AssumptionError(
        f"kernels of wide networks need a two-layer or deep network; a {problem.kind} model has no width that could grow"
    )


def _covariance(name: str) -> Tensor:
    return Tensor(name, (n, n))


def _inner() -> Expr:
    x = Tensor("x", (n, d))
    return isum(x[_I, _L] * x[_J, _L], _L)


def _rates(problem: Problem) -> dict[str, Expr]:
    return {block.name: block.rate if block.trained else S.Zero for block in problem.blocks}


def _two_layer(problem: Problem) -> KernelDerivation:
    rates, scale = _rates(problem), simplify(m * problem.scale**2)
    s, mean, slope = _covariance("S"), _covariance("Q"), _covariance("Q'")
    bias = Integer(problem.input_bias)
    inner = rates["w"] * s[_I, _J]
    if rates.get("b", rates["w"]) != rates["w"]:
        inner = rates["w"] * _inner() + rates["b"]
    last = Integer(problem.output_bias)
    covariance = scale * mean[_I, _J] + last
    tangent = _product(scale, rates["a"] * mean[_I, _J] + inner * slope[_I, _J]) + last * rates.get(
        "c", S.Zero
    )
    _check_bias(problem)
    closed, means = _means(problem.activation, s, mean, slope)
    where = [Equation(s[_I, _J], _inner() + bias), *means]
    blocks = ", ".join(f"${block.tensor.tex}$" for block in problem.blocks)
    notes = [
        f"At initialisation the entries of {blocks} are independent and $N(0, 1)$.",
        r"$K_{ij} = \mathbb{E}[f_i f_j]$ (NNGP) and $\overline{\Theta}_{ij} = \mathbb{E}[\Theta_{ij}]$ (NTK) are means over this law, exact for "
        r"every width $m$; $\Theta$ is the tangent kernel of the gradient flow with its rates, and $(u, v)$ a centred Gaussian pair with "
        r"variances $S_{ii}$, $S_{jj}$ and covariance $S_{ij}$.",
        *_outputs(problem),
        *_frozen(problem),
        _limit_note(scale, problem.scale),
        *mean_notes(problem.activation, closed),
    ]
    return _result(covariance, tangent, where, notes)


def _check_bias(problem: Problem) -> None:
    """An input bias of variance 1 makes every variance at least 1."""
    bound = largest_variance(problem.activation) if problem.activation is not None else None
    if problem.input_bias and bound is not None and bound <= 1:
        raise AssumptionError(
            f"the kernels do not exist: E sigma(u)^2 of {problem.activation.name} is infinite for variances from {bound} on,"  # type: ignore[union-attr]
            " and with an input bias every variance is at least 1"
        )


def _limit_note(factor: Expr, scale: Expr) -> str:
    size = Symbol("m", positive=True)
    end = limit(factor.subs(m, size), size, S.Infinity)
    shown = rf"$m s^2 = {latex(factor)}$ for the output scale $s = {latex(scale)}$"
    if end.is_finite and end != 0:
        return (
            rf"Here {shown}: NTK parametrisation. As $m \to \infty$ the outputs tend to a Gaussian process with covariance $K$, and "
            r"$\Theta$ to $\overline{\Theta}$."
        )
    if end == 0:
        return (
            rf"Here {shown}, which tends to $0$: without the terms of an output bias both kernels vanish as $m \to \infty$. The NTK limit "
            r"belongs to $s = 1/\sqrt{m}$."
        )
    return rf"Here {shown}, so both kernels grow with $m$. The NTK limit belongs to $s = 1/\sqrt{{m}}$, where this factor is $1$."


def _outputs(problem: Problem) -> list[str]:
    if not problem.vector_output:
        return []
    return [
        r"The kernels are those of each output; between two different outputs $\mathbb{E}[f_{ic} f_{jc'}] = 0$ and "
        r"$\mathbb{E}[\Theta_{ic,jc'}] = 0$."
    ]


def _frozen(problem: Problem) -> list[str]:
    if not problem.freeze:
        return []
    names = ", ".join(f"${problem.block(name).tensor.tex}$" for name in problem.freeze)
    return [f"Not trained, and hence without a part in the tangent kernel: {names}."]


def _product(factor: Expr, total: Expr) -> Expr:
    return total if factor == 1 else Mul(factor, total, evaluate=factor == 0 or not isinstance(total, Add))


def _means(
    activation: Activation | None, s: Tensor, mean: Tensor, slope: Tensor, condition: str = ""
) -> tuple[tuple[bool, bool], list[Equation]]:
    """Return whether each mean is closed, and the definitions of correlation, means and arc-cosine kernels."""
    rho = Tensor(f"rho{s.name[1:]}", s.dims, rf"\rho{s.tex[1:]}")
    entries = (s[_I, _I], s[_J, _J], s[_I, _J], rho[_I, _J])
    out, closed = [], []
    for order, tensor in enumerate((mean, slope)):
        found = pair_mean(activation, order, *entries)
        closed.append(found is not None)
        if found is None:
            mark = "'" * order
            found = Tensor(
                f"E[sigma{mark}(u)*sigma{mark}(v)]", (), rf"\mathbb{{E}}[\sigma{mark}(u) \sigma{mark}(v)]"
            )()
        out.append(Equation(tensor[_I, _J], found, condition))
    out = _with_determinant(out, entries[2], Tensor(f"D{s.name[1:]}", s.dims, f"D{s.tex[1:]}")[_I, _J])
    if any(u.tensor == rho for equation in out for u in equation.rhs.atoms(Entry)):
        correlation = entries[2] / (sqrt(entries[0]) * sqrt(entries[1]))
        out.insert(0, Equation(rho[_I, _J], correlation, condition))
    for kernel in (kappa1, kappa0):
        if any(equation.rhs.has(kernel) for equation in out):
            out.append(Equation(kernel(_U), kernel(_U).doit()))
    return (closed[0], closed[1]), out


def _with_determinant(means: list[Equation], covariance: Expr, name: Expr) -> list[Equation]:
    """Give the radicand with the covariance in it, where there is just one, a name of its own."""
    found = {
        u.base
        for equation in means
        for u in equation.rhs.atoms(Pow)
        if u.base.is_Add and u.base.has(covariance) and not u.exp.is_Integer
    }
    if len(found) != 1:
        return means
    (radicand,) = found
    new = [Equation(u.lhs, u.rhs.subs(radicand, name), u.condition) for u in means]
    return [Equation(name, radicand, means[0].condition), *new]


def _deep(problem: Problem) -> KernelDerivation:
    """Write the recursion once with a layer index, or layer by layer where the blocks differ in their rates."""
    layers, rates = problem.depth, _rates(problem)
    same = all(rate == 1 for rate in rates.values())
    hidden = Integer(problem.input_bias) * _SB
    first = rates["W1"] * _inner() + rates.get("b1", S.Zero) * hidden
    where = [Equation(_at("S", 0)[_I, _J], _inner() + hidden)]
    where.append(Equation(_at("T", 0)[_I, _J], _at("S", 0)[_I, _J] if same else first))
    if same and layers > 3:
        steps: Sequence[tuple[str | int, str | int, str]] = [("l-1", "l", rf"l = 1, \dots, {layers - 2}")]
    else:
        steps = [(l - 1, l, "") for l in range(1, layers - 1)]
    for before, here, condition in steps:
        q, r = _at("Q", here)[_I, _J], _at("Q'", here)[_I, _J]
        where.append(Equation(_at("S", here)[_I, _J], _SW * q + hidden, condition))
        own = _at("S", here)[_I, _J]
        if not same:
            own = rates[f"W{int(here) + 1}"] * _SW * q + rates.get(f"b{int(here) + 1}", S.Zero) * hidden
        where.append(Equation(_at("T", here)[_I, _J], own + _SW * _at("T", before)[_I, _J] * r, condition))
    means: list[Equation] = []
    closed = (False, False)
    generic = (
        [("l-1", "l", rf"l = 1, \dots, {layers - 1}")]
        if same and layers > 3
        else [(l - 1, l, "") for l in range(1, layers)]
    )
    for before, here, condition in generic:
        closed, found = _means(
            problem.activation, _at("S", before), _at("Q", here), _at("Q'", here), condition
        )
        means += [equation for equation in found if equation not in means]
    kernels = [u for u in means if isinstance(u.lhs, kappa0 | kappa1)]
    where += [u for u in means if u not in kernels] + kernels
    end = _SB * Integer(problem.output_bias)
    factor, q, r = problem.scale**2 * _SW, _at("Q", layers - 1)[_I, _J], _at("Q'", layers - 1)[_I, _J]
    covariance = factor * q + end
    tangent = rates[f"W{layers}"] * factor * q + rates.get(f"b{layers}", S.Zero) * end
    tangent += factor * _at("T", layers - 2)[_I, _J] * r
    notes = [*_deep_law(problem, layers), *_outputs(problem), *_frozen(problem)]
    notes += mean_notes(problem.activation, closed, "S^{(l-1)}")
    return _result(covariance, tangent, where, notes)


def _at(name: str, layer: str | int) -> Tensor:
    """Return the quantity of one layer, number or ``l`` or ``l-1``."""
    return Tensor(f"{name}({layer})", (n, n), rf"{name}^{{({layer})}}")


def _deep_law(problem: Problem, layers: int) -> list[str]:
    widths = ", then ".join(rf"$m_{l} \to \infty$" for l in range(1, min(layers, 3)))
    more = "" if layers <= 3 else ", and so on"
    biases = problem.input_bias or problem.output_bias
    return [
        r"At initialisation the entries of $W^{(1)}$ are $N(0, 1)$, those of $W^{(l)}$, $l \ge 2$, are $N(0, \sigma_w^2/m_{l-1})$"
        + (r", those of the biases $N(0, \sigma_b^2)$" if biases else "")
        + ", all independent.",
        r"NTK parametrisation: the flow has the rates $1$ in $W^{(1)}$, $\sigma_w^2/m_{l-1}$ in $W^{(l)}$"
        + (r" and $\sigma_b^2$ in the biases" if biases else "")
        + (", times those of the study." if problem.rate else "."),
        r"$K_{ij}$ (NNGP) is the covariance of the Gaussian process to which the outputs tend, and $\overline{\Theta}_{ij}$ (NTK) the limit "
        rf"of the tangent kernel $\Theta_{{ij}}$, as the widths grow one after the other: {widths}{more}. In layer $l$, $(u, v)$ is a centred "
        r"Gaussian pair with variances $S^{(l-1)}_{ii}$, $S^{(l-1)}_{jj}$ and covariance $S^{(l-1)}_{ij}$.",
    ]


def _result(
    covariance: Expr, tangent: Expr, where: Sequence[Equation], notes: Sequence[str]
) -> KernelDerivation:
    kernel, theta = Tensor("K", (n, n)), Tensor("Theta", (n, n), r"\overline{\Theta}")
    system = (Equation(kernel[_I, _J], covariance), Equation(theta[_I, _J], tangent))
    title = "Kernels of wide networks (NNGP and NTK)"
    return KernelDerivation("kernels", title, system, tuple(where), tuple(notes))
