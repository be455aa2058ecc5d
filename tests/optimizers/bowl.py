"""Steps on f(x, y) = x² + y² from (1, −2), where they can be followed by hand."""

from collections.abc import Callable, Iterator
from itertools import islice

import numpy as np
import pytest

from purenn import tree
from purenn.optimizers import GradientTransformation, apply_gradients


def assert_follows(
    optimizer: GradientTransformation, by_hand: Callable[[float], Iterator[float]], steps: int = 3
) -> None:
    """Compare with what ``by_hand`` gives for one coordinate, from where it starts, step by step.

    A step of a published rule is ten operations or less, each half an ULP off at most.
    """
    params = {"x": np.array(1.0), "y": np.array(-2.0)}
    state = optimizer.init(params)
    expected = zip(*[islice(by_hand(float(p)), steps) for p in params.values()], strict=True)
    for point in expected:
        grads = tree.map(lambda p: np.asarray(2 * p), params)
        params, state = apply_gradients(optimizer, grads, state, params)
        assert tuple(params.values()) == pytest.approx(point, rel=1e-15, abs=0)
