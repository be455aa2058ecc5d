"""Cross-entropy with integer labels and its slope without doors: both are ready at once."""

import numpy as np

from purenn.ops import _softmax
from purenn.ops._numerics import places, quiet, widen
from purenn.typing import Array


@quiet
def joint(rows: Array, labels: Array, sharp: bool) -> tuple[Array, Array, Array]:
    """The losses along the last axis, and p − onehot as a quotient."""
    if rows.size <= _BLOCK:
        return _joint_of_few(widen(rows), labels, sharp)
    logits, its_labels = rows.reshape(-1, rows.shape[-1]), labels.reshape(-1)
    slope = np.empty(logits.shape, widen(logits[:0]).dtype)
    losses, total = np.empty((2, len(logits)), slope.dtype)
    count = max(1, _BLOCK // logits.shape[1])
    for start in range(0, len(logits), count):
        its = slice(start, start + count)
        losses[its], slope[its], total[its, np.newaxis] = _joint_of_few(
            widen(logits[its]), its_labels[its], sharp
        )
    return losses.reshape(labels.shape), slope.reshape(rows.shape), total.reshape(*labels.shape, 1)


_BLOCK = 2**16  # entries whose exponentials stay in the cache until their sum is known


def _joint_of_few(rows: Array, labels: Array, sharp: bool) -> tuple[Array, Array, Array]:
    d, lost, _ = _softmax.below_maximum(rows, sharp)
    e = np.exp(d)
    if sharp:
        e += e * lost
        d += lost
    at_label = places(rows, labels.astype(np.intp, copy=False)[..., np.newaxis])
    its = e.take(at_label)
    e.put(at_label, 0)
    if sharp:
        others = np.add.reduce(e, axis=-1, keepdims=True)
    else:  # a product with ones is a third of that
        others = np.dot(e, np.ones(e.shape[-1], e.dtype))[..., np.newaxis]
    losses = np.log1p(others + (its - 1))
    losses -= d.take(at_label)
    e.put(at_label, -others)
    return losses[..., 0], e, others + its


@np.errstate(all="ignore")
def over(slope: Array, dy: Array, total: Array) -> Array:
    """dL·slope/total, rounded to the dtype of dL."""
    row = widen(dy)[..., np.newaxis] / total
    if slope.size <= _BLOCK:
        return (slope * row).astype(dy.dtype, copy=False)
    return np.multiply(slope, row, out=np.empty(slope.shape, dy.dtype), casting="same_kind")
