"""Who says what is right: a function that is traced and evaluated exactly, or what comes near."""

from collections.abc import Callable, Sequence
from functools import cache, wraps
from typing import Any, NamedTuple, TypeVar

import jax
import numpy as np

from purenn.typing import Array
from purenn.verify import exact
from purenn.verify.calls import Outputs, is_wide, quietly
from purenn.verify.examples import Example, Structure, is_differentiable
from purenn.verify.primitives import UnknownPrimitiveError

Function = Callable[..., Any]

_Told = TypeVar("_Told")

_LAST = 16
"""How many answers are remembered."""


class OracleError(Exception):
    """The reference raises, or does not fit the rule."""


class Oracle(NamedTuple):
    """Who says what is right."""

    function: Function
    """The forward function."""
    kind: str
    """``exact``, ``float64`` or ``numeric``."""
    note: str = ""
    """Why it is not exact."""


@cache
def choose(
    reference: Function | None,
    own: Function | None,
    structure: Structure,
    dtype: str,
    is_jax: bool,
) -> Oracle:
    """The strongest oracle that there is for a function.

    The reference, or the rule's own function if that is written in JAX, is traced and evaluated
    exactly; where a primitive has no exact rule, autodiff in float64 stands in. A function that
    JAX cannot trace is differentiated numerically.

    Raises:
        OracleError: there is no function to differentiate.
    """
    function = reference or (own if is_jax else None)
    if function is not None:
        try:
            trace = trace_of(function, structure, dtype)
            oracle = Oracle(function, "exact", "" if reference else "its own function, in JAX")
        except (jax.errors.TracerArrayConversionError, jax.errors.ConcretizationTypeError):
            return Oracle(function, "numeric", "the reference is not written in JAX")
        try:
            example = [
                np.full(x.shape, 0.5, x.dtype) if is_differentiable(x) else x
                for x in blank(structure)
            ]
            with quietly(True):
                exact.evaluate(trace, example, [None] * len(example), 8)
        except UnknownPrimitiveError as error:
            return Oracle(function, "float64", str(error))
        except ArithmeticError:
            pass
        return oracle
    if own is not None:
        return Oracle(own, "numeric", "no reference")
    raise OracleError("there is nothing to hold it against: neither its function nor a reference")


def remembered(ask: Callable[[Oracle, Example], _Told]) -> Callable[[Oracle, Example], _Told]:
    """``ask``, which knows its last answers still.

    The same is asked again where mistakes are seeded into a rule, and where its layout or a known
    mistake may explain a failure.
    """
    known: dict[Any, _Told] = {}

    @wraps(ask)
    def asked(oracle: Oracle, example: Example) -> _Told:
        key = oracle, example.dtype, example._replace(layout="C").bits
        if key not in known:
            told = ask(oracle, example)
            if len(known) == _LAST:
                del known[next(iter(known))]
            known[key] = told
        return known[key]

    return asked


def outputs(oracle: Oracle, example: Example) -> Outputs:
    """What the value must look like.

    Raises:
        OracleError: the function raises on inputs like these.
    """
    if oracle.kind == "numeric":
        with quietly(is_wide(example)):
            try:
                y = example.structure.flat(oracle.function)
                tree = oracle.function(
                    *example.structure.primals(example.arrays), **dict(example.static)
                )
                leaves = [np.asarray(leaf) for leaf in y(*example.arrays)]
            except Exception as error:
                raise OracleError(str(error)) from error
        return Outputs(jax.tree.structure(tree), tuple((x.shape, x.dtype) for x in leaves))
    return _outputs(oracle.function, example.structure, is_wide(example))


@cache
def _outputs(function: Function, structure: Structure, wide: bool) -> Outputs:
    def run(*arrays: Any) -> Any:
        static = {name: fixed.value for name, fixed in structure.static}
        return function(*structure.primals(arrays), **static)

    with quietly(wide):
        found = jax.eval_shape(run, *blank(structure))
    flat, treedef = jax.tree.flatten(found)
    for leaf in flat:
        if not hasattr(leaf, "shape"):
            raise OracleError(f"the reference returned a {type(leaf).__name__}, expected arrays")
    return Outputs(treedef, tuple((tuple(x.shape), np.dtype(x.dtype)) for x in flat))


@cache
def trace_of(function: Function, structure: Structure, dtype: str) -> Any:
    """The reference's trace, in float64 unless its constants depend on the dtype."""
    flat = structure.flat(function)
    with quietly(True):
        wide = jax.make_jaxpr(flat)(*blank(structure, "float64"))
    if dtype == "float64":
        return wide
    with quietly(False):
        own = jax.make_jaxpr(flat)(*blank(structure))
    return wide if _same_constants(wide, own) else own


def _same_constants(wide: Any, own: Any) -> bool:
    """Whether two traces have the same numbers in them, but for rounding."""
    one, other = list(_numbers(wide.jaxpr)), list(_numbers(own.jaxpr))
    one += [np.asarray(c) for c in wide.consts]
    other += [np.asarray(c) for c in own.consts]
    return len(one) == len(other) and all(
        a.shape == b.shape
        and np.allclose(
            a.astype(np.float64), b.astype(np.float64), rtol=1e-2, atol=0, equal_nan=True
        )
        for a, b in zip(one, other, strict=True)
    )


def _numbers(jaxpr: Any) -> Any:
    for equation in jaxpr.eqns:
        for atom in equation.invars:
            if hasattr(atom, "val"):
                yield np.asarray(atom.val)
        for value in equation.params.values():
            body = getattr(value, "jaxpr", value)
            if hasattr(body, "eqns"):
                yield from _numbers(body)


def blank(structure: Structure, dtype: str | None = None) -> list[Array]:
    """Arrays of the structure's shapes, floating ones in another dtype if one is given."""
    return [
        np.zeros(hole.shape, dtype if dtype and is_floating(hole.dtype) else hole.dtype)
        for hole in structure.arrays
    ]


def is_floating(dtype: str) -> bool:
    """Whether arrays of a dtype are differentiated by."""
    return bool(jax.numpy.issubdtype(dtype, np.floating))


def split(arrays: Sequence[Array]) -> tuple[list[Array], list[Array]]:
    """What is differentiated by, and what is not."""
    moving = [x for x in arrays if is_differentiable(x)]
    return moving, [x for x in arrays if not is_differentiable(x)]


def joined(structure: Structure, moving: Sequence[Any], fixed: Sequence[Any]) -> list[Any]:
    """All arrays of a structure in their order, from what is differentiated by and the rest."""
    one, other = iter(moving), iter(fixed)
    return [next(one) if is_floating(hole.dtype) else next(other) for hole in structure.arrays]
