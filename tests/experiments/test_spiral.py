"""The spiral of cs231n: what a line can do and what a hidden layer can."""

import pytest

from purenn import data, layers, optimizers, random
from purenn.ops.losses import softmax_cross_entropy_with_integer_labels
from purenn.regularizers import half_l2
from tests.experiments.loops import accuracy, last

LINEAR = layers.serial(out=layers.dense(3))
HIDDEN = layers.serial(hidden=layers.dense(100), act=layers.relu, out=layers.dense(3))


def fitted(model: layers.Layer, steps: int, key: int) -> float:
    spiral = data.spiral(random.key(key))
    state = last(
        model, softmax_cross_entropy_with_integer_labels, optimizers.sgd(1.0), spiral[:2],
        count=steps, size=300, regularizer=half_l2(1e-3), key=key,
    )  # fmt: skip
    return accuracy(model, state, spiral[:2])


@pytest.mark.usefixtures("unannotated")
@pytest.mark.parametrize("key", [0, 1])
def test_a_line_gets_half_of_it(key: int) -> None:
    assert 0.45 <= fitted(LINEAR, 300, key) <= 0.55


@pytest.mark.experiment
@pytest.mark.usefixtures("unannotated")
@pytest.mark.parametrize("key", [0, 1])
def test_a_hidden_layer_gets_nearly_all_of_it(key: int) -> None:
    assert fitted(HIDDEN, 10_000, key) >= 0.97
