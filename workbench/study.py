"""Study files: TOML read into checked, frozen tables.

>>> study = study_from_mapping({"schema": 1, "name": "demo", "model": {"activation": "relu", "width": 3}})
>>> study.model.width, study.model.blocks, study.loss.kind, study.data
(3, ('a', 'w', 'b'), 'square', None)
>>> try:
...     study_from_mapping({"schema": 1, "name": "demo", "loss": {"kid": "square"}})
... except StudyError as error:
...     print(error)
study: loss.kid: found an unknown key; accepted: a key of this table (kind, reduction, factor, \
weight_decay, margin). Did you mean 'kind'?
"""

from __future__ import annotations

import json
import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from difflib import get_close_matches
from html import escape
from importlib.resources import files
from pathlib import Path
from typing import Annotated, Any, Literal, get_args

from pydantic import AfterValidator, BeforeValidator, Field, ValidationError, model_validator

from workbench import errors
from workbench.errors import Refusal, StudyError, check_integer, describe, fault
from workbench.study_tables import (
    ArraysData,
    DataTable,
    DeepModel,
    DiagonalModel,
    FileData,
    FormulaModel,
    GaussianData,
    IntervalData,
    KKTTable,
    LayerTable,
    Line,
    LossTable,
    ModelTable,
    Table,
    TeacherTable,
    TwoLayerModel,
    Widths,
    checked,
)
from workbench.teacher import output_count

__all__ = [
    "DataTable",
    "DeepModel",
    "DiagonalModel",
    "FormulaModel",
    "ModelTable",
    "Study",
    "TwoLayerModel",
    "load",
    "shipped_studies",
    "study_from_mapping",
]

SCHEMA = 1
STUDY_BYTES = 5 * 1024**2
Section = Literal[
    "problem", "gradient_flow", "symmetries", "critical_points", "embedding", "graph", "verification"
]
MoreSection = Literal["activation", "kernels"]


def _as_texts(given: object) -> object:
    """Write numbers as the texts that settings are: ``starts = 3`` stands for ``starts = "3"``."""
    if not isinstance(given, dict):
        return given
    number = lambda value: isinstance(value, int | float) and not isinstance(value, bool)  # noqa: E731
    return {key: str(value) if number(value) else value for key, value in given.items()}


class LandscapeTable(Table):
    """Widths whose critical points are sought and linked, sorted, and the random starts per width."""

    widths: Annotated[Widths, AfterValidator(lambda widths: tuple(sorted(set(widths))))] = (1, 2)
    starts: Annotated[int, checked(check_integer, 1, 10**6)] = 2000
    seed: Annotated[int, checked(check_integer, 0, 2**63 - 1)] = 0


class TrainingTable(Table):
    """A run of the gradient flow of a wide network from Gaussian weights of standard deviation ``scale``, up to time ``until``."""

    width: Annotated[int, checked(check_integer, 1, 10**4)]
    scale: Annotated[str, checked(errors.check_constant, "> 0")] = "1/1000"
    until: Annotated[str, checked(errors.check_constant, "> 0")]
    seed: Annotated[int, checked(check_integer, 0, 2**63 - 1)] | None = None


class TheoremTable(Table):
    """A result of the library and its settings: a study with this table is checked and reported as an instance of the result."""

    name: Annotated[str, checked(errors.check_slug)]
    settings: Annotated[dict[str, str], BeforeValidator(_as_texts)] = Field(default_factory=dict)


class ReportTable(Table):
    """Sections of the report, in their order; those of ``MoreSection`` only where they are named."""

    sections: Annotated[tuple[Literal[Section, MoreSection], ...], Field(min_length=1)] = get_args(Section)

    @model_validator(mode="after")
    def _once(self) -> ReportTable:
        errors.check_different(self.sections, "different sections", at="sections")
        return self


class _File(Table):
    name: Annotated[str, checked(errors.check_slug)]
    title: Line | None = None
    model: Annotated[ModelTable, Field(discriminator="kind")] = TwoLayerModel()
    loss: LossTable = LossTable()
    data: Annotated[DataTable, Field(discriminator="kind")] | None = None
    kkt: KKTTable | None = None
    landscape: LandscapeTable = LandscapeTable()
    training: TrainingTable | None = None
    theorem: TheoremTable | None = None
    report: ReportTable = ReportTable()


_TABLES = ("model", "loss", "data", "kkt", "landscape", "training", "theorem", "report")
_KEYS: dict[tuple[object, ...], list[str]] = {(): ["schema", *_File.model_fields]}
_KEYS["kkt",] = list(KKTTable.model_fields)
for _key in ("loss", "landscape", "report"):
    _KEYS[_key,] = list(type(_File.model_fields[_key].default).model_fields)
for _key, _union in (("model", ModelTable), ("data", DataTable)):
    for _class in get_args(_union):
        _home = (_key, *get_args(_class.model_fields["kind"].annotation))
        _KEYS[_home] = list(_class.model_fields)
        if "teacher" in _class.model_fields:
            _KEYS[*_home, "teacher"] = list(TeacherTable.model_fields)
            _KEYS[*_home, "teacher", "layers"] = list(LayerTable.model_fields)
_KEYS["training",] = list(TrainingTable.model_fields)
_KEYS["theorem",] = list(TheoremTable.model_fields)


@dataclass(frozen=True)
class Study:
    """A checked study; `load` and `study_from_mapping` make it.

    Attributes
    ----------
    name, title : str
        A file-name slug, and a line of text (the name where the file gives none).
    model, loss, landscape, report : tables
        Frozen; their attributes are the keys of the study file, formulas as text.
    data : table or None
        None keeps the data symbolic; `workbench.data.load_dataset` reads it.
    kkt : table or None
        A constrained problem of its own, shown by ``derive --show kkt``.
    training : table or None
        A run of a wide network, made by ``workbench training``.
    theorem : table or None
        A result of the library with its settings, which ``workbench report`` then reports.
    path : Path or None
        The file; not part of equality.
    """

    name: str
    title: str
    model: ModelTable
    loss: LossTable
    data: DataTable | None
    landscape: LandscapeTable
    report: ReportTable
    path: Path | None = field(default=None, compare=False)
    kkt: KKTTable | None = None
    training: TrainingTable | None = None
    theorem: TheoremTable | None = None

    @property
    def directory(self) -> Path:
        """What paths inside the study are relative to."""
        return self.path.parent if self.path else Path()

    def to_dict(self) -> dict[str, Any]:
        """Return the content of the study file, every default written out."""
        tables = {key: getattr(self, key) for key in _TABLES}
        return {"schema": SCHEMA, "name": self.name, "title": self.title} | {
            key: table.model_dump(mode="json", exclude_none=True) for key, table in tables.items() if table
        }

    def to_toml(self) -> str:
        """Return the text of a study file that loads as an equal study."""
        content = self.to_dict()
        lines = [f"{key} = {_toml(value)}" for key, value in content.items() if not isinstance(value, dict)]
        for key, table in content.items():
            if isinstance(table, dict):
                lines += ["", f"[{key}]", *(f"{name} = {_toml(value)}" for name, value in table.items())]
        return "\n".join(lines) + "\n"

    def _repr_html_(self) -> str:
        return f"<pre>{escape(self.to_toml())}</pre>"

    def with_overrides(self, *, seed: int | None = None, starts: int | None = None) -> Study:
        """Return a study with other settings of the search, checked as in a file; None changes nothing."""
        content = self.to_dict()
        settings = {"seed": seed, "starts": starts}
        content["landscape"] |= {key: value for key, value in settings.items() if value is not None}
        return study_from_mapping(content, path=self.path)


def load(path: str | Path) -> Study:
    """Read a study file.

    Raises
    ------
    StudyError
        If it is missing, not TOML or refused: a line for each fault, with file, key, what was found and what
        is accepted.
    """
    path = Path(path)
    shipped = shipped_studies()
    near = get_close_matches(path.stem.casefold(), shipped, n=1)
    hint = f"The shipped study {near[0]!r} is {shipped[near[0]]}" if near else ""
    text, _ = errors.read_text(path, limit=STUDY_BYTES, what="a study file (TOML)", hint=hint)
    try:
        content = tomllib.loads(text)
    except (ValueError, RecursionError) as error:
        reason = str(error) if isinstance(error, ValueError) else "nested too deeply"
        raise StudyError(fault(path, "", Refusal(f"invalid TOML ({reason})", "valid TOML"))) from None
    return study_from_mapping(content, path=path)


def study_from_mapping(mapping: Mapping[str, Any], *, path: str | Path | None = None) -> Study:
    """Check the content of a study file; ``path`` is its file, if there is one.

    Raises
    ------
    StudyError
        As `load`; without a path the file is called ``study``.
    """
    file = path or "study"
    if not isinstance(mapping, Mapping):
        raise StudyError(fault(file, "", Refusal(describe(mapping), "a mapping of tables")))
    content = dict(mapping)
    schema = content.pop("schema", None)
    if type(schema) is not int or schema != SCHEMA:
        found = "nothing" if schema is None else describe(schema)
        raise StudyError(fault(file, "schema", Refusal(found, f"{SCHEMA}, the only version supported")))
    for key, kind in [("model", "two_layer"), ("data", "arrays")]:
        if isinstance(content.get(key), dict):
            implied = "file" if key == "data" and "file" in content[key] else kind
            content[key] = {"kind": implied} | content[key]
    _give_teacher_its_activation(content)
    try:
        checked = _File.model_validate(content)
    except ValidationError as error:
        raise StudyError(*errors.validation_faults(file, error.errors(), _KEYS)) from None
    faults = [fault(file, key, refusal) for key, refusal in _misfits(checked)]
    if faults:
        raise StudyError(*faults)
    tables = {key: getattr(checked, key) for key in ("name", *_TABLES)}
    return Study(**tables, title=checked.title or checked.name, path=Path(path) if path else None)


def _give_teacher_its_activation(content: dict[str, Any]) -> None:
    """Write the activation of the model into a teacher that states none; formulas have none to give."""
    data, model = content.get("data"), content.get("model", {"kind": "two_layer"})
    teacher = data.get("teacher") if isinstance(data, dict) else None
    if not isinstance(data, dict) or not isinstance(teacher, dict) or not isinstance(model, dict):
        return  # refused later, or nothing to do
    if model.get("kind") in ("two_layer", "deep"):
        sigma = model.get("activation", TwoLayerModel().activation)
        content["data"] = data | {"teacher": {"activation": sigma} | teacher}


def shipped_studies() -> dict[str, Path]:
    """Return the studies that come with the workbench, by name."""
    folder = files("workbench") / "studies"
    paths = sorted(Path(str(entry)) for entry in folder.iterdir() if entry.name.endswith(".toml"))
    return {path.stem: path for path in paths}


def _misfits(study: _File) -> Iterator[tuple[str, Refusal]]:
    """Yield what is wrong between tables that are right on their own."""
    model, data, reduction = study.model, study.data, study.loss.reduction
    if isinstance(data, ArraysData | FileData) and reduction == "integral":
        yield "loss.reduction", Refusal("'integral' with a finite set of samples", "'mean' or 'sum'")
    if isinstance(data, IntervalData | GaussianData) and reduction == "sum":
        yield "loss.reduction", Refusal(f"'sum' with {data.kind} data", "'mean' or 'integral'")
    teacher = data.teacher if data is not None else None
    if teacher is not None and isinstance(model, FormulaModel | DiagonalModel):
        if teacher.activation is None:
            yield (
                "data.teacher.activation",
                Refusal("nothing", f"an activation: a {model.kind} model has none of its own"),
            )
        if output_count(teacher) is not None:
            yield "data.teacher", Refusal("several outputs", f"one output: a {_called(model)} has one")
    if isinstance(model, FormulaModel):
        d = len(data.x[0]) if isinstance(data, ArraysData) else 1 if isinstance(data, IntervalData) else None
        if d is not None and d != len(model.inputs):
            yield "model.inputs", Refusal(f"{len(model.inputs)} inputs for data with d = {d}", f"{d} names")
    scalar = isinstance(model, FormulaModel | DiagonalModel)
    if scalar and isinstance(data, ArraysData) and data.y is not None and isinstance(data.y[0], tuple):
        yield "data.y", Refusal(f"rows of {len(data.y[0])}", f"numbers: a {_called(model)} has one output")


def _called(model: ModelTable) -> str:
    return "formula" if isinstance(model, FormulaModel) else f"{model.kind} model"


def _toml(value: object) -> str:
    if isinstance(value, dict):
        return "{" + ", ".join(f"{_toml(key)} = {_toml(entry)}" for key, entry in value.items()) + "}"
    return json.dumps(value, ensure_ascii=False)  # text, numbers and arrays look alike in both
