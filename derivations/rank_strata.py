r"""Model ranks of other models in closed form: matrix factorisation, completion, diagonal networks, convolutions.

* :math:`f = AB`: the tangent space is :math:`\{dA\,B + A\,dB\}`, of dimension :math:`d^2 - (d - r_A)(d - r_B)` for d x d matrices, because a matrix X is
  orthogonal to it if and only if :math:`A^\top X = 0` and :math:`X B^\top = 0`.  The target M of rank r has the strata
  :math:`r \leq r_A, r_B`, :math:`r_A + r_B \leq d + r`, and the least rank :math:`2rd - r^2`.
* Completion of a matrix of rank 1 without zeros: divided by rows and columns the tangent entries are :math:`\alpha_i + \beta_j`, so the
  observed ones have the rank 2d minus the number of components of the bipartite graph of the observations.
* Deep diagonal networks :math:`\sum_j \prod_l a_j^{[l]} x_j`: one for each j at most one of whose factors vanishes.
* Convolutions on one input dimension, k kernels of size s, with and without shared weights, and the fully connected network
  that contains them.

Source: arXiv:2211.11623 (2022), Lemma 2, Tables 4 and 8, and arXiv:2307.08921 (2023).  Where Table 4 has hidden biases, the correction for a
dead neuron is s + 1 without sharing and d + 1 fully connected, not s: a dead neuron with bias loses the derivative by the bias too.

>>> [product_rank(4, *ranks) for ranks in ((1, 1), (2, 1), (3, 2), (0, 2))]
[7, 10, 14, 8]
>>> convolution_ranks(5, 3, 1, bias=True)
(7, 15, 21)
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from sympy import sympify

from derivations.claim import Status
from derivations.decide import is_zero
from derivations.errors import AssumptionError

__all__ = [
    "ProductStratum",
    "completion_rank",
    "convolution_ranks",
    "diagonal_rank",
    "product_rank",
    "product_strata",
]


@dataclass(frozen=True)
class ProductStratum:
    """Factorisations AB = M of a matrix of rank r with given ranks of A and B.

    Attributes
    ----------
    left, right : int
        Ranks of A and B.
    dimension : int
        Of the set of these factorisations.
    rank : int
        Model rank on it.
    """

    left: int
    right: int
    dimension: int
    rank: int

    def closure_contains(self, other: ProductStratum) -> bool:
        """Whether ``other`` can lie in the closure: ranks do not rise in a limit."""
        return other.left <= self.left and other.right <= self.right


def product_rank(size: int, left: int, right: int) -> int:
    """Return the model rank of f = AB at d x d matrices of ranks rA and rB.

    Raises
    ------
    ValueError
        If a rank is not between 0 and d.
    """
    if size < 1 or not (0 <= left <= size and 0 <= right <= size):
        raise ValueError(
            f"ranks {left} and {right} of {size} x {size} matrices; they are between 0 and d >= 1"
        )
    return size**2 - (size - left) * (size - right)


def product_strata(size: int, target: int) -> tuple[ProductStratum, ...]:
    """Return the strata of {AB = M} for a matrix M of a given rank, by the ranks of A and B.

    >>> [(s.left, s.right, s.dimension, s.rank) for s in product_strata(3, 1)]
    [(1, 1, 5, 5), (1, 2, 8, 7), (1, 3, 9, 9), (2, 1, 8, 7), (2, 2, 10, 8), (3, 1, 9, 9)]
    """
    if not 0 <= target <= size:
        raise ValueError(f"rank {target} of a {size} x {size} matrix; it is between 0 and d")
    found = []
    for left in range(target, size + 1):
        for right in range(target, size + target - left + 1):
            k = right - target
            dimension = (left - target) * (size - left) + left * size
            dimension += (size - left) * target + k * (2 * size - left - target - k)
            found.append(ProductStratum(left, right, dimension, product_rank(size, left, right)))
    return tuple(found)


def completion_rank(size: int, observed: Iterable[tuple[int, int]]) -> int:
    """Return the rank of the tangent matrix on observed entries, for a d x d target of rank 1 without zero entries.

    The target is linearly stable if and only if this is 2d - 1: the graph of the observations is connected.

    Parameters
    ----------
    size : int
        d.
    observed : pairs
        Rows and columns from 0.

    Raises
    ------
    ValueError
        If an entry lies outside the matrix.
    """
    parent = list(range(2 * size))

    def root(k: int) -> int:
        while parent[k] != k:
            k = parent[k]
        return k

    components = 2 * size
    for i, j in observed:
        if not (0 <= i < size and 0 <= j < size):
            raise ValueError(
                f"entry ({i}, {j}) of a {size} x {size} matrix; rows and columns are counted from 0"
            )
        u, v = root(i), root(size + j)
        if u != v:
            parent[u] = v
            components -= 1
    return 2 * size - components


def diagonal_rank(factors: Sequence[Sequence[Any]]) -> int:
    """Return the model rank of a deep diagonal network, given the factors of each coordinate: those with at most one zero count.

    >>> diagonal_rank([[1, 2], [0, 3], [0, 0]])
    2
    """
    total = 0
    for row in factors:
        statuses = [is_zero(sympify(u, strict=True)) for u in row]
        if Status.UNDECIDED in statuses:
            raise AssumptionError(
                f"whether the factors {list(row)} vanish could not be decided; give rational numbers"
            )
        total += statuses.count(Status.PROVED) <= 1
    return total


def convolution_ranks(
    inputs: int, kernel: int, kernels: int, *, dead: int = 0, bias: bool = False, planar: bool = False
) -> tuple[int, int, int]:
    r"""Return the model ranks of a convolutional target in three models: shared weights, unshared weights, fully connected.

    Parameters
    ----------
    inputs, kernel, kernels : int
        d (in the plane d x d), s and k; stride 1, no padding, a bounded odd activation such as tanh.
    dead : int
        Number of hidden neurons of the unshared form whose output weight is 0.
    bias : bool
        Whether hidden neurons have biases.
    planar : bool
        Whether inputs and kernels are d x d and s x s.

    Raises
    ------
    ValueError
        If the kernel does not fit the input, or there are more dead neurons than neurons.
    """
    if not 1 <= kernel <= inputs or kernels < 1:
        raise ValueError(
            f"{kernels} kernels of size {kernel} on {inputs} inputs; required are k >= 1 and 1 <= s <= d"
        )
    power = 2 if planar else 1
    field, places, whole = kernel**power, (inputs + 1 - kernel) ** power, inputs**power
    if not 0 <= dead <= kernels * places:
        raise ValueError(f"{dead} dead neurons of {kernels * places}")
    shared = kernels * (field + bias + places)
    unshared = kernels * (field + bias + 1) * places - (field + bias) * dead
    connected = kernels * (whole + bias + 1) * places - (whole + bias) * dead
    return shared, unshared, connected
