r"""Diagonal linear networks: linear in the input, polynomial in the parameters.

A diagonal network of depth D has the predictor :math:`\beta_l = u_l^D - v_l^D`:

.. math::
    f_i = \sum_{l=1}^d (u_l^D - v_l^D)\, x_{il}, \qquad
    \dot\beta_l = -D^2 \bigl(u_l^{2D-2} + v_l^{2D-2}\bigr) \sum_{i=1}^n r_i x_{il} .

Deep linear networks are ``Problem.deep(depth, "linear")``, quadratic ones ``Problem.two_layer("quadratic")``.

Source: Woodworth et al. (2020), arXiv:2002.09277, Sections 4 and 5.

>>> print(diagonal_invariant(DiagonalProblem.of(2)).statement)
Gradient flow conserves $u_l v_l$ for every coordinate $l$.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from sympy import Expr, Integer, S, Symbol, factor_terms, latex

from derivations.activations import REGISTRY
from derivations.claim import Status
from derivations.derivation import Derivation, Equation
from derivations.generic import bind
from derivations.indexed import Index, ISum, Tensor, isum
from derivations.losses import Loss
from derivations.problem import Block, d, n
from derivations.statement import Statement
from derivations.vocabulary import dot
from derivations.written_out import WrittenOut, known_loss

__all__ = ["DiagonalProblem", "diagonal_invariant", "predictor_flow"]

_I, _L = Index("i", n), Index("l", d)


@dataclass(frozen=True)
class DiagonalProblem(WrittenOut):
    r"""Diagonal linear network :math:`f_i = \sum_l (u_l^D - v_l^D) x_{il}`; build it with ``DiagonalProblem.of``.

    Source: Woodworth et al. (2020), arXiv:2002.09277, Section 4 and 5, for the model with D = 2 and D > 2.

    Parameters
    ----------
    power : Expr
        Depth D >= 1; a symbol keeps it general in derivations.
    """

    kind: str = "diagonal"
    power: Expr = field(default_factory=lambda: Integer(2))

    @classmethod
    def of(
        cls, depth: int | Symbol = 2, loss: str | Loss | None = "square", **options: Any
    ) -> DiagonalProblem:
        """Return the diagonal network of this depth, with symbolic d.

        Raises
        ------
        ValueError
            If the depth is neither an integer from 1 on nor a symbol.

        Examples
        --------
        >>> problem = DiagonalProblem.of(2)
        >>> problem.derived[problem.gradient["u"]].expr
        2*u[l]*Sum[_n1](r[_n1]*x[_n1, l])
        """
        if not isinstance(depth, Symbol) and (type(depth) is not int or depth < 1):
            raise ValueError(
                f"the depth of a diagonal network is {depth!r}; it takes an integer >= 1, or a symbol"
            )
        power = depth if isinstance(depth, Symbol) else Integer(depth)
        return cls(activation=REGISTRY["linear"], loss=known_loss(loss), power=power, **options)

    @cached_property
    def blocks(self) -> tuple[Block, ...]:
        """``u`` and ``v``, each (d,)."""
        return (self._block(Tensor("u", (d,)), (_L,)), self._block(Tensor("v", (d,)), (_L,)))

    @property
    def index_sentence(self) -> str:
        """Ranges of the indices, a LaTeX sentence."""
        return r"Indices: samples $i = 1, \dots, n$, coordinates $l = 1, \dots, d$."

    @property
    def predictor(self) -> Expr:
        """The coefficient of input l, ``u_l^D - v_l^D``."""
        u, v = self.parameters
        return u[_L] ** self.power - v[_L] ** self.power

    @property
    def _data(self) -> Sequence[tuple[Tensor, tuple[Index, ...]]]:
        return [(self.x, (_I, _L))]

    @property
    def _output(self) -> Expr:
        return isum(self.predictor * self.x[_I, _L], _L)


def predictor_flow(problem: DiagonalProblem) -> Derivation:
    r"""Return the flow of :math:`\beta_l = u_l^D - v_l^D` under gradient flow of u and v.

    .. math::
        \dot\beta_l = -D^2 \bigl(u_l^{2D-2} + v_l^{2D-2}\bigr) \sum_i r_i x_{il} \quad (\text{rates } 1).

    Raises
    ------
    ValueError
        If the risk has weight decay, which acts on u and v and not through beta.
    """
    _undecayed(problem, "the flow of the predictor")
    beta = Tensor("beta", (d,), r"\beta")
    speed: Expr = S.Zero
    moment: Expr = S.One
    for block, sign_of in zip(problem.blocks, (1, -1), strict=True):
        # beta moves by +-D entry^(D-1) times the speed of the entry; both gradients end in the same sum over samples.
        factor, moment = problem.derived[problem.gradient[block.name]].expr.as_independent(ISum)
        if block.trained:
            inner = problem.power * block.tensor[_L] ** (problem.power - 1)
            speed -= sign_of * block.rate * inner * factor
    equation = Equation(dot(beta)[_L], factor_terms(speed, sign=True) * moment)
    f, r = problem.output, Tensor("r", (n,))
    residual = problem.derived[r].expr
    if problem.loss is not None:
        residual = bind(residual, {"ell": problem.loss.apply})
    where = (
        Equation(beta[_L], problem.predictor),
        Equation(f[_I], isum(beta[_L] * problem.x[_I, _L], _L)),
        Equation(r[_I], residual),
    )
    return Derivation(
        "predictor-flow",
        "Gradient flow of the predictor",
        (equation,),
        where,
        (problem.index_sentence,),
        hide=(),
    )


def diagonal_invariant(problem: DiagonalProblem) -> Statement:
    r"""Return the quantity that gradient flow conserves in every coordinate, with its proof.

    :math:`u_l v_l` for D = 2, :math:`u_l^{2-D} + v_l^{2-D}` otherwise: along the flow
    :math:`\dot u_l = -D u_l^{D-1} g_l` and :math:`\dot v_l = D v_l^{D-1} g_l` with :math:`g_l = \sum_i r_i x_{il}`.

    Raises
    ------
    ValueError
        With weight decay, a frozen block, or different rates of u and v.
    """
    _undecayed(problem, "the invariant")
    blocks = problem.blocks
    if not all(b.trained for b in blocks) or blocks[0].rate != blocks[1].rate:
        raise ValueError("the invariant of a diagonal network needs u and v trained, with one rate")
    u, v = (_entry(problem, b.name) for b in blocks)
    power = problem.power
    quantity = u * v if power == 2 else u ** (2 - power) + v ** (2 - power)
    speeds = {b.tensor: -b.rate * problem.derived[problem.gradient[b.name]].expr for b in blocks}
    total: Expr = S.Zero
    stand_in = {u: Symbol("u", positive=True), v: Symbol("v", positive=True)}
    for entry in (u, v):
        slope = quantity.xreplace(stand_in).diff(stand_in[entry])
        total += slope * speeds[entry.tensor].xreplace(stand_in)
    left = total.expand().simplify() if isinstance(power, Symbol) else total.expand()
    shown = "u_l v_l" if power == 2 else f"u_l^{{{latex(2 - power)}}} + v_l^{{{latex(2 - power)}}}"
    shown = "u_l + v_l" if power == 1 else shown
    domain = "" if power in (1, 2) else r", as long as $u_l$ and $v_l$ do not vanish"
    return Statement(
        "invariant of a diagonal network",
        rf"Gradient flow conserves ${shown}$ for every coordinate $l${domain}.",
        (
            rf"$\dot u_l = -{_monomial(power, 'u')}g_l$ and $\dot v_l = {_monomial(power, 'v')}g_l$ with "
            r"$g_l = \sum_{i=1}^n r_i x_{il}$"
            + ("." if blocks[0].rate == 1 else f", both times the rate ${latex(blocks[0].rate)}$."),
            r"The two terms of the time derivative cancel identically.",
        ),
        Status.PROVED if left == 0 else Status.UNDECIDED,
        {"drift": left},
        "woodworth2020",
    )


def _monomial(power: Expr, letter: str) -> str:
    """Return D letter_l^(D-1) as LaTeX."""
    exponent = "" if power == 2 else f"^{{{latex(power - 1)}}}"
    return "" if power == 1 else rf"{latex(power)} {letter}_l{exponent} "


def _entry(problem: DiagonalProblem, name: str) -> Expr:
    return problem.block(name).tensor[_L]


def _undecayed(problem: DiagonalProblem, what: str) -> None:
    if problem.weight_decay != 0:
        raise ValueError(f"{what} of a diagonal network needs weight decay 0, got {problem.weight_decay}")
