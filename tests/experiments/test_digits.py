"""A convolutional network on handwritten digits, each digit tested by a network without it."""

from typing import Any

import numpy as np
import pytest
from sklearn.model_selection import StratifiedKFold

from purenn import data, layers, optimizers, schedules, training
from purenn.ops.losses import softmax_cross_entropy_with_integer_labels
from tests.experiments.loops import accuracy, last

MODEL = layers.serial(
    conv_0=layers.conv(32, (3, 3)),
    act_0=layers.relu,
    conv_1=layers.conv(32, (3, 3)),
    act_1=layers.relu,
    pool=layers.max_pool((2, 2), strides=(2, 2)),
    drop_0=layers.dropout(0.25),
    flat=layers.flatten,
    hidden=layers.dense(128),
    act_2=layers.relu,
    drop_1=layers.dropout(0.5),
    out=layers.dense(10),
)


@pytest.mark.experiment
@pytest.mark.usefixtures("unannotated")
def test_985_of_1000_digits() -> None:
    digits = data.digits()
    arrays = digits.inputs / np.float32(16), digits.targets
    sizes = []

    def run(train: Any, test: Any) -> float:
        steps = 40 * training.batches_per_epoch(len(train[0]), 32)
        optimizer = optimizers.adam(schedules.cosine_decay_schedule(2e-3, steps))
        state = last(
            MODEL, softmax_cross_entropy_with_integer_labels, optimizer, train,
            count=40, size=32, augment=lambda key, x: data.random_shift(key, x, 1),
        )  # fmt: skip
        sizes.append(len(test[0]))
        return accuracy(MODEL, state, test)

    folds = StratifiedKFold(5, shuffle=True, random_state=0).split(*arrays)
    scores = training.cross_validate(run, arrays, folds)
    assert sum(sizes) == len(digits.targets)
    assert np.average(scores, weights=sizes) >= 0.985, scores
