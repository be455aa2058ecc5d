"""Linear maps of arrays: what is copied, moved, summed or contracted."""

from collections.abc import Sequence
from functools import partial
from typing import Any

import jax
import numpy as np
from flint import arb

from purenn.verify.balls import Balls, zeros
from purenn.verify.primitives.choices import Ties, compare
from purenn.verify.primitives.duals import (
    Dual,
    Function,
    UnknownPrimitiveError,
    bilinear,
    join,
    linear,
    numbers,
)
from purenn.verify.primitives.kinks import step


def convert(params: dict[str, Any], ties: Ties, x: Dual) -> Dual:
    """A change of dtype: rounding is what exact arithmetic does not do, unless to integers."""
    dtype = params["new_dtype"]
    if jax.numpy.issubdtype(dtype, np.floating):
        return Dual(numbers(x.value), x.tangents, _as_numbers(x))
    if jax.numpy.issubdtype(dtype, np.complexfloating):
        raise UnknownPrimitiveError("no exact rule for a conversion to complex numbers")
    if np.dtype(dtype) == np.dtype(bool):
        if x.value.dtype == bool:
            return x
        return compare("ne", x, Dual(np.zeros((), x.value.dtype), None), ties)
    if x.value.dtype == object:
        x = step("truncate", x, ties)
        integers = [int(ball.unique_fmpz()) for ball in x.value.flat]
        return Dual(np.array(integers, dtype).reshape(x.value.shape), None, x.nearby)
    return Dual(x.value.astype(dtype), None, _as_numbers(x))


def _as_numbers(x: Dual) -> Balls | None:
    if x.nearby is None or x.value.dtype != bool:
        return x.nearby
    either = np.asarray(join(arb(0), arb(1)), object)
    return np.where(x.nearby, either, numbers(x.value))


def _broadcast(params: dict[str, Any], x: Any) -> Any:
    shape = [1] * len(params["shape"])
    for size, axis in zip(x.shape, params["broadcast_dimensions"], strict=True):
        shape[axis] = size
    return np.broadcast_to(x.reshape(shape), params["shape"])


def _sum(params: dict[str, Any], x: Any) -> Any:
    zero = arb(0) if x.dtype == object else 0
    return np.asarray(np.add.reduce(x, axis=tuple(params["axes"]), initial=zero), x.dtype)


def _cumsum(params: dict[str, Any], x: Any) -> Any:
    axis, reverse = params["axis"], params["reverse"]
    x = np.flip(x, axis) if reverse else x
    y = np.add.accumulate(x, axis, x.dtype) if x.size else x
    return np.flip(y, axis) if reverse else y


def _slice(params: dict[str, Any], x: Any) -> Any:
    strides = params["strides"] or (1,) * x.ndim
    bounds = zip(params["start_indices"], params["limit_indices"], strides, strict=True)
    return x[tuple(slice(*bound) for bound in bounds)]


def padded(x: Any, fill: Any, config: Sequence[tuple[int, int, int]]) -> Any:
    """``x`` with (low, high, between) elements more along each axis; fewer where negative."""
    for axis, (low, high, between) in enumerate(config):
        y = np.moveaxis(x, axis, 0)
        size = len(y) + max(len(y) - 1, 0) * between
        wide = np.empty((max(low, 0) + size + max(high, 0), *y.shape[1:]), x.dtype)
        wide[...] = fill
        wide[max(low, 0) : max(low, 0) + size : between + 1] = y
        x = np.moveaxis(wide[max(-low, 0) : len(wide) - max(-high, 0)], 0, axis)
    return x


def _dot(params: dict[str, Any], a: Dual, b: Dual) -> Dual:
    """Products summed over axes, of all directions in one call."""
    (contract_a, contract_b), (batch_a, batch_b) = params["dimension_numbers"]
    of_a = list(range(a.value.ndim))
    of_b = list(range(a.value.ndim, a.value.ndim + b.value.ndim))
    for i, j in zip((*contract_a, *batch_a), (*contract_b, *batch_b), strict=True):
        of_b[j] = of_a[i]
    out = [of_a[i] for i in batch_a]
    out += [d for i, d in enumerate(of_a) if i not in (*contract_a, *batch_a)]
    out += [d for j, d in enumerate(of_b) if j not in (*contract_b, *batch_b)]
    direction = len(of_a) + len(of_b)

    def product(x: Any, y: Any) -> Any:
        front = [direction] * (x.ndim > len(of_a)), [direction] * (y.ndim > len(of_b))
        over_x, over_y = front[0] + of_a, front[1] + of_b
        over = max(front, key=len) + out
        sizes = dict(zip(over_x + over_y, x.shape + y.shape, strict=True))
        if 0 in sizes.values():
            return zeros(tuple(sizes[d] for d in over))
        return np.asarray(np.einsum(x, over_x, y, over_y, over), object)

    return bilinear(product, a, b)


def _pieces(axis: int, parts: Sequence[Any], x: Dual) -> list[Dual]:
    return [linear(partial(np.take, indices=part, axis=axis), [x]) for part in parts]


def _split(params: dict[str, Any], x: Dual) -> list[Dual]:
    ends = np.cumsum(params["sizes"])
    parts = [range(end - size, end) for end, size in zip(ends, params["sizes"], strict=True)]
    return _pieces(params["axis"], parts, x)


# What only copies elements, by the parameters.
_COPIES: dict[str, Function] = {
    "copy": lambda p, x: x,
    "copy_p": lambda p, x: x,
    "reduce_precision": lambda p, x: x,
    "reshape": lambda p, x: x.reshape(p["new_sizes"]),
    "squeeze": lambda p, x: np.squeeze(x, p["dimensions"]),
    "expand_dims": lambda p, x: np.expand_dims(x, p["dimensions"]),
    "transpose": lambda p, x: np.transpose(x, p["permutation"]),
    "rev": lambda p, x: np.flip(x, p["dimensions"]),
    "tile": lambda p, x: np.tile(x, p["reps"]),
    "concatenate": lambda p, *xs: np.concatenate(xs, p["dimension"]),
    "stack": lambda p, *xs: np.stack(xs, p["axis"]),
    "broadcast_in_dim": _broadcast,
    "slice": _slice,
    "pad": lambda p, x, fill: padded(x, fill, p["padding_config"]),
}


def _linear(function: Function) -> Function:
    return lambda p, *xs: linear(partial(function, p), xs)


RULES: dict[str, Function] = {
    **{name: _linear(function) for name, function in _COPIES.items()},
    "split": _split,
    "unstack": lambda p, x: _pieces(p["axis"], range(x.value.shape[p["axis"]]), x),
    "reduce_sum": _linear(_sum),
    "cumsum": _linear(_cumsum),
    "dot_general": _dot,
}

MOVES = {*_COPIES, "split", "unstack"}
