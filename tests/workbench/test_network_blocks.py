"""The sections activation and kernels: only where they are asked for, with a reason where they do not exist, and in TeX."""

from __future__ import annotations

import re
from dataclasses import replace

import pytest

from derivations.formula_model import FormulaProblem
from derivations.problem import Problem
from workbench.network_blocks import network_blocks
from workbench.report import render, write_report
from workbench.report_content import MORE_SECTIONS, SECTIONS
from workbench.study import study_from_mapping

BOTH = ("activation", "kernels")


def with_sections(content, problem, sections=BOTH):
    blocks = {**content.derivations, **network_blocks(problem, sections)}
    return replace(content, sections=sections, derivations=blocks)


def test_sections_are_made_where_they_are_named():
    problem = Problem.two_layer("relu", "square")
    assert network_blocks(problem, tuple(SECTIONS)) == {}
    assert list(network_blocks(problem, ("problem", "kernels"))) == ["kernels"]
    assert set(BOTH) == set(MORE_SECTIONS)
    assert not set(MORE_SECTIONS) & set(SECTIONS)


def test_a_study_names_them_and_has_them_not_by_default():
    table = {"schema": 1, "name": "s", "model": {"width": 1}, "data": {"x": [[1.0]], "y": [1.0]}}
    assert not set(study_from_mapping(table).report.sections) & set(BOTH)
    named = study_from_mapping({**table, "report": {"sections": ["kernels", "activation"]}})
    assert named.report.sections == ("kernels", "activation")


def test_the_report_prints_both(report_content):
    text = render(with_sections(report_content, Problem.two_layer("relu", "square", scale="1/sqrt(m)")))
    assert re.findall(r"\\section\{(.*?)\}", text) == ["The activation", "Kernels of wide networks"]
    assert r"\begin{longtable}" in text
    assert r"\kappa_1(u) &=" in text
    assert "NTK parametrisation" in text
    assert r"\bibitem{jacot2018}" in text


def test_a_formula_model_says_why_there_is_nothing():
    found = network_blocks(FormulaProblem.of("a*exp(w*x)", ["a", "w"]), BOTH)
    for name in BOTH:
        assert "it needs kind = 'two_layer' or 'deep'" in found[name][0].text
    assert not found["kernels"][0].display


@pytest.mark.tex
@pytest.mark.parametrize("name", ["relu", "gelu", "abs(sin(z))"])
def test_both_sections_compile(name, report_content, tmp_path):
    problem = (
        Problem.deep(4, name, "square")
        if name == "relu"
        else Problem.two_layer(name, "square", input_bias=True)
    )
    files = write_report(with_sections(report_content, problem), tmp_path)
    assert files.pdf is not None, files.message
