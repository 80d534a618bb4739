r"""The analysis of a study: what Python, the command line and the report all call.

>>> import workbench as wb
>>> problem = wb.Problem.two_layer(activation="tanh", loss="square", input_bias=True)   # m, n, d stay symbolic
>>> wb.Analysis(problem).gradient_flow().name
'gradient-flow'
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from functools import cached_property, partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from derivations.derivation import Derivation
from derivations.interval import IntervalProblem
from derivations.population import GaussianProblem
from derivations.problem import Problem
from derivations.statement import Statement
from workbench.compiling import Running, check_place, compiled_system
from workbench.data import Dataset, load_dataset
from workbench.errors import NotThere, StudyError
from workbench.populations import is_population
from workbench.problems import problem_of
from workbench.progress import Progress, Silent
from workbench.remembered import remembered
from workbench.store import Store
from workbench.study import DeepModel, DiagonalModel, FormulaModel, Study, TwoLayerModel, load
from workbench.workers import Here, Workers

if TYPE_CHECKING:
    from derivations.activation_table import ActivationTable
    from numerics.compile import CompiledSystem
    from workbench.derive import Statements
    from workbench.evaluation import Evaluation
    from workbench.flow_settings import FlowSettings
    from workbench.landscape import Landscape
    from workbench.report import ReportFiles
    from workbench.training import TrainingRun
    from workbench.trajectories import Trajectories
    from workbench.verify import Verification

__all__ = ["Analysis", "problem_of"]


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
    workers : Workers, optional
        Who searches the random starts, as ``workbench.workers.opened`` gives it; this process by default.
    running : Running, optional
        Memory budget and ``torch.compile`` of the compiled functions, as ``--memory`` and ``--torch-compile`` say.

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
        store: Store | None = None,
        running: Running | None = None,
        workers: Workers | None = None,
    ) -> None:
        if isinstance(source, str | Path):
            source = load(source)
        self.study: Study | None = None
        self.dataset: Dataset | None = None
        self.device, self.dtype = device, dtype
        self.progress: Progress = progress or Silent()
        self.store, self.running = store, running or Running()
        self.workers: Workers = workers or Here()
        self.prefetched: dict[tuple[str, int, Any], dict[str, Any]] = {}
        self.systems: dict[Any, CompiledSystem] = {}
        self._planned = False
        self._begun = time.perf_counter()
        check_place(device, dtype)
        self.problem: Any
        if isinstance(source, Problem | IntervalProblem | GaussianProblem):
            self.problem = source
        else:
            self.study = source.with_overrides(seed=seed) if seed is not None else source
            data = load_dataset(self.study.data, self.study.directory)
            self.problem = problem_of(self.study, data)
            self.dataset = data if isinstance(data, Dataset) else None

    # -- derivations ----------------------------------------------------------------------------------------------

    def derive(self, what: str) -> Derivation | Statements | ActivationTable:
        """Return the equations called ``what``, as ``workbench derive --show`` does.

        Raises
        ------
        ValueError
            If there are no equations of that name; the message lists the names.
        NotThere
            If they do not exist for this problem in this version.
        """
        from workbench.study_derivations import derived

        return derived(self, what)

    def identities(self) -> Statements:
        """Return every output-preserving change of the parameters; ``.statements`` are ``derivations.identity.Identity``."""
        from workbench.derive import Statements, derive

        found = derive(self.problem, "identities")
        assert isinstance(found, Statements)
        return found

    @cached_property
    def statements(self) -> dict[str, list[Statement]]:
        """What is proved of the problem, by topic; with the number of conservation laws where the network is small."""
        from workbench.study_derivations import stated

        return stated(self)

    def gradient_flow(self) -> Derivation:
        """Return the equations of the gradient flow; ``.equations`` are SymPy equations."""
        found = self.derive("gradient-flow")
        assert isinstance(found, Derivation)
        return found

    # -- numbers --------------------------------------------------------------------------------------------------

    def compile(
        self,
        width: int | Sequence[int] | None = None,
        *,
        device: str | None = None,
        dtype: str | None = None,
        torch_compile: bool | None = None,
        cuda_graphs: bool = False,
        memory_budget: int | None = None,
    ) -> CompiledSystem:
        """Return value, gradient, Hessian, Hessian-vector product, Jacobian and kernel as batched PyTorch functions.

        Parameters
        ----------
        width : int or sequence of int, optional
            The study's own by default.
        torch_compile, cuda_graphs, memory_budget
            As for ``numerics.accelerate.Options``; by default those of the analysis.
        """
        own = self.running
        fused = own.torch_compile if torch_compile is None else torch_compile
        budget = own.memory_budget if memory_budget is None else memory_budget
        running = Running(fused, cuda_graphs, budget)
        return compiled_system(self, width, device or self.device, dtype or self.dtype, running)

    def evaluate(self, points: Sequence[Mapping[str, Any]]) -> Evaluation:
        """Evaluate value, gradient, Hessian spectrum, inertia and outputs at dictionaries of blocks."""
        from workbench.evaluation import evaluate

        return evaluate(self.compile(), self._name(), points)

    def flow(
        self,
        points: Sequence[Mapping[str, Any]],
        until: float,
        count: int = 200,
        settings: FlowSettings | None = None,
    ) -> Trajectories:
        """Integrate the gradient flow, or descend, from every point up to the time ``until``, saved at ``count`` times."""
        from workbench.flow_memory import checkpoint_of, remember_of
        from workbench.trajectories import run_flow

        request = (self, points, until, count, settings)
        checkpoint = checkpoint_of(*request)
        with self.progress.stage("integrating the gradient flow") as update:
            found = run_flow(
                self.compile(),
                self._name(),
                points,
                until,
                count,
                settings,
                progress=update,
                checkpoint=checkpoint,
                remember=remember_of(*request),
                twin=partial(self.compile, device="cpu", dtype="float64"),
            )
        if checkpoint is not None:
            checkpoint.remove()
        return found

    def critical(
        self,
        *,
        index: int | None = None,
        frozen: Mapping[str, Any] | None = None,
        digits: int | None = None,
        method: str = "auto",
        exhaust: float | None = None,
    ) -> Landscape:
        """Return the critical points at the study's width.

        Parameters
        ----------
        index, frozen, digits : int, mapping, int, optional
            Index of saddles that every second start follows; values of the frozen blocks; certified decimals that are wanted.
        method : str
            ``exact`` for all of them by algebra, ``numeric`` for a search, ``auto`` for exact where it applies and finishes.
        exhaust : float, optional
            Seconds for branch and prune over all parameters; by default a few where they are few.
        """
        from workbench.critical_list import critical_list

        two_layer = isinstance(self.required_study("the search").model, TwoLayerModel)
        widths = (self._one_width(),) if two_layer else ()
        options: Any = {"index": index, "frozen": frozen, "digits": digits, "exhaust": exhaust}
        return critical_list(self, widths, method, **options)

    def landscape(self) -> Landscape:
        """Return the critical points of all widths of the study, with embeddings and descents."""
        return self._landscape

    def training(self) -> TrainingRun:
        """Return the training run of the study, its stalls explained by the critical points of the landscape."""
        from workbench.training import stated, train

        stated(self.required_study("a training run"))  # refused before the landscape is searched
        self._plan(2.0)
        return train(self, self.landscape())

    def landscape_or_reason(self) -> Landscape | NotThere:
        """Return the landscape, or why there is none of such a model in this version."""
        try:
            return self.landscape()
        except NotThere as missing:
            return self._listed if is_population(self.problem) else missing

    @cached_property
    def _listed(self) -> Landscape | NotThere:
        """The critical points of a population where they are not linked, or why there are none."""
        try:
            return self._explored(self.required_study("the landscape").landscape.widths, connect=False)
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
        from workbench.searches import one_thread

        landscape = self.landscape_or_reason()
        with one_thread():
            return verify(self, landscape)

    def report(self, directory: str | Path, *, pdf: bool = True) -> ReportFiles:
        """Write LaTeX source, figures, JSON and, where a TeX is installed, the PDF into ``directory``."""
        from workbench.claims import VERIFY_WEIGHT
        from workbench.content import content
        from workbench.report import WEIGHT, write_report

        if self.study is not None and self.study.theorem is not None:
            return self._report_result(self.study, directory, pdf)
        self._plan(1 + VERIFY_WEIGHT + WEIGHT)
        return write_report(content(self), directory, pdf=pdf, progress=self.progress)

    def _report_result(self, study: Study, directory: str | Path, pdf: bool) -> ReportFiles:
        from workbench.measurements.measured import Bench
        from workbench.theorem_report import report_theorem

        dtype = str(self.dtype).removeprefix("torch.")
        bench = Bench(str(self.device), dtype, study.landscape.seed, self.progress)
        return report_theorem(study, directory, bench, pdf=pdf)

    def _plan(self, total: float) -> None:
        """Announce the stages to come, once: a landscape has weight 1."""
        if not self._planned:
            self._planned = True
            self.progress.plan(total)

    # -- internals ------------------------------------------------------------------------------------------------

    def _explored(self, widths: tuple[int, ...], *, connect: bool) -> Landscape:
        from workbench.critical_list import linked_list

        return linked_list(self, widths, connect=connect)

    def remember(self, stage: str, width: int, settings: Mapping[str, Any], compute: Any) -> dict[str, Any]:
        """Return what ``compute`` gives, from the store if the same was computed before."""
        return remembered(self, stage, width, settings, compute)

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
            raise NotThere(f"{purpose} needs samples, and the data are of kind {self.study.data.kind}")
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
        if not isinstance(study.model, TwoLayerModel) or is_population(self.problem):
            return None
        systems = (self.compile(width) for width in study.landscape.widths)
        found = next((system for system in systems if parameters >= system.P), None)
        return None if found is None else {name: found.sizes[name] for name in "mdno" if name in found.sizes}

    def _name(self) -> str:
        return self.study.name if self.study is not None else "problem"

    def own_width(self) -> int | tuple[int, ...]:
        """Return the width or widths of the study; a formula has none."""
        model = self.required_study("compiling").model
        if isinstance(model, FormulaModel | DiagonalModel):
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
        data = self.dataset.source if self.dataset else "symbolic data"
        told = "" if is_population(self.problem) else f", {data}"
        return f"<b>{self._name()}</b>: {self.problem.kind}{told}"
