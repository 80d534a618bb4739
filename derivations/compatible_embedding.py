r"""Compatible embeddings: every wide point that repeats the neurons of a narrow one, with shares of its adjoints.

In layer l let wide neuron i be a copy of the narrow neuron I(i), or a null neuron (I(i) = 0) with a constant
pre-activation.  A wide point is compatible if for all data

.. math:: z'_i = z_{I(i)}, \qquad \delta'_i = \beta_i\, \delta_{I(i)}, \qquad \sum_{i \in I^{-1}(k)} \beta_i = 1 ,

and :math:`\delta' = 0` at null neurons.  For the block :math:`W'_{ij}` between the copies of i and those of j this means

.. math:: W'_{ij} \mathbf 1 = W_{ij} \mathbf 1, \quad \beta_i^\top W'_{ij} = W_{ij} \beta_j^\top
    \iff W'_{ij} = W_{ij} \mathbf 1 \beta_j^\top + N_{ij}, \quad N_{ij} \mathbf 1 = 0, \ \beta_i^\top N_{ij} = 0 .

With :math:`N = (I - \mathbf 1 \beta^\top) C` and C free outside the first row and column this is a bijection, and it is what
the residuals are computed with: the side conditions hold by construction.

Source: Zhang, Li, Zhang, Luo, Xu, arXiv:2111.15527, Definition 5.2 and Theorem 5.1, where N is a multiple of
:math:`W_{ij}`; here it is free, which is more where :math:`W_{ij} = 0`.

>>> set(compatible_residuals(Problem.deep(3)).values())
{0}
"""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache

from sympy import Expr, S

from derivations.canonical import residual
from derivations.generic import GenericFunction
from derivations.grouped_network import Grouped, Layer, columns, grouped_network
from derivations.indexed import Index, Tensor, isum, replace_leaves
from derivations.problem import Problem

__all__ = ["compatible_duality", "compatible_residuals", "compatible_tangents"]

_Rules = dict[Tensor, Callable[..., Expr]]


@lru_cache(maxsize=4)  # several statements rest on them
def compatible_residuals(problem: Problem) -> dict[str, Expr]:
    r"""Return the differences of both sides of every identity of the module docstring, layer by layer; zeros are a proof.

    ``z`` of a layer: its wide pre-activations where those before it are repeated.  ``delta``: its wide adjoints where those
    behind it are shares.  ``gradient``: the wide gradient minus B times the narrow one,

    .. math:: \nabla_{W'_{ij}} = \beta_i \nabla_{W_{I(i) I(j)}}, \quad \nabla_{b'_i} = \beta_i \nabla_{b_{I(i)}}, \quad
        \nabla_{W'_{i0}} = \beta_i\, \sigma(\beta^*) \nabla_{b_{I(i)}} ,

    and 0 in the rows of null neurons.  Induction over the layers, forwards and backwards, gives outputs and gradients.

    Raises
    ------
    ValueError
        As ``grouped_network``.
    """
    wide = grouped_network(problem)
    rules = _map(wide)
    known = _repeated(wide)
    found: dict[str, Expr] = {}
    for layer in wide.layers:
        for group in layer.groups:
            name = f"{layer.number}, {group}" if group != "end" else f"{layer.number}"
            at = (problem.system.formals(problem.output)[0], *layer.formals(group))
            there = replace_leaves(
                replace_leaves(wide.system[wide.pre[layer.number, group]].expr, rules), known
            )
            narrow = layer.constant(at[1:]) if group == "null" else _narrow(problem, layer, at)
            found[f"z {name}"] = _residual(layer, wide, there - narrow)
            if not layer.last:
                there = _mapped(wide, wide.adjoint(layer, group), rules, known)
                narrow = S.Zero if group == "null" else _adjoint(problem, layer, at)
                factor = layer.measure(group, at[1:]) * layer.share(group, at[1:])
                found[f"delta {name}"] = _residual(layer, wide, there - factor * narrow)
    for key, tensor in wide.weights.items():
        found[f"gradient W {', '.join(map(str, key))}"] = _weight_gradient(
            problem, wide, key, tensor, rules, known
        )
    for (number, group), tensor in wide.offsets.items():
        layer = wide.layers[number - 1]
        at = layer.formals(group)
        expected = layer.measure(group, at) * layer.share(group, at) * _bias_gradient(problem, layer, at)
        there = _mapped(wide, wide.gradient[tensor], rules, known)
        found[f"gradient b {number}, {group}"] = _residual(layer, wide, there - expected)
    return found


def _mapped(wide: Grouped, tensor: Tensor, rules: _Rules, known: _Rules) -> Expr:
    return replace_leaves(replace_leaves(wide.derived[tensor].expr, rules), known)


def _residual(layer: Layer, wide: Grouped, expr: Expr) -> Expr:
    """Return the canonical form, with sigma(0) = 0 where silent null neurons rest on it."""
    if any(u.nulls == "silent" for u in wide.layers):
        expr = expr.xreplace({_sigma(S.Zero): S.Zero})
    return residual(expr)


def _sigma(z: Expr, order: int = 0) -> Expr:
    return GenericFunction("sigma", (order,), z)


# -- what is known of the narrow network -----------------------------------------------------------------------------


def _narrow(problem: Problem, layer: Layer, at: tuple[Index, ...]) -> Expr:
    return problem.system[layer.pre].at(at[: len(layer.pre.dims)])


def _adjoint(problem: Problem, layer: Layer, at: tuple[Index, ...]) -> Expr:
    return problem.derived[layer.adjoint].at(at[:2])


def _bias_gradient(problem: Problem, layer: Layer, at: tuple[Expr, ...]) -> Expr:
    assert layer.bias is not None
    if not layer.rows:
        return problem.derived[problem.gradient[layer.bias.name]].expr
    if at[0].dim != layer.rows[0].dim:  # type: ignore[attr-defined]
        return S.Zero  # a null neuron, whose share is 0
    return problem.derived[problem.gradient[layer.bias.name]].at(at[: len(layer.rows)])


# -- the map ---------------------------------------------------------------------------------------------------------


def _map(wide: Grouped, star: str = "beta_star") -> _Rules:
    """Return the wide parameters as functions of the narrow ones and of beta, C, D, F, G, beta*."""
    rules: _Rules = {}
    for (number, group, entering), tensor in wide.weights.items():
        layer = wide.layers[number - 1]
        before = wide.layers[number - 2] if number > 1 else None
        split = len(layer.formals(group))

        def weight(
            *at: Expr,
            layer: Layer = layer,
            before: Layer | None = before,
            g: str = group,
            h: str = entering,
            cut: int = split,
        ) -> Expr:
            return _weight(wide, layer, before, g, h, at[:cut], at[cut:])

        rules[tensor] = weight
    for (number, group), tensor in wide.offsets.items():
        layer = wide.layers[number - 1]

        def offset(*at: Expr, layer: Layer = layer, g: str = group) -> Expr:
            start = layer.constant(at, star) if g == "null" else layer.offset(at[: len(layer.rows)])
            return start - _fed_by_nulls(wide, layer, g, at, star)

        rules[tensor] = offset
    return rules


def _fed_by_nulls(wide: Grouped, layer: Layer, group: str, at: tuple[Expr, ...], star: str) -> Expr:
    """Return the constant that null neurons of the layer before feed into a wide neuron."""
    if layer.number == 1 or layer.last or not wide.layers[layer.number - 2].nulls:
        return S.Zero
    before = wide.layers[layer.number - 2]
    s = columns(before, "null")
    return isum(_noise(layer, before, group, "null", at, s) * _sigma(before.constant(s, star)), *s)


def _weight(
    wide: Grouped,
    layer: Layer,
    before: Layer | None,
    group: str,
    entering: str,
    rows: tuple[Expr, ...],
    at: tuple[Expr, ...],
) -> Expr:
    total: Expr = S.Zero
    if group != "null" and entering != "null":
        share = before.share(entering, at) if before is not None else S.One
        total = layer.weight(rows[: len(layer.rows)], at[0]) * share
        if layer.last:
            total *= wide.ratio
    if before is not None and not layer.last:
        total += _noise(layer, before, group, entering, rows, at)
    return total


def _noise(
    layer: Layer, before: Layer, group: str, entering: str, rows: tuple[Expr, ...], at: tuple[Expr, ...]
) -> Expr:
    """Return an entry of N: the rows of copies sum to 0 over the columns, and with the shares over the rows."""
    if entering == "old":
        q = Index("q_n", before.formals("copy")[-1].dim)
        return -isum(
            before.measure("copy", (*at, q)) * _noise(layer, before, group, "copy", rows, (*at, q)), q
        )
    kind = {("copy", "copy"): "C", ("null", "copy"): "D", ("null", "null"): "F", ("copy", "null"): "G"}
    if group == "null":
        return _free(kind[group, entering], layer, rows, at)
    p = Index("p_n", layer.formals("copy")[-1].dim)
    copy = (rows[0], p)
    mean = isum(
        layer.measure("copy", copy)
        * layer.share("copy", copy)
        * _free(kind["copy", entering], layer, copy, at),
        p,
    )
    return _free(kind["copy", entering], layer, rows, at) - mean if group == "copy" else -mean


def _free(name: str, layer: Layer, rows: tuple[Expr, ...], at: tuple[Expr, ...]) -> Expr:
    dims = tuple(u.dim for u in (*rows, *at))  # type: ignore[attr-defined]
    return Tensor(f"{name}{layer.number}", dims)[(*rows, *at)]


def _repeated(wide: Grouped) -> _Rules:
    """Return wide pre-activations as repeated narrow ones, and wide adjoints as shares of narrow ones."""
    rules: _Rules = {}
    for layer in wide.layers:
        if layer.last:
            continue
        for group in layer.groups:

            def pre(i: Expr, *at: Expr, layer: Layer = layer, g: str = group) -> Expr:
                return layer.constant(at) if g == "null" else layer.pre[i, at[0]]

            def adjoint(i: Expr, *at: Expr, layer: Layer = layer, g: str = group) -> Expr:
                if g == "null":
                    return S.Zero
                return layer.measure(g, at) * layer.share(g, at) * layer.adjoint[i, at[0]]

            rules[wide.pre[layer.number, group]] = pre
            rules[wide.adjoint(layer, group)] = adjoint
    return rules


def _weight_gradient(
    problem: Problem, wide: Grouped, key: tuple[int, str, str], tensor: Tensor, rules: _Rules, known: _Rules
) -> Expr:
    number, group, entering = key
    layer = wide.layers[number - 1]
    indices = wide.derived[wide.gradient[tensor]].indices
    cut = len(layer.formals(group))
    rows, at = indices[:cut], indices[cut:]
    factor = layer.measure(group, rows) * layer.share(group, rows)
    expected: Expr = S.Zero
    if group != "null" and entering == "null":
        before = wide.layers[number - 2]
        if before.nulls != "silent":
            gain = problem.scale / wide.ratio if layer.last else S.One
            expected = factor * gain * _sigma(before.constant(at)) * _bias_gradient(problem, layer, rows)
    elif group != "null":
        if number > 1:
            factor *= wide.layers[number - 2].measure(entering, at)
        if layer.last:
            factor /= wide.ratio
        definition = problem.derived[problem.gradient[layer.block.name]]
        slots = {layer.column: at[0]} | dict(zip(layer.rows, rows, strict=False))
        expected = factor * definition.at([slots[u] for u in definition.indices])
    return _residual(layer, wide, _mapped(wide, wide.gradient[tensor], rules, known) - expected)


# -- duality and tangents --------------------------------------------------------------------------------------------


def compatible_duality(problem: Problem) -> dict[str, Expr]:
    r"""Return :math:`\langle A u, \bar B v \rangle - \langle u, v \rangle` per block, A and B of different shares; 0 proves it.

    So :math:`A^\top B = I`, and :math:`A^\top (B - \bar B) = 0` for any two members of the family.

    Raises
    ------
    ValueError
        As ``grouped_network``.
    """
    wide = grouped_network(problem)
    found: dict[str, Expr] = {}
    for layer in wide.layers:
        found[layer.block.name] = residual(_paired(wide, layer))
        if layer.bias is not None:
            u, v = (Tensor(f"{side}_b", layer.bias.tensor.dims) for side in "uv")
            total: Expr = -_over(u[layer.rows] * v[layer.rows] if layer.rows else u() * v(), layer.rows)
            for group in layer.groups:
                at = layer.formals(group)
                if group != "null":
                    rows = at[: len(layer.rows)]
                    pair = u[rows] * v[rows] if rows else u() * v()
                    total += _over(layer.measure(group, at) * layer.share(group, at, "beta_bar") * pair, at)
            found[layer.bias.name] = residual(total)
    return found


def _over(body: Expr, indices: tuple[Index, ...]) -> Expr:
    return isum(body, *indices) if indices else body


def _paired(wide: Grouped, layer: Layer) -> Expr:
    before = wide.layers[layer.number - 2] if layer.number > 1 else None
    u, v = (Tensor(f"{side}_W", layer.block.tensor.dims) for side in "uv")
    inner = (*layer.rows, layer.column)
    total: Expr = -isum(
        layer.place(u, layer.rows, layer.column) * layer.place(v, layer.rows, layer.column), *inner
    )
    for group in layer.groups:
        for entering in before.groups if before is not None else ("end",):
            if "null" in (group, entering):
                continue
            rows = layer.formals(group)
            at = columns(before, entering) if before is not None else (layer.column,)
            narrow = (rows[: len(layer.rows)], at[0])
            image = layer.place(u, *narrow) * (before.share(entering, at) if before is not None else S.One)
            factor = layer.measure(group, rows) * layer.share(group, rows, "beta_bar")
            factor *= before.measure(entering, at) if before is not None else S.One
            total += isum(image * factor * layer.place(v, *narrow), *rows, *at)
    return total


def compatible_tangents(problem: Problem) -> dict[str, Expr]:
    r"""Return :math:`\bar B^\top T_{\beta, N, \beta^*}(\theta) - \theta` per block, less a product of two differences; 0 is a proof.

    The product is :math:`\sum_p \bar\beta_{ip} W'_{ip,0} (\sigma(\beta^*) - \sigma(\bar\beta^*))` in the biases behind null
    neurons; both factors vanish at :math:`(\bar\beta, \bar\beta^*) = (\beta, \beta^*)`, the first because
    :math:`\beta^\top W'_{\cdot 0} = 0`.  So the derivative of T in :math:`\beta`, N and :math:`\beta^*` lies in
    :math:`\ker B^\top`.

    Raises
    ------
    ValueError
        As ``grouped_network``.
    """
    wide = grouped_network(problem)
    rules, found = _map(wide), {}
    for layer in wide.layers:
        found[layer.block.name] = _pulled_weight(wide, layer, rules)
        if layer.bias is None or layer.last:
            continue
        total: Expr = -layer.offset(layer.rows)
        for group in ("old", "copy"):
            at = layer.formals(group)
            there = rules[wide.offsets[layer.number, group]](*at)
            weight = layer.measure(group, at) * layer.share(group, at, "beta_bar")
            total += _over(weight * (there + _fed_by_nulls(wide, layer, group, at, "beta_star")), at[1:])
        found[layer.bias.name] = _residual(layer, wide, total)
        if layer.number > 1 and wide.layers[layer.number - 2].nulls:
            s = columns(wide.layers[layer.number - 2], "null")
            total = S.Zero
            for group in ("old", "copy"):
                at = layer.formals(group)
                weight = layer.measure(group, at) * layer.share(group, at)
                total += _over(weight * rules[wide.weights[layer.number, group, "null"]](*at, *s), at[1:])
            found[f"beta^T W'_0, {layer.block.name}"] = residual(total)
    return found


def _pulled_weight(wide: Grouped, layer: Layer, rules: _Rules) -> Expr:
    before = wide.layers[layer.number - 2] if layer.number > 1 else None
    column = columns(before, "old") if before is not None else (Index("q''", layer.column.dim),)
    total: Expr = -layer.weight(layer.rows, column[0])
    for group in ("end",) if layer.last else ("old", "copy"):
        for entering in ("old", "copy") if before is not None else ("end",):
            rows = layer.formals(group)
            at = columns(before, entering) if before is not None else column
            weight = layer.measure(group, rows) * layer.share(group, rows, "beta_bar")
            weight *= before.measure(entering, at) if before is not None else S.One
            there = rules[wide.weights[layer.number, group, entering]](*rows, *at)
            copies = rows[len(layer.rows) :]
            total += _over(weight * there / (wide.ratio if layer.last else 1), (*copies, *at[1:]))
    return residual(total)
