"""The gradient of softmax and cross-entropy: jointly, and in two ways one after the other."""

from functools import partial
from typing import Any

import numpy as np

from benchmarks.turns import Rivals
from purenn.ops.losses import softmax_cross_entropy_with_integer_labels_vjp

SIZES = [(3, 3), (128, 10), (512, 1000)]


def rivals(batch: int, classes: int) -> Rivals:
    """From the cotangent of the losses to that of the logits, all that can be known before given.

    The two rivals go from probabilities to logits by the Jacobian of softmax: vectorised as
    p⊙(g − ⟨p, g⟩), or formed example by example, diag(p) − ppᵀ, as textbooks do it.
    """
    rng = np.random.default_rng(0)
    logits = rng.normal(size=(batch, classes)).astype(np.float32)
    labels = rng.integers(0, classes, batch)
    share = np.full(batch, 1 / batch, np.float32)
    _, pullback = softmax_cross_entropy_with_integer_labels_vjp(logits, labels)
    e = np.exp(logits - logits.max(axis=1, keepdims=True))
    p = e / e.sum(axis=1, keepdims=True)
    hot = np.eye(classes, dtype=np.float32)[labels]

    def joint() -> Any:
        return pullback(share)[0]

    def vectorised() -> Any:
        dp = -hot / np.clip(p, 1e-7, 1 - 1e-7) * share[:, None]
        return p * (dp - np.sum(p * dp, axis=1, keepdims=True))

    def by_jacobian() -> Any:
        dp = -hot / np.clip(p, 1e-7, 1 - 1e-7) * share[:, None]
        dlogits = np.empty_like(p)
        for i, (its_p, its_dp) in enumerate(zip(p, dp, strict=True)):
            column = its_p.reshape(-1, 1)
            jacobian = np.diagflat(column) - np.dot(column, column.T)
            dlogits[i] = np.dot(jacobian, its_dp)
        return dlogits

    for other in (vectorised, by_jacobian):
        np.testing.assert_allclose(joint(), other(), rtol=1e-3, atol=1e-6)
    return {
        "purenn": lambda: joint,
        "separately": lambda: vectorised,
        "Jacobian per example": lambda: by_jacobian,
        "with the loss": lambda: _whole(logits, labels, share),
        "JAX jit, with the loss": lambda: _jitted(logits, labels),
    }


def _whole(logits: Any, labels: Any, share: Any) -> Any:
    return lambda: softmax_cross_entropy_with_integer_labels_vjp(logits, labels)[1](share)


def _jitted(logits: Any, labels: Any) -> Any:
    import jax
    import optax

    @jax.jit
    def grad(logits: Any) -> Any:
        def mean(logits: Any) -> Any:
            return optax.softmax_cross_entropy_with_integer_labels(logits, labels).mean()

        return jax.value_and_grad(mean)(logits)

    given = jax.numpy.asarray(logits)
    return lambda: jax.block_until_ready(grad(given))


CASES = {f"{batch} × {classes}": partial(rivals, batch, classes) for batch, classes in SIZES}
