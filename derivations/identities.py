r"""All output-preserving identities of a network as one list: what changes the parameters and keeps the function.

From the derived properties of the activation, layer by layer:

* groups: permutation, sign, scaling, shift, mixing (``derivations.symmetry``);
* partial groups, where neurons stand in a relation: joint signs, polynomial dependence, phases
  (``derivations.neuron_relations``);
* semigroups, which change the width: splitting, cancelling pairs, silent and constant neurons (``derivations.wider_layer``);
* whether this is all (``derivations.uniqueness``).

Each is PROVED by a residual of the outputs in canonical form, for all sizes, data and parameters.  What the activation does
not have is refuted by ``symmetries`` and does not stand here.

>>> from derivations.problem import Problem
>>> for found in identities(Problem.two_layer("tanh", "square", input_bias=True, output_bias=True)):
...     print(found.name, found.status, found.kind, found.dimension)
permutation of neurons PROVED group 0
sign of a neuron PROVED group 0
splitting of a neuron PROVED semigroup 1
cancelling pair of neurons PROVED semigroup d + 2
silent neuron PROVED semigroup d + 1
constant neuron PROVED semigroup 2
completeness of the list PROVED list None
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from sympy import Expr, Integer, S, factorial, latex

from derivations.activations import Activation, Z
from derivations.claim import Status
from derivations.decide import identically_zero
from derivations.hidden_layer import HiddenLayer, hidden_layers
from derivations.identity import Identity, Kind
from derivations.indexed import Index
from derivations.neuron_relations import relations
from derivations.problem import Problem, d
from derivations.symmetry import Symmetry, symmetries
from derivations.uniqueness import uniqueness
from derivations.wider_layer import maps

__all__ = ["identities", "identity_statements"]


def identities(problem: Problem) -> tuple[Identity, ...]:
    """Return the identities of ``problem``, the last entry saying whether the list is complete.

    Parameters
    ----------
    problem : Problem
        Two-layer or deep, with symbolic sizes; sigma may be general.  Formulas and diagonal networks have their symmetries.
        Weight decay is no obstacle: ``keeps_risk`` says what it does.

    Raises
    ------
    AssumptionError
        If a formula has too many trained parameters for the search.
    """
    if problem.kind not in ("two_layer", "deep"):
        return _without_layers(problem)
    found: list[Identity] = []
    known = symmetries(problem)
    for layer in hidden_layers(problem):
        there = {s.name: s for s in known if s.status is not Status.REFUTED}
        found += [
            _group(problem, layer, there[layer.named(name)], name)
            for name in _GROUPS
            if layer.named(name) in there
        ]
        found += relations(problem, layer)
        found += _width_changes(problem, layer)
    return (*found, uniqueness(problem))


def identity_statements(problem: Problem) -> list[Identity]:
    """Return ``identities`` with kind, dimension, degenerate cases and consequences among the steps, as they are printed."""
    return [replace(u, steps=(*u.steps, *u.facts())) for u in identities(problem)]


def _without_layers(problem: Problem) -> tuple[Identity, ...]:
    """Return the symmetries of a formula or of a diagonal network as identities."""
    found = []
    for s in symmetries(problem):
        about_list = s.name.startswith("completeness")
        discrete = s.name.startswith(("sign", "exchange"))
        found.append(
            Identity(
                s.name,
                s.statement,
                s.steps,
                s.status,
                s.residuals,
                s.source,
                kind=Kind.LIST if about_list else Kind.GROUP,
                dimension=None if about_list else _dimension(problem, discrete),
                follows=() if about_list else (_COPIES,) if discrete else ("critical manifolds",),
                keeps_risk=s.keeps_risk,
            )
        )
    return tuple(found)


def _dimension(problem: Problem, discrete: bool) -> Expr:
    """Return the continuous parameters of one symmetry: one for a formula, one for each coordinate of a diagonal network."""
    if discrete:
        return S.Zero
    return d if problem.kind == "diagonal" else S.One


# -- groups ----------------------------------------------------------------------------------------------------------


def _group(problem: Problem, layer: HiddenLayer, symmetry: Symmetry, name: str) -> Identity:
    dimension, orbit, degenerate, follows, mapped = _GROUPS[name](problem, layer)
    return Identity(
        symmetry.name,
        symmetry.statement,
        symmetry.steps,
        symmetry.status,
        symmetry.residuals,
        symmetry.source,
        map_tex=mapped,
        kind=Kind.GROUP,
        layer=layer.number,
        dimension=dimension,
        orbit=orbit,
        degenerate=degenerate,
        follows=follows,
        keeps_risk=symmetry.keeps_risk,
    )


_Facts = tuple[Expr, Expr | None, str, tuple[str, ...], str]
_COPIES = "symmetric copies of critical points (symmetries)"


def _permutation(problem: Problem, layer: HiddenLayer) -> _Facts:
    mapped = rf"{layer.neuron_tex('k')} \mapsto {layer.neuron_tex(chr(92) + 'pi(k)')}"
    degenerate = "Fixed: parameters with equal neurons, by the permutations of these."
    return (
        S.Zero,
        factorial(layer.width),
        degenerate,
        (_COPIES, "one equation for all neurons (per-neuron)"),
        mapped,
    )


def _sign(problem: Problem, layer: HiddenLayer) -> _Facts:
    sigma = _activation(problem)
    even = sigma.parity.sign == 1
    mark = "" if even else "-"
    mapped = (
        rf"{layer.neuron_tex('s')} \mapsto {layer.neuron_tex('s', {'out': mark, 'in': '-', 'bias': '-'})}"
    )
    if sigma.parity.sign == 0:  # odd up to a constant
        letter = layer.absorbing_tex(problem)
        mapped += rf", \quad {letter} \mapsto {letter} + {_constant_tex(problem, layer, sigma)}"
    zero = "input weights and bias" if layer.bias is not None else "input weights"
    degenerate = (
        f"Fixed: a neuron whose {zero} vanish."
        if even
        else f"Fixed: a neuron whose outgoing weights, {zero} vanish."
    )
    return S.Zero, Integer(2) ** layer.width, degenerate, (_COPIES,), mapped


def _constant_tex(problem: Problem, layer: HiddenLayer, sigma: Activation) -> str:
    gain = 2 * sigma.value_at_zero * layer.gain(problem)
    size = "" if gain == 1 else latex(gain) + " "
    return size + layer.tex["out"] % "s"


def _scaling(problem: Problem, layer: HiddenLayer) -> _Facts:
    sigma = _activation(problem)
    degree = sigma.homogeneity_degree
    assert degree is not None  # the symmetry is proved
    change = {"out": rf"\lambda^{{{latex(-degree)}}} ", "in": r"\lambda ", "bias": r"\lambda "}
    mapped = rf"{layer.neuron_tex('s')} \mapsto {layer.neuron_tex('s', change)}, \quad \lambda > 0"
    full = ""
    if sigma.parity.sign:
        full = r" With the sign of a neuron the group of one neuron is that of all $\lambda \neq 0$."
    degenerate = f"Fixed: a neuron all of whose weights vanish.{full}"
    follows = (
        rf"critical manifolds of dimension ${latex(layer.width)}$ at neurons that do not vanish",
        "balance of a neuron (conservation)",
        "Euler identities (euler)",
    )
    return layer.width, None, degenerate, follows, mapped


def _shift(problem: Problem, layer: HiddenLayer) -> _Facts:
    sigma = _activation(problem)
    rate = sigma.shift_rate.value
    if rate is not None:
        change = {"out": rf"e^{{{latex(-rate)}\tau}} ", "bias": r"{} + \tau"}
        mapped = (
            rf"{layer.neuron_tex('s')} \mapsto {layer.neuron_tex('s', change)}, \quad \tau \in \mathbb{{R}}"
        )
        follows = (
            rf"critical manifolds of dimension ${latex(layer.width)}$",
            "shift law of a neuron (conservation)",
        )
        return layer.width, None, "No fixed points: the bias always moves.", follows, mapped
    period = sigma.period.value
    half = identically_zero(sigma.expr.subs(Z, Z + period / 2) + sigma.expr, Z).proved
    change = {"out": "-" if half else "", "bias": "{} + " + latex(period / 2 if half else period)}
    mapped = rf"{layer.neuron_tex('s')} \mapsto {layer.neuron_tex('s', change)}"
    degenerate = "No fixed points: the bias always moves; the orbits are infinite and discrete."
    return S.Zero, None, degenerate, (f"infinitely many {_COPIES}",), mapped


def _mixing(problem: Problem, layer: HiddenLayer) -> _Facts:
    width = layer.width
    mapped = (
        rf"W_{{\mathrm{{in}}}} \mapsto G W_{{\mathrm{{in}}}}, \quad W_{{\mathrm{{out}}}} \mapsto W_{{\mathrm{{out}}}} G^{{-1}}, "
        rf"\quad G \in GL({latex(width)})"
    )
    degenerate = "Orbits are smaller where the weights do not have full rank."
    return width**2, None, degenerate, ("balance of a layer (conservation)", "critical manifolds"), mapped


def _rotation(problem: Problem, layer: HiddenLayer) -> _Facts:
    out, width = layer.tex["out"], layer.width
    mapped = rf"\delta {layer.tex['in'] % 'k'} = \sum_q S_{{kq}}\, {out % 'q'}\, {layer.tex['in'] % 'q'}, \quad S = -S^{{\top}}"
    degenerate = (
        "Orbits are smaller where the weights of the neurons are linearly dependent or output weights vanish."
    )
    return width * (width - 1) / 2, None, degenerate, ("critical manifolds",), mapped


_GROUPS: dict[str, Callable[[Problem, HiddenLayer], _Facts]] = {
    "permutation of neurons": _permutation,
    "sign of a neuron": _sign,
    "scaling of a neuron": _scaling,
    "shift of a neuron": _shift,
    "mixing of neurons": _mixing,
    "rotation of neurons": _rotation,
}


def _activation(problem: Problem) -> Activation:
    assert problem.activation is not None  # a general sigma has permutations only
    return problem.activation


# -- changes of the width --------------------------------------------------------------------------------------------


def _width_changes(problem: Problem, layer: HiddenLayer) -> list[Identity]:
    """Return splitting, pair, silent and constant neuron of a layer."""
    residuals = maps(problem, layer)
    incoming = _size(layer, "in") + (1 if layer.bias is not None else 0)
    outgoing = _size(layer, "out")
    out, whole = layer.tex["out"], layer.neuron_tex("s")
    fresh = {role: _new(layer.tex[role]) for role in layer.blocks}
    rest = "".join(f", {layer.tex[role] % 's'}" for role in layer.blocks if role != "out")
    new_rest = "".join(f", {fresh[role]}" for role in layer.blocks if role != "out")
    a, old = fresh["out"], out % "s"
    sigma = r"\sigma(\beta)" if layer.bias is not None else r"\sigma(0)"
    zero = ", 0" + (r", \beta" if layer.bias is not None else "")
    absorbed, gain = layer.absorbing(problem) is not None, layer.gain(problem)
    letter, scale = layer.absorbing_tex(problem), "" if gain == 1 else latex(gain) + " "
    constant = rf"\emptyset \mapsto ({a}{zero})"
    if absorbed:
        constant += rf", \quad {letter} \mapsto {letter} - {scale}{sigma} {a}"
        said = f"A neuron without input weights is a constant, which the bias behind the layer takes up: ${constant}$ keeps every output."
    else:
        said = (
            rf"Neurons without input weights act through the sum of their ${sigma} {a}$ only: every change of such neurons that keeps "
            rf"this sum keeps every output; ${constant}$ does where ${sigma} = 0$."
        )
    embeds = problem.kind == "two_layer" and problem.weight_decay == 0
    table: list[tuple[str, str, int, Expr | None, str, str, str, tuple[str, ...], str]] = [
        (
            "splitting",
            "splitting of a neuron",
            1,
            outgoing,
            rf"{whole} \mapsto ({old} - {a}{rest}),\ ({a}{rest})",
            "Neuron $s$ becomes two with the same input weights: ",
            rf"Where ${a} = 0$ or ${a} = {old}$ one of the two is silent. Backwards, neurons with equal input weights merge.",
            ("splitting embedding (embedding)", "critical manifolds of the wider network") if embeds else (),
            "zhang2022hierarchical",
        ),
        (
            "pair",
            "cancelling pair of neurons",
            2,
            incoming + outgoing,
            rf"\emptyset \mapsto ({a}{new_rest}),\ (-{a}{new_rest})",
            "Two neurons with equal input weights and opposite outgoing weights cancel: ",
            "A silent neuron that is split.",
            (),
            "",
        ),
        (
            "silent",
            "silent neuron",
            1,
            incoming,
            rf"\emptyset \mapsto (0{new_rest})",
            "A neuron with outgoing weights $0$ adds nothing, whatever its input weights: ",
            "Critical points stay critical where the gradient in the new outgoing weights vanishes.",
            ("null embedding (embedding)",) if embeds else (),
            "zhang2022hierarchical",
        ),
        (
            "constant",
            "constant neuron",
            1,
            outgoing + (1 if layer.bias is not None else 0) if absorbed else None,
            constant,
            "",
            "Several constant neurons act as one: only the sum of their constants counts.",
            ("null embedding (embedding)",) if embeds and absorbed else (),
            "zhang2022hierarchical",
        ),
    ]
    found = []
    for key, name, added, dimension, mapped, start, degenerate, follows, source in table:
        values = residuals[key]
        proved = all(value == 0 for value in values.values())
        found.append(
            Identity(
                layer.named(name),
                said if key == "constant" else f"{start}${mapped}$ keeps every output.",
                (_step(layer, key, a),),
                Status.PROVED if proved else Status.UNDECIDED,
                values,
                source,
                map_tex=mapped,
                kind=Kind.SEMIGROUP,
                layer=layer.number,
                added=added,
                dimension=dimension,
                degenerate=degenerate,
                follows=follows,
                keeps_risk=(problem.weight_decay == 0) if proved else None,
            )
        )
    return found


def _size(layer: HiddenLayer, role: str) -> Expr:
    """Return how many numbers a neuron has in a block."""
    _, rest = layer.entry(layer.blocks[role], Index("s", layer.width))
    total: Expr = S.One
    for u in rest:
        total = total * u.dim
    return total


def _new(tex: str) -> str:
    """Return the LaTeX of a part of a new neuron: its letter with a prime."""
    letter = tex.partition("_")[0]
    return letter.replace("^{(", "^{\\prime (") if "^" in letter else f"{letter}'"


def _step(layer: HiddenLayer, key: str, a: str) -> str:
    out, z = layer.tex["out"] % "s", layer.indexed_tex("z", "is")
    return {
        "splitting": rf"$({out} - {a}) \sigma({z}) + {a} \sigma({z}) = {out} \sigma({z})$.",
        "pair": rf"${a} \sigma(z') - {a} \sigma(z') = 0$.",
        "silent": r"$0 \cdot \sigma(z') = 0$.",
        "constant": r"The pre-activation of the new neuron is its bias, for every input.",
    }[key]
