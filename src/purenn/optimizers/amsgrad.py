"""AMSGrad: Adam whose rates never grow."""

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import DTypeLike

from purenn.contract import check_floating_dtype
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
    average,
    average_of_squares,
    check_moments,
    corrected,
    step,
)
from purenn.optimizers._sweep import Blocks, Sweep
from purenn.optimizers.base import GradientTransformation, chain, swept
from purenn.optimizers.scaling import scale_by_learning_rate
from purenn.tree import Tree
from purenn.typing import Array


class ScaleByAmsgradState(NamedTuple):
    """The number of steps (int32), the moving averages of g and g², the largest of the latter."""

    count: Array  # type: ignore[assignment]
    mu: Tree
    nu: Tree
    nu_max: Tree


def scale_by_amsgrad(
    b1: float | int = 0.9,
    b2: float | int = 0.999,
    eps: float | int = 1e-8,
    eps_root: float | int = 0.0,
    mu_dtype: DTypeLike | None = None,
    bias_correction_mu: bool = True,
    bias_correction_nu: bool = True,
    *,
    max_before_correction: bool = False,
    eps_before_correction: bool = False,
) -> GradientTransformation:
    """What :func:`amsgrad` does before the learning rate; the arguments are its."""
    name = "scale_by_amsgrad"
    b1, b2, eps, eps_root = check_moments(name, b1, b2, eps, eps_root)
    check_floating_dtype(name, "mu_dtype", mu_dtype)
    check_bools(
        name, bias_correction_mu=bias_correction_mu, bias_correction_nu=bias_correction_nu,
        max_before_correction=max_before_correction, eps_before_correction=eps_before_correction,
    )  # fmt: skip
    if eps_before_correction and not max_before_correction:
        raise DomainError(
            f"{name}: eps_before_correction is True, but max_before_correction is not: the "
            "maximum has been corrected by then"
        )
    is_corrected = bias_correction_nu and not max_before_correction

    def init(params: Tree) -> ScaleByAmsgradState:
        mu = full_like(name, params, dtype=mu_dtype)
        nu, nu_max = (full_like(name, params, squares=True) for _ in range(2))
        return ScaleByAmsgradState(zero(), mu, nu, nu_max)

    def sweep(run: Sweep, state: ScaleByAmsgradState) -> ScaleByAmsgradState:
        check_state(name, state, ScaleByAmsgradState)
        count = steps(name, state.count) + 1
        correction = 1 / (1 - b2**count)
        weights = corrected(
            count,
            b1 if bias_correction_mu else 0.0,
            b2 if bias_correction_nu and max_before_correction else 0.0,
            eps,
            eps_root,
            eps_before_correction=eps_before_correction,
        )

        def kernel(g: Array, u: Array, t: Array, old: Blocks, new: Blocks) -> Any:
            (m_old, v_old, largest_old), (m, v, largest) = old, new
            average(g, b1, m_old, m, u)
            average_of_squares(g, b2, v_old, v, u)
            if is_corrected:
                np.multiply(v, correction, out=u)
            np.maximum(largest_old, u if is_corrected else v, out=largest)
            return step(m, g, largest, weights, u, t)

        mu, nu, nu_max = run.each(
            kernel,
            state.mu,
            state.nu,
            state.nu_max,
            scale=weights.scale,
            cast=mu_dtype is not None,
        )
        return ScaleByAmsgradState(counted(count), mu, nu, nu_max)

    return swept(init, sweep)


def amsgrad(
    learning_rate: ScalarOrSchedule,
    b1: float | int = 0.9,
    b2: float | int = 0.999,
    eps: float | int = 1e-8,
    eps_root: float | int = 0.0,
    mu_dtype: DTypeLike | None = None,
    bias_correction_mu: bool = True,
    bias_correction_nu: bool = True,
    *,
    max_before_correction: bool = False,
    eps_before_correction: bool = False,
) -> GradientTransformation:
    """AMSGrad: Adam that divides by the largest mean square so far, so that no rate ever grows.

    m ← β₁m + (1 − β₁)g,   m̂ = m/(1 − β₁ᵗ)
    v ← β₂v + (1 − β₂)g²
    p ← p − η·m̂/(√(v̂ + eps_root) + eps), with v̂ of the table and c = √(1 − β₂ᵗ)

    ================  ================  ==============================  =====================
    ``max_before_``   ``eps_before_``   v̂ and the root                  who
    ``correction``    ``correction``
    ================  ================  ==============================  =====================
    False             False             v̂ ← max(v̂, v/c²), √v̂ + ε        optax
    True              False             v̂ ← max(v̂, v), √v̂/c + ε         PyTorch
    True              True              v̂ ← max(v̂, v), (√v̂ + ε)/c       Keras
    ================  ================  ==============================  =====================

    The paper's algorithm 2 corrects nothing, and has no ε. ``eps_root`` is added to the corrected
    v̂.

    Args:
        learning_rate: η, a number or a schedule of it, finite and ≥ 0.
        b1: β₁ in [0, 1).
        b2: β₂ in [0, 1).
        eps: Added outside the root, ≥ 0; Keras' default is 1e-7.
        eps_root: Added inside the root, ≥ 0.
        mu_dtype: The dtype of m, if not that of each parameter.
        bias_correction_mu: Whether m is divided by 1 − β₁ᵗ.
        bias_correction_nu: Whether v is divided by 1 − β₂ᵗ.
        max_before_correction: Whether the maximum is of v itself, and corrected each time.
        eps_before_correction: Where ε is added; needs ``max_before_correction``.

    Raises:
        DomainError: an argument lies outside its domain.
        DtypeError: an argument is no number, or no bool. ``init`` raises it for float16, which
            cannot hold v.

    Reddi, Kale & Kumar, *On the convergence of Adam and beyond*, ICLR 2018, arXiv:1904.09237.
    """
    return chain(
        scale_by_amsgrad(
            b1, b2, eps, eps_root, mu_dtype, bias_correction_mu, bias_correction_nu,
            max_before_correction=max_before_correction,
            eps_before_correction=eps_before_correction,
        ),
        scale_by_learning_rate(learning_rate),
    )  # fmt: skip
