"""Attention in JAX, term by term: ``jax.nn``'s own computes its softmax in float32 only."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float


def dot_product_attention(
    query: Float[Array, "*batch queries heads features"],
    key: Float[Array, "*batch keys key_heads features"],
    value: Float[Array, "*batch keys key_heads out"],
    bias: Float[Array, "..."] | None = None,
    *,
    mask: Bool[Array, "..."] | None = None,
    is_causal: bool = False,
    scale: float | None = None,
) -> Float[Array, "*batch queries heads out"]:
    groups = query.shape[-2] // key.shape[-2]
    key, value = (jnp.repeat(x, groups, axis=-2) for x in (key, value))
    scores = jnp.einsum("...qhi,...khi->...hqk", query, key)
    if scale is None:
        scores = scores / jnp.sqrt(query.shape[-1] * jnp.ones((), query.dtype))
    else:
        scores = scores * scale
    if bias is not None:
        scores = scores + bias
    allowed = jnp.ones(scores.shape, bool) if mask is None else jnp.broadcast_to(mask, scores.shape)
    if is_causal:
        allowed = allowed & jnp.tril(jnp.ones(scores.shape[-2:], bool))
    none = ~jnp.any(allowed, axis=-1, keepdims=True)
    weights = jax.nn.softmax(jnp.where(allowed, scores, 0), where=allowed | none)
    return jnp.einsum("...hqk,...kho->...qho", weights, value)


def _sizes(queries: int = 2, keys: int = 3, heads: int = 1, **others: Any) -> dict[str, Any]:
    sizes = {"batch": (), "key_heads": heads, "features": 2, "out": 1, "...": (queries, keys)}
    return {"queries": queries, "keys": keys, "heads": heads} | sizes | others


_LAST_ROW_OF_NOTHING = np.array([[True, False, True], [False, False, False]])

dot_product_attention_cases = [
    _sizes(),
    _sizes(keys=2, heads=2, batch=(2,)) | {"...": (2, 2, 1, 2)},
    _sizes(heads=4, key_heads=2, features=1, keys=2),
    _sizes(queries=3, is_causal=True) | {"...": ()},
    _sizes(queries=3, keys=2, scale=0.5, features=3),
    _sizes(heads=2, mask=_LAST_ROW_OF_NOTHING) | {"...": (2, 1, 1)},
    _sizes(mask=_LAST_ROW_OF_NOTHING, is_causal=True),
    _sizes(queries=1, keys=1),
    _sizes(keys=0),
    _sizes(queries=0),
    _sizes(batch=(0,)),
]


def multi_head_attention(
    params: dict[str, Any],
    inputs_q: Float[Array, "*batch queries query_in"],
    inputs_k: Float[Array, "*batch keys key_in"],
    inputs_v: Float[Array, "*batch keys value_in"],
    *,
    mask: Bool[Array, "..."] | None = None,
    is_causal: bool = False,
) -> Float[Array, "*batch queries out"]:
    query, key, value = (
        jnp.einsum("...i,ihf->...hf", x, params[name]["kernel"]) + params[name]["bias"]
        for name, x in (("query", inputs_q), ("key", inputs_k), ("value", inputs_v))
    )
    attended = dot_product_attention(query, key, value, mask=mask, is_causal=is_causal)
    out = params["out"]
    y: Array = jnp.einsum("...hf,hfo->...o", attended, out["kernel"]) + out["bias"]
    return y


def _inputs(queries: int = 2, keys: int = 2, heads: int = 1, **others: Any) -> dict[str, Any]:
    sizes = {"query_in": 1, "key_in": 2, "value_in": 1, "features": 1, "value_features": 1}
    return (
        {"batch": (), "queries": queries, "keys": keys, "heads": heads, "out": 2} | sizes | others
    )


multi_head_attention_cases = [
    _inputs(),
    _inputs(heads=2, key_in=1, queries=1, out=1),
    _inputs(queries=3, mask=np.array([[True, False], [False, True], [False, False]]), out=1),
    _inputs(batch=(0,), is_causal=True),
]
