"""Complete lists of critical points by branch and prune: boxes examined, boxes per second and CPU time for each problem.

    python benchmarks/branch_prune.py [SECONDS]

Two-layer tanh networks on five samples, square loss.  A search that does not end within the seconds given, 120 by default, is reported with the
fraction of the volume that is left.
"""

from __future__ import annotations

import sys
import time

import torch
from _timing import machine
from sympy import Rational

from derivations.problem import Problem
from numerics.box_spaces import network_space
from numerics.box_system import BoxSystem
from numerics.branch_prune import search

ONE = [Rational(u, 2) for u in (-4, -2, 1, 2, 4)]
TWO = [Rational(u, 2) for u in (-3, 1, 2, -1, 1, 3, -2, -2, 4, 1)]
TARGETS = [Rational(u, 10) for u in (-8, 3, 9, -4, 6)]
#: Neurons, inputs, hidden bias, weight decay.
PROBLEMS = [
    (1, 1, True, Rational(1, 1000)),
    (1, 2, False, Rational(1, 1000)),
    (2, 1, False, Rational(1, 1000)),
    (1, 2, True, Rational(1, 1000)),
    (2, 1, True, Rational(1, 2)),
    (2, 1, True, Rational(1, 5)),
    (2, 1, True, Rational(1, 10)),
    (2, 1, True, Rational(1, 1000)),
]


def main() -> None:
    """Print the table."""
    torch.set_num_threads(1)
    limit = float(sys.argv[1]) if len(sys.argv) > 1 else 120.0
    print(f"## Branch and prune\n\n{machine('cpu')}\n")
    print(
        "| neurons | inputs | bias | decay | P | orbits | complete | boxes | boxes / s | CPU s | volume left |"
    )
    print("|---|---|---|---|---|---|---|---|---|---|---|")
    for width, inputs, bias, decay in PROBLEMS:
        problem = Problem.two_layer("tanh", "square", input_bias=bias, weight_decay=decay)
        data = {"x": ONE if inputs == 1 else TWO, "y": TARGETS}
        system = BoxSystem(problem, data, {"n": 5, "d": inputs, "m": width, "o": 1})
        space = network_space(system)
        search(space, seconds=0.0)  # the equations are derived and lowered here
        begun = time.process_time()
        found = search(space, seconds=limit)
        spent = time.process_time() - begun
        row = [
            width,
            inputs,
            "yes" if bias else "no",
            decay,
            system.P,
            len(found.zeros),
            "PROVED" if found.complete else "UNDECIDED",
        ]
        row += [
            found.boxes,
            f"{found.boxes / spent:.0f}",
            f"{spent:.1f}",
            f"{found.remaining if not found.complete else 0:.2g}",
        ]
        print(f"| {' | '.join(map(str, row))} |", flush=True)


if __name__ == "__main__":
    main()
