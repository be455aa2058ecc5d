"""Schedules, as in optax: pure functions of the step, with the same names and defaults.

    schedule = warmup_cosine_decay_schedule(0.0, 0.1, warmup_steps=100, decay_steps=1000)
    rate = schedule(step)

A step is what has been taken so far: an int ≥ 0, or a NumPy integer such as ``TrainState.step``.
The value is a finite float, computed in float64; it may be any hyperparameter.

The numbers are optax's under ``jax_enable_x64``, but JAX is less exact where it divides steps, t/T:

- of an int32, in which optax's optimizers count, in float32: straight lines and exponentials,
  warm-ups among them, have seven digits then;
- compiled as t·(1/T): a staircase may come a step late (T = 49), and a power of 1 − t/T is not 0
  for t = T, or NaN if the exponent is a fraction (T = 5).
"""

from purenn.schedules._step import Schedule
from purenn.schedules.decay import (
    constant_schedule,
    cosine_decay_schedule,
    exponential_decay,
    inverse_time_decay,
    linear_schedule,
    polynomial_schedule,
)
from purenn.schedules.piecewise import (
    cosine_onecycle_schedule,
    linear_onecycle_schedule,
    piecewise_constant_schedule,
    piecewise_interpolate_schedule,
)
from purenn.schedules.validation import (
    OpenNMTDecayState,
    ReduceLROnPlateauState,
    ValidationSchedule,
    opennmt_decay,
    reduce_on_plateau,
)
from purenn.schedules.warmup import (
    join_schedules,
    sgdr_schedule,
    warmup_constant_schedule,
    warmup_cosine_decay_schedule,
    warmup_exponential_decay_schedule,
)

__all__ = [
    "OpenNMTDecayState",
    "ReduceLROnPlateauState",
    "Schedule",
    "ValidationSchedule",
    "constant_schedule",
    "cosine_decay_schedule",
    "cosine_onecycle_schedule",
    "exponential_decay",
    "inverse_time_decay",
    "join_schedules",
    "linear_onecycle_schedule",
    "linear_schedule",
    "opennmt_decay",
    "piecewise_constant_schedule",
    "piecewise_interpolate_schedule",
    "polynomial_schedule",
    "reduce_on_plateau",
    "sgdr_schedule",
    "warmup_constant_schedule",
    "warmup_cosine_decay_schedule",
    "warmup_exponential_decay_schedule",
]
