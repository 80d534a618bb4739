"""The check of the table ``[kkt]`` where it names its parameters itself."""

from __future__ import annotations

from typing import TYPE_CHECKING

from workbench.errors import Refusal

if TYPE_CHECKING:
    from workbench.study_tables import KKTTable

__all__ = ["check_stated"]


def check_stated(table: KKTTable) -> None:
    """Check that the formulas can be read; else raise `Refusal`."""
    from derivations.errors import FormulaError
    from derivations.stated import stated

    names = table.parameters or ()
    try:
        stated(
            table.objective,
            names,
            equalities=table.equalities,
            inequalities=table.inequalities,
            maximise=table.maximise,
        )
    except FormulaError as error:
        raise Refusal(" ".join(error.reason.split()), f"formulas in {', '.join(names)}") from None
