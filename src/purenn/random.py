"""Random numbers as pure functions of a key: the names and the numbers of ``jax.random``.

A key is two words, a ``uint32`` array of shape ``(2,)``: what ``jax.random.key_data`` shows of a
JAX key. Nothing is hidden and nothing advances: the same key gives the same numbers, and
:func:`split` or :func:`fold_in` makes the next key.

The i-th pair of words of a stream is the counter i encrypted under the key, by Threefry-2x32 in
20 rounds (Salmon, Moraes, Dror & Shaw 2011, "Parallel random numbers: as easy as 1, 2, 3"), laid
out as by JAX's default, ``jax_threefry_partitionable``. So :func:`key`, :func:`split`,
:func:`fold_in`, :func:`bits`, :func:`uniform`, :func:`bernoulli`, :func:`randint` and
:func:`permutation` give JAX's bits; :func:`normal`, :func:`truncated_normal` and
:func:`categorical` differ by the rounding of erf⁻¹, erf and log. Unlike JAX's, the defaults do not
depend on ``jax_enable_x64``: a seed has 64 bits, a number 32.
"""

import operator
from collections.abc import Iterator
from math import ceil, erf, inf, log, prod, sqrt
from typing import Any, SupportsFloat, SupportsIndex

import numpy as np
from jaxtyping import Bool, Integer, Shaped, UInt
from numpy.typing import DTypeLike

from purenn._quantile import normal_quantile
from purenn.errors import DomainError, DtypeError, ShapeError
from purenn.typing import Array, Float, Key, Shape, UInt32

FLOATS = ("float16", "float32", "float64")
UNSIGNED = ("uint8", "uint16", "uint32", "uint64")
INTEGERS = ("int8", "int16", "int32", "int64", *UNSIGNED)

_ROTATIONS = ((13, 15, 26, 6), (17, 29, 16, 24))
_PARITY = np.uint32(0x1BD11BDA)
_FEW = 8  # counters that are encrypted one by one
_BLOCK = 1 << 15  # counters at a time: their words stay in the cache for all 20 rounds


def key(seed: SupportsIndex) -> Key:
    """Make a key of the 64 bits of ``seed``, an integer from −2⁶³ to 2⁶⁴ − 1.

    As in JAX, a NumPy integer narrower than 64 bits gives 32 bits and a word of zeros.
    """
    value = _integer("key", "seed", seed, -(2**63), 2**64 - 1)
    narrow = isinstance(seed, np.integer | np.ndarray) and seed.itemsize < 8
    return np.array([0 if narrow else value >> 32 & 0xFFFFFFFF, value & 0xFFFFFFFF], np.uint32)


def split(key: Key, num: SupportsIndex | Shape = 2) -> UInt32[Array, "*num 2"]:
    """Make ``num`` new keys, of shape ``(num, 2)``; of shape ``(*num, 2)`` for a tuple."""
    _check_key("split", key)
    shape = _sizes("split", "num", num if isinstance(num, tuple) else (num,), least=1)
    keys = np.empty((prod(shape), 2), np.uint32)
    for where, left, right in _words(key, len(keys)):
        keys[where, 0] = left
        keys[where, 1] = right
    return keys.reshape(*shape, 2)


def fold_in(key: Key, data: SupportsIndex) -> Key:
    """Make a new key of ``key`` and ``data``, an integer from 0 to 2³² − 1: a step, say.

    ``fold_in(key, i)`` is ``split(key, n)[i]``: a key should be used for one or the other.
    """
    _check_key("fold_in", key)
    words = np.array([[0], [_integer("fold_in", "data", data, 0, 2**32 - 1)]], np.uint32)
    _encrypt(key, words[0], words[1], np.empty(1, np.uint32))
    return words[:, 0]


def bits(key: Key, shape: Shape = (), dtype: DTypeLike = np.uint32) -> UInt[Array, "*shape"]:
    """Draw bits, as integers of an unsigned dtype."""
    shape, kind = admit("bits", key, shape, dtype, UNSIGNED)
    drawn = np.empty(prod(shape), kind)
    for where, left, right in _words(key, drawn.size):
        if kind.itemsize == 8:
            drawn[where] = left
            drawn[where] <<= 32
            drawn[where] |= right
        else:
            drawn[where] = np.bitwise_xor(left, right, out=left)
    return drawn.reshape(shape)


def uniform(
    key: Key,
    shape: Shape = (),
    dtype: DTypeLike = np.float32,
    minval: SupportsFloat = 0.0,
    maxval: SupportsFloat = 1.0,
) -> Float[Array, "*shape"]:
    """Draw from [minval, maxval), two numbers; ``minval`` only, if ``maxval`` is not greater.

    Multiples of the machine epsilon ε in [0, 1) are drawn, then mapped to the range; so ``minval``
    comes up with probability ε.
    """
    shape, kind = admit("uniform", key, shape, dtype)
    low, high = _real("uniform", "minval", minval, kind), _real("uniform", "maxval", maxval, kind)
    with np.errstate(over="ignore", invalid="ignore"):
        span = high - low
    if not np.isfinite(span):
        raise DomainError(
            f"uniform: minval is {minval}, maxval is {maxval}, expected a range finite in {kind}"
        )
    word = np.dtype(f"u{kind.itemsize}")
    mantissa = bits(key, shape, word)
    mantissa >>= 8 * kind.itemsize - np.finfo(kind).nmant
    mantissa |= kind.type(1).view(word)  # the exponent of 1: a number from 1 to 2
    unit = mantissa.view(kind)
    unit -= 1
    if low != 0 or high != 1:
        _stretch(unit, span, low)
    return unit


def normal(key: Key, shape: Shape = (), dtype: DTypeLike = np.float32) -> Float[Array, "*shape"]:
    """Draw from the standard normal distribution: √2·erf⁻¹(u) with u uniform on (−1, 1)."""
    shape, kind = admit("normal", key, shape, dtype)
    return normal_quantile(uniform(key, shape, kind, np.nextafter(kind.type(-1), kind.type(0)), 1))


def truncated_normal(
    key: Key,
    lower: SupportsFloat,
    upper: SupportsFloat,
    shape: Shape = (),
    dtype: DTypeLike = np.float32,
) -> Float[Array, "*shape"]:
    """Draw from the standard normal distribution between ``lower`` and ``upper``, two numbers.

    √2·erf⁻¹(u) with u uniform from erf(lower/√2) to erf(upper/√2). The bounds are excluded.
    """
    shape, kind = admit("truncated_normal", key, shape, dtype)
    low = _real("truncated_normal", "lower", lower, kind)
    high = _real("truncated_normal", "upper", upper, kind)
    least, most = np.nextafter(low, kind.type(np.inf)), np.nextafter(high, kind.type(-np.inf))
    if not least <= most:
        raise DomainError(
            f"truncated_normal: lower is {lower}, upper is {upper}, expected numbers between them"
        )
    ends = (erf(float(bound) / sqrt(2)) for bound in (low, high))
    drawn = normal_quantile(uniform(key, shape, kind, *ends))
    return np.clip(drawn, least, most, out=drawn)  # a far tail rounds to a bound or to infinity


def bernoulli(
    key: Key, p: float | np.floating[Any] | Float[Array, "..."] = 0.5, shape: Shape | None = None
) -> Bool[Array, "*shape"]:
    """Draw True with probability ``p``, which broadcasts to ``shape`` (by default its own).

    u < p with u uniform in the dtype of ``p``, which for a Python float is float32, as in JAX
    without ``jax_enable_x64``. So no probability is nearer to 0 than ε, which is 2⁻²³ there.
    """
    _check_key("bernoulli", key)
    kind = p.dtype if isinstance(p, np.ndarray | np.generic) else type(p)
    dtype = _dtype("bernoulli", "p", np.float32 if kind is float else kind, FLOATS)
    chance = np.asarray(p, dtype)
    if not ((chance >= 0) & (chance <= 1)).all():
        raise DomainError(f"bernoulli: p is {p}, expected probabilities from 0 to 1")
    shape = chance.shape if shape is None else _sizes("bernoulli", "shape", shape)
    try:
        chance = np.broadcast_to(chance, shape)
    except ValueError:
        raise ShapeError(
            f"bernoulli: p has shape {chance.shape}, expected one that broadcasts to {shape}"
        ) from None
    return np.asarray(uniform(key, shape, dtype) < chance)


def randint(
    key: Key,
    shape: Shape,
    minval: SupportsIndex,
    maxval: SupportsIndex,
    dtype: DTypeLike = np.int32,
) -> Integer[Array, "*shape"]:
    """Draw integers from ``minval`` to ``maxval`` − 1; ``minval`` if there are none.

    Bounds beyond the dtype are moved to its ends: ``randint(key, shape, 0, 256, np.uint8)`` draws
    any byte. A draw is minval + (2ⁿh + l) mod span, with two words of n ≥ 32 bits and without h
    where span > √2ⁿ: slightly biased, as in JAX, unless the span is a power of two.
    """
    shape, kind = admit("randint", key, shape, dtype, INTEGERS)
    ends = np.iinfo(kind)
    first = _integer("randint", "minval", minval)
    first = min(max(first, ends.min), ends.max)
    span = max(1, min(_integer("randint", "maxval", maxval), ends.max + 1) - first)

    size = max(4, kind.itemsize)
    keys, word = split(key), np.dtype(f"u{size}")
    drawn = bits(keys[1], shape, word)
    if span <= 2 ** (4 * size):
        high = bits(keys[0], shape, word)
        high %= span
        high *= 2 ** (8 * size) % span
        drawn %= span
        drawn += high
    if span < 2 ** (8 * size):
        drawn %= span
    drawn += first % 2 ** (8 * size)  # negative numbers as their two's complement
    return drawn.astype(kind)


def permutation(
    key: Key, x: SupportsIndex | Shaped[Array, "rows *rest"]
) -> Shaped[Array, "rows *rest"]:
    """Shuffle the rows of an array ``x``; for an integer ``x``, the numbers 0 … x − 1.

    The rows are sorted by random words, often enough to make ties of all words improbable.
    """
    _check_key("permutation", key)
    if isinstance(x, np.ndarray) and x.ndim:
        return x[permutation(key, len(x))]
    order = np.arange(_integer("permutation", "x", x, 0))
    for _ in range(ceil(3 * log(max(1, order.size)) / log(2**32 - 1))):
        key, subkey = split(key)
        order = order[np.argsort(bits(subkey, order.shape), kind="stable")]
    return order


def categorical(
    key: Key, logits: Float[Array, "..."], axis: int = -1, shape: Shape | None = None
) -> Integer[Array, "*shape"]:
    """Draw an index i along ``axis``, with probability softmax(logits)ᵢ.

    ``shape`` is by default that of ``logits`` without ``axis``; it may have more dimensions in
    front. argmaxᵢ(logitsᵢ − log(−log uᵢ)) with uᵢ uniform: the Gumbel-max trick (Gumbel 1954).
    """
    _check_key("categorical", key)
    dtype = _dtype("categorical", "logits", getattr(logits, "dtype", type(logits)), FLOATS)
    if not -logits.ndim <= axis < logits.ndim or logits.shape[axis] == 0:
        raise ShapeError(
            f"categorical: logits has shape {logits.shape}, expected one or more along axis {axis}"
        )
    axis %= logits.ndim
    batch = logits.shape[:axis] + logits.shape[axis + 1 :]
    shape = batch if shape is None else _sizes("categorical", "shape", shape)
    front = shape[: max(0, len(shape) - len(batch))]
    if shape != front + batch:
        raise ShapeError(f"categorical: shape is {shape}, expected one that ends with {batch}")
    scores = uniform(key, front + logits.shape, dtype, np.finfo(dtype).tiny, 1)
    for _ in range(2):
        np.negative(np.log(scores, out=scores), out=scores)
    scores += logits
    return np.asarray(scores.argmax(axis + len(front)))


def _words(key: Key, count: int) -> Iterator[tuple[slice, Array, Array]]:
    """Yield the stream block by block: its place and its words, in buffers that are used again."""
    buffers = np.empty((3, min(count, _BLOCK)), np.uint32)
    for start in range(0, count, _BLOCK):
        counter = np.arange(start, min(start + _BLOCK, count), dtype=np.uint64)
        left, right, scratch = buffers[:, : counter.size]
        right[:] = counter
        counter >>= 32
        left[:] = counter
        _encrypt(key, left, right, scratch)
        yield slice(start, start + counter.size), left, right


def _encrypt(key: Key, left: Array, right: Array, scratch: Array) -> None:
    """Encrypt counters in place: their high words are in ``left``, their low words in ``right``."""
    if left.size <= _FEW:
        words = int(key[0]), int(key[1])
        for i in range(left.size):
            left[i], right[i] = _encrypted(words, int(left[i]), int(right[i]))
        return
    schedule = key[0], key[1], key[0] ^ key[1] ^ _PARITY
    left += schedule[0]
    right += schedule[1]
    for group in range(5):
        for rotation in _ROTATIONS[group % 2]:
            left += right
            np.right_shift(right, 32 - rotation, out=scratch)
            right <<= rotation
            right |= scratch
            right ^= left
        left += schedule[(group + 1) % 3]
        right += schedule[(group + 2) % 3]
        right += group + 1


def _encrypted(key: tuple[int, int], left: int, right: int) -> tuple[int, int]:
    """The same of one counter, in Python's integers: a call of NumPy takes as long as a round."""
    schedule = *key, key[0] ^ key[1] ^ 0x1BD11BDA
    left, right = left + schedule[0], right + schedule[1]
    for group in range(5):
        for rotation in _ROTATIONS[group % 2]:
            left = (left + right) & 0xFFFFFFFF
            right &= 0xFFFFFFFF
            right = ((right << rotation | right >> 32 - rotation) & 0xFFFFFFFF) ^ left
        left += schedule[(group + 1) % 3]
        right += schedule[(group + 2) % 3] + group + 1
    return left & 0xFFFFFFFF, right & 0xFFFFFFFF


def _stretch(unit: Array, span: np.floating[Any], low: np.floating[Any]) -> None:
    """Map ``unit`` to unit·span + low in place, rounding like compiled code: once (fused).

    float16 is the exception: there the product is rounded too, as by JAX on all CPUs but those
    that compute in float16 themselves.
    """
    if span < 0:
        unit[...] = low
    elif unit.dtype == np.float16 or np.frexp(span)[0] == 0.5:
        unit *= span  # exact for a power of two
        unit += low
    elif unit.dtype == np.float32:
        np.add(unit * np.float64(span), low, out=unit)
    else:
        # What the product (Dekker 1971) and the sum (Knuth 1969) lose is added before rounding.
        product = unit * span
        unit_head, span_head = _head(unit), _head(span)
        unit_tail, span_tail = unit - unit_head, span - span_head
        lost = unit_head * span_head - product
        lost += unit_head * span_tail
        lost += unit_tail * span_head
        lost += unit_tail * span_tail
        total = product + low
        grown = total - product
        lost += (product - (total - grown)) + (low - grown)
        np.add(total, lost, out=unit)


def _head(x: Any) -> Any:
    """Cut float64 numbers off after 26 bits, so that products of heads and tails are exact."""
    return (x.view(np.uint64) >> 27 << 27).view(np.float64)


def admit(
    name: str, key: Any, shape: Any, dtype: Any, allowed: tuple[str, ...] = FLOATS
) -> tuple[Shape, np.dtype[Any]]:
    """Refuse what does not fit, in the name of function ``name``; return the shape and dtype."""
    _check_key(name, key)
    return _sizes(name, "shape", shape), _dtype(name, "dtype", dtype, allowed)


def _check_key(name: str, key: Any) -> None:
    if not isinstance(key, np.ndarray) or key.dtype != np.uint32:
        got = getattr(key, "dtype", type(key).__name__)
        raise DtypeError(f"{name}: key is {got}, expected a uint32 array, as random.key makes one")
    if key.shape != (2,):
        raise ShapeError(f"{name}: key has shape {key.shape}, expected (2,), a single key")


def _sizes(name: str, argument: str, shape: Any, least: int = 0) -> Shape:
    try:
        sizes = tuple(operator.index(size) for size in shape)
    except TypeError:
        sizes = (-1,)
    if min(sizes, default=least) < least:
        raise ShapeError(f"{name}: {argument} is {shape}, expected sizes of {least} or more")
    return sizes


def _dtype(name: str, argument: str, dtype: Any, allowed: tuple[str, ...]) -> np.dtype[Any]:
    try:
        got = np.dtype(dtype).name if dtype is not None else "None"
    except TypeError:
        got = repr(dtype)
    if got not in allowed:
        raise DtypeError(f"{name}: {argument} is {got}, expected {' or '.join(allowed)}")
    return np.dtype(got)


def _integer(
    name: str, argument: str, value: Any, least: int | float = -inf, most: int | float = inf
) -> int:
    try:
        integer = operator.index(value)
    except TypeError:
        got = type(value).__name__
        raise DtypeError(f"{name}: {argument} is a {got}, expected an integer") from None
    if not least <= integer <= most:
        expected = f"{least} or more" if most == inf else f"{least} to {most}"
        raise DomainError(f"{name}: {argument} is {integer}, expected {expected}")
    return integer


def _real(name: str, argument: str, value: Any, kind: np.dtype[Any]) -> np.floating[Any]:
    if np.ndim(value) or not isinstance(value, SupportsFloat):
        raise DtypeError(f"{name}: {argument} is {value!r}, expected a number")
    with np.errstate(over="ignore"):
        number: np.floating[Any] = kind.type(float(value))
    return number
