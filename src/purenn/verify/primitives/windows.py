"""What slides over an array: convolutions and reductions of windows."""

import math
from collections.abc import Sequence
from functools import partial
from itertools import product
from typing import Any

import numpy as np
from flint import arb

from purenn.verify.balls import zeros
from purenn.verify.primitives.arrays import padded
from purenn.verify.primitives.duals import (
    Dual,
    Function,
    UnknownPrimitiveError,
    bilinear,
    each_direction,
    linear,
)
from purenn.verify.primitives.reductions import OPERATIONS, fold


def _views(
    x: Any, window: Sequence[int], strides: Sequence[int], dilation: Sequence[int]
) -> list[Any]:
    """For each place in the window what it shows, over the last axes of ``x``."""
    sizes = x.shape[x.ndim - len(window) :]
    counts = [
        max((size - (length - 1) * between - 1) // stride + 1, 0)
        for size, length, between, stride in zip(sizes, window, dilation, strides, strict=True)
    ]
    views = []
    for place in product(*map(range, window)):
        firsts = [i * between for i, between in zip(place, dilation, strict=True)]
        cut = [
            slice(first, first + (count - 1) * stride + 1 if count else first, stride)
            for first, count, stride in zip(firsts, counts, strides, strict=True)
        ]
        views.append(x[(..., *cut)])
    return views


def _convolution(params: dict[str, Any], x: Dual, kernel: Dual) -> Dual:
    """Sums of products of windows with the kernel.

    Raises:
        UnknownPrimitiveError: it has batch groups, as only derivatives of convolutions have.
    """
    if params["batch_group_count"] != 1:
        raise UnknownPrimitiveError("no exact rule for 'conv_general_dilated' with batch groups")
    numbers, groups = params["dimension_numbers"], params["feature_group_count"]
    config = [(0, 0, 0), (0, 0, 0), *_config(params["padding"], params["lhs_dilation"])]
    steps = params["window_strides"], params["rhs_dilation"]

    def convolve(x: Any, kernel: Any) -> Any:
        x = padded(np.transpose(x, numbers.lhs_spec), arb(0), config)
        kernel = np.transpose(kernel, numbers.rhs_spec)
        outputs, inputs, *window = kernel.shape
        kernel = kernel.reshape(groups, outputs // groups, *kernel.shape[1:])
        views = _views(x, window, *steps)
        batch, _, *space = views[0].shape
        y = zeros((batch, groups, outputs // groups, math.prod(space)))
        for view, place in zip(views, np.ndindex(*window), strict=True):
            if view.size:
                view = view.reshape(batch, groups, inputs, -1)
                y = y + np.einsum("ngis,goi->ngos", view, kernel[(..., *place)])
        return np.transpose(y.reshape(batch, outputs, *space), np.argsort(numbers.out_spec))

    ranks = x.value.ndim, kernel.value.ndim
    return bilinear(lambda a, b: each_direction(convolve, a, b, ranks), x, kernel)


def _reduce_window(name: str | None, params: dict[str, Any], x: Dual, *first: Dual) -> Dual:
    """A known operation over each window; outside is what it begins with."""
    operation = name or _operation("reduce_window", params)
    (start,) = first or (Dual(np.asarray(OPERATIONS[operation][1], object), None),)
    config = _config(params["padding"], params["base_dilation"])
    shape = [params[key] for key in ("window_dimensions", "window_strides", "window_dilation")]

    def views(x: Any, fill: Any) -> Any:
        return np.stack(_views(padded(x, fill, config), *shape))

    y = fold(operation, linear(views, [x, start]), [0])
    return _begun(operation, start, y) if first else y


def _reduce(params: dict[str, Any], x: Dual, start: Dual) -> Dual:
    """A known operation over some axes."""
    operation = _operation("reduce", params)
    return _begun(operation, start, fold(operation, x, params["dimensions"]))


def _config(padding: Any, dilation: Sequence[int]) -> list[tuple[int, int, int]]:
    return [(low, high, step - 1) for (low, high), step in zip(padding, dilation, strict=True)]


def _operation(name: str, params: dict[str, Any]) -> str:
    body = params["jaxpr"].eqns
    if len(body) != 1 or body[0].primitive.name not in OPERATIONS:
        raise UnknownPrimitiveError(f"no exact rule for {name!r} by a function of its own")
    return str(body[0].primitive.name)


def _begun(operation: str, start: Dual, y: Dual) -> Dual:
    start = linear(lambda x: np.broadcast_to(x, y.value.shape), [start])
    begun: Dual = OPERATIONS[operation][0](start, y)
    return begun


RULES: dict[str, Function] = {
    "conv_general_dilated": _convolution,
    "reduce_window_sum": partial(_reduce_window, "add"),
    "reduce_window_max": partial(_reduce_window, "max"),
    "reduce_window_min": partial(_reduce_window, "min"),
    "reduce_window": partial(_reduce_window, None),
    "reduce": _reduce,
}
