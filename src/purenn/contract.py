"""The door in front of a rule: what its annotations ask for, enforced once.

``@rule`` reads the annotations of a rule and refuses what does not fit, by name, before any
arithmetic. A composite that has already let its arguments in calls ``unchecked(rule)``, so a
training step does not pay at every layer.
"""

import functools
import inspect
import math
import operator
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from numbers import Real
from types import MappingProxyType
from typing import Any, ParamSpec, TypeAlias, TypeVar, cast, get_type_hints

import numpy as np

from purenn.errors import DomainError, DtypeError, ShapeError, TreeError
from purenn.typing import Array, Index, Interval, Pullback, Shape, Spec, Specs, spec

P = ParamSpec("P")
R = TypeVar("R")


def rule(function: Callable[P, R]) -> Callable[P, R]:
    """Put the door in front of ``function``; that of ``f_vjp`` guards the pullback too.

    Raises, when the returned function is called:
        DtypeError: an argument is no NumPy array, is not of the annotated kind, or the floating
            arguments do not share one dtype.
        ShapeError: a rank or a size does not fit the annotation, or a named dimension has two
            sizes.
        DomainError: a value lies outside its ``Interval`` or ``Index``.
        TreeError: a parameter dict does not have the keys of its ``TypedDict``, or a tuple is none.
    """
    name = function.__name__
    signature = inspect.signature(function)
    positional = [
        argument.name
        for argument in signature.parameters.values()
        if argument.kind is argument.POSITIONAL_OR_KEYWORD
    ]

    @functools.cache
    def specs() -> dict[str, Specs]:
        hints = get_type_hints(inspect.unwrap(function), include_extras=True)
        found = {argument: spec(hints.get(argument)) for argument in signature.parameters}
        return {argument: its for argument, its in found.items() if its is not None}

    known: dict[Kinds, Sizes] = {}

    @functools.cache
    def marked() -> list[tuple[int, str, object]]:
        """Which arguments have a domain, where all are arrays."""
        return [
            (i, argument, marker)
            for i, argument in enumerate(positional)
            if isinstance(its := specs().get(argument), Spec)
            for marker in its.markers
        ]

    def let_in(args: Any, kwargs: Any) -> None:
        kinds = None if kwargs else kinds_of(args)
        if kinds is not None and kinds in known:
            for i, argument, marker in marked():
                if i < len(args):
                    check_domain(name, argument, args[i], marker, known[kinds])
            return
        if len(args) == len(positional):
            arguments = {**dict(zip(positional, args, strict=True)), **kwargs}
        else:
            arguments = signature.bind(*args, **kwargs).arguments
        sizes = admit(name, specs(), arguments)
        if kinds is not None:
            remember(known, kinds, sizes)

    is_vjp = name.endswith("_vjp")

    @functools.wraps(function)
    def door(*args: P.args, **kwargs: P.kwargs) -> R:
        let_in(args, kwargs)
        out = function(*args, **kwargs)
        return cast(R, guarded(name, *cast(Any, out))) if is_vjp else out

    return door


Kinds: TypeAlias = tuple[Any, ...]
"""Shapes and dtypes of arrays: all that a check looks at, unless there is a domain."""

Sizes: TypeAlias = dict[str, int | Shape]
"""Those of named dimensions."""


def kinds_of(args: Iterable[Any]) -> Kinds | None:
    """The kinds of arrays; None if there is anything else among them."""
    for x in args:
        if type(x) is not np.ndarray:
            return None
    return tuple([(x.shape, x.dtype) for x in args])


def kinds_of_tree(tree: dict[Any, Any], found: list[Any]) -> bool:
    """Add the kinds of the arrays in nested dicts, with their keys; False if there is more."""
    for step, child in tree.items():
        if type(child) is np.ndarray:
            found += (step, child.shape, child.dtype)
        elif type(child) is dict:
            found += (step, len(child))
            if not kinds_of_tree(child, found):
                return False
        else:
            return False
    return True


def remember(known: dict[Any, R], kinds: Kinds, found: R, most: int = 256) -> None:
    """Keep what was found about a few kinds, so that a loop asks only once."""
    if len(known) >= most:
        known.clear()
    known[kinds] = found


def unchecked(function: Callable[P, R]) -> Callable[P, R]:
    """The rule behind the door; a function that has none is returned as it is."""
    return getattr(function, "__wrapped__", function)  # a cast would be evaluated at every call


def guarded(name: str, y: Any, pullback: Pullback) -> tuple[Any, Pullback]:
    """``(y, pullback)`` with a pullback that refuses a cotangent which does not fit ``y``."""
    shape, dtype = getattr(y, "shape", None), getattr(y, "dtype", None)

    def door(dy: Any) -> tuple[Any, ...]:
        if type(dy) is not np.ndarray or dy.dtype is not dtype or dy.shape != shape:
            check_cotangent(name, dy, y)
        return pullback(dy)

    return y, door


def admit(
    name: str,
    specs: Mapping[str, Specs],
    arguments: Mapping[str, Any],
    known: Mapping[str, int | Shape] = MappingProxyType({}),
) -> Sizes:
    """Refuse ``arguments`` unless each fits its spec and all agree about the dimensions.

    ``known`` are sizes of dimensions that are settled before. Those that are found are returned.
    """
    given = [
        leaf
        for argument, its in specs.items()
        if argument in arguments  # else it has its default
        for leaf in _leaves(name, argument, arguments[argument], its)
    ]
    sizes = {**known}
    first: tuple[str, Array] | None = None
    for argument, x, its in given:
        check_array(name, argument, x)
        if its.kind == "floating":
            check_floating(name, argument, x)
            first = first or (argument, x)
            if x.dtype != first[1].dtype:
                raise DtypeError(
                    f"{name}: {argument} has dtype {x.dtype} and {first[0]} {first[1].dtype}; "
                    "all floating arguments share one dtype"
                )
        elif x.dtype.kind not in _KINDS[its.kind]:
            raise DtypeError(
                f"{name}: {argument} has dtype {x.dtype}, expected {_A_DTYPE[its.kind]}"
            )
        _bind(name, argument, x.shape, its.dims, sizes)
    # Annotations show the last axis: along another one the rule itself looks after its labels.
    moved = arguments.get("axis", -1) != -1
    for argument, x, its in given:
        for marker in its.markers:
            if not (moved and isinstance(marker, Index)):
                check_domain(name, argument, x, marker, sizes)
    return sizes


_KINDS = {"integer": "iu", "boolean": "b"}
_A_DTYPE = {"integer": "an integer dtype", "boolean": "bool"}


def _leaves(name: str, argument: str, x: Any, its: Specs) -> Iterator[tuple[str, Array, Spec]]:
    """The arrays in ``x``, each with its path and what is asked of it."""
    if isinstance(its, Spec):
        if not (x is None and its.optional):
            yield argument, x, its
    elif isinstance(its, dict):
        check_keys(name, argument, x, its)
        for step, child in its.items():
            yield from _leaves(name, f'{argument}["{step}"]', x[step], child)
    else:
        check_tuple(name, argument, x, len(its))
        for i, child in enumerate(its):
            yield from _leaves(name, f"{argument}[{i}]", x[i], child)


def check_cotangent(name: str, dy: Any, y: Any, argument: str = "dy") -> None:
    """Refuse a cotangent that does not have the tree, shapes and dtypes of ``y``."""
    like = argument[1:]
    if isinstance(y, tuple):
        check_tuple(name, argument, dy, len(y))
        for i, part in enumerate(y):
            check_cotangent(name, dy[i], part, f"{argument}[{i}]")
        return
    check_array(name, argument, dy)
    if dy.shape != y.shape:
        raise ShapeError(
            f"{name}: {argument} has shape {dy.shape}, expected that of {like}, {y.shape}"
        )
    if dy.dtype != y.dtype:
        raise DtypeError(
            f"{name}: {argument} has dtype {dy.dtype}, expected that of {like}, {y.dtype}"
        )


def check_keys(name: str, argument: str, tree: object, keys: Collection[str]) -> None:
    """Refuse anything but a dict that has just these keys."""
    if not isinstance(tree, dict):
        raise TreeError(f"{name}: {argument} is a {type(tree).__name__}, expected a dict")
    if len(tree) != len(keys) or not all(map(tree.__contains__, keys)):
        raise TreeError(f"{name}: {argument} has keys {[*tree]}, expected {[*keys]}")


def check_tuple(name: str, argument: str, x: object, length: int) -> None:
    """Refuse anything but a tuple of ``length``."""
    if not isinstance(x, tuple):
        raise TreeError(f"{name}: {argument} is a {type(x).__name__}, expected a tuple of {length}")
    if len(x) != length:
        raise TreeError(f"{name}: {argument} is a tuple of {len(x)}, expected one of {length}")


def check_array(name: str, argument: str, x: object) -> None:
    """Refuse anything but a NumPy array; one with a mask or an algebra of its own is none."""
    if type(x) is np.ndarray:
        return
    if not isinstance(x, np.ndarray) or isinstance(x, np.ma.MaskedArray | np.matrix):
        raise DtypeError(
            f"{name}: {argument} is a {type(x).__name__}, expected a NumPy array "
            "(numpy.asarray makes one)"
        )


def check_broadcasts(name: str, argument: str, x: Array, shape: Shape, told: str) -> None:
    """Refuse an array that does not broadcast to ``shape``, which the message calls ``told``."""
    try:
        np.broadcast_to(x, shape)
    except ValueError:
        raise ShapeError(
            f"{name}: {argument} has shape {x.shape}, expected one that broadcasts to {told}"
        ) from None


def check_floating(name: str, argument: str, x: Array) -> None:
    """Refuse a dtype that has no derivative, or more digits than the rules keep."""
    if x.dtype.char in "efd" and x.dtype.isnative:  # the name of a dtype takes long to make up
        return
    if x.dtype.name not in ("float16", "bfloat16", "float32", "float64"):
        raise DtypeError(
            f"{name}: {argument} has dtype {x.dtype}, expected a floating dtype "
            "(x.astype(numpy.float32), say)"
        )
    if not x.dtype.isnative:
        raise DtypeError(f"{name}: {argument} has dtype {x.dtype}, expected native byte order")


def check_floating_dtype(name: str, argument: str, value: Any) -> None:
    """Refuse what names no dtype that the rules keep; None, NumPy's float64, is one."""
    try:
        dtype = np.dtype(value)
    except TypeError:
        raise DtypeError(f"{name}: {argument} is {value!r}, expected a floating dtype") from None
    check_floating(name, argument, np.empty(0, dtype))


def check_function(name: str, argument: str, value: object) -> None:
    """Refuse what cannot be called."""
    if not callable(value):
        raise DtypeError(f"{name}: {argument} is {value!r}, expected a function")


def check_integer(name: str, argument: str, value: object, *, least: int | None = None) -> int:
    """Refuse anything but an int, Python's or NumPy's, of at least ``least``; a bool is none."""
    if isinstance(value, bool | np.bool_) or not isinstance(value, int | np.integer):
        raise DtypeError(f"{name}: {argument} is {value!r}, expected an int")
    if least is not None and value < least:
        raise DomainError(f"{name}: {argument} is {value}, expected at least {least}")
    return int(value)


def check_number(
    name: str,
    argument: str,
    value: object,
    *,
    gt: float | None = None,
    ge: float | None = None,
    lt: float | None = None,
    le: float | None = None,
) -> float:
    """Refuse anything but a finite number, Python's or NumPy's, within bounds; a bool is none.

    An option of a rule is a number and not an array of them: it cannot change a shape.
    """
    if isinstance(value, bool | np.bool_) or not isinstance(value, Real | np.floating):
        raise DtypeError(f"{name}: {argument} is {value!r}, expected a number")
    number = float(value)
    bounds = [("> ", gt), ("≥ ", ge), ("< ", lt), ("≤ ", le)]
    given = [(sign, end) for sign, end in bounds if end is not None]
    inside = math.isfinite(number) and all(_WITHIN[sign](number, end) for sign, end in given)
    if not inside:
        expected = " and ".join(f"{sign}{end}" for sign, end in given)
        raise DomainError(
            f"{name}: {argument} is {value}, expected a finite number {expected}".rstrip()
        )
    return number


_WITHIN = {"> ": operator.gt, "≥ ": operator.ge, "< ": operator.lt, "≤ ": operator.le}


def _bind(
    name: str, argument: str, shape: Shape, dims: Sequence[str], sizes: dict[str, int | Shape]
) -> None:
    """Match ``shape`` with ``dims``, under the sizes found so far."""
    expected = f"({', '.join(dims)})"
    variadic = [i for i, dim in enumerate(dims) if dim[0] == "*" or dim == "..."]
    least = len(dims) - len(variadic)
    if len(shape) < least or (len(shape) > least and not variadic):
        raise ShapeError(
            f"{name}: {argument} has shape {shape}, which is of rank {len(shape)}; "
            f"expected {expected}"
        )
    if variadic:
        start, stop = variadic[0], len(shape) - (len(dims) - 1 - variadic[0])
        parts: list[int | Shape] = [*shape[:start], shape[start:stop], *shape[stop:]]
    else:
        parts = [*shape]
    for dim, size in zip(dims, parts, strict=True):
        known = int(dim) if dim.isdigit() else sizes.get(dim, size)
        if size != known:
            raise ShapeError(
                f"{name}: {argument} has shape {shape}; expected {expected} "
                f"with {dim.lstrip('*')} = {known}"
            )
        if dim not in ("_", "..."):
            sizes[dim] = size


_UNSIGNED = {1: np.uint8, 2: np.uint16, 4: np.uint32, 8: np.uint64}


def check_domain(
    name: str, argument: str, x: Array, marker: object, sizes: dict[str, int | Shape]
) -> None:
    """Refuse values outside an ``Interval`` or ``Index``; the first offender is named."""
    if isinstance(marker, Index):
        low, high = 0, int(cast(int, sizes[marker.dim])) - 1
        if x.dtype.isnative and x.size:  # a negative number is a large one without its sign
            word = _UNSIGNED[x.dtype.itemsize]
            if np.maximum.reduce(x.view(word), axis=None) <= high:
                return
        inside = (x >= low) & (x <= high)
        domain = f"0 to {high} ({marker.dim} − 1)"
    elif isinstance(marker, Interval):
        bounds = [
            ("> ", np.greater, marker.gt),
            ("≥ ", np.greater_equal, marker.ge),
            ("< ", np.less, marker.lt),
            ("≤ ", np.less_equal, marker.le),
        ]
        given = [(sign, test, cast(float, end)) for sign, test, end in bounds if end is not None]
        inside = np.all([test(x, end) for _, test, end in given], axis=0)
        domain = " and ".join(f"{sign}{end}" for sign, _, end in given)
    else:
        return
    if not inside.all():
        where = tuple(int(i) for i in np.argwhere(~inside)[0])
        raise DomainError(
            f"{name}: {argument}{list(where) if where else ''} is {x[where]}, expected {domain}"
        )
