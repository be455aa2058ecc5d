import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from purenn.errors import ShapeError
from purenn.ops import losses
from purenn.typing import Array

DISCRIMINATORS = [
    "least_squares_discriminator_loss",
    "non_saturating_discriminator_loss",
    "wasserstein_critic_loss",
]


def test_where_the_discriminator_knows_nothing() -> None:
    zero = np.zeros(1)
    assert losses.non_saturating_discriminator_loss(zero, zero) == 2 * np.log(2)
    assert losses.non_saturating_generator_loss(zero) == np.log(2)
    half = np.full(1, 0.5)
    assert losses.least_squares_discriminator_loss(half, half) == 0.25
    assert losses.least_squares_generator_loss(half) == 0.125
    assert losses.wasserstein_critic_loss(half, half) == 0


def test_least_squares_targets_are_1_and_0() -> None:
    one, zero = np.ones(1), np.zeros(1)
    y, pullback = losses.least_squares_discriminator_loss_vjp(one, zero)
    np.testing.assert_array_equal([y, *pullback(one)], 0)
    np.testing.assert_array_equal(losses.least_squares_discriminator_loss(zero, one), 1)
    y, generator_pullback = losses.least_squares_generator_loss_vjp(one)
    np.testing.assert_array_equal([y, *generator_pullback(one)], 0)


@given(real=st.floats(0.01, 0.99))
def test_the_best_discriminator_is_the_share_of_real_examples(real: float) -> None:
    fake = 1 - real
    share = np.array([real])
    for name, score in (
        ("non_saturating", np.log(share / (1 - share))),  # Goodfellow et al., proposition 1
        ("least_squares", share),  # Mao et al., equation 5
    ):
        _, pullback = getattr(losses, f"{name}_discriminator_loss_vjp")(score, score)
        dreal, dfake = pullback(np.ones(1))
        np.testing.assert_allclose(real * dreal + fake * dfake, 0, atol=1e-15)


def test_the_generator_learns_from_a_discriminator_that_is_sure() -> None:
    scores = np.array([-1e30, -100, 100], np.float32)
    y, pullback = losses.non_saturating_generator_loss_vjp(scores)
    np.testing.assert_allclose(y, [1e30, 100, np.exp(-100)], rtol=1e-6, atol=1e-44)
    np.testing.assert_allclose(
        pullback(np.ones(3, np.float32))[0], [-1, -1, -np.exp(-100)], rtol=1e-6, atol=1e-44
    )


def test_the_wasserstein_losses_are_linear() -> None:
    rng = np.random.default_rng(0)
    real, fake, dy = rng.normal(size=(3, 5))
    y, pullback = losses.wasserstein_critic_loss_vjp(real, fake)
    np.testing.assert_array_equal(y, fake - real)
    np.testing.assert_array_equal(pullback(dy), [-dy, dy])
    y, generator_pullback = losses.wasserstein_generator_loss_vjp(fake)
    np.testing.assert_array_equal([y, *generator_pullback(dy)], [-fake, -dy])


def test_cotangents_share_no_memory_with_dy() -> None:
    x: Array = np.ones(3)
    for cotangent in losses.wasserstein_critic_loss_vjp(x, x)[1](x):
        assert not np.shares_memory(cotangent, x)


@pytest.mark.parametrize("name", DISCRIMINATORS)
def test_unequal_numbers_of_examples_are_refused(name: str) -> None:
    with pytest.raises(ShapeError, match=rf"{name}: fake_scores has shape \(2,\).*shape = \(3,\)"):
        getattr(losses, name)(np.ones(3), np.ones(2))


@pytest.mark.parametrize("name", ["discriminator", "generator"])
def test_least_squares_that_overflow_do_not_warn(name: str) -> None:
    rule = getattr(losses, f"least_squares_{name}_loss_vjp")
    y, pullback = rule(*(np.array([1e300]) for _ in range(2 if name == "discriminator" else 1)))
    np.testing.assert_array_equal([y, *pullback(np.array([1e300]))], np.inf)
