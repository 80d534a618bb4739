r"""Models given by a formula in named numbers, as problems like any other.

One output, a formula in scalar parameters and inputs, each parameter a block of one number:

.. math::
    f_i = a_1 e^{w_1 x_i} + c, \qquad
    \frac{\partial R}{\partial w_1} = \sum_{i=1}^n a_1 r_i e^{w_1 x_i} x_i .

Gradient, Hessian, kernel and flow come from the differentiation of lists that serves networks.

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

from sympy import Abs, Dummy, Expr, Integer, Pow, Symbol, latex, sign

from derivations.activations import REGISTRY, without_max
from derivations.errors import FormulaError
from derivations.formula import parse_formula
from derivations.functions import relu, step
from derivations.indexed import Index, Tensor
from derivations.losses import Loss
from derivations.problem import Block, n
from derivations.written_out import WrittenOut, known_loss

__all__ = ["FormulaProblem"]

_I = Index("i", n)
#: Names the equations use themselves.
_TAKEN = frozenset({"f", "y", "R", "r", "i", "j", "n", "Theta"})


@dataclass(frozen=True)
class FormulaProblem(WrittenOut):
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
            loss=known_loss(loss),
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

    @property
    def one_sided(self) -> Expr:
        """The formula with its kinks and jumps written by relu and step, whose derivatives have a stated value there."""
        return _one_sided(self.formula)

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
        written = self.one_sided.xreplace(middle)
        return written.xreplace({middle[s]: entry for s, entry in leaves.items()})


def _one_sided(formula: Expr) -> Expr:
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
