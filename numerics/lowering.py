r"""Lower indexed definitions to straight-line PyTorch source.

Every value carries labels (index names), so a transposition is a label and never a copy of the computation:
``tanh(z)`` is evaluated once however it is indexed.  A sum of products becomes pairwise contractions in the order
found by an exact search over subsets; parameter-dependent values have a leading batch axis over parameter points.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from keyword import iskeyword

import sympy
from sympy import Add, Expr, Mul, Pow, Symbol

from derivations.functions import step
from derivations.generic import bind
from derivations.indexed import Delta, Entry, Index, ISum, Tensor, open_sum, rename
from derivations.system import System
from numerics.contraction import contraction_order
from numerics.elementwise import ELEMENTWISE

__all__ = ["Lowered", "lower"]

_LETTERS = "abcdefghijklmnopqrstuvwxyz"
#: Names the generated source uses itself.
_TAKEN = {"torch", "math", "B", "dtype", "device"}


@dataclass(frozen=True)
class _Value:
    code: str
    labels: tuple[Index, ...] = ()
    batched: bool = False
    constant: bool = False


@dataclass(frozen=True)
class Lowered:
    """Generated source and what it takes: ``arguments`` in order, each batched (parameters) or not (data).

    ``sizes`` are the dimensions and constants that no argument tells; their numbers follow the arguments.
    """

    source: str
    name: str
    arguments: tuple[Tensor, ...]
    batched: frozenset[Tensor]
    sizes: tuple[str, ...] = ()


def lower(
    name: str,
    system: System,
    outputs: Mapping[str, tuple[Expr, Sequence[Index]]],
    batched: Sequence[Tensor],
    functions: Mapping[str, Callable[..., Expr]],
) -> Lowered:
    """Return the source of one function computing all ``outputs``, sharing common subexpressions.

    Parameters
    ----------
    name : str
        Name of the generated function.
    system : System
        Definitions the outputs may refer to.
    outputs : mapping
        Output name to (expression, its free indices in the order of the axes).  Each output has shape
        (B, *sizes of the indices).
    batched : sequence of Tensor
        Leaves with a leading batch axis (parameters, directions); the others are data.
    functions : mapping
        Concrete sigma and ell, as for ``derivations.generic.bind``.

    """
    known: list[Tensor] = [*batched, *(leaf.tensor for leaf in system.declarations)]
    known += [definition.tensor for definition in system.definitions]
    written = [*(expr for expr, _ in outputs.values()), *(d.expr for d in system.definitions)]
    reserved = frozenset(str(s) for tensor in known for s in tensor.dims).union(
        *[{str(s) for s in expr.free_symbols} for expr in written]
    )
    work = _Lowering(system, frozenset(batched), dict(functions), reserved)
    results = [work.output(expr, tuple(labels)) for expr, labels in outputs.values()]
    return work.finish(name, list(outputs), results)


@dataclass
class _Lowering:
    system: System
    batched: frozenset[Tensor]
    functions: dict[str, Callable[..., Expr]]
    reserved: frozenset[str] = frozenset()
    identifiers: dict[Tensor, str] = field(default_factory=dict)
    lines: list[str] = field(default_factory=list)
    memo: dict[Expr, _Value] = field(default_factory=dict)
    definitions: dict[Tensor, _Value] = field(default_factory=dict)
    used: dict[Tensor, None] = field(default_factory=dict)
    dims: dict[str, None] = field(default_factory=dict)
    counter: itertools.count[int] = field(default_factory=itertools.count)

    def value(self, expr: Expr) -> _Value:
        """Lower ``expr``; equal expressions up to the names of free indices share one variable."""
        if _is_constant(expr):
            return self.constant(expr)
        order: list[Index] = []
        _free(expr, order)
        names = [Index(f"_l{j}", u.dim) for j, u in enumerate(order)]
        canonical = expr if names == order else rename(expr, dict(zip(order, names, strict=True)))
        if canonical not in self.memo:
            self.memo[canonical] = self.build(canonical)
        found = self.memo[canonical]
        back = dict(zip(names, order, strict=True))
        return _Value(found.code, tuple(back[u] for u in found.labels), found.batched, found.constant)

    def constant(self, expr: Expr) -> _Value:
        for symbol in expr.free_symbols:
            self.dims[symbol.name] = None
        code = repr(float(expr)) if not expr.free_symbols else f"({sympy.pycode(expr)})"
        return _Value(code, constant=True)

    def build(self, expr: Expr) -> _Value:
        if isinstance(expr, Entry):
            return self.entry(expr)
        if isinstance(expr, Delta):
            return self.delta(expr)
        if isinstance(expr, Add):
            return self.add(expr)
        if isinstance(expr, Mul):
            return self.product(Mul.make_args(expr), ())
        if isinstance(expr, ISum):
            summed = []
            body: Expr = expr
            while isinstance(body, ISum):
                body, index = open_sum(body)
                summed.append(index)
            if isinstance(body, Add):  # only below a function that could not be distributed
                raise NotImplementedError(f"unexpected sum of a sum: {body}")
            return self.product(Mul.make_args(body), tuple(summed))
        if isinstance(expr, Pow):
            return self.power(expr)
        return self.call(expr)

    def entry(self, expr: Entry) -> _Value:
        tensor, indices = expr.tensor, expr.indices
        if len(set(indices)) != len(indices) or not all(isinstance(u, Index) for u in indices):
            raise NotImplementedError(f"entry {expr} with a repeated or constant index")
        if tensor not in self.system:
            self.used[tensor] = None
            return _Value(self.identifier(tensor), indices, tensor in self.batched)
        if tensor not in self.definitions:
            definition = self.system[tensor]
            lowered = self.value(bind(definition.expr, self.functions))
            lowered = self.named(
                self.identifier(tensor),
                self.full(lowered, definition.indices),
                definition.indices,
                lowered.batched,
            )
            self.definitions[tensor] = lowered
        found = self.definitions[tensor]
        return _Value(found.code, indices, found.batched)

    def delta(self, expr: Delta) -> _Value:
        left, right = expr.args
        if not (isinstance(left, Index) and isinstance(right, Index)):
            raise NotImplementedError(f"{expr} with a constant index: sum over it or replace it by an entry")
        size = self.size(left.dim)
        code = f"torch.eye({size}, dtype=dtype, device=device)"
        return self.named(None, code, (left, right), False)

    def add(self, expr: Add) -> _Value:
        # A term -u is subtracted: a negation of its own would be one more pass over the array.
        plus = [self.value(u) for u in expr.args if u.as_coeff_Mul()[0] != -1]
        minus = [self.value(-u) for u in expr.args if u.as_coeff_Mul()[0] == -1]
        labels, batched = _union([*plus, *minus]), any(v.batched for v in [*plus, *minus])
        code = " + ".join(self.aligned(v, labels) for v in plus)
        code += "".join(f" - {self.aligned(v, labels)}" for v in minus)
        return self.named(None, code.strip() if plus else f"-{code[3:]}", labels, batched)

    def power(self, expr: Pow) -> _Value:
        base = self.value(expr.base)
        exponent = expr.exp
        if exponent == 2:
            code = f"{base.code} * {base.code}"
        elif exponent == sympy.Rational(1, 2):
            code = f"torch.sqrt({base.code})"
        elif exponent == -1:
            code = f"{base.code}.reciprocal()"
        elif exponent.is_number:
            code = f"{base.code}.pow({int(exponent) if exponent.is_Integer else float(exponent)})"
        else:
            power = self.value(exponent)
            labels = _union([base, power])
            code = f"torch.pow({self.aligned(base, labels)}, {self.aligned(power, labels)})"
            return self.named(None, code, labels, base.batched or power.batched)
        return self.named(None, code, base.labels, base.batched)

    def call(self, expr: Expr) -> _Value:
        if isinstance(expr, step):
            inner = self.value(expr.args[0])
            at_zero = float(expr.args[1])
            # A bool tensor times a float has torch's default dtype, float32, so the dtype is set first.
            code = f"({inner.code} > 0).to(dtype)" + (
                f" + {at_zero!r} * ({inner.code} == 0).to(dtype)" if at_zero else ""
            )
            return self.named(None, code, inner.labels, inner.batched)
        if isinstance(expr, sympy.Max | sympy.Min):
            word = "maximum" if isinstance(expr, sympy.Max) else "minimum"
            values = [self.value(arg) for arg in expr.args]
            labels, batched = _union(values), any(v.batched for v in values)
            code = self.tensor(values[0], labels)
            for v in values[1:]:
                code = f"torch.{word}({code}, {self.tensor(v, labels)})"
            return self.named(None, code, labels, batched)
        pattern = ELEMENTWISE.get(type(expr))
        if pattern is None:
            raise NotImplementedError(
                f"{type(expr).__name__} has no PyTorch form: add one to numerics/lowering.py"
            )
        inner = self.value(expr.args[0])
        return self.named(None, pattern.format(inner.code), inner.labels, inner.batched)

    def product(self, factors: Sequence[Expr], summed: tuple[Index, ...]) -> _Value:
        scalars = [f for f in factors if _is_constant(f)]
        values = [self.value(f) for f in factors if not _is_constant(f)]
        out = self.contract(values, summed)
        scalar = Mul(*scalars)
        if scalar == 1:
            return out
        code = f"-{out.code}" if scalar == -1 else f"{self.constant(scalar).code} * {out.code}"
        return self.named(None, code, out.labels, out.batched)

    def contract(self, values: list[_Value], summed: tuple[Index, ...]) -> _Value:
        keep = frozenset(u for v in values for u in v.labels) - frozenset(summed)
        for pair in contraction_order([(frozenset(v.labels), v.batched) for v in values], keep):
            first, second = values[pair[0]], values[pair[1]]
            rest = [v for j, v in enumerate(values) if j not in pair]
            needed = keep.union(*[v.labels for v in rest]) if rest else keep
            values = [*rest, self.pair(first, second, needed)]
        (last,) = values
        gone = [u for u in last.labels if u not in keep]
        if gone:
            axes = ", ".join(str(last.labels.index(u) + last.batched) for u in gone)
            left = tuple(u for u in last.labels if u in keep)
            return self.named(None, f"{last.code}.sum(dim=({axes},))", left, last.batched)
        return last

    def pair(self, first: _Value, second: _Value, needed: frozenset[Index]) -> _Value:
        union = _union([first, second])
        labels = tuple(u for u in union if u in needed)
        batched = first.batched or second.batched
        if labels == union:
            return self.named(
                None, f"{self.aligned(first, union)} * {self.aligned(second, union)}", union, batched
            )
        letters = {u: _LETTERS[j] for j, u in enumerate(union)}
        words = [("Z" if v.batched else "") + "".join(letters[u] for u in v.labels) for v in (first, second)]
        result = ("Z" if batched else "") + "".join(letters[u] for u in labels)
        code = f"torch.einsum('{words[0]},{words[1]}->{result}', {first.code}, {second.code})"
        return self.named(None, code, labels, batched)

    def named(self, name: str | None, code: str, labels: tuple[Index, ...], batched: bool) -> _Value:
        name = name or f"t{next(self.counter)}"
        self.lines.append(f"{name} = {code}")
        return _Value(name, labels, batched)

    def identifier(self, tensor: Tensor) -> str:
        """Return the variable of a tensor: its name, unless that is a keyword, a size or a name the source uses."""
        if tensor not in self.identifiers:
            name = re.sub(r"\W", "_", tensor.name)
            taken = _TAKEN | self.reserved | set(self.identifiers.values())
            while iskeyword(name) or name in taken or re.fullmatch(r"t\d+", name):
                name += "_"
            self.identifiers[tensor] = name
        return self.identifiers[tensor]

    def size(self, dim: Expr) -> str:
        for symbol in dim.free_symbols:
            self.dims[symbol.name] = None
        return str(dim)

    def aligned(self, value: _Value, labels: tuple[Index, ...]) -> str:
        """Return code whose trailing axes broadcast against ``labels``."""
        if value.constant or value.labels == labels:
            return value.code
        code, offset = value.code, int(value.batched)
        present = [u for u in labels if u in value.labels]
        order = [value.labels.index(u) + offset for u in present]
        if order != sorted(order):
            axes = ", ".join(str(axis) for axis in ([0] if offset else []) + order)
            code = f"{code}.permute({axes})"
        slots = [":" if u in value.labels else "None" for u in labels]
        while slots and not value.batched and slots[0] == "None":
            slots.pop(0)
        if "None" in slots:
            code = f"{code}[{', '.join(([':'] if value.batched else []) + slots)}]"
        return code

    def tensor(self, value: _Value, labels: tuple[Index, ...]) -> str:
        return (
            f"torch.tensor({value.code}, dtype=dtype, device=device)"
            if value.constant
            else self.aligned(value, labels)
        )

    def full(self, value: _Value, labels: tuple[Index, ...]) -> str:
        """Return code of shape exactly (sizes of ``labels``), with the batch axis if the value is batched."""
        code = self.aligned(value, labels)
        if set(value.labels) == set(labels) and not value.constant:
            return code
        sizes = ", ".join((["B"] if value.batched else []) + [self.size(u.dim) for u in labels])
        if value.constant:
            return (
                f"torch.full(({sizes},), {code}, dtype=dtype, device=device)"
                if labels
                else f"torch.tensor({code}, dtype=dtype, device=device)"
            )
        return f"{code}.expand({sizes})"

    def output(self, expr: Expr, labels: tuple[Index, ...]) -> str:
        value = self.value(bind(expr, self.functions))
        code = self.full(value, labels)
        if not value.batched:
            sizes = ", ".join(["B"] + [self.size(u.dim) for u in labels])
            code = f"({code}).expand({sizes})"
        return code

    def finish(self, name: str, names: list[str], results: list[str]) -> Lowered:
        name_of = self.identifier
        arguments = tuple(sorted(self.used, key=lambda t: (t not in self.batched, t.name)))
        first = next((t for t in sorted(self.batched, key=lambda t: t.name)), None)
        head: list[str] = []
        if first is not None and first not in arguments:
            arguments = (first, *arguments)
        where: dict[str, str] = {}
        for tensor in arguments:
            for axis, dim in enumerate(tensor.dims):
                if isinstance(dim, Symbol):
                    where.setdefault(dim.name, f"{name_of(tensor)}.shape[{axis + (tensor in self.batched)}]")
        if first is not None:
            lead = name_of(first)
            head.append(f"B, dtype, device = {lead}.shape[0], {lead}.dtype, {lead}.device")
        missing = []
        for dim_name in self.dims:
            if dim_name in where:
                head.append(f"{dim_name} = {where[dim_name]}")
            else:
                missing.append(dim_name)
        parameters = ", ".join([name_of(t) for t in arguments] + missing)
        body = "\n    ".join([*head, *self.lines, f"return ({', '.join(results)},)"])
        note = f'"""Return {", ".join(names)}; arguments with a leading batch axis: {", ".join(name_of(t) for t in arguments if t in self.batched)}."""'
        return Lowered(
            f"def {name}({parameters}):\n    {note}\n    {body}\n",
            name,
            arguments,
            self.batched,
            tuple(missing),
        )


def _is_constant(expr: Expr) -> bool:
    return not expr.has(Entry, ISum, Delta, Index)


def _free(expr: Expr, found: list[Index]) -> None:
    if isinstance(expr, Index):
        if expr.level == 0 and expr not in found:
            found.append(expr)
    else:
        for arg in expr.args:
            _free(arg, found)


def _union(values: Sequence[_Value]) -> tuple[Index, ...]:
    # Start from the widest operand, so that most operands need no permutation.
    labels: list[Index] = []
    for value in sorted(values, key=lambda v: -len(v.labels)):
        labels.extend(u for u in value.labels if u not in labels)
    return tuple(labels)
