"""The exact condition under which an inserted layer lifts critical points, for every place in the network."""

from __future__ import annotations

import pytest
from sympy import Rational, oo

from derivations import lifting as module
from derivations.activations import activation
from derivations.claim import Status
from derivations.grouped_network import layers
from derivations.lifting import affine_pieces, lifting, lifting_residuals
from derivations.problem import Problem

PROBLEMS = [
    Problem.two_layer(),
    Problem.two_layer(input_bias=True, output_bias=True, vector_output=True, scale=Rational(1, 3)),
    Problem.deep(3),
    Problem.deep(4, vector_output=True, output_bias=False),
    Problem.deep(3, input_bias=False),
]


@pytest.mark.parametrize("problem", PROBLEMS, ids=lambda p: f"{p.kind}{p.depth}")
def test_every_identity_holds_at_every_place(problem):
    for number in range(1, len(layers(problem)) + 1):
        found = lifting_residuals(problem, number)
        assert {"pre-activations", "W tilde", "W hat"} <= set(found)
        assert ("adjoints before" in found) == (number > 1)
        assert set(found.values()) == {0}
    statement = lifting(problem)
    assert statement.status is Status.PROVED
    assert all(text.count("$") % 2 == 0 for text in (statement.statement, *statement.steps))


def test_units_that_are_not_affine_to_first_order_are_not_proved(monkeypatch):
    right = module._Lifted.affine

    def only_the_value(self, expr):
        if isinstance(expr, module.GenericFunction) and expr.orders == (1,):
            return expr
        return right(self, expr)

    def through(self, expr):
        if isinstance(expr, module.ISum):
            body, index = module.open_sum(expr)
            return module.isum(through(self, body), index)
        if isinstance(expr, module.GenericFunction) or not expr.args:
            return only_the_value(self, expr)
        return expr.func(*[through(self, arg) for arg in expr.args])

    monkeypatch.setattr(module._Lifted, "affine", through)
    found = lifting_residuals(Problem.deep(3), 2)
    assert found["pre-activations"] == found["W tilde"] == 0
    assert found["W hat"] != 0
    assert found["adjoints before"] != 0
    assert lifting(Problem.deep(3)).status is Status.UNDECIDED


def test_a_bias_that_does_not_take_up_the_constants_is_not_proved(monkeypatch):
    right = module._Lifted.narrow.fget

    def wrong(self):
        return {t: rule for t, rule in right(self).items() if t == self.layer.block.tensor}

    monkeypatch.setattr(module._Lifted, "narrow", property(wrong))
    assert lifting_residuals(Problem.deep(3), 2)["pre-activations"] != 0


def test_the_affine_pieces_of_an_activation_are_listed():
    assert affine_pieces(activation("leaky_relu(1/10)")) == (
        (-oo, 0, Rational(1, 10), 0),
        (0, oo, 1, 0),
    )
    assert affine_pieces(activation("abs")) == ((-oo, 0, -1, 0), (0, oo, 1, 0))
    assert affine_pieces(activation("linear")) == ((-oo, oo, 1, 0),)
    assert affine_pieces(activation("tanh")) == affine_pieces(activation("quadratic")) == ()
    assert "affine on no interval" in lifting(Problem.two_layer("tanh")).statement
    assert r"\lambda = 1" in lifting(Problem.two_layer("relu")).statement


def test_a_layer_without_a_bias_has_its_own_condition():
    assert r"Before a layer without a bias ($3$)" in lifting(Problem.deep(3, output_bias=False)).statement
    assert "Before a layer without" not in lifting(Problem.deep(3)).statement


def test_decay_and_scales_of_the_width_are_refused():
    with pytest.raises(ValueError, match="without weight decay, got weight decay 1; set it to 0"):
        lifting(Problem.deep(3, weight_decay=1))
    with pytest.raises(ValueError, match=r"does not depend on the width, got 1/m; set it to 1"):
        lifting(Problem.two_layer(scale="1/m"))
