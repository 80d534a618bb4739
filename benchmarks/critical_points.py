"""Recall and CPU time of the search for critical points, against plain multi-start Newton.

    python benchmarks/critical_points.py [--starts N] [--only WORD]

The reference of each problem is the union of the isolated orbits that any method found, each polished to rounding here;
recall is the fraction of them that a method has.  For weight decay the Morse count, the sum of (-1)^index over all copies, is shown
beside: it is 1 for a complete list of isolated points.  Without weight decay the sets that are no points are counted.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from derivations.problem import Problem
from numerics.compile import CompiledSystem, compile_system
from numerics.critical import find_critical_points, polish, settle, starts
from numerics.orbits import Orbits
from numerics.saturation import converged, saturated
from numerics.spectrum import spectrum
from workbench.classification import SCALE
from workbench.general_search import Request, search_model

SAME = 1e-5


@dataclass(frozen=True)
class Case:
    """A problem at fixed data, in words and compiled, at the data and elsewhere."""

    name: str
    system: CompiledSystem
    elsewhere: CompiledSystem
    decays: bool


def cases(only: str) -> Iterator[Case]:
    """Yield polynomial networks with two to six unknowns and tanh networks, with and without weight decay."""
    generator = torch.Generator().manual_seed(11)
    chosen = [
        *((f"{name}, {d} input{'s' * (d > 1)}", sigma, d, m, False) for name, sigma, d, m in POLYNOMIAL),
        ("tanh m=2, 1 input, bias", "tanh", 1, 2, True),
        ("tanh m=2, 2 inputs, bias", "tanh", 2, 2, True),
        ("tanh m=3, 1 input, bias", "tanh", 1, 3, True),
    ]
    for name, sigma, d, m, bias in chosen:
        x = torch.randint(-8, 9, (6, d), generator=generator).double() / 4
        y = torch.randint(-8, 9, (6,), generator=generator).double() / 4
        probes = torch.randn(16, d, dtype=torch.float64, generator=generator)
        for decay in ("0", "1/50"):
            title = name + (", decay" if decay != "0" else "")
            if only in title:
                problem = Problem.two_layer(sigma, "square", input_bias=bias, weight_decay=decay)
                yield Case(
                    title,
                    compile_system(problem, x, y, m),
                    compile_system(problem, probes, torch.zeros(16, dtype=torch.float64), m),
                    decay != "0",
                )


POLYNOMIAL = [
    ("z^2 m=1", "quadratic", 1, 1),
    ("z^2 m=2", "quadratic", 1, 2),
    ("z^2 m=2", "quadratic", 2, 2),
    ("z^3 m=1", "cubic", 2, 1),
    ("z^3 m=2", "cubic", 1, 2),
    ("z^2+z m=1", "z**2 + z", 2, 1),
    ("z^2+z m=2", "z**2 + z", 1, 2),
]


def ours(case: Case, count: int) -> tuple[Tensor, int]:
    """Return the isolated points of the search, one per orbit, and how many sets it lists besides."""
    found = search_model(case.system, case.elsewhere, case.system.sizes["m"], Request(count, 0))
    rows = [case.system.pack(p.theta) for p in found.points if p.inertia.zero == 0]
    return _stack(case, rows), sum(p.inertia.zero > 0 for p in found.points)


def newton(case: Case, count: int) -> tuple[Tensor, int]:
    """Return isolated points of Newton's method from the same number of starts, without rounds."""
    found = find_critical_points(case.system, starts(case.system, count, 0))
    return _isolated(case, found.theta), 0


def _isolated(case: Case, theta: Tensor) -> Tensor:
    if len(theta) == 0:
        return theta
    theta = settle(case.system, polish(case.system, theta, steps=12)[0])
    theta = theta[converged(case.system, theta)]
    if len(theta):
        theta = theta[~saturated(case.system, theta)]
    rows = [row for row in theta if spectrum(case.system.hessian(row), SCALE).inertia.zero == 0]
    return _stack(case, distinct(case, rows))


def _stack(case: Case, rows: list[Tensor]) -> Tensor:
    return torch.stack(rows) if rows else torch.zeros(0, case.system.P, dtype=torch.float64)


def distinct(case: Case, rows: list[Tensor]) -> list[Tensor]:
    """Return one point of each orbit."""
    orbits, kept, images = Orbits(case.system), [], []
    for row in rows:
        if not any(same(row, known) for known in images):
            kept.append(row)
            every = orbits.images(row)
            images.append(row[None] if every is None else every)
    return kept


def same(row: Tensor, images: Tensor) -> bool:
    """Say whether a point is one of the images of another."""
    return bool(((images - row).abs().amax(dim=1) <= SAME * (1 + row.abs().max())).any())


def morse(case: Case, rows: list[Tensor]) -> int:
    """Return the sum of (-1)^index over all copies."""
    orbits, total = Orbits(case.system), 0
    for row in rows:
        total += (-1) ** spectrum(case.system.hessian(row)).inertia.negative * (orbits.orbit_size(row) or 0)
    return total


def main() -> None:
    """Print a row for each problem and method."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "--starts", type=int, default=1000, help="random starts of each method; 1000 by default"
    )
    parser.add_argument("--only", default="", help="problems whose name holds this")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    methods: dict[str, Callable[[Case, int], tuple[Tensor, int]]] = {"workbench": ours, "newton": newton}
    print(f"| {'problem':32} | unknowns | method    | orbits | recall | sets | Morse | CPU s |")
    print(f"|{'-' * 34}|---:|---|---:|---:|---:|---:|---:|")
    for case in cases(arguments.only):
        results: dict[str, tuple[list[Tensor], int, float]] = {}
        case.system.value_gradient_hessian(
            torch.zeros(2, case.system.P, dtype=torch.float64)
        )  # compiled before
        for name, method in methods.items():
            begun = time.process_time()
            points, sets = method(case, arguments.starts)
            results[name] = (list(points), sets, time.process_time() - begun)
        union = distinct(case, [row for rows, _, _ in results.values() for row in rows])
        for name, (rows, sets, seconds) in results.items():
            recall = f"{100 * len(rows) / len(union):.0f} %" if union else "-"
            count = str(morse(case, rows)) if case.decays else "-"
            cells: list[Any] = [
                case.name.ljust(32),
                case.system.P,
                name,
                len(rows),
                recall,
                sets,
                count,
                f"{seconds:.1f}",
            ]
            print("| " + " | ".join(map(str, cells)) + " |", flush=True)


if __name__ == "__main__":
    main()
