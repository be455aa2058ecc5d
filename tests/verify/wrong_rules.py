"""Derivatives that are wrong in one way each, and right ones in disguise.

The names say the mistake; ``reference_of`` tells what each is meant to be the derivative of.
"""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from purenn.typing import Array, Float, Pullback

X = Float[Array, "*shape"]
M = Float[Array, "rows columns"]


def tanh(x: X) -> Any:
    return jnp.tanh(x)


def dense(x: Float[Array, "*batch in"], kernel: Float[Array, "in out"]) -> Any:
    return x @ kernel


def softmax(x: M) -> Any:
    return jax.nn.softmax(x)


def mean_square(x: M) -> Any:
    return jnp.mean(x**2, axis=-1)


def huber(x: X) -> Any:
    return jnp.where(jnp.abs(x) <= 1, x**2 / 2, jnp.abs(x) - 0.5)


def sech2(x: Array) -> Array:
    e = np.exp(-2 * np.abs(x.astype(np.float64)))
    return np.asarray(4 * e / (1 + e) ** 2)


def like(y: Any, x: Array) -> Array:
    return np.asarray(y, x.dtype)


def wrong_sign(x: X) -> tuple[X, Pullback]:
    return like(np.tanh(x), x), lambda dy: (like(-dy * sech2(x), x),)


def wrong_zeros(x: X) -> tuple[X, Pullback]:
    return like(np.tanh(x), x), lambda dy: (np.zeros_like(x),)


def wrong_passes_dy_through(x: X) -> tuple[X, Pullback]:
    return like(np.tanh(x), x), lambda dy: (dy.copy(),)


def wrong_forgets_dy(x: X) -> tuple[X, Pullback]:
    return like(np.tanh(x), x), lambda dy: (like(sech2(x), x),)


def wrong_value(x: X) -> tuple[X, Pullback]:
    return like(np.tanh(x) * 1.0001, x), lambda dy: (like(dy * sech2(x), x),)


def wrong_by_a_thousandth(x: X) -> tuple[X, Pullback]:
    return like(np.tanh(x), x), lambda dy: (like(dy * sech2(x) * 1.001, x),)


def wrong_only_first_right(x: X) -> tuple[X, Pullback]:
    def pullback(dy: Array) -> Any:
        dx = np.zeros(x.size)
        dx[:1] = (dy * sech2(x)).ravel()[:1]
        return (like(dx.reshape(x.shape), x),)

    return like(np.tanh(x), x), pullback


def wrong_sign_in_saturation(x: X) -> Any:
    dx = sech2(x)
    return like(np.tanh(x), x), lambda dy: (like(np.where(x > 5, -1, 1) * dy * dx, x),)


def wrong_factor_in_saturation(x: X) -> Any:
    dx = sech2(x)
    return like(np.tanh(x), x), lambda dy: (like(np.where(x > 9, 5, 1) * dy * dx, x),)


def wrong_bare_array(x: X) -> Any:
    return like(np.tanh(x), x), lambda dy: like(dy * sech2(x), x)


def wrong_dtype(x: X) -> Any:
    return like(np.tanh(x), x), lambda dy: ((dy * sech2(x)).astype(np.float16),)


def wrong_shape(x: X) -> Any:
    return like(np.tanh(x), x), lambda dy: (like(dy * sech2(x), x).reshape(-1),)


def wrong_writes_to_dy(x: X) -> Any:
    def pullback(dy: Array) -> Any:
        dy.setflags(write=True)
        dy *= 2
        return (like(dy / 2 * sech2(x), x),)

    return like(np.tanh(x), x), pullback


def wrong_second_call(x: X) -> Any:
    calls: list[int] = []

    def pullback(dy: Array) -> Any:
        calls.append(1)
        return (like(dy * sech2(x) * len(calls), x),)

    return like(np.tanh(x), x), pullback


_kept: dict[str, Array] = {}


def wrong_keeps_x_outside(x: X) -> Any:
    _kept["x"] = x
    return like(np.tanh(x), x), lambda dy: (like(dy * sech2(_kept["x"]), x),)


def wrong_raises(x: X) -> Any:
    raise RuntimeError("not today")


def wrong_softmax_without_second_term(x: M) -> Any:
    y = like(jax.nn.softmax(x.astype(np.float64)), x)
    return y, lambda dy: (like(y * dy, x),)


def wrong_softmax_axis(x: M) -> Any:
    y = like(jax.nn.softmax(x.astype(np.float64)), x)
    return y, lambda dy: (like(y * (dy - np.sum(y * dy, axis=0)), x),)


def wrong_mean_without_1_over_n(x: M) -> Any:
    return like(np.mean(x**2, axis=-1), x), lambda dy: (like(2 * x * dy[:, None], x),)


def wrong_dense_transpose_missing(
    x: Float[Array, "*batch in"], kernel: Float[Array, "in out"]
) -> Any:
    def pullback(dy: Array) -> Any:
        dkernel = x.reshape(-1, x.shape[-1]).T @ dy.reshape(-1, dy.shape[-1])
        square = kernel.shape[0] == kernel.shape[1]
        return dy @ (kernel if square else kernel.T), dkernel

    return x @ kernel, pullback


def wrong_dense_kernel_of_first_example(
    x: Float[Array, "*batch in"], kernel: Float[Array, "in out"]
) -> Any:
    def pullback(dy: Array) -> Any:
        rows, dy_rows = x.reshape(-1, x.shape[-1]), dy.reshape(-1, dy.shape[-1])
        return dy @ kernel.T, rows[:1].T @ dy_rows[:1]

    return x @ kernel, pullback


def wrong_huber_outside(x: X) -> Any:
    y = np.where(np.abs(x) <= 1, x**2 / 2, np.abs(x) - 0.5)
    return like(y, x), lambda dy: (like(dy * np.where(np.abs(x) <= 1, x, 1), x),)


class Pair(NamedTuple):
    a: X
    b: X


def pair(p: Pair) -> Any:
    return p.a * p.b


def wrong_pair(p: Pair) -> Any:
    return p.a * p.b, lambda dy: (Pair(dy * p.b, dy * p.b),)


def right_textbook_tanh(x: X) -> Any:
    y = like(np.tanh(x), x)
    return y, lambda dy: (like(dy * (1 - y * y), x),)


def wrong_in_fortran_order(x: M) -> Any:
    return like(2 * x, x), lambda dy: (like(2 * dy, x) if x.flags.c_contiguous else 3 * dy,)


def right_with_numpy_scalars(x: X) -> Any:
    return np.tanh(x.astype(np.float64)).astype(x.dtype), lambda dy: (
        (dy * sech2(x)).astype(x.dtype),
    )


def right_huber(x: X) -> Any:
    y = np.where(np.abs(x) <= 1, x**2 / 2, np.abs(x) - 0.5)
    return like(y, x), lambda dy: (like(dy * np.clip(x, -1, 1), x),)


def right_dense(x: Float[Array, "*batch in"], kernel: Float[Array, "in out"]) -> Any:
    def pullback(dy: Array) -> Any:
        dkernel = x.reshape(-1, x.shape[-1]).T @ dy.reshape(-1, dy.shape[-1])
        return dy @ kernel.T, dkernel

    return x @ kernel, pullback


def right_mean_square(x: M) -> Any:
    n = x.shape[-1]
    return like(np.mean(x**2, axis=-1), x), lambda dy: (like(2 * x / n * dy[:, None], x),)


def double(x: M) -> Any:
    return 2 * x


def reference_of(name: str) -> Any:
    if "order" in name:
        return double
    for part, function in (
        ("pair", pair),
        ("softmax", softmax),
        ("mean", mean_square),
        ("dense", dense),
    ):
        if part in name:
            return function
    return huber if "huber" in name else tanh
