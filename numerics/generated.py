"""Source of what a problem is asked for: derived and lowered once in a process, and kept on disk from run to run.

The source holds for every size and data set of a plan, so all studies of one architecture share it.  What is kept
on disk, and when it is not used, is decided in ``numerics.code_cache``.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import lru_cache

from sympy import Expr

from derivations.indexed import Index, Tensor
from derivations.jacobian import block_jacobians, output_indices
from derivations.problem import Problem
from derivations.second_order import tangent_kernel
from derivations.system import System
from numerics.code_cache import code_cache, request_of
from numerics.emit_nodes import Plan
from numerics.emit_results import Group
from numerics.lowering import Lowered, lower

__all__ = ["Items", "derived_outputs", "generated", "generated_extra"]

Outputs = dict[str, tuple[Expr, Sequence[Index]]]
Items = tuple[tuple[str, Expr, tuple[Index, ...]], ...]


@lru_cache(maxsize=256)
def generated(problem: Problem, what: str, plan: Plan) -> Lowered:
    """Return the function of ``what`` for a problem with a concrete activation and loss.

    Parameters
    ----------
    problem : Problem
        Its sizes stay symbolic.
    what : str
        ``value``, ``outputs``, ``gradient``, ``value_gradient``, ``hessian``, ``value_gradient_hessian``, ``hvp``,
        ``jacobian`` or ``ntk``.
    plan : Plan
        Layout.
    """
    cache = code_cache()
    request = None if cache is None else request_of(problem, what, plan)
    if cache is None or request is None:
        return _lowered(problem, what, plan)
    found = cache.get(request)
    if found is None:
        found = _lowered(problem, what, plan)
        cache.put(request, found)
    return found


@lru_cache(maxsize=256)
def generated_extra(problem: Problem, system: System, items: Items, plan: Plan) -> Lowered:
    """Return the function of further expressions over the leaves and definitions of a system; not kept on disk."""
    outputs = {name: (expr, indices) for name, expr, indices in items}
    flat = {"theta": problem.parameters, **({"nodes": problem.moving} if problem.moving else {})}
    batched = [*problem.parameters, *problem.moving]
    return lower("extra", system, outputs, batched, problem.functions, plan, flat)


def _lowered(problem: Problem, what: str, plan: Plan) -> Lowered:
    general = replace(problem, activation=None, loss=None)
    if what != "ntk":  # a kernel is that of the trained blocks, each with its rate
        general = replace(general, freeze=(), rate=())
    system, outputs, batched = derived_outputs(general, what)
    names = [block.name for block in problem.blocks]
    flat: dict[str, Sequence[Tensor]] = {"theta": problem.parameters}
    groups: dict[str, Group] = {}
    if what == "hvp":
        flat["v"] = list(problem.directions.values())
        groups["hvp"] = [f"hvp_{name}" for name in names]
    if problem.moving:
        flat["nodes"] = problem.moving
    if "gradient" in what:
        groups["gradient"] = [f"grad_{name}" for name in names]
    if "hessian" in what:
        groups["hessian"] = [
            [f"hess_{row}_{column}" for column in names[position:]] for position, row in enumerate(names)
        ]
    return lower(what, system, outputs, batched, problem.functions, plan, flat, groups)


@lru_cache(maxsize=256)
def derived_outputs(problem: Problem, what: str) -> tuple[System, Outputs, list[Tensor]]:
    """One derivation for each architecture: activation and loss are still general."""
    outputs: Outputs = {}
    system = problem.derived
    if what.startswith("value"):
        outputs["R"] = (problem.risk(), ())
    if what == "outputs":
        formals = system.formals(problem.output)
        outputs["f"] = (problem.output[formals], formals)
    if "gradient" in what:
        for name, tensor in problem.gradient.items():
            formals = problem.block(name).indices
            outputs[f"grad_{name}"] = (tensor[formals] if formals else tensor(), formals)
    if what == "hvp":
        system, products = problem.hessian_vector
        for name, tensor in products.items():
            formals = problem.block(name).indices
            outputs[f"hvp_{name}"] = (tensor[formals] if formals else tensor(), formals)
    if "hessian" in what:
        names = [block.name for block in problem.blocks]
        for position, row in enumerate(names):
            for column in names[position:]:
                expr, rows, columns = problem.hessian_block(row, column)
                outputs[f"hess_{row}_{column}"] = (expr, (*rows, *columns))
    if what in ("jacobian", "ntk"):
        system, outputs = (_jacobian if what == "jacobian" else _kernel)(problem)
    batched: list[Tensor] = [*problem.parameters, *problem.moving]
    if what == "hvp":
        batched += list(problem.directions.values())
    return system, outputs, batched


def _jacobian(problem: Problem) -> tuple[System, Outputs]:
    """Derivatives of the outputs, a block at a time: the axes of the outputs, then those of the block."""
    blocks, extra = block_jacobians(problem)
    system, at = problem.derived, output_indices(problem)
    for equation in extra:
        system = system.define(equation.lhs.tensor, equation.lhs.indices, equation.rhs)
    return system, {f"jac_{name}": (expr, (*at, *target)) for name, (expr, target) in blocks.items()}


def _kernel(problem: Problem) -> tuple[System, Outputs]:
    """Tangent kernel, with the axes of the outputs twice."""
    (i, *first), second = output_indices(problem), []
    for dim in problem.output.dims[1:]:
        second.append(Index("c'", dim))
    kernel, extra = tangent_kernel(problem, tuple(first), tuple(second))
    system, j = problem.derived, Index("j", i.dim)
    for equation in extra:
        system = system.define(equation.lhs.tensor, equation.lhs.indices, equation.rhs)
    return system, {"ntk": (kernel, (i, *first, j, *second))}
