"""Layers in JAX: one function ``(params, state, x) -> y`` each, over the same trees."""

import math
from collections.abc import Callable
from typing import Any, TypeAlias

import jax
import jax.numpy as jnp

Forward: TypeAlias = Callable[[dict[str, Any], dict[str, Any], jax.Array], jax.Array]


def dense(features: int) -> Forward:
    def forward(params: dict[str, Any], state: dict[str, Any], x: jax.Array) -> jax.Array:
        kernel, bias = params["kernel"], params["bias"]
        y: jax.Array = jnp.einsum("n...i,ij->n...j", x, kernel) + bias.reshape(features)
        return y

    return forward


def activation(function: Callable[..., jax.Array], **static: Any) -> Forward:
    return lambda params, state, x: function(x, **static)


def serial(**layers: Forward) -> Forward:
    def forward(params: dict[str, Any], state: dict[str, Any], x: jax.Array) -> jax.Array:
        for name, layer in layers.items():
            x = layer(params.get(name, {}), state.get(name, {}), x)
        return x

    return forward


def residual(layer: Forward) -> Forward:
    return lambda params, state, x: x + layer(params, state, x)


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
