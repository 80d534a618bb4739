"""Read printed derivations back: the reader of ``test_latex`` with accents, partial derivatives and sums on the left.

``World`` is a second opinion on values: every tensor an array of plain numbers, every expression summed out.
"""

from __future__ import annotations

import importlib.util
import itertools
import random
import re
import sys
from pathlib import Path

from derivations.generic import bind
from derivations.indexed import Entry, Tensor
from derivations.latex_lines import lines
from derivations.latex_names import Partial, free_indices


def _load(name):
    spec = importlib.util.spec_from_file_location(
        f"_{name}_for_reading", Path(__file__).with_name(f"{name}.py")
    )
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


latex_tests = _load("test_latex")
latex_tests.SIZES |= {"D": latex_tests.SIZES["d"] + 1, "m3": 2, "m_3": 2}
SIZES = latex_tests.SIZES
SCALARS = {"eta": 0.7, "lambda": 0.3, "z": 0.4, "f": 0.6, "y": -0.8, "s": 0.9, "tau": 0.2}
SCALARS |= {rf"\{name}": SCALARS[name] for name in ("eta", "lambda", "tau")}


class Reader(latex_tests.Reader):
    """Also reads accents and derivatives: the array ``dR_dw`` behind the fraction of partials."""

    def base(self, token):
        if token == r"\frac" and self.items[self.at : self.at + 2] == ["{", r"\partial"]:
            return self.partial()
        if token == "(" and self.items[self.at : self.at + 3] == ["H", "v", ")"]:
            self.at += 3
            return self.named("(Hv)")
        if token == r"\sqrt" and self.next == "{":
            return self.group() ** 0.5
        return super().base(token)

    def named(self, name):
        """Read a superscript that belongs to a name, then the indices."""
        self.take("^"), self.take("{")
        text = ""
        while self.next != "}" or text.count("{") > text.count("}"):
            text += self.take()
        self.take("}")
        name = re.sub(r"\^\{(\(\d\))\}", r"^\1", f"{name}^{{{text}}}")
        return super().symbol(name)

    def symbol(self, token):
        if token == "v" and self.next == "^":
            return self.named("v")
        if token in (r"\tilde", r"\dot", r"\hat"):
            self.take("{")
            token += "{" + self.take() + "}"
            self.take("}")
        return super().symbol(token)

    def partial(self):
        of, below = [], []
        for part in (of, below):
            self.take("{")
            depth = 0
            while self.next != "}" or depth:
                item = self.take()
                depth += (item == "{") - (item == "}")
                part.append(item)
            self.take("}")
        top, bottom = "".join(of[1:]), "".join(below[1:])
        name, _, slots = re.fullmatch(r"(\w(?:\^\{\(\d\)\})?)(_\{?([^}]*)\}?)?", bottom).groups()
        name = re.sub(r"\^\{\((\d)\)\}", r"\1", name)
        value = self.arrays[f"d{top}_d{name}"]
        for slot in re.findall(r"[A-Za-z]'*", slots or ""):
            value = value[self.index(slot)]
        outputs = re.findall(r"[A-Za-z]'*", top.partition("_")[2])
        return self.pick(value, [self.index(u) for u in outputs])

    def pick(self, value, at):
        depth, inner = 0, value
        while isinstance(inner, list):
            depth, inner = depth + 1, inner[0]
        if depth > len(at):
            return [[self.pick(row, at)] for row in value]
        for slot in at:
            value = value[slot]
        return value


def assert_reads_back(derivation, available=240.0):
    """Compare every printed right-hand side with the value of its expression; return how many were compared."""
    everything = [*derivation.where, *derivation.system]
    arrays = {}
    latex_tests.leaves(everything, arrays)
    for equation in everything:  # arguments of square roots stay positive
        if isinstance(equation.lhs, Entry) and r"\sqrt{" in str(derivation.rows([equation])[0].tex):
            for tensor in equation.rhs.atoms(Tensor):
                if tensor.name == "Q":
                    arrays["Q"] = [-2.0 - value for value in map(abs, arrays["Q"])]
    definitions = [e for e in derivation.where if isinstance(e.lhs, Entry)]
    latex_tests.fill(definitions, arrays, SCALARS)
    latex_tests.fill([e for e in derivation.system if isinstance(e.lhs, Entry)], arrays, SCALARS)
    count = 0
    for equation, row in zip(everything, derivation.rows(everything), strict=True):
        sides = []
        text = latex_tests.unbroken(lines("L", row.tex, available=available))
        for side, printed in ((equation.rhs, text.partition("=")[2]), (equation.lhs, row.left)):
            if side is equation.lhs and isinstance(side, Entry | latex_tests.GenericFunction):
                continue
            sides.append((side, printed))
        free = dict.fromkeys((*free_indices(equation.lhs), *free_indices(equation.rhs)))
        hidden = [u for u in free if str(u.dim) in derivation.hide]
        draw = random.Random(3)
        for _ in range(2):
            at = {u: draw.randrange(latex_tests.size_of(u.dim)) for u in free}
            for side, printed in sides:
                found = Reader(printed, arrays, {u.name: v for u, v in at.items()}, SCALARS).all()
                if latex_tests.shape(found):
                    expected = latex_tests.matrix(side, arrays, at, SCALARS, hidden)
                else:
                    expected = latex_tests.evaluate(side, arrays, at, SCALARS)
                assert latex_tests.close(found, expected), f"{printed}\nprinted {found}, derived {expected}"
                count += 1
    return count


class World:
    """A problem at random numbers: parameters, data, every definition of the derived system, and the flow."""

    def __init__(self, problem, seed=0):
        draw = random.Random(seed)
        self.problem, self.arrays = problem, {}
        for tensor in (*problem.parameters, problem.x, problem.y):
            self[tensor] = self.table(tensor.dims, lambda: draw.uniform(-1.2, 1.2))
        for definition in problem.derived:
            self[definition.tensor] = self.array(definition.expr, definition.indices)
        for block in problem.blocks:
            gradient = problem.derived[problem.gradient[block.name]]
            rate = block.rate if block.trained else 0
            self.arrays[f"dot {block.name}"] = self.array(-rate * gradient.expr, gradient.indices)

    def __setitem__(self, tensor, value):
        self.arrays[latex_tests.name_of(tensor)] = value

    def __getitem__(self, tensor):
        return self.arrays[latex_tests.name_of(tensor)]

    @staticmethod
    def table(dims, draw):
        return latex_tests.table([latex_tests.size_of(dim) for dim in dims], draw)

    def value(self, expr, at):
        """Value at a mapping of indices to 0-based positions."""
        return latex_tests.evaluate(bind(expr, self.problem.functions), self.arrays, at, SCALARS)

    def array(self, expr, indices):
        """Nested list over the indices."""
        out = latex_tests.table([latex_tests.size_of(u.dim) for u in indices], lambda: 0.0)
        for at in itertools.product(*[range(latex_tests.size_of(u.dim)) for u in indices]):
            value = self.value(expr, dict(zip(indices, at, strict=True)))
            if not at:
                return value
            row = out
            for position in at[:-1]:
                row = row[position]
            row[at[-1]] = value
        return out


__all__ = ["Partial", "Reader", "World", "assert_reads_back", "latex_tests"]
