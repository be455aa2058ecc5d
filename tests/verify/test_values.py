import numpy as np
import pytest

from purenn.typing import Array
from purenn.verify import values
from tests.verify.wrong_rules import X

_LIMIT = 60.25


def beyond_a_limit(x: X) -> object:
    def inner(y: Array) -> Array:
        return np.where(y > 17.5, y, x)

    return inner(x) if x.size > 7 else np.minimum(x, _LIMIT)


def test_the_numbers_in_a_function_are_found() -> None:
    assert {17.5, 60.25, 7.0} <= set(values.constants([None, beyond_a_limit]))
    assert values.constants([np.tanh, len]) == ()


def test_numbers_stand_at_what_is_written_and_beyond() -> None:
    every = values.table(-np.inf, np.inf, np.dtype(np.float32), (60.25,))
    assert np.any(every == 60.25)
    assert np.any(every == -60.25)
    assert np.any((every > 60.25) & (every < 65))


@pytest.mark.parametrize(
    ("low", "high"), [(-np.inf, np.inf), (0, np.inf), (-3, -1), (0.1, 0.1), (1e6, 2e6)]
)
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_numbers_keep_to_their_bounds_and_dtype(low: float, high: float, dtype: str) -> None:
    low, high = (float(np.dtype(dtype).type(end)) for end in (low, high))
    every = values.table(low, high, np.dtype(dtype), (2.5,))
    assert every.dtype == dtype
    assert np.all(np.isfinite(every))
    assert np.all((every >= low) & (every <= high))


def test_what_one_part_is_read_for_moves_nothing_in_another() -> None:
    first, second = values.Bytes(bytes(range(10))).parts(2)
    assert second.take((2,)).tolist() == [1, 3]
    first.take((4,))
    assert second.take((3,)).tolist() == [5, 7, 9]
    assert second.take((2,)).tolist() == [1, 3]  # anew


def test_small_bytes_are_plain_numbers() -> None:
    plain = values.numbers(values.Bytes(bytes(9)), (4,), -np.inf, np.inf, np.dtype(np.float32))
    np.testing.assert_array_equal(plain, 0)
    one = values.numbers(values.Bytes(b"\0\0\1"), (), -np.inf, np.inf, np.dtype(np.float32))
    assert one == 1


def test_infinities_only_where_they_are_admitted() -> None:
    x = np.zeros(1000)
    source = bytes(range(256))
    told = values.not_finite(values.Bytes(source), x, 0.0, np.inf)
    assert set(told.tolist()) == {0.0, np.inf}
    everything = values.not_finite(values.Bytes(source), x, -np.inf, np.inf)
    assert np.isnan(everything).any()
    assert values.not_finite(values.Bytes(source), x, 0.0, 1.0) is x
