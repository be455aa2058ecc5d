"""Around a step: change a hyperparameter, stop at what is not finite, end at Ctrl-C."""

import math
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from types import FrameType
from typing import Any

import numpy as np

from purenn import tree
from purenn.contract import check_number
from purenn.diagnostics import nonfinite
from purenn.errors import DomainError, TreeError
from purenn.optimizers import InjectStatefulHyperparamsState
from purenn.schedules._step import without_dimensions
from purenn.training.objective import Batch
from purenn.training.step import Metrics, Step, TrainState, check_train_state
from purenn.tree import Path
from purenn.typing import Params


def with_hyperparams(state: TrainState, **values: Any) -> TrainState:
    """Go on with other hyperparameters, a learning rate that follows a validation score say.

        optimizer = inject_hyperparams(adam)(learning_rate=1e-3)
        ...
        state = with_hyperparams(state, learning_rate=1e-4)

    Args:
        state: Of an optimizer made by :func:`purenn.optimizers.inject_hyperparams`, or that has
            one as a part.
        values: Numbers by name. What the hyperparameter must be besides, the next step checks.

    Raises:
        TreeError: the optimizer has no hyperparameter of that name in its state, or several.
        DomainError: a value is not finite, or the hyperparameter has a schedule.
        DtypeError: a value is no number, or ``state`` no TrainState.
    """
    name = "with_hyperparams"
    check_train_state(name, state)
    injected = [*_injected(state.opt_state)]
    new: dict[Path, Any] = {}
    for key, value in values.items():
        places = [(path, its) for path, its in injected if key in its.hyperparams]
        if not places:
            known = sorted({key for _, its in injected for key in its.hyperparams})
            raise TreeError(
                f"{name}: got {key!r}, expected some of {known}; inject_hyperparams puts them into "
                "the optimizer's state"
            )
        if len(places) > 1:
            raise TreeError(f"{name}: {len(places)} parts of the optimizer have {key!r}")
        ((path, its),) = places
        if key in its.hyperparams_states:
            raise DomainError(f"{name}: {key} has a schedule, from which each update takes it anew")
        number = without_dimensions(value)
        check_number(name, key, number)
        dtype = its.hyperparams[key].dtype
        # An int that becomes a fraction is stored as one, and takes its dtype in the next update.
        new[*path, "hyperparams", key] = np.asarray(number, None if dtype.kind in "iu" else dtype)
    opt_state = tree.map_with_path(lambda path, leaf: new.get(path, leaf), state.opt_state)
    return state._replace(opt_state=opt_state)


def _injected(node: Any, path: Path = ()) -> Iterator[tuple[Path, InjectStatefulHyperparamsState]]:
    """The states within that have hyperparameters, with the paths that lead there."""
    if isinstance(node, InjectStatefulHyperparamsState):
        yield path, node
    for step, child in (tree.children(node) or {}).items():
        yield from _injected(child, (*path, step))


def stop_at_nonfinite(step: Step) -> Step:
    """The same step, that raises where the loss is no longer a finite number.

    Raises, when the step is taken:
        DomainError: the loss is NaN or infinite; the message has the number of the step, and the
            first entry of the batch that is not finite, or else of the parameters: those before the
            step, unless it was made with ``donate=True`` and has written the next ones over them.
    """

    def checked(state: TrainState, batch: Batch) -> tuple[TrainState, Metrics]:
        number = int(state.step)
        after, metrics = step(state, batch)
        loss = float(metrics["loss"])
        if not math.isfinite(loss):
            raise DomainError(f"step {number}: the loss is {loss}; {_where(state, batch, after)}")
        return after, metrics

    return checked


def _where(state: TrainState, batch: Batch, after: TrainState) -> str:
    """The first thing that is not finite."""
    pairs = zip(tree.leaves(state.params), tree.leaves(after.params), strict=True)
    known = {"batch": _first_bad_part(batch)}
    if not all(np.shares_memory(old, new) for old, new in pairs):
        known["parameters"] = _first_bad(state.params)
    found = next((bad for bad in known.values() if bad), None)
    if found:
        return found
    bad = _first_bad(after.params) or "the parameters are finite too"
    return f"{' and '.join(known)} {'are' if len(known) > 1 else 'is'} finite, after the step {bad}"


def _first_bad_part(batch: Batch) -> str | None:
    for name, part in zip(("inputs", "targets", "weights"), batch, strict=False):
        bad = nonfinite(part) if part.dtype.kind not in "iub" else []
        if bad:
            return f"batch: {name}{list(bad[0].first)} is {bad[0].value}"
    return None


def _first_bad(params: Params) -> str | None:
    for bad in nonfinite(params):
        return f"params{tree.show(bad.path)}{list(bad.first) or ''} is {bad.value}"
    return None


@contextmanager
def interruptible() -> Iterator[Callable[[], bool]]:
    """Let Ctrl-C end a loop after its step, and not within.

        with interruptible() as interrupted:
            for state, metrics in fit(step, state, batches):
                if interrupted():
                    break

    A second Ctrl-C raises KeyboardInterrupt at once. Only the main thread can do this, as Python
    gives signals to no other; in another one nothing changes, nor where the signal is ignored, as
    in a process that a shell runs in the background. One within another ends both loops.
    """
    before = signal.getsignal(signal.SIGINT)
    is_main = threading.current_thread() is threading.main_thread()
    if before is signal.SIG_IGN or not is_main:
        yield lambda: False
        return
    # One within another ends both.
    is_inner = isinstance(before, partial) and before.func is _press
    pressed: list[int] = before.args[0] if is_inner else []  # type: ignore[union-attr]
    signal.signal(signal.SIGINT, partial(_press, pressed))
    try:
        yield lambda: bool(pressed)
    finally:
        signal.signal(signal.SIGINT, before)


def _press(pressed: list[int], number: int, frame: FrameType | None) -> None:
    if pressed:
        raise KeyboardInterrupt
    pressed.append(number)
