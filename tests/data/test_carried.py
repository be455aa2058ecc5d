"""What scikit-learn carries, beside its own loaders."""

from typing import Any

import numpy as np
import pytest
from sklearn import datasets

from purenn import data


@pytest.mark.parametrize("name", ["iris", "wine", "breast_cancer"])
def test_features_and_classes(name: str) -> None:
    got = getattr(data, name)()
    theirs: Any = getattr(datasets, f"load_{name}")()
    assert got.inputs.dtype == np.float32
    assert got.targets.dtype == np.int64
    np.testing.assert_array_equal(got.inputs, theirs.data.astype(np.float32))
    np.testing.assert_array_equal(got.targets, theirs.target)
    assert got.classes == tuple(theirs.target_names)
    assert all(type(name) is str for name in got.classes)


def test_digits_are_images() -> None:
    got = data.digits()
    theirs: Any = datasets.load_digits()
    assert got.inputs.shape == (1797, 8, 8, 1)
    assert got.inputs.dtype == np.float32
    assert (got.inputs.min(), got.inputs.max()) == (0, 16)
    np.testing.assert_array_equal(got.inputs.reshape(-1, 64), theirs.data)
    np.testing.assert_array_equal(got.targets, theirs.target)
    assert got.targets.dtype == np.int64
    assert got.classes == tuple("0123456789")


def test_diabetes_is_a_regression_on_what_was_measured() -> None:
    got = data.diabetes()
    assert (got.inputs.shape, got.targets.shape, got.classes) == ((442, 10), (442, 1), ())
    assert got.inputs.dtype == got.targets.dtype == np.float32
    assert (got.targets.min(), got.targets.max()) == (25, 346)
    ages = got.inputs[:, 0]
    assert (ages.min(), ages.max()) == (19, 79)
    scaled: Any = datasets.load_diabetes()
    centered = got.inputs - got.inputs.mean(axis=0, dtype=np.float64)
    np.testing.assert_allclose(
        centered / np.linalg.norm(centered, axis=0), scaled.data, rtol=0, atol=1e-5
    )
    np.testing.assert_array_equal(got.targets[:, 0], scaled.target)
