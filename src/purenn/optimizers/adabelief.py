"""AdaBelief: Adam that divides by how far gradients are from what was expected."""

from typing import Any, NamedTuple

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
from purenn.optimizers._moments import average, check_moments, corrected, step
from purenn.optimizers._sweep import Blocks, Sweep
from purenn.optimizers.base import GradientTransformation, chain, swept
from purenn.optimizers.scaling import scale_by_learning_rate
from purenn.tree import Tree
from purenn.typing import Array


class ScaleByBeliefState(NamedTuple):
    """The number of steps (int32), and the moving averages of g and (g − m)²."""

    count: Array  # type: ignore[assignment]
    mu: Tree
    nu: Tree


def scale_by_belief(
    b1: float | int = 0.9,
    b2: float | int = 0.999,
    eps: float | int = 1e-16,
    eps_root: float | int = 1e-16,
    *,
    nesterov: bool = False,
) -> GradientTransformation:
    """What :func:`adabelief` does before the learning rate; the arguments are its."""
    name = "scale_by_belief"
    b1, b2, eps, eps_root = check_moments(name, b1, b2, eps, eps_root)
    check_bools(name, nesterov=nesterov)

    def init(params: Tree) -> ScaleByBeliefState:
        mu, nu = full_like(name, params), full_like(name, params, squares=True)
        return ScaleByBeliefState(zero(), mu, nu)

    def sweep(run: Sweep, state: ScaleByBeliefState) -> ScaleByBeliefState:
        check_state(name, state, ScaleByBeliefState)
        count = steps(name, state.count) + 1
        weights = corrected(count, b1, b2, eps, nesterov=nesterov)
        share = b1 * b1 * (1 - b2)

        def kernel(g: Array, u: Array, t: Array, old: Blocks, new: Blocks) -> Any:
            (m_old, s_old), (m, s) = old, new
            np.subtract(g, m_old, out=u)
            average(g, b1, m_old, m, t)
            np.multiply(u, u, out=u)
            np.multiply(u, share, out=u)
            np.multiply(s_old, b2, out=s)
            np.add(s, u, out=s)
            np.add(s, eps_root, out=s)
            return step(m, g, s, weights, u, t)

        mu, nu = run.each(kernel, state.mu, state.nu, scale=weights.scale)
        return ScaleByBeliefState(counted(count), mu, nu)

    return swept(init, sweep)


def adabelief(
    learning_rate: ScalarOrSchedule,
    b1: float | int = 0.9,
    b2: float | int = 0.999,
    eps: float | int = 1e-16,
    eps_root: float | int = 1e-16,
    *,
    nesterov: bool = False,
) -> GradientTransformation:
    """AdaBelief: long steps where gradients are as expected, short ones where they surprise.

    m ← β₁m + (1 − β₁)g,                    m̂ = m/(1 − β₁ᵗ)
    s ← β₂s + (1 − β₂)(g − m)² + eps_root,  ŝ = s/(1 − β₂ᵗ)
    p ← p − η·m̂/(√ŝ + eps)

    g − m is computed as β₁(g − m) of the m before, which does not cancel where β₁ is small.

    The paper's algorithm 2 and the authors' PyTorch code have one ε in both places. From its
    version 0.1 on that code also rectifies as :func:`purenn.optimizers.radam` does, and decays
    weights as AdamW, unless told otherwise.

    Args:
        learning_rate: η, a number or a schedule of it, finite and ≥ 0.
        b1: β₁ in [0, 1).
        b2: β₂ in [0, 1).
        eps: Added outside the root, ≥ 0.
        eps_root: Added to s at every step, ≥ 0.
        nesterov: Look ahead as :func:`purenn.optimizers.adam` does.

    Raises:
        DomainError: an argument lies outside its domain.
        DtypeError: an argument is no number, or no bool. ``init`` raises it for float16, which
            cannot hold s.

    Zhuang, Tang, Ding, Tatikonda, Dvornek, Papademetris & Duncan, *AdaBelief optimizer: adapting
    stepsizes by the belief in observed gradients*, NeurIPS 2020, arXiv:2010.07468.
    """
    return chain(
        scale_by_belief(b1, b2, eps, eps_root, nesterov=nesterov),
        scale_by_learning_rate(learning_rate),
    )
