"""Errors of elementwise rules over many inputs at once, in ULPs of the exact result."""

from typing import Any, NamedTuple

import flint
import jax
import numpy as np

from purenn.typing import Array
from purenn.verify import Rule, balls, exact, judge, oracles, rivals
from purenn.verify.examples import Example


class Errors(NamedTuple):
    value: float
    derivative: float


def inputs(dtype: str, seed: int) -> Array:
    """Ordinary, saturating, tiny and huge numbers, and numbers next to where a derivative is 0."""
    rng = np.random.default_rng(seed)
    parts: list[Array] = [rng.normal(size=300) * scale for scale in (0.1, 1, 3, 12)]
    parts += [rng.uniform(-end, end, 300) for end in (40, 110, 750)]
    parts += [rng.choice([-1, 1], 200) * 10 ** rng.uniform(-30, 30, 200)]
    for root in (-1.2784645427610738, -0.7517915246935645, -0.7524614220710163):
        parts += [root + rng.choice([-1, 1], 60) * 10 ** rng.uniform(-17, -0.5, 60)]
        parts += [np.array([root])]
    return np.asarray(np.concatenate(parts), dtype)


def measure(
    rule: Rule,
    dtype: str,
    device: jax.Device,
    static: tuple[tuple[str, Any], ...] = (),
    seed: int = 0,
) -> tuple[Errors, Errors]:
    """The worst errors of a rule of one argument, and those of JAX's autodiff."""
    x = inputs(dtype, seed)
    dy = np.asarray(np.random.default_rng(seed + 1).normal(size=x.shape), dtype)
    example = Example(("x",), (x,), static, (dy,), dtype)
    assert rule.reference is not None
    trace = jax.make_jaxpr(example.structure.flat(rule.reference))(x.astype(np.float64))
    (truth,) = exact.evaluate(trace, [x], [np.ones((1, *x.shape))])
    assert truth.tangents is not None
    with flint.ctx.workprec(256):
        cotangent = balls.from_floats(dy) * truth.tangents[0]
    with np.errstate(over="ignore", under="ignore"):
        y, pullback = rule.f_vjp(x, **dict(static))
        ours = Errors(_worst(y, truth.value), _worst(pullback(dy)[0], cotangent))
    oracle = oracles.Oracle(rule.reference, "exact")
    answer = rivals.autodiff(oracle, example, device)
    theirs = Errors(_worst(answer.value[0], truth.value), _worst(answer.cotangents[0], cotangent))
    return ours, theirs


def _worst(x: Array | None, truth: balls.Balls) -> float:
    """Over the results that are normal numbers."""
    assert x is not None
    size = np.abs(balls.nearest(truth))
    normal = (size >= np.finfo(x.dtype).tiny) & (size <= np.finfo(x.dtype).max)
    return float(np.max(judge.errors(x, truth, size)[normal]))
