"""RMSProp, and centered: steps scaled by the recent size, or spread, of the gradients."""

import math
from typing import Any, NamedTuple

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
from purenn.optimizers._moments import average, average_of_squares, root
from purenn.optimizers._sweep import Blocks, Sweep
from purenn.optimizers.base import GradientTransformation, chain, swept
from purenn.optimizers.momentum import rate_and_momentum
from purenn.tree import Tree
from purenn.typing import Array


class ScaleByRmsState(NamedTuple):
    """v: the moving average of g²."""

    nu: Tree


class ScaleByRmsWithCountState(NamedTuple):
    """The number of steps (int32), and v."""

    count: Array  # type: ignore[assignment]
    nu: Tree


class ScaleByRStdDevState(NamedTuple):
    """The moving averages of g and g²."""

    mu: Tree
    nu: Tree


class ScaleByRStdDevWithCountState(NamedTuple):
    """The number of steps (int32), and the moving averages of g and g²."""

    count: Array  # type: ignore[assignment]
    mu: Tree
    nu: Tree


def scale_by_rms(
    decay: float | int = 0.9,
    eps: float | int = 1e-8,
    initial_scale: float | int = 0.0,
    eps_in_sqrt: bool = True,
    bias_correction: bool = False,
) -> GradientTransformation:
    """What :func:`rmsprop` does before the learning rate; the arguments are its."""
    check_bools("scale_by_rms", eps_in_sqrt=eps_in_sqrt, bias_correction=bias_correction)
    state = ScaleByRmsWithCountState if bias_correction else ScaleByRmsState
    return _divided("scale_by_rms", state, decay, eps, initial_scale, eps_in_sqrt)


def scale_by_stddev(
    decay: float | int = 0.9,
    eps: float | int = 1e-8,
    initial_scale: float | int = 0.0,
    eps_in_sqrt: bool = True,
    bias_correction: bool = False,
) -> GradientTransformation:
    """What :func:`rmsprop` does before the learning rate if it is centered."""
    check_bools("scale_by_stddev", eps_in_sqrt=eps_in_sqrt, bias_correction=bias_correction)
    state = ScaleByRStdDevWithCountState if bias_correction else ScaleByRStdDevState
    return _divided("scale_by_stddev", state, decay, eps, initial_scale, eps_in_sqrt)


def _divided(
    name: str,
    kind: type[Any],
    decay: float | int,
    eps: float | int,
    initial_scale: float | int,
    eps_in_sqrt: bool,
) -> GradientTransformation:
    """Divide by the root of what the averages say that this kind of state has."""
    decay = check_number(name, "decay", decay, ge=0, lt=1)
    eps = check_number(name, "eps", eps, ge=0)
    initial_scale = check_number(name, "initial_scale", initial_scale, ge=0)
    is_centered = "mu" in kind._fields
    is_corrected = "count" in kind._fields

    def init(params: Tree) -> Any:
        first = {"count": zero()} if is_corrected else {}
        mean = {"mu": full_like(name, params)} if is_centered else {}
        return kind(**first, **mean, nu=full_like(name, params, initial_scale, squares=True))

    def sweep(run: Sweep, state: Any) -> Any:
        check_state(name, state, kind)
        count = steps(name, state.count) + 1 if is_corrected else 0
        # The correction is moved out of the arrays: √(v/c + ε) = √(v + c·ε)/√c.
        c = 1 - decay**count if is_corrected else 1.0

        def kernel(g: Array, u: Array, t: Array, old: Blocks, new: Blocks) -> Any:
            average_of_squares(g, decay, old[-1], new[-1], u)
            spread = new[-1]
            if is_centered:
                average(g, decay, old[0], new[0], t)
                np.multiply(new[0], new[0], out=u)
                if is_corrected:
                    np.divide(u, c, out=u)
                np.subtract(spread, u, out=u)
                # Rounding makes it negative where gradients are alike.
                spread = np.maximum(u, 0, out=u)
            root(spread, (c if eps_in_sqrt else math.sqrt(c)) * eps, eps_in_sqrt, u)
            return np.divide(g, u, out=u)

        if is_corrected:
            return kind(counted(count), *run.each(kernel, *state[1:], scale=math.sqrt(c)))
        return kind(*run.each(kernel, *state))

    return swept(init, sweep)


def rmsprop(
    learning_rate: ScalarOrSchedule,
    decay: float | int = 0.9,
    eps: float | int = 1e-8,
    initial_scale: float | int = 0.0,
    eps_in_sqrt: bool = True,
    centered: bool = False,
    momentum: float | int | None = None,
    nesterov: bool = False,
    bias_correction: bool = False,
    *,
    rate_in_momentum: bool = True,
) -> GradientTransformation:
    """RMSProp: each parameter's step is scaled by the recent size of its own gradient.

    v ← βv + (1 − β)g²
    p ← p − η·g/√v

    With ``centered``, m ← βm + (1 − β)g, and v − m² stands in the place of v in the root. It is at
    least 0, but not after rounding where gradients hardly change: optax and PyTorch then give NaN,
    here it is 0. With ``bias_correction`` the averages are divided by 1 − βᵗ; after both, the first
    step is divided by ε alone.

    ======================  ==============================================================
    ``eps_in_sqrt``         who
    ======================  ==============================================================
    ε = 0: g/√v             Hinton (β = 0.9)
    True: g/√(v + ε)        optax (β = 0.9, ε = 1e-8), Keras 3 (0.9, 1e-7, η = 0.001),
                            Graves (0.95, 1e-4, η = 1e-4, centered, μ = 0.9)
    False: g/(√v + ε)       PyTorch (0.99, 1e-8, η = 0.01)
    ======================  ==============================================================

    ======================  ==============================================================
    ``rate_in_momentum``    with s the scaled gradient
    ======================  ==============================================================
    True: w sums steps      w ← μw − ηs, p ← p + w: optax, Keras, Graves
    False: w sums s         w ← μw + s, p ← p − ηw: PyTorch
    ======================  ==============================================================

    Args:
        learning_rate: η, a number or a schedule of it, finite and ≥ 0.
        decay: β in [0, 1); PyTorch's alpha, Keras' rho.
        eps: ε ≥ 0.
        initial_scale: What v starts at, ≥ 0.
        eps_in_sqrt: Where ε is added.
        centered: Whether the spread of the gradients takes the place of their size.
        momentum: μ in [0, 1).
        nesterov: Look ahead by one step of momentum, as in :func:`sgd`; needs ``momentum``.
        bias_correction: Whether the averages are weighted means from the first step on.
        rate_in_momentum: Whether η multiplies what enters w, or what leaves it. The two agree as
            long as η is constant.

    Raises:
        DomainError: an argument lies outside its domain.
        DtypeError: an argument is no number, or no bool. ``init`` raises it for float16, which
            cannot hold v.

    Hinton, Srivastava & Swersky, *Neural networks for machine learning*, lecture 6, 2012; centered:
    Graves, *Generating sequences with recurrent neural networks*, 2013, arXiv:1308.0850.
    """
    check_bools("rmsprop", centered=centered)
    scaling = scale_by_stddev if centered else scale_by_rms
    scaled = scaling(decay, eps, initial_scale, eps_in_sqrt, bias_correction)
    return chain(
        scaled,
        *rate_and_momentum("rmsprop", learning_rate, momentum, nesterov, None, rate_in_momentum),
    )
