"""Commands of ``workbench``: each reads a study, asks the analysis, and writes JSON, a file or a short table.

The results are those of `workbench.analysis.Analysis`; nothing is computed here.  SymPy and PyTorch are imported
inside the commands, so that ``--help`` answers at once.  Errors pass: `workbench.__main__` turns them into messages.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stdout
from dataclasses import replace
from typing import TYPE_CHECKING, Annotated, Any

import typer

from workbench import options, tables
from workbench.cli_options import (
    BatchSize,
    Device,
    Digits,
    Dtype,
    Events,
    Figure,
    Frozen,
    Index,
    Json,
    LabelNoise,
    Method,
    Name,
    Phase,
    Plot,
    Seed,
    Slice,
    Starts,
    StepSize,
    Study,
    Temperature,
    Through,
    Verbose,
    checked,
)
from workbench.errors import NotThere
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


def _version(value: bool) -> None:
    if value:
        from importlib import metadata

        typer.echo(f"workbench {metadata.version('landscape-workbench')}")
        raise typer.Exit


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
            callback=checked(
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
            callback=checked(options.check_one_of, options.FORMATS, "a format"),
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
    from workbench.derive import with_notes

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
        shown = with_notes(derivation, form)
        show(f"% {what}\n{shown}\n\n" if form == "latex" else f"{shown}\n\n")


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
        float, typer.Option(metavar="T", callback=checked(options.check_time), help="End time.")
    ],
    points: Annotated[int, typer.Option(metavar="N", min=2, max=10**5, help="Times recorded.")] = 200,
    event: Events = None,
    step_size: StepSize = None,
    batch_size: BatchSize = None,
    label_noise: LabelNoise = 0.0,
    temperature: Temperature = 0.0,
    json_file: Json = None,
    figure: Figure = None,
    plot: Plot = "loss",
    phase: Phase = None,
    device: Device = "cpu",
    dtype: Dtype = "float64",
    seed: Seed = None,
    verbose: Verbose = False,
) -> None:
    """Integrate the derived gradient flow, or descend, from one or many starts."""
    from workbench.flow_settings import FlowSettings

    if (plot == "phase") != (phase is not None):
        raise ValueError("--plot phase and --phase X,Y: found one of them; accepted: both or none")
    settings = FlowSettings(tuple(event or ()), step_size, batch_size, label_noise, temperature)
    with _analysis(study, device, dtype, seed) as analysis:
        if settings.descends and analysis.study is not None:
            settings = replace(settings, seed=analysis.study.landscape.seed)
        chosen = () if settings == FlowSettings() else (settings,)
        result = analysis.flow(_points(analysis, start), until, points, *chosen)
        content = result.to_dict()
        pair = None if phase is None else options.phase_of(phase)
        draw(figure, result if plot == "loss" else result.view(plot, pair))
    if not write_json(json_file, content):
        _print(tables.flow_table(content))


@app.command()
def critical(
    study: Study,
    json_file: Json = None,
    figure: Figure = None,
    plane: Slice = None,
    through: Through = None,
    index: Index = None,
    frozen: Frozen = None,
    digits: Digits = None,
    method: Method = "auto",
    starts: Starts = None,
    device: Device = "cpu",
    dtype: Dtype = "float64",
    seed: Seed = None,
    verbose: Verbose = False,
) -> None:
    """All critical points found for the study's width.

    The figure shows Hessian spectra, or with --slice or --through the risk on a plane.
    """
    if figure is None and (plane is not None or through is not None):
        raise ValueError(
            "--slice and --through: found without --figure; accepted: with it, they say what it shows"
        )
    with _analysis(study, device, dtype, seed, starts) as analysis:
        chosen: Any = {name: u for name, u in (("index", index), ("digits", digits)) if u is not None}
        if frozen is not None:
            from workbench.theta import read_frozen

            chosen["frozen"] = read_frozen(frozen, analysis.compile())
        result = analysis.critical(**chosen, method=method)
        content = result.to_dict()
        if figure is not None:
            draw(
                figure,
                result.view(options.phase_of(plane) if plane else None, options.names_of(through or "")),
            )
    if not write_json(json_file, content):
        _print(*tables.landscape_tables(content, edges=False))


@app.command()
def landscape(
    study: Study,
    json_file: Json = None,
    graph: Annotated[
        str | None,
        typer.Option(
            metavar="FILE",
            callback=checked(options.check_output, options.GRAPHS),
            help="Write the graph: .graphml, .dot, .json (Cytoscape), .tikz or .tex.",
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
            result.write_graph(graph)
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
            "--output", "-o", metavar="DIR", callback=checked(options.check_directory), help="Directory."
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
