import itertools
from functools import cache
from typing import Any

import flint
import jax
import numpy as np
import optax
import pytest
from flint import arb
from hypothesis import given
from hypothesis import strategies as st

from purenn.errors import DomainError, DtypeError, ShapeError
from purenn.ops import losses
from purenn.typing import Array

COSINES = ["cosine_similarity", "cosine_distance"]


def vectors(count: int, *shape: int, seed: int = 0) -> list[Array]:
    return list(np.random.default_rng(seed).normal(size=(count, *shape)))


@cache
def optax_vjp(name: str, **static: Any) -> Any:
    """Compiled once for all values of what is traced."""

    def run(arrays: list[Any], dy: Any, traced: dict[str, Any], *labels: Any) -> Any:
        loss = getattr(optax.losses, name)
        y, pullback = jax.vjp(lambda *x: loss(*x, *labels, **static, **traced), *arrays)
        return y, pullback(dy)

    return jax.jit(run)


def assert_as_optax(
    name: str, arrays: list[Array], *labels: Array, traced: dict[str, float], **static: Any
) -> None:
    y, pullback = getattr(losses, f"{name}_vjp")(*arrays, *labels, **traced, **static)
    again = getattr(losses, name)(*arrays, *labels, **traced, **static)
    np.testing.assert_array_equal(again, y)
    dy: Array = np.cos(np.arange(y.size, dtype=float)).reshape(y.shape)
    expected, cotangents = optax_vjp(name, **static)(arrays, dy, traced, *labels)
    np.testing.assert_allclose(y, expected, rtol=1e-12, atol=1e-14)
    for got, cotangent in zip(pullback(dy), [*cotangents, *(None for _ in labels)], strict=True):
        if cotangent is None:
            assert got is None
        else:
            np.testing.assert_allclose(got, cotangent, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("name", COSINES)
def test_cosines_are_those_of_optax(name: str) -> None:
    for axis, epsilon in itertools.product((-1, 0, (2, 0), None), (0.0, 1e-6, 2.0)):
        assert_as_optax(name, vectors(2, 3, 4, 2), axis=axis, traced={"epsilon": epsilon})


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@given(st.integers(-30, 30), st.integers(-30, 30))
def test_the_angle_does_not_depend_on_the_lengths(dtype: type, i: int, j: int) -> None:
    a: Array = np.array([3, 4, 0], dtype)
    b: Array = np.array([4, 3, 0], dtype)
    long, short = a * dtype(10.0**i), b * dtype(10.0**j)
    y, pullback = losses.cosine_similarity_vjp(long, short)
    eps = float(np.finfo(dtype).eps)
    np.testing.assert_allclose(y, 0.96, rtol=4 * eps)
    # ‖a‖·da is orthogonal to a, and as long as the sine of the angle, 0.28.
    da, db = pullback(np.ones((), dtype))
    np.testing.assert_allclose(da * dtype(5 * 10.0**i), [0.224, -0.168, 0], rtol=8 * eps)
    np.testing.assert_allclose(db * dtype(5 * 10.0**j), [-0.168, 0.224, 0], rtol=8 * eps)


def test_a_vector_of_zeros_is_like_none() -> None:
    a, b = np.zeros((1, 3)), np.ones((1, 3))
    one = np.ones(1)
    for x, z in ((a, b), (b, a), (a, a)):
        y, pullback = losses.cosine_similarity_vjp(x, z)
        np.testing.assert_array_equal(y, 0)
        np.testing.assert_array_equal(losses.cosine_distance(x, z), 1)
        np.testing.assert_array_equal(pullback(one), np.zeros((2, 1, 3)))
    _, pullback = losses.cosine_similarity_vjp(a, b, epsilon=0.25)
    np.testing.assert_allclose(pullback(one)[0], b / np.sqrt(3) / 0.5, rtol=1e-15)


def test_at_the_floor_the_derivative_is_halfway_between() -> None:
    a, b = np.array([3.0, 4.0]), np.array([1.0, 0.0])
    (at, _), (above, _), (below, _) = (
        losses.cosine_similarity_vjp(a, b, epsilon=epsilon)[1](np.ones(()))
        for epsilon in (25.0, np.nextafter(25, 0), np.nextafter(25, 26))
    )
    np.testing.assert_allclose(at, (above + below) / 2, rtol=1e-12)
    assert not np.allclose(above, below)


def test_the_distance_keeps_its_digits_at_small_angles() -> None:
    a = np.array([1, 1], np.float32)
    b = np.array([1, 1 + 2.0**-20], np.float32)
    # tan of the angle is s/(2 + s), and the distance half its square.
    expected = (2.0**-20 / (2 + 2.0**-20)) ** 2 / 2
    y, pullback = losses.cosine_distance_vjp(a, b)
    np.testing.assert_allclose(y, expected, rtol=1e-6)
    np.testing.assert_allclose(
        pullback(np.ones((), np.float32))[1], [-(2.0**-22), 2.0**-22], rtol=4e-6
    )
    random = np.random.default_rng(0).normal(size=(50, 7))
    np.testing.assert_allclose(losses.cosine_distance(random, 3 * random), 0, atol=1e-31)
    np.testing.assert_array_equal(losses.cosine_distance(random, random), 0)


def test_the_example_of_the_triplet_loss_in_optax() -> None:
    anchors = np.array([[0.0, 0.0], [1.0, 1.0]])
    positives = np.array([[0.1, 0.1], [1.1, 1.1]])
    negatives = np.array([[1.0, 0.0], [0.0, 1.0]])
    y = losses.triplet_margin_loss(anchors, positives, negatives, margin=1.0)
    np.testing.assert_allclose(y, [0.1414, 0.1414], atol=5e-5)


def test_triplets_are_those_of_optax() -> None:
    for axis, degree, margin, eps in itertools.product((-1, 0), (2, 4), (0.3, 1.0), (1e-6, 0.5)):
        traced = {"margin": margin, "eps": eps}
        assert_as_optax(
            "triplet_margin_loss", vectors(3, 4, 3), axis=axis, norm_degree=degree, traced=traced
        )


@pytest.mark.parametrize("degree", [1, 2, 3, 2.5, 20])
@pytest.mark.parametrize("scale", [1e-30, 1.0, 1e30])
def test_every_degree_is_a_norm(degree: float, scale: float) -> None:
    anchors, positives, negatives = (scale * x for x in vectors(3, 5, 3))
    y, pullback = losses.triplet_margin_loss_vjp(
        anchors, positives, negatives, norm_degree=degree, margin=20 * scale, eps=0.0
    )
    near, far = (
        np.linalg.norm((anchors - x) / scale, degree, axis=-1) for x in (positives, negatives)
    )
    np.testing.assert_allclose(y / scale, near - far + 20, rtol=1e-13)
    danchors, dpositives, dnegatives = pullback(np.ones(5))
    np.testing.assert_allclose(danchors, -dpositives - dnegatives, rtol=1e-12, atol=1e-13)
    # Euler: a norm is ⟨gradient, vector⟩.
    np.testing.assert_allclose(
        np.sum(dpositives * (positives - anchors), axis=-1) / scale, near, rtol=1e-13
    )


def test_triplets_that_are_the_same_or_far_enough_apart() -> None:
    x = np.ones((1, 2))
    for degree in (1, 2, 3):
        y, pullback = losses.triplet_margin_loss_vjp(x, x, x, norm_degree=degree, eps=0.0)
        np.testing.assert_array_equal(y, 1)
        np.testing.assert_array_equal(pullback(np.ones(1)), np.zeros((3, 1, 2)))
    negatives = np.array([[1.0, 2.0]])
    for margin, slope in ((0.5, 0), (1.0, 0.5), (1.5, 1)):
        y, pullback = losses.triplet_margin_loss_vjp(x, x, negatives, eps=0.0, margin=margin)
        np.testing.assert_array_equal(y, max(margin - 1, 0))
        np.testing.assert_array_equal(pullback(np.ones(1))[2], [[0, -slope]])


def test_the_example_of_ntxent_in_optax() -> None:
    embeddings = np.array([[0.08969027], [1.6291292], [0.8622629], [0.13612625]])
    y = losses.ntxent(embeddings, np.array([0, 0, 1, 1]))
    assert y.shape == ()
    np.testing.assert_allclose(y, 1.0986123, rtol=1e-7)


@pytest.mark.parametrize("temperature", [0.07, 0.5, 3.0])
def test_ntxent_is_that_of_optax(temperature: float) -> None:
    (embeddings,) = vectors(1, 7, 3)
    for labels in ([0, 0, 1, 1, 2, 2, 5], [3, 3, 3, 3, -1, -1, 0]):
        traced = {"temperature": temperature}
        assert_as_optax("ntxent", [embeddings], np.array(labels), traced=traced)


def test_ntxent_far_apart_and_cold() -> None:
    embeddings = np.array([[1.0, 0.0], [1.0, 1e-3], [-1.0, 0.0]])
    y = losses.ntxent(embeddings, np.array([0, 0, 1]), temperature=0.01)
    # The pair is 200 nearer than the negative: one e⁻²⁰⁰ each, which the pair's own term hides.
    np.testing.assert_allclose(y, np.exp(-200), rtol=1e-3)
    # Of the pair that is opposite, one has a negative that is 2000 nearer, one where it is itself.
    cold = losses.ntxent(embeddings, np.array([0, 1, 0]), temperature=1e-3)
    np.testing.assert_allclose(cold, (2000 + np.log(2)) / 2, rtol=1e-6)


@pytest.mark.parametrize("labels", [[0, 1, 2], [0, 0, 0], []])
def test_ntxent_without_pairs_or_negatives_is_0(labels: list[int]) -> None:
    embeddings = np.eye(3)[: len(labels)]
    y, pullback = losses.ntxent_vjp(embeddings, np.array(labels, int))
    np.testing.assert_array_equal(y, 0)
    np.testing.assert_array_equal(pullback(np.ones(()))[0], np.zeros(embeddings.shape))


def test_what_does_not_fit_is_refused_by_name() -> None:
    x = np.ones((2, 3))
    for name in COSINES:
        with pytest.raises(DomainError, match=f"{name}: epsilon is -1.0, expected a finite"):
            getattr(losses, name)(x, x, epsilon=-1.0)
        with pytest.raises(ShapeError, match=rf"{name}: axis is 2, but predictions has shape \(2"):
            getattr(losses, name)(x, x, axis=2)
    triplet = losses.triplet_margin_loss
    with pytest.raises(DomainError, match=r"norm_degree is 0\.5, expected a finite number ≥ 1"):
        triplet(x, x, x, norm_degree=0.5)
    with pytest.raises(DomainError, match="triplet_margin_loss: eps is nan, expected a"):
        triplet(x, x, x, eps=np.nan)
    with pytest.raises(DomainError, match="triplet_margin_loss: margin is inf, expected a"):
        triplet(x, x, x, margin=np.inf)
    with pytest.raises(ShapeError, match=r"triplet_margin_loss: axis is -3, but anchors has"):
        triplet(x, x, x, axis=-3)
    with pytest.raises(DomainError, match=r"ntxent: temperature is 0\.0, expected a finite number"):
        losses.ntxent(x, np.array([0, 0]), temperature=0.0)
    with pytest.raises(DomainError, match=r"ntxent: temperature is 1e-309, expected a finite"):
        losses.ntxent(x, np.array([0, 0]), temperature=1e-309)
    for rule in (triplet, losses.triplet_margin_loss_vjp):
        with pytest.raises(DtypeError, match="triplet_margin_loss: eps is True, expected a number"):
            rule(x, x, x, eps=True)
    with pytest.raises(ShapeError, match=r"ntxent: labels has shape \(3,\).* with batch = 2"):
        losses.ntxent(x, np.array([0, 0, 1]))
    with pytest.raises(DtypeError, match="ntxent: labels has dtype float64, expected an integer"):
        losses.ntxent(x, np.zeros(2))


def test_an_infinite_entry_has_the_direction_to_itself() -> None:
    x, other = np.array([[np.inf, 1.0], [-np.inf, 1.0]]), np.array([[3.0, 4.0], [3.0, 4.0]])
    y, pullback = losses.cosine_similarity_vjp(x, other)
    np.testing.assert_allclose(y, [0.6, -0.6], rtol=1e-15)
    np.testing.assert_array_equal(pullback(np.ones(2))[0], np.zeros((2, 2)))
    assert np.isnan(losses.cosine_similarity(np.full((1, 2), np.inf), other[:1])).all()


@pytest.mark.parametrize("eps", [1e-6, 0.25])
@pytest.mark.parametrize("degree", [2, 2.3, 6, 20, 200])
def test_triplets_keep_their_digits_at_every_degree(degree: float, eps: float) -> None:
    anchors, positives, negatives = vectors(3, 20, 2)
    _, pullback = losses.triplet_margin_loss_vjp(
        anchors, positives, negatives, norm_degree=degree, eps=eps, margin=100.0
    )
    with flint.ctx.workprec(300):
        k, expected = arb(degree), []
        for one, other in zip(anchors.tolist(), positives.tolist(), strict=True):
            d = [arb(b) - arb(a) for a, b in zip(one, other, strict=True)]
            norm = sum((abs(x) ** k for x in d), arb(eps)) ** (1 / k)
            expected.append([float((x.sgn() * (abs(x) / norm) ** (k - 1)).mid()) for x in d])
    np.testing.assert_allclose(pullback(np.ones(20))[1], expected, rtol=8 * 2.0**-53)
