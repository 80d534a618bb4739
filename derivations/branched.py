r"""A piecewise smooth network with its pieces as data: one derivation whose gradient is that of any piece.

An activation with breaks :math:`\kappa_1 < \dots < \kappa_J` has one smooth branch :math:`\beta_p` on each interval.  With an
indicator :math:`S_p` for every pre-activation,

.. math:: \sigma(z_{ik}) = \sum_{p=0}^{J} S_{p,ik}\, \beta_p(z_{ik}),

and likewise for a loss with a kink.  For fixed indicators everything is smooth, also beyond the cell in which they are
the true ones: this is the extension that an integrator may step over, and the limiting gradient on the boundary.
The surfaces are :math:`z_{ik} = \kappa_p` and the zeros of the argument of the loss kink; their normals are
gradients of the same system.

>>> from derivations.problem import Problem
>>> found = branched(Problem.two_layer("relu", "hinge"))
>>> found.points, found.loss_kink, [leaf.name for leaf in found.switches]
((0,), -f*y + 1, ['Sz_0', 'Sz_1', 'Sloss_0', 'Sloss_1'])
>>> print(found.system[found.output].expr)
Sum[_m1]((Sz_0[i, _m1]*branch0(z[i, _m1]) + Sz_1[i, _m1]*branch1(z[i, _m1]))*a[_m1])
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache, partial
from typing import Any

from sympy import Abs, Add, Expr, Integer, sign

from derivations.activation_properties import pieces
from derivations.activations import Z, derivative_almost_everywhere, without_max
from derivations.almost_everywhere import has_kinks
from derivations.cells import NotDecided
from derivations.claim import Status
from derivations.errors import AssumptionError
from derivations.functions import relu, step
from derivations.generic import GenericFunction, bind
from derivations.indexed import Entry, Index, Tensor, isum
from derivations.losses import F, Y
from derivations.problem import Problem
from derivations.system import System

__all__ = ["Branched", "branched"]

Target = tuple[Expr, Sequence[Index]]


@dataclass(frozen=True)
class Branched:
    """The system with branches.

    Parameters
    ----------
    system : System
        Definitions, the gradient of the risk, and the gradient of the pairing of ``duals`` with what crosses.
    output : Tensor
        The outputs f.
    hidden : tuple of Tensor
        Pre-activations.
    points : tuple of Expr
        Breaks of the activation, ascending.
    loss_kink : Expr or None
        Argument of the kink of the loss in the symbols f and y; the surface is its zero.
    switches : tuple of Tensor
        Indicators: for each hidden tensor one for each branch, then those of the loss (below and above zero).
    duals : tuple of Tensor
        One for each hidden tensor, then one for the outputs if the loss has a kink.
    surfaces : dict of Target
        The hidden tensors, and the argument of the loss kink.
    gradient, pull : dict of Target
        For each block the gradient of the risk, and of ``sum duals * surfaces``.
    functions : mapping
        The branches, for ``derivations.generic.bind``.
    """

    system: System
    output: Tensor
    hidden: tuple[Tensor, ...]
    points: tuple[Expr, ...]
    loss_kink: Expr | None
    switches: tuple[Tensor, ...]
    duals: tuple[Tensor, ...]
    surfaces: dict[str, Target]
    gradient: dict[str, Target]
    pull: dict[str, Target]
    functions: Mapping[str, Callable[..., Any]]


@lru_cache(maxsize=32)
def branched(problem: Problem) -> Branched:
    """Return the branches of a network whose activation or loss has kinks.

    Parameters
    ----------
    problem : Problem
        Two-layer or deep, with a concrete activation and loss.

    Raises
    ------
    AssumptionError
        If the model is none of these, the activation jumps or its breaks are not known, the loss has more than one kink,
        or neither has any.
    """
    sigma, ell = problem.activation, problem.loss
    if problem.kind not in ("two_layer", "deep") or sigma is None or ell is None:
        raise AssumptionError("pieces need a two-layer or deep network with a concrete activation and loss")
    branches, points = _branches(problem)
    kink, losses = _loss_branches(ell.expr)
    if not points and kink is None:
        raise AssumptionError(f"neither '{sigma.name}' nor the loss '{ell.name}' has a kink")
    hidden = tuple(d.tensor for d in problem.system if d.tensor.name.startswith("z"))
    every = problem.system.formals(problem.output)
    indicators = {
        z: [Tensor(f"S{z.name}_{p}", z.dims, rf"S^{{{z.tex}}}_{{{p}}}") for p in range(len(branches))]
        for z in hidden
    }
    marks = [Tensor(f"Sloss_{p}", problem.output.dims, rf"S^{{\ell}}_{{{p}}}") for p in range(len(losses))]

    def activation(orders: tuple[int, ...], argument: Expr) -> Expr:
        assert isinstance(argument, Entry)
        parts = enumerate(indicators[argument.tensor])
        return Add(*[s[argument.indices] * GenericFunction(f"branch{p}", orders, argument) for p, s in parts])

    def loss(orders: tuple[int, ...], f: Expr, y: Expr) -> Expr:
        assert isinstance(f, Entry)
        parts = enumerate(marks)
        return Add(*[s[f.indices] * GenericFunction(f"loss{p}", orders, f, y) for p, s in parts])

    system = System(problem.system.declarations)
    replaced: dict[str, Callable[..., Any]] = {
        **({"sigma": activation} if points else {}),
        **({"ell": loss} if kink is not None else {}),
    }
    leaves = [
        *(leaf for z in hidden for leaf in indicators[z] if points),
        *(marks if kink is not None else ()),
    ]
    for leaf in leaves:
        of = problem.output if leaf in marks else next(z for z in hidden if leaf in indicators[z])
        system = system.declare(leaf, problem.system.formals(of))
    for definition in problem.system:
        system = system.define(definition.tensor, definition.indices, bind(definition.expr, replaced))
    system, gradient = system.reverse(problem.risk, problem.parameters)
    surfaces: dict[str, Target] = {
        z.name: (z[system.formals(z)], system.formals(z)) for z in (hidden if points else ())
    }
    if kink is not None:
        argument = GenericFunction("losskink", (0, 0), problem.output[every], problem.y[every])
        surfaces["loss"] = (argument, every)
    system, pull, duals = _pairing(problem, system, surfaces)
    functions: dict[str, Callable[..., Any]] = {"sigma": sigma.apply, "ell": ell.apply}
    functions |= {f"branch{p}": partial(_of_one, expr) for p, expr in enumerate(branches)}
    functions |= {f"loss{p}": partial(_of_two, expr) for p, expr in enumerate(losses)}
    functions["losskink"] = partial(_of_two, kink if kink is not None else Integer(0))
    return Branched(
        system,
        problem.output,
        hidden,
        points,
        kink,
        tuple(leaves),
        duals,
        surfaces,
        _targets(problem, gradient),
        _targets(problem, pull),
        functions,
    )


def _branches(problem: Problem) -> tuple[list[Expr], tuple[Expr, ...]]:
    """Smooth branches of the activation from left to right, and the breaks between them."""
    sigma = problem.activation
    assert sigma is not None
    if sigma.is_smooth:
        return [sigma.expr], ()
    found = sigma.breaks
    if found.status is not Status.PROVED:
        raise AssumptionError(f"the kinks of '{sigma.name}' are not known: {found.reason}")
    jumps = [b for b in found.value if b.order == 0]
    if jumps:
        raise AssumptionError(
            f"'{sigma.name}' jumps at {jumps[0].point}: the risk is not continuous, a flow across is not defined"
        )
    try:
        parts = pieces(sigma.expr)
    except NotDecided as error:
        raise AssumptionError(f"the pieces of '{sigma.name}' are not known: {error}") from None
    cuts = [b.point for b in found.value]
    kept = [part.expr for part in parts if part.upper in cuts or part is parts[-1]]
    return kept, tuple(cuts)


def _loss_branches(expr: Expr) -> tuple[Expr | None, list[Expr]]:
    """Argument of the one kink of a loss, and the loss below and above; (None, []) for a smooth loss."""
    written = without_max(expr)
    if not has_kinks(written):
        return None, []
    atoms = list(written.atoms(relu, Abs, step, sign))
    if len(atoms) != 1 or not isinstance(atoms[0], relu | Abs) or has_kinks(atoms[0].args[0]):
        raise AssumptionError(f"pieces need a loss with one kink, such as the hinge; found {expr}")
    kinked, argument = atoms[0], atoms[0].args[0]
    below = Integer(0) if isinstance(kinked, relu) else -argument
    return argument, [written.xreplace({kinked: below}), written.xreplace({kinked: argument})]


def _pairing(
    problem: Problem, system: System, surfaces: Mapping[str, Target]
) -> tuple[System, dict[Tensor, Tensor], tuple[Tensor, ...]]:
    """Gradient of ``sum duals * surfaces``; its adjoints have names of their own."""
    duals, total = [], []
    for name, (expr, indices) in surfaces.items():
        dual = Tensor(f"U{name}", tuple(u.dim for u in indices))
        system = system.declare(dual, indices)
        duals.append(dual)
        total.append(isum(dual[indices] * expr, *indices))
    pairing = Tensor("pairing")
    system = system.define(pairing, (), Add(*total))
    names = {d.tensor: Tensor(f"pull_{d.tensor.name}", d.tensor.dims) for d in system}
    names |= {leaf: Tensor(f"pull_{leaf.name}", leaf.dims) for leaf in problem.parameters}
    system, pull = system.reverse(pairing, problem.parameters, names)
    return system, pull, tuple(duals)


def _targets(problem: Problem, tensors: Mapping[Tensor, Tensor]) -> dict[str, Target]:
    found: dict[str, Target] = {}
    for block in problem.blocks:
        tensor = tensors[block.tensor]
        found[block.name] = (tensor[block.indices] if block.indices else tensor(), block.indices)
    return found


def _of_one(expr: Expr, orders: tuple[int, ...], argument: Expr) -> Expr:
    return expr.diff(Z, orders[0]).subs(Z, argument)


def _of_two(expr: Expr, orders: tuple[int, ...], output: Expr, target: Expr) -> Expr:
    for symbol, order in ((F, orders[0]), (Y, orders[1])):
        for _ in range(order):
            expr = derivative_almost_everywhere(expr, symbol)
    return expr.xreplace({F: output, Y: target})
