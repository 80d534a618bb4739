r"""Everything that is derived of one activation, as a table that displays itself: text, LaTeX, HTML, JSON.

>>> from derivations.activations import REGISTRY
>>> table = activation_table(REGISTRY["relu"])
>>> table["parity"].text, str(table["parity"].status)
('sigma(-z) = sigma(z) - z', 'PROVED')
>>> print("\n".join(table.text().splitlines()[:3]))
Activation relu
    formula                               PROVED     sigma(z) = relu(z)
    value at 0                            PROVED     sigma(0) = 0
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any

from derivations.activation_rows import Property, properties
from derivations.activations import Activation
from derivations.claim import Status
from derivations.html_table import html_table

__all__ = ["ActivationTable", "activation_table"]


@dataclass(frozen=True)
class ActivationTable:
    r"""The derived properties of an activation, each with its status.

    REFUTED says that the activation has no such property or value, with the reason in ``reason``; UNDECIDED that nothing was
    shown.  Hermite coefficients are :math:`c_j = \mathbb{E}[\sigma(g) \mathrm{He}_j(g)]/\sqrt{j!}`, g of N(0, 1); dual kernels are
    means over a centred Gaussian pair (u, v) with variances 1 and correlation rho.

    Attributes
    ----------
    activation : Activation
        What the properties are of.
    rows : tuple of Property
        In the order they are read.
    derived_from : object
        The problem it was asked for, or the activation itself.
    """

    activation: Activation
    rows: tuple[Property, ...]
    derived_from: Any = field(default=None, compare=False, repr=False)
    name: str = "activation"

    @property
    def title(self) -> str:
        """Heading, plain text."""
        return f"Activation {self.activation.name}"

    def __getitem__(self, name: str) -> Property:
        """Return the row of this name."""
        for row in self.rows:
            if row.name == name:
                return row
        raise KeyError(f"no property '{name}'; there are {', '.join(row.name for row in self.rows)}")

    def with_rows(self, *rows: Property) -> ActivationTable:
        """Return the table with further rows."""
        return replace(self, rows=(*self.rows, *rows))

    def text(self) -> str:
        """Return plain text; what is undecided carries its reason."""
        widest = max(len(row.name) for row in self.rows)
        lines = [self.title]
        for row in self.rows:
            lines.append(f"    {row.name:<{widest}}  {row.status!s:<9}  {row.text}")
            if row.status is Status.UNDECIDED and row.reason:
                lines.append(f"    {'':<{widest}}  {'':<9}  ({row.reason})")
        lines += [f"    {line}" for line in CONVENTIONS_TEXT]
        return "\n".join(lines)

    def latex(self) -> str:
        r"""Return a ``longtable`` of name, value and status, with a line on the conventions; it needs that package and ``array``."""
        rows = []
        for row in self.rows:
            value = row.latex if row.is_code else rf"$\displaystyle {row.latex}$"
            status = str(row.status).lower()
            rows.append(rf"{row.name} & \raggedright {value} & \textsc{{{status}}} \\[3pt]")
        head = r"\begin{longtable}{@{}>{\raggedright\arraybackslash}p{4cm}p{9cm}l@{}}"
        return "\n".join([head, *rows, r"\end{longtable}", CONVENTIONS])

    def to_dict(self) -> dict[str, Any]:
        """Return the JSON form."""
        return {
            "name": self.name,
            "title": self.title,
            "activation": self.activation.name,
            "properties": [row.to_dict() for row in self.rows],
            "latex": self.latex(),
        }

    def __str__(self) -> str:
        return self.text()

    def _repr_html_(self) -> str:
        rows = [
            (row.name, row.text if row.is_code else f"${row.latex}$", str(row.status)) for row in self.rows
        ]
        return html_table(("property", "value", "status"), rows, self.title)

    def _repr_latex_(self) -> str:
        rows = [rf"\text{{{row.name}}} & {row.latex} & \text{{{row.status}}}" for row in self.rows]
        body = " \\\\\n".join(rows)
        return f"$$\n\\begin{{array}}{{lll}}\n{body}\n\\end{{array}}\n$$"


#: What statuses and symbols of the table mean, as LaTeX and as text.
CONVENTIONS = (
    r"\textsc{Refuted}: there is no such property or value. Derivatives are those almost everywhere. "
    r"$c_j = \mathbb{E}[\sigma(g)\, \mathrm{He}_j(g)] / \sqrt{j!}$ with $g \sim N(0, 1)$; $(u, v)$ is a centred Gaussian pair "
    r"with variances $1$ and correlation $\rho$."
)
CONVENTIONS_TEXT = (
    "REFUTED: there is no such property or value. Derivatives are those almost everywhere.",
    "c_j = E[sigma(g)*He_j(g)]/sqrt(j!), g of N(0, 1); (u, v): centred Gaussian pair, variances 1, correlation rho.",
)


def activation_table(
    activation: Activation, *, highest_derivative: int = 4, highest_hermite: int = 4
) -> ActivationTable:
    """Return the table of an activation; the arguments are those of ``derivations.activation_rows.properties``."""
    found = properties(activation, highest_derivative=highest_derivative, highest_hermite=highest_hermite)
    return ActivationTable(activation, tuple(found), activation)
