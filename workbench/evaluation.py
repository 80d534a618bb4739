r"""Numbers at given parameters: value, gradient, Hessian spectrum and inertia, outputs.

>>> import workbench as wb
>>> study = wb.study_from_mapping({"schema": 1, "name": "one", "model": {"width": 1, "input_bias": False},
...                                "data": {"x": [[1.0], [2.0]], "y": [0.5, 1.0]}})
>>> found = wb.Analysis(study).evaluate([{"a": [0.0], "w": [[0.0]]}])
>>> found.to_dict()["points"][0]["value"]
0.3125
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch

from derivations.html_table import html_table
from numerics.compile import CompiledSystem
from numerics.interval_system import IntervalSystem
from numerics.lanczos import ExtremeSpectrum, extreme_spectrum
from numerics.population_system import PopulationSystem
from numerics.spectrum import Spectrum, spectrum

__all__ = ["Evaluation", "evaluate"]

SCHEMA = 1
#: Trained parameters up to which the Hessian is written down and all its eigenvalues are computed: the time of a minute.
MOST_DENSE = 3000
#: Eigenvalues at each end of the spectrum of a larger Hessian.
ENDS = 10


@dataclass(frozen=True)
class Evaluation:
    """Results at one or many points; ``spectra[j]`` holds the eigenvalues at point j: all of them, or both ends.

    ``derived_from`` is the compiled system, whose ``derived_from`` is the problem.
    """

    study: str
    points: tuple[dict[str, Any], ...]
    spectra: tuple[Spectrum | ExtremeSpectrum, ...]
    derived_from: Any = field(default=None, compare=False, repr=False)

    def to_dict(self) -> dict[str, Any]:
        """Return the JSON of schema 1."""
        return {"schema": SCHEMA, "study": self.study, "points": list(self.points)}

    def _repr_html_(self) -> str:
        rows = [
            (
                f"{p['value']:.10g}",
                f"{p['gradient_norm']:.3g}",
                "not known" if p["inertia"] is None else tuple(p["inertia"].values()),
            )
            for p in self.points
        ]
        return html_table(("R", "|grad R|", "inertia (−, 0, +)"), rows, f"{self.study}: evaluation")


def evaluate(system: CompiledSystem, study: str, points: Sequence[Mapping[str, Any]]) -> Evaluation:
    """Evaluate at dictionaries of blocks; spectrum and inertia are those of the Hessian in the trained blocks.

    Beyond ``MOST_DENSE`` trained parameters the ``ENDS`` lowest and highest eigenvalues are given, from Hessian-vector
    products; the inertia is then not known (None), and ``spectrum`` in the JSON says how many signs are certain.

    Raises
    ------
    ValueError
        If a block is missing, unknown, of the wrong shape or not finite, or if the Hessian overflows.
    """
    entries, spectra = [], []
    trained = system.rates != 0
    for blocks in points:
        theta = system.pack(blocks)
        found: Spectrum | ExtremeSpectrum
        if int(trained.sum()) > MOST_DENSE:
            value, gradient = system.value_gradient(theta)
            found = extreme_spectrum(system, theta, ENDS)
        else:
            value, gradient, hessian = system.value_gradient_hessian(theta)
            if not bool(torch.isfinite(hessian).all()):
                raise ValueError(system.not_finite)
            found = spectrum(hessian[trained][:, trained])
        spectra.append(found)
        entries.append(
            {
                "theta": _lists(system, theta),
                "value": float(value),
                "gradient": _lists(system, gradient),
                "gradient_norm": float(gradient.norm()),
                "eigenvalues": list(found.eigenvalues),
                "inertia": found.inertia.to_dict() if isinstance(found, Spectrum) else None,
                "outputs": system.outputs(theta).tolist(),
                "largest_zero": found.largest_zero if isinstance(found, Spectrum) else None,
                "smallest_nonzero": found.smallest_nonzero if isinstance(found, Spectrum) else None,
                "spectrum": {"complete": True, "parameters": len(found.eigenvalues)}
                if isinstance(found, Spectrum)
                else found.to_dict(),
                **_of_population(system, theta),
            }
        )
    return Evaluation(study, tuple(entries), tuple(spectra), system)


def _of_population(system: CompiledSystem, theta: torch.Tensor) -> dict[str, Any]:
    """Return what a point over a population has besides: inputs of the outputs, how integrals are computed, odd neurons."""
    if not isinstance(system, IntervalSystem | PopulationSystem):
        return {}
    return {
        "inputs": system.inputs.tolist(),
        "integrals": system.integration,
        "without_classical_hessian": [k + 1 for k, odd in enumerate(system.irregular(theta).tolist()) if odd],
    }


def _lists(system: CompiledSystem, theta: torch.Tensor) -> dict[str, Any]:
    return {name: part.tolist() for name, part in system.unpack(theta).items()}
