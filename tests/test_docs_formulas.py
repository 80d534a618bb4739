"""How the documentation writes formulas as MathML; the settings of Sphinx are read as a plain module."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from types import ModuleType

import pytest

CONF = Path(__file__).resolve().parent.parent / "docs" / "conf.py"


@pytest.fixture
def conf(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    monkeypatch.setattr(sys, "path", list(sys.path))  # the settings put the checkout on it
    spec = importlib.util.spec_from_file_location("docs_conf", CONF)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        (r"\dot{a}_{kc} = 1", r"\dot{a}{}_{kc} = 1"),
        (r"\dot Q_k = 0", r"\dot Q{}_k = 0"),
        (r"\hat\theta_k^2", r"\hat\theta{}_k^2"),
        (r"\dot\theta = -\nabla R", r"\dot\theta = -\nabla R"),
        (r"\frac12 + \tfrac1n", r"\frac{1}{2} + \tfrac{1}{n}"),
        (r"1, \dots, n", r"1, \ldots, n"),
        (r"a \iff b", r"a \Longleftrightarrow b"),
    ],
)
def test_a_formula_is_rewritten_for_docutils(conf: ModuleType, source: str, expected: str) -> None:
    assert conf.plainer(source) == expected


def test_an_index_stands_beside_a_letter_with_a_dot_and_fences_do_not_stretch(conf: ModuleType) -> None:
    nodes = pytest.importorskip("docutils.nodes", reason="docutils is not installed; 'make docs' installs it")
    source = r"\dot{a}_{k} = \langle a_k, b \rangle"
    found = conf.mathml(nodes.math(source, source), as_block=False)
    assert "<munderover>" not in found
    assert found.count('stretchy="false">⟨') == found.count('stretchy="false">⟩') == 1
