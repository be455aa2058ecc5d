"""Recurrent cells and sequences in JAX, gate by gate and step by step."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float


def _dense(projection: dict[str, Any], x: Array) -> Array:
    y: Array = jnp.einsum("...i,ij->...j", x, projection["kernel"])
    return y + projection["bias"] if "bias" in projection else y


def _sequence(
    cell: Callable[..., Any],
    params: dict[str, Any],
    carry: Any,
    inputs: Array,
    reverse: bool,
    keep_order: bool,
) -> tuple[Any, Array]:
    times = range(inputs.shape[-2])
    outputs = []
    for t in reversed(times) if reverse else times:
        carry = cell(params, carry, inputs[..., t, :])
        outputs.append(carry[-1] if isinstance(carry, tuple) else carry)
    if not outputs:
        h = carry[-1] if isinstance(carry, tuple) else carry
        return carry, h[..., None, :][..., :0, :]
    return carry, jnp.stack(outputs[::-1] if reverse and keep_order else outputs, axis=-2)


def rnn_cell(
    params: dict[str, Any],
    carry: Float[Array, "*batch features"],
    inputs: Float[Array, "*batch in"],
) -> Float[Array, "*batch features"]:
    return jnp.tanh(_dense(params["i"], inputs) + _dense(params["h"], carry))


def rnn(
    params: dict[str, Any],
    carry: Float[Array, "*batch features"],
    inputs: Float[Array, "*batch time in"],
    *,
    reverse: bool = False,
    keep_order: bool = False,
) -> tuple[Float[Array, "*batch features"], Float[Array, "*batch time features"]]:
    return _sequence(rnn_cell, params, carry, inputs, reverse, keep_order)


def lstm_cell(
    params: dict[str, Any],
    carry: tuple[Float[Array, "*batch features"], Float[Array, "*batch features"]],
    inputs: Float[Array, "*batch in"],
) -> tuple[Float[Array, "*batch features"], Float[Array, "*batch features"]]:
    c, h = carry
    i, f, g, o = (_dense(params[f"i{k}"], inputs) + _dense(params[f"h{k}"], h) for k in "ifgo")
    c = jax.nn.sigmoid(f) * c + jax.nn.sigmoid(i) * jnp.tanh(g)
    return c, jax.nn.sigmoid(o) * jnp.tanh(c)


def lstm(
    params: dict[str, Any],
    carry: tuple[Float[Array, "*batch features"], Float[Array, "*batch features"]],
    inputs: Float[Array, "*batch time in"],
    *,
    reverse: bool = False,
    keep_order: bool = False,
) -> tuple[
    tuple[Float[Array, "*batch features"], Float[Array, "*batch features"]],
    Float[Array, "*batch time features"],
]:
    return _sequence(lstm_cell, params, carry, inputs, reverse, keep_order)


def gru_cell(
    params: dict[str, Any],
    carry: Float[Array, "*batch features"],
    inputs: Float[Array, "*batch in"],
) -> Float[Array, "*batch features"]:
    r, z = (
        jax.nn.sigmoid(_dense(params[f"i{k}"], inputs) + _dense(params[f"h{k}"], carry))
        for k in "rz"
    )
    n = jnp.tanh(_dense(params["in"], inputs) + r * _dense(params["hn"], carry))
    return (1 - z) * n + z * carry


def gru(
    params: dict[str, Any],
    carry: Float[Array, "*batch features"],
    inputs: Float[Array, "*batch time in"],
    *,
    reverse: bool = False,
    keep_order: bool = False,
) -> tuple[Float[Array, "*batch features"], Float[Array, "*batch time features"]]:
    return _sequence(gru_cell, params, carry, inputs, reverse, keep_order)


def _step(features: int, inputs: int = 1, batch: tuple[int, ...] = ()) -> dict[str, Any]:
    return {"batch": batch, "in": inputs, "features": features}


rnn_cell_cases = [_step(2), _step(1, 2, (2,)), _step(1, 2, (0,))]
lstm_cell_cases = gru_cell_cases = [_step(1), _step(1, 2, (2,)), _step(2), _step(1, 2, (0,))]

_LATE = {"reverse": True, "keep_order": False}
_BACK = {"reverse": True, "keep_order": True}
rnn_cases = lstm_cases = gru_cases = [
    _step(1) | {"time": 2},
    _step(1) | {"time": 2} | _LATE,
    _step(1, 1, (2,)) | {"time": 2} | _BACK,
    _step(1) | {"time": 0},
    _step(2) | {"time": 1},
    _step(1, 1, (0,)) | {"time": 2},
]
