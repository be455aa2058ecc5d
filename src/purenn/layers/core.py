"""What a layer is, and what every layer checks."""

import sys
from collections.abc import Callable
from typing import Any, NamedTuple, TypeAlias

import numpy as np
from numpy.typing import DTypeLike

from purenn.contract import check_array, check_cotangent, check_floating, check_keys, unchecked
from purenn.errors import DomainError, DtypeError, ShapeError, TreeError
from purenn.ops._plans import Call, Plan, Planner, plan_by_vjp, plan_of
from purenn.typing import Array, Key, Params, Pullback, Shape

State: TypeAlias = dict[str, Any]
"""Nested dict of what a layer remembers without training it, such as running statistics."""

REFUSED = (ShapeError, DtypeError, DomainError, TreeError)
"""What a layer raises for what does not fit."""


class Layer(NamedTuple):
    """A layer, or a whole model.

    Attributes:
        init: ``(key, input_shape, dtype=float32) -> (params, state, output_shape)``. Shapes are
            those of one example, without the batch dimension: (64,) -> (10,).
        forward: ``(params, state, x) -> y``, for inference. The first dimension of ``x`` is the
            batch.
        vjp: ``(params, state, x, key=None) -> (y, pullback, new_state)``, for training, with the
            contract of ``jax.vjp(..., has_aux=True)``. ``key`` drives whatever is random.
            ``pullback(dy, *, input_cotangent=True) -> (dparams, dx)``; without the input
            cotangent ``dx`` is ``None``, and no work is spent on it.
        stochastic: Whether ``vjp`` needs its key; no key is derived for a layer that does not.
        plan: ``(params, x, in_place=False) -> Plan`` of ``vjp`` for these very arrays, which hold
            a batch, as :mod:`purenn.ops._plans` explains; ``in_place`` if the value may be where x
            is. None, also as what it gives, where there is none: the layer is then slower in a
            small network.

    All three raise ShapeError, DtypeError, DomainError or TreeError for what does not fit.
    """

    init: Callable[..., tuple[Params, State, Shape]]
    forward: Callable[[Params, State, Array], Array]
    vjp: Callable[..., tuple[Array, Pullback, State]]
    stochastic: bool = False
    plan: Planner | None = None


def vjp_of(rule: Callable[..., Array]) -> Callable[..., tuple[Array, Pullback]]:
    """``f_vjp`` for a rule ``f``: the function of that name in the module of ``f``.

    Raises:
        DomainError: there is none.
    """
    base = getattr(rule, "__name__", None)
    if base is None:
        raise DomainError(f"{rule!r} has no name by which a derivative could be found")
    found = getattr(sys.modules[rule.__module__], f"{base}_vjp", None)
    if found is None:
        raise DomainError(f"{base} has no derivative: {rule.__module__}.{base}_vjp does not exist")
    return found  # type: ignore[no-any-return]


def without_parameters(
    name: str,
    shape: Callable[[Shape], Shape],
    apply: Callable[[Array], Array],
    apply_vjp: Callable[[Array, Key | None], tuple[Array, Callable[[Array], Array]]],
    stochastic: bool = False,
    plan: Planner | None = None,
) -> Layer:
    """Make a layer of a function of x that does ``shape`` to the shape of an example.

    ``apply_vjp`` is given the key too; whether it needs it is ``stochastic``.
    """

    def init(
        key: Key, input_shape: Shape, dtype: DTypeLike = np.float32
    ) -> tuple[Params, State, Shape]:
        check_input_shape(name, input_shape)
        return {}, {}, shape(input_shape)

    def check(params: Params, x: Array) -> None:
        check_keys(name, "params", params, ())
        check_input(name, x)

    def forward(params: Params, state: State, x: Array) -> Array:
        check(params, x)
        return apply(x)

    def vjp(
        params: Params, state: State, x: Array, key: Key | None = None
    ) -> tuple[Array, Pullback, State]:
        check(params, x)
        y, through = apply_vjp(x, key)

        def pullback(dy: Array, *, input_cotangent: bool = True) -> tuple[Params, Array | None]:
            check_cotangent(name, dy, y)
            return {}, through(dy) if input_cotangent else None

        return y, pullback, state

    return Layer(init, forward, vjp, stochastic, plan)


def of_rule(rule: Callable[..., Array], shape: Callable[[Shape], Shape], **static: Any) -> Layer:
    """Make a layer of a rule of one array, with ``static`` arguments; see without_parameters."""
    apply, apply_vjp = unchecked(rule), unchecked(vjp_of(rule))

    def vjp(x: Array, key: Key | None) -> tuple[Array, Callable[[Array], Array]]:
        y, pullback = apply_vjp(x, **static)
        return y, lambda dy: pullback(dy)[0]

    planner = None if static else plan_of(rule)

    def plan(params: Params, x: Array, in_place: bool = False) -> Plan | None:
        if planner is None:
            return _of_layer(plan_by_vjp(apply_vjp, x, **static))
        found = planner(x, in_place)
        return None if found is None else _of_layer(found)

    return without_parameters(rule.__name__, shape, lambda x: apply(x, **static), vjp, plan=plan)


def _of_layer(plan: Plan) -> Plan:
    """The plan of a rule of x as that of a layer without parameters."""

    def backward(dy: Array, dparams: Params, dx: Array | None) -> list[Call]:
        return [] if dx is None else plan.backward(dy, dx)

    return plan._replace(backward=backward)


def inside(name: str, error: Exception) -> Exception:
    """Say the same refusal of the layer ``name``."""
    return type(error)(f"{name}: {error}")


def check_input(name: str, x: Array) -> None:
    """Refuse what is no batch of floating-point numbers."""
    check_array(name, "x", x)
    check_floating(name, "x", x)
    if x.ndim == 0:
        raise ShapeError(f"{name}: x has shape (), expected a batch dimension first")


def check_input_shape(name: str, input_shape: object) -> None:
    """Refuse what is not the shape of an example, such as 784 for (784,)."""
    if not isinstance(input_shape, tuple) or not all(
        isinstance(size, int | np.integer) and not isinstance(size, bool) and size >= 0
        for size in input_shape
    ):
        raise ShapeError(
            f"{name}: input_shape is {input_shape!r}, expected a tuple of sizes ≥ 0, "
            "those of an example without the batch"
        )
