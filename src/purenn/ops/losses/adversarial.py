"""Losses of a generator and of the discriminator, or critic, that it plays against.

Scores are the discriminator's outputs before any sigmoid, of real and of generated ("fake")
examples, pair by pair.
"""

import numpy as np

from purenn.contract import rule, unchecked
from purenn.ops._elementwise import elementwise
from purenn.ops._numerics import difference, narrow, quiet, widen
from purenn.ops.activations import softplus, softplus_vjp
from purenn.typing import Array, Float, Pullback, Values

__all__ = [
    "least_squares_discriminator_loss",
    "least_squares_discriminator_loss_vjp",
    "least_squares_generator_loss",
    "least_squares_generator_loss_vjp",
    "non_saturating_discriminator_loss",
    "non_saturating_discriminator_loss_vjp",
    "non_saturating_generator_loss",
    "non_saturating_generator_loss_vjp",
    "wasserstein_critic_loss",
    "wasserstein_critic_loss_vjp",
    "wasserstein_generator_loss",
    "wasserstein_generator_loss_vjp",
]


@rule
@elementwise
@quiet
def least_squares_discriminator_loss(
    real_scores: Float[Array, "*shape"], fake_scores: Float[Array, "*shape"]
) -> Float[Array, "*shape"]:
    """½(real − 1)² + ½fake², elementwise: real examples are to score 1, fake ones 0.

    Mao et al., *Least squares generative adversarial networks*, ICCV 2017, arXiv:1611.04076,
    equation 9.
    """
    fake = widen(fake_scores)
    return narrow(_from_1(widen(real_scores)) + fake * (fake / 2), real_scores)


@rule
@elementwise
def least_squares_discriminator_loss_vjp(
    real_scores: Float[Array, "*shape"], fake_scores: Float[Array, "*shape"]
) -> tuple[Float[Array, "*shape"], Pullback]:
    """``least_squares_discriminator_loss`` with its pullback.

    dreal = (real − 1)·dL, dfake = fake·dL; nothing is lost in the textbook form.
    """

    @quiet
    def pullback(dy: Array) -> tuple[Array, Array]:
        wide = widen(dy)
        dreal, dfake = (widen(real_scores) - 1) * wide, widen(fake_scores) * wide
        return narrow(dreal, real_scores), narrow(dfake, fake_scores)

    return unchecked(least_squares_discriminator_loss)(real_scores, fake_scores), pullback


@rule
@elementwise
@quiet
def least_squares_generator_loss(fake_scores: Float[Array, "*shape"]) -> Float[Array, "*shape"]:
    """½(fake − 1)², elementwise: fake examples are to score 1, as real ones; Mao et al. 2017."""
    return narrow(_from_1(widen(fake_scores)), fake_scores)


@rule
@elementwise
def least_squares_generator_loss_vjp(
    fake_scores: Float[Array, "*shape"],
) -> tuple[Float[Array, "*shape"], Pullback]:
    """``least_squares_generator_loss`` with its pullback.

    dfake = (fake − 1)·dL, however sure the discriminator is; nothing is lost in this form.
    """

    @quiet
    def pullback(dy: Array) -> tuple[Array]:
        return (narrow((widen(fake_scores) - 1) * widen(dy), fake_scores),)

    return unchecked(least_squares_generator_loss)(fake_scores), pullback


@rule
@elementwise
@quiet
def non_saturating_discriminator_loss(
    real_scores: Float[Array, "*shape"], fake_scores: Float[Array, "*shape"]
) -> Float[Array, "*shape"]:
    """−log σ(real) − log(1 − σ(fake)) = softplus(−real) + softplus(fake), elementwise.

    Goodfellow et al., *Generative adversarial nets*, NIPS 2014, arXiv:1406.2661.
    """
    real = unchecked(softplus)(np.asarray(-widen(real_scores)))
    return narrow(real + unchecked(softplus)(widen(fake_scores)), real_scores)


@rule
@elementwise
def non_saturating_discriminator_loss_vjp(
    real_scores: Float[Array, "*shape"], fake_scores: Float[Array, "*shape"]
) -> tuple[Float[Array, "*shape"], Pullback]:
    """``non_saturating_discriminator_loss`` with its pullback, which is that of softplus, twice.

    dreal = −σ(−real)·dL, dfake = σ(fake)·dL. The logarithm of a computed 1 − σ(fake) is −∞ from
    a score of 17 on in float32; softplus has no such end.
    """
    real, real_pullback = unchecked(softplus_vjp)(np.asarray(-widen(real_scores)))
    fake, fake_pullback = unchecked(softplus_vjp)(widen(fake_scores))

    @quiet
    def pullback(dy: Array) -> tuple[Array, Array]:
        (dreal,), (dfake,) = real_pullback(np.asarray(-widen(dy))), fake_pullback(widen(dy))
        return narrow(dreal, real_scores), narrow(dfake, fake_scores)

    return narrow(real + fake, real_scores), pullback


@rule
@elementwise
@quiet
def non_saturating_generator_loss(fake_scores: Float[Array, "*shape"]) -> Float[Array, "*shape"]:
    """−log σ(fake) = softplus(−fake), elementwise; Goodfellow et al. 2014, section 3."""
    return narrow(unchecked(softplus)(np.asarray(-widen(fake_scores))), fake_scores)


@rule
@elementwise
def non_saturating_generator_loss_vjp(
    fake_scores: Float[Array, "*shape"],
) -> tuple[Float[Array, "*shape"], Pullback]:
    """``non_saturating_generator_loss`` with its pullback, that of softplus: dfake = −σ(−fake)·dL.

    It is −dL where the discriminator is sure of a fake; the gradient of the minimax game's
    log(1 − σ(fake)), −σ(fake), vanishes there.
    """
    y, softplus_pullback = unchecked(softplus_vjp)(np.asarray(-widen(fake_scores)))

    @quiet
    def pullback(dy: Array) -> tuple[Array]:
        (dfake,) = softplus_pullback(np.asarray(-widen(dy)))
        return (narrow(dfake, fake_scores),)

    return narrow(y, fake_scores), pullback


@rule
@quiet
def wasserstein_critic_loss(
    real_scores: Float[Array, "*shape"], fake_scores: Float[Array, "*shape"]
) -> Float[Array, "*shape"]:
    """``fake − real``, elementwise: its mean is minus the critic's estimate of the distance.

    It is one only for a critic that is Lipschitz continuous, which the loss does not see to.

    Arjovsky, Chintala & Bottou, *Wasserstein generative adversarial networks*, ICML 2017,
    arXiv:1701.07875.
    """
    return narrow(widen(fake_scores) - widen(real_scores), real_scores)


@rule
def wasserstein_critic_loss_vjp(
    real_scores: Float[Array, "*shape"], fake_scores: Float[Array, "*shape"]
) -> tuple[Float[Array, "*shape"], Pullback]:
    """``wasserstein_critic_loss`` with its pullback: dreal = −dL, dfake = dL; nothing is lost."""

    @quiet
    def pullback(dy: Array) -> tuple[Array, Array]:
        return narrow(-dy, dy), dy.copy()

    return unchecked(wasserstein_critic_loss)(real_scores, fake_scores), pullback


@rule
@quiet
def wasserstein_generator_loss(fake_scores: Float[Array, "*shape"]) -> Float[Array, "*shape"]:
    """−fake, elementwise; Arjovsky, Chintala & Bottou 2017."""
    return narrow(-fake_scores, fake_scores)


@rule
def wasserstein_generator_loss_vjp(
    fake_scores: Float[Array, "*shape"],
) -> tuple[Float[Array, "*shape"], Pullback]:
    """``wasserstein_generator_loss`` with its pullback: dfake = −dL; nothing is lost."""

    @quiet
    def pullback(dy: Array) -> tuple[Array]:
        return (narrow(-dy, dy),)

    return unchecked(wasserstein_generator_loss)(fake_scores), pullback


def _from_1(x: Values) -> Values:
    """½(x − 1)², with what rounding cuts off the difference."""
    d, lost = difference(x, 1.0)
    return np.asarray(d * (d / 2) + np.where(lost == 0, 0, d) * lost)
