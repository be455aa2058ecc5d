"""Lion: the sign of a momentum."""

from typing import Any, Literal, NamedTuple, get_args

import numpy as np
from numpy.typing import DTypeLike

from purenn.contract import check_floating_dtype, check_number
from purenn.errors import DomainError
from purenn.optimizers._common import (
    ScalarOrSchedule,
    check_state,
    counted,
    full_like,
    steps,
    zero,
)
from purenn.optimizers._moments import average, sign
from purenn.optimizers._sweep import Blocks, Sweep
from purenn.optimizers.base import GradientTransformation, chain, swept
from purenn.optimizers.masking import Mask
from purenn.optimizers.scaling import scale_by_learning_rate
from purenn.optimizers.weight_decay import add_decayed_weights
from purenn.tree import Tree
from purenn.typing import Array

Mode = Literal["hard", "smooth", "refined"]


class ScaleByLionState(NamedTuple):
    """The number of steps (int32), and the moving average of g."""

    count: Array  # type: ignore[assignment]
    mu: Tree


def scale_by_lion(
    b1: float | int = 0.9,
    b2: float | int = 0.99,
    mu_dtype: DTypeLike | None = None,
    *,
    mode: Mode = "hard",
    smooth_beta: float | int = 1.0,
) -> GradientTransformation:
    """What :func:`lion` does before weight decay and learning rate, with other signs to choose.

    =============  =====================================
    ``mode``       what becomes of x = β₁m + (1 − β₁)g
    =============  =====================================
    ``"hard"``     sign(x), the paper's
    ``"smooth"``   tanh(``smooth_beta``·x)
    ``"refined"``  x between −1 and 1, sign(x) beyond
    =============  =====================================

    Args:
        b1: β₁ in [0, 1).
        b2: β₂ in [0, 1).
        mu_dtype: The dtype of m, if not that of each parameter.
        mode: The sign.
        smooth_beta: The slope of ``"smooth"`` at 0, > 0.

    Raises:
        DomainError: an argument lies outside its domain.
        DtypeError: an argument is no number.
    """
    name = "scale_by_lion"
    b1 = check_number(name, "b1", b1, ge=0, lt=1)
    b2 = check_number(name, "b2", b2, ge=0, lt=1)
    check_floating_dtype(name, "mu_dtype", mu_dtype)
    if mode not in get_args(Mode):
        raise DomainError(f"{name}: mode is {mode!r}, expected one of {[*get_args(Mode)]}")
    slope = check_number(name, "smooth_beta", smooth_beta, gt=0)

    def init(params: Tree) -> ScaleByLionState:
        return ScaleByLionState(zero(), full_like(name, params, dtype=mu_dtype))

    def kernel(g: Array, u: Array, t: Array, old: Blocks, new: Blocks) -> Any:
        (m_old,), (m,) = old, new
        average(g, b1, m_old, u, t)
        average(g, b2, m_old, m, t)
        if mode == "hard":
            return sign(u, out=u)
        if mode == "refined":
            return np.clip(u, -1, 1, out=u)
        np.multiply(u, slope, out=u)
        return np.tanh(u, out=u)

    def sweep(run: Sweep, state: ScaleByLionState) -> ScaleByLionState:
        check_state(name, state, ScaleByLionState)
        count = steps(name, state.count) + 1
        return ScaleByLionState(
            counted(count), *run.each(kernel, state.mu, cast=mu_dtype is not None)
        )

    return swept(init, sweep)


def lion(
    learning_rate: ScalarOrSchedule,
    b1: float | int = 0.9,
    b2: float | int = 0.99,
    mu_dtype: DTypeLike | None = None,
    weight_decay: ScalarOrSchedule = 1e-3,
    mask: Mask | None = None,
) -> GradientTransformation:
    """Lion: every parameter moves by η, in the direction of a momentum.

    p ← p − η·(sign(β₁m + (1 − β₁)g) + λp)
    m ← β₂m + (1 − β₂)g

    optax and Keras do the same, but Keras has no weight decay unless told so. Steps are longer
    than Adam's: the paper advises an η 3 to 10 times smaller, and a λ larger by as much.

    Args:
        learning_rate: η, a number or a schedule of it, finite and ≥ 0.
        b1: β₁ in [0, 1), the part of m in the direction.
        b2: β₂ in [0, 1), the part of m in the next m.
        mu_dtype: The dtype of m, if not that of each parameter.
        weight_decay: λ, a number or a schedule of it, finite and ≥ 0.
        mask: The leaves that decay; all, if None. See :data:`purenn.optimizers.Mask`.

    Raises:
        DomainError: an argument lies outside its domain.
        DtypeError: an argument is no number.
        TreeError: the update raises it where it is given no parameters.

    Chen et al., *Symbolic discovery of optimization algorithms*, NeurIPS 2023, arXiv:2302.06675.
    """
    return chain(
        scale_by_lion(b1, b2, mu_dtype),
        add_decayed_weights(weight_decay, mask),
        scale_by_learning_rate(learning_rate),
    )
