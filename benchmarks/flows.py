"""Gradient flows of many starts against other integrators, at equal measured error, in trajectories per CPU second.

    python benchmarks/flows.py [--starts N]

The network is f(x) = sum_k a_k tanh(w_k . x + b_k) with half the mean squared error.  Rivals, each at its best:

* ``torchdiffeq`` dopri5 and dopri8, all starts as one system, with the gradient written by hand in matrix products;
* ``torchode`` dopri5, a step size for each start, the same gradient;
* ``diffrax`` Dopri5 and Dopri8 in JAX, vmap over ten starts and jit, the gradient by jax.grad (compilation is not timed);
* ``scipy`` LSODA, one start after the other, the gradient written by hand in numpy.

Ours is shown as it chooses by itself (at such tolerances order 8, then the stiff method), and held to Dormand-Prince 5(4), the
common pair of the rivals: the second row tells what the method brings and what the implementation.

Every method runs at several tolerances.  Its error is the largest error of a start in the maximum norm at the end, leaving out
the worst 5 % of the starts, which hang on saddles; the reference is a run at the tolerance 1e-12, which scipy's RK45, another
method, confirms on some starts.  The time is read off, log-linearly, where the error is that of our run at the tolerance
1e-8, which is timed anew before and after each rival.
What is not installed (``pip install 'landscape-workbench[bench]'``) is left out with a sentence.
"""

from __future__ import annotations

import argparse
import importlib.util
import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
import torch
from _timing import machine
from torch import Tensor

from derivations.problem import Problem
from numerics.compile import CompiledSystem, compile_system
from numerics.flow import integrate

F64 = torch.float64
TOLERANCE = 1e-8
LADDER = (1e-7, 1e-8, 1e-9, 1e-10)
PROBLEM = Problem.two_layer("tanh", "square", input_bias=True)
SPARED = 0.05  # of the starts, when errors are compared
LSODA_STARTS, CHECKED = 25, 3
TOGETHER = 10  # starts that diffrax takes at once: XLA compiles larger batches of this system for minutes

Solver = Callable[[float], Tensor]


@dataclass(frozen=True)
class Case:
    """Width, samples, inputs, end time, and the scales of the starts."""

    m: int
    n: int
    d: int
    until: float
    scales: tuple[float, float]

    def system(self) -> CompiledSystem:
        generator = torch.Generator().manual_seed(0)
        x = torch.randn(self.n, self.d, generator=generator, dtype=F64)
        y = torch.sin(2 * x[:, 0]) + 0.3 * torch.randn(self.n, generator=generator, dtype=F64)
        return compile_system(PROBLEM, x, y, self.m)

    def starts(self, count: int) -> Tensor:
        generator = torch.Generator().manual_seed(1)
        low, high = map(math.log, self.scales)
        scale = torch.exp(torch.linspace(low, high, count, dtype=F64))[:, None]
        size = self.m * (self.d + 2)
        return scale * torch.randn(count, size, generator=generator, dtype=F64)

    def __str__(self) -> str:
        scales = (
            "" if self.scales[0] == self.scales[1] else f", scales {self.scales[0]:g} to {self.scales[1]:g}"
        )
        return f"({self.m}, {self.n}, {self.d}) to T = {self.until:g}{scales}"


CASES = (Case(10, 50, 2, 20.0, (1.0, 1.0)), Case(3, 20, 1, 400.0, (0.003, 3.0)))


# -- the right-hand side by hand -----------------------------------------------------------------------------------------


def torch_rate(system: CompiledSystem, m: int) -> Callable[[Tensor], Tensor]:
    """Minus the gradient at points (B, P)."""
    x, y = system.x, system.y
    n, d = x.shape

    def rate(theta: Tensor) -> Tensor:
        a, w, b = theta[:, :m], theta[:, m : m + m * d].reshape(-1, m, d), theta[:, m + m * d :]
        h = torch.tanh(w @ x.T + b[:, :, None])
        r = ((a[:, None] @ h)[:, 0] - y) / n
        delta = a[:, :, None] * (1 - h * h) * r[:, None]
        return -torch.cat(
            [(h @ r[:, :, None])[:, :, 0], (delta @ x).reshape(len(theta), -1), delta.sum(2)], 1
        )

    return rate


def numpy_rate(system: CompiledSystem, m: int) -> Callable[[float, np.ndarray], np.ndarray]:
    """The same at one point."""
    x, y = system.x.numpy(), system.y.numpy()
    n, d = x.shape

    def rate(_: float, theta: np.ndarray) -> np.ndarray:
        a, w, b = theta[:m], theta[m : m + m * d].reshape(m, d), theta[m + m * d :]
        h = np.tanh(x @ w.T + b)
        r = (h @ a - y) / n
        delta = (1 - h * h) * a * r[:, None]
        return -np.concatenate([r @ h, (delta.T @ x).ravel(), delta.sum(0)])

    return rate


# -- solvers -------------------------------------------------------------------------------------------------------------


def ours(case: Case, system: CompiledSystem, start: Tensor, method: str = "auto") -> Solver:
    def solve(tolerance: float) -> Tensor:
        found = integrate(
            system.flow,
            start,
            case.until,
            jacobian=system.flow_jacobian,
            method=method,
            rtol=tolerance,
            atol=tolerance,
        )
        assert set(found.status) == {"finished"}
        return found.final_state

    return solve


def by_torchdiffeq(case: Case, system: CompiledSystem, start: Tensor, method: str = "dopri5") -> Solver:
    from torchdiffeq import odeint

    rate = torch_rate(system, case.m)
    times = torch.tensor([0.0, case.until], dtype=F64)

    def solve(tolerance: float) -> Tensor:
        with torch.no_grad():
            return odeint(lambda t, u: rate(u), start, times, rtol=tolerance, atol=tolerance, method=method)[
                -1
            ]

    return solve


def by_torchode(case: Case, system: CompiledSystem, start: Tensor) -> Solver:
    import torchode

    rate = torch_rate(system, case.m)
    term = torchode.ODETerm(lambda t, u: rate(u))
    method = torchode.Dopri5(term=term)
    begin = torch.zeros(len(start), dtype=F64)
    problem = torchode.InitialValueProblem(y0=start, t_start=begin, t_end=begin + case.until)

    def solve(tolerance: float) -> Tensor:
        controller = torchode.IntegralController(atol=tolerance, rtol=tolerance, term=term)
        with torch.no_grad():
            return torchode.AutoDiffAdjoint(method, controller).solve(problem).ys[:, -1]

    return solve


def by_diffrax(case: Case, system: CompiledSystem, start: Tensor, method: str = "Dopri5") -> Solver:
    import diffrax
    import jax

    jax.config.update("jax_enable_x64", True)
    import jax.numpy as jnp

    x, y, m, d = jnp.asarray(system.x.numpy()), jnp.asarray(system.y.numpy()), case.m, case.d

    def risk(theta, x, y):  # type: ignore[no-untyped-def]
        a, w, b = theta[:m], theta[m : m + m * d].reshape(m, d), theta[m + m * d :]
        return ((jnp.tanh(x @ w.T + b) @ a - y) ** 2).mean() / 2

    term = diffrax.ODETerm(lambda t, u, data: -jax.grad(risk)(u, *data))

    def one(u, tolerance, data):  # type: ignore[no-untyped-def]
        return diffrax.diffeqsolve(
            term,
            getattr(diffrax, method)(),
            0.0,
            case.until,
            None,
            u,
            data,
            stepsize_controller=diffrax.PIDController(rtol=tolerance, atol=tolerance),
            max_steps=None,
            adjoint=diffrax.ForwardMode()
            if hasattr(diffrax, "ForwardMode")
            else diffrax.RecursiveCheckpointAdjoint(),
        ).ys[-1]

    compiled = jax.jit(jax.vmap(one, (0, None, None)))
    assert len(start) % TOGETHER == 0, f"the number of starts must be a multiple of {TOGETHER}"
    parts = [jnp.asarray(part.numpy()) for part in start.split(TOGETHER)]
    compiled(parts[0], 1e-2, (x, y)).block_until_ready()

    def solve(tolerance: float) -> Tensor:
        ends = [np.array(compiled(part, tolerance, (x, y)).block_until_ready()) for part in parts]
        return torch.from_numpy(np.concatenate(ends))

    return solve


def by_scipy(case: Case, system: CompiledSystem, start: Tensor, method: str = "LSODA") -> Solver:
    from scipy.integrate import solve_ivp

    rate = numpy_rate(system, case.m)

    def solve(tolerance: float) -> Tensor:
        rows = [
            solve_ivp(rate, (0, case.until), u, method=method, rtol=max(tolerance, 3e-14), atol=tolerance).y[
                :, -1
            ]
            for u in start.numpy()
        ]
        return torch.from_numpy(np.stack(rows))

    return solve


RIVALS: dict[str, Callable[..., Solver]] = {
    "workbench, dopri5": partial(ours, method="dopri5"),
    "torchdiffeq, dopri5": by_torchdiffeq,
    "torchdiffeq, dopri8": partial(by_torchdiffeq, method="dopri8"),
    "torchode, dopri5": by_torchode,
    "diffrax, Dopri5": by_diffrax,
    "diffrax, Dopri8": partial(by_diffrax, method="Dopri8"),
    "scipy, LSODA": by_scipy,
}


# -- measuring -----------------------------------------------------------------------------------------------------------


def error(found: Tensor, reference: Tensor) -> float:
    """Error that all starts but the worst few keep."""
    each = (found - reference).abs().amax(1)
    return float(torch.quantile(each, 1 - SPARED))


def ladder(solve: Solver, reference: Tensor, tolerances: Sequence[float]) -> list[tuple[float, float]]:
    """Pairs (error, CPU seconds)."""
    pairs = []
    for tolerance in tolerances:
        began = time.process_time()
        found = solve(tolerance)
        pairs.append((error(found, reference), time.process_time() - began))
    return pairs


def seconds_at(target: float, pairs: Sequence[tuple[float, float]]) -> float:
    """CPU seconds at an error, log-linearly between two runs; beyond them the nearest one."""
    ordered = sorted(pairs)
    errors, seconds = np.log([max(e, 1e-300) for e, _ in ordered]), np.log([s for _, s in ordered])
    return float(np.exp(np.interp(math.log(target), errors, seconds)))


def table(case: Case, count: int) -> None:
    """Print the rows of one case."""
    system, start = case.system(), case.starts(count)
    solve = ours(case, system, start)
    solve(1e-3)
    reference = solve(1e-12)
    few = start[:: max(1, count // CHECKED)][:CHECKED]
    confirmed = by_scipy(case, system, few, "RK45")(1e-12)
    gap = float((confirmed - reference[:: max(1, count // CHECKED)][:CHECKED]).abs().max())
    ((target, spent),) = ladder(solve, reference, [TOLERANCE])
    rate = count / spent
    print(
        f"{count} starts of {case}: error {target:.1e} at the tolerance 1e-8 (the reference agrees with scipy's RK45 to {gap:.0e}).\n"
    )
    print("| integrator | trajectories per CPU second at that error | ours / rival |\n|---|---|---|")
    print(f"| workbench, auto | {rate:.3g} | 1 |", flush=True)
    missing = []
    for name, make in RIVALS.items():
        if importlib.util.find_spec(name.split(",")[0]) is None:
            missing.append(name)
            continue
        chosen = slice(None, None, max(1, count // LSODA_STARTS)) if make is by_scipy else slice(None)
        pairs = ladder(make(case, system, start[chosen]), reference[chosen], LADDER)
        ((_, again),) = ladder(solve, reference, [TOLERANCE])
        rate, spent = 2 * count / (spent + again), again
        theirs = len(start[chosen]) / seconds_at(target, pairs)
        outside = target < min(e for e, _ in pairs)
        note = " (at its smallest error)" if outside else ""
        print(f"| {name} | {theirs:.3g}{note} | {rate / theirs:.2f} |", flush=True)
    print()
    if missing:
        print(f"Not installed here: {'; '.join(missing)}.\n")


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description="Gradient flows against other integrators.")
    parser.add_argument("--starts", type=int, default=500, help="starts of each case")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    print("## Gradient flows\n")
    print(f"{machine('cpu')}.\n")
    for case in CASES:
        table(case, arguments.starts)


if __name__ == "__main__":
    main()
