"""The arithmetic of windows that slide over an array: strides, dilation, padding, output sizes."""

from collections.abc import Sequence
from typing import Any, TypeAlias

from purenn.contract import check_integer
from purenn.errors import DomainError, ShapeError

Sizes: TypeAlias = int | Sequence[int]
"""One number for all dimensions, or one for each."""

Padding: TypeAlias = str | int | Sequence[int | tuple[int, int]]
"""``"SAME"``, ``"SAME_LOWER"`` or ``"VALID"``; else what is added on both sides (an int) or on
each (low, high), for all dimensions or for each."""

Pads: TypeAlias = tuple[tuple[int, int], ...]
"""(low, high) for each dimension; what is negative is cut off."""

LARGEST = 2**31 - 1
"""Size, stride or padding: a stride in bytes must stay an int64."""


def as_tuple(name: str, argument: str, value: Any, rank: int) -> tuple[int, ...]:
    """``value`` for each of ``rank`` dimensions.

    Raises:
        DtypeError: it is no int and no sequence of ints.
        ShapeError: it has another length than ``rank``.
        DomainError: a number is less than 1, or larger than any array.
    """
    sizes = _broadcast(name, argument, value, rank)
    return tuple(_integer(name, argument, size, least=1) for size in sizes)


def rank_of(name: str, **arguments: Any) -> int:
    """The length of the first argument that is a sequence, else 1.

    Raises ShapeError where it is empty.
    """
    for argument, value in arguments.items():
        if isinstance(value, Sequence) and not isinstance(value, str):
            if not value:
                raise ShapeError(f"{name}: {argument} is {value!r}, expected a number or some")
            return len(value)
    return 1


def dilated(size: int, dilation: int) -> int:
    """The length of ``size`` elements of which each is ``dilation`` from the one before."""
    return (size - 1) * dilation + 1 if size else 0


def pads(
    name: str,
    sizes: Sequence[int],
    window: Sequence[int],
    strides: Sequence[int],
    dilation: Sequence[int],
    padding: Any,
) -> Pads:
    """``padding`` in numbers, as ``jax.lax.padtype_to_pads`` does it for a dilated window.

    ``"SAME"`` makes ⌈size/stride⌉ outputs and puts an odd element high (``"SAME_LOWER"`` low).

    Raises:
        DomainError: a string that is none of the three, or a number larger than any array.
        DtypeError: neither a string nor ints and pairs of ints.
        ShapeError: a sequence of another length than ``sizes``, or a pair that is none.
    """
    if isinstance(padding, str):
        if padding.upper() == "VALID":
            return ((0, 0),) * len(sizes)
        if padding.upper() not in ("SAME", "SAME_LOWER"):
            raise DomainError(
                f"{name}: padding is {padding!r}, expected 'SAME', 'SAME_LOWER', 'VALID' or numbers"
            )
        up = padding.upper() == "SAME_LOWER"
        missing = [
            max((-(-size // stride) - 1) * stride + dilated(length, between) - size, 0)
            for size, length, stride, between in zip(sizes, window, strides, dilation, strict=True)
        ]
        return tuple(((total + up) // 2, total - (total + up) // 2) for total in missing)
    each = _broadcast(name, "padding", padding, len(sizes))
    return tuple(_pair(name, low_high, padding) for low_high in each)


def output_sizes(
    name: str,
    sizes: Sequence[int],
    window: Sequence[int],
    strides: Sequence[int],
    dilation: Sequence[int],
    padding: Pads,
    input_dilation: Sequence[int] | None = None,
) -> tuple[int, ...]:
    """⌊(padded size − dilated window)/stride⌋ + 1 for each dimension.

    Raises:
        ShapeError: a window is empty or larger than the padded input, where lax gives no output.
    """
    padded = [
        dilated(size, between) + low + high
        for size, between, (low, high) in zip(
            sizes, input_dilation or (1,) * len(sizes), padding, strict=True
        )
    ]
    covered = [dilated(length, between) for length, between in zip(window, dilation, strict=True)]
    for length, size in zip(covered, padded, strict=True):
        if not 1 <= length <= size:
            raise ShapeError(
                f"{name}: the window has shape {tuple(covered)}, dilation included; expected at "
                f"least 1 and at most the input with its padding, {tuple(padded)}"
            )
    return tuple(
        (size - length) // stride + 1
        for size, length, stride in zip(padded, covered, strides, strict=True)
    )


def _broadcast(name: str, argument: str, value: Any, rank: int) -> tuple[Any, ...]:
    if not isinstance(value, Sequence) or isinstance(value, str):
        return (value,) * rank
    if len(value) != rank:
        raise ShapeError(
            f"{name}: {argument} is {value}, of length {len(value)}; expected one number or {rank}"
        )
    return tuple(value)


def _integer(name: str, argument: str, value: Any, least: int | None = None) -> int:
    number = check_integer(name, argument, value, least=least)
    if abs(number) > LARGEST:
        raise DomainError(f"{name}: {argument} is {value}, expected at most {LARGEST}")
    return number


def _pair(name: str, low_high: Any, padding: Any) -> tuple[int, int]:
    pair = low_high if isinstance(low_high, Sequence) else (low_high, low_high)
    if len(pair) != 2:
        raise ShapeError(f"{name}: padding is {padding!r}, expected pairs (low, high)")
    low, high = (_integer(name, "padding", number) for number in pair)
    return low, high
