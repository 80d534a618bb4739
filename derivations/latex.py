r"""LaTeX of indexed expressions as a paper prints them, from the very objects the compiler uses.

Bound indices get the names of the field (samples i, j; neurons k, q; outputs c; coordinates l) after all free names
of the root are reserved, so a name is never used twice and equal sums print equally.  Indices over a hidden
dimension disappear: :math:`\sum_l w_{kl} x_{il}` prints as :math:`w_k^{\top} x_i`, one free hidden index makes a vector
and two make a matrix.  Where that would be ambiguous the index stays.

The dialect is made for line breaking and for reading back: no ``\left`` or ``\right``, factors are separated by a
space, a function stands without space before its argument, a sum extends to the end of its product.

>>> from derivations.indexed import Dim, Index, Tensor, isum
>>> n, m, d = Dim("n"), Dim("m"), Dim("d"); i, k, l = Index("i", n), Index("k", m), Index("l", d)
>>> w, x, b = Tensor("w", (m, d)), Tensor("x", (n, d)), Tensor("b", (m,))
>>> latex(isum(w[k, l] * x[i, l], l) + b[k])
'w_k^{\\top} x_i + b_k'
>>> latex(isum(b[k] * x[i, l], i, k) / n)
'\\frac{1}{n} \\Bigl(\\sum_{k=1}^{m} b_k\\Bigr) \\sum_{i=1}^{n} x_i'
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

from sympy import Add, Expr, Function, Mul, Pow, Rational, S, exp

from derivations.generic import GenericFunction, bind
from derivations.indexed import Delta, Entry, Index, ISum, Tensor, _has
from derivations.latex_functions import (
    FunctionPrinter,
    factors_of,
    has_script,
    is_negative,
    is_scalar,
    joined,
    name_order,
    one_root,
    parenthesised,
    raised,
    scalar_fraction,
)
from derivations.latex_names import Partial, bound_name, free_indices
from derivations.latex_width import tokens, width

__all__ = ["latex", "latex_pair"]

_LONG_DENOMINATOR = 170.0  # points; beyond it 1/u becomes (u)^{-1}, which a line may break


class _Ambiguous(Exception):
    """A hidden index cannot disappear without loss of meaning."""


def latex(
    expr: Expr,
    *,
    hide: Sequence[str] = ("d",),
    names: Mapping[str, Sequence[str]] | None = None,
    functions: Mapping[str, Callable[..., Expr]] | None = None,
) -> str:
    r"""Return ``expr`` as LaTeX.

    Parameters
    ----------
    expr : Expr
        Scalar expression; free indices over a hidden dimension make it a vector or (two of them) a matrix.
    hide : sequence of str
        Names of the dimensions whose indices disappear where that is unambiguous.
    names : mapping, optional
        Index names by dimension, instead of the usual ones.
    functions : mapping, optional
        Concrete sigma and ell in the form ``derivations.generic.bind`` takes; derivatives are then explicit.

    Returns
    -------
    str
        LaTeX for a displayed formula.
    """
    return _best([expr], hide, names, functions)[0]


def latex_pair(
    left: Expr,
    right: Expr,
    *,
    hide: Sequence[str] = ("d",),
    names: Mapping[str, Sequence[str]] | None = None,
    functions: Mapping[str, Callable[..., Expr]] | None = None,
    indicator: bool | None = None,
) -> tuple[str, str]:
    """Return both sides of an equation: both are vectors (matrices), or both keep their hidden indices.

    ``indicator`` writes the Kronecker delta as an indicator; by default where a tensor is called delta as well.
    """
    first, second = _best([left, right], hide, names, functions, indicator)
    return first, second


def _best(
    roots: list[Expr],
    hide: Sequence[str],
    names: Mapping[str, Sequence[str]] | None,
    functions: Mapping[str, Callable[..., Expr]] | None,
    indicator: bool | None = None,
) -> list[str]:
    roots = [bind(root, functions) if functions else root for root in roots]
    free = dict.fromkeys(u for root in roots for u in free_indices(root))
    if indicator is None:
        indicator = any(t.tex.startswith(r"\delta") for root in roots for t in root.atoms(Tensor))
    options = (frozenset(hide), names or {}, {u.name for u in free}, indicator)
    hidden = tuple(u for u in free if str(u.dim) in hide)
    if len(roots) == 1:  # no left-hand side tells rows from columns
        hidden = tuple(sorted(hidden, key=lambda u: u.name))
    if hidden and len(hidden) <= 2:
        try:
            return [_Printer(*options, hidden if root != 0 else ()).doprint(root) for root in roots]
        except _Ambiguous:
            pass
    return [_Printer(*options, ()).doprint(root) for root in roots]


class _Printer(FunctionPrinter):
    def __init__(
        self,
        hide: frozenset[str],
        names: Mapping[str, Sequence[str]],
        reserved: set[str],
        indicator: bool,
        opened: tuple[Index, ...],
    ) -> None:
        super().__init__()
        self._hide, self._names, self._reserved, self._indicator = hide, names, reserved, indicator
        self._bound: dict[Index, str] = {}
        self._open: tuple[Index, ...] = opened  # free hidden indices that what is printed now must carry

    def _print(self, expr: Any, **kwargs: Any) -> str:
        if self._open and not isinstance(expr, Entry | Add | Mul | ISum | Delta):
            raise _Ambiguous
        return super()._print(expr, **kwargs)

    @contextmanager
    def _carrying(self, *indices: Index) -> Iterator[None]:
        before, self._open = self._open, indices
        try:
            yield
        finally:
            self._open = before

    # ---- sums of terms

    def _print_Add(self, expr: Add, order: Any = None) -> str:
        terms = _merged(expr.args)
        # 1 - tanh^2 and 1 + e^u, but z^2 + 1.
        one_first = any(is_negative(term) or term.has(exp) for term in terms)
        parts = []
        for term in terms:
            minus = is_negative(term)
            tex = self._print(-term if minus else term)
            # Deltas first, then functions, then sums, then what is in parentheses, then by falling degree.
            kind = (
                not term.has(Delta),
                not term.has(GenericFunction, Function),
                not term.has(ISum),
                any(isinstance(u, Add) for u in Mul.make_args(term)),
            )
            number = 0 if not term.is_number else -1 if one_first else 1
            parts.append(((minus, number, kind, -_degree(term), _key(tex)), minus, tex))
        parts.sort(key=lambda part: part[0])
        out = "".join((" - " if minus else " + ") + tex for _, minus, tex in parts)
        return out[3:] if out.startswith(" + ") else "-" + out[3:]

    # ---- products

    def _print_Mul(self, expr: Mul) -> str:
        if is_negative(expr):
            return "-" + self._factor(-expr, product=True)
        everything = list(factors_of(expr))
        top, below = scalar_fraction([u for u in everything if is_scalar(u)])
        rest = [u for u in everything if not is_scalar(u)]
        inverse = [
            u
            for u in rest
            if isinstance(u, Pow) and u.exp.could_extract_minus_sign() and not self._carries(u)
        ]
        return self._fraction(top, below, [1 / u for u in inverse], [u for u in rest if u not in inverse])

    def _carries(self, expr: Expr) -> tuple[Index, ...]:
        return tuple(u for u in self._open if _has(expr, u))

    def _fraction(self, top: list[Expr], below: Expr, denominator: list[Expr], factors: list[Expr]) -> str:
        tail = self._factors(factors)
        with self._carrying():
            head = [self._factor(u) for u in sorted(one_root(top), key=_scalar_order)]
            number = self._print(below)
            alone = below == 1 and len(denominator) == 1
            under = [self._print(u) if alone else self._factor(u) for u in denominator]
            bottom = joined([*([] if below == 1 else [number]), *under])
            if bottom and width(bottom) > _LONG_DENOMINATOR:
                head += [rf"\frac{{1}}{{{number}}}"] if below != 1 else []
                ends = [self._power(*(1 / u).as_base_exp()) for u in denominator]
                return joined([*head, *ends, *tail])
        if not bottom:
            return joined([*head, *tail]) or "1"
        if self._flat or (denominator and not self._open and all(isinstance(u, Entry) for u in factors)):
            head, tail = [*head, *tail], []
        above = joined(head) or "1"
        if self._flat:
            return f"{above}/{bottom}" if len(tokens(bottom)) == 1 else f"{above}/({bottom})"
        return joined([rf"\frac{{{above}}}{{{bottom}}}", *tail])

    def _factors(self, factors: list[Expr]) -> list[str]:
        """Print the factors: deltas, entries, functions, parentheses, sums, and what carries an open index last."""
        carried = [(u, self._carries(u)) for u in factors]
        if sum(len(opened) for _, opened in carried) != len(self._open):
            raise _Ambiguous  # an open index is missing, or two factors carry it (a product by coordinates)
        plain: list[tuple[tuple[Any, ...], str, bool]] = []
        vectors: list[tuple[int, str, bool]] = []
        for factor, opened in carried:
            with self._carrying(*opened):
                tex = self._factor(factor)
            is_sum = isinstance(factor, ISum) and not tex.startswith(r"\lVert")
            if opened:
                vectors.append((self._open.index(opened[0]), tex, is_sum))
            else:
                plain.append((self._rank(factor, tex), tex, is_sum))
        plain.sort()
        vectors.sort()
        out = [(tex, is_sum) for _, tex, is_sum in (*plain, *vectors)]
        # A sum extends to the end of its product: it stands last or in parentheses.
        shown = [parenthesised(tex) if is_sum else tex for tex, is_sum in out[:-1]]
        shown += [tex for tex, _ in out[-1:]]
        if len(vectors) == 2:
            shown[-1] = raised(parenthesised(shown[-1]) if out[-1][1] else shown[-1], r"\top")
        return shown

    def _factor(self, expr: Expr, *, product: bool = False) -> str:
        """Print ``expr`` so that it may stand in a product."""
        tex = self._print(expr)
        compound = isinstance(expr, Add) or (isinstance(expr, Mul) and not product) or tex.startswith("-")
        return parenthesised(tex) if compound else tex

    def _rank(self, expr: Expr, tex: str) -> tuple[Any, ...]:
        """Deltas, entries, residuals such as (f - y), functions, data x, sums."""
        base = expr.base if isinstance(expr, Pow) else expr
        if isinstance(base, Delta):
            return 0, "", (), _key(tex)
        if isinstance(base, Entry):
            return 6 if base.tensor.name == "x" else 1, name_order(base.tensor.name), (), _key(tex)
        if isinstance(base, GenericFunction):
            return 3, base.name, base.orders, _key(tex)
        if isinstance(expr, ISum):
            return 7, "", (), _key(tex)
        if isinstance(base, Add) and not base.has(Entry, Function, GenericFunction):
            return 0, "~", (), _key(tex)  # of constants and symbols only
        if isinstance(base, Add | ISum):
            return 5 if base.has(ISum, Function, GenericFunction) else 2, "", (), _key(tex)
        return 4, "", (), _key(tex)

    # ---- powers

    def _print_Pow(self, expr: Pow) -> str:
        if expr.exp.could_extract_minus_sign():
            if is_scalar(expr):
                return self._fraction(*scalar_fraction([expr]), [], [])
            return self._fraction([], S.One, [1 / expr], [])
        if expr.exp == Rational(1, 2):
            return rf"\sqrt{{{self._print(expr.base)}}}"
        return self._power(expr.base, expr.exp)

    # ---- leaves

    def _print_Index(self, expr: Index) -> str:
        return self._bound[expr] if expr.level else expr.name

    def _print_Partial_entry(self, expr: Entry, tensor: Partial) -> str:
        below: list[str] = []
        slots = list(expr.indices)
        for wrt in tensor.wrt:
            entry = Entry(wrt, *slots[: len(wrt.dims)])
            slots = slots[len(wrt.dims) :]
            carried = self._carries(entry)
            with self._carrying(*carried):
                tex = self._print(entry)
            matrix = len(self._open) == 2 and below
            below.append(rf"\partial {raised(tex, chr(92) + 'top') if matrix else tex}")
        order = "" if len(below) == 1 else f"^{{{len(below)}}}"
        return rf"\frac{{\partial{order} {tensor.of}}}{{{(' ' + chr(92) + ', ').join(below)}}}"

    def _print_Entry(self, expr: Entry) -> str:
        if isinstance(expr.tensor, Partial):
            return self._print_Partial_entry(expr, expr.tensor)
        for opened in self._open:
            if expr.indices.count(opened) != 1:
                raise _Ambiguous
        if len(self._open) == 2:
            raise _Ambiguous  # which slot is the row would have to be told
        slots = [u for u in expr.indices if u not in self._open]
        with self._carrying():
            texts = [self._print(u) for u in slots]
        base = expr.tensor.tex
        if not texts:
            return base
        if has_script(base, "_"):
            base = parenthesised(base)
        separator = "," if any(len(t) > 1 and "'" not in t for t in texts) else ""
        inside = separator.join(texts)
        if len(texts) == 4:  # a kernel: its two arguments apart
            inside = "".join(texts[:2]) + "," + "".join(texts[2:])
        return f"{base}_{inside}" if len(inside) == 1 else f"{base}_{{{inside}}}"

    def _print_Delta(self, expr: Delta) -> str:
        opened = self._open
        if opened:
            if set(expr.args) == set(opened):
                return "I"
            raise _Ambiguous
        left, right = sorted((self._print(u) for u in expr.args), key=lambda t: (len(t), t))
        return rf"\mathbf{{1}}\{{{left} = {right}\}}" if self._indicator else rf"\delta_{{{left}{right}}}"

    # ---- binders

    def _print_ISum(self, expr: ISum) -> str:
        if str(expr.index.dim) in self._hide and not self._carries(expr):
            try:
                return self._contraction(expr)
            except _Ambiguous:
                pass
        name = self._fresh_name(expr.index)
        with self._carrying():
            size = self._print(expr.index.dim)
        self._bound[expr.index] = name
        try:
            body = self._print(expr.body)
        finally:
            del self._bound[expr.index]
        if isinstance(expr.body, Add) or body.startswith("-"):
            body = parenthesised(body)
        return rf"\sum_{{{name}=1}}^{{{size}}} {body}"

    def _contraction(self, expr: ISum) -> str:
        """Print the sum over a hidden index of two vectors as an inner product, of a square as a norm."""
        factors, index = Mul.make_args(expr.body), expr.index
        if len(factors) == 1 and isinstance(factors[0], Pow) and factors[0].exp == 2:
            with self._carrying(index):
                return rf"\lVert {self._print(factors[0].base)} \rVert^{{2}}"
        if len(factors) != 2:
            raise _Ambiguous
        with self._carrying(index):
            printed = [(self._factor(u), u) for u in factors]
        # A derivative stands on the right: its fraction takes no exponent.
        (left, row), (right, column) = sorted(printed, key=lambda u: (r"\partial" in u[0], _key(u[0])))
        tall = isinstance(row, ISum) or left.startswith(r"\frac")
        left = raised(parenthesised(left) if tall else left, r"\top")
        return f"{left} {parenthesised(right) if isinstance(column, ISum) else right}"

    def _fresh_name(self, index: Index) -> str:
        return bound_name(index, self._reserved | set(self._bound.values()), self._names)


def _degree(expr: Expr) -> int:
    if isinstance(expr, Mul):
        return sum(_degree(u) for u in expr.args)
    if isinstance(expr, Pow) and expr.exp.is_Integer:
        return int(expr.exp) * _degree(expr.base)
    return 0 if expr.is_number else 1


def _scalar_order(expr: Expr) -> tuple[int, str]:
    """Integers, other numbers, symbols."""
    base = expr.base if isinstance(expr, Pow) else expr
    return 0 if expr.is_Integer else 1 if expr.is_number else 2, name_order(str(base))


def _key(tex: str) -> str:
    """Return the sorting key of a printed factor: k before k', norms by what is inside."""
    return tex.replace("'", "~").replace(r"\lVert ", "")


def _merged(terms: Sequence[Expr]) -> list[Expr]:
    """Write c sum u - c sum v, which the normal form keeps apart, as c sum (u - v) where u and v are plain."""
    out: list[Expr] = []
    for term in sorted(terms, key=str):
        second, right = term.as_independent(ISum)
        for position, other in enumerate(out):
            first, left = other.as_independent(ISum)
            if first == -second and _plain_sum(left) and _plain_sum(right) and left.index == right.index:
                out[position] = first * Expr.__new__(ISum, left.body - right.body, left.index)
                break
        else:
            out.append(term)
    return out


def _plain_sum(expr: Expr) -> bool:
    return isinstance(expr, ISum) and not expr.body.has(ISum, Function, GenericFunction)
