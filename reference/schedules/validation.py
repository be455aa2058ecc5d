"""The rates after each of a sequence of validation scores, told of all the epochs at once."""

from typing import Any

import jax
import jax.numpy as jnp


def opennmt_decay(
    scores: jax.Array,
    init_value: float,
    decay: float,
    start_epoch: int,
    mode: str,
    min_delta: float,
    lower_is_better: bool,
) -> jax.Array:
    """OpenNMT's (Lua) three modes; a score that is NaN has not improved and is skipped."""
    n = len(scores)
    epochs = jnp.arange(n)
    known = jax.lax.cummax(jnp.where(jnp.isnan(scores), -1, epochs))[: n - 1]
    worst = jnp.inf if lower_is_better else -jnp.inf
    previous = jnp.where(known < 0, worst, scores[known])
    gain = previous - scores[1:] if lower_is_better else scores[1:] - previous
    by_score = jnp.concatenate([jnp.zeros(1, bool), jnp.logical_not(gain >= min_delta)])
    by_epoch = epochs + 1 >= start_epoch
    decays = {
        "default": jnp.cumsum(by_score | by_epoch) > 0,
        "epoch_only": by_epoch,
        "score_only": by_score,
    }[mode]
    return init_value * decay ** jnp.cumsum(decays)


def reduce_on_plateau(
    scores: jax.Array,
    init_value: float,
    factor: float,
    patience: int,
    rtol: float,
    atol: float,
    cooldown: int,
    min_scale: float,
) -> jax.Array:
    """Where a higher score is better, which optax does not know: PyTorch's ``mode="max"``."""

    def epoch(carry: Any, score: jax.Array) -> tuple[Any, jax.Array]:
        best, bad, left, scale = carry
        is_better = score > best * (1 + rtol) + atol
        best = jnp.where(is_better, score, best)
        bad = jnp.where(is_better | (left > 0), 0, bad + 1)
        left = jnp.maximum(left - 1, 0)
        reduces = bad >= patience
        scale = jnp.where(reduces, jnp.maximum(scale * factor, min_scale), scale)
        carry = best, jnp.where(reduces, 0, bad), jnp.where(reduces, cooldown, left), scale
        return carry, init_value * scale

    start = jnp.array(-jnp.inf), jnp.array(0), jnp.array(0), jnp.array(1.0)
    return jax.lax.scan(epoch, start, scores)[1]
