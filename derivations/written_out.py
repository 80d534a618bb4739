r"""What models share whose output is one expression, without hidden layers: formulas and diagonal networks.

A subclass states its blocks, its data and its output; the defining list, hence gradient, Hessian and kernel, follow.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from sympy import Add, Expr, Integer, Symbol

from derivations.generic import GenericFunction
from derivations.indexed import Index, Tensor, isum
from derivations.losses import Loss, loss
from derivations.problem import Block, Problem, n
from derivations.system import System

__all__ = ["WrittenOut", "known_loss"]

_I = Index("i", n)


@dataclass(frozen=True)
class WrittenOut(Problem):
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


def known_loss(given: str | Loss | None) -> Loss | None:
    """Return the loss, looked up where it is given by name or formula."""
    return loss(given) if isinstance(given, str) else given
