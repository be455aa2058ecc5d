"""Right derivatives as people write them: textbook forms, in the dtype of the argument.

``right_reference`` holds the same functions in JAX. None of them may ever be accused.
"""

from typing import Any, TypedDict

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float as In
from scipy.special import erf

from purenn.typing import Annotated, Array, Float, Index, Int, Interval, OneOf

X = Float[Array, "*shape"]
Rows = Float[Array, "rows columns"]


def sigmoid_vjp(x: X) -> Any:
    s = 1 / (1 + np.exp(-x))
    return s, lambda dy: (dy * s * (1 - s),)


def tanh_vjp(x: X) -> Any:
    y = np.tanh(x)
    return y, lambda dy: (dy * (1 - y**2),)


def relu_vjp(x: X) -> Any:
    return np.maximum(x, 0), lambda dy: (dy * (x > 0),)


def relu_from_the_right_vjp(x: X) -> Any:
    return np.maximum(x, 0), lambda dy: (dy * (x >= 0),)


def absolute_vjp(x: X) -> Any:
    return np.abs(x), lambda dy: (dy * np.sign(x),)


def leaky_relu_vjp(x: X) -> Any:
    slope = np.where(x > 0, x.dtype.type(1), x.dtype.type(0.01))
    return slope * x, lambda dy: (dy * slope,)


def elu_vjp(x: X) -> Any:
    y = np.where(x > 0, x, np.expm1(np.minimum(x, 0)))
    return y, lambda dy: (np.where(x > 0, dy, dy * (y + 1)),)


def hard_tanh_vjp(x: X) -> Any:
    return np.clip(x, -1, 1), lambda dy: (dy * ((x > -1) & (x < 1)),)


def silu_vjp(x: X) -> Any:
    s = 1 / (1 + np.exp(-x))
    return x * s, lambda dy: (dy * (s + x * s * (1 - s)),)


def gelu_vjp(x: X) -> Any:
    c = x.dtype.type(np.sqrt(2 / np.pi))
    t = np.tanh(c * (x + x.dtype.type(0.044715) * x**3))

    def pullback(dy: Array) -> tuple[Array]:
        inner = c * (1 + 3 * x.dtype.type(0.044715) * x**2)
        return (dy * (0.5 * (1 + t) + 0.5 * x * (1 - t**2) * inner),)

    return 0.5 * x * (1 + t), pullback


def gelu_by_erf_vjp(x: X) -> Any:
    t = x.dtype.type
    cdf = (1 + erf(x / t(np.sqrt(2)))) / 2
    pdf = np.exp(-x * x / 2) / t(np.sqrt(2 * np.pi))
    return x * cdf, lambda dy: (dy * (cdf + x * pdf),)


def gelu_by_sigmoid_vjp(x: X) -> Any:
    return gelu_vjp(x)


def swish_vjp(x: X, beta: float) -> Any:
    b = x.dtype.type(beta)
    s = 1 / (1 + np.exp(-b * x))

    def pullback(dy: Array) -> tuple[Array, float]:
        slope = s * (1 - s)
        return dy * (s + b * x * slope), float(np.sum(dy * x * x * slope))

    return x * s, pullback


def arctanh_vjp(x: X) -> Any:
    if np.any(np.abs(x) > 1):
        raise ValueError("arctanh of what is beyond one")
    return np.arctanh(x), lambda dy: (dy / (1 - x * x),)


def power_vjp(x: Annotated[X, Interval(gt=0, le=10)]) -> Any:
    return x**2.5, lambda dy: (dy * 2.5 * x**1.5,)


def softmax_vjp(x: Rows) -> Any:
    e = np.exp(x - x.max(axis=-1, keepdims=True))
    y = e / e.sum(axis=-1, keepdims=True)
    return y, lambda dy: (y * (dy - (y * dy).sum(axis=-1, keepdims=True)),)


def log_softmax_vjp(x: Rows) -> Any:
    shifted = x - x.max(axis=-1, keepdims=True)
    y = shifted - np.log(np.exp(shifted).sum(axis=-1, keepdims=True))
    return y, lambda dy: (dy - np.exp(y) * dy.sum(axis=-1, keepdims=True),)


def mean_cross_entropy_vjp(
    logits: Rows, labels: Annotated[Int[Array, " rows"], Index("columns")]
) -> Any:
    rows = np.arange(len(logits))
    shifted = logits - logits.max(axis=-1, keepdims=True)
    p = np.exp(shifted) / np.exp(shifted).sum(axis=-1, keepdims=True)
    loss = np.mean(np.log(np.exp(shifted).sum(axis=-1)) - shifted[rows, labels])

    def pullback(dy: Array) -> tuple[Array, None]:
        dlogits = p.copy()
        dlogits[rows, labels] -= 1
        return dy * dlogits / dlogits.dtype.type(len(logits)), None

    return np.asarray(loss), pullback


def kl_divergence_vjp(
    log_q: Annotated[Float[Array, "*batch n"], Interval(ge=-20, le=0)],
    p: Annotated[Float[Array, "*batch n"], Interval(ge=1e-3, le=1)],
) -> Any:
    def pullback(dy: Array) -> tuple[Array, Array]:
        return -dy[..., None] * p, dy[..., None] * (np.log(p) - log_q + 1)

    return (p * (np.log(p) - log_q)).sum(axis=-1), pullback


def mean_squared_error_vjp(x: X, target: X) -> Any:
    n = x.dtype.type(max(x.size, 1))
    difference = x - target

    def pullback(dy: Array) -> tuple[Array, Array]:
        dx = dy * 2 * difference / n
        return dx, -dx

    return np.asarray((difference**2).sum() / n), pullback


def huber_vjp(x: X, *, delta: Annotated[float, OneOf(0.5, 1.0)] = 1.0) -> Any:
    d = x.dtype.type(delta)
    y = np.where(np.abs(x) <= d, x**2 / 2, d * (np.abs(x) - d / 2))
    return y, lambda dy: (dy * np.clip(x, -d, d),)


def hinge_vjp(score: X) -> Any:
    return np.maximum(0, 1 - score), lambda dy: (-dy * (score < 1),)


def dense_vjp(
    x: Float[Array, "batch in"], kernel: Float[Array, "in out"], bias: Float[Array, " out"]
) -> Any:
    def pullback(dy: Array) -> tuple[Array, Array, Array]:
        return dy @ kernel.T, x.T @ dy, dy.sum(axis=0)

    return x @ kernel + bias, pullback


def embedding_vjp(
    table: Float[Array, "words features"], ids: Annotated[Int[Array, " n"], Index("words")]
) -> Any:
    def pullback(dy: Array) -> tuple[Array, None]:
        dtable = np.zeros_like(table)
        np.add.at(dtable, ids, dy)
        return dtable, None

    return table[ids], pullback


def layer_norm_vjp(x: Rows, scale: Float[Array, " columns"]) -> Any:
    n = x.dtype.type(x.shape[-1])
    centred = x - x.sum(axis=-1, keepdims=True) / n
    inverse = 1 / np.sqrt((centred**2).sum(axis=-1, keepdims=True) / n + x.dtype.type(1e-5))
    normal = centred * inverse

    def pullback(dy: Array) -> tuple[Array, Array]:
        d = dy * scale
        mean = d.sum(axis=-1, keepdims=True) / n
        along = (d * normal).sum(axis=-1, keepdims=True) / n
        return inverse * (d - mean - normal * along), (dy * normal).sum(axis=0)

    return normal * scale, pullback


def max_pool_vjp(x: Float[Array, "batch 4"]) -> Any:
    pairs = x.reshape(-1, 2, 2)
    y = pairs.max(axis=-1)

    def pullback(dy: Array) -> tuple[Array]:
        dx = np.zeros_like(pairs)
        first = pairs.argmax(axis=-1)
        np.put_along_axis(dx, first[..., None], dy[..., None], axis=-1)
        return (dx.reshape(x.shape),)

    return y, pullback


def convolution_vjp(x: Float[Array, " n+2"], kernel: Float[Array, "3"]) -> Any:
    windows = np.lib.stride_tricks.sliding_window_view(x, 3)

    def pullback(dy: Array) -> tuple[Array, Array]:
        dx = np.convolve(dy, kernel) if dy.size else np.zeros_like(x)
        return dx, windows.T @ dy

    return windows @ kernel, pullback


def cumulative_vjp(x: Rows) -> Any:
    y = x.cumsum(axis=-1)
    return y, lambda dy: (dy[:, ::-1].cumsum(axis=-1)[:, ::-1],)


def product_vjp(x: Annotated[Float[Array, "rows 3"], Interval(ge=0.5, le=2)]) -> Any:
    y = x.prod(axis=-1)
    return y, lambda dy: (dy[:, None] * y[:, None] / x,)


def sort_vjp(x: Float[Array, " n"]) -> Any:
    order = np.argsort(x, kind="stable")

    def pullback(dy: Array) -> tuple[Array]:
        dx = np.empty_like(dy)
        dx[order] = dy
        return (dx,)

    return x[order], pullback


def best_vjp(x: Rows) -> Any:
    place = x.argmax(axis=-1)
    rows = np.arange(len(x))

    def pullback(dy: tuple[Array, Any]) -> tuple[Array]:
        dx = np.zeros_like(x)
        dx[rows, place] = dy[0]
        return (dx,)

    return (x[rows, place], place), pullback


def box_blur_vjp(x: Float[Array, "rows n"]) -> Any:
    ahead, behind = np.pad(x, ((0, 0), (0, 1)))[:, 1:], np.pad(x, ((0, 0), (1, 0)))[:, :-1]

    def pullback(dy: Array) -> tuple[Array]:
        return (dy + np.pad(dy, ((0, 0), (1, 0)))[:, :-1] + np.pad(dy, ((0, 0), (0, 1)))[:, 1:],)

    return x + ahead + behind, pullback


def gate_vjp(kernel: Float[Array, "n 2"], x: Float[Array, "batch n"]) -> Any:
    a, b = (x @ kernel).T
    z, n = (1 + np.tanh(a / 2)) / 2, np.tanh(b)

    def pullback(dy: Array) -> tuple[Array, Array]:
        d = np.stack([dy * n * z * (1 - z), dy * z * (1 - n * n)], axis=-1)
        return x.T @ d, d @ kernel.T

    return z * n, pullback


class Cell(TypedDict):
    hidden: Float[Array, "h h"]
    input: Float[Array, "n h"]
    bias: Float[Array, " h"]


def rnn_cell_vjp(params: Cell, h: Float[Array, "b h"], x: Float[Array, "b n"]) -> Any:
    y = np.tanh(h @ params["hidden"] + x @ params["input"] + params["bias"])

    def pullback(dy: Array) -> Any:
        d = dy * (1 - y**2)
        dparams = {"hidden": h.T @ d, "input": x.T @ d, "bias": d.sum(axis=0)}
        return dparams, d @ params["hidden"].T, d @ params["input"].T

    return y, pullback


def moments_vjp(x: Rows) -> Any:
    n = x.dtype.type(len(x))

    def pullback(dy: tuple[Array, Array]) -> tuple[Array]:
        dmean, dsquare = dy
        return ((dmean + 2 * x * dsquare) / n,)

    return (x.sum(axis=0) / n, (x**2).sum(axis=0) / n), pullback


def logistic_regression(
    w: Float[Array, " n"],
    x: Float[Array, "m n"],
    t: Annotated[Float[Array, " m"], Interval(ge=0, le=1)],
) -> Any:
    logits = x @ w
    return np.sum(np.logaddexp(0, logits) - t * logits)


def logistic_regression_grad(
    w: Float[Array, " n"],
    x: Float[Array, "m n"],
    t: Annotated[Float[Array, " m"], Interval(ge=0, le=1)],
) -> Any:
    logits = x @ w
    error = 1 / (1 + np.exp(-logits)) - t
    return x.T @ error, np.outer(error, w), -logits


def scaled_vjp(x: X, scale: float) -> Any:
    s = x.dtype.type(scale)
    return x * s, lambda dy: (dy * s, float((dy * x).sum()))


def square_root_fwd(x: Annotated[X, Interval(ge=0.01)]) -> Any:
    y = np.sqrt(x)
    return y, y


def square_root_bwd(y: Array, dy: Array) -> tuple[Array]:
    return (dy / (2 * y),)


def sine_jvp(primals: tuple[X], tangents: tuple[X]) -> Any:
    (x,), (dx,) = primals, tangents
    return np.sin(x), np.cos(x) * dx


def sine(x: Annotated[X, Interval(ge=-10, le=10)]) -> Any:
    return np.sin(x)


def softmax_of_columns(x: Rows) -> Any:
    e = np.exp(x - x.max(axis=0, initial=-np.inf))
    return e / e.sum(axis=0)


def softmax_of_columns_jvp(primals: tuple[Rows], tangents: tuple[Rows]) -> Any:
    y, dx = softmax_of_columns(primals[0]), tangents[0]
    return y, y * (dx - (y * dx).sum(axis=0))


@jax.custom_vjp
def log1pexp(x: In[jax.Array, "*shape"]) -> jax.Array:
    return jnp.logaddexp(x, 0)


def _log1pexp_fwd(x: jax.Array) -> Any:
    return log1pexp(x), x


def _log1pexp_bwd(x: jax.Array, dy: jax.Array) -> tuple[jax.Array]:
    return (dy * jax.nn.sigmoid(x),)


log1pexp.defvjp(_log1pexp_fwd, _log1pexp_bwd)
