"""Augmentation: what is seen is changed a little at every step, as a pure function of a key.

Images are (batch, height, width, channels), of any dtype, which is kept.
"""

import numpy as np
from jaxtyping import Shaped

from purenn import random
from purenn.contract import check_array, check_integer, check_number
from purenn.errors import DomainError, DtypeError, ShapeError
from purenn.typing import Array, Key

_NOISY = ("uint8", *random.FLOATS)


def random_flip(
    key: Key, images: Shaped[Array, "batch height width channels"], axis: int = 2
) -> Shaped[Array, "batch height width channels"]:
    """Mirror each image with probability 1/2: left and right, or with ``axis=1`` up and down.

    Those of ``bernoulli(key, 0.5, (batch,))`` are mirrored.

    Raises:
        DtypeError: ``images`` is no array, or ``axis`` no int.
        ShapeError: ``images`` is not of rank 4.
        DomainError: ``axis`` is neither 1 nor 2.
    """
    _check_images("random_flip", images)
    if check_integer("random_flip", "axis", axis) not in (1, 2):
        raise DomainError(f"random_flip: axis is {axis}, expected 1 (height) or 2 (width)")
    flipped = random.bernoulli(key, 0.5, (len(images),))
    seen = np.array(images)
    seen[flipped] = np.flip(images[flipped], axis)
    return seen


def random_shift(
    key: Key, images: Shaped[Array, "batch height width channels"], size: int
) -> Shaped[Array, "batch height width channels"]:
    """Move each image by −size … size pixels up or down, and left or right; zeros come in.

    ``random_crop`` to the size of the images, with ``padding=size``.

    Raises:
        DtypeError: ``images`` is no array, or ``size`` no int.
        ShapeError: ``images`` is not of rank 4.
        DomainError: ``size`` is not from 0 to the smaller side of the images.
    """
    _check_images("random_shift", images)
    _check_padding("random_shift", "size", size, images)
    return _crop(key, images, images.shape[1], images.shape[2], size)


def random_crop(
    key: Key,
    images: Shaped[Array, "batch height width channels"],
    shape: tuple[int, int],
    padding: int = 0,
) -> Shaped[Array, "batch new_height new_width channels"]:
    """Cut each image out at a random place, after ``padding`` zeros on each side.

    With ``key_y, key_x = split(key)`` the first row of the padded image that is kept is
    ``randint(key_y, (batch,), 0, height + 2·padding − new_height + 1)``, the first column so.

    Args:
        key: The places are a pure function of it.
        images: The images.
        shape: The new height and width.
        padding: How many zeros; at most the smaller side of the images.

    Raises:
        DtypeError: ``images`` is no array, a number no int, or ``shape`` no tuple.
        ShapeError: ``images`` is not of rank 4, ``shape`` is not of two, or larger than the images
            with their padding.
        DomainError: a number is negative, or ``padding`` is larger than it may be.
    """
    _check_images("random_crop", images)
    _check_padding("random_crop", "padding", padding, images)
    if not isinstance(shape, tuple):
        raise DtypeError(f"random_crop: shape is a {type(shape).__name__}, expected a tuple")
    if len(shape) != 2:
        raise ShapeError(f"random_crop: shape is {shape}, expected (height, width)")
    for i, size in enumerate(shape):
        most = images.shape[1 + i] + 2 * padding
        if check_integer("random_crop", f"shape[{i}]", size, least=0) > most:
            raise ShapeError(f"random_crop: shape[{i}] is {size}, expected at most {most}")
    return _crop(key, images, *shape, padding)


def add_noise(key: Key, x: Shaped[Array, "*shape"], scale: float) -> Shaped[Array, "*shape"]:
    """x + scale·ε with ε standard normal; uint8 is rounded, and stays within 0 to 255.

    ε is ``normal(key, x.shape)``, in the dtype of x; for uint8 in float32.

    Raises:
        DtypeError: x is no array, or neither floating nor uint8; ``scale`` is no number.
        DomainError: ``scale`` is negative or not finite.
    """
    check_array("add_noise", "x", x)
    if x.dtype.name not in _NOISY or not x.dtype.isnative:
        raise DtypeError(f"add_noise: x has dtype {x.dtype}, expected {' or '.join(_NOISY)}")
    scale = check_number("add_noise", "scale", scale, ge=0)
    noise = random.normal(key, x.shape, np.float32 if x.dtype == np.uint8 else x.dtype)
    with np.errstate(over="ignore", invalid="ignore"):
        noise *= noise.dtype.type(scale)
        noise += x
    if x.dtype == np.uint8:
        return np.clip(np.rint(noise), 0, 255).astype(np.uint8)
    return noise


def _crop(key: Key, images: Array, height: int, width: int, padding: int) -> Array:
    around = (padding, padding)
    padded = np.pad(images, ((0, 0), around, around, (0, 0)))
    count = len(images)
    key_y, key_x = random.split(key)
    top = random.randint(key_y, (count,), 0, padded.shape[1] - height + 1)
    left = random.randint(key_x, (count,), 0, padded.shape[2] - width + 1)
    rows = top[:, None, None] + np.arange(height)[:, None]
    columns = left[:, None, None] + np.arange(width)
    return padded[np.arange(count)[:, None, None], rows, columns]


def _check_images(name: str, images: Array) -> None:
    check_array(name, "images", images)
    if images.ndim != 4:
        raise ShapeError(
            f"{name}: images has shape {images.shape}, expected (batch, height, width, channels)"
        )


def _check_padding(name: str, argument: str, padding: int, images: Array) -> None:
    most = min(images.shape[1:3])
    if check_integer(name, argument, padding, least=0) > most:
        raise DomainError(
            f"{name}: {argument} is {padding}, expected at most {most}, the smaller side"
        )
