r"""Coefficient tables of the one-step methods, as data.

Two families are tabulated, both for autonomous systems :math:`y' = f(y)`.

Explicit Runge-Kutta (:class:`ExplicitTableau`)
    :math:`k_i = f(y + h \sum_{j<i} a_{ij} k_j)`, :math:`y_1 = y + h \sum_i b_i k_i`,
    error estimate :math:`h \sum_i e_i k_i`. DOP853 has its coefficients in :mod:`numerics.dop853`.
Rosenbrock (:class:`RosenbrockTableau`), in the transformed variables of Hairer & Wanner that need no product
with J
    :math:`(I/(h\gamma) - J)\,U_i = f(y + \sum_{j<i} a_{ij} U_j) + \sum_{j<i} c_{ij} U_j / h`,
    :math:`y_1 = y + \sum_i m_i U_i`, error estimate :math:`U_s`.

The tables hold exact fractions where the source gives them; the order conditions are checked in the tests.
"""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction

from numerics import dop853

__all__ = ["DOP853", "DORMAND_PRINCE", "ExplicitTableau", "RODAS4", "RosenbrockTableau"]

Row = tuple[float | Fraction, ...]


@dataclass(frozen=True, eq=False)
class ExplicitTableau:
    r"""An embedded explicit Runge-Kutta pair whose last stage is the rate at the new state.

    Two tables are equal only if they are the same object, so that what is computed from one can be looked up quickly.

    Parameters
    ----------
    order : int
        Order of the solution that is carried on.
    error_order : int
        The error estimate is :math:`O(h^{q+1})` with q this number: the order of the embedded solution where there is one.
    dense_order : int
        Order of the continuous extension.
    a : tuple of rows
        Row i holds :math:`a_{i1}, \dots, a_{i,i-1}`; the first row is empty and the last equals b.
    error : tuple
        Weights :math:`e_i = b_i - \hat b_i`, one a stage; one fewer than stages where the rate at the new state does not enter
        it, so that only accepted steps need that rate.
    dense : tuple of rows
        Row i holds :math:`p_{i1}, p_{i2}, \dots` of the weight polynomial
        :math:`b_i(s) = \sum_k p_{ik} s^k`, so that :math:`y(s) = y + h \sum_i b_i(s) k_i` for s in [0, 1].
    stiff_ratio : float
        h times the modulus of a real negative eigenvalue at which a step is limited by stability.
    second_error : tuple
        Weights of a second, cruder estimate; empty where there is none.
    extra : tuple of rows
        Further stages :math:`a_i`, which only the continuous extension needs.
    """

    order: int
    error_order: int
    dense_order: int
    a: tuple[Row, ...]
    error: Row
    dense: tuple[Row, ...]
    stiff_ratio: float
    second_error: Row = ()
    extra: tuple[Row, ...] = ()


@dataclass(frozen=True, eq=False)
class RosenbrockTableau:
    r"""A stiffly accurate Rosenbrock method with an embedded error estimate.

    Parameters
    ----------
    order, error_order, dense_order : int
        As in :class:`ExplicitTableau`.
    gamma : float
        The diagonal coefficient.
    a, c : tuple of rows
        Strictly lower triangular; row i holds the entries j < i, the first row is empty.
    dense : tuple of two rows
        Rows D2 and D3: with :math:`A = \sum_j d_{2j} U_j`, :math:`B = \sum_j d_{3j} U_j` the continuous
        extension is
        :math:`y(s) = (1-s)\,y_0 + s\,(y_1 + (1-s)(A + s B))`.
    """

    order: int
    error_order: int
    dense_order: int
    gamma: float
    a: tuple[Row, ...]
    c: tuple[Row, ...]
    dense: tuple[Row, Row]


_F = Fraction

# Dormand & Prince (1980), J. Comput. Appl. Math. 6, 19-26; Hairer, Norsett & Wanner I, table II.5.2.
# Continuous extension: Shampine (1986), Math. Comp. 46, 135-150; the same quartic as in Hairer's code DOPRI5.
DORMAND_PRINCE = ExplicitTableau(
    order=5,
    error_order=4,
    dense_order=4,
    a=(
        (),
        (_F(1, 5),),
        (_F(3, 40), _F(9, 40)),
        (_F(44, 45), _F(-56, 15), _F(32, 9)),
        (_F(19372, 6561), _F(-25360, 2187), _F(64448, 6561), _F(-212, 729)),
        (_F(9017, 3168), _F(-355, 33), _F(46732, 5247), _F(49, 176), _F(-5103, 18656)),
        (_F(35, 384), _F(0), _F(500, 1113), _F(125, 192), _F(-2187, 6784), _F(11, 84)),
    ),
    error=(
        _F(71, 57600),
        _F(0),
        _F(-71, 16695),
        _F(71, 1920),
        _F(-17253, 339200),
        _F(22, 525),
        _F(-1, 40),
    ),
    dense=(
        (
            _F(1),
            _F(-8048581381, 2820520608),
            _F(8663915743, 2820520608),
            _F(-12715105075, 11282082432),
        ),
        (_F(0), _F(0), _F(0), _F(0)),
        (
            _F(0),
            _F(131558114200, 32700410799),
            _F(-68118460800, 10900136933),
            _F(87487479700, 32700410799),
        ),
        (
            _F(0),
            _F(-1754552775, 470086768),
            _F(14199869525, 1410260304),
            _F(-10690763975, 1880347072),
        ),
        (
            _F(0),
            _F(127303824393, 49829197408),
            _F(-318862633887, 49829197408),
            _F(701980252875, 199316789632),
        ),
        (_F(0), _F(-282668133, 205662961), _F(2019193451, 616988883), _F(-1453857185, 822651844)),
        (_F(0), _F(40617522, 29380423), _F(-110615467, 29380423), _F(69997945, 29380423)),
    ),
    stiff_ratio=3.25,  # Hairer & Wanner II, sec. IV.2
)

DOP853 = ExplicitTableau(
    order=8,
    error_order=7,  # of the combined estimate: see the step
    dense_order=7,
    a=dop853.STAGES,
    error=dop853.ERROR,
    second_error=dop853.SECOND_ERROR,
    extra=dop853.EXTRA,
    dense=dop853.DENSE,
    stiff_ratio=6.1,  # as in Hairer's code
)

# Hairer & Wanner II (2nd ed., 1996), sec. IV.7 and IV.10: RODAS, L-stable and stiffly accurate, order 4(3),
# with the continuous extension of order 3 of their code.
RODAS4 = RosenbrockTableau(
    order=4,
    error_order=3,
    dense_order=3,
    gamma=0.25,
    a=(
        (),
        (1.544,),
        (0.9466785280815826, 0.2557011698983284),
        (3.314825187068521, 2.896124015972201, 0.9986419139977817),
        (1.221224509226641, 6.019134481288629, 12.53708332932087, -0.6878860361058950),
        (1.221224509226641, 6.019134481288629, 12.53708332932087, -0.6878860361058950, 1.0),
    ),
    c=(
        (),
        (-5.6688,),
        (-2.430093356833875, -0.2063599157091915),
        (-0.1073529058151375, -9.594562251023355, -20.47028614809616),
        (7.496443313967647, -10.24680431464352, -33.99990352819905, 11.70890893206160),
        (8.083246795921522, -7.981132988064893, -31.52159432874371, 16.31930543123136, -6.058818238834054),
    ),
    dense=(
        (10.12623508344586, -7.487995877610167, -34.80091861555747, -7.992771707568823, 1.025137723295662),
        (
            -0.6762803392801253,
            6.087714651680015,
            16.43084320892478,
            24.76722511418386,
            -6.594389125716872,
        ),
    ),
)
