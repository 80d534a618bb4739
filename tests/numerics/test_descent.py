"""Descents against exact means, covariances and orbits; gradients against autograd of hand-written networks."""

import itertools
import math

import pytest
import torch
from torch import Tensor

from derivations.formula_model import FormulaProblem
from derivations.problem import Problem
from numerics.compile import CompiledSystem, compile_system
from numerics.descent import DescentResult, Noise, descend, stochastic_gradient
from numerics.flow import Status
from numerics.tolerances import MONTE_CARLO_SIGMAS, same_formula

F64 = torch.float64
BOUND = same_formula(F64)


def regression(n: int = 6, d: int = 2) -> tuple[CompiledSystem, Tensor, Tensor]:
    """Half the mean squared error of a linear function: the risk is a quadratic with Hessian X'X/n."""
    generator = torch.Generator().manual_seed(5)
    x = torch.randn(n, d, generator=generator, dtype=F64)
    y = torch.randn(n, generator=generator, dtype=F64)
    names = [f"a{j}" for j in range(d)]
    inputs = [f"x{j}" for j in range(d)]
    output = " + ".join(f"{a}*{u}" for a, u in zip(names, inputs, strict=True))
    return compile_system(FormulaProblem.of(output, names, inputs), x, y, ()), x, y


# --------------------------------------------------------------------- the weighted gradient


def hand_gradient(
    output, theta: Tensor, x: Tensor, y: Tensor, weights: Tensor, shift: Tensor, loss
) -> Tensor:  # type: ignore[no-untyped-def]
    rows = []
    for row in range(len(theta)):
        point = theta[row].clone().requires_grad_()
        each = loss(output(point, x), y + shift[row])
        total = (weights[row] * (each if each.ndim == 1 else each.sum(1))).sum()
        rows.append(torch.autograd.grad(total, point)[0])
    return torch.stack(rows)


CASES = {
    "two layers, square": (
        Problem.two_layer("tanh", "square", input_bias=True),
        3,
        None,
        lambda t, x: torch.tanh(x @ t[3:9].view(3, 2).T + t[9:]) @ t[:3],
        lambda f, y: (f - y) ** 2 / 2,
    ),
    "vector output, logistic": (
        Problem.two_layer("sigmoid", "logistic", vector_output=True, output_bias=True),
        2,
        2,
        lambda t, x: torch.sigmoid(x @ t[4:8].view(2, 2).T) @ t[:4].view(2, 2) + t[8:],
        lambda f, y: torch.nn.functional.softplus(-f * y),
    ),
    "three layers": (
        Problem.deep(3, "tanh", input_bias=False, output_bias=False),
        [2, 2],
        None,
        lambda t, x: torch.tanh(torch.tanh(x @ t[:4].view(2, 2).T) @ t[4:8].view(2, 2).T) @ t[8:],
        lambda f, y: (f - y) ** 2 / 2,
    ),
}


@pytest.mark.parametrize("case", CASES)
def test_the_weighted_gradient_is_that_of_autograd(case: str) -> None:
    problem, width, outputs, output, loss = CASES[case]
    if problem.loss is None:
        problem = Problem.deep(3, "tanh", "square", input_bias=False, output_bias=False)
    generator = torch.Generator().manual_seed(1)

    def draw(*shape: int) -> Tensor:
        return torch.randn(shape, generator=generator, dtype=F64)

    x, y = draw(5, 2), draw(5, *([outputs] if outputs else []))
    system = compile_system(problem, x, y, width)
    theta, weights, shift = draw(4, system.P), draw(4, 5).abs(), draw(4, *y.shape)
    found = stochastic_gradient(system)(theta, weights, shift)
    expected = hand_gradient(output, theta, x, y, weights, shift, loss)
    assert float((found - expected).abs().max()) <= BOUND * float(expected.abs().max())


def test_equal_weights_and_no_shift_give_the_gradient_of_the_risk() -> None:
    x = torch.tensor([[1.0], [-0.5], [0.3]], dtype=F64)
    problem = Problem.two_layer("tanh", "square", weight_decay="1/7")
    system = compile_system(problem, x, torch.tensor([1.0, 0.2, -0.4], dtype=F64), 3)
    theta = torch.linspace(-1, 1, 12, dtype=F64).reshape(2, 6)
    weights, shift = torch.full((2, 3), 1 / 3, dtype=F64), torch.zeros(2, 3, dtype=F64)
    found = stochastic_gradient(system)(theta, weights, shift)
    assert float((found - system.gradient(theta)).abs().max()) <= BOUND


# --------------------------------------------------------------------- gradient descent


def test_descent_on_a_quadratic_is_the_power_of_one_matrix() -> None:
    system, x, y = regression()
    hessian = x.T @ x / len(x)
    best = torch.linalg.solve(hessian, x.T @ y / len(x))
    start = torch.tensor([[1.0, -2.0], [0.3, 0.7]], dtype=F64)
    grid = torch.tensor([0, 1, 10, 200])
    result = descend(system, start, 0.3, 200, save_at=grid)
    power = torch.eye(2, dtype=F64) - 0.3 * hessian
    for step, states in zip(grid.tolist(), result.states, strict=True):
        exact = best + (start - best) @ torch.linalg.matrix_power(power, step)
        assert float((states - exact).abs().max()) <= BOUND * 10
    assert result.times.tolist() == pytest.approx([0.0, 0.3, 3.0, 60.0])
    assert result.status == (Status.FINISHED, Status.FINISHED)
    assert result.steps.tolist() == [200, 200]


def test_the_edge_of_stability_is_two_over_the_curvature() -> None:
    """theta' = (1 - eta lambda) theta: from 1 the norm passes 1e6 after log(1e6)/log|1 - eta lambda| steps."""
    line = compile_system(FormulaProblem.of("a*x", ["a"]), [[2.0]], [0.0], ())  # curvature 4
    start = torch.ones(1, 1, dtype=F64)
    below = descend(line, start, 0.499, 20_000, stationary_norm=1e-9)
    assert below.status == (Status.CONVERGED,)
    factor = abs(1 - 0.499 * 4)
    assert int(below.steps) == math.ceil(math.log(4e9) / -math.log(factor)) + 1
    above = descend(line, start, 0.51, 20_000)
    assert above.status == (Status.DIVERGED,)
    assert above.entry.tolist() == [0]
    assert int(above.steps) == math.ceil(math.log(1e6) / math.log(abs(1 - 0.51 * 4)))


def test_a_run_that_overflows_keeps_its_last_finite_state_and_leaves_the_others_alone() -> None:
    steep = compile_system(FormulaProblem.of("exp(a*x) + b", ["a", "b"]), [[10.0]], [0.0], ())
    result = descend(steep, torch.tensor([[0.1, 0.0], [80.0, 0.0]], dtype=F64), 1e-6, 50, max_norm=1e300)
    assert result.status == (Status.FINISHED, Status.DIVERGED)
    assert torch.isfinite(result.final_state).all()
    assert result.steps.tolist() == [50, 1]
    assert result.final_state[1].tolist() == [80.0, 0.0]
    assert int(result.entry[1]) == 0


# Li, Xu, Zhang, arXiv:2305.12133; values computed independently of this code from the two-parameter maps.


def product() -> CompiledSystem:
    return compile_system(FormulaProblem.of("a*b*x", ["a", "b"]), [[1.0]], [1.0], ())


@pytest.mark.parametrize(
    ("step_size", "start", "end", "sharpness"),
    [
        (0.4, (2.5, 0.1), (1.498625224, 0.667278239), 2.691137810),
        (0.9, (1.3, 0.5), (1.181950445, 0.846059159), 2.112822956),
    ],
)
def test_descent_lands_on_the_flatter_minimum_of_a_product(
    step_size: float, start: tuple[float, float], end: tuple[float, float], sharpness: float
) -> None:
    found = descend(product(), torch.tensor([start], dtype=F64), step_size, 4000).final_state[0]
    assert found.tolist() == pytest.approx(end, abs=1e-9)
    assert float(found @ found) == pytest.approx(sharpness, abs=1e-8)
    assert float(found @ found) < 2 / step_size


def test_above_the_edge_descent_settles_on_the_two_cycle() -> None:
    result = descend(
        product(),
        torch.tensor([[1.3, 0.6]], dtype=F64),
        1.1,
        4001,
        save_at=torch.tensor([4000, 4001]),
    )
    low, high = sorted(float(state[0, 0]) for state in result.states)
    assert (high, low) == pytest.approx((1.116062971452, 0.814551626875), abs=1e-9)


def test_the_lower_loss_as_sharper_toy_spikes_when_it_should() -> None:
    toy = compile_system(
        FormulaProblem.of("(50*p + 200)*q**2 - p + 5 + 0*x", ["p", "q"], loss="f"), [[1.0]], [0.0], ()
    )
    result = descend(toy, torch.tensor([[5.0, 0.001]], dtype=F64), 0.002, 1080, save_at=torch.arange(1081))
    p, q = result.states[:, 0, 0], result.states[:, 0, 1].abs()
    assert int((p > 6).nonzero()[0]) == 501
    assert int((q > 50**-0.5).nonzero()[0]) == 1062
    assert float(p[1062]) == pytest.approx(7.119756639, abs=1e-7)
    assert int(q.argmax()) == 1077
    assert (float(p[1077]), float(q[1077])) == pytest.approx((5.894650404, 1.827268586), abs=1e-6)
    assert float(toy.value(result.states[1077, 0])) == pytest.approx(1650.972948, rel=1e-7)


# --------------------------------------------------------------------- noise

RUNS = 4000


def gaussian_moments_agree(sample: Tensor, mean: Tensor, covariance: Tensor) -> None:
    """Compare sample mean and covariance of (N, d) with exact ones, in standard errors of Gaussian samples."""
    runs = len(sample)
    deviation = torch.sqrt(covariance.diagonal() / runs)
    assert bool(((sample.mean(0) - mean).abs() <= MONTE_CARLO_SIGMAS * deviation).all())
    found = torch.cov(sample.T)
    variances = covariance.diagonal()
    error = torch.sqrt((variances[:, None] * variances + covariance**2) / runs)
    assert bool(((found - covariance).abs() <= MONTE_CARLO_SIGMAS * error).all()), (found, covariance, error)


def test_label_noise_has_the_exact_covariance_on_a_quadratic() -> None:
    """Sigma' = A Sigma A + eta^2 v H / n with A = I - eta H; at rest Sigma = eta v / (n (2 - eta H))."""
    system, x, y = regression()
    n, eta, variance, steps = len(x), 0.4, 0.5, 60
    hessian = x.T @ x / n
    best = torch.linalg.solve(hessian, x.T @ y / n)
    start = best.expand(RUNS, 2)
    result = descend(system, start, eta, steps, noise=Noise(label_variance=variance), seed=1)
    power = torch.eye(2, dtype=F64) - eta * hessian
    covariance = torch.zeros(2, 2, dtype=F64)
    for _ in range(steps):
        covariance = power @ covariance @ power + eta**2 * variance * hessian / n
    gaussian_moments_agree(result.final_state, best, covariance)
    at_rest = eta * variance / n * torch.linalg.inv(2 * torch.eye(2, dtype=F64) - eta * hessian)
    assert float((covariance - at_rest).abs().max()) < 1e-3 * float(at_rest.max())


def test_langevin_has_the_exact_covariance_of_the_discretised_ou_process() -> None:
    """Sigma' = A Sigma A + 2 eta T; at rest 2T / (lambda (2 - eta lambda)), which tends to T / lambda."""
    line = compile_system(FormulaProblem.of("a*x", ["a"]), [[2.0]], [2.0], ())  # curvature 4, minimum 1
    start = torch.full((RUNS, 1), 3.0, dtype=F64)
    eta, temperature, steps = 0.05, 0.3, 40
    result = descend(line, start, eta, steps, noise=Noise(temperature=temperature), seed=2)
    factor = 1 - 4 * eta
    mean = torch.tensor([1 + 2 * factor**steps], dtype=F64)
    variance = 2 * eta * temperature * (1 - factor ** (2 * steps)) / (1 - factor**2)
    gaussian_moments_agree(result.final_state, mean, torch.tensor([[variance]], dtype=F64))
    assert variance == pytest.approx(temperature / 4 * 2 / (2 - 4 * eta), rel=1e-6)


def test_langevin_noise_follows_the_rates_and_spares_frozen_blocks() -> None:
    """With rate D the noise has variance 2 eta T D, so that the law at rest is the same Gibbs measure."""
    problem = FormulaProblem.of(
        "a*x + b + c*x", ["a", "b", "c"], freeze=("b",), rate=(("a", problem_number(3)),), loss="square"
    )
    system = compile_system(problem, [[1.0]], [0.0], ())
    start = torch.zeros(RUNS, 3, dtype=F64)
    result = descend(system, start, 0.1, 1, noise=Noise(temperature=0.5), seed=3)
    assert bool((result.final_state[:, 1] == 0).all())
    gaussian_moments_agree(
        result.final_state[:, [0, 2]],
        torch.zeros(2, dtype=F64),
        torch.diag(torch.tensor([0.3, 0.1], dtype=F64)),
    )


def problem_number(value: int):  # type: ignore[no-untyped-def]
    from sympy import Integer

    return Integer(value)


@pytest.mark.parametrize("batch", [1, 2, 6])
def test_minibatches_have_the_exact_mean_and_second_moment(batch: int) -> None:
    """The distance to the minimum obeys an exact linear recursion over all minibatches of this size."""
    system, x, y = regression()
    n, eta, steps = len(x), 0.15, 8
    best = torch.linalg.solve(x.T @ x, x.T @ y)
    start = best + torch.tensor([0.5, -1.0], dtype=F64)
    result = descend(system, start.expand(RUNS, 2), eta, steps, noise=Noise(batch=batch), seed=4)
    mean, second = start - best, torch.outer(start - best, start - best)
    maps = []
    for chosen in itertools.combinations(range(n), batch):
        part, target = x[list(chosen)], y[list(chosen)]
        linear = torch.eye(2, dtype=F64) - eta * part.T @ part / batch
        maps.append((linear, eta * part.T @ (target - part @ best) / batch))
    for _ in range(steps):
        seconds, means = [], []
        for linear, push in maps:
            cross = torch.outer(linear @ mean, push)
            seconds.append(linear @ second @ linear.T + cross + cross.T + torch.outer(push, push))
            means.append(linear @ mean + push)
        mean, second = torch.stack(means).mean(0), torch.stack(seconds).mean(0)
    distance = result.final_state - best
    covariance = second - torch.outer(mean, mean)
    if batch == n:
        assert float((distance - mean).abs().max()) <= BOUND
        return
    error = torch.sqrt(covariance.diagonal() / RUNS)
    assert bool(((distance.mean(0) - mean).abs() <= MONTE_CARLO_SIGMAS * error).all())
    products = distance[:, :, None] * distance[:, None, :]
    error = products.std(0) / math.sqrt(RUNS)
    assert bool(((products.mean(0) - second).abs() <= MONTE_CARLO_SIGMAS * error).all())


def test_under_a_sum_a_minibatch_is_scaled_up() -> None:
    problem = FormulaProblem.of("a*x", ["a"], reduction="sum")
    system = compile_system(problem, [[1.0], [1.0]], [1.0, 1.0], ())
    start = torch.zeros(3, 1, dtype=F64)
    whole = descend(system, start, 0.1, 1).final_state
    part = descend(system, start, 0.1, 1, noise=Noise(batch=1)).final_state
    assert torch.allclose(whole, part, rtol=0, atol=BOUND)


# --------------------------------------------------------------------- repeatable, resumable, refused


class Killed(Exception):
    pass


class Memory:
    def __init__(self) -> None:
        self.kept: dict[str, Tensor] | None = None
        self.calls, self.kill_at = 0, 37

    def load(self) -> dict[str, Tensor] | None:
        return self.kept

    def due(self) -> bool:
        self.calls += 1
        if self.calls == self.kill_at:
            raise Killed
        return self.calls % 10 == 0

    def save(self, state: dict[str, Tensor]) -> None:
        self.kept = {name: value.clone() for name, value in state.items()}


def noisy(checkpoint: Memory | None = None, seed: int = 7) -> DescentResult:
    system, _, _ = regression()
    noise = Noise(batch=2, label_variance=0.1, temperature=0.01)
    start = torch.tensor([[1.0, 0.0], [0.0, 1.0], [2.0, 2.0]], dtype=F64)
    grid = torch.tensor([0, 20, 50, 100])
    return descend(system, start, 0.1, 100, noise=noise, seed=seed, save_at=grid, checkpoint=checkpoint)


def test_the_same_seed_gives_the_same_bits_and_another_one_others() -> None:
    assert torch.equal(noisy().states, noisy().states)
    assert not torch.equal(noisy().states, noisy(seed=8).states)


def test_a_killed_descent_goes_on_and_ends_in_the_same_bits() -> None:
    memory = Memory()
    with pytest.raises(Killed):
        noisy(memory)
    assert memory.kept is not None
    assert int(memory.kept["step"]) == 30
    assert torch.equal(noisy(memory).states, noisy().states)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"theta0": torch.zeros(3)}, r"shape \(B, 2\), got \(3,\)"),
        ({"theta0": torch.full((1, 2), math.nan, dtype=F64)}, "must be finite"),
        ({"step_size": 0.0}, "positive finite number, got 0.0"),
        ({"steps": 0}, "whole number from 1, got 0"),
        ({"noise": Noise(batch=7)}, "1 to n = 6 samples, got 7"),
        ({"noise": Noise(label_variance=-1.0)}, "label_variance must be finite and not negative, got -1.0"),
        ({"noise": Noise(temperature=math.inf)}, "temperature must be finite"),
        ({"noise": Noise(temperature=1.0), "stationary_norm": 1.0}, "a noisy one does not come to rest"),
        ({"save_at": torch.tensor([0, 11])}, r"within \[0, 10\], got \[0, 11\]"),
        ({"save_at": torch.tensor([0.5])}, "whole numbers of steps"),
        ({"max_norm": 0.0}, "max_norm must be positive"),
    ],
)
def test_bad_arguments_are_refused(change: dict, message: str) -> None:
    system, _, _ = regression()
    arguments = {"theta0": torch.zeros(1, 2, dtype=F64), "step_size": 0.1, "steps": 10, **change}
    with pytest.raises(ValueError, match=message):
        descend(system, **arguments)
