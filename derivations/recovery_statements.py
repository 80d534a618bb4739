r"""Statements about the global minima of a teacher-student problem, with symbolic sizes and for a given width.

With the numbers m, m0, d of neurons, teacher neurons and input weights of a neuron, r of distinct weights and l of blocks without output
weights, for an activation without identifications between neurons:

.. math:: \dim = (m - r) + (r - m_0)\,d, \quad N = \operatorname{codim} = r + (m + m_0 - r)\,d, \quad \rho = r + (r - l)\,d .

>>> from derivations.problem import Problem
>>> [(s.name, str(s.status)) for s in recovery_statements(Problem.two_layer("exp", "square"))][:3]
[('generic activation', 'PROVED'), ('branches of global minima', 'PROVED'), ('dimension of a branch', 'PROVED')]
"""

from __future__ import annotations

from collections import Counter
from dataclasses import replace

from sympy import Expr, Integer, Symbol, expand, simplify

from derivations.claim import Status
from derivations.copied_neuron import decay_statement
from derivations.generic_activation import generic_activation
from derivations.global_minima import GlobalMinima, global_minima
from derivations.neuron_blocks import Shape
from derivations.problem import Problem
from derivations.recovery_branches import branch_count, enumerate_branches
from derivations.statement import Statement

__all__ = ["minima_statements", "recovery_statements"]

_SOURCE = "zhang2024local"
#: Widths up to which the closed count is compared with the enumeration.
_COMPARED = 5
#: Branches that a statement lists and intersects.
_MOST_LISTED = 200


def recovery_statements(problem: Problem) -> list[Statement]:
    r"""Return what holds for all sizes, and where the teacher has numbers, the branches of the two smallest widths.

    Assumptions
    -----------
    Those of ``derivations.global_minima.global_minima``.

    Raises
    ------
    AssumptionError
        If one fails; the message says which.
    """
    numbers = problem.teacher is not None and bool(problem.teacher.weights)
    sizes = {} if numbers else {"teacher_width": 1, "inputs": 1}
    least = problem.teacher.width if numbers and problem.teacher is not None else 1
    assert least is not None  # a two-layer teacher with numbers has a width
    found = global_minima(problem, least, **sizes)
    statements = [_generic(problem), _union(found)]
    if found.classes.sign == 0 and not found.shape.zero_blocks and not found.shape.output_bias:
        statements += [*_formulas(), _count()]
    statements += [_rank(found), *([decay_statement()] if not found.shape.bias else [])]
    if numbers:
        for width in (least, least + 1):
            statements += minima_statements(global_minima(problem, width))
    return statements


def _generic(problem: Problem) -> Statement:
    assert problem.activation is not None  # ``global_minima`` has checked it
    finding = generic_activation(problem.activation)
    words = {
        Status.PROVED: "The activation is generic: neurons without biases of distinct input weights are linearly independent.",
        Status.REFUTED: "The activation is not generic: one of the conditions on its Taylor coefficients fails.",
    }
    text = words.get(finding.status, "Whether the activation is generic is open.")
    # That an activation is not generic is a property, and is proved where the condition is refuted.
    status = Status.PROVED if finding.status is Status.REFUTED else finding.status
    return Statement("generic activation", text, (finding.reason,), status, {}, _SOURCE)


def _union(found: GlobalMinima) -> Statement:
    shape, classes = found.shape, found.classes
    signs = " up to sign" if shape.sign else ""
    count = {0: r"\sum_{k \in t} a_k", 1: r"\sum_{k \in t} a_k", -1: r"\sum_{k \in t} \epsilon_k a_k"}[
        shape.sign
    ]
    zero = (
        " Neurons with input weights $0$ form a block of their own with free output weights."
        if shape.zero_blocks
        else ""
    )
    constant = (
        " The constants that neurons of negative sign and neurons with input weights $0$ add are $0$ in total."
        if shape.constant and not shape.output_bias
        else ""
    )
    bias = " The output bias takes up all constants." if shape.output_bias else ""
    start = "Where no neuron has $w = 0$ the" if shape.bias else "The"
    text = (
        rf"{start} student has the output of the teacher, for all inputs, if and only if its neurons fall into blocks of equal input weights{signs}, "
        rf"one for each teacher neuron $j$ with $w = \bar w_j$ and ${count} = \bar a_j$, and others with free weights and ${count} = 0$.{zero}{constant}{bias}"
    )
    if shape.bias:
        text += (
            " Neurons with $w = 0$ and biases, which are constants, are left out: their sets are not affine."
        )
    steps = (
        classes.reason,
        "By independence the coefficient of each class in the difference of student and teacher vanishes.",
    )
    return Statement("branches of global minima", text, steps, classes.status, {}, _SOURCE)


def _formulas() -> list[Statement]:
    m, m0, r, l, d = (Symbol(u, integer=True, positive=True) for u in ("m", "m0", "r", "l", "d"))
    dimension = (m - r) + (r - m0) * d
    codimension = r + (m + m0 - r) * d
    rank = r + (r - l) * d
    free = (r - m0) * d + (
        m - r
    )  # weights of the free blocks; output weights less one equation for each block
    return [
        _proved(
            "dimension of a branch",
            r"A branch with $r$ distinct input weights has the dimension $(m - r) + (r - m_0)\, d$ and the codimension $N(r) = r + (m + m_0 - r)\, d$.",
            (
                r"$r - m_0$ blocks have a free weight, and each of the $r$ blocks has one equation for its output weights.",
            ),
            {"dimension": free - dimension, "codimension": dimension + codimension - m * (d + 1)},
        ),
        _proved(
            "Morse-Bott branches",
            r"The Hessian is not degenerate across a branch, at its points of largest rank $\rho = r + (r - l)\, d$, if and only if $l = 2r - m - m_0$; so "
            r"$r \geq (m + m_0)/2$.",
            (r"$\rho - N(r) = d\,(2r - m - m_0 - l)$.",),
            {"difference": rank - codimension - d * (2 * r - m - m0 - l)},
        ),
        _proved(
            "sample sizes",
            r"The optimistic sample size $m_0 (d + 1)$ is at most the separation size $N(r)$, and $N(r)$ does not increase with $r$: the branches with "
            r"$r = m$ are separated first, from $n = m + m_0 d$ on, and those with $r = m_0$ last, from $n = m_0 + m d$ on.",
            (
                r"$N(r) - m_0 (d + 1) = (r - m_0) + (m - r)\, d \geq 0$.",
                r"$N(r) - N(r + 1) = d - 1 \geq 0$.",
            ),
            {
                "optimistic": codimension - m0 * (d + 1) - ((r - m0) + (m - r) * d),
                "monotone": codimension - codimension.subs(r, r + 1) - (d - 1),
                "last": codimension.subs(r, m0) - (m0 + m * d),
                "first": codimension.subs(r, m) - (m + m0 * d),
            },
        ),
    ]


def _proved(name: str, text: str, steps: tuple[str, ...], residuals: dict[str, Expr]) -> Statement:
    values = {key: simplify(expand(value)) for key, value in residuals.items()}
    status = Status.PROVED if all(value == 0 for value in values.values()) else Status.UNDECIDED
    return Statement(name, text, steps, status, values, _SOURCE)


def _count() -> Statement:
    residuals = {}
    for width in range(1, _COMPARED + 1):
        for teacher in range(1, width + 1):
            shape = Shape(width, teacher, 1)
            listed = Counter(b.distinct for b in enumerate_branches(shape))
            residuals[f"m = {width}, m0 = {teacher}"] = Integer(
                sum(abs(listed[r] - branch_count(shape, r)) for r in range(width + 1))
            )
    return _proved(
        "number of branches",
        r"There are $r!\, S(m, r)/(r - m_0)!$ branches with $r$ distinct input weights, $S$ the Stirling numbers of the second kind.",
        (
            r"$S(m, r)$ partitions of the neurons into $r$ blocks, of which $m_0$ are given to the teacher neurons in $r!/(r - m_0)!$ ways.",
            rf"The residuals compare with the enumeration up to $m = {_COMPARED}$.",
        ),
        residuals,
    )


def _rank(found: GlobalMinima) -> Statement:
    classes = found.classes
    text = (
        r"At a point of a branch $\nabla^2 R = \kappa J^\top J$ with $R = \tfrac{\kappa}{2}|r|^2$, so that its rank is that of the tangent functions "
        r"$\sigma(w_k \cdot x)$, $a_k \sigma'(w_k \cdot x)\, x_l$ on the samples, at most $\min(n, \rho)$ with the model rank $\rho$ and equal to it for almost all samples. The least "
        rf"model rank on the branches is ${found.optimistic_size if found.shape.outer else 'm_0 (d + 1)' + (' + 1' if found.shape.output_bias else '')}$, the optimistic sample size."
    )
    steps = (
        r"$\nabla^2 R = \kappa \sum_i (\nabla f_i \nabla f_i^\top + r_i \nabla^2 f_i)$ and $r = 0$.",
        "Minors of a matrix of analytic functions of the samples that do not vanish identically vanish on a set of measure 0 only.",
    )
    return Statement("rank of the Hessian", text, steps, classes.status, {}, "zhang2022linear")


def _bound(found: GlobalMinima) -> int:
    """Return the number of branches, or of those without the equation of the constants where that has no closed form."""
    shape = replace(found.shape, constant=False, silent=True) if found.shape.constant else found.shape
    return sum(branch_count(shape, r) for r in range(shape.teacher, shape.width + 1))


def _number(count: int, noun: str, ending: str = "s") -> str:
    return f"{count} {noun}" + ("" if count == 1 else ending)


def minima_statements(found: GlobalMinima) -> list[Statement]:
    """Return the branches at one width: number, dimensions, ranks, sample sizes, intersections, components."""
    m, m0 = found.width, found.shape.teacher
    if (number := _bound(found)) > _MOST_LISTED:
        text = f"For $m = {m}$, $m_0 = {m0}$ there are {'at most ' if found.shape.constant else ''}{number} branches, too many to be listed here."
        return [Statement(f"global minima of width {m}", text, (), found.classes.status, {}, _SOURCE)]
    lines = []
    for b, copies in found.kinds:
        equations = ", ".join(f"${u}$" for u in b.parametrisation())
        kind = "Morse-Bott" if b.morse_bott else "degenerate across"
        lines.append(
            rf"{copies} of $r = {b.distinct}$, $l = {b.deficient}$: dimension ${b.dimension}$, $N = {b.separation_size}$, $\rho = {b.rank}$, {kind}, such as {equations}."
        )
    joints = found.intersections()
    text = (
        rf"For $m = {m}$, $m_0 = {m0}$ the global minima are a union of {_number(found.count(), 'affine branch', 'es')}"
        rf" with {_number(found.components(), 'connected component')}"
    )
    if joints:
        text += "; pairs that meet: " + ", ".join(f"{v} in dimension ${k}$" for k, v in joints.items())
    residuals: dict[str, Expr] = {}
    if not found.shape.constant:
        residuals["count"] = Integer(len(found.branches) - found.count())
    status = found.classes.status if all(u == 0 for u in residuals.values()) else Status.UNDECIDED
    if found.shape.bias:
        text += ", counting those without constant neurons"
    return [Statement(f"global minima of width {m}", f"{text}.", tuple(lines), status, residuals, _SOURCE)]
