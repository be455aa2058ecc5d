"""Softmax, its kin and their logarithms without doors, along the last axis.

They are shared by the activations and the losses.
"""

from typing import NamedTuple

import numpy as np

from purenn.ops._numerics import difference, places
from purenn.typing import Array


class LogSoftmax(NamedTuple):
    """log p with what its pullback needs."""

    log_p: Array
    p: Array
    top: Array
    """Where the largest entry is, the axis kept: its ``places``."""
    rest: Array
    """1 − p at the largest entry, with all its digits."""


def softmax(x: Array, sharp: bool = True) -> Array:
    """p = eˣ/Σeˣ. Only ``sharp`` has all digits of float64, those of float32 there always are."""
    d, lost, _ = below_maximum(x, sharp)
    e = np.exp(d)
    if sharp:
        e += e * lost
    return np.asarray(e / np.sum(e, axis=-1, keepdims=True))


def softmax_pullback(dy: Array, y: Array) -> Array:
    """dx = y⊙(dy − ⟨y, dy⟩); the dy of a y that is almost 1 is subtracted from all first."""
    shift = np.sum(np.where(y > 0.5, dy, 0), axis=-1, keepdims=True)
    shifted = dy - shift
    mean = np.sum(y * shifted, axis=-1, keepdims=True)
    shifted -= mean
    shifted *= y
    return np.asarray(shifted)


def log_softmax(x: Array, sharp: bool = True) -> LogSoftmax:
    """log p = d − log1p(s), with d = x − max(x) and s the sum of e^d without the largest."""
    d, lost, top = below_maximum(x, sharp)
    e = np.exp(d)
    if sharp:
        e += e * lost
    e.put(top, 0)
    # At the top d is 0, and NaN where the logit is infinite: then nothing is known.
    s = np.sum(e, axis=-1, keepdims=True) + d.take(top)
    p = e / (1 + s)
    p.put(top, 1 / (1 + s))
    return LogSoftmax(d - (np.log1p(s) - lost), p, top, s / (1 + s))


def log_softmax_pullback(dy: Array, y: LogSoftmax) -> Array:
    """dx = dy − p·Σdy; at the largest entry (1 − p)·dy − p·Σ(the other dy)."""
    at_top = dy.take(y.top)
    others = dy.copy()
    others.put(y.top, 0)
    sum_of_others = np.sum(others, axis=-1, keepdims=True)
    dx: Array = dy - y.p * (sum_of_others + at_top)
    dx.put(y.top, y.rest * at_top - y.p.take(y.top) * sum_of_others)
    return dx


def below_maximum(x: Array, sharp: bool) -> tuple[Array, Array | float, Array]:
    """d = x − max(x), if ``sharp`` what rounding cut off it, and the places of the maxima.

    e^d·(1 + that) is sharp: the relative error of e^d is the absolute error of d, and at d = −700
    half an ULP of d is 512 ULP of e^d.
    """
    # To find its place takes a fifth of the time of a maximum along short rows.
    top = places(x, x.argmax(axis=-1, keepdims=True))
    if sharp:
        return *difference(x, x.take(top)), top
    return x - x.take(top), 0.0, top


class Sparsemax(NamedTuple):
    """p with what the loss needs besides."""

    p: Array
    below: Array
    """max(x) − x ≥ 0."""
    shift: Array
    """θ, the axis kept: p = max(0, 1 − below − θ), so that τ = max(x) − 1 + θ."""


def sparsemax(x: Array) -> Sparsemax:
    """p = max(0, x − τ) that adds up to 1.

    With w = max(0, 1 + x − max(x)), whose largest is 1, p = max(0, w − θ) for the same p, and
    Σp = 1 over the k largest says θ = (w₍₂₎ + … + w₍ₖ₎)/k: the 1 has cancelled on paper. Where the
    second largest only just counts, τ has lost the digits of p there, and θ has not.
    """
    d, lost, _ = below_maximum(x, True)
    w = np.maximum((1 + d) + lost, 0)
    falling = -np.sort(-w, axis=-1)
    falling[..., :1] -= 1
    sums = np.cumsum(falling, axis=-1)
    falling[..., :1] += 1
    count = np.arange(1, w.shape[-1] + 1)
    k = np.maximum(np.sum(count * falling > sums, axis=-1, keepdims=True), 1)
    shift = sums.take(places(sums, k - 1)) / k
    return Sparsemax(np.maximum(w - shift, 0), -(d + lost), shift)


def sparsemax_pullback(dy: Array, p: Array) -> Array:
    """dx = s⊙(dy − mean of dy over the support), with s = 1 on the support."""
    support = p > 0
    total = np.sum(np.where(support, dy, 0), axis=-1, keepdims=True)
    mean = total / np.maximum(np.sum(support, axis=-1, keepdims=True), 1)
    return np.where(support, dy - mean, 0)
