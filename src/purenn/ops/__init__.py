"""The rules: ``f`` and, beside it, ``f_vjp`` with the contract of ``jax.vjp``."""

from purenn.ops import (
    activations,
    attention,
    convolution,
    dropout,
    linear,
    losses,
    normalization,
    pooling,
    positions,
    recurrence,
    resizing,
)

__all__ = [
    "activations",
    "attention",
    "convolution",
    "dropout",
    "linear",
    "losses",
    "normalization",
    "pooling",
    "positions",
    "recurrence",
    "resizing",
]
