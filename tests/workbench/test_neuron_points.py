from workbench.analysis import Analysis
from workbench.study import study_from_mapping


def conditions(loss="correlation", **model):
    x = [[1, "1/5"], ["4/5", "-2/5"], ["3/5", "1/2"], ["-1/2", "9/10"], ["-9/10", "3/10"]]
    study = {
        "schema": 1,
        "name": "five",
        "model": {"activation": "relu", "input_bias": False} | model,
        "loss": {"kind": loss},
        "data": {"x": x, "y": [1, "7/10", "9/10", "-3/5", "-3/10"]},
    }
    return Analysis(study_from_mapping(study)).derive("kkt-neuron")


def test_the_points_of_a_study_are_listed_with_their_status():
    found = conditions()
    content = found.to_dict()
    assert content["status"] == "PROVED"
    assert [round(p["numbers"]["value"], 10) for p in content["points"]] == [2.1323461257, -0.8495881355]
    assert "PROVED to be all" in found.text()
    assert "These are all KKT points" in found.notes[-1]


def test_the_bias_is_a_further_coordinate():
    found = conditions(input_bias=True)
    assert len(found.to_dict()["points"][0]["direction"]) == 3
    assert "(u, b) = (" in found.text()


def test_other_activations_stay_undecided():
    found = conditions(activation="quadratic")
    assert found.to_dict()["status"] == "UNDECIDED"
    assert "1-homogeneous" in found.text()
