r"""Targets that a network with fixed parameters gives: the teacher of a teacher-student problem.

With :math:`m_0` neurons of weights :math:`\bar a_k, \bar w_k` the targets are

.. math:: y_i = f^*(x_i) = \sum_{k=1}^{m_0} \bar a_k\, \sigma(\bar w_k \cdot x_i), \qquad r_i \propto \partial_f \ell(f_i, y_i),

which for the square loss is :math:`f_i - y_i = \sum_k a_k \sigma(w_k \cdot x_i) - \sum_k \bar a_k \sigma(\bar w_k \cdot x_i)`.  The targets do
not depend on the parameters that are trained, so every equation of the student holds as it is; a teacher adds what y stands
for.  Given numbers for its weights it also gives the targets, exactly.

Source: arXiv:2309.00508 (2023), Section 2, for the setting and the notation.

>>> from derivations.equations import derive
>>> from derivations.problem import Problem
>>> print(derive(Problem.two_layer("tanh", "square", teacher=Teacher()), "gradient-flow"))
Gradient flow
    da/dt[k] = -sum(r[i]*sigma(z[i,k]), i=1..n)
    dw/dt[k,l] = -sum(delta[i,k]*x[i,l], i=1..n)
  where
    y[i] = sum(abar[k]*sigma(sum(wbar[k,l]*x[i,l], l=1..d)), k=1..m_0)
    z[i,k] = sum(w[k,l]*x[i,l], l=1..d)
    f[i] = sum(a[k]*sigma(z[i,k]), k=1..m)
    r[i] = (f[i] - y[i])/n
    delta[i,k] = a[k]*r[i]*sigma'(z[i,k])
    sigma(z) = tanh(z)
    sigma'(z) = 1 - tanh(z)**2
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from sympy import Add, Expr, Integer, Symbol, latex

from derivations.activations import Activation, Z
from derivations.generic import GenericFunction
from derivations.indexed import Dim, Entry, Index, Tensor, isum
from derivations.problem import Problem, d, m, n
from derivations.system import Definition

__all__ = ["Teacher", "embedded"]

#: Width of a two-layer teacher.
M0 = Dim("m_0")
#: Longest list of weights that a note spells out.
_SHOWN = 12

_I = Index("i", n)


@dataclass(frozen=True)
class Teacher:
    r"""A two-layer or deep network whose outputs are the targets.

    Parameters
    ----------
    activation : Activation or None
        None takes that of the student.
    input_bias, output_bias : bool
        Whether a teacher without numbers has :math:`\bar b` and :math:`\bar c`; with numbers the weights say so.
    scale : Expr
        Output scale of a two-layer teacher, a formula in its own width (written m) and d.
    depth : int
        Number of layers of weights; 2 is the two-layer network with blocks ``a, w, b, c`` unless ``W1`` is given.
    weights : tuple of pairs
        Exact nested tuples by block, ``a`` (m_0,) or (m_0, o), ``w`` (m_0, d), ...; or ``W1``, ``b1``, ...; empty keeps
        the teacher symbolic.
    """

    activation: Activation | None = None
    input_bias: bool = False
    output_bias: bool = False
    scale: Expr = field(default_factory=lambda: Integer(1))
    depth: int = 2
    weights: tuple[tuple[str, Any], ...] = ()

    @property
    def blocks(self) -> Mapping[str, Any]:
        """Exact weights by block, empty for a symbolic teacher."""
        return dict(self.weights)

    @property
    def kind(self) -> str:
        """``two_layer`` or ``deep``."""
        return "deep" if self.depth > 2 or "W1" in self.blocks else "two_layer"

    @property
    def width(self) -> int | None:
        """Number of neurons of a two-layer teacher, None while it is symbolic."""
        return len(self.blocks["w"]) if "w" in self.blocks else None

    @property
    def inputs(self) -> int | None:
        """Number of inputs d, None while it is symbolic."""
        rows = self.blocks.get("w", self.blocks.get("W1"))
        return None if rows is None else len(rows[0])

    @property
    def vector_output(self) -> bool | None:
        """Whether the outputs are vectors; None while the teacher is symbolic and follows its student."""
        if not self.weights:
            return None
        outer = self.blocks["a"] if self.kind == "two_layer" else self.blocks[f"W{self.depth}"]
        return isinstance(outer[0], tuple)

    def has(self, name: str) -> bool:
        """Whether there is a bias of this name."""
        if self.weights:
            return name in self.blocks
        return self.output_bias if name in ("c", f"b{self.depth}") else self.input_bias

    # -- equations ------------------------------------------------------------------------------------------------

    def shares_activation(self, problem: Problem) -> bool:
        """Whether the teacher has the activation of the student."""
        student = problem.activation
        return self.activation is None or (student is not None and self.activation.expr == student.expr)

    def definitions(self, problem: Problem) -> tuple[Definition, ...]:
        """Return what the targets of ``problem`` stand for: the hidden layers of a deep teacher, then y."""
        named = "sigma" if self.shares_activation(problem) else "phi"

        def sigma(z: Expr) -> Expr:
            return GenericFunction(named, (0,), z)

        columns = getattr(problem, "input_tensors", None)  # a formula names its inputs

        def applied(weight: Tensor, row: tuple[Expr, ...]) -> Expr:
            if columns is None:
                l = Index("l", d)
                return isum(Entry(weight, *row, l) * problem.x[_I, l], l)
            return Add(*[Entry(weight, *row, Integer(j)) * t[_I] for j, t in enumerate(columns, start=1)])

        out = tuple(Index("c", dim) for dim in problem.y.dims[1:])
        make = self._two_layer if self.kind == "two_layer" else self._deep
        return make(problem.y, out, sigma, applied)

    def _two_layer(
        self,
        y: Tensor,
        out: tuple[Index, ...],
        sigma: Callable[[Expr], Expr],
        applied: Callable[[Tensor, tuple[Expr, ...]], Expr],
    ) -> tuple[Definition, ...]:
        k, dims = Index("k", M0), tuple(u.dim for u in out)
        a, w = Tensor("abar", (M0, *dims), r"\bar{a}"), Tensor("wbar", (M0, d), r"\bar{w}")
        pre = applied(w, (k,))
        pre = pre + Tensor("bbar", (M0,), r"\bar{b}")[k] if self.has("b") else pre
        total = self.scale.xreplace({m: M0}) * isum(Entry(a, k, *out) * sigma(pre), k)
        total = total + Entry(Tensor("cbar", dims, r"\bar{c}"), *out) if self.has("c") else total
        return (Definition(y, (_I, *out), total),)

    def _deep(
        self,
        y: Tensor,
        out: tuple[Index, ...],
        sigma: Callable[[Expr], Expr],
        applied: Callable[[Tensor, tuple[Expr, ...]], Expr],
    ) -> tuple[Definition, ...]:
        found: list[Definition] = []
        below: Symbol = d
        for layer in range(1, self.depth + 1):
            last = layer == self.depth
            here = out if last else (Index("p", Dim(f"m_0{layer}")),)
            dims = tuple(u.dim for u in here)
            weight = Tensor(f"Wbar{layer}", (*dims, below), rf"\bar{{W}}^{{({layer})}}")
            if layer == 1:
                total = applied(weight, here)
            else:
                q = Index("q", below)
                total = isum(Entry(weight, *here, q) * sigma(Entry(found[-1].tensor, _I, q)), q)
            if self.has(f"b{layer}"):
                total += Entry(Tensor(f"bbar{layer}", dims, rf"\bar{{b}}^{{({layer})}}"), *here)
            tensor = y if last else Tensor(f"zbar{layer}", (n, *dims), rf"\bar{{z}}^{{({layer})}}")
            found.append(Definition(tensor, (_I, *here), total))
            below = dims[0] if dims else below
        return tuple(found)

    def note(self) -> str:
        """Return what the teacher is, a LaTeX sentence, with its numbers where they are few."""
        if not self.weights:
            what = "a teacher with $m_0$ neurons" if self.kind == "two_layer" else "a deep teacher"
            return f"The targets are the outputs of {what}; its weights, marked by a bar, stay fixed."
        entries = sum(len(_flat(value)) for value in self.blocks.values())
        size = (
            f"a teacher with $m_0 = {self.width}$ neuron" + ("" if self.width == 1 else "s")
            if self.kind == "two_layer"
            else f"a teacher with {self.depth} layers of weights"
        )
        text = f"The targets are the outputs of {size}; its weights, marked by a bar, stay fixed"
        if entries > _SHOWN:
            return f"{text}."
        shown = ", ".join(rf"${_tex(name)} = {_written(value)}$" for name, value in self.weights)
        return f"{text}: {shown}."

    # -- numbers --------------------------------------------------------------------------------------------------

    def outputs(self, x: Sequence[Sequence[Expr]]) -> tuple[tuple[Expr, ...], ...]:
        """Return the exact outputs, n rows of o (one for an output that is a number).

        Parameters
        ----------
        x : rows of Expr
            (n, d); numbers or expressions.

        Raises
        ------
        ValueError
            If the teacher is symbolic, has no activation, or the rows are not of its number of inputs.
        """
        if not self.weights or self.activation is None:
            raise ValueError("outputs need a teacher with weights and an activation; this one is symbolic")
        if wrong := [len(row) for row in x if len(row) != self.inputs]:
            raise ValueError(f"rows of length {wrong[0]}; the teacher has {self.inputs} inputs")
        return tuple(self._output(tuple(row)) for row in x)

    def _output(self, row: tuple[Expr, ...]) -> tuple[Expr, ...]:
        blocks = self.blocks
        if self.kind == "two_layer":
            hidden = self._layer(row, blocks["w"], blocks.get("b"))
            activated = [self._sigma(z) for z in hidden]
            outer = blocks["a"] if self.vector_output else [(u,) for u in blocks["a"]]
            shift = blocks.get("c", Integer(0))
            shifts = shift if isinstance(shift, tuple) else (shift,) * len(outer[0])
            s = self.scale.subs({m: Integer(len(hidden)), d: Integer(len(row))})
            return tuple(
                s * Add(*[u[c] * h for u, h in zip(outer, activated, strict=True)]) + shifts[c]
                for c in range(len(outer[0]))
            )
        values = row
        for layer in range(1, self.depth + 1):
            weight = blocks[f"W{layer}"]
            bias = blocks.get(f"b{layer}")
            if not isinstance(weight[0], tuple):
                weight, bias = (weight,), None if bias is None else (bias,)
            values = self._layer(values, weight, bias)
            values = values if layer == self.depth else tuple(self._sigma(z) for z in values)
        return values

    def _layer(self, values: Sequence[Expr], weight: Any, bias: Any) -> tuple[Expr, ...]:
        shifts = bias if bias is not None else (Integer(0),) * len(weight)
        return tuple(
            Add(*[u * v for u, v in zip(row, values, strict=True)]) + shift
            for row, shift in zip(weight, shifts, strict=True)
        )

    def _sigma(self, z: Expr) -> Expr:
        assert self.activation is not None  # ``outputs`` has checked it
        return self.activation.derivative(0).subs(Z, z)


def embedded(teacher: Teacher, problem: Problem, widths: Sequence[int]) -> dict[str, Any] | None:
    """Return parameters of the student, by block, at which it is the teacher: exact nested tuples, spare neurons at 0.

    None where the student does not contain the teacher in this way: another activation, kind or depth, fewer neurons in
    a layer, or a bias that the student lacks.  Output scales that differ are absorbed in a.

    Parameters
    ----------
    teacher : Teacher
        With weights.
    problem : Problem
        The student.
    widths : sequence of int
        Its hidden widths.
    """
    same = (problem.kind, problem.depth) == (teacher.kind, teacher.depth)
    if not same or not teacher.weights or not teacher.shares_activation(problem):
        return None
    blocks, names = teacher.blocks, [b.name for b in problem.blocks]
    if any(name not in names for name in blocks):
        return None
    incoming = ["w"] if teacher.kind == "two_layer" else [f"W{j}" for j in range(1, teacher.depth)]
    narrow = [len(blocks[name]) for name in incoming]
    if any(u > v for u, v in zip(narrow, widths, strict=True)):
        return None
    outputs = len(_rows_of_output(teacher)) if teacher.vector_output else 1
    sizes = dict(zip(problem.hidden_dims, widths, strict=True)) | {d: teacher.inputs}
    found = {}
    for b in problem.blocks:
        shape = tuple(sizes.get(dim, outputs) for dim in b.tensor.dims)
        found[b.name] = _padded(blocks.get(b.name), shape)
    if teacher.kind == "two_layer":
        inputs = {d: Integer(teacher.inputs)}
        here = problem.scale.subs({m: Integer(widths[0]), **inputs})
        found["a"] = _scaled(found["a"], teacher.scale.subs({m: Integer(narrow[0]), **inputs}) / here)
    return found


def _rows_of_output(teacher: Teacher) -> Any:
    return teacher.blocks["a"][0] if teacher.kind == "two_layer" else teacher.blocks[f"W{teacher.depth}"]


def _padded(value: Any, shape: tuple[Any, ...]) -> Any:
    """Return nested tuples of the given shape that begin with ``value`` and go on with 0."""
    if not shape:
        return Integer(0) if value is None else value
    rows = () if value is None else value
    return tuple(_padded(rows[j] if j < len(rows) else None, shape[1:]) for j in range(shape[0]))


def _scaled(value: Any, factor: Expr) -> Any:
    return tuple(_scaled(u, factor) for u in value) if isinstance(value, tuple) else value * factor


def _flat(value: Any) -> list[Expr]:
    return [v for u in value for v in _flat(u)] if isinstance(value, tuple) else [value]


def _tex(name: str) -> str:
    letter, layer = name[0], name[1:]
    return rf"\bar{{{letter}}}" + (f"^{{({layer})}}" if layer else "")


def _written(value: Any) -> str:
    return "(" + ", ".join(_written(u) for u in value) + ")" if isinstance(value, tuple) else latex(value)
