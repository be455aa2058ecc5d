"""First values of parameters: the names and the numbers of ``jax.nn.initializers``.

A kernel has shape ``(*receptive field, in, out)``: ``(in, out)`` for a dense layer, HWIO for a
convolution. Its fan-in is the area of the receptive field times in, the number of inputs that an
output sums over; its fan-out is the area times out. Keeping the variance of activations from
layer to layer asks for weights of variance 1/fan-in, that of gradients for 1/fan-out.
"""

from math import erf, exp, pi, prod, sqrt
from typing import Literal, Protocol, TypeAlias, get_args, runtime_checkable

import numpy as np
from numpy.typing import DTypeLike

from purenn import random
from purenn.contract import check_integer, check_number
from purenn.errors import DomainError, ShapeError
from purenn.typing import Array, Float, Key, Shape

Mode: TypeAlias = Literal["fan_in", "fan_out", "fan_avg", "fan_geo_avg"]
Distribution: TypeAlias = Literal["truncated_normal", "normal", "uniform"]

_TRUNCATED = sqrt(1 - 4 * exp(-2) / (sqrt(2 * pi) * erf(sqrt(2))))
"""Standard deviation of a standard normal between ±2."""


@runtime_checkable
class Initializer(Protocol):
    """What every initializer is: ``(key, shape, dtype=float32) -> values``."""

    def __call__(
        self, key: Key, shape: Shape, dtype: DTypeLike = np.float32
    ) -> Float[Array, "*shape"]:
        """Make an array of ``shape``."""


def zeros(key: Key, shape: Shape, dtype: DTypeLike = np.float32) -> Float[Array, "*shape"]:
    """Fill with zeros, whatever the key."""
    shape, kind = random.admit("zeros", key, shape, dtype)
    return np.zeros(shape, kind)


def ones(key: Key, shape: Shape, dtype: DTypeLike = np.float32) -> Float[Array, "*shape"]:
    """Fill with ones, whatever the key."""
    shape, kind = random.admit("ones", key, shape, dtype)
    return np.ones(shape, kind)


def variance_scaling(scale: int | float, mode: Mode, distribution: Distribution) -> Initializer:
    """Draw kernels of mean 0 and variance σ² = scale/fan.

    The fan is, by ``mode``, fan-in, fan-out, or their arithmetic or geometric mean. The
    distribution is uniform on [−√3·σ, √3·σ), normal, or a normal that is cut off at ±2 standard
    deviations and then widened, so that σ² is its variance again.

    The initializer refuses a shape of rank below 2, which has no fans, with a ShapeError.
    """
    return _variance_scaling("variance_scaling", scale, mode, distribution)


def _variance_scaling(
    name: str, scale: int | float, mode: Mode, distribution: Distribution
) -> Initializer:
    """:func:`variance_scaling` under the name of the initializer that it is."""
    scale = check_number(name, "scale", scale, gt=0)
    if mode not in get_args(Mode):
        raise DomainError(f"{name}: mode is {mode!r}, expected one of {get_args(Mode)}")
    if distribution not in get_args(Distribution):
        raise DomainError(
            f"{name}: distribution is {distribution!r}, expected one of {get_args(Distribution)}"
        )

    def init(key: Key, shape: Shape, dtype: DTypeLike = np.float32) -> Float[Array, "*shape"]:
        shape, kind = random.admit(name, key, shape, dtype)
        if len(shape) < 2:
            raise ShapeError(f"{name}: shape is {shape}, expected rank 2 or more")
        fan_in, fan_out = prod(shape[:-1]), prod(shape[:-2]) * shape[-1]
        fan = {
            "fan_in": fan_in,
            "fan_out": fan_out,
            "fan_avg": (fan_in + fan_out) / 2,
            "fan_geo_avg": sqrt(fan_in * fan_out),
        }[mode]
        variance = kind.type(scale / fan if fan else 0)
        if distribution == "uniform":
            kernel = random.uniform(key, shape, kind, -1)
            kernel *= np.sqrt(3 * variance)
        elif distribution == "normal":
            kernel = random.normal(key, shape, kind)
            kernel *= np.sqrt(variance)
        else:
            kernel = random.truncated_normal(key, -2, 2, shape, kind)
            kernel *= np.sqrt(variance) / kind.type(_TRUNCATED)
        return kernel

    return init


def glorot_uniform() -> Initializer:
    """Draw from ±√(6/(fan_in + fan_out)), a compromise between activations and gradients.

    Glorot & Bengio 2010, "Understanding the difficulty of training deep feedforward neural
    networks", equation 16.
    """
    return _variance_scaling("glorot_uniform", 1.0, "fan_avg", "uniform")


def glorot_normal() -> Initializer:
    """Draw from a truncated normal with σ = √(2/(fan_in + fan_out)); see :func:`glorot_uniform`.

    Glorot & Bengio 2010, equation 12.
    """
    return _variance_scaling("glorot_normal", 1.0, "fan_avg", "truncated_normal")


def he_uniform() -> Initializer:
    """Draw from ±√(6/fan_in): twice the variance, as a ReLU lets half of it through.

    He, Zhang, Ren & Sun 2015, "Delving deep into rectifiers: surpassing human-level performance
    on ImageNet classification".
    """
    return _variance_scaling("he_uniform", 2.0, "fan_in", "uniform")


def he_normal() -> Initializer:
    """Draw from a truncated normal with σ = √(2/fan_in); see :func:`he_uniform`.

    He, Zhang, Ren & Sun 2015, equation 10.
    """
    return _variance_scaling("he_normal", 2.0, "fan_in", "truncated_normal")


def lecun_uniform() -> Initializer:
    """Draw from ±√(3/fan_in), which keeps the variance where activations are about linear.

    LeCun, Bottou, Orr & Müller 1998, "Efficient BackProp", section 4.6.
    """
    return _variance_scaling("lecun_uniform", 1.0, "fan_in", "uniform")


def lecun_normal() -> Initializer:
    """Draw from a truncated normal with σ = √(1/fan_in); see :func:`lecun_uniform`.

    LeCun, Bottou, Orr & Müller 1998, section 4.6.
    """
    return _variance_scaling("lecun_normal", 1.0, "fan_in", "truncated_normal")


def eru_normal(r: float) -> Initializer:
    """Draw from a normal with σ² = 6/((2r + 1)·fan_in), for what an exponential root unit follows.

    Bhumbra 2018, arXiv:1804.11237. ``r`` is that of ``layers.eru(r)``.
    """
    _check_root("eru_normal", r)
    return _variance_scaling("eru_normal", 6 / (2 * r + 1), "fan_in", "normal")


def oru_normal(r: float) -> Initializer:
    """Draw from a normal with σ² = 2/(r·fan_in), for what an odd root unit follows.

    Bhumbra 2018, arXiv:1804.11237. ``r`` is that of ``layers.oru(r)``.
    """
    _check_root("oru_normal", r)
    return _variance_scaling("oru_normal", 2 / r, "fan_in", "normal")


def _check_root(name: str, r: float) -> None:
    check_number(name, "r", r, gt=0)


def orthogonal(scale: int | float = 1.0, column_axis: int = -1) -> Initializer:
    """Draw from the rotations and reflections, evenly, times ``scale``: it keeps lengths.

    A kernel that is not square has orthonormal rows or columns, whichever are fewer; its columns
    lie along ``column_axis``. Saxe, McClelland & Ganguli 2014, arXiv:1312.6120. It is the Q of a
    normal matrix, with the signs that make the diagonal of R positive: Mezzadri 2007,
    arXiv:math-ph/0609050.

    Raises DtypeError where ``scale`` is no number or ``column_axis`` no int, DomainError where
    ``scale`` is not finite. The initializer refuses a shape of rank below 2 with a ShapeError.
    """
    scale = check_number("orthogonal", "scale", scale)
    column_axis = check_integer("orthogonal", "column_axis", column_axis)

    def init(key: Key, shape: Shape, dtype: DTypeLike = np.float32) -> Float[Array, "*shape"]:
        shape, kind = random.admit("orthogonal", key, shape, dtype)
        if len(shape) < 2:
            raise ShapeError(f"orthogonal: shape is {shape}, expected rank 2 or more")
        if not -len(shape) <= column_axis < len(shape):
            raise ShapeError(f"orthogonal: column_axis is {column_axis}, but shape is {shape}")
        columns = shape[column_axis]
        rows = prod(shape) // columns if columns else 0
        if not rows:
            return np.zeros(shape, kind)
        tall = random.normal(key, (max(rows, columns), min(rows, columns)), kind)
        q, r = np.linalg.qr(tall.astype(np.float64))
        q *= np.where(np.diagonal(r) < 0, -scale, scale)
        others = tuple(np.delete(shape, column_axis))
        kernel = (q if rows >= columns else q.T).reshape(*others, columns)
        return np.moveaxis(kernel, -1, column_axis).astype(kind)

    return init
