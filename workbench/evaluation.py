r"""Numbers at given parameters: value, gradient, Hessian spectrum and inertia, outputs; and integrated trajectories.

>>> import workbench as wb
>>> study = wb.study_from_mapping({"schema": 1, "name": "one", "model": {"width": 1, "input_bias": False},
...                                "data": {"x": [[1.0], [2.0]], "y": [0.5, 1.0]}})
>>> found = wb.Analysis(study).evaluate([{"a": [0.0], "w": [[0.0]]}])
>>> found.to_dict()["points"][0]["value"]
0.3125
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch

from numerics.compile import CompiledSystem
from numerics.flow import integrate
from numerics.spectrum import Spectrum, spectrum

__all__ = ["Evaluation", "Trajectories", "evaluate", "flow"]

SCHEMA = 1
#: Attempted steps of a trajectory; one that chatters along a kink would go on for minutes.
MOST_STEPS = 10_000


@dataclass(frozen=True)
class Evaluation:
    """Results at one or many points; ``spectra[j]`` holds the eigenvalues and the inertia at point j."""

    study: str
    points: tuple[dict[str, Any], ...]
    spectra: tuple[Spectrum, ...]

    def to_dict(self) -> dict[str, Any]:
        """Return the JSON of schema 1."""
        return {"schema": SCHEMA, "study": self.study, "points": list(self.points)}

    def _repr_html_(self) -> str:
        rows = "".join(
            f"<tr><td>{p['value']:.10g}</td><td>{p['gradient_norm']:.3g}</td><td>{tuple(p['inertia'].values())}</td></tr>"
            for p in self.points
        )
        return f"<table><tr><th>R</th><th>|grad R|</th><th>inertia (−, 0, +)</th></tr>{rows}</table>"


@dataclass(frozen=True)
class Trajectories:
    """Solutions of the gradient flow from one or many starts."""

    study: str
    trajectories: tuple[dict[str, Any], ...]

    def to_dict(self) -> dict[str, Any]:
        """Return the JSON of schema 1."""
        return {"schema": SCHEMA, "study": self.study, "trajectories": list(self.trajectories)}

    def plot(self, ax: Any = None) -> Any:
        """Draw the risk against time, both logarithmic where they are positive."""
        from workbench.plots import draw_flow

        return draw_flow([t["t"] for t in self.trajectories], [t["value"] for t in self.trajectories], ax=ax)

    def _repr_html_(self) -> str:
        rows = "".join(
            f"<tr><td>{t['t'][-1]:.4g}</td><td>{t['value'][-1]:.10g}</td><td>{t['status']}</td></tr>"
            for t in self.trajectories
        )
        return f"<table><tr><th>final t</th><th>final R</th><th>status</th></tr>{rows}</table>"


def evaluate(system: CompiledSystem, study: str, points: Sequence[Mapping[str, Any]]) -> Evaluation:
    """Evaluate at dictionaries of blocks; spectrum and inertia are those of the Hessian in the trained blocks.

    Raises
    ------
    ValueError
        If a block is missing, unknown, of the wrong shape or not finite, or if the Hessian overflows.
    """
    entries, spectra = [], []
    trained = system.rates != 0
    for blocks in points:
        theta = system.pack(blocks)
        value, gradient, hessian = system.value_gradient_hessian(theta)
        found = spectrum(hessian[trained][:, trained])
        spectra.append(found)
        entries.append(
            {
                "theta": _lists(system, theta),
                "value": float(value),
                "gradient": _lists(system, gradient),
                "gradient_norm": float(gradient.norm()),
                "eigenvalues": list(found.eigenvalues),
                "inertia": found.inertia.to_dict(),
                "outputs": system.outputs(theta).tolist(),
                "largest_zero": found.largest_zero,
                "smallest_nonzero": found.smallest_nonzero,
            }
        )
    return Evaluation(study, tuple(entries), tuple(spectra))


def flow(
    system: CompiledSystem,
    study: str,
    points: Sequence[Mapping[str, Any]],
    until: float,
    count: int,
    progress: Callable[[float], None] | None = None,
) -> Trajectories:
    """Integrate from dictionaries of blocks, saving ``count`` times that are equally spaced in log(1 + t).

    Raises
    ------
    ValueError
        If a point, the time or the count is refused.
    """
    if not 0 < until < float("inf"):
        raise ValueError(f"--until: found {until}; accepted: a positive finite time")
    if not 2 <= count <= 100_000:
        raise ValueError(f"--points: found {count}; accepted: an integer from 2 to 100000")
    starts = torch.stack([system.pack(blocks) for blocks in points])
    grid = torch.expm1(
        torch.linspace(0, torch.log1p(torch.tensor(until, dtype=torch.float64)), count, dtype=torch.float64)
    )
    grid[-1] = until
    result = integrate(
        system.flow,
        starts,
        until,
        max_steps=MOST_STEPS,
        jacobian=system.flow_jacobian,
        save_at=grid,
        energy=system.value,
        progress=progress,
    )
    entries = []
    for row, status in enumerate(result.status):
        states = result.states[row]
        entries.append(
            {
                "t": result.times[row].tolist(),
                "theta": [_lists(system, state) for state in states],
                "value": system.value(states).tolist(),
                "status": str(status),
                "message": status.message,
                "steps": int(result.steps[row]),
            }
        )
    return Trajectories(study, tuple(entries))


def _lists(system: CompiledSystem, theta: torch.Tensor) -> dict[str, Any]:
    return {name: part.tolist() for name, part in system.unpack(theta).items()}
