"""NAdam: Adam with Nesterov's momentum, with or without a schedule of the momentum."""

import math
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
from purenn.optimizers._moments import (
    Weights,
    average,
    average_of_squares,
    check_moments,
    step,
)
from purenn.optimizers._sweep import Blocks, Sweep
from purenn.optimizers.adam import scale_by_adam
from purenn.optimizers.base import GradientTransformation, chain, swept
from purenn.optimizers.masking import Mask
from purenn.optimizers.scaling import scale_by_learning_rate
from purenn.optimizers.weight_decay import add_decayed_weights
from purenn.tree import Tree
from purenn.typing import Array


class ScaleByNadamState(NamedTuple):
    """The number of steps (int32), the moving averages of g and g², and Πμ so far (float64)."""

    count: Array  # type: ignore[assignment]
    mu: Tree
    nu: Tree
    mu_product: Array


def scale_by_nadam(
    b1: float | int = 0.9,
    b2: float | int = 0.999,
    eps: float | int = 1e-8,
    eps_root: float | int = 0.0,
    mu_dtype: DTypeLike | None = None,
    *,
    momentum_decay: float | int | None = None,
    as_published: bool = False,
) -> GradientTransformation:
    """What :func:`nadam` does before the learning rate; the arguments are its."""
    name = "scale_by_nadam"
    check_bools(name, as_published=as_published)
    if momentum_decay is None:
        if as_published:
            raise DomainError(f"{name}: as_published is True, but momentum_decay is None")
        return scale_by_adam(b1, b2, eps, eps_root, mu_dtype, nesterov=True)
    b1, b2, eps, eps_root = check_moments(name, b1, b2, eps, eps_root)
    check_floating_dtype(name, "mu_dtype", mu_dtype)
    if as_published:
        check_number(name, "b2", b2, gt=0)  # where it is 0, so is all of v̂
    decay = check_number(name, "momentum_decay", momentum_decay, ge=0)

    def momentum(count: int) -> float:
        return b1 * (1 - 0.5 * math.pow(0.96, count * decay))

    def init(params: Tree) -> ScaleByNadamState:
        mu = full_like(name, params, dtype=mu_dtype)
        return ScaleByNadamState(
            zero(), mu, full_like(name, params, squares=True), np.ones((), np.float64)
        )

    def sweep(run: Sweep, state: ScaleByNadamState) -> ScaleByNadamState:
        check_state(name, state, ScaleByNadamState)
        count = steps(name, state.count) + 1
        now, ahead = momentum(count), momentum(count + 1)
        product = float(state.mu_product) * now
        c = math.sqrt((1 - b2**count) / (b2 if as_published else 1))
        weights = Weights(
            scale=c * (1 - now) / (1 - product),
            ahead=ahead * (1 - product) / ((1 - now) * (1 - product * ahead)),
            inside=c * c * eps_root,
            outside=c * eps,
        )
        beta = now if as_published else b1

        def kernel(g: Array, u: Array, t: Array, old: Blocks, new: Blocks) -> Any:
            (m_old, v_old), (m, v) = old, new
            average(g, beta, m_old, m, u)
            average_of_squares(g, b2, v_old, v, u)
            return step(m, g, v, weights, u, t)

        mu, nu = run.each(
            kernel, state.mu, state.nu, scale=weights.scale, cast=mu_dtype is not None
        )
        return ScaleByNadamState(counted(count), mu, nu, np.array(product))

    return swept(init, sweep)


def nadam(
    learning_rate: ScalarOrSchedule,
    b1: float | int = 0.9,
    b2: float | int = 0.999,
    eps: float | int = 1e-8,
    eps_root: float | int = 0.0,
    mu_dtype: DTypeLike | None = None,
    *,
    momentum_decay: float | int | None = None,
    as_published: bool = False,
) -> GradientTransformation:
    """NAdam: Adam that looks ahead by one step of its momentum, as Nesterov does.

    m ← β₁m + (1 − β₁)g
    v ← β₂v + (1 − β₂)g²,  v̂ = v/(1 − β₂ᵗ)
    m̂ = μₜ₊₁m/(1 − μ₁⋯μₜ₊₁) + (1 − μₜ)g/(1 − μ₁⋯μₜ)
    p ← p − η·m̂/(√(v̂ + eps_root) + eps)

    with the momentum μₜ = β₁(1 − ½·0.96^(tψ)), which warms up from β₁/2 to β₁.

    =====================  ==================  ==============================================
    ``momentum_decay`` ψ   ``as_published``    who
    =====================  ==================  ==============================================
    None: μₜ = β₁          False               optax
    0.004                  False               PyTorch, Keras until 2.10
    1                      False               Keras from 2.11 on
    0.004                  True:               the paper's algorithm 2
                           m ← μₜm + (1 − μₜ)g,
                           v̂ = β₂v/(1 − β₂ᵗ)
    =====================  ==================  ==============================================

    Args:
        learning_rate: η, a number or a schedule of it, finite and ≥ 0; PyTorch's default is 0.002.
        b1: β₁ in [0, 1).
        b2: β₂ in [0, 1).
        eps: Added outside the root, ≥ 0; Keras' default is 1e-7.
        eps_root: Added inside the root, ≥ 0.
        mu_dtype: The dtype of m, if not that of each parameter.
        momentum_decay: ψ ≥ 0; None for a momentum that is constant.
        as_published: Whether m and v̂ are the paper's; needs ``momentum_decay``.

    Raises:
        DomainError: an argument lies outside its domain.
        DtypeError: an argument is no number, or no bool. ``init`` raises it for float16, which
            cannot hold v.

    Dozat, *Incorporating Nesterov momentum into Adam*, ICLR 2016 workshop.
    """
    return chain(
        scale_by_nadam(
            b1, b2, eps, eps_root, mu_dtype,
            momentum_decay=momentum_decay, as_published=as_published,
        ),
        scale_by_learning_rate(learning_rate),
    )  # fmt: skip


def nadamw(
    learning_rate: ScalarOrSchedule,
    b1: float | int = 0.9,
    b2: float | int = 0.999,
    eps: float | int = 1e-8,
    eps_root: float | int = 0.0,
    mu_dtype: DTypeLike | None = None,
    weight_decay: ScalarOrSchedule = 1e-4,
    mask: Mask | None = None,
    *,
    momentum_decay: float | int | None = None,
    as_published: bool = False,
) -> GradientTransformation:
    """:func:`nadam` with decoupled weight decay: p ← p − η·(m̂/(√v̂ + ε) + λp).

    Args:
        learning_rate: As for :func:`nadam`, and so are the next five.
        b1: β₁.
        b2: β₂.
        eps: Added outside the root.
        eps_root: Added inside the root.
        mu_dtype: The dtype of m.
        weight_decay: λ, a number or a schedule of it, finite and ≥ 0.
        mask: The leaves that decay; all, if None. See :data:`purenn.optimizers.Mask`.
        momentum_decay: As for :func:`nadam`.
        as_published: As for :func:`nadam`.

    Raises:
        DomainError: an argument lies outside its domain.
        DtypeError: an argument is no number, or no bool.
        TreeError: the update raises it where it is given no parameters.

    Loshchilov & Hutter, *Decoupled weight decay regularization*, ICLR 2019, arXiv:1711.05101.
    """
    return chain(
        scale_by_nadam(
            b1, b2, eps, eps_root, mu_dtype,
            momentum_decay=momentum_decay, as_published=as_published,
        ),
        add_decayed_weights(weight_decay, mask),
        scale_by_learning_rate(learning_rate),
    )  # fmt: skip
