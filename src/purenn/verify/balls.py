"""Arrays of balls: a midpoint and a proven bound on the error each (Arb, through python-flint)."""

from collections.abc import Callable
from functools import cache
from typing import Any, TypeAlias

import flint
import jax
import numpy as np
from flint import arb

from purenn.typing import Array

Balls: TypeAlias = Any
"""An object array of ``flint.arb``."""

MOST_BITS = 1 << 13


def lift(function: Callable[..., Any], inputs: int = 1) -> Callable[..., Balls]:
    """``function`` of single balls as a function of arrays of them."""
    lifted = np.frompyfunc(function, inputs, 1)
    return lambda *xs: np.asarray(lifted(*xs), object)


_to_ball = lift(lambda x: arb(x.item() if isinstance(x, np.generic) else x))


def from_integers(x: Array) -> Balls:
    """Integers or booleans as balls of radius 0."""
    return _to_ball(x.astype(object))


def from_floats(x: Array) -> Balls:
    """Floats as balls of radius 0."""
    return _to_ball(x.astype(np.float64))


def zeros(shape: tuple[int, ...]) -> Balls:
    """Balls that are 0."""
    return np.full(shape, arb(0), object)


def is_number(x: Array) -> bool:
    """Whether ``x`` holds floats or balls: what has a derivative."""
    return x.dtype == object or _is_floating(x.dtype)


@cache
def _is_floating(dtype: Any) -> bool:
    return bool(jax.numpy.issubdtype(dtype, np.floating))


def absolute(x: Balls) -> Balls:
    """|x|; an array, also where NumPy gives the bare ball."""
    return np.asarray(abs(x), object)


def nearest(balls: Balls) -> Array:
    """The midpoints as float64, ±∞ beyond its range."""
    balls = np.asarray(balls, object)
    return np.array([float(ball.mid()) for ball in balls.flat]).reshape(balls.shape)


def least(balls: Balls) -> Array:
    """The least |number| in each ball, as float64."""
    balls = np.asarray(balls, object)
    found = [float(abs(ball).lower().max(arb(0))) for ball in balls.flat]
    return np.array(found).reshape(balls.shape)


def distance(x: Array, balls: Balls) -> Array:
    """How far each number is outside its ball, as float64; ∞ where the number is not finite."""

    def outside(number: float, ball: arb) -> float:
        if not np.isfinite(number):
            return np.inf
        return float(abs(arb(number) - ball).lower().max(arb(0)))

    x, balls = np.asarray(x), np.asarray(balls, object)
    with flint.ctx.workprec(MOST_BITS):
        gaps = [outside(float(a), ball) for a, ball in zip(x.flat, balls.flat, strict=True)]
    return np.array(gaps).reshape(x.shape)
