"""Linear maps."""

import math

import numpy as np

from purenn.contract import rule, unchecked
from purenn.ops._numerics import at_least_single, narrow
from purenn.typing import Array, Float, Pullback


@rule
def dense(
    x: Float[Array, "*batch in"],
    kernel: Float[Array, "in out"],
    bias: Float[Array, " out"],
) -> Float[Array, "*batch out"]:
    """x·W + b along the last axis, ``kernel`` W laid out as in ``flax.linen.Dense``."""
    y = at_least_single(x) @ at_least_single(kernel)
    return narrow(y + at_least_single(bias), x)


@rule
def dense_vjp(
    x: Float[Array, "*batch in"],
    kernel: Float[Array, "in out"],
    bias: Float[Array, " out"],
) -> tuple[Float[Array, "*batch out"], Pullback]:
    """Dense with its pullback.

    yₙⱼ = Σᵢ xₙᵢWᵢⱼ + bⱼ, and so dxₙᵢ = Σⱼ dyₙⱼWᵢⱼ, dWᵢⱼ = Σₙ xₙᵢdyₙⱼ, dbⱼ = Σₙ dyₙⱼ:
    dx = dy·Wᵀ (batch, in), dW = xᵀ·dy (in, out), db = 1ᵀ·dy (out), n over all of the batch.
    """

    def pullback(dy: Array) -> tuple[Array, Array, Array]:
        dkernel, dbias = dense_parameter_cotangents(x, dy)
        return dense_input_cotangent(kernel, dy), dkernel, dbias

    return unchecked(dense)(x, kernel, bias), pullback


def dense_input_cotangent(kernel: Array, dy: Array) -> Array:
    """Dx alone, for whoever wants no more."""
    return narrow(at_least_single(dy) @ at_least_single(kernel).T, dy)


def dense_parameter_cotangents(x: Array, dy: Array) -> tuple[Array, Array]:
    """(dW, db) alone: the first layer of a model needs no dx."""
    count = math.prod(x.shape[:-1])
    rows = at_least_single(x).reshape(count, x.shape[-1])
    dy_rows = at_least_single(dy).reshape(count, dy.shape[-1])
    return narrow(rows.T @ dy_rows, x), narrow(np.add.reduce(dy_rows, axis=0), x)
