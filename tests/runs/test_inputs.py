"""Parts that have nothing in common, scaled by the training part alone."""

import re
from pathlib import Path
from typing import Any

import hypothesis.strategies as st
import numpy as np
import pytest
from hypothesis import given, settings

from purenn import data, random
from purenn.runs.config import Config
from purenn.runs.expressions import ConfigError
from purenn.runs.inputs import prepare, read

KEY = random.key(0)


def config(**entries: Any) -> Config:
    return Config(**{"data": "digits", "model": "dense(10)"} | entries)


def numbers(path: Path, count: int, classes: int = 3, **more: Any) -> str:
    """A set whose inputs are their own numbers."""
    x = np.arange(count, dtype=np.float32)[:, None] * np.ones(2, np.float32)
    arrays: dict[str, Any] = {"x": x, "y": np.arange(count) % classes} | more
    np.savez(path / "set.npz", **arrays)
    return str(path / "set.npz")


@settings(max_examples=15)
@given(
    st.integers(30, 90), st.sampled_from([0.0, 0.2, 0.4]), st.sampled_from([0.0, 0.1, 0.3]),
    st.integers(0, 2**63 - 1),
)  # fmt: skip
def test_every_example_is_in_one_part(
    tmp_path_factory: pytest.TempPathFactory,
    count: int,
    validation: float,
    test: float,
    key: int,
) -> None:
    text = numbers(tmp_path_factory.mktemp("data"), count)
    made = config(data=text, validation=validation, test=test, key=key, scale="none")
    inputs = prepare(made, KEY)
    parts = [part for part in (inputs.train, inputs.validation, inputs.test) if part is not None]
    assert (inputs.validation is None, inputs.test is None) == (not validation, not test)
    every = np.concatenate([part.inputs[:, 0] for part in parts])
    np.testing.assert_array_equal(np.sort(every), np.arange(count))
    for part, share in zip(
        parts[1:], [share for share in (validation, test) if share], strict=True
    ):
        assert abs(len(part.inputs) - share * count) <= 2
        assert np.ptp(np.bincount(part.targets, minlength=3)) <= 3
    for part in parts:
        np.testing.assert_array_equal(part.inputs[:, 0] % 3, part.targets)
    again = prepare(made, KEY)
    np.testing.assert_array_equal(again.train.inputs, inputs.train.inputs)


@pytest.mark.parametrize("scale", ["standard", "minmax"])
def test_the_scaler_has_seen_the_training_part_alone(scale: str) -> None:
    raw = prepare(config(data="wine", scale="none", dtype="float64"), KEY)
    made = prepare(config(data="wine", scale=scale, dtype="float64"), KEY)
    train, test = made.train.inputs, made.test
    assert test is not None
    assert raw.test is not None
    if scale == "standard":
        np.testing.assert_allclose(train.mean(axis=0), 0, atol=1e-12)
        np.testing.assert_allclose(train.std(axis=0), 1, rtol=1e-12)
        expected = (raw.test.inputs - raw.train.inputs.mean(axis=0)) / raw.train.inputs.std(axis=0)
    else:
        assert train.min() == 0
        np.testing.assert_allclose(train.max(axis=0), 1, rtol=1e-12)
        low, high = raw.train.inputs.min(axis=0), raw.train.inputs.max(axis=0)
        expected = (raw.test.inputs - low) / (high - low)
    np.testing.assert_allclose(test.inputs, expected, rtol=1e-12, atol=1e-13)


def test_images_keep_their_shape() -> None:
    made = prepare(config(), KEY)
    assert made.shape == made.train.inputs.shape[1:] == (8, 8, 1)
    assert made.train.inputs.dtype == np.float32


def test_a_set_that_brings_a_test_part_keeps_it(tmp_path: Path) -> None:
    x = np.arange(40.0, dtype=np.float32)[:, None]
    np.savez(
        tmp_path / "x.npz",
        x_train=x[:30], y_train=np.arange(30) % 2, x_test=x[30:], y_test=np.arange(10) % 2,
    )  # fmt: skip
    made = prepare(config(data=str(tmp_path / "x.npz"), scale="none", test=0.5), KEY)
    assert made.test is not None
    assert made.validation is not None
    np.testing.assert_array_equal(made.test.inputs, x[30:])
    assert len(made.validation.inputs) == 5


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("iris", data.iris()),
        ("spiral(points=20)", data.spiral(random.fold_in(KEY, 0), 20)),
        ("moons", data.moons(random.fold_in(KEY, 0))),
        ("sine(points=9)", data.sine(9)),
        ("random_labels(iris)", data.random_labels(random.fold_in(KEY, 1), data.iris())),
        (
            "random_pixels(spiral(20))",
            data.random_pixels(random.fold_in(KEY, 1), data.spiral(random.fold_in(KEY, 0), 20)),
        ),
    ],
)
def test_sets_by_name(text: str, expected: data.Dataset) -> None:
    found, test = read(text, KEY)
    assert test is None
    np.testing.assert_array_equal(found.inputs, expected.inputs)
    np.testing.assert_array_equal(found.targets, expected.targets)
    assert found.classes == expected.classes


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("digit", "data: there is no digit; did you mean digits?"),
        ("mnit:folder", "data: there is no mnit; did you mean mnist?"),
        ("mnist:/nowhere", "data: /nowhere/train-images-idx3-ubyte: No such file or directory"),
        ("nowhere.npz", "data: nowhere.npz: No such file or directory"),
        ("spiral(points=0)", "data: spiral: points is 0, expected at least 1"),
        ("3", "data: '3' is no set; expected one of breast_cancer"),
    ],
)
def test_what_is_no_set_is_refused(text: str, message: str) -> None:
    with pytest.raises(ConfigError, match=f"^{re.escape(message)}"):
        read(text, KEY)


def test_a_damaged_file_is_told_by_its_name(tmp_path: Path) -> None:
    (tmp_path / "x.npz").write_bytes(b"PK garbage")
    with pytest.raises(ConfigError, match=r"^data: .*x\.npz: "):
        read(str(tmp_path / "x.npz"), KEY)


def test_too_few_examples_are_refused(tmp_path: Path) -> None:
    text = numbers(tmp_path, 2, 2)
    with pytest.raises(ConfigError, match=r"^(test|validation): . examples cannot be split: "):
        prepare(config(data=text, validation=0.3, test=0.3), KEY)


@pytest.mark.parametrize("scale", ["standard", "minmax", "none"])
@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_numbers_that_are_not_finite_are_named(tmp_path: Path, bad: float, scale: str) -> None:
    x = np.ones((30, 2), np.float32)
    x[:, 1] = bad
    text = numbers(tmp_path, 30, x=x)
    with pytest.raises(ConfigError, match=rf"^data: inputs\[0, 1\] of the train part is {bad}"):
        prepare(config(data=text, scale=scale), KEY)
    x = np.arange(30.0)[:, None].astype(np.float32)
    np.savez(tmp_path / "y.npz", x_train=x, y_train=x, x_test=np.full((2, 1), bad, np.float32),
             y_test=x[:2])  # fmt: skip
    with pytest.raises(ConfigError, match=rf"^data: inputs\[0, 0\] of the test part is {bad}"):
        prepare(config(data=str(tmp_path / "y.npz"), scale=scale), KEY)


@pytest.mark.parametrize("name", ["C:x.npz", "a:b.npz", "mnist.npz", "x y:.npz"])
def test_the_path_of_a_file_may_have_a_colon(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    monkeypatch.chdir(tmp_path)
    Path(numbers(tmp_path, 30)).rename(tmp_path / name)
    for text in (name, f"npz:{name}"):
        assert len(read(text, KEY)[0].inputs) == 30


def test_the_same_data_are_known_again(tmp_path: Path) -> None:
    first = prepare(config(data=numbers(tmp_path, 40)), KEY).told
    assert first == prepare(config(data=numbers(tmp_path, 40)), KEY).told
    assert {name: first[name] for name in ("train", "validation", "test")} == {
        "train": 28, "validation": 6, "test": 6,
    }  # fmt: skip
    x = np.arange(40.0, dtype=np.float32)[:, None] * np.ones(2, np.float32)
    for changes in ({"x": x + np.float32(1)}, {"y": np.arange(40) % 3 // 2}):
        other = prepare(config(data=numbers(tmp_path, 40, **changes)), KEY).told
        assert other["checksum"] != first["checksum"]


def test_a_class_of_one_example_is_no_hindrance(tmp_path: Path) -> None:
    text = numbers(tmp_path, 30, y=np.array([0] * 15 + [1] * 14 + [2]))
    assert prepare(config(data=text), KEY).classes == ("0", "1", "2")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("mnist", "mnist is a format, expected mnist:FOLDER"),
        ("mnist:", "mnist is a format, expected mnist:FOLDER"),
        ("npz", "npz is a format, expected npz:FILE"),
        ("random_labels()", r"random_labels is of a set, as in random_labels\(digits\)"),
        ("random_pixels", r"random_pixels is of a set, as in random_pixels\(digits\)"),
    ],
)
def test_what_lacks_its_data_is_told_what_it_is_of(text: str, message: str) -> None:
    with pytest.raises(ConfigError, match=f"^data: {message}$"):
        read(text, random.key(0))


def test_inputs_without_anything_are_refused(tmp_path: Path) -> None:
    parts = {"x_train": np.ones((9, 2)), "y_train": np.arange(9) % 2}
    for name, empty in (("x_train", np.ones((9, 0))), ("x_test", np.ones((0, 2)))):
        test = {"x_test": np.ones((3, 2)), "y_test": np.arange(3) % 2}
        arrays: dict[str, Any] = {**parts, **test, name: empty}
        if name == "x_test":
            arrays["y_test"] = np.arange(0)
        else:
            arrays["x_test"] = np.ones((3, 0))
        np.savez(tmp_path / "x.npz", **arrays)
        with pytest.raises(ConfigError, match=r"data: .*x.npz has inputs of shape \(\d, \d\)"):
            read(str(tmp_path / "x.npz"), random.key(0))
