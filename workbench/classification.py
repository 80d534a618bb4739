r"""What the inertia leaves open: where zero eigenvalues come from, the kind of a degenerate point, whether a minimum is global.

Zero eigenvalues are explained by null vectors v of the Hessian, in this order:

* *symmetry*: v is tangent to an orbit of a derived continuous symmetry (``numerics.orbits``); such v are null vectors exactly;
* *embedding*: v keeps the outputs at random further inputs to first order: neurons that agree share their output weights
  otherwise, or a silent one moves;
* *manifold*: critical points go on along v (``numerics.manifold``), and the function changes.

The last two are measured.  If all are explained, the critical points form a manifold whose tangent space is the null space, and a
semidefinite Hessian belongs to a minimum or maximum that is not strict (Morse and Bott).
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import Tensor

from derivations.losses import Loss
from derivations.problem import Problem
from numerics.compile import CompiledSystem
from numerics.critical import trained
from numerics.manifold import LocalSet, local_set
from numerics.orbits import Orbits
from numerics.spectrum import Spectrum
from workbench.results import CriticalPoint, Zeros

__all__ = ["SCALE", "Classifier", "classified", "is_lower_bound"]

#: Singular values of the outputs along null vectors that count as zero, relative to the largest of the Jacobian.
KEEPS_FUNCTION = 1e-7
#: Size that eigenvalues usually have, the data being of order one; what is 1e-9 of it is zero.
SCALE = 1.0
#: A risk that is not negative and this small is zero to rounding, the targets being of order one.
EXACT_FIT = 1e-24

SYMMETRIC = "all zero eigenvalues are tangent to the orbit of a symmetry"
MEASURED = "the critical points around form a manifold, measured in every null direction"
ONE_VARIABLE = "the reduced risk of one variable, measured on both sides at two distances"
FALLS = "the reduced risk falls along a null direction, measured at two distances"


@dataclass
class Classifier:
    """Classification of the points of one compiled system.

    Parameters
    ----------
    system : CompiledSystem
        At the data.
    elsewhere : CompiledSystem or None
        The same network at other inputs, to tell whether a direction keeps the function; None where there is none.
    """

    system: CompiledSystem
    elsewhere: CompiledSystem | None = None

    def __post_init__(self) -> None:
        self.orbits = Orbits(self.system)

    def zeros(self, theta: Tensor, found: Spectrum) -> tuple[Zeros, LocalSet]:
        """Return where the zero eigenvalues of a point (P,) come from, and the set measured around it."""
        count = found.inertia.zero
        if count == 0:
            return Zeros(), LocalSet(0, 0, "flat")
        tangents = self.orbits.tangents(theta)
        symmetry = min(count, tangents.shape[1])
        local = local_set(self.system, theta, tangents, SCALE)
        keeps = self._keeps_function(theta, found)
        explained = symmetry + local.dimension
        embedding = min(max(keeps - symmetry, 0), local.dimension)
        return (
            Zeros(symmetry, embedding, local.dimension - embedding, max(count - explained, 0)),
            local,
        )

    def _keeps_function(self, theta: Tensor, found: Spectrum) -> int:
        """Return the dimension of the null vectors along which the outputs at other inputs do not change to first order."""
        if self.elsewhere is None:
            return 0
        first, count = found.inertia.negative, found.inertia.zero
        free = trained(self.system)
        null = torch.zeros(len(theta), count, dtype=theta.dtype, device=theta.device)
        null[free] = found.vectors[:, first : first + count]
        jacobian = self.elsewhere.jacobian(theta).reshape(-1, len(theta))
        sizes = torch.linalg.svdvals(jacobian @ null)
        bound = KEEPS_FUNCTION * torch.linalg.svdvals(jacobian).max().clamp(min=1e-300)
        return count - int((sizes > bound).sum())


def classified(point: CriticalPoint, zeros: Zeros, local: LocalSet) -> CriticalPoint:
    """Return a point with its zeros explained, and its kind where that decides it."""
    inertia = point.inertia
    decided, reason = None, ""
    definite = not (inertia.negative and inertia.positive)
    if inertia.zero and definite and inertia.negative + inertia.positive:
        up = inertia.positive > 0
        if zeros.unexplained == 0:
            decided = "minimum" if up else "maximum"
            ground = SYMMETRIC if zeros.symmetry == inertia.zero else MEASURED
            reason = f"{ground}, and all other eigenvalues are {'positive' if up else 'negative'}"
        elif local.nullity == 1 and local.reduced in ("minimum", "maximum", "saddle"):
            same = local.reduced == ("minimum" if up else "maximum")
            decided, reason = (local.reduced if same else "saddle"), ONE_VARIABLE
        elif local.reduced == "saddle" or (local.reduced == "falls" and up):
            decided, reason = "saddle", FALLS
    whole = zeros.unexplained == 0
    return replace(
        point,
        zeros=zeros,
        decided=decided,
        reason=reason,
        unexplained_zeros=zeros.unexplained,
        manifold_dimension=zeros.explained if whole else None,
    )


def is_lower_bound(problem: Problem, value: float) -> bool:
    """Say whether a value of the risk is 0 to rounding, for a loss that is shown not to be negative."""
    return 0 <= value <= EXACT_FIT and _not_negative(problem.loss) is True


def _not_negative(loss: Loss | None) -> bool | None:
    """Whether a loss is at least 0 for all outputs and targets; None where SymPy does not tell."""
    return None if loss is None else loss.expr.is_nonnegative
