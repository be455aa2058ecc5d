"""Positional encodings: where in a sequence a vector stands, told by sines and cosines.

A learned positional encoding needs no function of its own: it is ``linear.embedding`` of the
positions, added to x.
"""

from decimal import Decimal, localcontext
from functools import lru_cache

import numpy as np
from numpy.typing import DTypeLike

from purenn.contract import check_broadcasts, check_floating, check_integer, check_number, rule
from purenn.errors import DtypeError, ShapeError
from purenn.ops._numerics import narrow, product, widen
from purenn.typing import Annotated, Array, Float, Int, OneOf, Pullback

__all__ = ["rotary_embedding", "rotary_embedding_vjp", "sinusoidal_encoding"]


def sinusoidal_encoding(
    length: int, features: int, *, max_period: float = 10000.0, dtype: DTypeLike = np.float32
) -> Float[Array, "length features"]:
    """PE(t, 2k) = sin(t·ωₖ) and PE(t, 2k + 1) = cos(t·ωₖ) with ωₖ = max_period^(−2k/features).

    A table, t the row: it is added to the embeddings, so that its derivative is that of a sum.
    With an odd number of features the last cosine is left out. Vaswani et al. 2017,
    arXiv:1706.03762, 3.5. The angles are sharp; in float32 that of t = 10⁶ is off by up to 0.03.

    Raises DtypeError for what is no int, no number or no floating dtype, DomainError for a negative
    length, no features or a period below 1.
    """
    length = check_integer("sinusoidal_encoding", "length", length, least=0)
    features = check_integer("sinusoidal_encoding", "features", features, least=1)
    check_number("sinusoidal_encoding", "max_period", max_period, ge=1)
    try:
        encoding = np.empty((length, features), dtype)
    except TypeError:
        raise DtypeError(
            f"sinusoidal_encoding: dtype is {dtype!r}, expected a floating dtype"
        ) from None
    check_floating("sinusoidal_encoding", "the encoding", encoding)
    cos, sin = _turns(np.arange(length), features, max_period)
    encoding[:, 0::2] = sin
    encoding[:, 1::2] = cos[:, : features // 2]
    return encoding


@rule
def rotary_embedding(
    x: Float[Array, "*batch length features"],
    *,
    positions: Int[Array, "..."] | None = None,
    base: float = 10000.0,
    interleaved: Annotated[bool, OneOf(False, True)] = False,
) -> Float[Array, "*batch length features"]:
    """Rotate each pair of features by the angle t·ωₖ, t the position and ωₖ = base^(−2k/features).

    (a, b) becomes (a·cos − b·sin, a·sin + b·cos), so that ⟨y, y′⟩ of a query and a key depends on
    the difference of their positions alone. Su et al. 2021, arXiv:2104.09864 (RoFormer).

    The k-th pair is (xₖ, xₖ₊ₕ), h being half of the features, as in GPT-NeoX; if ``interleaved``
    (x₂ₖ, x₂ₖ₊₁), as in the paper. ONNX's RotaryEmbedding has the same keyword and default.
    ``positions`` broadcast to the shape of x without its features; by default they are 0, 1, …
    along the axis −2. For (batch, length, heads, features), as in attention, they are
    ``arange(length)[:, None]``.

    Raises ShapeError for an odd number of features or positions that do not broadcast, DtypeError
    for positions that are no integers or a base that is no number, DomainError for a base below 1.
    """
    return _rotated(x, *_angles(x, positions, base), interleaved)


@rule
def rotary_embedding_vjp(
    x: Float[Array, "*batch length features"],
    *,
    positions: Int[Array, "..."] | None = None,
    base: float = 10000.0,
    interleaved: Annotated[bool, OneOf(False, True)] = False,
) -> tuple[Float[Array, "*batch length features"], Pullback]:
    """``rotary_embedding`` with its pullback.

    y = Rx with a rotation R of each pair, so dx = Rᵀdy = R⁻¹dy: the rotation by the negative
    angle. t·ωₖ is known to twice the digits of a float64, for it loses as many to whole turns
    as t has: at position 10⁹ autodiff in float64 keeps half of them, in float32 none.
    """
    cos, sin = _angles(x, positions, base)

    def pullback(dy: Array) -> tuple[Array]:
        return (_rotated(dy, cos, -sin, interleaved),)

    return _rotated(x, cos, sin, interleaved), pullback


def _angles(x: Array, positions: Array | None, base: float) -> tuple[Array, Array]:
    """The cosines and sines for x, of a shape that broadcasts to that of half of it."""
    *shape, features = x.shape
    if features % 2:
        raise ShapeError(f"rotary_embedding: x has {features} features, expected an even number")
    check_number("rotary_embedding", "base", base, ge=1)
    if positions is None:
        positions = np.arange(x.shape[-2])
    check_broadcasts("rotary_embedding", "positions", positions, (*shape,), f"{(*shape,)}")
    return _turns(positions, features, base)


def _rotated(x: Array, cos: Array, sin: Array, interleaved: bool) -> Array:
    half = x.shape[-1] // 2
    first, second = (
        (np.s_[..., 0::2], np.s_[..., 1::2])
        if interleaved
        else (np.s_[..., :half], np.s_[..., half:])
    )
    a, b = widen(x[first]), widen(x[second])
    y = np.empty_like(x)
    with np.errstate(over="ignore", invalid="ignore"):
        y[first] = narrow(a * cos - b * sin, x)
        y[second] = narrow(a * sin + b * cos, x)
    return y


def _turns(positions: Array, features: int, base: float) -> tuple[Array, Array]:
    """The cosines and sines of t·ωₖ for each position t and every k."""
    coarse, fine = _frequencies(features, float(base))
    t = positions.astype(np.float64)[..., np.newaxis]
    angle, lost = product(t, coarse)
    rest = lost + t * fine
    cos, sin = np.cos(angle), np.sin(angle)
    return cos * np.cos(rest) - sin * np.sin(rest), sin * np.cos(rest) + cos * np.sin(rest)


@lru_cache(maxsize=64)
def _frequencies(features: int, base: float) -> tuple[Array, Array]:
    """ωₖ = base^(−2k/features), and what rounding cut off it."""
    with localcontext(prec=40):
        exact = [Decimal(base) ** (Decimal(-k) / features) for k in range(0, features, 2)]
        coarse = np.array([float(omega) for omega in exact])
        fine = np.array([float(omega - Decimal(float(omega))) for omega in exact])
    return coarse, fine
