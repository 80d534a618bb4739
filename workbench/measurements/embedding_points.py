r"""Critical points of a network and their embeddings, measured: inertia, eigenvalues, ends of plateaus, silent neurons, what is reached.

Each function returns the finding of a claim of ``embedding-principle`` at the points it is given.  An inertia is compared only where both
spectra have a clear gap; others leave the claim open.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from derivations.activations import Z
from derivations.claim import Status
from derivations.theorem import Finding
from numerics.compile import CompiledSystem
from numerics.critical import find_critical_points, polish, starts, starts_around
from numerics.null_set import NullFunction, null_set
from numerics.spectrum import spectrum
from numerics.splitting_law import (
    add_null,
    curvature,
    null_curvature,
    predict_null_inertia,
    predict_split_inertia,
    split,
)

__all__ = ["explained", "irreducible", "null_neuron", "plateau_ends", "silent", "split_points", "two_shares"]

#: Smallest |a_k|, and distance of two (w_k, b_k), of an irreducible point; the value below which a fit is exact.
APART, EXACT = 1e-3, 1e-12
#: Error of outputs and gradients, relative to 1 and the largest eigenvalue; seen: 1e-12.
RESIDUAL = 1e-9
#: Error of eigenvalues relative to the largest; seen: 1e-13.
EIGENVALUE = 1e-9
#: Relative error of the cubic coefficient from three step sizes by extrapolation; seen: 1e-4.
CUBIC = 1e-2
#: Distance at which inputs of wide neurons are those of a narrow neuron, and of values at which two risks are one.
MERGED, SAME = 1e-4, 1e-9
#: Largest parameter of a wide critical point that is looked at.
SATURATED = 20.0

SystemOf = Callable[[int], CompiledSystem]


def rows_of(system: CompiledSystem, theta: Tensor) -> tuple[Tensor, Tensor]:
    """Return output weights (m,) and inputs (m, D) of one point, the bias last."""
    blocks = system.unpack(theta)
    w = blocks["w"]
    return blocks["a"], torch.cat([w, blocks["b"][:, None]], dim=1) if "b" in blocks else w


def irreducible(system: CompiledSystem, count: int, seed: int, most: int = 3) -> list[Tensor]:
    """Return distinct critical points that are neither exact fits nor those of a narrower or a constant network.

    The Hessian has no zero eigenvalue there: neurons saturated on the samples, which give step functions, have some.
    """
    found: list[tuple[float, Tensor]] = []
    for theta in find_critical_points(system, starts(system, count, seed)).theta:
        theta, _ = polish(system, theta)
        a, inputs = rows_of(system, theta)
        value = float(system.value(theta))
        apart = torch.pdist(torch.cat([inputs, -inputs])) if len(a) > 1 else inputs.new_ones(1)
        if (
            value < EXACT
            or float(a.abs().min()) < APART
            or float(apart.min()) < APART
            or float(system.unpack(theta)["w"].abs().sum(1).min()) < APART
        ):
            continue
        here = spectrum(system.hessian(theta))
        near = any(abs(value - known) <= SAME * (1 + known) for known, _ in found)
        if near or here.inertia.zero or not here.clear:
            continue
        found.append((value, theta))
    return [theta for _, theta in sorted(found, key=lambda u: u[0])][:most]


def split_points(
    narrow: CompiledSystem, wide: CompiledSystem, points: Sequence[Tensor], shares: Sequence[float]
) -> tuple[Finding, Finding]:
    """Split each neuron of each point; return what outputs and gradients support (C1), and the inertia (C7)."""
    worst, wrong, doubtful, rows = 0.0, [], 0, []
    for number, theta in enumerate(points):
        before = spectrum(narrow.hessian(theta))
        size = max(map(abs, before.eigenvalues))
        for neuron, (v, u) in enumerate(curvature(narrow, theta)):
            there = split(narrow, wide, theta, neuron, shares)
            outputs = float((wide.outputs(there) - narrow.outputs(theta)).abs().max())
            worst = max(worst, outputs, float(wide.gradient(there).norm()) / max(1.0, size))
            after = spectrum(wide.hessian(there), size)
            predicted = before.inertia + predict_split_inertia(v, u, shares, before.tolerance)
            rows.append(
                {"point": number, "neuron": neuron, "risk": float(narrow.value(theta)), "narrow": before.inertia.to_dict(),
                 "wide": after.inertia.to_dict(), "U": torch.linalg.eigvalsh(u).tolist(), "theta": theta.tolist()}
            )  # fmt: skip
            if after.inertia != predicted:
                doubtful += not after.clear
                wrong += (
                    [f"point {number}, neuron {neuron}: {after.inertia}, predicted {predicted}"]
                    if after.clear
                    else []
                )
    kept = Finding(
        Status.SUPPORTED if worst <= RESIDUAL else Status.REFUTED,
        f"{len(rows)} splits of {len(points)} points keep outputs and stay critical",
        residual=worst,
        tolerance=RESIDUAL,
    )
    if wrong:
        return kept, Finding(Status.REFUTED, "; ".join(wrong), evidence={"splits": rows})
    status = Status.SUPPORTED if rows and not doubtful else Status.UNDECIDED
    reason = f"{len(rows) - doubtful} of {len(rows)} splits have the predicted inertia: " + "; ".join(
        f"{tuple(r['narrow'].values())} to {tuple(r['wide'].values())}" for r in rows[:4]
    )
    return kept, Finding(status, reason + " (negative, zero, positive)", evidence={"splits": rows})


def two_shares(
    narrow: CompiledSystem, system_of: SystemOf, points: Sequence[Tensor], count: int, *, divided: bool
) -> Finding:
    """Compare the extra eigenvalues of equal shares with those of U/K, and the inertia over a range of shares with In(U), In(-U), zeros."""
    width, worst, seen = narrow.sizes["m"], 0.0, 0
    for theta in points:
        own = torch.linalg.eigvalsh(narrow.hessian(theta))
        before = spectrum(narrow.hessian(theta))
        for neuron, (_, u) in enumerate(curvature(narrow, theta)):
            inner = torch.linalg.eigvalsh(u)
            for copies in (2, 3):
                wide = system_of(width + copies - 1)
                shares = [1 / copies] * copies
                shares[-1] = 1 - sum(shares[:-1])
                values = torch.linalg.eigvalsh(wide.hessian(split(narrow, wide, theta, neuron, shares)))
                expected = inner / copies if divided else inner
                for value in expected:
                    near = (values - value).abs().sort().values[: copies - 1]
                    error = float(near.max()) / float(own.abs().max())
                    if error > EIGENVALUE:
                        text = f"{copies} equal copies of neuron {neuron}: no {copies - 1} eigenvalues {float(value):.9g}; there are {values.tolist()}"
                        return Finding(
                            Status.REFUTED,
                            text,
                            computed=float(near.max()),
                            expected=0.0,
                            evidence={"theta": theta.tolist()},
                        )
                    worst = max(worst, error)
            wide = system_of(width + 1)
            for alpha in torch.linspace(-1, 2, count, dtype=torch.float64).tolist():
                alpha = round(alpha, 12)
                after = spectrum(
                    wide.hessian(split(narrow, wide, theta, neuron, (1 - alpha, alpha))),
                    before.eigenvalues[-1],
                )
                predicted = before.inertia + predict_split_inertia(
                    u.new_zeros(len(u), 1), u, (1 - alpha, alpha), before.tolerance
                )
                if not after.clear:
                    continue
                seen += 1
                if after.inertia != predicted:
                    return Finding(
                        Status.REFUTED,
                        f"alpha = {alpha}: {after.inertia}, predicted {predicted}",
                        evidence={"theta": theta.tolist()},
                    )
    if not seen:
        return Finding(Status.UNDECIDED, "no spectrum has a clear gap")
    return Finding(
        Status.SUPPORTED,
        f"equal shares of 2 and 3 copies; {seen} shares from -1 to 2",
        residual=worst,
        tolerance=EIGENVALUE,
    )


def null_neuron(
    narrow: CompiledSystem, wide: CompiledSystem, points: Sequence[Tensor], biases: Sequence[float]
) -> Finding:
    """Add a null neuron to critical points of a network with output bias, and compare the inertia with the prediction."""
    worst, seen, wrong = 0.0, 0, []
    for theta in points:
        before = spectrum(narrow.hessian(theta))
        size = max(map(abs, before.eigenvalues))
        for alpha in biases:
            there = add_null(narrow, wide, theta, alpha)
            worst = max(worst, float(wide.gradient(there).norm()) / max(1.0, size))
            after = spectrum(wide.hessian(there), size)
            predicted = before.inertia + predict_null_inertia(
                null_curvature(narrow, theta, alpha), before.tolerance
            )
            if after.clear:
                seen += 1
                wrong += (
                    [f"alpha = {alpha}: {after.inertia}, predicted {predicted}"]
                    if after.inertia != predicted
                    else []
                )
    if wrong or worst > RESIDUAL:
        return Finding(
            Status.REFUTED,
            "; ".join(wrong) or "a null neuron is not critical",
            residual=worst,
            tolerance=RESIDUAL,
        )
    status = Status.SUPPORTED if seen else Status.UNDECIDED
    return Finding(
        status,
        f"{seen} null neurons at {len(points)} points with an output bias",
        residual=worst,
        tolerance=RESIDUAL,
    )


def plateau_ends(narrow: CompiledSystem, wide: CompiledSystem, points: Sequence[Tensor]) -> Finding:
    """Measure the cubic coefficient of the risk along the curve that leaves the end of a plateau."""
    worst, seen = 0.0, 0
    for theta in points:
        for neuron, (_, u) in enumerate(curvature(narrow, theta)):
            values, vectors = torch.linalg.eigh(u)
            pick = int(values.abs().argmax())
            a = float(rows_of(narrow, theta)[0][neuron])
            expected = float(values[pick]) / (2 * a)
            found = []
            for s in (2e-2 * abs(a), 1e-2 * abs(a), 5e-3 * abs(a)):
                rises = [
                    _along(narrow, wide, theta, neuron, sign * s, a, vectors[:, pick]) for sign in (1, -1)
                ]
                found.append((rises[0] - rises[1]) / (2 * s**3))  # the odd part: the next order is s^5
            value = (4 * found[2] - found[1]) / 3
            if abs(expected) < 1e-8:
                continue
            seen += 1
            worst = max(worst, abs(value / expected - 1))
    if not seen:
        return Finding(Status.UNDECIDED, "the inner Hessian vanishes at every point found")
    status = Status.SUPPORTED if worst <= CUBIC else Status.UNDECIDED
    return Finding(
        status, f"the cubic coefficient at {seen} ends of plateaus", residual=worst, tolerance=CUBIC
    )


def _along(
    narrow: CompiledSystem, wide: CompiledSystem, theta: Tensor, neuron: int, s: float, a: float, zeta: Tensor
) -> float:
    """Return R(s) - R(0) on the curve."""
    there = split(narrow, wide, theta, neuron, (1 - s / a, s / a))
    blocks = {name: part.clone() for name, part in wide.unpack(there).items()}
    for place, step in ((neuron, -(s**2) / (a - s)), (wide.sizes["m"] - 1, s)):
        move = step * zeta
        blocks["w"][place] += move[: blocks["w"].shape[1]]
        if "b" in blocks:
            blocks["b"][place] += move[-1]
    return float(wide.value(wide.pack(blocks)) - narrow.value(theta))


def silent(narrow: CompiledSystem, wide: CompiledSystem, points: Sequence[Tensor], seed: int) -> Finding:
    """Add a neuron with output weight 0: the gradient is phi of its inputs, and vanishes on the set that phi = 0 describes."""
    worst, off, count = 0.0, 0, 0
    for theta in points:
        there = split(narrow, wide, theta, 0, (1.0, 0.0))
        phi = NullFunction(wide, there)
        _, inputs = rows_of(narrow, theta)
        zeros = null_set(phi, inputs, tuple(range(1, len(inputs) + 1)))
        on = torch.cat([part.points[:50] for part in zeros.parts])
        size = 1 + float(
            wide.gradient(
                phi.at(
                    torch.randn(
                        20, phi.size, generator=torch.Generator().manual_seed(seed), dtype=torch.float64
                    )
                )
            )
            .abs()
            .max()
        )
        worst = max(worst, float(wide.gradient(phi.at(on)).abs().max()) / size)
        count += len(on)
        probe = torch.randn(
            50, phi.size, generator=torch.Generator().manual_seed(seed + 1), dtype=torch.float64
        )
        gradient, values = wide.gradient(phi.at(probe)), phi(probe)
        rest = gradient.clone()
        rest[:, phi.outputs] = 0
        worst = max(worst, float(rest.abs().max()) / size)
        off += int((values.abs().amax(1) > RESIDUAL * size).sum())
    status = Status.SUPPORTED if count and worst <= RESIDUAL else Status.UNDECIDED
    reason = f"{count} silent neurons with phi = 0 are critical; {off} of {50 * len(points)} random ones are not, by phi alone"
    return Finding(status, reason, residual=worst, tolerance=RESIDUAL)


def explained(
    narrow: CompiledSystem,
    wide: CompiledSystem,
    probes: tuple[CompiledSystem, CompiledSystem],
    points: Sequence[Tensor],
    count: int,
    seed: int,
) -> Finding:
    """Search the wide network; each critical point with the function of a narrow one has to consist of copies and silent neurons.

    Starts next to embedded points are among those of the search.  ``probes`` are both networks at further inputs: on the samples alone
    different functions may agree.  Points with a large parameter are left out: a neuron that is saturated on all inputs looks silent, or
    like a constant.
    """
    odd = (
        wide.problem.activation is not None
        and wide.problem.activation.expr.subs(Z, -Z) == -wide.problem.activation.expr
    )
    near = torch.stack([split(narrow, wide, theta, 0, (0.6, 0.4)) for theta in points])
    begin = torch.cat([starts(wide, count, seed), starts_around(wide, near, count, seed)])
    met = find_critical_points(wide, begin).theta
    met = met[met.abs().amax(dim=1) <= SATURATED]
    seen, other = 0, []
    for theta in met:
        value = float(wide.value(theta))
        for point in points:
            known = float(narrow.value(point))
            apart = max(
                float((large.outputs(theta) - small.outputs(point)).abs().max())
                for small, large in ((narrow, wide), probes)
            )
            if abs(value - known) > 1e-8 * (1 + known) or apart > 1e-6:
                continue
            seen += 1
            if not _copies(rows_of(narrow, point), rows_of(wide, theta), odd=bool(odd)):
                other.append(theta.tolist())
    if other:
        return Finding(
            Status.UNDECIDED,
            f"{len(other)} of {seen} wide critical points with a narrow output are not recognised",
            evidence={"points": other[:3]},
        )
    if not seen:
        return Finding(
            Status.UNDECIDED,
            f"none of {len(met)} wide critical points that were met has the function of a narrow one",
        )
    return Finding(
        Status.SUPPORTED,
        f"{seen} of {len(met)} wide critical points have a narrow output; each consists of copies and silent neurons",
    )


def _copies(narrow: tuple[Tensor, Tensor], wide: tuple[Tensor, Tensor], *, odd: bool) -> bool:
    """Say whether the neurons that count are copies of narrow ones whose output weights sum to theirs."""
    (a, inputs), (b, others) = narrow, wide
    total = torch.zeros_like(a)
    for weight, row in zip(b, others, strict=True):
        distance, flipped = ((inputs - s * row).abs().amax(1) for s in (1.0, -1.0))
        nearest = int(distance.argmin())
        turned = int(flipped.argmin())
        if odd and float(flipped[turned]) < float(distance[nearest]):
            nearest, weight, distance = turned, -weight, flipped
        if float(distance[nearest]) <= MERGED * (1 + float(inputs.abs().max())):
            total[nearest] += weight
        elif float(weight.abs()) > MERGED:
            return False
    return float((total - a).abs().max()) <= 10 * MERGED * (1 + float(a.abs().max()))
