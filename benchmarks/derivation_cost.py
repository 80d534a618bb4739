"""Cost of deriving equations, cold: two-layer and deep networks, symbolic sizes against small and huge numbers of them.

Prints a Markdown section for docs/benchmarks.md: ``make bench`` collects it.  Each figure is the CPU time in a process that has
imported the package and derived nothing; it is the smallest of several.  The targets are those of the design: gradient and
all Hessian blocks of any two-layer problem in less than a second, of five layers in less than three.
"""

from __future__ import annotations

import multiprocessing
import platform
import time
from collections.abc import Callable
from pathlib import Path

import sympy

from derivations.equations import derive
from derivations.explicit import explicit
from derivations.problem import Problem
from workbench.derive import derive as shown

#: What is derived of every network, and the targets in seconds for two layers of weights and for five.
OBJECTS = ("gradient", "hessian", "hessian-vector", "ntk", "gauss-newton", "output-dynamics", "jacobian")
TARGETS = {"two-layer": 1.0, "deep 5": 3.0}
#: Second derivatives of deeper networks have too many terms to be printed block by block; products with them have not.
DEEPEST_HESSIAN = 5
REPEATS = 3

NETWORKS: dict[str, Callable[[], Problem]] = {
    "two-layer": lambda: Problem.two_layer("tanh", "square", input_bias=True),
    "two-layer, general": lambda: Problem.two_layer(input_bias=True, output_bias=True),
    "two-layer, vector": lambda: Problem.two_layer(
        "gelu",
        "logistic",
        input_bias=True,
        output_bias=True,
        vector_output=True,
        weight_decay="1/10",
        scale="1/sqrt(m)",
    ),
    **{
        f"deep {depth}": (lambda depth=depth: Problem.deep(depth, "tanh", "square")) for depth in range(2, 11)
    },
}


def is_derived(network: str, what: str) -> bool:
    """Say whether the table has this entry."""
    depth = int(network.split()[1]) if network.startswith("deep") else 2
    return what not in ("hessian", "gauss-newton") or depth <= DEEPEST_HESSIAN


def measure(network: str, what: str) -> float:
    """CPU seconds of one derivation in this process."""
    problem = NETWORKS[network]()
    start = time.process_time()
    shown(problem, what) if what in ("conservation", "symmetries") else derive(problem, what)
    return time.process_time() - start


def in_fresh_process(network: str, what: str) -> float:
    """Smallest CPU time of several processes that have imported the package and do nothing else."""
    how = "fork" if "fork" in multiprocessing.get_all_start_methods() else "spawn"
    runs = []
    for _ in range(REPEATS):
        with multiprocessing.get_context(how).Pool(1) as pool:
            runs.append(pool.apply(measure, (network, what)))
    return min(runs)


def machine() -> str:
    """Processor and versions."""
    try:
        text = Path("/proc/cpuinfo").read_text(encoding="utf-8")
        cpu = next(line.split(":")[1].strip() for line in text.splitlines() if line.startswith("model name"))
    except (OSError, StopIteration):
        cpu = platform.processor() or platform.machine()
    return f"{cpu}, Python {platform.python_version()}, SymPy {sympy.__version__}"


def main() -> None:
    """Print the tables."""
    print("## Derivations\n")
    print(f"{machine()}; CPU time in milliseconds, each in a process of its own, nothing cached.\n")
    print(f"| network | {' | '.join(OBJECTS)} |")
    print(f"|---|{'---|' * len(OBJECTS)}")
    found: dict[tuple[str, str], float] = {}
    for network in NETWORKS:
        for what in OBJECTS:
            if is_derived(network, what):
                found[network, what] = in_fresh_process(network, what)
        cells = [f"{found[network, w] * 1e3:.0f}" if (network, w) in found else "-" for w in OBJECTS]
        print(f"| {network} | {' | '.join(cells)} |", flush=True)
    print("\nTargets, gradient and all Hessian blocks together:\n")
    print("| network | target, s | found, s | |")
    print("|---|---|---|---|")
    for network, target in TARGETS.items():
        total = found[network, "gradient"] + found[network, "hessian"]
        print(f"| {network} | {target:g} | {total:.2f} | {'met' if total < target else 'missed'} |")
    print("\nStatements of the two-layer network with their proofs: ", end="")
    times = [(w, in_fresh_process("two-layer", w) * 1e3) for w in ("conservation", "symmetries")]
    print(", ".join(f"{what} {value:.0f} ms" for what, value in times) + ".")
    sizes()


def sizes() -> None:
    """Print that sizes do not enter: they stay symbols, and numbers are put in afterwards."""
    print(
        "\nSizes stay symbols in every derivation, so m, d and n cost nothing; numbers are put into its result:"
    )
    print("the equations of one size, every neuron and coordinate written out, samples under one sum.\n")
    print("| m, d, n | derivation, ms | written out, ms |")
    print("|---|---|---|")
    problem = NETWORKS["two-layer"]
    for m, d, n in (
        (None, None, None),
        (2, 1, 10),
        (2, 1, 10**6),
        (10, 2, 10),
        (10, 2, 10**6),
        (10**6, 10**6, 10**6),
    ):
        start = time.process_time()
        derive(problem(), "gradient-flow")
        derived = (time.process_time() - start) * 1e3
        written = "-"
        if m is not None and m * d <= 20:
            start = time.process_time()
            explicit(problem(), {"m": m, "d": d, "n": n})
            written = f"{(time.process_time() - start) * 1e3:.0f}"
        shown_sizes = "symbolic" if m is None else f"{m}, {d}, {n}"
        print(f"| {shown_sizes} | {derived:.1f} | {written} |", flush=True)


if __name__ == "__main__":
    main()
