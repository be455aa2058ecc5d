"""Two hundred training steps beside the jit-compiled ones, from one key.

Model, optimizer and schedule, dropout and shuffling: what purenn does, JAX does with optax and the
models of ``reference``. Two exact programs part company only by rounding, here at most 1e-9 of the
largest magnitude in the same leaf: an entry may pass through zero, where an error relative to
itself means nothing. The loss is compared relative to itself.

Adam divides a gradient by its own size: where all gradients of an entry so far are much smaller
than eps = 1e-8, a step is lr·g/eps, and rounding of 1e-17 in g becomes 1e-9·lr; anywhere else it
is far smaller. So the bound holds for Adam at its default eps as well, provided that no gradient
is zero in one program and noise in the other. tanh has no unit that is dead for a whole batch.
"""

from collections.abc import Callable, Iterator
from itertools import islice
from types import SimpleNamespace
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import reference.layers
import reference.ops.losses.cross_entropy
import reference.training
from purenn import layers, optimizers, random, regularizers, schedules, tree
from purenn.ops import losses
from purenn.training import batches, fit, init_state, objective, train_step

STEPS, EXAMPLES, SIZE, FEATURES, CLASSES = 200, 90, 16, 6, 3
LOSS = "softmax_cross_entropy_with_integer_labels"


def plain(module: Any) -> Any:
    """The same model from ``purenn.layers`` or from ``reference.layers``."""
    return module.serial(
        hidden=module.dense(12),
        act=module.tanh,
        block=module.residual(module.serial(inner=module.dense(12), act=module.gelu)),
        out=module.dense(CLASSES),
    )


def dropping(module: Any) -> Any:
    return module.serial(
        hidden=module.dense(24),
        act=module.tanh,
        drop=module.dropout(0.3),
        block=module.residual(module.serial(inner=module.dense(24), noise=module.dropout(0.1))),
        out=module.dense(CLASSES),
    )


def exactly(make: Callable[..., Any]) -> Callable[..., Any]:
    """An optax schedule in float64: of an int32 step, as optax counts, it makes float32."""

    def wrapped(*args: Any, **kwargs: Any) -> Callable[[Any], Any]:
        schedule = make(*args, **kwargs)
        return lambda step: schedule(jnp.asarray(step, jnp.float64))

    return wrapped


# Of ``purenn`` or of optax, by the same names.
OURS = SimpleNamespace(**vars(optimizers) | vars(schedules))
CASES: dict[str, tuple[Any, Callable[[Any], Any]]] = {
    "sgd": (plain, lambda o: o.sgd(0.1)),
    "momentum": (plain, lambda o: o.sgd(o.inverse_time(0.02), 0.9)),
    "nesterov-onecycle": (
        dropping,
        lambda o: o.sgd(o.cosine_onecycle_schedule(STEPS, 0.05), 0.9, nesterov=True),
    ),
    "adam": (plain, lambda o: o.adam(0.01)),
    "adam-warmup-cosine": (
        dropping,
        lambda o: o.adam(o.warmup_cosine_decay_schedule(0.0, 0.02, 20, STEPS)),
    ),
    "rmsprop-exponential": (
        dropping,
        lambda o: o.rmsprop(o.exponential_decay(0.0005, 50, 0.5, staircase=True), momentum=0.9),
    ),
    "adamw-clipped": (
        dropping,
        lambda o: o.chain(
            o.clip_by_global_norm(0.5),
            o.adamw(o.polynomial_schedule(0.02, 0.001, 2, 150), mask=o.weights, weight_decay=0.1),
        ),
    ),
    "lamb-sgdr": (
        dropping,
        lambda o: o.lamb(
            o.sgdr_schedule(
                [
                    {"init_value": 0.0, "peak_value": 0.005, "decay_steps": n, "warmup_steps": 5}
                    for n in (50, 150)
                ]
            )
        ),
    ),
}
OURS.weights = regularizers.is_weight
OURS.inverse_time = lambda rate: schedules.inverse_time_decay(rate, 100, 0.5)
THEIRS = SimpleNamespace(**vars(optax))
THEIRS.weights = lambda params: jax.tree.map(lambda leaf: leaf.ndim > 1, params)
for name in {*vars(optax)} & {*schedules.__all__}:
    setattr(THEIRS, name, exactly(getattr(optax, name)))
THEIRS.inverse_time = lambda rate: lambda step: rate / (1 + 0.5 * step / 100)


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


@pytest.mark.parametrize("case", CASES)
def test_trajectory(case: str, device: Any) -> None:
    build, make = CASES[case]
    init_key, shuffle_key = random.split(random.key(2))
    arrays = draw_examples()

    optimizer = make(OURS)
    step = train_step(objective(build(layers), getattr(losses, LOSS)), optimizer)
    start = init_state(build(layers), optimizer, init_key, (FEATURES,), np.float64)
    run = list(fit(step, start, islice(epochs(batches, shuffle_key, arrays), STEPS)))

    with jax.default_device(device):
        their_loss = getattr(reference.ops.losses.cross_entropy, LOSS)
        their_optimizer = make(THEIRS)
        compiled = reference.training.train_step(
            reference.training.objective(build(reference.layers), their_loss), their_optimizer
        )
        state, their_arrays = jax.device_put(
            (reference.training.TrainState(*start), arrays), device
        )
        state = state._replace(opt_state=their_optimizer.init(state.params))
        their_batches = epochs(reference.training.batches, shuffle_key, their_arrays)
        their_run = []
        for batch in islice(their_batches, STEPS):
            state, their_metrics = compiled(state, batch)
            their_run.append(jax.device_get((state.params, their_metrics["loss"])))

    assert len(run) == len(their_run) == STEPS
    for (ours, metrics), (theirs, loss) in zip(run, their_run, strict=True):
        assert abs(metrics["loss"] - loss) <= 1e-9 * loss, f"loss at step {ours.step}"
        for (path, got), (_, expected) in zip(
            tree.leaves_with_paths(ours.params), tree.leaves_with_paths(theirs), strict=True
        ):
            bound = 1e-9 * np.max(np.abs(expected))
            where = f"{tree.show(path)} at step {ours.step}"
            np.testing.assert_allclose(got, expected, rtol=0, atol=bound, err_msg=where)
    assert run[-1][1]["loss"] < 0.5 * run[0][1]["loss"]
