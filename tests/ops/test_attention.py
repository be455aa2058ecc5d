from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import ml_dtypes
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from purenn import tree
from purenn.errors import DomainError, DtypeError, ShapeError, TreeError
from purenn.ops import attention
from purenn.ops.attention import dot_product_attention, dot_product_attention_vjp
from purenn.typing import Array, Shape

RNG = np.random.default_rng(0)


def normal(*shape: int, dtype: Any = np.float64, seed: int = 0) -> Array:
    return np.random.default_rng([seed, *shape]).normal(size=shape).astype(dtype)


def single(*xs: float) -> Array:
    """Sequence of one head with one feature."""
    return np.array(xs, np.float32).reshape(-1, 1, 1)


def projections(features: int, heads: int, width: int, out: int) -> Any:
    into = {
        name: {"kernel": normal(features, heads, width, seed=i), "bias": normal(heads, width)}
        for i, name in enumerate(("query", "key", "value"))
    }
    return {**into, "out": {"kernel": normal(heads, width, out), "bias": normal(out)}}


MASK = RNG.random((2, 1, 5, 4)) < 0.6
BY_HEAD = RNG.random((1, 4, 5, 1)) < 0.6
GRID = [
    (4, None, True, None),
    (4, BY_HEAD, False, 0.3),
    (4, MASK, True, None),
    (2, MASK, False, None),
    (2, BY_HEAD, True, 0.3),
]


@pytest.mark.parametrize(("key_heads", "mask", "is_causal", "scale"), GRID)
def test_value_and_cotangents_are_those_of_jax_nn(
    key_heads: int, mask: Array | None, is_causal: bool, scale: float | None
) -> None:
    query = normal(2, 5, 4, 3, dtype=np.float32)
    key, value = (normal(2, 4, key_heads, 3, dtype=np.float32, seed=s) for s in (1, 2))
    dy = normal(*query.shape, dtype=np.float32, seed=3)
    static: Any = {"mask": mask, "is_causal": is_causal, "scale": scale}
    y, pullback = dot_product_attention_vjp(query, key, value, **static)
    expected, jax_pullback = jax.vjp(
        lambda *primals: jax.nn.dot_product_attention(*primals, **static), query, key, value
    )
    np.testing.assert_array_equal(y, dot_product_attention(query, key, value, **static))
    for ours, theirs in zip((y, *pullback(dy)), (expected, *jax_pullback(dy)), strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-5, atol=2e-6)


@pytest.mark.parametrize("shape", [(2, 4, 5, 4), (1, 4, 1, 4), (5, 1), ()])
def test_a_bias_is_added_as_in_jax_nn(shape: Shape) -> None:
    primals = [normal(2, 5, 4, 3), normal(2, 4, 2, 3), normal(2, 4, 2, 3, seed=2), normal(*shape)]
    query, key, value, bias = (x.astype(np.float32) for x in primals)
    dy = normal(*query.shape, dtype=np.float32, seed=3)
    y, pullback = dot_product_attention_vjp(query, key, value, bias, is_causal=True)
    four = bias.reshape((1,) * (4 - bias.ndim) + bias.shape)
    expected, jax_pullback = jax.vjp(
        lambda *xs: jax.nn.dot_product_attention(*xs, is_causal=True), query, key, value, four
    )
    *cotangents, dbias = pullback(dy)
    *theirs, their_dbias = jax_pullback(dy)
    assert dbias.shape == shape
    results = (y, *cotangents, dbias)
    for ours, theirs_ in zip(results, (expected, *theirs, their_dbias.reshape(shape)), strict=True):
        np.testing.assert_allclose(ours, theirs_, rtol=1e-5, atol=4e-6)


def test_a_bias_of_minus_infinity_masks() -> None:
    query, key, value = normal(5, 4, 3), normal(4, 4, 3), normal(4, 4, 3, seed=2)
    mask = np.broadcast_to(MASK[0, 0], (4, 5, 4)).copy()
    mask[1, 2] = False
    y, pullback = dot_product_attention_vjp(query, key, value, np.where(mask, 0.0, -np.inf))
    expected, expected_pullback = dot_product_attention_vjp(query, key, value, mask=mask)
    np.testing.assert_array_equal(y, expected)
    for ours, theirs in zip(pullback(y)[:3], expected_pullback(y), strict=True):
        np.testing.assert_array_equal(ours, theirs)


def test_scores_of_0_and_log_3_weigh_1_to_3() -> None:
    query = np.array([[[1.0, 0.0]]])
    key = np.array([[[0.0, 5.0]], [[np.log(3), -7.0]]])
    value = np.array([[[8.0]], [[16.0]]])
    y, pullback = dot_product_attention_vjp(query, key, value, scale=1.0)
    np.testing.assert_allclose(y, [[[14.0]]], rtol=1e-15)
    dquery, dkey, dvalue = pullback(np.ones_like(y))
    # ds = p(v − y) = (1/4)(−6), (3/4)·2
    np.testing.assert_allclose(dkey[:, 0, 0], [-1.5, 1.5], rtol=1e-15)
    np.testing.assert_allclose(dquery, [[[1.5 * np.log(3), -1.5 * 12]]], rtol=1e-15)
    np.testing.assert_allclose(dvalue[:, 0, 0], [0.25, 0.75], rtol=1e-15)


def test_no_key_to_attend_to_gives_the_mean_of_all_values() -> None:
    query, key, value = normal(2, 3, 2), normal(4, 3, 2, seed=1), normal(4, 3, 5, seed=2)
    mask = np.array([[True] * 4, [False] * 4])
    y, pullback = dot_product_attention_vjp(query, key, value, mask=mask)
    np.testing.assert_allclose(y[1], np.mean(value, axis=0), rtol=1e-14)
    dy = np.zeros_like(y)
    dy[1] = 1
    dquery, dkey, dvalue = pullback(dy)
    assert not dquery.any()
    assert not dkey.any()
    np.testing.assert_array_equal(dvalue, np.full(value.shape, 0.25))


def test_without_keys_there_is_nothing() -> None:
    query, key, value = np.ones((2, 3, 1, 4)), np.ones((2, 0, 1, 4)), np.ones((2, 0, 1, 5))
    y, pullback = dot_product_attention_vjp(query, key, value)
    np.testing.assert_array_equal(y, np.zeros((2, 3, 1, 5)))
    np.testing.assert_array_equal(dot_product_attention(query, key, value), y)
    dquery, dkey, dvalue = pullback(y)
    np.testing.assert_array_equal(dquery, np.zeros_like(query))
    assert (dkey.shape, dvalue.shape) == (key.shape, value.shape)


@pytest.mark.parametrize("shape", [(0, 2, 2, 3), (2, 2, 0, 3), (2, 2, 2, 0)])
def test_batches_heads_and_features_may_be_none(shape: Shape) -> None:
    x = np.ones(shape)
    y, pullback = dot_product_attention_vjp(x, x, x, is_causal=True)
    assert [c.shape for c in (y, *pullback(y))] == [shape] * 4


@given(st.integers(0, 4), st.integers(0, 2**32))
def test_what_comes_later_is_not_seen(last: int, seed: int) -> None:
    query, key, value = (normal(5, 2, 3, seed=seed + i) for i in range(3))
    y, pullback = dot_product_attention_vjp(query, key, value, is_causal=True)
    later = np.arange(5)[:, np.newaxis, np.newaxis] > last
    changed = dot_product_attention(query, key + later, value - later, is_causal=True)
    np.testing.assert_array_equal(changed[: last + 1], y[: last + 1])
    _, dkey, dvalue = pullback(np.where(later, 0, y))
    assert not dkey[last + 1 :].any()
    assert not dvalue[last + 1 :].any()


@given(st.permutations(range(5)), st.integers(0, 2**32))
def test_keys_have_no_order(order: list[int], seed: int) -> None:
    query, dy = normal(4, 2, 3, seed=seed), normal(4, 2, 3, seed=seed + 1)
    key, value = normal(5, 2, 3, seed=seed + 2), normal(5, 2, 3, seed=seed + 3)
    y, pullback = dot_product_attention_vjp(query, key, value)
    permuted, permuted_pullback = dot_product_attention_vjp(query, key[order], value[order])
    np.testing.assert_allclose(permuted, y, rtol=1e-12, atol=1e-14)
    dquery, dkey, dvalue = pullback(dy)
    expected = (dquery, dkey[order], dvalue[order])
    for ours, other in zip(permuted_pullback(dy), expected, strict=True):
        np.testing.assert_allclose(ours, other, rtol=1e-10, atol=1e-13)


def test_scores_beyond_float32_choose_one_key() -> None:
    query, key = single(1e30), single(1e30, -1e30)
    value = single(3, 5)
    y, pullback = dot_product_attention_vjp(query, key, value)
    assert y == 3
    assert [float(np.sum(np.abs(c))) for c in pullback(y)] == [0, 0, 3]


def test_a_query_that_is_almost_sure_still_learns() -> None:
    query, key, value = single(1), single(40, 0), single(1, 0)
    _, pullback = dot_product_attention_vjp(query, key, value)
    dquery, dkey, _ = pullback(np.ones((1, 1, 1), np.float32))
    np.testing.assert_allclose(dquery, np.full((1, 1, 1), 40 * np.exp(-40)), rtol=1e-7)
    np.testing.assert_allclose(dkey[:, 0, 0], [np.exp(-40), -np.exp(-40)], rtol=1e-7)


@pytest.mark.parametrize("dtype", [np.float16, ml_dtypes.bfloat16], ids=["float16", "bfloat16"])
def test_half_precision_computes_in_float32(dtype: Any) -> None:
    params = tree.map(lambda x: x.astype(dtype), projections(4, 2, 3, 5))
    x = normal(3, 4, dtype=dtype)
    y, pullback = attention.multi_head_attention_vjp(params, x, x, x)
    params32, x32 = tree.map(lambda x: x.astype(np.float32), (params, x))
    y32, pullback32 = attention.multi_head_attention_vjp(params32, x32, x32, x32)
    dy = y.astype(np.float32)
    rounded = tree.map(lambda x: x.astype(dtype), (y32, pullback32(dy)))
    tree.map(np.testing.assert_array_equal, (y, pullback(y)), rounded)


def test_multi_head_attention_is_that_of_flax() -> None:
    params = projections(6, 3, 2, 4)
    inputs_q, inputs_k = normal(2, 4, 6), normal(2, 5, 6, seed=1)
    mask = RNG.random((2, 1, 4, 5)) < 0.7
    layer = nn.MultiHeadDotProductAttention(num_heads=3, out_features=4)
    y, pullback = attention.multi_head_attention_vjp(
        params, inputs_q, inputs_k, inputs_k, mask=mask
    )

    def apply(params: Any, q: Any, k: Any) -> Any:
        return layer.apply({"params": params}, q, k, mask=mask)

    expected, flax_pullback = jax.vjp(apply, params, inputs_q, inputs_k)
    dparams, dq, dk, dv = pullback(np.cos(y))
    np.testing.assert_allclose(y, expected, rtol=1e-10, atol=1e-12)
    np.testing.assert_array_equal(
        attention.multi_head_attention(params, inputs_q, inputs_k, inputs_k, mask=mask), y
    )
    theirs = jax.tree.map(np.asarray, flax_pullback(jnp.cos(expected)))
    tree.map(
        lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-10, atol=1e-12),
        (dparams, dq, dk + dv),
        theirs,
    )


def test_a_bias_of_the_keys_changes_nothing() -> None:
    params, x = projections(4, 2, 3, 2), normal(5, 4)
    y, pullback = attention.multi_head_attention_vjp(params, x, x, x)
    dparams, *_ = pullback(np.sin(y))
    assert not dparams["key"]["bias"].any()
    moved: Any = {**params, "key": {**params["key"], "bias": params["key"]["bias"] + 1}}
    np.testing.assert_allclose(attention.multi_head_attention(moved, x, x, x), y, rtol=1e-12)


def test_what_does_not_fit_is_refused_by_name() -> None:
    x = np.ones((2, 5, 4, 3))
    with pytest.raises(ShapeError, match="key has 3 heads, expected a divisor of the 4 of query"):
        dot_product_attention(x, x[:, :, :3], x[:, :, :3])
    with pytest.raises(ShapeError, match=r"value has shape .* with keys = 5"):
        dot_product_attention(x, x, x[:, 1:])
    with pytest.raises(ShapeError, match=r"mask has shape \(2, 5, 5\), expected one that broad.*"):
        dot_product_attention(x, x, x, mask=np.ones((2, 5, 5), bool))
    with pytest.raises(DtypeError, match="mask has dtype float64, expected bool"):
        dot_product_attention(x, x, x, mask=np.ones((5, 5)))
    params, inputs = projections(4, 2, 3, 2), np.ones((5, 4))
    short: Any = {**params, "key": {"kernel": params["key"]["kernel"]}}
    with pytest.raises(TreeError, match=r'params\["key"\] has keys \[\'kernel\'\], expected'):
        attention.multi_head_attention(short, inputs, inputs, inputs)
    wrong: Any = {**params, "out": {**params["out"], "kernel": np.ones((2, 4, 2))}}
    with pytest.raises(ShapeError, match=r'params\["out"\]\["kernel"\] .* value_features = 3'):
        attention.multi_head_attention(wrong, inputs, inputs, inputs)
    with pytest.raises(ShapeError, match=r"bias has shape \(3, 7\), expected one that broadcasts"):
        dot_product_attention(normal(5, 4, 3), normal(2, 4, 3), normal(2, 4, 3), normal(3, 7))


@pytest.mark.usefixtures("unannotated")
def test_a_scale_that_is_none_is_refused_and_scores_beyond_float64_are_not_warned_of() -> None:
    x = np.ones((1, 2, 1, 2))
    rule_vjp: Any = dot_product_attention_vjp
    for scale, error in ((np.nan, DomainError), (np.inf, DomainError), ("2", DtypeError)):
        with pytest.raises(error, match=f"dot_product_attention: scale is .*{scale}"):
            rule_vjp(x, x, x, scale=scale)
    y, pullback = rule_vjp(1e200 * x, 1e200 * x, x)
    assert pullback(y)[0].shape == x.shape
