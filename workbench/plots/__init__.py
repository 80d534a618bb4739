"""Figures: the landscape graph, Hessian spectra, the risk on planes, the loss along the flow; vector graphics for a 15 cm text.

Every ``draw_`` function draws on the axes it is given, or on a new ``Figure`` which it returns.
"""

from workbench.plots.canvas import save
from workbench.plots.curves import draw_flow
from workbench.plots.disconnectivity import draw_disconnectivity
from workbench.plots.graph import draw_graph
from workbench.plots.hasse import draw_hasse
from workbench.plots.spectra import draw_spectra
from workbench.plots.surface import draw_surface
from workbench.plots.training import draw_training
from workbench.plots.trajectories import draw_trajectories

__all__ = [
    "draw_disconnectivity",
    "draw_flow",
    "draw_graph",
    "draw_hasse",
    "draw_spectra",
    "draw_surface",
    "draw_training",
    "draw_trajectories",
    "save",
]
