"""Functions of a whole axis: distributions and their logarithms."""

import numpy as np

from purenn.contract import rule
from purenn.ops import _softmax
from purenn.ops._numerics import narrow, widen
from purenn.typing import Array, Float, Pullback


@rule
def softmax(
    x: Float[Array, "*batch features"], *, axis: int = -1
) -> Float[Array, "*batch features"]:
    """eˣ / Σeˣ along ``axis``, with the maximum subtracted first: no overflow.

    Raises ShapeError where ``axis`` has size 0: a distribution over nothing.
    """
    return narrow(_softmax.softmax(widen(x), axis), x)


@rule
def softmax_vjp(
    x: Float[Array, "*batch features"], *, axis: int = -1
) -> tuple[Float[Array, "*batch features"], Pullback]:
    """Softmax with its pullback.

    ∂yᵢ/∂xⱼ = yᵢ(δᵢⱼ − yⱼ), so dx = y⊙(dy − ⟨y, dy⟩). A constant added to dy changes nothing.
    Where one y is almost 1, ⟨y, dy⟩ is almost its dy and the difference cancels: that dy is
    subtracted from all first.
    """
    y = _softmax.softmax(widen(x), axis)

    def pullback(dy: Array) -> tuple[Array]:
        wide = widen(dy)
        shift = np.sum(np.where(y > 0.5, wide, 0), axis=axis, keepdims=True)
        shifted = wide - shift
        mean = np.sum(y * shifted, axis=axis, keepdims=True)
        return (narrow(y * (shifted - mean), x),)

    return narrow(y.copy(), x), pullback


@rule
def log_softmax(
    x: Float[Array, "*batch features"], *, axis: int = -1
) -> Float[Array, "*batch features"]:
    """x − log Σeˣ along ``axis``.

    With m the largest entry and s = Σ e^(x − m) over the others, x − m − log1p(s): both terms
    are ≤ 0, and the result at m keeps its digits where log(1 + s) is 0.

    Raises ShapeError where ``axis`` has size 0.
    """
    return narrow(_softmax.log_softmax(widen(x), axis).log_p, x)


@rule
def log_softmax_vjp(
    x: Float[Array, "*batch features"], *, axis: int = -1
) -> tuple[Float[Array, "*batch features"], Pullback]:
    """log_softmax with its pullback.

    ∂yᵢ/∂xⱼ = δᵢⱼ − pⱼ with p = softmax(x), so dx = dy − p·Σdy.
    At the largest p, which may be almost 1, the two terms cancel. Written with the rest
    apart, dx = (1 − p)·dy − p·Σ(other dy), and 1 − p = s/(1 + s), they do not.
    """
    y = _softmax.log_softmax(widen(x), axis)

    def pullback(dy: Array) -> tuple[Array]:
        return (narrow(_softmax.log_softmax_pullback(widen(dy), y, axis), x),)

    return narrow(y.log_p, x), pullback
