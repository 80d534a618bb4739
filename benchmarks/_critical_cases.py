"""The problems on which searches for critical points are compared, and what their points are worth.

Data are rational, drawn with a seed.  ``Plain`` is the same risk in a few lines of NumPy: at single points it is several times faster than the
batched compiled system, so the rivals, which ask for one point at a time, are given it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from random import Random

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from numerics.balls import BallSystem
from numerics.certified_point import Certified, NotCertified, NotEnclosed, certify
from numerics.compile import CompiledSystem
from numerics.critical import polish, settle
from numerics.orbits import Orbits
from numerics.saturation import converged, saturated
from numerics.spectrum import spectrum
from workbench.analysis import Analysis
from workbench.certify import ball_system
from workbench.classification import SCALE
from workbench.study import study_from_mapping

__all__ = ["Array", "Case", "Plain", "cases", "same"]

Array = NDArray[np.float64]
#: Activation, inputs and neurons; the unknowns are neurons * (inputs + 1), with biases neurons * (inputs + 2).
POLYNOMIAL = [
    *(("z^2", d, m) for d, m in ((1, 1), (2, 1), (1, 2), (2, 2))),
    *(("z^3", d, m) for d, m in ((1, 1), (2, 1), (1, 2), (2, 2))),
    *(("z^2+z", d, m) for d, m in ((1, 1), (2, 1), (1, 2), (4, 1), (1, 3))),
]
TANH = [("tanh", 1, 2), ("tanh", 2, 2), ("tanh", 1, 3), ("tanh", 2, 3)]
#: Those of a quick run.
QUICK = {("z^2", 1, 2), ("z^3", 2, 1), ("z^2+z", 1, 2), ("tanh", 1, 2)}
DECAYS = ("1/50", "0")
SAMPLES, SEED, STARTS = 6, 11, 300
#: Two points are the same up to this fraction of 1 + max |theta|.
SAME = 1e-5
#: Steps of Newton's method to rounding, and how far they may lead from a point that is called critical.
STEPS, MOVED = 12, 1e-2

SLOPES: dict[str, tuple[str, Callable[[Array], tuple[Array, Array, Array]]]] = {
    "z^2": ("quadratic", lambda z: (z * z, 2 * z, np.full_like(z, 2.0))),
    "z^3": ("cubic", lambda z: (z**3, 3 * z * z, 6 * z)),
    "z^2+z": ("z**2 + z", lambda z: (z * z + z, 2 * z + 1, np.full_like(z, 2.0))),
    "tanh": ("tanh", lambda z: (np.tanh(z), 1 - np.tanh(z) ** 2, -2 * np.tanh(z) * (1 - np.tanh(z) ** 2))),
}


class Plain:
    """Value, gradient and Hessian of a two-layer network with square loss at one point, computed once for each point."""

    def __init__(self, case: Case) -> None:
        system = case.system
        self.slopes, self.decay = SLOPES[case.sigma][1], case.decay
        self.m, self.n = case.m, len(system.x)
        x, self.y = system.x.numpy(), system.y.numpy().reshape(-1)
        self.x = np.hstack([x, np.ones((self.n, 1))]) if case.bias else x
        self.e = self.x.shape[1]
        names = {name: np.arange(where.start, where.stop) for name, _, where in system.layout}
        enter = names["w"].reshape(self.m, -1)
        enter = np.hstack([enter, names["b"].reshape(-1, 1)]) if case.bias else enter
        self.order = np.hstack([names["a"].reshape(-1, 1), enter]).reshape(-1)  # neuron by neuron
        self.last: tuple[bytes, tuple[float, Array, Array]] = (b"", (0.0, self.x, self.x))

    def all(self, theta: Array) -> tuple[float, Array, Array]:
        """Return all three."""
        key = theta.tobytes()
        if key != self.last[0]:
            self.last = (key, self._all(theta))
        return self.last[1]

    def _all(self, theta: Array) -> tuple[float, Array, Array]:
        with np.errstate(all="ignore"):  # far out things overflow
            own = theta[self.order].reshape(self.m, self.e + 1)
            s, s1, s2 = self.slopes(self.x @ own[:, 1:].T)
            r = s @ own[:, 0] - self.y
            first = np.concatenate([s[:, :, None], (own[:, 0] * s1)[:, :, None] * self.x[:, None]], axis=2)
            jacobian = first.reshape(self.n, -1)
            size = self.m * (self.e + 1)
            hessian = np.zeros((self.m, self.e + 1, self.m, self.e + 1))
            cross = (r[:, None] * s1).T @ self.x
            for k in range(self.m):
                hessian[k, 0, k, 1:] = hessian[k, 1:, k, 0] = cross[k]
                hessian[k, 1:, k, 1:] = (self.x.T * (own[k, 0] * r * s2[:, k])) @ self.x
            h = (hessian.reshape(size, size) + jacobian.T @ jacobian) / self.n + self.decay * np.eye(size)
            back = np.argsort(self.order)
            gradient = (jacobian.T @ r / self.n)[back] + self.decay * theta
            value = float(r @ r) / (2 * self.n) + self.decay / 2 * float(theta @ theta)
            return value, gradient, h[np.ix_(back, back)]


@dataclass
class Case:
    """A network with rational data, compiled, and the tests that its critical points are put to."""

    sigma: str
    d: int
    m: int
    text: str
    analysis: Analysis
    box: float = 3.0

    @property
    def bias(self) -> bool:
        """Whether neurons have biases."""
        return self.sigma == "tanh"

    @property
    def polynomial(self) -> bool:
        """Whether the critical points solve polynomial equations."""
        return self.sigma != "tanh"

    @property
    def decay(self) -> float:
        """Weight decay."""
        return 0.0 if self.text == "0" else 1 / int(self.text.split("/")[1])

    @property
    def name(self) -> str:
        """In words."""
        inputs = f"{self.d} input{'s' if self.d > 1 else ''}"
        return f"{self.sigma} m={self.m}, {inputs}{', bias' if self.bias else ''}{', decay' if self.decay else ''}"

    @cached_property
    def system(self) -> CompiledSystem:
        """Return the compiled system."""
        return self.analysis.compile()

    @cached_property
    def orbits(self) -> Orbits:
        """Return its symmetries."""
        return Orbits(self.system)

    @cached_property
    def balls(self) -> BallSystem:
        """Return the problem for interval arithmetic."""
        return ball_system(self.analysis.problem, self.analysis.required_data("certificates"), {"m": self.m})

    def sorted(self, theta: Tensor) -> tuple[Tensor, int, int]:
        """Return the isolated points among (B, P), polished, and how many others lie on critical sets and how many are not critical."""
        if len(theta) == 0:
            return theta, 0, 0
        ends = settle(self.system, polish(self.system, theta, steps=STEPS)[0])
        far = (ends - theta).abs().amax(dim=1) > MOVED * (1 + theta.abs().amax(dim=1))
        held = torch.zeros(len(theta), dtype=torch.bool)
        near = (~far & ends.isfinite().all(dim=1)).nonzero().flatten()
        if len(near):
            held[near] = converged(self.system, ends[near]) & ~saturated(self.system, ends[near])
        hessians = self.system.hessian(ends[held]) if bool(held.any()) else []
        alone = [spectrum(h, SCALE).inertia.zero == 0 for h in hessians]
        chosen = ends[held][torch.tensor(alone, dtype=torch.bool)] if alone else theta[:0]
        return chosen, len(alone) - sum(alone), len(theta) - len(alone)

    def new(self, theta: Sequence[Tensor], images: list[Tensor]) -> list[Tensor]:
        """Return the points that lie on none of the orbits in ``images``, one of each orbit, and add their orbits."""
        out = []
        for row in theta:
            if not any(same(row, known) for known in images):
                copies = self.orbits.images(row)
                images.append(row[None] if copies is None else copies)
                out.append(row)
        return out

    def certified(self, theta: Tensor) -> Certified | None:
        """Return what is shown of an isolated point; None if nothing is."""
        try:
            return certify(self.balls, theta.tolist())
        except (NotCertified, NotEnclosed):
            return None


def same(row: Tensor, images: Tensor) -> bool:
    """Say whether a point is one of the images of another."""
    return bool(((images - row).abs().amax(dim=1) <= SAME * (1 + row.abs().max())).any())


def cases(only: str, quick: bool) -> Iterator[Case]:
    """Yield the problems whose name holds ``only``."""
    for sigma, d, m in [*POLYNOMIAL, *TANH]:
        if quick and (sigma, d, m) not in QUICK:
            continue
        for decay in DECAYS:
            draw = Random(f"{SEED} {sigma} {d} {m}")
            x = [[f"{draw.randint(-8, 8)}/4" for _ in range(d)] for _ in range(SAMPLES)]
            y = [f"{draw.randint(-8, 8)}/4" for _ in range(SAMPLES)]
            study = study_from_mapping(
                {
                    "schema": 1,
                    "name": "benchmark",
                    "model": {"activation": SLOPES[sigma][0], "width": m, "input_bias": sigma == "tanh"},
                    "loss": {"kind": "square", "weight_decay": decay},
                    "data": {"x": x, "y": y},
                    "landscape": {"starts": STARTS},
                }
            )
            case = Case(sigma, d, m, decay, Analysis(study))
            if only in case.name:
                yield case
