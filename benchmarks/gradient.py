"""Value and gradient of a compiled network against what else one could run, as ratios of CPU time in one process.

    python benchmarks/gradient.py [--large]

The network is f(x) = sum_k a_k tanh(w_k . x + b_k) with half the mean squared error, in float64.  Rivals:

* ``hand``: the analytic gradient written by hand in matrix products, the best eager code known to us;
* ``autograd``: torch.func.grad_and_value of the same network, vmap over it for a batch of points;
* ``lambdify``: the unrolled scalar expression of the risk and its gradient through SymPy's common-subexpression
  printer, small sizes only.

A ratio below 1 means that the compiled system is faster.  Every number is the best of several repeats on one thread.
"""

from __future__ import annotations

import argparse
import math
import platform
import sys
import time
from collections.abc import Callable
from pathlib import Path

import sympy
import torch
from torch import Tensor

from derivations.problem import Problem
from numerics.compile import CompiledSystem, compile_system

SMALL, MEDIUM, BIG = [1, 100, 10_000], [1, 100], [1]
CASES = [((2, 5, 1), SMALL), ((10, 50, 2), SMALL), ((100, 500, 10), MEDIUM), ((1000, 5000, 20), BIG)]
LARGE = [((4096, 16384, 64), BIG)]
SECONDS = 0.6  # per measurement, after one warm-up call


def best(call: Callable[[], object]) -> float:
    """Least CPU time of one call, in seconds; a sample repeats the call until the clock resolves it."""
    call()
    start = time.process_time()
    call()
    once = max(time.process_time() - start, 1e-6)
    inner = max(1, math.ceil(2e-3 / once))
    rounds = max(3, min(50, math.ceil(SECONDS / (inner * once))))
    found = []
    for _ in range(rounds):
        start = time.process_time()
        for _ in range(inner):
            call()
        found.append((time.process_time() - start) / inner)
    return min(found)


def hand(x: Tensor, y: Tensor, m: int) -> Callable[[Tensor], tuple[Tensor, Tensor]]:
    """Analytic value and gradient, batch first; the three sums over samples are one product each."""
    n, d = x.shape
    extended = torch.cat([x, torch.ones(n, 1, dtype=x.dtype)], dim=1)

    def single(theta: Tensor) -> tuple[Tensor, Tensor]:
        a = theta[:m]
        w = torch.cat([theta[m : m + m * d].view(m, d), theta[m + m * d :].view(m, 1)], dim=1)
        h = torch.mm(extended, w.T).tanh_()
        e = torch.mv(h, a).sub_(y)
        r = e / n
        grad_a = torch.mv(h.T, r)
        h.square_().neg_().add_(1).mul_(a).mul_(r[:, None])
        grad_w = torch.mm(h.T, extended)
        gradient = torch.cat([grad_a, grad_w[:, :d].reshape(-1), grad_w[:, d]])
        return torch.dot(e, e) / (2 * n), gradient

    def batch(theta: Tensor) -> tuple[Tensor, Tensor]:
        count = len(theta)
        a = theta[:, :m]
        w = torch.cat([theta[:, m : m + m * d].view(count, m, d), theta[:, m + m * d :].unsqueeze(2)], dim=2)
        h = torch.matmul(extended, w.mT).tanh_()
        e = torch.matmul(h, a.unsqueeze(2)).squeeze(2).sub_(y)
        r = e / n
        grad_a = torch.matmul(h.mT, r.unsqueeze(2)).squeeze(2)
        h.square_().neg_().add_(1).mul_(a[:, None, :]).mul_(r[:, :, None])
        grad_w = torch.matmul(h.mT, extended)
        gradient = torch.cat([grad_a, grad_w[:, :, :d].reshape(count, -1), grad_w[:, :, d]], dim=1)
        return (e * e).sum(dim=1) / (2 * n), gradient

    return lambda theta: single(theta[0]) if len(theta) == 1 else batch(theta)


def automatic(x: Tensor, y: Tensor, m: int) -> Callable[[Tensor], tuple[Tensor, Tensor]]:
    """torch.func.grad_and_value of the plain network."""
    d = x.shape[1]

    def risk(theta: Tensor) -> Tensor:
        a, w, b = theta[:m], theta[m : m + m * d].view(m, d), theta[m + m * d :]
        return (torch.tanh(x @ w.T + b) @ a - y).square().mean() / 2

    one = torch.func.grad_and_value(risk)
    many = torch.func.vmap(one)

    def call(theta: Tensor) -> tuple[Tensor, Tensor]:
        gradient, value = one(theta[0]) if len(theta) == 1 else many(theta)
        return value, gradient

    return call


def unrolled(x: Tensor, y: Tensor, m: int) -> Callable[[Tensor], tuple[Tensor, Tensor]]:
    """The scalar expression, differentiated by SymPy and printed with common subexpressions."""
    n, d = x.shape
    theta = sympy.symbols(f"t0:{m * (d + 2)}")
    risk = sympy.Integer(0)
    for row, target in zip(x.tolist(), y.tolist(), strict=True):
        f = sum(
            theta[k] * sympy.tanh(sum(theta[m + k * d + j] * row[j] for j in range(d)) + theta[m + m * d + k])
            for k in range(m)
        )
        risk += (f - target) ** 2 / (2 * n)
    function = sympy.lambdify(theta, [risk, *[risk.diff(t) for t in theta]], modules=torch, cse=True)

    def call(points: Tensor) -> tuple[Tensor, Tensor]:
        value, *gradient = function(*points.unbind(1))
        return value, torch.stack(gradient, dim=1)

    return call


def agree(name: str, found: tuple[Tensor, ...], wanted: tuple[Tensor, ...]) -> None:
    """A rival that computes something else is no rival."""
    for left, right in zip(found, wanted, strict=True):
        error = float((left.reshape(right.shape) - right).abs().max() / right.abs().max())
        if not error < 1e-10:
            sys.exit(f"{name} disagrees with the compiled system: relative error {error:.2g}")


def machine() -> str:
    """Processor, versions and threads."""
    try:
        text = Path("/proc/cpuinfo").read_text(encoding="utf-8")
        cpu = next(line.split(":")[1].strip() for line in text.splitlines() if line.startswith("model name"))
    except (OSError, StopIteration):
        cpu = platform.processor() or platform.machine()
    return (
        f"{cpu}, Python {platform.python_version()}, PyTorch {torch.__version__}, SymPy {sympy.__version__}, "
        f"{torch.get_num_threads()} thread"
    )


def measure(size: tuple[int, int, int], batch: int) -> str:
    """One row of the table."""
    m, n, d = size
    generator = torch.Generator().manual_seed(0)
    x, y = (torch.randn(*s, generator=generator, dtype=torch.float64) for s in ((n, d), (n,)))
    problem = Problem.two_layer("tanh", "square", input_bias=True)
    system: CompiledSystem = compile_system(problem, x, y, m)
    theta = torch.randn(batch, system.P, generator=generator, dtype=torch.float64) / math.sqrt(m)
    wanted = system.value_gradient(theta)
    ours = best(lambda: system.value_gradient(theta))
    cells = [f"({m}, {n}, {d})", str(batch), f"{ours * 1e3:.3g}"]
    rivals: list[tuple[str, Callable[..., Callable[[Tensor], tuple[Tensor, Tensor]]]]] = [
        ("hand", hand),
        ("autograd", automatic),
        ("lambdify", unrolled),
    ]
    for name, make in rivals:
        if name == "lambdify" and m * n > 100:
            cells.append("-")
            continue
        call = make(x, y, m)
        with torch.no_grad():
            agree(name, call(theta), wanted)
            cells.append(f"{ours / best(lambda call=call: call(theta)):.2f}")  # type: ignore[misc]
    return "| " + " | ".join(cells) + " |"


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description="Value and gradient against other ways to compute them.")
    parser.add_argument(
        "--large", action="store_true", help="also (m, n, d) = (4096, 16384, 64): 2 GB and minutes"
    )
    large = parser.parse_args().large
    torch.set_num_threads(1)
    print("## Value and gradient\n")
    print(f"{machine()}; float64, CPU time.\n")
    print(
        "Time of the compiled system, and its ratio to each rival (below 1: the compiled system is faster).\n"
    )
    print("| (m, n, d) | points | compiled, ms | / hand | / autograd | / lambdify |")
    print("|---|---|---|---|---|---|")
    for size, batches in CASES + (LARGE if large else []):
        for batch in batches:
            print(measure(size, batch), flush=True)


if __name__ == "__main__":
    main()
