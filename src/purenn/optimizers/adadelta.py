"""Adadelta: steps in the units of the parameters, so that no rate has to be chosen."""

from typing import Any, NamedTuple

import numpy as np

from purenn.contract import check_number
from purenn.optimizers._common import ScalarOrSchedule, check_bools, check_state, full_like
from purenn.optimizers._moments import average_of_squares, root
from purenn.optimizers._sweep import Blocks, Sweep
from purenn.optimizers.base import GradientTransformation, chain, swept
from purenn.optimizers.masking import Mask
from purenn.optimizers.scaling import scale_by_learning_rate
from purenn.optimizers.weight_decay import add_decayed_weights
from purenn.tree import Tree
from purenn.typing import Array


class ScaleByAdaDeltaState(NamedTuple):
    """a and d: the moving averages of g² and of u²."""

    e_g: Tree
    e_x: Tree


def scale_by_adadelta(
    rho: float | int = 0.9, eps: float | int = 1e-6, *, eps_in_sqrt: bool = True
) -> GradientTransformation:
    """What :func:`adadelta` does between the weight decay and the rate; the arguments are its."""
    name = "scale_by_adadelta"
    rho = check_number(name, "rho", rho, ge=0, lt=1)
    eps = check_number(name, "eps", eps, ge=0)
    check_bools(name, eps_in_sqrt=eps_in_sqrt)

    def init(params: Tree) -> ScaleByAdaDeltaState:
        e_g, e_x = (full_like(name, params, squares=True) for _ in range(2))
        return ScaleByAdaDeltaState(e_g, e_x)

    def kernel(g: Array, u: Array, t: Array, old: Blocks, new: Blocks) -> Any:
        (a_old, d_old), (a, d) = old, new
        average_of_squares(g, rho, a_old, a, t)
        root(a, eps, eps_in_sqrt, t)
        root(d_old, eps, eps_in_sqrt, u)
        np.divide(u, t, out=u)
        np.multiply(u, g, out=u)
        average_of_squares(u, rho, d_old, d, t)
        return u

    def sweep(run: Sweep, state: ScaleByAdaDeltaState) -> ScaleByAdaDeltaState:
        check_state(name, state, ScaleByAdaDeltaState)
        return ScaleByAdaDeltaState(*run.each(kernel, state.e_g, state.e_x))

    return swept(init, sweep)


def adadelta(
    learning_rate: ScalarOrSchedule | None = None,
    rho: float | int = 0.9,
    eps: float | int = 1e-6,
    weight_decay: ScalarOrSchedule = 0.0,
    weight_decay_mask: Mask | None = None,
    *,
    eps_in_sqrt: bool = True,
) -> GradientTransformation:
    """Adadelta: the step is to its own recent size as the gradient is to its.

    g ← g + λp
    a ← ρa + (1 − ρ)g²
    u = g·√(d + ε)/√(a + ε)
    d ← ρd + (1 − ρ)u²
    p ← p − ηu

    Without ``learning_rate`` u itself goes on, its sign unchanged, as in optax: added to the
    parameters it climbs. The paper's algorithm, which has no η, is ``adadelta(1.0, 0.95)``.

    ================  ========  =====  ======
    default of        η         ρ      ε
    ================  ========  =====  ======
    the paper         1         0.95   1e-6
    optax             none      0.9    1e-6
    PyTorch           1         0.9    1e-6
    Keras             0.001     0.95   1e-7
    ================  ========  =====  ======

    Args:
        learning_rate: η, a number or a schedule of it, finite and ≥ 0, or None.
        rho: ρ in [0, 1).
        eps: ε ≥ 0. It also sets the size of the first steps, about √ε each, or ε outside the roots.
        weight_decay: λ, a number or a schedule of it, finite and ≥ 0.
        weight_decay_mask: The leaves that decay; all, if None. See
            :data:`purenn.optimizers.Mask`.
        eps_in_sqrt: Whether ε is inside the roots, as in the paper and all of these libraries, or
            outside, u = g·(√d + ε)/(√a + ε), as in some from-scratch tutorials.

    Raises:
        DomainError: an argument lies outside its domain.
        DtypeError: an argument is no number, or no bool. ``init`` raises it for float16, which
            cannot hold a.
        TreeError: the update raises it where it is given no parameters, even if λ = 0, as in
            optax.

    Zeiler, *ADADELTA: an adaptive learning rate method*, 2012, arXiv:1212.5701, algorithm 1.
    """
    return chain(
        add_decayed_weights(weight_decay, weight_decay_mask),
        scale_by_adadelta(rho, eps, eps_in_sqrt=eps_in_sqrt),
        scale_by_learning_rate(learning_rate),
    )
