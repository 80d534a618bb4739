r"""How far a parameter is from a KKT direction of the margin problem, free of the scale of the parameter.

With margins :math:`q_i = y_i f(x_i; \theta)`, :math:`\rho = \lVert\theta\rVert`, multipliers :math:`\lambda_i \ge 0` and the force :math:`g = \sum_i \lambda_i \nabla q_i`, the
scaled parameter :math:`\tilde\theta = \theta / q_{\min}^{1/L}` of a network that is homogeneous of degree L is an approximate KKT point of
:math:`\min \lVert\theta\rVert^2/2,\ q_i \ge 1`:

.. math::
    \varepsilon = \Bigl\lVert \tilde\theta - \sum_i \tilde\lambda_i \nabla q_i(\tilde\theta) \Bigr\rVert
        = \Bigl\lVert \frac{\theta}{\rho} - \frac{g}{\lVert g\rVert} \Bigr\rVert \frac{\rho}{q_{\min}^{1/L}}, \qquad
    \delta = \sum_i \tilde\lambda_i \Bigl(\frac{q_i}{q_{\min}} - 1\Bigr), \qquad
    \tilde\lambda_i = \frac{\rho\, \lambda_i}{\lVert g\rVert}\, q_{\min}^{1 - 2/L} .

Both are unchanged under :math:`\theta \to c\,\theta` and :math:`\lambda \to c'\lambda`.  For the gradient flow of the exponential loss
:math:`\lambda_i = e^{-q_i}`, and :math:`\delta \le n\,(e\,L)^{-1} \bar\gamma^{-2/L} / q_{\min}` with the normalised margin :math:`\bar\gamma = q_{\min}/\rho^L`.

Source: Lyu, Li, arXiv:1906.05890, Appendix C; the constants as derived there.

>>> from derivations.problem import Problem
>>> residual = kkt_residual(Problem.two_layer("relu"))
>>> list(residual.outputs), residual.degree
(['misalignment', 'norm', 'force', 'margins', 'multipliers'], 2)
>>> residual.measure(misalignment=0, norm=2.0, force=1.0, margins=[1.0, 1.0], multipliers=[0.5, 0.5])
(0.0, 0.0)
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from sympy import Add, Expr, exp, sqrt

from derivations.constrained import squared_norm
from derivations.constrained_problems import homogeneity
from derivations.errors import AssumptionError
from derivations.indexed import Index, Tensor, isum
from derivations.problem import Problem, n
from derivations.system import System
from derivations.vocabulary import entry

__all__ = ["KKTResidual", "kkt_residual"]

_I = Index("i", n)


@dataclass(frozen=True)
class KKTResidual:
    """Expressions for ``CompiledSystem.evaluate(residual.system, residual.outputs, theta)``.

    Parameters
    ----------
    system : System
        The problem's definitions, the margins, the force and the multipliers.
    outputs : dict
        ``misalignment`` | theta/rho - g/|g| |, ``norm`` rho and ``force`` |g| (scalars), ``margins`` q and ``multipliers``
        lambda, each (n,).
    degree : Expr
        Degree L of homogeneity.
    """

    system: System
    outputs: dict[str, tuple[Expr, tuple[Index, ...]]]
    degree: Expr

    def measure(
        self, *, misalignment: Any, norm: Any, force: Any, margins: Sequence[Any], multipliers: Sequence[Any]
    ) -> tuple[Any, Any]:
        r"""Return :math:`(\varepsilon, \delta)` from the values of the outputs at one point; numbers of any kind.

        Raises
        ------
        ValueError
            If a margin is not positive: no scaling of theta is feasible then.
        """
        least = min(margins)
        if not least > 0:
            raise ValueError(
                f"the smallest margin is {least}; a direction that separates the data is required"
            )
        power = float(self.degree)
        scale = norm / force * least ** (1 - 2 / power)
        slack = sum(lam * (q / least - 1) for lam, q in zip(multipliers, margins, strict=True))
        return misalignment * norm / least ** (1 / power), scale * slack


def kkt_residual(problem: Problem, multipliers: Callable[[Expr, Index], Expr] | None = None) -> KKTResidual:
    r"""Return the residual of the KKT conditions of the margin problem in terms of the network's leaves.

    Parameters
    ----------
    problem : Problem
        Homogeneous in the trained blocks, one output.
    multipliers : callable, optional
        ``multipliers(q_i, i)`` gives :math:`\lambda_i \ge 0` in the margin and the leaves, up to a common factor; those of the
        exponential loss, :math:`e^{-q_i}`, by default.  These underflow in float64 where all margins exceed 745: scale
        theta down or give others.

    Returns
    -------
    KKTResidual
        System and outputs; ``measure`` turns the values into the two residuals.

    Raises
    ------
    AssumptionError
        If homogeneity is not shown.
    ValueError
        If the problem has several outputs or no trained block.
    """
    if problem.vector_output:
        raise ValueError("the margin problem has one output with labels y_i; this problem has o outputs")
    trained = [b for b in problem.blocks if b.trained]
    if not trained:
        raise ValueError("every block is frozen; train at least one")
    degree = homogeneity(problem)
    if degree is None or degree == 0:
        raise AssumptionError(
            "the residual is free of scale only for a network that is homogeneous in its trained blocks, got "
            f"{problem.activation.name if problem.activation else 'a general activation'} with "
            f"{', '.join(b.name for b in problem.blocks)}: choose relu, leaky relu or a monomial and no output bias"
        )
    q, weight, total = Tensor("q", (n,)), Tensor("lambda", (n,), r"\lambda"), Tensor("pairing")
    # The multipliers are constants of the force, so they are defined only after differentiation.
    system = problem.system.define(q, (_I,), problem.y[_I] * problem.output[_I])
    system = system.define(total, (), isum(weight[_I] * q[_I], _I))
    names = {t.tensor: Tensor(f"adjoint_{t.tensor.name}", t.tensor.dims) for t in system if t.tensor != total}
    names |= {b.tensor: Tensor(f"force_{b.name}", b.tensor.dims) for b in trained}
    system, force = system.reverse(total, [b.tensor for b in trained], names)
    system = system.define(weight, (_I,), exp(-q[_I]) if multipliers is None else multipliers(q[_I], _I))
    rho, size = Tensor("rho"), Tensor("force")
    system = system.define(rho, (), sqrt(squared_norm(trained)))
    squares = [isum(entry(force[b.tensor], b.indices) ** 2, *b.indices) for b in trained]
    system = system.define(size, (), sqrt(Add(*squares)))
    gaps = [
        isum(
            (entry(b.tensor, b.indices) / rho() - entry(force[b.tensor], b.indices) / size()) ** 2, *b.indices
        )
        for b in trained
    ]
    outputs: dict[str, tuple[Expr, tuple[Index, ...]]] = {
        "misalignment": (sqrt(Add(*gaps)), ()),
        "norm": (rho(), ()),
        "force": (size(), ()),
        "margins": (q[_I], (_I,)),
        "multipliers": (weight[_I], (_I,)),
    }
    return KKTResidual(system, outputs, degree)
