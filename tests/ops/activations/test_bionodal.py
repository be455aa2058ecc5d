import flint
import numpy as np
import pytest
from flint import arb
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from purenn.errors import DomainError, DtypeError
from purenn.ops import activations
from purenn.typing import Array
from purenn.verify import balls, judge

NUMBERS = hnp.arrays(np.float64, 6, elements=st.floats(-1e30, 1e30) | st.floats(-9, 9))
# 1 − 1e-7 and 1 + 1e-7: the zero of eru comes close to the seam of its halves from either side.
ROOTS = [0.001, 0.05, 0.3, 1 - 1e-7, 1.0, 1 + 1e-7, 1.5, 2.0, 2.7, 3.0, 20.0, 1000.0]


@given(x=NUMBERS)
def test_of_the_first_root_one_is_elu_and_one_is_the_identity(x: Array) -> None:
    """Bhumbra 2018: r = 1."""
    for name, other in (("eru", "elu"), ("oru", "identity")):
        y, pullback = getattr(activations, f"{name}_vjp")(x, r=1.0)
        expected, other_pullback = getattr(activations, f"{other}_vjp")(x)
        np.testing.assert_allclose(y, expected, rtol=1e-15, atol=0)
        np.testing.assert_allclose(pullback(x)[0], other_pullback(x)[0], rtol=1e-15)


def test_the_square_root_units_of_whole_numbers() -> None:
    x = np.array([0, 0.75, 2, 6, 12, 20])  # 4x + 1 is the square of 1, 2, 3, 5, 7, 9
    np.testing.assert_allclose(activations.eru(x, r=2.0), [0.5, 1.5, 2.5, 4.5, 6.5, 8.5])
    np.testing.assert_allclose(activations.oru(-x, r=2.0), [0, -1, -2, -4, -6, -8], atol=1e-300)
    _, pullback = activations.oru_vjp(-x, r=2.0)
    np.testing.assert_allclose(pullback(np.ones(6))[0], 2 / np.array([1, 2, 3, 5, 7, 9]))


@pytest.mark.parametrize("r", ROOTS)
@pytest.mark.parametrize("side", [-1e-300, -0.0, 0.0, 1e-300])
def test_at_0_both_have_the_slope_r(r: float, side: float) -> None:
    for vjp in (activations.eru_vjp, activations.oru_vjp):
        _, pullback = vjp(np.array(side), r=r)
        np.testing.assert_allclose(pullback(np.ones(()))[0], r, rtol=1e-15)


@given(x=NUMBERS, r=st.floats(0.5, 50))
def test_oru_is_odd(x: Array, r: float) -> None:
    np.testing.assert_array_equal(activations.oru(-x, r=r), -activations.oru(x, r=r))


@pytest.mark.parametrize("r", [0.5, 1.0, 2.0, 7.0])
def test_limits_at_infinity(r: float) -> None:
    x = np.array([-np.inf, np.inf])
    np.testing.assert_array_equal(activations.eru(x, r=r), [-1 / r, np.inf])
    np.testing.assert_array_equal(activations.oru(x, r=r), x)
    _, pullback = activations.eru_vjp(x, r=r)
    slope = 0 if r > 1 else 1 if r == 1 else np.inf
    (dx,) = pullback(np.array([1.0, 2.0]))
    np.testing.assert_array_equal(dx, [0, 2 * slope if slope else 0])
    assert activations.oru_vjp(x, r=r)[1](np.zeros(2))[0].tolist() == [0, 0]


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("r", ROOTS)
def test_within_8_ulp_of_the_truth_also_next_to_the_zero(r: float, dtype: type) -> None:
    rng = np.random.default_rng(0)
    zero = -np.log(r) / r if r > 1 else (r**-r - 1) / r**2
    x: Array = np.concatenate(
        [
            rng.choice([-1, 1], 60) * 10 ** rng.uniform(-30, 30, 60),
            rng.normal(0, 5, 30),
            zero * (1 + rng.normal(size=60) * 10 ** rng.uniform(-16, -1, 60)),
            [zero, 0.0],
        ]
    ).astype(dtype)
    for f_vjp, exact in ((activations.eru_vjp, _eru), (activations.oru_vjp, _oru)):
        y, pullback = f_vjp(x, r=r)
        with flint.ctx.workprec(400):
            truth = np.array([exact(arb(z), arb(r)) for z in x.tolist()])
        for ours, right in zip((y, pullback(np.ones_like(x))[0]), truth.T, strict=True):
            size = np.abs(balls.nearest(right))
            normal = (size >= np.finfo(dtype).tiny) & (size <= float(np.finfo(dtype).max))
            assert np.max(judge.errors(ours, right, size)[normal]) <= 8


def _eru(z: arb, r: arb) -> list[arb]:
    if z < 0:
        return [(r * z).exp() - 1 / r, r * (r * z).exp()]
    base = r * r * z + 1
    return [base ** (1 / r) - 1 / r, r * base ** (1 / r - 1)]


def _oru(z: arb, r: arb) -> list[arb]:
    base = r * r * abs(z) + 1
    y = base ** (1 / r) - 1
    return [-y if z < 0 else y, r * base ** (1 / r - 1)]


@pytest.mark.parametrize("r", [0.0, -1.0, 1e-4, 1001.0, np.nan])
def test_roots_out_of_range_are_refused(r: float) -> None:
    for name in ("eru", "eru_vjp", "oru", "oru_vjp"):
        message = rf"{name[:3]}: r is {r}, expected a finite number ≥ 0.001 and ≤ 1000"
        with pytest.raises(DomainError, match=message):
            getattr(activations, name)(np.ones(2), r=r)


def test_a_slope_out_of_range_is_infinite() -> None:
    for vjp in (activations.eru_vjp, activations.oru_vjp):
        _, pullback = vjp(np.array([1e300] * 3), r=0.3)
        assert pullback(np.array([1e-10, 0.0, -1.0]))[0].tolist() == [np.inf, 0, -np.inf]
    _, pullback = activations.eru_vjp(np.array([-0.5]), r=1000.0)
    np.testing.assert_allclose(pullback(np.array([1e306]))[0], 1e306 * np.exp(-500) * 1e3)


def test_a_root_that_is_no_number_is_refused() -> None:
    with pytest.raises(DtypeError, match="oru: r is True, expected a number"):
        activations.oru(np.ones(2), r=True)
