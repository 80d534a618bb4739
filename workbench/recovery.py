r"""Branches of global minima on samples, measured: ranks of the Jacobian, imperfect minima near a branch, recovery after a perturbation.

A point of a branch is drawn with free coordinates from a seed; the samples' targets are the outputs there, which are those of the teacher.

>>> from derivations.global_minima import global_minima
>>> from derivations.problem import Problem
>>> from derivations.teacher import Teacher
>>> from sympy import Rational
>>> teacher = Teacher(weights=(("a", (Rational(3, 2),)), ("w", ((Rational(2, 5), Rational(-3, 10)),))))
>>> minima = global_minima(Problem.two_layer("exp", "square", teacher=teacher, reduction="sum", factor="2"), 2)
>>> samples = Samples.drawn(minima, 5, seed=1)
>>> [samples.rank(samples.point(b, seed=0)).rank for b in minima.branches], [b.rank for b in minima.branches]
([3, 4, 4], [3, 4, 4])
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from derivations.claim import Claim, Relation, Status
from derivations.errors import AssumptionError
from derivations.global_minima import GlobalMinima
from derivations.neuron_blocks import ZERO, AffineSet
from numerics.compile import CompiledSystem, compile_system

__all__ = ["MeasuredRank", "Samples", "rank_claims"]

#: Standard deviation of drawn inputs, and decimals they are rounded to.
_SPREAD, _DECIMALS = 1.2, 3
#: A singular value of the Jacobian with normalised columns counts as 0 up to this fraction of the largest.  Exact duplicates gave
#: 3e-16; the smallest singular value that is not 0 was 1e-7, for three neurons on four points of the line.
RANK_TOLERANCE = 1e-12
#: Draws of the free weights of a point, of which the one is taken whose neurons differ most.
_DRAWS = 200
#: A rank is read off where the largest singular value left out is below this fraction of the least one kept; 1e-11 was seen.
CLEAR_GAP = 1e-3


@dataclass(frozen=True)
class MeasuredRank:
    """Rank of the Jacobian at a point, with the gap of the singular values around it (the largest left out over the least kept)."""

    rank: int
    gap: float


@dataclass(frozen=True)
class Samples:
    """A student on samples of its teacher.

    Attributes
    ----------
    minima : GlobalMinima
        Of a teacher with numbers.
    system : CompiledSystem
        On inputs x with the targets of the teacher.
    """

    minima: GlobalMinima
    system: CompiledSystem

    @classmethod
    def at(cls, minima: GlobalMinima, x: Any, *, device: str = "cpu") -> Samples:
        """Return the student on given inputs, (n, d).

        Raises
        ------
        AssumptionError
            If the teacher has no numbers.
        ValueError
            If x has not d columns.
        """
        problem, width = minima.problem, minima.width
        if problem.teacher is None or not problem.teacher.weights:
            raise AssumptionError("samples need a teacher with numbers; this one is symbolic")
        inputs = torch.as_tensor(x, dtype=torch.float64)
        if inputs.ndim != 2 or inputs.shape[1] != problem.teacher.inputs:
            raise ValueError(f"x has shape {tuple(inputs.shape)}; required are (n, {problem.teacher.inputs})")
        blank = compile_system(problem, inputs, torch.zeros(len(inputs)), width, device=device)
        theta = _point(minima, blank, minima.branches[0], 0)
        return cls(minima, compile_system(problem, inputs, blank.outputs(theta), width, device=device))

    @classmethod
    def drawn(cls, minima: GlobalMinima, count: int, *, seed: int, device: str = "cpu") -> Samples:
        """Return the student on n inputs drawn from a normal distribution and rounded to three decimals."""
        if count < 1:
            raise ValueError(f"{count} samples; there is at least 1")
        generator = torch.Generator().manual_seed(seed)
        d = minima.shape.inputs - minima.shape.bias
        x = _SPREAD * torch.randn(count, d, generator=generator, dtype=torch.float64)
        return cls.at(minima, torch.round(x, decimals=_DECIMALS), device=device)

    @property
    def count(self) -> int:
        """Number n of samples."""
        return len(self.system.x)

    def point(self, branch: AffineSet, *, seed: int) -> Tensor:
        """Return a generic point of a branch (or of an intersection of branches), (P,)."""
        return _point(self.minima, self.system, branch, seed)

    def rank(self, theta: Tensor) -> MeasuredRank:
        """Return the rank of the Jacobian of the outputs at a point, from the singular values with normalised columns."""
        jacobian = self.system.jacobian(theta)
        norms = jacobian.norm(dim=0)
        kept = jacobian[:, norms > RANK_TOLERANCE * norms.max()]
        values = torch.linalg.svdvals(kept / kept.norm(dim=0))
        rank = int((values > RANK_TOLERANCE * values[0]).sum())
        left = float(values[rank]) if rank < len(values) else 0.0
        return MeasuredRank(rank, left / float(values[rank - 1]))

    @classmethod
    def first(cls, minima: GlobalMinima, count: int, x: Any, *, seed: int, device: str = "cpu") -> Samples:
        """Return the student on the first n of given inputs, or on drawn ones where x is None."""
        if x is None:
            return cls.drawn(minima, count, seed=seed, device=device)
        if count > len(x):
            raise ValueError(f"{count} samples and {len(x)} inputs; give more inputs")
        return cls.at(minima, x[:count], device=device)

    def on(self, x: Any) -> Samples:
        """Return the same student on other inputs."""
        return Samples.at(self.minima, x, device=str(self.system.device))


def _point(minima: GlobalMinima, system: CompiledSystem, branch: AffineSet, seed: int) -> Tensor:
    """Draw the free weights and solve the equations of the output weights for their leading ones."""
    shape, teacher = minima.shape, minima.problem.teacher
    assert teacher is not None  # ``Samples.at`` has checked it
    generator = torch.Generator().manual_seed(seed)
    blocks = teacher.blocks
    shifts = blocks.get("b", (0,) * shape.teacher) if shape.bias else None
    fixed = [
        [*map(_number, row), *([_number(shifts[j])] if shifts is not None else [])]
        for j, row in enumerate(blocks["w"])
    ]
    free = _free_weights(fixed, len([u for u in branch.blocks if u >= shape.teacher]), generator).tolist()
    zero = [0.0] * shape.inputs
    rows = [
        [
            sign * u
            for u in (
                zero
                if label == ZERO
                else fixed[label]
                if label < shape.teacher
                else free[label - shape.teacher]
            )
        ]
        for label, sign in branch.ties
    ]
    unknowns = shape.width + shape.output_bias
    outer = torch.randn(unknowns, generator=generator, dtype=torch.float64).tolist()
    leading = {next(k for k, u in enumerate(row) if u): row for row in branch.rows}
    free_part = [0.0 if k in leading else outer[k] for k in range(unknowns)]
    for k, row in leading.items():
        right = sum(float(u) * _number(v) for u, v in zip(row[unknowns:], shape.targets, strict=True))
        outer[k] = right - sum(float(u) * v for u, v in zip(row[:unknowns], free_part, strict=True))
    found: dict[str, Any] = {"a": outer[: shape.width], "w": rows}
    if shape.bias:
        found["w"], found["b"] = [row[:-1] for row in rows], [row[-1] for row in rows]
    if shape.output_bias:
        unit = 1.0 if shape.silent else _number(minima.classes.at_zero)
        d = {str(u): v for u, v in system.sizes.items()}
        scale = float(minima.problem.scale.subs({u: d[str(u)] for u in minima.problem.scale.free_symbols}))
        found["c"] = outer[shape.width] * unit * scale
    return system.pack(found)


def _free_weights(fixed: list[list[float]], count: int, generator: torch.Generator) -> Tensor:
    """Draw weights far from one another, from those of the teacher, from their opposites and from 0."""
    known = torch.tensor(fixed, dtype=torch.float64)
    draws = torch.randn(_DRAWS, count, known.shape[1], generator=generator, dtype=torch.float64)
    if not count:
        return draws[0]
    best, largest = draws[0], -1.0
    for free in draws:
        whole = torch.cat([known, free])
        signed = torch.cat([whole, -whole, torch.zeros_like(whole[:1])])
        gaps = torch.cdist(whole, signed)
        gaps[torch.arange(len(whole)), torch.arange(len(whole))] = torch.inf
        least = float(gaps[len(known) :].min())
        if least > largest:
            best, largest = free, least
    return best


def _number(value: Any) -> float:
    return float(value)


def rank_claims(minima: GlobalMinima, counts: Sequence[int], *, seed: int = 0, x: Any = None) -> list[Claim]:
    r"""Return, for each kind of branch and number of samples, the claim that the Hessian has the rank min(n, rho) there.

    Measured at a generic point on drawn inputs, or the first of given ones x; the evidence has the gap of the singular values, and without a clear one the claim is
    UNDECIDED.
    """
    claims = []
    for n in counts:
        samples = Samples.first(minima, n, x, seed=seed)
        for b, copies in minima.kinds:
            found = samples.rank(samples.point(b, seed=seed))
            expected = minima.rank(b, n)
            # Neurons that nearly agree make a rank look too small, nothing makes it look too large.
            status = Status.SUPPORTED if found.rank == expected else Status.UNDECIDED
            status = Status.REFUTED if found.rank > expected else status
            claims.append(
                Claim(
                    "global minima",
                    f"rank, r = {b.distinct}, l = {b.deficient}, n = {n}",
                    r"$\operatorname{rank} \nabla^2 R = \min(n, \rho)$ on the branch.",
                    source="zhang2024local",
                    relation=Relation.EQUAL,
                    status=status if found.gap < CLEAR_GAP else Status.UNDECIDED,
                    computed=found.rank,
                    expected=expected,
                    residual=found.rank - expected,
                    tolerance=0.0,
                    evidence={
                        "branch": list(b.parametrisation()),
                        "branches of this kind": copies,
                        "gap of the singular values": found.gap,
                        "relative tolerance": RANK_TOLERANCE,
                        "seed": seed,
                    },
                )
            )
    return claims
