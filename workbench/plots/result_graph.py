r"""The graph that a result yields, small: a disc for each node at the height of its weight, an arrow for each edge.

>>> figure = draw_result_graph([("merged", 0.13, "local maximum"), ("split", 0.25, "local maximum")], [("merged", "split", "0.5")], "margin")
>>> [text.get_text() for text in figure.axes[0].texts if text.get_text()]
['merged\nlocal maximum', 'split\nlocal maximum', '0.5']
"""

from __future__ import annotations

from collections.abc import Sequence

from matplotlib.figure import Figure

from workbench.plots.canvas import BLUE, GREY, RED, canvas, style

__all__ = ["draw_result_graph"]


def draw_result_graph(
    nodes: Sequence[tuple[str, float, str]], edges: Sequence[tuple[str, str, str]], weight: str
) -> Figure:
    """Draw nodes side by side, each at the height of its weight.

    Parameters
    ----------
    nodes : sequence
        Name, weight and a second line of text for each; at most about eight fit.
    edges : sequence
        Names of the two ends, and a text; an edge to itself is a loop.
    weight : str
        Name of the vertical axis.

    Raises
    ------
    ValueError
        If there is no node, or an edge names one that is not there.
    """
    if not nodes:
        raise ValueError("found no node to draw; give one at least")
    place = {name: (float(j), value) for j, (name, value, _) in enumerate(sorted(nodes, key=lambda u: u[1]))}
    if missing := {end for u, v, _ in edges for end in (u, v)} - set(place):
        raise ValueError(f"found edges with the ends {sorted(missing)}; accepted: {', '.join(place)}")
    low, high = (f(value for _, value, _ in nodes) for f in (min, max))
    room = 0.35 * (high - low) or 0.2 * abs(high) or 1.0
    with style():
        figure, axes = canvas(3.0, bottom=0.15)
        axes.set_xlim(-0.6, len(nodes) - 0.4)
        axes.set_ylim(low - room, high + room)
        for name, _, text in nodes:
            x, y = place[name]
            axes.plot(x, y, "o", color=BLUE, ms=8)
            axes.annotate(
                f"{name}\n{text}",
                (x, y),
                (0, -9),
                textcoords="offset points",
                ha="center",
                va="top",
                fontsize=7.5,
            )
        for source, target, text in edges:
            start, end = place[source], place[target]
            if source == target:
                axes.annotate("", (start[0] + 0.04, start[1]), (start[0] - 0.04, start[1]), arrowprops={
                    "arrowstyle": "->", "connectionstyle": "arc3,rad=-4", "color": GREY, "shrinkA": 6, "shrinkB": 6})  # fmt: skip
                middle, lift = start, 26
            else:
                axes.annotate("", end, start, arrowprops={
                    "arrowstyle": "->", "connectionstyle": "arc3,rad=-0.15", "color": RED, "shrinkA": 8, "shrinkB": 8})  # fmt: skip
                middle, lift = ((start[0] + end[0]) / 2, (start[1] + end[1]) / 2), 12
            axes.annotate(
                text, middle, (0, lift), textcoords="offset points", ha="center", va="bottom", fontsize=7
            )
        axes.set_xticks([])
        axes.set_ylabel(weight)
    return figure
