r"""The Hessian of the risk as the sum of a Gauss-Newton part and a residual part.

With the Jacobian :math:`J_i = \partial f_i / \partial \theta` and
:math:`r_i = \partial R / \partial f_i`, :math:`h_i = \partial^2 R / \partial f_i^2`,

.. math::
    \nabla^2 R = \underbrace{\sum_i h_i \, J_i^\top J_i}_{\text{Gauss-Newton}}
        + \underbrace{\sum_i r_i \, \nabla^2 f_i}_{\text{residual}} + \lambda I .

The first part is the Hessian of the risk :math:`R_G` of the network linearised at :math:`\theta`, the second one that
of :math:`R_S = \sum_i r_i f_i` with the weights :math:`r_i` held fixed; they are printed as such.  The three are
derived on different ways: the Hessian by differentiating the gradient of the reverse mode, the first part from the
Jacobian, the second by differentiating the gradient with r fixed.  That the sum is the Hessian is proved block by
block (``gauss_newton_split``), for symbolic sizes.

Source: Schraudolph, Fast curvature matrix-vector products, Neural Computation 14 (2002), Section 3.

>>> split = gauss_newton_split(Problem.two_layer(input_bias=True))
>>> str(split.status), set(split.residuals.values())
('PROVED', {0})
"""

from __future__ import annotations

from dataclasses import replace

from sympy import Expr, Mul, S

from derivations.canonical import residual
from derivations.claim import Status
from derivations.derivation import Derivation, Equation
from derivations.indexed import Delta, Entry, Index, Tensor, fresh, isum, replace_index
from derivations.jacobian import output_indices, written_out
from derivations.latex import latex
from derivations.latex_names import Partial
from derivations.problem import Block, Problem
from derivations.second_order import _output_adjoints, output_jacobian
from derivations.statement import Statement
from derivations.system import System
from derivations.vocabulary import assemble, bound_loss, entry, multiplied_out

__all__ = ["derive_gauss_newton", "gauss_newton_split"]


def derive_gauss_newton(problem: Problem) -> Derivation:
    """Return the blocks of both parts, on and above the diagonal, for the trained blocks."""
    parts = _Parts(problem)
    first: list[Equation] = []
    second: list[Equation] = []
    zero: list[str] = []
    for row, column in parts.pairs:
        shown = _shown(column)
        for name, expr, out in (
            ("R_G", parts.gauss_newton(row, column), first),
            ("R_S", parts.residual(row, column), second),
        ):
            expr = multiplied_out(bound_loss(problem, expr, only_constant=True))
            for old, new in zip(_columns(column), shown, strict=True):
                expr = replace_index(expr, old, new)
            if expr == 0:
                zero.append(f"(${row.tensor.tex}$, ${column.tensor.tex}$)")
            else:
                left = Entry(Partial(name, row.tensor, column.tensor), *row.indices, *shown)
                out.append(Equation(left, expr))
    return assemble(
        problem,
        "gauss-newton",
        "Gauss-Newton and residual parts of the Hessian",
        [*first, *second],
        [*_notes(problem), *_vanishing(zero)],
        extra=parts.definitions,
    )


def gauss_newton_split(problem: Problem) -> Statement:
    """Return the statement that the parts add up to the Hessian, proved where every block reduces to 0.

    Parameters
    ----------
    problem : Problem
        Two-layer or deep; sizes stay symbolic.

    Returns
    -------
    Statement
        ``residuals`` maps ``row, column`` to Hessian minus the sum of the parts, in canonical form.
    """
    parts, residuals = _Parts(problem), {}
    for row, column in parts.pairs:
        hessian, _, _ = problem.hessian_block(row.name, column.name)
        jacobian_part = written_out(parts.gauss_newton(row, column), parts.definitions)
        rest = hessian - jacobian_part - parts.residual(row, column) - _decay(problem, row, column)
        residuals[f"{row.name}, {column.name}"] = residual(rest)
    proved = all(value == 0 for value in residuals.values())
    outputs = "ic" if problem.vector_output else "i"
    decay = "" if problem.weight_decay == 0 else rf" + {latex(problem.weight_decay)} I"
    text = (
        rf"In the trained blocks $\nabla^2 R = \sum_{{{outputs}}} h_{{{outputs}}} \nabla f_{{{outputs}}} "
        rf"\nabla f_{{{outputs}}}^{{\top}} + \sum_{{{outputs}}} r_{{{outputs}}} \nabla^2 f_{{{outputs}}}{decay}$ with "
        rf"$r_{{{outputs}}} = \partial R / \partial f_{{{outputs}}}$ and "
        rf"$h_{{{outputs}}} = \partial^2 R / \partial f_{{{outputs}}}^2$."
    )
    steps = (
        rf"Chain rule: $\nabla R = \sum_{{{outputs}}} r_{{{outputs}}} \nabla f_{{{outputs}}}$; the derivative of "
        rf"$r_{{{outputs}}}$ is $h_{{{outputs}}} \nabla f_{{{outputs}}}$, the loss of one output depending on that output "
        "only.",
        "Checked block by block for symbolic sizes: Hessian minus the sum of the parts reduces to 0.",
    )
    status = Status.PROVED if proved else Status.UNDECIDED
    return Statement("Gauss-Newton split", text, steps, status, residuals)


class _Parts:
    """Both parts of every pair of trained blocks, at the indices of ``Problem.hessian_block``."""

    def __init__(self, problem: Problem) -> None:
        self.problem = problem
        trained = [b for b in problem.blocks if b.trained]
        self.pairs = [(row, column) for p, row in enumerate(trained) for column in trained[p:]]
        self._back = {} if problem.kind == "two_layer" else _output_adjoints(problem)
        self.definitions = [Equation(entry(g, indices), expr) for g, indices, expr in self._back.values()]
        self._plain = replace(problem, weight_decay=S.Zero)
        self._weights = Tensor("r", problem.output.dims)
        derived = self._plain.derived
        self._fixed = System(derived.declarations, tuple(u for u in derived if u.tensor != self._weights))

    def gauss_newton(self, row: Block, column: Block) -> Expr:
        """Return the sum of h J J over samples and outputs."""
        at = tuple(
            fresh(u) for u in output_indices(self.problem)
        )  # the output weights have an index c as well
        left = output_jacobian(self.problem, row, at, row.indices, self._back)
        right = output_jacobian(self.problem, column, at, _columns(column), self._back)
        return isum(self._curvature(at) * left * right, *at)

    def _curvature(self, at: tuple[Index, ...]) -> Expr:
        """Return h: the weights r depend on the output of their own sample and output index only."""
        other = tuple(fresh(u) for u in at)
        return isum(self._plain.derived.jacobian(self._weights, at, self.problem.output, other), *other)

    def residual(self, row: Block, column: Block) -> Expr:
        """Return the second derivative of the sum of r f with r held fixed."""
        gradient = self._plain.gradient[row.name]
        return self._fixed.jacobian(gradient, row.indices, column.tensor, _columns(column))


def _columns(block: Block) -> tuple[Index, ...]:
    """Return the column indices of ``Problem.hessian_block``."""
    return tuple(Index(f"{u.name}'", u.dim) for u in block.indices)


def _shown(block: Block) -> tuple[Index, ...]:
    """Return the column indices of the printed Hessian: neurons k and q."""
    return tuple(Index("q", u.dim) if u.name == "k'" else u for u in _columns(block))


def _decay(problem: Problem, row: Block, column: Block) -> Expr:
    """Return the block of the weight decay times the identity."""
    if row != column:
        return S.Zero
    pairs = zip(row.indices, _columns(column), strict=True)
    return problem.weight_decay * Mul(*[Delta(u, v) for u, v in pairs])


def _vanishing(pairs: list[str]) -> list[str]:
    if not pairs:
        return []
    verb = "blocks" if len(pairs) > 1 else "block"
    return [f"The residual part is zero in the {verb} {', '.join(pairs)}."]


def _notes(problem: Problem) -> list[str]:
    unit = "ic" if problem.vector_output else "i"
    if problem.vector_output and problem.output_bias and problem.kind == "two_layer":
        unit = "iu"
    decay = "" if problem.weight_decay == 0 else rf" + {latex(problem.weight_decay)} I"
    out = [
        r"$R_G$ is the risk of the network linearised at $\theta$. Its Hessian, the Gauss-Newton part, is the sum of "
        rf"$h_{{{unit}}} \nabla f_{{{unit}}} \nabla f_{{{unit}}}^{{\top}}$ over samples"
        rf"{' and outputs' if problem.vector_output else ''}, where $h_{{{unit}}}$ is the second derivative of $R$ in "
        rf"$f_{{{unit}}}$.",
        rf"$R_S$ is the sum of $r_{{{unit}}} f_{{{unit}}}$ with the weights $r_{{{unit}}}$ held fixed; its Hessian is the "
        "residual part.",
        rf"The Hessian of the risk is the sum, $\nabla^2 R = \nabla^2 R_G + \nabla^2 R_S{decay}$.",
    ]
    if problem.freeze:
        out.append("All of them are meant in the trained blocks.")
    return out
