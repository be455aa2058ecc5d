"""Gradient descent, with or without momentum, and the averages that momentum is made of."""

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import DTypeLike

from purenn.contract import check_floating_dtype, check_number
from purenn.errors import DomainError
from purenn.optimizers._common import (
    ScalarOrSchedule,
    check_bools,
    check_state,
    counted,
    full_like,
    steps,
    zero,
)
from purenn.optimizers._moments import average
from purenn.optimizers._sweep import Blocks, Sweep
from purenn.optimizers.base import GradientTransformation, chain, identity, swept
from purenn.optimizers.scaling import scale_by_learning_rate
from purenn.tree import Tree
from purenn.typing import Array


class TraceState(NamedTuple):
    """v: a decaying sum of what has come in."""

    trace: Tree


class EmaState(NamedTuple):
    """The number of steps (int32), and the moving average of what has come in."""

    count: Array  # type: ignore[assignment]
    ema: Tree


def trace(
    decay: float | int, nesterov: bool = False, accumulator_dtype: DTypeLike | None = None
) -> GradientTransformation:
    """A decaying sum: v ← g + μv, and v goes on; or g + μv of the new v, with ``nesterov``.

    Args:
        decay: μ in [0, 1).
        nesterov: Look ahead by one step.
        accumulator_dtype: The dtype of v, if not that of each parameter.

    Raises:
        DomainError, DtypeError: ``decay`` is outside of its domain, or no number.
        DtypeError: ``accumulator_dtype`` is no floating dtype.
    """
    mu = check_number("trace", "decay", decay, ge=0, lt=1)
    check_bools("trace", nesterov=nesterov)
    check_floating_dtype("trace", "accumulator_dtype", accumulator_dtype)

    def init(params: Tree) -> TraceState:
        return TraceState(full_like("trace", params, dtype=accumulator_dtype))

    def kernel(g: Array, u: Array, t: Array, old: Blocks, new: Blocks) -> Any:
        (v_old,), (v,) = old, new
        np.multiply(v_old, mu, out=v)
        np.add(v, g, out=v)
        if not nesterov:
            return v
        np.multiply(v, mu, out=u)
        return np.add(u, g, out=u)

    def sweep(run: Sweep, state: TraceState) -> TraceState:
        check_state("trace", state, TraceState)
        return TraceState(*run.each(kernel, state.trace, cast=accumulator_dtype is not None))

    return swept(init, sweep)


def ema(
    decay: float | int, debias: bool = True, accumulator_dtype: DTypeLike | None = None
) -> GradientTransformation:
    """A moving average: m ← βm + (1 − β)g, and m/(1 − βᵗ) goes on, or m itself.

    Args:
        decay: β in [0, 1).
        debias: Divide by 1 − βᵗ, what the weights of the average add up to so far.
        accumulator_dtype: The dtype of m, if not that of each parameter.

    Raises:
        DomainError, DtypeError: ``decay`` is outside of its domain, or no number.
        DtypeError: ``accumulator_dtype`` is no floating dtype.
    """
    beta = check_number("ema", "decay", decay, ge=0, lt=1)
    check_bools("ema", debias=debias)
    check_floating_dtype("ema", "accumulator_dtype", accumulator_dtype)

    def init(params: Tree) -> EmaState:
        return EmaState(zero(), full_like("ema", params, dtype=accumulator_dtype))

    def sweep(run: Sweep, state: EmaState) -> EmaState:
        check_state("ema", state, EmaState)
        count = steps("ema", state.count) + 1
        scale = 1 / (1 - beta**count) if debias else 1.0

        def kernel(g: Array, u: Array, t: Array, old: Blocks, new: Blocks) -> Any:
            (m_old,), (m,) = old, new
            average(g, beta, m_old, m, u)
            return m

        (new_ema,) = run.each(kernel, state.ema, scale=scale, cast=accumulator_dtype is not None)
        return EmaState(counted(count), new_ema)

    return swept(init, sweep)


def sgd(
    learning_rate: ScalarOrSchedule,
    momentum: float | int | None = None,
    nesterov: bool = False,
    accumulator_dtype: DTypeLike | None = None,
    *,
    rate_in_momentum: bool = False,
) -> GradientTransformation:
    """Stochastic gradient descent, with or without momentum μ.

    ==================  ============================  =========================
    ``rate_in_``        False: v sums gradients       True: v sums steps
    ``momentum``        (PyTorch, optax)              (Sutskever, Keras)
    ==================  ============================  =========================
    without momentum    p ← p − ηg                    p ← p − ηg
    momentum            v ← μv + g, p ← p − ηv        v ← μv − ηg, p ← p + v
    momentum, nesterov  v ← μv + g,                   v ← μv − ηg,
                        p ← p − η(g + μv)             p ← p + μv − ηg
    ==================  ============================  =========================

    The two agree as long as η is constant; when η changes, the steps already in v keep their old
    rate on the right and take the new one on the left. Nesterov's look-ahead is folded into the
    step, so that the gradient is taken at p itself. A moving average in the place of v,
    v ← μv + (1 − μ)g, is ``chain(ema(μ, debias=False), scale_by_learning_rate(η))``.

    Args:
        learning_rate: η, a number or a schedule of it, finite and ≥ 0.
        momentum: μ in [0, 1).
        nesterov: Look ahead by one step of momentum; needs ``momentum``.
        accumulator_dtype: The dtype of v, if not that of each parameter.
        rate_in_momentum: Whether η multiplies what enters v, or what leaves it.

    Raises:
        DomainError: an argument lies outside its domain.
        DtypeError: an argument is no number, or no bool.

    Polyak, USSR Comp. Math. 4 (1964); Nesterov, Doklady AN SSSR 269 (1983); Sutskever, Martens,
    Dahl & Hinton, *On the importance of initialization and momentum in deep learning*, ICML 2013.
    """
    return chain(
        *rate_and_momentum(
            "sgd", learning_rate, momentum, nesterov, accumulator_dtype, rate_in_momentum
        )
    )


def rate_and_momentum(
    name: str,
    learning_rate: ScalarOrSchedule,
    momentum: float | int | None,
    nesterov: bool,
    accumulator_dtype: DTypeLike | None,
    rate_in_momentum: bool,
) -> list[GradientTransformation]:
    """The last two parts of a chain, in the order that is asked for; the arguments are sgd's."""
    check_bools(name, nesterov=nesterov, rate_in_momentum=rate_in_momentum)
    if nesterov and momentum is None:
        raise DomainError(f"{name}: nesterov looks ahead by the momentum, which is None")
    if momentum is not None:
        check_number(name, "momentum", momentum, ge=0, lt=1)
    rate = scale_by_learning_rate(learning_rate)
    memory = identity() if momentum is None else trace(momentum, nesterov, accumulator_dtype)
    return [rate, memory] if rate_in_momentum else [memory, rate]
