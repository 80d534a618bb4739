"""PyTorch forms are run here, and compared with thirty digits."""

from __future__ import annotations

import pytest
import torch
from sympy import Float, besselj

from derivations.activations import REGISTRY, Z, activation
from derivations.claim import Status
from derivations.registry import ENTRIES, MEMBERS
from workbench import torch_form as module
from workbench.torch_form import torch_form, torch_row

FORMULAS = [
    "step(z)",
    "2**z",
    "sqrt(1 + z**2)",
    "1/sqrt(1 + z**2)",
    "max(z, 1)",
    "z*abs(z) + sign(z)",
    "pi*z + exp(1)",
]


@pytest.mark.parametrize("name", [*ENTRIES, *MEMBERS, *FORMULAS])
def test_the_printed_form_computes_the_activation(name):
    sigma = activation(name)
    points = [-3.5, -0.3, 0.4, 2.25]
    z = torch.tensor(points, dtype=torch.float64)
    found = eval(torch_form(sigma.derivative(0)), {"torch": torch, "z": z})
    wanted = [float(sigma.expr.subs(Z, Float(point, 40)).evalf(30)) for point in points]
    assert found.tolist() == pytest.approx(wanted, rel=1e-12, abs=1e-15)


def test_a_row_carries_the_measured_error():
    row = torch_row(REGISTRY["gelu"])
    assert (row.status, row.is_code) == (Status.SUPPORTED, True)
    assert "at 17 points; the bound is 1e-12" in row.reason
    assert row.latex == r"\texttt{" + row.text + "}"
    assert r"zeros\_like" in torch_row(REGISTRY["softplus"]).latex


def test_values_that_differ_are_not_supported(monkeypatch):
    monkeypatch.setattr(module, "_compiled", lambda sigma: [0.1] * len(module.POINTS))
    assert module.torch_row.__wrapped__(REGISTRY["sin"]).status is Status.UNDECIDED


def test_what_is_not_compiled_is_said():
    with pytest.raises(KeyError, match="besselj"):
        torch_form(besselj(0, Z))
