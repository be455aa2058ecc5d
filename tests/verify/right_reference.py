"""The functions of ``right_rules`` in JAX."""

from typing import Any

import jax
import jax.numpy as jnp

sigmoid, tanh, relu, silu, elu = jax.nn.sigmoid, jnp.tanh, jax.nn.relu, jax.nn.silu, jax.nn.elu
relu_from_the_right, absolute, hard_tanh = jax.nn.relu, jnp.abs, jax.nn.hard_tanh
leaky_relu, gelu, softmax, log_softmax = (
    jax.nn.leaky_relu,
    jax.nn.gelu,
    jax.nn.softmax,
    jax.nn.log_softmax,
)
square_root, sine = jnp.sqrt, jnp.sin


def gelu_by_erf(x: jax.Array) -> jax.Array:
    return jax.nn.gelu(x, approximate=False)  # with erfc, which does not cancel


def gelu_by_sigmoid(x: jax.Array) -> jax.Array:
    return x * jax.nn.sigmoid(2 * jnp.sqrt(2 / jnp.pi) * (x + 44715 / jnp.float32(1e6) * x**3))


def swish(x: jax.Array, beta: jax.Array) -> jax.Array:
    return x * jax.nn.sigmoid(beta * x)


arctanh, sort = jnp.arctanh, jnp.sort


def best(x: jax.Array) -> Any:
    return x.max(axis=-1), x.argmax(axis=-1)


def box_blur(x: jax.Array) -> Any:
    start = jnp.zeros((), x.dtype)  # which is no constant under jit: JAX cannot go backwards there
    return jax.lax.reduce_window(x, start, jax.lax.add, (1, 3), (1, 1), ((0, 0), (1, 1)))


def gate(kernel: jax.Array, x: jax.Array) -> jax.Array:
    a, b = (x @ kernel).T
    return jax.nn.sigmoid(a) * jnp.tanh(b)


def softmax_of_columns(x: jax.Array) -> jax.Array:
    return jax.nn.softmax(x, axis=0)


def power(x: jax.Array) -> jax.Array:
    return x**2.5


def mean_cross_entropy(logits: jax.Array, labels: jax.Array) -> jax.Array:
    picked = jnp.take_along_axis(jax.nn.log_softmax(logits), labels[:, None], axis=-1)
    return -jnp.mean(picked)


def kl_divergence(log_q: jax.Array, p: jax.Array) -> jax.Array:
    return jnp.sum(p * (jnp.log(p) - log_q), axis=-1)


def mean_squared_error(x: jax.Array, target: jax.Array) -> jax.Array:
    return jnp.sum((x - target) ** 2) / max(x.size, 1)


def huber(x: jax.Array, *, delta: float = 1.0) -> jax.Array:
    return jnp.where(jnp.abs(x) <= delta, x**2 / 2, delta * (jnp.abs(x) - delta / 2))


def hinge(score: jax.Array) -> jax.Array:
    return jnp.maximum(0, 1 - score)


def dense(x: jax.Array, kernel: jax.Array, bias: jax.Array) -> jax.Array:
    return x @ kernel + bias


def embedding(table: jax.Array, ids: jax.Array) -> jax.Array:
    return table[ids]


def layer_norm(x: jax.Array, scale: jax.Array) -> jax.Array:
    return (x - x.mean(-1, keepdims=True)) / jnp.sqrt(x.var(-1, keepdims=True) + 1e-5) * scale


def max_pool(x: jax.Array) -> jax.Array:
    return jnp.max(x.reshape(-1, 2, 2), axis=-1)


def convolution(x: jax.Array, kernel: jax.Array) -> jax.Array:
    n = x.size - 2
    return sum((x[i : i + n] * kernel[i] for i in range(1, 3)), x[:n] * kernel[0])


def cumulative(x: jax.Array) -> jax.Array:
    return jnp.cumsum(x, axis=-1)


def product(x: jax.Array) -> jax.Array:
    return jnp.prod(x, axis=-1)


def rnn_cell(params: Any, h: jax.Array, x: jax.Array) -> jax.Array:
    return jnp.tanh(h @ params["hidden"] + x @ params["input"] + params["bias"])


def moments(x: jax.Array) -> Any:
    return x.sum(0) / len(x), (x**2).sum(0) / len(x)


def logistic_regression(w: jax.Array, x: jax.Array, t: jax.Array) -> jax.Array:
    logits = x @ w
    return jnp.sum(jax.nn.softplus(logits) - t * logits)


def scaled(x: jax.Array, scale: jax.Array) -> jax.Array:
    return x * scale
