r"""Models given by a formula in named numbers, and diagonal linear networks, as problems like any other.

A formula model has one output, a formula in scalar parameters and inputs, each parameter a block of one number:

.. math::
    f_i = a_1 e^{w_1 x_i} + c, \qquad
    \frac{\partial R}{\partial w_1} = \sum_{i=1}^n a_1 r_i e^{w_1 x_i} x_i .

A diagonal linear network of depth D is linear in the input with predictor :math:`\beta_l = u_l^D - v_l^D`:

.. math::
    f_i = \sum_{l=1}^d (u_l^D - v_l^D)\, x_{il} .

Both are subclasses of ``Problem``: gradient, Hessian, kernel and flow come from the same differentiation of lists.
Deep linear networks are ``Problem.deep(depth, "linear")``, quadratic ones ``Problem.two_layer("quadratic")``.

>>> from derivations.equations import derive
>>> print(derive(FormulaProblem.of("a1*exp(w1*x) + c", ["a1", "w1", "c"]), "gradient-flow"))
Gradient flow
    da1/dt = -sum(exp(w1*x[i])*r[i], i=1..n)
    dw1/dt = -a1*sum(exp(w1*x[i])*r[i]*x[i], i=1..n)
    dc/dt = -sum(r[i], i=1..n)
  where
    f[i] = exp(w1*x[i])*a1 + c
    r[i] = (f[i] - y[i])/n
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from sympy import Abs, Add, Dummy, Expr, Integer, Pow, S, Symbol, factor_terms, latex, sign

from derivations.activations import REGISTRY, without_max
from derivations.claim import Status
from derivations.derivation import Derivation, Equation
from derivations.errors import FormulaError
from derivations.formula import parse_formula
from derivations.functions import relu, step
from derivations.generic import GenericFunction, bind
from derivations.indexed import Index, ISum, Tensor, isum
from derivations.losses import Loss, loss
from derivations.problem import Block, Problem, d, n
from derivations.statement import Statement
from derivations.system import System
from derivations.vocabulary import dot

__all__ = ["DiagonalProblem", "FormulaProblem", "diagonal_invariant", "predictor_flow"]

_I, _L = Index("i", n), Index("l", d)
#: Names the equations use themselves.
_TAKEN = frozenset({"f", "y", "R", "r", "i", "j", "n", "Theta"})


@dataclass(frozen=True)
class _WrittenOut(Problem):
    """What models share whose output is one expression, without hidden layers."""

    @property
    def hidden_dims(self) -> tuple[Symbol, ...]:
        """No hidden layers."""
        return ()

    @property
    def index_sentence(self) -> str:
        """Ranges of the indices, a LaTeX sentence."""
        return r"Indices: samples $i = 1, \dots, n$."

    def leaf_values(self, x: Any, y: Any) -> Mapping[str, Any]:
        """Return what each data tensor of the system stands for, from arrays x (n, d) and y (n,)."""
        return {"x": x, "y": y}

    @cached_property
    def system(self) -> System:
        """The defining list: outputs, risk."""
        system = System()
        for block in self.blocks:
            system = system.declare(block.tensor, block.indices)
        for tensor, indices in self._data:
            system = system.declare(tensor, indices)
        system = system.declare(self.y, (_I,)).define(self.output, (_I,), self._output)
        total = self.factor * isum(GenericFunction("ell", (0, 0), self.output[_I], self.y[_I]), _I)
        total = total / n if self.reduction == "mean" else total
        if self.weight_decay != 0:
            squares = [
                isum(b.tensor[b.indices] ** 2, *b.indices) if b.indices else b.tensor() ** 2
                for b in self.blocks
            ]
            total += self.weight_decay / 2 * Add(*squares)
        return system.define(self.risk, (), total)

    @property
    def _data(self) -> Sequence[tuple[Tensor, tuple[Index, ...]]]:
        raise NotImplementedError

    @property
    def _output(self) -> Expr:
        raise NotImplementedError

    def _block(self, tensor: Tensor, indices: tuple[Index, ...]) -> Block:
        rate = dict(self.rate).get(tensor.name, Integer(1))
        return Block(tensor, indices, rate, tensor.name not in self.freeze)


@dataclass(frozen=True)
class FormulaProblem(_WrittenOut):
    """Samples of one scalar formula; build it with ``FormulaProblem.of``.

    Parameters
    ----------
    formula : Expr
        The output, in the symbols of ``names`` and ``inputs``.
    names, inputs : tuple of Symbol
        Parameters, each a block of one number, and inputs, the columns of x in their order.

    Notes
    -----
    The input ``x`` is a leaf (n,), so a compiled function needs ``leaf_values`` to cut the columns out of x (n, d).
    ``activation`` is the identity: no sigma occurs.
    """

    kind: str = "formula"
    formula: Expr = field(default_factory=lambda: Integer(0))
    names: tuple[Symbol, ...] = ()
    inputs: tuple[Symbol, ...] = ()

    @classmethod
    def of(
        cls,
        output: str,
        parameters: Sequence[str],
        inputs: Sequence[str] = ("x",),
        loss: str | Loss | None = "square",
        **options: Any,
    ) -> FormulaProblem:
        """Return the problem of a formula given as text.

        Parameters
        ----------
        output : str
            A formula in the names that follow.
        parameters, inputs : sequence of str
            Names of the parameters, each a block of shape (), and of the inputs.
        loss : str, Loss or None
            As for ``Problem.two_layer``.
        **options
            ``reduction``, ``factor``, ``weight_decay``, ``freeze``, ``rate`` of ``Problem``, exact.

        Raises
        ------
        FormulaError
            If the formula is refused, a name is given twice or is one that the equations use themselves, a parameter
            does not occur, or a power has a variable exponent over another base than e.

        Examples
        --------
        >>> problem = FormulaProblem.of("a*t + b*u**2", ["a", "b"], ["t", "u"])
        >>> [block.name for block in problem.blocks], problem.system[problem.output].expr
        (['a', 'b'], a*t[i] + b*u[i]**2)
        """
        _check_names([*parameters, *inputs])
        symbols = {name: Symbol(name, real=True) for name in (*parameters, *inputs)}
        formula = parse_formula(output, symbols)
        for name in parameters:
            if not formula.has(symbols[name]):
                raise FormulaError(
                    f"the parameter '{name}' does not occur in the formula '{output}'; leave it out"
                )
        for power in formula.atoms(Pow):
            if power.exp.free_symbols:
                raise FormulaError(f"'{power}' in '{output}' has a variable exponent: only e may be its base")
        return cls(
            activation=REGISTRY["linear"],
            loss=_loss(loss),
            formula=formula,
            names=tuple(symbols[name] for name in parameters),
            inputs=tuple(symbols[name] for name in inputs),
            **options,
        )

    @cached_property
    def blocks(self) -> tuple[Block, ...]:
        """One block of shape () for each parameter."""
        return tuple(self._block(Tensor(s.name, (), _tex(s.name)), ()) for s in self.names)

    @cached_property
    def input_tensors(self) -> tuple[Tensor, ...]:
        """One tensor (n,) for each input; a numbered name carries its number above, the sample below."""
        return tuple(Tensor(s.name, (n,), _input_tex(s.name)) for s in self.inputs)

    def leaf_values(self, x: Any, y: Any) -> Mapping[str, Any]:
        """Return the columns of x by input name, and y."""
        if x.shape[1] != len(self.inputs):
            names = ", ".join(s.name for s in self.inputs)
            raise ValueError(
                f"x has {x.shape[1]} columns; the formula has {len(self.inputs)} inputs: {names}"
            )
        return {**{s.name: x[:, j] for j, s in enumerate(self.inputs)}, "y": y}

    @property
    def _data(self) -> Sequence[tuple[Tensor, tuple[Index, ...]]]:
        return [(tensor, (_I,)) for tensor in self.input_tensors]

    @property
    def _output(self) -> Expr:
        leaves: dict[Symbol, Expr] = {s: b.tensor() for s, b in zip(self.names, self.blocks, strict=True)}
        leaves |= {s: t[_I] for s, t in zip(self.inputs, self.input_tensors, strict=True)}
        # Through placeholders: a leaf called like a symbol still to come would otherwise be met twice.
        middle = {s: Dummy(s.name, real=True) for s in leaves}
        written = _one_sided(self.formula).xreplace(middle)
        return written.xreplace({middle[s]: entry for s, entry in leaves.items()})


@dataclass(frozen=True)
class DiagonalProblem(_WrittenOut):
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
        return cls(activation=REGISTRY["linear"], loss=_loss(loss), power=power, **options)

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
        "Woodworth et al. (2020), arXiv:2002.09277",
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


def _loss(given: str | Loss | None) -> Loss | None:
    return loss(given) if isinstance(given, str) else given


def _one_sided(formula: Expr) -> Expr:
    """Write functions with kinks and jumps by relu and step, whose derivatives have a stated value there."""
    formula = without_max(formula)
    formula = formula.replace(sign, lambda u: step(u) - step(-u))
    return formula.replace(Abs, lambda u: relu(u) + relu(-u))


def _input_tex(name: str) -> str:
    numbered = re.fullmatch(r"([A-Za-z]+)_?(\d+)", name)
    return f"{_tex(numbered[1])}^{{({numbered[2]})}}" if numbered else _tex(name)


def _tex(name: str) -> str:
    return re.sub(r"_\{(\w)\}", r"_\1", latex(Symbol(name)))


def _check_names(names: Sequence[str]) -> None:
    made = {f"{prefix}_{name}" for prefix in ("grad", "v", "dot", "bar") for name in (*names, "f", "r")}
    for name in names:
        if names.count(name) > 1:
            raise FormulaError(f"'{name}' is named twice; parameters and inputs have different names")
        if name in _TAKEN or name in made:
            used = ", ".join(sorted(_TAKEN))
            raise FormulaError(
                f"'{name}' is a name the equations use themselves ({used}, ...); choose another"
            )
