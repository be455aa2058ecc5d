"""Targets beside those of JAX and scikit-learn."""

from typing import Any

import jax
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from sklearn.utils.class_weight import compute_class_weight

from purenn import random
from purenn.data import class_weights, example_weights, one_hot
from purenn.errors import DomainError, DtypeError, ShapeError
from purenn.layers import dense
from purenn.ops.losses import softmax_cross_entropy_with_integer_labels
from purenn.training import objective
from purenn.typing import Array

INTEGERS = ["int8", "uint8", "int32", "int64", "uint64"]
labels_of = st.sampled_from(INTEGERS).flatmap(
    lambda dtype: hnp.arrays(
        dtype,
        hnp.array_shapes(min_dims=0, max_dims=3, min_side=0, max_side=4),
        elements=st.integers(0, 4),
    )
)


@given(labels_of, st.sampled_from(["float32", "float16", "int8", "bool"]))
def test_one_hot_is_that_of_jax(labels: Array, dtype: str) -> None:
    got = one_hot(labels, 5, np.dtype(dtype))
    expected = np.asarray(jax.nn.one_hot(labels.astype(np.int32), 5, dtype=dtype))
    assert got.dtype == expected.dtype
    np.testing.assert_array_equal(got, expected)
    assert one_hot(labels, 5).dtype == np.float32


# Every class occurs at least once.
balanced = st.lists(st.integers(0, 3), max_size=30).map(lambda more: np.array([*range(4), *more]))


@given(balanced, st.sampled_from(INTEGERS))
def test_class_weights_are_those_of_scikit_learn(labels: Array, dtype: str) -> None:
    got = class_weights(labels.astype(dtype), 4)
    expected = compute_class_weight("balanced", classes=np.arange(4), y=labels)
    assert got.dtype == np.float32
    np.testing.assert_allclose(got, expected, rtol=1e-6)
    each = example_weights(labels.astype(dtype), got)
    assert each.dtype == np.float32
    np.testing.assert_allclose(each.sum(), len(labels), rtol=1e-5)
    for label in range(4):
        np.testing.assert_allclose(each[labels == label].sum(), len(labels) / 4, rtol=1e-5)
        assert (each[labels == label] == got[label]).all()


def test_each_class_has_the_same_part_in_the_objective() -> None:
    labels = np.array([0, 0, 0, 1])
    model = dense(2)
    params, state, _ = model.init(random.key(0), (3,), np.float32)
    inputs = random.normal(random.key(1), (4, 3))
    losses = softmax_cross_entropy_with_integer_labels(model.forward(params, state, inputs), labels)
    weights = example_weights(labels, class_weights(labels, 2))
    got = objective(model, softmax_cross_entropy_with_integer_labels).loss(
        params, state, (inputs, labels, weights)
    )
    np.testing.assert_allclose(got, (losses[:3].mean() + losses[3]) / 2, rtol=1e-6)


@pytest.mark.usefixtures("unannotated")
def test_what_is_refused() -> None:
    labels = np.array([0, 2, 5])
    weights = np.ones(3, np.float32)
    wrong: Any
    with pytest.raises(DomainError, match=r"one_hot: labels\[2\] is 5, expected 0 to 4"):
        one_hot(labels, 5)
    with pytest.raises(DomainError, match=r"one_hot: labels\[0\] is -1, expected 0 to 4"):
        one_hot(labels - 1, 5)
    with pytest.raises(DomainError, match="one_hot: num_classes is 0, expected at least 1"):
        one_hot(labels, 0)
    with pytest.raises(DomainError, match=r"class_weights: labels\[2\] is 5"):
        class_weights(labels, 5)
    with pytest.raises(DomainError, match="class_weights: class 1 has no example"):
        class_weights(labels, 6)
    with pytest.raises(DomainError, match="class_weights: class 0 has no example"):
        class_weights(labels[:0], 1)
    with pytest.raises(DomainError, match=r"example_weights: labels\[2\] is 5, expected 0 to 2"):
        example_weights(labels, weights)
    for wrong in ([0, 1], np.zeros(2), np.zeros(2, bool)):
        for refuse in (one_hot, class_weights):
            with pytest.raises(DtypeError, match=f"{refuse.__name__}: labels"):
                refuse(wrong, 3)
        with pytest.raises(DtypeError, match="example_weights: labels"):
            example_weights(wrong, weights)
    for wrong in (None, "nonsense", "U3", object, complex):
        with pytest.raises(DtypeError, match="one_hot: dtype is"):
            one_hot(labels, 6, wrong)
    for wrong in (True, 3.0, None):
        with pytest.raises(DtypeError, match=r"num_classes is .*, expected an int"):
            class_weights(labels, wrong)
    for wrong in ([1.0], np.ones(3, int)):
        with pytest.raises(DtypeError, match="example_weights: class_weights"):
            example_weights(labels, wrong)
    with pytest.raises(ShapeError, match=r"class_weights: labels has shape \(3, 1\)"):
        class_weights(labels[:, None], 6)
    with pytest.raises(ShapeError, match=r"example_weights: labels has shape \(3, 1\)"):
        example_weights(labels[:, None], np.ones(6, np.float32))
    with pytest.raises(ShapeError, match=r"example_weights: class_weights has shape \(3, 1\)"):
        example_weights(labels, weights[:, None])
