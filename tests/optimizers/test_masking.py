"""Masks and groups by path, beside optax' by tree."""

import re
from typing import Any

import hypothesis.strategies as st
import jax
import numpy as np
import optax
import pytest
from hypothesis import given

from purenn.errors import DomainError, DtypeError, TreeError
from purenn.optimizers import MaskedNode, adam, chain, ema, freeze, masked, partition, sgd
from purenn.regularizers import is_weight
from tests.optimizers.beside_optax import SHAPES, assert_agrees

SEEDS = st.integers(0, 2**32)
KERNELS = {layer: {name: name == "kernel" for name in its} for layer, its in SHAPES.items()}


@pytest.mark.parametrize(
    "mask",
    [is_weight, KERNELS, {"a": True, "b": {"scale": False, "kernel": True}, "empty": False}, True],
    ids=["path", "tree", "prefix", "all"],
)
@given(decay=st.floats(0, 0.99), seed=SEEDS)
def test_masked_is_that_of_optax(decay: float, seed: int, mask: Any) -> None:
    def theirs(decay: Any) -> Any:
        return optax.masked(optax.ema(decay), KERNELS if callable(mask) else mask)

    key = mask if callable(mask) else repr(mask)
    assert_agrees(
        lambda decay: masked(ema(decay), mask),
        MAKES.setdefault(key, theirs),
        {"decay": decay},
        seed,
    )


MAKES: dict[Any, Any] = {}


def ours_in_groups(rate: float) -> Any:
    groups = {"weights": adam(rate), "rest": sgd(rate, 0.9), "none": ema(0.5)}
    return partition(groups, lambda path: "weights" if is_weight(path) else "rest")


def theirs_in_groups(rate: Any) -> Any:
    groups = {"weights": optax.adam(rate), "rest": optax.sgd(rate, 0.9), "none": optax.ema(0.5)}
    labels = jax.tree.map(lambda chosen: "weights" if chosen else "rest", KERNELS)
    return optax.partition(groups, labels)


@given(rate=st.floats(1e-4, 1), seed=SEEDS, signed=st.booleans())
def test_partition_is_that_of_optax(rate: float, seed: int, signed: bool) -> None:
    assert_agrees(ours_in_groups, theirs_in_groups, {"rate": rate}, seed, signed=signed)


def test_frozen_leaves_stay() -> None:
    def ours(rate: float) -> Any:
        return chain(sgd(rate), freeze(KERNELS))

    def theirs(rate: Any) -> Any:
        return optax.chain(optax.sgd(rate), optax.freeze(KERNELS))

    assert_agrees(ours, theirs, {"rate": 0.1}, 3)


def test_the_state_holds_nothing_for_what_is_left_alone() -> None:
    params = {"kernel": np.ones(2), "bias": np.ones(3)}
    state = masked(sgd(0.1, 0.9), is_weight).init(params)
    assert state.inner_state[0].trace["bias"] == MaskedNode()
    assert state.inner_state[0].trace["kernel"].shape == (2,)


PARAMS = {"a": {"kernel": np.ones(2), "bias": np.ones(1)}, "b": np.ones(1)}


@pytest.mark.parametrize(
    ("mask", "error", "message"),
    [
        (lambda path: 1, DtypeError, 'mask at ["a"]["kernel"] is 1, expected a bool'),
        ({"a": True}, TreeError, 'mask has nothing at ["b"], where params has'),
        ({"a": {"kernel": True}, "b": True}, TreeError, 'mask has nothing at ["a"]["bias"]'),
        (
            {"a": True, "b": {"c": True}},
            TreeError,
            'mask has a dict at ["b"], where params has a leaf',
        ),
        ("all", DtypeError, 'mask at ["a"]["kernel"] is \'all\', expected a bool'),
    ],
)
def test_masks_that_do_not_fit_are_refused(mask: Any, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=re.escape(message)):
        masked(ema(0.9), mask).init(PARAMS)


def test_labels_that_do_not_fit_are_refused(unannotated: None) -> None:
    with pytest.raises(DomainError, match=r'params\["b"\] has the label \'x\', expected one of'):
        partition({"y": sgd(0.1)}, {"a": "y", "b": "x"}).init(PARAMS)
    optimizer = partition({"y": sgd(0.1)}, lambda path: "y")
    state = optimizer.init(PARAMS)
    with pytest.raises(TreeError, match=r"opt_state has labels \['z'\], expected \['y'\]"):
        optimizer.update(PARAMS, state._replace(inner_states={"z": state.inner_states["y"]}))
    with pytest.raises(DtypeError, match="masked: inner is a float, expected a GradientTransform"):
        masked(0.1, is_weight)  # type: ignore[arg-type]
