"""Choosing a model: every fold and candidate once, and nothing seen that should not be."""

import math
from typing import Any

import numpy as np
import pytest
from sklearn.model_selection import KFold, ParameterGrid, StratifiedKFold

from purenn.errors import DomainError, DtypeError, ShapeError, TreeError
from purenn.training import Trial, cross_validate, search

X, Y = np.arange(20).reshape(10, 2), np.array([0, 1] * 5)


@pytest.mark.parametrize("splitter", [KFold(3), StratifiedKFold(5, shuffle=True, random_state=0)])
def test_each_example_is_validated_once(splitter: Any) -> None:
    validated: list[Any] = []

    def run(train: tuple[Any, ...], validation: tuple[Any, ...]) -> float:
        both = np.concatenate([train[0], validation[0]])
        np.testing.assert_array_equal(both[np.lexsort(both.T)], X)
        np.testing.assert_array_equal(Y[validation[0][:, 0] // 2], validation[1])
        validated.extend(validation[0][:, 0] // 2)
        return float(len(validation[0]))

    scores = cross_validate(run, (X, Y), splitter.split(X, Y))
    assert sorted(validated) == [*range(10)]
    assert scores == [len(part) for _, part in splitter.split(X, Y)]


@pytest.mark.parametrize(
    ("folds", "error", "message"),
    [
        ([], DomainError, "cross_validate: no folds, expected at least one"),
        ([([0], [10])], DomainError, r"folds\[0\] has indices outside 0 to 9, or none"),
        ([([0], [-1])], DomainError, r"folds\[0\] has indices outside 0 to 9, or none"),
        ([([0, 1], [1])], DomainError, r"folds\[0\] has example 1 in both of its parts"),
        ([([0], [1], [2])], TreeError, r"folds\[0\] is no pair, expected indices"),
        ([([0.5], [1])], DtypeError, r"folds\[0\] has dtype float64, expected integers"),
    ],
)
@pytest.mark.usefixtures("unannotated")
def test_folds_that_are_none_are_refused(folds: Any, error: type[Exception], message: str) -> None:
    parts = [tuple(map(np.asarray, fold)) for fold in folds]
    with pytest.raises(error, match=message):
        cross_validate(lambda train, validation: 0.0, (X, Y), parts)  # type: ignore[arg-type]
    with pytest.raises(ShapeError, match=r"arrays\[1\] has 9 examples and arrays\[0\] 10"):
        cross_validate(lambda train, validation: 0.0, (X, Y[1:]), parts)  # type: ignore[arg-type]


@pytest.mark.usefixtures("unannotated")
def test_the_rows_of_an_array_are_no_arrays() -> None:
    folds = [(np.array([0]), np.array([1]))]
    with pytest.raises(DtypeError, match="cross_validate: arrays is a ndarray, expected a tuple"):
        cross_validate(lambda train, validation: 0.0, X, folds)  # type: ignore[arg-type]


def test_the_best_candidate_comes_first() -> None:
    grid = list(ParameterGrid({"a": [1, 2, 3], "b": [0.0, math.nan]}))
    seen: list[Any] = []

    def run(train: Any, validation: Any, *, a: int, b: float) -> float:
        seen.append((train, validation))
        return (a - 2) ** 2 + b

    trials = search(run, grid, (X,), (Y,))
    assert trials[0] == Trial(0.0, {"a": 2, "b": 0.0})
    assert [math.isnan(trial.score) for trial in trials] == [False] * 3 + [True] * 3
    assert [trial.hyperparams["a"] for trial in trials[:3]] == [2, 1, 3]
    assert len(seen) == 6
    assert all(train[0] is X and validation[0] is Y for train, validation in seen)
    assert search(run, grid, (X,), (Y,), mode="max")[0].score == 1
    with pytest.raises(DomainError, match="search: no candidates"):
        search(run, [], (X,), (Y,))
