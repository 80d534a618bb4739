r"""What every derivation of a problem shares: index names, printable definitions, conventions in words.

A definition enters the list of definitions only if something above it uses it; sigma stays a symbol in the equations
and is spelled out once, with as many derivatives as occur.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Callable, Sequence
from dataclasses import replace

from sympy import Add, DiracDelta, Expr, Integer, Mul, Symbol, exp, factor, factor_terms

from derivations.activations import Z
from derivations.almost_everywhere import has_jump
from derivations.derivation import Derivation, Equation
from derivations.functions import sigmoid, step
from derivations.generic import GenericFunction, bind
from derivations.indexed import Delta, Entry, Index, ISum, Tensor, entries, isum, open_sum, replace_index
from derivations.latex import latex
from derivations.latex_names import free_indices
from derivations.latex_width import width
from derivations.problem import Problem, o

__all__ = ["assemble", "bound_loss", "dot", "entry", "expanded", "multiplied_out", "sigmoid_definition"]


def entry(tensor: Tensor, indices: Sequence[Expr]) -> Entry:
    """Return the entry, of a scalar as well."""
    return Entry(tensor, *indices)


def dot(tensor: Tensor) -> Tensor:
    """Return the time derivative of a tensor as a name: a dot over the letter, left of its scripts."""
    letter = re.split(r"[_^]", tensor.tex, maxsplit=1)[0]
    return Tensor(f"dot_{tensor.name}", tensor.dims, rf"\dot{{{letter}}}{tensor.tex[len(letter) :]}")


def expanded(coefficient: Expr, expr: Expr) -> Expr:
    """Multiply every term of ``expr`` by ``coefficient``."""
    return Add(*[coefficient * term for term in Add.make_args(expr)])


def multiplied_out(expr: Expr) -> Expr:
    """Distribute products over additions, inside sums as well, so that terms with a delta stand apart."""
    if isinstance(expr, Add):
        return Add(*[multiplied_out(term) for term in expr.args])
    if isinstance(expr, ISum):
        body, index = open_sum(expr)
        return isum(multiplied_out(body), index)
    if isinstance(expr, Mul):
        factors = [Add.make_args(multiplied_out(u)) for u in expr.args]
        return Add(*[Mul(*choice) for choice in itertools.product(*factors)])
    return expr


def bound_loss(problem: Problem, expr: Expr, *, only_constant: bool = False) -> Expr:
    """Put in the concrete loss where there is one; with ``only_constant`` just derivatives free of f and y.

    Derivatives of sigma that are 0 (the second one of relu, almost everywhere) are put in as well: their terms vanish.
    """
    rules: dict[str, Callable[..., Expr]] = {}
    sigma, loss = problem.activation, problem.loss
    if sigma is not None:
        orders = {f.orders for f in expr.atoms(GenericFunction) if f.name == "sigma" and f.orders != (0,)}
        if any(sigma.derivative(*u) == 0 for u in orders):
            rules["sigma"] = lambda u, z: (
                Integer(0) if sigma.derivative(*u) == 0 else GenericFunction("sigma", u, z)
            )
    if loss is not None:
        rules["ell"] = loss.apply

        def known(orders: tuple[int, ...], *arguments: Expr) -> Expr:
            value = loss.derivative(*orders)
            return value if value.is_number else GenericFunction("ell", orders, *arguments)

        if only_constant:
            rules["ell"] = known
    return bind(expr, rules) if rules else expr


def assemble(
    problem: Problem,
    name: str,
    title: str,
    equations: Sequence[Equation],
    notes: Sequence[str] = (),
    *,
    extra: Sequence[Equation] = (),
    defined: bool = True,
) -> Derivation:
    """Return the derivation with the definitions its equations need, the functions spelled out, and conventions.

    ``extra`` are definitions that the problem does not know; ``defined`` asks for its own as well.
    """
    where = list(extra)
    if defined:
        where = [*_definitions(problem, [e.rhs for e in (*equations, *extra)]), *extra]
    used = [side for e in (*equations, *where) for side in (e.lhs, e.rhs)]
    targets, told = _targets(problem, used)
    where, notes = [*targets, *where], (*notes, *told)
    used += [e.rhs for e in targets]
    where += _functions(problem, used)
    hide = ("d",) if problem.kind == "two_layer" else ()
    found = Derivation(
        name, title, tuple(equations), tuple(where), (*notes, *_conventions(problem, used)), hide=hide
    )
    return _without_clash(problem, found)


def _definitions(problem: Problem, roots: Sequence[Expr]) -> list[Equation]:
    needed = {e.tensor for root in roots for e in entries(root)}
    found = []
    for definition in reversed(problem.derived.definitions):
        if definition.tensor in needed and definition.tensor != problem.risk:
            needed |= {e.tensor for e in entries(definition.expr)}
            rhs = bound_loss(problem, definition.expr)
            found.append(Equation(entry(definition.tensor, definition.indices), rhs))
    return found[::-1]


def _targets(problem: Problem, used: Sequence[Expr]) -> tuple[list[Equation], list[str]]:
    """Return what the targets stand for where a teacher gives them and they are used, and the sentence on it."""
    teacher = problem.teacher
    if teacher is None or not any(e.tensor == problem.y for side in used for e in entries(side)):
        return [], []
    found = [Equation(entry(u.tensor, u.indices), u.expr) for u in teacher.definitions(problem)]
    return found, [teacher.note()]


def _functions(problem: Problem, used: Sequence[Expr]) -> list[Equation]:
    generic = {f for side in used for f in side.atoms(GenericFunction)}
    out = []
    if any(f.name == "phi" for f in generic) and problem.teacher and problem.teacher.activation:
        out.append(
            Equation(GenericFunction("phi", (0,), Z), _shortest(problem.teacher.activation.derivative(0)))
        )
    if problem.activation is not None:
        for order in sorted({f.orders[0] for f in generic if f.name == "sigma"}):
            value = _shortest(problem.activation.derivative(order))
            if problem.activation.expr == sigmoid(Z):
                value = (
                    1 / (1 + exp(-Z))
                    if order == 0
                    else value.subs(sigmoid(Z), GenericFunction("sigma", (0,), Z))
                )
            out.append(Equation(GenericFunction("sigma", (order,), Z), value))
    if problem.loss is not None:
        f, y = Symbol("f", real=True), Symbol("y", real=True)
        for orders in sorted({f.orders for f in generic if f.name == "ell"}):
            out.append(
                Equation(GenericFunction("ell", orders, f, y), _shortest(problem.loss.derivative(*orders)))
            )
    return out + sigmoid_definition([*used, *[e.rhs for e in out]])


def sigmoid_definition(used: Sequence[Expr]) -> list[Equation]:
    """Return the definition of the logistic function if ``used`` contains it."""
    s = Symbol("s", real=True)
    return [Equation(sigmoid(s), 1 / (1 + exp(-s)))] if any(side.has(sigmoid) for side in used) else []


def _shortest(expr: Expr) -> Expr:
    """Return the form that prints shortest; the derivative of a jump is 0 almost everywhere."""
    expr = expr.replace(DiracDelta, lambda *_: Integer(0))
    return min([expr, factor_terms(expr), factor(expr)], key=lambda form: width(latex(form)))


def _conventions(problem: Problem, used: Sequence[Expr]) -> list[str]:
    out = [_index_sentence(problem)]
    generic = {f.name for side in used for f in side.atoms(GenericFunction)}
    if problem.loss is None and "ell" in generic:
        out.append(r"Primes of $\ell$ are derivatives in its first argument, the output.")
    if any(side.has(Delta) for side in used):
        named = any(t.name.startswith("delta") for side in used for t in side.atoms(Tensor))
        sign = r"The indicator $\mathbf{1}\{p = q\}$" if named else r"Kronecker's $\delta$"
        out.append(f"{sign} is 1 where the two indices agree and 0 elsewhere.")
    if problem.activation is not None and problem.activation.is_smooth is None:
        value = problem.activation.derivative(1).subs(Z, 0)
        at_zero = f", with the convention $\\sigma'(0) = {value}$" if value.is_Rational else ""
        out.append(f"The activation has a kink: derivatives are meant almost everywhere{at_zero}.")
        if any(c not in (0, 1) for c in (s.args[1] for s in problem.activation.derivative(1).atoms(step))):
            out.append(
                rf"$\operatorname{{step}}_{{{value}}}(z)$ is 0 for $z < 0$, 1 for $z > 0$ and ${value}$ for $z = 0$."
            )
    if problem.loss is not None and problem.loss.has_kink:
        differentiated = {e.tensor.name for side in used for e in entries(side)} & {"r", "e"}
        if differentiated or any(has_jump(side) for side in used):
            out.append(
                "The loss has a kink: its derivative is $0$ there, and second derivatives are meant almost everywhere."
            )
    return out


def _index_sentence(problem: Problem) -> str:
    if problem.index_sentence:
        return problem.index_sentence
    unit = _output_index(problem).name
    parts = [r"samples $i = 1, \dots, n$"]
    if problem.kind == "two_layer":
        parts.append(r"neurons $k = 1, \dots, m$")
    if problem.vector_output:
        parts.append(rf"outputs ${unit} = 1, \dots, o$")
    text = "Indices: " + ", ".join(parts)
    if problem.kind == "two_layer":
        return text + r"; inputs $x_i$ and weights $w_k$ are vectors in $\mathbb{R}^d$."
    return text + rf"; hidden layer $l$ has $m_l$ neurons, $l = 1, \dots, {problem.depth - 1}$."


def _output_index(problem: Problem) -> Index:
    # The output bias of a two-layer network is called c, so its index is not.
    clash = problem.vector_output and any(b.name == "c" for b in problem.blocks)
    return Index("u" if clash else "c", o)


def _without_clash(problem: Problem, found: Derivation) -> Derivation:
    shown = _output_index(problem)
    if shown.name == "c":
        return found

    def renamed(expr: Expr) -> Expr:
        for index in free_indices(expr):
            if index.dim == o:
                expr = replace_index(expr, index, Index(index.name.replace("c", shown.name), o))
        return expr

    def both(equations: tuple[Equation, ...]) -> tuple[Equation, ...]:
        return tuple(replace(e, lhs=renamed(e.lhs), rhs=renamed(e.rhs)) for e in equations)

    return replace(found, system=both(found.system), where=both(found.where), names={"o": ("u", "v", "h")})
