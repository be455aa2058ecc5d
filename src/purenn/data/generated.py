"""Sets that are drawn, pure functions of a key of :mod:`purenn.random`.

Examples are in the order of their classes; ``training.batches`` shuffles. Everything is computed
in float64 from noise in float32, and rounded once.
"""

import numpy as np

from purenn import random
from purenn.contract import check_integer, check_number
from purenn.data.dataset import Dataset, numbered
from purenn.errors import DomainError, DtypeError
from purenn.typing import Array, Key


def spiral(key: Key, points: int = 100, arms: int = 3, noise: float = 0.2) -> Dataset:
    """Arms of a spiral, ``points`` on each: the set of the course cs231n.

    x = (r·sin θ, r·cos θ) in arm j, with r from 0 to 1 and θ from 4j to 4(j + 1) in equal steps,
    to which ``noise``·ε is added, ε standard normal. The noise is ``normal(key, (arms, points))``.

    Raises DtypeError or DomainError for what is no int ≥ 1 or no number ≥ 0.
    """
    return _spiral("spiral", key, points, arms, noise, 1)


def nnfs_spiral(key: Key, points: int = 100, arms: int = 3) -> Dataset:
    """The spiral of the book "Neural Networks from Scratch": that of cs231n with θ times 2.5.

    Each arm turns 10 rad instead of 4. The factor is on the noise too, whose scale is 0.2 before.

    Raises DtypeError or DomainError for what is no int ≥ 1.
    """
    return _spiral("nnfs_spiral", key, points, arms, 0.2, 2.5)


def vertical_bands(key: Key, points: int = 100, classes: int = 3) -> Dataset:
    """Bands side by side, ``points`` in each: "vertical data" of "Neural Networks from Scratch".

    x = (j/3, 1/2) + 0.1·ε in class j, ε = ``normal(key, (classes, points, 2))``.

    Raises DtypeError or DomainError for what is no int ≥ 1.
    """
    points = check_integer("vertical_bands", "points", points, least=1)
    classes = check_integer("vertical_bands", "classes", classes, least=1)
    centers = np.stack([np.arange(classes) / 3, np.full(classes, 0.5)], axis=-1)
    drawn = random.normal(key, (classes, points, 2)).astype(np.float64)
    return _by_class(centers[:, np.newaxis] + 0.1 * drawn)


def moons(key: Key, points: int = 100, noise: float = 0.1) -> Dataset:
    """Two half circles that reach into each other, ``points`` on each.

    (cos t, sin t) and (1 − cos t, 1/2 − sin t), t from 0 to π in equal steps, with ``noise``·ε
    added, ε = ``normal(key, (2, points, 2))``. So does scikit-learn's ``make_moons``.

    Raises DtypeError or DomainError for what is no int ≥ 1 or no number ≥ 0.
    """
    points = check_integer("moons", "points", points, least=1)
    noise = check_number("moons", "noise", noise, ge=0)
    t = np.linspace(0, np.pi, points)
    upper = np.stack([np.cos(t), np.sin(t)], axis=-1)
    centers = np.stack([upper, [1, 0.5] - upper])
    return _by_class(centers + noise * random.normal(key, (2, points, 2)).astype(np.float64))


def sine(points: int = 1000) -> Dataset:
    """A period of the sine, without noise: "sine data" of "Neural Networks from Scratch".

    Inputs k/points for k = 0 … points − 1, targets sin(2πk/points), both of shape (points, 1).

    Raises DtypeError or DomainError for what is no int ≥ 1.
    """
    points = check_integer("sine", "points", points, least=1)
    x = np.arange(points)[:, np.newaxis] / points
    return Dataset(x.astype(np.float32), np.sin(2 * np.pi * x).astype(np.float32), ())


def random_labels(key: Key, dataset: Dataset) -> Dataset:
    """Draw each label anew, uniformly: what a network can learn of them is by heart.

    Zhang et al. 2017, "Understanding deep learning requires rethinking generalization",
    arXiv:1611.03530. The labels are ``randint(key, (n,), 0, C, int64)``.

    Raises DtypeError for what is no Dataset, DomainError for one without classes.
    """
    _check_dataset("random_labels", dataset)
    count = len(dataset.classes)
    if not count:
        raise DomainError("random_labels: dataset has no classes, expected labels, not values")
    drawn = random.randint(key, dataset.targets.shape, 0, count, np.int64)
    return dataset._replace(targets=drawn)


def random_pixels(key: Key, dataset: Dataset) -> Dataset:
    """Put normal noise in the place of the inputs, with the mean and deviation of each feature.

    Zhang et al. 2017 call it "Gaussian", Arpit et al. 2017 ("A closer look at memorization in
    deep networks", arXiv:1706.05394) "randX". The inputs are μ + σ·``normal(key, inputs.shape)``,
    float32, those of uint8 images too.

    Raises DtypeError for what is no Dataset, DomainError for one without examples.
    """
    _check_dataset("random_pixels", dataset)
    inputs = dataset.inputs
    if not len(inputs):
        raise DomainError("random_pixels: dataset has no examples, expected one or more")
    mean, std = (f(inputs, axis=0, dtype=np.float64).astype(np.float32) for f in (np.mean, np.std))
    drawn = random.normal(key, inputs.shape)
    drawn *= std
    drawn += mean
    return dataset._replace(inputs=drawn)


def _spiral(name: str, key: Key, points: int, arms: int, noise: float, turn: float) -> Dataset:
    points = check_integer(name, "points", points, least=1)
    arms = check_integer(name, "arms", arms, least=1)
    noise = check_number(name, "noise", noise, ge=0)
    start = 4 * np.arange(arms)
    theta = np.linspace(start, start + 4, points, axis=-1)
    theta = turn * (theta + noise * random.normal(key, (arms, points)).astype(np.float64))
    unit = np.stack([np.sin(theta), np.cos(theta)], axis=-1)
    return _by_class(np.linspace(0, 1, points)[:, np.newaxis] * unit)


def _by_class(points: Array) -> Dataset:
    """Put the classes of points (classes, points, 2) one after the other."""
    classes, each, _ = points.shape
    labels = np.repeat(np.arange(classes), each)
    return Dataset(points.reshape(-1, 2).astype(np.float32), labels, numbered(classes))


def _check_dataset(name: str, dataset: object) -> None:
    if not isinstance(dataset, Dataset):
        raise DtypeError(f"{name}: dataset is a {type(dataset).__name__}, expected a Dataset")
