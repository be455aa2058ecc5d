"""Adam, and with decoupled weight decay AdamW."""

from typing import Any, NamedTuple

from numpy.typing import DTypeLike

from purenn.contract import check_floating_dtype
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
from purenn.optimizers.masking import Mask
from purenn.optimizers.scaling import scale_by_learning_rate
from purenn.optimizers.weight_decay import add_decayed_weights
from purenn.tree import Tree
from purenn.typing import Array


class ScaleByAdamState(NamedTuple):
    """The number of steps (int32), and the moving averages of g and g²."""

    count: Array  # type: ignore[assignment]
    mu: Tree
    nu: Tree


def scale_by_adam(
    b1: float | int = 0.9,
    b2: float | int = 0.999,
    eps: float | int = 1e-8,
    eps_root: float | int = 0.0,
    mu_dtype: DTypeLike | None = None,
    *,
    nesterov: bool = False,
    eps_before_correction: bool = False,
) -> GradientTransformation:
    """What :func:`adam` does before the learning rate; the arguments are its."""
    name = "scale_by_adam"
    b1, b2, eps, eps_root = check_moments(name, b1, b2, eps, eps_root)
    check_floating_dtype(name, "mu_dtype", mu_dtype)
    check_bools(name, nesterov=nesterov, eps_before_correction=eps_before_correction)

    def init(params: Tree) -> ScaleByAdamState:
        mu = full_like(name, params, dtype=mu_dtype)
        return ScaleByAdamState(zero(), mu, full_like(name, params, squares=True))

    def sweep(run: Sweep, state: ScaleByAdamState) -> ScaleByAdamState:
        check_state(name, state, ScaleByAdamState)
        count = steps(name, state.count) + 1
        weights = corrected(
            count, b1, b2, eps, eps_root,
            nesterov=nesterov, eps_before_correction=eps_before_correction,
        )  # fmt: skip

        def kernel(g: Array, u: Array, t: Array, old: Blocks, new: Blocks) -> Any:
            (m_old, v_old), (m, v) = old, new
            average(g, b1, m_old, m, u)
            average_of_squares(g, b2, v_old, v, u)
            return step(m, g, v, weights, u, t)

        mu, nu = run.each(
            kernel, state.mu, state.nu, scale=weights.scale, cast=mu_dtype is not None
        )
        return ScaleByAdamState(counted(count), mu, nu)

    return swept(init, sweep)


def adam(
    learning_rate: ScalarOrSchedule,
    b1: float | int = 0.9,
    b2: float | int = 0.999,
    eps: float | int = 1e-8,
    eps_root: float | int = 0.0,
    mu_dtype: DTypeLike | None = None,
    *,
    nesterov: bool = False,
    eps_before_correction: bool = False,
) -> GradientTransformation:
    """Adam: each parameter's step is scaled by the recent size of its own gradient.

    m ← β₁m + (1 − β₁)g,   m̂ = m/(1 − β₁ᵗ)
    v ← β₂v + (1 − β₂)g²,  v̂ = v/(1 − β₂ᵗ)
    p ← p − η·m̂/(√(v̂ + eps_root) + eps)

    The corrections are moved out of the arrays into scalars, as the end of the paper's section 2
    proposes: with c = √(1 − β₂ᵗ) the step is η·c/(1 − β₁ᵗ) · m/(√(v + c²·eps_root) + c·eps).

    ==============================  ==========================================================
    ``eps_before_correction``       who
    ==============================  ==========================================================
    False: √v̂ + ε                   the paper's algorithm 1, PyTorch, optax
    True: √v + ε, then corrected    the end of the paper's section 2 (ε̂), Keras, TensorFlow
    ==============================  ==========================================================

    Args:
        learning_rate: η, a number or a schedule of it, finite and ≥ 0; the paper proposes 0.001.
        b1: β₁ in [0, 1).
        b2: β₂ in [0, 1).
        eps: Added outside the root, ≥ 0; Keras' default is 1e-7.
        eps_root: Added inside the root, ≥ 0.
        mu_dtype: The dtype of m, if not that of each parameter.
        nesterov: NAdam without its schedule; :func:`purenn.optimizers.nadam` has it.
        eps_before_correction: Where ε is added.

    Raises:
        DomainError: an argument lies outside its domain.
        DtypeError: an argument is no number, or no bool. ``init`` raises it for float16, which
            cannot hold v.

    Kingma & Ba, *Adam: a method for stochastic optimization*, ICLR 2015, arXiv:1412.6980.
    """
    return chain(
        scale_by_adam(
            b1, b2, eps, eps_root, mu_dtype, nesterov=nesterov,
            eps_before_correction=eps_before_correction,
        ),
        scale_by_learning_rate(learning_rate),
    )  # fmt: skip


def adamw(
    learning_rate: ScalarOrSchedule,
    b1: float | int = 0.9,
    b2: float | int = 0.999,
    eps: float | int = 1e-8,
    eps_root: float | int = 0.0,
    mu_dtype: DTypeLike | None = None,
    weight_decay: ScalarOrSchedule = 1e-4,
    mask: Mask | None = None,
    *,
    nesterov: bool = False,
    eps_before_correction: bool = False,
) -> GradientTransformation:
    """:func:`adam` with decoupled weight decay: p ← p − η·(m̂/(√v̂ + ε) + λp).

    The decay is multiplied by η, as in PyTorch, Keras and optax; the paper has a schedule
    multiplier of its own in its place. PyTorch's default λ is 0.01, Keras' 0.004.

    Args:
        learning_rate: As for :func:`adam`, and so are the next five.
        b1: β₁.
        b2: β₂.
        eps: Added outside the root.
        eps_root: Added inside the root.
        mu_dtype: The dtype of m.
        weight_decay: λ, a number or a schedule of it, finite and ≥ 0.
        mask: The leaves that decay; all, if None. See :data:`purenn.optimizers.Mask`.
        nesterov: As for :func:`adam`.
        eps_before_correction: As for :func:`adam`; Keras' AdamW does so, too.

    Raises:
        DomainError: an argument lies outside its domain.
        DtypeError: an argument is no number, or no bool.
        TreeError: the update raises it where it is given no parameters.

    Loshchilov & Hutter, *Decoupled weight decay regularization*, ICLR 2019, arXiv:1711.05101.
    """
    return chain(
        scale_by_adam(
            b1, b2, eps, eps_root, mu_dtype, nesterov=nesterov,
            eps_before_correction=eps_before_correction,
        ),
        add_decayed_weights(weight_decay, mask),
        scale_by_learning_rate(learning_rate),
    )  # fmt: skip
