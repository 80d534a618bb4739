"""Commands of ``workbench``: each reads a study, asks the analysis, and writes JSON, a file or a short table.

The results are those of `workbench.analysis.Analysis`; nothing is computed here.  SymPy and PyTorch are imported
inside the commands, so that ``--help`` answers at once.  Errors pass: `workbench.__main__` turns them into messages.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Annotated, Any

import typer

from workbench import cli_landscape, options, tables
from workbench.cli_options import (
    BatchSize,
    Device,
    Digits,
    Dtype,
    Events,
    Exhaust,
    Figure,
    Frozen,
    Index,
    Json,
    LabelNoise,
    Memory,
    Method,
    NoPdf,
    Output,
    Phase,
    Plot,
    Seed,
    Slice,
    Starts,
    StepSize,
    Study,
    Temperature,
    Through,
    TorchCompile,
    Verbose,
    checked,
)
from workbench.cli_session import analysis_of, points_of
from workbench.cli_theorem import theorem
from workbench.errors import NotThere
from workbench.output import draw, print_files, print_tables, show, write_json

__all__ = ["app"]

app = typer.Typer(add_completion=False, rich_markup_mode=None, pretty_exceptions_enable=False)
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
    with analysis_of(study, device, dtype, seed) as analysis:
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
    memory: Memory = None,
    torch_compile: TorchCompile = False,
    verbose: Verbose = False,
) -> None:
    """Value, gradient, Hessian spectrum and inertia, outputs at given points."""
    with analysis_of(study, device, dtype, seed, memory=memory, torch_compile=torch_compile) as analysis:
        content = analysis.evaluate(points_of(analysis, at)).to_dict()
    if not write_json(json_file, content):
        print_tables([tables.evaluation_table(content)])


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
    memory: Memory = None,
    torch_compile: TorchCompile = False,
    verbose: Verbose = False,
) -> None:
    """Integrate the derived gradient flow, or descend, from one or many starts."""
    from workbench.flow_settings import FlowSettings

    if (plot == "phase") != (phase is not None):
        raise ValueError("--plot phase and --phase X,Y: found one of them; accepted: both or none")
    settings = FlowSettings(tuple(event or ()), step_size, batch_size, label_noise, temperature)
    with analysis_of(study, device, dtype, seed, memory=memory, torch_compile=torch_compile) as analysis:
        if settings.descends and analysis.study is not None:
            settings = replace(settings, seed=analysis.study.landscape.seed)
        chosen = () if settings == FlowSettings() else (settings,)
        result = analysis.flow(points_of(analysis, start), until, points, *chosen)
        content = result.to_dict()
        pair = None if phase is None else options.phase_of(phase)
        draw(figure, result if plot == "loss" else result.view(plot, pair))
    for note in content.get("notes", ()):
        _note(note)
    if not write_json(json_file, content):
        print_tables([tables.flow_table(content)])


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
    exhaust: Exhaust = None,
    starts: Starts = None,
    device: Device = "cpu",
    dtype: Dtype = "float64",
    seed: Seed = None,
    memory: Memory = None,
    torch_compile: TorchCompile = False,
    verbose: Verbose = False,
) -> None:
    """All critical points found for the study's width.

    The figure shows Hessian spectra, or with --slice or --through the risk on a plane.
    """
    if figure is None and (plane is not None or through is not None):
        raise ValueError(
            "--slice and --through: found without --figure; accepted: with it, they say what it shows"
        )
    with analysis_of(
        study, device, dtype, seed, starts, memory=memory, torch_compile=torch_compile
    ) as analysis:
        given = {"index": index, "digits": digits, "exhaust": exhaust}
        chosen: Any = {name: u for name, u in given.items() if u is not None}
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
        print_tables(tables.landscape_tables(content, edges=False))


app.command()(cli_landscape.landscape)
app.command()(cli_landscape.training)


@app.command()
def verify(
    study: Study,
    json_file: Json = None,
    starts: Starts = None,
    device: Device = "cpu",
    dtype: Dtype = "float64",
    seed: Seed = None,
    memory: Memory = None,
    torch_compile: TorchCompile = False,
    verbose: Verbose = False,
) -> None:
    """Check derivations and claims by numbers; status 1 if one is refuted."""
    with analysis_of(
        study, device, dtype, seed, starts, memory=memory, torch_compile=torch_compile
    ) as analysis:
        result = analysis.verify()
        content = result.to_dict()
    if not write_json(json_file, content):
        print_tables([tables.claims_table(content)])
    if result.refuted:
        raise typer.Exit(1)


@app.command()
def report(
    study: Study,
    output: Output,
    no_pdf: NoPdf = False,
    starts: Starts = None,
    device: Device = "cpu",
    dtype: Dtype = "float64",
    seed: Seed = None,
    memory: Memory = None,
    torch_compile: TorchCompile = False,
    verbose: Verbose = False,
) -> None:
    """LaTeX source, figures, JSON, and a PDF; status 1 if a claim is refuted."""
    with analysis_of(
        study, device, dtype, seed, starts, memory=memory, torch_compile=torch_compile
    ) as analysis:
        files = analysis.report(output, pdf=not no_pdf)
    print_files(files)
    if files.refuted:
        raise typer.Exit(1)


def _note(message: str) -> None:
    """Write a message that is no result to standard error."""
    typer.echo(f"workbench: {message}", err=True)


def _needs_command(context: typer.Context) -> None:
    """Without a command, show the help as an error: to standard error, status 2."""
    if context.invoked_subcommand is None:
        typer.echo(context.get_help(), err=True)
        raise typer.Exit(2)
