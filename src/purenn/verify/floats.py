"""The limits of a floating dtype, bfloat16 among them, as Python floats."""

from typing import Any

import ml_dtypes
import numpy as np


def eps(dtype: Any) -> float:
    """The spacing of the numbers at 1."""
    return float(_info(dtype).eps)


def tiny(dtype: Any) -> float:
    """The smallest normal number."""
    return float(_info(dtype).tiny)


def largest(dtype: Any) -> float:
    """The largest number."""
    return float(_info(dtype).max)


def mantissa(dtype: Any) -> int:
    """The bits after the point."""
    return int(_info(dtype).nmant)


def _info(dtype: Any) -> Any:
    finfo: Any = ml_dtypes.finfo
    return finfo(np.dtype(dtype))
