"""Maps and folds over nested parameter dicts.

A tree is an array, or a dict, list, tuple or named tuple of trees; ``None`` is the tree without
leaves. The leaves of a dict come in the order of its sorted keys, those of an OrderedDict in its
own, as in ``jax.tree_util``, so that :func:`ravel` lays out the same vector as
``jax.flatten_util.ravel_pytree``. What is mapped has the type of what it is made of.
"""

import math
from collections import OrderedDict
from collections.abc import Callable, Iterator
from copy import copy
from typing import Any, TypeAlias

import numpy as np

from purenn.contract import check_array, check_floating
from purenn.errors import DtypeError, ShapeError, TreeError
from purenn.typing import Array

Tree: TypeAlias = Any
Path: TypeAlias = tuple[str | int, ...]


def show(path: Path) -> str:
    """A path as it is written in code: ``["hidden"]["kernel"]``."""
    return "".join(f'["{step}"]' if isinstance(step, str) else f"[{step}]" for step in path)


def map(function: Callable[..., Any], tree: Tree, *rest: Tree) -> Tree:
    """Apply ``function`` to the corresponding leaves of one or several trees.

    Raises:
        TreeError: the trees differ in structure; the message names the path.
    """
    if type(tree) is dict and all(type(o) is dict and o.keys() == tree.keys() for o in rest):
        try:
            return {step: map(function, tree[step], *[o[step] for o in rest]) for step in tree}
        except TreeError:
            # Without the path this is three times as fast, so it is looked for only now.
            map_with_path(lambda *_: None, tree, *rest)
            raise
    return map_with_path(lambda _, *leaves: function(*leaves), tree, *rest)


def map_with_path(function: Callable[..., Any], tree: Tree, *rest: Tree) -> Tree:
    """Like :func:`map`, for a function of the path and the leaves."""
    return _map(function, (), tree, *rest)


def _map(function: Callable[..., Any], path: Path, tree: Tree, *rest: Tree) -> Tree:
    mine = children(tree)
    others = [children(other) for other in rest]
    for other, their in zip(rest, others, strict=True):
        leaf = mine is None
        if leaf != (their is None) or not (leaf or type(other) is type(tree)):
            raise TreeError(_mismatch(path, _kind(other), _kind(tree)))
        if mine is not None and their is not None and mine.keys() != their.keys():
            raise TreeError(_mismatch(path, f"keys {[*their]}", f"keys {[*mine]}"))
    if mine is None:
        return function(path, tree, *rest)
    mapped = {
        step: _map(function, (*path, step), child, *(their[step] for their in others if their))
        for step, child in mine.items()
    }
    return _rebuild(tree, mapped)


def _mismatch(path: Path, got: str, expected: str) -> str:
    return f"trees differ at {show(path) or 'the root'}: got {got}, expected {expected}"


def _kind(tree: Tree) -> str:
    return "a leaf" if children(tree) is None else f"a {type(tree).__name__}"


def children(tree: Tree) -> dict[Any, Tree] | None:
    """The subtrees by the step of a path that leads there, or ``None`` for a leaf."""
    if isinstance(tree, np.ndarray):
        return None
    if tree is None:
        return {}
    if isinstance(tree, dict):
        return tree
    if isinstance(tree, tuple) and hasattr(tree, "_asdict"):
        return dict(tree._asdict())
    if isinstance(tree, list | tuple):
        return dict(enumerate(tree))
    return None


def _rebuild(like: Tree, children: dict[Any, Tree]) -> Tree:
    if like is None:
        return None
    if isinstance(like, dict):
        alike = copy(like)
        alike.update(children)
        return alike
    if hasattr(like, "_asdict"):
        return type(like)(**children)
    return type(like)(children.values())


def leaves_with_paths(tree: Tree) -> Iterator[tuple[Path, Any]]:
    """Each leaf with the keys that lead to it, dicts in the order of their sorted keys."""
    below = children(tree)
    if below is None:
        yield (), tree
        return
    is_sorted = isinstance(tree, dict) and not isinstance(tree, OrderedDict)
    for step in sorted(below) if is_sorted else below:
        for path, leaf in leaves_with_paths(below[step]):
            yield (step, *path), leaf


def leaves(tree: Tree) -> list[Any]:
    """The leaves alone, in the same order."""
    return [leaf for _, leaf in leaves_with_paths(tree)]


def zeros_like(tree: Tree) -> Tree:
    """The tree with every array replaced by zeros of its shape and dtype."""
    return map(np.zeros_like, tree)


@np.errstate(all="ignore")
def norm(tree: Tree) -> float:
    """‖tree‖₂ = √Σx² over all entries of all leaves, as ``optax.tree.norm``.

    Squares are added in float64, where those of a narrower dtype always fit. If those of a float64
    do not, all entries are first divided by a power of two, which costs no digits. The result is
    right at any magnitude, whatever the layout of the leaves; NaN and ∞ go through.

    Raises:
        DtypeError: a leaf is no array of a floating dtype.
    """
    every = []
    for leaf in leaves(tree):
        if type(leaf) is not np.ndarray or leaf.dtype.char not in "efd":
            check_floats("norm", "tree", tree)  # what is rarer takes longer to look at
        every.append(leaf)
    squares = _sum_of_squares(every)
    if not (squares < _FEW_DIGITS or squares == math.inf):
        return math.sqrt(squares)
    largest = max((float(max(x.max(initial=0), -x.min(initial=0))) for x in every), default=0.0)
    if largest in (0, math.inf):
        return largest
    exponent = math.frexp(largest)[1]
    return float(np.ldexp(math.sqrt(_sum_of_squares(every, exponent)), exponent))


_FEW_DIGITS = 1e-280  # a sum below it may hold squares that are subnormal, or lack some that are 0


def _sum_of_squares(arrays: list[Array], exponent: int = 0) -> float:
    """Σ(x/2^exponent)² in float64, a block that stays in the cache at a time.

    A dot product of more than 10 000 elements OpenBLAS shares among threads: its bits would depend
    on their number, and it would wait for them.
    """
    total = 0.0
    for x in arrays:
        flat = x.reshape(-1) if x.flags.c_contiguous else x.flat
        for start in range(0, x.size, 8192):
            block = flat[start : start + 8192].astype(np.float64, copy=False)
            if exponent:
                block = np.ldexp(block, -exponent)
            total += float(block.dot(block))
    return total


def check_like(name: str, tree: Tree, like: Tree) -> None:
    """Refuse ``tree`` unless it has the structure, shapes and dtypes of ``like``.

    Raises:
        TreeError: the structures differ.
        ShapeError: a leaf has another shape.
        DtypeError: a leaf has another dtype.
    """

    def check(path: Path, expected: Array, got: Any) -> None:
        if not isinstance(got, np.ndarray):
            raise DtypeError(f"{name}{show(path)} is a {type(got).__name__}, expected an array")
        if got.shape != expected.shape:
            raise ShapeError(f"{name}{show(path)} has shape {got.shape}, expected {expected.shape}")
        if got.dtype != expected.dtype:
            raise DtypeError(f"{name}{show(path)} has dtype {got.dtype}, expected {expected.dtype}")

    try:
        map_with_path(check, like, tree)
    except TreeError as error:
        raise TreeError(f"{name}: {error}") from None


def check_floats(name: str, argument: str, tree: Tree) -> None:
    """Refuse a tree with a leaf that is no array of a floating dtype.

    Raises:
        DtypeError: the message has the path.
    """
    for path, leaf in leaves_with_paths(tree):
        check_array(name, f"{argument}{show(path)}", leaf)
        check_floating(name, f"{argument}{show(path)}", leaf)


def ravel(tree: Tree) -> tuple[Array, Callable[[Array], Tree]]:
    """One vector that holds all leaves in order, and the function that takes it apart again.

    ``unravel`` raises ShapeError for a vector of another size. Leaves of several dtypes are
    refused with a DtypeError: a vector has one.
    """
    every = leaves(tree)
    dtypes = {leaf.dtype for leaf in every}
    if len(dtypes) > 1:
        raise DtypeError(
            f"ravel: leaves have dtypes {sorted(dtype.name for dtype in dtypes)}, expected one"
        )
    vector = np.concatenate([leaf.ravel() for leaf in every]) if every else np.zeros(0)

    def unravel(vector: Array) -> Tree:
        size = sum(leaf.size for leaf in every)
        if vector.shape != (size,):
            raise ShapeError(f"unravel: vector has shape {vector.shape}, expected ({size},)")
        stops = np.cumsum([leaf.size for leaf in every])
        parts = {
            path: part.reshape(leaf.shape)
            for (path, leaf), part in zip(
                leaves_with_paths(tree), np.split(vector, stops)[:-1], strict=True
            )
        }
        return map_with_path(lambda path, _: parts[path], tree)

    return vector, unravel
