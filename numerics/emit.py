r"""Write a graph of arrays down as PyTorch source: one function for the data, one for the parameter points.

Statements stand in the order in which the graph was built.  Three things are decided here: which nodes are merged
into one call (a product plus a bias, c_0 + c_1 u^2), which temporaries are overwritten because nobody needs them any
more, and, where samples are swept in blocks, what is computed before, in and after the sweep:

* in the sweep stands what has a sample axis; a sum over samples is accumulated;
* one sweep does iff nothing with a sample axis needs a sum over samples, and no result has a sample axis.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from numerics.emit_nodes import SAMPLES, Node, Plan, reachable
from numerics.emit_product import product
from numerics.emit_results import Group, Output, head, results
from numerics.emit_statement import Statement, statements
from numerics.emit_writer import Writer, is_one_call

__all__ = ["Lowered", "Output", "emit"]


@dataclass(frozen=True)
class Lowered:
    """Generated source and what it takes.

    Attributes
    ----------
    source : str
        Two functions: ``name_data``, to be called once for the data, and ``name``.
    arguments : tuple of str
        Flat vectors (or batched tensors), then data, in order; after them ``name`` takes the arrays that ``name_data``
        returns, the sizes, and the number of samples in a block if the plan sweeps them in blocks.
    data : tuple of str
        Data that ``name_data`` takes; after them the sizes, and any array for dtype and device.
    sizes : tuple of str
        Dimensions and constants whose numbers are arguments.
    work : frozenset of tuple of str
        Dimensions of the arrays met on the way that depend on the point.
    held : tuple of tuple of str
        Dimensions of every array of a point, those that exist inside a statement included.
    plan : Plan
        The plan in force: samples are not swept in blocks where one sweep does not do.
    """

    source: str
    name: str
    arguments: tuple[str, ...]
    data: tuple[str, ...]
    sizes: tuple[str, ...]
    work: frozenset[tuple[str, ...]]
    held: tuple[tuple[str, ...], ...]
    plan: Plan


def emit(
    name: str,
    plan: Plan,
    outputs: Mapping[str, Output],
    leaves: Sequence[tuple[str, tuple[str, ...], bool]],
    flat: Mapping[str, Sequence[str]],
    groups: Mapping[str, Group],
    names: Mapping[int, str],
    symbols: Mapping[str, Sequence[str]],
) -> Lowered:
    """Return the source of the outputs.

    Parameters
    ----------
    name, plan, flat, groups
        As for ``numerics.lowering.lower``, with identifiers in place of tensors.
    outputs : mapping
        Name to value, with the labels of its axes in order.
    leaves : sequence
        (identifier, dimensions, whether batched) of every leaf the function takes.
    names : mapping
        Preferred variables by node.
    symbols : mapping
        Code of a dimension or constant to the names in it.
    """
    nodes = reachable([o.value.node for o in outputs.values()])
    if plan.blocked and not _one_sweep(nodes, [o.value.node for o in outputs.values()]):
        plan = replace(plan, blocked=False)
    writer = Writer(plan, dict(names), {label for label, _, _ in leaves} | set(names.values()), symbols)
    hoisted = _of_the_data(nodes, plan)
    needed = [u for u in nodes if u not in hoisted]
    frontier = {u.uid for v in needed for u, _ in v.args} | {o.value.node.uid for o in outputs.values()}
    for node in nodes:
        if node.op == "leaf":
            writer.leaf(node)
    prepared = _prepare(name, writer, hoisted, [u for u in hoisted if u.uid in frontier], leaves)
    for output in outputs.values():
        writer.wish(output.value, output.labels)
    writer.kept.update(u.uid for u in hoisted)
    uses = Counter(u.uid for v in needed for u, _ in v.args)
    uses.update(o.value.node.uid for o in outputs.values())
    body = _body(writer, [u for u in needed if u.op != "leaf"], uses, outputs)
    body += results(writer, outputs, groups)
    flats = [*flat]
    inside = {u for parts in flat.values() for u in parts}
    arguments = [*flats, *(label for label, _, _ in leaves if label not in inside)]
    first = (
        flats[0]
        if flats
        else next((label for label, _, batched in leaves if batched), arguments[0] if arguments else "")
    )
    lines = [*head(writer, leaves, flat, body, first), *body]
    extra = [writer.code(u) for u in hoisted if u.uid in frontier]
    sizes = tuple(sorted(writer.symbols_used))
    main = ", ".join([*arguments, *extra, *sizes, *(["block"] if plan.blocked else [])])
    note = f'"""Return {", ".join(_returned(outputs, groups))}{_axis_note(plan)}."""'
    data = tuple(label for label, _, batched in leaves if not batched)
    prepared = prepared.replace("(*)", f"({', '.join([*data, *sizes, 'like'])})")
    source = f"{prepared}\n\ndef {name}({main}):\n    " + "\n    ".join([note, *lines]) + "\n"
    work = frozenset(u.dims for u in needed if u.batched)
    return Lowered(source, name, tuple(arguments), data, sizes, work, _held(writer, needed, outputs), plan)


def _held(
    writer: Writer, nodes: Sequence[Node], outputs: Mapping[str, Output]
) -> tuple[tuple[str, ...], ...]:
    """Return the dimensions of all arrays that depend on the point, leaves excepted, in a canonical order.

    The operands of a product of matrices may be copied in another order of axes, and results are copied once when
    they are put together.
    """
    found = [o.dims for o in outputs.values()]
    for node in nodes:
        if node.op == "leaf":
            continue
        if node.batched or writer.plan.blocked:
            found.append(node.dims)
        if node.op == "contract":
            kind = product(writer, node).kind
            dims = {a: dim for u, axes in node.args for a, dim in zip(axes, u.dims, strict=True)}
            copies = [tuple(dims.values())] if kind == "entries" else [u.dims for u, _ in node.args]
            found += copies if kind in ("entries", "mm", "mv", "bmm") else []
    return tuple(sorted(found))


def _axis_note(plan: Plan) -> str:
    return {
        "single": " at one point",
        "first": "; the axis over points comes first in theta and in every result",
        "last": "; the axis over points comes last in theta and in every result",
    }[plan.layout]


def _returned(outputs: Mapping[str, Output], groups: Mapping[str, Group]) -> list[str]:
    inside = {
        u for group in groups.values() for row in group for u in ([row] if isinstance(row, str) else row)
    }
    return [*(u for u in outputs if u not in inside), *groups]


def _of_the_data(nodes: Sequence[Node], plan: Plan) -> list[Node]:
    """Return what is computed once for the data: in a sweep over samples, only what has nothing to do with them."""
    swept: set[int] = set()
    for node in nodes:
        if plan.blocked and (SAMPLES in node.dims or any(u.uid in swept for u, _ in node.args)):
            swept.add(node.uid)
    return [u for u in nodes if not u.batched and u.op != "leaf" and u.uid not in swept]


def _one_sweep(nodes: Sequence[Node], roots: Sequence[Node]) -> bool:
    after: set[int] = set()  # sums over samples, and what needs them
    for node in nodes:
        rows = node.dims.count(SAMPLES)
        late = any(u.uid in after for u, _ in node.args)
        if rows > 1 or (rows and late):
            return False
        if late or (not rows and any(SAMPLES in u.dims for u, _ in node.args)):
            after.add(node.uid)
    return not any(SAMPLES in u.dims for u in roots) and bool(after)


def _prepare(
    name: str,
    writer: Writer,
    hoisted: Sequence[Node],
    wanted: Sequence[Node],
    leaves: Sequence[tuple[str, tuple[str, ...], bool]],
) -> str:
    """Return the function of the data alone; its signature is filled in when the sizes are known."""
    uses = Counter(u.uid for v in hoisted for u, _ in v.args)
    uses.update(u.uid for u in wanted)
    lines = []
    for statement in statements(hoisted, uses, writer.plan, writer.times):
        lines += writer.write(statement)
    result = ", ".join(writer.code(u) for u in wanted)
    lines.append(f"return ({result}{',' if wanted else ''})")
    note = f'"""Return what {name} needs of the data alone; any array ``like`` fixes dtype and device."""'
    return f"def {name}_data(*):\n    " + "\n    ".join([note, *lines]) + "\n"


def _body(
    writer: Writer, nodes: Sequence[Node], uses: Counter[int], outputs: Mapping[str, Output]
) -> list[str]:
    plan = writer.plan
    steps = statements(nodes, uses, plan, writer.times)
    forever = {o.value.node.uid for o in outputs.values()}
    last = {u: position for position, s in enumerate(steps) for u in s.operands}
    if not plan.blocked:
        lines = []
        for position, statement in enumerate(steps):
            dying = {u for u in statement.operands if last[u] == position and u not in forever}
            dying = dying if plan.in_place else set()
            lines += writer.write(statement, dying)
        return lines
    return _sweep(writer, steps, nodes, last)


def _sweep(
    writer: Writer, steps: Sequence[Statement], nodes: Sequence[Node], last: Mapping[int, int]
) -> list[str]:
    """Return the statements before, in and after the sweep over samples."""
    with_rows = {u.uid for u in nodes if SAMPLES in u.dims}
    sliced = [u for u in writer.leaves if SAMPLES in u.dims]
    with_rows |= {u.uid for u in sliced}
    before: list[str] = []
    inside: list[str] = []
    after: list[str] = []
    starts: list[str] = []
    summed: set[int] = set()
    late: list[Statement] = []
    for position, statement in enumerate(steps):
        node = statement.node
        if node.uid in with_rows:
            dying = {u for u in statement.operands if last[u] == position and u in with_rows}
            lines = writer.write(statement, dying)
            buffer, lines[:1] = _buffered(writer, node, lines[:1])
            starts += buffer
            inside += lines
        elif any(u in with_rows for u in statement.operands):
            start, step = writer.accumulate(statement)
            starts.append(start)
            inside.append(step)
            summed.add(node.uid)
        elif any(u in summed for u in statement.operands):
            summed.add(node.uid)
            late.append(statement)
        else:
            before += writer.write(statement)
    for statement in late:
        after += writer.write(statement)
    rows = [f"{writer.rows_of(u)} = {writer.base(u)}[start : start + block]" for u in sliced]
    if any("rows" in re.findall(r"\w+", line) for line in inside):
        rows.append(f"rows = len({writer.rows_of(sliced[0])})")
    n = writer.constant(SAMPLES)
    loop = [f"for start in range(0, {n}, block):", *(f"    {line}" for line in [*rows, *inside])]
    return [*before, *starts, *loop, *after]


def _buffered(writer: Writer, node: Node, lines: list[str]) -> tuple[list[str], list[str]]:
    """Let a product of matrices in the sweep write into one array: new memory for each block costs as much again."""
    found = re.fullmatch(r"(\w+) = (torch\.(?:add)?mm\(.*)\)(  #.*)?", lines[0]) if lines else None
    if not (
        found
        and writer.plan.in_place
        and is_one_call(f"{found[2]})")
        and node.dims[writer.order_of(node)[0]] == SAMPLES
    ):
        return [], lines
    extents = ", ".join(writer.size(node.dims[a]) for a in writer.order_of(node)[1:])
    name = f"{found[1]}_block"
    line = f"{found[1]} = {found[2]}, out={name}[:rows]){found[3] or ''}"
    return [f"{name} = like.new_empty(block, {extents})"], [line]
