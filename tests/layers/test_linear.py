import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from purenn import layers, random
from purenn.errors import DomainError, DtypeError, ShapeError, TreeError

KEY = random.key(0)
IDS = np.array([[0, 1, 1], [4, 4, 4]])


def test_embedding_is_that_of_flax() -> None:
    layer = layers.embedding(5, 3)
    params, state, shape = layer.init(KEY, (3,), np.float64)
    flax = nn.Embed(5, 3, param_dtype=jnp.float64)
    theirs = flax.init(jax.random.key(0), IDS)
    assert jax.tree.map(np.shape, params) == jax.tree.map(np.shape, theirs["params"])
    assert state == {}

    y, pullback, _ = layer.vjp(params, state, IDS)
    assert y.shape == (2, *shape)
    np.testing.assert_array_equal(layer.forward(params, state, IDS), y)
    dy = np.cos(np.arange(y.size)).reshape(y.shape)
    expected_y, expected_pullback = jax.vjp(lambda p: flax.apply({"params": p}, IDS), params)
    np.testing.assert_array_equal(y, expected_y)
    for input_cotangent in (True, False):
        dparams, dx = pullback(dy, input_cotangent=input_cotangent)
        assert dx is None
        np.testing.assert_allclose(
            dparams["embedding"], expected_pullback(dy)[0]["embedding"], rtol=1e-14
        )


def test_an_embedding_begins_with_the_numbers_of_flax() -> None:
    # Flax derives its key from the name of the parameter; the initializer is what is compared.
    initializer = nn.Embed(50, 20).embedding_init
    params, _, _ = layers.embedding(50, 20).init(KEY, ())
    theirs = initializer(jax.random.key(0), (50, 20), jnp.float32)
    np.testing.assert_allclose(params["embedding"], theirs, rtol=1e-5, atol=1e-6)


def test_an_embedding_stands_first_in_a_model() -> None:
    model = layers.serial(words=layers.embedding(5, 3), flat=layers.flatten, out=layers.dense(2))
    params, state, shape = model.init(KEY, (3,))
    assert shape == (2,)
    y, pullback, _ = model.vjp(params, state, IDS)
    dparams, dx = pullback(np.ones_like(y), input_cotangent=False)
    assert dx is None
    assert [*dparams] == ["words", "out"]
    assert not dparams["words"]["embedding"][2:4].any()


def test_what_does_not_fit_an_embedding_is_refused_by_name() -> None:
    layer = layers.serial(words=layers.embedding(5, 3))
    params, state, _ = layer.init(KEY, (3,))
    refused = r"words: embedding: x\[1, 0\] is 5, expected 0 to 4 \(num_embeddings − 1\)"
    with pytest.raises(DomainError, match=refused):
        layer.forward(params, state, IDS + np.array([[0], [1]]))
    with pytest.raises(DtypeError, match="words: embedding: x has dtype float64, expected an int"):
        layer.vjp(params, state, IDS.astype(np.float64))
    with pytest.raises(ShapeError, match=r"embedding: x has shape \(\)"):
        layer.forward(params, state, np.array(1))
    with pytest.raises(TreeError, match=r"embedding: params has keys \[\], expected \['em"):
        layer.forward({}, state, IDS)
    with pytest.raises(ShapeError, match=r"embedding has shape \(6, 3\), expected \(5, 3\)"):
        layer.forward({"words": {"embedding": np.ones((6, 3))}}, state, IDS)
    y, pullback, _ = layer.vjp(params, state, IDS)
    with pytest.raises(ShapeError, match="embedding: dy has shape"):
        pullback(y[:1])
    with pytest.raises(DomainError, match="embedding: num_embeddings is 0, expected at least 1"):
        layers.embedding(0, 3)
