"""Cotangents of linear maps one by one: the first layer of a model needs no dx."""

import math

import numpy as np

from purenn.ops._numerics import at_least_single, narrow, quiet, sum_rows, widen
from purenn.typing import Array


@quiet
def dense_input_cotangent(kernel: Array, dy: Array) -> Array:
    """``dx = dy·Wᵀ``."""
    return narrow(at_least_single(dy) @ at_least_single(kernel).T, dy)


@quiet
def dense_parameter_cotangents(x: Array, dy: Array) -> tuple[Array, Array]:
    """``dW = xᵀ·dy`` and ``db``."""
    dy_rows = _rows(dy)
    return narrow(_rows(x).T @ dy_rows, x), narrow(sum_rows(dy_rows), dy)


@quiet
def bias_cotangent(dy: Array) -> Array:
    """``db = 1ᵀ·dy``, over all dimensions but the last."""
    return narrow(sum_rows(_rows(dy)), dy)


def _rows(x: Array) -> Array:
    """All dimensions but the last as one."""
    wide = at_least_single(x)
    return wide if x.ndim == 2 else wide.reshape(math.prod(x.shape[:-1]), x.shape[-1])


def embedding_table_cotangent(ids: Array, table: Array, dy: Array) -> Array:
    """``dT``, entry by entry; the sums are float64, as an id may be repeated many times."""
    features = table.shape[1]
    entries = ids.astype(np.intp)[..., np.newaxis] * features + np.arange(features)
    dtable = np.bincount(entries.ravel(), widen(dy).ravel(), table.size)
    return narrow(dtable.reshape(table.shape), table)
