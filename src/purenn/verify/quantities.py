"""What is measured of an answer: its values and its cotangents, leaf by leaf."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import cache, partial

import numpy as np

from purenn.typing import Array
from purenn.verify import conditioning, floats, rivals, truths
from purenn.verify.calls import Answer
from purenn.verify.examples import Example, is_differentiable
from purenn.verify.judge import Quantity
from purenn.verify.oracles import Oracle
from purenn.verify.truths import Truth


def values(
    told: Oracle,
    example: Example,
    given: Mapping[str, Sequence[Array]],
    truth: Truth,
    by_others: Mapping[str, Sequence[Array]],
    unlucky: Callable[[], list[rivals.Errors]],
) -> Iterator[Quantity]:
    """The leaves of the values that were given under these names."""
    extreme = _is_extreme(example)
    for name, value in given.items():
        for k, y in enumerate(value):
            if is_differentiable(y):
                yield Quantity(
                    name if len(value) == 1 else f"{name}[{k}]",
                    y,
                    truth.value[k],
                    truth.value_scales[k],
                    {who: value[k] for who, value in by_others.items()},
                    partial(conditioning.of_value, told, example, k),
                    partial(_value_errors, unlucky, k),
                    exact=told.kind == "exact",
                    extreme=extreme,
                )


def cotangents(
    told: Oracle,
    example: Example,
    first: Answer,
    truth: Truth,
    by_jax: dict[str, rivals.Answer],
    unlucky: Callable[[], list[rivals.Errors]],
) -> Iterator[tuple[int, Quantity]]:
    """The cotangent of each leaf that has one."""
    flushed = any(_has_subnormal(x) for x in example.arrays)
    extreme = _is_extreme(example)
    conditioned = cache(lambda: conditioning.of_cotangents(told, example))
    on_the_way = cache(lambda: conditioning.on_the_way(told, example))
    rounded = rounding(told, example, first)
    steepness = 0.0 if by_jax else _steepness(example, first)
    for i, (name, dx) in enumerate(zip(example.paths, first.cotangents, strict=True)):
        exact, scale = truth.cotangents[i], truth.cotangent_scales[i]
        if dx is not None and exact is not None and scale is not None:
            yield (
                i,
                Quantity(
                    f"d{name}",
                    dx,
                    exact,
                    scale,
                    {who: r for who, a in by_jax.items() if (r := a.cotangents[i]) is not None},
                    partial(_leaf_of, conditioned, i),
                    partial(_cotangent_errors, unlucky, i),
                    partial(_leaf_of, on_the_way, i) if by_jax else None,
                    rounded,
                    told.kind == "exact",
                    flushed,
                    steepness,
                    extreme,
                ),
            )


def _leaf_of(leaves: Callable[[], truths.Leaves], i: int) -> Array:
    found = leaves()[i]
    assert found is not None
    return found


def _value_errors(unlucky: Callable[[], list[rivals.Errors]], k: int) -> list[Array]:
    return [errors.value[k] for errors in unlucky()]


def _cotangent_errors(unlucky: Callable[[], list[rivals.Errors]], i: int) -> list[Array]:
    return [off for errors in unlucky() if (off := errors.cotangents[i]) is not None]


def rounding(told: Oracle, example: Example, answer: Answer) -> float:
    """The rounding error of a number as large as dy; of dy times the value, if that is all we know.

    A value that cancels to 0 has terms that are as large as it is at calm inputs.
    """
    sizes = [floats.eps(dy.dtype) * _largest([dy]) for dy in _numbers(example.cotangents)]
    value = 1.0
    if told.kind == "numeric":
        value = max(_largest(answer.value), conditioning.calm_value(told, example))
    return 2 * max(sizes, default=0.0) * value


def _steepness(example: Example, answer: Answer) -> float:
    """|dy|·|y| / |x|, as large as dy times the derivative of y on average."""
    over = max(1.0, _largest(example.arrays))
    return _largest(example.cotangents) * _largest(answer.value) / over


def _numbers(arrays: Sequence[Array]) -> list[Array]:
    return [x for x in arrays if is_differentiable(x)]


def _largest(arrays: Sequence[Array]) -> float:
    return max((float(np.max(np.abs(x), initial=0.0)) for x in _numbers(arrays)), default=0.0)


def _has_subnormal(x: Array) -> bool:
    tiny = floats.tiny(x.dtype) if is_differentiable(x) else 0.0
    return bool(np.any((x != 0) & (np.abs(x) < tiny))) if tiny else False


def _is_extreme(example: Example) -> bool:
    """Whether the square of a number leaves the range of its dtype."""
    return any(
        bool(np.any(np.abs(x) > floats.largest(x.dtype) ** 0.5))
        or bool(np.any((x != 0) & (np.abs(x) < floats.tiny(x.dtype) ** 0.5)))
        for x in _numbers((*example.arrays, *example.cotangents))
    )
