"""The one door from symbolic to executable: generated source becomes a function, sizes become a layout.

``compile_system(problem, x, y, width)`` returns a ``CompiledSystem``: value, gradient, Hessian, Hessian-vector
product and outputs, batched over parameter points, on one device and in one dtype.
"""

from __future__ import annotations

import linecache
import math
from collections.abc import Callable, Mapping, Sequence
from functools import cached_property, partial
from typing import Any

import torch
from sympy import Expr
from torch import Tensor as TorchTensor

from derivations.indexed import Index
from derivations.problem import Problem
from derivations.system import System
from numerics.accelerate import Options, accelerated
from numerics.compiled_view import as_dict, as_html
from numerics.emit_batches import Batches, Function, watched
from numerics.emit_nodes import Plan
from numerics.exact_graph import block_layout
from numerics.generated import Items, generated, generated_extra
from numerics.lowering import Lowered
from numerics.sample_blocks import SampleBlocks

__all__ = ["CompiledSystem", "compile_system"]


def _executable(lowered: Lowered) -> dict[str, Callable[..., Any]]:
    """Return the functions that the source defines."""
    filename = f"<generated {lowered.name} {hash(lowered.source) & 0xFFFFFFFF:x}>"
    linecache.cache[filename] = (len(lowered.source), None, lowered.source.splitlines(True), filename)
    namespace: dict[str, Any] = {"torch": torch, "math": math}
    exec(compile(lowered.source, filename, "exec"), namespace)
    return namespace


class CompiledSystem:
    r"""A problem at given sizes and data as batched PyTorch functions.

    Parameters
    ----------
    problem : Problem
        With a concrete activation and loss.
    x, y : Tensor
        Data, (n, d) and (n,) or (n, o); they fix dtype and device.
    sizes : mapping
        Values of the width symbols: ``{"m": 3}`` or ``{"m1": 4, "m2": 3}``.
    options : Options, optional
        ``torch.compile``, CUDA graphs, a memory budget.

    Attributes
    ----------
    layout : list of (block, shape, slice)
        Place of each block in the flat vector theta of length P.

    Every method takes theta of shape (P,) or (B, P) and returns results with the same leading axes.
    """

    def __init__(
        self,
        problem: Problem,
        x: TorchTensor,
        y: TorchTensor,
        sizes: Mapping[str, int],
        options: Options | None = None,
    ) -> None:
        if problem.activation is None or problem.loss is None:
            raise ValueError(
                "compiling needs a concrete activation and loss; this problem keeps one of them general"
            )
        _check_data(problem, x, y)
        self.problem, self.x, self.y = problem, x, y
        self.dtype, self.device = x.dtype, x.device
        self.sizes = {
            "n": x.shape[0],
            "d": x.shape[1],
            **({"o": y.shape[1]} if problem.vector_output else {}),
            **sizes,
        }
        self.layout = block_layout(problem, self.sizes)
        self.P = self.layout[-1][2].stop
        self._single = torch.Size([self.P])
        self.options = options or Options()
        self.options.check(x.device)
        self._batches = Batches(self.P, self.sizes, x, self.options)
        self._functions: dict[tuple[str, str], Function] = {}

    # -- parameters ----------------------------------------------------------------------------------------------

    def pack(self, blocks: Mapping[str, Any]) -> TorchTensor:
        """Return the flat vector of a dictionary of blocks (nested lists or tensors).

        Raises
        ------
        ValueError
            If a block is missing, unknown or of the wrong shape.
        """
        known = [name for name, _, _ in self.layout]
        for name in blocks:
            if name not in known:
                raise ValueError(f"unknown block '{name}'; this model has {', '.join(known)}")
        parts = []
        for name, shape, _ in self.layout:
            if name not in blocks:
                raise ValueError(
                    f"block '{name}' of shape {shape} is missing; this model has {', '.join(known)}"
                )
            try:
                part = torch.as_tensor(blocks[name], dtype=self.dtype, device=self.device)
            except (TypeError, ValueError) as error:
                raise ValueError(
                    f"block '{name}' is not an array of numbers of shape {shape}: {error}"
                ) from None
            if tuple(part.shape) != shape:
                raise ValueError(f"block '{name}' has shape {tuple(part.shape)}, required is {shape}")
            if not bool(torch.isfinite(part).all()):
                raise ValueError(f"block '{name}' holds a number that is not finite")
            parts.append(part.reshape(-1))
        return torch.cat(parts)

    def unpack(self, theta: TorchTensor) -> dict[str, TorchTensor]:
        """Return the blocks of theta, shape (..., P) to (..., *block shape)."""
        return {
            name: theta[..., where].reshape((*theta.shape[:-1], *shape)) for name, shape, where in self.layout
        }

    # -- evaluation ----------------------------------------------------------------------------------------------

    def value(self, theta: TorchTensor) -> TorchTensor:
        """Risk R, shape (...)."""
        return self._run("value", theta)[0]

    def outputs(self, theta: TorchTensor) -> TorchTensor:
        """Network outputs f at the samples, shape (..., n) or (..., n, o)."""
        return self._run("outputs", theta)[0]

    def gradient(self, theta: TorchTensor) -> TorchTensor:
        """Gradient of R, shape (..., P); rows of frozen blocks are the true derivative as well."""
        return self._run("gradient", theta)[0]

    def value_gradient(self, theta: TorchTensor) -> tuple[TorchTensor, TorchTensor]:
        """Value and gradient from one call."""
        return self._run("value_gradient", theta)  # type: ignore[return-value]

    def hessian(self, theta: TorchTensor) -> TorchTensor:
        """Hessian of R, shape (..., P, P)."""
        return self._run("hessian", theta)[0]

    def value_gradient_hessian(self, theta: TorchTensor) -> tuple[TorchTensor, TorchTensor, TorchTensor]:
        """Value, gradient and Hessian from one call."""
        return self._run("value_gradient_hessian", theta)  # type: ignore[return-value]

    def hvp(self, theta: TorchTensor, v: TorchTensor) -> TorchTensor:
        """Hessian-vector product H v without the Hessian, shape (..., P)."""
        return self._run("hvp", theta, v)[0]

    def jacobian(self, theta: TorchTensor) -> TorchTensor:
        """Jacobian of the outputs in all parameters, shape (..., n, P) or (..., n, o, P)."""
        parts = self._run("jacobian", theta)
        lead = theta.ndim - 1 + self.y.ndim
        flat = [u.reshape(*u.shape[:lead], -1) for u in parts]
        return torch.cat(flat, -1) if len(flat) > 1 else flat[0]

    def ntk(self, theta: TorchTensor) -> TorchTensor:
        """Tangent kernel of the trained blocks, each with its rate, without the Jacobian.

        Shape (..., n, n), or (..., n, o, n, o); the outputs move by minus kernel times residual weights along the flow.
        """
        return self._run("ntk", theta)[0]

    @cached_property
    def rates(self) -> TorchTensor:
        """Rate of each flat parameter in the flow d theta/dt = - rate * grad R; 0 for frozen blocks."""
        out = torch.ones(self.P, dtype=self.dtype, device=self.device)
        for block, (_, _, where) in zip(self.problem.blocks, self.layout, strict=True):
            out[where] = float(block.rate) if block.trained else 0.0
        return out

    def flow(self, theta: TorchTensor) -> TorchTensor:
        """Right-hand side of the gradient flow, - rate * grad R, shape (..., P)."""
        return -self.rates * self.gradient(theta)

    def flow_jacobian(self, theta: TorchTensor) -> TorchTensor:
        """Jacobian of the flow, - rate * Hessian, shape (..., P, P)."""
        return -self.rates[:, None] * self.hessian(theta)

    def evaluate(
        self, system: System, outputs: Mapping[str, tuple[Expr, Sequence[Index]]], theta: TorchTensor
    ) -> dict[str, TorchTensor]:
        """Evaluate further expressions over the problem's leaves and definitions at theta."""
        self._check_point("theta", theta)
        items = tuple((name, expr, tuple(indices)) for name, (expr, indices) in outputs.items())
        results = self._batches.run(lambda plan: self._extra(system, items, plan), theta)
        return dict(zip(outputs, results, strict=True))

    @property
    def not_finite(self) -> str:
        """What a result that is not finite means."""
        return "the Hessian holds numbers that are not finite: the point has overflowed"

    @property
    def source(self) -> str:
        """Generated PyTorch source at one point: every function compiled so far, gradient and Hessian at least."""
        for what in ("value_gradient", "hessian"):
            self._function(what, "one")
        return "\n\n".join(f.source for (_, plan), f in self._functions.items() if plan == "one")

    @property
    def derived_from(self) -> Problem:
        """The problem that was compiled."""
        return self.problem

    def to_dict(self) -> dict[str, Any]:
        """Return sizes, parameters, outputs and the generated source."""
        return as_dict(self)

    def _repr_html_(self) -> str:
        return as_html(self)

    # -- internals -----------------------------------------------------------------------------------------------

    def _run(self, what: str, theta: TorchTensor, v: TorchTensor | None = None) -> tuple[TorchTensor, ...]:
        one = self._functions.get((what, "one"))
        # The shortest way to the most frequent call: every detour costs a hundredth of it at small sizes.
        if (
            one is not None
            and v is None
            and theta.shape == self._single
            and theta.dtype == self.dtype
            and theta.device == self.device
            and not watched(theta)
        ):
            return one.call(theta, *one.bound)
        self._check_point("theta", theta)
        if v is None:
            return self._batches.run(lambda plan: self._function(what, plan), theta)
        self._check_point("v", v)
        if v.ndim > 1 and v.shape[:-1] != theta.shape[:-1]:
            raise ValueError(
                f"v has shape {tuple(v.shape)}: give one direction ({self.P},), or one for each point of theta, "
                f"{tuple(theta.shape)}"
            )
        return self._batches.run(lambda plan: self._function(what, plan), theta, v.expand(theta.shape))

    def _check_point(self, name: str, point: TorchTensor) -> None:
        if point.ndim == 0 or point.shape[-1] != self.P:
            raise ValueError(f"{name} has shape {tuple(point.shape)}, the last axis must be P = {self.P}")
        if point.dtype != self.dtype or point.device != self.device:
            raise ValueError(
                f"{name} is {point.dtype} on {point.device}, this system is {self.dtype} on {self.device}: convert "
                f"it with {name}.to(system.x)"
            )

    def _function(self, what: str, plan: str) -> Function:
        found = self._functions.get((what, plan))
        if found is None:
            found = self._ready(plan, partial(generated, self.problem, what), self.options)
            self._functions[what, plan] = found
        return found

    def _extra(self, system: System, items: Items, plan: str) -> Function:
        return self._ready(plan, partial(generated_extra, self.problem, system, items))

    def _leaf_values(self) -> Mapping[str, Any]:
        """Return what each data tensor of the problem stands for."""
        return self.problem.leaf_values(self.x, self.y)

    def _ready(
        self,
        plan: str,
        lower: Callable[[Plan], Lowered],
        options: Options = Options(),  # noqa: B008
    ) -> Function:
        """Bind data and sizes, and compute what depends on them alone."""
        lowered, block = self._batches.fitted(self._batches.plans[plan], lower)
        missing = [name for name in lowered.sizes if name not in self.sizes]
        if missing:
            raise ValueError(
                f"no number is known for {', '.join(missing)}; known are {', '.join(self.sizes)}: substitute the rest"
            )
        data = self._leaf_values()
        unknown = [name for name in lowered.data if name not in data]
        if unknown:
            known = [*(name for name, _, _ in self.layout), *data]
            raise ValueError(
                f"nothing is known of the tensors {', '.join(unknown)}; this function has {', '.join(known)}"
            )
        functions = _executable(lowered)
        tensors = [data[name] for name in lowered.data]
        sizes = [self.sizes[name] for name in lowered.sizes]
        if not block:
            return Function(self._by_samples(lowered, functions, tensors), lowered, (), 0)
        prepared = functions[f"{lowered.name}_data"](*tensors, *sizes, self.x)
        bound = (*tensors, *prepared, *sizes, *([block] if lowered.plan.blocked else []))
        call = functions[lowered.name]
        if "watched" not in plan:
            call = accelerated(
                call, options, len(lowered.arguments) - len(lowered.data), lowered.plan.blocked
            )
        return Function(call, lowered, bound, self._batches.piece(lowered))

    def _by_samples(
        self, lowered: Lowered, functions: Mapping[str, Callable[..., Any]], data: Sequence[TorchTensor]
    ) -> SampleBlocks:
        def sizes(rows: int) -> list[int]:
            return [rows if name == "n" else self.sizes[name] for name in lowered.sizes]

        def held(rows: int) -> int:
            again = (
                rows * self.y[0].numel() * self.P * self.x.element_size()
            )  # a Jacobian is put together twice
            return self._batches.held(lowered, rows) + (again if lowered.name == "jacobian" else 0)

        call, prepare = functions[lowered.name], functions[f"{lowered.name}_data"]
        blocks = SampleBlocks(lowered.name, call, prepare, data, tuple(self.y.shape[1:]), sizes)
        budget = self.options.memory_budget or 0
        if blocks.needed(held) > budget:
            raise self._batches.refused(lowered, blocks.needed(held))
        return blocks.fitted(held, budget)


def _check_data(problem: Problem, x: TorchTensor, y: TorchTensor) -> None:
    if x.ndim != 2 or 0 in x.shape:
        raise ValueError(f"x has shape {tuple(x.shape)}, required is (n, d): one row for each sample")
    if y.ndim != len(problem.y.dims) or y.shape[0] != x.shape[0] or 0 in y.shape:
        wanted = f"({x.shape[0]}, o)" if problem.vector_output else f"({x.shape[0]},)"
        raise ValueError(
            f"y has shape {tuple(y.shape)}, required is {wanted}: {problem.y.dims} with n = {x.shape[0]}"
        )
    if x.dtype != y.dtype or x.device != y.device:
        raise ValueError(f"x is {x.dtype} on {x.device}, y is {y.dtype} on {y.device}; give both alike")
    for name, data in (("x", x), ("y", y)):
        if not bool(torch.isfinite(data).all()):
            raise ValueError(f"{name} holds a number that is not finite")


def compile_system(
    problem: Problem,
    x: Any,
    y: Any,
    width: int | Sequence[int],
    *,
    device: str | torch.device = "cpu",
    dtype: torch.dtype = torch.float64,
    torch_compile: bool = False,
    cuda_graphs: bool = False,
    memory_budget: int | None = None,
) -> CompiledSystem:
    """Compile ``problem`` at the given data and width(s).

    Parameters
    ----------
    problem : Problem
        With a concrete activation and loss.
    x, y : nested lists or arrays
        (n, d) and (n,) or (n, o).
    width : int or sequence of int
        Width m, or the hidden widths of a deep network.
    device, dtype
        Where and in what precision everything is computed; nothing is moved silently.
    torch_compile, cuda_graphs, memory_budget
        As for ``numerics.accelerate.Options``.

    Raises
    ------
    ValueError
        If a shape, a width or a number of widths does not fit the problem, or a number is not finite; for CUDA graphs
        elsewhere than on CUDA, or a memory budget that does not hold what one point needs.
    RuntimeError
        If torch.compile has no compiler here, or fails.
    """
    widths = [width] if isinstance(width, int) else list(width)
    names = [str(s) for s in problem.hidden_dims]
    if len(widths) != len(names):
        raise ValueError(f"{len(widths)} widths given, the network has {len(names)} hidden layers")
    if any(number < 1 for number in widths):
        raise ValueError(f"widths are {widths}; every width is at least 1")
    data = [torch.as_tensor(u, dtype=dtype, device=device) for u in (x, y)]
    options = Options(torch_compile, cuda_graphs, memory_budget)
    return CompiledSystem(problem, data[0], data[1], dict(zip(names, widths, strict=True)), options)
