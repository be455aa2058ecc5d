"""Layers of resizing. Images are NHWC."""

from purenn.layers.core import Layer, of_rule
from purenn.ops import resizing
from purenn.ops._windows import Sizes, rank_of
from purenn.typing import Shape


def upsample_nearest(scale: Sizes) -> Layer:
    """Each entry as a block of ``scale`` entries: (7, 7, 64) -> (14, 14, 64) with ``scale=2``.

    Raises DomainError where a scale is less than 1, DtypeError where it is no int.
    """

    def shape(input_shape: Shape) -> Shape:
        its = resizing._blocks((1, *input_shape), scale)
        return *(block.size for block in its), input_shape[-1]

    shape((1,) * (rank_of("upsample_nearest", scale=scale) + 1))
    return of_rule(resizing.upsample_nearest, shape, scale=scale)
