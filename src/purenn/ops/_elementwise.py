"""Large arrays in blocks, so that what a rule computes on its way stays in the cache."""

import functools
import inspect
from collections.abc import Callable
from typing import Any, ParamSpec, TypeVar, cast

import numpy as np

from purenn.typing import Array, Pullback

P = ParamSpec("P")
R = TypeVar("R")

BLOCK = 2**14
"""Elements of a block, 128 KiB in float64: a few such arrays are in the cache at once."""


def elementwise(function: Callable[P, R]) -> Callable[P, R]:
    """Decorate ``f`` or ``f_vjp`` of arrays of one shape, whose elements do not mix.

    It is handed vectors of no more than a block. What is not of one shape it sees whole, to
    refuse it.
    """
    by_blocks: Callable[..., Any] = _vjp if function.__name__.endswith("_vjp") else _value
    code = inspect.unwrap(function).__code__
    names = code.co_varnames[: code.co_argcount]

    @functools.wraps(function)
    def apply(*primals: P.args, **static: P.kwargs) -> R:
        named = [cast(Array, static.pop(name)) for name in names[len(primals) :] if name in static]
        arrays = (*cast(tuple[Array, ...], primals), *named)
        if arrays[0].size <= BLOCK or any(x.shape != arrays[0].shape for x in arrays[1:]):
            return cast(R, cast(Any, function)(*arrays, **static))
        return cast(R, by_blocks(functools.partial(function, **static), arrays))

    return apply


def _value(function: Callable[..., Array], primals: tuple[Array, ...]) -> Array:
    x = primals[0]
    flat, y = [primal.reshape(-1) for primal in primals], np.empty(x.size, x.dtype)
    for block in _blocks(x):
        y[block] = function(*[primal[block] for primal in flat])
    return y.reshape(x.shape)


def _vjp(
    function: Callable[..., tuple[Array, Pullback]], primals: tuple[Array, ...]
) -> tuple[Array, Pullback]:
    pullbacks: list[Pullback] = []

    def value(*parts: Array) -> Array:
        y, pullback = function(*parts)
        pullbacks.append(pullback)
        return y

    y = _value(value, primals)

    def pullback(dy: Array) -> tuple[Array | None, ...]:
        flat = dy.reshape(-1)
        cotangents: list[Array | None] = []
        for block, through in zip(_blocks(dy), pullbacks, strict=True):
            found = through(flat[block])
            if not cotangents:
                cotangents = [None if dx is None else np.empty(dy.size, dx.dtype) for dx in found]
            for dx, part in zip(cotangents, found, strict=True):
                if dx is not None:
                    dx[block] = part
        return tuple([None if dx is None else dx.reshape(dy.shape) for dx in cotangents])

    return y, pullback


def _blocks(x: Array) -> list[slice]:
    return [slice(i, i + BLOCK) for i in range(0, x.size, BLOCK)]
