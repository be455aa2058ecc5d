import itertools
from typing import Any

import hypothesis.strategies as st
import jax
import numpy as np
import pytest
from hypothesis import given, settings

import reference.ops.convolution as theirs
from purenn.errors import DomainError, DtypeError, ShapeError
from purenn.ops import _correlation
from purenn.ops._convolution import conv_cotangents
from purenn.ops._windows import as_tuple
from purenn.ops.convolution import (
    conv,
    conv_transpose,
    conv_transpose_vjp,
    conv_vjp,
)
from purenn.typing import Array


def image(rows: Any) -> Array:
    """One example with one channel."""
    return np.asarray(rows, np.float64)[None, ..., None]


def taps(rows: Any) -> Array:
    """A kernel from one channel to one channel."""
    return np.asarray(rows, np.float64)[..., None, None]


def normal(*shape: int, seed: int = 0) -> Array:
    return np.random.default_rng(seed).normal(size=shape)


def test_songho_convolution_is_correlation_with_the_flipped_kernel() -> None:
    # https://www.songho.ca/dsp/convolution/convolution2d_example.html
    x = image([[1, 2, 3], [4, 5, 6], [7, 8, 9]])
    kernel = taps([[-1, -2, -1], [0, 0, 0], [1, 2, 1]])
    convolved = image([[-13, -20, -17], [-18, -24, -18], [13, 20, 17]])
    np.testing.assert_array_equal(conv(x, kernel[::-1, ::-1], padding=1), convolved)
    np.testing.assert_array_equal(conv(x, kernel), -convolved)  # its rows are antisymmetric


def test_worked_numbers_of_onnx() -> None:
    # The examples of Conv and ConvTranspose in the operators' documentation.
    ones = taps(np.ones((3, 3)))
    x = image(np.arange(25).reshape(5, 5))
    inner = [[54, 63, 72], [99, 108, 117], [144, 153, 162]]
    np.testing.assert_array_equal(conv(x, ones, padding="VALID"), image(inner))
    around = [
        [12, 21, 27, 33, 24],
        [33, 54, 63, 72, 51],
        [63, 99, 108, 117, 81],
        [93, 144, 153, 162, 111],
        [72, 111, 117, 123, 84],
    ]
    np.testing.assert_array_equal(conv(x, ones), image(around))
    spread = [
        [0, 1, 3, 3, 2],
        [3, 8, 15, 12, 7],
        [9, 21, 36, 27, 15],
        [9, 20, 33, 24, 13],
        [6, 13, 21, 15, 8],
    ]
    small = image(np.arange(9).reshape(3, 3))
    np.testing.assert_array_equal(conv_transpose(small, ones, padding="VALID"), image(spread))


# (spatial, window, in, out, options): every option, alone and together, in each rank.
CONVOLUTIONS: list[tuple[tuple[int, ...], tuple[int, ...], int, int, dict[str, Any]]] = [
    ((7,), (3,), 2, 3, {}),
    ((8,), (4,), 2, 3, {"padding": "SAME_LOWER", "strides": 2}),
    ((9,), (2,), 2, 2, {"padding": "VALID", "strides": 4}),
    ((6,), (3,), 2, 2, {"padding": ((4, -2),), "kernel_dilation": 2}),
    ((5,), (3,), 1, 2, {"padding": ((-3, 4),), "input_dilation": 3, "strides": 2}),
    ((3,), (2,), 1, 1, {"padding": ((-2, -1),), "input_dilation": 4}),
    ((6, 5), (3, 2), 3, 2, {"strides": (2, 1), "kernel_dilation": (1, 2)}),
    ((5, 6), (2, 3), 4, 6, {"feature_group_count": 2, "padding": 1}),
    ((5, 4), (3, 3), 3, 3, {"feature_group_count": 3, "strides": 2}),
    ((4, 4), (2, 2), 2, 6, {"feature_group_count": 2, "padding": "VALID"}),
    ((4, 3), (2, 3), 9, 2, {"padding": (2, (0, 1)), "input_dilation": (1, 2), "strides": (3, 2)}),
    ((3, 4, 3), (2, 3, 1), 2, 2, {"strides": (1, 2, 1)}),
    ((3, 2, 3), (2, 1, 2), 2, 1, {"padding": ((1, 0), (0, 1), (1, 1)), "kernel_dilation": 2}),
]


@pytest.mark.parametrize(("spatial", "window", "inputs", "outputs", "options"), CONVOLUTIONS)
def test_conv_is_that_of_lax(
    spatial: Any, window: Any, inputs: int, outputs: int, options: dict[str, Any]
) -> None:
    groups = options.get("feature_group_count", 1)
    x, kernel = normal(2, *spatial, inputs), normal(*window, inputs // groups, outputs, seed=1)
    assert_vjp_is_theirs(conv_vjp, theirs.conv, x, kernel, options)


TRANSPOSES: list[tuple[tuple[int, ...], tuple[int, ...], dict[str, Any]]] = [
    ((4,), (3,), {}),
    ((4,), (3,), {"strides": 2}),
    ((3,), (2,), {"strides": 3, "transpose_kernel": True}),
    ((3,), (4,), {"strides": 3, "padding": "VALID", "kernel_dilation": 2}),
    ((3,), (2,), {"strides": 4, "padding": "VALID", "transpose_kernel": True}),
    ((4,), (2,), {"strides": 2, "padding": ((5, -2),)}),
    ((3, 4), (3, 2), {"strides": (2, 1), "padding": "VALID"}),
    ((4, 3), (2, 3), {"strides": 2, "kernel_dilation": (1, 2), "transpose_kernel": True}),
    ((2, 3, 2), (2, 1, 3), {"strides": (1, 2, 2)}),
]


@pytest.mark.parametrize(("spatial", "window", "options"), TRANSPOSES)
def test_conv_transpose_is_that_of_lax(spatial: Any, window: Any, options: dict[str, Any]) -> None:
    channels = (3, 2) if options.get("transpose_kernel") else (2, 3)
    x, kernel = normal(2, *spatial, 2), normal(*window, *channels, seed=1)
    assert_vjp_is_theirs(conv_transpose_vjp, theirs.conv_transpose, x, kernel, options)


def assert_vjp_is_theirs(f_vjp: Any, f: Any, x: Array, kernel: Array, options: Any) -> None:
    y, pullback = f_vjp(x, kernel, **options)
    expected, their_pullback = jax.vjp(lambda *primals: f(*primals, **options), x, kernel)
    assert y.shape == expected.shape
    dy = normal(*y.shape, seed=2)
    expected_cotangents = their_pullback(jax.numpy.asarray(dy))
    for got, other in zip((y, *pullback(dy)), (expected, *expected_cotangents), strict=True):
        np.testing.assert_allclose(got, other, rtol=1e-12, atol=1e-12)


@st.composite
def convolutions(draw: st.DrawFn) -> tuple[Array, Array, dict[str, Any]]:
    rank = draw(st.integers(1, 3))

    def each(low: int, high: int) -> tuple[int, ...]:
        return tuple(draw(st.integers(low, high)) for _ in range(rank))

    groups, group_in, group_out = (draw(st.integers(1, 3)) for _ in range(3))
    window, input_dilation, kernel_dilation = each(1, 3), each(1, 3), each(1, 2)
    spatial = each(1, 5)
    # At least one window fits: what is covered minus the dilated input, some of it before.
    padding = []
    for size, length, between, gap in zip(
        spatial, window, input_dilation, kernel_dilation, strict=True
    ):
        total = (length - 1) * gap - (size - 1) * between + draw(st.integers(0, 5))
        low = draw(st.integers(-2, 4))
        padding.append((low, total - low))
    options = {
        "strides": each(1, 4),
        "padding": tuple(padding),
        "input_dilation": input_dilation,
        "kernel_dilation": kernel_dilation,
        "feature_group_count": groups,
    }
    x = normal(draw(st.integers(0, 3)), *spatial, groups * group_in)
    return x, normal(*window, group_in, groups * group_out, seed=1), options


def plainly(x: Array, kernel: Array, options: dict[str, Any]) -> Array:
    """The definition, output by output and tap by tap."""
    groups, window = options["feature_group_count"], kernel.shape[:-2]
    between, gaps, strides = (
        options[name] for name in ("input_dilation", "kernel_dilation", "strides")
    )
    covered = [(length - 1) * gap + 1 for length, gap in zip(window, gaps, strict=True)]
    dilated = [(size - 1) * gap + 1 for size, gap in zip(x.shape[1:-1], between, strict=True)]
    counts = [
        (size + low + high - length) // stride + 1
        for size, length, stride, (low, high) in zip(
            dilated, covered, strides, options["padding"], strict=True
        )
    ]
    y = np.zeros((len(x), *counts, kernel.shape[-1]))
    inputs, outputs = kernel.shape[-2], kernel.shape[-1] // groups
    for place, tap, g in itertools.product(np.ndindex(*counts), np.ndindex(*window), range(groups)):
        at = [
            divmod(o * stride + t * gap - low, step)
            for o, t, stride, gap, step, (low, _) in zip(
                place, tap, strides, gaps, between, options["padding"], strict=True
            )
        ]
        if all(
            rest == 0 and 0 <= i < size for (i, rest), size in zip(at, x.shape[1:], strict=False)
        ):
            seen = x[(slice(None), *(i for i, _ in at), slice(g * inputs, (g + 1) * inputs))]
            out = slice(g * outputs, (g + 1) * outputs)
            y[(slice(None), *place, out)] += seen @ kernel[(*tap, slice(None), out)]
    return y


@settings(max_examples=150)
@given(convolutions(), st.sampled_from([1, 300, 1 << 22]), st.sampled_from([0, 4]))
def test_every_combination_of_options_in_blocks_of_any_size(
    example: tuple[Array, Array, dict[str, Any]], size: int, few: int
) -> None:
    x, kernel, options = example
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(_correlation, "_COLUMNS", size)
        patch.setattr(_correlation, "_PRODUCTS", size)
        patch.setattr(_correlation, "_FEW", few)
        y, pullback = conv_vjp(x, kernel, **options)
        dy = normal(*y.shape, seed=2)
        dx, dkernel = pullback(dy)
    np.testing.assert_allclose(y, plainly(x, kernel, options), rtol=1e-12, atol=1e-12)
    # Of linear functions the pullback is the transpose.
    other_x, other_kernel = normal(*x.shape, seed=3), normal(*kernel.shape, seed=4)
    for cotangent, tangent, image in (
        (dx, other_x, plainly(other_x, kernel, options)),
        (dkernel, other_kernel, plainly(x, other_kernel, options)),
    ):
        assert cotangent.shape == tangent.shape
        np.testing.assert_allclose(np.vdot(cotangent, tangent), np.vdot(dy, image), atol=1e-10)


def test_transposed_is_what_the_name_says() -> None:
    x, kernel = normal(2, 9, 8, 3), normal(3, 4, 3, 5, seed=1)
    for padding in ("SAME", "VALID"):
        y, pullback = conv_vjp(x, kernel, strides=(3, 2), padding=padding)
        dx, _ = pullback(y)
        again = conv_transpose(y, kernel, strides=(3, 2), padding=padding, transpose_kernel=True)
        # VALID cannot know of what lay beyond the last window, which has no part in y.
        np.testing.assert_allclose(again, dx[:, : again.shape[1], : again.shape[2]], rtol=1e-12)
        assert not dx[:, again.shape[1] :].any()


def test_a_depthwise_convolution_does_each_channel_by_itself() -> None:
    x, kernel = normal(2, 5, 5, 3), normal(3, 3, 1, 3, seed=1)
    y = conv(x, kernel, feature_group_count=3)
    for c in range(3):
        alone = conv(x[..., c : c + 1], kernel[..., c : c + 1])
        np.testing.assert_allclose(y[..., c : c + 1], alone, rtol=1e-12)


def test_large_sums_are_as_near_to_float64_as_those_of_jax(device: jax.Device) -> None:
    x = normal(8, 16, 16, 32).astype(np.float32)
    kernel = normal(3, 3, 32, 24, seed=1).astype(np.float32)
    dy = normal(8, 16, 16, 24, seed=2).astype(np.float32)
    y, pullback = conv_vjp(x, kernel)
    exact_y, exact = conv_vjp(x.astype(np.float64), kernel.astype(np.float64))
    with jax.default_device(device):
        their_y, their_pullback = jax.vjp(theirs.conv, x, kernel)
        rivals = (their_y, *their_pullback(dy))
    truths = (exact_y, *exact(dy.astype(np.float64)))
    for ours, true, rival in zip((y, *pullback(dy)), truths, rivals, strict=True):
        # Sums of 216 to 2048 products: rounding adds up like a random walk in either order.
        rival_error = np.sqrt(np.mean(np.square(rival - true)))
        assert np.sqrt(np.mean(np.square(ours - true))) <= 2 * rival_error


def test_half_precision_sums_in_float32() -> None:
    x, kernel = np.ones((1, 3000, 1), np.float16), np.full((3000, 1, 1), 0.1, np.float16)
    y, pullback = conv_vjp(x, kernel, padding="VALID")
    assert y.dtype == np.float16
    assert y[0, 0, 0] == np.float16(3000 * float(np.float16(0.1)))
    assert {cotangent.dtype for cotangent in pullback(y)} == {np.dtype(np.float16)}


@pytest.mark.parametrize("shape", [(0, 4, 4, 2), (2, 4, 4, 0), (2, 0, 4, 2), (2, 0, 4, 1)])
@pytest.mark.parametrize("outputs", [0, 3])
def test_nothing_is_a_size_like_any_other(shape: tuple[int, ...], outputs: int) -> None:
    cases: list[tuple[Any, dict[str, Any]]] = [
        (conv_vjp, {"padding": 2}),
        (conv_vjp, {"padding": 3, "strides": 2}),
        (conv_transpose_vjp, {"padding": 3, "strides": 2}),
    ]
    for f_vjp, options in cases:
        arguments = normal(*shape), normal(3, 3, shape[-1], outputs)
        y, pullback = f_vjp(*arguments, **options)
        assert y.shape[0] == shape[0]
        assert y.shape[-1] == outputs
        assert shape[0] == 0 or min(shape) > 0 or not y.any()
        cotangents = pullback(y)
        assert [c.shape for c in cotangents] == [a.shape for a in arguments]
        assert not cotangents[1].any()


def test_each_cotangent_alone() -> None:
    x, kernel = normal(2, 5, 5, 3), normal(3, 3, 3, 2, seed=1)
    options: dict[str, Any] = {"strides": 2, "padding": "SAME"}
    options |= {"input_dilation": 1, "kernel_dilation": 1, "feature_group_count": 1}
    y, input_cotangent, kernel_cotangent = conv_cotangents(x, kernel, **options)
    expected, pullback = conv_vjp(x, kernel, strides=2)
    for got, other in zip(
        (y, input_cotangent(y), kernel_cotangent(y)), (expected, *pullback(y)), strict=True
    ):
        np.testing.assert_array_equal(got, other)


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"padding": "VALID"}, ShapeError, r"window has shape \(3, 5\).* padding, \(4, 4\)"),
        ({"padding": (0, -2)}, ShapeError, r"window has shape \(3, 5\).* padding, \(4, 0\)"),
        ({"kernel_dilation": 5, "padding": 1}, ShapeError, r"window has shape \(11, 21\)"),
        ({"padding": "FULL"}, DomainError, "padding is 'FULL', expected 'SAME'"),
        ({"padding": (1, 1, 1)}, ShapeError, r"padding is \(1, 1, 1\), of length 3; .* or 2"),
        ({"strides": 0}, DomainError, "strides is 0, expected at least 1"),
        ({"strides": (1, -1)}, DomainError, "strides is -1, expected at least 1"),
        ({"strides": (1,)}, ShapeError, r"strides is \(1,\), of length 1; .* or 2"),
        ({"strides": True}, DtypeError, "strides is True, expected an int"),
        ({"padding": (True, 1)}, DtypeError, "padding is True, expected an int"),
        ({"strides": 10**30}, DomainError, "strides is 1000.*, expected at most 2147483647"),
        ({"kernel_dilation": -1}, DomainError, "kernel_dilation is -1, expected at least 1"),
        ({"input_dilation": 0}, DomainError, "input_dilation is 0, expected at least 1"),
        ({"input_dilation": 2}, DomainError, "padding is 'SAME' and input_dilation 2, expected"),
        ({"feature_group_count": 4}, ShapeError, "is 4, expected a divisor of in = 6"),
        ({"feature_group_count": 3}, ShapeError, "is 3, expected a divisor of out = 4"),
        ({"feature_group_count": 2}, ShapeError, r"expected \(\*window, 3, out\) for in = 6"),
        ({"feature_group_count": 0}, DomainError, "feature_group_count is 0, expected at least 1"),
    ],
)  # fmt: skip
def test_what_cannot_be_is_refused_by_name(
    options: dict[str, Any], error: type[Exception], message: str
) -> None:
    x, kernel = normal(2, 4, 4, 6), normal(3, 5, 6, 4)
    for f in (conv, conv_vjp):
        with pytest.raises(error, match=f"conv: .*{message}"):
            f(x, kernel, **options)


def test_what_cannot_be_transposed_is_refused_by_name() -> None:
    x, kernel = normal(2, 4, 4, 6), normal(3, 5, 6, 4)
    with pytest.raises(ShapeError, match=r"conv_transpose: kernel .* \(\*window, out, 6\) for in"):
        conv_transpose(x, kernel, transpose_kernel=True)
    with pytest.raises(ShapeError, match=r"conv_transpose: kernel .* \(\*window, 4, out\) for in"):
        conv_transpose(normal(2, 4, 4, 4), kernel)
    with pytest.raises(DomainError, match="conv_transpose: padding is 'SAME_LOWER', expected"):
        conv_transpose(x, kernel, padding="SAME_LOWER")
    with pytest.raises(ShapeError, match=r"conv_transpose: the window has shape \(3, 5\)"):
        conv_transpose(x, kernel, padding=-1)
    with pytest.raises(
        ShapeError, match=r"conv_transpose: x has shape .* an entry in space for pad"
    ):
        conv_transpose(x[:, :0], kernel, strides=2)
    with pytest.raises(DomainError, match="conv_transpose: strides is 0, expected at least 1"):
        conv_transpose_vjp(x, kernel, strides=0)


def test_infinite_products_come_without_a_warning() -> None:
    x, kernel = np.full((1, 3, 3, 5), 1e30, np.float32), np.full((2, 2, 5, 5), 1e30, np.float32)
    for f_vjp in (conv_vjp, conv_transpose_vjp):
        y, pullback = f_vjp(x, kernel, padding=0)
        for product in (y, *pullback(np.full_like(y, 1e30))):
            assert (product == np.inf).all()


def test_sizes_of_numpy_are_taken_and_others_refused() -> None:
    sizes = as_tuple("f", "strides", (np.int64(2), 3), 2)
    assert sizes == (2, 3)
    assert {type(size) for size in sizes} == {int}
    for wrong in (2.0, None, True, "2"):
        with pytest.raises(DtypeError, match=f"f: strides is {wrong!r}, expected an int"):
            as_tuple("f", "strides", wrong, 2)


@pytest.mark.parametrize("f", [conv, conv_transpose])
def test_padding_may_be_in_lower_case(f: Any) -> None:
    x, kernel = normal(2, 4, 4, 3), normal(3, 3, 3, 3)
    np.testing.assert_array_equal(
        f(x, kernel, strides=2, padding="same"), f(x, kernel, strides=2, padding="SAME")
    )


@pytest.mark.parametrize("f", [conv, conv_transpose])
def test_ranks_that_differ_are_refused(f: Any) -> None:
    for x, kernel in (((2, 4, 6), (3, 3, 6, 4)), ((2, 4, 4, 6), (3, 6, 4)), ((2, 6), (6, 4))):
        with pytest.raises(ShapeError, match=f"{f.__name__}: x has shape .* of the same rank"):
            f(normal(*x), normal(*kernel))
    with pytest.raises(ShapeError, match=r"the window has shape \(0,\)"):
        f(normal(2, 4, 6), normal(0, 6, 4), padding=0)
