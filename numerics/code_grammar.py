"""The closed language of generated source, so that source read back from a file can be told from other Python.

A function of this language is arithmetic on its arguments: it imports nothing, holds no text but its docstring, reads
no names but its own, and calls nothing but the tensor functions and methods that the generator writes.
"""

from __future__ import annotations

import ast
import re

from numerics.elementwise import ELEMENTWISE

__all__ = ["is_generated"]

_PATTERNS = " ".join(ELEMENTWISE.values())
#: Functions ``torch.NAME``.
_TORCH = frozenset(re.findall(r"torch\.(\w+)", _PATTERNS)) | {
    *(
        "add",
        "addcmul",
        "addmm",
        "addmv",
        "bmm",
        "cat",
        "diag_embed",
        "dot",
        "maximum",
        "minimum",
        "mm",
        "mv",
    ),
    *("outer", "pow", "reciprocal", "sqrt", "square", "zeros_like"),
}
#: Methods and properties of arrays; an elementwise function also has the form that overwrites its operand.
_METHODS = (
    frozenset(re.findall(r"[)}]\.(\w+)", _PATTERNS))
    | {f"{name}_" for name in _TORCH}
    | {
        *(
            "add_",
            "addmm_",
            "addmv_",
            "mul_",
            "neg_",
            "sub_",
            "clone",
            "copy_",
            "sum",
            "to",
            "dtype",
            "shape",
        ),
        *("t", "mT", "permute", "transpose", "reshape", "view", "expand", "diagonal", "split_with_sizes"),
        *("new_empty", "new_full", "new_ones", "new_zeros"),
    }
)
_FUNCTIONS = frozenset({"range", "len"})
_STATEMENTS = (ast.Assign, ast.Expr, ast.For, ast.Delete, ast.Return)
_EXPRESSIONS = (
    *(
        ast.Name,
        ast.Attribute,
        ast.Call,
        ast.keyword,
        ast.Constant,
        ast.Tuple,
        ast.List,
        ast.Subscript,
        ast.Slice,
    ),
    *(ast.BinOp, ast.UnaryOp, ast.Compare, ast.operator, ast.unaryop, ast.cmpop, ast.expr_context),
)


def is_generated(source: str, name: str) -> bool:
    r"""Say whether ``source`` is two functions, ``name_data`` and ``name``, of the language of the generator.

    >>> is_generated("def f_data(x):\n    return ()\n\ndef f(x):\n    return (x.sum(),)", "f")
    True
    >>> is_generated("def f_data(x):\n    return ()\n\ndef f(x):\n    return (open(x),)", "f")
    False
    """
    try:
        tree = ast.parse(source)
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return False
    functions = [u for u in tree.body if isinstance(u, ast.FunctionDef)]
    if len(functions) != len(tree.body) or [u.name for u in functions] != [f"{name}_data", name]:
        return False
    return all(map(_is_plain, functions))


def _is_plain(function: ast.FunctionDef) -> bool:
    arguments = function.args
    names = [u.arg for u in arguments.args]
    plain = ast.arguments([], [ast.arg(u) for u in names], None, [], [], None, [])
    if function.decorator_list or function.returns or ast.dump(arguments) != ast.dump(plain):
        return False
    body = function.body
    if isinstance(body[0], ast.Expr) and isinstance(body[0].value, ast.Constant):
        body = body[1:]
    nodes = [node for statement in body for node in ast.walk(statement)]
    written = {u.id for u in nodes if isinstance(u, ast.Name) and isinstance(u.ctx, ast.Store)}
    own = {*names, *written}
    if own & {"torch", "math", *_FUNCTIONS} or any(u.startswith("__") for u in own):
        return False
    heads = {id(u.value) for u in nodes if isinstance(u, ast.Attribute)}
    called = {id(u.func) for u in nodes if isinstance(u, ast.Call)}
    return all(_is_allowed(node, own, heads, called) for node in nodes)


def _is_allowed(node: ast.AST, own: set[str], heads: set[int], called: set[int]) -> bool:
    if isinstance(node, ast.Name):
        if node.id in ("torch", "math"):
            return id(node) in heads
        return id(node) in called if node.id in _FUNCTIONS else node.id in own and id(node) not in called
    if isinstance(node, ast.Attribute):
        base = node.value.id if isinstance(node.value, ast.Name) else ""
        if base == "math":
            return not node.attr.startswith("_")
        return isinstance(node.ctx, ast.Load) and node.attr in (_TORCH if base == "torch" else _METHODS)
    if isinstance(node, ast.Call):
        return isinstance(node.func, ast.Attribute | ast.Name)
    if isinstance(node, ast.Constant):
        return node.value is None or isinstance(node.value, int | float)
    return isinstance(node, (*_STATEMENTS, *_EXPRESSIONS))
