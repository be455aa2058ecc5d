"""Around a step: change a hyperparameter, stop at what is not finite, end at Ctrl-C."""

import math
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any

import numpy as np

from purenn import tree
from purenn.diagnostics import nonfinite
from purenn.errors import DomainError, TreeError
from purenn.training.objective import Batch
from purenn.training.step import Metrics, Step, TrainState
from purenn.typing import Params


def with_hyperparams(state: TrainState, **values: Any) -> TrainState:
    """Go on with other hyperparameters, a learning rate that follows a validation score say.

        optimizer = inject_hyperparams(adam)(learning_rate=1e-3)
        ...
        state = with_hyperparams(state, learning_rate=1e-4)

    Args:
        state: Of an optimizer made by :func:`purenn.optimizers.inject_hyperparams`.
        values: Numbers by name.

    Raises:
        TreeError: the optimizer has no hyperparameter of that name in its state.
    """
    known = getattr(state.opt_state, "hyperparams", {})
    if not values.keys() <= known.keys():
        raise TreeError(
            f"with_hyperparams: got {sorted(values.keys() - known.keys())}, expected some of "
            f"{sorted(known)}; inject_hyperparams puts them into the optimizer's state"
        )
    new = {name: np.asarray(value, known[name].dtype) for name, value in values.items()}
    return state._replace(opt_state=state.opt_state._replace(hyperparams={**known, **new}))


def stop_at_nonfinite(step: Step) -> Step:
    """The same step, that raises where the loss is no longer a finite number.

    Raises, when the step is taken:
        DomainError: the loss is NaN or infinite; the message has the number of the step, and the
            first entry of the batch that is not finite, or else of the parameters.
    """

    def checked(state: TrainState, batch: Batch) -> tuple[TrainState, Metrics]:
        number = int(state.step)
        after, metrics = step(state, batch)
        loss = float(metrics["loss"])
        if not math.isfinite(loss):
            where = (
                _first_bad_part(batch)
                or _first_bad(state.params)
                or f"batch and parameters are finite, after the step {_first_bad(after.params)}"
            )
            raise DomainError(f"step {number}: the loss is {loss}; {where}")
        return after, metrics

    return checked


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
    gives signals to no other; in another one nothing changes.
    """
    pressed: list[int] = []

    def handler(number: int, frame: FrameType | None) -> None:
        if pressed:
            raise KeyboardInterrupt
        pressed.append(number)

    try:
        before = signal.signal(signal.SIGINT, handler)
    except ValueError:  # not the main thread
        yield lambda: False
        return
    try:
        yield lambda: bool(pressed)
    finally:
        signal.signal(signal.SIGINT, before)
