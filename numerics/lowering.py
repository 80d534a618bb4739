r"""Lower indexed definitions to a graph of arrays, and the graph to straight-line PyTorch source.

Every value carries labels (index names), so a transposition is a label and never a copy of the computation:
``tanh(z)`` is evaluated once however it is indexed, and shared by value, gradient and Hessian.  A sum of products
becomes pairwise contractions in the order found by an exact search over subsets.  A factor that is itself a sum is
multiplied out where that keeps an array of more axes from being built; a Kronecker delta becomes entries on a
diagonal.  How the graph is written down is decided in ``numerics.emit``.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass, field, replace

import sympy
from sympy import Add, Expr, Mul, Pow

from derivations.functions import step
from derivations.generic import bind
from derivations.indexed import Delta, Entry, Index, ISum, Tensor, isum, open_sum, rename, replace_index
from derivations.system import System
from numerics.contraction import contracted
from numerics.elementwise import ELEMENTWISE
from numerics.emit import Lowered, Output, emit
from numerics.emit_names import Names
from numerics.emit_nodes import Graph, Plan, Value
from numerics.emit_results import Group

__all__ = ["Lowered", "Lowering", "lower"]


def lower(
    name: str,
    system: System,
    outputs: Mapping[str, tuple[Expr, Sequence[Index]]],
    batched: Sequence[Tensor],
    functions: Mapping[str, Callable[..., Expr]],
    plan: Plan | None = None,
    flat: Mapping[str, Sequence[Tensor]] | None = None,
    groups: Mapping[str, Group] | None = None,
) -> Lowered:
    """Return the source of one function computing all ``outputs``, sharing common subexpressions.

    Parameters
    ----------
    name : str
        Name of the generated function.
    system : System
        Definitions the outputs may refer to.
    outputs : mapping
        Output name to (expression, its free indices in the order of the axes).
    batched : sequence of Tensor
        Leaves that differ from point to point (parameters, directions); the others are data.
    functions : mapping
        Concrete sigma and ell, as for ``derivations.generic.bind``.
    plan : Plan, optional
        Layout; by default the batch axis leads.
    flat : mapping, optional
        Name of a flat vector to the tensors it is made of: the function then takes the vector and splits it.
    groups : mapping, optional
        Name of a result to the outputs it is made of: names make the vector of the flattened outputs, rows of names
        the symmetric matrix whose blocks on and above the diagonal are these outputs.
    """
    plan = plan or Plan()
    known = [*batched, *(u.tensor for u in system.declarations), *(u.tensor for u in system)]
    written = [*(expr for expr, _ in outputs.values()), *(d.expr for d in system.definitions)]
    reserved = frozenset(str(s) for tensor in known for s in tensor.dims).union(
        *[{str(s) for s in expr.free_symbols} for expr in written]
    )
    reserved |= set(flat or {}) | set(groups or {})
    reserved |= {
        u for group in (groups or {}).values() for row in group if not isinstance(row, str) for u in row
    }
    work = Lowering(system, frozenset(batched), dict(functions), plan, Names(reserved))
    results = {
        key: Output(work.value(bind(expr, work.functions)), tuple(labels), work.sizes_of(labels))
        for key, (expr, labels) in outputs.items()
    }
    lowered = emit(
        name,
        plan,
        results,
        leaves=[
            (work.names.tensor(t), work.sizes_of_tensor(t), t in work.batched)
            for t in _leaves(work, batched, flat)
        ],
        flat={key: [work.names.tensor(t) for t in tensors] for key, tensors in (flat or {}).items()},
        groups=groups or {},
        names=work.names.nodes,
        symbols=work.symbols,
    )
    original = {label: t.name for t, label in work.names.tensors.items()}
    return replace(
        lowered,
        arguments=tuple(original.get(u, u) for u in lowered.arguments),
        data=tuple(original.get(u, u) for u in lowered.data),
    )


def _leaves(
    work: Lowering, batched: Sequence[Tensor], flat: Mapping[str, Sequence[Tensor]] | None
) -> list[Tensor]:
    """Return what the function takes: used leaves, all of a flat vector, and at least one batched leaf."""
    used = sorted(work.used, key=lambda t: (t not in work.batched, t.name))
    inside = [t for tensors in (flat or {}).values() for t in tensors]
    first = (
        [] if inside or any(t in work.batched for t in used) else sorted(batched, key=lambda t: t.name)[:1]
    )
    return [*inside, *first, *(t for t in used if t not in inside)]


@dataclass
class Lowering:
    """The work of ``lower``; a backend of its own overrides ``number``, ``power`` and ``call``."""

    system: System
    batched: frozenset[Tensor]
    functions: dict[str, Callable[..., Expr]]
    plan: Plan
    names: Names
    graph: Graph = field(default_factory=Graph)
    memo: dict[Expr, Value] = field(default_factory=dict)
    definitions: dict[Tensor, Value] = field(default_factory=dict)
    used: dict[Tensor, None] = field(default_factory=dict)
    #: Symbols in the code of each dimension or constant.
    symbols: dict[str, tuple[str, ...]] = field(default_factory=dict)
    #: Constants of the nodes that are a constant times an array.
    scales: dict[int, Expr] = field(default_factory=dict)

    def value(self, expr: Expr) -> Value:
        """Lower ``expr``; equal expressions up to the names of free indices share one node."""
        if _is_constant(expr):
            return self.graph.fill(self.number(expr))
        order: list[Index] = []
        _free(expr, order)
        names = [Index(f"_l{j}", u.dim) for j, u in enumerate(order)]
        canonical = expr if names == order else rename(expr, dict(zip(order, names, strict=True)))
        if canonical not in self.memo:
            self.memo[canonical] = self.build(canonical)
        found = self.memo[canonical]
        back: dict[Hashable, Index] = dict(zip(names, order, strict=True))
        return Value(found.node, tuple(back[u] for u in found.labels))

    def number(self, expr: Expr) -> str:
        """Return the Python code of a constant."""
        names = tuple(sorted(s.name for s in expr.free_symbols))
        if expr.is_Integer and abs(expr) == 1:
            return str(expr)
        code = f"({sympy.pycode(expr)})" if names else repr(float(expr))
        self.symbols[code] = names
        return code

    def dim(self, dim: Expr) -> str:
        """Return the Python code of a dimension."""
        self.symbols[str(dim)] = tuple(sorted(s.name for s in dim.free_symbols))
        return str(dim)

    def sizes_of(self, labels: Sequence[Index]) -> tuple[str, ...]:
        """Return the dimensions of some labels."""
        return tuple(self.dim(u.dim) for u in labels)

    def sizes_of_tensor(self, tensor: Tensor) -> tuple[str, ...]:
        """Return the dimensions of a tensor."""
        return tuple(self.dim(u) for u in tensor.dims)

    def build(self, expr: Expr) -> Value:
        """Lower an expression not met before."""
        if isinstance(expr, Entry):
            return self.entry(expr)
        if isinstance(expr, Add):
            return self.add(expr)
        if isinstance(expr, Mul | ISum | Delta) or (isinstance(expr, Pow) and expr.exp == 2):
            return self.product(expr)
        if isinstance(expr, Pow):
            return self.power(expr)
        return self.call(expr)

    def entry(self, expr: Entry) -> Value:
        """Lower an entry of a leaf or of a definition."""
        tensor, indices = expr.tensor, expr.indices
        if len(set(indices)) != len(indices) or not all(isinstance(u, Index) for u in indices):
            raise NotImplementedError(f"entry {expr} with a repeated or constant index")
        if tensor not in self.system:
            self.used[tensor] = None
            dims = self.sizes_of_tensor(tensor)
            return Value(self.graph.leaf(self.names.tensor(tensor), dims, tensor in self.batched), indices)
        if tensor not in self.definitions:
            definition = self.system[tensor]
            lowered = self.value(bind(definition.expr, self.functions))
            if lowered.node.op != "leaf":
                self.names.define(lowered.node.uid, tensor)
            self.definitions[tensor] = lowered
        found = self.definitions[tensor]
        formals: dict[Hashable, Index] = dict(zip(self.system[tensor].indices, indices, strict=True))
        return Value(found.node, tuple(formals[u] for u in found.labels))

    def add(self, expr: Expr) -> Value:
        """Lower a sum as constant + sum of coefficients times arrays."""
        constant: Expr = sympy.Integer(0)
        terms: dict[tuple[int, tuple[Hashable, ...]], tuple[Value, Expr]] = {}
        for term in Add.make_args(expr):
            scalar, rest = _split(term)
            if rest == 1:
                constant += scalar
                continue
            inner, value = self.unscaled(self.value(rest))
            scalar *= inner
            key = (value.node.uid, value.labels)
            terms[key] = (value, terms[key][1] + scalar if key in terms else scalar)
        if constant != 0 and len(terms) == 1 and next(iter(terms.values()))[0].node.op == "mul":
            # c_0 + c_1 u^2 is one call if c_0 is an array.
            terms[-1, ()] = (self.graph.fill(self.number(constant)), sympy.Integer(1))
            constant = sympy.Integer(0)
        if any(value.node.op == "diagonal" for value, _ in terms.values()):
            # The diagonal is added in place, so that a factor of the other terms would be one more pass.
            pushed = [self.pushed(value, scalar) for value, scalar in terms.values()]
            terms = {(value.node.uid, value.labels): (value, scalar) for value, scalar in pushed}
        ordered = sorted(terms.values(), key=lambda t: t[0].node.uid)
        payload = (
            self.number(constant) if constant != 0 else None,
            tuple(self.number(scalar) for _, scalar in ordered),
        )
        if not ordered:
            return self.graph.fill(self.number(constant))
        if payload == (None, ("1",)):
            return ordered[0][0]
        return self.graph.make("linear", [value for value, _ in ordered], payload=payload)

    def power(self, expr: Pow) -> Value:
        """Lower a power other than a square."""
        base, exponent = self.value(expr.base), expr.exp
        if exponent == sympy.Rational(1, 2):
            return self.graph.make("map", [base], payload=("torch.sqrt({})",))
        if exponent == -1:
            return self.graph.make("map", [base], payload=("torch.reciprocal({})",))
        if exponent.is_number:
            number = int(exponent) if exponent.is_Integer else float(exponent)
            return self.graph.make("map", [base], payload=(f"torch.pow({{}}, {number})",))
        return self.graph.make("call", [base, self.value(exponent)], payload=("torch.pow",))

    def call(self, expr: Expr) -> Value:
        """Lower a function."""
        if isinstance(expr, step):
            at_zero = float(expr.args[1])
            # A bool tensor times a float has torch's default dtype, float32, so the dtype is set first.
            pattern = "({0} > 0).to({0}.dtype)"
            pattern += f" + {at_zero!r} * ({{0}} == 0).to({{0}}.dtype)" if at_zero else ""
            return self.graph.make("map", [self.value(expr.args[0])], payload=(pattern,))
        if isinstance(expr, sympy.Max | sympy.Min):
            word = "torch.maximum" if isinstance(expr, sympy.Max) else "torch.minimum"
            out = self.value(expr.args[0])
            for other in expr.args[1:]:
                out = self.graph.make("call", [out, self.value(other)], payload=(word,))
            return out
        pattern = ELEMENTWISE.get(type(expr), "")
        if not pattern:
            raise NotImplementedError(
                f"{type(expr).__name__} has no PyTorch form: add one to numerics/elementwise.py"
            )
        inner = self.value(expr.args[0])
        out = self.graph.make("map", [inner], payload=(pattern,))
        self.names.derive(out.node.uid, inner.node.uid, type(expr).__name__)
        return out

    def product(self, expr: Expr) -> Value:
        """Lower a product, or a sum of products over any number of indices."""
        summed: list[Index] = []
        body = expr
        while isinstance(body, ISum):
            body, index = open_sum(body)
            summed.append(index)
        factors = [part for factor in Mul.make_args(body) for part in self.parts(factor, bool(summed))]
        spread = self.multiplied_out(factors, bool(summed))
        if spread is not None:
            return self.value(isum(spread, *summed)) if summed else self.add(spread)
        scalar, factors = _collected(factors)
        delta = next((f for f in factors if isinstance(f, Delta)), None)
        if delta is not None:
            return self.scaled(scalar, self.on_diagonal(delta, factors, tuple(summed)))
        values = []
        for factor in factors:
            inner, value = self.unscaled(self.value(factor))
            scalar *= inner
            values.append(value)
        return self.scaled(scalar, contracted(self.graph, self.plan, values, summed))

    def parts(self, factor: Expr, summed: bool) -> list[Expr]:
        """Return the factors of a defined product such as delta_ik = a_k r_i sigma'(z_ik) in a sum.

        Where arithmetic counts, they are better multiplied into the smaller arrays around the sum.
        """
        inlined = summed and (self.plan.many or self.plan.layout != "single")
        if not (inlined and isinstance(factor, Entry) and factor.tensor in self.system):
            return [factor]
        parts = Mul.make_args(bind(self.system[factor.tensor].at(factor.indices), self.functions))
        full = [u for u in parts if len(_labels(u)) == len(factor.indices)]
        if all(u in full or _is_constant(u) for u in parts) or any(u.has(ISum) for u in parts):
            return [factor]
        return [*(u for u in parts if u not in full), *([Mul(*full)] if full else [])]

    def scaled(self, scalar: Expr, value: Value) -> Value:
        """Return a constant times an array."""
        value, scalar = self.pushed(value, scalar)
        if scalar == 1:
            return value
        out = self.graph.make("linear", [value], payload=(None, (self.number(scalar),)))
        self.scales[out.node.uid] = scalar
        return out

    def pushed(self, value: Value, scalar: Expr) -> tuple[Value, Expr]:
        """Put a constant into the smaller factor of a product: other products may need that one too."""
        if value.node.op != "mul" or scalar in (1, -1):
            return value, scalar
        pair = [Value(u, tuple(value.labels[a] for a in axes)) for u, axes in value.node.args]
        small, large = sorted(pair, key=lambda v: (len(v.labels), v.node.uid))
        if len(small.labels) == len(large.labels):
            return value, scalar
        return self.graph.make("mul", [self.scaled(scalar, small), large]), sympy.Integer(1)

    def unscaled(self, value: Value) -> tuple[Expr, Value]:
        """Return (constant, array) of a scaled array without a name: constants are multiplied once, at the end."""
        if value.node.uid not in self.scales or value.node.uid in self.names.nodes:
            return sympy.Integer(1), value
        ((inner, axes),) = value.node.args
        return self.scales[value.node.uid], Value(inner, tuple(value.labels[a] for a in axes))

    def on_diagonal(self, delta: Delta, factors: Sequence[Expr], summed: tuple[Index, ...]) -> Value:
        """Lower delta(k, q) times the other factors, where neither k nor q is summed."""
        left, right = delta.args
        if not (isinstance(left, Index) and isinstance(right, Index)):
            raise NotImplementedError(f"{delta} with a constant index: sum over it or replace it by an entry")
        rest = replace_index(Mul(*[f for f in factors if f is not delta]), right, left)
        total = isum(rest, *summed) if summed else rest
        value = self.value(total)
        if left not in value.labels:  # constant along the diagonal: ones carry its axis
            ones = Value(self.graph.ones(self.dim(left.dim)), (left,))
            value = ones if total == 1 else self.graph.make("mul", [value, ones])
        return self.graph.diagonal(value, left, right)

    def multiplied_out(self, factors: Sequence[Expr], summed: bool) -> Expr | None:
        """Expand a factor that is a sum: if a term has a delta, or if more axes than its parts have would be summed."""
        for position, factor in enumerate(factors):
            if isinstance(factor, Add) and (factor.has(Delta) or (summed and _spreads(factor))):
                rest = Mul(*factors[:position], *factors[position + 1 :])
                return Add(*[term * rest for term in factor.args])
        return None


def _collected(factors: Sequence[Expr]) -> tuple[Expr, list[Expr]]:
    """Return (constant, other factors): squares as two factors, sums without their rational content.

    2 - 2 h**2 and 1 - h**2 then share one array.
    """
    scalar: Expr = sympy.Integer(1)
    out: list[Expr] = []
    for factor in factors:
        if _is_constant(factor):
            scalar *= factor
            continue
        base, power = (factor.base, 2) if isinstance(factor, Pow) and factor.exp == 2 else (factor, 1)
        if isinstance(base, Add):
            content, base = base.primitive()
            constant = base.as_coeff_Add()[0]
            if constant < 0 or (constant == 0 and base.could_extract_minus_sign()):
                content, base = -content, -base
            scalar *= content**power
        out += [base] * power
    return scalar, out


def _split(term: Expr) -> tuple[Expr, Expr]:
    """Return (constant factor, the rest) of a term."""
    parts = Mul.make_args(term)
    constants = [p for p in parts if _is_constant(p)]
    return Mul(*constants), Mul(*[p for p in parts if not _is_constant(p)])


def _is_constant(expr: Expr) -> bool:
    return not expr.has(Entry, ISum, Delta, Index)


def _spreads(factor: Add) -> bool:
    axes = len(_labels(factor))
    return all(axes > max(len(_labels(f)) for f in Mul.make_args(term)) for term in factor.args)


def _labels(expr: Expr) -> list[Index]:
    found: list[Index] = []
    _free(expr, found)
    return found


def _free(expr: Expr, found: list[Index]) -> None:
    if isinstance(expr, Index):
        if expr.level == 0 and expr not in found:
            found.append(expr)
    else:
        for arg in expr.args:
            _free(arg, found)
