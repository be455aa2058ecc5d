"""The losses of ``purenn.ops.losses.sparsemax`` in JAX."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from reference.ops.activations.softmax import sparsemax


def sparsemax_loss(
    logits: Float[Array, "*shape"], labels: Int[Array, "*shape"]
) -> Float[Array, "*shape"]:
    return jax.nn.sparse_plus(jnp.where(labels == 1, -logits, logits))


def multiclass_sparsemax_loss(
    scores: Float[Array, "*batch classes"], labels: Int[Array, "*batch"]
) -> Float[Array, "*batch"]:
    """½(1 − ‖p‖²) + ⟨p, z⟩ − z_label, which is the loss as Fenchel and Young have it."""
    p = sparsemax(scores)
    at_label = jnp.take_along_axis(scores, labels[..., None], axis=-1)
    return (1 - jnp.sum(p * p, axis=-1)) / 2 + jnp.sum(p * (scores - at_label), axis=-1)
