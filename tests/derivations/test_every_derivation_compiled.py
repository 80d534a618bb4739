"""Compiled functions on the full product of activations, losses and models, against networks written by hand.

Value, outputs, gradient, Hessian, Hessian-vector product and flow, at one point and at a batch of points.  The default run takes
one loss and one model with each activation and one activation with each loss and model; the full product runs with ``--slow``.
"""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path

import pytest
import torch
from torch.func import jvp

from numerics.compile import compile_system

_SPEC = importlib.util.spec_from_file_location(
    "_all_cases", Path(__file__).with_name("test_every_derivation.py")
)
cases = sys.modules[_SPEC.name] = importlib.util.module_from_spec(_SPEC)
_SPEC.loader.exec_module(cases)

PRODUCT = [
    cases.Case(model, name, ell)
    for model in (*cases.TWO_LAYER, *cases.DEEP)
    for name in cases.ACTIVATIONS
    for ell in cases.LOSS_NAMES
]
PRODUCT += [cases.Case(model, "linear", ell) for model in cases.OTHER for ell in cases.LOSS_NAMES]


def check(case) -> None:
    network, theta = cases.network_of(case)
    sizes = cases.sizes_of(case, network)
    problem = cases.problem_of(case)
    widths = [sizes[str(dim)] for dim in problem.hidden_dims]
    system = compile_system(problem, network.x, network.y, widths)
    generator = torch.Generator().manual_seed(11)
    v = torch.randn(network.P, generator=generator, dtype=torch.float64)
    moved = theta + (0 if case.at_kink else 0.05) * v
    points = [theta, moved]
    assert {name: where for name, _, where in system.layout} == network.places

    def hand(point):
        product = jvp(network.gradient, (point,), (v,))[1]
        return {
            "value": network.value(point),
            "outputs": network.forward(point),
            "gradient": network.gradient(point),
            "hessian": network.hessian(point),
            "hvp": product,
            "flow": network.flow(point),
            "flow_jacobian": -network.rate[:, None] * network.hessian(point),
        }

    expected = [hand(point) for point in points]
    batch = torch.stack(points)
    for name in expected[0]:
        more = (v,) if name == "hvp" else ()
        function = getattr(system, name)
        size = max(1e-3, float(expected[0]["value"].abs()))
        cases.assert_agree(name, function(theta, *more), expected[0][name], size)
        together = function(batch, *(u.expand(batch.shape) for u in more))
        cases.assert_agree(f"{name}, batch", together, torch.stack([e[name] for e in expected]), size)


@pytest.mark.parametrize("case", cases.CASES, ids=str)
def test_compiled_functions_are_those_of_autograd(case):
    check(case)


@pytest.mark.slow
@pytest.mark.parametrize("model", [*cases.TWO_LAYER, *cases.DEEP, *cases.OTHER])
@pytest.mark.timeout(3000)
def test_the_full_product(model):
    found = [case for case in PRODUCT if case.model == model]
    assert len(found) in (len(cases.LOSS_NAMES), len(cases.LOSS_NAMES) * len(cases.ACTIVATIONS))
    for case in found:
        check(case)
