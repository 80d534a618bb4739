"""Certified inertia of split and dead neurons: published counts, autograd of hand-written networks, and refusals.

Published: Zhang et al., arXiv:2105.14573 and 2111.15527, and the worked examples of the embedding principle.
"""

from __future__ import annotations

import flint
import pytest
import torch
from sympy import Expr, Integer, Rational

from derivations.problem import Problem
from numerics.balls import BallSystem
from numerics.certified_embedding import _Layout, certify_embedded
from numerics.certified_point import Certified, NotCertified, certify
from numerics.compile import compile_system
from numerics.critical import find_critical_points, polish
from numerics.reference import Reference
from numerics.spectrum import Inertia

# 21 points of a sum of three tanh neurons, rounded to six decimals.
LINE = [-5 + Rational(j, 2) for j in range(21)]
SUM = [
    "-1.999945", "-1.999753", "-1.998892", "-1.995047", "-1.978", "-1.905054", "-1.63478", "-0.998376", "-0.35653", "-0.047116",
    "0.225096", "0.679709", "1.038724", "1.394399", "1.721446", "1.900082", "1.968068", "1.990202", "1.997032", "1.999105", "1.99973",
]  # fmt: skip
TWO = ([["1", "0"], ["0", "1"], ["1", "1"], ["1", "-1"], ["2", "1"], ["-1", "2"]],
       [["1", "-1"], ["0", "1"], ["1", "1"], ["1", "-2"], ["2", "0"], ["-1", "1"]])  # fmt: skip
CLASSES = ([["1", "1/2"], ["0", "1"], ["1", "1"], ["1", "-1"], ["2", "1"], ["-1", "2"], ["1/3", "-2"], ["-2", "1/5"]],
           [["1", "0", "0"], ["0", "1", "0"], ["1", "0", "0"], ["0", "0", "1"], ["0", "1", "0"], ["0", "0", "1"], ["0", "0", "1"],
            ["0", "1", "0"]])  # fmt: skip


class Case:
    """A problem with data, and a narrow critical point polished from a start."""

    def __init__(self, x: list, y: list, start: list[float], width: int, **options: object) -> None:
        self.x = [[Rational(u) for u in row] if isinstance(row, list) else [Rational(row)] for row in x]
        self.y = [[Rational(u) for u in row] if isinstance(row, list) else Rational(row) for row in y]
        self.vector = isinstance(self.y[0], list)
        activation = options.pop("activation", "tanh")
        words = ("reduction", "scale")
        plain = {
            key: float(Rational(v)) if isinstance(v, str) and key not in words else v
            for key, v in options.items()
        }
        self.oracle = lambda m: Reference(floats(self.x), floats(self.y), activation, "square", (m,), **plain)
        self.problem = Problem.two_layer(activation, "square", vector_output=self.vector, **options)
        system = compile_system(self.problem, floats(self.x).tolist(), floats(self.y).tolist(), width)
        found = find_critical_points(system, torch.tensor([start], dtype=torch.float64))
        self.width, self.start = width, polish(system, found.theta[0], steps=12)[0].tolist()
        self.narrow = certify(self.system(width), self.start)

    def system(self, width: int) -> BallSystem:
        sizes = {"n": len(self.x), "d": len(self.x[0]), "m": width}
        flat_y: list[Expr] = [u for row in self.y for u in (row if isinstance(row, list) else [row])]
        more = {"o": len(self.y[0])} if self.vector else {}
        return BallSystem(self.problem, {"x": [u for row in self.x for u in row], "y": flat_y}, sizes | more)

    def wide(self, copies: tuple[int, ...], dead: int) -> list[float]:
        """Equal parts of every neuron, then neurons without weights."""
        system = self.system(self.width)
        parts = {name: self.start[where] for name, _, where in system.layout}
        out: list[float] = []
        for name, shape, _ in system.layout:
            if name == "c":
                out += parts["c"]
                continue
            size = len(parts[name]) // self.width
            for k, count in enumerate(copies):
                share = count if name == "a" else 1
                out += [u / share for u in parts[name][k * size : (k + 1) * size]] * count
            out += [0.0] * (dead * size)
            assert shape[0] == self.width
        return out

    def embedded(self, copies: tuple[int, ...], dead: int = 0) -> Certified:
        wide = self.system(sum(copies) + dead)
        return certify_embedded(
            self.system(self.width), self.narrow, wide, self.wide(copies, dead), copies, dead
        )

    def eigenvalues(self, copies: tuple[int, ...], dead: int = 0) -> torch.Tensor:
        theta = torch.tensor(self.wide(copies, dead), dtype=torch.float64)
        return torch.linalg.eigvalsh(self.oracle(sum(copies) + dead).hessian(theta))


def floats(rows: list) -> torch.Tensor:
    return torch.tensor(
        [[float(u) for u in row] if isinstance(row, list) else float(row) for row in rows],
        dtype=torch.float64,
    )


@pytest.fixture(scope="module")
def line() -> Case:
    return Case(LINE, SUM, [2.114296872029, 0.476965966290, 0.141833335041], 1, input_bias=True)


@pytest.fixture(scope="module")
def biased() -> Case:
    start = [2.1220457824, 0.4754480776, 0.1809216559, -0.0564664872]
    return Case(LINE, SUM, start, 1, input_bias=True, output_bias=True)


@pytest.fixture(scope="module")
def two_outputs() -> Case:
    return Case(*TWO, [1.3492272111, -1.2190687526, 0.825539072, -0.6469850686], 1, reduction="sum")


@pytest.fixture(scope="module")
def classes() -> Case:
    start = [-0.0496, 0.0422, 0.0074, -0.4044, 4.3097, -3.8338, 0.233, 0.3895, 0.3775]
    return Case(*CLASSES, start, 1, input_bias=True, output_bias=True)


@pytest.mark.parametrize(
    ("copies", "dead", "inertia"),
    [
        ((2,), 0, Inertia(1, 1, 4)),  # U is indefinite: one negative, one positive, one zero more
        ((3,), 0, Inertia(2, 2, 5)),
        ((1,), 1, Inertia(1, 1, 4)),
        ((2,), 1, Inertia(2, 2, 5)),
    ],
)
def test_published_counts_of_a_split_neuron_are_certified(
    line: Case, copies: tuple[int, ...], dead: int, inertia: Inertia
) -> None:
    found = line.embedded(copies, dead)
    assert (found.inertia, found.unique, found.error < 1e-14) == (inertia, False, True)
    assert found.value.overlaps(line.narrow.value)


def test_the_counts_of_a_null_neuron_beside_an_output_bias_are_certified(biased: Case) -> None:
    found = biased.embedded((1,), 1)
    assert found.inertia == Inertia(1, 1, 5)


def test_two_outputs_give_a_strict_saddle(two_outputs: Case) -> None:
    assert two_outputs.narrow.inertia == Inertia(0, 0, 4)
    assert two_outputs.embedded((2,)).inertia == Inertia(1, 1, 6)
    assert two_outputs.embedded((3,)).inertia == Inertia(2, 2, 8)


@pytest.mark.parametrize(("copies", "dead"), [((2,), 0), ((1,), 1), ((3,), 0), ((2,), 1)])
def test_a_fitted_sum_of_one_hot_targets_adds_a_known_zero(
    classes: Case, copies: tuple[int, ...], dead: int
) -> None:
    found = classes.embedded(copies, dead)
    values = classes.eigenvalues(copies, dead)
    near = values.abs() < 1e-9 * values.abs().max()
    assert found.inertia == Inertia(
        int((values[~near] < 0).sum()), int(near.sum()), int((values[~near] > 0).sum())
    )
    assert found.inertia.zero > len(copies) + dead - 1 + sum(copies) - len(copies) - 1


def test_combinations_of_one_hot_targets_that_are_fitted_exactly_are_recognised(
    classes: Case, two_outputs: Case
) -> None:
    layout = _Layout(classes.system(2))
    assert layout.fitted == 1
    with flint.ctx.workprec(100):
        third = flint.arb(1) / 3
        assert layout.is_fitted([third, third, third])
        assert layout.is_fitted([third, third, third + flint.arb(0, 1e-6)])
        assert not layout.is_fitted([third, third, third + flint.arb("1e-9")])
    assert _Layout(two_outputs.system(1)).fitted == 0


def test_a_scale_that_depends_on_the_width_is_refused() -> None:
    case = Case(["0", "1", "2"], ["0", "9/2", "-15/4"], [1.0, -0.69], 1, activation="exp", scale="1/m")
    with pytest.raises(NotCertified, match="scale depends on the width"):
        case.embedded((2,))


def test_the_kernel_is_that_of_the_hessian_by_autograd(line: Case, biased: Case, two_outputs: Case) -> None:
    for case, copies, dead in ((line, (2,), 1), (biased, (2,), 2), (two_outputs, (2,), 1)):
        values = case.eigenvalues(copies, dead)
        zero = int((values.abs() < 1e-9 * values.abs().max()).sum())
        assert case.embedded(copies, dead).inertia.zero == zero


def test_zeros_beyond_the_known_ones_are_refused() -> None:
    """exp, two inputs: U = diag(0, 2/9) is singular, so a split has one zero more than its plateau explains."""
    x, y = [["1", "0"], ["0", "1"], ["1", "1"], ["1", "-1"]], ["1", "1", "0", "0"]
    case = Case(x, y, [1.0, -1.0986122886681098, 0.0], 1, activation="exp", reduction="sum", factor="2")
    assert case.narrow.inertia == Inertia(0, 0, 3)
    with pytest.raises(NotCertified):
        case.embedded((2,))


def test_a_null_neuron_that_is_not_silent_is_refused_without_an_output_bias() -> None:
    x, y = [["1"], ["2"], ["-1"]], ["1", "1/3", "1/2"]
    case = Case(x, y, [1.0, 0.1], 1, activation="sigmoid")
    with pytest.raises(NotCertified, match="not silent"):
        case.embedded((1,), 1)


def test_input_weights_known_by_numbers_only_are_refused(line: Case) -> None:
    theta = line.wide((1,), 1)
    theta[3] = 0.25
    with pytest.raises(NotCertified, match="by numbers only"):
        certify_embedded(line.system(1), line.narrow, line.system(2), theta, (1,), 1)


def test_a_point_away_from_the_embedding_is_refused(line: Case) -> None:
    theta = line.wide((2,), 0)
    theta[0] += 1e-6
    with pytest.raises(NotCertified, match="away"):
        certify_embedded(line.system(1), line.narrow, line.system(2), theta, (2,), 0)


def test_weight_decay_is_refused() -> None:
    case = Case(["1", "2", "-1"], ["1", "1/3", "1/2"], [0.9, 0.4], 1, weight_decay="1/100")
    with pytest.raises(NotCertified, match="weight decay"):
        case.embedded((2,))


def test_a_wrong_hessian_of_the_wide_network_is_noticed(line: Case, monkeypatch: pytest.MonkeyPatch) -> None:
    wide = line.system(2)
    right = wide.value_gradient_hessian

    def wrong(theta: list) -> tuple:
        value, gradient, hessian = right(theta)
        hessian[0][0] = hessian[0][0] + flint.arb(1)
        return value, gradient, hessian

    def flipped(theta: list) -> tuple:
        value, gradient, hessian = right(theta)
        return value, [u + flint.arb("1e-20") for u in gradient], hessian

    monkeypatch.setattr(wide, "value_gradient_hessian", wrong)
    honest = line.embedded((2,)).inertia
    try:
        found = certify_embedded(line.system(1), line.narrow, wide, line.wide((2,), 0), (2,), 0)
        assert found.inertia == honest  # the bordered matrix stays regular: only its signs are read
    except NotCertified:
        pass
    monkeypatch.setattr(wide, "value_gradient_hessian", flipped)
    with pytest.raises(NotCertified, match="not critical"):
        certify_embedded(line.system(1), line.narrow, wide, line.wide((2,), 0), (2,), 0)


def test_two_neurons_without_output_bias_split_one_at_a_time() -> None:
    start = [0.895069075497, 1.114276601712, 1.566528428336, 0.787503148976, 2.423768265575, -0.641892044419]
    case = Case(LINE, SUM, start, 2, input_bias=True)
    assert case.narrow.inertia == Inertia(0, 0, 6)
    assert case.embedded((2, 1)).inertia == Inertia(1, 1, 7)
    assert case.embedded((1, 2)).inertia == Inertia(1, 1, 7)
    with flint.ctx.workprec(128):
        assert abs(case.narrow.value - flint.arb("0.000240427032")).abs_upper() < 1e-12


def test_the_constant_network_without_output_bias_has_nothing_to_show() -> None:
    problem = Problem.two_layer("tanh", "square", input_bias=True)
    system = BallSystem(
        problem, {"x": list(LINE), "y": [Rational(u) for u in SUM]}, {"n": 21, "d": 1, "m": 0}
    )
    found = certify(system, [])
    assert (found.inertia, found.theta) == (Inertia(0, 0, 0), ())
    with flint.ctx.workprec(128):
        exact = sum((Rational(u) ** 2 for u in SUM), Integer(0)) / 42
        assert found.value.contains(flint.arb(flint.fmpq(int(exact.p), int(exact.q))))
