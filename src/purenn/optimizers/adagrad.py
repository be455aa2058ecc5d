"""Adagrad: rates that shrink with all gradients that a parameter has had."""

from typing import Any, NamedTuple

import numpy as np

from purenn.contract import check_number
from purenn.optimizers._common import ScalarOrSchedule, check_bools, check_state, full_like
from purenn.optimizers._moments import root
from purenn.optimizers._sweep import Blocks, Sweep
from purenn.optimizers.base import GradientTransformation, chain, swept
from purenn.optimizers.scaling import scale_by_learning_rate
from purenn.tree import Tree
from purenn.typing import Array


class ScaleByRssState(NamedTuple):
    """a: the sum of g² so far, and of what it started with."""

    sum_of_squares: Tree


def scale_by_rss(
    initial_accumulator_value: float | int = 0.1,
    eps: float | int = 1e-7,
    *,
    eps_in_sqrt: bool = True,
) -> GradientTransformation:
    """What :func:`adagrad` does before the learning rate; the arguments are its."""
    name = "scale_by_rss"
    start = check_number(name, "initial_accumulator_value", initial_accumulator_value, ge=0)
    eps = check_number(name, "eps", eps, ge=0)
    check_bools(name, eps_in_sqrt=eps_in_sqrt)

    def init(params: Tree) -> ScaleByRssState:
        return ScaleByRssState(full_like(name, params, start, squares=True))

    def kernel(g: Array, u: Array, t: Array, old: Blocks, new: Blocks) -> Any:
        (a_old,), (a,) = old, new
        np.multiply(g, g, out=u)
        np.add(a_old, u, out=a)
        root(a, eps, eps_in_sqrt, u)
        np.divide(g, u, out=u)
        # Rare enough to be worth a look: a masked operation takes the time of ten others.
        is_positive = a > 0
        if not is_positive.all():
            np.multiply(g, 0, out=u, where=~is_positive)
        return u

    def sweep(run: Sweep, state: ScaleByRssState) -> ScaleByRssState:
        check_state(name, state, ScaleByRssState)
        return ScaleByRssState(*run.each(kernel, state.sum_of_squares))

    return swept(init, sweep)


def adagrad(
    learning_rate: ScalarOrSchedule,
    initial_accumulator_value: float | int = 0.1,
    eps: float | int = 1e-7,
    *,
    eps_in_sqrt: bool = True,
) -> GradientTransformation:
    """Adagrad: a parameter that has had large gradients takes small steps from then on.

    a ← a + g²
    p ← p − η·g/√(a + ε)

    and no step where a is 0, whatever ε.

    =====================  ============  ===============================================
    ``eps_in_sqrt``        a starts at   who
    =====================  ============  ===============================================
    True: g/√(a + ε)       0.1           optax, Keras (ε = 1e-7, η = 0.001)
    False: g/(√a + ε)      0             the paper (ε is its δ), PyTorch (1e-10, 0.01)
    =====================  ============  ===============================================

    PyTorch's ``lr_decay`` is :func:`purenn.schedules.inverse_time_decay` as ``learning_rate``.

    Args:
        learning_rate: η, a number or a schedule of it, finite and ≥ 0.
        initial_accumulator_value: What a starts at, ≥ 0.
        eps: ε ≥ 0.
        eps_in_sqrt: Where ε is added.

    Raises:
        DomainError: an argument lies outside its domain.
        DtypeError: an argument is no number, or no bool. ``init`` raises it for float16, which
            cannot hold a.

    Duchi, Hazan & Singer, *Adaptive subgradient methods for online learning and stochastic
    optimization*, JMLR 12 (2011), figure 1 with diagonal matrices.
    """
    return chain(
        scale_by_rss(initial_accumulator_value, eps, eps_in_sqrt=eps_in_sqrt),
        scale_by_learning_rate(learning_rate),
    )
