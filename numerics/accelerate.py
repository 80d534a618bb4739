"""Generated functions through ``torch.compile`` and CUDA graphs, where they are asked for.

* ``torch.compile`` fuses the elementwise part of a function into loops of machine code.  The first call of each
  function takes ten seconds or more; it pays where one function is called on very many points.  On a processor it
  needs a C++ compiler.
* A CUDA graph records the kernels of one call and starts them together: the launch of each kernel is what a small
  system costs on a GPU.  One recording serves one shape of points.
"""

from __future__ import annotations

import os
import shutil
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

__all__ = ["CompilerError", "Options", "accelerated"]

#: What ``torch.compile`` looks for on a processor, unless the environment variable CXX names another.
COMPILERS = ("g++", "clang++", "cl")
#: Calls before a CUDA graph is recorded, and shapes of points for which recordings are kept.
WARM_UP, MOST_GRAPHS = 3, 16

Results = tuple[Tensor, ...]


class CompilerError(RuntimeError):
    """``torch.compile`` has no compiler here, or fails: a matter of this machine, to be worked around by leaving it out."""


@dataclass(frozen=True)
class Options:
    """How the functions of a system are run.

    Parameters
    ----------
    torch_compile : bool
        Run the functions through ``torch.compile``; those that sweep samples in blocks stay as they are.
    cuda_graphs : bool
        Replay recorded calls; on a CUDA device only.
    memory_budget : int, optional
        Bytes that arrays on the way may hold at once, besides points, data and results; by default pieces fit the
        cache of the processor.  Not kept where autograd or a function transform looks on: they hold every array.
    """

    torch_compile: bool = False
    cuda_graphs: bool = False
    memory_budget: int | None = None

    def check(self, device: torch.device) -> None:
        """Refuse what this device or machine cannot do.

        Raises
        ------
        ValueError
            For CUDA graphs elsewhere than on CUDA, or a memory budget that is no positive number of bytes.
        CompilerError
            If torch.compile has no C++ compiler here.
        """
        budget = self.memory_budget
        if budget is not None and (isinstance(budget, bool) or not isinstance(budget, int) or budget < 1):
            raise ValueError(f"memory_budget is {budget!r}; accepted: a positive number of bytes, or None")
        if self.cuda_graphs and device.type != "cuda":
            raise ValueError(
                f"cuda_graphs = True on the device {device}: graphs are recorded on CUDA devices only; leave it out"
            )
        if self.torch_compile and device.type == "cpu":
            named = os.environ.get("CXX", "")
            looked = (named,) if named else COMPILERS
            if not any(map(shutil.which, looked)):
                raise CompilerError(
                    f"torch_compile = True needs a C++ compiler, and {' or '.join(looked)} is not on the PATH; install one "
                    "(Debian: apt-get install g++), name it in the environment variable CXX, or leave torch_compile out"
                )


def accelerated(
    call: Callable[..., Results], options: Options, points: int, blocked: bool
) -> Callable[..., Results]:
    """Return ``call`` as the options ask for it.

    Parameters
    ----------
    call : callable
        A generated function of points and what is bound to it.
    options : Options
        Already checked.
    points : int
        How many of its arguments are points.
    blocked : bool
        Whether it sweeps samples in blocks.
    """
    if options.torch_compile and not blocked:
        call = _Fused(call)
    return _Replayed(call, points) if options.cuda_graphs else call


class _Fused:
    """A function through ``torch.compile``, with what goes wrong said plainly."""

    def __init__(self, call: Callable[..., Results]) -> None:
        # Points are checked by whoever calls, and what is bound never changes: checks of sizes are a tenth of a small call.
        self.call = torch.compile(call, options={"size_asserts": False})
        self.seen: set[torch.Size] = set()

    def __call__(self, *arguments: Any) -> Results:
        shape = arguments[0].shape
        if shape in self.seen:
            return self.call(*arguments)
        with warnings.catch_warnings():  # the compiler warns of its own deprecations
            warnings.simplefilter("ignore")
            try:
                results = self.call(*arguments)
            except torch._dynamo.exc.TorchDynamoException as error:
                raise CompilerError(
                    f"torch.compile failed: {str(error).strip().splitlines()[0]}; leave torch_compile out to run the same "
                    "function without it"
                ) from error
        self.seen.add(shape)
        return results


class _Replayed:
    """A function whose kernels are recorded once for each shape of points."""

    def __init__(self, call: Callable[..., Results], points: int) -> None:
        self.call, self.points = call, points
        self.graphs: dict[tuple[torch.Size, ...], tuple[Any, list[Tensor], Results]] = {}

    def __call__(self, *arguments: Any) -> Results:
        points, bound = arguments[: self.points], arguments[self.points :]
        key = tuple(u.shape for u in points)
        if key not in self.graphs:
            if len(self.graphs) >= MOST_GRAPHS:
                return self.call(*arguments)
            self.graphs[key] = self._recorded(points, bound)
        graph, inputs, results = self.graphs[key]
        for here, given in zip(inputs, points, strict=True):
            here.copy_(given)
        graph.replay()
        return tuple(u.clone() for u in results)

    def _recorded(
        self, points: tuple[Tensor, ...], bound: tuple[Any, ...]
    ) -> tuple[Any, list[Tensor], Results]:
        inputs = [u.clone() for u in points]
        stream = torch.cuda.Stream(points[0].device)
        stream.wait_stream(torch.cuda.current_stream(points[0].device))
        with torch.cuda.stream(stream):
            for _ in range(WARM_UP):
                self.call(*inputs, *bound)
        torch.cuda.current_stream(points[0].device).wait_stream(stream)
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph):
            results = self.call(*inputs, *bound)
        return graph, inputs, results
