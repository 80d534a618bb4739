r"""Symmetries, conserved quantities and their number for diagonal linear networks :math:`f = \sum_l (u_l^D - v_l^D) x_l`.

Every coordinate l has two parameters and one gradient field, :math:`(D u_l^{D-1}, -D v_l^{D-1})`; fields of different coordinates
commute.  So the Lie algebra of the fields has dimension d at a generic point of the 2d parameters, and exactly d independent functions
are conserved for all data: the invariant of each coordinate.

>>> from derivations.diagonal_model import DiagonalProblem
>>> [(s.name, str(s.status)) for s in diagonal_symmetries(DiagonalProblem.of(2))]
[('sign of an entry', 'PROVED'), ('hyperbolic rotation of a coordinate', 'PROVED')]
>>> [(law.name, law.quantity) for law in diagonal_laws(DiagonalProblem.of(2))]
[('invariant of a diagonal network', u[l]*v[l]), ('number of conservation laws', None)]
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from sympy import Abs, Expr, S, Symbol, latex, log

from derivations.claim import Status
from derivations.diagonal_model import DiagonalProblem, diagonal_invariant
from derivations.indexed import Index
from derivations.invariance import ConservedQuantity, Symmetry
from derivations.problem import Block, d

__all__ = ["diagonal_laws", "diagonal_symmetries"]

_L = Index("l", d)
_U, _V = Symbol("u", real=True), Symbol("v", real=True)


def diagonal_symmetries(problem: DiagonalProblem) -> tuple[Symmetry, ...]:
    """Return the sign maps, the exchange of u and v, and the continuous symmetry of every coordinate, each proved.

    Parameters
    ----------
    problem : DiagonalProblem
        The depth may be a symbol; then only what holds for every depth is returned.
    """
    power = problem.power
    predictor = _U**power - _V**power
    found: list[Symmetry] = []
    signs = (predictor.subs(_U, -_U) - predictor).expand()
    if signs == 0:
        found.append(
            _discrete(
                problem,
                "sign of an entry",
                r"For every coordinate $l$ the maps $u_l \mapsto -u_l$ and $v_l \mapsto -v_l$ keep every output.",
                {"u": signs, "v": (predictor.subs(_V, -_V) - predictor).expand()},
            )
        )
    swapped = (predictor.subs({_U: -_V, _V: -_U}, simultaneous=True) - predictor).expand()
    if swapped == 0:
        found.append(
            _discrete(
                problem,
                "exchange of a coordinate",
                r"For every coordinate $l$ the map $(u_l, v_l) \mapsto (-v_l, -u_l)$ keeps every output.",
                {"predictor": swapped},
            )
        )
    field = (_V ** (power - 1), _U ** (power - 1))
    left = (predictor.diff(_U) * field[0] + predictor.diff(_V) * field[1]).expand().simplify()
    exponent = "" if power == 2 else f"^{{{latex(power - 1)}}}"
    shown = (
        r"\delta u_l = 1,\ \delta v_l = 1"
        if power == 1
        else rf"\delta u_l = v_l{exponent},\ \delta v_l = u_l{exponent}"
    )
    found.append(
        Symmetry(
            {1: "translation of a coordinate", 2: "hyperbolic rotation of a coordinate"}.get(
                power, "flow of a coordinate"
            ),
            rf"For every coordinate $l$ the flow of ${shown}$ keeps every output.",
            (
                r"$\partial\beta_l/\partial u_l\, \delta u_l + \partial\beta_l/\partial v_l\, \delta v_l = 0$.",
            ),
            Status.PROVED if left == 0 else Status.UNDECIDED,
            {"predictor": left},
            "",
            problem.weight_decay == 0 if left == 0 else None,
            ("u", "v"),
        )
    )
    return tuple(
        replace(symmetry, statement=symmetry.statement + _limits(problem, symmetry)) for symmetry in found
    )


def _limits(problem: DiagonalProblem, symmetry: Symmetry) -> str:
    """Return what weight decay and frozen blocks mean for a symmetry of the outputs."""
    more = ""
    if problem.weight_decay != 0:
        more += (
            r" It keeps $\lVert\theta\rVert^2$, so the risk with weight decay too."
            if symmetry.keeps_risk
            else r" It changes $\lVert\theta\rVert^2$: with weight decay it is a symmetry of the outputs, not of the risk."
        )
    if problem.freeze and symmetry.name != "sign of an entry":
        named = ", ".join(rf"$\mathtt{{{name}}}$" for name in problem.freeze)
        more += f" The frozen {named} moves with it: on the trained blocks it acts only where the frozen values are kept."
    return more


def _discrete(problem: DiagonalProblem, name: str, text: str, residuals: dict[str, Expr]) -> Symmetry:
    return Symmetry(
        name,
        text,
        (r"$\beta_l = u_l^D - v_l^D$ is the same for both parameters.".replace("D", latex(problem.power)),),
        Status.PROVED,
        residuals,
        "",
        True,
        ("u", "v"),
    )


def diagonal_laws(problem: DiagonalProblem) -> tuple[ConservedQuantity, ...]:
    """Return the invariant of every coordinate and the number of laws; that there is none where a block is frozen."""
    blocks = problem.blocks
    if not all(b.trained for b in blocks):
        return (_no_law(next(b for b in blocks if b.trained)),)
    if blocks[0].rate != blocks[1].rate:
        return (_law_of_two_rates(problem), _count(problem))
    invariant = diagonal_invariant(replace(problem, weight_decay=S.Zero))
    u, v = (b.tensor[_L] for b in blocks)
    power = problem.power
    quantity = u * v if power == 2 else u ** (2 - power) + v ** (2 - power)
    text, decay = invariant.statement, S.Zero
    if problem.weight_decay != 0:
        speed = (2 if power == 2 else 2 - power) * blocks[0].rate * problem.weight_decay
        decay = speed
        text = (
            text.replace("Gradient flow conserves", "Gradient flow without weight decay conserves")
            + rf" With weight decay this quantity $Q_l$ obeys $\dot Q_l = -{_bracketed(speed)}\, Q_l$."
        )
    law = ConservedQuantity(
        invariant.name,
        text,
        invariant.steps,
        invariant.status,
        invariant.residuals,
        "woodworth2020",
        quantity,
        (_L,),
        decay,
    )
    return (law, _count(problem))


def _count(problem: DiagonalProblem) -> ConservedQuantity:
    return ConservedQuantity(
        "number of conservation laws",
        r"Of the $2d$ parameters exactly $d$ independent functions are conserved along the gradient flow of every data set: every "
        "conserved function is, near a generic point, a function of the invariants of the coordinates.",
        (
            r"The gradient fields are spanned by those of $u_l^D - v_l^D$, one for each coordinate; they commute, so their Lie algebra "
            r"has dimension $d$ where no coordinate vanishes, and $2d - d = d$.".replace(
                "D", latex(problem.power)
            ),
        ),
        Status.PROVED,
        {},
        "marcotte2023",
    )


def _no_law(block: Block) -> ConservedQuantity:
    """Return the proof that nothing is conserved where u or v is frozen."""
    name = block.name
    return ConservedQuantity(
        "number of conservation laws",
        rf"Only $\mathtt{{{name}}}$ is trained. Near a point where no ${name}_l$ vanishes no function of the $d$ trained parameters is "
        "conserved along the gradient flow of every data set.",
        (
            rf"$\partial f / \partial {name}_l$ is a function of ${name}_l$ without a zero there, times $x_l$: as the inputs vary, the "
            "gradients span all directions, and the gradient of a conserved function is orthogonal to them.",
        ),
        Status.PROVED,
        {},
        "marcotte2023",
    )


def _law_of_two_rates(problem: DiagonalProblem) -> ConservedQuantity:
    r"""Return the invariant for different rates.

    Along :math:`\dot u = -\eta_u D u^{D-1} g` and :math:`\dot v = \eta_v D v^{D-1} g` the functions
    :math:`u^{2-D}/\eta_u + v^{2-D}/\eta_v` and, for D = 2, :math:`\eta_v \ln|u| + \eta_u \ln|v|` are constant.
    """
    power, (first, second) = problem.power, problem.blocks
    logarithms = power == 2

    def whole(u: Expr, v: Expr, log_of: Callable[[Expr], Expr]) -> Expr:
        if logarithms:
            return second.rate * log_of(u) + first.rate * log_of(v)
        return u ** (2 - power) / first.rate + v ** (2 - power) / second.rate

    # d ln|u| = du/u for either sign, so the proof may take the entries positive.
    u, v = Symbol("u", positive=True), Symbol("v", positive=True)
    moved = whole(u, v, log)
    speeds = (-first.rate * power * u ** (power - 1), second.rate * power * v ** (power - 1))
    drift = (moved.diff(u) * speeds[0] + moved.diff(v) * speeds[1]).expand().simplify()
    quantity = whole(first.tensor[_L], second.tensor[_L], lambda entry: log(Abs(entry)))
    shown = latex(moved, symbol_names={u: "u_l", v: "v_l"})
    if logarithms:
        shown = rf"{_factor(second.rate)}\ln \lvert u_l \rvert + {_factor(first.rate)}\ln \lvert v_l \rvert"
    text = rf"Gradient flow conserves ${shown}$ for every coordinate $l$"
    text += "." if power == 1 else r", as long as $u_l$ and $v_l$ do not vanish."
    decay: Expr | None = S.Zero
    if problem.weight_decay != 0:
        decay = None
        loss = 2 * first.rate * second.rate * problem.weight_decay
        text = text.replace("Gradient flow conserves", "Gradient flow without weight decay conserves") + (
            rf" With weight decay it falls at the constant rate ${latex(loss)}$."
            if logarithms
            else " With weight decay, the rates being different, it obeys no equation of its own."
        )
    steps = (
        r"$\dot u_l = -\eta_u\, \partial_{u_l} \beta_l\, g_l$ and $\dot v_l = -\eta_v\, \partial_{v_l} \beta_l\, g_l$ with "
        r"$\beta_l = u_l^D - v_l^D$, $g_l = \sum_{i=1}^n r_i x_{il}$, ".replace("D", latex(power))
        + rf"$\eta_u = {latex(first.rate)}$, $\eta_v = {latex(second.rate)}$.",
        "The two terms of the time derivative cancel identically.",
    )
    return ConservedQuantity(
        "invariant of a diagonal network",
        text,
        steps,
        Status.PROVED if drift == 0 else Status.UNDECIDED,
        {"drift": drift},
        "woodworth2020",
        quantity,
        (_L,),
        decay,
    )


def _factor(rate: Expr) -> str:
    return "" if rate == 1 else rf"{_bracketed(rate)}\, "


def _bracketed(expr: Expr) -> str:
    text = latex(expr)
    return rf"\left({text}\right)" if expr.is_Add or text.startswith("-") else text
