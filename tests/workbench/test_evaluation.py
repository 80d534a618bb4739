"""Spectra of evaluated points: all eigenvalues where the Hessian is small, both ends where it is large."""

from __future__ import annotations

import json

import pytest
import torch

import workbench as wb
from numerics.reference import Reference
from workbench import evaluation
from workbench.tables import evaluation_table

X = [[-1.0, 0.5], [-0.3, 1.0], [0.2, -0.7], [1.0, 0.1], [0.6, 0.6]]
Y = [0.5, -0.2, 0.3, 1.0, -0.4]
WIDTH = 10


def analysis() -> wb.Analysis:
    content = {
        "schema": 1,
        "name": "ten",
        "model": {"width": WIDTH, "activation": "tanh", "input_bias": True},
        "data": {"x": X, "y": Y},
    }
    return wb.Analysis(wb.study_from_mapping(content))


def points() -> list[dict[str, list]]:
    generator = torch.Generator().manual_seed(4)
    shapes = {"a": (WIDTH,), "w": (WIDTH, 2), "b": (WIDTH,)}
    return [
        {
            name: torch.randn(*shape, generator=generator, dtype=torch.float64).tolist()
            for name, shape in shapes.items()
        }
        for _ in range(2)
    ]


def test_a_small_hessian_has_all_eigenvalues_and_an_inertia():
    found = analysis().evaluate(points()).to_dict()
    for point in found["points"]:
        assert point["spectrum"] == {"complete": True, "parameters": 40}
        assert len(point["eigenvalues"]) == 40
        assert sum(point["inertia"].values()) == 40


def test_a_large_hessian_has_both_ends_and_no_inertia(monkeypatch):
    monkeypatch.setattr(evaluation, "MOST_DENSE", 39)
    monkeypatch.setattr(evaluation, "ENDS", 4)
    monkeypatch.setattr("numerics.compile.CompiledSystem.hessian", None)
    monkeypatch.setattr("numerics.compile.CompiledSystem.value_gradient_hessian", None)  # not to be formed
    result = analysis().evaluate(points())
    found = json.loads(json.dumps(result.to_dict()))
    oracle = Reference(
        torch.tensor(X, dtype=torch.float64),
        torch.tensor(Y, dtype=torch.float64),
        activation="tanh",
        loss="square",
        widths=(WIDTH,),
        input_bias=True,
    )
    for point, start in zip(found["points"], points(), strict=True):
        theta = torch.cat(
            [torch.tensor(start[name], dtype=torch.float64).reshape(-1) for name in ("a", "w", "b")]
        )
        wanted = torch.linalg.eigvalsh(oracle.hessian(theta)).tolist()
        assert point["eigenvalues"] == pytest.approx([*wanted[:4], *wanted[-4:]], abs=1e-8)
        assert point["inertia"] is None
        assert point["largest_zero"] is None
        assert point["smallest_nonzero"] is None
        spectrum = point["spectrum"]
        assert spectrum["complete"] is False
        assert (spectrum["parameters"], spectrum["lowest"], spectrum["highest"]) == (40, 4, 4)
        assert spectrum["negative_at_least"] == sum(u < -1e-6 for u in wanted[:4])
        assert point["value"] == pytest.approx(float(oracle.value(theta)), rel=1e-12)
    table = evaluation_table(found)
    assert [row[3] for row in table.rows] == ["?", "?"]
    assert "4 lowest and 4 highest of 40 eigenvalues" in table.notes[0]
    assert "the inertia is not known, at least 4 are negative" in table.notes[0]
    assert "not known" in result._repr_html_()
