"""Study files: TOML read into checked, frozen tables.

>>> study = study_from_mapping({"schema": 1, "name": "demo", "model": {"activation": "relu", "width": 3}})
>>> study.model.width, study.model.blocks, study.loss.kind, study.data
(3, ('a', 'w', 'b'), 'square', None)
>>> try:
...     study_from_mapping({"schema": 1, "name": "demo", "loss": {"kid": "square"}})
... except StudyError as error:
...     print(error)
study: loss.kid: found an unknown key; accepted: a key of this table (kind, reduction, factor, \
weight_decay). Did you mean 'kind'?
"""

from __future__ import annotations

import json
import tomllib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from difflib import get_close_matches
from functools import partial
from html import escape
from importlib.resources import files
from pathlib import Path
from typing import Annotated, Any, Literal, get_args

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    PlainSerializer,
    PlainValidator,
    StrictBool,
    ValidationError,
    model_validator,
)

from workbench import errors
from workbench.data import check_columns, check_dimension, check_entry, check_row, check_shapes, parse_target
from workbench.errors import Refusal, StudyError, check_integer, describe, exact_number, fault

__all__ = ["DataTable", "ModelTable", "Study", "load", "shipped_studies", "study_from_mapping"]

SCHEMA = 1
STUDY_BYTES = 5 * 1024**2
Section = Literal[
    "problem", "gradient_flow", "symmetries", "critical_points", "embedding", "graph", "verification"
]


def _checked(check: Callable[..., object], *settings: object) -> BeforeValidator:
    return BeforeValidator(partial(check, *settings))


Width = Annotated[int, _checked(check_integer, 1, 10**6)]
Widths = Annotated[tuple[Width, ...], Field(min_length=1)]
Number = Annotated[int | float | str, PlainValidator(errors.check_number)]
Positive = Annotated[str, _checked(errors.check_constant, "> 0")]
Activation = Annotated[str, _checked(errors.check_name_or_formula, "activation", ("z",))]
Line = Annotated[str, _checked(errors.check_line)]
Rates = Annotated[tuple[tuple[str, str], ...], _checked(errors.check_rates), PlainSerializer(dict)]
Names = Annotated[tuple[Annotated[str, _checked(errors.check_identifier)], ...], Field(min_length=1)]


class _Table(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class _Model(_Table):
    kind: str
    freeze: tuple[str, ...] = ()
    kink: Number = 0
    rate: Rates = ()

    @property
    def blocks(self) -> tuple[str, ...]:
        """Names of the parameter blocks, in the order of the flat parameter vector."""
        raise NotImplementedError

    def rate_of(self, block: str) -> str:
        """Return the speed of a block under gradient flow, a constant formula; ``"1"`` if not stated."""
        return dict(self.rate).get(block, "1")

    @model_validator(mode="after")
    def _names_its_blocks(self) -> _Model:
        named = [(f"freeze[{i}]", block) for i, block in enumerate(self.freeze)]
        for at, block in [*named, *((f"rate.{block}", block) for block, _ in self.rate)]:
            if block not in self.blocks:
                raise errors.unknown_name(block, self.blocks, "a block of the model", at=at)
        if set(self.freeze) == set(self.blocks):
            raise Refusal("every block frozen", "at least one block that is trained", at="freeze")
        return self


class TwoLayerModel(_Model):
    """``f(x) = scale * sum_k a_k activation(w_k . x + b_k) + c``; width None keeps m symbolic."""

    kind: Literal["two_layer"] = "two_layer"
    activation: Activation = "tanh"
    width: Width | None = None
    input_bias: StrictBool = True
    output_bias: StrictBool = False
    scale: Annotated[str, _checked(errors.check_formula, ("m", "d"))] = "1"

    @property
    def blocks(self) -> tuple[str, ...]:
        """``a``, ``w``, and ``b``, ``c`` where there are biases."""
        return ("a", "w", *["b"] * self.input_bias, *["c"] * self.output_bias)


class DeepModel(_Model):
    """``h_l = activation(W_l h_{l-1} + b_l)``, ``f = W_L h_{L-1} + b_L``, with the hidden ``widths``.

    ``input_bias`` gives every hidden layer its bias, ``output_bias`` the last layer.
    """

    kind: Literal["deep"]
    activation: Activation = "tanh"
    widths: Widths
    input_bias: StrictBool = True
    output_bias: StrictBool = False

    @property
    def blocks(self) -> tuple[str, ...]:
        """``W1``, ``b1``, ``W2``, ..., less the biases that are absent."""
        biases = [self.input_bias] * len(self.widths) + [self.output_bias]
        return tuple(name for j, bias in enumerate(biases, 1) for name in [f"W{j}", *[f"b{j}"] * bias])


class FormulaModel(_Model):
    """A scalar output, a formula in parameters and inputs; each parameter is a block of one number."""

    kind: Literal["formula"]
    output: str
    parameters: Names
    inputs: Names = ("x",)

    @property
    def blocks(self) -> tuple[str, ...]:
        """The parameters."""
        return self.parameters

    @model_validator(mode="after")
    def _parses(self) -> FormulaModel:
        names = [*self.parameters, *self.inputs]
        errors.check_different(names, "parameters and inputs of different names", at="parameters")
        errors.check_formula(names, self.output, at="output")
        return self


class LossTable(_Table):
    """The loss per sample, how samples are joined, and weight decay (``weight_decay/2 * |theta|^2``)."""

    kind: Annotated[str, _checked(errors.check_name_or_formula, "loss", ("f", "y"))] = "square"
    reduction: Literal["mean", "sum", "integral"] = "mean"
    factor: Positive = "1"
    weight_decay: Annotated[str, _checked(errors.check_constant, ">= 0")] = "0"


class ArraysData(_Table):
    """Numbers in the study, kept as written: x is (n, d), y is (n,) or (n, o)."""

    kind: Literal["arrays"] = "arrays"
    x: tuple[Annotated[tuple[Any, ...], _checked(check_row)], ...]
    y: tuple[Annotated[Any, PlainValidator(check_entry)], ...]

    @model_validator(mode="after")
    def _fits(self) -> ArraysData:
        check_shapes(self.x, self.y)
        return self


class FileData(_Table):
    """A CSV file; inputs None takes all numeric columns but the target, a text column gives classes."""

    kind: Literal["file"] = "file"
    file: Line
    inputs: Annotated[tuple[Line, ...], Field(min_length=1)] | None = None
    target: Annotated[str | tuple[str, ...], _checked(check_columns)]
    standardize: StrictBool = False

    @model_validator(mode="after")
    def _uses_a_column_once(self) -> FileData:
        targets = (self.target,) if isinstance(self.target, str) else self.target
        columns = [*(self.inputs or ()), *targets]
        errors.check_different(columns, "different columns in inputs and target", at="target")
        return self


class IntervalData(_Table):
    """Inputs that fill an interval (d = 1) with density 1, and a target in x."""

    kind: Literal["interval"]
    lower: Number
    upper: Number
    target: str

    @model_validator(mode="after")
    def _ordered(self) -> IntervalData:
        if not float(exact_number(self.lower)) < float(exact_number(self.upper)):
            raise Refusal(f"lower = {self.lower} and upper = {self.upper}", "lower < upper", at="lower")
        parse_target(self.target, 1)
        return self


class GaussianData(_Table):
    """Standard Gaussian inputs in ``dimension`` coordinates (``"d"``: symbolic), and a target in x."""

    kind: Literal["gaussian"]
    dimension: Annotated[int | str, PlainValidator(check_dimension)] = "d"
    target: str

    @model_validator(mode="after")
    def _parses(self) -> GaussianData:
        parse_target(self.target, self.dimension)
        return self


class LandscapeTable(_Table):
    """Widths whose critical points are sought and linked, sorted, and the random starts per width."""

    widths: Annotated[Widths, AfterValidator(lambda widths: tuple(sorted(set(widths))))] = (1, 2)
    starts: Annotated[int, _checked(check_integer, 1, 10**6)] = 2000
    seed: Annotated[int, _checked(check_integer, 0, 2**63 - 1)] = 0


class ReportTable(_Table):
    """Sections of the report, in their order."""

    sections: Annotated[tuple[Section, ...], Field(min_length=1)] = get_args(Section)

    @model_validator(mode="after")
    def _once(self) -> ReportTable:
        errors.check_different(self.sections, "different sections", at="sections")
        return self


ModelTable = TwoLayerModel | DeepModel | FormulaModel
DataTable = ArraysData | FileData | IntervalData | GaussianData


class _File(_Table):
    name: Annotated[str, _checked(errors.check_slug)]
    title: Line | None = None
    model: Annotated[ModelTable, Field(discriminator="kind")] = TwoLayerModel()
    loss: LossTable = LossTable()
    data: Annotated[DataTable, Field(discriminator="kind")] | None = None
    landscape: LandscapeTable = LandscapeTable()
    report: ReportTable = ReportTable()


_KEYS: dict[tuple[object, ...], list[str]] = {(): ["schema", *_File.model_fields]}
for _key in ("loss", "landscape", "report"):
    _KEYS[_key,] = list(type(_File.model_fields[_key].default).model_fields)
for _key, _union in (("model", ModelTable), ("data", DataTable)):
    for _class in get_args(_union):
        _KEYS[_key, *get_args(_class.model_fields["kind"].annotation)] = list(_class.model_fields)


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

    @property
    def directory(self) -> Path:
        """What paths inside the study are relative to."""
        return self.path.parent if self.path else Path()

    def to_dict(self) -> dict[str, Any]:
        """Return the content of the study file, every default written out."""
        tables = {key: getattr(self, key) for key in ("model", "loss", "data", "landscape", "report")}
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
    try:
        checked = _File.model_validate(content)
    except ValidationError as error:
        raise StudyError(*errors.validation_faults(file, error.errors(), _KEYS)) from None
    faults = [fault(file, key, refusal) for key, refusal in _misfits(checked)]
    if faults:
        raise StudyError(*faults)
    tables = {key: getattr(checked, key) for key in ("name", "model", "loss", "data", "landscape", "report")}
    return Study(**tables, title=checked.title or checked.name, path=Path(path) if path else None)


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
    if isinstance(model, FormulaModel):
        d = len(data.x[0]) if isinstance(data, ArraysData) else 1 if isinstance(data, IntervalData) else None
        if d is not None and d != len(model.inputs):
            yield "model.inputs", Refusal(f"{len(model.inputs)} inputs for data with d = {d}", f"{d} names")
        if isinstance(data, ArraysData) and isinstance(data.y[0], tuple):
            yield "data.y", Refusal(f"rows of {len(data.y[0])}", "numbers: a formula has one output")


def _toml(value: object) -> str:
    if isinstance(value, dict):
        return "{" + ", ".join(f"{_toml(key)} = {_toml(entry)}" for key, entry in value.items()) + "}"
    return json.dumps(value, ensure_ascii=False)  # text, numbers and arrays look alike in both
