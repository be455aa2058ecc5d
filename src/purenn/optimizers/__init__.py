"""Optimizers, as in optax: the same names, the same defaults, the same numbers.

An optimizer is a pair of pure functions::

    opt_state = optimizer.init(params)
    updates, opt_state = optimizer.update(grads, opt_state, params)
    params = apply_updates(params, updates)

and ``apply_gradients(optimizer, grads, opt_state, params)`` is the last two lines in one pass
through memory. A chain of transformations makes one pass, too.

Symbols: g gradient, η learning rate, p parameter, t = 1, 2, … the number of the step. Parameters,
gradients and states are trees of arrays; an update has the dtype of its parameter, float16 and
bfloat16 are computed with in float32. Numbers that are not finite pass through, unless a
transformation for them is in the chain.
"""

from purenn.optimizers._sweep import MaskedNode
from purenn.optimizers.adam import ScaleByAdamState, adam, adamw, scale_by_adam
from purenn.optimizers.base import (
    EmptyState,
    GradientTransformation,
    apply_gradients,
    apply_updates,
    chain,
    identity,
)
from purenn.optimizers.lbfgs import (
    GradientTransformationExtraArgs,
    LBFGSState,
    ScaleByLBFGSState,
    lbfgs,
    scale_by_lbfgs,
    value_and_grad_from_state,
)
from purenn.optimizers.line_search import LineSearchResult, wolfe_line_search
from purenn.optimizers.masking import (
    Mask,
    MaskedState,
    PartitionState,
    freeze,
    masked,
    partition,
    set_to_zero,
)
from purenn.optimizers.momentum import EmaState, TraceState, ema, sgd, trace
from purenn.optimizers.scaling import (
    ScaleByScheduleState,
    scale,
    scale_by_learning_rate,
    scale_by_schedule,
)
from purenn.optimizers.weight_decay import WeightDecaySchedule, add_decayed_weights

__all__ = [
    "EmaState",
    "EmptyState",
    "GradientTransformation",
    "GradientTransformationExtraArgs",
    "LBFGSState",
    "LineSearchResult",
    "Mask",
    "MaskedNode",
    "MaskedState",
    "PartitionState",
    "ScaleByAdamState",
    "ScaleByLBFGSState",
    "ScaleByScheduleState",
    "TraceState",
    "WeightDecaySchedule",
    "adam",
    "adamw",
    "add_decayed_weights",
    "apply_gradients",
    "apply_updates",
    "chain",
    "ema",
    "freeze",
    "identity",
    "lbfgs",
    "masked",
    "partition",
    "scale",
    "scale_by_adam",
    "scale_by_lbfgs",
    "scale_by_learning_rate",
    "scale_by_schedule",
    "set_to_zero",
    "sgd",
    "trace",
    "value_and_grad_from_state",
    "wolfe_line_search",
]
