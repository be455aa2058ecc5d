"""Each image that comes out, beside the one that went in."""

from collections.abc import Callable
from typing import Any

import jax
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from purenn import random
from purenn.data import add_noise, random_crop, random_flip, random_shift
from purenn.errors import DomainError, DtypeError, ShapeError
from purenn.typing import Array

few = settings(max_examples=60)
seeds = st.integers(0, 2**32)
DTYPES = ["uint8", "int16", "float16", "float32", "float64", ">f4", "bool"]
batches = st.sampled_from(DTYPES).flatmap(
    lambda dtype: hnp.arrays(
        dtype,
        hnp.array_shapes(min_dims=4, max_dims=4, min_side=0, max_side=5),
        elements=st.integers(0, 1) if dtype == "bool" else st.integers(0, 100),
    )
)


def frozen(x: Array) -> Array:
    x.setflags(write=False)
    return x


def same(got: Array, expected: Array) -> None:
    assert got.dtype == expected.dtype
    assert type(got) is np.ndarray
    np.testing.assert_array_equal(got, expected)


def cut(image: Array, top: int, left: int, height: int, width: int) -> Array:
    """The part of an image from (top, left) on, pixel by pixel, 0 where there is none."""
    part = np.zeros((height, width, image.shape[2]), image.dtype)
    for y in range(height):
        for x in range(width):
            if 0 <= top + y < image.shape[0] and 0 <= left + x < image.shape[1]:
                part[y, x] = image[top + y, left + x]
    return part


@few
@given(seeds, batches, st.sampled_from([1, 2]))
def test_flip(seed: int, images: Array, axis: int) -> None:
    got = random_flip(random.key(seed), frozen(images), axis)
    drawn = jax.random.bernoulli(jax.random.key(seed), np.float32(0.5), (len(images),))
    expected = [
        (image[::-1] if axis == 1 else image[:, ::-1]) if flipped else image
        for image, flipped in zip(images, np.asarray(drawn), strict=True)
    ]
    same(got, np.array(expected, images.dtype).reshape(images.shape))
    same(random_flip(random.key(seed), images, axis), got)


@few
@given(seeds, batches, st.data())
def test_shift(seed: int, images: Array, data: st.DataObject) -> None:
    _, height, width, _ = images.shape
    size = data.draw(st.integers(0, min(height, width)))
    got = random_shift(random.key(seed), frozen(images), size)
    down, right = (
        np.asarray(jax.random.randint(key, (len(images),), 0, 2 * size + 1, np.int32)) - size
        for key in jax.random.split(jax.random.key(seed))
    )
    expected = [cut(image, down[i], right[i], height, width) for i, image in enumerate(images)]
    same(got, np.array(expected, images.dtype).reshape(images.shape))
    if size == 0:
        same(got, images)


@few
@given(seeds, batches, st.data())
def test_crop(seed: int, images: Array, data: st.DataObject) -> None:
    count, height, width, channels = images.shape
    padding = data.draw(st.integers(0, min(height, width)))
    shape = tuple(data.draw(st.integers(0, side + 2 * padding)) for side in (height, width))
    got = random_crop(random.key(seed), frozen(images), shape, padding)  # type: ignore[arg-type]
    assert got.shape == (count, *shape, channels)
    tops, lefts = (
        np.asarray(jax.random.randint(key, (count,), 0, most + 1, np.int32))
        for key, most in zip(
            jax.random.split(jax.random.key(seed)),
            (height + 2 * padding - shape[0], width + 2 * padding - shape[1]),
            strict=True,
        )
    )
    expected = [
        cut(image, tops[i] - padding, lefts[i] - padding, *shape) for i, image in enumerate(images)
    ]
    same(got, np.array(expected, images.dtype).reshape(got.shape))


def test_every_place_is_equally_likely() -> None:
    count, size = 9000, 1
    images = np.zeros((count, 5, 5, 1), np.uint8)
    images[:, 2, 2] = 1
    _, rows, columns, _ = np.nonzero(random_shift(random.key(0), images, size))
    frequency = np.zeros((5, 5))
    np.add.at(frequency, (rows, columns), 1)
    expected = np.zeros((5, 5))
    expected[1:4, 1:4] = count / 9
    np.testing.assert_allclose(frequency, expected, rtol=0.12)
    flipped = random_flip(random.key(1), np.tile([[[0], [1]]], (count, 1, 1, 1)))
    assert abs(flipped[:, 0, 0, 0].mean() - 0.5) < 0.02


@few
@given(seeds, st.sampled_from(["float16", "float32", "float64"]), st.floats(0, 100))
def test_noise_is_added(seed: int, dtype: str, scale: float) -> None:
    x = np.linspace(-3, 3, 35).reshape(5, 7).astype(dtype)
    got = add_noise(random.key(seed), frozen(x), scale)
    drawn = np.asarray(jax.random.normal(jax.random.key(seed), x.shape, dtype), np.float64)
    eps = float(np.finfo(dtype).eps)
    assert got.dtype == x.dtype
    np.testing.assert_allclose(got, x + scale * drawn, rtol=8 * eps, atol=50 * eps * (1 + scale))
    same(add_noise(random.key(seed), x, 0), x)
    same(add_noise(random.key(seed), x, scale), got)


@few
@given(seeds, hnp.arrays(np.uint8, (3, 2, 2, 3)), st.floats(0, 300))
def test_noise_on_bytes_is_rounded(seed: int, x: Array, scale: float) -> None:
    got = add_noise(random.key(seed), frozen(x), scale)
    drawn = np.asarray(jax.random.normal(jax.random.key(seed), x.shape, np.float32), np.float64)
    wanted = np.clip(x + scale * drawn, 0, 255)
    assert got.dtype == np.uint8
    assert (np.abs(got - wanted) <= 0.5 + 1e-3).all()
    same(add_noise(random.key(seed), x, 0), x)


def test_noise_that_is_too_large_is_infinite() -> None:
    got = add_noise(random.key(0), np.zeros(100, np.float16), 1e5)
    assert np.isinf(got).any()
    assert not np.isnan(add_noise(random.key(0), np.ones(100, np.uint8), 1e30)).any()


IMAGES = np.zeros((2, 4, 3, 1), np.float32)
AUGMENTATIONS: list[Callable[[Any, Any], Array]] = [
    random_flip,
    lambda key, images: random_shift(key, images, 1),
    lambda key, images: random_crop(key, images, (2, 2)),
]


@pytest.mark.usefixtures("unannotated")
@pytest.mark.parametrize("augment", AUGMENTATIONS)
def test_what_are_no_images(augment: Callable[[Any, Any], Array]) -> None:
    key = random.key(0)
    with pytest.raises(ShapeError, match=r"images has shape \(4, 3, 1\), expected \(batch, hei"):
        augment(key, IMAGES[0])
    with pytest.raises(DtypeError, match="images is a list, expected a NumPy array"):
        augment(key, IMAGES.tolist())
    with pytest.raises(DtypeError, match="key is int"):
        augment(0, IMAGES)


@pytest.mark.usefixtures("unannotated")
def test_what_is_refused() -> None:
    key = random.key(0)
    wrong: Any
    with pytest.raises(DomainError, match=r"random_flip: axis is 3, expected 1 \(height\) or 2"):
        random_flip(key, IMAGES, 3)
    for size, told in ((-1, "-1, expected at least 0"), (4, "4, expected at most 3, the smaller")):
        with pytest.raises(DomainError, match=f"random_shift: size is {told}"):
            random_shift(key, IMAGES, size)
        with pytest.raises(DomainError, match=f"random_crop: padding is {told}"):
            random_crop(key, IMAGES, (1, 1), size)
    for wrong in (1.0, True, None):
        with pytest.raises(DtypeError, match=r"random_shift: size is .*, expected an int"):
            random_shift(key, IMAGES, wrong)
    with pytest.raises(ShapeError, match=r"shape\[0\] is 7, expected at most 6"):
        random_crop(key, IMAGES, (7, 2), 1)
    with pytest.raises(ShapeError, match=r"shape\[1\] is 4, expected at most 3"):
        random_crop(key, IMAGES, (4, 4))
    with pytest.raises(DomainError, match=r"shape\[1\] is -1, expected at least 0"):
        random_crop(key, IMAGES, (4, -1))
    for wrong, error, told in (
        ((1,), ShapeError, r"shape is \(1,\), expected \(height, width\)"),
        (3, DtypeError, "shape is a int, expected a tuple"),
        ((1, 1.5), DtypeError, r"shape\[1\] is 1\.5, expected an int"),
    ):
        with pytest.raises(error, match=told):
            random_crop(key, IMAGES, wrong)
    for dtype in ("int32", "bool", ">f4", "complex64"):
        with pytest.raises(DtypeError, match="add_noise: x has dtype"):
            add_noise(key, IMAGES.astype(dtype), 1)
    with pytest.raises(DomainError, match=r"add_noise: scale is -0\.5"):
        add_noise(key, IMAGES, -0.5)
    with pytest.raises(DomainError, match="add_noise: scale is inf"):
        add_noise(key, IMAGES, np.inf)
