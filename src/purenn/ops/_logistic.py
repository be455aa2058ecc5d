"""σ(x) − q where the two cancel: a logistic function with twice the digits of a float64.

Near x = log(q/(1 − q)) the difference keeps the error of σ, which is that of eˣ: no formula in
float64 does better. So eˣ is computed as the unevaluated sum of two float64 (Dekker 1971).
"""

import numpy as np

from purenn.ops._numerics import difference, product
from purenn.typing import Values

Pair = tuple[Values, Values]

# ln 2 in three parts; the first two have 32 bits, so that their products with k are exact.
_LN2 = (0.6931471806019545, -4.200915072890502e-11, 2.0941744292700725e-21)
_HALVINGS = 17


def sigmoid_minus(x: Values, q: Values) -> Values:
    """σ(x) − q, with all digits."""
    small, less = _small_sigmoid(-np.abs(x))
    above = x > 0  # there σ(x) = 1 − σ(−x)
    rest, rest_lost = difference(np.ones_like(q), q)
    d, lost = difference(np.where(above, rest, small), np.where(above, small, q))
    return np.asarray(d + (lost + np.where(above, rest_lost - less, less)))


def _small_sigmoid(n: Values) -> Pair:
    """eⁿ/(1 + eⁿ) for n ≤ 0."""
    e, e_low = _exponential(n)
    d, d_low = difference(np.ones_like(e), -e)
    d_low = d_low + e_low
    y = e / d
    back, back_low = product(y, d)
    return y, ((e - back) - back_low + e_low - y * d_low) / d


def _exponential(n: Values) -> Pair:
    """eⁿ for −700 ≤ n ≤ 0.

    n = k·ln 2 + r; e^(r/2¹⁷) − 1 by its Taylor series, doubled 17 times by p ← 2p + p².
    """
    k = np.rint(n / _LN2[0])
    r, lost = difference(n - k * _LN2[0], k * _LN2[1])
    t, t_low = r / 2**_HALVINGS, (lost - k * _LN2[2]) / 2**_HALVINGS
    square, square_low = product(t, t)
    square_low = square_low + 2 * t * t_low
    cube, cube_low = product(square, t)
    sixth = cube / 6
    back, back_low = product(sixth, 6.0)
    sixth_low = ((cube - back) - back_low + cube_low + square_low * t + square * t_low) / 6
    p, p_low = _sum(t, square / 2, t_low + square_low / 2)
    p, p_low = _sum(p, sixth, p_low + sixth_low + square * square * (1 / 24 + t / 120))
    for _ in range(_HALVINGS):
        square, square_low = product(p, p)
        p, p_low = _sum(2 * p, square, 2 * p_low + square_low + 2 * p * p_low)
    one, low = _sum(np.ones_like(p), p, p_low)
    return np.ldexp(one, k.astype(int)), np.ldexp(low, k.astype(int))


def _sum(a: Values, b: Values, low: Values) -> Pair:
    """a + b + low, the last far smaller."""
    high, lost = difference(a, -b)
    return difference(high, -(lost + low))
