"""The layout rules, checked by reading the source of every module: nothing here imports the packages.

Two tables state the rules (`MAY_IMPORT`, `FORBIDDEN_NAMES`); each check yields its breaches as text with a
line number.  The second half feeds small bad modules to the checks and expects the named breach: a check that
went blind is noticed.
"""

from __future__ import annotations

import ast
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
PACKAGES = ("derivations", "numerics", "workbench")
MAX_LINES = 400

# What is imported -> the modules (or whole packages) that may import it.  The longest matching entry decides;
# what is not listed may be imported by nobody.  Imports inside functions and under TYPE_CHECKING count.
MAY_IMPORT: dict[str, tuple[str, ...]] = {
    "derivations": ("derivations", "numerics", "workbench"),
    "numerics": ("numerics", "workbench"),
    # an oracle must stay independent of what it checks
    "numerics.reference": ("workbench.verify", "workbench.population_checks", "workbench.wide_claims"),
    "workbench": ("workbench",),
    "sympy": (
        "derivations",
        "numerics.arb_functions",
        "numerics.ball_program",
        "numerics.balls",
        "numerics.box_program",
        "numerics.box_system",
        "numerics.certified_embedding",
        "numerics.code_cache",
        "numerics.compile",
        "numerics.elementwise",
        "numerics.exact_graph",
        "numerics.generated",
        "numerics.lowering",
        "numerics.orbit_fields",
        "workbench",
    ),
    # interval arithmetic (Arb)
    "flint": (
        "numerics.arb_functions",
        "numerics.ball_matrices",
        "numerics.ball_program",
        "numerics.balls",
        "numerics.basin_ball",
        "numerics.certified_embedding",
        "numerics.certified_point",
        "numerics.krawczyk",
    ),
    "mpmath": ("derivations",),
    "torch": ("numerics", "workbench"),
    "numpy": ("workbench",),
    "scipy": ("numerics.lanczos",),
    "matplotlib": ("workbench.plots",),
    "distributed": ("workbench.workers",),
    "networkx": (
        "workbench.graph_files",
        "workbench.graph_queries",
        "workbench.landscape",
        "workbench.measurements.affine_runs",
        "workbench.measurements.embedding_principle",
        "workbench.measurements.margin_graph",
        "workbench.measurements.recovery_graph",
        "workbench.measurements.saddle_graph",
    ),
    "jinja2": ("workbench.report",),
    "pydantic": ("workbench.study", "workbench.study_tables"),
    "typer": (
        "workbench.cli",
        "workbench.cli_landscape",
        "workbench.cli_options",
        "workbench.cli_theorem",
        "workbench.__main__",
    ),
    "rich": ("workbench.progress", "workbench.output", "workbench.__main__"),
}

# Names that run text as code or read it unsafely -> the modules that may use them.
FORBIDDEN_NAMES: dict[str, tuple[str, ...]] = {
    "lambdify": ("numerics.compile",),
    "eval": (),
    "exec": ("numerics.compile",),
    "compile": ("numerics.compile",),
    "sympify": (),
    "S": (),
    "parse_expr": (),
    "parse_latex": (),
    "parse_mathematica": (),
}
BUILTIN_NAMES = {"eval", "exec", "compile"}  # as methods (`Function.eval`, `re.compile`) they are harmless
UNSAFE_LIBRARIES = {"pickle", "cPickle", "_pickle", "dill", "cloudpickle", "shelve", "marshal", "joblib"}


def lies_in(module: str, homes: tuple[str, ...]) -> bool:
    """Say whether `module` is one of `homes` or inside one of them."""
    return any(module == home or module.startswith(home + ".") for home in homes)


def resolve(module: str, is_package: bool, level: int, name: str) -> str:
    """Make a relative import absolute; a climb beyond the top reaches the neighbouring packages."""
    if level == 0:
        return name
    parts = module.split(".")
    base = parts[: max(0, len(parts) - level + is_package)]
    return ".".join([*base, *([name] if name else [])])


def imports(module: str, is_package: bool, tree: ast.AST) -> Iterator[tuple[int, str | None]]:
    """Yield (line, dotted name) of everything imported, wherever it stands; None when it cannot be told."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from ((node.lineno, alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = resolve(module, is_package, node.level, node.module or "")
            yield from ((node.lineno, f"{base}.{alias.name}".lstrip(".")) for alias in node.names)
        elif isinstance(node, ast.Call) and called_name(node) in {"import_module", "__import__"}:
            target = node.args[0] if node.args else None
            if isinstance(target, ast.Constant) and isinstance(target.value, str):
                name = target.value.lstrip(".")
                yield node.lineno, resolve(module, is_package, len(target.value) - len(name), name)
            else:
                yield node.lineno, None


def last_name(node: ast.AST) -> str:
    """Give the last part of a dotted name, or an empty string."""
    return getattr(node, "id", getattr(node, "attr", ""))


def called_name(call: ast.Call) -> str:
    """Give the last part of the name of what is called."""
    return last_name(call.func)


def check_imports(module: str, is_package: bool, tree: ast.Module) -> Iterator[str]:
    """Each library and package is imported only where `MAY_IMPORT` says."""
    for line, name in imports(module, is_package, tree):
        if name is None:
            if not is_package:  # a package may load its own names on first use
                yield f"{line}: import of a computed name"
            continue
        top = name.split(".")[0]
        if top in UNSAFE_LIBRARIES:
            yield f"{line}: {top} runs code on load"
        elif top not in sys.stdlib_module_names:
            entry = max((key for key in MAY_IMPORT if lies_in(name, (key,))), key=len, default=None)
            if entry is None:
                yield f"{line}: {top} has no home: add it to MAY_IMPORT with a reason"
            elif not lies_in(module, MAY_IMPORT[entry]):
                yield f"{line}: {entry} may be imported only by {', '.join(MAY_IMPORT[entry])}"


def harmless_uses(tree: ast.AST) -> set[int]:
    """Identify uses of a forbidden name that read no text: `sympify(u, strict=True)`, `S(2)`, `S.One`."""
    harmless = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Call):
            strict = any(k.arg == "strict" and getattr(k.value, "value", None) is True for k in node.keywords)
            number = len(node.args) == 1 and isinstance(getattr(node.args[0], "value", None), int | float)
            if (called_name(node) == "sympify" and strict) or (called_name(node) == "S" and number):
                harmless.add(id(node.func))
        elif isinstance(node, ast.Attribute) and last_name(node.value) == "S":
            harmless.add(id(node.value))
    return harmless


def check_names(module: str, is_package: bool, tree: ast.Module) -> Iterator[str]:
    """Text becomes code, or an expression, nowhere but in the compiler."""
    harmless = harmless_uses(tree)
    imported = {a.asname or a.name for n in ast.walk(tree) if isinstance(n, ast.ImportFrom) for a in n.names}
    defined = {node.name for node in tree.body if isinstance(node, ast.FunctionDef)}
    ours = ({"compile"} & (imported | defined)) | (
        {"S"} - imported
    )  # a function, or a variable, of that name
    for node in ast.walk(tree):
        used: str | None = None
        if isinstance(node, ast.Name) and node.id not in ours:
            used = node.id
        elif isinstance(node, ast.Attribute):
            base = last_name(node.value)
            used = (
                None if node.attr in BUILTIN_NAMES and base not in {"builtins", "__builtins__"} else node.attr
            )
            if base == "torch" and node.attr == "load":
                yield f"{node.lineno}: torch.load unpickles"
        elif isinstance(node, ast.ImportFrom | ast.Import):
            for alias in node.names:
                name = alias.name.rsplit(".")[-1]
                judged_by_use = (
                    name in {"S", "sympify"} and not alias.asname and isinstance(node, ast.ImportFrom)
                )
                if name in FORBIDDEN_NAMES and name not in BUILTIN_NAMES and not judged_by_use:
                    yield from breach_of_name(module, node.lineno, name)
        elif isinstance(node, ast.Call) and called_name(node) == "getattr" and len(node.args) > 1:
            used = getattr(node.args[1], "value", None)
        if isinstance(used, str) and used in FORBIDDEN_NAMES and id(node) not in harmless:
            yield from breach_of_name(module, node.lineno, used)  # type: ignore[attr-defined]


def breach_of_name(module: str, line: int, name: str) -> Iterator[str]:
    """Report a use of a forbidden name unless the module may use it."""
    if not lies_in(module, FORBIDDEN_NAMES[name]):
        hint = {
            "sympify": "; sympify(u, strict=True) refuses text and is allowed",
            "S": "; S(1) and S.One are",
        }
        yield f"{line}: {name} is not used here{hint.get(name, '')}"


def check_form(module: str, is_package: bool, tree: ast.Module) -> Iterator[str]:
    """A public module says what it is for and what it exports."""
    name = module.rsplit(".")[-1]
    if name == "utils":
        yield "1: no utils.py: name the module after what it holds"
    if name == "__main__" or name.startswith("_"):
        return
    if not ast.get_docstring(tree):
        yield "1: no docstring"
    assigned = [
        target.id
        for node in tree.body
        if isinstance(node, ast.Assign | ast.AnnAssign)
        for target in (node.targets if isinstance(node, ast.Assign) else [node.target])
        if isinstance(target, ast.Name)
    ]
    if "__all__" not in assigned:
        yield "1: no __all__"


def breaches(module: str, source: str, is_package: bool = False) -> list[str]:
    """Everything that is wrong with one module, as `line: what`."""
    tree = ast.parse(source)
    found = [
        text for check in (check_imports, check_names, check_form) for text in check(module, is_package, tree)
    ]
    lines = source.count("\n")
    return found + ([f"{MAX_LINES}: {lines} lines, the limit is {MAX_LINES}"] if lines > MAX_LINES else [])


FILES = sorted(path for package in PACKAGES for path in (ROOT / package).rglob("*.py"))


@pytest.mark.parametrize("path", FILES, ids=lambda p: p.relative_to(ROOT).as_posix())
def test_module_keeps_the_layout_rules(path: Path) -> None:
    is_package = path.name == "__init__.py"
    parts = path.relative_to(ROOT).with_suffix("").parts
    found = breaches(
        ".".join(parts[:-1] if is_package else parts), path.read_text(encoding="utf-8"), is_package
    )
    assert not found, "\n".join(f"{path.relative_to(ROOT)}:{text}" for text in found)


def test_all_three_packages_are_read() -> None:
    assert {path.relative_to(ROOT).parts[0] for path in FILES} == set(PACKAGES)


def clean(body: str) -> str:
    """Wrap a snippet so that only the snippet can be at fault."""
    return f'"""Docstring."""\n\n__all__: list[str] = []\n{body}\n'


BAD = {
    "derivations imports torch": ("derivations.a", "import torch", "torch may be imported only by"),
    "derivations imports numerics": ("derivations.a", "from numerics.compile import x", "numerics may be"),
    "relative import upwards": (
        "derivations.a",
        "from ..numerics import x",
        "numerics may be imported only by",
    ),
    "relative climb from a subpackage": (
        "derivations.theorems.a",
        "from ... import workbench",
        "workbench may be",
    ),
    "numerics imports workbench": (
        "numerics.flow",
        "def f():\n    import workbench.study",
        "workbench may be",
    ),
    "under TYPE_CHECKING": ("numerics.flow", "if 0:\n    from workbench import study", "workbench may be"),
    "by import_module": (
        "numerics.a",
        "import importlib\nimportlib.import_module('workbench.a')",
        "workbench may be",
    ),
    "by a relative import_module": (
        "workbench.a",
        "import_module('..numerics.reference')",
        "numerics.reference may",
    ),
    "by a computed name": ("numerics.a", "__import__('work' + 'bench')", "import of a computed name"),
    "sympy outside the compiler": (
        "numerics.flow",
        "from sympy import Symbol",
        "sympy may be imported only by",
    ),
    "matplotlib outside plots": (
        "workbench.report",
        "import matplotlib.pyplot as p",
        "only by workbench.plots",
    ),
    "networkx outside landscape": (
        "workbench.plots",
        "def f():\n    import networkx",
        "networkx may be imported only by",
    ),
    "jinja2 outside report": (
        "workbench.verify",
        "from jinja2 import Environment",
        "only by workbench.report",
    ),
    "typer outside cli": (
        "workbench.analysis",
        "import typer",
        "typer may be imported only by workbench.cli",
    ),
    "pydantic outside study": ("workbench.analysis", "import pydantic", "only by workbench.study"),
    "rich outside progress": (
        "workbench.analysis",
        "from rich.table import Table",
        "rich may be imported only by",
    ),
    "reference in the library": (
        "numerics.compiled",
        "from .reference import loss",
        "numerics.reference may be",
    ),
    "reference as a name": (
        "workbench.report",
        "from numerics import reference",
        "numerics.reference may be",
    ),
    "unknown library": ("numerics.a", "import xarray.testing", "xarray has no home"),
    "tests imported": ("workbench.a", "import tests.oracles", "tests has no home"),
    "lambdify as a name": ("derivations.a", "from sympy import lambdify", "lambdify is not used here"),
    "lambdify renamed": ("workbench.a", "from sympy import lambdify as f", "lambdify is not used here"),
    "lambdify as an attribute": (
        "workbench.a",
        "import sympy as s\ns.utilities.lambdify(1, 2)",
        "lambdify is not used",
    ),
    "lambdify as a module": ("workbench.a", "import sympy.utilities.lambdify", "lambdify is not used here"),
    "lambdify by getattr": ("workbench.a", "getattr(sympy, 'lambdify')", "lambdify is not used here"),
    "eval": ("workbench.a", "x = eval('1')", "eval is not used here"),
    "eval handed on": ("numerics.compile", "x = map(eval, [])", "eval is not used here"),
    "builtins.exec": ("workbench.a", "import builtins\nbuiltins.exec('')", "exec is not used here"),
    "exec": ("numerics.flow", "exec('')", "exec is not used here"),
    "compile": ("numerics.flow", "compile('', '', 'exec')", "compile is not used here"),
    "sympify": ("derivations.a", "from sympy import sympify\nsympify(x)", "sympify is not used here"),
    "sympify lax": ("derivations.a", "sympify(x, strict=False)", "sympify is not used here"),
    "sympify handed on": ("derivations.a", "x = map(sympify, y)", "sympify is not used here"),
    "sympify renamed": ("derivations.a", "from sympy import sympify as f", "sympify is not used here"),
    "S of text": ("derivations.a", "from sympy import S\nx = S('1')", "S is not used here"),
    "S of a variable": ("derivations.a", "import sympy\nx = sympy.S(text)", "S is not used here"),
    "parse_expr": (
        "workbench.a",
        "from sympy.parsing.sympy_parser import parse_expr",
        "parse_expr is not used",
    ),
    "pickle": ("workbench.a", "def f():\n    import pickle", "pickle runs code on load"),
    "torch.load": ("workbench.a", "import torch\ntorch.load('x')", "torch.load unpickles"),
    "utils": ("numerics.utils", "", "no utils.py"),
    "too long": ("numerics.a", "\n" * MAX_LINES, "the limit is 400"),
}

GOOD = {
    "derivations.a": "import math\nfrom sympy import S, sympify\nx = [S.One, S(2), sympify(y, strict=True)]",
    "derivations.b": "from .a import x\nclass F:\n    def eval(cls):\n        return super().eval()",
    "derivations.theorems._template": "from ..a import x",
    "numerics.compile": "import sympy, torch\nimport derivations.a\nexec(compile('', '', ''))\nlambdify()",
    "numerics.flow": "import re, torch\nS = [1]\nprint(S)\nr = re.compile('')\ng = torch.compile(f)",
    "workbench.verify": "from numerics import reference\nfrom numerics.compile import compile\ncompile(1)",
    "workbench.output": "def f():\n    import rich.console",
}


@pytest.mark.parametrize(("module", "body", "expected"), BAD.values(), ids=list(BAD))
def test_a_breach_is_found(module: str, body: str, expected: str) -> None:
    found = breaches(module, clean(body))
    assert found
    assert all(expected in text for text in found), found


@pytest.mark.parametrize("module", list(GOOD))
def test_what_is_allowed_passes(module: str) -> None:
    assert breaches(module, clean(GOOD[module])) == []


@pytest.mark.parametrize(
    ("source", "expected"),
    [("__all__ = []\n", ["1: no docstring"]), ('"""Docstring."""\n', ["1: no __all__"])],
)
def test_a_public_module_needs_docstring_and_all(source: str, expected: list[str]) -> None:
    assert breaches("numerics.flow", source) == expected
    assert breaches("numerics._flow", source) == []
    assert breaches("workbench.__main__", source) == []


def test_a_package_may_load_its_names_on_first_use() -> None:
    source = clean("def __getattr__(name):\n    return import_module('.' + name, __name__)")
    assert breaches("workbench", source, is_package=True) == []
    assert breaches("workbench.analysis", source) == ["5: import of a computed name"]
