"""Right derivatives that have no reference: they are held against their own function."""

import math
from typing import Any, TypedDict

import numpy as np

from purenn.typing import Annotated, Array, Float, Interval

X = Float[Array, "*shape"]
Scalar = Annotated[Float[Array, ""], Interval(ge=-1, le=1)]


# Where float32 has as few digits after the point, nobody can tell stairs from rounding.
Near = Annotated[X, Interval(ge=-100, le=100)]


def rounded(x: Near) -> Any:
    return np.round(4 * x) / 4


def rounded_vjp(x: Near) -> Any:
    return rounded(x), lambda dy: (np.zeros_like(dy),)


def welsch(x: X) -> Any:
    return 1 - np.exp(-x * x / 2)


def welsch_vjp(x: X) -> Any:
    return welsch(x), lambda dy: (dy * x * np.exp(-x * x / 2),)


def order_statistics(x: Float[Array, " n"], weights: Float[Array, " n"]) -> Any:
    return np.sum(np.sort(x) * weights)


def order_statistics_vjp(x: Float[Array, " n"], weights: Float[Array, " n"]) -> Any:
    order = np.argsort(x, kind="stable")

    def pullback(dy: Array) -> tuple[Array, Array]:
        dx = np.empty_like(x)
        dx[order] = weights * dy
        return dx, x[order] * dy

    return order_statistics(x, weights), pullback


def normal_cdf(x: X) -> Any:
    return np.asarray([0.5 * (1 + math.erf(v / 2**0.5)) for v in x.flat], x.dtype).reshape(x.shape)


def normal_cdf_vjp(x: X) -> Any:
    return normal_cdf(x), lambda dy: (dy * np.exp(-x * x / 2) / x.dtype.type(np.sqrt(2 * np.pi)),)


class Kernel(TypedDict):
    length: Scalar
    noise: Scalar


Line = Annotated[Float[Array, " n"], Interval(ge=-3, le=3)]


def _gram(params: Kernel, x: Array) -> tuple[Array, Array, Array]:
    square = (x[:, None] - x) ** 2
    near = np.exp(-square / 2 * np.exp(-2 * params["length"]))
    return square, near, near + np.exp(params["noise"]) * np.eye(len(x), dtype=x.dtype)


def gaussian_process(params: Kernel, x: Line, y: Line) -> Any:
    factor = np.linalg.cholesky(_gram(params, x)[2])
    z = np.linalg.solve(factor, y)
    return np.sum(z**2) / 2 + np.sum(np.log(np.diag(factor)))


def gaussian_process_grad(params: Kernel, x: Line, y: Line) -> Any:
    square, near, gram = _gram(params, x)
    inverse = np.linalg.inv(gram)
    d = (inverse - np.outer(inverse @ y, inverse @ y)) / 2
    return {
        "length": np.sum(d * near * square) * np.exp(-2 * params["length"]),
        "noise": np.trace(d) * np.exp(params["noise"]),
    }
