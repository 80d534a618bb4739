r"""Symmetries and conserved quantities of models without hidden layers: formulas and diagonal networks.

An affine field :math:`\xi = A\theta + b` that keeps the outputs satisfies :math:`\langle \nabla R, \xi \rangle = 0` for all data and
every loss.  Along :math:`\dot\theta_i = -\eta_i\, \partial_i R` the quadratic function

.. math:: h = \sum_i \tfrac{1}{\eta_i} \bigl(\tfrac12 \theta_i (A\theta)_i + b_i \theta_i\bigr) \quad\text{with}\quad \tfrac{A_{ij}}{\eta_i} = \tfrac{A_{ji}}{\eta_j}

has :math:`\partial_i h = \xi_i / \eta_i`, hence :math:`\dot h = -\langle \xi, \nabla R \rangle = 0`.  These are all conserved polynomials of degree
two if the list of fields is exhaustive.  An antisymmetric A gives a symmetry without a law.

Source: D. Kunin et al., arXiv:2012.04728; S. Marcotte, R. Gribonval, G. Peyre, arXiv:2307.00144.

>>> from derivations.formula_model import FormulaProblem
>>> for law in formula_laws(FormulaProblem.of("a*exp(w*x + b) + c", ["a", "w", "b", "c"])):
...     print(law.status, law.quantity)
PROVED -a**2/2 + b
"""

from __future__ import annotations

from sympy import Add, Expr, S, Symbol, latex, primitive, simplify

from derivations.claim import Status
from derivations.formula_fields import AffineField, affine_fields, along, symmetric_combinations
from derivations.formula_model import FormulaProblem
from derivations.invariance import ConservedQuantity, Symmetry

__all__ = ["formula_laws", "formula_symmetries"]

_NAMES = {
    "scaling": "scaling of parameters",
    "translation": "translation of parameters",
    "rotation": "rotation of parameters",
    "hyperbolic rotation": "hyperbolic rotation of parameters",
}
_SOURCE = "kunin2021"


def formula_symmetries(problem: FormulaProblem) -> tuple[Symmetry, ...]:
    """Return the affine symmetries of a formula, one statement for each field, and whether there are more.

    Raises
    ------
    AssumptionError
        As ``affine_fields``.
    """
    found = affine_fields(problem)
    out = [_symmetry(problem, field, left) for field, left in zip(found.fields, found.residuals, strict=True)]
    count = len(found.fields)
    many = "There is no affine vector field" if count == 0 else "These are all affine vector fields"
    text, steps = {
        Status.PROVED: (
            rf"{many} on the trained parameters that keeps every output.",
            "The coefficients of a polynomial in parameters and inputs vanish together with it: a linear system, solved exactly.",
        ),
        Status.SUPPORTED: (
            rf"{many} on the trained parameters that keeps every output.",
            r"The functions $\theta_j\, \partial_i f$ and $\partial_i f$ have at random points, with 40 digits, the rank that this means.",
        ),
        Status.UNDECIDED: (
            "There may be further affine vector fields that keep every output: the rank found does not exclude them.",
            "Relations between the functions that occur are not used, only those between polynomials in them.",
        ),
    }[found.exhaustive]
    if count == 1:
        text = text.replace(
            "These are all affine vector fields", "This is, up to a factor, the only affine vector field"
        )
    elif count > 1:
        text = text.replace("that keeps every", "that keep every")
    return (*out, Symmetry("completeness of the list", text, (steps,), found.exhaustive))


def _symmetry(problem: FormulaProblem, field: AffineField, left: Expr) -> Symmetry:
    moving = [(s, u) for s, u in zip(field.names, field.components, strict=True) if u != 0]
    shown = r",\ ".join(rf"\delta {_tex(problem, s)} = {_expr_tex(problem, u)}" for s, u in moving)
    text = rf"The flow of the vector field ${shown}$ keeps every output."
    if field.kind == "scaling":
        factors = [(s, field.matrix[j][j]) for j, s in enumerate(field.names) if field.matrix[j][j] != 0]
        start = ", ".join(_tex(problem, s) for s, _ in factors)
        end = ", ".join(rf"{_power(p)} {_tex(problem, s)}" for s, p in factors)
        text = rf"For every $\lambda > 0$ the map $({start}) \mapsto ({end})$ keeps every output."
    if field.kind == "translation":
        start = ", ".join(_tex(problem, s) for s, _ in moving)
        end = ", ".join(f"{_tex(problem, s)} {_shift(u)}" for s, u in moving)
        text = rf"For every $\tau \in \mathbb{{R}}$ the map $({start}) \mapsto ({end})$ keeps every output."
    terms = " + ".join(
        rf"({_expr_tex(problem, u)})\, \partial f / \partial {_tex(problem, s)}" for s, u in moving
    )
    proved = left == 0
    keeps = None
    if proved:
        keeps = problem.weight_decay == 0 or field.kind == "rotation"
        if problem.weight_decay != 0:
            text += (
                r" It keeps $\lVert\theta\rVert^2$, so the risk with weight decay too."
                if keeps
                else r" It changes $\lVert\theta\rVert^2$: with weight decay it is a symmetry of the outputs, not of the risk."
            )
    return Symmetry(
        _NAMES.get(field.kind, "affine symmetry of parameters"),
        text,
        (rf"${terms} = 0$ for all parameters and inputs.",),
        Status.PROVED if proved else Status.UNDECIDED,
        {"outputs": left},
        _SOURCE,
        keeps,
        tuple(s.name for s, _ in moving),
    )


def _power(exponent: Expr) -> str:
    return r"\lambda" if exponent == 1 else rf"\lambda^{{{latex(exponent)}}}"


def _shift(size: Expr) -> str:
    sign = "-" if size.could_extract_minus_sign() else "+"
    value = abs(size)
    return rf"{sign} {'' if value == 1 else latex(value) + ' '}\tau"


def _tex(problem: FormulaProblem, s: Symbol) -> str:
    return problem.block(s.name).tensor.tex


def _expr_tex(problem: FormulaProblem, expr: Expr) -> str:
    return latex(expr, symbol_names={s: _tex(problem, s) for s in problem.names})


# -- laws ------------------------------------------------------------------------------------------------------------


def formula_laws(problem: FormulaProblem) -> tuple[ConservedQuantity, ...]:
    """Return the quadratic and linear conserved quantities of the gradient flow of a formula, or that there are none.

    Raises
    ------
    AssumptionError
        As ``affine_fields``.
    """
    found = affine_fields(problem)
    rates = {s: problem.block(s.name).rate for s in problem.names}
    proved = [field for field, left in zip(found.fields, found.residuals, strict=True) if left == 0]
    laws = [_law(problem, field, rates) for field in symmetric_combinations(proved, rates)]
    if laws:
        return tuple(laws)
    none = "No polynomial of degree at most two in the trained parameters is conserved for all data, apart from constants."
    if found.exhaustive is Status.UNDECIDED:
        none = "Whether a polynomial of degree at most two in the trained parameters is conserved for all data is open."
    step = (
        r"Its gradient, multiplied by the rates, would be an affine vector field that keeps every output, with a matrix that is "
        r"symmetric up to the rates; there is none."
        if found.exhaustive is not Status.UNDECIDED
        else "The list of affine symmetries is not known to be complete."
    )
    return (ConservedQuantity("no quadratic law", none, (step,), found.exhaustive),)


def _law(problem: FormulaProblem, field: AffineField, rates: dict[Symbol, Expr]) -> ConservedQuantity:
    size = range(len(field.names))
    quadratic = Add(
        *[
            field.matrix[i][j] * field.names[i] * field.names[j] / (2 * rates[field.names[i]])
            for i in size
            for j in size
        ]
    )
    linear = Add(*[field.vector[i] * field.names[i] / rates[field.names[i]] for i in size])
    whole = quadratic + linear
    if linear == 0:  # the factor is free: no fractions and no common factor where the rates allow it
        whole = primitive((2 * quadratic).expand())[1]
    whole = whole.expand()
    left = along(problem, {s: rates[s] * whole.diff(s) for s in field.names})
    shown = _expr_tex(problem, whole)
    decay, clause = _decay(problem, whole, linear, rates)
    entries = {s: problem.block(s.name).tensor() for s in problem.names}
    moving = [s for s in field.names if whole.has(s)]
    terms = " + ".join(
        rf"({_expr_tex(problem, simplify(rates[s] * whole.diff(s)))})\, \partial f / \partial {_tex(problem, s)}"
        for s in moving
    )
    return ConservedQuantity(
        "quadratic law" if quadratic != 0 else "linear law",
        rf"$h = {shown}$: {clause}. This holds for all data and every loss.",
        (
            rf"${terms} = 0$ for all parameters and inputs: the field $\eta\, \nabla h$ is a symmetry of the output.",
            r"$\dot h = -\langle \nabla h, \eta\, \nabla R \rangle$, and $\nabla R$ is a combination of the $\nabla f(x_i)$.",
        ),
        Status.PROVED if left == 0 else Status.UNDECIDED,
        {"drift": left},
        "marcotte2023",
        whole.xreplace(entries),
        (),
        decay,
    )


def _decay(
    problem: FormulaProblem, whole: Expr, linear: Expr, rates: dict[Symbol, Expr]
) -> tuple[Expr | None, str]:
    r"""Return the rate of decay and the clause about it; :math:`\dot h = -\lambda \langle \nabla h, \eta\theta \rangle`."""
    if problem.weight_decay == 0:
        return S.Zero, r"$\dot h = 0$"
    used = {rates[s] for s in problem.names if whole.has(s)}
    if len(used) == 1:
        speed = used.pop() * problem.weight_decay
        speed = speed if whole == linear else 2 * speed if linear == 0 else None
        if speed is not None:
            tex = "" if speed == 1 else latex(speed) + " "
            return speed, rf"with weight decay $\dot h = -{tex}h$, that is $h(t) = e^{{-{tex}t}} h(0)$"
    return None, "it is conserved without weight decay; with it, it obeys no equation of its own"
