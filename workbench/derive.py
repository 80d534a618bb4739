r"""What ``workbench derive --show`` prints: equations by name, and statements with their proofs.

>>> from derivations.problem import Problem
>>> problem = Problem.two_layer("tanh", "square")
>>> [str(s.status) for s in derive(problem, "embedding").statements][:2]
['PROVED', 'PROVED']
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from derivations import equations
from derivations.activation_table import ActivationTable, activation_table
from derivations.claim import Status
from derivations.conservation import conservation_derivation
from derivations.derivation import Derivation
from derivations.embeddings import embeddings
from derivations.errors import AssumptionError
from derivations.identities import identity_statements
from derivations.interval import INTERVAL_WHATS, IntervalProblem
from derivations.kkt import kkt
from derivations.population import POPULATION_WHATS, GaussianProblem
from derivations.problem import Problem
from derivations.recovery_statements import recovery_statements
from derivations.statement import Statement
from derivations.symmetry import symmetry_derivation
from derivations.wide_network import derive_kernels
from workbench.errors import NotThere, unknown_name
from workbench.options import EQUATIONS, MORE_EQUATIONS
from workbench.populations import for_population

__all__ = ["SHOWN", "Statements", "derive", "statements", "with_notes"]

#: Names accepted by ``derive``; those that need an assumption say which.
SHOWN = (*EQUATIONS, *MORE_EQUATIONS)


@dataclass(frozen=True)
class Statements:
    """Sentences with their derivations and statuses, in the forms that equations have.

    Attributes
    ----------
    name, title : str
        What was asked for, and a heading.
    statements : tuple of Statement
        In the order they are to be read.
    derived_from : object
        The problem they are about.
    """

    name: str
    title: str
    statements: tuple[Statement, ...]
    derived_from: Any = field(default=None, compare=False, repr=False)

    def latex(self) -> str:
        """Return LaTeX: a paragraph for each statement, its derivation as a list."""
        parts = []
        for statement in self.statements:
            parts.append(rf"\paragraph{{{_heading(statement)}}} {statement.statement}")
            if statement.steps:
                items = "\n".join(rf"\item {step}" for step in statement.steps)
                parts.append("\\begin{itemize}\n" + items + "\n\\end{itemize}")
        return "\n".join(parts)

    def text(self) -> str:
        """Return plain text; mathematics stays LaTeX between dollars."""
        lines = [self.title]
        for statement in self.statements:
            lines += [f"  {_heading(statement)}", f"    {statement.statement}"]
            lines += [f"      - {step}" for step in statement.steps]
        return "\n".join(lines)

    def to_dict(self) -> dict[str, Any]:
        """Return the JSON form."""
        return {
            "name": self.name,
            "title": self.title,
            "statements": [statement.to_dict() for statement in self.statements],
        }

    def __str__(self) -> str:
        return self.text()

    def _repr_markdown_(self) -> str:
        return "\n\n".join(f"**{_heading(s)}** {s.statement}" for s in self.statements)

    def _repr_html_(self) -> str:
        return "".join(statement._repr_html_() for statement in self.statements)

    def _repr_latex_(self) -> str:
        return self.latex()


def _heading(statement: Statement) -> str:
    return f"{statement.name[0].upper()}{statement.name[1:]} ({statement.status})."


def _embedding(problem: Problem) -> list[Statement]:
    if problem.weight_decay != 0:
        raise NotThere(
            f"with weight decay {problem.weight_decay} neither splitting nor adding a null neuron keeps critical points;"
            " set weight_decay = '0'"
        )
    if problem.freeze and problem.kind == "deep":
        raise NotThere(
            f"embeddings of deep networks are stated for trained blocks; {', '.join(problem.freeze)} are frozen: leave freeze empty"
        )
    return embeddings(problem)


#: Constrained problems by the name of their conditions.
_CONSTRAINED = {
    "kkt": "hard-margin",
    "kkt-norm": "norm-constrained",
    "kkt-correlation": "correlation",
    "kkt-neuron": "neuron-correlation",
}
_MARGIN_LOSSES = ("logistic", "exponential", "hinge", "linear_hinge", "correlation")


def _kkt(problem: Problem, what: str) -> Derivation:
    name = problem.loss.name if problem.loss is not None else None
    if what != "kkt-norm" and name is not None and name not in _MARGIN_LOSSES:
        raise AssumptionError(
            f"the {_CONSTRAINED[what]} problem is about the margins y f of a classifier; the loss is {name}: choose"
            f" {', '.join(_MARGIN_LOSSES)}, or ask for kkt-norm"
        )
    return replace(kkt(problem, _CONSTRAINED[what]), name=what)


_TOPICS: Mapping[str, tuple[str, Callable[[Problem], list[Statement]]]] = {
    "symmetries": ("Symmetries", symmetry_derivation),
    "conservation": ("Conserved quantities", conservation_derivation),
    "embedding": ("Embeddings into wider and deeper networks", _embedding),
}


def _activation(network: Problem) -> ActivationTable:
    from workbench.torch_form import torch_row  # PyTorch is not needed for equations

    if network.activation is None:
        raise NotThere("the activation of this problem is general; name one, such as activation = 'tanh'")
    return activation_table(network.activation).with_rows(torch_row(network.activation))


#: What is left of the conserved quantities of a population where none holds for all samples.
_OPEN = Statement(
    "conserved quantity of this population",
    "None is known: no quantity that is sought is conserved for all samples. Whether one is for this population is open.",
    ("That samples exist along whose flow a quantity changes says nothing about one population.",),
    Status.UNDECIDED,
    {},
)


def _identities(network: Problem) -> Statements:
    return Statements("identities", "Output-preserving identities", tuple(identity_statements(network)))


#: What belongs to the network alone, whatever the data.
_OF_THE_NETWORK: Mapping[str, Callable[[Problem], Derivation | Statements | ActivationTable]] = {
    "activation": _activation,
    "kernels": derive_kernels,
    "identities": _identities,
}
#: What formulas and diagonal networks have as well.
_OF_EVERY_MODEL = ("symmetries", "conservation", "identities")


def derive(
    problem: Problem | IntervalProblem | GaussianProblem, what: str
) -> Derivation | Statements | ActivationTable:
    """Return the equations or statements called ``what``, one of ``SHOWN``.

    Raises
    ------
    ValueError
        If the name is unknown; the message names the nearest.
    NotThere
        If they do not exist for this problem in this version.
    """
    if what not in SHOWN:
        raise ValueError(f"--show: {unknown_name(what, SHOWN, 'an equation')}")
    return replace(_derived(problem, what), derived_from=problem)


def _derived(
    problem: Problem | IntervalProblem | GaussianProblem, what: str
) -> Derivation | Statements | ActivationTable:
    if what in _OF_THE_NETWORK:
        network = problem if isinstance(problem, Problem) else problem.problem
        _check_network(network, what)
        return _OF_THE_NETWORK[what](network)
    if not isinstance(problem, Problem):
        if what in _TOPICS:
            title, function = _TOPICS[what]
            return Statements(what, title, tuple(for_population(function(problem.problem))) or (_OPEN,))
        return _population(problem, what)
    if what == "global-minima":
        return Statements(
            what, "Global minima of a teacher-student problem", tuple(recovery_statements(problem))
        )
    if what in _CONSTRAINED:
        if what == "kkt-neuron":
            _check_network(problem, what)
        return _kkt(problem, what)
    if what in _TOPICS:
        _check_network(problem, what)
        title, function = _TOPICS[what]
        return Statements(what, title, tuple(function(problem)))
    return equations.derive(problem, what)


def _population(problem: IntervalProblem | GaussianProblem, what: str) -> Derivation:
    known = INTERVAL_WHATS if isinstance(problem, IntervalProblem) else POPULATION_WHATS
    if what not in known:
        raise NotThere(
            f"'{what}' of a loss over {problem.kind} data is not there yet; there are {', '.join([*known, *_TOPICS])}"
        )
    return problem.derive(what)


def _check_network(problem: Problem, what: str) -> None:
    without_layers = problem.kind in ("formula", "diagonal") and what in _OF_EVERY_MODEL
    if problem.kind not in ("two_layer", "deep") and not without_layers:
        raise NotThere(
            f"'{what}' of a {problem.kind} model is not there yet; it needs kind = 'two_layer' or 'deep'"
        )


def with_notes(result: Any, form: str) -> str:
    r"""Return the text or the LaTeX of a result with its notes, which say what the equations hold for.

    Parameters
    ----------
    result : Derivation, Statements or ActivationTable
        What ``derive`` returns.
    form : str
        ``text`` or ``latex``.

    Examples
    --------
    >>> from derivations.problem import Problem
    >>> print(with_notes(derive(Problem.two_layer("relu"), "jacobian"), "text").splitlines()[-1].strip())
    The activation has a kink: derivatives are meant almost everywhere, with the convention $\sigma'(0) = 0$.
    """
    shown = str(result.latex() if form == "latex" else result.text())
    notes = [note for note in getattr(result, "notes", ()) if note not in shown]
    if not notes:
        return shown
    if form == "latex":
        return "\n".join([shown, "", *notes])
    return "\n".join([shown, "  notes", *(f"    {note}" for note in notes)])


def statements(problem: Problem | IntervalProblem | GaussianProblem) -> dict[str, list[Statement]]:
    """Return every statement there is for the problem, by topic; topics that do not apply are left out."""
    out = {}
    network = problem if isinstance(problem, Problem) else problem.problem
    for name, (_, function) in _TOPICS.items():
        try:
            _check_network(network, name)
            found = function(network)
        except NotThere:
            continue
        out[name] = found if network is problem else for_population(found)
    return out
