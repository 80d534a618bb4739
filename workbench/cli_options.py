"""Arguments and options that commands of ``workbench`` share, each with its check."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, Any

import typer

from workbench import options
from workbench.errors import Refusal

__all__ = [
    "BatchSize",
    "Cluster",
    "Device",
    "Digits",
    "Dtype",
    "Events",
    "Exhaust",
    "Figure",
    "Frozen",
    "Index",
    "Json",
    "LabelNoise",
    "Memory",
    "Method",
    "Name",
    "NoPdf",
    "Output",
    "Phase",
    "Plot",
    "Seed",
    "Slice",
    "Starts",
    "StepSize",
    "Study",
    "Temperature",
    "Through",
    "TorchCompile",
    "Verbose",
    "Workers",
    "checked",
]


def checked(check: Callable[..., Any], *settings: Any) -> Callable[[Any], Any]:
    """Return a callback of typer that checks the value of an option."""

    def callback(value: Any) -> Any:
        try:
            return check(*settings, value)
        except Refusal as refusal:
            raise typer.BadParameter(str(refusal)) from None

    return callback


def _verbose(context: typer.Context, value: bool) -> None:
    """Remember it where the entry of the command line looks, before anything can fail."""
    if value and isinstance(context.obj, dict):
        context.obj["verbose"] = True


Study = Annotated[str, typer.Argument(metavar="STUDY", help="Study file (TOML).", show_default=False)]
Name = Annotated[str, typer.Argument(metavar="NAME", help="Name of a result.", show_default=False)]
Device = Annotated[
    str,
    typer.Option(metavar="DEVICE", callback=checked(options.check_device), help="cpu, cuda or cuda:N."),
]
Dtype = Annotated[
    str,
    typer.Option(
        metavar="DTYPE",
        callback=checked(options.check_one_of, options.DTYPES, "a dtype"),
        help="float64 or float32.",
    ),
]
Seed = Annotated[
    int | None,
    typer.Option(metavar="N", min=0, max=2**63 - 1, help="Seed, instead of the study's.", show_default=False),
]
Memory = Annotated[
    str | None,
    typer.Option(
        metavar="SIZE",
        callback=checked(options.check_memory),
        help="Bytes that arrays on the way may hold at once, 65536 or 512MiB.",
        show_default=False,
    ),
]
TorchCompile = Annotated[
    bool,
    typer.Option(
        "--torch-compile", help="Run compiled functions through torch.compile: for very many evaluations."
    ),
]
Starts = Annotated[
    int | None,
    typer.Option(
        metavar="N", min=1, max=10**6, help="Starts per width, instead of the study's.", show_default=False
    ),
]
Output = Annotated[
    str,
    typer.Option(
        "--output", "-o", metavar="DIR", callback=checked(options.check_directory), help="Directory."
    ),
]
NoPdf = Annotated[bool, typer.Option("--no-pdf", help="Write the LaTeX source only.")]
Json = Annotated[
    str | None,
    typer.Option(
        "--json",
        metavar="FILE",
        callback=checked(options.check_output, ()),
        help="Write JSON; - for standard output.",
    ),
]
Figure = Annotated[
    str | None,
    typer.Option(
        metavar="FILE",
        callback=checked(options.check_output, options.FIGURES),
        help="Draw into a PDF, PNG or SVG file.",
    ),
]
Slice = Annotated[
    str | None,
    typer.Option(
        "--slice",
        metavar="X,Y",
        callback=checked(options.check_phase),
        help="Draw the risk over two coordinates, a1,w1 or w[1,2],w[2,2], at the lowest point or that of --through.",
    ),
]
Through = Annotated[
    str | None,
    typer.Option(
        metavar="IDS",
        callback=checked(options.check_names),
        help="Draw the risk on the plane through two or three points, m2.1,m2.3.",
    ),
]
Index = Annotated[
    int | None,
    typer.Option(metavar="K", min=0, help="Let every second start look for saddles of this index."),
]
Frozen = Annotated[
    str | None,
    typer.Option(metavar="THETA.json", help="Values of the frozen blocks; - for standard input."),
]
Digits = Annotated[
    int | None,
    typer.Option(
        metavar="N",
        min=1,
        max=10**4,
        help="Give the parameters of certified points to N decimal digits.",
        show_default=False,
    ),
]
Method = Annotated[
    str,
    typer.Option(
        metavar="METHOD",
        callback=checked(options.check_one_of, options.METHODS, "a method"),
        help="exact (algebra, all points), numeric (search), or auto: exact where it applies and finishes.",
    ),
]
Exhaust = Annotated[
    float | None,
    typer.Option(
        metavar="SECONDS",
        min=0,
        max=10**6,
        help="Time for a search of the whole box of parameters that can prove the list complete (with weight decay); 0 for none.",
        show_default=False,
    ),
]
Verbose = Annotated[
    bool,
    typer.Option("--verbose", callback=_verbose, is_eager=True, help="Show the traceback of an error."),
]
Events = Annotated[
    list[str] | None,
    typer.Option(
        metavar="EVENT",
        callback=checked(options.check_events),
        help="Repeatable: kink, loss:V, norm:V, stationary:V; with :stop behind it the trajectory ends there.",
    ),
]
StepSize = Annotated[
    float | None,
    typer.Option(
        metavar="H",
        callback=checked(options.check_step),
        help="Gradient descent with this step, not the flow.",
    ),
]
BatchSize = Annotated[
    int | None, typer.Option(metavar="B", min=1, help="Samples of a minibatch of the descent.")
]
LabelNoise = Annotated[
    float, typer.Option(metavar="V", min=0, help="Variance of noise on the targets of the descent.")
]
Temperature = Annotated[float, typer.Option(metavar="T", min=0, help="Langevin temperature of the descent.")]
Plot = Annotated[
    str,
    typer.Option(
        metavar="WHAT",
        callback=checked(options.check_one_of, options.PLOTS, "a plot"),
        help="What --figure shows: loss, norms, directions or phase.",
    ),
]
Phase = Annotated[
    str | None,
    typer.Option(
        metavar="X,Y",
        callback=checked(options.check_phase),
        help="Coordinates of the phase portrait: a1,w1 or w[1,2],w[2,2].",
    ),
]
Workers = Annotated[
    int | None,
    typer.Option(
        "--workers", metavar="N", min=1, max=512, help="Search random starts in N processes (Dask)."
    ),
]
Cluster = Annotated[
    str | None,
    typer.Option(
        "--cluster", metavar="ADDRESS", help="Search random starts on a Dask cluster, tcp://HOST:8786."
    ),
]
