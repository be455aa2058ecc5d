"""Losses of a prediction and a target that are numbers."""

import numpy as np

from purenn.contract import rule, unchecked
from purenn.ops._numerics import narrow, widen
from purenn.typing import Array, Float, Pullback


@rule
def squared_error(
    predictions: Float[Array, "*shape"], targets: Float[Array, "*shape"]
) -> Float[Array, "*shape"]:
    """(predictions − targets)², elementwise."""
    return narrow(np.square(widen(predictions) - widen(targets)), predictions)


@rule
def squared_error_vjp(
    predictions: Float[Array, "*shape"], targets: Float[Array, "*shape"]
) -> tuple[Float[Array, "*shape"], Pullback]:
    """squared_error with its pullback: dpredictions = 2(predictions − targets)·dL = −dtargets."""

    def pullback(dy: Array) -> tuple[Array, Array]:
        dpredictions = 2 * (widen(predictions) - widen(targets)) * widen(dy)
        return narrow(dpredictions, predictions), narrow(-dpredictions, targets)

    return unchecked(squared_error)(predictions, targets), pullback
