"""Softmax and its logarithm without their doors: shared by the activations and the losses."""

from typing import NamedTuple

import numpy as np

from purenn.errors import ShapeError
from purenn.ops._numerics import subtract_maximum
from purenn.typing import Array


class LogSoftmax(NamedTuple):
    """log p with what its pullback needs."""

    log_p: Array
    p: Array
    top: Array
    """Index of the largest entry, the axis kept."""
    rest: Array
    """1 − p at the largest entry, with all its digits."""


def softmax(x: Array, axis: int) -> Array:
    """p = eˣ/Σeˣ."""
    _check_axis("softmax", x, axis)
    d, lost = subtract_maximum(x, axis)
    e = np.exp(d)
    e += e * lost
    return np.asarray(e / np.sum(e, axis=axis, keepdims=True))


def log_softmax(x: Array, axis: int) -> LogSoftmax:
    """log p = d − log1p(s), with d = x − max(x) and s the sum of e^d without the largest."""
    _check_axis("log_softmax", x, axis)
    d, lost = subtract_maximum(x, axis)
    top = np.argmax(x, axis=axis, keepdims=True)
    e = np.exp(d)
    e += e * lost
    np.put_along_axis(e, top, 0, axis)
    # At the top d is 0, and NaN where the logit is infinite: then nothing is known.
    s = np.sum(e, axis=axis, keepdims=True) + np.take_along_axis(d, top, axis)
    p = e / (1 + s)
    np.put_along_axis(p, top, 1 / (1 + s), axis)
    return LogSoftmax(d - (np.log1p(s) - lost), p, top, s / (1 + s))


def log_softmax_pullback(dy: Array, y: LogSoftmax, axis: int) -> Array:
    """dx = dy − p·Σdy; at the largest entry (1 − p)·dy − p·Σ(the other dy)."""
    at_top = np.take_along_axis(dy, y.top, axis)
    others = dy.copy()
    np.put_along_axis(others, y.top, 0, axis)
    sum_of_others = np.sum(others, axis=axis, keepdims=True)
    dx: Array = dy - y.p * (sum_of_others + at_top)
    p_top = np.take_along_axis(y.p, y.top, axis)
    np.put_along_axis(dx, y.top, y.rest * at_top - p_top * sum_of_others, axis)
    return dx


def _check_axis(name: str, x: Array, axis: int) -> None:
    if not -x.ndim <= axis < x.ndim:
        raise ShapeError(f"{name}: axis is {axis}, but x has shape {x.shape}")
    if x.shape[axis] == 0:
        raise ShapeError(f"{name}: x has shape {x.shape}, expected an entry along axis {axis}")
