"""Early stopping as a pure function of the best that there was and the next score."""

import math
from collections.abc import Callable
from typing import Any, Literal, NamedTuple

from purenn.contract import check_integer, check_number
from purenn.errors import DomainError


class Best(NamedTuple):
    """The best so far.

    Attributes:
        score: Its score; if there is none yet, the worst that there can be.
        kept: What came with it: the state to go back to.
        at: Its number, from 0; −1, if there is none yet.
        seen: How many scores there were.
        stop: Whether it is time to stop.
    """

    score: float
    kept: Any = None
    at: int = -1
    seen: int = 0
    stop: bool = False


class EarlyStopping(NamedTuple):
    """``init() -> best`` and ``update(best, score, kept=None) -> best``."""

    init: Callable[[], Best]
    update: Callable[..., Best]


def early_stopping(
    patience: int, *, min_delta: float | int = 0.0, mode: Literal["min", "max"] = "min"
) -> EarlyStopping:
    """Keep the best, and stop where nothing better has come for a while.

        stopping = early_stopping(patience=10)
        best = stopping.init()
        for epoch in range(100):
            ...
            best = stopping.update(best, scores["loss"], state)
            if best.stop:
                break
        best.kept.params

    What is kept is kept as it is. A step of ``train_step(…, donate=True)`` writes to the state that
    it is given, so keep a copy of that: ``tree.map(np.copy, state)``.

    Args:
        patience: Scores in a row that are no better than the best before ``stop`` is true, ≥ 1.
        min_delta: By how much a score must be better to count, ≥ 0.
        mode: Whether low scores are good or high ones. NaN is never better.

    Raises:
        DomainError: an argument lies outside its domain.
        DtypeError: ``patience`` is no int, or ``min_delta`` no number.
    """
    check_integer("early_stopping", "patience", patience, least=1)
    delta = check_number("early_stopping", "min_delta", min_delta, ge=0)
    if mode not in ("min", "max"):
        raise DomainError(f"early_stopping: mode is {mode!r}, expected 'min' or 'max'")
    sign = 1 if mode == "min" else -1

    def init() -> Best:
        return Best(sign * math.inf)

    def update(best: Best, score: float, kept: Any = None) -> Best:
        # The first number is better than none, however bad.
        first = best.at < 0 and not math.isnan(score)
        if first or sign * (best.score - score) > delta:
            return Best(float(score), kept, best.seen, best.seen + 1)
        return best._replace(seen=best.seen + 1, stop=best.seen - best.at >= patience)

    return EarlyStopping(init, update)
