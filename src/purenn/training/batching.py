"""Batches: which examples a step sees is a pure function of a key and the number of the step."""

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from purenn import random
from purenn.contract import check_array, check_integer
from purenn.errors import DomainError, DtypeError, ShapeError
from purenn.typing import Array, Key


def batches(
    key: Key | None, arrays: Sequence[Array], size: int, *, drop_last: bool = False
) -> Iterator[tuple[Array, ...]]:
    """One epoch of shuffled batches: every example once, the last batch with what is left.

    Only the examples of one batch at a time are read: an array that is mapped to a file, by
    ``numpy.load(path, mmap_mode="r")`` say, is never loaded whole. To convert or augment, map:
    ``((x / np.float32(255), y) for x, y in batches(...))``.

    Args:
        key: The order is a pure function of it; ``fold_in(key, epoch)`` gives each epoch its own.
            Without one the examples come in their order.
        arrays: Arrays that have an example per index of the first axis.
        size: Examples per batch.
        drop_last: Whether to leave out a last batch that is smaller than the others.

    Raises:
        ShapeError: the arrays are none, empty, or of unequal lengths.
        DtypeError: one of them is no array, or an argument is of another type.
        DomainError: ``size`` is less than 1, or no batch is left.
    """
    count = _check("batches", arrays, size, drop_last)
    return _epoch(key, arrays, size, 0, batches_per_epoch(count, size, drop_last=drop_last))


def stream(
    key: Key,
    arrays: Sequence[Array],
    size: int,
    epochs: int,
    *,
    start: int = 0,
    drop_last: bool = False,
) -> Iterator[tuple[Array, ...]]:
    """The batches of several epochs, one after the other, each epoch in an order of its own.

    Epoch e is ``batches(fold_in(key, e), …)``. A run that was interrupted goes on with the same
    batches as if it never had been:

        fit(step, state, stream(key, arrays, 32, epochs, start=int(state.step)))

    Of a run that is complete no batches are left, and ``fit`` says so with a DomainError.

    Args:
        key: The orders are a pure function of it.
        arrays: As for :func:`batches`, and so is ``size``.
        size: Examples per batch.
        epochs: How many, ≥ 1, those before ``start`` included.
        start: How many batches have been, ≥ 0.
        drop_last: As for :func:`batches`.

    Raises:
        ShapeError, DtypeError, DomainError: as for :func:`batches`.
    """
    count = _check("stream", arrays, size, drop_last)
    check_integer("stream", "epochs", epochs, least=1)
    check_integer("stream", "start", start, least=0)
    each = batches_per_epoch(count, size, drop_last=drop_last)

    def run() -> Iterator[tuple[Array, ...]]:
        for epoch in range(start // each, epochs):
            first = start % each if epoch == start // each else 0
            yield from _epoch(random.fold_in(key, epoch), arrays, size, first, each)

    return run()


def batches_per_epoch(count: int, size: int, *, drop_last: bool = False) -> int:
    """How many batches of ``size`` there are in ``count`` examples.

    Raises:
        DtypeError: ``count`` or ``size`` is no int.
        DomainError: ``count`` is less than 0, or ``size`` less than 1.
    """
    check_integer("batches_per_epoch", "count", count, least=0)
    check_integer("batches_per_epoch", "size", size, least=1)
    return count // size if drop_last else -(-count // size)


def _epoch(
    key: Key | None, arrays: Sequence[Array], size: int, start: int, stop: int
) -> Iterator[tuple[Array, ...]]:
    order = None if key is None else random.permutation(key, len(arrays[0]))
    for i in range(start, stop):
        part = slice(i * size, (i + 1) * size)
        if order is None:
            yield tuple(np.array(array[part]) for array in arrays)
        else:
            yield tuple(array[order[part]] for array in arrays)


def _check(name: str, arrays: Any, size: Any, drop_last: bool) -> int:
    """Refuse what is no set of examples; else say how many there are."""
    count = check_arrays(name, arrays)
    check_integer(name, "size", size, least=1)
    if drop_last and size > count:
        raise DomainError(
            f"{name}: size is {size}, expected at most {count}, the number of examples, where "
            "the last batch is dropped"
        )
    return count


def check_arrays(name: str, arrays: Any) -> int:
    """Refuse what is no tuple of arrays with an example per row; else say how many there are."""
    if not isinstance(arrays, list | tuple):
        raise DtypeError(
            f"{name}: arrays is a {type(arrays).__name__}, expected a tuple such as "
            "(inputs, targets)"
        )
    return count_examples(name, {f"arrays[{i}]": array for i, array in enumerate(arrays)})


def count_examples(name: str, arrays: dict[str, Array]) -> int:
    """How many examples all of ``arrays`` have; never 0, since nothing has no mean.

    Raises:
        ShapeError: there are none, or not of all the same number.
        DtypeError: one of them is no array.
    """
    count = 0
    for argument, array in arrays.items():
        check_array(name, argument, array)
        if array.ndim == 0 or len(array) == 0:
            raise ShapeError(f"{name}: {argument} has shape {array.shape}, which has no examples")
        count = count or len(array)
        if len(array) != count:
            raise ShapeError(
                f"{name}: {argument} has {len(array)} examples and {next(iter(arrays))} {count}"
            )
    if not count:
        raise ShapeError(f"{name}: no arrays, expected at least one")
    return count
