"""An epoch on the digits beside scikit-learn's MLPClassifier: same net, batch, solver, data."""

from functools import partial
from typing import Any

import numpy as np

from benchmarks import networks
from benchmarks.turns import Rivals, Run
from purenn import data, layers, optimizers, random, training
from purenn.ops.losses import softmax_cross_entropy_with_integer_labels

WIDTHS, SIZE = (64, 128, 10), 64


def epoch() -> Rivals:
    """1,797 digits in batches of 64, shuffled, with Adam."""
    digits = data.digits()
    pixels = digits.inputs.reshape(-1, 64) / np.float32(16)
    return {
        "purenn": lambda: _ours(pixels, digits.targets),
        "scikit-learn": lambda: _theirs(pixels, digits.targets),
    }


def _ours(pixels: Any, labels: Any) -> Run:
    model, optimizer = networks.dense(layers, WIDTHS), optimizers.adam(networks.RATE)
    objective = training.objective(model, softmax_cross_entropy_with_integer_labels)
    step = training.train_step(objective, optimizer, donate=True)
    state = training.init_state(model, optimizer, random.key(0), (64,))
    count = 0

    def run() -> None:
        nonlocal state, count
        count += 1
        shuffled = training.batches(random.fold_in(random.key(1), count), (pixels, labels), SIZE)
        for its, _ in training.fit(step, state, shuffled):
            state = its

    return run


def _theirs(pixels: Any, labels: Any) -> Run:
    from sklearn.neural_network import MLPClassifier

    model = MLPClassifier(
        (128,), batch_size=SIZE, learning_rate_init=networks.RATE, alpha=0.0, random_state=0
    )
    model.partial_fit(pixels, labels, classes=np.arange(10))
    return partial(model.partial_fit, pixels, labels)


CASES = {"digits, 64-128-10": epoch}
