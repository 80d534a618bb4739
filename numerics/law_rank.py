r"""The number of conservation laws of any activation, by the numerical rank of brackets of gradient fields.

The exact count of ``derivations.law_count`` needs polynomials.  Here the fields

.. math:: X_{j,c}(\theta) = \eta \odot \nabla_\theta f_c(\theta; x_j)

are those of the compiled network at random inputs, brackets are derivatives along one another by forward mode,

.. math:: [X, Y] = DY\,X - DX\,Y ,

and the rank of all of them at a random point is the number of singular values above a threshold, every field having unit
length.  D minus the rank is the number of laws for all data, if the rank is right: it is read off a gap, which is part of
the result.  A gap below ``CLEAR_GAP`` decides nothing.  For an analytic activation D random inputs span what all inputs
span; an activation with kinks has cells that random inputs may miss, so that only a count that the known laws reach is
reported as SUPPORTED.

Source: Marcotte, Gribonval, Peyre, arXiv:2307.00144, Theorem 3.3.

>>> from derivations.problem import Problem
>>> found = law_rank(Problem.two_layer("tanh"), {"m": 1, "d": 2})
>>> found.dimension, found.trace, found.laws, str(found.status)
(3, 3, 0, 'SUPPORTED')
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import partial
from typing import Final

import torch
from torch import Tensor

from derivations.almost_everywhere import has_kinks
from derivations.claim import Status
from derivations.conservation import conserved_quantities
from derivations.formula_model import FormulaProblem
from derivations.problem import Problem
from numerics.compile import CompiledSystem, compile_system
from numerics.tolerances import ZERO_EIGENVALUE

__all__ = ["CLEAR_GAP", "LawRank", "is_analytic", "law_rank"]

#: Ratio of the last singular value that counts to the first that does not, from which on the rank is taken for clear.
#: Seen: at least 1e11 for networks of up to 20 parameters and three levels of brackets.
CLEAR_GAP: Final = 1e3

Field = Callable[[Tensor], Tensor]


@dataclass(frozen=True)
class LawRank:
    """The numerical count of conserved functions.

    Attributes
    ----------
    dimension, trace, laws, known : int
        Trained parameters D; rank of the brackets; D minus that; independent known laws.
    levels : tuple of int
        Rank after the gradient fields, after one bracket, and so on.
    gap : float
        Smallest ratio, over the levels, of the last singular value that counts to the first that does not; infinite where
        all count.
    smallest : float
        Smallest singular value that counts, the fields having unit length.
    complete : bool or None
        Whether the known laws reach the count; None where the gap decides nothing.
    status : Status
        SUPPORTED with a clear gap, else UNDECIDED.
    seed : int
        Of parameters and inputs.
    """

    dimension: int
    trace: int
    laws: int
    known: int
    levels: tuple[int, ...]
    gap: float
    smallest: float
    complete: bool | None
    status: Status
    seed: int


def law_rank(
    problem: Problem,
    sizes: Mapping[str, int],
    *,
    seed: int = 0,
    samples: int | None = None,
    max_levels: int = 4,
    device: str | torch.device = "cpu",
) -> LawRank:
    """Count the conserved functions of a problem at given sizes from a numerical rank, in float64.

    Parameters
    ----------
    problem : Problem
        Two-layer or deep with a concrete activation, or a formula; weight decay is left out, frozen blocks stay at random values.
    sizes : mapping
        Widths (``m`` or ``m1``, ``m2``, ...), ``d``, and ``o`` for vector outputs; empty for a formula.
    seed : int
        Of the random parameters and inputs.
    samples : int, optional
        Number of inputs; by default 4 D + 8, and ten times that with a kink.
    max_levels : int
        Levels of brackets at most; the work doubles with each.
    device : str or torch.device
        Where the fields are evaluated.

    Raises
    ------
    ValueError
        If a size is missing, nothing is trained, a setting is not positive, or a formula has no values at random points.
    """
    if max_levels < 0 or (samples is not None and samples < 1):
        raise ValueError(
            f"max_levels = {max_levels} and samples = {samples}: the first is at least 0, the second at least 1"
        )
    work = _Fields(problem, sizes, seed, samples, device)
    rank, gap, smallest = _rank(work.values)
    generators = [work.field(j) for j in _independent(work.values, rank)]
    basis, levels, latest = list(generators), [rank], list(generators)
    closed = rank == work.dimension
    for _ in range(max_levels):
        if closed:
            break
        new: list[Field] = [
            partial(_bracket, one, other) for one, other in itertools.product(generators, latest)
        ]
        rows = torch.stack([work.unit(field) for field in [*basis, *new]])
        total, ratio, small = _rank(rows)
        gap, smallest = min(gap, ratio), min(smallest, small)
        latest = [new[j - len(basis)] for j in _independent(rows, total) if j >= len(basis)]
        closed = total in (rank, work.dimension)
        basis, rank = [*basis, *latest], total
        levels.append(total)
    known, laws = work.known(), work.dimension - rank
    clear = closed and gap >= CLEAR_GAP and (is_analytic(problem) or known == laws)
    return LawRank(
        work.dimension,
        rank,
        laws,
        known,
        tuple(levels),
        gap,
        smallest,
        known == laws if clear else None,
        Status.SUPPORTED if clear else Status.UNDECIDED,
        seed,
    )


def is_analytic(problem: Problem) -> bool:
    """Whether no kink occurs: then finitely many random inputs span what all inputs span."""
    if isinstance(problem, FormulaProblem):
        return not has_kinks(problem.one_sided)
    return problem.activation is not None and problem.activation.is_smooth is True


class _Fields:
    """The gradient fields of a problem at random inputs, as functions of the trained parameters."""

    def __init__(
        self,
        problem: Problem,
        sizes: Mapping[str, int],
        seed: int,
        samples: int | None,
        device: str | torch.device,
    ) -> None:
        if isinstance(problem, FormulaProblem):
            sizes = {"d": len(problem.inputs)}
        needed = [*[str(s) for s in problem.hidden_dims], "d", *(["o"] if problem.vector_output else [])]
        if missing := [name for name in needed if name not in sizes]:
            raise ValueError(f"the sizes {', '.join(missing)} are missing; needed are {', '.join(needed)}")
        self.problem = replace(
            problem,
            loss=problem.loss or Problem.two_layer(loss="square").loss,
            weight_decay=0 * problem.factor,
        )
        self.generator = torch.Generator().manual_seed(seed)
        self.widths = [sizes[str(s)] for s in problem.hidden_dims]
        self.outputs = sizes["o"] if problem.vector_output else 1
        probe = self._compiled(self._normal(1, sizes["d"]), device)
        self.trained = probe.rates != 0
        self.rates = probe.rates[self.trained]
        self.dimension = int(self.trained.sum())
        if self.dimension == 0:
            raise ValueError(
                "no block is trained: there is no flow whose conserved functions could be counted"
            )
        self.theta = self._normal(probe.P).to(probe.x)
        self.point = self.theta[self.trained]
        self.probe = probe
        count = samples or (4 if is_analytic(problem) else 40) * (self.dimension + 2)
        self.inputs = self._normal(count, sizes["d"])
        rows = torch.func.jacrev(self._compiled(self.inputs, device).outputs)(self.theta)
        rows = self.rates * rows.reshape(-1, probe.P)[:, self.trained]
        if not bool(torch.isfinite(rows).all()):
            raise ValueError(
                "the output has no finite derivatives at random parameters and inputs (a logarithm or root of negative numbers?); "
                "its conservation laws are not counted"
            )
        #: Directions of the fields of all inputs and outputs at the point, one row each.
        self.values = torch.stack([_unit(row) for row in rows])
        self.device = device

    def field(self, row: int) -> Field:
        """Return the field of one row of ``values`` as a function of the trained parameters."""
        sample, output = divmod(row, self.outputs)
        return partial(self._field, self._compiled(self.inputs[sample : sample + 1], self.device), output)

    def _normal(self, *shape: int) -> Tensor:
        return torch.randn(*shape, generator=self.generator, dtype=torch.float64)

    def _compiled(self, x: Tensor, device: str | torch.device) -> CompiledSystem:
        y = torch.zeros(
            (len(x), self.outputs) if self.problem.vector_output else (len(x),), dtype=torch.float64
        )
        return compile_system(self.problem, x, y, self.widths, device=device)

    def _field(self, system: CompiledSystem, output: int, point: Tensor) -> Tensor:
        def value(u: Tensor) -> Tensor:
            theta = self.theta.index_put((torch.nonzero(self.trained)[:, 0],), u)
            return system.outputs(theta).reshape(-1)[output]

        return self.rates * torch.func.grad(value)(point)

    def unit(self, field: Field) -> Tensor:
        """Return the direction of a field at the point, 0 where it vanishes to rounding."""
        return _unit(field(self.point))

    def known(self) -> int:
        """Return the rank of the gradients of the known laws."""
        rows = []
        for law in conserved_quantities(self.problem):
            if law.quantity is None or not law.proved:
                continue

            def value(theta: Tensor, law=law) -> Tensor:  # type: ignore[no-untyped-def]
                found = self.probe.evaluate(self.problem.derived, {"Q": (law.quantity, law.indices)}, theta)
                return found["Q"].reshape(-1)

            rows.append(torch.func.jacrev(value)(self.theta)[:, self.trained])
        return _rank(torch.cat(rows))[0] if rows else 0


def _unit(value: Tensor) -> Tensor:
    length = value.norm()
    return value / length if float(length) > ZERO_EIGENVALUE else torch.zeros_like(value)


def _bracket(one: Field, other: Field, point: Tensor) -> Tensor:
    along = torch.func.jvp(other, (point,), (one(point),))[1]
    back = torch.func.jvp(one, (point,), (other(point),))[1]
    return along - back


def _rank(rows: Tensor) -> tuple[int, float, float]:
    """Return the numerical rank, the gap behind it and the last singular value that counts."""
    values = torch.linalg.svdvals(rows)
    rank = int((values > ZERO_EIGENVALUE * values[0]).sum())
    below = float(values[rank]) if rank < len(values) else 0.0
    last = float(values[rank - 1]) if rank else 0.0
    return rank, last / below if below > 0 else float("inf"), last


def _independent(rows: Tensor, rank: int) -> list[int]:
    """Return indices of ``rank`` independent rows; the first ones are kept where they are independent of each other."""
    chosen: list[int] = []
    rest = rows.clone()
    for _ in range(rank):
        lengths = rest.norm(dim=1)
        early = [
            j for j in range(len(rows)) if j not in chosen and float(lengths[j]) > 0.1 * float(lengths.max())
        ]
        best = early[0]
        chosen.append(best)
        direction = rest[best] / lengths[best]
        for _ in range(2):  # twice is enough against rounding
            rest = rest - (rest @ direction)[:, None] * direction
    return chosen
