"""Moving averages of g and g², the step that Adam and its kin make of them, and signs."""

import math
from functools import lru_cache
from typing import Any, NamedTuple

import numpy as np

from purenn.contract import check_number
from purenn.typing import Array


class Weights(NamedTuple):
    """The step is scale·m̂/(√(v + inside) + outside), with m̂ = m, or g + ahead·m if ``ahead``."""

    scale: float
    ahead: float | None
    inside: float
    outside: float


def check_moments(
    name: str, b1: float | int, b2: float | int, eps: float | int, eps_root: float | int = 0.0
) -> tuple[float, float, float, float]:
    """Refuse decays outside of [0, 1), and an ε below 0."""
    return (
        check_number(name, "b1", b1, ge=0, lt=1),
        check_number(name, "b2", b2, ge=0, lt=1),
        check_number(name, "eps", eps, ge=0),
        check_number(name, "eps_root", eps_root, ge=0),
    )


def corrected(
    count: int,
    b1: float,
    b2: float,
    eps: float,
    eps_root: float = 0.0,
    *,
    nesterov: bool = False,
    eps_before_correction: bool = False,
) -> Weights:
    """The weights of m̂/(√(v̂ + eps_root) + eps); where β = 0 nothing is corrected.

    With c = √(1 − β₂ᵗ) the root is √(v + c²·eps_root)/c, so that c moves into the other weights.
    Nesterov's m̂ is β₁m/(1 − β₁ᵗ⁺¹) + (1 − β₁)g/(1 − β₁ᵗ).
    """
    c = math.sqrt(1 - b2**count)
    scale = c / (1 - b1**count)
    ahead = b1 * (1 - b1**count) / ((1 - b1) * (1 - b1 ** (count + 1)))
    return Weights(
        scale=(1 - b1) * scale if nesterov else scale,
        ahead=ahead if nesterov else None,
        inside=c * c * eps_root,
        outside=eps if eps_before_correction else c * eps,
    )


def average(x: Array, beta: float, old: Array, new: Array, spare: Array) -> None:
    """new = β·old + (1 − β)·x; ``spare`` may be ``x``."""
    np.multiply(x, _as_array(1 - beta, x.dtype), spare)
    np.multiply(old, _as_array(beta, x.dtype), new)
    np.add(new, spare, new)


@lru_cache(maxsize=64)
def _as_array(number: float, dtype: Any) -> Array:
    """NumPy takes twice as long with a number that is no array, where parameters are few."""
    return np.array(number, dtype)


def average_of_squares(x: Array, beta: float, old: Array, new: Array, spare: Array) -> None:
    """new = β·old + (1 − β)·x²; ``spare`` may be ``x``."""
    np.multiply(x, x, spare)
    average(spare, beta, old, new, spare)


def root(x: Array, eps: float, eps_in_sqrt: bool, out: Array) -> None:
    """√(x + ε) or √x + ε; ``out`` may be ``x``."""
    if eps_in_sqrt:
        np.add(x, eps, out=out)
        np.sqrt(out, out=out)
    else:
        np.sqrt(x, out=out)
        np.add(out, eps, out=out)


def step(m: Array, g: Array, v: Array, weights: Weights, u: Array, t: Array) -> Any:
    """What the weights say, but for their scale; ``u`` and ``t`` are written to."""
    if weights.inside:
        np.add(v, weights.inside, out=u)
    np.sqrt(u if weights.inside else v, out=u)
    np.add(u, weights.outside, out=u)
    if weights.ahead is None:
        return np.divide(m, u, out=u)
    np.multiply(m, weights.ahead, out=t)
    np.add(t, g, out=t)
    return np.divide(t, u, out=u)


def sign(x: Array, out: Array) -> Any:
    """What np.sign gives, which takes ten times as long where signs are random."""
    largest = float(np.finfo(x.dtype).max)
    np.multiply(x, largest, out=out)
    np.multiply(out, largest, out=out)  # once more, for what was subnormal
    return np.clip(out, -1, 1, out=out)
