"""Choosing between models: k-fold cross-validation, and a search on validation data alone."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Literal, NamedTuple

import numpy as np

from purenn.contract import check_array
from purenn.errors import DomainError, DtypeError, TreeError
from purenn.training.batching import check_arrays
from purenn.typing import Array

Arrays = tuple[Array, ...]


def cross_validate(
    run: Callable[[Arrays, Arrays], float],
    arrays: Sequence[Array],
    folds: Iterable[tuple[Array, Array]],
) -> list[float]:
    """Train and score once per fold, each time with other examples left out of training.

        folds = StratifiedKFold(5, shuffle=True, random_state=0).split(inputs, labels)
        scores = cross_validate(run, (inputs, labels), folds)

    What is fitted to the data, such as a scaler, belongs into ``run``: it must see the training
    part alone.

    Args:
        run: Of the arrays of the training part and those of the validation part, to a score.
        arrays: Arrays that have an example per index of the first axis.
        folds: Indices (examples,) of the two parts, as scikit-learn's ``split`` gives them.

    Returns:
        The scores in the order of the folds.

    Raises:
        ShapeError, DtypeError: the arrays do not fit each other, or a fold holds no integers.
        TreeError: a fold is no pair.
        DomainError: there are no folds, an index is out of range, or an example is in both parts.
    """
    count = check_arrays("cross_validate", arrays)
    scores = []
    for i, fold in enumerate(folds):
        if not isinstance(fold, tuple | list) or len(fold) != 2:
            raise TreeError(
                f"cross_validate: folds[{i}] is no pair, expected indices (train, validation)"
            )
        parts = [*map(np.asarray, fold)]
        for part in parts:
            check_array("cross_validate", f"folds[{i}]", part)
            if part.dtype.kind not in "iu":
                raise DtypeError(
                    f"cross_validate: folds[{i}] has dtype {part.dtype}, expected integers"
                )
            if part.size == 0 or part.min() < 0 or part.max() >= count:
                raise DomainError(
                    f"cross_validate: folds[{i}] has indices outside 0 to {count - 1}, or none"
                )
        both = np.intersect1d(parts[0], parts[1])
        if both.size:
            raise DomainError(
                f"cross_validate: folds[{i}] has example {both[0]} in both of its parts"
            )
        train, validation = (tuple(array[part] for array in arrays) for part in parts)
        scores.append(float(run(train, validation)))
    if not scores:
        raise DomainError("cross_validate: no folds, expected at least one")
    return scores


class Trial(NamedTuple):
    """What was tried, and its score."""

    score: float
    hyperparams: Mapping[str, Any]


def search(
    run: Callable[..., float],
    candidates: Iterable[Mapping[str, Any]],
    train: Arrays,
    validation: Arrays,
    *,
    mode: Literal["min", "max"] = "min",
) -> list[Trial]:
    """Try hyperparameters, the best first. There is no place for test data here.

        trials = search(run, ParameterGrid({"rate": [1e-2, 1e-3]}), train, validation)
        trials[0].hyperparams

    Args:
        run: ``run(train, validation, **hyperparams)``, to a score.
        candidates: Hyperparameters by name, as scikit-learn's ``ParameterGrid`` and
            ``ParameterSampler`` give them.
        train: Arrays to train with.
        validation: Arrays to score with.
        mode: Whether low scores are good or high ones. Scores that are NaN come last, and equal
            ones in the order of the candidates.

    Raises:
        DomainError: there are no candidates, or another mode is asked for.
    """
    if mode not in ("min", "max"):
        raise DomainError(f"search: mode is {mode!r}, expected 'min' or 'max'")
    trials = [
        Trial(float(run(train, validation, **hyperparams)), hyperparams)
        for hyperparams in candidates
    ]
    if not trials:
        raise DomainError("search: no candidates, expected at least one")
    sign = 1 if mode == "min" else -1
    return sorted(trials, key=lambda trial: (np.isnan(trial.score), sign * trial.score))
