"""The commands about several widths: the landscape with its graph, and training runs that are explained by it."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from workbench import options, tables
from workbench.cli_options import (
    Cluster,
    Device,
    Dtype,
    Figure,
    Json,
    Memory,
    Seed,
    Starts,
    Study,
    TorchCompile,
    Verbose,
    Workers,
    checked,
)
from workbench.cli_session import analysis_of
from workbench.output import draw, print_tables, write_json

__all__ = ["landscape", "training"]

Graph = Annotated[
    str | None,
    typer.Option(
        metavar="FILE",
        callback=checked(options.check_output, options.GRAPHS),
        help="Write the graph: .graphml, .dot, .json (Cytoscape), .tikz or .tex.",
    ),
]
Ask = Annotated[
    list[str] | None,
    typer.Option(
        "--ask",
        metavar="QUESTION",
        callback=checked(options.check_questions),
        help=f"Answer a question about the graph; repeatable: {', '.join(options.QUESTIONS)}.",
    ),
]
Drawing = Annotated[
    str,
    typer.Option(
        metavar="KIND",
        callback=checked(options.check_one_of, options.DRAWINGS, "a drawing"),
        help=f"What --figure shows: {', '.join(options.DRAWINGS)}.",
    ),
]


Sequences = Annotated[
    int | None,
    typer.Option(
        metavar="N",
        min=1,
        max=1000,
        help="Follow N runs from small weights and name the listed points they pass.",
    ),
]


def landscape(
    study: Study,
    json_file: Json = None,
    graph: Graph = None,
    figure: Figure = None,
    drawing: Drawing = "layers",
    questions: Ask = None,
    sequences: Sequences = None,
    starts: Starts = None,
    device: Device = "cpu",
    dtype: Dtype = "float64",
    seed: Seed = None,
    memory: Memory = None,
    torch_compile: TorchCompile = False,
    workers: Workers = None,
    cluster: Cluster = None,
    verbose: Verbose = False,
) -> None:
    """Critical points of all widths, embeddings and descents."""
    place: Any = {"memory": memory, "torch_compile": torch_compile, "workers": workers, "cluster": cluster}
    with analysis_of(study, device, dtype, seed, starts, **place) as analysis:
        result = analysis.landscape()
        answers = [result.ask(question) for question in questions or ()]
        content = result.to_dict()
        if answers:
            content["answers"] = [answer.to_dict() for answer in answers]
        if sequences is not None:
            from workbench.sequences import sequences as followed

            width = max(point.width for point in result.points)
            runs = followed(analysis, result, width, runs=sequences, seed=result.seed)
            content["sequences"] = [run.to_dict() for run in runs]
        if graph is not None:
            result.write_graph(graph)
        draw(figure, result.drawn_as(drawing))
    if not write_json(json_file, content):
        shown = [*tables.landscape_tables(content, edges=True), *map(tables.answer_table, answers)]
        print_tables([*shown, *tables.sequences_tables(content)])


def training(
    study: Study,
    json_file: Json = None,
    figure: Figure = None,
    starts: Starts = None,
    device: Device = "cpu",
    seed: Seed = None,
    memory: Memory = None,
    verbose: Verbose = False,
) -> None:
    """The training run that the study states: where the loss stalls, and which narrower critical point is met there."""
    with analysis_of(study, device, "float64", seed, starts, memory=memory) as analysis:
        result = analysis.training()
        content = result.to_dict()
        draw(figure, result)
    if not write_json(json_file, content):
        print_tables([tables.training_table(content)])
