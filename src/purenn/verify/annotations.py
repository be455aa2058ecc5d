"""What an annotation says about an argument, taken apart: the specification to draw from."""

import inspect
import re
import types
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import (
    Annotated,
    Any,
    Literal,
    NamedTuple,
    Union,
    get_args,
    get_origin,
    get_type_hints,
    is_typeddict,
)

import jax
import numpy as np
from annotated_types import GroupedMetadata
from hypothesis import strategies as st
from hypothesis.strategies import SearchStrategy

from purenn.typing import Index, OneOf

FLOATS = ("float32", "float64", "bfloat16", "float16")
"""The dtypes that a rule can be examined in."""

_NARROWEST_FIRST = ("int32", "int64", "int16", "int8", "uint32", "uint8", "uint16", "uint64")


class UnspecifiedError(TypeError):
    """An argument has no annotation that says what to draw."""


class Leaf(NamedTuple):
    """An array, or a Python number."""

    holder: type
    """``numpy.ndarray``, ``jax.Array``; ``float``, ``int`` or ``bool`` for a Python number."""
    dims: tuple[str, ...]
    dtypes: tuple[str, ...]
    """Those of :data:`FLOATS` that the annotation admits, or one integer or boolean dtype."""
    markers: tuple[Any, ...] = ()

    @property
    def floating(self) -> bool:
        """Whether it has a derivative."""
        return self.dtypes[0] in FLOATS


class Node(NamedTuple):
    """A container: how it is built from its children."""

    build: Callable[[Sequence[Any]], Any]
    children: tuple[Any, ...]


class Given(NamedTuple):
    """Values that somebody drew up: a strategy of their own, or a list of them."""

    strategy: SearchStrategy[Any]


class Case(NamedTuple):
    """What goes together."""

    sizes: dict[str, Any]
    """Of dimensions by name: a shape for a variadic one, which is named with its star."""
    static: dict[str, Any]
    """Values of keyword-only arguments."""


class Signature(NamedTuple):
    """What a rule takes."""

    positional: dict[str, Any]
    """Per primal a ``Leaf``, a ``Node`` or a ``Given``."""
    static: dict[str, SearchStrategy[Any]]
    """The keyword-only arguments that do not stay at their defaults."""
    cases: tuple[Case, ...] = ()
    """What goes together of sizes and keyword-only arguments, where not everything does."""


def signature(
    functions: Sequence[Callable[..., Any]],
    strategies: Mapping[str, SearchStrategy[Any]],
    cases: Sequence[Mapping[str, Any]] = (),
) -> Signature:
    """The arguments of the first function, annotated there or by another of the functions.

    ``strategies`` say what to draw for an argument, by name. A keyword-only argument stays at its
    default unless it has a strategy, is annotated with ``OneOf`` or is in ``cases``; so does a
    positional one that has a default and is no array or float.

    Raises:
        UnspecifiedError: an argument has neither an annotation that is understood nor a strategy,
            or a case names what is neither a dimension nor a keyword-only argument.
    """
    first = functions[0]
    hints = [_hints(function) for function in functions]
    positional: dict[str, Any] = {}
    static: dict[str, SearchStrategy[Any]] = {}
    parameters = _parameters(first)
    for place, (name, parameter) in enumerate(parameters.items()):
        annotation = next((h[name] for h in hints if name in h), None)
        if name in strategies:
            found: Any = Given(strategies[name])
        else:
            found = None if annotation is None else read(annotation)
        has_default = parameter.default is not parameter.empty
        if parameter.kind in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD):
            continue
        if parameter.kind is parameter.KEYWORD_ONLY:
            if cases and all(name in case for case in cases):
                continue
            if isinstance(found, Given):
                static[name] = found.strategy
            elif not has_default:
                raise UnspecifiedError(
                    f"{_name(first)}: keyword-only argument {name!r} has no default; give it one, "
                    f"or say what it can be: {name}: Annotated[int, OneOf(0, 1)], or in "
                    f"{_name(first).removesuffix('_vjp')}_cases"
                )
        elif found is not None and not (has_default and _is_setting(found)):
            positional[name] = found
        elif not has_default:
            raise UnspecifiedError(_unspecified(_name(first), name, place, annotation))
    unknown = set(strategies) - set(parameters)
    if unknown:
        raise UnspecifiedError(
            f"{_name(first)} has no argument {', '.join(sorted(unknown))}; "
            f"it has {', '.join(parameters)}"
        )
    dims = {dim.lstrip("#") for leaf in leaves(positional.values()) for dim in leaf.dims}
    for name, tree in positional.items():
        for marker in [m for leaf in leaves([tree]) for m in leaf.markers]:
            if isinstance(marker, Index) and marker.dim not in dims:
                raise UnspecifiedError(
                    f"{_name(first)}: {name} has Index({marker.dim!r}), which is no dimension of "
                    f"an argument; there are {', '.join(sorted(dims))}"
                )
    keywords = {name for name, p in parameters.items() if p.kind is p.KEYWORD_ONLY}
    return Signature(positional, static, _cases(_name(first), cases, dims, keywords))


def _cases(
    function: str, cases: Sequence[Mapping[str, Any]], dims: set[str], keywords: set[str]
) -> tuple[Case, ...]:
    """Each case taken apart into sizes of dimensions and values of keyword-only arguments."""
    known = {name.lstrip("*"): name for dim in dims for name in names_in(dim)}
    found = []
    for case in cases:
        unknown = set(case) - set(known) - keywords
        if unknown:
            raise UnspecifiedError(
                f"{function}: a case names {', '.join(sorted(unknown))}, expected dimensions "
                f"({', '.join(sorted(known))}) and keyword-only arguments "
                f"({', '.join(sorted(keywords))})"
            )
        sizes = {known[name]: case[name] for name in case if name not in keywords}
        found.append(Case(sizes, {name: case[name] for name in case if name in keywords}))
    return tuple(found)


def names_in(dim: str) -> list[str]:
    """The names in a dimension, that of a variadic one with its star."""
    return [dim] if is_variadic(dim) else re.findall(r"[^\W\d]\w*", dim)


def is_variadic(dim: str) -> bool:
    """Whether the dimension stands for any number of them."""
    return dim.lstrip("#").startswith("*") or dim == "..."


def leaves(trees: Any) -> Iterator[Leaf]:
    """The leaves in trees of specifications."""
    for tree in trees:
        if isinstance(tree, Leaf):
            yield tree
        elif isinstance(tree, Node):
            yield from leaves(tree.children)


def read(annotation: Any, markers: tuple[Any, ...] = ()) -> Any:
    """The specification that an annotation stands for, ``None`` where it says too little."""
    origin, arguments = get_origin(annotation), get_args(annotation)
    if origin is Annotated:
        inner, *more = arguments
        for marker in more:
            if isinstance(marker, SearchStrategy):
                return Given(marker)
            if isinstance(marker, OneOf):
                return Given(_one_of(marker.values))
        return read(inner, (*markers, *_flat(more)))
    if origin is Literal:
        return Given(_one_of(arguments))
    if origin in (Union, types.UnionType):
        return next((found for a in arguments if (found := read(a, markers)) is not None), None)
    if hasattr(annotation, "dim_str"):
        return _array(annotation, markers)
    if annotation in (float, int, bool):
        dtypes = {float: FLOATS, int: ("int32",), bool: ("bool",)}[annotation]
        return Leaf(annotation, (), dtypes, markers)
    if is_typeddict(annotation):
        hints = get_type_hints(annotation, include_extras=True)
        names = sorted(hints)
        return _node(lambda xs: dict(zip(names, xs, strict=True)), [hints[n] for n in names])
    if isinstance(annotation, type) and hasattr(annotation, "_fields"):
        hints = get_type_hints(annotation, include_extras=True)
        return _node(lambda xs: annotation(*xs), [hints.get(n) for n in annotation._fields])
    if origin is tuple and arguments and arguments[-1] is not Ellipsis:
        return _node(tuple, arguments)
    if origin is list or (origin is tuple and arguments):
        return _node(origin, [arguments[0]] * 2)
    return None


def _node(build: Callable[[Sequence[Any]], Any], annotations: Sequence[Any]) -> Node | None:
    children = tuple(read(annotation) for annotation in annotations)
    return None if None in children else Node(build, children)


def _array(annotation: Any, markers: tuple[Any, ...]) -> Leaf | None:
    names = annotation.dtypes
    names = (*FLOATS, "int32") if not isinstance(names, (tuple, list)) else tuple(names)
    dtypes = tuple(name for name in FLOATS if name in names)
    if not dtypes:
        dtypes = tuple(name for name in (*_NARROWEST_FIRST, "bool") if name in names)[:1]
    if not dtypes:
        return None
    holder = annotation.array_type
    try:
        is_jax = issubclass(holder, jax.Array)
    except TypeError:
        is_jax = False
    return Leaf(jax.Array if is_jax else np.ndarray, _dims(annotation.dim_str), dtypes, markers)


def _dims(text: str) -> tuple[str, ...]:
    """Dimensions as jaxtyping writes them; ``name=3`` is 3, and ``_`` is named by its place."""
    dims = [dim.split("=")[-1] for dim in text.split()]
    return tuple(f"_{i}" if dim in ("_", "#_") else dim for i, dim in enumerate(dims))


def _flat(markers: Sequence[Any]) -> Iterator[Any]:
    """Markers with annotated-types' groups opened, such as ``Interval`` into ``Ge`` and ``Lt``."""
    for marker in markers:
        if isinstance(marker, GroupedMetadata):
            yield from _flat(list(marker))
        else:
            yield marker


def _one_of(values: Sequence[Any]) -> SearchStrategy[Any]:
    return st.sampled_from(list(values))


def _is_setting(found: Any) -> bool:
    """Whether an argument with a default is there to be set rather than differentiated."""
    return isinstance(found, Leaf) and found.holder in (int, bool)


def _parameters(function: Callable[..., Any]) -> Mapping[str, inspect.Parameter]:
    return inspect.signature(function).parameters


def _hints(function: Callable[..., Any]) -> dict[str, Any]:
    try:
        hints = get_type_hints(inspect.unwrap(function), include_extras=True)
    except (TypeError, AttributeError):
        hints = {}
    hints.pop("return", None)
    return hints


def _name(function: Callable[..., Any]) -> str:
    return getattr(function, "__name__", type(function).__name__)


def _unspecified(function: str, name: str, place: int, annotation: Any) -> str:
    told = "has no annotation" if annotation is None else f"is annotated with {annotation!r}"
    what = (
        f'{name}: Float[np.ndarray, "*batch n"]'
        if place == 0
        else f'{name}: Float[np.ndarray, "n"]'
    )
    return (
        f"{function}: argument {name!r} {told}, which does not say what to draw; annotate it, as "
        f"in {what} (jaxtyping), or give a strategy: {name}: Annotated[..., strategy]"
    )
