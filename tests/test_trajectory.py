"""A hundred training steps beside the jit-compiled ones, from one key.

Two exact programs part company only by rounding, here at most 1e-10 of the largest magnitude in
the same leaf: an entry may pass through zero, where an error relative to itself means nothing.
The loss is compared relative to itself.

Adam divides a gradient by its own size: where all gradients of an entry so far are much smaller
than eps = 1e-8, a step is lr·g/eps, and rounding of 1e-17 in g becomes 1e-9·lr; anywhere else it
is far smaller. So the bound holds for Adam at its default eps as well, provided that no gradient
is zero in one program and noise in the other. tanh has no unit that is dead for a whole batch.
"""

from collections.abc import Callable, Iterator
from itertools import islice
from typing import Any

import jax
import numpy as np
import pytest

import reference.layers
import reference.ops.losses.cross_entropy
import reference.optimizers
import reference.training
from purenn import layers, optimizers, random, tree
from purenn.ops import losses
from purenn.training import batches, fit, init_state, objective, train_step

STEPS, EXAMPLES, SIZE, FEATURES, CLASSES = 100, 90, 16, 6, 3
LOSS = "softmax_cross_entropy_with_integer_labels"


def build(module: Any) -> Any:
    """The same model from ``purenn.layers`` or from ``reference.layers``."""
    return module.serial(
        hidden=module.dense(12),
        act=module.tanh,
        block=module.residual(module.serial(inner=module.dense(12), act=module.gelu)),
        out=module.dense(CLASSES),
    )


def draw_examples() -> tuple[Any, Any]:
    """Points around one centre per class."""
    rng = np.random.default_rng(0)
    labels = rng.integers(0, CLASSES, EXAMPLES)
    centres = 2 * rng.normal(size=(CLASSES, FEATURES))
    return centres[labels] + rng.normal(size=(EXAMPLES, FEATURES)), labels


def epochs(shuffle: Callable[..., Iterator[Any]], key: Any, arrays: Any) -> Iterator[Any]:
    """The batches of all steps, each epoch in an order of its own."""
    for epoch in range(STEPS):
        yield from shuffle(random.fold_in(key, epoch), arrays, SIZE)


@pytest.mark.parametrize(
    ("name", "arguments"),
    [
        ("sgd", {"learning_rate": 0.1}),
        ("sgd", {"learning_rate": 0.02, "momentum": 0.9}),
        ("sgd", {"learning_rate": 0.02, "momentum": 0.9, "nesterov": True}),
        ("adam", {"learning_rate": 0.01}),
    ],
    ids=["sgd", "momentum", "nesterov", "adam"],
)
def test_trajectory(name: str, arguments: Any, device: Any) -> None:
    init_key, shuffle_key = random.split(random.key(2))
    arrays = draw_examples()

    optimizer = getattr(optimizers, name)(**arguments)
    step = train_step(objective(build(layers), getattr(losses, LOSS)), optimizer)
    start = init_state(build(layers), optimizer, init_key, (FEATURES,), np.float64)
    run = list(fit(step, start, islice(epochs(batches, shuffle_key, arrays), STEPS)))

    with jax.default_device(device):
        their_optimizer = getattr(reference.optimizers, name)(**arguments)
        their_loss = getattr(reference.ops.losses.cross_entropy, LOSS)
        compiled = reference.training.train_step(
            reference.training.objective(build(reference.layers), their_loss), their_optimizer
        )
        params, their_arrays = jax.device_put((start.params, arrays), device)
        state = reference.training.TrainState(params, {}, their_optimizer.init(params))
        their_batches = epochs(reference.training.batches, shuffle_key, their_arrays)
        their_run = []
        for batch in islice(their_batches, STEPS):
            state, their_metrics = compiled(state, batch)
            their_run.append(jax.device_get((state.params, their_metrics["loss"])))

    assert len(run) == len(their_run) == STEPS
    for (ours, metrics), (theirs, loss) in zip(run, their_run, strict=True):
        assert abs(metrics["loss"] - loss) <= 1e-10 * loss, f"loss at step {ours.step}"
        for (path, got), (_, expected) in zip(
            tree.leaves_with_paths(ours.params), tree.leaves_with_paths(theirs), strict=True
        ):
            bound = 1e-10 * np.max(np.abs(expected))
            where = f"{tree.show(path)} at step {ours.step}"
            np.testing.assert_allclose(got, expected, rtol=0, atol=bound, err_msg=where)
    assert run[-1][1]["loss"] < 0.5 * run[0][1]["loss"]
