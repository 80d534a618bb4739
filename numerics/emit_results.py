"""First and last lines of the generated source: splitting flat vectors, and putting the results together."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from numerics.emit_nodes import BATCH, Value
from numerics.emit_product import placed
from numerics.emit_writer import Writer

__all__ = ["Group", "Output", "head", "results"]

#: Names of a vector's blocks, or rows of names: the blocks of a symmetric matrix on and above the diagonal.
Group = Sequence[str] | Sequence[Sequence[str]]


@dataclass(frozen=True)
class Output:
    """A value, the order of its labels, and the dimension of each."""

    value: Value
    labels: tuple[object, ...]
    dims: tuple[str, ...]


def head(
    writer: Writer,
    leaves: Sequence[tuple[str, tuple[str, ...], bool]],
    flat: Mapping[str, Sequence[str]],
    body: Sequence[str],
    first: str,
) -> list[str]:
    """Return the lines that split flat vectors into blocks, and the names the body uses."""
    layout, text = writer.plan.layout, "\n".join(body)
    dims = {label: sizes for label, sizes, _ in leaves}
    shaped = [[u for u in parts if len(dims[u]) != 1] for parts in flat.values()]
    lines = []
    if "B" in _words(text) or (layout != "single" and any(shaped)):
        lines.append(f"B = {first}.shape[{0 if layout == 'first' else -1}]")
    for (name, parts), reshaped in zip(flat.items(), shaped, strict=True):
        lengths = [" * ".join(writer.size(u) for u in dims[part]) or "1" for part in parts]
        along = ", 1" if layout == "first" else ""
        if len(parts) > 1:
            split = f"{name}.split_with_sizes(({', '.join(lengths)}){along})"
            lines.append(f"{', '.join(parts)} = {split}")
        else:
            lines.append(f"{parts[0]} = {name}")
        lines += [
            f"{part} = {part}.view({', '.join(_with_batch(layout, [writer.size(u) for u in dims[part]])) or '()'})"
            for part in reshaped
        ]
    if "like" in _words(text):
        lines.append(f"like = {first}")
    return lines


def _words(text: str) -> set[str]:
    return set("".join(c if c.isalnum() or c == "_" else " " for c in text).split())


def _with_batch(layout: str, sizes: list[str]) -> list[str]:
    return {"single": sizes, "first": ["B", *sizes], "last": [*sizes, "B"]}[layout]


def results(writer: Writer, outputs: Mapping[str, Output], groups: Mapping[str, Group]) -> list[str]:
    """Return the lines that put flat vectors and matrices together, and the return statement."""
    inside = {
        u for group in groups.values() for row in group for u in ([row] if isinstance(row, str) else row)
    }
    returned = [_laid_out(writer, outputs[name]) for name in outputs if name not in inside]
    lines = []
    for name, group in groups.items():
        blocks = [u for u in group if isinstance(u, str)]
        rows = [list(row) for row in group if not isinstance(row, str)]
        lines += _matrix(writer, name, rows, outputs) if rows else _vector(writer, name, blocks, outputs)
        returned.append(name)
    return [*lines, f"return ({', '.join(returned)},)"]


def _laid_out(writer: Writer, output: Output) -> str:
    """Return an output with its axes in the order asked for, and the batch axis where the plan has it."""
    node, layout = output.value.node, writer.plan.layout
    number = {label: position for position, label in enumerate(output.labels)}
    order = [BATCH if a == BATCH else number[output.value.labels[a]] for a in writer.order_of(node)]
    target = list(range(len(output.labels)))
    target = {"single": target, "first": [BATCH, *target], "last": [*target, BATCH]}[layout]
    code = placed(writer.code(node), order, target)
    if node.op == "leaf":
        code += ".clone()"  # a result may be overwritten by whoever asked for it
    if len(order) == len(target):
        return code
    sizes = ["B" if u == BATCH else writer.size(output.dims[u]) for u in target]
    return f"{code}.expand({', '.join(sizes)})" + ("" if node.batched else ".clone()")


def _block(writer: Writer, output: Output, rows: int | None = None) -> str:
    """Return an output as a vector, or as a matrix whose rows are its first ``rows`` axes."""
    layout, rank = writer.plan.layout, len(output.labels)
    wanted = [rank] if rows is None else [rows, rank - rows]
    code = _laid_out(writer, output)
    if wanted in ([1], [1, 1]):
        return code
    parts = [output.dims] if rows is None else [output.dims[:rows], output.dims[rows:]]
    sizes = [" * ".join(writer.size(u) for u in part) or "1" for part in parts]
    return f"{code}.reshape({', '.join(_with_batch(layout, sizes))})"


def _vector(writer: Writer, name: str, blocks: list[str], outputs: Mapping[str, Output]) -> list[str]:
    parts = [_block(writer, outputs[u]) for u in blocks]
    along = ", 1" if writer.plan.layout == "first" else ""
    return [f"{name} = torch.cat([{', '.join(parts)}]{along})" if len(parts) > 1 else f"{name} = {parts[0]}"]


def _matrix(writer: Writer, name: str, rows: list[list[str]], outputs: Mapping[str, Output]) -> list[str]:
    layout, count = writer.plan.layout, len(rows)
    ranks = [len(outputs[row[0]].labels) // 2 for row in rows]
    if layout == "last" and writer.plan.in_place and count > 1:
        return _filled(writer, name, rows, ranks, outputs)
    lines = []
    for rank, row in zip(ranks, rows, strict=True):
        lines += [f"{u} = {_block(writer, outputs[u], rank)}" for u in row]
    turned = {"single": ".t()", "first": ".mT", "last": ".transpose(0, 1)"}[layout]
    down, across = (1, 2) if layout == "first" else (0, 1)
    if count == 1:
        return [*lines, f"{name} = {rows[0][0]}"]
    bands = []
    for r in range(count):
        left = [f"{rows[c][r - c]}{turned}" for c in range(r)]
        bands.append(f"torch.cat([{', '.join([*left, *rows[r]])}], {across})")
    return [*lines, f"{name} = torch.cat([", *(f"    {band}," for band in bands), f"], {down})"]


def _filled(
    writer: Writer,
    name: str,
    rows: list[list[str]],
    ranks: list[int],
    outputs: Mapping[str, Output],
) -> list[str]:
    """Write the blocks of a symmetric matrix to their places, where a call costs less than one more copy."""
    lengths = [
        " * ".join(writer.size(u) for u in outputs[row[0]].dims[:rank]) or "1"
        for rank, row in zip(ranks, rows, strict=True)
    ]
    ends = ["", *(" + ".join(lengths[: r + 1]) for r in range(len(rows)))]
    places = [f"{ends[r]}:{ends[r + 1]}" for r in range(len(rows))]
    lines = [f"{name} = like.new_empty({ends[-1]}, {ends[-1]}, B)"]
    for r, row in enumerate(rows):
        for c, block in enumerate(row, r):
            dims = outputs[block].dims
            into = f"{name}[{places[r]}, {places[c]}]"
            shaped = (
                ""
                if [len(dims), ranks[r]] == [2, 1]
                else f".view({', '.join([*map(writer.size, dims), 'B'])})"
            )
            lines.append(f"{into}{shaped}.copy_({_laid_out(writer, outputs[block])})")
            if c > r:
                lines.append(f"{name}[{places[c]}, {places[r]}].copy_({into}.transpose(0, 1))")
    return lines
