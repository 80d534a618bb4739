"""Stalls of training runs: found in a list of numbers, explained by a published critical point, refused where nothing is stated."""

import dataclasses

import numpy as np
import pytest

import workbench as wb
from workbench.errors import StudyError
from workbench.landscape import Landscape
from workbench.network import Network, architecture
from workbench.results import CriticalPoint, Inertia
from workbench.study import study_from_mapping
from workbench.training import dips, embedded_near, train

# The width-1 minimum of the shipped one-dimensional data, as published with its risk.
A1 = {"a": [2.114296872029], "w": [[0.476965966290]], "b": [0.141833335041]}
RISK = 0.008172288778


def study(**training: object) -> wb.Study:
    """Return the shipped study with another training."""
    shipped = wb.load(wb.shipped_studies()["tanh-1d"])
    content = shipped.to_dict() | {"training": {"width": 4, "scale": "1/100", "until": "60"} | training}
    content["landscape"]["widths"] = [1]
    return study_from_mapping(content)


def known() -> Landscape:
    """Return what is published for width 1, and the network without neurons."""
    y = np.array(wb.load(wb.shipped_studies()["tanh-1d"]).data.y, dtype=float)
    zero = CriticalPoint("m0.1", 0, {}, float((y**2).mean() / 2), 0.0, (), Inertia(0, 0, 0))
    first = CriticalPoint("m1.1", 1, A1, RISK, 0.0, (0.18, 1.1, 2.5), Inertia(0, 0, 3))
    return Landscape("tanh-1d", 0, (zero, first), (), (), (), ())


def shape_of(output_bias: bool = False, activation: str = "tanh"):
    problem = wb.Problem.two_layer(
        activation=activation, loss="square", input_bias=True, output_bias=output_bias
    )
    return architecture(problem, 1, 1)


def test_a_dip_counts_with_the_lower_of_the_summits_beside_it() -> None:
    found = [(dip.index, dip.prominence) for dip in dips([9.0, 3.0, 6.0, 1.0, 30.0, 0.5, 0.6])]
    assert found == [(1, 2.0), (3, 30.0), (5, 60.0)]


def test_a_steady_decrease_has_its_only_dip_at_the_end() -> None:
    assert [dip.index for dip in dips([8.0, 4.0, 2.0, 1.0])] == [3]


def test_a_constant_gradient_has_no_dip() -> None:
    assert dips([1.0, 1.0, 1.0]) == []


def test_a_disturbed_copy_leads_back_to_the_copy() -> None:
    narrow = Network(np.array([[2.0], [-1.0]]), np.array([[0.5, 0.1], [1.5, -0.7]]), None)
    wide = np.array([[1.5, 0.5, 0.1], [1.0, -1.5, 0.7], [-0.5, -0.5, -0.1], [0.0, 0.0, 0.0]])
    shaken = wide + 0.01 * np.random.default_rng(0).standard_normal(wide.shape)
    net, groups = embedded_near(Network(shaken[:, :1], shaken[:, 1:], None), narrow, shape_of())
    assert groups == (0, 1, 0, -1)
    x = np.linspace(-3, 3, 25)
    inputs = np.column_stack([x, np.ones_like(x)])
    outputs = [np.tanh(inputs @ one.w.T) @ one.a for one in (net, narrow)]
    assert np.abs(outputs[0] - outputs[1]).max() < 1e-14
    assert np.abs(np.concatenate([net.a, net.w], axis=1) - shaken).max() < 0.05


def test_every_narrow_neuron_gets_a_copy_even_if_none_is_near() -> None:
    narrow = Network(np.array([[1.0], [1.0]]), np.array([[1.0, 0.0], [40.0, 0.0]]), None)
    wide = Network(np.array([[0.5], [0.5]]), np.array([[1.0, 0.0], [1.1, 0.0]]), None)
    found = embedded_near(wide, narrow, shape_of())
    assert found is not None
    assert sorted(found[1]) == [0, 1]


def test_without_parity_and_output_bias_no_neuron_falls_silent() -> None:
    narrow = Network(np.array([[1.0]]), np.array([[1.0, 0.0]]), None)
    wide = Network(np.array([[1.0], [0.001]]), np.array([[1.0, 0.0], [0.001, 0.0]]), None)
    found = embedded_near(wide, narrow, shape_of(activation="gelu"))
    assert found is not None
    assert found[1] == (0, 0)


def test_a_narrow_network_with_more_neurons_has_no_copy() -> None:
    wide = Network(np.array([[1.0]]), np.array([[1.0, 0.0]]), None)
    narrow = Network(np.ones((2, 1)), np.array([[1.0, 0.0], [2.0, 0.0]]), None)
    assert embedded_near(wide, narrow, shape_of()) is None


def test_a_small_start_stalls_at_zero_and_at_the_published_minimum_of_one_neuron() -> None:
    run = train(wb.Analysis(study()), known())
    first, last = run.stalls[0], run.stalls[-1]
    assert first.point == "m0.1"
    assert last.point == "m1.1"
    assert abs(last.value - RISK) < 0.05 * RISK
    assert last.embedded is not None
    assert last.embedded.gradient_norm < 1e-9
    assert abs(last.embedded.value - RISK) < 1e-11
    assert run.explained == len(run.stalls)
    assert run.to_dict()["stalls"][-1]["embedded"]["groups"] == list(last.embedded.groups)
    colours = {line.get_gid() for line in run.plot().axes[0].lines}
    assert {"risk", "stall:m0.1", "stall:m1.1", "level:m1.1"} <= colours


def test_without_the_critical_point_the_stall_is_not_explained() -> None:
    alone = dataclasses.replace(known(), points=known().points[:1])
    run = train(wb.Analysis(study()), alone)
    assert run.stalls[-1].point is None
    assert run.stalls[-1].embedded is None


def test_a_study_without_a_training_table_is_refused() -> None:
    plain = wb.load(wb.shipped_studies()["five-points"])
    with pytest.raises(StudyError, match=r"training: found no such table"):
        train(wb.Analysis(plain), known())


def test_the_training_must_be_wider_than_the_landscape() -> None:
    with pytest.raises(StudyError, match=r"training.width: found 1; accepted: more than"):
        train(wb.Analysis(study(width=1)), known())


@pytest.mark.parametrize(
    ("key", "value", "words"),
    [
        ("until", "0", "> 0"),
        ("scale", "-1", "> 0"),
        ("width", 0, "an integer from 1"),
        ("till", 3, "unknown key"),
    ],
)
def test_wrong_settings_name_the_key(key: str, value: object, words: str) -> None:
    with pytest.raises(StudyError, match=rf"training.{key}.*{words}"):
        study(**{key: value})
