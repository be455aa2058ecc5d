from inspect import unwrap
from typing import Any

import numpy as np
import pytest

from purenn.errors import DomainError, DtypeError, ShapeError
from purenn.ops.convolution import conv_vjp, receptive_field
from purenn.typing import Array

# The layers of AlexNet and what Dang Ha The Hien's guide prints for them.
ALEXNET = {
    "conv1": ((11, 4, 0), (55, 4, 11, 5.5)),
    "pool1": ((3, 2, 0), (27, 8, 19, 9.5)),
    "conv2": ((5, 1, 2), (27, 8, 51, 9.5)),
    "pool2": ((3, 2, 0), (13, 16, 67, 17.5)),
    "conv3": ((3, 1, 1), (13, 16, 99, 17.5)),
    "conv4": ((3, 1, 1), (13, 16, 131, 17.5)),
    "conv5": ((3, 1, 1), (13, 16, 163, 17.5)),
    "pool5": ((3, 2, 0), (6, 32, 195, 33.5)),
    "fc6-conv": ((6, 1, 0), (1, 32, 355, 113.5)),
    "fc7-conv": ((1, 1, 0), (1, 32, 355, 113.5)),
}


def test_receptive_fields_of_alexnet() -> None:
    layers, expected = zip(*ALEXNET.values(), strict=True)
    fields = receptive_field(layers, 227)
    assert fields == [*expected]
    assert fields[0].receptive_field == 11
    assert fields[0].start == 5.5


def test_a_receptive_field_is_where_the_input_cotangent_is_not_zero() -> None:
    layers: list[Any] = [(3, 2, 1), (2, 1, 0, 3), (3, 1, "SAME"), (2, 2, "VALID")]
    x: Array = np.ones((1, 40, 1))
    pullbacks = []
    y = x
    for window, stride, padding, *gap in layers:
        y, pullback = conv_vjp(
            y,
            np.ones((window, 1, 1)),
            strides=stride,
            padding=padding,
            kernel_dilation=gap[0] if gap else 1,
        )
        pullbacks.append(pullback)
    *_, field = receptive_field(layers, 40)
    assert field.size == y.shape[1]
    for i in range(field.size):
        dx = np.zeros_like(y)
        dx[0, i] = 1
        for pullback in reversed(pullbacks):
            dx, _ = pullback(dx)
        (seen,) = np.nonzero(dx[0, :, 0])
        centre = field.start + i * field.jump
        low, high = centre - field.receptive_field / 2, centre + field.receptive_field / 2
        assert (seen[0], seen[-1] + 1) == (max(low, 0), min(high, 40))


@pytest.mark.parametrize(
    ("layers", "size", "error", "message"),
    [
        ([], 0, DomainError, "receptive_field: size is 0, expected at least 1"),
        ([(3, 1.0, 0)], 9, DtypeError, r"layers\[0\]: stride is 1.0, expected an int"),
        ([(3, 1, 0.5)], 9, DtypeError, r"layers\[0\]: padding is 0.5, expected an int"),
        ([(3, 1, [(1, 1, 1)])], 9, ShapeError, r"layers\[0\]: padding .* expected pairs \(low, h"),
        ([(3, 1)], 9, ShapeError, r"layers\[0\] is \(3, 1\), expected \(kernel, stride, padding"),
        ([3], 9, ShapeError, r"layers\[0\] is 3, expected \(kernel"),
        ([(0, 1, 0)], 9, DomainError, r"layers\[0\]: kernel is 0, expected at least 1"),
        ([(3, 0, 0)], 9, DomainError, r"layers\[0\]: stride is 0, expected at least 1"),
        ([(3, 1, 0), (3, 1, -1)], 9, DomainError, r"layers\[1\]: padding is -1, expected at least"),
        ([(3, 1, 0, 0)], 9, DomainError, r"layers\[0\]: dilation is 0, expected at least 1"),
        ([(3, 4, 0), (3, 1, 0)], 9, ShapeError, r"layers\[1\]: the window has shape \(3,\)"),
        ([(3, 1, [(0, -1)])], 9, DomainError, r"layers\[0\]: padding .* expected at least 0"),
        (None, 9, ShapeError, r"receptive_field: layers is None, expected a sequence of \(kernel"),
        ([(3, 1, "FULL")], 9, DomainError, r"layers\[0\]: padding is 'FULL'"),
    ],
)
def test_receptive_field_refuses_by_name(
    layers: Any, size: Any, error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        unwrap(receptive_field)(layers, size)
