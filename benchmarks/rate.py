"""Deep gradients and tangent kernels against other ways, and the rate of large gradients against a product of matrices.

    python benchmarks/rate.py [--device cuda]

Runs on a processor and, where PyTorch finds one, on a CUDA device.  Rivals: automatic differentiation of a network written by
hand for the gradient of deep networks; for the kernel the closed form in matrix products, and Jacobian times its transpose.
The rate of a gradient counts the 4 n m (d + 1) multiplications and additions of its matrix products only, as a share of the
rate that one large product of matrices reaches here in the same dtype.
"""

from __future__ import annotations

import argparse
import math
import time
from collections.abc import Callable

import torch
from _timing import agree, compare, device_of, machine, seconds, shown
from torch import Tensor

from derivations.problem import Problem
from numerics.compile import compile_system

Size = tuple[int, int, int]
PROBLEM = Problem.two_layer("tanh", "square", input_bias=True)
DEEP = {4: (50, 200, 10), 8: (50, 200, 10)}  # layers of weights to width, samples, inputs
KERNELS: list[Size] = [(100, 200, 10), (2000, 1000, 50)]
LARGE: list[Size] = [(1000, 5000, 20), (4096, 16384, 64)]
PRODUCT = {"cpu": 1024, "cuda": 8192}


def draw(
    generator: torch.Generator, dtype: torch.dtype, device: str, *shapes: tuple[int, ...]
) -> list[Tensor]:
    return [torch.randn(*s, generator=generator, dtype=dtype).to(device) for s in shapes]


def deep_row(depth: int, batch: int, device: str) -> str:
    """One row: gradient of a deep network at one point against autograd."""
    width, n, d = DEEP[depth]
    generator, f64 = torch.Generator().manual_seed(0), torch.float64
    x, y = draw(generator, f64, device, (n, d), (n,))
    system = compile_system(Problem.deep(depth, "tanh", "square"), x, y, [width] * (depth - 1), device=device)
    (theta,) = draw(generator, f64, device, (*([batch] if batch > 1 else []), system.P))
    theta = theta / math.sqrt(width)

    def risk(point: Tensor) -> Tensor:
        parts, h = system.unpack(point), x
        for layer in range(1, depth + 1):
            weights = parts[f"W{layer}"]
            z = h @ (weights.mT if layer < depth else weights) + parts[f"b{layer}"]
            h = torch.tanh(z) if layer < depth else z
        return (h - y).square().mean() / 2

    automatic = torch.func.grad(risk) if batch == 1 else torch.func.vmap(torch.func.grad(risk))
    agree("autograd", automatic(theta), system.gradient(theta))
    ours, (ratio,) = compare([lambda: system.gradient(theta), lambda: automatic(theta)], device)
    return (
        f"| {depth} layers of width {width}, n = {n}, d = {d} | {batch} | {ours * 1e3:.3g} | {shown(ratio)} |"
    )


def by_hand(x: Tensor, m: int) -> Callable[[Tensor], Tensor]:
    """The tangent kernel in closed form."""
    d, gram = x.shape[1], x @ x.T + 1

    def kernel(theta: Tensor) -> Tensor:
        a, w, b = theta[:m], theta[m : m + m * d].view(m, d), theta[m + m * d :]
        h = torch.addmm(b, x, w.T).tanh_()
        s = (1 - h * h).mul_(a)
        return torch.addmm((s @ s.T).mul_(gram), h, h.T)

    return kernel


def kernel_row(size: Size, device: str) -> str:
    """One row: tangent kernel against the closed form and against Jacobian times its transpose."""
    m, n, d = size
    generator, f64 = torch.Generator().manual_seed(0), torch.float64
    x, y, theta = draw(generator, f64, device, (n, d), (n,), (m * (d + 2),))
    theta = theta / math.sqrt(m)
    system, hand = compile_system(PROBLEM, x, y, m, device=device), by_hand(x, m)

    def product() -> Tensor:
        jacobian = system.jacobian(theta)
        return jacobian @ jacobian.T

    wanted = system.ntk(theta)
    agree("the closed form", hand(theta), wanted)
    calls: list[Callable[[], object]] = [lambda: system.ntk(theta), lambda: hand(theta)]
    if n * len(theta) <= 5e7:
        agree("the Jacobian", product(), wanted)
        calls.append(product)
    ours, ratios = compare(calls, device)
    return (
        f"| {size} | {ours * 1e3:.3g} | {shown(ratios[0])} | {shown(ratios[1]) if len(ratios) > 1 else '-'} |"
    )


def rate_row(size: Size, dtype: torch.dtype, device: str, reference: float) -> str:
    """One row: what a large gradient reaches of the rate of one product of matrices."""
    m, n, d = size
    generator = torch.Generator().manual_seed(0)
    x, y, theta = draw(generator, dtype, device, (n, d), (n,), (m * (d + 2),))
    system = compile_system(PROBLEM, x, y, m, dtype=dtype, device=device)
    point = theta / math.sqrt(m)
    took = min(seconds(lambda: system.gradient(point), 1, device) for _ in range(3))
    rate = 4 * n * m * (d + 1) / took
    kind = str(dtype).removeprefix("torch.")
    return f"| {size} | {kind} | {took * 1e3:.3g} | {rate / 1e9:.1f} | {100 * rate / reference:.0f} % |"


def product_rate(dtype: torch.dtype, device: str) -> float:
    """Operations a second in one large product of matrices."""
    size = PRODUCT["cuda" if device.startswith("cuda") else "cpu"]
    a = torch.ones(size, size, dtype=dtype, device=device)
    out = torch.empty_like(a)
    return 2 * size**3 / min(seconds(lambda: torch.mm(a, a, out=out), 3, device) for _ in range(3))


def small_row(device: str) -> str:
    """Small problems a second, in one call."""
    m, n, d, batch = 2, 5, 1, 100_000
    generator, f64 = torch.Generator().manual_seed(0), torch.float64
    x, y, theta = draw(generator, f64, device, (n, d), (n,), (batch, m * (d + 2)))
    system = compile_system(PROBLEM, x, y, m, device=device)
    took = min(seconds(lambda: system.gradient(theta), 1, device) for _ in range(3))
    return f"{batch} gradients of {(m, n, d)} in one call: {batch / took / 1e6:.2f} million a second."


def main() -> None:
    """Print the tables."""
    device, start = (
        device_of(argparse.ArgumentParser(description="Deep, kernels, rates.")).device,
        time.time(),
    )
    print("## Deep networks, tangent kernels, rates\n")
    print(f"{machine(device)}.\n")
    print("Gradient of deep networks, float64, over automatic differentiation (below 1: ours is faster).\n")
    print("| network | points | ours, ms | / autograd |\n|---|---|---|---|")
    for depth in DEEP:
        for batch in (1, 100):
            print(deep_row(depth, batch, device), flush=True)
    print("\nTangent kernel, float64, over the closed form by hand and over Jacobian times its transpose.\n")
    print("| (m, n, d) | ours, ms | / by hand | / J J^T |\n|---|---|---|---|")
    for size in KERNELS:
        print(kernel_row(size, device), flush=True)
    rates = {dtype: product_rate(dtype, device) for dtype in (torch.float64, torch.float32)}
    shown_rates = ", ".join(f"{v / 1e9:.0f} in {str(k).removeprefix('torch.')}" for k, v in rates.items())
    print(f"\nGradients at one point; one product of matrices reaches, in GFLOP/s here: {shown_rates}.\n")
    print("| (m, n, d) | dtype | ms | GFLOP/s | of the product |\n|---|---|---|---|---|")
    for size in LARGE:
        for dtype, reference in rates.items():
            print(rate_row(size, dtype, device, reference), flush=True)
    print(f"\n{small_row(device)}")
    if not torch.cuda.is_available():
        print("\nThere is no CUDA device here; where there is one, `--device cuda` is the default.")
    print(f"\nTook {time.time() - start:.0f} s.")


if __name__ == "__main__":
    main()
