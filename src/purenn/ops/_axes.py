"""The axes that a function runs along: made one, the last, and put back where they were."""

import math
from typing import TypeAlias

import numpy as np

from purenn.contract import check_integer
from purenn.errors import DtypeError, ShapeError
from purenn.typing import Array, Shape

Axis: TypeAlias = int | tuple[int, ...] | None
"""One axis, several, or all of them."""


def axes_of(name: str, x: Array, axis: Axis, argument: str = "x") -> Shape:
    """The axes counted from the front; refused where ``x`` lacks them or one comes twice."""
    if type(axis) is int and -x.ndim <= axis < x.ndim:
        return (axis % x.ndim,)
    if axis is None:
        return tuple(range(x.ndim))
    given = axis if isinstance(axis, tuple) else (axis,)
    if any(isinstance(one, bool) or not isinstance(one, int | np.integer) for one in given):
        raise DtypeError(f"{name}: axis is {axis!r}, expected an int, a tuple of ints or None")
    if not all(-x.ndim <= one < x.ndim for one in given):
        raise ShapeError(f"{name}: axis is {axis}, but {argument} has shape {x.shape}")
    found = tuple(one % x.ndim for one in given)
    if len(set(found)) < len(found):
        raise ShapeError(f"{name}: axis is {axis}, which names an axis of {argument} twice")
    return found


def axis_of(name: str, x: Array, axis: int, argument: str = "x") -> int:
    """One axis counted from the front; refused where ``x`` lacks it."""
    return axes_of(name, x, check_integer(name, "axis", axis), argument)[0]


def nonempty_axes(name: str, x: Array, axis: Axis, argument: str = "x") -> Shape:
    """The same; refused where there is nothing along them."""
    axes = axes_of(name, x, axis, argument)
    if any(x.shape[one] == 0 for one in axes):
        raise ShapeError(
            f"{name}: {argument} has shape {x.shape}, expected an entry along axis {axis}"
        )
    return axes


def lanes(x: Array, axes: Shape) -> Array:
    """``x`` with ``axes``, in their order, as a single last one."""
    if axes == (x.ndim - 1,):
        return x
    kept = _others(x, axes)
    moved = x.transpose(*kept, *axes)
    return moved.reshape(*moved.shape[: len(kept)], math.prod(moved.shape[len(kept) :]))


def from_lanes(rows: Array, like: Array, axes: Shape) -> Array:
    """What ``lanes`` made of an array of the shape of ``like``, back in that shape."""
    if axes == (like.ndim - 1,):
        return rows
    order = (*_others(like, axes), *axes)
    return rows.reshape([like.shape[one] for one in order]).transpose(np.argsort(order))


def _others(x: Array, axes: Shape) -> Shape:
    return tuple(one for one in range(x.ndim) if one not in axes)
