"""Normalization within an example: by features, groups of channels, channels."""

import numpy as np

from purenn.contract import rule
from purenn.ops._standardize import check_epsilon
from purenn.ops.normalization._seen import by_channel, by_example, by_group, normalized
from purenn.typing import Array, Float, Pullback


@rule
def layer_norm(
    x: Float[Array, "*batch features"],
    scale: Float[Array, " features"],
    bias: Float[Array, " features"],
    *,
    epsilon: float = 1e-6,
) -> Float[Array, "*batch features"]:
    """(x − mean)/√(variance + ε)·scale + bias, over the last axis (Ba et al., arXiv:1607.06450).

    Raises DtypeError where ``epsilon`` is no number, DomainError where it is negative.
    """
    check_epsilon("layer_norm", epsilon)
    return normalized(x, by_example(x.shape), (1, 3), scale, bias, epsilon)[0]


@rule
def layer_norm_vjp(
    x: Float[Array, "*batch features"],
    scale: Float[Array, " features"],
    bias: Float[Array, " features"],
    *,
    epsilon: float = 1e-6,
) -> tuple[Float[Array, "*batch features"], Pullback]:
    """``layer_norm`` with its pullback.

    z = (x − m)/σ has two ways back, through m and through σ: ∂zᵢ/∂xⱼ = (δᵢⱼ − 1/n − zᵢzⱼ/n)/σ.
    With dz = dy·scale, dx = (dz − mean(dz) − z·mean(dz·z))/σ; dscale = Σ dy·z and dbias = Σ dy
    over the batch. Autodiff has the variance as E[x²] − E[x]², which is lost where |m| ≫ σ, and
    adds up dx from terms that cancel, in the dtype of x; here they are float64.
    """
    check_epsilon("layer_norm", epsilon)
    return normalized(x, by_example(x.shape), (1, 3), scale, bias, epsilon)[:2]


@rule
def rms_norm(
    x: Float[Array, "*batch features"], scale: Float[Array, " features"], *, epsilon: float = 1e-6
) -> Float[Array, "*batch features"]:
    """x/√(mean(x²) + ε)·scale, over the last axis (Zhang & Sennrich, arXiv:1910.07467).

    Raises DtypeError where ``epsilon`` is no number, DomainError where it is negative.
    """
    check_epsilon("rms_norm", epsilon)
    nothing = np.zeros_like(scale)
    return normalized(x, by_example(x.shape), (1, 3), scale, nothing, epsilon, center=False)[0]


@rule
def rms_norm_vjp(
    x: Float[Array, "*batch features"], scale: Float[Array, " features"], *, epsilon: float = 1e-6
) -> tuple[Float[Array, "*batch features"], Pullback]:
    """``rms_norm`` with its pullback.

    z = x/σ with σ² = mean(x²) + ε, so ∂zᵢ/∂xⱼ = (δᵢⱼ − zᵢzⱼ/n)/σ. With dz = dy·scale,
    dx = (dz − z·mean(dz·z))/σ; dscale = Σ dy·z over the batch.
    For a single feature the terms cancel but for ε: dx = dz·ε/σ³, where 1 − z² would be 0.
    """
    check_epsilon("rms_norm", epsilon)
    y, pullback, _ = normalized(
        x, by_example(x.shape), (1, 3), scale, np.zeros_like(scale), epsilon, center=False
    )
    return y, lambda dy, **keywords: pullback(dy, **keywords)[:2]


@rule
def group_norm(
    x: Float[Array, "batch *spatial channels"],
    scale: Float[Array, " channels"],
    bias: Float[Array, " channels"],
    *,
    num_groups: int,
    epsilon: float = 1e-6,
) -> Float[Array, "batch *spatial channels"]:
    """(x − mean)/√(variance + ε)·scale + bias, per example and group of channels.

    Statistics are over space and the ``channels / num_groups`` consecutive channels of a group;
    scale and bias are per channel (Wu & He, arXiv:1803.08494).

    Raises ShapeError where ``num_groups`` is no divisor of the channels, DomainError where it is
    less than 1 or ``epsilon`` negative, DtypeError where they are no int and no number.
    """
    check_epsilon("group_norm", epsilon)
    return normalized(x, by_group(x.shape, num_groups), (1, 3), scale, bias, epsilon)[0]


@rule
def group_norm_vjp(
    x: Float[Array, "batch *spatial channels"],
    scale: Float[Array, " channels"],
    bias: Float[Array, " channels"],
    *,
    num_groups: int,
    epsilon: float = 1e-6,
) -> tuple[Float[Array, "batch *spatial channels"], Pullback]:
    """``group_norm`` with its pullback.

    As for layer_norm, dx = (dz − mean(dz) − z·mean(dz·z))/σ, with means over a group of one
    example; dscale = Σ dy·z and dbias = Σ dy over batch and space. Autodiff loses what it does
    there.
    """
    check_epsilon("group_norm", epsilon)
    return normalized(x, by_group(x.shape, num_groups), (1, 3), scale, bias, epsilon)[:2]


@rule
def instance_norm(
    x: Float[Array, "batch *spatial channels"],
    scale: Float[Array, " channels"],
    bias: Float[Array, " channels"],
    *,
    epsilon: float = 1e-6,
) -> Float[Array, "batch *spatial channels"]:
    """(x − mean)/√(variance + ε)·scale + bias, per example and channel (arXiv:1607.08022).

    Statistics are over space; without any, x is its own mean and y is bias.

    Raises DtypeError where ``epsilon`` is no number, DomainError where it is negative.
    """
    check_epsilon("instance_norm", epsilon)
    return normalized(x, by_channel(x.shape), (1, 3), scale, bias, epsilon)[0]


@rule
def instance_norm_vjp(
    x: Float[Array, "batch *spatial channels"],
    scale: Float[Array, " channels"],
    bias: Float[Array, " channels"],
    *,
    epsilon: float = 1e-6,
) -> tuple[Float[Array, "batch *spatial channels"], Pullback]:
    """``instance_norm`` with its pullback.

    As for layer_norm, dx = (dz − mean(dz) − z·mean(dz·z))/σ, with means over space;
    dscale = Σ dy·z and dbias = Σ dy over batch and space. Autodiff loses what it does there.
    """
    check_epsilon("instance_norm", epsilon)
    return normalized(x, by_channel(x.shape), (1, 3), scale, bias, epsilon)[:2]
