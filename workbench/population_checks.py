r"""Checks of a population risk by routes that share nothing with its compiled form.

Interval, piecewise polynomial
    exact rational arithmetic (``derivations.interval_point``) at random points with three decimals.
Interval, smooth
    a hand-written network differentiated by autograd, integrated by the tanh-sinh rule.
Gaussian inputs
    the mean of a hand-written network over random inputs, within four standard errors, and central differences.

Where none of these applies (a formula without a hand-written form, a network too large for exact arithmetic), gradient and
Hessian are compared with extrapolated central differences of the value.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from sympy import Abs, Add, Expr, Integer, Max, Min, Mul, Pow, Symbol, cos, erf, exp, sin
from torch import Tensor

from derivations.activations import REGISTRY as ACTIVATIONS
from derivations.claim import Claim, Relation, Status
from derivations.functions import relu
from derivations.interval import IntervalProblem
from derivations.interval_point import interval_point
from derivations.losses import REGISTRY as REGISTERED_LOSSES
from numerics.compile import CompiledSystem
from numerics.interval_system import IntervalSystem
from numerics.population_system import PopulationSystem
from numerics.reference import LOSSES, Reference
from numerics.tolerances import MONTE_CARLO_SIGMAS, same_formula
from workbench.results import CriticalPoint
from workbench.verify import STATEMENTS, by_differences, compare, compiled_at, hand_written

__all__ = ["affine_levels", "check_population", "level_claims"]

#: Parameters up to which a point is computed in exact rational arithmetic: seconds for all points.
MOST_EXACT = 16
EXACT = "exact rational arithmetic"
TANH_SINH = "automatic differentiation of an independently written network under the tanh-sinh rule"
#: Steps of the tanh-sinh rule to either side, and their length: doubling the steps changes nothing for |w| up to 10.
STEPS, LENGTH = 400, 0.01
#: Random inputs of a Gaussian mean.
SAMPLES = 100_000
#: Relative distance of a critical value from one of the theorem: Newton's method leaves 1e-14.
LEVEL = 1e-9


def check_population(system: CompiledSystem, *, seed: int = 0, points: int = 4) -> list[Claim]:
    """Outputs, value, gradient, Hessian and Hessian-vector product at random points, standard Gaussian to three decimals.

    Raises
    ------
    ValueError
        If the system is not one of a population, or ``points`` < 1.
    """
    if not isinstance(system, IntervalSystem | PopulationSystem):
        raise ValueError(f"a population is checked, got a system of {system.problem.kind} samples")
    if points < 1:
        raise ValueError(f"points must be at least 1, got {points}")
    generator = torch.Generator().manual_seed(seed)
    draws = torch.randn(2, points, system.P, generator=generator, dtype=torch.float64)
    draws = (draws * 1000).round() / 1000
    theta, v = draws.to(dtype=system.dtype, device=system.device)
    derived = compiled_at(system, theta, v)
    evidence: dict[str, Any] = {
        "seed": seed,
        "points": points,
        "distribution": "standard normal, three decimals",
        "dtype": str(system.dtype),
        "integrals": system.integration,
    }
    network = hand_written(
        system, system.inputs.double(), system.inputs.new_zeros(len(system.inputs)).double(), reduction="sum"
    )
    claims = []
    if network is not None:
        other = "plain PyTorch network, at the inputs of the outputs"
        claims.append(
            compare(
                "outputs",
                STATEMENTS["outputs"],
                derived["outputs"],
                network.outputs(theta.double()),
                same_formula(system.dtype),
                evidence | {"oracle": other},
            )
        )
    oracle = _oracle(system, theta.double(), v.double())
    if oracle is not None:
        name, exact = oracle
        evidence["oracle"] = name
        for label in ("value", "gradient", "hessian", "hvp"):
            text = STATEMENTS[label]
            text = text.replace("that of an independently written network", "{other}").format(other=name)
            claims.append(
                compare(label, text, derived[label], exact[label], same_formula(system.dtype), evidence)
            )
        return claims
    if isinstance(system, PopulationSystem) and network is not None:
        claims.append(_by_sampling(system, theta, seed, evidence))
    why = "no independent integral of this risk"
    return claims + by_differences(system, _twin(system), theta, v, derived, evidence, why)


def _twin(system: IntervalSystem | PopulationSystem) -> IntervalSystem | PopulationSystem:
    """Return the system in float64."""
    if isinstance(system, PopulationSystem) or system.dtype == torch.float64:
        return system
    return IntervalSystem(system.interval, system.sizes["m"], device=system.device)


def _oracle(
    system: IntervalSystem | PopulationSystem, theta: Tensor, v: Tensor
) -> tuple[str, dict[str, Tensor]] | None:
    if not isinstance(system, IntervalSystem):
        return None
    if not system.interval.inexact and system.P <= MOST_EXACT:
        return EXACT, _exact(system, theta, v)
    if system.rule.moves or system.problem.activation is None or not system.problem.activation.is_smooth:
        return None
    x, weights = _tanh_sinh(system.rule.ends)
    target = system.interval.target
    y = torch.tensor([float(target.subs(system.interval.x, u)) for u in x.tolist()], dtype=torch.float64)
    network = hand_written(system, x[:, None], y, reduction="sum")
    if network is None:
        return None
    kappa = float(system.interval.weight)
    loss = LOSSES[str(network.loss)]
    summed = Reference(**vars(network) | {"loss": lambda f, y: weights * loss(f, y, 1.0), "factor": kappa})
    derivatives: dict[str, Callable[..., Tensor]] = {
        "value": summed.value,
        "gradient": summed.gradient,
        "hessian": summed.hessian,
    }
    exact = {name: function(theta) for name, function in derivatives.items()}
    return TANH_SINH, exact | {"hvp": summed.hvp(theta, v)}


def _exact(system: IntervalSystem, theta: Tensor, v: Tensor) -> dict[str, Tensor]:
    """Risk and derivatives by exact rational arithmetic; the points have three decimals."""
    found: dict[str, list[Any]] = {"value": [], "gradient": [], "hessian": []}
    for row in theta:
        blocks = {name: _decimals(part.tolist()) for name, part in system.unpack(row).items()}
        point = interval_point(system.interval, blocks)
        found["value"].append(float(point.value))
        found["gradient"].append([float(u) for u in point.gradient])
        found["hessian"].append([[float(u) for u in line] for line in point.hessian.tolist()])
    exact = {name: torch.tensor(rows, dtype=torch.float64) for name, rows in found.items()}
    return exact | {"hvp": (exact["hessian"] @ v[..., None])[..., 0]}


def _decimals(value: Any) -> Any:
    return [_decimals(u) for u in value] if isinstance(value, list) else f"{value:.3f}"


def _tanh_sinh(ends: tuple[float, ...]) -> tuple[Tensor, Tensor]:
    r"""Nodes :math:`\tanh(\tfrac{\pi}{2} \sinh t)` at equal steps in t on each part, with their weights."""
    t = torch.arange(-STEPS, STEPS + 1, dtype=torch.float64) * LENGTH
    t = t[t.abs() <= 3.2]  # beyond, weights are below rounding
    inner = math.pi / 2 * torch.sinh(t)
    nodes, slope = torch.tanh(inner), math.pi / 2 * torch.cosh(t) / torch.cosh(inner) ** 2
    found = [
        ((u + v) / 2 + (v - u) / 2 * nodes, (v - u) / 2 * slope * LENGTH) for u, v in itertools.pairwise(ends)
    ]
    return torch.cat([x for x, _ in found]), torch.cat([w for _, w in found])


def _by_sampling(system: PopulationSystem, theta: Tensor, seed: int, evidence: dict[str, Any]) -> Claim:
    """The closed form of the risk against the mean over random inputs of a hand-written network."""
    generator = torch.Generator().manual_seed(seed + 1)
    dimension = int(system.population.dimension)
    x = torch.randn(SAMPLES, dimension, generator=generator, dtype=torch.float64)
    y = _target(system, x)
    network = hand_written(system, x, y, reduction="mean")
    assert network is not None
    worst, computed, expected = 0.0, 0.0, 0.0
    losses = 0.5 * network.factor * (network.outputs(theta.cpu()) - y) ** 2
    decay = network.weight_decay / 2 * theta.cpu().square().sum(dim=1)
    means, errors = losses.mean(dim=1) + decay, losses.std(dim=1) / math.sqrt(SAMPLES)
    for found, mean, error in zip(system.value(theta).tolist(), means.tolist(), errors.tolist(), strict=True):
        distance = abs(found - mean) / error if error > 0 else 0.0 if abs(found - mean) < 1e-12 else math.inf
        if distance >= worst:
            worst, computed, expected = distance, found, mean
    return Claim(
        "derivation",
        "value",
        r"The closed form of $R(\theta)$ lies within four standard errors of the mean over random Gaussian inputs of an"
        " independently written network.",
        relation=Relation.AT_MOST,
        status=Status.SUPPORTED if worst <= MONTE_CARLO_SIGMAS else Status.REFUTED,
        computed=computed,
        expected=expected,
        residual=worst,
        tolerance=float(MONTE_CARLO_SIGMAS),
        evidence=evidence | {"samples": SAMPLES, "unit of the residual": "standard errors"},
    )


def _target(system: PopulationSystem, x: Tensor) -> Tensor:
    """The target at inputs, term by term."""
    columns = {symbol: x[:, j] for j, symbol in enumerate(system.population.x[: x.shape[1]])}
    return _values(system.population.target, columns) + torch.zeros_like(x[:, 0])


def _values(expr: Expr, columns: Mapping[Symbol, Tensor]) -> Tensor:
    if expr in columns:
        return columns[expr]
    if expr.is_number:
        return torch.tensor(float(expr), dtype=torch.float64)
    parts = [_values(u, columns) for u in expr.args]
    if isinstance(expr, Add):
        return torch.stack(torch.broadcast_tensors(*parts)).sum(dim=0)
    if isinstance(expr, Mul):
        return torch.stack(torch.broadcast_tensors(*parts)).prod(dim=0)
    if isinstance(expr, Pow):
        return parts[0] ** parts[1]
    return _FUNCTIONS[type(expr)](*parts)


#: Functions a target with a closed form may have.
_FUNCTIONS: Mapping[type, Callable[..., Tensor]] = {
    relu: lambda u: u.clamp(min=0.0),
    Abs: torch.abs,
    Max: torch.maximum,
    Min: torch.minimum,
    erf: torch.erf,
    exp: torch.exp,
    sin: torch.sin,
    cos: torch.cos,
}


def affine_levels(interval: IntervalProblem, width: int) -> tuple[Expr, ...] | None:
    r"""Return the values of the critical points of a relu network with biases against an affine target, exactly.

    They are 0 and :math:`\tfrac{\kappa}{2} \alpha^2 D^3 / (12 (n+1)^4)` for even n from 0 to the width: with n kinks the residual
    is linear with mean 0 between neighbouring kinks, all gaps have the same length D/(n+1), and the last kink is
    open to the left, so that n is even.

    Assumptions
    -----------
    relu, square loss, both biases, no weight decay, all blocks trained; a target of one piece and slope alpha != 0.
    None is returned where one of them fails.

    Source
    ------
    Cheridito, Jentzen, Rossmannek (2022), J. Nonlinear Sci. 32:64, arXiv:2103.10922, Theorem 2.4.  An equality.

    Examples
    --------
    >>> from derivations.problem import Problem
    >>> x = Symbol("x", real=True)
    >>> network = Problem.two_layer("relu", "square", input_bias=True, output_bias=True, factor=2)
    >>> affine_levels(IntervalProblem(network, Integer(0), Integer(1), x, x), 2)
    (0, 1/972, 1/12)
    """
    problem, x = interval.problem, interval.x
    known = (
        problem.activation is not None
        and problem.activation.expr == ACTIVATIONS["relu"].expr
        and problem.loss is not None
        and problem.loss.expr == REGISTERED_LOSSES["square"].expr
        and problem.input_bias
        and problem.output_bias
        and problem.weight_decay == 0
        and not problem.freeze
        and len(interval.target_pieces) == 1
    )
    if not known:
        return None
    slope = interval.target_pieces[0].expr.diff(x)
    length = interval.upper - interval.lower
    if slope.has(x) or slope == 0 or slope.free_symbols or length.free_symbols:
        return None
    level = interval.weight * slope**2 * length**3 / 24
    kinks = range(width - width % 2, -1, -2)
    return (Integer(0), *(level / Integer(n + 1) ** 4 for n in kinks))


def level_claims(interval: IntervalProblem, points: Sequence[CriticalPoint]) -> list[Claim]:
    """Compare the values of critical points found with those of the theorem, where it applies."""
    widths = sorted({p.width for p in points})
    levels = affine_levels(interval, max(widths, default=0))
    if levels is None or not points:
        return []
    known = [float(u) for u in levels]
    size = max(known)
    gaps = {p.id: min(abs(p.value - u) for u in known) / size for p in points}
    worst = max(gaps, key=lambda name: gaps[name])
    return [
        Claim(
            "landscape",
            "critical values",
            r"Every critical value is $0$ or $\tfrac{\kappa}{2} \alpha^2 D^3 / (12 (n+1)^4)$, $n \le m$ even, for a target of slope"
            r" $\alpha$ on an interval of length $D$.",
            source="cheridito2022landscape",
            status=Status.SUPPORTED if gaps[worst] <= LEVEL else Status.REFUTED,
            computed=sorted({round(p.value, 12) for p in points}),
            expected=[str(u) for u in levels],
            residual=gaps[worst],
            tolerance=LEVEL,
            evidence={"points": len(points), "worst": worst},
        )
    ]
