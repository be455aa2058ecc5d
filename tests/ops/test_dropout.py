from collections.abc import Callable
from fractions import Fraction
from functools import partial
from math import log, sqrt
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from purenn import random
from purenn.errors import DomainError, DtypeError, ShapeError
from purenn.ops import dropout as ops
from purenn.typing import Array

KEY = random.key(3)
IMAGE = np.linspace(-2, 3, 120).reshape(2, 5, 4, 3)

RULES: dict[str, dict[str, Any]] = {
    "dropout": {},
    "spatial_dropout": {},
    "gaussian_dropout": {},
    "drop_block": {"block_size": 2},
    "max_drop": {},
    "stochastic_dropout": {},
}


def pair(name: str) -> tuple[Callable[..., Array], Callable[..., Any]]:
    """The rule of that name and its derivative, with what they need but the rate and the key."""
    return (
        partial(getattr(ops, name), **RULES[name]),
        partial(getattr(ops, f"{name}_vjp"), **RULES[name]),
    )


def bound(span: float, count: int) -> float:
    """How far a mean of independent numbers from a range may be off: Hoeffding 1963, p = 1e-9."""
    return span * sqrt(log(2e9) / (2 * count))


@pytest.mark.parametrize(("rate", "dims"), [(0.1, ()), (0.25, (-1, 1)), (0.5, (0, 1, 2))])
def test_dropout_is_that_of_flax_bit_by_bit(rate: float, dims: tuple[int, ...]) -> None:
    x = np.random.default_rng(0).normal(size=(4, 3, 5)).astype(np.float32)
    layer = nn.Dropout(rate, dims, deterministic=False)
    seed = 7
    with jax.enable_x64(False):
        theirs, pullback = jax.vjp(lambda x: layer.apply({}, x, rng=jax.random.key(seed)), x)
        (their_dx,) = pullback(x)
    y, ours = ops.dropout_vjp(x, rate=rate, key=random.key(seed), broadcast_dims=dims)
    np.testing.assert_array_equal(y, theirs)
    np.testing.assert_array_equal(ours(x)[0], y)
    np.testing.assert_array_max_ulp(y, np.asarray(their_dx), 1)  # times 1/(1 − rate), rounded


@pytest.mark.parametrize("name", RULES)
def test_nothing_is_dropped_at_rate_0(name: str) -> None:
    rule, _ = pair(name)
    np.testing.assert_array_equal(rule(IMAGE, rate=0.0, key=KEY), IMAGE)


@pytest.mark.parametrize("name", RULES)
def test_the_pullback_drops_what_the_rule_dropped_and_scales_as_it_did(name: str) -> None:
    rule, rule_vjp = pair(name)
    y, pullback = rule_vjp(IMAGE, rate=0.5, key=KEY)
    np.testing.assert_array_equal(y, rule(IMAGE, rate=0.5, key=KEY))
    dy = np.cos(np.arange(120.0)).reshape(IMAGE.shape)
    np.testing.assert_allclose(pullback(dy)[0] * IMAGE, y * dy, rtol=1e-15)
    np.testing.assert_array_equal(pullback(dy)[0], pullback(dy)[0])
    assert np.any(y != IMAGE)
    assert np.any(rule(IMAGE, rate=0.5, key=random.key(4)) != y)


@pytest.mark.parametrize("name", RULES)
def test_the_mask_does_not_depend_on_the_dtype(name: str) -> None:
    rule, _ = pair(name)
    wide = rule(IMAGE, rate=0.5, key=KEY)
    for dtype in (np.float16, np.float32):
        y = rule(IMAGE.astype(dtype), rate=0.5, key=KEY)
        assert y.dtype == dtype
        np.testing.assert_allclose(y, wide, rtol=8 * float(np.finfo(dtype).eps))


@pytest.mark.parametrize("name", [name for name in RULES if name != "gaussian_dropout"])
def test_what_is_dropped_is_0_whatever_it_was(name: str) -> None:
    _, rule_vjp = pair(name)
    for x in (np.full((3, 4, 4, 2), np.inf), np.full((3, 4, 4, 2), np.nan)):
        y, pullback = rule_vjp(x, rate=0.9, key=KEY)
        dropped = y == 0
        assert dropped.any()
        np.testing.assert_array_equal(y[~dropped], x[~dropped])
        np.testing.assert_array_equal(pullback(x)[0], y)


@pytest.mark.parametrize("name", RULES)
@pytest.mark.parametrize("shape", [(0, 3, 3, 2), (2, 3, 3, 0)])
def test_empty_arrays(name: str, shape: tuple[int, ...]) -> None:
    y, pullback = pair(name)[1](np.ones(shape), rate=0.5, key=KEY)
    assert y.shape == pullback(y)[0].shape == shape


def test_a_batch_of_feature_maps_without_units_has_no_largest_one() -> None:
    assert ops.max_drop(np.ones((2, 0, 3)), rate=0.5, key=KEY).shape == (2, 0, 3)


@pytest.mark.parametrize(
    "name", ["dropout", "spatial_dropout", "stochastic_dropout", "gaussian_dropout"]
)
def test_the_expected_sum_is_kept(name: str) -> None:
    rule, _ = pair(name)
    x = np.ones((2, 250))
    keys = random.split(KEY, 300)
    y = np.array([rule(x, rate=0.5, key=key) for key in keys])
    assert abs(np.mean(y) - 1) < bound(
        2, y.size
    )  # which is as right for a normal number with σ = 1
    assert len(np.unique(y.sum((1, 2)))) > 30


def test_dropout_drops_each_unit_alone_with_the_probability_rate() -> None:
    dropped = ops.dropout(np.ones((40_000, 2)), rate=0.3, key=KEY) == 0
    for part, expected in [(dropped[:, 0], 0.3), (dropped[:, 1], 0.3), (dropped.all(1), 0.09)]:
        assert abs(np.mean(part) - expected) < bound(1, 40_000)


def test_spatial_dropout_drops_whole_maps_each_alone() -> None:
    y = ops.spatial_dropout(np.ones((300, 3, 2, 40)), rate=0.25, key=KEY)
    np.testing.assert_array_equal(y, np.broadcast_to(y[:, :1, :1], y.shape))
    assert {*y.ravel()} == {0, 1 / 0.75}
    dropped = y[:, 0, 0] == 0
    assert abs(np.mean(dropped) - 0.25) < bound(1, dropped.size)
    for pairs in (dropped[1:] & dropped[:-1], dropped[:, 1:] & dropped[:, :-1]):
        assert abs(np.mean(pairs) - 0.25**2) < bound(1, pairs.size // 2)


def test_without_a_map_spatial_dropout_is_dropout() -> None:
    x = IMAGE.reshape(10, 12)
    expected = ops.dropout(x, rate=0.4, key=KEY)
    np.testing.assert_array_equal(ops.spatial_dropout(x, rate=0.4, key=KEY), expected)


@pytest.mark.parametrize("rate", [0.1, 0.5, 0.8])
def test_gaussian_dropout_has_the_mean_and_the_variance_of_dropout(rate: float) -> None:
    m = ops.gaussian_dropout(np.ones(100_000), rate=rate, key=KEY)
    variance = rate / (1 - rate)
    # Six standard deviations of the mean and of the variance of as many normal numbers.
    assert abs(np.mean(m) - 1) < 6 * sqrt(variance / m.size)
    assert abs(np.var(m) / variance - 1) < 6 * sqrt(2 / m.size)
    n = jax.random.normal(jax.random.wrap_key_data(jnp.asarray(KEY)), m.shape, np.float32)
    np.testing.assert_allclose((m - 1) / sqrt(variance), n, rtol=1e-5, atol=1e-7)


@given(
    block_size=st.integers(1, 4),
    height=st.integers(4, 9),
    width=st.integers(4, 9),
    seed=st.integers(0, 2**32),
)
def test_what_drop_block_drops_is_made_of_blocks(
    block_size: int, height: int, width: int, seed: int
) -> None:
    x = np.ones((3, height, width, 5))
    y = ops.drop_block(x, rate=0.3, block_size=block_size, key=random.key(seed))
    dropped = y == 0
    assert 0 < np.mean(dropped) < 1
    remade = np.zeros_like(dropped)
    for i in range(height - block_size + 1):
        for j in range(width - block_size + 1):
            block = np.s_[:, i : i + block_size, j : j + block_size]
            remade[block] |= dropped[block].all((1, 2), keepdims=True)
    np.testing.assert_array_equal(remade, dropped)
    assert np.sum(y) == pytest.approx(x.size, rel=1e-12)
    assert len(np.unique(y)) == 2


@pytest.mark.parametrize(("height", "width", "block_size"), [(5, 5, 3), (4, 6, 2), (3, 5, 3)])
def test_blocks_start_anywhere_in_the_image_with_the_probability_of_the_paper(
    height: int, width: int, block_size: int
) -> None:
    """A unit is kept where none of the blocks that cover it is dropped."""
    rate = Fraction(1, 4)
    inside = height - block_size + 1, width - block_size + 1
    gamma = rate * height * width / (block_size**2 * inside[0] * inside[1])
    covering = np.zeros((height, width), int)
    for i, j in np.ndindex(inside):
        covering[i : i + block_size, j : j + block_size] += 1
    assert gamma * int(np.sum(covering)) == rate * height * width
    expected = 1 - (1 - float(gamma)) ** covering
    y = ops.drop_block(
        np.ones((200, height, width, 200)), rate=float(rate), block_size=block_size, key=KEY
    )
    found = np.mean(y == 0, axis=(0, 3))
    np.testing.assert_allclose(found, expected, atol=bound(1, 40_000))


def test_a_lone_block_has_its_size_and_each_map_its_own_blocks() -> None:
    y = ops.drop_block(np.ones((4, 9, 9, 50)), rate=0.02, block_size=3, key=KEY)
    sizes = np.sum(y == 0, axis=(1, 2))
    assert np.sum(sizes == 9) > 10
    assert set(sizes[sizes < 10].tolist()) == {0, 9}
    assert 0 in sizes[0]
    assert np.any(sizes[0] != sizes[1])


def test_blocks_of_one_unit_are_dropout_but_for_the_scale() -> None:
    x = np.ones((3, 4, 4, 5))
    y = ops.drop_block(x, rate=0.25, block_size=1, key=KEY)
    expected = random.bernoulli(KEY, 0.25, x.shape)
    np.testing.assert_array_equal(y == 0, expected)
    np.testing.assert_allclose(y[~expected], x.size / np.sum(~expected), rtol=1e-15)


def test_where_no_unit_is_kept_drop_block_gives_zeros() -> None:
    x = np.ones((1, 3, 3, 1))
    y, pullback = ops.drop_block_vjp(x, rate=0.999, block_size=3, key=KEY)
    np.testing.assert_array_equal(y, 0 * x)
    np.testing.assert_array_equal(pullback(x)[0], 0 * x)


@given(seed=st.integers(0, 2**32), mode=st.sampled_from(["feature", "channel"]))
def test_max_drop_drops_the_largest_and_nothing_else(seed: int, mode: str) -> None:
    x = np.random.default_rng(seed).permutation(np.arange(1, 481.0)).reshape(4, 5, 4, 6)
    y = ops.max_drop(x, rate=0.5, key=random.key(seed), mode=mode)
    axes = (1, 2) if mode == "feature" else (3,)
    dropped = y != x
    assert np.all(y[dropped] == 0)
    np.testing.assert_array_equal(dropped, (x == x.max(axes, keepdims=True)) & dropped)
    of_each = np.sum(dropped, axes)
    assert {*of_each.ravel().tolist()} == {0, 1}
    assert abs(np.mean(of_each) - 0.5) < bound(1, of_each.size)


def test_of_equal_ones_max_drop_drops_the_first() -> None:
    x = np.array([[[1.0, 5], [5, 5], [5, 2]]])
    keys = random.split(KEY, 20)
    for mode, first in [
        ("feature", [[False, True], [True, False], [False, False]]),
        ("channel", [[False, True], [True, False], [True, False]]),
    ]:
        dropped = [ops.max_drop(x, rate=0.8, key=key, mode=mode)[0] == 0 for key in keys]
        np.testing.assert_array_equal(np.any(dropped, axis=0), first)


def test_stochastic_dropout_draws_its_rate_uniformly_and_then_drops_at_it() -> None:
    drawn = []
    for key in random.split(KEY, 200):
        rate_key, mask_key = random.split(key)
        rate = 0.6 * float(random.uniform(rate_key))
        x = np.ones(40)
        y = ops.stochastic_dropout(x, rate=0.6, key=key)
        np.testing.assert_array_equal(y, ops.dropout(x, rate=rate, key=mask_key))
        drawn.append(1 - 1 / np.max(y))
    # Dvoretzky, Kiefer & Wolfowitz 1956: how far numbers may be from their distribution.
    steps = np.arange(1, 201) / 200
    assert np.max(np.abs(np.sort(drawn) / 0.6 - steps)) < bound(1, 200)


@pytest.mark.parametrize("name", RULES)
def test_what_does_not_fit_is_refused_by_name(name: str) -> None:
    for rule in pair(name):
        for rate in (1.0, -0.1, float("nan")):
            refused = f"{name}: rate is {rate}, expected a finite number ≥ 0 and < 1"
            with pytest.raises(DomainError, match=refused):
                rule(IMAGE, rate=rate, key=KEY)
        with pytest.raises(DtypeError, match=f"{name}(_vjp)?: key is a NoneType, expected a NumPy"):
            rule(IMAGE, rate=0.5, key=None)
        with pytest.raises(ShapeError, match=rf"{name}(_vjp)?: key has shape \(3,\)"):
            rule(IMAGE, rate=0.5, key=np.zeros(3, np.uint32))


def test_impossible_options_are_refused() -> None:
    with pytest.raises(
        ShapeError, match=r"dropout: broadcast_dims has 2, but x has shape \(3, 4\)"
    ):
        ops.dropout(np.ones((3, 4)), rate=0.5, key=KEY, broadcast_dims=(0, 2))
    with pytest.raises(ShapeError, match=r"block_size is 5, .* no more than the image has, 5 × 4"):
        ops.drop_block(IMAGE, rate=0.5, block_size=5, key=KEY)
    with pytest.raises(DomainError, match="block_size is 0, expected at least 1"):
        ops.drop_block(IMAGE, rate=0.5, block_size=0, key=KEY)
    with pytest.raises(ShapeError, match=r"drop_block: x has shape \(5, 4, 3\)"):
        ops.drop_block(IMAGE[0], rate=0.5, block_size=2, key=KEY)
    with pytest.raises(DomainError, match="max_drop: mode is 'map', expected 'feature' or"):
        ops.max_drop(IMAGE, rate=0.5, key=KEY, mode="map")
    with pytest.raises(ShapeError, match=r"spatial_dropout: x has shape \(3,\)"):
        ops.spatial_dropout(np.ones(3), rate=0.5, key=KEY)
