r"""Variables and lines of the generated source: one assignment for each statement.

An operand is overwritten if the statement is its last use, it has the shape of the result, and it is no argument.
Every variable owns its memory (views occur inside expressions only), so that no live view is hit.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from numerics.emit_nodes import BATCH, SAMPLES, Node, Plan, Value
from numerics.emit_product import aligned, bias, memory, placed, preferred, product
from numerics.emit_statement import Statement, Term, is_square

__all__ = ["Writer", "is_one_call"]

#: Functions with an in-place method of the same name.
_IN_PLACE = frozenset(
    ("tanh", "exp", "log", "sin", "cos", "tan", "sinh", "cosh", "asinh", "atan", "erf", "abs", "sign", "relu")
) | {"sigmoid", "sqrt", "reciprocal"}
_OVERWRITES = re.compile(r"(\w+)\.\w+_\(|.*out=(\w+)\)$")
_CALL = re.compile(r"torch\.(\w+)\(\{\}\)")


class _Item(NamedTuple):
    """One term of a sum as code: coefficient * code, with the labels of its axes in memory."""

    coefficient: str
    code: str
    order: tuple[int, ...]
    uid: int


@dataclass
class Writer:
    """Variables, orders in memory and sizes of the function being written."""

    plan: Plan
    names: dict[int, str]
    taken: set[str]
    symbols: Mapping[str, Sequence[str]]
    orders: dict[int, tuple[int, ...]] = field(default_factory=dict)
    codes: dict[int, str] = field(default_factory=dict)
    symbols_used: set[str] = field(default_factory=set)
    leaves: list[Node] = field(default_factory=list)
    wishes: dict[int, tuple[int, ...]] = field(default_factory=dict)
    kept: set[int] = field(default_factory=set)
    large: dict[int, bool] = field(default_factory=dict)
    count: int = 0

    # -- what emit_product asks ----------------------------------------------------------------------------------

    def code(self, node: Node) -> str:
        """Return the variable of a node."""
        return self.codes[node.uid]

    def order_of(self, node: Node) -> tuple[int, ...]:
        """Return the axes of a node as they lie in memory."""
        return self.orders[node.uid]

    def size(self, dim: str) -> str:
        """Return the code of a size, and note that it is used; in a sweep, the samples are those of the block."""
        return "rows" if self.plan.blocked and dim == SAMPLES else self.constant(dim)

    def constant(self, code: str) -> str:
        """Return the code of a constant, and note the symbols in it."""
        self.symbols_used.update(self.symbols.get(code, ()))
        return code

    def wished(self, node: Node) -> tuple[int, ...]:
        """Return the order of axes in which a node is asked for."""
        return self.wishes.get(node.uid, ())

    def wish(self, value: Value, labels: Sequence[object]) -> None:
        """Note the order of axes in which an output is asked for."""
        if set(labels) == set(value.labels):
            self.wishes[value.node.uid] = tuple(value.labels.index(u) for u in labels)

    # -- leaves --------------------------------------------------------------------------------------------------

    def leaf(self, node: Node) -> None:
        """Register a leaf, which lies as the function is given it."""
        axes = tuple(range(len(node.dims)))
        if node.batched and self.plan.layout != "single":
            axes = (BATCH, *axes) if self.plan.layout == "first" else (*axes, BATCH)
        self.orders[node.uid], self.codes[node.uid] = axes, str(node.payload[0])
        self.leaves.append(node)
        self.kept.add(node.uid)
        if self.plan.blocked and SAMPLES in node.dims:
            self.codes[node.uid] = self.rows_of(node)

    def base(self, node: Node) -> str:
        """Return the argument of a leaf."""
        return str(node.payload[0])

    def rows_of(self, node: Node) -> str:
        """Return the variable of one block of a leaf."""
        name = f"{self.base(node)}_rows"
        while name in self.taken:
            name += "_"
        return name

    # -- writing -------------------------------------------------------------------------------------------------

    def write(self, statement: Statement, dying: Collection[int] = ()) -> list[str]:
        """Return the lines that compute the node of ``statement``; operands in ``dying`` may be overwritten."""
        node = statement.node
        more: list[str] = []
        owned = {u for u in dying if u not in self.kept}
        if node.op == "linear":
            code, order, more = self._linear(statement, owned)
        else:
            code, order = getattr(self, f"_{node.op}")(node, owned)
        over = _OVERWRITES.match(code)
        variable = (over[1] or over[2]) if over else code
        reused = node.uid not in self.names and variable in {self.codes[u] for u in owned}
        if reused:
            self.names[node.uid] = variable
        name = self._name(node)
        gone = sorted({self.codes[u] for u in owned if self.large.get(u)} - {name})
        self.codes[node.uid], self.orders[node.uid] = name, tuple(order)
        self.large[node.uid] = SAMPLES in node.dims and (self.plan.many or self.plan.layout != "single")
        more += [f"del {', '.join(gone)}"] if gone else []
        hidden = [self.names[u.uid] for u in statement.inside if u.uid in self.names]
        remark = f"  # {', '.join(hidden)} inside" if hidden else ""
        line = code if reused else f"{name} = {code}"
        return [*([] if line == name else [f"{line}{remark}"]), *(line.replace("@", name) for line in more)]

    def accumulate(self, statement: Statement) -> tuple[str, str]:
        """Return the line that starts a sum over samples at zero, and the line that adds one block to it."""
        node = statement.node
        name = self._name(node)
        found = product(self, node) if node.op == "contract" else None
        if found and found.kind in ("mm", "mv") and not found.shape:
            order = found.order
            step = f"{name}.add{found.kind}_({found.left}, {found.right})"
        else:
            code, order = (found.code, found.order) if found else self._sum(node, set())
            step = f"{name}.add_({code})"
        self.codes[node.uid], self.orders[node.uid] = name, order
        extents = ", ".join(self.size(node.dims[a]) for a in order)
        return f"{name} = like.new_zeros({extents or '()'})", step

    def _name(self, node: Node) -> str:
        if node.uid not in self.names:
            while f"t{self.count}" in self.taken:
                self.count += 1
            self.names[node.uid] = f"t{self.count}"
            self.count += 1
        return self.names[node.uid]

    def _fill(self, node: Node, owned: set[int]) -> tuple[str, tuple[int, ...]]:
        return f"like.new_full((), {bare(self.constant(str(node.payload[0])))})", ()

    def _ones(self, node: Node, owned: set[int]) -> tuple[str, tuple[int, ...]]:
        return f"like.new_ones({self.size(node.dims[0])})", (0,)

    def _map(self, node: Node, owned: set[int]) -> tuple[str, tuple[int, ...]]:
        ((operand, _),) = node.args
        pattern, order = str(node.payload[0]), self._same_order(node, 0)
        known = _CALL.fullmatch(pattern)
        if known and known[1] in _IN_PLACE and operand.uid in owned:
            return f"{self.code(operand)}.{known[1]}_()", order
        return pattern.format(self.code(operand)), order

    def _same_order(self, node: Node, position: int) -> tuple[int, ...]:
        operand, axes = node.args[position]
        return tuple(memory(self, operand, axes))

    def _elementwise_order(self, node: Node, args: Sequence[tuple[Node, tuple[int, ...]]]) -> tuple[int, ...]:
        labels = [*range(len(node.dims)), *([BATCH] if node.batched and self.plan.layout != "single" else [])]
        full = [tuple(memory(self, u, axes)) for u, axes in args]
        wanted = tuple(preferred(self.plan, labels, dict(enumerate(node.dims))))
        full = [order for order in full if len(order) == len(labels)]
        return wanted if wanted in full or not full else full[0]

    def _call(self, node: Node, owned: set[int]) -> tuple[str, tuple[int, ...]]:
        order = self._elementwise_order(node, node.args)
        inside = ", ".join(aligned(self, u, axes, order) for u, axes in node.args)
        return f"{node.payload[0]}({inside})", order

    def _mul(self, node: Node, owned: set[int]) -> tuple[str, tuple[int, ...]]:
        order = self._elementwise_order(node, node.args)
        first, second = (aligned(self, u, axes, order) for u, axes in node.args)
        (one, one_axes), (two, two_axes) = node.args
        for u, axes, v, other in ((one, one_axes, two, second), (two, two_axes, one, first)):
            alone = u is not v or first == second
            if u.uid in owned and alone and tuple(memory(self, u, axes)) == order:
                return f"{self.code(u)}.mul_({other})", order
        if len(order) == 2 and len(one.dims) == len(two.dims) == 1 and BATCH not in order:
            codes = (
                [self.code(one), self.code(two)]
                if one_axes[0] == order[0]
                else [self.code(two), self.code(one)]
            )
            return f"torch.outer({codes[0]}, {codes[1]})", order
        if one is two and first == second:
            return f"torch.square({first})", order
        return f"{first} * {second}", order

    def _contract(self, node: Node, owned: set[int]) -> tuple[str, tuple[int, ...]]:
        found = product(self, node)
        return found.code, found.order

    def _sum(self, node: Node, owned: set[int]) -> tuple[str, tuple[int, ...]]:
        ((operand, axes),) = node.args
        order = memory(self, operand, axes)
        left = tuple(u for u in order if u == BATCH or u < len(node.dims))
        gone = [str(p) for p, u in enumerate(order) if u not in left]
        inside = "" if not left else gone[0] if len(gone) == 1 else f"({', '.join(gone)})"
        return f"{self.code(operand)}.sum({inside})", left

    def _diagonal(self, node: Node, owned: set[int]) -> tuple[str, tuple[int, ...]]:
        ((operand, axes),) = node.args
        along, new = int(str(node.payload[0])), len(node.dims) - 1
        rest = [u for u in memory(self, operand, axes) if u != along]
        place = int(bool(rest) and rest[0] == BATCH)
        code = aligned(self, operand, axes, [*rest, along])
        return f"torch.diag_embed({code}, 0, {place}, {place + 1})", (
            *rest[:place],
            along,
            new,
            *rest[place:],
        )

    # -- sums ----------------------------------------------------------------------------------------------------

    def times(self, left: str, right: str) -> str:
        """Return the code of a product of two constants."""
        if left == "1":
            return right
        if left == "-1":
            return right[1:] if right.startswith("-") else f"-{right}"
        if right in ("1", "-1"):
            return self.times(right, left)
        self.constant(left.lstrip("-"))
        self.constant(right.lstrip("-"))
        return f"({left} * {right})"

    def _linear(self, statement: Statement, owned: set[int]) -> tuple[str, tuple[int, ...], list[str]]:
        node, merged = statement.node, statement.merged
        if merged and is_square(merged[0].node) and not statement.diagonals:
            return *self._square(statement, owned), []
        if merged and merged[0].node.op == "contract" and (self.plan.in_place or not statement.diagonals):
            fused = self._fused(statement)
            if fused:
                return *fused, [self._on_diagonal(term, fused[1]) for term in statement.diagonals]
        items = [self._item(term, statement) for term in statement.terms]
        dense = {u for item in items for u in item.order}
        labels = {*range(len(node.dims)), *([BATCH] if self._has_batch(node) else [])}
        on_view = self.plan.in_place and dense == labels
        if not on_view:
            items += [self._item(term, statement) for term in statement.diagonals]
        order = self._sum_order(node, [item.order for item in items])
        fresh, code = self._combined(items, statement.constant, order, owned)
        more = []
        if on_view and statement.diagonals:
            code += "" if fresh else ".clone()"
            more = [self._on_diagonal(term, order) for term in statement.diagonals]
        return code, order, more

    def _has_batch(self, node: Node) -> bool:
        return node.batched and self.plan.layout != "single"

    def _item(self, term: Term, statement: Statement) -> _Item:
        inner = term.node
        self.constant(term.coefficient.lstrip("-"))
        if inner in statement.inside:
            code, own = getattr(self, f"_{inner.op}")(inner, set())
            order = tuple(BATCH if u == BATCH else term.axes[u] for u in own)
            return _Item(term.coefficient, code, order, -1)
        return _Item(term.coefficient, self.code(inner), tuple(memory(self, inner, term.axes)), inner.uid)

    def _sum_order(self, node: Node, orders: Sequence[tuple[int, ...]]) -> tuple[int, ...]:
        labels = [*range(len(node.dims)), *([BATCH] if self._has_batch(node) else [])]
        wanted = tuple(preferred(self.plan, labels, dict(enumerate(node.dims))))
        full = [order for order in orders if len(order) == len(labels)]
        return wanted if wanted in full or not full else full[0]

    def _combined(
        self, items: Sequence[_Item], constant: str | None, order: tuple[int, ...], owned: set[int]
    ) -> tuple[bool, str]:
        """Return (whether the memory is new, code of the sum)."""
        if constant is not None:
            self.constant(constant.lstrip("-"))
        counts = [item.uid for item in items]
        for item in items:
            mine = item.uid in owned or (item.uid < 0 and self.plan.in_place)
            if mine and item.order == order and counts.count(item.uid) == 1:
                scale = {"1": "", "-1": ".neg_()"}.get(item.coefficient, f".mul_({bare(item.coefficient)})")
                adds = "".join(_added(u, order) for u in items if u is not item)
                return True, f"{item.code}{scale}{adds}" + (f".add_({bare(constant)})" if constant else "")
        items = sorted(items, key=lambda u: u.coefficient.startswith("-"))
        if not constant and len(items) == 2:
            first, second = sorted(items, key=lambda u: u.coefficient != "1")
            if first.coefficient == "1" and second.coefficient not in ("1", "-1"):
                codes = [placed(u.code, u.order, order) for u in (first, second)]
                return True, f"torch.add({codes[0]}, {codes[1]}, alpha={bare(second.coefficient)})"
        text = constant or ""
        for item in items:
            code, coefficient = placed(item.code, item.order, order), item.coefficient
            sign = "-" if coefficient.startswith("-") else "+"
            number = coefficient.lstrip("-")
            part = code if number == "1" else f"{number} * {code}"
            text += f" {sign} {part}" if text else (f"-{part}" if sign == "-" else part)
        return bool(constant) or len(items) > 1 or items[0].coefficient != "1", text

    def _square(self, statement: Statement, owned: set[int]) -> tuple[str, tuple[int, ...]]:
        """c_0 + c_1 u^2 in one pass."""
        (term,) = statement.merged
        (other,) = [t for t in statement.terms if t is not term]
        (operand, axes), _ = term.node.args
        start = self.code(other.node)
        if other.coefficient != "1":
            start = f"{self.constant(other.coefficient)} * {start}"
        u = self.code(operand)
        order = [BATCH if a == BATCH else term.axes[a] for a in memory(self, operand, axes)]
        out = f", out={u}" if operand.uid in owned else ""
        c = bare(self.constant(term.coefficient))
        return f"torch.addcmul({start}, {u}, {u}, value={c}{out})", tuple(order)

    def _fused(self, statement: Statement) -> tuple[str, tuple[int, ...]] | None:
        """A product plus an array in one call, if there is one for their shapes."""
        (term,) = statement.merged
        (other,) = [t for t in statement.terms if t is not term]
        found = product(self, term.node)
        axes = {BATCH: BATCH, **dict(enumerate(term.axes))}
        back = {u: own for own, u in axes.items()}
        order = [axes[u] for u in found.order]
        if len(order) != len(statement.node.dims) + self._has_batch(statement.node):
            return None
        if any(u not in back for u in memory(self, other.node, other.axes)):
            return None
        mine = [back[u] for u in memory(self, other.node, other.axes)]
        added = bias(self, found, mine, self.code(other.node), dict(enumerate(term.node.dims)))
        if added is None:
            return None
        extra = "".join(
            f", {word}={bare(self.constant(c))}"
            for word, c in (("beta", other.coefficient), ("alpha", term.coefficient))
            if c != "1"
        )
        return f"torch.add{found.kind}({added}, {found.left}, {found.right}{extra}){found.shape}", tuple(
            order
        )

    def _on_diagonal(self, term: Term, order: tuple[int, ...]) -> str:
        """Add the entries of a diagonal on the diagonal view of the variable ``@``."""
        ((operand, axes),) = term.node.args
        along, new = term.axes[int(str(term.node.payload[0]))], term.axes[-1]
        mine = [BATCH if u == BATCH else term.axes[u] for u in memory(self, operand, axes)]
        target = [u for u in order if u not in (along, new)] + [along]
        places = f"{order.index(along)}, {order.index(new)}"
        self.constant(term.coefficient.lstrip("-"))
        item = _Item(term.coefficient, self.code(operand), tuple(mine), operand.uid)
        return f"@.diagonal(0, {places})" + _added(item, tuple(target))


def _added(item: _Item, order: tuple[int, ...]) -> str:
    """Return the in-place addition of one term."""
    code = placed(item.code, item.order, order)
    if item.coefficient in ("1", "-1"):
        return f".{'add' if item.coefficient == '1' else 'sub'}_({code})"
    return f".add_({code}, alpha={bare(item.coefficient)})"


def bare(code: str) -> str:
    """Return the code of a constant without the parentheses it needs inside an expression only."""
    return code[1:-1] if code.startswith("(") and _closes(code) == len(code) - 1 else code


def is_one_call(code: str) -> bool:
    """Say whether the first parenthesis is closed by the last character."""
    return _closes(code[code.index("(") :]) == len(code) - code.index("(") - 1


def _closes(code: str) -> int:
    depth = 0
    for position, character in enumerate(code):
        depth += {"(": 1, ")": -1}.get(character, 0)
        if depth == 0:
            return position
    return -1
