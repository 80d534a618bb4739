r"""The analysis of a study: what Python, the command line and the report all call.

>>> import workbench as wb
>>> problem = wb.Problem.two_layer(activation="tanh", loss="square", input_bias=True)   # m, n, d stay symbolic
>>> wb.Analysis(problem).gradient_flow().name
'gradient-flow'
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import cached_property, partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from derivations.derivation import Derivation
from derivations.interval import IntervalProblem
from derivations.population import GaussianProblem
from derivations.problem import Problem
from derivations.statement import Statement
from workbench import store as results_store
from workbench.data import Dataset, load_dataset
from workbench.errors import NotThere, Refusal, StudyError
from workbench.options import DTYPES, check_device, check_one_of
from workbench.problems import problem_of
from workbench.progress import Progress, Silent
from workbench.study import DeepModel, FormulaModel, Study, TwoLayerModel, load

if TYPE_CHECKING:
    from numerics.compile import CompiledSystem
    from workbench.derive import Statements
    from workbench.evaluation import Evaluation, Trajectories
    from workbench.landscape import Landscape
    from workbench.report import ReportFiles
    from workbench.verify import Verification

__all__ = ["Analysis", "problem_of"]

#: Largest entry of an input or of the targets, from and up to which a search is meaningful.
SMALLEST_DATA, LARGEST_DATA = 0.05, 30.0


class Analysis:
    """Everything that can be asked of one study or problem; results are computed when asked for, and kept.

    Parameters
    ----------
    source : Study, Problem, str or Path
        A study, the path of a study file, or a problem with symbolic data (for derivations only).
    device, dtype : str
        Where and in what precision numbers are computed; ``cpu``, ``cuda`` or ``cuda:0``; ``float64`` or ``float32``.
    seed : int, optional
        Replaces the seed of the study.
    progress : Progress, optional
        Told what is being done.
    store : Store, optional
        Searches that finished are read back from it; None computes everything anew.

    Raises
    ------
    StudyError, NotThere, FormulaError
        If the study is refused, or asks for what is not there yet.
    """

    def __init__(
        self,
        source: Study | Problem | IntervalProblem | GaussianProblem | str | Path,
        *,
        device: str = "cpu",
        dtype: str = "float64",
        seed: int | None = None,
        progress: Progress | None = None,
        store: results_store.Store | None = None,
    ) -> None:
        if isinstance(source, str | Path):
            source = load(source)
        self.study: Study | None = None
        self.dataset: Dataset | None = None
        self.device, self.dtype = device, dtype
        self.progress: Progress = progress or Silent()
        self.store = store
        self._systems: dict[Any, CompiledSystem] = {}
        self._planned = False
        self._begun = time.perf_counter()
        _check_device(device, dtype)
        self.problem: Any
        if isinstance(source, Problem | IntervalProblem | GaussianProblem):
            self.problem = source
        else:
            self.study = source.with_overrides(seed=seed) if seed is not None else source
            data = load_dataset(self.study.data, self.study.directory)
            self.problem = problem_of(self.study, data)
            self.dataset = data if isinstance(data, Dataset) else None

    # -- derivations ----------------------------------------------------------------------------------------------

    def derive(self, what: str) -> Derivation | Statements:
        """Return the equations called ``what``, as ``workbench derive --show`` does.

        Raises
        ------
        ValueError
            If there are no equations of that name; the message lists the names.
        NotThere
            If they do not exist for this problem in this version.
        """
        from workbench.derive import derive

        return derive(self.problem, what)

    @cached_property
    def statements(self) -> dict[str, list[Statement]]:
        """What is proved of the problem, by topic; with the number of conservation laws where the network is small."""
        from workbench.derive import statements
        from workbench.laws import MOST_PARAMETERS, counted_laws

        found = statements(self.problem)
        sizes = self.small_sizes(MOST_PARAMETERS) if self.study is not None else None
        laws = None if sizes is None else counted_laws(self.problem, sizes)
        if laws is not None:
            found["conservation"] = [*found.get("conservation", []), laws]
        return found

    def gradient_flow(self) -> Derivation:
        """Return the equations of the gradient flow; ``.equations`` are SymPy equations."""
        found = self.derive("gradient-flow")
        assert isinstance(found, Derivation)
        return found

    # -- numbers --------------------------------------------------------------------------------------------------

    def compile(
        self, width: int | Sequence[int] | None = None, *, device: str | None = None, dtype: str | None = None
    ) -> CompiledSystem:
        """Return value, gradient, Hessian and Hessian-vector product as batched PyTorch functions.

        Parameters
        ----------
        width : int or sequence of int, optional
            The study's own by default.
        """
        import torch

        from numerics.compile import compile_system

        data = self.required_data("compiling")
        chosen = self._width() if width is None else width
        key = (
            tuple(chosen) if isinstance(chosen, Sequence) else chosen,
            device or self.device,
            dtype or self.dtype,
        )
        _check_device(key[1], key[2])
        if key not in self._systems:
            y = [row[0] for row in data.y_float()] if data.scalar_output else data.y_float()
            self._systems[key] = compile_system(
                self.problem, data.x_float(), y, chosen, device=key[1], dtype=getattr(torch, key[2])
            )
        return self._systems[key]

    def evaluate(self, points: Sequence[Mapping[str, Any]]) -> Evaluation:
        """Evaluate value, gradient, Hessian spectrum, inertia and outputs at dictionaries of blocks."""
        from workbench.evaluation import evaluate

        return evaluate(self.compile(), self._name(), points)

    def flow(self, points: Sequence[Mapping[str, Any]], until: float, count: int = 200) -> Trajectories:
        """Integrate the gradient flow from every point up to the time ``until``, saved at ``count`` times."""
        from workbench.evaluation import flow

        with self.progress.stage("integrating the gradient flow") as update:
            return flow(self.compile(), self._name(), points, until, count, update)

    def critical(self) -> Landscape:
        """Return the critical points found at the study's width."""
        return self._explored((self._one_width(),), connect=False)

    def landscape(self) -> Landscape:
        """Return the critical points of all widths of the study, with embeddings and descents."""
        return self._landscape

    def landscape_or_reason(self) -> Landscape | NotThere:
        """Return the landscape, or why there is none of such a model in this version."""
        try:
            return self.landscape()
        except NotThere as missing:
            return missing

    @cached_property
    def _landscape(self) -> Landscape:
        return self._explored(self.required_study("the landscape").landscape.widths, connect=True)

    def verify(self) -> Verification:
        """Check every derivation and every applicable claim."""
        from workbench.claims import VERIFY_WEIGHT

        self._plan(1 + VERIFY_WEIGHT)
        return self._verification

    @cached_property
    def _verification(self) -> Verification:
        from workbench.claims import verify

        landscape = self.landscape_or_reason()
        with _one_thread():
            return verify(self, landscape)

    def report(self, directory: str | Path, *, pdf: bool = True) -> ReportFiles:
        """Write LaTeX source, figures, JSON and, where a TeX is installed, the PDF into ``directory``."""
        from workbench.claims import VERIFY_WEIGHT
        from workbench.content import content
        from workbench.report import WEIGHT, write_report

        self._plan(1 + VERIFY_WEIGHT + WEIGHT)
        return write_report(content(self), directory, pdf=pdf, progress=self.progress)

    def _plan(self, total: float) -> None:
        """Announce the stages to come, once: a landscape has weight 1."""
        if not self._planned:
            self._planned = True
            self.progress.plan(total)

    # -- internals ------------------------------------------------------------------------------------------------

    def _explored(self, widths: tuple[int, ...], *, connect: bool) -> Landscape:
        from workbench.exploration import Settings, explore
        from workbench.landscape import Landscape
        from workbench.network import architecture

        study, data, begun = (
            self.required_study("the landscape"),
            self.required_data("the landscape"),
            time.perf_counter(),
        )
        if not isinstance(study.model, TwoLayerModel):
            raise NotThere("the landscape of deep models is not there yet; it needs kind = 'two_layer'")
        if self.dtype != "float64":
            raise StudyError(
                f"--dtype: found {self.dtype}; accepted: float64, since inertia needs eigenvalues to 1e-9 of the largest"
            )
        shape = architecture(self.problem, data.d, data.o)
        _check_scale(study.name, data)
        settings = Settings(widths, study.landscape.starts, study.landscape.seed, connect)
        with _one_thread():
            found = explore(
                shape,
                self.compile,
                settings,
                merges=self.problem.weight_decay == 0,
                progress=self.progress,
                remember=self._remember,
            )
        return Landscape(
            study.name,
            settings.seed,
            found.points,
            found.edges,
            found.channels,
            found.checks,
            found.searches,
            connect,
            time.perf_counter() - begun,
        )

    def _remember(self, stage: str, width: int, settings: Mapping[str, Any], compute: Any) -> dict[str, Any]:
        """Return what ``compute`` gives, from the store if the same was computed before."""
        if self.store is None:
            return compute()
        study, data = self.required_study(stage), self.required_data(stage)
        content = study.to_dict()
        mathematics = {"model": {**content["model"], "width": None}, "loss": content["loss"]}
        key = results_store.make_key(
            stage,
            study=mathematics,
            data_sha256=data.sha256,
            width=width,
            settings={**settings, "device": self.device, "dtype": self.dtype},
        )
        known = self.store.get(key)
        if known is None:
            known = compute()
            self.store.put(key, known)
        return known

    def required_study(self, purpose: str) -> Study:
        """Return the study, or raise StudyError saying that ``purpose`` needs one."""
        if self.study is None:
            raise StudyError(
                f"{purpose} needs a study with data; a problem alone has symbolic sizes and data"
            )
        return self.study

    def required_data(self, purpose: str) -> Dataset:
        """Return the data, or raise StudyError saying that ``purpose`` needs them."""
        self.required_study(purpose)
        if self.study is not None and self.study.data is not None and self.dataset is None:
            raise NotThere(
                f"{purpose} needs samples; a loss over {self.study.data.kind} data is derived, and its exact values are in "
                "derivations.interval_point and derivations.population_point"
            )
        if self.dataset is None:
            raise StudyError(
                f"{self._name()}: data: found nothing; accepted: samples x and y, needed for {purpose}"
            )
        return self.dataset

    @property
    def seconds(self) -> float:
        """Run time so far, since the analysis was made."""
        return time.perf_counter() - self._begun

    def small_sizes(self, parameters: int) -> dict[str, int] | None:
        """Return m, d, n (and o) of the first width of the study with so few parameters; None if there is none."""
        study = self.required_study("sizes")
        if not isinstance(study.model, TwoLayerModel):
            return None
        systems = (self.compile(width) for width in study.landscape.widths)
        found = next((system for system in systems if parameters >= system.P), None)
        return None if found is None else {name: found.sizes[name] for name in "mdno" if name in found.sizes}

    def _name(self) -> str:
        return self.study.name if self.study is not None else "problem"

    def _width(self) -> int | tuple[int, ...]:
        model = self.required_study("compiling").model
        if isinstance(model, FormulaModel):
            return ()
        return model.widths if isinstance(model, DeepModel) else self._one_width()

    def _one_width(self) -> int:
        model = self.required_study("a width").model
        width = getattr(model, "width", None)
        if width is None:
            raise StudyError(
                f"{self._name()}: model.width: found nothing; accepted: an integer, needed for everything but derivations"
            )
        return width

    def to_dict(self) -> dict[str, Any]:
        """Return what is analysed and how: the study (None for a problem alone), device and dtype."""
        study = None if self.study is None else self.study.to_dict()
        return {"schema": 1, "study": study, "device": self.device, "dtype": self.dtype}

    def _repr_html_(self) -> str:
        return f"<b>{self._name()}</b>: {self.problem.kind}, {self.dataset.source if self.dataset else 'symbolic data'}"


def _check_scale(name: str, data: Dataset) -> None:
    """Refuse data that are not of order one: the starts of the search and its tolerances are for such data only."""
    columns = [(f"input {k + 1}", [row[k] for row in data.x_float()]) for k in range(data.d)]
    columns += [("y", [value for row in data.y_float() for value in row])]
    for what, values in columns:
        size = max(abs(value) for value in values)
        if size != 0 and not SMALLEST_DATA <= size <= LARGEST_DATA:
            raise StudyError(
                f"{name}: data: {what}: found numbers up to {size:.3g} in size; accepted: up to between {SMALLEST_DATA} and"
                f" {LARGEST_DATA}, for which the search is made. Divide them by a constant (standardize = true does it for"
                " the inputs of a file)"
            )


@contextmanager
def _one_thread() -> Iterator[None]:
    """Keep PyTorch to one thread: the many small matrices of a search are slower on several, and not reproducible."""
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def _check_device(device: str, dtype: str) -> None:
    for name, check in (
        ("--dtype", partial(check_one_of, DTYPES, "a dtype", dtype)),
        ("--device", partial(check_device, device)),
    ):
        try:
            check()
        except Refusal as refusal:
            raise StudyError(f"{name}: {refusal}") from None
