"""The table of an activation in its four forms; the properties themselves are tested with the activations."""

from __future__ import annotations

import json
import math

import pytest
import torch
from sympy import Rational

from derivations.activation_rows import Property
from derivations.activation_table import activation_table
from derivations.activations import REGISTRY, activation
from derivations.claim import Status
from derivations.hermite import hermite_coefficients

WANTED = (
    "formula", "value at 0", "first derivative", "second derivative", "third derivative", "fourth derivative", "kinks", "parity",
    "homogeneity", "period", "exponential shift law", "real-analytic", "multiplicity at 0", "Lipschitz constant",
    "Lipschitz constant of the derivative", "limit at minus infinity", "limit at plus infinity", "Hermite coefficient 0",
    "Hermite coefficient 4", "dual kernel", "dual kernel of the derivative",
)  # fmt: skip


@pytest.mark.parametrize("name", ["tanh", "erf"])
def test_everything_that_is_derived_has_its_row(name):
    table = activation_table(REGISTRY[name])
    assert set(WANTED) <= {row.name for row in table.rows}


def test_four_forms_say_the_same():
    table = activation_table(REGISTRY["sigmoid"])
    content = table.to_dict()
    assert json.loads(json.dumps(content)) == content
    assert content["properties"][0]["status"] == "PROVED"
    for row in table.rows:
        assert row.text in table.text()
        assert row.latex in table.latex()
        assert row.latex in table._repr_latex_()
        assert row.name in table._repr_html_()
    assert str(table) == table.text()
    assert table.title == "Activation sigmoid"
    assert "$c_j = " in table.latex()
    assert "c_j = E[" in table.text()
    assert table.derived_from is REGISTRY["sigmoid"]


def test_doubt_is_said_with_its_reason():
    text = activation_table(activation("abs(sin(z))")).text()
    assert "UNDECIDED  undecided\n" in text
    assert "(Not decided: the zeros of sin(z).)" in text
    assert "REFUTED: there is no such property or value." in text


def test_a_stated_slope_outside_the_clarke_interval_is_flagged():
    assert "not a Clarke subgradient" in activation_table(activation("leaky_relu(1/10)"))["kinks"].text
    assert "not a Clarke subgradient" not in activation_table(REGISTRY["relu"])["kinks"].text
    inside = activation_table(activation("leaky_relu(1/10)", kink=Rational(1, 2)))["kinks"].text
    assert "stated sigma'(0) = 1/2" in inside
    assert "Clarke" not in inside


def test_constants_are_written_as_in_print():
    rows = activation_table(REGISTRY["relu"])
    assert rows["Hermite coefficient 0"].latex == r"c_{0} = \frac{1}{\sqrt{2 \pi}}"
    assert rows["derivatives from the second on"].text == "sigma''(z) = 0"
    third = activation_table(REGISTRY["tanh"])["third derivative"].text
    assert third == "sigma'''(z) = 2*(1 - tanh(z)**2)*(3*tanh(z)**2 - 1)"


def test_an_unknown_property_is_named():
    with pytest.raises(KeyError, match="no property 'kink'; there are formula, value at 0"):
        activation_table(REGISTRY["relu"])["kink"]


def test_rows_can_be_added():
    row = Property("PyTorch form", r"\texttt{a\_b}", "a_b", Status.SUPPORTED)
    table = activation_table(REGISTRY["relu"], highest_hermite=0).with_rows(row)
    assert table["PyTorch form"].is_code
    assert r"\raggedright \texttt{a\_b} &" in table.latex()
    assert "<td>a_b</td>" in table._repr_html_()


def test_the_series_of_square_integrable_functions_with_unbounded_slope():
    """relu(z) + 3 relu(-z)^2 has no Lipschitz constant; its Hermite series still gives the mean, at rho = 1/2."""
    sigma = activation("relu(z) + 3*relu(-z)**2")
    assert activation_table(sigma)["dual kernel"].status is Status.PROVED
    found = sum(float(c.value) ** 2 * 0.5**j for j, c in enumerate(hermite_coefficients(sigma, 24)))
    grid = torch.arange(-8, 8, 0.01, dtype=torch.float64)
    x, y = grid[:, None], grid[:, None] / 2 + 0.75**0.5 * grid

    def f(t):
        return torch.relu(t) + 3 * torch.relu(-t) ** 2

    weight = torch.exp(-(grid**2) / 2)
    wanted = (f(x) * f(y) * weight[:, None] * weight).sum() * 0.01**2 / (2 * math.pi)
    assert found == pytest.approx(float(wanted), abs=1e-4)  # the sum sees the kinks: 2e-5 at this step
