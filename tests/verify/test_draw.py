from typing import Any, TypedDict

import numpy as np
import pytest
from annotated_types import Ge
from hypothesis import given
from hypothesis import strategies as st
from jaxtyping import Bool, Float32

from purenn.typing import Annotated, Array, Float, Index, Int, Interval, OneOf, Simplex
from purenn.verify import draw, values
from purenn.verify.annotations import UnspecifiedError, signature


@st.composite
def arguments(draw_: st.DrawFn, /, function: Any, dtype: str, **strategies: Any) -> tuple[Any, ...]:
    """What the examiner draws for a function."""
    its = signature([function], strategies)
    pool = draw.sizes(its)
    first, *sources = draw_(draw.source(its, pool))
    known = draw.one_case(first, pool).sizes
    return draw.arguments(its, known, np.dtype(dtype), sources, draw_)


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
    x, kernel, labels, rate, weights = data.draw(arguments(everything, dtype))
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

    @given(arguments(rule, "float32"))
    def check(drawn: tuple[Array, ...]) -> None:
        x = drawn[0].astype(np.float64)
        for test, end in (
            (np.greater, interval.gt),
            (np.greater_equal, interval.ge),
            (np.less, interval.lt),
            (np.less_equal, interval.le),
        ):
            assert end is None or np.all(test(x, end))  # type: ignore[call-overload]

    check()


@pytest.mark.parametrize("name", draw.LAYOUTS)
def test_a_layout_changes_no_number(name: str) -> None:
    x = np.arange(6.0).reshape(2, 3)
    laid_out = draw.LAYOUTS[name](x)
    np.testing.assert_array_equal(laid_out, x)
    assert (name == "C") == laid_out.flags.c_contiguous


def test_shapes_come_from_a_small_pool_that_has_the_hard_ones() -> None:
    pool = [case.sizes for case in draw.sizes(signature([everything], {}))]
    assert len(pool) <= 6
    assert {known["*batch"] for known in pool} >= {(), (0,), (1,)}
    assert {known["in"] for known in pool} >= {1, 3}


def test_values_saturate_and_tie() -> None:
    every = bytes(np.indices((256, 256), np.uint8).transpose(1, 2, 0).ravel())
    drawn = values.numbers(
        values.Bytes(b"\x40" + every), (2**16,), -np.inf, np.inf, np.dtype(float)
    )
    sizes = np.abs(drawn)
    assert np.any(sizes > 300)
    assert np.any(sizes >= 1e30)
    assert np.any((sizes > 0) & (sizes < 1e-29))
    assert np.any(sizes == 0)


def lambda_like(x: Float[Array, "*shape"]) -> Any: ...


class Layer(TypedDict):
    kernel: Float[Array, "in out"]
    bias: Annotated[Float[Array, " out"], Ge(0)]


class Model(TypedDict):
    first: Layer
    second: tuple[Layer, float]


def on_a_model(
    params: Model,
    x: Float[Array, "#batch in"],
    mask: Bool[Array, " out"],
    twice: Float[Array, "2*out+1"],
    power: int,
    flag: bool,
    *,
    axis: Annotated[int, OneOf(0, 1)] = 0,
    eps: float = 1e-5,
) -> Any: ...


@given(st.data())
def test_trees_numbers_and_sums_of_dimensions(data: st.DataObject) -> None:
    its = signature([on_a_model], {})
    params, x, mask, twice, power, flag = data.draw(arguments(on_a_model, "float32"))
    kernel, (layer, number) = params["first"]["kernel"], params["second"]
    assert kernel.shape == layer["kernel"].shape
    assert kernel.shape[0] == x.shape[1]
    assert mask.shape == kernel.shape[1:]
    assert mask.dtype == bool
    assert twice.shape == (2 * kernel.shape[1] + 1,)
    assert np.all(params["first"]["bias"] >= 0)
    assert [type(n) for n in (number, power, flag)] == [float, int, bool]
    assert float(np.float32(number)) == number
    assert set(its.static) == {"axis"}
    assert data.draw(its.static["axis"]) in (0, 1)


def test_anonymous_dimensions_of_one_array_differ() -> None:
    def rule(x: Float[Array, "_ _"]) -> Any: ...

    its = signature([rule], {})
    shapes = {draw.shape(its.positional["x"], known) for known, _ in draw.sizes(its)}
    assert any(rows != columns for rows, columns in shapes)


@given(st.data())
def test_a_strategy_says_what_annotations_cannot(data: st.DataObject) -> None:
    def rule(x: Float[Array, " n"], params: dict[str, Any]) -> Any: ...

    sorted_ = st.lists(st.floats(0, 1), min_size=3, max_size=3).map(lambda v: np.sort(v))
    knots = st.fixed_dictionaries({"knots": sorted_})
    _, params = data.draw(arguments(rule, "float32", params=knots))
    assert params["knots"].dtype == np.float32
    assert np.all(np.diff(params["knots"]) >= 0)


@given(st.data())
def test_a_strategy_may_stand_in_the_annotation(data: st.DataObject) -> None:
    def rule(x: Annotated[Array, st.just(np.ones(2))]) -> Any: ...

    (x,) = data.draw(arguments(rule, "float64"))
    np.testing.assert_array_equal(x, 1)


def test_the_dtypes_are_those_that_all_arguments_admit() -> None:
    def single(x: Float32[Array, " n"], scale: float) -> Any: ...
    def number(x: float) -> Any: ...

    assert draw.dtypes(signature([single], {})) == ("float32",)
    assert draw.dtypes(signature([number], {})) == ("float64",)
    assert draw.dtypes(signature([lambda_like], {}))[:2] == ("float32", "float64")


def unannotated(x: Float[Array, " n"], scale) -> Any: ...  # type: ignore[no-untyped-def]
def bare(params: dict[str, Any]) -> Any: ...
def needs(x: Float[Array, " n"], *, axis: int) -> Any: ...
def stray(x: Annotated[Int[Array, " n"], Index("m")]) -> Any: ...


@pytest.mark.parametrize(
    ("function", "message"),
    [
        (unannotated, "unannotated: argument 'scale' has no annotation.*scale: Float.*strategy"),
        (bare, "bare: argument 'params' is annotated with dict.*or give a strategy"),
        (needs, "needs: keyword-only argument 'axis' has no default"),
        (stray, r"stray: x has Index\('m'\), which is no dimension of an argument; there are n"),
    ],
)
def test_what_cannot_be_drawn_is_named(function: Any, message: str) -> None:
    with pytest.raises(UnspecifiedError, match=message):
        signature([function], {})


def window_sums(
    x: Float[Array, "*batch n"], kernel: Float[Array, " width"], *, stride: int, pad: int = 0
) -> Any: ...


def test_cases_say_which_sizes_and_keywords_go_together() -> None:
    cases: list[dict[str, Any]] = [
        {"batch": (2,), "n": 3, "width": 2, "stride": 1},
        {"n": 5, "width": 4, "stride": 2},
    ]
    its = signature([window_sums], {}, cases)
    assert its.static == {}
    pool = draw.sizes(its)
    assert {(case.sizes["n"], case.sizes["width"], case.static["stride"]) for case in pool} == {
        (3, 2, 1),
        (5, 4, 2),
    }
    assert {case.sizes["*batch"] for case in pool if case.sizes["n"] == 3} == {(2,)}
    assert len({case.sizes["*batch"] for case in pool if case.sizes["n"] == 5}) > 1


def test_a_case_that_names_nothing_known_is_refused() -> None:
    with pytest.raises(UnspecifiedError, match=r"a case names m, .*\(batch, n, width\).*\(pad, st"):
        signature([window_sums], {}, [{"m": 3, "stride": 1}])
    with pytest.raises(UnspecifiedError, match=r"'stride' has no default.*window_sums_cases"):
        signature([window_sums], {}, [{"n": 3, "stride": 1}, {"n": 2}])


def test_a_strategy_for_no_argument_is_refused() -> None:
    with pytest.raises(UnspecifiedError, match="lambda_like has no argument y; it has x"):
        signature([lambda_like], {"y": st.none()})
