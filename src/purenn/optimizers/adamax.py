"""AdaMax: Adam with the largest recent gradient in the place of the mean square."""

from typing import Any

import numpy as np

from purenn.optimizers._common import (
    ScalarOrSchedule,
    check_bools,
    check_state,
    counted,
    full_like,
    steps,
    zero,
)
from purenn.optimizers._moments import average, check_moments
from purenn.optimizers._sweep import Blocks, Sweep
from purenn.optimizers.adam import ScaleByAdamState
from purenn.optimizers.base import GradientTransformation, chain, swept
from purenn.optimizers.scaling import scale_by_learning_rate
from purenn.tree import Tree
from purenn.typing import Array


def scale_by_adamax(
    b1: float | int = 0.9,
    b2: float | int = 0.999,
    eps: float | int = 1e-8,
    *,
    eps_in_max: bool = True,
) -> GradientTransformation:
    """What :func:`adamax` does before the learning rate; the arguments are its."""
    name = "scale_by_adamax"
    b1, b2, eps, _ = check_moments(name, b1, b2, eps)
    check_bools(name, eps_in_max=eps_in_max)

    def init(params: Tree) -> ScaleByAdamState:
        return ScaleByAdamState(zero(), full_like(name, params), full_like(name, params))

    def sweep(run: Sweep, state: ScaleByAdamState) -> ScaleByAdamState:
        check_state(name, state, ScaleByAdamState)
        count = steps(name, state.count) + 1

        def kernel(g: Array, u: Array, t: Array, old: Blocks, new: Blocks) -> Any:
            (m_old, v_old), (m, v) = old, new
            average(g, b1, m_old, m, u)
            np.abs(g, out=u)
            if eps_in_max:
                np.add(u, eps, out=u)
            np.multiply(v_old, b2, out=v)
            np.maximum(v, u, out=v)
            if not eps_in_max:
                np.add(v, eps, out=u)
            return np.divide(m, v if eps_in_max else u, out=u)

        mu, nu = run.each(kernel, state.mu, state.nu, scale=1 / (1 - b1**count))
        return ScaleByAdamState(counted(count), mu, nu)

    return swept(init, sweep)


def adamax(
    learning_rate: ScalarOrSchedule,
    b1: float | int = 0.9,
    b2: float | int = 0.999,
    eps: float | int = 1e-8,
    *,
    eps_in_max: bool = True,
) -> GradientTransformation:
    """AdaMax: Adam whose root of a mean square is a norm of infinite order.

    m ← β₁m + (1 − β₁)g
    u ← max(β₂u, |g| + ε)
    p ← p − η/(1 − β₁ᵗ)·m/u

    =======================================  ========================================
    ``eps_in_max``                           who
    =======================================  ========================================
    True: u ← max(β₂u, |g| + ε), m/u         PyTorch, optax
    False: u ← max(β₂u, |g|), m/(u + ε)      Keras
    either, with ε = 0                       the paper's algorithm 2
    =======================================  ========================================

    Where ε = 0 and a gradient has been 0 from the start, its step is 0/0.

    Args:
        learning_rate: η, a number or a schedule of it, finite and ≥ 0; the paper proposes 0.002.
        b1: β₁ in [0, 1).
        b2: β₂ in [0, 1).
        eps: ε ≥ 0; Keras' default is 1e-7.
        eps_in_max: Where ε is added.

    Raises:
        DomainError: an argument lies outside its domain.
        DtypeError: an argument is no number, or no bool.

    Kingma & Ba, *Adam: a method for stochastic optimization*, ICLR 2015, arXiv:1412.6980,
    section 7.1.
    """
    return chain(
        scale_by_adamax(b1, b2, eps, eps_in_max=eps_in_max), scale_by_learning_rate(learning_rate)
    )
