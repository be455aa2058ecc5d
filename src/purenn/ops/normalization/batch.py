"""Normalization over the batch, in training and in inference."""

import numpy as np

from purenn.contract import rule, unchecked
from purenn.ops._numerics import narrow
from purenn.ops._standardize import Statistics, check_epsilon, given, normalize, sums
from purenn.ops.normalization._seen import by_channel_alone, normalized
from purenn.typing import Annotated, Array, Float, Interval, Pullback


@rule
def batch_norm(
    x: Float[Array, "batch *spatial channels"],
    scale: Float[Array, " channels"],
    bias: Float[Array, " channels"],
    *,
    epsilon: float = 1e-5,
) -> Float[Array, "batch *spatial channels"]:
    """(x − mean)/√(variance + ε)·scale + bias, with the statistics of this batch, as in training.

    Statistics are per channel, over batch and space, the variance biased (Ioffe & Szegedy,
    arXiv:1502.03167). An empty batch is normalized to an empty batch.

    Raises DtypeError where ``epsilon`` is no number, DomainError where it is negative.
    """
    check_epsilon("batch_norm", epsilon)
    return normalized(x, by_channel_alone(x.shape), (0, 1), scale, bias, epsilon)[0]


@rule
def batch_norm_vjp(
    x: Float[Array, "batch *spatial channels"],
    scale: Float[Array, " channels"],
    bias: Float[Array, " channels"],
    *,
    epsilon: float = 1e-5,
) -> tuple[Float[Array, "batch *spatial channels"], Pullback]:
    """``batch_norm`` with its pullback, through mean and variance.

    dscale = Σ dy·z and dbias = Σ dy over batch and space, n numbers per channel. The paper goes
    back through σ² and μ one by one; put together that is
    dx = scale/σ·(dy − dbias/n − z·dscale/n): per channel dx adds up to 0 and so does dx·z but for
    ε. The variance as E[x²] − E[x]² (Flax, by default) is lost where |mean| ≫ σ.
    """
    check_epsilon("batch_norm", epsilon)
    return normalized(x, by_channel_alone(x.shape), (0, 1), scale, bias, epsilon)[:2]


def _batch_norm_in_training(
    x: Array, scale: Array, bias: Array, epsilon: float
) -> tuple[Array, Pullback, Array, Array]:
    """batch_norm_vjp, and mean and variance per channel in float64, for whoever averages them."""
    y, pullback, its = normalized(x, by_channel_alone(x.shape), (0, 1), scale, bias, epsilon)
    return y, pullback, its.mean.reshape(scale.shape), its.variance.reshape(scale.shape)


@rule
def batch_norm_inference(
    x: Float[Array, "batch *spatial channels"],
    scale: Float[Array, " channels"],
    bias: Float[Array, " channels"],
    mean: Float[Array, " channels"],
    var: Annotated[Float[Array, " channels"], Interval(ge=0)],
    *,
    epsilon: float = 1e-5,
) -> Float[Array, "batch *spatial channels"]:
    """(x − mean)/√(var + ε)·scale + bias, with statistics that were gathered in training.

    Raises DtypeError where ``epsilon`` is no number, DomainError where it or ``var`` is negative.
    """
    check_epsilon("batch_norm_inference", epsilon)
    seen, its = x.reshape(by_channel_alone(x.shape)), _running(mean, var, epsilon)
    return normalize(seen, its, scale[:, np.newaxis], bias[:, np.newaxis]).reshape(x.shape)


@rule
def batch_norm_inference_vjp(
    x: Float[Array, "batch *spatial channels"],
    scale: Float[Array, " channels"],
    bias: Float[Array, " channels"],
    mean: Float[Array, " channels"],
    var: Annotated[Float[Array, " channels"], Interval(ge=0)],
    *,
    epsilon: float = 1e-5,
) -> tuple[Float[Array, "batch *spatial channels"], Pullback]:
    """``batch_norm_inference`` with its pullback.

    An affine map per channel: dx = dy·scale/σ, dscale = Σ dy·z, dbias = Σ dy over batch and space,
    and for the statistics dmean = −scale/σ·dbias and dvar = −½·scale/σ²·dscale, as dσ = dvar/2σ
    and ∂z/∂σ = −z/σ. Nothing is lost by that but for the rounding of σ, z and the sums in the dtype
    of x: here they are float64.
    """
    y = unchecked(batch_norm_inference)(x, scale, bias, mean, var, epsilon=epsilon)
    its = _running(mean, var, epsilon)

    def pullback(dy: Array) -> tuple[Array, ...]:
        seen, dy_seen = x.reshape(by_channel_alone(x.shape)), dy.reshape(by_channel_alone(x.shape))
        dx = normalize(dy_seen, its._replace(mean=np.zeros_like(its.mean)), scale[:, np.newaxis])
        dscale, dbias = (d.reshape(scale.shape) for d in sums(dy_seen, seen, its, (0, 1)))
        inverse = its.inverse.reshape(scale.shape)
        slope = scale.astype(np.float64) * inverse
        dmean, dvar = -slope * dbias, -0.5 * slope * inverse * dscale
        return (dx.reshape(x.shape), *(narrow(d, x) for d in (dscale, dbias, dmean, dvar)))

    return y, pullback


def _running(mean: Array, var: Array, epsilon: float) -> Statistics:
    wide_mean, wide_var = (a.astype(np.float64).reshape(1, 1, len(a), 1) for a in (mean, var))
    return given(wide_mean, wide_var, epsilon)
