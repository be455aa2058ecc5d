"""Training in JAX: the loss is a forward function, autodiff and the compiler do the rest.

The same step runs on one device or, data-parallel, on a mesh of them. A ``TrainState`` moves from
NumPy to the mesh as it is, and back through ``jax.device_get``: its leaves have the same names.
"""

from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax
from jax.sharding import NamedSharding, PartitionSpec

from reference.layers import Forward


class TrainState(NamedTuple):
    """The same tree as ``purenn.training.TrainState``."""

    params: Any
    state: Any
    opt_state: Any
    key: Any
    step: Any


def objective(
    model: Forward,
    loss: Callable[..., jax.Array],
    regularizer: Callable[[Any], jax.Array] | None = None,
) -> Callable[..., jax.Array]:
    """Average the mean loss of each example, with weights where the batch has them."""

    def value(params: Any, state: Any, batch: tuple[jax.Array, ...], key: Any = None) -> jax.Array:
        inputs, targets, *weights = batch
        losses = loss(model(params, state, inputs, key), targets)
        per_example = losses.reshape(losses.shape[0], -1).mean(axis=1)
        mean = jnp.average(per_example, weights=weights[0] if weights else None)
        return mean if regularizer is None else mean + regularizer(params)

    return value


def train_step(
    objective: Callable[..., jax.Array],
    optimizer: optax.GradientTransformation,
    mesh: jax.sharding.Mesh | None = None,
) -> Callable[..., tuple[TrainState, dict[str, jax.Array]]]:
    """Compile the step, for one device or for a mesh.

    On a mesh, ``jax.sharding.Mesh(jax.devices(), ("batch",))``, each device has a part of the
    batch, whose size is to be a multiple of their number, and all have the state; the compiler adds
    the gradients up. Running statistics stay as they are.
    """

    def step(state: TrainState, batch: Any) -> tuple[TrainState, dict[str, jax.Array]]:
        key = jax.random.fold_in(jax.random.wrap_key_data(state.key), state.step)
        loss, grads = jax.value_and_grad(objective)(
            state.params, state.state, batch, jax.random.key_data(key)
        )
        updates, opt_state = optimizer.update(grads, state.opt_state, state.params)
        params = optax.apply_updates(state.params, updates)
        after = TrainState(params, state.state, opt_state, state.key, state.step + 1)
        return after, {"loss": loss}

    if mesh is None:
        return jax.jit(step)
    spec: Any = PartitionSpec
    everywhere, in_parts = (NamedSharding(mesh, axes) for axes in (spec(), spec(mesh.axis_names)))
    return jax.jit(step, in_shardings=(everywhere, in_parts), out_shardings=everywhere)


def batches(
    key: jax.Array, arrays: tuple[jax.Array, ...], size: int
) -> Iterator[tuple[jax.Array, ...]]:
    """One epoch of shuffled batches, the last one with what is left."""
    count = arrays[0].shape[0]
    order = jax.random.permutation(jax.random.wrap_key_data(key), count)
    for start in range(0, count, size):
        yield tuple(array[order[start : start + size]] for array in arrays)
