r"""Standard Gaussian inputs: the population risk of a two-layer network in closed form, and its gradient.

For the square loss, :math:`x \sim N(0, I_d)`, A_k = |w_k|^2 and C_{kq} = w_k . w_q,

.. math::
    R = \tfrac{\kappa}{2} \Bigl( s^2 \sum_{k,q} a_k a_q K(A_k, A_q, C_{kq}) - 2 s \sum_k a_k T(A_k, w_k) + \mathbb{E}[y^2] \Bigr),
    \qquad K = \mathbb{E}[\sigma(u) \sigma(v)], \quad T = \mathbb{E}[\sigma(w_k \cdot x)\, y(x)] .

A polynomial target is expanded in Hermite polynomials, since
:math:`\mathbb{E}[\sigma(w \cdot x) \mathrm{He}_\alpha(x)] = w^\alpha\, \mathbb{E}[\sigma^{(|\alpha|)}(w \cdot x)]` by Stein's lemma; a
teacher network enters by the mean of a pair of neurons.  The gradient is derived from R by the same differentiation
of lists as for samples.

Source: Saad, Solla (1995), Phys. Rev. E 52, 4225, for erf; Brutzkus, Globerson (2017), arXiv:1702.07966, for relu.

>>> from derivations.problem import Problem
>>> x = (Symbol("x_0", real=True), Symbol("x_1", real=True))
>>> student = Problem.two_layer("quadratic", "square")
>>> GaussianProblem(student, x, x[0] ** 2 - 1).target_mean
2*c_1**2
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import product

from sympy import (
    Add,
    Expr,
    Integer,
    Mul,
    Symbol,
    default_sort_key,
    expand,
    factor_terms,
    factorial,
)

from derivations.activations import Z
from derivations.derivation import Derivation, Equation
from derivations.errors import AssumptionError, nearest
from derivations.gaussian_pairs import Term, arc_cosine, arc_sine, mean_of_derivative, pair_mean, terms_of
from derivations.gaussian_target import Teacher, split_target
from derivations.generic import GenericFunction, bind
from derivations.indexed import Entry, Index, Tensor, isum
from derivations.latex import latex
from derivations.latex_names import Partial, free_indices
from derivations.losses import REGISTRY as LOSSES
from derivations.problem import Problem, d, m
from derivations.system import System
from derivations.vocabulary import dot, entry, expanded

__all__ = ["POPULATION_WHATS", "GaussianProblem", "PopulationDerivation"]

#: What ``GaussianProblem.derive`` knows.
POPULATION_WHATS = ("risk", "gradient", "gradient-flow", "critical-equations")
_K, _Q, _L = Index("k", m), Index("q", m), Index("l", d)
_A, _B = Symbol("A", positive=True), Symbol("B", positive=True)
_C, _b, _b2 = Symbol("C", real=True), Symbol("b", real=True), Symbol("b'", real=True)


class PopulationDerivation(Derivation):
    """A derivation with functions of several arguments: in plain text ``d3_K`` is the derivative of K in slot 3."""

    def _text(self, equation: Equation, side: Expr) -> str:
        named = [bind(u, {name: _spelled(name) for name in "KMT"}) for u in (equation.lhs, equation.rhs)]
        return super()._text(Equation(*named), named[0 if side is equation.lhs else 1])


def _spelled(name: str) -> Callable[..., Expr]:
    def known(orders: tuple[int, ...], *arguments: Expr) -> Expr:
        slots = "".join(str(slot) * order for slot, order in enumerate(orders, start=1))
        return GenericFunction(f"d{slots}_{name}" if slots else name, (0,) * len(orders), *arguments)

    return known


@dataclass(frozen=True)
class GaussianProblem:
    r"""A two-layer network on standard Gaussian inputs with square loss.

    Parameters
    ----------
    problem : Problem
        Two-layer, one output, square loss; its reduction is not used.
    x : tuple of Symbol
        Coordinates that may occur in the target.
    target : Expr
        A polynomial in the coordinates plus terms F(v . x) of a teacher network, v exact.
    dimension : Expr
        The dimension d, an integer or the symbol.

    Raises
    ------
    AssumptionError
        If network, loss, activation or target have no closed form here; the message says which.
    """

    problem: Problem
    x: tuple[Symbol, ...]
    target: Expr
    dimension: Expr = d

    kind = "gaussian"

    def __post_init__(self) -> None:
        problem = self.problem
        if problem.kind != "two_layer" or problem.vector_output:
            raise AssumptionError(
                f"Gaussian populations are for two-layer networks with one output, got a {problem.kind} model; give samples"
            )
        if problem.activation is None or problem.loss is None or problem.loss.expr != LOSSES["square"].expr:
            name = "a general one" if problem.loss is None else f"'{problem.loss.name}'"
            raise AssumptionError(
                f"the population risk has a closed form for a concrete activation and the square loss, got {name}"
            )
        _ = self.kernel, self.target_mean, self.target_square

    # -- closed forms ---------------------------------------------------------------------------------------------

    def _student(self, bias: Expr) -> list[Term]:
        shift = bias if self.problem.input_bias else Integer(0)
        return terms_of(self.problem.activation.derivative(0).subs(Z, Z + shift), Z)  # type: ignore[union-attr]

    @cached_property
    def kernel(self) -> Expr:
        """The mean K of sigma(u) sigma(v) in A, B, C (and b, b')."""
        pairs = product(self._student(_b), self._student(_b2))
        return Add(*[pair_mean(first, second, _A, _B, _C) for first, second in pairs])

    @cached_property
    def mean(self) -> Expr:
        """The mean M of sigma(u) in A (and b)."""
        return Add(*[mean_of_derivative(term, 0, _A) for term in self._student(_b)])

    @cached_property
    def coordinates(self) -> tuple[int, ...]:
        """Positions, from 1, of the coordinates that occur in the target."""
        return tuple(j for j, symbol in enumerate(self.x, start=1) if self.target.has(symbol))

    @property
    def cosines(self) -> tuple[Symbol, ...]:
        """Symbols of the inner products of a weight with those coordinate vectors."""
        return tuple(Symbol(f"c_{j}", real=True) for j in self.coordinates)

    @cached_property
    def _split(self) -> tuple[Mapping[tuple[int, ...], Expr], Sequence[Teacher]]:
        return split_target(self.target, [self.x[j - 1] for j in self.coordinates])

    @cached_property
    def target_mean(self) -> Expr:
        """The mean T of sigma(w . x) y(x) in A, the cosines (and b)."""
        coefficients, teachers = self._split
        out: Expr = Integer(0)
        for term in self._student(_b):
            for powers, value in coefficients.items():
                moment = Mul(*[u**power for u, power in zip(self.cosines, powers, strict=True)])
                out += value * moment * mean_of_derivative(term, sum(powers), _A)
            for teacher in teachers:
                cosine = Add(*[v * u for v, u in zip(teacher.direction, self.cosines, strict=True)])
                out += pair_mean(term, teacher.term, _A, teacher.variance, cosine)
        return out

    @cached_property
    def target_first(self) -> Expr:
        """The mean of y."""
        coefficients, teachers = self._split
        constant = coefficients.get((0,) * len(self.coordinates), Integer(0))
        return constant + Add(*[mean_of_derivative(u.term, 0, u.variance) for u in teachers])

    @cached_property
    def target_square(self) -> Expr:
        """The mean of y**2."""
        coefficients, teachers = self._split
        out = Add(*[v**2 * Mul(*[factorial(p) for p in powers]) for powers, v in coefficients.items()])
        for teacher in teachers:
            for powers, value in coefficients.items():
                moment = Mul(*[v**p for v, p in zip(teacher.direction, powers, strict=True)])
                out += 2 * value * moment * mean_of_derivative(teacher.term, sum(powers), teacher.variance)
        for first, second in product(teachers, repeat=2):
            overlap = Add(*[u * v for u, v in zip(first.direction, second.direction, strict=True)])
            out += pair_mean(first.term, second.term, first.variance, second.variance, overlap)
        return expand(_explicit(out))

    def closed_form(self, name: str) -> tuple[Expr, tuple[Symbol, ...]]:
        """Return K, M or T as a formula, and the symbols of its arguments in order."""
        formula = {"K": self.kernel, "M": self.mean, "T": self.target_mean}[name]
        return formula, self._slots[name]

    def apply_kernel(self, orders: Sequence[int], *arguments: Expr) -> Expr:
        """Return K or a derivative of it, in the form ``derivations.generic.bind`` asks for."""
        return _at(self.kernel, self._kernel_slots, orders, arguments)

    def apply_target(self, orders: Sequence[int], *arguments: Expr) -> Expr:
        """Return T or a derivative of it, in the form ``derivations.generic.bind`` asks for."""
        return _at(self.target_mean, self._target_slots, orders, arguments)

    def apply_mean(self, orders: Sequence[int], *arguments: Expr) -> Expr:
        """Return M or a derivative of it, in the form ``derivations.generic.bind`` asks for."""
        return _at(self.mean, self._mean_slots, orders, arguments)

    @property
    def functions(self) -> Mapping[str, Callable[..., Expr]]:
        """K, M and T for ``derivations.generic.bind``."""
        return {"K": self.apply_kernel, "M": self.apply_mean, "T": self.apply_target}

    @property
    def _kernel_slots(self) -> tuple[Symbol, ...]:
        return (_A, _B, _C, _b, _b2) if self.problem.input_bias else (_A, _B, _C)

    @property
    def _mean_slots(self) -> tuple[Symbol, ...]:
        return (_A, _b) if self.problem.input_bias else (_A,)

    @property
    def _target_slots(self) -> tuple[Symbol, ...]:
        return (*self._mean_slots, *self.cosines)

    # -- the risk as a list of definitions ------------------------------------------------------------------------

    @cached_property
    def basis(self) -> tuple[Tensor, ...]:
        """The coordinate vectors of the target, (d,) each."""
        return tuple(Tensor(f"e{j}", (d,), f"e_{j}" if j < 10 else f"e_{{{j}}}") for j in self.coordinates)

    @cached_property
    def system(self) -> System:
        """The risk, K, M and T being functions by name."""
        system, problem = System(), self.problem
        for block in problem.blocks:
            system = system.declare(block.tensor, block.indices)
        for vector in self.basis:
            system = system.declare(vector, (_L,))
        blocks = {b.name: b.tensor for b in problem.blocks}
        a, w, s = blocks["a"], blocks["w"], problem.scale

        def size(k: Index) -> Expr:
            return isum(w[k, _L] ** 2, _L)

        def shift(*ks: Index) -> tuple[Expr, ...]:
            return tuple(blocks["b"][k] for k in ks) if problem.input_bias else ()

        overlap = isum(w[_K, _L] * w[_Q, _L], _L)
        kernel = GenericFunction(
            "K", (0,) * len(self._kernel_slots), size(_K), size(_Q), overlap, *shift(_K, _Q)
        )
        total = s**2 * isum(a[_K] * a[_Q] * kernel, _K, _Q) / 2
        if self.target_mean != 0:
            cosines = [isum(w[_K, _L] * e[_L], _L) for e in self.basis]
            mean = GenericFunction("T", (0,) * len(self._target_slots), size(_K), *shift(_K), *cosines)
            total -= s * isum(a[_K] * mean, _K)
        if problem.output_bias:
            c = blocks["c"]()
            first = GenericFunction("M", (0,) * len(self._mean_slots), size(_K), *shift(_K))
            total += s * c * isum(a[_K] * first, _K) if self.mean != 0 else 0
            total += c**2 / 2 - c * self.target_first
        total = problem.factor * (total + self.target_square / 2)
        if problem.weight_decay != 0:
            squares = [isum(entry(b.tensor, b.indices) ** 2, *b.indices) for b in problem.blocks]
            total += problem.weight_decay / 2 * Add(*squares)
        return system.define(problem.risk, (), expand(total, deep=False))

    @cached_property
    def _reverse(self) -> tuple[System, dict[Tensor, Tensor]]:
        return self.system.reverse(self.problem.risk, self.problem.parameters)

    def gradient(self, name: str) -> Expr:
        """Return the derivative of the risk in a block; K is symmetric, so its derivatives are in slot 1 or 3."""
        system, tensors = self._reverse
        return self._written(system[tensors[self.problem.block(name).tensor]].expr)

    def _written(self, expr: Expr) -> Expr:
        """Put in what is a number, and write K, which is symmetric, in one way."""

        def named(name: str) -> Callable[..., Expr]:
            def known(orders: tuple[int, ...], *arguments: Expr) -> Expr:
                value = self.functions[name](orders, *self._slots[name])
                return value if value.is_number else GenericFunction(name, orders, *arguments)

            return known

        return bind(bind(expr, {"K": self._symmetric}), {name: named(name) for name in "KMT"})

    @property
    def _slots(self) -> Mapping[str, tuple[Symbol, ...]]:
        return {"K": self._kernel_slots, "M": self._mean_slots, "T": self._target_slots}

    def _symmetric(self, orders: tuple[int, ...], *arguments: Expr) -> Expr:
        """Write K with the neuron it is differentiated in first, then the one that is not summed over."""

        def bound(u: Expr) -> bool:  # `bind` opens sums with names of this form
            return any(index.name.startswith("_f") for index in free_indices(u))

        mirror = (1, 0, 2, 4, 3)[: len(arguments)]
        turned = tuple(orders[j] for j in mirror), tuple(arguments[j] for j in mirror)
        here, there = (
            (tuple(-u for u in o), [bound(u) for u in v], [default_sort_key(u) for u in v])
            for o, v in ((orders, arguments), turned)
        )
        orders, arguments = (orders, arguments) if here <= there else turned
        return GenericFunction("K", orders, *arguments)

    # -- derivations ----------------------------------------------------------------------------------------------

    def derive(self, what: str) -> Derivation:
        """Return the equations called ``what``, one of ``POPULATION_WHATS``.

        Raises
        ------
        ValueError
            If the name is unknown; the message names the nearest.
        """
        if what not in POPULATION_WHATS:
            hint = nearest(what, POPULATION_WHATS)
            raise ValueError(
                f"no derivation '{what}' of a Gaussian population{hint} Known: {', '.join(POPULATION_WHATS)}"
            )
        blocks = self.problem.blocks
        if what == "risk":
            risk = self._written(self.system[self.problem.risk].expr)
            return self._assemble(what, "Population risk", [Equation(self.problem.risk(), risk)])
        if what == "gradient":
            left = [Entry(Partial("R", b.tensor), *b.indices) for b in blocks]
            found = [Equation(u, self.gradient(b.name)) for u, b in zip(left, blocks, strict=True)]
            return self._assemble(what, "Gradient of the population risk", found)
        if what == "critical-equations":
            found = [Equation(Integer(0), self.gradient(b.name)) for b in blocks if b.trained]
            return self._assemble(what, "Equations of critical points", found)
        found = [
            Equation(
                entry(dot(b.tensor), b.indices),
                expanded(-b.rate, self.gradient(b.name)) if b.trained else Integer(0),
            )
            for b in blocks
        ]
        return self._assemble(what, "Gradient flow of the population risk", found)

    def _assemble(self, name: str, title: str, equations: list[Equation]) -> Derivation:
        used = {u for e in equations for u in e.rhs.atoms(GenericFunction)}
        where = [Equation(GenericFunction("sigma", (0,), Z), self.problem.activation.derivative(0))]  # type: ignore[union-attr]
        for function, orders in sorted(
            {(u.name, u.orders) for u in used}, key=lambda u: (u[0], sum(u[1]), [-v for v in u[1]])
        ):
            left = GenericFunction(function, orders, *self._slots[function])
            where.append(
                Equation(left, factor_terms(self.functions[function](orders, *self._slots[function])))
            )
        shown = (
            {u: Symbol(f"x_{j}", real=True) for j, u in enumerate(self.x, start=1)} if len(self.x) > 1 else {}
        )
        target = latex(self.target.xreplace(shown))
        notes = [
            rf"Inputs are $x \sim N(0, I_d)$ with $d = {latex(self.dimension)}$, the target is $y(x) = {target}$."
            if self.dimension != d
            else rf"Inputs are $x \sim N(0, I_d)$, the target is $y(x) = {target}$.",
            r"$K$ is the mean of $\sigma(u) \sigma(v)$ for Gaussian $(u, v)$ with variances $A$, $B$ and covariance $C$"
            + (", $T$ that of $\\sigma(w_k^\\top x)\\, y(x)$" if any(u.name == "T" for u in used) else "")
            + (", $M$ that of $\\sigma(u)$." if any(u.name == "M" for u in used) else "."),
            *(
                [r"A prime is the derivative in the first argument, $\partial_j$ that in argument $j$."]
                if any(sum(u.orders) for u in used)
                else []
            ),
            r"Indices: neurons $k = 1, \dots, m$; $e_j$ is coordinate vector $j$ of $\mathbb{R}^d$.",
        ]
        if name == "gradient-flow":
            notes.insert(
                0, r"Time has the unit for which $\dot\theta = -\nabla R(\theta)$, up to the stated rates."
            )
        return PopulationDerivation(name, title, tuple(equations), tuple(where), tuple(notes))


def _at(formula: Expr, slots: Sequence[Symbol], orders: Sequence[int], arguments: Sequence[Expr]) -> Expr:
    """Differentiate a closed form and put arguments in, all at once."""
    for slot, order in zip(slots, orders, strict=True):
        formula = formula.diff(slot, order)
    return _explicit(formula).xreplace(dict(zip(slots, arguments, strict=True)))


def _explicit(formula: Expr) -> Expr:
    return formula.replace(lambda u: isinstance(u, arc_cosine | arc_sine), lambda u: u.doit())
