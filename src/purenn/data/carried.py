"""The sets that scikit-learn carries with it, so that nothing is fetched; it must be installed.

Scale them by what the training part has for mean and deviation: none of them is scaled here.
"""

from typing import Any

import numpy as np

from purenn.data.dataset import Dataset, numbered


def digits() -> Dataset:
    """1,797 handwritten digits: inputs (1797, 8, 8, 1), from 0 to 16 (Alpaydin & Kaynak 1998)."""
    from sklearn.datasets import load_digits

    found = load_digits()
    return Dataset(
        found.images[..., np.newaxis].astype(np.float32),
        found.target.astype(np.int64),
        numbered(10),
    )


def iris() -> Dataset:
    """150 irises of 3 species: 4 lengths in cm (Fisher 1936)."""
    from sklearn.datasets import load_iris

    return _labelled(load_iris())


def wine() -> Dataset:
    """178 wines of 3 cultivars: 13 chemical measurements (Aeberhard & Forina 1992)."""
    from sklearn.datasets import load_wine

    return _labelled(load_wine())


def breast_cancer() -> Dataset:
    """569 tumors, malignant or benign: 30 measurements of cell nuclei (Wolberg et al. 1993)."""
    from sklearn.datasets import load_breast_cancer

    return _labelled(load_breast_cancer())


def diabetes() -> Dataset:
    """442 patients: 10 measurements, and the progress of the disease a year later, from 25 to 346.

    Efron, Hastie, Johnstone & Tibshirani 2004, "Least angle regression". The inputs are as they
    were measured. scikit-learn by default scales them by the deviations of all patients, of
    whom some will be in the test part.
    """
    from sklearn.datasets import load_diabetes

    found = load_diabetes(scaled=False)
    return Dataset(found.data.astype(np.float32), found.target[:, None].astype(np.float32), ())


def _labelled(found: Any) -> Dataset:
    names = tuple(str(name) for name in found.target_names)
    return Dataset(found.data.astype(np.float32), found.target.astype(np.int64), names)
