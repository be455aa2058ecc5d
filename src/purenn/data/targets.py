"""Targets: labels as vectors, and weights that make rare classes count as much as frequent ones.

weights = class_weights(train.targets, len(train.classes))
batch = inputs, targets, example_weights(targets, weights)
"""

import numpy as np
from jaxtyping import Integer, Shaped
from numpy.typing import DTypeLike

from purenn.contract import check_array, check_domain, check_floating, check_integer
from purenn.errors import DomainError, DtypeError, ShapeError
from purenn.typing import Array, Float, Index


def one_hot(
    labels: Integer[Array, "*shape"], num_classes: int, dtype: DTypeLike = np.float32
) -> Shaped[Array, "*shape num_classes"]:
    """Vectors that are 1 at the label and 0 elsewhere; ``jax.nn.one_hot``, but for the errors.

    Where JAX makes a vector of zeros, of a label outside 0 … num_classes − 1, this refuses it.

    Raises:
        DtypeError: ``labels`` is no array of integers, ``num_classes`` no int, or ``dtype`` none of
            numbers or bool.
        DomainError: a label is out of range, or ``num_classes`` less than 1.
    """
    count = _check_labels("one_hot", labels, num_classes)
    try:
        kind = np.dtype(dtype)
    except TypeError:
        kind = np.dtype(object)
    if kind.kind not in "fiub" or dtype is None:
        raise DtypeError(f"one_hot: dtype is {dtype!r}, expected one of numbers or bool")
    return np.asarray(labels[..., np.newaxis] == np.arange(count), kind)


def class_weights(
    labels: Integer[Array, "examples"], num_classes: int
) -> Float[Array, "num_classes"]:
    """Balanced weights wᵢ = n/(C·nᵢ), float32: n examples, of which nᵢ in class i of C.

    Then each class has the same part in the mean of a loss, and Σwᵢnᵢ = n. It is scikit-learn's
    ``compute_class_weight("balanced", …)``.

    Raises:
        DtypeError: ``labels`` is no array of integers, or ``num_classes`` no int.
        ShapeError: ``labels`` is not of rank 1.
        DomainError: a label is out of range, or a class has no example: no weight makes up for it.
    """
    count = _check_labels("class_weights", labels, num_classes)
    _check_vector("class_weights", "labels", labels)
    counts = np.bincount(labels.astype(np.intp), minlength=count)
    if not counts.all():
        absent = int(np.argmin(counts))
        raise DomainError(
            f"class_weights: class {absent} has no example, expected one of each of {count} classes"
        )
    return (len(labels) / (count * counts)).astype(np.float32)


def example_weights(
    labels: Integer[Array, "examples"], class_weights: Float[Array, "classes"]
) -> Float[Array, "examples"]:
    """The weight of each example, that of its class: the third part of a batch in training.

    Raises:
        DtypeError: ``labels`` is no array of integers, or ``class_weights`` none of numbers.
        ShapeError: one of them is not of rank 1.
        DomainError: a label is out of range.
    """
    check_array("example_weights", "class_weights", class_weights)
    check_floating("example_weights", "class_weights", class_weights)
    _check_vector("example_weights", "class_weights", class_weights)
    _check_labels("example_weights", labels, len(class_weights))
    _check_vector("example_weights", "labels", labels)
    return class_weights[labels]


def _check_labels(name: str, labels: Array, num_classes: int) -> int:
    check_array(name, "labels", labels)
    if labels.dtype.kind not in "iu":
        raise DtypeError(f"{name}: labels has dtype {labels.dtype}, expected an integer dtype")
    count = check_integer(name, "num_classes", num_classes, least=1)
    check_domain(name, "labels", labels, Index("num_classes"), {"num_classes": count})
    return count


def _check_vector(name: str, argument: str, x: Array) -> None:
    if x.ndim != 1:
        raise ShapeError(f"{name}: {argument} has shape {x.shape}, expected one of rank 1")
