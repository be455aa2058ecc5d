"""A schedule beside another telling of it, at every step that matters."""

import inspect
from collections.abc import Iterable
from typing import Any

import hypothesis.strategies as st
import jax
import numpy as np
import optax
import optax.contrib

from purenn.schedules import Schedule

VALUES = st.just(0.0) | st.floats(1e-6, 1e3) | st.floats(-1e3, -1e-6)
FACTORS = st.floats(1e-3, 1.5)
POWERS = st.sampled_from([1.0, 2.0, 3.0]) | st.floats(0.1, 4)
LENGTHS = st.integers(1, 1000)


def arguments(function: Any) -> list[tuple[str, Any]]:
    """Names and defaults, but for what is keyword-only."""
    return [
        (name, parameter.default)
        for name, parameter in inspect.signature(function).parameters.items()
        if parameter.kind is not inspect.Parameter.KEYWORD_ONLY
    ]


def of_optax(name: str) -> Any:
    """What has this name there."""
    return getattr(optax, name, None) or getattr(optax.contrib, name)


def assert_agrees(
    ours: Schedule, theirs: Any, boundaries: Iterable[int], *, jit: bool = True
) -> None:
    """Both give the same before, at and after each boundary, and in between.

    The values are compared relative to themselves, up to the rounding of the largest: a small one
    may be a difference of two others. The steps are int64, as JAX takes t/T of an int32 in float32.
    Compiled it is t·(1/T), rounded twice: ``jit`` is for what does not take its floor, or the root
    of its distance from 1; the others are compared operation by operation.
    """
    marks = [0, *boundaries]
    near = {mark + shift for mark in marks for shift in (-1, 0, 1)}
    between = {(a + b) // 2 for a in marks for b in marks}
    steps = np.array(sorted(step for step in near | between if step >= 0), np.int64)
    steps = np.resize(steps, 32)  # one shape, so that JAX compiles less
    got = [ours(step) for step in steps]
    assert {type(value) for value in got} == {float}
    assert got == [ours(int(step)) for step in steps]
    if jit:
        expected = jax.vmap(jax.jit(theirs))(steps)
        assert expected.dtype == np.float64
    else:
        expected = np.array([theirs(int(step)) for step in steps])
    np.testing.assert_allclose(got, expected, 1e-12, 1e-15 * np.abs(expected).max())
