"""Linear maps in JAX."""

import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from purenn.typing import Annotated, Index


def dense(
    x: Float[Array, "*batch in"], kernel: Float[Array, "in out"], bias: Float[Array, " out"]
) -> Float[Array, "*batch out"]:
    return jnp.einsum("...i,ij->...j", x, kernel) + bias


def embedding(
    ids: Annotated[Int[Array, "*batch"], Index("vocabulary")],
    embedding: Float[Array, "vocabulary features"],
) -> Float[Array, "*batch features"]:
    return jnp.take(embedding, ids, axis=0)


def bilinear(
    x1: Float[Array, "*batch in1"],
    x2: Float[Array, "*batch in2"],
    kernel: Float[Array, "in1 in2 out"],
    bias: Float[Array, " out"],
) -> Float[Array, "*batch out"]:
    return jnp.einsum("...i,...j,ijk->...k", x1, x2, kernel) + bias
