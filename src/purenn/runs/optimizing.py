"""From ``optimizer``, ``schedule``, ``clip`` and ``accumulate`` to what makes the updates."""

import inspect
from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np

from purenn import optimizers, regularizers, schedules, tree
from purenn.errors import DtypeError
from purenn.optimizers import GradientTransformation, GradientTransformationExtraArgs
from purenn.runs.config import Config
from purenn.runs.expressions import ConfigError, called, evaluate, find
from purenn.schedules import ValidationSchedule
from purenn.typing import Array, Params


def optimizer_of(
    config: Config, per_epoch: int, params: Params
) -> tuple[GradientTransformation, Callable[[int], float] | None, ValidationSchedule | None]:
    """The optimizer; its learning rate, and what changes it, where there is a schedule.

    Raises:
        ConfigError: one of the keys is wrong, or the updates do not lower the loss.
    """
    _check_descent(config, _optimizer(replace(config, accumulate=1), per_epoch)[0], params)
    try:
        return _optimizer(config, per_epoch)
    except DtypeError as error:  # what searches a line cannot accumulate
        raise ConfigError(f"optimizer: {config.optimizer}: {error}") from None


def _check_descent(config: Config, optimizer: GradientTransformation, params: Params) -> None:
    """Try an update: a gradient that points away from 0 is not to be followed."""

    def gradient(leaf: Array) -> Array:
        return np.where(leaf == 0, 1, leaf).astype(leaf.dtype)

    def bowl(at: Params) -> tuple[Array, Params]:
        """The loss, half a squared distance, and its gradients."""
        away = tree.map(lambda new, old, its: new - old + its, at, params, gradients)
        return np.asarray(sum(np.sum(its * its) for its in tree.leaves(away)) / 2), away

    gradients = tree.map(gradient, params)
    extra: dict[str, Any] = {}
    if isinstance(optimizer, GradientTransformationExtraArgs):
        extra = {"value": bowl(params)[0], "value_and_grad_fn": bowl}
    try:
        with np.errstate(all="ignore"):
            updates, _ = optimizer.update(gradients, optimizer.init(params), params, **extra)
    except (ValueError, TypeError) as error:
        raise ConfigError(f"optimizer: {config.optimizer}: {error}") from None
    pairs = zip(tree.leaves_with_paths(gradients), tree.leaves(updates), strict=True)
    for (path, its), update in pairs:
        if np.sum(its * update) > 0:
            raise ConfigError(
                f"optimizer: {config.optimizer} moves params{tree.show(path)} up the gradient; "
                "expected one with a learning rate, as in adam(0.001)"
            )


def _optimizer(
    config: Config, per_epoch: int
) -> tuple[GradientTransformation, Callable[[int], float] | None, ValidationSchedule | None]:
    updates = per_epoch * config.epochs // config.accumulate
    numbers = {"steps": max(1, updates), "steps_per_epoch": max(1, per_epoch // config.accumulate)}
    found: Any = None
    if config.schedule:
        names = {name: getattr(schedules, name) for name in schedules.__all__ if name[0].islower()}
        firsts: list[float] = []

        def validated(factory: Callable[..., ValidationSchedule]) -> Callable[..., Any]:
            def made(*args: Any, **kwargs: Any) -> ValidationSchedule:
                schedule = factory(*args, **kwargs)
                bound = inspect.signature(factory).bind(*args, **kwargs)
                firsts.append(float(bound.arguments["init_value"]))
                return schedule

            return made

        driven = ("reduce_on_plateau", "opennmt_decay")
        names |= {name: validated(names[name]) for name in driven}
        found = evaluate("schedule", config.schedule, {**names, **numbers})
        if isinstance(found, ValidationSchedule):
            if not config.validation:
                raise ConfigError(
                    f"schedule: {config.schedule} follows the validation loss, and validation is 0"
                )
            factory = optimizers.inject_hyperparams(lambda rate: _chained(config, numbers, rate))
            return factory(rate=firsts[0]), None, found
        if not callable(found) or found in names.values():
            raise ConfigError(
                f"schedule: got {config.schedule}, expected a call, as in "
                "cosine_decay_schedule(0.001, steps)"
            )
    return _chained(config, numbers, found), found, None


def _chained(config: Config, numbers: Mapping[str, int], rate: Any) -> GradientTransformation:
    """The optimizer with this learning rate; with its own, if it is None."""
    hidden = {"apply_gradients", "apply_updates", "value_and_grad_from_state", "inject_hyperparams"}
    names: dict[str, Any] = {
        name: getattr(optimizers, name)
        for name in optimizers.__all__
        if name[0].islower() and name not in hidden
    }
    names |= {name: getattr(schedules, name) for name in schedules.__all__ if name[0].islower()}
    names |= {"is_weight": regularizers.is_weight, **numbers}
    text, kinds = config.optimizer, called("optimizer", config.optimizer)
    if rate is not None and len(kinds) == 1:
        factory = find("optimizer", kinds[0], names)
        if not callable(factory) or "learning_rate" not in inspect.signature(factory).parameters:
            raise ConfigError(f"optimizer: {kinds[0]} has no learning rate for the schedule")
        names[kinds[0]] = partial(factory, learning_rate=rate)
        text = text if text.rstrip().endswith(")") else f"{text}()"
    elif len(kinds) == 1 and not text.rstrip().endswith(")"):
        factory = find("optimizer", kinds[0], names)
        if not callable(factory) or "learning_rate" not in inspect.signature(factory).parameters:
            raise ConfigError(
                f"optimizer: {text} is none by itself, expected one as in adam(0.001)"
            )
        if (
            inspect.signature(factory).parameters["learning_rate"].default
            is inspect.Parameter.empty
        ):
            raise ConfigError(
                f"optimizer: {text} has no learning rate; write {text}(0.001), say, or give a "
                "schedule"
            )
        text = f"{text}()"
    try:
        found = evaluate("optimizer", text, names)
    except ConfigError as error:
        twice = rate is not None and "multiple values" in str(error)
        raise ConfigError(
            f"optimizer: {config.optimizer} has a learning rate, and there is a schedule; "
            f"write {kinds[0]} without its first argument"
            if twice
            else str(error)
        ) from None
    if not isinstance(found, GradientTransformation):
        raise ConfigError(f"optimizer: {text} is none, expected one as in adam(0.001)")
    if config.clip:
        found = optimizers.chain(optimizers.clip_by_global_norm(config.clip), found)
    return optimizers.multi_steps(found, config.accumulate) if config.accumulate > 1 else found
