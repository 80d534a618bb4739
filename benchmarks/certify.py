"""Certified critical points: how many of the listed ones, and the CPU time against that of the search.

    python benchmarks/certify.py

First the time for one point (existence, uniqueness and inertia at 128 bits) at networks of 4, 7 and 12 parameters, on 20 samples;
then the studies that are shipped, searched at all widths, with the reason for each point that is not certified.
"""

from __future__ import annotations

import time
from collections import Counter
from pathlib import Path

import torch
from _timing import machine, seconds
from sympy import Rational

from derivations.problem import Problem
from numerics.balls import BallSystem
from numerics.certified_point import NotCertified, certify
from numerics.compile import compile_system
from numerics.critical import find_critical_points, polish, starts
from workbench.analysis import Analysis
from workbench.certify import certified, distinct
from workbench.network import architecture
from workbench.searches import explored
from workbench.study import load

SIZES = [(1, 1, True, 4), (2, 1, True, 7), (3, 2, False, 12)]  # width, inputs, output bias, parameters
SAMPLES = 20
STUDIES = [("five-points", 300), ("teacher-student", 100), ("tanh-1d", 300), ("iris", 60)]
FOLDER = Path(__file__).resolve().parent.parent / "workbench" / "studies"


def main() -> None:
    """Print both tables."""
    torch.set_num_threads(1)
    print(f"## Certified critical points\n\n{machine('cpu')}\n")
    print("| parameters | points | ms for a point |\n|---|---|---|")
    for size in SIZES:
        print(f"| {size[-1]} | {one_point(*size)} |", flush=True)
    print(
        "\n| study | entries | certified | pairs not told apart | search, s | certificates, s |\n|---|---|---|---|---|---|"
    )
    reasons: list[str] = []
    for name, count in STUDIES:
        print(f"| {study(name, count, reasons)} |", flush=True)
    print("\nNot certified:\n" if reasons else "\nAll entries are certified.")
    for line in reasons:
        print(f"- {line}")


def one_point(width: int, inputs: int, output_bias: bool, parameters: int) -> str:
    """Return the number of isolated points of a tanh network and the mean time for one."""
    generator = torch.Generator().manual_seed(parameters)
    x = (8 * torch.rand(SAMPLES, inputs, generator=generator) - 4).mul(64).round() / 64
    z = x.sum(dim=1)
    y = torch.tanh(1.5 * (z + 1.5)) + 0.4 * torch.tanh(2 * x[:, 0] - 0.5) + 0.6 * torch.tanh(1.2 * (z - 1.5))
    y = y.mul(1024).round() / 1024
    problem = Problem.two_layer("tanh", "square", input_bias=True, output_bias=output_bias)
    system = compile_system(problem, x.tolist(), y.tolist(), width)
    assert parameters == system.P
    data = {"x": [Rational(float(u)) for u in x.reshape(-1)], "y": [Rational(float(u)) for u in y]}
    balls = BallSystem(problem, data, {"n": SAMPLES, "d": inputs, "m": width})
    theta, _ = polish(system, find_critical_points(system, starts(system, 200, 0)).theta, steps=12)
    isolated = []
    for row in theta.tolist():
        try:
            certify(balls, row)
        except NotCertified:
            continue
        isolated.append(row)
    chosen = isolated[:20]
    spent = seconds(lambda: [certify(balls, row) for row in chosen]) / max(len(chosen), 1)
    return f"{len(chosen)} | {1e3 * spent:.2f}"


def study(name: str, count: int, reasons: list[str]) -> str:
    """Return the row of a study, and add what is not certified to ``reasons``."""
    analysis = Analysis(load(FOLDER / f"{name}.toml").with_overrides(starts=count))
    widths = analysis.required_study("widths").landscape.widths
    begun = time.process_time()
    found = explored(analysis, widths, connect=False)
    searched = time.process_time()
    data = analysis.required_data("certificates")
    points = certified(found.points, analysis.problem, data)
    done = time.process_time()
    held = sum(point.not_certified is None for point in points)
    open_pairs = distinct(points, architecture(analysis.problem, data.d, data.o))
    for reason, number in Counter(point.not_certified for point in points if point.not_certified).items():
        names = ", ".join(point.id for point in points if point.not_certified == reason)
        reasons.append(f"{name}, {number} ({names}): {reason}")
    times = f"{searched - begun:.1f} | {done - searched:.2f}"
    return f"{name} | {len(points)} | {held} | {len(open_pairs)} | {times}"


if __name__ == "__main__":
    main()
