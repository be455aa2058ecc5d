"""Layers in JAX: one function ``(params, state, x, key=None) -> y`` each, over the same trees."""

import math
from collections.abc import Callable
from typing import Any, TypeAlias

import jax
import jax.numpy as jnp

Forward: TypeAlias = Callable[..., jax.Array]


def dense(features: int) -> Forward:
    def forward(
        params: dict[str, Any], state: dict[str, Any], x: jax.Array, key: Any = None
    ) -> jax.Array:
        kernel, bias = params["kernel"], params["bias"]
        y: jax.Array = jnp.einsum("n...i,ij->n...j", x, kernel) + bias.reshape(features)
        return y

    return forward


def activation(function: Callable[..., jax.Array], **static: Any) -> Forward:
    return lambda params, state, x, key=None: function(x, **static)


def dropout(rate: float) -> Forward:
    def forward(
        params: dict[str, Any], state: dict[str, Any], x: jax.Array, key: Any = None
    ) -> jax.Array:
        keep = jnp.float32(1 - rate)  # as for a Python float without 64 bits
        kept = jax.random.bernoulli(jax.random.wrap_key_data(key), keep, x.shape)
        return jnp.where(kept, x / (1 - rate), 0)

    return forward


def serial(**layers: Forward) -> Forward:
    def forward(
        params: dict[str, Any], state: dict[str, Any], x: jax.Array, key: Any = None
    ) -> jax.Array:
        keys: Any = [None] * len(layers)
        if key is not None:
            keys = jax.random.key_data(jax.random.split(jax.random.wrap_key_data(key), len(layers)))
        for (name, layer), its_key in zip(layers.items(), keys, strict=True):
            x = layer(params.get(name, {}), state.get(name, {}), x, its_key)
        return x

    return forward


def residual(layer: Forward) -> Forward:
    return lambda params, state, x, key=None: x + layer(params, state, x, key)


relu = activation(jax.nn.relu)
leaky_relu = activation(jax.nn.leaky_relu)
sigmoid = activation(jax.nn.sigmoid)
tanh = activation(jnp.tanh)
softplus = activation(jax.nn.softplus)
gelu = activation(jax.nn.gelu)
silu = activation(jax.nn.silu)
softmax = activation(jax.nn.softmax)
log_softmax = activation(jax.nn.log_softmax)
flatten = activation(lambda x: x.reshape(x.shape[0], math.prod(x.shape[1:])))
