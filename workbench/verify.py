r"""Every derivation checked by numbers: the derived network against one written by hand, the flow against theory.

``check_derivatives`` compares outputs, value, gradient, Hessian and Hessian-vector product with automatic
differentiation of a plain PyTorch network that shares no code with the derivation.  For an activation or a loss given
as a formula there is no such network; then the value is taken as given, and gradient and Hessian are compared with
extrapolated central differences, and the remainder of the Taylor polynomial must shrink at its theoretical rate.

``check_integrators`` (from ``workbench.flow_checks``) does the same for the integrators.  A check that cannot be carried out is UNDECIDED and says why; it is never passed over.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from derivations import activations, losses
from derivations.almost_everywhere import has_kinks
from derivations.claim import Claim, Status
from derivations.html_table import html_table
from numerics.compile import CompiledSystem
from numerics.integrator_order import ROUNDING_FLOOR
from numerics.reference import ACTIVATIONS, LOSSES, Reference, finite_difference_gradient
from numerics.tolerances import (
    CANCELLATION,
    FINITE_DIFFERENCES,
    SLOPE_MARGIN,
    TAYLOR_SLOPE,
    same_formula,
)
from workbench.flow_checks import check_integrators, json_number

__all__ = ["Verification", "check_derivatives", "check_integrators", "oracle_for"]
__all__ += ["AUTOGRAD", "STATEMENTS", "by_differences", "compare", "compiled_at", "hand_written"]

NAME = "derivation"
STATEMENTS: Mapping[str, str] = {
    "outputs": r"The compiled outputs $f(x_i)$ equal those of an independently written network.",
    "value": r"The compiled risk $R(\theta)$ equals that of an independently written network.",
    "gradient": r"The derived gradient $\nabla R(\theta)$ equals {other}.",
    "hessian": r"The derived Hessian $\nabla^2 R(\theta)$ equals {other}.",
    "hvp": r"The derived product $\nabla^2 R(\theta)\, v$ equals {other}.",
}
AUTOGRAD = "automatic differentiation of an independently written network"
DIFFERENCES = "extrapolated central differences of the {lower}"


@dataclass(frozen=True)
class Verification:
    """The claims of one study with what is known of each.

    Parameters
    ----------
    claims : tuple of Claim
        In the order they were checked.
    study : str
        Name of the study.
    derived_from : object
        The analysis that was verified.
    """

    claims: tuple[Claim, ...]
    study: str
    derived_from: Any = field(default=None, compare=False, repr=False)

    @property
    def refuted(self) -> bool:
        """Whether a claim is REFUTED."""
        return any(claim.status is Status.REFUTED for claim in self.claims)

    def to_dict(self) -> dict[str, Any]:
        """Return the JSON form of the public schema."""
        return {"schema": 1, "study": self.study, "claims": [claim.to_dict() for claim in self.claims]}

    def _repr_html_(self) -> str:
        rows = [
            (f"{u.name}: {u.claim}", u.statement, u.status, _shown(u.residual), _shown(u.tolerance))
            for u in self.claims
        ]
        heads = ("claim", "statement", "status", "residual", "tolerance")
        return html_table(heads, rows, f"{self.study}: verification")


def oracle_for(system: CompiledSystem) -> Reference | None:
    """Return the hand-written network of a compiled system, in float64; None where a formula has no such form."""
    return hand_written(system, system.x.double(), system.y.double(), system.problem.reduction)


def hand_written(system: CompiledSystem, x: Tensor, y: Tensor, reduction: str) -> Reference | None:
    """Return the hand-written network of a compiled system at other samples; None where a formula has no such form.

    An activation counts as the registered one only if its formula is the registered formula, whatever its name.
    """
    problem = system.problem
    sigma, ell = problem.activation, problem.loss
    if sigma is None or ell is None or problem.kind not in ("two_layer", "deep"):
        return None
    if sigma.name not in ACTIVATIONS or activations.REGISTRY[sigma.name].expr != sigma.expr:
        return None
    margin = 1.0
    if ell.name == "linear_hinge":  # its formula is relu(margin - y f)
        stated = ell.expr.subs(losses.F, 0)
        if not stated.is_number or ell.expr != losses.loss("linear_hinge", margin=stated).expr:
            return None
        margin = float(stated)
    elif ell.name not in LOSSES or losses.REGISTRY[ell.name].expr != ell.expr:
        return None
    return Reference(
        x,
        y,
        activation=sigma.name,
        loss=ell.name,
        widths=tuple(system.sizes[str(s)] for s in problem.hidden_dims),
        kind=problem.kind,
        input_bias=problem.input_bias,
        output_bias=problem.output_bias,
        scale=float(problem.scale.subs({s: system.sizes[str(s)] for s in problem.scale.free_symbols})),
        factor=float(problem.factor),
        weight_decay=float(problem.weight_decay),
        reduction=reduction,
        kink=float(sigma.kink),
        margin=margin,
    )


def compiled_at(system: CompiledSystem, theta: Tensor, v: Tensor) -> dict[str, Tensor]:
    """Return what is checked of a system at points (B, P), the Hessian-vector products in directions v (B, P)."""
    value, gradient, hessian = system.value_gradient_hessian(theta)
    return {
        "outputs": system.outputs(theta),
        "value": value,
        "gradient": gradient,
        "hessian": hessian,
        "hvp": system.hvp(theta, v),
    }


def check_derivatives(system: CompiledSystem, *, seed: int = 0, points: int = 8) -> list[Claim]:
    r"""Derived outputs, value, gradient, Hessian and Hessian-vector product at random points.

    Parameters
    ----------
    system : CompiledSystem
        At its own data, device and dtype.
    seed, points : int
        Seed and number of the parameter points and directions, standard Gaussian.

    Returns
    -------
    list of Claim
        SUPPORTED where the largest relative residual is within the tolerance of the dtype; REFUTED with the worst
        entry otherwise; UNDECIDED where too few points have finite numbers.

    Raises
    ------
    ValueError
        If ``points`` < 1.
    """
    if points < 1:
        raise ValueError(f"points must be at least 1, got {points}")
    generator = torch.Generator().manual_seed(seed)
    draws = torch.randn(2, points, system.P, generator=generator, dtype=torch.float64)
    theta, v = draws.to(dtype=system.dtype, device=system.device)
    derived = compiled_at(system, theta, v)
    evidence = {"seed": seed, "points": points, "distribution": "standard normal", "dtype": str(system.dtype)}
    oracle = oracle_for(system)
    if oracle is None:
        twin = CompiledSystem(
            system.problem,
            system.x.double(),
            system.y.double(),
            {str(s): system.sizes[str(s)] for s in system.problem.hidden_dims},
        )
        return by_differences(system, twin, theta, v, derived, evidence)
    exact_at = theta.double()
    exact = {
        "outputs": oracle.outputs(exact_at),
        "value": oracle.value(exact_at),
        "gradient": oracle.gradient(exact_at),
        "hessian": oracle.hessian(exact_at),
        "hvp": oracle.hvp(exact_at, v.double()),
    }
    evidence["oracle"] = "numerics.reference: plain PyTorch network, torch.func"
    bound = same_formula(system.dtype)
    return [
        compare(
            label, STATEMENTS[label].format(other=AUTOGRAD), derived[label], exact[label], bound, evidence
        )
        for label in STATEMENTS
    ]


def by_differences(
    system: CompiledSystem,
    twin: CompiledSystem,
    theta: Tensor,
    v: Tensor,
    derived: dict[str, Tensor],
    evidence: dict[str, Any],
    why: str = "no hand-written network for this formula",
) -> list[Claim]:
    """Compare derivatives with differences of the lower ones, value -> gradient -> Hessian, of the ``twin`` in float64."""
    rows = theta.double()
    lower: dict[str, Callable[[Tensor], Tensor]] = {"gradient": twin.value, "hessian": twin.gradient}
    exact = {
        label: torch.stack([finite_difference_gradient(function, row)[0] for row in rows])
        for label, function in lower.items()
    }
    exact["hvp"] = (exact["hessian"] @ v.double()[..., None])[..., 0]
    names = {"gradient": "risk", "hessian": "gradient", "hvp": "gradient"}
    bound = max(FINITE_DIFFERENCES, same_formula(system.dtype))
    evidence = evidence | {"oracle": f"central differences, Ridders extrapolation: {why}"}
    claims = [
        compare(
            label,
            STATEMENTS[label].format(other=DIFFERENCES.format(lower=lower_name)),
            derived[label],
            exact[label],
            bound,
            evidence,
        )
        for label, lower_name in names.items()
    ]
    return [_doubted(c, system) for c in (*claims, _taylor(twin, rows, v.double(), evidence))]


def _doubted(claim: Claim, system: CompiledSystem) -> Claim:
    """Differences that step across a kink refute nothing: such a disagreement is UNDECIDED."""
    problem = system.problem
    parts = [definition.expr for definition in problem.system]
    parts += [known.expr for known in (problem.activation, problem.loss) if known is not None]
    kinks = any(has_kinks(part) for part in parts)
    if claim.status is not Status.REFUTED or not kinks:
        return claim
    reason = "the formula has a kink, and differences may step across it"
    return claim.with_status(Status.UNDECIDED, evidence={**claim.evidence, "reason": reason})


def _taylor(system: CompiledSystem, theta: Tensor, v: Tensor, evidence: dict[str, Any]) -> Claim:
    r"""Remainders :math:`|R(\theta + hv) - \text{Taylor polynomial}| = O(h^{p})`, p = 1, 2, 3, as h is halved."""
    statement = (
        r"The remainder of the Taylor polynomial of $R$ made of the derived value, gradient and Hessian is "
        r"$O(h)$, $O(h^2)$, $O(h^3)$ in turn."
    )
    v = v / v.norm(dim=1, keepdim=True)
    value, gradient, hessian = system.value_gradient_hessian(theta)
    steps = torch.tensor([2.0**-q for q in range(5, 12)], dtype=torch.float64, device=theta.device)
    moved = torch.stack([system.value(theta + h * v) for h in steps])
    terms = {
        "value": value.expand(len(steps), -1),
        "gradient": steps[:, None] * (gradient * v).sum(dim=1),
        "hessian": steps[:, None] ** 2 / 2 * torch.einsum("bi,bij,bj->b", v, hessian, v),
    }
    rounding = ROUNDING_FLOOR * torch.finfo(torch.float64).eps * value.abs().clamp(min=1e-30)
    model, slopes, vanished = torch.zeros_like(moved), {}, []
    for label, term in terms.items():
        model = model + term
        remainder = (moved - model).abs()
        usable = (remainder > rounding) & torch.isfinite(remainder)
        ratios = (remainder[:-1] / remainder[1:]).log2()[usable[:-1] & usable[1:]]
        if bool(torch.isfinite(moved).all()) and not bool(usable.any()):
            vanished.append(label)  # the polynomial is exact: nothing is left to shrink
        elif ratios.numel():
            slopes[label] = float(ratios.median())
    evidence = evidence | {"steps": steps.tolist(), "slopes": slopes, "exact_at": vanished}
    claim = Claim(
        NAME, "taylor", statement, tolerance=SLOPE_MARGIN, evidence=evidence, expected=dict(TAYLOR_SLOPE)
    )
    if len(slopes) + len(vanished) < len(terms):
        return claim.with_status(Status.UNDECIDED, computed=slopes)
    # A remainder that shrinks faster than stated happens where a derivative vanishes; slower is an error.
    residual = max((TAYLOR_SLOPE[label] - slope for label, slope in slopes.items()), default=0.0)
    status = Status.SUPPORTED if residual <= SLOPE_MARGIN else Status.REFUTED
    return claim.with_status(status, computed=slopes, residual=max(residual, 0.0))


def compare(
    label: str, statement: str, derived: Tensor, exact: Tensor, bound: float, evidence: dict[str, Any]
) -> Claim:
    """Largest relative residual over the points, each point relative to its own largest magnitude."""
    count = derived.shape[0]
    found, wanted = derived.double().reshape(count, -1), exact.reshape(count, -1).to(derived.device)
    finite = torch.isfinite(wanted).all(dim=1)
    claim = Claim(NAME, label, statement, tolerance=bound)
    evidence = evidence | {"finite_points": int(finite.sum())}
    if not bool(finite.any()):
        reason = "the reference overflows at every point: rescale the data"
        return claim.with_status(Status.UNDECIDED, evidence=evidence | {"reason": reason})
    found, wanted = found[finite], wanted[finite]
    size = wanted.abs().amax(dim=1)
    size = size.clamp(min=CANCELLATION * float(size.max()))[:, None]
    difference = (found - wanted).abs()
    relative = torch.where(difference == 0, 0.0, difference / size).nan_to_num(nan=math.inf)
    residual = float(relative.max())
    if residual <= bound:
        return claim.with_status(Status.SUPPORTED, residual=residual, evidence=evidence)
    place = int(relative.argmax())
    row, column = divmod(place, relative.shape[1])
    worst = {"point": int(finite.nonzero()[row]), "entry": column}
    return claim.with_status(
        Status.REFUTED,
        residual=json_number(residual),
        computed=json_number(float(found[row, column])),
        expected=json_number(float(wanted[row, column])),
        evidence=evidence | {"counterexample": worst},
    )


def _shown(number: Any) -> str:
    return f"{number:.2g}" if isinstance(number, float) else "" if number is None else str(number)
