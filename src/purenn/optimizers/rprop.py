"""Rprop: the sign of the gradient alone, and a step size of its own for each parameter."""

from typing import Any, NamedTuple

import numpy as np

from purenn.contract import check_number
from purenn.optimizers._common import check_bools, check_state, full_like
from purenn.optimizers._sweep import Blocks, Sweep
from purenn.optimizers.base import GradientTransformation, chain, swept
from purenn.optimizers.scaling import scale
from purenn.tree import Tree
from purenn.typing import Array


class ScaleByRpropState(NamedTuple):
    """Δ, and the step that the last gradient gave: Δ·sign(g), or 0 where g had turned."""

    step_sizes: Tree
    prev_updates: Tree


def scale_by_rprop(
    learning_rate: float | int,
    eta_minus: float | int = 0.5,
    eta_plus: float | int = 1.2,
    min_step_size: float | int = 1e-6,
    max_step_size: float | int = 50.0,
    *,
    delayed: bool = True,
) -> GradientTransformation:
    """What :func:`rprop` does before it turns around; the arguments are its."""
    name = "scale_by_rprop"
    check_bools(name, delayed=delayed)
    eta_minus = check_number(name, "eta_minus", eta_minus, gt=0, le=1)
    eta_plus = check_number(name, "eta_plus", eta_plus, ge=1)
    low = check_number(name, "min_step_size", min_step_size, ge=0)
    high = check_number(name, "max_step_size", max_step_size, ge=low)
    start = check_number(name, "learning_rate", learning_rate, ge=low, le=high)

    def init(params: Tree) -> ScaleByRpropState:
        return ScaleByRpropState(full_like(name, params, start), full_like(name, params))

    def kernel(g: Array, u: Array, t: Array, old: Blocks, new: Blocks) -> Any:
        (size_old, last), (size, now) = old, new
        np.multiply(g, last, out=t)
        np.sign(t, out=t)
        has_not_turned = t != -1
        # eta_plus where t is 1, eta_minus where it is −1 (or not a number), 1 where it is 0.
        np.multiply(t, eta_plus, out=u)
        np.fmax(u, eta_minus, out=u)
        np.maximum(u, t == 0, out=u)
        np.multiply(size_old, u, out=size)
        np.clip(size, low, high, out=size)
        if delayed:
            np.multiply(last, has_not_turned, out=u)
        np.sign(g, out=now)
        np.multiply(now, size, out=now)
        np.multiply(now, has_not_turned, out=now)
        return u if delayed else now

    def sweep(run: Sweep, state: ScaleByRpropState) -> ScaleByRpropState:
        check_state(name, state, ScaleByRpropState)
        return ScaleByRpropState(*run.each(kernel, state.step_sizes, state.prev_updates))

    return swept(init, sweep)


def rprop(
    learning_rate: float | int,
    eta_minus: float | int = 0.5,
    eta_plus: float | int = 1.2,
    min_step_size: float | int = 1e-6,
    max_step_size: float | int = 50.0,
    *,
    delayed: bool = True,
) -> GradientTransformation:
    """Rprop: steps grow while the gradient keeps its sign, and shrink where it turns.

    With s the product of g and the gradient before, which counts as 0 where s was negative then:

    s > 0:  Δ ← min(η⁺Δ, Δmax),  p ← p − Δ·sign(g)
    s = 0:                       p ← p − Δ·sign(g)
    s < 0:  Δ ← max(η⁻Δ, Δmin),  p as it is

    It is meant for gradients of the full batch: noise turns signs.

    =========================================  =========================================
    ``delayed``                                who
    =========================================  =========================================
    False: as above                            iRprop⁻ of Igel & Hüsken, PyTorch
    True: the step of the update before, none  optax 0.2.8, where it is a known fault
    if s < 0, and none at first                (its pull request 1725)
    =========================================  =========================================

    The papers differ in what is done where s < 0, besides Δ ← max(η⁻Δ, Δmin):

    ================================  =========================  ===========
    algorithm                         step                       next time
    ================================  =========================  ===========
    Rprop⁺ (Riedmiller & Braun 1993)  the last one is undone     Δ stays
    Rprop⁻ (Riedmiller 1994)          −Δ·sign(g)                 Δ adapts
    iRprop⁺ (Igel & Hüsken)           undone if the loss rose    Δ stays
    iRprop⁻ (Igel & Hüsken), here     none                       Δ stays
    ================================  =========================  ===========

    Args:
        learning_rate: What Δ starts at, from ``min_step_size`` to ``max_step_size``; the papers
            propose 0.1. It has no schedule.
        eta_minus: η⁻ in (0, 1].
        eta_plus: η⁺ ≥ 1.
        min_step_size: Δmin ≥ 0.
        max_step_size: Δmax ≥ Δmin.
        delayed: Whether a step is taken one update late.

    Raises:
        DomainError: an argument lies outside its domain.
        DtypeError: an argument is no number, or no bool.

    Riedmiller & Braun, *A direct adaptive method for faster backpropagation learning: the RPROP
    algorithm*, ICNN 1993; Igel & Hüsken, *Improving the Rprop learning algorithm*, NC 2000.
    """
    return chain(
        scale_by_rprop(
            learning_rate, eta_minus, eta_plus, min_step_size, max_step_size, delayed=delayed
        ),
        scale(-1.0),
    )
