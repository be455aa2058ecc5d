"""Data: files, sets that are there without one, augmentation, and targets.

    train, test = mnist("data/mnist", mmap=True)
    for inputs, labels in training.batches(key, train[:2], 32):
        pixels = random_shift(fold_in(key, step), inputs, 2).astype(np.float32) / 255

A :class:`Dataset` is ``(inputs, targets, classes)``; images are (n, height, width, channels).

==================== ===============================================================
files                mnist, fashion_mnist, read_idx; cifar10, cifar100, read_cifar;
                     kaggle_digits, kaggle_images; npz
with scikit-learn    digits, iris, wine, breast_cancer; diabetes (regression)
drawn from a key     spiral, nnfs_spiral, vertical_bands, moons; sine (regression);
                     random_labels, random_pixels
augmentation         random_flip, random_shift, random_crop, add_noise
targets              one_hot, class_weights, example_weights
==================== ===============================================================

A file that is not what it should be raises a :class:`DataError`, which names the file and the
field, before memory is taken for what its header claims. With ``mmap=True`` images stay on the
disk until a batch takes them. For an ``.npy`` file ``numpy.load(path, mmap_mode="r")`` does that.
"""

from purenn.data.augmentation import add_noise, random_crop, random_flip, random_shift
from purenn.data.carried import breast_cancer, diabetes, digits, iris, wine
from purenn.data.cifar import cifar10, cifar100, read_cifar
from purenn.data.dataset import Dataset
from purenn.data.generated import (
    moons,
    nnfs_spiral,
    random_labels,
    random_pixels,
    sine,
    spiral,
    vertical_bands,
)
from purenn.data.idx import fashion_mnist, mnist, read_idx
from purenn.data.kaggle import kaggle_digits, kaggle_images
from purenn.data.npz import npz
from purenn.data.targets import class_weights, example_weights, one_hot
from purenn.errors import DataError

__all__ = [
    "DataError",
    "Dataset",
    "add_noise",
    "breast_cancer",
    "cifar10",
    "cifar100",
    "class_weights",
    "diabetes",
    "digits",
    "example_weights",
    "fashion_mnist",
    "iris",
    "kaggle_digits",
    "kaggle_images",
    "mnist",
    "moons",
    "nnfs_spiral",
    "npz",
    "one_hot",
    "random_crop",
    "random_flip",
    "random_labels",
    "random_pixels",
    "random_shift",
    "read_cifar",
    "read_idx",
    "sine",
    "spiral",
    "vertical_bands",
    "wine",
]
