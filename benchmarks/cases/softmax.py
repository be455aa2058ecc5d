"""Softmax and cross-entropy: jointly, and in two ways one after the other."""

from functools import partial
from typing import Any

import numpy as np

from benchmarks import on_jax
from benchmarks.turns import Rivals, Run
from purenn.ops.losses import softmax_cross_entropy_with_integer_labels_vjp


def rivals(batch: int, classes: int) -> Rivals:
    """The whole of it: from the logits to the losses, and back to the cotangent of the logits.

    Two rivals go through the probabilities, and back by the Jacobian of softmax: vectorised as
    p⊙(g − ⟨p, g⟩), or formed example by example, diag(p) − ppᵀ, as textbooks do it.
    """
    logits, labels, share = _drawn(batch, classes)

    def joint() -> Any:
        losses, pullback = softmax_cross_entropy_with_integer_labels_vjp(logits, labels)
        return losses, pullback(share)[0]

    return {
        "purenn": lambda: joint,
        "separately": lambda: partial(_separately, logits, labels, share),
        "Jacobian per example": lambda: partial(_by_jacobian, logits, labels, share),
        **on_jax.rivals(partial(_jitted, logits, labels, share)),
    }


def gradients(batch: int, classes: int) -> Rivals:
    """The way back alone, of those that go it through arrays of NumPy: the losses are there."""
    logits, labels, share = _drawn(batch, classes)
    p = _softmax(logits)
    _, pullback = softmax_cross_entropy_with_integer_labels_vjp(logits, labels)
    return {
        "purenn": lambda: lambda: pullback(share),
        "separately": lambda: lambda: _back(p, _cross_entropy(p, labels, share)[1]),
        "Jacobian per example": lambda: (
            lambda: _back_by_jacobian(p, _cross_entropy(p, labels, share)[1])
        ),
    }


def _drawn(batch: int, classes: int) -> tuple[Any, Any, Any]:
    """Logits, labels, and the part of each loss in the mean."""
    rng = np.random.default_rng(0)
    logits = rng.normal(size=(batch, classes)).astype(np.float32)
    return logits, rng.integers(0, classes, batch), np.full(batch, 1 / batch, np.float32)


def _separately(logits: Any, labels: Any, share: Any) -> Any:
    p = _softmax(logits)
    losses, dp = _cross_entropy(p, labels, share)
    return losses, _back(p, dp)


def _back(p: Any, dp: Any) -> Any:
    return p * (dp - np.sum(p * dp, axis=1, keepdims=True))


def _by_jacobian(logits: Any, labels: Any, share: Any) -> Any:
    p = _softmax(logits)
    losses, dp = _cross_entropy(p, labels, share)
    return losses, _back_by_jacobian(p, dp)


def _back_by_jacobian(p: Any, dp: Any) -> Any:
    dlogits = np.empty_like(p)
    for i, (its_p, its_dp) in enumerate(zip(p, dp, strict=True)):
        dlogits[i] = (np.diag(its_p) - np.outer(its_p, its_p)) @ its_dp
    return dlogits


def _softmax(logits: Any) -> Any:
    e = np.exp(logits - logits.max(axis=1, keepdims=True))
    return e / e.sum(axis=1, keepdims=True)


def _cross_entropy(p: Any, labels: Any, share: Any) -> tuple[Any, Any]:
    """Of probabilities, which are kept from 0, and its cotangent."""
    rows = np.arange(len(labels))
    its = np.maximum(p[rows, labels], 1e-7)
    dp = np.zeros_like(p)
    dp[rows, labels] = -share / its
    return -np.log(its), dp


def _jitted(logits: Any, labels: Any, share: Any, device: Any) -> Run:
    import jax
    from optax import softmax_cross_entropy_with_integer_labels as loss

    def both(logits: Any, labels: Any, share: Any) -> Any:
        losses, pullback = jax.vjp(lambda logits: loss(logits, labels), logits)
        return losses, pullback(share)[0]

    return on_jax.compiled(device, both, logits, labels, share)


CASES = {
    f"{name}{batch} × {classes}": partial(make, batch, classes)
    for batch, classes in ((3, 3), (128, 10), (512, 1000))
    for name, make in (("", rivals), ("gradient, ", gradients))
}
