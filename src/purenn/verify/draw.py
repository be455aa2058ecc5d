"""Inputs from annotations: shapes that agree, values that hurt."""

import inspect
from collections.abc import Callable, Sequence
from typing import Any, get_type_hints

import hypothesis.extra.numpy as hnp
import numpy as np
from hypothesis import strategies as st

from purenn.typing import Array, Index, Interval, Shape, Simplex, Spec, spec


class UnspecifiedError(TypeError):
    """An argument has no annotation that says what to draw."""


def specifications(function: Callable[..., Any]) -> dict[str, Spec]:
    """What each positional argument of ``function`` is, by its annotation.

    Raises:
        UnspecifiedError: an argument is not annotated as an array.
    """
    hints = get_type_hints(inspect.unwrap(function), include_extras=True)
    found = {}
    for name, parameter in inspect.signature(function).parameters.items():
        if parameter.kind is parameter.KEYWORD_ONLY and parameter.default is parameter.empty:
            raise UnspecifiedError(
                f"{function.__name__}: keyword-only argument {name!r} needs a default"
            )
        if parameter.kind in (parameter.POSITIONAL_ONLY, parameter.POSITIONAL_OR_KEYWORD):
            its = spec(hints.get(name))
            if its is None:
                raise UnspecifiedError(
                    f"{function.__name__}: argument {name!r} needs an array annotation, "
                    f'such as {name}: Float[Array, "*batch {name}"]'
                )
            found[name] = its
    dims = {dim for its in found.values() for dim in its.dims}
    for name, its in found.items():
        for marker in its.markers:
            if isinstance(marker, Index) and marker.dim not in dims:
                raise UnspecifiedError(
                    f"{function.__name__}: {name} has Index({marker.dim!r}), which is no dimension "
                    f"of an argument; there are {', '.join(sorted(dims))}"
                )
    return found


# Few shapes, so that few functions are compiled; with empty and single ones, and with all sizes
# different as well as all equal: the one hides a wrong broadcast, the other a missing transpose.
_VARIADIC: Sequence[Shape] = ((3,), (), (2, 2), (0,), (1,), (2,))
_SIZES = ((3, 1, 2, 4), (2, 3, 1, 2), (1, 4, 3, 2), (2, 2, 2, 2), (3, 3, 3, 3), (2, 2, 2, 2))


def sizes(specs: Sequence[Spec]) -> list[dict[str, Any]]:
    """The pool of shapes: a size, or for a variadic dimension a shape, per name."""
    dims = dict.fromkeys(dim for its in specs for dim in its.dims)
    fixed = {dim: int(dim) for dim in dims if dim.isdigit()}
    return [
        {
            dim: fixed.get(dim, many if _is_variadic(dim) else few[i % 4])
            for i, dim in enumerate(dims)
        }
        for many, few in zip(_VARIADIC, _SIZES, strict=True)
    ]


def _is_variadic(dim: str) -> bool:
    return dim.startswith("*") or dim == "..."


def shape(its: Spec, known: dict[str, Any]) -> Shape:
    """The shape that the dimensions have with these sizes."""
    parts = [known[dim] if _is_variadic(dim) else (known[dim],) for dim in its.dims]
    return tuple(size for part in parts for size in part)


def arguments(
    function: Callable[..., Any], dtype: np.dtype[Any]
) -> st.SearchStrategy[tuple[Array, ...]]:
    """Arguments for ``function``, all floating ones of ``dtype``."""
    specs = list(specifications(function).values())

    def draw_all(known: dict[str, Any]) -> st.SearchStrategy[tuple[Array, ...]]:
        return st.tuples(*(_values(its, shape(its, known), known, dtype) for its in specs))

    return st.sampled_from(sizes(specs)).flatmap(draw_all)


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


LAYOUTS: st.SearchStrategy[Callable[[Array], Array]] = st.sampled_from(
    [_plain, _fortran, _backwards, _every_other]
)
"""How the same numbers lie in memory: contiguous, in Fortran order, backwards, with gaps."""


def cotangents(shape: Shape, dtype: np.dtype[Any]) -> st.SearchStrategy[Array]:
    """Cotangents of moderate size, different from entry to entry."""
    return hnp.arrays(dtype, shape, elements=_floats(-4, 4, dtype), fill=st.nothing())


def _floats(low: float, high: float, dtype: np.dtype[Any]) -> st.SearchStrategy[float]:
    width: Any = 8 * dtype.itemsize
    low, high = float(dtype.type(low)), float(dtype.type(high))
    return st.floats(low, high, width=width, allow_subnormal=False)


def _values(
    its: Spec, shape: Shape, known: dict[str, Any], dtype: np.dtype[Any]
) -> st.SearchStrategy[Array]:
    for marker in its.markers:
        if isinstance(marker, Index):
            return hnp.arrays(np.int32, shape, elements=st.integers(0, known[marker.dim] - 1))
    if not its.floating:
        return hnp.arrays(np.int32, shape)
    low, high = _bounds(its, dtype)
    values = hnp.arrays(dtype, shape, elements=_elements(low, high, dtype), fill=st.nothing())
    if any(isinstance(marker, Simplex) for marker in its.markers):
        weights = hnp.arrays(dtype, shape, elements=_elements(0, 1, dtype), fill=st.nothing())
        return weights.map(_onto_simplex)
    return values


def _bounds(its: Spec, dtype: np.dtype[Any]) -> tuple[float, float]:
    """The least and the greatest number of the dtype in the interval."""
    low, high = -np.inf, np.inf
    for marker in its.markers:
        if isinstance(marker, Interval):
            ends = (
                _bound(marker.ge, marker.gt, np.inf, dtype),
                _bound(marker.le, marker.lt, -np.inf, dtype),
            )
            low = low if ends[0] is None else ends[0]
            high = high if ends[1] is None else ends[1]
    return low, high


def _bound(closed: Any, open_: Any, inwards: float, dtype: np.dtype[Any]) -> float | None:
    """The last number of the dtype before a closed or an open end, if there is one."""
    end = closed if open_ is None else open_
    if end is None:
        return None
    nearest = dtype.type(end)
    rounded = float(nearest)
    outside = rounded > end if inwards < 0 else rounded < end
    if outside or (rounded == end and open_ is not None):
        nearest = np.nextafter(nearest, dtype.type(inwards))
    return float(nearest)


def _elements(low: float, high: float, dtype: np.dtype[Any]) -> st.SearchStrategy[float]:
    """Plain numbers, saturation, kinks and ties, huge and tiny ones, inside the bounds."""
    info = np.finfo(dtype)
    far = -float(np.log(info.tiny)) + 20  # past where an exponential is 0
    huge = min(1e30, float(info.max) / 4)
    # No subnormal numbers: XLA takes them for 0, and would look wrong where it is only coarse.
    special = [0.0, -0.0, 1.0, -1.0, 0.5, 17.0, -17.0, 1e-30, -1e-30, huge, -huge]
    kept = [float(dtype.type(v)) for v in special if low <= v <= high]
    ends = [(max(low, -end), min(high, end)) for end in (1.0, 8.0, float(np.rint(far)))]
    ends += [(low, min(high, low + 8))] if np.isfinite(low) else []
    ends += [(max(low, high - 8), high)] if np.isfinite(high) else []
    ranges = [_floats(start, end, dtype) for start, end in ends if start <= end]
    return st.one_of(*ranges, *([st.sampled_from(kept)] if kept else []))


def _onto_simplex(weights: Array) -> Array:
    if not weights.size:
        return weights
    weights[..., 0] += np.sum(weights, axis=-1) == 0
    return np.asarray(weights / np.sum(weights, axis=-1, keepdims=True), weights.dtype)
