"""The words that annotations are written in.

An annotation is the specification of an argument: mypy reads it, the door
(:mod:`purenn.contract`) enforces it, and the examiner draws its inputs from it::

    logits: Float[Array, "*batch classes"]
    labels: Annotated[Int[Array, "*batch"], Index("classes")]
    mask: Bool[Array, "..."] | None

Parameters are a ``TypedDict`` of such arrays, what a recurrence carries a tuple of them.
``Float``, ``Int`` and ``Bool`` are jaxtyping's, ``Interval`` is annotated-types'; the markers
below say what those cannot.
"""

import re
from collections.abc import Callable
from dataclasses import dataclass
from types import NoneType, UnionType
from typing import (
    TYPE_CHECKING,
    Any,
    NamedTuple,
    TypeAlias,
    Union,
    get_args,
    get_origin,
    get_type_hints,
    is_typeddict,
)
from typing import Annotated as Annotated

import numpy as np
from annotated_types import Interval as Interval
from jaxtyping import Bool as Bool
from jaxtyping import Float as Float
from jaxtyping import Int as Int
from jaxtyping import UInt32 as UInt32

Array: TypeAlias = np.ndarray[Any, np.dtype[Any]]

if TYPE_CHECKING:
    Values: TypeAlias = Array
else:
    Values = np.ndarray | np.generic
"""An array on the way through a formula: NumPy makes a scalar of a 0-d one."""

Shape: TypeAlias = tuple[int, ...]

Params: TypeAlias = dict[str, Any]
"""Nested dict of float arrays, with Flax's leaf names: ``params["hidden"]["kernel"]``."""

Key: TypeAlias = UInt32[Array, "2"]
"""Two words that stand for a stream of random numbers; see :mod:`purenn.random`."""

Pullback: TypeAlias = Callable[..., tuple[Any, ...]]
"""``pullback(dy) -> (dx1, …, dxn)``: a cotangent per positional argument, ``None`` for integers."""


@dataclass(frozen=True)
class Index:
    """The values index the named dimension: integers from 0 to its size − 1."""

    dim: str


@dataclass(frozen=True)
class Simplex:
    """The values along the last axis are not negative and add up to 1."""


@dataclass(frozen=True, init=False)
class OneOf:
    """A static argument takes each of these values: ``axis: Annotated[int, OneOf(-1, 0)] = -1``.

    The examiner leaves a keyword-only argument without it at its default.
    """

    values: tuple[Any, ...]

    def __init__(self, *values: Any) -> None:
        object.__setattr__(self, "values", values)


class Spec(NamedTuple):
    """What an array annotation says, taken apart."""

    dims: tuple[str, ...]
    """Names (``in``), sizes (``3``), ``_`` for any size, ``*name`` or ``...`` for any number."""
    kind: str
    """``floating``, ``integer`` or ``boolean``."""
    markers: tuple[Any, ...]
    optional: bool = False
    """Whether ``None`` may stand for it."""


Specs: TypeAlias = Spec | dict[str, Any] | tuple[Any, ...]
"""A tree of them, as the argument is one."""


def spec(annotation: Any) -> Specs | None:
    """Take an annotation apart; ``None`` where it is no jaxtyping array and no tree of them.

    >>> spec(Annotated[Int[Array, "*batch"], Index("classes")])
    Spec(dims=('*batch',), kind='integer', markers=(Index(dim='classes'),), optional=False)
    """
    origin, parts = get_origin(annotation), get_args(annotation)
    if origin is Annotated:
        inner = spec(parts[0])
        return inner._replace(markers=parts[1:]) if isinstance(inner, Spec) else inner
    if origin in (Union, UnionType):
        array, *others = [spec(part) for part in parts if part is not NoneType]
        return array._replace(optional=True) if isinstance(array, Spec) and not others else None
    if is_typeddict(annotation):
        hints = get_type_hints(annotation, include_extras=True)
        named = {step: spec(hint) for step, hint in hints.items()}
        return None if None in named.values() else named
    if origin is tuple:
        found = tuple(spec(part) for part in parts)
        return None if None in found else found
    if not hasattr(annotation, "dim_str"):
        return None
    dims = tuple(annotation.dim_str.split())
    for dim in dims:
        if not re.fullmatch(r"\*?[^\W\d]\w*|\d+|\.\.\.", dim):
            raise TypeError(
                f"dimension {dim!r} of {annotation.__name__}: only names, sizes, _, *names and ... "
                "are understood"
            )
    dtypes = annotation.dtypes
    kind = "floating" if "float32" in dtypes else "boolean" if "bool" in dtypes else "integer"
    return Spec(dims, kind, ())
