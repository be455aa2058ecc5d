"""Steps of a small network, with a plan and without."""

import inspect
from typing import Any

import numpy as np
import pytest

from purenn import layers, optimizers, training, tree
from purenn.errors import DomainError, DtypeError, ShapeError, TreeError
from purenn.ops import losses
from purenn.typing import Array

INTEGER_LABELS = losses.softmax_cross_entropy_with_integer_labels
MODEL = layers.serial(hidden=layers.dense(5), act=layers.relu, out=layers.dense(3))
OBJECTIVE = training.objective(MODEL, INTEGER_LABELS)
OPTIMIZERS: dict[str, Any] = {
    name: member
    for name, member in vars(optimizers).items()
    if inspect.isfunction(member)
    and next(iter(inspect.signature(member).parameters), "") == "learning_rate"
    and name != "lbfgs"
}


PLAIN = training.objective(MODEL._replace(plan=None), INTEGER_LABELS)


def same(a: Any, b: Any) -> bool:
    def bits(x: Any) -> list[Any]:
        return [(path, leaf.dtype, leaf.tobytes()) for path, leaf in tree.leaves_with_paths(x)]

    return bits(a) == bits(b)


def batch(seed: int, size: int = 6, features: int = 4, dtype: Any = np.float32) -> Any:
    rng = np.random.default_rng(seed)
    return rng.normal(size=(size, features)).astype(dtype), rng.integers(0, 3, size)


def refusal(step: Any, state: Any, batch: Any) -> tuple[type, str]:
    with pytest.raises((DomainError, ShapeError, DtypeError, TreeError)) as refused:
        step(state, batch)
    return refused.type, str(refused.value)


def log_error(outputs: Array, targets: Array) -> Array:
    """Σ(log y − t)², of somebody who refuses what has no logarithm."""
    return log_error_vjp(outputs, targets)[0]


def log_error_vjp(outputs: Array, targets: Array) -> tuple[Array, Any]:
    if not (outputs > 0).all():
        raise DomainError("log_error: outputs are not positive")
    off = np.log(outputs) - targets
    return np.sum(off**2, axis=-1), lambda dy: (2 * off / outputs * dy[:, None], None)
