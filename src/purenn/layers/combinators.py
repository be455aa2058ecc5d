"""Layers made of layers."""

from collections.abc import Iterable
from typing import Any

import numpy as np
from numpy.typing import DTypeLike

from purenn import random
from purenn.errors import DomainError, ShapeError, TreeError
from purenn.layers.core import REFUSED, Layer, State, inside
from purenn.ops._plans import Call, Plan, run
from purenn.typing import Array, Key, Params, Pullback, Shape


def serial(*unnamed: Layer, **layers: Layer) -> Layer:
    """One layer after the other, each under its name.

    Parameters and state: the entries of the layers that have any, by name. The key is split, one
    for each layer in turn, where a layer needs one.

    Raises:
        DomainError: there are no layers.
        TypeError: an argument has no name or is no Layer.
    """
    if unnamed:
        raise TypeError("serial: a layer has no name; write serial(hidden=dense(128), act=relu)")
    if not layers:
        raise DomainError("serial: no layers, expected at least one")
    for name, layer in layers.items():
        if not isinstance(layer, Layer):
            raise TypeError(
                f"serial: {name} is a {type(layer).__name__}, expected a Layer "
                "(activation(rule) makes one from a rule)"
            )
    stochastic = any(layer.stochastic for layer in layers.values())

    def init(
        key: Key, input_shape: Shape, dtype: DTypeLike = np.float32
    ) -> tuple[Params, State, Shape]:
        params: Params = {}
        state: State = {}
        shape = input_shape
        keys = random.split(key, len(layers))
        try:
            for (name, layer), its_key in zip(layers.items(), keys, strict=True):
                its_params, its_state, shape = layer.init(its_key, shape, dtype)
                params |= {name: its_params} if its_params else {}
                state |= {name: its_state} if its_state else {}
        except REFUSED as error:
            raise inside(name, error) from None
        return params, state, shape

    def forward(params: Params, state: State, x: Array) -> Array:
        _check_names(params, state, layers)
        try:
            for name, layer in layers.items():
                x = layer.forward(params.get(name, {}), state.get(name, {}), x)
        except REFUSED as error:
            raise inside(name, error) from None
        return x

    def vjp(
        params: Params, state: State, x: Array, key: Key | None = None
    ) -> tuple[Array, Pullback, State]:
        _check_names(params, state, layers)
        pullbacks: dict[str, Pullback] = {}
        states: State = {}
        keys: Iterable[Key | None] = [None] * len(layers)
        if stochastic and key is not None:
            keys = random.split(key, len(layers))
        try:
            for (name, layer), its_key in zip(layers.items(), keys, strict=True):
                x, pullbacks[name], states[name] = layer.vjp(
                    params.get(name, {}), state.get(name, {}), x, its_key
                )
        except REFUSED as error:
            raise inside(name, error) from None

        # Without the input cotangent the way back ends at the first layer that has parameters.
        first = next((name for name in layers if params.get(name)), None)

        def pullback(dy: Array, *, input_cotangent: bool = True) -> tuple[Params, Array | None]:
            grads: Params = {}
            try:
                for name in reversed(pullbacks):
                    last = name == first and not input_cotangent
                    grads[name], dy = pullbacks[name](dy, input_cotangent=not last)
                    if last:
                        break
            except REFUSED as error:
                raise inside(name, error) from None
            dparams = {name: grads.get(name, {}) for name in params}
            return dparams, dy if input_cotangent else None

        return x, pullback, {name: states[name] for name in state}

    def plan(params: Params, x: Array, in_place: bool = False) -> Plan | None:
        parts: list[tuple[str, Plan]] = []
        for name, layer in layers.items():
            part = None if layer.plan is None else layer.plan(params.get(name, {}), x, in_place)
            if part is None:
                return None
            parts.append((name, part))
            run(part.forward)  # the next one is planned for a batch, too
            x, in_place = part.y, not part.reads_y
        return _in_series(parts, next((name for name in layers if params.get(name)), None))

    return Layer(init, forward, vjp, stochastic, plan)


def _in_series(parts: list[tuple[str, Plan]], first: str | None) -> Plan:
    """One plan after the other; ``first`` is the first that has parameters."""
    *_, (_, last) = parts
    forward = [call for _, part in parts for call in part.forward]
    inner = _in_turn([part.y for _, part in parts[:-1]])

    def backward(dy: Array, dparams: Params, dx: Array | None) -> list[Call]:
        calls: list[Call] = []
        for (name, part), its_dx in zip(reversed(parts), [*reversed(inner), dx], strict=True):
            is_last = dx is None and name == first
            its_dx = None if is_last else its_dx
            calls += part.backward(dy, dparams.get(name, {}), its_dx)
            if is_last or its_dx is None:
                break
            dy = its_dx
        return calls

    return Plan(last.y, forward, backward, last.reads_y)


def _in_turn(arrays: list[Array]) -> list[Array]:
    """Arrays like these, each of which shares no memory with its neighbours."""
    largest = max([x.nbytes for x in arrays], default=0)
    rooms = [np.empty(largest, np.uint8) for _ in range(2)]
    return [rooms[i % 2][: x.nbytes].view(x.dtype).reshape(x.shape) for i, x in enumerate(arrays)]


def residual(layer: Layer) -> Layer:
    """Add the input to the output: y = x + layer(x), with the parameters of ``layer``.

    x is used twice, so its cotangent is a sum: dx = dy + (dlayer/dx)ᵀdy.

    Raises, when the returned functions are called:
        ShapeError: ``layer`` changes the shape.
    """

    def check(before: Shape, after: Shape) -> None:
        if before != after:
            raise ShapeError(
                f"residual: the layer turns shape {before} into {after}; "
                "x + layer(x) needs equal shapes"
            )

    def init(
        key: Key, input_shape: Shape, dtype: DTypeLike = np.float32
    ) -> tuple[Params, State, Shape]:
        params, state, output_shape = layer.init(key, input_shape, dtype)
        check(input_shape, output_shape)
        return params, state, output_shape

    def forward(params: Params, state: State, x: Array) -> Array:
        y = layer.forward(params, state, x)
        check(x.shape, y.shape)
        return _sum(x, y)

    def vjp(
        params: Params, state: State, x: Array, key: Key | None = None
    ) -> tuple[Array, Pullback, State]:
        y, through, new_state = layer.vjp(params, state, x, key)
        check(x.shape, y.shape)

        def pullback(dy: Array, *, input_cotangent: bool = True) -> tuple[Params, Array | None]:
            dparams, dx = through(dy, input_cotangent=input_cotangent)
            return dparams, _sum(dy, dx) if input_cotangent else None

        return _sum(x, y), pullback, new_state

    return Layer(init, forward, vjp, layer.stochastic)


def _sum(a: Array, b: Array) -> Array:
    with np.errstate(over="ignore", invalid="ignore"):
        return np.asarray(a + b)


def _check_names(params: Any, state: Any, layers: dict[str, Layer]) -> None:
    """Refuse entries that belong to no layer; a layer misses its own ones itself."""
    for what, tree in (("params", params), ("state", state)):
        if not isinstance(tree, dict):
            raise TreeError(f"{what} is a {type(tree).__name__}, expected a dict")
        if not tree.keys() <= layers.keys():
            unknown = [name for name in tree if name not in layers]
            raise TreeError(f"{what} has keys {unknown}, expected names of {[*layers]}")
