"""Schedules that a validation score drives: pure functions ``(state, score) -> (state, rate)``.

    schedule = reduce_on_plateau(0.1)
    state, rate = schedule.init(), 0.1
    for epoch in range(epochs):
        ...  # train at this rate, score the validation data
        state, rate = schedule.update(state, score)

A score that is NaN is no improvement, and never what a later one is compared with: a run that
diverges is slowed down and not stopped. The states are trees of arrays, to be saved with the rest
of a run.
"""

import math
from collections.abc import Callable
from numbers import Real
from typing import Any, NamedTuple, TypeAlias

import numpy as np

from purenn import tree
from purenn.contract import check_integer, check_number
from purenn.errors import DomainError, DtypeError
from purenn.schedules._step import check_bool, without_dimensions
from purenn.typing import Array

Score: TypeAlias = float | np.number[Any] | Array
"""A number, or an array of one without dimensions."""


class ValidationSchedule(NamedTuple):
    """What a validation-driven schedule is.

    Attributes:
        init: ``() -> state``, for the first epoch, whose rate is ``init_value``.
        update: ``(state, score) -> (state, rate)``, called once at the end of each epoch: the rate
            is that of the next. It raises TreeError, ShapeError or DtypeError when the state is not
            one of its own, DomainError when it counts less than 0, and DtypeError when the score is
            no number.
    """

    init: Callable[[], Any]
    update: Callable[[Any, Score], tuple[Any, float]]


class OpenNMTDecayState(NamedTuple):
    """The state of :func:`opennmt_decay`.

    Attributes:
        epochs: How many there were, int32.
        decays: How often the rate has decayed, int32.
        last_score: The last score that was not NaN, float64.
    """

    epochs: Array
    decays: Array
    last_score: Array


class ReduceLROnPlateauState(NamedTuple):
    """The state of :func:`reduce_on_plateau`, numbers in float64 and counts in int32.

    Attributes:
        scale: The rate as a part of the first one.
        best_value: The best score so far.
        plateau_count: Bad epochs in a row.
        cooldown_count: Epochs that are still to be ignored.
        count: Scores that are not yet judged.
        avg_value: Their mean.
    """

    scale: Array
    best_value: Array
    plateau_count: Array
    cooldown_count: Array
    count: Array  # type: ignore[assignment]  # optax's name hides tuple.count
    avg_value: Array


def opennmt_decay(
    init_value: float,
    decay: float = 0.7,
    start_epoch: int = 9,
    mode: str = "default",
    *,
    min_delta: float = 0.0,
    lower_is_better: bool = True,
) -> ValidationSchedule:
    """OpenNMT's decay of the rate at the end of an epoch: η ← decay·η.

    ================  =======================================================================
    ``mode``          the rate decays at the end of
    ================  =======================================================================
    ``default``       each epoch from ``start_epoch`` on, or, if that comes first, from the
                      first on whose score is worse than that of the epoch before
    ``epoch_only``    each epoch from ``start_epoch`` on
    ``score_only``    each epoch whose score is worse than that of the epoch before
    ================  =======================================================================

    Worse is what is not better by ``min_delta`` or more: as that is 0 unless told otherwise, a
    score that stays the same is not worse. It is compared with the last score, which need not be
    the best, and in the first epoch with none.

    These are the rules of OpenNMT in Lua (``updateLearningRate`` in onmt/train/Optim.lua), where
    the arguments are called ``learning_rate``, ``learning_rate_decay``, ``start_decay_at``,
    ``decay`` and ``start_decay_score_delta``. Its ``min_learning_rate`` ends the training, which is
    for the caller to do. Klein, Kim, Deng, Senellart & Rush, *OpenNMT: open-source toolkit for
    neural machine translation*, ACL 2017, arXiv:1701.02810.

    Args:
        init_value: The rate of the first epoch, finite.
        decay: In (0, 1].
        start_epoch: ≥ 1; the first epoch is 1.
        mode: ``"default"``, ``"epoch_only"`` or ``"score_only"``.
        min_delta: ≥ 0.
        lower_is_better: True for a loss or a perplexity, false for an accuracy or BLEU.

    Raises:
        DomainError: an argument lies outside its domain.
        DtypeError: an argument is no number, ``start_epoch`` no integer, or ``lower_is_better`` no
            bool.
    """
    name = "opennmt_decay"
    init_rate = check_number(name, "init_value", init_value)
    factor = check_number(name, "decay", decay, gt=0, le=1)
    start = check_integer(name, "start_epoch", start_epoch, least=1)
    delta = check_number(name, "min_delta", min_delta, ge=0)
    if mode not in ("default", "epoch_only", "score_only"):
        raise DomainError(
            f"{name}: mode is {mode!r}, expected 'default', 'epoch_only' or 'score_only'"
        )
    check_bool(name, "lower_is_better", lower_is_better)
    sign = 1 if lower_is_better else -1

    def init() -> OpenNMTDecayState:
        return _opennmt_state(0, 0, sign * math.inf)

    def update(state: OpenNMTDecayState, score: Score) -> tuple[OpenNMTDecayState, float]:
        _check_state(name, state, init())
        new, last = _number(name, score), float(state.last_score)
        epoch, decays = int(state.epochs) + 1, int(state.decays)
        # As a difference, so that what stays infinite has not improved.
        is_worse = epoch > 1 and not sign * new - (sign * last - delta) <= 0
        is_late = epoch >= start
        decays += {
            "default": is_late or is_worse or decays > 0,
            "epoch_only": is_late,
            "score_only": is_worse,
        }[mode]
        return (
            _opennmt_state(epoch, decays, last if math.isnan(new) else new),
            init_rate * factor**decays,
        )

    return ValidationSchedule(init, update)


def reduce_on_plateau(
    init_value: float,
    factor: float = 0.1,
    patience: int = 10,
    rtol: float = 1e-4,
    atol: float = 0.0,
    cooldown: int = 0,
    accumulation_size: int = 1,
    min_scale: float = 0.0,
    *,
    lower_is_better: bool = True,
) -> ValidationSchedule:
    """Reduce the rate by a factor when the score has not improved for some epochs in a row.

    The arguments and the numbers are those of ``optax.contrib.reduce_on_plateau``, whose scale of
    the updates is η/η₀ here. Others have the same numbers with other arguments (a score a, the best
    so far b; ``lower_is_better=False`` turns the comparisons around, with + for −):

    ======================  =======================  ========================  ==================
    ..                      optax, here              PyTorch                   Keras
    ======================  =======================  ========================  ==================
    a is better if          a < (1 − rtol)·b − atol  a < (1 − threshold)·b,    a < b − min_delta
                                                     ``abs``: b − threshold
    bad epochs to reduce    patience                 patience + 1              max(patience, 1)
    epochs then ignored     cooldown                 cooldown                  max(cooldown − 1,
                                                                               0)
    the rate is at least    η₀·min_scale             min_lr                    min_lr
    a change not made       none                     up to ``eps``, 1e-8       none
    ======================  =======================  ========================  ==================

    So PyTorch's defaults are ``patience=11`` here, and Keras' ``rtol=0, atol=1e-4``. A relative
    tolerance is for scores > 0: with one < 0 a score a little worse than the best would be better.

    Args:
        init_value: η₀, finite.
        factor: In (0, 1).
        patience: ≥ 1. (With 0 optax reduces at an improvement.)
        rtol: In [0, 1). (With 1 optax finds no score better than its first best, infinity.)
        atol: ≥ 0. Both tolerances may be 0, other than in optax: any improvement is one then.
        cooldown: ≥ 0.
        accumulation_size: ≥ 1: the mean of so many scores is judged.
        min_scale: In [0, 1].
        lower_is_better: True for a loss, false for an accuracy.

    Raises:
        DomainError: an argument lies outside its domain.
        DtypeError: an argument is no number, or no integer where it counts, or no bool.
    """
    name = "reduce_on_plateau"
    init_rate = check_number(name, "init_value", init_value)
    shrink = check_number(name, "factor", factor, gt=0, lt=1)
    bad_epochs = check_integer(name, "patience", patience, least=1)
    relative = check_number(name, "rtol", rtol, ge=0, lt=1)
    absolute = check_number(name, "atol", atol, ge=0)
    ignored = check_integer(name, "cooldown", cooldown, least=0)
    size = check_integer(name, "accumulation_size", accumulation_size, least=1)
    least = check_number(name, "min_scale", min_scale, ge=0, le=1)
    check_bool(name, "lower_is_better", lower_is_better)
    sign = 1 if lower_is_better else -1

    def init() -> ReduceLROnPlateauState:
        return _plateau_state(1.0, sign * math.inf, 0, 0, 0, 0.0)

    def update(state: ReduceLROnPlateauState, score: Score) -> tuple[ReduceLROnPlateauState, float]:
        _check_state(name, state, init())
        scale, best, bad, cooling, count, mean = (leaf.item() for leaf in state)
        mean = (count * mean + _number(name, score)) / (count + 1)
        count += 1
        if count >= size:
            is_better = sign * mean < sign * ((1 - sign * relative) * best - sign * absolute)
            best, bad = (mean, 0) if is_better else (best, bad + 1)
            if cooling:
                bad, cooling = 0, cooling - 1
            elif bad >= bad_epochs:
                scale, bad, cooling = max(scale * shrink, least), 0, ignored
            count, mean = 0, 0.0
        return _plateau_state(scale, best, bad, cooling, count, mean), init_rate * scale

    return ValidationSchedule(init, update)


def _opennmt_state(epochs: int, decays: int, last_score: float) -> OpenNMTDecayState:
    return OpenNMTDecayState(
        np.array(epochs, np.int32), np.array(decays, np.int32), np.array(last_score, np.float64)
    )


def _plateau_state(
    scale: float, best: float, bad: int, cooling: int, count: int, mean: float
) -> ReduceLROnPlateauState:
    a, b, c = (np.array(n, np.int32) for n in (bad, cooling, count))
    return ReduceLROnPlateauState(np.array(scale), np.array(best), a, b, c, np.array(mean))


def _check_state(name: str, state: Any, like: Any) -> None:
    tree.check_like(f"{name}: state", state, like)
    for field, leaf in state._asdict().items():
        if leaf.dtype.kind == "i":
            check_integer(name, f"state.{field}", leaf.item(), least=0)


def _number(name: str, score: object) -> float:
    """The score, which may be NaN or infinite."""
    value = without_dimensions(score)
    if isinstance(value, bool | np.bool_) or not isinstance(value, Real | np.floating):
        raise DtypeError(f"{name}: score is {score!r}, expected a number")
    return float(value)
