"""Cotangents of linear maps one by one: the first layer of a model needs no dx."""

import math

import numpy as np

from purenn.ops._numerics import at_least_single, fold_rows, narrow, widen
from purenn.typing import Array


def dense_input_cotangent(kernel: Array, dy: Array) -> Array:
    """``dx = dy·Wᵀ``."""
    with np.errstate(over="ignore", invalid="ignore"):
        return narrow(at_least_single(dy) @ at_least_single(kernel).T, dy)


def dense_parameter_cotangents(x: Array, dy: Array) -> tuple[Array, Array]:
    """``dW = xᵀ·dy`` and ``db``."""
    count = math.prod(x.shape[:-1])
    rows = at_least_single(x).reshape(count, x.shape[-1])
    dy_rows = at_least_single(dy).reshape(count, dy.shape[-1])
    with np.errstate(over="ignore", invalid="ignore"):
        dkernel = narrow(rows.T @ dy_rows, x)
    return dkernel, bias_cotangent(dy)


def bias_cotangent(dy: Array) -> Array:
    """``db = 1ᵀ·dy``, over all dimensions but the last."""
    rows = at_least_single(dy).reshape(math.prod(dy.shape[:-1]), dy.shape[-1])
    with np.errstate(over="ignore", invalid="ignore"):
        return narrow(fold_rows(rows), dy)


def embedding_table_cotangent(ids: Array, table: Array, dy: Array) -> Array:
    """``dT``, entry by entry; the sums are float64, as an id may be repeated many times."""
    features = table.shape[1]
    entries = ids.astype(np.intp)[..., np.newaxis] * features + np.arange(features)
    dtable = np.bincount(entries.ravel(), widen(dy).ravel(), table.size)
    return narrow(dtable.reshape(table.shape), table)
