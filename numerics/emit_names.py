"""Variables of the generated source: names of tensors and definitions, kept apart from what Python and it use."""

from __future__ import annotations

import re
from collections.abc import Iterable
from keyword import iskeyword

from derivations.indexed import Tensor

__all__ = ["Names"]

#: Names the generated source uses itself; ``t0``, ``t1``, ... are its temporaries.
_TAKEN = frozenset({"torch", "math", "B", "like", "block", "start", "rows"})


class Names:
    """Variable of each tensor and of each named node.

    Parameters
    ----------
    reserved : iterable of str
        Names of dimensions, constants and arguments.

    Attributes
    ----------
    nodes : dict
        Variable of each node that has a name.

    >>> names = Names(["n"])
    >>> [names.tensor(Tensor(name)) for name in ("w", "lambda", "n", "t1")]
    ['w', 'lambda_', 'n_', 't1_']
    """

    def __init__(self, reserved: Iterable[str]) -> None:
        self.reserved = _TAKEN | set(reserved)
        self.tensors: dict[Tensor, str] = {}
        self.nodes: dict[int, str] = {}

    def tensor(self, tensor: Tensor) -> str:
        """Return the variable of a tensor: its name, unless that is taken."""
        if tensor not in self.tensors:
            self.tensors[tensor] = self._unique(tensor.name)
        return self.tensors[tensor]

    def define(self, uid: int, tensor: Tensor) -> None:
        """Call a node by the tensor it defines, unless it has a name."""
        self.nodes.setdefault(uid, self.tensor(tensor))

    def derive(self, uid: int, inner: int, function: str) -> None:
        """Call a node ``function_z`` if it is a function of the node called z."""
        if inner in self.nodes and uid not in self.nodes:
            self.nodes[uid] = self._unique(f"{function}_{self.nodes[inner]}")

    def _unique(self, name: str) -> str:
        name = re.sub(r"\W", "_", name)
        taken = self.reserved | {*self.tensors.values(), *self.nodes.values()}
        while iskeyword(name) or name in taken or re.fullmatch(r"t\d+", name):
            name += "_"
        return name
