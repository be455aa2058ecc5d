from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import pytest
from flint import arb, ctx
from hypothesis import example, given, settings
from hypothesis import strategies as st

from purenn.typing import Array
from purenn.verify import numeric
from purenn.verify.numeric import jacobians

Function = Callable[[Array], Any]


class Case(NamedTuple):
    f: Function
    derivative: Callable[[arb], arb]
    low: float = -np.inf
    kinks: tuple[float, ...] = ()


def one(x: arb) -> arb:
    return arb(1)


def zero(x: arb) -> arb:
    return arb(0)


CASES = {
    "sin": Case(np.sin, lambda x: x.cos()),
    "exp": Case(np.exp, lambda x: x.exp()),
    "tanh": Case(np.tanh, lambda x: 1 / x.cosh() ** 2),
    "power": Case(lambda x: x**2.5, lambda x: arb("2.5") * x ** arb("1.5"), low=0),
    "reciprocal": Case(lambda x: 1 / x, lambda x: -1 / x**2, kinks=(0,)),
    "log": Case(np.log, lambda x: 1 / x, low=0),
    "sqrt": Case(np.sqrt, lambda x: 1 / (2 * x.sqrt()), low=0),
    "sigmoid": Case(lambda x: 1 / (1 + np.exp(-x)), lambda x: 1 / (2 + x.exp() + (-x).exp())),
    "softplus": Case(lambda x: np.log(1 + np.exp(x)), lambda x: 1 / (1 + (-x).exp())),
    "abs": Case(np.abs, lambda x: x.sgn(), kinks=(0,)),
    "relu": Case(lambda x: np.maximum(x, 0), lambda x: (x.sgn() + 1) / 2, kinks=(0,)),
    "huber": Case(
        lambda x: np.where(np.abs(x) <= 1, x * x / 2, np.abs(x) - 0.5),
        lambda x: x if abs(x) <= 1 else x.sgn(),
    ),
    "larger of two": Case(
        lambda x: np.maximum(x * x, 2 * x), lambda x: 2 * x if x < 0 or x > 2 else arb(2),
        kinks=(0, 2),
    ),
    "constant": Case(lambda x: 0 * x + 2.7, zero),
    "quartic": Case(lambda x: x**4, lambda x: 4 * x**3),
    "cancelling": Case(lambda x: (np.exp(x / 8) + 1e8) - 1e8, lambda x: (x / 8).exp() / 8, low=-60),
    "textbook tanh": Case(
        lambda x: (np.exp(x) - np.exp(-x)) / (np.exp(x) + np.exp(-x)),
        lambda x: 1 / x.cosh() ** 2,
    ),
}  # fmt: skip
OSCILLATING = {
    str(f): Case(lambda x, f=f: np.sin(f * x), lambda x, f=f: f * (arb(f) * x).cos())  # type: ignore[misc]
    for f in (1e3, 1e6, 2**20 * np.pi, 1e10, 1e14)
}
PIECEWISE = {
    "floor": Case(np.floor, zero),
    "sign": Case(np.sign, zero, kinks=(0,)),
    "fine stairs": Case(lambda x: np.floor(64 * x) / 64, zero),
}
WIDELY = st.one_of(
    st.floats(-8, 8),
    st.floats(-8, 8, width=32),
    st.sampled_from([0.0, 1e30, -1e30, 1e-30, -1e-30, 1e5, -1e-5, 1e-8, 40.0, -300.0]),
    st.builds(
        lambda at, by, e: at + by * 10.0**e,
        st.sampled_from([0.0, 1.0, -1.0, 2.0]),
        st.floats(-1, 1),
        st.integers(-14, 0),
    ),
)
SCALES = st.sampled_from([1.0, 1e-20, 1e20])


def only_real(f: Function) -> Function:
    def real(x: Array) -> Any:
        if np.iscomplexobj(x):
            raise TypeError("no complex numbers")
        return f(x)

    return real


def in_single(f: Function) -> Function:
    return lambda x: f(x.astype(np.float32))


def in_single_and_widened(f: Function) -> Function:
    return lambda x: 2 / 3 * np.asarray(f(x.astype(np.float32)), np.float64)


def at(f: Function, x: Any) -> tuple[Array, Array]:
    """The estimate and its error for one function of one array."""
    result = jacobians(lambda xs: [f(xs[0])], [np.asarray(x, np.float64)])
    ((estimate,),), ((error,),) = result.estimates, result.errors
    return estimate, error


def holds(case: Case, x: float, estimate: Array, error: Array, scale: float) -> bool:
    if np.isinf(error):
        return True
    with ctx.workprec(400):
        truth = case.derivative(arb(x)) * arb(scale)
        off = abs(arb(float(estimate)) - truth)
        # Nothing is asked below what a float64 or a float32 calls 0.
        return bool(off.lower() <= arb(float(error)) + arb(scale) * arb("1e-25") + arb("1e-300"))


@given(st.sampled_from(sorted(CASES)), WIDELY, SCALES, st.booleans())
def test_the_truth_is_in_the_interval(name: str, x: float, scale: float, real: bool) -> None:
    case = CASES[name]
    if x <= case.low or x in case.kinks:
        return
    f: Function = lambda x: scale * case.f(x)  # noqa: E731
    estimate, error = at(only_real(f) if real else f, x)
    assert holds(case, x, estimate, error, scale)


@given(
    st.sampled_from(sorted(set(CASES) - {"cancelling"})),
    st.one_of(st.floats(-8, 8), st.floats(-8, 8, width=32)),
    st.sampled_from([(in_single, 1.0), (in_single_and_widened, 2 / 3)]),
)
def test_the_truth_is_in_the_interval_of_what_computes_in_float32(
    name: str, x: float, how: tuple[Callable[[Function], Function], float]
) -> None:
    case = CASES[name]
    if abs(x) < 1e-3 or x <= case.low or any(abs(x - kink) < 1e-3 for kink in case.kinks):
        return
    estimate, error = at(how[0](case.f), x)
    assert holds(case, x, estimate, error, how[1])


@given(st.sampled_from(sorted(OSCILLATING)), st.floats(-8, 8), st.booleans())
def test_the_truth_is_in_the_interval_of_what_oscillates(name: str, x: float, real: bool) -> None:
    case = OSCILLATING[name]
    estimate, error = at(only_real(case.f) if real else case.f, x)
    assert holds(case, x, estimate, error, 1.0)


@given(st.sampled_from(sorted(PIECEWISE)), st.floats(-8, 8), SCALES)
def test_the_truth_is_in_the_interval_of_what_is_piecewise_constant(
    name: str, x: float, scale: float
) -> None:
    case = PIECEWISE[name]
    if float(64 * x).is_integer():
        return
    assert holds(case, x, *at(lambda x: scale * case.f(x), x), scale)


def softmax(x: Array) -> Array:
    e = np.exp(x - np.max(x.real))
    return np.asarray(e / np.sum(e))


def logsumexp(x: Array) -> Any:
    return np.log(np.sum(np.exp(x)))


def softmax_jacobian(x: Array) -> Array:
    p = softmax(x)
    return np.asarray(np.diag(p) - np.outer(p, p))


KERNEL = np.array([[1.0, 0.5, -0.2], [0.3, -1.0, 2.0], [0.7, 0.1, 0.4]])
VECTORS: dict[str, tuple[Function, Callable[[Array], Array]]] = {
    "sum": (np.sum, np.ones_like),
    "mean": (np.mean, lambda x: np.full_like(x, 1 / 3)),
    "product": (lambda x: x @ KERNEL, lambda x: KERNEL),
    "softmax": (softmax, softmax_jacobian),
    "logsumexp": (logsumexp, softmax),
    "squares": (lambda x: x**2, lambda x: np.diag(2 * x)),
    "sin": (np.sin, lambda x: np.diag(np.cos(x))),
    "exp": (np.exp, lambda x: np.diag(np.exp(x))),
    "tanh": (np.tanh, lambda x: np.diag(1 / np.cosh(x) ** 2)),
    "power": (lambda x: x**2.5, lambda x: np.diag(2.5 * x**1.5)),
    "log": (np.log, lambda x: np.diag(1 / x)),
    "reciprocal": (lambda x: 1 / x, lambda x: np.diag(-1 / x**2)),
}


@pytest.mark.parametrize("name", VECTORS)
@settings(max_examples=25)
@given(x=st.lists(st.floats(0.5, 1.25), min_size=3, max_size=3).map(np.array))
@example(x=np.ones(3))
def test_a_smooth_function_has_a_sharp_interval(name: str, x: Array) -> None:
    f, jacobian = VECTORS[name]
    truth = jacobian(x)
    largest = np.max(np.abs(truth))
    for function, most in ((f, 1e-13), (only_real(f), 1e-9)):
        estimate, error = at(function, x)
        assert np.all(np.abs(estimate - truth) <= error + 1e-15 * largest)
        assert np.max(error) <= most * largest


@given(st.floats(0.01, 3))
def test_a_kink_has_the_hull_of_its_one_sided_derivatives(slope: float) -> None:
    for f, low, high in (
        (np.abs, -1.0, 1.0),
        (lambda x: np.maximum(x, 0), 0.0, 1.0),
        (lambda x: np.maximum(slope * x, -2 * x), -2.0, slope),
        (lambda x: np.sin(x) + slope * np.abs(x), 1 - slope, 1 + slope),
    ):
        estimate, error = at(f, 0.0)
        np.testing.assert_allclose([estimate - error, estimate + error], [low, high], atol=1e-7)
        assert estimate - error <= low
        assert high <= estimate + error


@given(st.floats(-9, -0.5).map(lambda e: 10.0**e), st.sampled_from([-1, 1]))
def test_near_a_kink_is_not_at_it(distance: float, side: int) -> None:
    estimate, error = at(lambda x: np.maximum(x, 0), side * distance)
    assert abs(estimate - (side > 0)) <= error <= 1e-5


@pytest.mark.parametrize(
    ("f", "x"),
    [
        (lambda x: (x >= 0.5) * 1.0, 0.5),
        (lambda x: x + 1e-3 * (x.real > 0.25), 0.25),
        (np.floor, 3.0),
        (np.sqrt, 0.0),
        (np.cbrt, 0.0),
        (lambda x: np.tanh(1e13 * x), 0.0),
        (lambda x: x * np.log(np.abs(x) + (x == 0)), 0.0),
        (np.sin, 1e30),
        (lambda x: np.random.default_rng().random(), 1.0),
        (np.log, -1.0),
        (lambda x: x, np.inf),
        (lambda x: x, np.nan),
        (lambda x: np.where(x == 1, x, np.nan), 1.0),
    ],
)
def test_where_nothing_can_be_said_the_error_is_infinite(f: Function, x: float) -> None:
    estimate, error = at(f, x)
    assert np.isfinite(estimate)
    assert error == np.inf


def beyond_1(x: Array) -> Array:
    if x < 1:
        raise ValueError("below 1")
    return x**2


@pytest.mark.parametrize(
    ("f", "x", "derivative"),
    [
        (lambda x: x**1.5, 0.0, 0.0),
        (lambda x: np.where(x >= 1, x**2, np.nan), 1.0, 2.0),
        (lambda x: np.where(x <= 1, x**2, np.inf), 1.0, 2.0),
        (beyond_1, 1.0, 2.0),
        (lambda x: np.exp(np.sqrt(x) * x), 0.0, 0.0),
    ],
)
def test_at_the_edge_of_the_domain_it_is_one_sided(
    f: Function, x: float, derivative: float
) -> None:
    estimate, error = at(f, x)
    assert abs(estimate - derivative) <= error <= 1e-3


@pytest.mark.parametrize(
    ("f", "derivative"),
    [
        (np.abs, 1.0),
        (lambda x: x.real**2, 2.0),
        (lambda x: x * x.conj(), 2.0),
        (lambda x: np.where(x.imag == 0, x**2, 1.0), 2.0),
        (lambda x: np.where(x.imag == 0, x**2, 7 * x), 2.0),
        (lambda x: np.maximum(x, x.real) ** 2, 2.0),
        (lambda x: x.astype(np.float64) ** 2, 2.0),
    ],
)
def test_what_breaks_a_complex_step_is_not_believed(f: Function, derivative: float) -> None:
    def real(x: Array) -> Any:
        y = f(x)
        return y if np.iscomplexobj(x) else np.real(y)

    estimate, error = at(real, 1.0)
    assert abs(estimate - derivative) <= error <= 1e-9


def test_shapes_of_several_arrays() -> None:
    xs = [np.array(2.0), np.zeros((0, 3)), np.array([[1.0, 2.0]])]
    result = jacobians(
        lambda xs: [xs[0] * xs[2], np.sum(xs[1], axis=0), np.float32(1), [0 * xs[0], 3]], xs
    )
    shapes: list[tuple[int, ...]] = [(1, 2), (3,), (), (2,)]
    assert [y.shape for y in result.values] == shapes
    for x, estimates, errors in zip(xs, result.estimates, result.errors, strict=True):
        for shape, estimate, error in zip(shapes, estimates, errors, strict=True):
            assert estimate.shape == error.shape == (*x.shape, *shape)
            assert estimate.dtype == error.dtype == np.float64
    np.testing.assert_allclose(result.estimates[0][0], [[1, 2]], rtol=1e-13)
    np.testing.assert_allclose(result.estimates[2][0][0, :, 0], 2 * np.eye(2), atol=1e-13)
    assert jacobians(lambda xs: [], [np.ones(2)]).estimates == [[]]
    assert jacobians(lambda xs: [np.ones(2)], []).estimates == []


def test_the_function_is_called_with_copies_and_not_often() -> None:
    calls = []

    def f(xs: list[Array]) -> list[Array]:
        calls.append(1)
        y = xs[0] ** 2
        xs[0][...] = 7
        return [y]

    x = np.array([0.3, 1e-9, 1e-4, 1e30])
    x.setflags(write=False)
    result = jacobians(f, [x])
    np.testing.assert_allclose(result.estimates[0][0], np.diag(2 * x), rtol=1e-12, atol=1e-15)
    assert len(calls) <= 45 * x.size


def test_complex_results_are_refused() -> None:
    with pytest.raises(TypeError, match="f returned complex numbers for real ones"):
        at(lambda x: x * 1j, 1.0)


@given(st.floats(0.1, 10), st.integers(-60, 60))
@example(1.0, 0)
def test_units_do_not_matter(x: float, exponent: int) -> None:
    unit = 2.0**exponent
    estimate, error = at(lambda x: unit * np.exp(-x), x)
    plain, plain_error = at(lambda x: np.exp(-x), x)
    np.testing.assert_allclose(
        [estimate / unit, error / unit], [plain, plain_error], rtol=1e-9, atol=1e-120
    )


def test_what_float32_rounds_is_seen() -> None:
    def fine(f: Function, x: float) -> Any:
        samples = numeric.sample(lambda h: [f(np.array(x + h))], np.ravel(f(np.array(x))), abs(x))
        return samples.fine[0]

    for x in (0.0, 0.3, 1e-30, 1e30):
        assert fine(lambda x: 2 * x, x)
        assert not fine(in_single_and_widened(lambda x: 2 * x), x)
