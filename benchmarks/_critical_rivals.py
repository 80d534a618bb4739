"""Other ways to find critical points, each a generator that yields points in flat coordinates, and whether a round is over.

They are given value, gradient and Hessian as functions, or the equations, and a box around every point that the workbench lists.  Three rounds
that bring no isolated point that is new up to symmetry end them, or else the time that they have.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from importlib import import_module
from importlib.util import find_spec
from typing import Any

import numpy as np
import sympy
import torch
from _critical_cases import Array, Case, Plain
from torch import Tensor

from workbench.exact import system_of

__all__ = ["NEEDS", "RIVALS", "load", "missing"]

#: Import names of what a rival needs, beside what is always there.
NEEDS = {
    "newton": (),
    "pounce": ("pounce",),
    "topsearch": ("topsearch", "nptyping", "ase", "rdkit"),
    "SymPy": (),
}
INSTALL = {
    "pounce": "pip install -e '.[bench]'",
    "topsearch": "pip install -e '.[bench-topsearch]', which holds NumPy below 2: best in an environment of its own",
}
Rounds = Iterator[tuple[list[Array], bool]]
#: Starts, iterations, and the largest step of Newton's method.
NEWTON = (500, 100, 3.0)
#: Local solves of pounce in one call of each of its searches.
SOLVES, SADDLES = 20, 10
#: Iterations of its interior-point method: without a bound single solves of the squared gradient take seconds.
ITERATIONS = 200
#: A part of SymPy's solutions that is called imaginary.
IMAGINARY = 1e-9
#: Basin-hopping steps and neighbours of topsearch in one round.
HOPS, NEIGHBOURS = 40, 4


def missing(name: str) -> str:
    """Say what is not installed; empty where nothing is missing."""
    absent = [module for module in NEEDS[name] if find_spec(module) is None]
    return f"{name} is left out: {', '.join(absent)} not installed ({INSTALL[name]})" if absent else ""


def load(name: str) -> None:
    """Import what a rival needs."""
    for module in NEEDS[name]:
        import_module(module)


def newton(case: Case) -> Rounds:
    """Newton's method on the gradient, batched on the compiled system: steps of bounded length and nothing else."""
    count, iterations, longest = NEWTON
    generator = torch.Generator().manual_seed(0)
    while True:
        draws = torch.rand(count, case.system.P, generator=generator, dtype=torch.float64)
        theta: Tensor = (2 * draws - 1) * case.box
        for _ in range(iterations):
            _, gradient, hessian = case.system.value_gradient_hessian(theta)
            step = torch.linalg.lstsq(hessian, gradient[..., None], driver="gelsd").solution[..., 0]
            theta = theta - step * (longest / step.norm(dim=1, keepdim=True).clamp(min=longest))
            theta = theta[theta.isfinite().all(dim=1)]
        gradient = case.system.gradient(theta).norm(dim=1)
        yield list(theta[gradient <= 1e-8 * (1 + theta.norm(dim=1))].numpy()), True


def pounce(case: Case) -> Rounds:
    """``find_critical_points`` by multi-start, and ``find_saddles`` of every index, with new seeds in every round."""
    from pounce import find_critical_points, find_saddles

    plain, bounds = Plain(case), [(-case.box, case.box)] * case.system.P
    random, seed = np.random.default_rng(0), 0
    functions = {"grad": lambda u: plain.all(u)[1], "hess": lambda u: plain.all(u)[2], "bounds": bounds}
    while True:
        start = random.uniform(-case.box, case.box, case.system.P)
        common: dict[str, Any] = {**functions, "seed": seed}
        found = find_critical_points(
            lambda u: plain.all(u)[0],
            start,
            n_points=SOLVES,
            max_solves=SOLVES,
            patience=SOLVES,
            options={"max_iter": ITERATIONS},
            **common,
        )
        yield [p.x for p in found.points], False
        for index in range(1, case.system.P + 1):
            found = find_saddles(
                lambda u: plain.all(u)[0],
                start,
                index=index,
                n_saddles=SADDLES,
                max_solves=SADDLES,
                patience=SADDLES,
                **common,
            )
            yield [p.x for p in found.points], index == case.system.P
        seed += 1


def topsearch(case: Case) -> Rounds:
    """Minima by basin hopping, then transition states between neighbouring minima: points of index 0 and 1, by design."""
    from topsearch.data.coordinates import StandardCoordinates
    from topsearch.data.kinetic_transition_network import KineticTransitionNetwork
    from topsearch.global_optimisation.basin_hopping import BasinHopping
    from topsearch.global_optimisation.perturbations import StandardPerturbation
    from topsearch.potentials.potential import Potential
    from topsearch.sampling.exploration import NetworkSampling
    from topsearch.similarity.similarity import StandardSimilarity
    from topsearch.transition_states.hybrid_eigenvector_following import HybridEigenvectorFollowing
    from topsearch.transition_states.nudged_elastic_band import NudgedElasticBand

    plain = Plain(case)

    class Risk(Potential):
        def function(self, position: Array) -> float:
            return plain.all(position)[0]

        def gradient(self, position: Array, displacement: float = 0.0) -> Array:
            return plain.all(position)[1].copy()

        def function_gradient(self, position: Array) -> tuple[float, Array]:
            value, gradient, _ = plain.all(position)
            return value, gradient.copy()

        def hessian(self, position: Array, displacement: float = 0.0) -> Array:
            return plain.all(position)[2].copy()

    np.random.seed(0)
    risk, coordinates = Risk(), StandardCoordinates(case.system.P, [(-case.box, case.box)] * case.system.P)
    network, likeness = KineticTransitionNetwork(), StandardSimilarity(1e-2, 1e-5)
    hopping = BasinHopping(network, risk, likeness, StandardPerturbation(0.6, proportional_distance=True))
    climbing = HybridEigenvectorFollowing(risk, ts_conv_crit=1e-5, ts_steps=75, pushoff=0.1)
    band = NudgedElasticBand(risk, force_constant=50.0, image_density=10.0, max_images=20, neb_conv_crit=1e-2)
    sampling = NetworkSampling(network, coordinates, hopping, climbing, band, likeness)
    while True:
        coordinates.position = coordinates.generate_random_point()
        sampling.get_minima(coordinates, HOPS, 1e-6, 1.0, test_valid=True)
        yield [network.get_minimum_coords(k) for k in range(network.n_minima)], False
        sampling.get_transition_states("ClosestEnumeration", NEIGHBOURS)
        yield [network.get_ts_coords(u, v) for u, v in network.G.edges()], True


def by_sympy(case: Case) -> Rounds:
    """``sympy.solve`` on the polynomial equations; it answers once, or not at all."""
    system, _ = system_of(case.analysis)
    names = [
        sympy.Symbol(u.name) for u in system.symbols
    ]  # told that they are real, it drops solutions that it cannot judge
    found = sympy.solve([p.as_expr(*names) for p in system.gradient], names, dict=True)
    rows = []
    for solution in found:
        values = [
            complex(sympy.N(solution[u])) for u in names if u in solution and not solution[u].free_symbols
        ]
        if len(values) == len(names) and all(abs(u.imag) < IMAGINARY * (1 + abs(u)) for u in values):
            rows.append(np.array([u.real for u in values]))
    yield rows, True


RIVALS: dict[str, Callable[[Case], Rounds]] = {
    "newton": newton,
    "pounce": pounce,
    "topsearch": topsearch,
    "SymPy": by_sympy,
}
