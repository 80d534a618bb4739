r"""The form of a result: a published theorem as a program with settings, assumptions, claims and their derivations.

A theorem is a constant of one module in ``derivations.theorems``.  Its settings turn it into an instance - an activation, data, a
width, in the words of the person who asks; each assumption is a predicate on the instance, each claim carries the published statement
and, where there is one, a derivation that is carried out for the instance.  What is to be measured is measured elsewhere
(``workbench.measurements``), claim by claim, for the same instance.

``verdict`` joins the two.  A claim whose assumption is refuted is not asserted for the instance: its verdict is UNDECIDED, whatever the
measurements say, and they are kept as evidence.

>>> even = Theorem(
...     "even-square", "Squares of even numbers", ("euclid",), "Let $n$ be an integer.",
...     (Setting("n", "4", "an integer", int),),
...     (Assumption("even", "$n$ is even.", lambda given: finding_of(given["n"] % 2 == 0, f"n = {given['n']}")),),
...     (Published("C1", "$4$ divides $n^2$.", "euclid", needs=("even",),
...                derive=lambda given: finding_of(given["n"] ** 2 % 4 == 0, "division")),),
... )
>>> for n in ("4", "3"):
...     instance = even.instance({"n": n})
...     print(verdict(even.claims[0], instance, instance.findings(), None).status)
PROVED
UNDECIDED
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from sympy import Expr, Rational, simplify

from derivations.claim import Claim, Relation, Status
from derivations.decide import is_zero
from derivations.errors import nearest

__all__ = [
    "Assumption",
    "Finding",
    "Instance",
    "Published",
    "Setting",
    "SettingError",
    "Theorem",
    "finding_of",
    "verdict",
    "zero_finding",
]


class SettingError(ValueError):
    """A setting that a theorem does not have, or a value that it cannot take."""


@dataclass(frozen=True)
class Setting:
    """Something of a theorem that may be changed: its name, default, what is accepted, and how the text is read.

    ``read`` raises ValueError with a reason for a text that it does not accept.
    """

    name: str
    default: str
    accepted: str
    read: Callable[[str], Any]


@dataclass(frozen=True)
class Finding:
    """What is known of an assumption or a claim for one instance, and on what ground.

    Parameters
    ----------
    status : Status
        PROVED only for exact arithmetic or a symbolic zero.
    reason : str
        One sentence.
    steps : tuple of str
        The derivation, LaTeX sentences.
    computed, expected, residual, tolerance
        As in ``Claim``.
    evidence : mapping
        Seeds, points, counterexamples.
    """

    status: Status
    reason: str = ""
    steps: tuple[str, ...] = ()
    computed: Any = None
    expected: Any = None
    residual: Any = None
    tolerance: float | None = None
    evidence: Mapping[str, Any] = field(default_factory=dict)


def finding_of(holds: bool | None, reason: str = "", **more: Any) -> Finding:
    """Return PROVED for True, REFUTED for False and UNDECIDED for None."""
    status = {True: Status.PROVED, False: Status.REFUTED, None: Status.UNDECIDED}[holds]
    return Finding(status, reason, **more)


#: Values put in for symbols to see that an expression is not zero.
WITNESSES = (Rational(3, 7), Rational(5, 3), Rational(11, 13), Rational(2, 9), Rational(7, 5))


def zero_finding(residuals: Mapping[str, Expr], reason: str, **more: Any) -> Finding:
    """Return PROVED where every residual reduces to 0 as an expression, REFUTED where one has a value that is not 0.

    Parameters
    ----------
    residuals : mapping
        Expressions that are to vanish for all values of their symbols, by the name of the step.
    reason : str
        Said where all vanish.
    **more
        Further fields of the finding; ``residual`` is 0 or what is left.

    Examples
    --------
    >>> from sympy import symbols
    >>> u, v = symbols("u v", positive=True)
    >>> zero_finding({"square": (u + v) ** 2 - u**2 - v**2 - 2 * u * v}, "expanded").status.name
    'PROVED'
    >>> zero_finding({"square": (u + v) ** 2 - u**2 - v**2}, "expanded").reason
    'square: 2*u*v is left, which is 10/7 at u = 3/7, v = 5/3'
    """
    left = {name: simplify(expr) for name, expr in residuals.items()}
    left = {name: expr for name, expr in left.items() if expr != 0}
    if not left:
        return Finding(Status.PROVED, reason, residual="0", evidence={"zeros": list(residuals)}, **more)
    for name, expr in left.items():
        at = dict(zip(sorted(expr.free_symbols, key=str), itertools.cycle(WITNESSES), strict=False))
        value = expr.subs(at)
        if is_zero(value) is Status.REFUTED:
            where = ", ".join(f"{symbol} = {number}" for symbol, number in at.items())
            why = f"{name}: {expr} is left" + (f", which is {value} at {where}" if where else "")
            return Finding(Status.REFUTED, why, residual=str(expr), **more)
    return Finding(
        Status.UNDECIDED,
        f"not shown to vanish: {', '.join(left)}",
        residual=str(next(iter(left.values()))),
        **more,
    )


@dataclass(frozen=True)
class Assumption:
    """A hypothesis as a predicate on an instance; ``statement`` is LaTeX."""

    name: str
    statement: str
    holds: Callable[[Instance], Finding]


@dataclass(frozen=True)
class Published:
    """A claim as it was published.

    Parameters
    ----------
    label : str
        ``C1``, within the theorem.
    statement : str
        LaTeX, mathematics between dollars.
    source : str
        Bibliography key.
    relation : Relation
        Of the computed quantity to the published one.
    needs : tuple of str
        Names of the assumptions.
    derive : callable, optional
        Carries out the derivation for an instance.
    """

    label: str
    statement: str
    source: str
    relation: Relation = Relation.EQUAL
    needs: tuple[str, ...] = ()
    derive: Callable[[Instance], Finding] | None = None


@dataclass(frozen=True)
class Theorem:
    """A result: name, title, bibliography keys, the setting in words (LaTeX), settings, assumptions and claims.

    ``agree`` raises ValueError for values of settings that contradict each other.
    """

    name: str
    title: str
    sources: tuple[str, ...]
    setting: str
    settings: tuple[Setting, ...]
    assumptions: tuple[Assumption, ...]
    claims: tuple[Published, ...]
    agree: Callable[[Mapping[str, Any]], None] | None = None

    def __post_init__(self) -> None:
        known = {assumption.name for assumption in self.assumptions}
        for claim in self.claims:
            if not set(claim.needs) <= known:
                raise ValueError(
                    f"{self.name}: {claim.label} needs {set(claim.needs) - known}, which is not stated"
                )

    def instance(self, chosen: Mapping[str, str] | None = None) -> Instance:
        """Return the theorem for some settings, the others at their defaults.

        Raises
        ------
        SettingError
            If a setting does not exist, cannot take the value, or two contradict each other; the message says what is accepted.
        """
        chosen = dict(chosen or {})
        names = [setting.name for setting in self.settings]
        for name in chosen:
            if name not in names:
                raise SettingError(
                    f"{self.name}: found the setting '{name}'; accepted: {', '.join(names)}{nearest(name, names)}"
                )
        values, texts = {}, {}
        for setting in self.settings:
            text = chosen.get(setting.name, setting.default)
            try:
                values[setting.name] = setting.read(text)
            except ValueError as error:
                raise SettingError(
                    f"{self.name}: {setting.name}: found '{text}' ({getattr(error, 'reason', error)}); "
                    f"accepted: {setting.accepted}"
                ) from None
            texts[setting.name] = text
        if self.agree is not None:
            try:
                self.agree(values)
            except ValueError as error:
                raise SettingError(f"{self.name}: {error}") from None
        return Instance(self, values, texts)


@dataclass(frozen=True, eq=False)
class Instance:
    """A theorem with values for its settings; what was read, and the texts it was read from."""

    theorem: Theorem
    values: Mapping[str, Any]
    texts: Mapping[str, str]

    def __getitem__(self, name: str) -> Any:
        return self.values[name]

    def findings(self) -> dict[str, Finding]:
        """Return what is known of each assumption."""
        return self._findings

    @cached_property
    def _findings(self) -> dict[str, Finding]:
        return {one.name: one.holds(self) for one in self.theorem.assumptions}


def verdict(
    published: Published,
    instance: Instance,
    assumptions: Mapping[str, Finding],
    measured: Finding | None,
) -> Claim:
    """Return the claim for an instance: the derivation and the measurement, as far as the assumptions let it be asserted.

    REFUTED if one of them refutes it, else PROVED or CERTIFIED if the derivation reaches that, else what was measured.  Where an assumption is
    refuted, or no more than undecided, the verdict is at most UNDECIDED, or SUPPORTED by the measurement.
    """
    derived = published.derive(instance) if published.derive is not None else None
    found = [one for one in (derived, measured) if one is not None]
    broken = [name for name in published.needs if assumptions[name].status is Status.REFUTED]
    open_ones = [name for name in published.needs if assumptions[name].status is Status.UNDECIDED]
    leading = _leading(found)
    status = leading.status
    if broken:
        status = Status.UNDECIDED
    elif open_ones and status in (Status.PROVED, Status.CERTIFIED, Status.REFUTED):
        status = (
            Status.SUPPORTED
            if measured is not None and measured.status is Status.SUPPORTED
            else Status.UNDECIDED
        )
    evidence: dict[str, Any] = {"settings": dict(instance.texts)}
    if broken or open_ones:
        evidence["assumptions that fail"] = {name: assumptions[name].reason for name in broken}
        evidence["assumptions left open"] = {name: assumptions[name].reason for name in open_ones}
    for kind, one in (("derivation", derived), ("measurement", measured)):
        if one is not None:
            evidence[kind] = {"status": str(one.status), "reason": one.reason, **one.evidence}
            if one.steps:
                evidence[kind]["steps"] = list(one.steps)
    return Claim(
        name=instance.theorem.name,
        claim=published.label,
        statement=published.statement,
        source=published.source,
        relation=published.relation,
        status=status,
        computed=leading.computed,
        expected=leading.expected,
        residual=leading.residual,
        tolerance=leading.tolerance,
        evidence=evidence,
    )


ORDER = (Status.REFUTED, Status.PROVED, Status.CERTIFIED, Status.SUPPORTED, Status.UNDECIDED)


def _leading(found: list[Finding]) -> Finding:
    """Return the finding that decides: a refutation, else the strongest."""
    if not found:
        return Finding(Status.UNDECIDED, "neither derived nor measured for this instance")
    return min(found, key=lambda one: ORDER.index(one.status))
