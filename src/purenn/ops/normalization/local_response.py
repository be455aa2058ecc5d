"""Normalization by neighbouring channels.

Computed in float64, half precision too: a square of a bfloat16 is beyond float32.
"""

from typing import NamedTuple

import numpy as np

from purenn.contract import check_integer, check_number, rule
from purenn.ops._numerics import narrow
from purenn.typing import Array, Float, Pullback


@rule
def local_response_norm(
    x: Float[Array, "*batch channels"],
    *,
    size: int = 5,
    alpha: float = 1e-4,
    beta: float = 0.75,
    k: float = 1.0,
    divide_by_size: bool = True,
) -> Float[Array, "*batch channels"]:
    """x/(k + α·s)^β with s = Σ x² over a window of ``size`` channels, less at the edges.

    The α of ONNX (LRN) and PyTorch is divided by ``size``, and so it is here, with their defaults.
    That of Krizhevsky et al. (2012, section 3.3; k = 2, size 5) and TensorFlow is not:
    ``divide_by_size=False``. An even window has one more channel after its own than before, as in
    ONNX; in PyTorch it is the other way round.

    Raises DtypeError where ``size`` is no int or another option no number, DomainError where
    ``size`` is less than 1, ``alpha`` negative or ``k`` not positive.
    """
    _check("local_response_norm", size, alpha, beta, k)
    wide = x.astype(np.float64)
    base = _base(wide, size, alpha / size if divide_by_size else alpha, k)
    with np.errstate(over="ignore", invalid="ignore"):
        return narrow(wide * base.factor(beta) * base.total**-beta, x)


@rule
def local_response_norm_vjp(
    x: Float[Array, "*batch channels"],
    *,
    size: int = 5,
    alpha: float = 1e-4,
    beta: float = 0.75,
    k: float = 1.0,
    divide_by_size: bool = True,
) -> tuple[Float[Array, "*batch channels"], Pullback]:
    """``local_response_norm`` with its pullback.

    With b = k + αs: ∂yⱼ/∂xᵢ = δᵢⱼbⱼ^−β − 2αβ·xᵢxⱼ·bⱼ^(−β−1) for i in the window of j, so
    dxᵢ = dyᵢ·bᵢ^−β − 2αβ·xᵢ·Σⱼ dyⱼxⱼbⱼ^(−β−1), j over the windows that hold i: the window
    mirrored. What j = i has in both terms cancels where x is large. Together it is
    dyᵢ·(bᵢ − 2αβxᵢ²)·bᵢ^(−β−1), with b less its own α·xᵢ² summed over the neighbours alone.
    Sums over windows are sums: differences of a cumulative one would be left with its rounding.
    """
    _check("local_response_norm", size, alpha, beta, k)
    wide = x.astype(np.float64)
    a = alpha / size if divide_by_size else alpha
    base = _base(wide, size, a, k)
    factor = base.factor(beta)
    with np.errstate(over="ignore", invalid="ignore"):
        y = wide * factor * base.total**-beta

    def pullback(dy: Array) -> tuple[Array]:
        with np.errstate(over="ignore", invalid="ignore"):
            scaled = dy.astype(np.float64) * base.total ** (-beta - 1) * factor
            dx = scaled * (base.around + a * (1 - 2 * beta) * np.square(base.x))
            along = scaled * base.x
            for power in np.unique(base.power):
                terms = np.where(base.power == power, along, 0)
                others = _windows(terms[..., ::-1], size, center=False)[..., ::-1]
                dx -= 2 * a * beta * np.ldexp(wide, -power) * others
        return (narrow(dx, x),)

    return narrow(y, x), pullback


_POWERS = (260, 520)
_LARGE = 2.0**400


class _Base(NamedTuple):
    """What is raised to −β, over 4^power: the power is 0 unless b^(−β−1) might leave the range."""

    total: Array
    around: Array
    """Less what the channel itself has in it."""
    x: Array
    """Over 2^power."""
    power: Array

    def factor(self, beta: float) -> Array:
        """4^(power·−β), which is 1 where nothing is far."""
        return np.square(np.ldexp(1.0, self.power) ** -beta)


def _base(x: Array, size: int, a: float, k: float) -> _Base:
    def at(power: int) -> _Base:
        small = np.ldexp(x, -power)
        own = a * np.square(small)
        around = float(np.ldexp(k, -2 * power)) + a * _windows(np.square(small), size, center=False)
        return _Base(around + own, around, small, np.full(x.shape, power))

    with np.errstate(over="ignore", invalid="ignore"):
        found = at(0)
        for power in _POWERS:
            fits = found.total <= _LARGE
            if fits.all():
                break
            found = _Base(*(np.where(fits, *its) for its in zip(found, at(power), strict=True)))
        return found


def _windows(x: Array, size: int, center: bool = True) -> Array:
    """Sums over a window of channels about each one, which itself is left out if not ``center``."""
    before, channels = (size - 1) // 2, x.shape[-1]
    padded = np.pad(x, [(0, 0)] * (x.ndim - 1) + [(before, size - 1 - before)])
    total = np.zeros_like(x)
    for tap in range(size):
        if center or tap != before:
            total += padded[..., tap : tap + channels]
    return total


def _check(name: str, size: int, alpha: float, beta: float, k: float) -> None:
    """Refuse what would be no window, or divide by 0."""
    check_integer(name, "size", size, least=1)
    check_number(name, "alpha", alpha, ge=0)
    check_number(name, "beta", beta)
    check_number(name, "k", k, gt=0)
