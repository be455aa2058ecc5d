from fractions import Fraction

import numpy as np
import pytest

from purenn.errors import ShapeError
from purenn.ops import losses
from purenn.typing import Array


def features(*shape: int, seed: int = 0) -> Array:
    return np.random.default_rng(seed).normal(size=shape)


def test_a_gram_matrix_by_hand() -> None:
    x = np.array([[[1.0, 2.0], [3.0, -1.0]]])  # one row of two positions, two channels
    np.testing.assert_array_equal(losses.gram_matrix(x), [[10, -1], [-1, 5]])


def test_a_gram_matrix_does_not_know_where_things_are() -> None:
    x = features(2, 3, 4, 5)
    shuffled = np.random.default_rng(1).permutation(x.reshape(2, 12, 5), axis=1).reshape(x.shape)
    gram = losses.gram_matrix(x)
    np.testing.assert_allclose(losses.gram_matrix(shuffled), gram, rtol=1e-12, atol=1e-13)
    np.testing.assert_allclose(gram, np.swapaxes(gram, -1, -2), rtol=1e-15)


def test_the_cotangent_of_a_gram_matrix_need_not_be_symmetric() -> None:
    x, dy = features(1, 2, 3, 4), features(1, 4, 4, seed=1)
    (dx,) = losses.gram_matrix_vjp(x)[1](dy)
    moved = features(1, 2, 3, 4, seed=2)
    change = np.einsum("bhwi,bhwj->bij", moved, x) + np.einsum("bhwi,bhwj->bij", x, moved)
    np.testing.assert_allclose(np.sum(dx * moved), np.sum(dy * change), rtol=1e-12)


def test_the_losses_are_those_of_gatys() -> None:
    f, p = features(2, 3, 4, 5), features(2, 3, 4, 5, seed=1)
    style, style_pullback = losses.style_loss_vjp(f, p)
    content, content_pullback = losses.content_loss_vjp(f, p)
    n, m = 5, 12
    dy = np.array([1.0, -2.0])
    for b in range(2):
        rows, targets = f[b].reshape(m, n).T, p[b].reshape(m, n).T  # as in the paper, N × M
        g, a = rows @ rows.T, targets @ targets.T
        np.testing.assert_allclose(style[b], np.sum((g - a) ** 2) / (4 * n**2 * m**2), rtol=1e-12)
        slope = (rows.T @ (g - a)).reshape(f[b].shape) / (n**2 * m**2)  # equation 6
        np.testing.assert_allclose(style_pullback(dy)[0][b], dy[b] * slope, rtol=1e-10, atol=1e-14)
        np.testing.assert_allclose(content[b], np.sum((rows - targets) ** 2) / 2, rtol=1e-12)
        np.testing.assert_array_equal(content_pullback(dy)[0][b], dy[b] * (f[b] - p[b]))


def test_the_same_style_in_another_size_costs_nothing() -> None:
    f = features(3, 4, 2)
    tiled: Array = np.tile(f, (2, 1, 1))
    y, pullback = losses.style_loss_vjp(tiled, f)
    np.testing.assert_allclose(y, 0, atol=1e-30)
    for cotangent in pullback(np.ones(())):
        np.testing.assert_allclose(cotangent, 0, atol=1e-15)


def test_small_differences_of_large_float32_features_count() -> None:
    f = np.full((1, 1, 1), 1e4, np.float32)
    other = np.nextafter(f, np.float32(np.inf))
    expected = (float(other.item()) ** 2 - 1e8) ** 2 / 4
    np.testing.assert_allclose(losses.style_loss(other, f), expected, rtol=1e-6)
    huge = np.full((1, 1, 1), 1e30, np.float32)
    np.testing.assert_array_equal(losses.style_loss(huge, huge), 0)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_sums_over_many_positions_keep_their_digits(dtype: type) -> None:
    """As jnp.einsum, off by less than a unit; one product in BLAS is off by hundreds."""
    x: Array = np.full((1000, 1000, 1), 0.1, dtype)
    expected = float(Fraction(float(x[0, 0, 0])) ** 2 * 10**6)
    eps = float(np.finfo(dtype).eps)
    np.testing.assert_allclose(losses.gram_matrix(x), expected, rtol=eps)
    uneven = features(1, 1301, 3)
    rows = uneven[0]
    np.testing.assert_allclose(losses.gram_matrix(uneven), rows.T @ rows, rtol=1e-12, atol=1e-12)


def test_features_whose_gram_matrix_overflows() -> None:
    huge, small = np.full((1, 1, 2), 1e200), np.full((1, 1, 2), 1e-90)
    y, pullback = losses.style_loss_vjp(huge, huge)
    np.testing.assert_array_equal(y, 0)
    np.testing.assert_array_equal(pullback(np.ones(()))[0], 0)
    np.testing.assert_array_equal(losses.style_loss(huge, 0 * huge), np.inf)
    _, pullback = losses.style_loss_vjp(small, 0 * small)
    np.testing.assert_allclose(pullback(np.array(1e200))[0], np.full((1, 1, 2), 5e-71), rtol=1e-14)


def test_empty_images_and_batches() -> None:
    for shape in ((0, 2, 2, 3), (2, 0, 2, 3), (2, 2, 2, 0)):
        x = np.ones(shape)
        for name in ("style_loss", "content_loss"):
            y, pullback = getattr(losses, f"{name}_vjp")(x, x)
            np.testing.assert_array_equal(y, np.zeros(shape[0]))
            assert [cotangent.shape for cotangent in pullback(y)] == [shape, shape]


def test_what_does_not_fit_is_refused_by_name() -> None:
    x = np.ones((2, 3, 3, 4))
    with pytest.raises(ShapeError, match=r"style_loss: targets has shape .* channels = 4"):
        losses.style_loss(x, np.ones((2, 3, 3, 5)))
    with pytest.raises(ShapeError, match=r"content_loss: targets has shape .* height = 3"):
        losses.content_loss(x, np.ones((2, 2, 3, 4)))
    with pytest.raises(ShapeError, match=r"gram_matrix: x has shape \(3, 4\), which is of rank 2"):
        losses.gram_matrix(np.ones((3, 4)))
