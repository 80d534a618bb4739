"""What a study adds to the derivations of its problem: stated constrained problems, the KKT points of a neuron, and laws counted at its sizes."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from derivations.derivation import Derivation
from derivations.kkt import Conditions
from derivations.statement import Statement
from workbench.derive import Statements, derive, statements
from workbench.laws import MOST_PARAMETERS, counted_laws, law_statements, sizes_of
from workbench.neuron_points import neuron_conditions
from workbench.stated import stated_kkt

if TYPE_CHECKING:
    from derivations.activation_table import ActivationTable
    from workbench.analysis import Analysis

__all__ = ["derived", "stated"]


def derived(analysis: Analysis, what: str) -> Derivation | Statements | ActivationTable:
    """Return the equations or statements called ``what`` of a study, or of a problem alone."""
    study = analysis.study
    if what == "kkt" and study is not None and study.kkt is not None:
        return replace(stated_kkt(study, analysis.problem, analysis.dataset), derived_from=analysis.problem)
    found = derive(analysis.problem, what)
    if what == "kkt-neuron" and study is not None and isinstance(found, Conditions):
        return neuron_conditions(found, analysis.problem, analysis.dataset)
    if what == "conservation" and study is not None and isinstance(found, Statements):
        sizes = sizes_of(study, analysis.dataset)
        if sizes is not None:
            found = replace(found, statements=(*found.statements, *law_statements(analysis.problem, sizes)))
    return found


def stated(analysis: Analysis) -> dict[str, list[Statement]]:
    """Return what is proved of the problem, by topic; with the number of conservation laws where the network is small."""
    found = statements(analysis.problem)
    sizes = analysis.small_sizes(MOST_PARAMETERS) if analysis.study is not None else None
    laws = None if sizes is None else counted_laws(analysis.problem, sizes)
    if laws is not None:
        found["conservation"] = [*found.get("conservation", []), laws]
    return found
