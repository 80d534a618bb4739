r"""Functions of one input, each through its nodes: critical network functions and their target.

>>> figure = draw_functions({"target": ([0.0, 1.0], [0.0, 1.0]), "constant": ([0.0, 1.0], [0.5, 0.5])})
>>> [text.get_text() for text in figure.axes[0].get_legend().get_texts()]
['target', 'constant']
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from matplotlib.figure import Figure

from workbench.plots.canvas import BLUE, GREEN, GREY, PURPLE, RED, YELLOW, canvas, style

__all__ = ["draw_functions"]


def draw_functions(
    functions: Mapping[str, tuple[Sequence[float], Sequence[float]]], across: str = "$x$", up: str = "$f(x)$"
) -> Figure:
    """Draw functions over one input; the first is dashed and grey.

    Parameters
    ----------
    functions : mapping
        Inputs and values by name, of equal length; straight lines connect them.
    across, up : str
        Names of the axes.

    Raises
    ------
    ValueError
        If there is nothing to draw, or the lengths differ.
    """
    if not functions:
        raise ValueError("found no function to draw; give one at least")
    for name, (x, y) in functions.items():
        if len(x) != len(y):
            raise ValueError(f"{name}: {len(x)} inputs but {len(y)} values")
    with style():
        figure, axes = canvas(3.1)
        for number, (name, (x, y)) in enumerate(functions.items()):
            colour = (BLUE, RED, GREEN, PURPLE, YELLOW)[(number - 1) % 5] if number else GREY
            axes.plot(x, y, label=name, lw=1.2, color=colour, ls="-" if number else "--")
        axes.set_xlabel(across)
        axes.set_ylabel(up)
        axes.legend(frameon=False)
    return figure
