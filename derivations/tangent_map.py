r"""Hessian-vector product, and the tangent operator of gradient descent as a map of the parameters.

Training with step tau is the map :math:`F(\theta) = \theta - \tau\, \eta \odot \nabla R(\theta)`; perturbations move by

.. math:: v \mapsto J v, \qquad J = DF(\theta) = I - \tau\, \eta \odot \nabla^2 R(\theta) ,

and those of the gradient flow by :math:`\dot v = -\eta \odot \nabla^2 R\, v`.  The product :math:`\nabla^2 R\, v` is the
derivative of the gradient along v: one dotted quantity beside each one of the gradient, no matrix.  With z = w x + b

.. math::
    \dot z_{ik} = v^w_k \cdot x_i + v^b_k, \quad \dot f_i = \sum_k v^a_k \sigma(z_{ik}) + a_k \sigma'(z_{ik}) \dot z_{ik}, \quad
    \dot r_i = \tfrac1n \ell''(f_i, y_i) \dot f_i, \ \dots

That the product is the Hessian blocks times v is proved by ``tangent_residuals``.

Source: Pearlmutter, Neural Computation 6 (1994), for the product; Sharafi, Martin, Hallerberg, arXiv:2405.00743, for the map.

>>> from derivations.problem import Problem
>>> tangent_residuals(Problem.two_layer(input_bias=True))
{'a': 0, 'w': 0, 'b': 0}
"""

from __future__ import annotations

from collections.abc import Sequence

from sympy import Expr, S, Symbol

from derivations.canonical import residual
from derivations.derivation import Derivation, Equation
from derivations.indexed import Entry, Tensor, fresh, isum, replace_leaves
from derivations.problem import Problem
from derivations.vocabulary import assemble, bound_loss, dot, entry

__all__ = ["derive_hessian_vector", "derive_tangent_map", "tangent_residuals"]

#: Step of gradient descent.
TAU = Symbol("tau", positive=True)


def derive_hessian_vector(problem: Problem) -> Derivation:
    """Return the Hessian of the risk times a direction v, with v = 0 in frozen blocks."""
    product = _Product(problem)
    equations = [
        Equation(entry(product.name(b.name), b.indices), product.of(b.name)) for b in product.trained
    ]
    return assemble(
        problem,
        "hessian-vector",
        "Hessian-vector product",
        equations,
        product.notes(),
        extra=product.definitions([e.rhs for e in equations]),
    )


def derive_tangent_map(problem: Problem) -> Derivation:
    r"""Return the tangent operator of one step of gradient descent, applied to a direction v."""
    product = _Product(problem)
    equations, products = [], []
    for b in product.trained:
        name = product.name(b.name)
        moved = entry(product.v[b.name], b.indices) - TAU * b.rate * entry(name, b.indices)
        image = Tensor(f"Jv_{b.name}", b.tensor.dims, rf"(Jv)^{{{b.tensor.tex}}}")
        equations.append(Equation(entry(image, b.indices), moved))
        products.append(Equation(entry(name, b.indices), product.of(b.name)))
    notes = [
        r"$J = DF(\theta)$ is the derivative of one step $F(\theta) = \theta - \tau \nabla R(\theta)$ of gradient descent"
        + (", the rates of the blocks included." if any(b.rate != 1 for b in problem.blocks) else "."),
        r"Along the flow perturbations obey $\dot{v} = -Hv$"
        + (", with the rates." if any(b.rate != 1 for b in problem.blocks) else "."),
        *product.notes(),
    ]
    return assemble(
        problem,
        "tangent-map",
        "Tangent operator of gradient descent",
        equations,
        notes,
        extra=[*product.definitions([e.rhs for e in products]), *products],
    )


def tangent_residuals(problem: Problem) -> dict[str, Expr]:
    """Return, for each trained block, the product minus the Hessian blocks times v; 0 is a proof for all sizes."""
    product, out = _Product(problem), {}
    keep = [u.tensor for u in problem.derived]
    for row in product.trained:
        expected: Expr = S.Zero
        for column in product.trained:
            at = tuple(fresh(u) for u in column.indices)
            block = problem.derived.jacobian(problem.gradient[row.name], row.indices, column.tensor, at)
            expected += isum(block * entry(product.v[column.name], at), *at)
        out[row.name] = residual(product.system.inline(product.of(row.name), keep) - expected)
    return out


class _Product:
    """The tangent of the gradient list along v, its quantities named by a dot."""

    def __init__(self, problem: Problem) -> None:
        self.problem = problem
        self.trained = [b for b in problem.blocks if b.trained]
        self.v = problem.directions
        tangent, self._gradients = problem.hessian_vector
        before = {u.tensor for u in problem.derived}
        named = {u.tensor.name: u.tensor for u in problem.derived}
        self._dots = {}
        for definition in tangent:
            if definition.tensor not in before:
                base = named[definition.tensor.name.removeprefix("dot_")]
                self._dots[definition.tensor] = Tensor(f"{base.name}_dot", base.dims, dot(base).tex)
        frozen = {self.v[b.name] for b in problem.blocks if not b.trained}
        self._rules = {t: (lambda *u, new=new: entry(new, u)) for t, new in self._dots.items()}
        self._rules |= {t: (lambda *_: S.Zero) for t in frozen}
        self.system = problem.derived
        for definition in tangent:
            if definition.tensor in self._dots:
                expr = replace_leaves(definition.expr, self._rules)
                if expr == 0:  # it does not move with the trained blocks
                    self._rules[definition.tensor] = lambda *_: S.Zero
                self.system = self.system.define(self._dots[definition.tensor], definition.indices, expr)

    def name(self, block: str) -> Tensor:
        """Return the name of the product in a block."""
        tensor = self.problem.block(block).tensor
        return Tensor(f"Hv_{block}", tensor.dims, rf"(Hv)^{{{tensor.tex}}}")

    def of(self, block: str) -> Expr:
        """Return the product in a block, in the dotted quantities."""
        return self.system[self._dots[self._gradients[block]]].expr

    def definitions(self, roots: Sequence[Expr]) -> list[Equation]:
        """Return the definitions of the dotted quantities that ``roots`` need."""
        needed = {e.tensor for root in roots for e in root.atoms(Entry)}
        found = []
        for definition in reversed(self.system.definitions):
            if definition.tensor in needed and definition.tensor in self._dots.values():
                needed |= {e.tensor for e in definition.expr.atoms(Entry)}
                rhs = bound_loss(self.problem, definition.expr)
                found.append(Equation(entry(definition.tensor, definition.indices), rhs))
        return found[::-1]

    def notes(self) -> list[str]:
        out = [
            "$v$ is a direction in the space of parameters, $v^{a}$ its part in a block $a$; a dot is the derivative along $v$."
        ]
        if self.problem.kind == "deep":
            out[0] = out[0].replace("$v^{a}$ its part in a block $a$", "$v^{W}$ its part in a block $W$")
        if self.problem.freeze:
            out.append("It is zero in the blocks that are not trained.")
        return out
