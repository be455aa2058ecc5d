"""Attention: averages of values, weighted by how well their keys answer a query."""

import math
from functools import reduce
from typing import Any, TypedDict

import numpy as np

from purenn import tree
from purenn.contract import check_broadcasts, check_number, rule, unchecked
from purenn.errors import ShapeError
from purenn.ops import _linear, _softmax, linear
from purenn.ops._numerics import is_double, narrow, quiet, unbroadcast, widen
from purenn.typing import Array, Bool, Float, Pullback, Shape

__all__ = [
    "KeyProjection",
    "MultiHeadParams",
    "OutProjection",
    "QueryProjection",
    "ValueProjection",
    "dot_product_attention",
    "dot_product_attention_vjp",
    "multi_head_attention",
    "multi_head_attention_vjp",
]


@rule
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
    """softmax(scale·q·kᵀ + bias)·v for each head (Vaswani et al. 2017, arXiv:1706.03762).

    Names and layout are those of ``jax.nn.dot_product_attention``; ``scale`` is 1/√features unless
    given. Where there are fewer heads of keys than of queries, each serves a group of neighbouring
    ones (grouped-query attention, Ainslie et al. 2023, arXiv:2305.13245).

    ``bias`` and ``mask``, which is True where a query may attend to a key, broadcast to (*batch,
    heads, queries, keys); with ``is_causal`` query i attends to the keys up to i only. A bias of
    −∞ masks too. A query that may attend to no key gets the mean of all values, as in JAX; where
    there are no keys at all, zeros.

    Raises ShapeError where the heads of keys do not divide those of queries, and where ``bias`` or
    ``mask`` does not broadcast; DtypeError where ``scale`` is no number, DomainError where it is
    not finite.
    """
    return _attend(query, key, value, bias, mask, is_causal, scale, is_double(query))[0]


@rule
def dot_product_attention_vjp(
    query: Float[Array, "*batch queries heads features"],
    key: Float[Array, "*batch keys key_heads features"],
    value: Float[Array, "*batch keys key_heads out"],
    bias: Float[Array, "..."] | None = None,
    *,
    mask: Bool[Array, "..."] | None = None,
    is_causal: bool = False,
    scale: float | None = None,
) -> tuple[Float[Array, "*batch queries heads out"], Pullback]:
    """``dot_product_attention`` with its pullback.

    y = p·v with p = softmax(s) and s = scale·q·kᵀ + bias, per head: (queries, keys) products.
    Bottom up, dv = pᵀ·dy and dp = dy·vᵀ; ds is softmax's pullback of dp, zero where masked, and
    then dq = scale·ds·k, dk = scale·dsᵀ·q, the latter summed over the group of a key, as is dv;
    dbias = ds, summed where bias was broadcast. Without bias there are three cotangents.
    For a query that may attend to no key p is constant, so that dq is 0.

    The error of a score is the relative error of its weight, and q·k may be beyond float32 where
    p is not: so all of it is computed in float64.
    """
    return _attend(query, key, value, bias, mask, is_causal, scale, is_double(query))


@quiet
def _attend(
    query: Array,
    key: Array,
    value: Array,
    bias: Array | None,
    mask: Array | None,
    is_causal: bool,
    scale: float | None,
    sharp: bool,
) -> tuple[Array, Pullback]:
    """Attention with its pullback. Only ``sharp`` has all digits of float64."""
    groups, factor = _groups(query, key), _scale(query, scale)
    q, k, v = factor * _by_head(query), _by_head(key, groups), _by_head(value, groups)
    allowed = _allowed(query, key, bias, mask, is_causal)
    scores = _masked(_biased(q @ k.mT, bias), allowed)
    weights = _softmax.softmax(scores, sharp) if scores.size else scores
    y = narrow(np.swapaxes(weights @ v, -2, -3), query)

    @quiet
    def pullback(dy: Array) -> tuple[Array, ...]:
        wide = _by_head(dy)
        dscores = _softmax.softmax_pullback(wide @ v.mT, weights)
        dscores = dscores if allowed is None else np.where(allowed, dscores, 0)
        cotangents = (
            narrow(np.swapaxes(factor * (dscores @ k), -2, -3), query),
            narrow(_sum_of_groups(dscores.mT @ q, groups), key),
            narrow(_sum_of_groups(weights.mT @ wide, groups), value),
        )
        if bias is None:
            return cotangents
        return (*cotangents, narrow(unbroadcast(dscores, bias.shape), bias))

    return y, pullback


def _scale(query: Array, scale: float | None) -> float:
    if scale is not None:
        return check_number("dot_product_attention", "scale", scale)
    return 1 / math.sqrt(max(query.shape[-1], 1))


def _groups(query: Array, key: Array) -> int:
    """How many heads of queries a head of keys serves."""
    heads, key_heads = query.shape[-2], key.shape[-2]
    if heads == key_heads:
        return 1
    if key_heads == 0 or heads % key_heads:
        raise ShapeError(
            f"dot_product_attention: key has {key_heads} heads, expected a divisor of the {heads} "
            "of query"
        )
    return int(heads // key_heads)


def _by_head(x: Array, groups: int = 1) -> Array:
    """(length, heads, features) -> (heads·groups, length, features), in what is computed in."""
    wide = np.swapaxes(widen(x), -2, -3)
    return wide if groups == 1 else np.repeat(wide, groups, axis=-3)


def _sum_of_groups(dx: Array, groups: int) -> Array:
    """The pullback of :func:`_by_head`, but for rounding."""
    *batch, heads, length, features = dx.shape
    grouped = dx.reshape(*batch, heads // groups, groups, length, features)
    return np.swapaxes(np.add.reduce(grouped, axis=-3), -2, -3)


def _biased(scores: Array, bias: Array | None) -> Array:
    return scores if bias is None else scores + widen(bias)


def _allowed(
    query: Array, key: Array, bias: Array | None, mask: Array | None, is_causal: bool
) -> Array | None:
    """Which scores count, or ``None`` if all do."""
    *batch, queries, heads, _ = query.shape
    shape = (*batch, heads, queries, key.shape[-3])
    masks = []
    if mask is not None:
        _check_broadcasts("dot_product_attention", "mask", mask, shape)
        masks.append(mask)
    if is_causal:
        masks.append(np.tril(np.ones(shape[-2:], np.bool_)))
    if bias is not None:
        _check_broadcasts("dot_product_attention", "bias", bias, shape)
        masks += [~np.isneginf(bias)] if np.isneginf(bias).any() else []
    return reduce(np.logical_and, masks) if masks else None


def _masked(scores: Array, allowed: Array | None) -> Array:
    """Scores that weigh nothing beside any other, and all the same where there is no other."""
    if allowed is None:
        return scores
    return np.where(allowed, scores, scores.dtype.type(0.7 * np.finfo(scores.dtype).min))


def _check_broadcasts(name: str, argument: str, x: Array, shape: Shape) -> None:
    check_broadcasts(name, argument, x, shape, f"(*batch, heads, queries, keys) = {shape}")


class QueryProjection(TypedDict):
    """Parameters as in ``flax.linen.DenseGeneral``."""

    kernel: Float[Array, "query_in heads features"]
    bias: Float[Array, "heads features"]


class KeyProjection(TypedDict):
    """Parameters as in ``flax.linen.DenseGeneral``."""

    kernel: Float[Array, "key_in heads features"]
    bias: Float[Array, "heads features"]


class ValueProjection(TypedDict):
    """Parameters as in ``flax.linen.DenseGeneral``."""

    kernel: Float[Array, "value_in heads value_features"]
    bias: Float[Array, "heads value_features"]


class OutProjection(TypedDict):
    """Parameters as in ``flax.linen.DenseGeneral``."""

    kernel: Float[Array, "heads value_features out"]
    bias: Float[Array, " out"]


class MultiHeadParams(TypedDict):
    """Parameters as in ``flax.linen.MultiHeadDotProductAttention``."""

    query: QueryProjection
    key: KeyProjection
    value: ValueProjection
    out: OutProjection


@rule
def multi_head_attention(
    params: MultiHeadParams,
    inputs_q: Float[Array, "*batch queries query_in"],
    inputs_k: Float[Array, "*batch keys key_in"],
    inputs_v: Float[Array, "*batch keys value_in"],
    *,
    mask: Bool[Array, "..."] | None = None,
    is_causal: bool = False,
) -> Float[Array, "*batch queries out"]:
    """Attention between projections, projected back (Vaswani et al. 2017, arXiv:1706.03762).

    Parameters and arguments are those of ``flax.linen.MultiHeadDotProductAttention``; for
    self-attention the three inputs are one array, whose cotangents add up. ``mask`` and
    ``is_causal`` as in :func:`dot_product_attention`.

    Raises TreeError for other parameters, ShapeError where sizes do not fit each other or ``mask``
    does not broadcast.
    """
    _check_mask(params, inputs_q, inputs_k, mask)
    wide, *inputs = tree.map(widen, (params, inputs_q, inputs_k, inputs_v))
    query, key, value = (_project(wide[name], x) for name, x in zip(_HEADS, inputs, strict=True))
    sharp = is_double(inputs_q)
    attended, _ = _attend(query, key, value, None, mask, is_causal, None, sharp)
    return narrow(_project(wide["out"], attended), inputs_q)


@rule
def multi_head_attention_vjp(
    params: MultiHeadParams,
    inputs_q: Float[Array, "*batch queries query_in"],
    inputs_k: Float[Array, "*batch keys key_in"],
    inputs_v: Float[Array, "*batch keys value_in"],
    *,
    mask: Bool[Array, "..."] | None = None,
    is_causal: bool = False,
) -> tuple[Float[Array, "*batch queries out"], Pullback]:
    """``multi_head_attention`` with its pullback, the chain rule read from the bottom up.

    Three dense maps, attention and a dense map; so backwards the pullback of the last map, that
    of attention, and those of the three. All in float64: scores as for attention, and nothing on
    the way is rounded. The bias of the keys adds the same to all scores of a query, which softmax
    does not see: its cotangent is 0, where the sum of its terms leaves their rounding.

    Behind its door the pullback takes ``input_cotangent=False``, for whoever wants those of the
    parameters alone; the others are ``None`` then.
    """
    _check_mask(params, inputs_q, inputs_k, mask)
    wide, *inputs = tree.map(widen, (params, inputs_q, inputs_k, inputs_v))
    (query, query_pullback), (key, key_pullback), (value, value_pullback) = (
        _project_vjp(wide[name], x) for name, x in zip(_HEADS, inputs, strict=True)
    )
    attended, attention_pullback = _attend(
        query, key, value, None, mask, is_causal, None, is_double(inputs_q)
    )
    y, out_pullback = _project_vjp(wide["out"], attended)

    def pullback(dy: Array, *, input_cotangent: bool = True) -> tuple[Any, ...]:
        dout, dattended = out_pullback(widen(dy))
        dquery, dkey, dvalue = attention_pullback(dattended)
        dq, dinputs_q = query_pullback(dquery, input_cotangent)
        dk, dinputs_k = key_pullback(dkey, input_cotangent)
        dv, dinputs_v = value_pullback(dvalue, input_cotangent)
        dk["bias"] = np.zeros_like(dk["bias"])
        dparams = {"query": dq, "key": dk, "value": dv, "out": dout}
        cotangents = (dparams, dinputs_q, dinputs_k, dinputs_v)
        return tuple(tree.map(lambda dx: narrow(dx, inputs_q), cotangents))

    return narrow(y, inputs_q), pullback


def _check_mask(params: MultiHeadParams, q: Array, k: Array, mask: Array | None) -> None:
    if mask is not None:
        shape = (*q.shape[:-2], len(params["query"]["bias"]), q.shape[-2], k.shape[-2])
        _check_broadcasts("multi_head_attention", "mask", mask, shape)


_HEADS = ("query", "key", "value")


def _project(projection: Any, x: Array) -> Array:
    """Dense over as many of the last axes as the kernel has before those of the bias."""
    x, kernel, bias = _flat(projection, x)
    y = unchecked(linear.dense)(x, kernel, bias)
    return y.reshape(*y.shape[:-1], *projection["bias"].shape)


def _project_vjp(projection: Any, x: Array) -> tuple[Array, Pullback]:
    """:func:`_project` with its pullback."""
    flat, kernel, bias = _flat(projection, x)

    def pullback(dy: Array, input_cotangent: bool = True) -> tuple[dict[str, Array], Any]:
        dy = dy.reshape(*flat.shape[:-1], bias.size)
        dkernel, dbias = _linear.dense_parameter_cotangents(flat, dy)
        dprojection = {
            "kernel": dkernel.reshape(projection["kernel"].shape),
            "bias": dbias.reshape(projection["bias"].shape),
        }
        if not input_cotangent:
            return dprojection, None
        return dprojection, _linear.dense_input_cotangent(kernel, dy).reshape(x.shape)

    return _project(projection, x), pullback


def _flat(projection: Any, x: Array) -> tuple[Array, Array, Array]:
    kernel, bias = projection["kernel"], projection["bias"]
    axes = kernel.ndim - bias.ndim
    features = math.prod(kernel.shape[:axes])
    return (
        x.reshape(*x.shape[: x.ndim - axes], features),
        kernel.reshape(features, bias.size),
        bias.reshape(bias.size),
    )
