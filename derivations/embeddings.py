r"""Every embedding of the critical points of a network into wider and deeper ones, in the order they are read.

>>> from derivations.problem import Problem
>>> [s.name for s in embeddings(Problem.two_layer("tanh"))][:5]
['splitting embedding', 'duality of the embedding', 'inertia along a splitting', 'null embedding', 'composition of embeddings']
"""

from __future__ import annotations

from derivations.compatible_statements import compatible_statements
from derivations.embedding import embedding_statements
from derivations.lifting import lifting
from derivations.null_embedding import null_statement
from derivations.problem import Problem, m
from derivations.special_embedding import special_embeddings
from derivations.splitting_law import splitting_law
from derivations.statement import Statement
from derivations.truly_bad import three_copies, truly_bad, turning

__all__ = ["embeddings"]


def embeddings(problem: Problem) -> list[Statement]:
    """Return the statements: maps, families, inertia, what turns a minimum into a strict saddle, lifting in depth.

    With frozen blocks those of two-layer networks that are stated for trained parameters remain.

    Raises
    ------
    ValueError
        If the problem is neither two-layer nor deep, has weight decay, or is deep with frozen blocks.
    """
    two = problem.kind == "two_layer"
    found = [*embedding_statements(problem), null_statement(problem)] if two else []
    laws = [splitting_law(problem, layer) for layer in range(1, len(problem.hidden_dims) + 1)]
    if problem.freeze and two:
        return [*found, *laws]
    found += [*compatible_statements(problem), *special_embeddings(problem), *laws]
    found += [turning(problem), three_copies(problem), truly_bad(problem)]
    return found if problem.scale.has(m) else [*found, lifting(problem)]
