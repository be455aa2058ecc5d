"""Masks and groups by path, beside optax' by tree."""

import re
from collections import OrderedDict
from typing import Any, NamedTuple

import hypothesis.strategies as st
import jax
import numpy as np
import optax
import pytest
from hypothesis import given

from purenn import tree
from purenn.errors import DomainError, DtypeError, TreeError
from purenn.optimizers import (
    MaskedNode,
    adam,
    adamw,
    chain,
    ema,
    freeze,
    keep_max_norm,
    lars,
    lbfgs,
    masked,
    multi_steps,
    partition,
    sgd,
)
from purenn.regularizers import is_weight
from tests.optimizers.beside_optax import SHAPES, assert_agrees, bound
from tests.optimizers.problems import bits

SEEDS = st.integers(0, 2**32)
KERNELS = {layer: {name: name == "kernel" for name in its} for layer, its in SHAPES.items()}


MASKS = {
    "path": is_weight,
    "tree": KERNELS,
    "prefix": {"a": True, "b": {"scale": False, "kernel": True}, "empty": False},
    "all": True,
}


def theirs_masked(kind: str, decay: Any) -> Any:
    return optax.masked(optax.ema(decay), MASKS["tree" if kind == "path" else kind])


@pytest.mark.parametrize("kind", MASKS)
@given(decay=st.floats(0, 0.99), seed=SEEDS)
def test_masked_is_that_of_optax(decay: float, seed: int, kind: str) -> None:
    assert_agrees(
        lambda decay: masked(ema(decay), MASKS[kind]),
        bound(theirs_masked, kind),
        {"decay": decay},
        seed,
    )


class Layer(NamedTuple):
    kernel: Any
    bias: Any


@given(st.lists(st.booleans(), min_size=6, max_size=6), st.booleans())
def test_masks_and_labels_may_be_any_tree(chosen: list[bool], whole: bool) -> None:
    def made(leaves: Any) -> Any:
        a, b, c, d, e, f = leaves
        return OrderedDict(
            layer=Layer(a, {"deep": b}), rest=(c, [d], OrderedDict(e=e)), last=Layer(f, None)
        )

    params = made([np.full(i, float(i)) for i in range(6)])
    mask = made(chosen)
    if whole:
        mask["layer"] = chosen[0] = chosen[1] = True
    flat = {path: bool(is_in) for path, is_in in tree.leaves_with_paths(made(chosen))}
    for by_tree, by_path in (
        (masked(ema(0.5), mask), masked(ema(0.5), flat.__getitem__)),
        (partition(GROUPS, mask), partition(GROUPS, flat.__getitem__)),
    ):
        got, expected = (
            optimizer.update(params, optimizer.init(params)) for optimizer in (by_tree, by_path)
        )
        assert bits(got) == bits(expected)
        jax.tree.map(np.testing.assert_array_equal, got, expected)  # the same structure


GROUPS = {True: ema(0.5), False: sgd(0.1)}


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
        ({"a": True, "b": True, "c": True}, TreeError, 'mask has something at ["c"], where params'),
        (
            {"a": {"kernel": True, "bias": True, "scale": {"x": True}}, "b": True},
            TreeError,
            'mask has something at ["a"]["scale"], where params has not',
        ),
        (
            lambda params: jax.tree.map(lambda p: p.ndim > 1, params),
            DtypeError,
            "mask of the path ('a', 'kernel') raises AttributeError(\"'str' object has no "
            "attribute 'ndim'\"); a function gets the path of one leaf, and not the tree",
        ),
        (
            lambda params: {step: its["kernel"] for step, its in params.items()},
            DtypeError,
            "; a function gets the path of one leaf, and not the tree",
        ),
        (
            lambda params: jax.tree.map(lambda p: True, params),
            DtypeError,
            'mask at ["a"]["kernel"] is (True, True), expected a bool; a function gets the path',
        ),
        ("all", DtypeError, 'mask at ["a"]["kernel"] is \'all\', expected a bool'),
    ],
)
def test_masks_that_do_not_fit_are_refused(mask: Any, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=re.escape(message)):
        masked(ema(0.9), mask).init(PARAMS)


@pytest.mark.parametrize("wrong", [3, {"a": True, "b": 3}, lambda path: 3])
def test_a_mask_has_the_name_that_its_caller_knows(wrong: Any) -> None:
    for optimizer, told in (
        (masked(ema(0.9), wrong), "masked: mask"),
        (freeze(wrong), "freeze: mask"),
        (adamw(0.1, mask=wrong), "add_decayed_weights: mask"),
        (keep_max_norm(mask=wrong), "keep_max_norm: mask"),
        (lars(0.1, weight_decay_mask=wrong), "lars: weight_decay_mask"),
        (lars(0.1, trust_ratio_mask=wrong), "lars: trust_ratio_mask"),
    ):
        with pytest.raises(DtypeError, match=rf"^{told} at .* is 3, expected a bool"):
            optimizer.init(PARAMS)


def test_labels_that_do_not_fit_are_refused(unannotated: None) -> None:
    with pytest.raises(DomainError, match=r'params\["b"\] has the label \'x\', expected one of'):
        partition({"y": sgd(0.1)}, {"a": "y", "b": "x"}).init(PARAMS)
    with pytest.raises(DomainError, match=r"has the label \['y'\], expected one of \['y'\]"):
        partition({"y": sgd(0.1)}, lambda path: ["y"]).init(PARAMS)  # type: ignore[return-value]
    with pytest.raises(DtypeError, match=r"param_labels of the path .*; a function gets the path"):
        partition({"y": sgd(0.1)}, lambda tree: tree["a"]).init(PARAMS)  # type: ignore[call-overload]
    with pytest.raises(TreeError, match=r'partition: param_labels has something at \["c"\]'):
        partition({"y": sgd(0.1)}, {"a": "y", "b": "y", "c": "y"}).init(PARAMS)
    with pytest.raises(DomainError, match="partition: transforms is empty, expected a transform"):
        partition({}, lambda path: "y")
    optimizer = partition({"y": sgd(0.1)}, lambda path: "y")
    state = optimizer.init(PARAMS)
    with pytest.raises(TreeError, match=r"opt_state has labels \['z'\], expected \['y'\]"):
        optimizer.update(PARAMS, state._replace(inner_states={"z": state.inner_states["y"]}))
    with pytest.raises(DtypeError, match="masked: inner is a float, expected a GradientTransform"):
        masked(0.1, is_weight)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("transforms", "message"),
    [
        ({"a": 3}, "transforms['a'] is a int, expected a GradientTransformation"),
        ([sgd(0.1)], "transforms is a list, expected a dict"),
        ({"a": sgd(0.1), "b": lbfgs()}, "transforms['b'] is a GradientTransformationExtraArgs, wh"),
    ],
)
def test_groups_of_something_else_are_refused(
    transforms: Any, message: str, unannotated: None
) -> None:
    with pytest.raises(DtypeError, match=re.escape(f"partition: {message}")):
        partition(transforms, lambda path: "a")


@pytest.mark.parametrize("inner", [lbfgs(), chain(sgd(0.1), lbfgs())])
def test_what_needs_the_loss_elsewhere_is_refused(inner: Any) -> None:
    message = "inner is a GradientTransformationExtraArgs, whose value and value_and_grad_fn are"
    with pytest.raises(DtypeError, match=f"masked: {message}"):
        masked(inner, True)
    with pytest.raises(DtypeError, match=f"multi_steps: {message}"):
        multi_steps(inner, 2)
