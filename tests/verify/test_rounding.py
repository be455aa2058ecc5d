from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from purenn.typing import Array
from purenn.verify import rounding


def runs(function: Callable[[Any], Any], x: Array) -> Array:
    trace = jax.make_jaxpr(function)(x)
    rng = np.random.default_rng(0)
    run = jax.jit(lambda x, directions: rounding.run(trace, [x], directions)[0])
    return np.asarray([run(x, rounding.directions(rng)) for _ in range(20)])


def test_what_is_rounded_moves_by_a_unit_in_the_last_place() -> None:
    x = np.linspace(0.1, 3, 50, dtype=np.float32)
    moved = runs(jnp.exp, x) / np.exp(x.astype(np.float64)) - 1
    assert np.all(np.abs(moved) < 2.1 * np.finfo(np.float32).eps)
    assert np.all(np.ptp(moved, axis=0) > 0)


def test_what_is_exact_stays() -> None:
    x = np.array([0.0, 1.5, -3.0, 1e30], np.float32)
    for exact in (
        lambda x: x + 0,
        lambda x: x * 1,
        lambda x: -x,
        lambda x: jnp.maximum(x, 0),
        lambda x: x - x,
        lambda x: x[::-1].reshape(2, 2),
    ):
        found = runs(exact, x)
        assert np.all(found == found[0])


def test_luck_in_saturation_is_taken_away() -> None:
    x = np.array([9.5], np.float32)  # jnp.tanh is 1 there, so that 1 − tanh² is 0
    assert 1 - jnp.tanh(x) ** 2 == 0
    assert np.max(np.abs(runs(lambda x: 1 - jnp.tanh(x) ** 2, x))) > 1e-8


def test_calls_and_loops_are_gone_through() -> None:
    x = np.ones(3, np.float32)
    found = runs(
        lambda x: jax.lax.scan(lambda c, y: (c + y, c), 0.1, x)[0] + jax.jit(jnp.exp)(x), x
    )
    assert found.shape == (20, 3)
    assert np.ptp(found) > 0


def test_a_function_that_has_arrived_at_its_limit_stays() -> None:
    x = np.array([30.0, 1e30], np.float32)
    found = runs(jnp.tanh, x)
    assert np.all(found == 1)
