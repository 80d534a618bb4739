"""One table for all: what is compiled, what the derived equations say when numbers are put in, and what autograd finds.

Every kind of problem and every activation, for value, outputs, gradient, Hessian, Hessian-vector product, Jacobian and
tangent kernel; in float64 and float32, at one point and at many, in pieces and in blocks of samples.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import pytest
import sympy
import torch
from torch import Tensor

from derivations.activations import REGISTRY as ACTIVATIONS
from derivations.formula_model import FormulaProblem
from derivations.generic import GenericFunction
from derivations.indexed import Delta, Entry, Index, ISum
from derivations.losses import REGISTRY as LOSSES
from derivations.problem import Problem
from numerics import emit_batches
from numerics.compile import CompiledSystem
from numerics.generated import derived_outputs
from numerics.reference import Reference
from numerics.tolerances import same_formula

SIZES = {"n": 3, "d": 2, "m": 2, "m1": 2, "m2": 3, "o": 2}
QUANTITIES = ("value", "outputs", "gradient", "hessian", "hvp", "jacobian", "ntk")
F64 = torch.float64


def draw(*shape: int, seed: int) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=F64)


# -- symbolic substitution: sums written out, numbers for entries, nothing of the lowering -------------------------


@dataclass
class Substituted:
    """The derived equations of a problem at numbers, an entry at a time."""

    problem: Problem
    leaves: Mapping[str, Tensor]

    def __post_init__(self) -> None:
        self.memo: dict[Any, float] = {}
        self.functions = self.problem.functions

    def of(self, what: str) -> list[Tensor]:
        """Return the parts of one quantity, each with the axes of its indices."""
        system, outputs, _ = derived_outputs(self.problem, what)
        self.system, self.memo = system, {}
        found = []
        for expr, indices in outputs.values():
            shape = [SIZES[str(u.dim)] for u in indices]
            flat = [
                self.number(expr, dict(zip(indices, at, strict=True)))
                for at in itertools.product(*map(range, shape))
            ]
            found.append(torch.tensor(flat, dtype=F64).reshape(shape))
        return found

    def number(self, expr: sympy.Expr, at: dict[Index, int]) -> float:
        if isinstance(expr, Entry):
            return self.entry(
                expr, tuple(at[u] if isinstance(u, Index) else int(u) - 1 for u in expr.indices)
            )
        if isinstance(expr, Delta):
            return float(at[expr.args[0]] == at[expr.args[1]])
        if isinstance(expr, ISum):
            return sum(
                self.number(expr.body, at | {expr.index: q}) for q in range(SIZES[str(expr.index.dim)])
            )
        if isinstance(expr, sympy.Symbol):
            return float(SIZES[expr.name])
        if isinstance(expr, GenericFunction):
            arguments = tuple(self.number(u, at) for u in expr.arguments)
            key = (expr.name, expr.orders, arguments)
            if key not in self.memo:
                self.memo[key] = self.function(*key)
            return self.memo[key]
        parts = [self.number(u, at) for u in expr.args]
        if isinstance(expr, sympy.Add):
            return sum(parts)
        if isinstance(expr, sympy.Mul):
            return float(torch.tensor(parts, dtype=F64).prod())
        if isinstance(expr, sympy.Pow):
            return parts[0] ** parts[1]
        return float(expr if not parts else expr.func(*map(sympy.Float, parts)).evalf())

    def entry(self, expr: Entry, places: tuple[int, ...]) -> float:
        name = expr.tensor.name
        if expr.tensor not in self.system:
            return float(self.leaves[name][places])
        key = (name, places)
        if key not in self.memo:
            definition = self.system[expr.tensor]
            self.memo[key] = self.number(definition.expr, dict(zip(definition.indices, places, strict=True)))
        return self.memo[key]

    def function(self, name: str, orders: tuple[int, ...], arguments: tuple[float, ...]) -> float:
        # Thirty digits: 1 - tanh(z)**2 and the like cancel.
        exact = [sympy.Float(u, 30) for u in arguments]
        return float(self.functions[name](orders, *exact).evalf(30))


def substituted(system: CompiledSystem, theta: Tensor, v: Tensor, what: str) -> Tensor:
    """Return one quantity at one point, put together as the compiled system does."""
    problem = system.problem
    blocks = system.unpack(theta) | {f"v_{name}": part for name, part in system.unpack(v).items()}
    parts = Substituted(problem, {**blocks, **problem.leaf_values(system.x, system.y)}).of(what)
    if what in ("value", "outputs", "ntk"):
        return parts[0]
    if what in ("gradient", "hvp"):
        return torch.cat([u.reshape(-1) for u in parts])
    if what == "jacobian":
        return torch.cat([u.reshape(*system.y.shape, -1) for u in parts], -1)
    lengths = [where.stop - where.start for _, _, where in system.layout]
    hessian, waiting = torch.zeros(system.P, system.P, dtype=F64), list(parts)
    for row in range(len(lengths)):
        for column in range(row, len(lengths)):
            block = waiting.pop(0).reshape(lengths[row], lengths[column])
            rows, columns = system.layout[row][2], system.layout[column][2]
            hessian[rows, columns], hessian[columns, rows] = block, block.T
    return hessian


# -- problems --------------------------------------------------------------------------------------------------------

Case = tuple[Problem, Tensor, Tensor, Callable[[Tensor, Tensor, Tensor], Reference]]


def two_layer(sigma: str, ell: str, vector: bool, **options: Any) -> Case:
    problem = Problem.two_layer(sigma, ell, vector_output=vector, input_bias=True, **options)
    numbers = {
        key: float(sympy.Rational(u)) if key in ("factor", "weight_decay") else u
        for key, u in options.items()
    }

    def oracle(x: Tensor, y: Tensor) -> Reference:
        return Reference(x, y, activation=sigma, loss=ell, widths=(SIZES["m"],), input_bias=True, **numbers)

    return problem, *data(vector, ell), oracle


def deep(sigma: str, ell: str, vector: bool, **options: Any) -> Case:
    problem = Problem.deep(3, sigma, ell, vector_output=vector, **options)
    numbers = {key: float(sympy.Rational(u)) for key, u in options.items()}

    def oracle(x: Tensor, y: Tensor) -> Reference:
        widths, biases = (SIZES["m1"], SIZES["m2"]), {"input_bias": True, "output_bias": True}
        return Reference(x, y, activation=sigma, loss=ell, widths=widths, kind="deep", **biases, **numbers)

    return problem, *data(vector, ell), oracle


def data(vector: bool, ell: str) -> tuple[Tensor, Tensor]:
    x = draw(SIZES["n"], SIZES["d"], seed=1)
    y = draw(SIZES["n"], *([SIZES["o"]] if vector else []), seed=2)
    return x, y if ell == "square" else y.sign()


class Formula(Reference):
    """The model a1 exp(w1 x1) + c x2, written by hand."""

    shapes = {"a1": (), "w1": (), "c": ()}  # noqa: RUF012

    def _outputs(self, theta: Tensor) -> Tensor:
        a, w, c = theta.unbind()
        return a * torch.exp(w * self.x[:, 0]) + c * self.x[:, 1]


def formula() -> Case:
    problem = FormulaProblem.of("a1*exp(w1*x1) + c*x2", ["a1", "w1", "c"], ["x1", "x2"], "logistic")

    def oracle(x: Tensor, y: Tensor) -> Reference:
        return Formula(x, y, activation="linear", loss="logistic", widths=(1,))

    return problem, *data(False, "logistic"), oracle


#: Each activation with a loss, the losses in turn; then the other kinds of problem with a smooth activation, one that has
#: a kink and one that is computed by a class of ours.
CASES: dict[str, Callable[[], Case]] = {
    f"{sigma}, {ell}": lambda sigma=sigma, ell=ell: two_layer(sigma, ell, False)
    for sigma, ell in zip(ACTIVATIONS, itertools.cycle(LOSSES), strict=False)
}
for _sigma in ("tanh", "relu", "softplus"):
    CASES[f"{_sigma}, two outputs"] = lambda s=_sigma: two_layer(
        s, "square", True, output_bias=True, weight_decay="1/7", factor="3/2", reduction="sum"
    )
CASES["tanh, deep"] = lambda: deep("tanh", "logistic", False, weight_decay="1/5")
CASES["relu, deep with two outputs"] = lambda: deep("relu", "square", True)
CASES["formula"] = formula

#: Leading axes of theta, and limits of ``numerics.emit_batches`` that make small systems take the ways of large ones.
LAYOUTS: dict[str, tuple[tuple[int, ...], dict[str, int]]] = {
    "one point": ((), {}),
    "a batch of one": ((1,), {}),
    "few points": ((3,), {}),
    "many points": ((9,), {}),
    "many points in pieces": ((3, 3), {"PIECE": 150, "LEAST": 1}),
    "one point in blocks of samples": ((), {"SWEEP": 1, "BLOCK": 40}),
}


def agree(found: Tensor, wanted: Tensor, bound: float, what: str) -> None:
    assert found.shape == wanted.shape, what
    scale = max(float(wanted.abs().max()), torch.finfo(F64).tiny)
    assert float((found.double() - wanted).abs().max()) <= bound * scale, what


def truth(oracle: Reference, theta: Tensor, v: Tensor, what: str) -> Tensor:
    if what == "ntk":
        jacobian = oracle.jacobian(theta)
        samples = jacobian.reshape(*theta.shape[:-1], -1, theta.shape[-1])
        outputs = jacobian.shape[theta.ndim - 1 : -1]
        return (samples @ samples.mT).reshape(*theta.shape[:-1], *outputs, *outputs)
    return oracle.hvp(theta, v) if what == "hvp" else getattr(oracle, what)(theta)


def compiled(system: CompiledSystem, theta: Tensor, v: Tensor, what: str) -> Tensor:
    return system.hvp(theta, v) if what == "hvp" else getattr(system, what)(theta)


@pytest.mark.parametrize("case", CASES)
def test_compiled_functions_substituted_equations_and_autograd_agree(case, monkeypatch):
    problem, x, y, make = CASES[case]()
    oracle, sizes = make(x, y), {str(s): SIZES[str(s)] for s in problem.hidden_dims}
    theta, v = draw(9, oracle.P, seed=3) * 0.7, draw(9, oracle.P, seed=4)
    wanted = {what: truth(oracle, theta, v, what) for what in QUANTITIES}
    bound = same_formula(F64)
    plain = CompiledSystem(problem, x, y, sizes)
    for what in QUANTITIES:
        agree(substituted(plain, theta[0], v[0], what), wanted[what][0], bound, f"{what}, substituted")
    for layout, (lead, limits) in LAYOUTS.items():
        count = theta[0].new_ones(lead).numel()
        with monkeypatch.context() as patch:
            for name, number in limits.items():
                patch.setattr(emit_batches, name, {"cpu": number})
            system = CompiledSystem(problem, x, y, sizes)
            points, directions = theta[:count].reshape(*lead, -1), v[:count].reshape(*lead, -1)
            for what in QUANTITIES:
                found = compiled(system, points, directions, what)
                right = wanted[what][:count].reshape((*lead, *wanted[what].shape[1:]))
                agree(found, right, bound, f"{what}, {layout}")


@pytest.mark.parametrize("case", CASES)
def test_float32_agrees_to_its_own_bound(case):
    problem, x, y, make = CASES[case]()
    x, y = x.float(), y.float()
    oracle = make(x.double(), y.double())
    system = CompiledSystem(problem, x, y, {str(s): SIZES[str(s)] for s in problem.hidden_dims})
    theta, v = (draw(9, oracle.P, seed=3) * 0.7).float(), draw(9, oracle.P, seed=4).float()
    for what in QUANTITIES:
        wanted = truth(oracle, theta.double(), v.double(), what)
        for points in (0, slice(None)):
            found = compiled(system, theta[points], v[points], what)
            assert found.dtype == torch.float32
            agree(found, wanted[points], same_formula(torch.float32), what)
