r"""The global minima of a teacher-student problem as one object: branches, counts, intersections, ranks, sample sizes.

The set :math:`Q^*` of parameters at which the student has the output of the teacher is a finite union of affine branches
(``derivations.recovery_branches``).  On samples of the teacher every point of it is a global minimum of the risk, with

.. math:: \nabla^2 R = \kappa\, J^\top J, \qquad \operatorname{rank} \nabla^2 R = \operatorname{rank} J \leq \min(n, \rho),

:math:`\rho` the model rank on the branch, with equality for almost all samples.  A branch is *separated* by the samples where no other
parameters with R = 0 are near it.  What is known from the ranks alone:

* n at least the codimension N, and :math:`\rho = N`: separated, R Morse-Bott, at the points of largest rank;
* n at most :math:`\rho` and less than N: the points with R = 0 form a manifold of codimension n, larger than the branch;
* otherwise the order 2 decides (``derivations.copied_neuron``), or the published theorem for generic activations.

Source: arXiv:2309.00508 (2024), Lemma 4.2, Theorem 5.4 and Table 2.  There Theorem 5.4 has "no point is stable" up to and with
:math:`n = r + (r - l) d`; on a branch on which this is N the two statements contradict each other at n = N, where the branch is stable.

>>> from derivations.problem import Problem
>>> found = global_minima(Problem.two_layer("exp", "square"), 3, teacher_width=1, inputs=2)
>>> found.count(), found.dimension, found.intersections(), found.components()
(10, 4, {0: 15, 1: 6, 2: 9}, 1)
>>> [str(found.separation(found.branches[0], n)) for n in (3, 5, 7)]
['not separated', 'open', 'separated']
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from derivations.claim import Status
from derivations.decide import Finding
from derivations.generic_activation import NeuronClasses, generic_activation
from derivations.model_rank import ModelRank, model_rank
from derivations.neuron_blocks import AffineSet, Shape, meet
from derivations.problem import Problem
from derivations.recovery_branches import Branch, branch_count, enumerate_branches
from derivations.sample_verdicts import Recovery, Separation
from derivations.teacher_student import teacher_student

__all__ = ["GlobalMinima", "Recovery", "Separation", "global_minima"]

#: Sets that ``strata`` lists at most.
_MOST_STRATA = 3000


@dataclass(frozen=True)
class GlobalMinima:
    """All parameters of a student of width m with the output of its teacher.

    Attributes
    ----------
    problem : Problem
        The student with its teacher.
    shape : Shape
        Sizes and identifications.
    classes : NeuronClasses
        When neurons coincide.
    generic : Finding
        Whether the activation is generic, or which assumption fails.
    """

    problem: Problem
    shape: Shape
    classes: NeuronClasses
    generic: Finding

    @property
    def width(self) -> int:
        """Width of the student."""
        return self.shape.width

    @cached_property
    def branches(self) -> tuple[Branch, ...]:
        """The branches, none in the closure of another, by number of distinct weights."""
        return enumerate_branches(self.shape)

    @property
    def complete(self) -> Status:
        """Whether the branches are all: PROVED, or UNDECIDED where independence is open or neurons can be constants.

        With hidden biases a neuron with w = 0 is a constant for every bias, so several of them can cancel without equal biases;
        these sets are not affine and not listed.
        """
        return Status.UNDECIDED if self.shape.bias else self.classes.status

    def count(self, distinct: int | None = None) -> int:
        """Return the number of branches, or of those with a given number of distinct weights: in closed form where there is one."""
        levels = range(self.shape.teacher, self.width + 1) if distinct is None else (distinct,)
        if self.shape.constant:
            return sum(b.distinct in levels for b in self.branches)
        return sum(branch_count(self.shape, r) for r in levels)

    @property
    def dimension(self) -> int:
        """Largest dimension of a branch."""
        return max(b.dimension for b in self.branches)

    @cached_property
    def kinds(self) -> tuple[tuple[Branch, int], ...]:
        """One branch of each orbit under permutations of the neurons, with the size of the orbit."""
        firsts: dict[tuple[object, ...], Branch] = {}
        sizes: Counter[tuple[object, ...]] = Counter()
        for b in self.branches:
            firsts.setdefault(b.signature, b)
            sizes[b.signature] += 1
        return tuple((b, sizes[key]) for key, b in firsts.items())

    def intersections(self) -> dict[int, int]:
        """Return how many pairs of branches meet, by the dimension of the intersection."""
        twice: Counter[int] = Counter()
        for b, size in self.kinds:
            for other in self.branches:
                if other is not b and (joint := meet(b, other)) is not None:
                    twice[joint.dimension] += size
        return {k: v // 2 for k, v in sorted(twice.items())}

    def meeting(self) -> list[tuple[int, int, AffineSet]]:
        """Return the pairs of branches (positions in ``branches``) that meet, with the intersection."""
        found = []
        for i, b in enumerate(self.branches):
            for j in range(i):
                joint = meet(self.branches[j], b)
                if joint is not None:
                    found.append((j, i, joint))
        return found

    def components(self) -> int:
        """Return the number of connected components of the union of the branches."""
        left, number = list(range(len(self.branches))), 0
        while left:
            number += 1
            border = [left.pop()]
            while border:
                b = self.branches[border.pop()]
                near = [j for j in left if meet(b, self.branches[j]) is not None]
                left = [j for j in left if j not in near]
                border += near
        return number

    def strata(self) -> tuple[tuple[AffineSet, frozenset[int]], ...]:
        """Return the intersections of any number of branches, the branches included, each with the branches that contain it.

        One stratum lies in the closure of another if and only if it is contained in all branches that contain the other.

        Raises
        ------
        ValueError
            If there are more than a few thousand.
        """
        found: dict[tuple[object, ...], AffineSet] = {(b.ties, b.rows): b for b in self.branches}
        border: list[AffineSet] = list(self.branches)
        while border:
            fresh = []
            for part in border:
                for b in self.branches:
                    joint = meet(part, b)
                    if joint is not None and (joint.ties, joint.rows) not in found:
                        found[joint.ties, joint.rows] = joint
                        fresh.append(joint)
            if len(found) > _MOST_STRATA:
                raise ValueError(f"more than {_MOST_STRATA} intersections; take a smaller width")
            border = fresh
        listed = []
        for part in sorted(found.values(), key=lambda u: (-u.dimension, u.ties)):
            inside = frozenset(j for j, b in enumerate(self.branches) if b.contains(part))
            listed.append((part, inside))
        return tuple(listed)

    # -- samples --------------------------------------------------------------------------------------------------------

    @property
    def optimistic_size(self) -> int:
        """The model rank of the target: the least rank on the branches, at r = m0, and number of samples for linear stability."""
        return self.shape.teacher * (self.shape.inputs + 1) + self.shape.output_bias

    def rank(self, branch: AffineSet, samples: int | None = None) -> int:
        """Return the rank of the Hessian at a generic point of a branch: on n generic samples, or of the population risk."""
        _check_samples(samples)
        return branch.rank if samples is None else min(samples, branch.rank)

    def rank_at(self, blocks: dict[str, Any]) -> ModelRank:
        """Return the model rank at exact parameters ``a``, ``w`` (and ``b``)."""
        activation = self.problem.activation
        assert activation is not None  # checked when built
        return model_rank(
            activation, blocks["a"], blocks["w"], blocks.get("b"), output_bias=self.shape.output_bias
        )

    @property
    def _in_the_theorem(self) -> bool:
        """Whether the published theorem is about this problem: a generic activation and no biases."""
        return self.generic.known and not self.shape.output_bias and not self.shape.bias

    def separation(self, branch: Branch, samples: int) -> Separation:
        """Return whether n generic samples separate a branch, as far as the ranks and the published theorem say.

        Never "not separated" because n is below a threshold that is sufficient only.
        """
        _check_samples(samples)
        by_theorem = self._in_the_theorem
        if samples >= branch.codimension and (branch.morse_bott or by_theorem):
            return Separation.SEPARATED
        if samples <= branch.rank:  # here less than the codimension
            return Separation.NOT
        return Separation.OPEN

    def recovery(self, branch: Branch, samples: int) -> Recovery:
        """Return which points of a branch are stable for recovery with n generic samples."""
        if self._in_the_theorem and samples > self.shape.parameters:
            return Recovery.EVERY
        verdict = self.separation(branch, samples)
        if verdict is Separation.SEPARATED:
            return Recovery.ALMOST
        # Everywhere on the branch the rank is at least that of the target.
        below = samples <= self.optimistic_size and samples < branch.codimension
        return Recovery.NONE if below or verdict is Separation.NOT else Recovery.OPEN

    def to_dict(self) -> dict[str, Any]:
        """Return plain data."""
        return {
            "width": self.width,
            "teacher_width": self.shape.teacher,
            "parameters": self.shape.parameters,
            "complete": str(self.complete),
            "generic_activation": {"status": str(self.generic.status), "reason": self.generic.reason},
            "optimistic_size": self.optimistic_size,
            "branches": [
                {
                    "equations": list(b.parametrisation()),
                    "distinct": b.distinct,
                    "deficient": b.deficient,
                    "dimension": b.dimension,
                    "rank": b.rank,
                    "separation_size": b.separation_size,
                    "morse_bott": b.morse_bott,
                    "copies": size,
                }
                for b, size in self.kinds
            ],
            "count": self.count(),
            "intersections": self.intersections(),
            "components": self.components(),
        }


def _check_samples(samples: int | None) -> None:
    if samples is not None and samples < 1:
        raise ValueError(f"{samples} samples; there is at least 1")


def global_minima(
    problem: Problem, width: int, *, teacher_width: int | None = None, inputs: int | None = None
) -> GlobalMinima:
    """Return the global minima of a student of a given width at targets of its teacher.

    Assumptions
    -----------
    Square loss without weight decay, one output, all blocks trained: checked.
    The activation is analytic, and odd or even up to a constant or without such a symmetry: decided from its formula.
    The weights of the teacher are distinct (up to sign where signs are identified), not 0, and no output weight is 0: checked for
    numbers, assumed for a symbolic teacher.

    Parameters
    ----------
    problem : Problem
        A two-layer student; without a teacher, or with a symbolic one, ``teacher_width`` and ``inputs`` say its sizes.
    width : int
        m.
    teacher_width, inputs : int, optional
        m0 and d where the teacher has no numbers.

    Raises
    ------
    AssumptionError
        If an assumption fails; the message says which.
    ValueError
        If sizes are missing, or contradict the teacher, or the student is narrower than the teacher.
    """
    shape, classes = teacher_student(problem, width, teacher_width, inputs)
    assert problem.activation is not None  # checked
    return GlobalMinima(problem, shape, classes, generic_activation(problem.activation))
