"""Commands of ``workbench``: each reads a study, asks the analysis, and writes JSON, a file or a short table.

The results are those of `workbench.analysis.Analysis`; nothing is computed here.  SymPy and PyTorch are imported
inside the commands, so that ``--help`` answers at once.  Errors pass: `workbench.__main__` turns them into messages.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, redirect_stdout
from typing import TYPE_CHECKING, Annotated, Any

import typer

from workbench import options, tables
from workbench.errors import NotThere, Refusal
from workbench.output import draw, show, write, write_json
from workbench.progress import progress_for

if TYPE_CHECKING:
    from workbench.analysis import Analysis

__all__ = ["app"]

LIBRARY = (
    "the library of results is not in this version; 'verify STUDY' checks the claims that apply to a study"
)

app = typer.Typer(add_completion=False, rich_markup_mode=None, pretty_exceptions_enable=False)
theorem = typer.Typer(rich_markup_mode=None, help="The library of results: not in this version.")
app.add_typer(theorem, name="theorem")


def _checked(check: Callable[..., Any], *settings: Any) -> Callable[[Any], Any]:
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


def _version(value: bool) -> None:
    if value:
        from importlib import metadata

        typer.echo(f"workbench {metadata.version('landscape-workbench')}")
        raise typer.Exit


Study = Annotated[str, typer.Argument(metavar="STUDY", help="Study file (TOML).", show_default=False)]
Name = Annotated[str, typer.Argument(metavar="NAME", help="Name of a result.", show_default=False)]
Device = Annotated[
    str,
    typer.Option(metavar="DEVICE", callback=_checked(options.check_device), help="cpu, cuda or cuda:N."),
]
Dtype = Annotated[
    str,
    typer.Option(
        metavar="DTYPE",
        callback=_checked(options.check_one_of, options.DTYPES, "a dtype"),
        help="float64 or float32.",
    ),
]
Seed = Annotated[
    int | None,
    typer.Option(metavar="N", min=0, max=2**63 - 1, help="Seed, instead of the study's.", show_default=False),
]
Starts = Annotated[
    int | None,
    typer.Option(
        metavar="N", min=1, max=10**6, help="Starts per width, instead of the study's.", show_default=False
    ),
]
Json = Annotated[
    str | None,
    typer.Option(
        "--json",
        metavar="FILE",
        callback=_checked(options.check_output, ()),
        help="Write JSON; - for standard output.",
    ),
]
Figure = Annotated[
    str | None,
    typer.Option(
        metavar="FILE",
        callback=_checked(options.check_output, options.FIGURES),
        help="Draw into a PDF, PNG or SVG file.",
    ),
]
Verbose = Annotated[
    bool,
    typer.Option("--verbose", callback=_verbose, is_eager=True, help="Show the traceback of an error."),
]


@app.callback(invoke_without_command=True)
def _root(
    context: typer.Context,
    verbose: Verbose = False,
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Show the version.")
    ] = False,
) -> None:
    """Derive, verify and report the gradient flow, critical points and loss landscape of a neural network."""
    _needs_command(context)


@app.command()
def derive(
    study: Study,
    equations: Annotated[
        list[str] | None,
        typer.Option(
            "--show",
            metavar="WHAT",
            callback=_checked(
                options.check_all_of, (*options.EQUATIONS, *options.MORE_EQUATIONS), "an equation"
            ),
            help=f"Repeatable; without it, those of {', '.join(options.EQUATIONS)} that apply. "
            f"Further: {', '.join(options.MORE_EQUATIONS)}.",
        ),
    ] = None,
    form: Annotated[
        str,
        typer.Option(
            "--format",
            metavar="FORMAT",
            callback=_checked(options.check_one_of, options.FORMATS, "a format"),
            help="text, latex or json.",
        ),
    ] = "text",
    device: Device = "cpu",
    dtype: Dtype = "float64",
    seed: Seed = None,
    verbose: Verbose = False,
) -> None:
    """Print equations. They are exact: device, dtype and seed only concern what is checked by numbers."""
    from derivations.errors import AssumptionError

    found, absent = {}, {}
    with _analysis(study, device, dtype, seed) as analysis:
        for what in equations or options.EQUATIONS:
            try:
                found[what] = analysis.derive(what)
            except (NotThere, AssumptionError) as error:
                if equations:
                    raise
                absent[what] = str(error)
    if not found:
        raise NotThere("\n".join(absent.values()))
    for what, reason in absent.items():
        _note(f"{what} left out: {reason}")
    if form == "json":
        content = {what: derivation.to_dict() for what, derivation in found.items()}
        name = getattr(analysis.study, "name", None)
        write_json("-", {"schema": 1, "study": name, "derivations": content})
        return
    for what, derivation in found.items():
        show(f"% {what}\n{derivation.latex()}\n\n" if form == "latex" else f"{derivation.text()}\n\n")


@app.command()
def evaluate(
    study: Study,
    at: Annotated[str, typer.Option(metavar="THETA.json", help="Parameter points; - for standard input.")],
    json_file: Json = None,
    device: Device = "cpu",
    dtype: Dtype = "float64",
    seed: Seed = None,
    verbose: Verbose = False,
) -> None:
    """Value, gradient, Hessian spectrum and inertia, outputs at given points."""
    with _analysis(study, device, dtype, seed) as analysis:
        content = analysis.evaluate(_points(analysis, at)).to_dict()
    if not write_json(json_file, content):
        _print(tables.evaluation_table(content))


@app.command()
def flow(
    study: Study,
    start: Annotated[str, typer.Option("--from", metavar="THETA.json", help="Starts; - for standard input.")],
    until: Annotated[
        float, typer.Option(metavar="T", callback=_checked(options.check_time), help="End time.")
    ],
    points: Annotated[int, typer.Option(metavar="N", min=2, max=10**5, help="Times recorded.")] = 200,
    json_file: Json = None,
    figure: Figure = None,
    device: Device = "cpu",
    dtype: Dtype = "float64",
    seed: Seed = None,
    verbose: Verbose = False,
) -> None:
    """Integrate the derived gradient flow from one or many starts."""
    with _analysis(study, device, dtype, seed) as analysis:
        result = analysis.flow(_points(analysis, start), until, count=points)
        content = result.to_dict()
        draw(figure, result)
    if not write_json(json_file, content):
        _print(tables.flow_table(content))


@app.command()
def critical(
    study: Study,
    json_file: Json = None,
    starts: Starts = None,
    device: Device = "cpu",
    dtype: Dtype = "float64",
    seed: Seed = None,
    verbose: Verbose = False,
) -> None:
    """All critical points found for the study's width."""
    with _analysis(study, device, dtype, seed, starts) as analysis:
        content = analysis.critical().to_dict()
    if not write_json(json_file, content):
        _print(*tables.landscape_tables(content, edges=False))


@app.command()
def landscape(
    study: Study,
    json_file: Json = None,
    graph: Annotated[
        str | None,
        typer.Option(
            metavar="FILE.graphml",
            callback=_checked(options.check_output, (".graphml",)),
            help="Write the graph as GraphML.",
        ),
    ] = None,
    figure: Figure = None,
    starts: Starts = None,
    device: Device = "cpu",
    dtype: Dtype = "float64",
    seed: Seed = None,
    verbose: Verbose = False,
) -> None:
    """Critical points of all widths, embeddings and descents."""
    with _analysis(study, device, dtype, seed, starts) as analysis:
        result = analysis.landscape()
        content = result.to_dict()
        if graph is not None:
            write(graph, result.write_graphml)
        draw(figure, result)
    if not write_json(json_file, content):
        _print(*tables.landscape_tables(content, edges=True))


@app.command()
def verify(
    study: Study,
    json_file: Json = None,
    starts: Starts = None,
    device: Device = "cpu",
    dtype: Dtype = "float64",
    seed: Seed = None,
    verbose: Verbose = False,
) -> None:
    """Check derivations and claims by numbers; status 1 if one is refuted."""
    with _analysis(study, device, dtype, seed, starts) as analysis:
        result = analysis.verify()
        content = result.to_dict()
    if not write_json(json_file, content):
        _print(tables.claims_table(content))
    if result.refuted:
        raise typer.Exit(1)


@app.command()
def report(
    study: Study,
    output: Annotated[
        str,
        typer.Option(
            "--output", "-o", metavar="DIR", callback=_checked(options.check_directory), help="Directory."
        ),
    ],
    no_pdf: Annotated[bool, typer.Option("--no-pdf", help="Write the LaTeX source only.")] = False,
    starts: Starts = None,
    device: Device = "cpu",
    dtype: Dtype = "float64",
    seed: Seed = None,
    verbose: Verbose = False,
) -> None:
    """LaTeX source, figures, JSON, and a PDF; status 1 if a claim is refuted."""
    with _analysis(study, device, dtype, seed, starts) as analysis:
        files = analysis.report(output, pdf=not no_pdf)
    for path in [files.tex, files.json, *files.figures, files.pdf]:
        if path is not None:
            typer.echo(str(path))
    if files.message:
        _note(files.message)
    if files.refuted:
        raise typer.Exit(1)


@theorem.callback(invoke_without_command=True)
def _theorem(context: typer.Context) -> None:
    _needs_command(context)


@theorem.command("list")
def theorem_list(verbose: Verbose = False) -> None:
    """List the results of the library."""
    raise NotThere(LIBRARY)


@theorem.command("show")
def theorem_show(name: Name, verbose: Verbose = False) -> None:
    """Show a result: statement, assumptions, source."""
    raise NotThere(LIBRARY)


@theorem.command("check")
def theorem_check(
    name: Name,
    settings: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="KEY=VALUE", help="Change the instance; repeatable."),
    ] = None,
    json_file: Json = None,
    device: Device = "cpu",
    dtype: Dtype = "float64",
    seed: Seed = None,
    verbose: Verbose = False,
) -> None:
    """Check a result on an instance, by numbers."""
    raise NotThere(LIBRARY)


@contextmanager
def _analysis(
    study: str, device: str, dtype: str, seed: int | None, starts: int | None = None
) -> Iterator[Analysis]:
    """Give the analysis of a study file; what computes inside cannot print to standard output."""
    from workbench.study import load

    loaded = load(study).with_overrides(seed=seed, starts=starts)  # refused before the slow imports
    from workbench.analysis import Analysis
    from workbench.store import open_store

    with redirect_stdout(sys.stderr), progress_for() as progress:
        yield Analysis(loaded, device=device, dtype=dtype, seed=seed, progress=progress, store=open_store())


def _points(analysis: Analysis, source: str) -> list[dict[str, Any]]:
    """Read parameter points and check them against the blocks of the model."""
    from workbench.theta import read_theta

    return read_theta(source, {name: shape for name, shape, _ in analysis.compile().layout})


def _print(*shown: tables.Table) -> None:
    """Print tables; into a pipe or a file without the limit of a screen's width."""
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    console = Console(highlight=False, width=None if sys.stdout.isatty() else 200)
    with console.capture() as captured:  # on a broken pipe Rich itself would end the process with status 1
        for table in shown:
            drawn = Table(box=None, pad_edge=False)
            for head in table.heads:
                drawn.add_column(Text(head, style="bold"), overflow="fold")
            for row in table.rows:
                drawn.add_row(*map(Text, row))
            console.print(Text(table.title), drawn, *map(Text, table.notes), sep="\n")
    show("".join(f"{line.rstrip()}\n" for line in captured.get().splitlines()))


def _note(message: str) -> None:
    """Write a message that is no result to standard error."""
    typer.echo(f"workbench: {message}", err=True)


def _needs_command(context: typer.Context) -> None:
    """Without a command, show the help as an error: to standard error, status 2."""
    if context.invoked_subcommand is None:
        typer.echo(context.get_help(), err=True)
        raise typer.Exit(2)
