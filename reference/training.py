"""Training in JAX: the loss is a forward function, autodiff and the compiler do the rest."""

from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from reference.layers import Forward
from reference.optimizers import GradientTransformation, apply_updates


class TrainState(NamedTuple):
    """What is differentiated, remembered, and remembered by the optimizer."""

    params: Any
    state: Any
    opt_state: Any


def objective(
    model: Forward,
    loss: Callable[..., jax.Array],
    regularizer: Callable[[Any], jax.Array] | None = None,
) -> Callable[..., jax.Array]:
    """Average the mean loss of each example, with weights where the batch has them."""

    def value(params: Any, state: Any, batch: tuple[jax.Array, ...]) -> jax.Array:
        inputs, targets, *weights = batch
        losses = loss(model(params, state, inputs), targets)
        per_example = losses.reshape(losses.shape[0], -1).mean(axis=1)
        mean = jnp.average(per_example, weights=weights[0] if weights else None)
        return mean if regularizer is None else mean + regularizer(params)

    return value


def train_step(
    objective: Callable[..., jax.Array], optimizer: GradientTransformation
) -> Callable[..., tuple[TrainState, dict[str, jax.Array]]]:
    """Compile the step."""

    @jax.jit
    def step(state: TrainState, batch: Any) -> tuple[TrainState, dict[str, jax.Array]]:
        loss, grads = jax.value_and_grad(objective)(state.params, state.state, batch)
        updates, opt_state = optimizer.update(grads, state.opt_state, state.params)
        params = apply_updates(state.params, updates)
        return TrainState(params, state.state, opt_state), {"loss": loss}

    return step


def batches(
    key: jax.Array, arrays: tuple[jax.Array, ...], size: int
) -> Iterator[tuple[jax.Array, ...]]:
    """One epoch of shuffled batches, the last one with what is left."""
    count = arrays[0].shape[0]
    order = jax.random.permutation(jax.random.wrap_key_data(key), count)
    for start in range(0, count, size):
        yield tuple(array[order[start : start + size]] for array in arrays)
