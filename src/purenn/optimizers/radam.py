"""RAdam: Adam that does not divide by a variance before it knows it."""

import math
from typing import Any

import numpy as np

from purenn.contract import check_number
from purenn.optimizers._common import (
    ScalarOrSchedule,
    check_bools,
    check_state,
    counted,
    full_like,
    steps,
    zero,
)
from purenn.optimizers._moments import (
    average,
    average_of_squares,
    check_moments,
    corrected,
    step,
)
from purenn.optimizers._sweep import Blocks, Sweep
from purenn.optimizers.adam import ScaleByAdamState
from purenn.optimizers.base import GradientTransformation, chain, swept
from purenn.optimizers.scaling import scale_by_learning_rate
from purenn.tree import Tree
from purenn.typing import Array


def scale_by_radam(
    b1: float | int = 0.9,
    b2: float | int = 0.999,
    eps: float | int = 1e-8,
    eps_root: float | int = 0.0,
    threshold: float | int = 5.0,
    *,
    nesterov: bool = False,
    eps_before_correction: bool = False,
) -> GradientTransformation:
    """What :func:`radam` does before the learning rate; the arguments are its."""
    name = "scale_by_radam"
    b1, b2, eps, eps_root = check_moments(name, b1, b2, eps, eps_root)
    check_bools(name, nesterov=nesterov, eps_before_correction=eps_before_correction)
    threshold = check_number(name, "threshold", threshold, ge=4)

    def init(params: Tree) -> ScaleByAdamState:
        mu, nu = full_like(name, params), full_like(name, params, squares=True)
        return ScaleByAdamState(zero(), mu, nu)

    def sweep(run: Sweep, state: ScaleByAdamState) -> ScaleByAdamState:
        check_state(name, state, ScaleByAdamState)
        count = steps(name, state.count) + 1
        rectification = _rectification(b2, count, threshold)
        weights = corrected(
            count,
            b1,
            0.0 if rectification is None else b2,
            eps,
            eps_root,
            nesterov=nesterov,
            eps_before_correction=eps_before_correction,
        )
        scale = weights.scale * (1 if rectification is None else rectification)

        def kernel(g: Array, u: Array, t: Array, old: Blocks, new: Blocks) -> Any:
            (m_old, v_old), (m, v) = old, new
            average(g, b1, m_old, m, u)
            average_of_squares(g, b2, v_old, v, u)
            if rectification is not None:
                return step(m, g, v, weights, u, t)
            if weights.ahead is None:
                return m
            np.multiply(m, weights.ahead, out=u)
            return np.add(u, g, out=u)

        mu, nu = run.each(kernel, state.mu, state.nu, scale=scale)
        return ScaleByAdamState(counted(count), mu, nu)

    return swept(init, sweep)


def _rectification(b2: float, count: int, threshold: float) -> float | None:
    """r, or None where ρ is below the threshold, or the variance is not finite."""
    limit = 2 / (1 - b2) - 1
    power = b2**count
    rho = limit - 2 * count * power / (1 - power)
    if rho < threshold or rho <= 4:
        return None
    return math.sqrt((rho - 4) * (rho - 2) * limit / ((limit - 4) * (limit - 2) * rho))


def radam(
    learning_rate: ScalarOrSchedule,
    b1: float | int = 0.9,
    b2: float | int = 0.999,
    eps: float | int = 1e-8,
    eps_root: float | int = 0.0,
    threshold: float | int = 5.0,
    *,
    nesterov: bool = False,
    eps_before_correction: bool = False,
) -> GradientTransformation:
    """RAdam: Adam whose first steps, while v is uncertain, are shorter or those of momentum.

    m ← β₁m + (1 − β₁)g,   m̂ = m/(1 − β₁ᵗ)
    v ← β₂v + (1 − β₂)g²,  v̂ = v/(1 − β₂ᵗ)
    ρ∞ = 2/(1 − β₂) − 1,   ρ = ρ∞ − 2tβ₂ᵗ/(1 − β₂ᵗ)
    r = √((ρ − 4)(ρ − 2)ρ∞/((ρ∞ − 4)(ρ∞ − 2)ρ))
    p ← p − η·r·m̂/(√(v̂ + eps_root) + eps) where ρ ≥ threshold and ρ > 4, else p ← p − η·m̂

    ρ is the length of a plain average as uncertain as v. The variance of 1/√v is finite where
    ρ > 4, which is the paper's threshold; the authors' code, PyTorch (ρ > 5) and optax take 5.

    ==============================  ==============================================
    ``eps_before_correction``       who
    ==============================  ==============================================
    False: √v̂ + ε                   optax
    True: √v + ε, then corrected    the authors' code, PyTorch
    either, with ε = 0              the paper's algorithm 2
    ==============================  ==============================================

    Args:
        learning_rate: η, a number or a schedule of it, finite and ≥ 0.
        b1: β₁ in [0, 1).
        b2: β₂ in [0, 1).
        eps: Added outside the root, ≥ 0.
        eps_root: Added inside the root, ≥ 0.
        threshold: The least ρ at which v is divided by, ≥ 4.
        nesterov: Look ahead as :func:`purenn.optimizers.adam` does.
        eps_before_correction: Where ε is added.

    Raises:
        DomainError: an argument lies outside its domain.
        DtypeError: an argument is no number, or no bool. ``init`` raises it for float16, which
            cannot hold v.

    Liu, Jiang, He, Chen, Liu, Gao & Han, *On the variance of the adaptive learning rate and
    beyond*, ICLR 2020, arXiv:1908.03265.
    """
    return chain(
        scale_by_radam(
            b1, b2, eps, eps_root, threshold, nesterov=nesterov,
            eps_before_correction=eps_before_correction,
        ),
        scale_by_learning_rate(learning_rate),
    )  # fmt: skip
