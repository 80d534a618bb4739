"""Embeddings of special activations: which there are, and points where they keep criticality or do not, by autograd."""

from __future__ import annotations

import pytest
import torch

from derivations import special_embedding as module
from derivations.claim import Status
from derivations.problem import Problem
from derivations.special_embedding import quadratic_residuals, special_embeddings

DOUBLE = torch.float64


def names(problem):
    found = special_embeddings(problem)
    for statement in found:
        assert statement.status is Status.PROVED
        assert all(text.count("$") % 2 == 0 for text in (statement.statement, *statement.steps))
    return [statement.name for statement in found]


def test_each_activation_has_the_embeddings_of_its_properties():
    assert names(Problem.two_layer()) == names(Problem.two_layer("softplus")) == []
    assert names(Problem.two_layer("tanh")) == ["sign-flipped splitting"]
    assert names(Problem.two_layer("sigmoid")) == []  # the constant has nowhere to go
    assert names(Problem.two_layer("sigmoid", output_bias=True)) == ["sign-flipped splitting"]
    assert names(Problem.two_layer("relu")) == ["rescaled splitting"]
    assert names(Problem.two_layer("exp", input_bias=True)) == ["shifted splitting"]
    assert names(Problem.two_layer("exp")) == []  # there is no bias to shift
    assert names(Problem.two_layer("z + z**3")) == [
        "sign-flipped splitting",
        "embedding by dependent neurons",
    ]
    assert names(Problem.two_layer("quadratic")) == [
        "sign-flipped splitting",
        "rescaled splitting",
        "embedding by dependent neurons",
        "span of quadratic neurons",
    ]
    assert "span of quadratic neurons" not in names(Problem.two_layer("quadratic", vector_output=True))
    assert names(Problem.deep(3, "relu")) == ["rescaled splitting, layer 1", "rescaled splitting, layer 2"]


def test_the_span_needs_the_bias_to_complete_the_square():
    assert "span of quadratic neurons" not in names(Problem.two_layer("z + z**2"))
    assert "span of quadratic neurons" in names(Problem.two_layer("z + z**2", input_bias=True))


@pytest.mark.parametrize("bias", [False, True])
def test_a_neuron_in_the_span_has_the_gradients_of_the_span(bias):
    assert set(quadratic_residuals(bias=bias).values()) == {0}


def test_a_wrong_combination_of_the_span_is_not_proved(monkeypatch):
    right = module.isum
    monkeypatch.setattr(
        module, "isum", lambda body, *u: right(body, *u) * (2 if u and u[0].name == "q" else 1)
    )
    assert quadratic_residuals(bias=True)["outgoing weight"] != 0


# -- points, by autograd ---------------------------------------------------------------------------------------------


def network(sigma, x, parts):
    a, w, b, c = parts
    return sigma(x @ w.T + b) @ a + c


def gradient_at(sigma, x, y, parts):
    leaves = [part.clone().requires_grad_(True) for part in parts]
    ((network(sigma, x, leaves) - y) ** 2).sum().mul(0.5).backward()
    return max(float(leaf.grad.abs().max()) for leaf in leaves)


def critical(sigma, seed, width=2, n=20, d=2):
    """Return inputs, targets and a point that is critical for half the sum of squares."""
    generator = torch.Generator().manual_seed(seed)
    draw = lambda *shape: torch.randn(*shape, generator=generator, dtype=DOUBLE)  # noqa: E731
    x, parts = draw(n, d), (draw(width), draw(width, d), draw(width), draw(1)[0])
    tangents = torch.func.jacrev(lambda *p: network(sigma, x, p), argnums=(0, 1, 2, 3))(*parts)
    q, _ = torch.linalg.qr(torch.cat([t.reshape(n, -1) for t in tangents], dim=1))
    v = draw(n)
    y = network(sigma, x, parts) - (v - q @ (q.T @ v))
    assert gradient_at(sigma, x, y, parts) < 1e-10 * float(y.abs().max())
    return x, y, parts


def test_sign_flipped_rescaled_and_shifted_copies_are_critical():
    for sigma, change in [
        (torch.tanh, lambda a, w, b: (-a, -w, -b)),
        (lambda z: z**3, lambda a, w, b: (a / 8, 2 * w, 2 * b)),
        (torch.exp, lambda a, w, b: (a * torch.exp(torch.tensor(-0.7, dtype=DOUBLE)), w, b + 0.7)),
    ]:
        x, y, (a, w, b, c) = critical(sigma, 1)
        new = change(0.3 * a[0], w[0], b[0])
        wide = (
            torch.cat([a[:1] * 0.7, a[1:], new[0][None]]),
            torch.cat([w, new[1][None]]),
            torch.cat([b, new[2][None]]),
            c,
        )
        assert float((network(sigma, x, wide) - network(sigma, x, (a, w, b, c))).abs().max()) < 1e-12
        assert gradient_at(sigma, x, y, wide) < 1e-9 * float(y.abs().max())


def quadratic(z):
    return 1 + z + z**2 / 3


def test_quadratic_neurons_in_the_span_are_critical_and_outside_they_are_not():
    x, y, (a, w, b, c) = critical(quadratic, 4, width=2, n=30, d=3)
    v = torch.cat([w, (b + 1.5)[:, None]], dim=1)
    form = v.T @ torch.diag(a) @ v
    generator = torch.Generator().manual_seed(0)
    new = torch.randn(4, 2, generator=generator, dtype=DOUBLE) @ v  # four neurons in the span of two
    left, right = torch.triu_indices(4, 4)
    system = (new[:, left] * new[:, right]).T
    weights = torch.linalg.lstsq(system, form[left, right], driver="gelsd").solution
    wide = (weights, new[:, :3], new[:, 3] - 1.5, c + (a.sum() - weights.sum()) / 4)
    assert float((network(quadratic, x, wide) - network(quadratic, x, (a, w, b, c))).abs().max()) < 1e-10
    assert gradient_at(quadratic, x, y, wide) < 1e-9
    outside = (
        torch.cat([a, a.new_zeros(1)]),
        torch.cat([w, w.new_ones(1, 3)]),
        torch.cat([b, b.new_ones(1)]),
        c,
    )
    # A silent neuron outside the span keeps outputs, not criticality.
    assert gradient_at(quadratic, x, y, outside) > 1e-3


def test_dependent_cubic_neurons_are_critical_exactly_where_their_moments_vanish():
    def cubic(z):
        return z**3

    x, y, (a, w, b, c) = critical(cubic, 6, width=1)
    # Five neurons w + t_j e of one plane of cubics: four of them span, so one dependence.
    times = torch.tensor([0.0, 1.0, -1.0, 2.0, -2.0], dtype=DOUBLE)
    new_w, new_b = w + times[:, None], b + times
    powers = torch.stack([times**p for p in range(4)])
    _, _, vh = torch.linalg.svd(powers)
    v = vh[-1]
    moved = (torch.cat([a, a.new_zeros(4)]) + v, new_w, new_b, c)
    assert float((network(cubic, x, moved) - network(cubic, x, (a, w, b, c))).abs().max()) < 1e-9
    residual = network(cubic, x, (a, w, b, c)) - y
    moments = (cubic(x @ new_w[1:].T + new_b[1:]) * residual[:, None]).sum(0).abs().max()
    assert float(moments) > 1e-2
    assert gradient_at(cubic, x, y, moved) > 1e-2
