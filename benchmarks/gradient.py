"""Gradients and Hessians of a compiled network against what else one could run, as ratios of CPU time in one process.

    python benchmarks/gradient.py [--device cuda]

The network is f(x) = sum_k a_k tanh(w_k . x + b_k) with half the mean squared error.  Rivals:

* ``hand``: the analytic gradient written by hand in matrix products: the faster of the ways below, in each row;
* ``autograd``: torch.func.grad of the same network, vmap over it for a batch of points;
* ``lambdify``: the unrolled scalar gradient through SymPy's common-subexpression printer, small sizes only.

A ratio below 1 means that the compiled system is faster.  Calls are interleaved on one thread: each round times every
rival once, after a call that is not timed, and a ratio is the median over rounds.  A second table puts both sides through
``torch.compile``.
"""

from __future__ import annotations

import argparse
import math
import shutil
import warnings
from collections.abc import Callable

import sympy
import torch
from _timing import agree, compare, device_of, machine, peak_mib, shown
from torch import Tensor

from derivations.problem import Problem
from numerics.compile import CompiledSystem, compile_system

Gradient = Callable[[Tensor], Tensor]
Size = tuple[int, int, int]

MANY, ONE = [1, 100, 10_000], [1]
CASES = [
    *(((2, 5, 1), MANY), ((10, 50, 2), MANY), ((100, 500, 10), MANY)),
    *(((1000, 5000, 20), ONE), ((4096, 16384, 64), ONE)),
]
SECOND_ORDER = [
    ((3, 21, 1), 1, torch.float64),
    ((3, 21, 1), 100, torch.float64),
    ((3, 21, 1), 2000, torch.float64),
    ((3, 21, 1), 2000, torch.float32),
    ((20, 100, 5), 1, torch.float64),
    ((100, 500, 10), 1, torch.float64),
]
COMPILED = [
    ((2, 5, 1), 1, torch.float64),
    ((2, 5, 1), 10_000, torch.float64),
    ((10, 50, 2), 100, torch.float64),
    ((10, 50, 2), 100, torch.float32),
    ((100, 500, 10), 1, torch.float64),
]
LIMIT = 400_000_000  # bytes of the n x m array over all points beyond which rivals get a part of the points
PROBLEM = Problem.two_layer("tanh", "square", input_bias=True)


# -- rivals ----------------------------------------------------------------------------------------------------------


def hand_extended(x: Tensor, y: Tensor, m: int) -> Gradient:
    """Weights and biases in one product; the gradient as (d + 1, m), whose long rows are the faster way round."""
    n, d = x.shape
    extended = torch.cat([x, x.new_ones(n, 1)], dim=1)

    def gradient(theta: Tensor) -> Tensor:
        a = theta[:m]
        w = torch.cat([theta[m : m + m * d].view(m, d), theta[m + m * d :].view(m, 1)], dim=1)
        h = torch.mm(extended, w.T).tanh_()
        r = torch.mv(h, a).sub_(y).div_(n)
        grad_a = torch.mv(h.T, r)
        h.square_().neg_().add_(1).mul_(a).mul_(r[:, None])
        grad_w = torch.mm(extended.T, h)
        return torch.cat([grad_a, grad_w[:d].T.reshape(-1), grad_w[d]])

    return gradient


def hand_plain(x: Tensor, y: Tensor, m: int) -> Gradient:
    """The formulas as they stand in a paper, with few calls."""
    n, d = x.shape

    def gradient(theta: Tensor) -> Tensor:
        a, w, b = theta[:m], theta[m : m + m * d].view(m, d), theta[m + m * d :]
        h = torch.addmm(b, x, w.T).tanh_()
        r = torch.mv(h, a).sub_(y).div_(n)
        delta = torch.outer(r, a).mul_(1 - h * h)
        return torch.cat([torch.mv(h.T, r), torch.mm(delta.T, x).view(-1), delta.sum(0)])

    return gradient


def hand_batch(x: Tensor, y: Tensor, m: int) -> Gradient:
    """Batched matrix products over the points."""
    n, d = x.shape
    extended = torch.cat([x, x.new_ones(n, 1)], dim=1)

    def gradient(theta: Tensor) -> Tensor:
        count, a = len(theta), theta[:, :m]
        w = torch.cat([theta[:, m : m + m * d].view(count, m, d), theta[:, m + m * d :].unsqueeze(2)], dim=2)
        h = torch.matmul(extended, w.mT).tanh_()
        r = torch.matmul(h, a.unsqueeze(2)).squeeze(2).sub_(y).div_(n)
        grad_a = torch.matmul(h.mT, r.unsqueeze(2)).squeeze(2)
        h.square_().neg_().add_(1).mul_(a[:, None, :]).mul_(r[:, :, None])
        grad_w = torch.matmul(h.mT, extended)
        return torch.cat([grad_a, grad_w[:, :, :d].reshape(count, -1), grad_w[:, :, d]], dim=1)

    return gradient


def risk_of(x: Tensor, y: Tensor, m: int) -> Callable[[Tensor], Tensor]:
    """The plain network, for autograd."""
    d = x.shape[1]

    def risk(theta: Tensor) -> Tensor:
        a, w, b = theta[:m], theta[m : m + m * d].view(m, d), theta[m + m * d :]
        return (torch.tanh(x @ w.T + b) @ a - y).square().mean() / 2

    return risk


def unrolled(x: Tensor, y: Tensor, m: int) -> Gradient:
    """The scalar expression, differentiated by SymPy and printed with common subexpressions; points (B, P)."""
    n, d = x.shape
    theta = sympy.symbols(f"t0:{m * (d + 2)}")
    risk = sympy.Integer(0)
    for row, target in zip(x.tolist(), y.tolist(), strict=True):
        f = sum(
            theta[k] * sympy.tanh(sum(theta[m + k * d + j] * row[j] for j in range(d)) + theta[m + m * d + k])
            for k in range(m)
        )
        risk += (f - target) ** 2 / (2 * n)
    function = sympy.lambdify(theta, [risk.diff(t) for t in theta], modules=torch, cse=True)
    return lambda points: torch.stack(function(*points.unbind(-1)), dim=-1)


# -- tables ----------------------------------------------------------------------------------------------------------


def setting(
    size: Size, batch: int, dtype: torch.dtype, device: str, **options: bool
) -> tuple[CompiledSystem, Tensor, Tensor, Tensor]:
    """Return the compiled system, the data, and points: (P,) for one, (B, P) for more."""
    m, n, d = size
    generator = torch.Generator().manual_seed(0)
    x, y = (torch.randn(*s, generator=generator, dtype=dtype).to(device) for s in ((n, d), (n,)))
    system = compile_system(PROBLEM, x, y, m, dtype=dtype, device=device, **options)
    theta = torch.randn(*([batch] if batch > 1 else []), system.P, generator=generator, dtype=dtype)
    return system, x, y, theta.to(device) / math.sqrt(m)


def gradient_row(size: Size, batch: int, dtype: torch.dtype, device: str) -> str:
    """One row of the table of gradients."""
    m, n, _ = size
    system, x, y, theta = setting(size, batch, dtype, device)
    memory = peak_mib(lambda: system.gradient(theta), device)
    wanted = system.gradient(theta)
    rivals: dict[str, Gradient] = {}
    share = min(batch, max(1, LIMIT // (m * n * x.element_size())))
    part = theta if share == batch else theta[:share]
    automatic = torch.func.grad(risk_of(x, y, m))
    if batch == 1:
        rivals = {"hand 1": hand_extended(x, y, m), "hand 2": hand_plain(x, y, m), "autograd": automatic}
    else:
        rivals = {"hand": hand_batch(x, y, m), "autograd": torch.func.vmap(automatic)}
    if m * n <= 100:
        rivals["lambdify"] = unrolled(x, y, m)
    for name, call in rivals.items():
        agree(name, call(part), wanted[:share] if batch > 1 else wanted)
    calls = [lambda: system.gradient(theta), *(lambda call=call: call(part) for call in rivals.values())]
    ours, ratios = compare(calls, device)
    found = {name: u.scaled(share / batch) for name, u in zip(rivals, ratios, strict=True)}
    hand = max((u for name, u in found.items() if name.startswith("hand")), default=None)
    cells = [hand, found.get("autograd"), found.get("lambdify")]
    kind = str(dtype).removeprefix("torch.")
    row = [str(size), kind, str(batch), f"{ours * 1e3:.3g}", *map(shown, cells), memory]
    return f"| {' | '.join(row)} |"


def compiled_row(size: Size, batch: int, dtype: torch.dtype, device: str) -> str:
    """One row with torch.compile on both sides, and our function without it."""
    m = size[0]
    system, x, y, theta = setting(size, batch, dtype, device, torch_compile=True)
    plain = compile_system(PROBLEM, x, y, m, dtype=dtype, device=device)
    by_hand = [hand_extended(x, y, m), hand_plain(x, y, m)] if batch == 1 else [hand_batch(x, y, m)]
    rivals: list[Gradient] = [torch.compile(call) for call in by_hand]
    rivals.append(torch.compile(torch.func.grad(risk_of(x, y, m))) if batch == 1 else plain.gradient)
    wanted = plain.gradient(theta)
    with warnings.catch_warnings():  # the compiler warns of its own deprecations
        warnings.simplefilter("ignore")
        for call in (system.gradient, *rivals):
            agree("torch.compile", call(theta), wanted)
    calls = [lambda: system.gradient(theta), *(lambda call=call: call(theta) for call in rivals)]
    ours, ratios = compare([*calls, lambda: plain.gradient(theta)], device)
    cells = [max(ratios[: len(by_hand)]), ratios[len(by_hand)] if batch == 1 else None, ratios[-1]]
    kind = str(dtype).removeprefix("torch.")
    return f"| {' | '.join([str(size), kind, str(batch), f'{ours * 1e3:.3g}', *map(shown, cells)])} |"


def second_order_rows(size: Size, batch: int, dtype: torch.dtype, device: str) -> str:
    """One row: value, gradient and Hessian, and a Hessian-vector product, against torch.func."""
    m = size[0]
    system, x, y, theta = setting(size, batch, dtype, device)
    risk = risk_of(x, y, m)
    whole = lambda u: (risk(u), torch.func.grad(risk)(u), torch.func.hessian(risk)(u))  # noqa: E731
    product = lambda u, v: torch.func.jvp(torch.func.grad(risk), (u,), (v,))[1]  # noqa: E731
    if batch > 1:
        whole, product = torch.func.vmap(whole), torch.func.vmap(product)
    agree("torch.func", whole(theta)[2], system.hessian(theta))
    agree("torch.func", product(theta, theta), system.hvp(theta, theta))
    ours, (ratio,) = compare([lambda: system.value_gradient_hessian(theta), lambda: whole(theta)], device)
    fast, (other,) = compare([lambda: system.hvp(theta, theta), lambda: product(theta, theta)], device)
    kind = str(dtype).removeprefix("torch.")
    return f"| {size} | {kind} | {batch} | {ours * 1e3:.3g} | {shown(ratio)} | {fast * 1e3:.3g} | {shown(other)} |"


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description="Derivatives against other ways to compute them.")
    arguments = device_of(parser)
    device = arguments.device
    print("## Derivatives\n")
    print(f"{machine(device)}.\n")
    print(
        "Gradient: time of the compiled system, its ratio to each rival (below 1: the compiled system is faster),"
    )
    print(
        "with half the range of the middle half of the rounds, and the growth of memory in its first call, results and"
    )
    print(
        "generated code included.  Where n m points do not fit 0.4 GB, rivals are timed on a part of the points.\n"
    )
    print("| (m, n, d) | dtype | points | compiled, ms | / hand | / autograd | / lambdify | memory, MiB |")
    print("|---|---|---|---|---|---|---|---|")
    for dtype in (torch.float64, torch.float32):
        for size, batches in CASES:
            for batch in batches:
                print(gradient_row(size, batch, dtype, device), flush=True)
    print(
        "\nValue, gradient and Hessian together, and a Hessian-vector product, with ratios to `torch.func`.\n"
    )
    print("| (m, n, d) | dtype | points | with Hessian, ms | / torch.func | product, ms | / jvp of grad |")
    print("|---|---|---|---|---|---|---|")
    for size, batch, dtype in SECOND_ORDER:
        print(second_order_rows(size, batch, dtype, device), flush=True)
    print(
        "\nGradient with `torch.compile` on both sides: ratios to the compiled code by hand, to compiled autograd (one"
    )
    print("point), and to our own function without `torch.compile`.\n")
    if device == "cpu" and not shutil.which("g++"):
        print("There is no C++ compiler here.")
        return
    print("| (m, n, d) | dtype | points | ours, ms | / hand | / autograd | / without |")
    print("|---|---|---|---|---|---|---|")
    for size, batch, dtype in COMPILED:
        print(compiled_row(size, batch, dtype, device), flush=True)


if __name__ == "__main__":
    main()
