"""Rivals on JAX's devices: on its CPU always, and in the same run on its GPU where it has one."""

from collections.abc import Callable
from functools import partial
from typing import Any

from benchmarks.turns import Rivals, Run


def rivals(make: Callable[[Any], Run]) -> Rivals:
    """``make(device)`` for each device; without a GPU there is no such rival."""
    return {name: partial(make, device) for name, device in devices().items()}


def devices() -> dict[str, Any]:
    """Those there are, by the name of the rival."""
    try:
        import jax
    except ImportError:
        return {"JAX jit": None}  # what is made with it imports JAX too, and says so
    found = {"JAX jit": jax.devices("cpu")[0]}
    if jax.devices()[0].platform == "gpu":
        found["JAX jit, GPU"] = jax.devices()[0]
    return found


def put(tree: Any, device: Any) -> Any:
    """Copies of the arrays, bound to the device: what is computed of them is computed there."""
    import jax

    # Without the copy JAX would have the memory of the NumPy array, and could not take it over.
    return jax.device_put(jax.tree.map(jax.numpy.array, tree), device)


def compiled(device: Any, function: Callable[..., Any], *arguments: Any) -> Run:
    """One program, of arguments that are on the device."""
    import jax

    given, program = put(arguments, device), jax.jit(function)
    return lambda: jax.block_until_ready(program(*given))
