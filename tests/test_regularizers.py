import inspect
from typing import Any

import jax
import jax.numpy as jnp
import ml_dtypes
import numpy as np
import pytest

import reference.regularizers
from purenn import regularizers, tree
from purenn.errors import DomainError, DtypeError
from purenn.regularizers import elastic_net, half_l2, l1, l2

ALL = {"l1": (0.3,), "l2": (0.3,), "half_l2": (0.3,), "elastic_net": (0.3, 0.7)}


def params(dtype: Any = np.float64) -> Any:
    """Read-only, with zeros among the weights."""
    rng = np.random.default_rng(0)
    found = {
        "words": {"embedding": rng.normal(size=(3, 2)).astype(dtype)},
        "hidden": {"kernel": rng.integers(-1, 2, (2, 3)).astype(dtype), "bias": np.ones(3, dtype)},
        "norm": {"scale": np.ones(3, dtype), "bias": np.ones(3, dtype)},
    }
    for leaf in tree.leaves(found):
        leaf.setflags(write=False)
    return found


def is_in_hidden(path: Any) -> bool:
    return bool(path[0] == "hidden")


@pytest.mark.parametrize("where", [regularizers.is_weight, is_in_hidden, lambda path: False])
@pytest.mark.parametrize("name", ALL)
def test_value_and_gradient_are_those_of_the_reference(name: str, where: Any) -> None:
    ours = getattr(regularizers, name)(*ALL[name], where=where)
    theirs = getattr(reference.regularizers, name)(*ALL[name], where=where)
    value, grads = jax.value_and_grad(theirs)(jax.tree.map(jnp.asarray, params()))
    np.testing.assert_allclose(ours.loss(params()), value, rtol=1e-14)
    got = ours.grad(params())
    tree.map(lambda x, y: np.testing.assert_allclose(x, y, rtol=1e-15), got, grads)
    tree.check_like("grads", got, params())


def test_each_convention_is_what_it_is_said_to_be() -> None:
    weights = {"kernel": np.array([3.0, -4.0, 0.0]), "bias": np.ones(2)}
    for regularizer, value, slope in (
        (l1(0.1), 0.7, [0.1, -0.1, 0]),
        (l2(0.1), 2.5, [0.6, -0.8, 0]),
        (half_l2(0.1), 1.25, [0.3, -0.4, 0]),
        (elastic_net(0.1, 0.1), 3.2, [0.7, -0.9, 0]),
    ):
        np.testing.assert_allclose(regularizer.loss(weights), value, rtol=1e-15)
        grads = regularizer.grad(weights)
        np.testing.assert_allclose(grads["kernel"], slope, rtol=1e-15)
        np.testing.assert_array_equal(grads["bias"], 0)


def test_weights_are_penalized_and_biases_and_scales_are_not() -> None:
    grads = l1(1.0).grad(params())
    touched = [path for path, leaf in tree.leaves_with_paths(grads) if leaf.any()]
    assert touched == [("hidden", "kernel"), ("words", "embedding")]
    assert not regularizers.is_weight(())


@pytest.mark.parametrize("dtype", [np.float16, ml_dtypes.bfloat16, np.float32, np.float64])
def test_sums_are_in_float64_and_gradients_in_the_dtype_of_the_leaf(dtype: Any) -> None:
    many = {"kernel": np.full(100_000, 0.1, dtype)}
    each = float(many["kernel"][0])
    for regularizer, value in ((l1(1.0), each), (l2(1.0), each**2)):
        np.testing.assert_allclose(regularizer.loss(many), 100_000 * value, rtol=1e-12)
        assert regularizer.grad(many)["kernel"].dtype == dtype


def test_a_square_out_of_range_is_infinite_and_one_that_is_not_asked_for_is_not() -> None:
    huge = {"kernel": np.array(1e200)}
    assert l1(2.0).loss(huge) == 2e200
    assert l2(2.0).loss(huge) == np.inf
    assert l2(2.0).grad(huge)["kernel"] == 4e200
    assert l2(1.0).loss({}) == 0


@pytest.mark.parametrize("name", ALL)
@pytest.mark.parametrize("wrong", [-1.0, np.inf, np.nan])
def test_a_scale_out_of_its_domain_is_refused(name: str, wrong: float) -> None:
    make = getattr(regularizers, name)
    with pytest.raises(DomainError, match=rf"{name}: \w+ is {wrong}, expected a finite number ≥ 0"):
        make(*[wrong] * len(ALL[name]))
    with pytest.raises(DtypeError, match=rf"{name}: \w+ is '1', expected a number"):
        inspect.unwrap(make)(*["1"] * len(ALL[name]))


def test_penalties_of_what_is_infinite_or_far_out() -> None:
    infinite = {"kernel": np.array([-np.inf, 2.0])}
    for regularizer in (l1(0.5), elastic_net(0.5, 0.0)):
        assert regularizer.loss(infinite) == np.inf
        np.testing.assert_array_equal(regularizer.grad(infinite)["kernel"], [-0.5, 0.5])
    assert elastic_net(0.5, 0.1).loss(infinite) == np.inf
    assert l2(1e308).grad({"kernel": np.array(0.0)})["kernel"] == 0
    assert l1(1.0).loss({i: {"kernel": np.array(1.7e308)} for i in "ab"}) == np.inf


@pytest.mark.parametrize(
    ("leaf", "got"),
    [
        (np.array([1, 2]), "has dtype int64"),
        (np.array([1j]), "has dtype complex128"),
        (np.array([True]), "has dtype bool"),
        (0.5, "is a float"),
    ],
)
def test_leaves_without_a_derivative_are_refused_by_path(leaf: Any, got: str) -> None:
    for call in l1(1.0):
        with pytest.raises(DtypeError, match=rf'l1: params\["hidden"\]\[0\] {got}, expected'):
            call({"hidden": [leaf]})


def test_keys_of_several_types_are_no_matter() -> None:
    weights: Any = {0: {"kernel": np.array([3.0])}, "out": {"kernel": np.array([4.0])}}
    weights = {"layers": weights}
    assert l1(1.0).loss(weights) == 7
    assert l1(1.0).grad(weights)["layers"][0]["kernel"] == 1


def test_what_cannot_choose_is_refused() -> None:
    with pytest.raises(DtypeError, match="l2: where is 'kernel', expected a function of a path"):
        inspect.unwrap(regularizers._elastic)("l2", 0.0, 1.0, "kernel")
