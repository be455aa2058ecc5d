"""A net with room fits random labels too, but more slowly.

Zhang et al. 2017, arXiv:1611.03530; Arpit et al. 2017, arXiv:1706.05394.
"""

import numpy as np
import pytest

from purenn import data, layers, optimizers, random
from purenn.ops.losses import softmax_cross_entropy_with_integer_labels
from tests.experiments.loops import accuracy, epochs

MODEL = layers.serial(hidden=layers.dense(256), act=layers.relu, out=layers.dense(10))
MOST = 200


@pytest.mark.usefixtures("unannotated")
@pytest.mark.parametrize("key", [0, 1])
def test_random_labels_are_memorized_more_slowly(key: int) -> None:
    digits = data.digits()
    few = data.Dataset(
        digits.inputs[:300].reshape(300, -1) / np.float32(16), digits.targets[:300], digits.classes
    )

    def epochs_until_all_are_right(labels: np.ndarray) -> int:
        arrays = few.inputs, labels
        run = epochs(
            MODEL, softmax_cross_entropy_with_integer_labels, optimizers.adam(2e-3), arrays,
            count=MOST, size=32, key=key,
        )  # fmt: skip
        return next(
            (i + 1 for i, state in enumerate(run) if accuracy(MODEL, state, arrays) == 1), MOST + 1
        )

    real = epochs_until_all_are_right(few.targets)
    noise = epochs_until_all_are_right(data.random_labels(random.key(key), few).targets)
    assert 2 * real < noise <= MOST, (real, noise)
