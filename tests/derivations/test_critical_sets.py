from sympy import Integer, Rational

from derivations.critical_sets import CriticalSet, CriticalSets, Stratum


def stratum(*neurons):
    return Stratum(neurons, 1, (0, 1, 1), "minimum", "by hand", {})


def test_arrangements_count_the_ways_to_give_types_to_neurons():
    assert stratum("dead", "dead", "dead").arrangements == 1
    assert stratum("kink 1", "dead", "dead").arrangements == 3
    assert stratum("kink 1", "kink 2", "dead").arrangements == 6


def test_titles_count_equal_types():
    assert stratum("kink 1", "dead", "dead").title == "kink 1, 2 x dead"


def test_values_are_listed_once():
    sets = [
        CriticalSet("f", Rational(1, 4), ()),
        CriticalSet("g", Rational(1, 4), ()),
        CriticalSet("h", Integer(1), ()),
    ]
    assert CriticalSets(1, tuple(sets), "").values == (Rational(1, 4), 1)
