"""Functions of a whole axis, of several, or of all of them: what sizes mean among each other."""

import numpy as np

from purenn.contract import check_number, rule, unchecked
from purenn.ops import _softmax
from purenn.ops._axes import Axis, axes_of, from_lanes, lanes, nonempty_axes
from purenn.ops._numerics import is_double, narrow, quiet, widen
from purenn.ops._standardize import (
    normalize,
    normalize_pullback,
    shifted,
    statistics,
)
from purenn.typing import Annotated, Array, Float, OneOf, Pullback

__all__ = [
    "log_softmax",
    "log_softmax_vjp",
    "logsumexp",
    "logsumexp_vjp",
    "softmax",
    "softmax_vjp",
    "sparsemax",
    "sparsemax_vjp",
    "standardize",
    "standardize_vjp",
]


@rule
def softmax(
    x: Float[Array, "*batch features"], *, axis: Axis = -1
) -> Float[Array, "*batch features"]:
    """eˣ / Σeˣ along ``axis``, with the maximum subtracted first: no overflow.

    Raises ShapeError where x has no such axis or it has size 0, a distribution over nothing;
    DtypeError where ``axis`` is none.
    """
    axes = nonempty_axes("softmax", x, axis)
    return narrow(from_lanes(_softmax.softmax(lanes(widen(x), axes), is_double(x)), x, axes), x)


@rule
def softmax_vjp(
    x: Float[Array, "*batch features"], *, axis: Axis = -1
) -> tuple[Float[Array, "*batch features"], Pullback]:
    """``softmax`` with its pullback.

    ∂yᵢ/∂xⱼ = yᵢ(δᵢⱼ − yⱼ), so dx = y⊙(dy − ⟨y, dy⟩). A constant added to dy changes nothing.
    Where one y is almost 1, ⟨y, dy⟩ is almost its dy and the textbook difference cancels: that dy
    is subtracted from all first. It has no kink.
    """
    axes = nonempty_axes("softmax", x, axis)
    y = _softmax.softmax(lanes(widen(x), axes), is_double(x))

    @quiet
    def pullback(dy: Array) -> tuple[Array]:
        dx = _softmax.softmax_pullback(lanes(widen(dy), axes), y)
        return (narrow(from_lanes(dx, x, axes), x),)

    return narrow(from_lanes(y.copy(), x, axes), x), pullback


@rule
def log_softmax(
    x: Float[Array, "*batch features"], *, axis: Axis = -1
) -> Float[Array, "*batch features"]:
    """x − log Σeˣ along ``axis``.

    With m the largest entry and s = Σ e^(x − m) over the others, x − m − log1p(s): both terms
    are ≤ 0, and the result at m keeps its digits where log(1 + s) is 0.

    Raises ShapeError where x has no such axis or it has size 0, DtypeError where ``axis`` is none.
    """
    axes = nonempty_axes("log_softmax", x, axis)
    return narrow(
        from_lanes(_softmax.log_softmax(lanes(widen(x), axes), is_double(x)).log_p, x, axes),
        x,
    )


@rule
def log_softmax_vjp(
    x: Float[Array, "*batch features"], *, axis: Axis = -1
) -> tuple[Float[Array, "*batch features"], Pullback]:
    """``log_softmax`` with its pullback.

    ∂yᵢ/∂xⱼ = δᵢⱼ − pⱼ with p = softmax(x), so dx = dy − p·Σdy.
    At the largest p, which may be almost 1, these textbook terms cancel. Written with the rest
    apart, dx = (1 − p)·dy − p·Σ(other dy), and 1 − p = s/(1 + s), they do not.
    """
    axes = nonempty_axes("log_softmax", x, axis)
    y = _softmax.log_softmax(lanes(widen(x), axes), is_double(x))

    @quiet
    def pullback(dy: Array) -> tuple[Array]:
        dx = _softmax.log_softmax_pullback(lanes(widen(dy), axes), y)
        return (narrow(from_lanes(dx, x, axes), x),)

    return narrow(from_lanes(y.log_p, x, axes), x), pullback


@rule
def logsumexp(
    x: Float[Array, "*shape"],
    *,
    axis: Annotated[Axis, OneOf(None, -1)] = None,
    keepdims: Annotated[bool, OneOf(False, True)] = False,
) -> Float[Array, "..."]:
    """log Σeˣ along ``axis``, without overflow: the largest x plus log1p of the others' sum.

    ``axis`` None is all of them, as in ``jax.nn.logsumexp``. Of nothing it is log 0 = −∞.

    Raises ShapeError where x has no such axis, DtypeError where ``axis`` is none.
    """
    return unchecked(logsumexp_vjp)(x, axis=axis, keepdims=keepdims)[0]


@rule
def logsumexp_vjp(
    x: Float[Array, "*shape"],
    *,
    axis: Annotated[Axis, OneOf(None, -1)] = None,
    keepdims: Annotated[bool, OneOf(False, True)] = False,
) -> tuple[Float[Array, "..."], Pullback]:
    """``logsumexp`` with its pullback.

    y = x_top − log p_top with p = softmax(x), and ∂y/∂xᵢ = eˣⁱ/Σeˣ = pᵢ: dx = p·dy. The textbook
    e^(x − y) loses digits where y is large, as e^y would: at y = 700 up to 512 ULP. There is no
    kink; beside an entry of +∞, where the derivative is unknown, finite ones have 0, as in JAX.
    """
    axes = axes_of("logsumexp", x, axis)
    rows = lanes(widen(x), axes)
    if rows.shape[-1]:
        its = _softmax.log_softmax(rows, is_double(x))
        top = rows.take(its.top)
        above = -its.log_p.take(its.top)
        p = np.where(np.isposinf(top) & (rows < np.inf), 0, its.p)
        y = np.where(np.isinf(top), top, top + above)[..., 0]
    else:
        p, y = rows, np.full(rows.shape[:-1], -np.inf)

    @quiet
    def pullback(dy: Array) -> tuple[Array]:
        return (narrow(from_lanes(p * widen(dy).reshape(*y.shape, 1), x, axes), x),)

    return narrow(np.expand_dims(y, axes) if keepdims else y, x), pullback


@rule
def sparsemax(
    x: Float[Array, "*batch features"], *, axis: Axis = -1
) -> Float[Array, "*batch features"]:
    """max(0, x − τ) along ``axis``, τ such that it adds up to 1: the nearest distribution to x.

    Small x get exactly 0 (Martins & Astudillo 2016, arXiv:1602.02068). With x₍₁₎ ≥ x₍₂₎ ≥ …,
    τ = (x₍₁₎ + … + x₍ₖ₎ − 1)/k for the largest k with 1 + k·x₍ₖ₎ > x₍₁₎ + … + x₍ₖ₎.

    Raises ShapeError where x has no such axis or it has size 0, a distribution over nothing;
    DtypeError where ``axis`` is none.
    """
    axes = nonempty_axes("sparsemax", x, axis)
    return narrow(from_lanes(_softmax.sparsemax(lanes(widen(x), axes)).p, x, axes), x)


@rule
def sparsemax_vjp(
    x: Float[Array, "*batch features"], *, axis: Axis = -1
) -> tuple[Float[Array, "*batch features"], Pullback]:
    """``sparsemax`` with its pullback.

    On the support S, where p > 0, pᵢ = xᵢ − τ and ∂τ/∂xⱼ = 1/|S|; elsewhere p stays 0. So the
    Jacobian is diag(s) − ssᵀ/|S| with s = 1[p > 0], and dx = s⊙(dy − mean of dy over S).
    At the kink x = τ the entry does not count to S, as in JAX, where max(0, ·) has slope 0 at 0.
    The textbook τ loses the digits of a p that is small: it would join S or leave it by rounding.
    """
    axes = nonempty_axes("sparsemax", x, axis)
    p = _softmax.sparsemax(lanes(widen(x), axes)).p

    @quiet
    def pullback(dy: Array) -> tuple[Array]:
        dx = _softmax.sparsemax_pullback(lanes(widen(dy), axes), p)
        return (narrow(from_lanes(dx, x, axes), x),)

    return narrow(from_lanes(p.copy(), x, axes), x), pullback


@rule
def standardize(
    x: Float[Array, "*batch features"],
    *,
    axis: Annotated[Axis, OneOf(-1, 0, None)] = -1,
    epsilon: float | int = 1e-5,
) -> Float[Array, "*batch features"]:
    """(x − mean(x))/√(var(x) + ε) along ``axis``: mean 0 and variance just below 1.

    ``jax.nn.standardize`` computes var(x) as E[x²] − E[x]², which has no digit left where the
    mean is 10⁴ times the deviation in float32; here the mean is subtracted first.

    With ε = 0, equal numbers become 0.

    Raises DomainError where ``epsilon`` is negative or not finite, ShapeError where x has no such
    axis, DtypeError where ``epsilon`` is no number or ``axis`` no axis.
    """
    return unchecked(standardize_vjp)(x, axis=axis, epsilon=epsilon)[0]


@rule
def standardize_vjp(
    x: Float[Array, "*batch features"],
    *,
    axis: Annotated[Axis, OneOf(-1, 0, None)] = -1,
    epsilon: float | int = 1e-5,
) -> tuple[Float[Array, "*batch features"], Pullback]:
    """``standardize`` with its pullback.

    With c = x − mean and σ² = mean(c²) + ε, y = c/σ: dc = (dy − y·mean(dy·y))/σ, the second term
    through σ, and dx = dc − mean(dc) = (dy − mean(dy) − y·mean(dy·y))/σ: what of dy is constant
    or along y drops out, all but the part ε/σ² of the latter. The textbook form loses that part,
    and all where one number outweighs the others; here it is taken out first. There is no kink.
    """
    epsilon = check_number("standardize", "epsilon", epsilon, ge=0)
    axes = axes_of("standardize", x, axis)
    seen, _ = shifted(
        np.asarray(x, order="C"), axes
    )  # the order of a sum shall not be the layout's
    its = statistics(seen, axes, epsilon)

    @quiet
    def pullback(dy: Array) -> tuple[Array | None, ...]:
        return normalize_pullback(np.asarray(dy, order="C"), seen, its, axes, epsilon)

    return normalize(seen, its), pullback
