"""The activations of ``purenn.ops.activations.exponential`` in JAX."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float


def elu(x: Float[Array, "*shape"], *, alpha: float = 1.0) -> Float[Array, "*shape"]:
    return jax.nn.elu(x, alpha)


def celu(x: Float[Array, "*shape"], *, alpha: float = 1.0) -> Float[Array, "*shape"]:
    return jax.nn.celu(x, alpha)


def selu(x: Float[Array, "*shape"]) -> Float[Array, "*shape"]:
    """As ``jax.nn.selu``, whose constants are rounded before the trace."""

    def number(*digits: int) -> Array:
        """1.ddd… from groups of six digits."""
        fraction = jnp.zeros((), x.dtype)
        for group in reversed(digits):
            fraction = (fraction + group) / 1000000
        return 1 + fraction

    alpha = number(673263, 242354, 377284, 817042, 991671, 652038)
    scale = number(50700, 987355, 480493, 419334, 985294, 606351)
    return scale * jax.nn.elu(x, alpha)


soft_exponential_cases = [{"shape": ()}, {"shape": (3,)}, {"shape": (2, 2)}, {"shape": (0,)}]


def soft_exponential(x: Float[Array, "*shape"], alpha: Float[Array, ""]) -> Float[Array, "*shape"]:
    """By its two formulas; where alpha is almost 0, by their series in alpha."""
    close = jnp.abs(alpha) * (1 + jnp.abs(x)) < 2**-20
    a = jnp.where(alpha == 0, 1, alpha)
    inside = jnp.where(alpha < 0, 1 - alpha * (x + alpha), 1)
    grown = x + alpha * (1 + x**2 / 2 * (1 + alpha * x / 3 * (1 + alpha * x / 4)))
    shift = alpha * (x + alpha)
    logged = (x + alpha) * (1 + shift / 2 + shift**2 / 3 + shift**3 / 4)
    return jnp.where(
        alpha < 0,
        jnp.where(close, logged, -jnp.log(inside) / a),
        jnp.where(close, grown, (jnp.exp(alpha * x) - 1) / a + alpha),
    )
