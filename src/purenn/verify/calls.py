"""A rule is called, and what it returns is held against its contract."""

import contextlib
import inspect
import warnings
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

import jax
import numpy as np

from purenn.typing import Array
from purenn.verify import annotations, draw
from purenn.verify.examples import Example, Fixed, is_differentiable, is_traced, spell
from purenn.verify.rules import Rule, fixed_arguments


class Failure(AssertionError):
    """A check that a rule did not pass: which, why, and lines of code that show it."""

    def __init__(self, check: str, reason: str, *lines: str) -> None:
        super().__init__(reason)
        self.check, self.reason, self.lines = check, reason, list(lines)


class Answer(NamedTuple):
    """A rule's value and cotangents, leaf by leaf."""

    value: list[Array]
    cotangents: list[Array | None]
    """Per leaf that a reference is given; ``None`` where nothing is asked."""


class Outputs(NamedTuple):
    """What the value must look like."""

    treedef: Any
    leaves: tuple[tuple[tuple[int, ...], np.dtype[Any]], ...]


@contextlib.contextmanager
def quietly(wide: bool) -> Iterator[None]:
    """Without warnings, and with JAX in 64 bits if ``wide``, as a rule is called."""
    with (
        jax.enable_x64(wide),
        jax.default_matmul_precision("highest"),
        np.errstate(all="ignore"),
        warnings.catch_warnings(),
    ):
        warnings.simplefilter("ignore")
        yield


def is_wide(example: Example) -> bool:
    """Whether an example is in double precision."""
    return example.dtype == "float64"


def given(example: Example, signature: annotations.Signature) -> tuple[Any, ...]:
    """The primals as the rule is given them: read-only, laid out, as JAX arrays if it says so."""
    lay_out = draw.LAYOUTS[example.layout]

    def leaf(x: Any, to_jax: bool) -> Any:
        if isinstance(x, Fixed):
            return x.value
        if not isinstance(x, np.ndarray):
            return x
        if to_jax:
            return jax.numpy.asarray(x)
        laid = lay_out(x)
        laid = laid.copy() if laid is x else laid
        laid.setflags(write=False)
        return laid

    found = []
    for primal, its in zip(example.primals, signature.positional.values(), strict=True):
        to_jax = any(one.holder is jax.Array for one in annotations.leaves([its]))
        found.append(jax.tree.map(lambda x, j=to_jax: leaf(x, j), primal))
    return tuple(found)


def call(
    rule: Rule, example: Example, outputs: Outputs, signature: annotations.Signature
) -> Answer:
    """The rule's value and cotangents for an example, of which the contract holds.

    Raises:
        Failure: the result is no ``(y, pullback)``, the pullback's no tuple of one cotangent per
            argument in its primal's shape, dtype and tree.
    """
    with quietly(is_wide(example)):
        primals = given(example, signature)
        y, pullback = _pair(rule, primals, example)
        value = value_leaves(y, outputs, "y")
        dy = cotangent_of(example, outputs, y)
        return Answer(value, cotangent_leaves(rule, example, pullback(dy)))


def cotangent_of(example: Example, outputs: Outputs, y: Any) -> Any:
    """dy as the pullback is given it: the tree of ``y``, read-only."""
    is_jax = any(isinstance(leaf, jax.Array) for leaf in jax.tree.leaves(y))
    leaves: list[Any] = []
    for dy in example.cotangents:
        laid = draw.LAYOUTS[example.layout](dy)
        laid = laid.copy() if laid is dy else laid
        laid.setflags(write=False)
        leaves.append(jax.numpy.asarray(dy) if is_jax and dy.dtype != jax.dtypes.float0 else laid)
    return jax.tree.unflatten(outputs.treedef, leaves)


def _pair(rule: Rule, primals: tuple[Any, ...], example: Example) -> tuple[Any, Callable[..., Any]]:
    result = rule.f_vjp(*primals, **dict(example.static))
    if not (isinstance(result, tuple) and len(result) == 2 and callable(result[1])):
        raise Failure(
            "contract",
            f"returned {describe(result)}, expected the pair (y, {_SECOND[rule.convention]})",
            "assert isinstance(result, tuple) and len(result) == 2, type(result)",
        )
    return result


_SECOND = {"fwd_bwd": "residuals"} | dict.fromkeys(
    ("vjp", "grad", "jvp", "custom_vjp", "custom_jvp"), "pullback"
)


def value_leaves(y: Any, outputs: Outputs, name: str) -> list[Array]:
    """The leaves of a value, each of the shape and dtype that the reference gives it.

    Raises:
        Failure: they are not.
    """
    flat, treedef = jax.tree.flatten(y)
    if treedef != outputs.treedef and len(flat) != len(outputs.leaves):
        raise Failure("contract", f"{name} is {describe(y)}, expected a tree of {outputs.treedef}")
    if _kinds(y) != _kinds(jax.tree.unflatten(outputs.treedef, flat)):
        raise Failure("contract", f"{name} is {describe(y)}, expected a tree of {outputs.treedef}")
    paths = [spell(path) for path, _ in jax.tree_util.tree_leaves_with_path(y)]
    return [
        like(name + path, leaf, *its)
        for path, leaf, its in zip(paths, flat, outputs.leaves, strict=True)
    ]


def _kinds(tree: Any) -> Any:
    """The nesting of a tree, with any sequence for a tuple."""
    if isinstance(tree, dict):
        return {key: _kinds(value) for key, value in tree.items()}
    if isinstance(tree, tuple | list):
        return tuple(_kinds(value) for value in tree)
    return None


def cotangent_leaves(rule: Rule, example: Example, cotangents: Any) -> list[Array | None]:
    """One cotangent per leaf that a reference is given, of its shape and dtype.

    Raises:
        Failure: they are no tuple of one per argument, or do not fit it.
    """
    count = len(example.primals)
    if not isinstance(cotangents, tuple):
        raise Failure(
            "contract",
            f"{_WHO[rule.convention]} returned {describe(cotangents)}, expected a tuple, "
            "one per argument",
            "assert isinstance(cotangents, tuple), type(cotangents)",
        )
    if rule.convention == "grad" and len(cotangents) < count:
        cotangents = (*cotangents, *[None] * (count - len(cotangents)))
    elif len(cotangents) != count:
        defaults = _count_of_arguments(rule)
        if len(cotangents) != defaults:
            raise Failure(
                "contract",
                f"{_WHO[rule.convention]} returned {len(cotangents)} cotangents, expected {count}, "
                "one per argument",
                f"assert len(cotangents) == {count}, len(cotangents)",
            )
        cotangents = cotangents[:count]
    found: list[Array | None] = []
    for i, cotangent in enumerate(cotangents):
        found += _of_argument(rule, example, i, cotangent)
    return found


_WHO = {
    "vjp": "the pullback",
    "fwd_bwd": "the backward function",
    "grad": "the gradient function",
    "jvp": "",
    "custom_vjp": "jax.vjp",
    "custom_jvp": "jax.vjp",
}


def _of_argument(rule: Rule, example: Example, i: int, cotangent: Any) -> list[Array | None]:
    name, code, primal = f"d{example.names[i]}", f"cotangents[{i}]", example.primals[i]
    traced = [x for x in jax.tree.leaves(primal) if is_traced(x)]
    asked = any(is_differentiable(np.asarray(x)) for x in traced)
    if not traced or (rule.convention == "grad" and cotangent is None):
        if cotangent is not None and not traced and not _is_nothing(cotangent):
            raise Failure(
                "contract",
                f"{name} is {describe(cotangent)}, expected None for what is no float",
                f"assert {code} is None",
            )
        return [None] * len(traced)
    if cotangent is None:
        if not asked or rule.convention == "fwd_bwd":  # where None stands for zeros
            return [np.zeros_like(x) if is_differentiable(np.asarray(x)) else None for x in traced]
        raise Failure(
            "contract",
            f"{name} is None, expected {describe(primal)}",
            f"assert {code} is not None",
        )
    if _kinds(primal) != _kinds(cotangent):
        raise Failure(
            "contract",
            f"{name} is {describe(cotangent)}, expected {describe(primal)}",
            f"assert jax.tree.structure({code}) == jax.tree.structure({example.names[i]}), {code}",
        )
    found: list[Array | None] = []
    flat = jax.tree.flatten(cotangent, is_leaf=lambda x: x is None)[0]
    pairs = zip(jax.tree_util.tree_leaves_with_path(primal), flat, strict=True)
    for (path, x), dx in pairs:
        if not is_traced(x):
            continue
        where = spell(path)
        if not is_differentiable(np.asarray(x)):
            if not _is_nothing(dx):
                raise Failure(
                    "contract",
                    f"{name}{where} is {describe(dx)}, expected None for integers",
                    f"assert {code}{where} is None",
                )
            found.append(None)
        elif isinstance(x, float):
            found.append(like_number(f"{name}{where}", dx).astype(example.dtype))
        else:
            found.append(like(f"{name}{where}", dx, x.shape, x.dtype, f"{code}{where}"))
    return found


def _is_nothing(x: Any) -> bool:
    """Whether this is what stands for the cotangent of an integer."""
    return x is None or getattr(x, "dtype", None) == jax.dtypes.float0


def like(name: str, x: Any, shape: tuple[int, ...], dtype: np.dtype[Any], code: str = "") -> Array:
    """``x`` as a NumPy array, if it has this shape and dtype."""
    if isinstance(x, float | int) and shape == () and not isinstance(x, np.generic):
        x = np.asarray(x, dtype)
    array = np.asarray(x) if hasattr(x, "__array__") else x
    if isinstance(array, np.ndarray) and array.dtype.kind in "iu" and dtype.kind in "iu":
        dtype = array.dtype  # NumPy's integers are wider than JAX's
    if not isinstance(array, np.ndarray) or array.shape != shape or array.dtype != dtype:
        code = code or name
        shows = (
            f"assert isinstance({code}, np.ndarray), type({code})"
            if not isinstance(array, np.ndarray)
            else f"assert {code}.shape == {shape}, {code}.shape"
            if array.shape != shape
            else f"assert {code}.dtype == {dtype.name!r}, {code}.dtype"
        )
        wanted = describe(np.empty(shape, dtype))
        raise Failure("contract", f"{name} is {describe(array)}, expected {wanted}", shows)
    return array


def like_number(name: str, x: Any) -> Array:
    """The cotangent of a Python float: a float too, or an array of rank 0 of any precision."""
    array = np.asarray(x) if hasattr(x, "__array__") or isinstance(x, float | int) else None
    if array is None or array.shape != () or array.dtype.kind not in "fiV":
        raise Failure("contract", f"{name} is {describe(x)}, expected a number")
    return array.astype(np.float64)


def describe(x: object) -> str:
    """What ``x`` is, in words."""
    if isinstance(x, np.ndarray | jax.Array):
        return f"an array of shape {x.shape} and dtype {x.dtype}"
    if isinstance(x, dict):
        return f"a dict of {', '.join(map(str, x)) or 'nothing'}"
    if isinstance(x, tuple):
        return f"a tuple of {len(x)}"
    return "None" if x is None else f"a {type(x).__name__}"


def _count_of_arguments(rule: Rule) -> int:
    """How many positional arguments there are, those at their defaults too."""
    kinds = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
    parameters = inspect.signature(rule.derivative).parameters.values()
    return sum(parameter.kind in kinds for parameter in parameters)


def moving(example: Example, rule: Rule) -> Example:
    """The example with what a rule is not differentiated by held fixed."""
    fixed = fixed_arguments(rule)
    primals = tuple(Fixed(x) if i in fixed else x for i, x in enumerate(example.primals))
    return example._replace(primals=primals)


def bits(arrays: Sequence[Array | None]) -> list[bytes | None]:
    """The bits of arrays, to compare them by."""
    return [None if x is None else x.tobytes() for x in arrays]
