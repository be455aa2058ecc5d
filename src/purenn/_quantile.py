"""Quantiles of the standard normal distribution, what a uniform number becomes a normal one by."""

import numpy as np

from purenn.typing import Array, Values

# Numerators and denominators about 0, in a tail and far out in it, the highest power first:
# Wichura, *Algorithm AS 241: the percentage points of the normal distribution*, Appl. Statist. 37
# (1988), PPND16, which is right to 1 in 10¹⁶.
_CENTRE = (
    (2509.0809287301226727, 33430.575583588128105, 67265.770927008700853, 45921.953931549871457,
     13731.693765509461125, 1971.5909503065514427, 133.14166789178437745, 3.3871328727963666080),
    (5226.4952788528545610, 28729.085735721942674, 39307.895800092710610, 21213.794301586595867,
     5394.1960214247511077, 687.18700749205790830, 42.313330701600911252, 1.0),
)  # fmt: skip
_TAIL = (
    (7.74545014278341407640e-4, 2.27238449892691845833e-2, 0.241780725177450611770,
     1.27045825245236838258, 3.64784832476320460504, 5.76949722146069140550,
     4.63033784615654529590, 1.42343711074968357734),
    (1.05075007164441684324e-9, 5.47593808499534494600e-4, 1.51986665636164571966e-2,
     0.148103976427480074590, 0.689767334985100004550, 1.67638483018380384940,
     2.05319162663775882187, 1.0),
)  # fmt: skip
_FAR = (
    (2.01033439929228813265e-7, 2.71155556874348757815e-5, 1.24266094738807843860e-3,
     2.65321895265761230930e-2, 0.296560571828504891230, 1.78482653991729133580,
     5.46378491116411436990, 6.65790464350110377720),
    (2.04426310338993978564e-15, 1.42151175831644588870e-7, 1.84631831751005468180e-5,
     7.86869131145613259100e-4, 1.48753612908506148525e-2, 0.136929880922735805310,
     0.599832206555887937690, 1.0),
)  # fmt: skip

_BLOCK = 2**13  # elements whose float64 stay in the cache


def normal_quantile(u: Array) -> Array:
    """z with erf(z/√2) = u, the normal number below which (1 + u)/2 of all are; in the dtype of u.

    u is from −1 to 1, where z is −∞ and ∞.
    """
    flat, z = u.reshape(-1), np.empty(u.size, u.dtype)
    for start in range(0, u.size, _BLOCK):
        its = slice(start, start + _BLOCK)
        z[its] = _quantile(flat[its].astype(np.float64))
    return z.reshape(u.shape)


def _quantile(u: Array) -> Array:
    half = u / 2
    z: Array = half * _ratio(_CENTRE, 0.180625 - half * half)
    (outer,) = np.nonzero(np.abs(half) > 0.425)
    rest = (1 - np.abs(u[outer])) / 2  # exact, and what is left of 1 beyond |z|
    with np.errstate(divide="ignore"):
        r = np.sqrt(-np.log(rest))
    size = np.where(r <= 5, _ratio(_TAIL, np.minimum(r, 5) - 1.6), np.inf)
    far = (r > 5) & (rest > 0)
    size[far] = _ratio(_FAR, r[far] - 5)
    z[outer] = np.copysign(size, u[outer])
    return z


def _ratio(of: tuple[tuple[float, ...], tuple[float, ...]], r: Values) -> Values:
    above, below = (np.full(r.shape, coefficients[0]) for coefficients in of)
    for y, coefficients in ((above, of[0]), (below, of[1])):
        for coefficient in coefficients[1:]:
            y *= r
            y += coefficient
    above /= below
    return above
