"""Normalization by neighbouring channels."""

import math

import numpy as np

from purenn.contract import rule
from purenn.errors import DomainError, DtypeError
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

    Raises DomainError where ``size`` is less than 1, ``alpha`` negative or ``k`` not positive.
    """
    check_window(size, alpha, k)
    wide = x.astype(np.float64)
    base = k + (alpha / size if divide_by_size else alpha) * _windows(np.square(wide), size)
    return narrow(wide * base**-beta, x)


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
    """local_response_norm with its pullback.

    With b = k + αs: ∂yⱼ/∂xᵢ = δᵢⱼbⱼ^−β − 2αβ·xᵢxⱼ·bⱼ^(−β−1) for i in the window of j, so
    dxᵢ = dyᵢ·bᵢ^−β − 2αβ·xᵢ·Σⱼ dyⱼxⱼbⱼ^(−β−1), j over the windows that hold i: the window
    mirrored. What j = i has in both terms cancels where x is large. Together it is
    dyᵢ·(bᵢ − 2αβxᵢ²)·bᵢ^(−β−1), with b less its own α·xᵢ² summed over the neighbours alone.
    Sums over windows are sums: differences of a cumulative one would be left with its rounding.
    """
    check_window(size, alpha, k)
    wide = x.astype(np.float64)
    a = alpha / size if divide_by_size else alpha
    square = np.square(wide)
    around = k + a * _windows(square, size, center=False)
    base = around + a * square

    def pullback(dy: Array) -> tuple[Array]:
        scaled = dy.astype(np.float64) * base ** (-beta - 1)
        own = scaled * (around + a * (1 - 2 * beta) * square)
        others = _windows((scaled * wide)[..., ::-1], size, center=False)[..., ::-1]
        return (narrow(own - 2 * a * beta * wide * others, x),)

    return narrow(wide * base**-beta, x), pullback


def _windows(x: Array, size: int, center: bool = True) -> Array:
    """Sums over a window of channels about each one, which itself is left out if not ``center``."""
    before, channels = (size - 1) // 2, x.shape[-1]
    padded = np.pad(x, [(0, 0)] * (x.ndim - 1) + [(before, size - 1 - before)])
    total = np.zeros_like(x)
    for tap in range(size):
        if center or tap != before:
            total += padded[..., tap : tap + channels]
    return total


def check_window(size: int, alpha: float, k: float) -> None:
    """Refuse what would be no window, or divide by 0."""
    if not isinstance(size, int | np.integer) or isinstance(size, bool):
        raise DtypeError(f"local_response_norm: size is {size!r}, expected an int")
    if size < 1:
        raise DomainError(f"local_response_norm: size is {size}, expected at least 1")
    if not 0 <= alpha < math.inf:
        raise DomainError(f"local_response_norm: alpha is {alpha}, expected a number ≥ 0")
    if not 0 < k < math.inf:
        raise DomainError(f"local_response_norm: k is {k}, expected a number > 0")
