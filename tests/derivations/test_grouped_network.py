"""The wide network has the groups of neurons that keep critical points for all data, and computes what two layers compute."""

from __future__ import annotations

import pytest

from derivations.grouped_network import KAPPA, grouped_network, layers
from derivations.problem import Problem


def test_null_neurons_are_added_where_they_keep_critical_points_for_all_data():
    def kinds(problem):
        return [layer.nulls for layer in layers(problem)]

    assert kinds(Problem.deep(3)) == ["free", "free", ""]
    assert kinds(Problem.deep(3, output_bias=False)) == ["free", "", ""]
    assert kinds(Problem.deep(3, "tanh", output_bias=False)) == ["free", "silent", ""]
    assert kinds(Problem.deep(3, input_bias=False)) == ["", "fixed", ""]
    assert kinds(Problem.two_layer("tanh")) == ["silent", ""]
    assert kinds(Problem.two_layer("sigmoid", input_bias=True)) == ["", ""]


def test_weight_decay_frozen_blocks_and_other_models_are_refused():
    with pytest.raises(ValueError, match="without weight decay, got weight decay 1; set it to 0"):
        grouped_network(Problem.deep(3, weight_decay=1))
    with pytest.raises(ValueError, match="the blocks W1 are frozen"):
        grouped_network(Problem.deep(3, freeze=("W1",)))


def test_every_group_reads_every_group_of_the_layer_before():
    wide = grouped_network(Problem.deep(3, "tanh"))
    assert {key for key in wide.weights if key[0] == 2} == {
        (2, row, column) for row in ("old", "copy", "null") for column in ("old", "copy", "null")
    }
    assert set(wide.pre) == {(l, g) for l in (1, 2) for g in ("old", "copy", "null")} | {(3, "end")}


def test_a_scale_that_depends_on_the_width_is_rescaled_by_one_factor():
    assert grouped_network(Problem.two_layer(scale="1/m")).ratio == KAPPA
    assert grouped_network(Problem.two_layer(scale="1/3")).ratio == 1
