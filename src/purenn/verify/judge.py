"""How far off is too far: one unit and one tolerance for every rule."""

from typing import Any

import numpy as np

from purenn.typing import Array
from purenn.verify import balls

TOLERANCE = 8.0
"""In units in the last place of the terms that a number is the sum of."""


def ulp(scale: Array, dtype: np.dtype[Any]) -> Array:
    """The spacing of ``dtype`` at ``scale``, in float64; no less than at its smallest normal."""
    info = np.finfo(dtype)
    _, exponent = np.frexp(np.maximum(scale, float(info.tiny)))
    return np.asarray(np.ldexp(1.0, exponent - 1 - info.nmant))


def errors(x: Array, truth: Array, scale: Array) -> Array:
    """|x − truth| in ULPs of ``scale``; 0 where nothing can be asked.

    Nothing is asked where the terms overflow the dtype, and below its smallest normal number no
    more than to be there too: a result that underflows to 0 is right.
    """
    info = np.finfo(x.dtype)
    distance, size = balls.distance(x, truth), np.abs(balls.nearest(truth))
    unit = ulp(scale, x.dtype)
    unit = np.where(size < float(info.tiny), np.maximum(unit, float(info.tiny)), unit)
    with np.errstate(over="ignore", invalid="ignore"):
        found = distance / unit
    return np.where(scale <= float(info.max) / 4, found, 0.0)
