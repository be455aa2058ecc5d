from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from purenn.typing import Annotated, Array, Float, Index, Int, Interval, Simplex
from purenn.verify import draw


def everything(
    x: Float[Array, "*batch in 3"],
    kernel: Float[Array, "in out"],
    labels: Annotated[Int[Array, "*batch"], Index("out")],
    rate: Annotated[Float[Array, " out"], Interval(ge=0, lt=1)],
    weights: Annotated[Float[Array, "*batch out"], Simplex()],
    *,
    factor: float = 1.0,
) -> Any: ...


@given(st.data(), st.sampled_from(["float32", "float64"]))
def test_arguments_are_as_annotated(data: st.DataObject, dtype: str) -> None:
    x, kernel, labels, rate, weights = data.draw(draw.arguments(everything, np.dtype(dtype)))
    assert all(a.dtype == dtype for a in (x, kernel, rate, weights))
    assert x.shape[-1] == 3
    assert x.shape[-2] == kernel.shape[0]
    assert labels.shape == x.shape[:-2] == weights.shape[:-1]
    assert rate.shape == kernel.shape[1:] == weights.shape[-1:]
    assert labels.dtype.kind == "i"
    assert np.all((labels >= 0) & (labels < kernel.shape[1]))
    assert np.all((rate >= 0) & (rate < 1))
    assert np.all(weights >= 0)
    np.testing.assert_allclose(weights.sum(axis=-1), 1, rtol=1e-6)


@pytest.mark.parametrize(
    "interval", [Interval(ge=2), Interval(ge=0.1, le=0.9), Interval(lt=-3), Interval(gt=0, le=1e-3)]
)
def test_any_interval_can_be_drawn_from(interval: Interval) -> None:
    def rule(x: Annotated[Float[Array, " n"], interval]) -> Any: ...

    @given(draw.arguments(rule, np.dtype("float32")))
    def check(arguments: tuple[Array, ...]) -> None:
        x = arguments[0].astype(np.float64)
        for test, end in (
            (np.greater, interval.gt),
            (np.greater_equal, interval.ge),
            (np.less, interval.lt),
            (np.less_equal, interval.le),
        ):
            assert end is None or np.all(test(x, end))  # type: ignore[call-overload]

    check()


@given(st.data())
def test_a_layout_changes_no_number(data: st.DataObject) -> None:
    x = np.arange(6.0).reshape(2, 3)
    np.testing.assert_array_equal(data.draw(draw.LAYOUTS)(x), x)


def test_shapes_come_from_a_small_pool_that_has_the_hard_ones() -> None:
    pool = draw.sizes(list(draw.specifications(everything).values()))
    assert len(pool) <= 6
    assert {known["*batch"] for known in pool} >= {(), (0,), (1,)}
    assert {known["in"] for known in pool} >= {1, 3}


def test_values_saturate_and_tie() -> None:
    drawn: list[float] = []

    @given(draw.arguments(lambda_like, np.dtype("float64")))
    def collect(arguments: tuple[Array, ...]) -> None:
        drawn.extend(arguments[0].ravel().tolist())

    collect()
    sizes = np.abs(drawn)
    assert np.any(sizes > 300)
    assert np.any(sizes >= 1e30)
    assert np.any((sizes > 0) & (sizes < 1e-29))
    assert np.any(sizes == 0)


def lambda_like(x: Float[Array, "*shape"]) -> Any: ...


def unannotated(x: Float[Array, " n"], scale) -> Any: ...  # type: ignore[no-untyped-def]


def test_an_argument_without_annotation_is_named() -> None:
    with pytest.raises(draw.UnspecifiedError, match="unannotated: argument 'scale' needs an array"):
        draw.specifications(unannotated)
