"""Layers of resizing. Images are NHWC."""

from purenn.layers.core import Layer, of_rule
from purenn.ops import resizing
from purenn.ops._windows import Sizes
from purenn.typing import Shape


def upsample_nearest(scale: Sizes) -> Layer:
    """Each entry as a block of ``scale`` entries: (7, 7, 64) -> (14, 14, 64) with ``scale=2``."""

    def shape(input_shape: Shape) -> Shape:
        its = resizing.blocks((1, *input_shape), scale)
        return *(block.size for block in its), input_shape[-1]

    return of_rule(resizing.upsample_nearest, shape, scale=scale)
