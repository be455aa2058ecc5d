"""Linear maps."""

import numpy as np

from purenn.contract import rule, unchecked
from purenn.ops._linear import (
    dense_input_cotangent,
    dense_parameter_cotangents,
    embedding_table_cotangent,
)
from purenn.ops._numerics import at_least_single, narrow, quiet, widen
from purenn.typing import Annotated, Array, Float, Index, Int, Pullback

__all__ = ["bilinear", "bilinear_vjp", "dense", "dense_vjp", "embedding", "embedding_vjp"]


@rule
@quiet
def dense(
    x: Float[Array, "*batch in"],
    kernel: Float[Array, "in out"],
    bias: Float[Array, " out"],
) -> Float[Array, "*batch out"]:
    """x·W + b along the last axis, ``kernel`` W laid out as in ``flax.linen.Dense``."""
    y = at_least_single(x) @ at_least_single(kernel)
    y += at_least_single(bias)
    return narrow(y, x)


@rule
def dense_vjp(
    x: Float[Array, "*batch in"],
    kernel: Float[Array, "in out"],
    bias: Float[Array, " out"],
) -> tuple[Float[Array, "*batch out"], Pullback]:
    """``dense`` with its pullback.

    yₙⱼ = Σᵢ xₙᵢWᵢⱼ + bⱼ, and so dxₙᵢ = Σⱼ dyₙⱼWᵢⱼ, dWᵢⱼ = Σₙ xₙᵢdyₙⱼ, dbⱼ = Σₙ dyₙⱼ:
    dx = dy·Wᵀ (batch, in), dW = xᵀ·dy (in, out), db = 1ᵀ·dy (out), n over all of the batch.
    Nothing is lost but by summing: db is summed in pairs, where a running sum of 16384 rows is
    wrong by 60 ULP.
    """

    def pullback(dy: Array) -> tuple[Array, Array, Array]:
        dkernel, dbias = dense_parameter_cotangents(x, dy)
        return dense_input_cotangent(kernel, dy), dkernel, dbias

    return unchecked(dense)(x, kernel, bias), pullback


@rule
def embedding(
    ids: Annotated[Int[Array, "*batch"], Index("vocabulary")],
    embedding: Float[Array, "vocabulary features"],
) -> Float[Array, "*batch features"]:
    """The row of ``embedding`` that each id names, as ``flax.linen.Embed``.

    Raises DomainError for an id that names no row, negative ones included; JAX gives NaN.
    """
    return embedding[ids]


@rule
def embedding_vjp(
    ids: Annotated[Int[Array, "*batch"], Index("vocabulary")],
    embedding: Float[Array, "vocabulary features"],
) -> tuple[Float[Array, "*batch features"], Pullback]:
    """``embedding`` with its pullback.

    yₙⱼ = Tᵢⱼ with i = idₙ, T the table, is a product with the matrix of one-hot rows, and so is
    dTᵢⱼ = Σ dyₙⱼ over the n with idₙ = i: rows of dy add up where an id is repeated, which a
    running sum in float32 gets wrong by 70 ULP for 200000 of one id, and a row that no id names
    gets 0. The ids have no cotangent.
    """

    def pullback(dy: Array) -> tuple[None, Array]:
        return None, embedding_table_cotangent(ids, embedding, dy)

    return embedding[ids], pullback


@rule
def bilinear(
    x1: Float[Array, "*batch in1"],
    x2: Float[Array, "*batch in2"],
    kernel: Float[Array, "in1 in2 out"],
    bias: Float[Array, " out"],
) -> Float[Array, "*batch out"]:
    """yₖ = x1ᵀ·Wₖ·x2 + bₖ, with Wₖ = ``kernel[..., k]``.

    ``torch.nn.Bilinear`` has the outputs first: its weight is (out, in1, in2).
    """
    return unchecked(bilinear_vjp)(x1, x2, kernel, bias)[0]


@rule
def bilinear_vjp(
    x1: Float[Array, "*batch in1"],
    x2: Float[Array, "*batch in2"],
    kernel: Float[Array, "in1 in2 out"],
    bias: Float[Array, " out"],
) -> tuple[Float[Array, "*batch out"], Pullback]:
    """``bilinear`` with its pullback.

    y is dense in the outer product Zᵢⱼ = x1ᵢ·x2ⱼ, which makes every sum a matrix product:
    y = Z·W + b over the pairs (i, j). From dense come dZ = W·dy, dW = Z⊗dy and db, and
    dx1 = dZ·x2, dx2 = dZᵀ·x1. Products of three factors are formed in ``widen``: in float32
    1e30·1e30·1e-30 would overflow on the way, as it does in autodiff.
    """
    wide1, wide2 = widen(x1), widen(x2)
    with np.errstate(over="ignore", invalid="ignore"):
        z = wide1[..., :, np.newaxis] * wide2[..., np.newaxis, :]
    pairs = kernel.shape[0] * kernel.shape[1]
    y, through = unchecked(dense_vjp)(
        z.reshape(*x1.shape[:-1], pairs),
        widen(kernel).reshape(pairs, kernel.shape[2]),
        widen(bias),
    )

    def pullback(dy: Array) -> tuple[Array, Array, Array, Array]:
        dpairs, dkernel, dbias = through(widen(dy))
        dz = dpairs.reshape(z.shape)
        with np.errstate(over="ignore", invalid="ignore"):
            dx1 = (dz @ wide2[..., np.newaxis])[..., 0]
            dx2 = (wide1[..., np.newaxis, :] @ dz)[..., 0, :]
        return (
            narrow(dx1, x1),
            narrow(dx2, x2),
            narrow(dkernel.reshape(kernel.shape), kernel),
            narrow(dbias, bias),
        )

    return narrow(y, x1), pullback
