from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from purenn import layers, random, tree
from purenn.errors import DomainError, DtypeError, ShapeError, TreeError

KEY = random.key(0)
X = np.random.default_rng(0).normal(size=(2, 5, 6))


MASK = np.random.default_rng(1).random((2, 1, 5, 5)) < 0.6


@pytest.mark.parametrize(
    ("is_causal", "mask"), [(False, None), (True, None), (False, MASK), (True, MASK[:1])]
)
def test_self_attention_is_that_of_flax(is_causal: bool, mask: Any) -> None:
    sizes: Any = {"num_heads": 2, "qkv_features": 4, "out_features": 3}
    layer = layers.multi_head_attention(**sizes, mask=mask, is_causal=is_causal)
    params, state, shape = layer.init(KEY, X.shape[1:], np.float64)
    flax = nn.MultiHeadDotProductAttention(**sizes, param_dtype=jnp.float64)
    like = jax.eval_shape(flax.init, jax.random.key(0), X)["params"]
    tree.check_like("params", params, jax.tree.map(lambda x: np.empty(x.shape), like))
    params["key"]["bias"] += 0.5
    params["out"]["bias"] += 0.5
    mask = nn.combine_masks(mask, nn.make_causal_mask(X[..., 0]) if is_causal else None)

    @jax.jit
    def theirs(params: Any, x: Any, dy: Any) -> Any:
        def apply(params: Any, x: Any) -> Any:
            return flax.apply({"params": params}, x, mask=mask)

        y, pullback = jax.vjp(apply, params, x)
        return y, pullback(dy)

    y, pullback, new_state = layer.vjp(params, state, X)
    assert y.shape == (2, *shape)
    assert new_state == {}
    dy = np.cos(y)
    expected = jax.tree.map(np.asarray, theirs(params, X, dy))
    tree.map(
        lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-10, atol=1e-13),
        (y, pullback(dy)),
        expected,
    )
    np.testing.assert_array_equal(layer.forward(params, state, X), y)
    dparams, dx = pullback(dy, input_cotangent=False)
    assert dx is None
    tree.map(np.testing.assert_array_equal, dparams, pullback(dy)[0])


def test_first_parameters_have_the_variances_of_flax() -> None:
    params, _, _ = layers.multi_head_attention(4, 400).init(KEY, (7, 50))
    for part in ("query", "key", "value"):
        assert params[part]["kernel"].shape == (50, 4, 100)
        np.testing.assert_allclose(np.var(params[part]["kernel"]), 1 / 50, rtol=0.05)
        assert not params[part]["bias"].any()
    np.testing.assert_allclose(np.var(params["out"]["kernel"]), 1 / 400, rtol=0.05)
    assert not np.array_equal(params["query"]["kernel"], params["key"]["kernel"])


@pytest.mark.usefixtures("unannotated")
def test_what_does_not_fit_is_refused_by_name() -> None:
    model = layers.serial(attend=layers.multi_head_attention(2))
    params, state, _ = model.init(KEY, (5, 6), np.float64)
    refused = r"attend: multi_head_attention: "
    key = {**params["attend"]["key"], "kernel": np.ones((4, 2, 3))}
    with pytest.raises(ShapeError, match=refused + r'params\["key"\]\["kernel"\].* with in = 6'):
        model.forward({"attend": {**params["attend"], "key": key}}, state, X)
    with pytest.raises(ShapeError, match=refused + r"x has shape \(5, 6\), which is of rank 2"):
        model.vjp(params, state, X[0])
    three, _, _ = layers.multi_head_attention(3).init(KEY, (5, 6), np.float64)
    with pytest.raises(ShapeError, match=refused + r"params\S+ has .* with heads = 2"):
        model.forward({"attend": three}, state, X)
    with pytest.raises(TreeError, match=refused + r"params has keys \[\], expected \['query', "):
        model.forward({}, state, X)
    y, pullback, _ = model.vjp(params, state, X)
    with pytest.raises(ShapeError, match=refused + "dy has shape"):
        pullback(y[:1])
    with pytest.raises(ShapeError, match="num_heads is 4, expected a divisor of the 6 features"):
        layers.multi_head_attention(4).init(KEY, (5, 6))
    with pytest.raises(ShapeError, match="num_heads is 4, expected a divisor of the 6 features"):
        layers.multi_head_attention(4, 6)
    with pytest.raises(DomainError, match="multi_head_attention: num_heads is 0, expected at le"):
        layers.multi_head_attention(0)
    make: Any = layers.multi_head_attention
    for heads in ("2", 2.5, True, None):
        with pytest.raises(DtypeError, match=r"attention: num_heads is .*, expected an int"):
            make(heads)
    with pytest.raises(DtypeError, match=r"multi_head_attention: mask has dtype float64, expected"):
        make(2, mask=np.ones((5, 5)))
    masked = make(2, mask=np.ones((4, 4), bool))
    with pytest.raises(ShapeError, match=r"multi_head_attention: mask has shape \(4, 4\), exp"):
        masked.forward(masked.init(KEY, (5, 6), np.float64)[0], {}, X)
    with pytest.raises(ShapeError, match="multi_head_attention: input_shape is 6, expected"):
        make(2).init(KEY, 6)
    with pytest.raises(ShapeError, match=r"input_shape is \(6,\), expected \(\.\.\., length, feat"):
        layers.multi_head_attention(2).init(KEY, (6,))
