"""Checks of what stands on the command line, made before anything is computed.

>>> check_output((".graphml",), "graph.xml")
Traceback (most recent call last):
    ...
workbench.errors.Refusal: found 'graph.xml'; accepted: a file name that ends in .graphml
"""

from __future__ import annotations

import math
import os
import re
from collections.abc import Sequence
from pathlib import Path

from workbench.errors import Refusal, unknown_name
from workbench.output import is_device

__all__ = [
    "DRAWINGS",
    "DTYPES",
    "EQUATIONS",
    "FIGURES",
    "FORMATS",
    "GRAPHS",
    "METHODS",
    "MORE_EQUATIONS",
    "PLOTS",
    "QUESTIONS",
    "bytes_of",
    "check_all_of",
    "check_device",
    "check_directory",
    "check_events",
    "check_memory",
    "check_names",
    "check_one_of",
    "check_output",
    "check_phase",
    "check_questions",
    "check_settings",
    "check_step",
    "check_time",
    "names_of",
    "phase_of",
    "settings_of",
]

EQUATIONS = (
    "gradient-flow",
    "gradient",
    "hessian",
    "ntk",
    "conservation",
    "symmetries",
    "kkt",
    "embedding",
    "critical-equations",
)
MORE_EQUATIONS = (
    "risk",
    "jacobian",
    "gauss-newton",
    "output-dynamics",
    "per-neuron",
    "norm-direction",
    "balanced",
    "euler",
    "small-weights",
    "hessian-vector",
    "tangent-map",
    "kkt-norm",
    "kkt-correlation",
    "kkt-neuron",
    "activation",
    "kernels",
    "identities",
    "global-minima",
)
FORMATS = ("text", "latex", "json")
DTYPES = ("float64", "float32")
METHODS = ("auto", "exact", "numeric")
FIGURES = (".pdf", ".png", ".svg")
DRAWINGS = ("layers", "hasse", "disconnectivity")
QUESTIONS = ("descents-into:ID", "escapes", "turning", "order", "chains", "barriers")
GRAPHS = (".graphml", ".dot", ".json", ".tikz", ".tex")
BYTES = {
    "": 1,
    "B": 1,
    "kB": 1000,
    "MB": 1000**2,
    "GB": 1000**3,
    "KiB": 1024,
    "MiB": 1024**2,
    "GiB": 1024**3,
}
PLOTS = ("loss", "norms", "directions", "phase")


def check_one_of(names: Sequence[str], what: str, value: str) -> str:
    """Return a value of a closed list; else raise `Refusal` with the nearest one."""
    if value not in names:
        raise unknown_name(value, names, what)
    return value


def check_all_of(names: Sequence[str], what: str, values: Sequence[str] | None) -> list[str]:
    """Return values of a closed list, each once, in the order they were given."""
    return list(dict.fromkeys(check_one_of(names, what, value) for value in values or ()))


def check_device(value: str) -> str:
    """Return ``cpu``, or a CUDA device that is there; else raise `Refusal`."""
    if value == "cpu":
        return value
    accepted = "cpu, cuda, or cuda:N with the number of a device"
    if not re.fullmatch(r"cuda(:\d{1,3})?", value):
        raise Refusal(repr(value), accepted)
    import torch

    count = torch.cuda.device_count() if torch.cuda.is_available() else 0
    if int(value.partition(":")[2] or 0) >= count:
        raise Refusal(f"{value!r}, and PyTorch sees {count or 'no'} CUDA device(s) here", accepted)
    return value


def check_time(value: float) -> float:
    """Return a positive, finite time; else raise `Refusal`."""
    if not 0 < value < math.inf:
        hint = "To follow a flow until it rests, take a large time and --event stationary:1e-6:stop"
        raise Refusal(repr(value), "a positive, finite time", hint=hint if value == math.inf else "")
    return value


def check_step(value: float | None) -> float | None:
    """Return a positive, finite step size, or None; else raise `Refusal`."""
    if value is not None and not 0 < value < math.inf:
        raise Refusal(repr(value), "a positive, finite step size")
    return value


def check_events(values: Sequence[str] | None) -> list[str]:
    """Return events as ``workbench.flow_settings.read_event`` takes them; else raise `Refusal`."""
    from workbench.flow_settings import read_event

    for value in values or ():
        read_event(value)
    return list(values or ())


def check_phase(value: str | None) -> str | None:
    """Return two names of coordinates joined by a comma, or None; else raise `Refusal`."""
    if value is not None:
        phase_of(value)
    return value


def phase_of(text: str) -> tuple[str, str]:
    """Split ``a1,w1`` or ``w[1,2],w[2,2]`` into two names; else raise `Refusal`."""
    names = [part.strip() for part in re.split(r",(?![^\[]*\])", text)]
    if len(names) != 2 or not all(names):
        raise Refusal(repr(text), "two coordinates such as a1,w1 or w[1,2],w[2,2]")
    return names[0], names[1]


def check_memory(value: str | None) -> str | None:
    """Return a size in bytes as it was written, or None; else raise `Refusal`."""
    if value is not None:
        bytes_of(value)
    return value


def bytes_of(text: str) -> int:
    """Read a number of bytes; else raise `Refusal`.

    >>> bytes_of("65536"), bytes_of("512MiB"), bytes_of("1.5 GB")
    (65536, 536870912, 1500000000)
    """
    found = re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*([a-z]*)\s*", text, re.IGNORECASE | re.ASCII)
    units = {unit.lower(): factor for unit, factor in BYTES.items()}
    number = float(found[1]) * units.get(found[2].lower(), math.nan) if found else math.nan
    if not 1 <= number < 2**60:
        raise Refusal(
            repr(text), f"a number of bytes, such as 65536 or 512MiB (units {', '.join(filter(None, BYTES))})"
        )
    return int(number)


def check_names(value: str | None) -> str | None:
    """Return names joined by commas, or None; else raise `Refusal`."""
    if value is not None:
        names_of(value)
    return value


def names_of(text: str) -> tuple[str, ...]:
    """Split ``m2.1,m2.3`` into one to three names, no text into none; else raise `Refusal`."""
    if not text:
        return ()
    names = tuple(part.strip() for part in text.split(","))
    if not 1 <= len(names) <= 3 or not all(names):
        raise Refusal(repr(text), "ids of one to three points such as m2.1,m2.3")
    return names


def check_output(suffixes: tuple[str, ...], value: str | None) -> str | None:
    """Return the name of a file that can be written; without ``suffixes``, ``-`` is standard output.

    Raises
    ------
    Refusal
        If the suffix is not one of these, or the directory does not exist or does not let one write.
    """
    if value is None or (value == "-" and not suffixes):
        return value
    path = Path(value)
    if suffixes and path.suffix.lower() not in suffixes:
        raise Refusal(repr(value), f"a file name that ends in {', '.join(suffixes)}")
    if not value or path.is_dir():
        raise Refusal(f"the directory {value!r}" if value else "nothing", "the name of a file")
    if not path.parent.is_dir():
        raise Refusal(repr(value), f"a file in a directory that exists (make {str(path.parent)!r} first)")
    if not os.access(path.parent, os.W_OK) and not is_device(path):
        raise Refusal(repr(value), "a file in a directory that can be written to")
    return value


def check_directory(value: str) -> str:
    """Return the name of a directory, which need not exist.

    Raises
    ------
    Refusal
        If it is a file, or lies below one.
    """
    path = Path(value)
    for part in (path, *path.parents):
        if part.exists():
            if not part.is_dir():
                raise Refusal(f"the file {str(part)!r}", "a directory, which is made if need be")
            break
    return value


def check_questions(values: Sequence[str] | None) -> list[str]:
    """Return questions about a graph, such as ``escapes`` or ``descents-into:m2.1``; else raise `Refusal`."""
    names = [question.partition(":")[0] for question in QUESTIONS]
    about = {question.partition(":")[0] for question in QUESTIONS if ":" in question}
    for value in values or ():
        name, _, point = value.partition(":")
        check_one_of(names, "a question", name)
        if bool(point) != (name in about):
            accepted = f"{name}:ID with the id of a point" if name in about else f"{name} alone"
            raise Refusal(repr(value), accepted)
    return list(values or ())


def check_settings(values: Sequence[str] | None) -> list[str]:
    """Return settings as ``settings_of`` takes them; else raise `Refusal`."""
    settings_of(values or ())
    return list(values or ())


def settings_of(given: Sequence[str]) -> dict[str, str]:
    """Split ``width=3`` into a name and a text, each name once; else raise `Refusal`."""
    out: dict[str, str] = {}
    for text in given:
        name, _, value = (part.strip() for part in text.partition("="))
        if not name or not value:
            raise Refusal(repr(text), "KEY=VALUE such as width=3")
        if name in out:
            raise Refusal(f"{name!r} set twice", "each setting once")
        out[name] = value
    return out
