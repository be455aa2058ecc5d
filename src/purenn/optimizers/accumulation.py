"""Several batches for one step."""

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from purenn import tree
from purenn.contract import check_integer
from purenn.errors import DomainError
from purenn.ops._numerics import at_least_single
from purenn.optimizers._common import check_bools, check_state, counted, full_like, steps, zero
from purenn.optimizers._sweep import Blocks, Sweep
from purenn.optimizers.base import (
    GradientTransformation,
    advance,
    check_without_extra,
    swept,
)
from purenn.tree import Tree
from purenn.typing import Array


class MultiStepsState(NamedTuple):
    """What was gathered, and the state of the inner transformation.

    Attributes:
        mini_step: Batches since the last step, int32.
        gradient_step: Steps so far, int32.
        inner_opt_state: The state of the inner transformation.
        acc_grads: The mean or the sum of the gradients since the last step.
        skip_state: Nothing; optax has it.
    """

    mini_step: Array
    gradient_step: Array
    inner_opt_state: Any
    acc_grads: Tree
    skip_state: tuple[()] = ()


def multi_steps(
    inner: GradientTransformation,
    every_k_schedule: int | Callable[[int], float],
    use_grad_mean: bool = True,
) -> GradientTransformation:
    """Gather the gradients of k batches and take one step with their mean, or with their sum.

    Until then updates are 0 and the inner state stays. The n-th gradient makes the mean
    a ← a + (g − a)/n. This is optax's ``MultiSteps``, where gradients are gathered in float32; here
    in their own dtype, if that is wider.

    Args:
        inner: What is done to the mean.
        every_k_schedule: k ≥ 1, or a schedule of it: a function of the number of steps taken
            before that gives whole numbers.
        use_grad_mean: Whether to take the mean, or the sum.

    Raises:
        DtypeError: ``inner`` is no transformation, or one that needs the loss, which is not
            gathered, or k no int; the update raises it where a
            schedule gives no whole number.
        DomainError: k is less than 1; the update raises it where a schedule gives such, or where
            the state has as many batches already.
    """
    name = "multi_steps"
    check_without_extra(name, "inner", inner)
    check_bools(name, use_grad_mean=use_grad_mean)
    if not callable(every_k_schedule):
        check_integer(name, "every_k_schedule", every_k_schedule, least=1)

    def k_at(step: int) -> int:
        if not callable(every_k_schedule):
            return every_k_schedule
        k = every_k_schedule(step)
        whole = int(k) if isinstance(k, float) and k.is_integer() else k
        return check_integer(name, f"every_k_schedule({step})", whole, least=1)

    def init(params: Tree) -> MultiStepsState:
        sums = tree.map(at_least_single, full_like(name, params))
        return MultiStepsState(zero(), zero(), inner.init(params), sums)

    def sweep(run: Sweep, state: MultiStepsState) -> MultiStepsState:
        check_state(name, state, MultiStepsState)
        step = steps(name, state.gradient_step, "gradient_step")
        before = steps(name, state.mini_step, "mini_step")
        k = k_at(step)
        if before >= k:
            raise DomainError(
                f"{name}: opt_state.mini_step is {before}, expected less than k = {k}"
            )
        is_last = before + 1 == k
        weight = 1 / (before + 1)

        def kernel(g: Array, u: Array, t: Array, old: Blocks, new: Blocks) -> Any:
            (a_old,), (a,) = old, new
            if use_grad_mean:
                np.subtract(g, a_old, out=t)
                g = np.multiply(t, weight, out=t)
            np.add(a_old, g, out=u if is_last else a)
            (a if is_last else u)[...] = 0
            return u

        halves = any(dtype.itemsize < 4 for dtype in run.dtypes())
        (gathered,) = run.each(kernel, state.acc_grads, cast=halves)
        inner_state = state.inner_opt_state
        if is_last:
            inner_state = advance(inner, run, inner_state)
        return MultiStepsState(
            counted(0 if is_last else before + 1), counted(step + is_last), inner_state, gathered
        )

    return swept(init, sweep)
