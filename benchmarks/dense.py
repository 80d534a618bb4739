"""Value, gradient and Hessian of small networks at very many points, and what it takes to have the code at all.

    python benchmarks/dense.py [--points 100000] [--device cuda]

The network is f(x) = sum_k a_k tanh(w_k . x + b_k) with half the mean squared error.  Rivals, left out with a sentence
where they are not installed (``pip install -e '.[bench]'``) or cannot run on the device:

* ``torch.func``: vmap of value, gradient and hessian together, in chunks of 2000 points, timed on a tenth of the points;
* ``symengine``: the unrolled scalar expressions, common subexpressions shared, through LLVM;
* ``numba``: loops over points, samples and neurons by hand, upper triangle only, jitted with fast arithmetic.

The second table is the code itself: seconds until the first gradient and Hessian of a size, from nothing and from the
cache on disk, against unrolling the scalar expression as ``lambdify`` and its kin need it.
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
import time
import warnings
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path

import sympy
import torch
from _timing import agree, compare, device_of, machine, peak_mib, shown
from torch import Tensor

from derivations.problem import Problem
from numerics.compile import compile_system

Size = tuple[int, int, int]
Three = tuple[Tensor, Tensor, Tensor]
CASES: list[Size] = [(1, 5, 1), (2, 5, 1), (2, 5, 2), (3, 7, 2), (4, 21, 1)]
UNROLLED: list[Size] = [(1, 5, 1), (2, 5, 1), (4, 21, 1), (10, 50, 2)]
RIVALS = ("torch.func", "symengine", "numba")
MOST_SECONDS = 20  # after which unrolling is given up
PROBLEM = Problem.two_layer("tanh", "square", input_bias=True)
ROOT = Path(__file__).resolve().parent.parent


def data(size: Size, points: int, dtype: torch.dtype, device: str) -> tuple[Tensor, Tensor, Tensor]:
    m, n, d = size
    generator = torch.Generator().manual_seed(0)
    shapes = ((n, d), (n,), (points, m * (d + 2)))
    x, y, theta = (torch.randn(*s, generator=generator, dtype=dtype).to(device) for s in shapes)
    return x, y, theta


# -- rivals ----------------------------------------------------------------------------------------------------------


def by_functions(x: Tensor, y: Tensor, m: int) -> Callable[[Tensor], Three]:
    d = x.shape[1]

    def risk(theta: Tensor) -> Tensor:
        a, w, b = theta[:m], theta[m : m + m * d].view(m, d), theta[m + m * d :]
        return (torch.tanh(x @ w.T + b) @ a - y).square().mean() / 2

    each = lambda u: (risk(u), torch.func.grad(risk)(u), torch.func.hessian(risk)(u))  # noqa: E731
    return torch.func.vmap(each, chunk_size=2000)


def scalar_risk(library: object, x: Tensor, y: Tensor, m: int) -> tuple[list[object], object]:
    """The risk as one scalar expression of SymPy or symengine, and its parameters."""
    n, d = x.shape
    theta = [library.Symbol(f"t{j}") for j in range(m * (d + 2))]  # type: ignore[attr-defined]
    total = library.Integer(0)  # type: ignore[attr-defined]
    for row, target in zip(x.tolist(), y.tolist(), strict=True):
        f = sum(
            theta[k]
            * library.tanh(sum(theta[m + k * d + j] * row[j] for j in range(d)) + theta[m + m * d + k])  # type: ignore[attr-defined]
            for k in range(m)
        )
        total += (f - target) ** 2 / (2 * n)
    return theta, total


def by_symengine(x: Tensor, y: Tensor, m: int) -> Callable[[Tensor], Three]:
    import symengine

    theta, risk = scalar_risk(symengine, x, y, m)
    gradient = [risk.diff(t) for t in theta]  # type: ignore[attr-defined]
    hessian = [[g.diff(t) for t in theta] for g in gradient]
    backend = "llvm" if symengine.have_llvm else "lambda"
    call = symengine.Lambdify(theta, [risk], gradient, hessian, cse=True, backend=backend)

    def three(points: Tensor) -> Three:
        value, first, second = call(points.numpy())
        return torch.from_numpy(value)[:, 0], torch.from_numpy(first), torch.from_numpy(second)

    return three


def by_numba(x: Tensor, y: Tensor, m: int) -> Callable[[Tensor], Three]:
    import numba
    import numpy

    inputs, targets = x.numpy(), y.numpy()
    n, d = inputs.shape
    size = m * (d + 2)

    @numba.njit(fastmath=True)
    def loops(points, value, gradient, hessian):  # type: ignore[no-untyped-def]
        jac = numpy.empty(size)
        second = numpy.empty(m)
        for p in range(len(points)):
            theta, hess, grad, total = points[p], hessian[p], gradient[p], 0.0
            for i in range(n):
                f = 0.0
                for k in range(m):
                    z = theta[m + m * d + k]
                    for j in range(d):
                        z += theta[m + k * d + j] * inputs[i, j]
                    h = numpy.tanh(z)
                    s = 1.0 - h * h
                    f += theta[k] * h
                    jac[k] = h
                    jac[m + m * d + k] = theta[k] * s
                    for j in range(d):
                        jac[m + k * d + j] = theta[k] * s * inputs[i, j]
                    second[k] = s
                r = (f - targets[i]) / n
                total += r * r
                for u in range(size):
                    grad[u] += r * jac[u]
                    for v in range(u, size):
                        hess[u, v] += jac[u] * jac[v] / n
                for k in range(m):
                    s, h, b = second[k], jac[k], m + m * d + k
                    curved = -2.0 * h * s * theta[k] * r
                    hess[k, b] += r * s
                    hess[b, b] += curved
                    for j in range(d):
                        w = m + k * d + j
                        hess[k, w] += r * s * inputs[i, j]
                        hess[w, b] += curved * inputs[i, j]
                        for q in range(j, d):
                            hess[w, m + k * d + q] += curved * inputs[i, j] * inputs[i, q]
            value[p] = total * n / 2
            for u in range(size):
                for v in range(u):
                    hess[u, v] = hess[v, u]

    def three(points: Tensor) -> Three:
        count = len(points)
        results = (
            numpy.zeros(count, inputs.dtype),
            numpy.zeros((count, size), inputs.dtype),
            numpy.zeros((count, size, size), inputs.dtype),
        )
        loops(points.numpy(), *results)
        value, gradient, hessian = map(torch.from_numpy, results)
        return value, gradient, hessian

    return three


def dense_row(size: Size, points: int, dtype: torch.dtype, device: str) -> str:
    """One row: our function, plain and through torch.compile, against the rivals."""
    m = size[0]
    x, y, theta = data(size, points, dtype, device)
    system = compile_system(PROBLEM, x, y, m, dtype=dtype, device=device)
    memory = peak_mib(lambda: system.value_gradient_hessian(theta), device)
    results = sum(u.numel() * u.element_size() for u in system.value_gradient_hessian(theta)) / 2**20
    rivals = {"torch.func": by_functions(x, y, m)}
    if device == "cpu":
        if find_spec("symengine") and dtype == torch.float64:
            rivals["symengine"] = by_symengine(x, y, m)
        if find_spec("numba"):
            rivals["numba"] = by_numba(x, y, m)
    if dtype == torch.float64 and (device != "cpu" or shutil.which("g++")):  # half a minute for each
        fast = compile_system(PROBLEM, x, y, m, dtype=dtype, device=device, torch_compile=True)
        rivals["compiled"] = fast.value_gradient_hessian
    few = theta[:1000]
    wanted = rivals["torch.func"](few)
    for name, call in {"ours": system.value_gradient_hessian, **rivals}.items():
        for found, right in zip(call(few), wanted, strict=True):
            agree(name, found, right)
    calls = [lambda: system.value_gradient_hessian(theta)]
    tenth = theta[: max(1, points // 10)]
    for name, call in rivals.items():
        calls.append(lambda call=call, at=tenth if name == "torch.func" else theta: call(at))  # type: ignore[misc]
    ours, ratios = compare(calls, device)
    found = dict(zip(rivals, ratios, strict=True))
    found["torch.func"] = found["torch.func"].scaled(len(tenth) / points)
    cells = [shown(found.get(name)) for name in RIVALS]
    quick = "-" if "compiled" not in found else f"{ours / found['compiled'] / points * 1e6:.2f}"
    over = [
        shown(found[name] / found["compiled"]) if {name, "compiled"} <= set(found) else "-" for name in RIVALS
    ]
    kind = str(dtype).removeprefix("torch.")
    row = [
        str(size),
        m * (size[2] + 2),
        kind,
        f"{ours / points * 1e6:.2f}",
        *cells,
        quick,
        *over,
        memory,
        f"{results:.0f}",
    ]
    return f"| {' | '.join(map(str, row))} |"


# -- the code itself -------------------------------------------------------------------------------------------------

FIRST = """
import sys, time, torch
from derivations.problem import Problem
from numerics.compile import compile_system
torch.set_num_threads(1)
m, n, d = map(int, sys.argv[1:])
x, y = torch.ones(n, d, dtype=torch.float64), torch.ones(n, dtype=torch.float64)
start = time.process_time()
system = compile_system(Problem.two_layer("tanh", "square", input_bias=True), x, y, m)
system._function("value_gradient_hessian", "one")
print(time.process_time() - start)
"""


def seconds_to_first(size: Size, folder: str) -> float:
    """CPU time until a new process has value, gradient and Hessian as a function: derived, lowered, executed."""
    environment = os.environ | {"WORKBENCH_CODE_CACHE": folder, "PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-c", FIRST, *map(str, size)]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    return float(done.stdout)


def seconds_unrolled(size: Size) -> str:
    """CPU time to differentiate the scalar expression twice and print it with common subexpressions."""
    x, y, _ = data(size, 1, torch.float64, "cpu")
    start = time.process_time()
    theta, risk = scalar_risk(sympy, x, y, size[0])
    gradient, hessian = [], []
    for row, t in enumerate(theta):
        gradient.append(risk.diff(t))  # type: ignore[attr-defined]
        for u in theta[row:]:
            hessian.append(gradient[-1].diff(u))
            if time.process_time() - start > MOST_SECONDS:
                return f"over {MOST_SECONDS}, given up"
    sympy.lambdify(theta, [risk, *gradient, *hessian], modules="math", cse=True)
    return f"{time.process_time() - start:.2f}"


def code_row(size: Size) -> str:
    """One row: our time from nothing and from the cache, and the time to unroll."""
    with tempfile.TemporaryDirectory() as folder:
        cold, warm = seconds_to_first(size, folder), seconds_to_first(size, folder)
    unrolled = seconds_unrolled(size) if size in UNROLLED else "-"
    return f"| {size} | {cold * 1e3:.0f} | {warm * 1e3:.1f} | {unrolled} |"


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(
        description="Dense Hessians at many points, and the time to have the code."
    )
    parser.add_argument("--points", type=int, default=100_000, help="100000 by default")
    arguments = device_of(parser)
    device, points = arguments.device, arguments.points
    warnings.simplefilter("ignore")  # rivals and compilers warn of their own deprecations
    print("## Small networks at many points\n")
    print(f"{machine(device)}; {points} points.\n")
    for name in ("symengine", "numba"):
        if not find_spec(name):
            print(f"{name} is not installed here: `pip install -e '.[bench]'` adds that column.\n")
    print(
        "Value, gradient and Hessian in one call: microseconds for a point, ratios to the rivals (below 1: ours is faster),"
    )
    print(
        "the same through `torch.compile` (float64 only) with its ratios to the rivals, and the growth of memory in one call of which the"
    )
    print("results are the last column.\n")
    heads = ["(m, n, d)", "P", "dtype", "ours, us", "/ torch.func", "/ symengine", "/ numba", "compiled, us"]
    heads += [*(f"compiled / {name}" for name in RIVALS), "memory, MiB", "results, MiB"]
    print(f"| {' | '.join(heads)} |")
    print("|" + "---|" * len(heads))
    for size in CASES:
        for dtype in (torch.float64, torch.float32):
            print(dense_row(size, points, dtype, device), flush=True)
    print(
        "\nMilliseconds of CPU time until value, gradient and Hessian are a function: derived, lowered and executed in a new"
    )
    print(
        "process, and read back from the cache on disk; seconds to differentiate the unrolled expression and print it, as"
    )
    print("`lambdify` and sympytorch need it.\n")
    print("| (m, n, d) | from nothing, ms | from the cache, ms | unrolled, s |")
    print("|---|---|---|---|")
    for size in [*UNROLLED, (1000, 5000, 20)]:
        print(code_row(size), flush=True)


if __name__ == "__main__":
    main()
