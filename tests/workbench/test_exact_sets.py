import json

import pytest

import workbench as wb
from workbench.analysis import Analysis
from workbench.exact_sets import exact_sets
from workbench.study import study_from_mapping
from workbench.tables import landscape_tables


def analysis(activation="relu", width=2, **data):
    study = {
        "schema": 1,
        "name": "line",
        "model": {"activation": activation, "width": width, "output_bias": True},
        "loss": {"reduction": "integral", "factor": "2"},
        "data": {"kind": "interval", "lower": 0, "upper": 1, "target": "x"} | data,
        "landscape": {"starts": 20},
    }
    return Analysis(study_from_mapping(study))


def test_the_shipped_interval_is_classified_completely_without_a_search():
    content = Analysis(wb.load(wb.shipped_studies()["relu-affine"])).critical().to_dict()
    assert content["completeness"]["status"] == "PROVED"
    assert [u["value"] for u in content["exact_sets"][0]["sets"]] == ["0", "1/972", "1/12"]
    assert [p["kind"] for p in content["critical_points"]] == [
        "minimum",
        "saddle",
        "saddle",
        "saddle",
        "minimum",
    ]
    assert [p["global_minimum"] for p in content["critical_points"]] == [True, False, False, False, False]
    assert content["critical_points"][1]["exact"]["b"] == ["-1/3", "2/3"]
    assert content["critical_points"][1]["gradient_norm"] < 1e-14
    json.dumps(content)


def test_measured_spectra_have_the_exact_inertia():
    for activation in ("relu", "quadratic", "max(z, z/4)"):
        for point in analysis(activation).critical().points:
            smallest = [u for u in point.eigenvalues if abs(u) > 1e-9]
            assert (sum(u < 0 for u in smallest), sum(u > 0 for u in smallest)) == (
                point.inertia.negative,
                point.inertia.positive,
            )
            assert point.unexplained_zeros == 0


def test_the_table_shows_values_and_what_the_corners_are():
    tables = landscape_tables(analysis().critical().to_dict(), edges=False)
    assert [row[0] for row in tables[1].rows] == ["0", "1/972", "1/12"]
    assert any("moving the kink inwards raises the risk" in note for note in tables[1].notes)
    assert not any("starts to infinity" in note for note in tables[0].notes)


def test_other_targets_are_searched_and_stay_undecided():
    content = analysis(width=1, target="x**2").critical().to_dict()
    assert content["completeness"]["status"] == "UNDECIDED"
    assert "exact_sets" not in content


def test_larger_widths_are_left_to_the_search():
    assert exact_sets(analysis().problem, 4) is None


@pytest.mark.slow
def test_three_leaky_neurons_have_all_published_values():
    found = exact_sets(analysis("max(z, z/4)", 3).problem, 3)
    values = [0, 0.000240592565, 0.000495927168, 0.00232921501, 0.00925925926, 1 / 12]
    assert [float(u) for u in found.values] == pytest.approx(values, rel=1e-8)


def test_the_report_says_that_no_search_was_made():
    from workbench.report_words import searches

    assert "no search was made" in searches(analysis().critical().searches)
