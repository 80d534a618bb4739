"""The tables of a study file that state the problem: model, loss and data, each checked on its own.

>>> TwoLayerModel(width=3, output_bias=True).blocks
('a', 'w', 'b', 'c')
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Annotated, Any, Literal

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    PlainSerializer,
    PlainValidator,
    StrictBool,
    model_validator,
)

from workbench import errors
from workbench.data import (
    SYMBOLIC_COORDINATES,
    check_columns,
    check_dimension,
    check_entry,
    check_row,
    check_shapes,
    parse_target,
)
from workbench.errors import Refusal, check_integer, exact_number
from workbench.kkt_table import check_stated
from workbench.teacher import check_inputs, check_one_source, check_teacher

__all__ = [
    "ArraysData",
    "DataTable",
    "DeepModel",
    "DiagonalModel",
    "FileData",
    "FormulaModel",
    "GaussianData",
    "IntervalData",
    "KKTTable",
    "LayerTable",
    "Line",
    "LossTable",
    "ModelTable",
    "Table",
    "TeacherTable",
    "TwoLayerModel",
    "Widths",
    "checked",
]


def checked(check: Callable[..., object], *settings: object) -> BeforeValidator:
    """Return the validator that applies ``check(*settings, value)`` before pydantic does."""
    return BeforeValidator(partial(check, *settings))


Width = Annotated[int, checked(check_integer, 1, 10**6)]
Widths = Annotated[tuple[Width, ...], Field(min_length=1)]
Number = Annotated[int | float | str, PlainValidator(errors.check_number)]
Positive = Annotated[str, checked(errors.check_constant, "> 0")]
Activation = Annotated[str, checked(errors.check_name_or_formula, "activation", ("z",))]
Line = Annotated[str, checked(errors.check_line)]
Rates = Annotated[tuple[tuple[str, str], ...], checked(errors.check_rates), PlainSerializer(dict)]
Names = Annotated[tuple[Annotated[str, checked(errors.check_identifier)], ...], Field(min_length=1)]


class Table(BaseModel):
    """A frozen table without other keys than its own."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class _Model(Table):
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
    scale: Annotated[str, checked(errors.check_formula, ("m", "d"))] = "1"

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


class DiagonalModel(_Model):
    """``f(x) = sum_l (u_l**depth - v_l**depth) x_l``: a diagonal linear network with the blocks u and v."""

    kind: Literal["diagonal"]
    depth: Annotated[int, checked(check_integer, 1, 64)] = 2

    @property
    def blocks(self) -> tuple[str, ...]:
        """``u`` and ``v``."""
        return ("u", "v")


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


class LossTable(Table):
    """The loss per sample, how samples are joined, and weight decay (``weight_decay/2 * |theta|^2``).

    ``margin`` is that of ``linear_hinge``, ``max(0, margin - y f)``; 1 if it is left out.
    """

    kind: Annotated[str, checked(errors.check_name_or_formula, "loss", ("f", "y"))] = "square"
    reduction: Literal["mean", "sum", "integral"] = "mean"
    factor: Positive = "1"
    weight_decay: Annotated[str, checked(errors.check_constant, ">= 0")] = "0"
    margin: Annotated[str, checked(errors.check_constant, ">= 0")] | None = None

    @model_validator(mode="after")
    def _has_a_margin(self) -> LossTable:
        if self.margin is not None and self.kind != "linear_hinge":
            found = f"margin = {self.margin} with kind = {self.kind!r}"
            raise Refusal(found, "margin with kind = 'linear_hinge' only", at="margin")
        return self


Entries = Annotated[tuple[Annotated[Any, PlainValidator(check_entry)], ...], Field(min_length=1)]
Rows = Annotated[tuple[Annotated[tuple[Any, ...], checked(check_row)], ...], Field(min_length=1)]


class LayerTable(Table):
    """One layer of a deep teacher: weights ``W``, rows for its neurons, and biases ``b``.

    The last layer of a teacher with one output is a row of numbers and a number.
    """

    W: Entries
    b: Annotated[Any, PlainValidator(check_entry)] = None


class TeacherTable(Table):
    """A network whose outputs are the targets: ``a``, ``w``, ``b``, ``c`` of a two-layer one, or ``layers``.

    ``activation`` is that of the model unless another is given.
    """

    activation: Activation | None = None
    a: Entries | None = None
    w: Rows | None = None
    b: Annotated[tuple[Number, ...], Field(min_length=1)] | None = None
    c: Annotated[Any, PlainValidator(check_entry)] = None
    scale: Annotated[str, checked(errors.check_formula, ("m", "d"))] = "1"
    layers: Annotated[tuple[LayerTable, ...], Field(min_length=1)] | None = None

    @model_validator(mode="after")
    def _fits(self) -> TeacherTable:
        check_teacher(self)
        return self


class ArraysData(Table):
    """Numbers in the study, kept as written: x is (n, d), y is (n,) or (n, o), or given by a teacher."""

    kind: Literal["arrays"] = "arrays"
    x: tuple[Annotated[tuple[Any, ...], checked(check_row)], ...]
    y: tuple[Annotated[Any, PlainValidator(check_entry)], ...] | None = None
    teacher: TeacherTable | None = None

    @model_validator(mode="after")
    def _fits(self) -> ArraysData:
        check_one_source("y", self.y, self.teacher)
        check_shapes(self.x, (0,) * len(self.x) if self.y is None else self.y)
        if self.teacher is not None:
            check_inputs(self.teacher, len(self.x[0]))
        return self


class FileData(Table):
    """A CSV file; inputs None takes all numeric columns but the target, a text column gives classes."""

    kind: Literal["file"] = "file"
    file: Line
    inputs: Annotated[tuple[Line, ...], Field(min_length=1)] | None = None
    target: Annotated[str | tuple[str, ...] | None, checked(check_columns)] = None
    standardize: StrictBool = False
    teacher: TeacherTable | None = None

    @model_validator(mode="after")
    def _uses_a_column_once(self) -> FileData:
        check_one_source("target", self.target, self.teacher)
        targets = (self.target,) if isinstance(self.target, str) else self.target or ()
        columns = [*(self.inputs or ()), *targets]
        errors.check_different(columns, "different columns in inputs and target", at="target")
        return self


class IntervalData(Table):
    """Inputs that fill an interval (d = 1) with density 1, and a target in x."""

    kind: Literal["interval"]
    lower: Number
    upper: Number
    target: str | None = None
    teacher: TeacherTable | None = None

    @model_validator(mode="after")
    def _ordered(self) -> IntervalData:
        if not float(exact_number(self.lower)) < float(exact_number(self.upper)):
            raise Refusal(f"lower = {self.lower} and upper = {self.upper}", "lower < upper", at="lower")
        check_one_source("target", self.target, self.teacher)
        if self.teacher is not None:
            check_inputs(self.teacher, 1, outputs=True)
        else:
            parse_target(self.target, 1)
        return self


class GaussianData(Table):
    """Standard Gaussian inputs in ``dimension`` coordinates (``"d"``: symbolic), and a target in x."""

    kind: Literal["gaussian"]
    dimension: Annotated[int | str, PlainValidator(check_dimension)] = "d"
    target: str | None = None
    teacher: TeacherTable | None = None

    @model_validator(mode="after")
    def _parses(self) -> GaussianData:
        check_one_source("target", self.target, self.teacher)
        if self.teacher is not None:
            count = SYMBOLIC_COORDINATES if isinstance(self.dimension, str) else self.dimension
            check_inputs(self.teacher, count, outputs=True, fewer=isinstance(self.dimension, str))
        else:
            parse_target(self.target, self.dimension)
        return self


class KKTTable(Table):
    """A constrained problem: formulas in the parameters of the model, or in ``parameters`` of its own.

    With samples and a width the formulas may name the risk ``R`` and the outputs ``f_1``, ``f_2``, ...
    """

    objective: Line
    equalities: tuple[Line, ...] = ()
    inequalities: tuple[Line, ...] = ()
    maximise: StrictBool = False
    parameters: Names | None = None

    @model_validator(mode="after")
    def _reads(self) -> KKTTable:
        if self.parameters is not None:
            check_stated(self)
        return self


ModelTable = TwoLayerModel | DeepModel | FormulaModel | DiagonalModel
DataTable = ArraysData | FileData | IntervalData | GaussianData
