"""``workbench theorem``: the library of results, listed, shown and checked on an instance."""

from __future__ import annotations

import sys
from contextlib import redirect_stdout
from typing import Annotated

import typer

from workbench import library_tables, options
from workbench.cli_options import Device, Dtype, Json, Name, NoPdf, Output, Seed, Verbose, checked
from workbench.output import print_files, print_tables, write_json
from workbench.progress import progress_for

__all__ = ["theorem"]

theorem = typer.Typer(rich_markup_mode=None, help="The library of results: theorems that run.")


@theorem.callback(invoke_without_command=True)
def _root(context: typer.Context) -> None:
    if context.invoked_subcommand is None:
        typer.echo(context.get_help(), err=True)
        raise typer.Exit(2)


@theorem.command("list")
def theorem_list(verbose: Verbose = False) -> None:
    """List the results of the library."""
    from derivations.theorems import THEOREMS

    print_tables([library_tables.library_table(THEOREMS.values())])


@theorem.command("show")
def theorem_show(name: Name, verbose: Verbose = False) -> None:
    """Show a result: its setting, what can be changed, its assumptions and claims."""
    from workbench.theorem_check import named

    print_tables(library_tables.theorem_tables(named(name)))


Settings = Annotated[
    list[str] | None,
    typer.Option(
        "--set",
        metavar="KEY=VALUE",
        callback=checked(options.check_settings),
        help="Change the instance; repeatable.",
    ),
]


@theorem.command("check")
def theorem_check(
    name: Name,
    settings: Settings = None,
    json_file: Json = None,
    device: Device = "cpu",
    dtype: Dtype = "float64",
    seed: Seed = None,
    verbose: Verbose = False,
) -> None:
    """Check a result on an instance: a verdict for each claim; status 1 if one is refuted."""
    from workbench.measurements.measured import Bench
    from workbench.theorem_check import check

    with redirect_stdout(sys.stderr), progress_for() as progress:
        found = check(name, options.settings_of(settings or ()), Bench(device, dtype, seed or 0, progress))
        content = found.to_dict()
    if not write_json(json_file, content):
        print_tables(library_tables.checked_tables(content))
    if found.refuted:
        raise typer.Exit(1)


@theorem.command("report")
def theorem_report(
    name: Name,
    output: Output,
    settings: Settings = None,
    no_pdf: NoPdf = False,
    device: Device = "cpu",
    dtype: Dtype = "float64",
    seed: Seed = None,
    verbose: Verbose = False,
) -> None:
    """Check a result and write its report: LaTeX source, figures, JSON, and a PDF; status 1 if a claim is refuted."""
    from workbench.measurements.measured import Bench
    from workbench.theorem_report import report_theorem, theorem_study

    study = theorem_study(name, options.settings_of(settings or ()))
    with redirect_stdout(sys.stderr), progress_for() as progress:
        files = report_theorem(study, output, Bench(device, dtype, seed or 0, progress), pdf=not no_pdf)
    print_files(files)
    if files.refuted:
        raise typer.Exit(1)
