from sympy import Integer, Rational, sqrt

from derivations.strict_lp import strict_solution


def rows(*lists):
    return [[Integer(u) for u in row] for row in lists]


def meets(point, equations, right, signs):
    def dot(u, v):
        return sum(a * b for a, b in zip(u, v, strict=True))

    return all((dot(e, point) - r).expand() == 0 for e, r in zip(equations, right, strict=True)) and all(
        dot(s, point) > 0 for s in signs
    )


def test_a_solution_is_strict_where_there_is_one():
    equations, right = rows([1, 2, 0], [0, 1, 1]), [Integer(3), Rational(1, 2)]
    signs = rows([1, 0, 0], [0, 1, 0], [-1, 1, 4])
    assert (
        strict_solution(equations, right, signs, 3) is None
    )  # then 3 - x = 2 y, z = 1/2 - y, 7/2 < y + ... fails
    signs = rows([1, 0, 0], [0, 0, -1])
    assert meets(strict_solution(equations, right, signs, 3), equations, right, signs)


def test_solutions_that_are_weak_only_are_refused():
    assert strict_solution(rows([1, 1]), [Integer(0)], rows([1, 0], [0, 1]), 2) is None


def test_unbounded_sets_are_entered_along_a_direction():
    equations, right, signs = rows([1, -1]), [Integer(0)], rows([1, 0], [0, 1])
    assert meets(strict_solution(equations, right, signs, 2), equations, right, signs)


def test_roots_are_exact():
    point = strict_solution([[sqrt(2), Integer(1)]], [Integer(1)], rows([1, 0], [0, 1]), 2)
    assert (sqrt(2) * point[0] + point[1] - 1).expand() == 0
    assert float(point[0]) > 0
    assert float(point[1]) > 0


def test_no_unknowns():
    assert strict_solution([[], []], [Integer(0), Integer(0)], [], 0) == []
    assert strict_solution([[]], [Integer(1)], [], 0) is None
