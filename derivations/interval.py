r"""Populations that fill an interval with density 1: the risk as an integral, and what follows with symbolic width.

.. math::
    R = \kappa \int_{T_0}^{T_1} \ell\bigl(f(x), y(x)\bigr)\, dx, \qquad
    \dot a_k = -\int_{T_0}^{T_1} r(x)\, \sigma(w_k x + b_k)\, dx .

The risk is linear in the distribution of the inputs, so the equations of finitely many samples, with the sum over
samples replaced by the integral, are those of the interval: they are derived as for samples, then rewritten.
Where network, loss and target are piecewise polynomial, exact integration, kinks included, is in
``derivations.interval_cells`` (formulas) and ``derivations.interval_point`` (numbers); smooth activations, losses and
targets leave integrals, which ``numerics.interval_system`` computes to a stated tolerance.

Source: Cheridito, Jentzen, Rossmannek, arXiv:2103.10922, Section 2, for the setting (there the factor kappa is 2).

>>> from derivations.problem import Problem
>>> from sympy import Symbol
>>> x = Symbol("x", real=True)
>>> network = Problem.two_layer("relu", "square", input_bias=True, output_bias=True)
>>> line = IntervalProblem(network, Integer(0), Integer(1), x, x, "integral")
>>> print(line.derive("gradient-flow").system[0].rhs)
-Integral(r(x)*sigma(x*w[k] + b[k]), (x, 0, 1))
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property

from sympy import Abs, Add, Dummy, Expr, Integer, Integral, Symbol

from derivations.activations import Z
from derivations.almost_everywhere import has_kinks
from derivations.derivation import Derivation, Equation
from derivations.errors import AssumptionError, nearest
from derivations.functions import step
from derivations.generic import GenericFunction, bind
from derivations.indexed import Delta, Entry, Index, ISum, Tensor, isum, open_sum, replace_index
from derivations.latex import latex, latex_pair
from derivations.latex_lines import Row
from derivations.latex_names import Partial
from derivations.output_dynamics import parameters_through_outputs
from derivations.piecewise import Piece, check_regular, half_lines, is_less, pieces
from derivations.problem import Block, Problem, d, m, n
from derivations.second_order import tangent_kernel
from derivations.vocabulary import bound_loss, dot, entry, expanded, multiplied_out

__all__ = ["INTERVAL_WHATS", "IntegralDerivation", "IntervalProblem"]

#: What ``IntervalProblem.derive`` knows.
INTERVAL_WHATS = ("risk", "gradient", "gradient-flow", "critical-equations", "hessian", "ntk")
_I, _J = Index("i", n), Index("j", n)


class IntegralDerivation(Derivation):
    """A derivation with integrals: the variable of integration prints behind the coefficients, as data do."""

    def rows(self, equations: Sequence[Equation]) -> list[Row]:
        """Return both sides of each equation as LaTeX."""
        out = []
        for equation in equations:
            sides = (_for_print(equation.lhs), _for_print(equation.rhs))
            out.append(Row(*latex_pair(*sides, hide=self.hide, names=self.names), equation.condition))
        return out


def _for_print(expr: Expr) -> Expr:
    """Turn x and x' into entries, which print like data, everywhere but in the limits of integrals."""
    held = {u: Dummy() for u in expr.atoms(Integral)}
    names = {s: Entry(Tensor(s.name)) for s in expr.atoms(Symbol) if s.name in ("x", "x'")}
    back = {held[u]: Integral(_for_print(u.function), *u.limits) for u in held}
    shown = expr.xreplace(held).xreplace(names).xreplace(back)
    greek = {"Theta": r"\Theta", "dot_f": r"\dot{f}"}
    return bind(shown, {old: _renamed(new) for old, new in greek.items()})


def _renamed(name: str) -> Callable[..., Expr]:
    return lambda orders, *arguments: GenericFunction(name, orders, *arguments)


@dataclass(frozen=True)
class IntervalProblem:
    r"""A two-layer network on an interval.

    Parameters
    ----------
    problem : Problem
        Two-layer, one output, concrete activation and loss; its reduction is not used.
    lower, upper : Expr
        Ends of the interval; numbers, or symbols where target and network have no kink to be ordered among them.
    x : Symbol
        The input.
    target : Expr
        Formula in x, smooth between kinks at exact numbers; further symbols are constants.
    reduction : str
        ``integral`` for density 1, ``mean`` for the uniform distribution of total mass 1.

    Raises
    ------
    AssumptionError
        If the network is not of this kind, the loss has a kink, the activation is neither smooth nor a polynomial on
        both half lines, or the kinks of the target are not known, or it has a singularity.
    """

    problem: Problem
    lower: Expr
    upper: Expr
    x: Symbol
    target: Expr
    reduction: str = "integral"

    kind = "interval"

    def __post_init__(self) -> None:
        problem = self.problem
        if self.reduction not in ("integral", "mean"):
            raise ValueError(f"reduction is '{self.reduction}'; an interval takes 'integral' or 'mean'")
        if problem.kind != "two_layer" or problem.vector_output:
            raise AssumptionError(
                f"integrals over an interval are for two-layer networks with one output, got a {problem.kind} "
                "model; give samples instead"
            )
        if problem.activation is None or problem.loss is None:
            raise AssumptionError(
                "integrals over an interval need a concrete activation and loss; one of them is general"
            )
        if has_kinks(problem.loss.expr):
            raise AssumptionError(
                f"the loss '{problem.loss.name}' has a kink, which moves over the interval with the parameters; use a smooth "
                "loss such as square or logistic"
            )
        if self.lower.is_number and self.upper.is_number and not is_less(self.lower, self.upper):
            raise ValueError(
                f"the interval from {self.lower} to {self.upper} is empty; required is lower < upper"
            )
        if problem.activation.is_smooth is not True:
            _ = self.half_lines
        check_regular(self.target_pieces, self.x)

    @cached_property
    def target_pieces(self) -> tuple[Piece, ...]:
        """The target on the intervals where it is one smooth formula."""
        return pieces(self.target, self.x, self.lower, self.upper, polynomial=False)

    @cached_property
    def half_lines(self) -> tuple[Expr, Expr]:
        """The activation for z < 0 and for z > 0, polynomials in ``Z``; AssumptionError where it is another function."""
        return half_lines(self.problem.activation)  # type: ignore[arg-type]  # checked at construction

    @cached_property
    def inexact(self) -> str:
        """What keeps the integrals from being those of polynomials between kinks, in words; empty where nothing does."""
        activation, loss = self.problem.activation, self.problem.loss
        assert activation is not None  # checked at construction, as is the loss
        assert loss is not None
        if activation.is_smooth is True and not activation.expr.is_polynomial(Z):
            return f"the activation '{activation.name}' is not piecewise polynomial"
        if not loss.expr.is_polynomial(*loss.expr.free_symbols):
            return f"the loss '{loss.name}' is no polynomial in f and y"
        odd = [u.expr for u in self.target_pieces if not u.expr.is_polynomial(self.x)]
        return f"the target {odd[0]} is no polynomial in {self.x}" if odd else ""

    def check_exact(self) -> None:
        """Raise AssumptionError where the integrals are not those of polynomials."""
        if self.inexact:
            raise AssumptionError(
                f"exact integrals need piecewise polynomials, and {self.inexact}; derive the integrals, or compile them"
            )

    @property
    def jump(self) -> Expr:
        """Jump of the derivative of the activation at 0."""
        if self.problem.activation.is_smooth is True:  # type: ignore[union-attr]  # checked at construction
            return Integer(0)
        left, right = (side.diff(Z).subs(Z, 0) for side in self.half_lines)
        return right - left

    @property
    def weight(self) -> Expr:
        """Factor of the integral: kappa times the density."""
        density = 1 if self.reduction == "integral" else 1 / (self.upper - self.lower)
        return self.problem.factor * density

    @cached_property
    def _summed(self) -> Problem:
        """The problem of samples whose sum becomes the integral."""
        return replace(self.problem, reduction="sum", factor=self.weight)

    # -- derivations ----------------------------------------------------------------------------------------------

    def derive(self, what: str) -> Derivation:
        """Return the equations called ``what``, one of ``INTERVAL_WHATS``, with symbolic width.

        Raises
        ------
        ValueError
            If the name is unknown; the message names the nearest.
        """
        if what not in INTERVAL_WHATS:
            hint = nearest(what, INTERVAL_WHATS)
            raise ValueError(
                f"no derivation '{what}' of an interval{hint} Known: {', '.join(INTERVAL_WHATS)}"
            )
        return {
            "risk": self._risk,
            "gradient": self._gradients,
            "gradient-flow": self._flow,
            "critical-equations": self._critical,
            "hessian": self._hessian,
            "ntk": self._kernel,
        }[what]()

    def gradient(self, name: str) -> Expr:
        """Return the derivative of the risk in a block, an integral over x; the index is that of the block."""
        derived = self._summed.derived
        keep = [self.problem.output, Tensor("r", (n,))]
        return self.continuous(derived.inline(derived[self._summed.gradient[name]].expr, keep))

    def continuous(self, expr: Expr, places: Mapping[Index, Symbol] | None = None) -> Expr:
        """Rewrite an expression of samples: sums over them become integrals, ``places`` says what free ones become."""
        places = places or {}
        if isinstance(expr, ISum):
            body, index = open_sum(expr)
            if index.dim == n:
                inside = self.continuous(body, {**places, index: self.x})
                if not inside.has(self.x):
                    return inside * (self.upper - self.lower)
                return Integral(inside, (self.x, self.lower, self.upper))
            inside = self.continuous(body, places)
            return inside if index.dim == d else isum(inside, index)
        if isinstance(expr, Entry):
            tensor = expr.tensor
            if tensor.dims[:1] == (n,):
                place = places[expr.indices[0]]  # type: ignore[index]  # samples are named by indices
                return place if tensor.name == "x" else GenericFunction(tensor.name, (0,), place)
            kept = [(u, dim) for u, dim in zip(expr.indices, tensor.dims, strict=True) if dim != d]
            return Entry(_flattened(tensor), *[u for u, _ in kept])
        if expr == n:  # a sum of ones
            return self.upper - self.lower
        if isinstance(expr, Delta):
            return Integer(1) if expr.args[0].dim == d else expr
        if isinstance(expr, GenericFunction):
            arguments = [self.continuous(u, places) for u in expr.arguments]
            return GenericFunction(expr.args[0], expr.orders, *arguments)
        if not expr.args:
            return expr
        return expr.func(*[self.continuous(u, places) for u in expr.args])

    def _assemble(
        self, name: str, title: str, equations: list[Equation], extra: tuple[Equation, ...] = ()
    ) -> Derivation:
        used = [side for e in (*equations, *extra) for side in (e.lhs, e.rhs)]
        where = [*self._definitions(used), *extra]
        sigma = self.problem.activation
        everything = [*used, *[side for e in where for side in (e.lhs, e.rhs)]]
        if any(u.name == "ell" for side in everything for u in side.atoms(GenericFunction)):
            f, y = Symbol("f", real=True), Symbol("y", real=True)
            second = self.problem.loss.derivative(2)  # type: ignore[union-attr]  # checked at construction
            where.append(Equation(GenericFunction("ell", (2, 0), f, y), second))
        orders = {
            u.orders[0] for side in everything for u in side.atoms(GenericFunction) if u.name == "sigma"
        }
        for order in sorted(orders):
            where.append(Equation(GenericFunction("sigma", (order,), Z), sigma.derivative(order)))  # type: ignore[union-attr]
        notes = [
            rf"Inputs fill the interval from ${latex(self.lower)}$ to ${latex(self.upper)}$ with density "
            + ("1." if self.reduction == "integral" else f"${latex(1 / (self.upper - self.lower))}$."),
            r"Indices: neurons $k = 1, \dots, m$; inputs $x$ and weights $w_k$ are numbers.",
        ]
        if name == "gradient-flow":
            notes.insert(
                0, r"Time has the unit for which $\dot\theta = -\nabla R(\theta)$, up to the stated rates."
            )
        return IntegralDerivation(name, title, tuple(equations), tuple(where), tuple(notes))

    def _definitions(self, used: list[Expr]) -> list[Equation]:
        """Return f(x), y(x) and r(x) where they are used, at x."""
        x, names = self.x, {u.name for side in used for u in side.atoms(GenericFunction)}
        f, y = (GenericFunction(name, (0,), x) for name in "fy")
        out = []
        if names & {"f", "r"}:
            system = self._summed.system
            output = system.inline(system[self.problem.output].at((_I,)))
            out.append(Equation(f, self.continuous(output, {_I: x})))
        if "r" in names:
            loss = bound_loss(self.problem, GenericFunction("ell", (1, 0), f, y))
            out.append(Equation(GenericFunction("r", (0,), x), self.weight * loss))
        out.append(Equation(y, self.target))
        return out

    def _risk(self) -> Derivation:
        x = self.x
        f, y = (GenericFunction(name, (0,), x) for name in "fy")
        loss = bound_loss(self.problem, GenericFunction("ell", (0, 0), f, y))
        constant, body = loss.as_independent(GenericFunction)
        risk = self.weight * constant * Integral(body, (x, self.lower, self.upper))
        if self.problem.weight_decay != 0:
            squares = [isum(entry(b.tensor, b.indices) ** 2, *b.indices) for b in self._blocks]
            risk += self.problem.weight_decay / 2 * Add(*squares)
        return self._assemble("risk", "Model and risk", [Equation(self.problem.risk(), risk)])

    def _gradients(self) -> Derivation:
        equations = [
            Equation(Entry(Partial("R", b.tensor), *b.indices), self.gradient(b.name)) for b in self._blocks
        ]
        return self._assemble("gradient", "Gradient of the risk", equations)

    def _flow(self) -> Derivation:
        equations = []
        for b in self._blocks:
            rhs = expanded(-b.rate, self.gradient(b.name)) if b.trained else Integer(0)
            equations.append(Equation(entry(dot(b.tensor), b.indices), rhs))
        return self._assemble("gradient-flow", "Gradient flow", equations)

    def _critical(self) -> Derivation:
        equations = [Equation(Integer(0), self.gradient(b.name)) for b in self._blocks if b.trained]
        return self._assemble("critical-equations", "Equations of critical points", equations)

    def _kernel(self) -> Derivation:
        other = Symbol("x'", real=True)
        kernel, _ = tangent_kernel(self.problem, (), ())
        system = self.problem.system
        written = self.continuous(system.inline(kernel), {_I: self.x, _J: other})
        theta = GenericFunction("Theta", (0, 0), self.x, other)
        rate = GenericFunction("dot_f", (0,), self.x)
        equations = [Equation(theta, written)]
        flow = -Integral(theta * GenericFunction("r", (0,), other), (other, self.lower, self.upper))
        if self.problem.weight_decay != 0:
            moved = system.inline(parameters_through_outputs(self.problem, (_I,)))
            flow -= self.problem.weight_decay * self.continuous(moved, {_I: self.x})
        equations.append(Equation(rate, flow))
        return self._assemble("ntk", "Neural tangent kernel", equations)

    def _hessian(self) -> Derivation:
        blocks = [b for b in self._blocks if b.trained]
        equations, moving = [], False
        for position, row in enumerate(blocks):
            for column in blocks[position:]:
                found = self.hessian_block(row.name, column.name)
                moving = moving or (self.jump != 0 and {row.name, column.name} <= {"w", "b"})
                columns = tuple(Index("q", u.dim) for u in column.indices)
                lhs = Entry(Partial("R", row.tensor, column.tensor), *row.indices, *columns)
                equations.append(Equation(lhs, found))
        extra: tuple[Equation, ...] = ()
        if moving and self.problem.input_bias:
            k = Index("k", m)
            p, w, b = (Tensor(name, (m,)) for name in "pwb")
            extra = (Equation(p[k], -b[k] / w[k]),)
        return self._assemble("hessian", "Hessian of the risk", equations, extra)

    def hessian_block(self, row: str, column: str) -> Expr:
        r"""Return a block of the Hessian with indices k and q, the terms of moving kinks included.

        Where sigma' jumps by J at 0, moving the kink :math:`p_k = -b_k / w_k` of a neuron contributes
        :math:`J a_k r(p_k) / |w_k|` times :math:`(p_k, 1)^\top (p_k, 1)` in (w_k, b_k), for kinks inside the interval.
        """
        derived = self._summed
        expr, rows, columns = derived.hessian_block(row, column)
        keep = [self.problem.output, Tensor("r", (n,))]
        expr = derived.derived.inline(bound_loss(self.problem, expr, only_constant=True), keep)
        if self.problem.activation.derivative(2) == 0:  # type: ignore[union-attr]  # checked at construction
            expr = bind(expr, {"sigma": _without_second})
        k, q = Index("k", m), Index("q", m)
        for u in rows + columns:
            if u.dim == m:
                expr = replace_index(expr, u, k if u in rows else q)
        found = self.continuous(multiplied_out(expr))
        if self.jump == 0 or not {row, column} <= {"w", "b"} or not self.problem.input_bias:
            return found
        a, w, p = (Tensor(name, (m,)) for name in "awp")
        inside = step(p[k] - self.lower) * step(self.upper - p[k])
        power = (row, column).count("w")
        scale = self.problem.scale
        kink = (
            self.jump
            * scale
            * Delta(k, q)
            * a[k]
            * p[k] ** power
            * GenericFunction("r", (0,), p[k])
            / Abs(w[k])
        )
        return found + kink * inside

    @cached_property
    def _blocks(self) -> tuple[Block, ...]:
        """Blocks with one input: w is (m,)."""
        return tuple(
            replace(b, tensor=_flattened(b.tensor), indices=tuple(u for u in b.indices if u.dim != d))
            for b in self.problem.blocks
        )


def _without_second(orders: tuple[int, ...], argument: Expr) -> Expr:
    return Integer(0) if orders[0] == 2 else GenericFunction("sigma", orders, argument)


def _flattened(tensor: Tensor) -> Tensor:
    """Return the tensor without its slots over the input dimension, which is 1 here."""
    return Tensor(tensor.name, tuple(dim for dim in tensor.dims if dim != d), tensor.tex)
