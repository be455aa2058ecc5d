"""Inputs from specifications: shapes that agree, values that hurt."""

import re
from collections.abc import Callable, Sequence
from typing import Any

import jax
import numpy as np
from annotated_types import Ge, Gt, Le, Lt
from hypothesis import strategies as st

from purenn.typing import Array, Index, Shape, Simplex
from purenn.verify import floats, values
from purenn.verify.annotations import (
    FLOATS,
    Case,
    Given,
    Leaf,
    Node,
    Signature,
    is_variadic,
    leaves,
    names_in,
)
from purenn.verify.examples import Example, Fixed
from purenn.verify.values import Bytes

# Few shapes, so that few functions are compiled; with empty and single ones, and with all sizes
# different as well as all equal: the one hides a wrong broadcast, the other a missing transpose.
_VARIADIC: Sequence[Shape] = ((3,), (), (2, 2), (0,), (1,), (2, 4))
_SIZES = ((3, 1, 2, 4), (2, 3, 1, 2), (1, 4, 3, 2), (2, 2, 2, 2), (3, 3, 3, 3), (2, 2, 2, 2))
# With more floating entries than this an exact Jacobian takes long.
_FEW = 64
# Where no dimension is variadic, the batch is as a rule the first one.
_EMPTY_BATCH = (0, 3, 2, 2)


def sizes(signature: Signature) -> list[Case]:
    """The pool of shapes, plain ones first: per name a size, or if variadic a shape.

    The signature's own cases leave open what they do not name: that is filled in turn.
    """
    pool = _shapes(signature)
    cases = signature.cases or (Case({}, {}),)
    is_open = any(set(pool[0]) - set(case.sizes) for case in cases)
    count = max(len(cases), len(pool)) if is_open else len(cases)
    paired = [(cases[i % len(cases)], pool[i % len(pool)]) for i in range(count)]
    return [Case(known | case.sizes, case.static) for case, known in paired]


def _shapes(signature: Signature) -> list[dict[str, Any]]:
    found = list(leaves(signature.positional.values()))
    names = dict.fromkeys(
        name for leaf in found for dim in leaf.dims for name in names_in(dim.replace("#", ""))
    )
    variadic = [name for name in names if is_variadic(name)]
    rows = list(zip(_VARIADIC, _SIZES, strict=True))
    if not variadic and any(len(leaf.dims) > 1 for leaf in found):
        rows.append(((), _EMPTY_BATCH))
    pool = []
    for many, few in rows:
        plain = iter(few * (1 + len(names)))
        known = {name: many if name in variadic else next(plain) for name in names}
        if known not in pool and all(_fits(leaf, known) for leaf in found):
            pool.append(known)
    pool.sort(key=lambda known: (_is_empty(known), _entries(found, known)))
    small = [known for known in pool if _entries(found, known) <= _FEW]
    return small if len(small) >= 3 else sorted(pool, key=lambda known: _entries(found, known))[:3]


def _is_empty(known: dict[str, Any]) -> bool:
    return 0 in known_sizes(known)


def _entries(found: Sequence[Leaf], known: dict[str, Any]) -> int:
    return sum(int(np.prod(shape(leaf, known))) for leaf in found if leaf.floating)


def _fits(leaf: Leaf, known: dict[str, Any]) -> bool:
    index = any(isinstance(m, Index) and known[m.dim] == 0 for m in leaf.markers)
    return not index and all(size >= 0 for size in shape(leaf, known))


def shape(leaf: Leaf, known: dict[str, Any]) -> Shape:
    """The shape that the dimensions have with these sizes."""
    return tuple(size for dim in leaf.dims for size in _size(dim, known))


def _size(dim: str, known: dict[str, Any]) -> Shape:
    name = dim.replace("#", "")
    if is_variadic(name):
        return tuple(known[name])
    if name.isdigit():
        return (int(name),)
    if name in known:
        return (known[name],)
    if not re.fullmatch(r"[\w\s+\-*/()]+", name):
        raise TypeError(f"dimension {dim!r} is not understood: a name, a size or a sum of them")
    return (int(eval(name, {"__builtins__": {}}, known)),)


def source(signature: Signature, pool: Sequence[Case]) -> st.SearchStrategy[list[Bytes]]:
    """Bytes that are enough for any example: for what is no leaf, per leaf, and for cotangents."""
    found = list(leaves(signature.positional.values()))
    most = max((int(np.prod(shape(x, case.sizes))) for x in found for case in pool), default=0)
    length = (2 * max(most, _FEW) + 2) * (len(found) + 2)
    return st.binary(min_size=length, max_size=length).map(lambda b: Bytes(b).parts(len(found) + 2))


def one_case(source: Bytes, pool: Sequence[Case]) -> Case:
    """One of the pool; of empty arrays there is little to learn."""
    case: Case = source.one_of([case for case in pool for _ in range(2 - _is_empty(case.sizes))])
    return case


def arguments(
    signature: Signature,
    known: dict[str, Any],
    dtype: np.dtype[Any],
    sources: Sequence[Bytes],
    draw: Callable[[st.SearchStrategy[Any]], Any],
    *,
    constants: tuple[float, ...] = (),
    finite: bool = True,
) -> tuple[Any, ...]:
    """Primals as the signature has them, all floating arrays of ``dtype``.

    Args:
        signature: what to draw.
        known: the sizes of its dimensions.
        dtype: a floating one.
        sources: one per leaf.
        draw: draws from a strategy, where an argument has one.
        constants: numbers to try besides.
        finite: or with infinities and NaN.
    """
    each = iter(sources)

    def build(tree: Any) -> Any:
        if isinstance(tree, Node):
            return tree.build([build(child) for child in tree.children])
        if isinstance(tree, Given):
            return _in_dtype(draw(tree.strategy), dtype)
        x = _array(tree, known, dtype, next(each), constants, finite)
        return x.item() if tree.holder in (float, int, bool) else x

    return tuple(build(tree) for tree in signature.positional.values())


def _in_dtype(value: Any, dtype: np.dtype[Any]) -> Any:
    """Floating arrays from a strategy in the dtype that is examined."""

    def convert(x: Any) -> Any:
        if not hasattr(x, "dtype"):
            return x
        x = np.asarray(x)
        return np.asarray(x, dtype) if jax.numpy.issubdtype(x.dtype, np.floating) else x

    return jax.tree.map(convert, value)


def _broadcastable(leaf: Leaf, known: dict[str, Any]) -> Shape:
    """The shape, with a ``#`` dimension of size 1 where the others are larger in every way."""
    parts = []
    for dim in leaf.dims:
        size = _size(dim, known)
        parts += [1] * len(size) if "#" in dim and sum(known_sizes(known)) % 2 else [*size]
    return tuple(parts)


def known_sizes(known: dict[str, Any]) -> list[int]:
    """All sizes of an entry of the pool, those of shapes too."""
    return [n for size in known.values() for n in (size if isinstance(size, tuple) else (size,))]


def elsewhere(signature: Signature, example: Example) -> list[Example]:
    """The same with numbers of other signs, twice, as far as the annotations admit them."""
    found = []
    for move in (lambda x: 1 - x, lambda x: -1 - x):
        primals = [
            _moved(list(leaves([its])), primal, move)
            for its, primal in zip(signature.positional.values(), example.primals, strict=True)
        ]
        found.append(example._replace(primals=tuple(primals)))
    return found


def _moved(its: Sequence[Leaf], primal: Any, move: Callable[[Any], Any]) -> Any:
    flat, treedef = jax.tree.flatten(primal)
    if len(flat) != len(its):  # somebody's strategy drew it
        return primal
    return jax.tree.unflatten(
        treedef, [_moved_leaf(leaf, x, move) for leaf, x in zip(its, flat, strict=True)]
    )


def _moved_leaf(leaf: Leaf, x: Any, move: Callable[[Any], Any]) -> Any:
    if not leaf.floating or isinstance(x, Fixed):
        return x
    if any(isinstance(marker, Simplex) for marker in leaf.markers):
        return np.flip(x, -1)
    low, high = bounds(leaf, np.dtype(getattr(x, "dtype", "float64")))
    moved = np.clip(move(x), low, high)
    return float(moved) if isinstance(x, float) else np.asarray(moved, x.dtype)


def _every_other(x: Array) -> Array:
    """The same numbers with a stride of two along the last axis."""
    if not x.ndim:
        return x
    wide = np.zeros((*x.shape[:-1], 2 * x.shape[-1]), x.dtype)
    wide[..., ::2] = x
    return wide[..., ::2]


def _backwards(x: Array) -> Array:
    """The same numbers with negative strides."""
    return np.flip(np.flip(x).copy()) if x.ndim else x


def _fortran(x: Array) -> Array:
    return np.asarray(x, order="F")


def _plain(x: Array) -> Array:
    return x


LAYOUTS: dict[str, Callable[[Array], Array]] = {
    "C": _plain,
    "Fortran": _fortran,
    "negative strides": _backwards,
    "every other entry": _every_other,
}
"""How the same numbers lie in memory."""


def cotangents(source: Bytes, shape: Shape, dtype: np.dtype[Any]) -> Array:
    """Cotangents of moderate size, different from entry to entry."""
    row, column = np.moveaxis(source.take((*shape, 2)), -1, 0)
    return np.asarray(values.table(-4, 4, dtype, ())[row, column])


def _array(
    leaf: Leaf,
    known: dict[str, Any],
    dtype: np.dtype[Any],
    source: Bytes,
    constants: tuple[float, ...],
    finite: bool,
) -> Array:
    its = _broadcastable(leaf, known)
    for marker in leaf.markers:
        if isinstance(marker, Index):
            return np.asarray(source.take(its) % max(known[marker.dim], 1), leaf.dtypes[0])
    if leaf.dtypes[0] == "bool":
        return np.asarray(source.take(its) % 2 == 1)
    if not leaf.floating:
        first, last = _integers(leaf)
        return np.asarray(first + source.take(its) % (last - first + 1), leaf.dtypes[0])
    if any(isinstance(marker, Simplex) for marker in leaf.markers):
        weights = values.numbers(source, its, 0, 1, np.dtype(np.float64))
        return _onto_simplex(weights).astype(dtype)
    low, high = bounds(leaf, dtype)
    x = values.numbers(source, its, low, high, dtype, constants)
    return x if finite else values.not_finite(source, x, low, high)


def _integers(leaf: Leaf) -> tuple[int, int]:
    """The first and the last integer to draw."""
    low, high = -(2**63), 2**63
    for marker in leaf.markers:
        low = max(
            low, int(np.ceil(getattr(marker, "ge", low))), int(getattr(marker, "gt", low - 1)) + 1
        )
        high = min(
            high,
            int(np.floor(getattr(marker, "le", high))),
            int(getattr(marker, "lt", high + 1)) - 1,
        )
    if low == -(2**63):
        low = min(high, 0 if leaf.holder is int or leaf.dtypes[0].startswith("u") else -8)
    return low, min(high, low + (3 if leaf.holder is int else 16))


def bounds(leaf: Leaf, dtype: np.dtype[Any]) -> tuple[float, float]:
    """The least and the greatest number of the dtype that the markers admit."""
    low, high = -np.inf, np.inf
    for marker in leaf.markers:
        if isinstance(marker, Ge | Gt):
            end = marker.ge if isinstance(marker, Ge) else marker.gt
            low = max(low, _bound(end, isinstance(marker, Gt), np.inf, dtype))
        elif isinstance(marker, Le | Lt):
            top = marker.le if isinstance(marker, Le) else marker.lt
            high = min(high, _bound(top, isinstance(marker, Lt), -np.inf, dtype))
    return low, high


def _bound(end: Any, is_open: bool, inwards: float, dtype: np.dtype[Any]) -> float:
    """The last number of the dtype before a closed or an open end."""
    nearest = dtype.type(end)
    rounded = float(nearest)
    outside = rounded > end if inwards < 0 else rounded < end
    if outside or (rounded == end and is_open):
        nearest = np.nextafter(nearest, dtype.type(inwards))
    # What XLA takes for 0 would be outside an interval that is open there.
    tiny = floats.tiny(dtype)
    beyond = float(nearest)
    return float(np.copysign(tiny, inwards)) if 0 < abs(beyond) < tiny else beyond


def _onto_simplex(weights: Array) -> Array:
    if not weights.size:
        return weights
    weights[..., 0] += np.sum(weights, axis=-1) == 0
    return np.asarray(weights / np.sum(weights, axis=-1, keepdims=True))


def dtypes(signature: Signature) -> tuple[str, ...]:
    """The dtypes that all floating arguments admit; a Python float alone is a float64."""
    floating = [leaf for leaf in leaves(signature.positional.values()) if leaf.floating]
    if floating and all(leaf.holder is float for leaf in floating):
        return ("float64",)
    return tuple(name for name in FLOATS if all(name in leaf.dtypes for leaf in floating))
