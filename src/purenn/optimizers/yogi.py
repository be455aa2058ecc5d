"""Yogi: Adam whose mean square changes by no more than the new square, up or down."""

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
from purenn.optimizers._moments import average, check_moments, corrected, sign, step
from purenn.optimizers._sweep import Blocks, Sweep
from purenn.optimizers.adam import ScaleByAdamState
from purenn.optimizers.base import GradientTransformation, chain, swept
from purenn.optimizers.scaling import scale_by_learning_rate
from purenn.tree import Tree
from purenn.typing import Array


def scale_by_yogi(
    b1: float | int = 0.9,
    b2: float | int = 0.999,
    eps: float | int = 1e-3,
    eps_root: float | int = 0.0,
    initial_accumulator_value: float | int = 1e-6,
    *,
    initial_mu: float | int | None = None,
    bias_correction: bool = True,
    eps_before_correction: bool = False,
) -> GradientTransformation:
    """What :func:`yogi` does before the learning rate; the arguments are its.

    ``eps_root``, ≥ 0, is added to v̂ inside the root.
    """
    name = "scale_by_yogi"
    b1, b2, eps, eps_root = check_moments(name, b1, b2, eps, eps_root)
    check_bools(name, bias_correction=bias_correction, eps_before_correction=eps_before_correction)
    start = check_number(name, "initial_accumulator_value", initial_accumulator_value, ge=0)
    start_of_mu = start if initial_mu is None else check_number(name, "initial_mu", initial_mu)

    def init(params: Tree) -> ScaleByAdamState:
        mu = full_like(name, params, start_of_mu)
        return ScaleByAdamState(zero(), mu, full_like(name, params, start, squares=True))

    def sweep(run: Sweep, state: ScaleByAdamState) -> ScaleByAdamState:
        check_state(name, state, ScaleByAdamState)
        count = steps(name, state.count) + 1
        weights = corrected(
            count,
            b1 if bias_correction else 0.0,
            b2 if bias_correction else 0.0,
            eps,
            eps_root,
            eps_before_correction=eps_before_correction,
        )

        def kernel(g: Array, u: Array, t: Array, old: Blocks, new: Blocks) -> Any:
            (m_old, v_old), (m, v) = old, new
            average(g, b1, m_old, m, u)
            np.multiply(g, g, out=u)
            np.subtract(u, v_old, out=t)
            sign(t, out=t)
            np.multiply(t, 1 - b2, out=t)
            np.multiply(t, u, out=t)
            np.add(v_old, t, out=v)
            return step(m, g, v, weights, u, t)

        mu, nu = run.each(kernel, state.mu, state.nu, scale=weights.scale)
        return ScaleByAdamState(counted(count), mu, nu)

    return swept(init, sweep)


def yogi(
    learning_rate: ScalarOrSchedule,
    b1: float | int = 0.9,
    b2: float | int = 0.999,
    eps: float | int = 1e-3,
    *,
    initial_accumulator_value: float | int = 1e-6,
    initial_mu: float | int | None = None,
    bias_correction: bool = True,
    eps_before_correction: bool = False,
) -> GradientTransformation:
    """Yogi: Adam that forgets large gradients slowly, since v falls by g² and not by v.

    m ← β₁m + (1 − β₁)g,                 m̂ = m/(1 − β₁ᵗ)
    v ← v − (1 − β₂)·sign(v − g²)·g²,    v̂ = v/(1 − β₂ᵗ)
    p ← p − η·m̂/(√v̂ + eps)

    ==============  ==================  ===============  ==================  =================
    ``initial_``    ``initial_mu``      ``bias_``        ``eps_before_``     who
    ``accumul…``                        ``correction``   ``correction``
    ==============  ==================  ===============  ==================  =================
    1e-6            None: the same      True             False: √v̂ + ε       optax
    1e-6            0                   True             True: (√v + ε)/c    TensorFlow Addons
    v₀              0                   False: m̂ = m,    either              the paper's
                                        v̂ = v                                algorithm 2
    ==============  ==================  ===============  ==================  =================

    with c = √(1 − β₂ᵗ). The paper proposes the mean of g² over a large batch for v₀.

    Args:
        learning_rate: η, a number or a schedule of it, finite and ≥ 0; TensorFlow Addons' is 0.01.
        b1: β₁ in [0, 1).
        b2: β₂ in [0, 1).
        eps: Added outside the root, ≥ 0.
        initial_accumulator_value: v at the start, ≥ 0.
        initial_mu: m at the start, if not the same.
        bias_correction: Whether m and v are divided by 1 − βᵗ.
        eps_before_correction: Where ε is added.

    Raises:
        DomainError: an argument lies outside its domain.
        DtypeError: an argument is no number, or no bool. ``init`` raises it for float16, which
            cannot hold v.

    Zaheer, Reddi, Sachan, Kale & Kumar, *Adaptive methods for nonconvex optimization*, NeurIPS
    2018.
    """
    return chain(
        scale_by_yogi(
            b1, b2, eps, 0.0, initial_accumulator_value, initial_mu=initial_mu,
            bias_correction=bias_correction, eps_before_correction=eps_before_correction,
        ),
        scale_by_learning_rate(learning_rate),
    )  # fmt: skip
