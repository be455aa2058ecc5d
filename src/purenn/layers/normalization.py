"""Layers that normalize. Parameters ``scale`` and ``bias`` have the size of the last axis."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import DTypeLike

from purenn import random
from purenn.contract import (
    check_array,
    check_cotangent,
    check_domain,
    check_floating,
    check_integer,
    check_keys,
    check_number,
    unchecked,
)
from purenn.errors import DtypeError, ShapeError
from purenn.layers.core import Layer, State, check_input, check_input_shape, of_rule, vjp_of
from purenn.ops import normalization as ops
from purenn.ops._standardize import check_epsilon
from purenn.ops.normalization._seen import by_group
from purenn.ops.normalization.batch import _batch_norm_in_training
from purenn.ops.normalization.local_response import _check as check_local_response
from purenn.typing import Array, Interval, Key, Params, Pullback, Shape


def layer_norm(epsilon: float = 1e-6) -> Layer:
    """Standardize over the features, scale and shift, as ``flax.linen.LayerNorm``.

    Raises:
        DtypeError: ``epsilon`` is no number.
        DomainError: ``epsilon`` is negative.
    """
    return _stateless(ops.layer_norm, epsilon)


def rms_norm(epsilon: float = 1e-6) -> Layer:
    """Divide by the root of the mean square of the features and scale, as ``flax.linen.RMSNorm``.

    Raises:
        DtypeError: ``epsilon`` is no number.
        DomainError: ``epsilon`` is negative.
    """
    return _stateless(ops.rms_norm, epsilon, names=("scale",))


def group_norm(num_groups: int, epsilon: float = 1e-6) -> Layer:
    """Standardize over space and a group of channels, scale and shift (``flax.linen.GroupNorm``).

    Raises:
        DtypeError: ``num_groups`` is no int, or ``epsilon`` no number.
        DomainError: ``num_groups`` is less than 1, or ``epsilon`` negative.
        ShapeError: when the layer is used, ``num_groups`` is no divisor of the channels.
    """
    check_integer("group_norm", "num_groups", num_groups, least=1)
    return _stateless(
        ops.group_norm,
        epsilon,
        check=lambda shape: by_group((1, *shape), num_groups),
        num_groups=num_groups,
    )


def instance_norm(epsilon: float = 1e-6) -> Layer:
    """Standardize over space, scale and shift, as ``flax.linen.InstanceNorm``.

    Raises:
        DtypeError: ``epsilon`` is no number.
        DomainError: ``epsilon`` is negative.
    """
    return _stateless(ops.instance_norm, epsilon)


def local_response_norm(
    size: int = 5,
    alpha: float = 1e-4,
    beta: float = 0.75,
    k: float = 1.0,
    divide_by_size: bool = True,
) -> Layer:
    """Divide by a power of what neighbouring channels square and add up to.

    Raises:
        DtypeError: ``size`` is no int, or another option no number.
        DomainError: ``size`` is less than 1, ``alpha`` negative or ``k`` not positive.
    """
    check_local_response("local_response_norm", size, alpha, beta, k)

    def shape(input_shape: Shape) -> Shape:
        _check_shape("local_response_norm", input_shape)
        return input_shape

    static = {"size": size, "alpha": alpha, "beta": beta, "k": k, "divide_by_size": divide_by_size}
    return of_rule(ops.local_response_norm, shape, **static)


def batch_norm(momentum: float = 0.99, epsilon: float = 1e-5) -> Layer:
    """Standardize over batch and space, scale and shift, as ``flax.linen.BatchNorm``.

    ``vjp``, for training, takes the statistics of its batch and has them in the new state:
    running ← momentum·running + (1 − momentum)·batch, the variance biased, as in Flax (PyTorch's
    momentum is 1 − this one, and its running variance that of n − 1). An empty batch leaves them.
    ``forward``, for inference, takes the running ones.

    Parameters: ``scale`` and ``bias``. State: ``mean`` and ``var``, of the dtype of the parameters
    but at least float32, as in Flax: where the variance is beyond that it is infinite, from about
    |x| = 1e19 in float32, and ``forward`` gives the bias.

    Raises:
        DtypeError: ``momentum`` or ``epsilon`` is no number.
        DomainError: ``momentum`` lies outside [0, 1], or ``epsilon`` is negative; when the layer
            is used, ``var`` is negative.
    """
    name = "batch_norm"
    check_number(name, "momentum", momentum, ge=0, le=1)
    check_epsilon(name, epsilon)
    names = ("scale", "bias")

    def init(
        key: Key, input_shape: Shape, dtype: DTypeLike = np.float32
    ) -> tuple[Params, State, Shape]:
        params = _initial(name, names, key, input_shape, dtype)
        size, wide = input_shape[-1], np.promote_types(params["scale"].dtype, np.float32)
        state = {"mean": np.zeros(size, wide), "var": np.ones(size, wide)}
        return params, state, input_shape

    def check(params: Params, state: State, x: Array) -> None:
        _check(name, params, names, x)
        _check_leaves(name, "state", state, ("mean", "var"), x.shape[-1])

    def forward(params: Params, state: State, x: Array) -> Array:
        check(params, state, x)
        check_domain(name, "var", state["var"], Interval(ge=0), {})
        inputs = (x, params["scale"], params["bias"], state["mean"], state["var"])
        return unchecked(ops.batch_norm_inference)(*inputs, epsilon=epsilon)

    def vjp(
        params: Params, state: State, x: Array, key: Key | None = None
    ) -> tuple[Array, Pullback, State]:
        check(params, state, x)
        y, through, mean, var = _batch_norm_in_training(x, params["scale"], params["bias"], epsilon)
        if not x.size:
            return y, _pullback(name, names, y, through), state
        with np.errstate(over="ignore", invalid="ignore"):
            new_state = {
                leaf: (momentum * state[leaf] + (1 - momentum) * its).astype(state[leaf].dtype)
                for leaf, its in (("mean", mean), ("var", var))
            }
        return y, _pullback(name, names, y, through), new_state

    return Layer(init, forward, vjp)


def _stateless(
    rule: Callable[..., Array],
    epsilon: float,
    names: Sequence[str] = ("scale", "bias"),
    check: Callable[[Shape], object] = lambda shape: None,
    **static: Any,
) -> Layer:
    """The layer of a rule of x and the parameters ``names``; ``check`` refuses shapes."""
    name = rule.__name__
    check_epsilon(name, epsilon)
    apply, apply_vjp = unchecked(rule), unchecked(vjp_of(rule))

    def init(
        key: Key, input_shape: Shape, dtype: DTypeLike = np.float32
    ) -> tuple[Params, State, Shape]:
        params = _initial(name, names, key, input_shape, dtype)
        check(input_shape)
        return params, {}, input_shape

    def forward(params: Params, state: State, x: Array) -> Array:
        _check(name, params, names, x)
        return apply(x, *(params[leaf] for leaf in names), epsilon=epsilon, **static)

    def vjp(
        params: Params, state: State, x: Array, key: Key | None = None
    ) -> tuple[Array, Pullback, State]:
        _check(name, params, names, x)
        y, through = apply_vjp(x, *(params[leaf] for leaf in names), epsilon=epsilon, **static)
        return y, _pullback(name, names, y, through), state

    return Layer(init, forward, vjp)


def _initial(
    name: str, names: Sequence[str], key: Key, input_shape: Shape, dtype: DTypeLike
) -> Params:
    _check_shape(name, input_shape)
    size, kind = random.admit(name, key, input_shape[-1:], dtype, (*random.FLOATS, "bfloat16"))
    start = {"scale": 1, "bias": 0}
    return {leaf: np.full(size, start[leaf], kind) for leaf in names}


def _pullback(name: str, names: Sequence[str], y: Array, through: Pullback) -> Pullback:
    def pullback(dy: Array, *, input_cotangent: bool = True) -> tuple[Params, Array | None]:
        check_cotangent(name, dy, y)
        dx, *dparameters = through(dy, input_cotangent=input_cotangent)
        return dict(zip(names, dparameters, strict=True)), dx

    return pullback


def _check_shape(name: str, input_shape: Shape) -> None:
    check_input_shape(name, input_shape)
    if not input_shape:
        raise ShapeError(f"{name}: input_shape is (), expected at least the number of channels")


def _check(name: str, params: Params, names: Sequence[str], x: Array) -> None:
    check_input(name, x)
    if x.ndim < 2:
        raise ShapeError(f"{name}: x has shape {x.shape}, expected (batch, ..., channels)")
    _check_leaves(name, "params", params, names, x.shape[-1])
    for leaf in names:
        if params[leaf].dtype != x.dtype:
            raise DtypeError(
                f"{name}: {leaf} has dtype {params[leaf].dtype} and x {x.dtype}; expected the same"
            )


def _check_leaves(name: str, what: str, tree: Any, names: Sequence[str], size: int) -> None:
    check_keys(name, what, tree, names)
    for leaf in names:
        check_array(name, leaf, tree[leaf])
        check_floating(name, leaf, tree[leaf])
        if tree[leaf].shape != (size,):
            raise ShapeError(
                f"{name}: {leaf} has shape {tree[leaf].shape}, expected ({size},) for x with "
                f"{size} channels"
            )
