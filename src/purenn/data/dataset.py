"""What every set of examples is: inputs, targets, and what the labels are called."""

from typing import NamedTuple

from purenn.typing import Array


class Dataset(NamedTuple):
    """Examples; a tuple, so that ``training.batches(key, dataset[:2], 32)`` shuffles it.

    Attributes:
        inputs: Of shape (examples, …), float32; images may be uint8, as (examples, height, width,
            channels).
        targets: Labels 0 … C − 1 of shape (examples,), int64, or values of shape (examples, k),
            float32.
        classes: The names of the C labels; () where targets are values.
    """

    inputs: Array
    targets: Array
    classes: tuple[str, ...]


def numbered(count: int) -> tuple[str, ...]:
    """Name labels that have no other name: "0", "1", …."""
    return tuple(str(label) for label in range(count))
