"""How far unrolled scalar expressions go: SymPy's ``lambdify`` and sympytorch against the compiled system.

    python benchmarks/unrolled.py [--device cuda]

The risk of f(x) = sum_k a_k tanh(w_k . x + b_k) is written out over samples and neurons, differentiated by SymPy, and turned
into PyTorch: by ``lambdify`` with common subexpressions, and by sympytorch (left out with a sentence where it is not
installed: ``pip install -e '.[bench]'``).  Reported are the seconds until the first gradient, and our time for 1000 points
over that of each; a way that takes longer than a limit is given up, which is where it stops being possible.
"""

from __future__ import annotations

import argparse
import time
import warnings
from collections.abc import Callable
from importlib.util import find_spec

import sympy
import torch
from _timing import agree, compare, device_of, machine, shown
from torch import Tensor

from derivations.problem import Problem
from numerics.compile import compile_system

Size = tuple[int, int, int]
CASES: list[Size] = [(1, 5, 1), (2, 5, 1), (4, 21, 1), (10, 50, 2), (20, 100, 5), (100, 500, 10)]
POINTS, MOST_SECONDS = 1000, 20.0
PROBLEM = Problem.two_layer("tanh", "square", input_bias=True)


class GivenUp(Exception):
    """The limit of time is over."""


def derivatives(x: Tensor, y: Tensor, m: int) -> tuple[list[sympy.Symbol], list[sympy.Expr]]:
    """Differentiate the written-out risk in every parameter."""
    n, d = x.shape
    start = time.process_time()
    theta = list(sympy.symbols(f"t0:{m * (d + 2)}"))
    terms = []
    for row, target in zip(x.tolist(), y.tolist(), strict=True):
        f = sympy.Add(
            *[
                theta[k]
                * sympy.tanh(
                    sympy.Add(*[theta[m + k * d + j] * row[j] for j in range(d)], theta[m + m * d + k])
                )
                for k in range(m)
            ]
        )
        terms.append((f - target) ** 2 / (2 * n))
    found = []
    for t in theta:
        parts = []
        for term in terms:
            parts.append(term.diff(t))
            if time.process_time() - start > MOST_SECONDS:
                raise GivenUp
        found.append(sympy.Add(*parts))
    return theta, found


def by_lambdify(theta: list[sympy.Symbol], gradient: list[sympy.Expr]) -> Callable[[Tensor], Tensor]:
    call = sympy.lambdify(theta, gradient, modules=torch, cse=True)
    return lambda points: torch.stack(call(*points.unbind(-1)), dim=-1)


def by_sympytorch(theta: list[sympy.Symbol], gradient: list[sympy.Expr]) -> Callable[[Tensor], Tensor]:
    import sympytorch

    torch.set_default_dtype(torch.float64)  # it keeps numbers in the default dtype, and would round the data
    try:
        module = sympytorch.SymPyModule(expressions=gradient)
    finally:
        torch.set_default_dtype(torch.float32)
    names = [t.name for t in theta]

    def call(points: Tensor) -> Tensor:
        with torch.no_grad():
            return module(**dict(zip(names, points.unbind(-1), strict=True)))

    return call


def row(size: Size, device: str, ways: dict[str, Callable[..., Callable[[Tensor], Tensor]]]) -> str:
    """One row: the seconds of each way, and our time over its own."""
    m, n, d = size
    generator = torch.Generator().manual_seed(0)
    x, y, theta = (
        torch.randn(*shape, generator=generator, dtype=torch.float64)
        for shape in ((n, d), (n,), (POINTS, m * (d + 2)))
    )
    start = time.process_time()
    system = compile_system(PROBLEM, x, y, m, device=device)
    there = theta.to(device)
    wanted = system.gradient(there)
    ours = time.process_time() - start
    cells = [str(size), str(n * m), f"{ours:.2f}"]
    try:
        start = time.process_time()
        symbols, gradient = derivatives(x, y, m)
        derived = time.process_time() - start
    except GivenUp:
        return f"| {' | '.join([*cells, f'over {MOST_SECONDS:g}, given up', *['-'] * (2 * len(ways))])} |"
    cells.append(f"{derived:.2f}")
    for way in ways.values():
        start = time.process_time()
        call = way(symbols, gradient)
        agree("the unrolled expression", call(there).to(there.device), wanted)
        cells.append(f"{time.process_time() - start:.2f}")
        _, (ratio,) = compare([lambda: system.gradient(there), lambda call=call: call(there)], device)
        cells.append(shown(ratio))
    return f"| {' | '.join(cells)} |"


def main() -> None:
    """Print the table."""
    device = device_of(argparse.ArgumentParser(description="Unrolled expressions.")).device
    warnings.simplefilter("ignore")  # rivals warn of their own deprecations
    ways = {"lambdify": by_lambdify}
    print("## Unrolled expressions\n")
    print(f"{machine(device)}; {POINTS} points, float64.\n")
    if find_spec("sympytorch"):
        ways["sympytorch"] = by_sympytorch
    else:
        print("sympytorch is not installed here: `pip install -e '.[bench]'` adds its columns.\n")
    print(
        "Seconds until the first gradient: ours, and of the written-out expression (differentiating, then printing and"
    )
    print("the first call of each way); and our time over that of each way (below 1: ours is faster).\n")
    heads = ["(m, n, d)", "n m", "ours, s", "differentiating, s"]
    heads += [cell for name in ways for cell in (f"{name}, s", f"/ {name}")]
    print(f"| {' | '.join(heads)} |")
    print("|" + "---|" * len(heads))
    for size in CASES:
        line = row(size, device, ways)
        print(line, flush=True)
        if "given up" in line:
            print("\nLarger sizes are beyond that limit as well.")
            break


if __name__ == "__main__":
    main()
