"""From what a configuration says of the data to scaled arrays in three parts."""

import re
import zlib
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from purenn import data, random
from purenn.data import DataError, Dataset
from purenn.runs.config import Config
from purenn.runs.expressions import ConfigError, evaluate, find, told
from purenn.typing import Array, Key, Shape

_READERS: dict[str, Callable[..., Any]] = {
    "mnist": data.mnist,
    "fashion_mnist": data.fashion_mnist,
    "cifar10": data.cifar10,
    "cifar100": data.cifar100,
    "kaggle_digits": data.kaggle_digits,
    "npz": data.npz,
}
_CARRIED = (data.digits, data.iris, data.wine, data.breast_cancer, data.diabetes)
_DRAWN = (data.spiral, data.nnfs_spiral, data.vertical_bands, data.moons)
_CHANGED = (data.random_labels, data.random_pixels)


class Scaler(NamedTuple):
    """x ↦ (x − shift)·factor, feature by feature, float64."""

    shift: Array
    factor: Array


class Part(NamedTuple):
    """Some of the examples: inputs scaled, targets as the data have them."""

    inputs: Array
    targets: Array


class Inputs(NamedTuple):
    """The data of a run.

    Attributes:
        train: What is trained with.
        validation: What decides which state is the best; None, if nothing does.
        test: What is looked at once.
        scaler: Fitted to the training part alone.
        classes: The names of the labels; () where targets are values.
        shape: Of one example.
        told: By which the same data are known again: how many examples there are in each part,
            and a checksum of those that are trained with.
    """

    train: Part
    validation: Part | None
    test: Part | None
    scaler: Scaler
    classes: tuple[str, ...]
    shape: Shape
    told: dict[str, int]


def read(text: str, key: Key) -> tuple[Dataset, Dataset | None]:
    """The set that ``data`` names, and the test part that it brings, if it does.

    Raises:
        ConfigError: there is no such set, or its file is not what it should be.
    """
    reader, colon, path = text.partition(":")
    if text.endswith(".npz") and reader not in _READERS:  # its path may have a colon
        reader, colon, path = "npz", ":", text
    if reader in _READERS and not path:
        kind = "FILE" if reader in ("kaggle_digits", "npz") else "FOLDER"
        raise ConfigError(f"data: {reader} is a format, expected {reader}:{kind}")
    try:
        if colon and re.fullmatch(r"\w+", reader):
            found = find("data", reader, _READERS)(Path(path).expanduser())
        else:
            found = evaluate("data", text, _sets(key))
            found = found() if callable(found) else found
    except DataError as error:
        raise ConfigError(f"data: {error}") from None
    except OSError as error:
        raise ConfigError(f"data: {error.filename or path}: {error.strerror or error}") from None
    if isinstance(found, Dataset):
        found = found, None
    if not isinstance(found, tuple):
        raise ConfigError(f"data: {text!r} is no set; expected one of {told(_sets(key))}")
    for part in found:
        if part is not None and part.inputs.size == 0:
            raise ConfigError(f"data: {text} has inputs of shape {part.inputs.shape}, all empty")
    return found


def prepare(config: Config, key: Key) -> Inputs:
    """Read, split with the same share of every class in each part, and scale.

    Raises:
        ConfigError: there is no such set, its file is not what it should be, or it has too few
            examples for its parts.
    """
    whole, test = read(config.data, key)
    train: tuple[Array, Array] = whole[:2]
    held: tuple[Array, Array] | None = test[:2] if test is not None else None
    validation: tuple[Array, Array] | None = None
    seed = config.key % 2**32
    classes = bool(whole.classes)
    if held is None and config.test:
        train, held = _split("test", train, config.test, classes, seed)
    if config.validation:
        share = config.validation / (1 if test is not None else 1 - config.test)
        train, validation = _split("validation", train, share, classes, seed)
    named = {"train": train, "validation": validation, "test": held}
    sizes = {name: 0 if part is None else len(part[0]) for name, part in named.items()}
    told = {**sizes, "checksum": _checksum(*train)}
    check_finite(train[0], " of the train part")
    scaler = _fit(config.scale, train[0])
    first, second, third = (
        None if part is None else Part(scaled(scaler, part[0], config.dtype), part[1])
        for part in named.values()
    )
    assert first is not None
    for name, part in zip(named, (first, second, third), strict=True):
        if part is not None:
            check_finite(part.inputs, f" of the {name} part")
    return Inputs(first, second, third, scaler, whole.classes, whole.inputs.shape[1:], told)


def _checksum(*arrays: Array) -> int:
    found = 0
    for array in arrays:
        found = zlib.crc32(np.ascontiguousarray(array).data, found)
    return found


def check_finite(inputs: Array, told: str = "", start: int = 0) -> None:
    """Refuse NaN and infinities, in examples from number ``start``.

    Raises:
        ConfigError: there is one.
    """
    wrong = ~np.isfinite(inputs)
    if wrong.any():
        place = [int(i) for i in np.argwhere(wrong)[0]]
        value = inputs[tuple(place)]
        place[0] += start
        raise ConfigError(f"data: inputs{place}{told} is {value}, expected finite numbers")


def scaled(scaler: Scaler, inputs: Array, dtype: str) -> Array:
    """Inputs of the shape that they have, scaled, in this dtype."""
    with np.errstate(over="ignore", invalid="ignore"):  # what is not finite is told by its place
        return ((inputs - scaler.shift) * scaler.factor).astype(dtype)


def _sets(key: Key) -> Mapping[str, Any]:
    def of(change: Callable[..., Dataset]) -> Callable[..., Dataset]:
        def changed(dataset: Any = None) -> Dataset:
            if dataset is None:
                raise ConfigError(
                    f"data: {change.__name__} is of a set, as in {change.__name__}(digits)"
                )
            whole = dataset() if callable(dataset) else dataset
            return change(random.fold_in(key, 1), whole)

        return changed

    return {
        **{each.__name__: each for each in (*_CARRIED, data.sine)},
        **{each.__name__: partial(each, random.fold_in(key, 0)) for each in _DRAWN},
        **{each.__name__: of(each) for each in _CHANGED},
    }


def _split(
    name: str, part: tuple[Array, Array], share: float, classes: bool, seed: int
) -> tuple[tuple[Array, Array], tuple[Array, Array]]:
    from sklearn.model_selection import train_test_split

    inputs, targets = part
    # A class with one example cannot be in both parts.
    stratify = (
        targets
        if classes and np.bincount(targets).min(initial=2, where=np.bincount(targets) > 0) > 1
        else None
    )
    try:
        rest, held, rest_targets, held_targets = train_test_split(
            inputs, targets, test_size=share, stratify=stratify, random_state=seed
        )
    except ValueError as error:
        raise ConfigError(f"{name}: {len(inputs)} examples cannot be split: {error}") from None
    return (rest, rest_targets), (held, held_targets)


def _fit(kind: str, inputs: Array) -> Scaler:
    from sklearn.preprocessing import MinMaxScaler, StandardScaler

    shape = inputs.shape[1:]
    if kind == "none":
        return Scaler(np.zeros(shape), np.ones(shape))
    flat = inputs.reshape(len(inputs), -1).astype(np.float64)
    if kind == "standard":
        fitted = StandardScaler().fit(flat)
        shift, factor = fitted.mean_, 1 / fitted.scale_
    else:
        fitted = MinMaxScaler().fit(flat)
        shift, factor = fitted.data_min_, fitted.scale_
    return Scaler(shift.reshape(shape), factor.reshape(shape))
