"""The loop that the experiments have in common."""

from collections.abc import Iterator
from typing import Any

from purenn import random, training
from purenn.layers import Layer
from purenn.training import TrainState


def epochs(
    model: Layer,
    loss: Any,
    optimizer: Any,
    arrays: Any,
    *,
    count: int,
    size: int,
    key: int = 0,
    regularizer: Any = None,
    augment: Any = None,
) -> Iterator[TrainState]:
    """The state after each epoch."""
    init_key, order_key, augment_key = random.split(random.key(key), 3)
    step = training.train_step(training.objective(model, loss, regularizer), optimizer)
    shape, dtype = arrays[0].shape[1:], arrays[0].dtype
    state = training.init_state(model, optimizer, init_key, shape, dtype)
    for epoch in range(count):
        batches: Any = training.batches(random.fold_in(order_key, epoch), arrays, size)
        if augment is not None:
            keys = random.split(random.fold_in(augment_key, epoch), 10**4)
            batches = ((augment(k, x), *y) for k, (x, *y) in zip(keys, batches, strict=False))
        (*_, (state, _)) = training.fit(step, state, batches)
        yield state


def last(*args: Any, **kwargs: Any) -> TrainState:
    """The state after the last epoch."""
    (*_, state) = epochs(*args, **kwargs)
    return state


def accuracy(model: Layer, state: TrainState, arrays: Any) -> float:
    """The share of examples that it gets right."""
    outputs = training.predict(model, state, training.batches(None, arrays, 1024))
    return training.accuracy(arrays[1], outputs)
