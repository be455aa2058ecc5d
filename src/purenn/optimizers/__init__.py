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
from purenn.optimizers.accumulation import MultiStepsState, multi_steps
from purenn.optimizers.adabelief import ScaleByBeliefState, adabelief, scale_by_belief
from purenn.optimizers.adadelta import ScaleByAdaDeltaState, adadelta, scale_by_adadelta
from purenn.optimizers.adagrad import ScaleByRssState, adagrad, scale_by_rss
from purenn.optimizers.adam import ScaleByAdamState, adam, adamw, scale_by_adam
from purenn.optimizers.adamax import adamax, scale_by_adamax
from purenn.optimizers.amsgrad import ScaleByAmsgradState, amsgrad, scale_by_amsgrad
from purenn.optimizers.base import (
    EmptyState,
    GradientTransformation,
    GradientTransformationExtraArgs,
    apply_gradients,
    apply_updates,
    chain,
    identity,
)
from purenn.optimizers.clipping import clip, clip_by_block_rms, clip_by_global_norm
from purenn.optimizers.constraint import keep_max_norm
from purenn.optimizers.finite import (
    ApplyIfFiniteState,
    ZeroNansState,
    apply_if_finite,
    raise_if_not_finite,
    zero_nans,
)
from purenn.optimizers.injection import (
    InjectStatefulHyperparamsState,
    WrappedScheduleState,
    inject_hyperparams,
)
from purenn.optimizers.lbfgs import (
    LBFGSState,
    ScaleByLBFGSState,
    lbfgs,
    scale_by_lbfgs,
    value_and_grad_from_state,
)
from purenn.optimizers.line_search import LineSearchResult, wolfe_line_search
from purenn.optimizers.lion import ScaleByLionState, lion, scale_by_lion
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
from purenn.optimizers.nadam import ScaleByNadamState, nadam, nadamw, scale_by_nadam
from purenn.optimizers.radam import radam, scale_by_radam
from purenn.optimizers.rmsprop import (
    ScaleByRmsState,
    ScaleByRmsWithCountState,
    ScaleByRStdDevState,
    ScaleByRStdDevWithCountState,
    rmsprop,
    scale_by_rms,
    scale_by_stddev,
)
from purenn.optimizers.rprop import ScaleByRpropState, rprop, scale_by_rprop
from purenn.optimizers.scaling import (
    ScaleByScheduleState,
    scale,
    scale_by_learning_rate,
    scale_by_schedule,
)
from purenn.optimizers.trust_ratio import lamb, lars, scale_by_trust_ratio
from purenn.optimizers.weight_decay import WeightDecaySchedule, add_decayed_weights
from purenn.optimizers.yogi import scale_by_yogi, yogi

__all__ = [
    "ApplyIfFiniteState",
    "EmaState",
    "EmptyState",
    "GradientTransformation",
    "GradientTransformationExtraArgs",
    "InjectStatefulHyperparamsState",
    "LBFGSState",
    "LineSearchResult",
    "Mask",
    "MaskedNode",
    "MaskedState",
    "MultiStepsState",
    "PartitionState",
    "ScaleByAdaDeltaState",
    "ScaleByAdamState",
    "ScaleByAmsgradState",
    "ScaleByBeliefState",
    "ScaleByLBFGSState",
    "ScaleByLionState",
    "ScaleByNadamState",
    "ScaleByRStdDevState",
    "ScaleByRStdDevWithCountState",
    "ScaleByRmsState",
    "ScaleByRmsWithCountState",
    "ScaleByRpropState",
    "ScaleByRssState",
    "ScaleByScheduleState",
    "TraceState",
    "WeightDecaySchedule",
    "WrappedScheduleState",
    "ZeroNansState",
    "adabelief",
    "adadelta",
    "adagrad",
    "adam",
    "adamax",
    "adamw",
    "add_decayed_weights",
    "amsgrad",
    "apply_gradients",
    "apply_if_finite",
    "apply_updates",
    "chain",
    "clip",
    "clip_by_block_rms",
    "clip_by_global_norm",
    "ema",
    "freeze",
    "identity",
    "inject_hyperparams",
    "keep_max_norm",
    "lamb",
    "lars",
    "lbfgs",
    "lion",
    "masked",
    "multi_steps",
    "nadam",
    "nadamw",
    "partition",
    "radam",
    "raise_if_not_finite",
    "rmsprop",
    "rprop",
    "scale",
    "scale_by_adadelta",
    "scale_by_adam",
    "scale_by_adamax",
    "scale_by_amsgrad",
    "scale_by_belief",
    "scale_by_lbfgs",
    "scale_by_learning_rate",
    "scale_by_lion",
    "scale_by_nadam",
    "scale_by_radam",
    "scale_by_rms",
    "scale_by_rprop",
    "scale_by_rss",
    "scale_by_schedule",
    "scale_by_stddev",
    "scale_by_trust_ratio",
    "scale_by_yogi",
    "set_to_zero",
    "sgd",
    "trace",
    "value_and_grad_from_state",
    "wolfe_line_search",
    "yogi",
    "zero_nans",
]
