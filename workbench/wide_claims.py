r"""The embeddings that are derived, checked as numbers at critical points of the problem itself.

At one found point of each width the wide and deep networks of ``numerics.wide_maps`` are compared with the narrow one: outputs,
gradient and Hessian are those of the hand-written network by automatic differentiation, the inertia is the predicted one.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from derivations.activations import Activation, Z
from derivations.claim import Claim, Relation, Status
from derivations.grouped_network import layers
from derivations.indexed import Tensor as Leaf
from derivations.lifting import affine_pieces
from numerics.compile import CompiledSystem
from numerics.critical import find_critical_points, starts
from numerics.spectrum import Inertia, Spectrum, spectrum
from numerics.splitting_law import curvature, predict_split_inertia
from numerics.wide_maps import Chain, Group, chain_of, compatible, flat, insert_layer, three_copies
from workbench.verify import oracle_for

if TYPE_CHECKING:
    from numerics.reference import Reference
    from workbench.landscape import Landscape

__all__ = ["found_points", "wide_claims"]

#: Largest number of parameters of a wide network whose dense Hessian is taken.
LARGEST = 160
#: Residuals of a narrow point of gradient 1e-10 after multiplication by shares and weights of order one; 1e-12 was seen.
TOLERANCE = 1e-9
#: Starts of the search of a deep network, which has no landscape.
STARTS = 12
#: Pre-activations nearer to a kink are on it as far as a found point can tell.
NEAR_A_KINK = 1e-6
SHARES = ((0.5, 0.5), (1.4, -0.4), (0.2, 0.3, 0.5))


@dataclass
class _Compared:
    """Wide points beside their narrow one: worst residuals, and inertias that are not what they should be."""

    checked: int = 0
    outputs: float = 0.0
    gradient: float = 0.0
    doubtful: int = 0
    against: list[str] = field(default_factory=list)

    @property
    def status(self) -> Status:
        if max(self.outputs, self.gradient) > TOLERANCE or self.against:
            return Status.REFUTED
        return Status.SUPPORTED if self.checked and not self.doubtful else Status.UNDECIDED


class _Point:
    """A critical point of the narrow network, and its image under a map."""

    def __init__(self, system: CompiledSystem, oracle: Reference, theta: Tensor, name: str) -> None:
        self.system, self.oracle, self.theta, self.name = system, oracle, theta, name
        self.chain = chain_of(system.unpack(theta))
        self.before: Spectrum = spectrum(oracle.hessian(theta))
        self.layers = layers(system.problem)[:-1]

    def image(self, chain: Chain) -> tuple[Reference, Tensor] | None:
        """Return the oracle and the point of a chain, of more layers too; None where it is too large."""
        deeper = len(chain.weights) > len(self.chain.weights)
        kind = "deep" if deeper else self.oracle.kind
        point = flat(chain, kind)
        if len(point) > LARGEST:
            return None
        symbols = self.system.problem.scale.free_symbols
        scale = self.system.problem.scale.subs(
            {s: chain.widths[0] if str(s) == "m" else self.system.sizes[str(s)] for s in symbols}
        )
        return replace(self.oracle, widths=chain.widths, kind=kind, scale=float(scale)), point

    def ratio(self, width: int) -> float:
        """Return s(m)/s(m') for the width m' of a two-layer network."""
        scale = self.system.problem.scale
        there = scale.subs(
            {s: width if str(s) == "m" else self.system.sizes[str(s)] for s in scale.free_symbols}
        )
        return self.oracle.scale / float(there)


def wide_claims(system: CompiledSystem, points: Sequence[tuple[str, Tensor]], seed: int = 0) -> list[Claim]:
    """Return the claims about embeddings of ``points``, named critical points of ``system`` (P,).

    Nothing is claimed of problems with weight decay or frozen blocks, which the maps do not respect; where there is no point or no
    hand-written network the claims are UNDECIDED and say why.
    """
    problem = system.problem
    if problem.kind not in ("two_layer", "deep") or problem.weight_decay != 0 or problem.freeze:
        return []
    oracle = oracle_for(system)
    reason = "" if oracle is not None else "the activation or the loss has no hand-written network"
    reason = reason or ("" if points else "no critical point of this network was found")
    if reason or oracle is None:
        return [_claim(_STATEMENTS[0], _Compared(), {"reason": reason})]
    narrow = [_Point(system, oracle, theta.double(), name) for name, theta in points]
    evidence = {"points": [p.name for p in narrow], "seed": seed, "oracle": "numerics.reference: torch.func"}
    claims = []
    for statement in _STATEMENTS:
        found = _Compared()
        for point in narrow:
            for chain, predicted, exact in statement.images(point, seed):
                _compare(found, point, chain, predicted, exact)
        if found.checked:
            claims.append(_claim(statement, found, evidence))
    return claims


def _compare(found: _Compared, point: _Point, chain: Chain, predicted: Inertia, exact: bool) -> None:
    """Compare one image; ``predicted`` is the inertia itself, or where not ``exact`` a lower bound of each count."""
    image = point.image(chain)
    if image is None:
        return
    oracle, theta = image
    found.checked += 1
    scale = max(1.0, float(point.oracle.outputs(point.theta).abs().max()))
    apart = float((oracle.outputs(theta) - point.oracle.outputs(point.theta)).abs().max()) / scale
    found.outputs = max(found.outputs, apart)
    size = float(max(map(abs, point.before.eigenvalues)))
    found.gradient = max(found.gradient, float(oracle.gradient(theta).norm()) / max(1.0, size))
    after = spectrum(oracle.hessian(theta), size)
    change = after.inertia - predicted
    counts = (change.negative, change.zero, change.positive)
    if counts != (0, 0, 0) if exact else min(counts) < 0:
        if after.clear and point.before.clear:
            found.against.append(f"{point.name}: {after.inertia.to_dict()}, predicted {predicted.to_dict()}")
        else:
            found.doubtful += 1


@dataclass(frozen=True)
class _Statement:
    label: str
    text: str
    source: str
    images: Any
    relation: Relation = Relation.EQUAL


def _claim(statement: _Statement, found: _Compared, evidence: dict[str, Any]) -> Claim:
    worst = max(found.outputs, found.gradient)
    return Claim(
        "embedding of found points",
        statement.label,
        statement.text,
        statement.source,
        statement.relation,
        found.status,
        computed=found.checked - len(found.against) - found.doubtful,
        expected=found.checked,
        residual=worst,
        tolerance=TOLERANCE,
        evidence={
            **evidence,
            "images": found.checked,
            "counterexamples": found.against,
            "unclear spectra": found.doubtful,
        },
    )


# -- the maps --------------------------------------------------------------------------------------------------------


def _plain(point: _Point) -> list[Group]:
    return [Group(tuple(range(m)), (1.0,) * m) for m in point.chain.widths]


def _split(group: Group, neuron: int, shares: Sequence[float]) -> Group:
    kept = [s * shares[0] if k == neuron else s for k, s in enumerate(group.shares)]
    more = len(shares) - 1
    return Group((*group.parents, *(neuron,) * more), (*kept, *shares[1:]))


def _sigma(activation: Activation | None) -> Any:
    assert activation is not None  # a compiled system has one
    return lambda z: z.new_tensor([float(activation.expr.subs(Z, float(u))) for u in z])


def _families(point: _Point, seed: int) -> Iterator[tuple[Chain, Inertia, bool]]:
    """Yield members of the compatible family; each count grows, the zeros by its dimension."""
    generator = torch.Generator().manual_seed(seed)
    problem, added, free = point.system.problem, [], 0
    groups = []
    for group, layer in zip(_plain(point), point.layers, strict=True):
        new = _split(group, 0, (0.7, 0.3))
        constants = (0.0,) * len(new.parents)
        if layer.nulls:
            constants = (*constants, 0.5 if layer.nulls == "free" else 0.0)
            new = Group((*new.parents, -1), (*new.shares, 0.0))
        groups.append(Group(new.parents, new.shares, constants))
        added.append(len(new.parents) - len(group.parents))
        free += added[-1] - (layer.nulls in ("fixed", "silent"))
    dimension = free + sum(a * b for a, b in pairwise(added))
    sizes = [len(g.parents) for g in groups]
    noise = [
        None,
        *(torch.randn(b, a, generator=generator, dtype=torch.float64) for a, b in pairwise(sizes)),
        None,
    ]
    ratio = point.ratio(sizes[-1]) if problem.kind == "two_layer" else 1.0
    chain = compatible(point.chain, groups, noise=noise, sigma=_sigma(problem.activation), ratio=ratio)
    lower = point.before.inertia + Inertia(0, dimension, 0)
    moves = all(float(w[:, 0].abs().max()) > 1e-6 for w in point.chain.weights[1:])
    yield chain, lower if moves else point.before.inertia, False


def _copies(point: _Point, _seed: int) -> Iterator[tuple[Chain, Inertia, bool]]:
    """Yield three copies of the network, whose negative and positive counts grow by the rank of the second part."""
    if point.system.problem.scale.free_symbols:
        return
    oracle = point.oracle
    second = _second_part(point)
    found = spectrum(second, float(max(map(abs, point.before.eigenvalues))))
    if not found.clear:
        return
    rank, zeros = found.inertia.negative + found.inertia.positive, found.inertia.zero
    two = oracle.kind == "two_layer"
    more = Inertia(rank, 2 * zeros, rank) if two else Inertia(rank, 0, rank)
    yield three_copies(point.chain), point.before.inertia + more, two


def _second_part(point: _Point) -> Tensor:
    """Return sum_i r_i times the Hessian of f_i in all parameters but the output bias."""
    oracle, theta, problem = point.oracle, point.theta, point.system.problem
    at = problem.system.formals(problem.output)
    r = Leaf("r", problem.output.dims)[at]
    adjoint = point.system.evaluate(problem.derived, {"r": (r, at)}, theta.to(point.system.x))["r"].double()
    linear = replace(oracle, loss=lambda f, y: f * y, y=adjoint, factor=1.0, reduction="sum")
    end = adjoint[0].numel() if oracle.output_bias else 0
    return linear.hessian(theta)[: len(theta) - end, : len(theta) - end]


def _splits(point: _Point, _seed: int) -> Iterator[tuple[Chain, Inertia, bool]]:
    """Yield splits of one neuron of every layer, with the inertia of the splitting law."""
    plain = _plain(point)
    for number, layer in enumerate(point.layers):
        form = curvature(point.system, point.theta.to(point.system.x), layer.number)[0]
        for shares in SHARES:
            groups = [_split(g, 0, shares) if u == number else g for u, g in enumerate(plain)]
            ratio = point.ratio(len(groups[-1].parents)) if point.system.problem.kind == "two_layer" else 1.0
            more = predict_split_inertia(form.V.double(), form.U.double(), shares, point.before.tolerance)
            yield compatible(point.chain, groups, ratio=ratio), point.before.inertia + more, True


def _special(point: _Point, _seed: int) -> Iterator[tuple[Chain, Inertia, bool]]:
    """Yield splits whose copy is turned by the sign, the scale or the shift that the activation allows."""
    sigma = point.system.problem.activation
    assert sigma is not None  # a compiled system has one
    turns: list[
        tuple[float, float, float]
    ] = []  # factors of outgoing and of input weights, shift of the bias
    if sigma.parity.sign:
        turns.append((float(sigma.parity.sign), -1.0, 0.0))
    if sigma.homogeneity_degree is not None:
        turns.append((2.0 ** -float(sigma.homogeneity_degree), 2.0, 0.0))
    if sigma.shift_rate.value is not None and point.system.problem.input_bias:
        turns.append((math.exp(-0.5 * float(sigma.shift_rate.value)), 1.0, 0.5))
    for (chain, predicted, exact), number in zip(_splits(point, 0), _numbers(point), strict=True):
        for out, into, shift in turns:
            weights, biases = list(chain.weights), list(chain.biases)
            weights[number], weights[number + 1] = weights[number].clone(), weights[number + 1].clone()
            weights[number][-1] *= into
            weights[number + 1][:, -1] *= out
            bias = biases[number]
            if bias is not None:
                bias = bias.clone()
                bias[-1] = bias[-1] * into + shift
                biases[number] = bias
            yield Chain(tuple(weights), tuple(biases)), predicted, exact


def _numbers(point: _Point) -> list[int]:
    """Return the position of the layer of each split."""
    return [number for number in range(len(point.layers)) for _ in SHARES]


def _lifted(point: _Point, seed: int) -> Iterator[tuple[Chain, Inertia, bool]]:
    """Yield the network with a layer of affine units before every layer with a bias."""
    problem = point.system.problem
    assert problem.activation is not None  # a compiled system has one
    if not problem.input_bias or problem.scale.free_symbols:
        return
    generator = torch.Generator().manual_seed(seed)
    outer = [
        u
        for u in affine_pieces(problem.activation) or ()
        if u[2] != 0 and not (u[0].is_finite and u[1].is_finite)
    ]
    h = point.oracle.x
    for number, (w, b) in enumerate(zip(point.chain.weights, point.chain.biases, strict=True), start=1):
        if b is not None and outer:
            lower, upper, slope, level = outer[-1]
            size = w.shape[1]
            into = torch.randn(size, size, generator=generator, dtype=torch.float64)
            z = h @ into.T
            if upper.is_finite:
                shift = float(upper) - 0.5 - z.max(dim=0).values
            else:
                shift = (float(lower) if lower.is_finite else 0.0) + 0.5 - z.min(dim=0).values
            ones = torch.ones(size, dtype=torch.float64)
            chain = insert_layer(point.chain, number, into, shift, float(slope) * ones, float(level) * ones)
            dimension = size * (size + w.shape[0] + 1) - size * w.shape[0]
            yield chain, point.before.inertia + Inertia(0, dimension, 0), True
        if number < len(point.chain.weights):
            sigma = _sigma(problem.activation)
            z = h @ w.T if b is None else h @ w.T + b
            h = torch.stack([sigma(row) for row in z])


_STATEMENTS = (
    _Statement(
        "compatible family (C1, C4, C5)",
        r"Compatible embeddings of a found point keep its outputs and are critical; no count of its inertia decreases, and the zeros grow by the "
        "dimension of the family.",
        "zhang2022hierarchical",
        _families,
        Relation.AT_LEAST,
    ),
    _Statement(
        "three copies (C6)",
        r"Three copies of the network at a found point are critical, with at least $\operatorname{rank} H^{(2)}$ more negative and positive eigenvalues.",
        "zhang2022hierarchical",
        _copies,
        Relation.AT_LEAST,
    ),
    _Statement(
        "splitting law (C7)",
        r"The inertia of a found point with one neuron split is that of the splitting law, in every layer.",
        "zhang2022hierarchical",
        _splits,
    ),
    _Statement(
        "copies of the activation",
        r"Copies turned by a sign, a scale or a shift that the activation allows are critical, with the inertia of the splitting.",
        "zhang2022hierarchical",
        _special,
    ),
    _Statement(
        "lifted layer (C15)",
        r"A found point with a layer of affine units inserted is critical, and only zeros are added, as many as the lifted manifold has dimensions.",
        "bai2022depth",
        _lifted,
    ),
)


def found_points(
    system: CompiledSystem, landscape: Landscape | None, seed: int = 0
) -> list[tuple[str, Tensor]]:
    """Return a critical point of the width of ``system`` with a clear spectrum: from the landscape, or for a deep network found here."""
    if landscape is not None:
        width = system.sizes.get("m")
        listed = [p for p in landscape.points if p.width == width and p.stratum == "irreducible"]
        rows = [(p.id, system.pack(p.theta).double()) for p in sorted(listed, key=lambda p: p.gradient_norm)]
    elif system.problem.kind == "deep" and system.dtype == torch.float64 and system.P <= LARGEST // 2:
        result = find_critical_points(system, starts(system, STARTS, seed))
        rows = [(f"start {k}", theta) for k, theta in enumerate(result.theta)]
    else:
        return []
    for name, theta in rows:
        if spectrum(system.hessian(theta.to(system.x))).clear and _clear_of_kinks(system, theta):
            return [(name, theta)]
    return []


def _clear_of_kinks(system: CompiledSystem, theta: Tensor) -> bool:
    """Whether no pre-activation lies next to a point where a derivative of the activation jumps."""
    sigma = system.problem.activation
    if sigma is None or sigma.is_smooth:
        return True
    breaks = sigma.breaks.value
    if breaks is None:
        return False
    chain, h = chain_of(system.unpack(theta)), system.x.double()
    for w, b in zip(chain.weights[:-1], chain.biases[:-1], strict=True):
        z = h @ w.T if b is None else h @ w.T + b
        if any(float((z - float(u.point)).abs().min()) < NEAR_A_KINK for u in breaks):
            return False
        h = torch.stack([_sigma(sigma)(row) for row in z])
    return True
