"""The layers of the cases in JAX: those of the reference, and more of its rules as layers."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

from reference.layers import Forward, activation
from reference.layers import dense as dense
from reference.layers import dropout as dropout
from reference.layers import relu as relu
from reference.layers import serial as serial
from reference.ops import attention, convolution, pooling, recurrence
from reference.ops.normalization import features as normalization

elu = activation(jax.nn.elu)
gelu = activation(jax.nn.gelu)
leaky_relu = activation(jax.nn.leaky_relu)
mish = activation(jax.nn.mish)
sigmoid = activation(jax.nn.sigmoid)
silu = activation(jax.nn.silu)
softplus = activation(jax.nn.softplus)
tanh = activation(jax.nn.tanh)
flatten = activation(lambda x: x.reshape(x.shape[0], -1))


def conv(features: int, kernel_size: tuple[int, ...]) -> Forward:
    """As ``purenn.layers.conv``."""
    return lambda params, state, x, key=None: (
        convolution.conv(x, params["kernel"], padding="SAME") + params["bias"]
    )


def max_pool(window_shape: tuple[int, ...], strides: tuple[int, ...]) -> Forward:
    """As ``purenn.layers.max_pool``."""
    return activation(pooling.max_pool, window_shape=window_shape, strides=strides)


def layer_norm() -> Forward:
    """As ``purenn.layers.layer_norm``."""
    return lambda params, state, x, key=None: normalization.layer_norm(
        x, params["scale"], params["bias"]
    )


def multi_head_attention(num_heads: int) -> Forward:
    """As ``purenn.layers.multi_head_attention``, whose parameters tell the number of heads."""
    return lambda params, state, x, key=None: attention.multi_head_attention(params, x, x, x)


def lstm(features: int) -> Forward:
    """As ``purenn.layers.lstm``, from zeros."""
    return _sequence(recurrence.lstm_cell, features, lambda h: (h, h))


def gru(features: int) -> Forward:
    """As ``purenn.layers.gru``, from zeros."""
    return _sequence(recurrence.gru_cell, features, lambda h: h)


def _sequence(cell: Callable[..., Any], features: int, carry: Callable[[Any], Any]) -> Forward:
    """By ``scan``: the loop of the reference would be compiled once for each step."""

    def forward(params: Any, state: Any, x: Any, key: Any = None) -> Any:
        def step(carry: Any, inputs: Any) -> tuple[Any, Any]:
            carry = cell(params["cell"], carry, inputs)
            return carry, carry[-1] if isinstance(carry, tuple) else carry

        first = carry(jnp.zeros((*x.shape[:-2], features), x.dtype))
        _, outputs = jax.lax.scan(step, first, jnp.moveaxis(x, -2, 0))
        return jnp.moveaxis(outputs, 0, -2)

    return forward
