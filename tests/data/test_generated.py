"""What is drawn, told a second time: point by point from the numbers of jax.random."""

import math
from typing import Any

import jax
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.datasets import make_moons

from purenn import random
from purenn.data import (
    Dataset,
    iris,
    moons,
    nnfs_spiral,
    random_labels,
    random_pixels,
    sine,
    spiral,
    vertical_bands,
)
from purenn.errors import DomainError, DtypeError
from purenn.typing import Array, Shape

few = settings(max_examples=25)
seeds = st.integers(0, 2**32)
# JAX compiles for every shape.
sizes = st.sampled_from([(1, 1), (7, 2), (5, 3)])


def jax_normal(seed: int, shape: Shape) -> Array:
    return np.asarray(jax.random.normal(jax.random.key(seed), shape, np.float32), np.float64)


def agrees(got: Dataset, points: list[Any], labels: list[int], classes: int) -> None:
    """Equal but for the rounding of erf⁻¹ in the noise, and in the order of the classes."""
    assert got.inputs.dtype == np.float32
    assert got.targets.dtype == np.int64
    assert got.inputs.shape == (len(points), 2)
    np.testing.assert_allclose(got.inputs, points, rtol=2e-5, atol=2e-6)
    assert got.targets.tolist() == labels
    assert got.classes == tuple(str(i) for i in range(classes))


@few
@given(seeds, sizes, st.sampled_from([0, 0.2, 1]), st.booleans())
def test_spirals(seed: int, size: tuple[int, int], noise: float, book: bool) -> None:
    points, arms = size
    noise = 0.2 if book else noise
    drawn = jax_normal(seed, (arms, points))
    expected, labels = [], []
    for j in range(arms):
        for i in range(points):
            part = i / max(1, points - 1)
            theta = 4 * j + 4 * part + noise * drawn[j, i]
            if book:
                theta *= 2.5
            expected.append((part * math.sin(theta), part * math.cos(theta)))
            labels.append(j)
    key = random.key(seed)
    got = nnfs_spiral(key, points, arms) if book else spiral(key, points, arms, noise)
    agrees(got, expected, labels, arms)


@few
@given(seeds, sizes)
def test_vertical_bands(seed: int, size: tuple[int, int]) -> None:
    points, classes = size
    drawn = jax_normal(seed, (classes, points, 2))
    expected, labels = [], []
    for j in range(classes):
        for i in range(points):
            expected.append((j / 3 + 0.1 * drawn[j, i, 0], 0.5 + 0.1 * drawn[j, i, 1]))
            labels.append(j)
    agrees(vertical_bands(random.key(seed), points, classes), expected, labels, classes)


@few
@given(seeds, st.sampled_from([1, 7]), st.sampled_from([0, 0.1, 2]))
def test_moons(seed: int, points: int, noise: float) -> None:
    clean, labels = make_moons((points, points), shuffle=False, noise=None)
    drawn = jax_normal(seed, (2, points, 2)).reshape(-1, 2)
    got = moons(random.key(seed), points, noise)
    agrees(got, [*(clean + noise * drawn)], labels.tolist(), 2)


@given(st.integers(1, 50))
def test_sine(points: int) -> None:
    inputs, targets, classes = sine(points)
    assert inputs.dtype == targets.dtype == np.float32
    assert inputs.shape == targets.shape == (points, 1)
    assert classes == ()
    for k in range(points):
        assert inputs[k, 0] == np.float32(k / points)
        np.testing.assert_allclose(targets[k, 0], math.sin(2 * math.pi * k / points), atol=1e-7)


@pytest.mark.parametrize("draw", [spiral, nnfs_spiral, vertical_bands, moons])
def test_the_key_is_all_that_it_depends_on(draw: Any) -> None:
    one, same, other = (draw(random.key(seed), 50) for seed in (0, 0, 1))
    np.testing.assert_array_equal(one.inputs, same.inputs)
    assert (one.inputs != other.inputs).any()
    np.testing.assert_array_equal(one.targets, other.targets)


def test_statistics_of_the_bands_and_of_the_noise() -> None:
    count = 20_000
    bands = vertical_bands(random.key(3), count, 4)
    for label in range(4):
        inside = bands.inputs[bands.targets == label].astype(np.float64)
        assert len(inside) == count
        np.testing.assert_allclose(inside.mean(axis=0), [label / 3, 0.5], atol=0.004)
        np.testing.assert_allclose(inside.std(axis=0), 0.1, rtol=0.03)
    noise = moons(random.key(4), count, 0.3).inputs - moons(random.key(4), count, 0).inputs
    np.testing.assert_allclose(noise.mean(axis=0), 0, atol=0.01)
    np.testing.assert_allclose(noise.std(axis=0), 0.3, rtol=0.03)
    arms = spiral(random.key(5), count)
    radius = np.linalg.norm(arms.inputs, axis=1).reshape(3, count)
    np.testing.assert_allclose(radius, np.tile(np.linspace(0, 1, count), (3, 1)), atol=1e-6)


@few
@given(seeds)
def test_random_labels(seed: int) -> None:
    dataset = iris()
    got = random_labels(random.key(seed), dataset)
    expected = jax.random.randint(jax.random.key(seed), (150,), 0, 3, np.int64)
    np.testing.assert_array_equal(got.targets, np.asarray(expected))
    assert got.targets.dtype == np.int64
    assert got.inputs is dataset.inputs
    assert got.classes == dataset.classes
    np.testing.assert_array_equal(dataset.targets, iris().targets)


def test_random_labels_are_uniform() -> None:
    count = 30_000
    dataset = Dataset(np.zeros((count, 1), np.float32), np.zeros(count, np.int64), ("a", "b", "c"))
    drawn = np.bincount(random_labels(random.key(0), dataset).targets)
    np.testing.assert_allclose(drawn, [count / 3] * 3, rtol=0.05)


@few
@given(seeds, st.booleans())
def test_random_pixels(seed: int, images: bool) -> None:
    shape = (20, 4, 3, 2) if images else (20, 3)
    rng = np.random.default_rng(seed)
    inputs = rng.integers(0, 256, shape).astype(np.uint8 if images else np.float32)
    inputs[:, 0] = 7
    before = inputs.copy()
    dataset = Dataset(inputs, np.arange(20), tuple(map(str, range(20))))
    got = random_pixels(random.key(seed), dataset)
    mean, std = inputs.astype(float).mean(axis=0), inputs.astype(float).std(axis=0)
    assert got.inputs.dtype == np.float32
    np.testing.assert_allclose(
        got.inputs, mean + std * jax_normal(seed, shape), rtol=2e-5, atol=1e-3
    )
    np.testing.assert_array_equal(got.inputs[:, 0], 7)
    np.testing.assert_array_equal(inputs, before)
    assert got.targets is dataset.targets


def test_random_pixels_have_the_statistics_of_the_inputs() -> None:
    inputs = np.repeat(iris().inputs, 200, axis=0)
    got = random_pixels(random.key(1), Dataset(inputs, np.zeros(len(inputs), np.int64), ("",)))
    np.testing.assert_allclose(got.inputs.mean(axis=0), inputs.mean(axis=0), rtol=0.02)
    np.testing.assert_allclose(got.inputs.std(axis=0), inputs.std(axis=0), rtol=0.02)
    drawn = np.abs(np.corrcoef(got.inputs.T) - np.eye(4)).max()
    assert drawn < 0.05, "each feature for itself"


@pytest.mark.usefixtures("unannotated")
def test_what_is_refused() -> None:
    key: Any = random.key(0)
    for draw in (spiral, nnfs_spiral, vertical_bands, moons):
        name = draw.__name__
        with pytest.raises(DomainError, match=f"{name}: points is 0, expected at least 1"):
            draw(key, 0)
        with pytest.raises(DtypeError, match=rf"{name}: points is 1\.0, expected an int"):
            draw(key, 1.0)  # type: ignore[arg-type]
        with pytest.raises(DtypeError, match="key is int"):
            draw(0)  # type: ignore[arg-type]
    with pytest.raises(DomainError, match="sine: points is 0"):
        sine(0)
    with pytest.raises(DomainError, match="spiral: noise is -1"):
        spiral(key, noise=-1)
    with pytest.raises(DomainError, match="moons: noise is nan"):
        moons(key, noise=math.nan)
    with pytest.raises(DomainError, match="spiral: arms is 0"):
        spiral(key, arms=0)
    with pytest.raises(DomainError, match="vertical_bands: classes is -1"):
        vertical_bands(key, classes=-1)
    for change in (random_labels, random_pixels):
        with pytest.raises(DtypeError, match=f"{change.__name__}: dataset is a tuple, expected"):
            change(key, (np.zeros(1), np.zeros(1)))  # type: ignore[arg-type]
    with pytest.raises(DomainError, match="random_labels: dataset has no classes"):
        random_labels(key, sine())
    nothing = Dataset(np.zeros((0, 2), np.float32), np.zeros(0, np.int64), ("a",))
    with pytest.raises(DomainError, match="random_pixels: dataset has no examples"):
        random_pixels(key, nothing)
