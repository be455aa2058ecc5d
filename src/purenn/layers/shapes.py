"""Layers that give an example another shape."""

import math

from purenn.layers.core import without_parameters
from purenn.typing import Array


def _flatten(x: Array) -> Array:
    return x.reshape(len(x), math.prod(x.shape[1:]))


flatten = without_parameters(
    "flatten",
    lambda shape: (math.prod(shape),),
    _flatten,
    lambda x, key: (_flatten(x), lambda dy: dy.reshape(x.shape)),
)
"""All dimensions of an example become one: (28, 28, 1) -> (784,)."""
