"""How a compiled system shows itself: sizes, parameters, outputs and the generated source, as JSON and as HTML."""

from __future__ import annotations

import html
from typing import TYPE_CHECKING, Any

from derivations.html_table import html_table

if TYPE_CHECKING:
    from numerics.compile import CompiledSystem

__all__ = ["as_dict", "as_html"]

#: What a compiled system computes: name of the method and the trailing shape of its result.
OUTPUTS = (
    ("value", ""),
    ("outputs", "n"),
    ("gradient", "P"),
    ("hessian", "P, P"),
    ("hvp", "P"),
    ("flow", "P"),
)


def as_dict(system: CompiledSystem) -> dict[str, Any]:
    """Return sizes, parameters with shape and rate, outputs with their trailing shape, and the source."""
    rates = system.rates.tolist()
    several = ", o" if system.problem.vector_output else ""
    return {
        "schema": 1,
        "kind": system.problem.kind,
        "sizes": dict(system.sizes),
        "parameters": [
            {
                "name": name,
                "shape": list(shape),
                "first": where.start,
                "length": where.stop - where.start,
                "rate": rates[where.start],
            }
            for name, shape, where in system.layout
        ],
        "P": system.P,
        "outputs": {name: f"({shape}{several if shape == 'n' else ''})" for name, shape in OUTPUTS},
        "device": str(system.device),
        "dtype": str(system.dtype).removeprefix("torch."),
        "source": system.source,
    }


def as_html(system: CompiledSystem) -> str:
    """Return tables of sizes and parameters, and the source, folded."""
    content = as_dict(system)
    sizes = ", ".join(f"{name} = {value}" for name, value in content["sizes"].items())
    caption = (
        f"{content['kind']} system, {sizes}, P = {content['P']}, {content['dtype']} on {content['device']}"
    )
    rows = [(u["name"], tuple(u["shape"]), f"{u['rate']:g}") for u in content["parameters"]]
    outputs = "; ".join(
        f"{name} (..., {shape[1:-1]})" if shape != "()" else f"{name} (...)"
        for name, shape in content["outputs"].items()
    )
    source = (
        f"<details><summary>generated source</summary><pre>{html.escape(content['source'])}</pre></details>"
    )
    return html_table(("block", "shape", "rate"), rows, caption) + f"<p>{html.escape(outputs)}</p>" + source
