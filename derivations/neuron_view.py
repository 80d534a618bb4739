r"""A two-layer network seen neuron by neuron: weights and bias of a neuron as one vector.

With :math:`\tilde w_k = (w_k, b_k)` and :math:`\tilde x_i = (x_i, 1)` in :math:`\mathbb{R}^D`, D = d + 1, the network with
biases is the network without biases over the augmented inputs.  That the flow of the augmented vector is the flow of its
parts is proved (``NeuronView.residuals``): its first d coordinates are those of w, the last one is that of b.

>>> from derivations.problem import Problem
>>> view = NeuronView(Problem.two_layer(input_bias=True))
>>> view.flow(), view.residuals()
(-Sum[_n1](delta[_n1, k]*xt[_n1, l]), {'pre-activation': 0, 'w': 0, 'b': 0})
"""

from __future__ import annotations

from dataclasses import replace
from functools import cached_property

from sympy import Expr, S

from derivations.canonical import residual
from derivations.errors import AssumptionError
from derivations.indexed import Dim, Entry, Index, ISum, Tensor, isum, open_sum, replace_leaves
from derivations.problem import Problem, d, m, n
from derivations.vocabulary import expanded

__all__ = ["NeuronView"]


class NeuronView:
    """The incoming vector of each neuron, its dimension and its flow.

    Parameters
    ----------
    problem : Problem
        Two-layer; with biases, w and b must move at one rate.

    Attributes
    ----------
    dim : Symbol
        D = d + 1 with biases, else d.
    w, x : Tensor
        The incoming vectors (m, D) and the inputs (n, D).

    Raises
    ------
    AssumptionError
        If the network is not a two-layer one, or w and b do not move together.
    """

    def __init__(self, problem: Problem) -> None:
        if problem.kind != "two_layer":
            raise AssumptionError(
                f"coordinates of single neurons need a two-layer network, got kind '{problem.kind}'; its layers are "
                "coupled through the weights between them. Use 'gradient-flow' instead."
            )
        w = problem.block("w")
        if not w.trained:
            raise AssumptionError("the incoming weights w are frozen: neurons do not move; train w")
        if problem.input_bias:
            b = problem.block("b")
            if not b.trained or b.rate != w.rate:
                found = f"rate {b.rate}" if b.trained else "frozen"
                raise AssumptionError(
                    f"norm and direction of (w_k, b_k) need one rate for both: w has rate {w.rate}, b is {found}. Give "
                    "both blocks the same rate, or leave the bias out."
                )
        self.problem = problem
        self.augmented = problem.input_bias
        self.dim = Dim("D") if self.augmented else d
        self.w = Tensor("wt", (m, self.dim), r"\tilde{w}") if self.augmented else Tensor("w", (m, d))
        self.x = Tensor("xt", (n, self.dim), r"\tilde{x}") if self.augmented else problem.x
        self.rate = w.rate

    k = Index("k", m)
    i = Index("i", n)

    @cached_property
    def coordinate(self) -> Index:
        """The coordinate of the incoming vector."""
        return Index("l", self.dim)

    @cached_property
    def plain(self) -> Problem:
        """The same network without biases, over inputs of dimension d or d + 1; blocks a, w and, if any, c."""
        rates = tuple((name, rate) for name, rate in self.problem.rate if name != "b")
        freeze = tuple(name for name in self.problem.freeze if name != "b")
        return replace(self.problem, input_bias=False, rate=rates, freeze=freeze)

    def lifted(self, expr: Expr) -> Expr:
        """Return an expression of the network without biases, over the augmented vectors."""
        names = {Tensor("w", (m, d)): self.w, self.problem.x: self.x}
        if isinstance(expr, Index):
            return Index(expr.name, self.dim) if expr.dim == d else expr
        if isinstance(expr, ISum):
            body, index = open_sum(expr)
            return isum(self.lifted(body), self.lifted(index))
        if isinstance(expr, Entry):
            slots = [self.lifted(u) for u in expr.indices]
            return Entry(names.get(expr.tensor, expr.tensor), *slots)
        return expr.func(*[self.lifted(u) for u in expr.args]) if expr.args else expr

    def preactivation(self) -> Expr:
        r"""Return :math:`z_{ik} = \tilde w_k^\top \tilde x_i`."""
        return self.lifted(self.plain.system[Tensor("z", (n, m))].at((self.i, self.k)))

    def flow(self) -> Expr:
        """Return the right-hand side of the flow of the incoming vector, in r, delta, z, at (k, l)."""
        plain = self.plain
        gradient = plain.derived[plain.gradient["w"]].at((self.k, Index("l", d)))
        return self.lifted(expanded(-self.rate, gradient))

    def parts(self, expr: Expr, coordinate: Index | None = None) -> Expr:
        """Return ``expr`` in w, b, x: sums over D split into the first d coordinates and the last.

        A free coordinate ``self.coordinate`` becomes ``coordinate`` over d, or the last one where that is None.
        """
        if not self.augmented:
            return expr
        expr = self._at(expr, self.coordinate, coordinate)
        return self._split(expr)

    def _split(self, expr: Expr) -> Expr:
        if isinstance(expr, ISum):
            body, index = open_sum(expr)
            body = self._split(body)
            if index.dim != self.dim:
                return isum(body, index)
            first = Index(index.name, d)
            return isum(self._at(body, index, first), first) + self._at(body, index, None)
        return expr.func(*[self._split(u) for u in expr.args]) if expr.args and expr.has(ISum) else expr

    def _at(self, expr: Expr, index: Index, value: Index | None) -> Expr:
        """Put a coordinate into w and x; None is the last one, where they are b and 1."""
        w, b, x = Tensor("w", (m, d)), Tensor("b", (m,)), self.problem.x

        def weight(k: Expr, u: Expr) -> Expr:
            return self.w[k, u] if u != index else b[k] if value is None else w[k, value]

        def datum(i: Expr, u: Expr) -> Expr:
            return self.x[i, u] if u != index else S.One if value is None else x[i, value]

        return replace_leaves(expr, {self.w: weight, self.x: datum})

    def residuals(self) -> dict[str, Expr]:
        """Return augmented minus original, for z and for the flow of w and b; 0 is a proof."""
        problem, l = self.problem, Index("l", d)
        z = problem.system[Tensor("z", (n, m))].at((self.i, self.k))
        out = {"pre-activation": residual(self.parts(self.preactivation()) - z)}
        for name, coordinate in (("w", l), ("b", None)) if self.augmented else (("w", l),):
            at = (self.k, l) if name == "w" else (self.k,)
            flow = -self.rate * problem.derived[problem.gradient[name]].at(at)
            out[name] = residual(self.parts(self.flow(), coordinate) - flow)
        return out
