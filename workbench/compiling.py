"""The compiled systems of an analysis: one for each width, device, dtype and way of running it, made when asked for."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

from workbench.errors import NotThere, Refusal, StudyError
from workbench.options import DTYPES, check_device, check_one_of
from workbench.populations import compiled, is_population

if TYPE_CHECKING:
    from numerics.compile import CompiledSystem
    from workbench.analysis import Analysis

__all__ = ["Running", "check_place", "compiled_system"]


@dataclass(frozen=True)
class Running:
    """How compiled functions are run, as ``numerics.accelerate.Options`` says; PyTorch is not imported for it.

    >>> Running().to_dict(), Running(memory_budget=1024).to_dict()
    ({}, {'memory_budget': 1024})
    """

    torch_compile: bool = False
    cuda_graphs: bool = False
    memory_budget: int | None = None

    def to_dict(self) -> dict[str, Any]:
        """Return what differs from the defaults: results may differ by rounding, so stored ones are kept apart by it."""
        return {name: value for name, value in vars(self).items() if value not in (None, False)}


def compiled_system(
    analysis: Analysis, width: int | Sequence[int] | None, device: str, dtype: str, running: Running
) -> CompiledSystem:
    """Return the system of an analysis at a width, its own by default.

    Raises
    ------
    NotThere
        If the study is of a population, and ``running`` asks for what is for samples.
    StudyError
        If there are no data or no width, or the device or dtype is not there.
    """
    from numerics.compile import compile_system

    check_place(device, dtype)
    population = is_population(analysis.problem)
    if population:
        if running != Running():
            raise NotThere(
                "--memory and --torch-compile (memory_budget, torch_compile, cuda_graphs) are for samples, and the data of this "
                "study are a population; leave them out"
            )
        analysis.required_study("compiling")
    data = None if population else analysis.required_data("compiling")
    chosen: Any = analysis.own_width() if width is None else width
    chosen = tuple(chosen) if isinstance(chosen, Sequence) else chosen
    key = (chosen, device, dtype, running)
    if key not in analysis.systems:
        if data is None:
            analysis.systems[key] = compiled(analysis.problem, chosen, device=device, dtype=dtype)
        else:
            import torch

            y = [row[0] for row in data.y_float()] if data.scalar_output else data.y_float()
            place: dict[str, Any] = {"device": device, "dtype": getattr(torch, dtype), **vars(running)}
            analysis.systems[key] = compile_system(analysis.problem, data.x_float(), y, chosen, **place)
    return analysis.systems[key]


def check_place(device: str, dtype: str) -> None:
    """Refuse a device or a dtype that is not there, with the name of its option.

    Raises
    ------
    StudyError
        If it is not.
    """
    for name, check in (
        ("--dtype", partial(check_one_of, DTYPES, "a dtype", dtype)),
        ("--device", partial(check_device, device)),
    ):
        try:
            check()
        except Refusal as refusal:
            raise StudyError(f"{name}: {refusal}") from None
