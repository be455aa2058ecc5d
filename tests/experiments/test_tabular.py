"""Small tables, with every example tested by a network without it, beside scikit-learn's."""

from typing import Any

import numpy as np
import pytest
from sklearn.exceptions import ConvergenceWarning
from sklearn.metrics import r2_score
from sklearn.model_selection import KFold, StratifiedKFold
from sklearn.neural_network import MLPRegressor
from sklearn.preprocessing import StandardScaler

from purenn import data, initializers, layers, optimizers, training
from purenn.ops.losses import l2_loss, softmax_cross_entropy_with_integer_labels
from purenn.regularizers import half_l2
from tests.experiments.loops import accuracy, last

pytestmark = pytest.mark.usefixtures("unannotated")


def test_breast_cancer_to_96_percent() -> None:
    cancer = data.breast_cancer()
    model = layers.serial(hidden=layers.dense(32), act=layers.relu, out=layers.dense(2))

    def run(train: Any, test: Any) -> float:
        scaler = StandardScaler().fit(train[0])
        state = last(
            model, softmax_cross_entropy_with_integer_labels, optimizers.adam(3e-3),
            (scaler.transform(train[0]), train[1]),
            count=40, size=32, regularizer=half_l2(0.01),
        )  # fmt: skip
        return accuracy(model, state, (scaler.transform(test[0]), test[1]))

    folds = StratifiedKFold(5, shuffle=True, random_state=0).split(*cancer[:2])
    scores = training.cross_validate(run, cancer[:2], folds)
    assert np.mean(scores) >= 0.96, scores


@pytest.mark.filterwarnings(f"ignore::{ConvergenceWarning.__module__}.ConvergenceWarning")
def test_diabetes_as_the_mlp_of_scikit_learn() -> None:
    """The same net, batches, solver, penalty and number of steps: R² to within what chance does."""
    diabetes = data.diabetes()
    units, count, size, alpha = 32, 60, 32, 1e-4
    glorot = initializers.glorot_uniform()
    model = layers.serial(
        hidden=layers.dense(units, glorot), act=layers.relu, out=layers.dense(1, glorot)
    )
    seeds = range(1)

    def scaled(train: Any, test: Any) -> Any:
        x, y = StandardScaler().fit(train[0]), StandardScaler().fit(train[1])
        return [(x.transform(part[0]), y.transform(part[1])) for part in (train, test)]

    def ours(train: Any, test: Any) -> float:
        train, test = scaled(train, test)
        every = [
            last(
                model, l2_loss, optimizers.adam(1e-3), train,
                count=count, size=size, regularizer=half_l2(alpha / size), key=seed,
            )
            for seed in seeds
        ]  # fmt: skip
        return float(np.mean([
            r2_score(test[1], training.predict(model, state, [(test[0],)])) for state in every
        ]))  # fmt: skip

    def theirs(train: Any, test: Any) -> float:
        train, test = scaled(train, test)
        every = [
            MLPRegressor(
                hidden_layer_sizes=(units,), alpha=alpha, batch_size=size, max_iter=count,
                n_iter_no_change=count,
                random_state=seed,
            ).fit(train[0], train[1].ravel())
            for seed in seeds
        ]  # fmt: skip
        return float(np.mean([r2_score(test[1], each.predict(test[0])) for each in every]))

    pairs = [
        training.cross_validate(
            run, diabetes[:2], KFold(3, shuffle=True, random_state=0).split(diabetes.inputs)
        )
        for run in (ours, theirs)
    ]
    assert np.mean(pairs[0]) > 0.4
    assert abs(np.mean(pairs[0]) - np.mean(pairs[1])) < 0.03, pairs
