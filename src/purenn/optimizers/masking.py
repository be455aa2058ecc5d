"""Transformations of some parameters only, chosen by the path that leads to them."""

from collections.abc import Callable, Hashable, Mapping
from typing import Any, NamedTuple, TypeAlias

import numpy as np

from purenn import tree
from purenn.errors import DomainError, DtypeError, TreeError
from purenn.optimizers._common import check_state
from purenn.optimizers._sweep import Blocks, MaskedNode, Sweep
from purenn.optimizers.base import (
    GradientTransformation,
    advance,
    check_without_extra,
    stateless,
    swept,
)
from purenn.tree import Path, Tree
from purenn.typing import Array

Mask: TypeAlias = Callable[[Path], bool] | Tree
"""Which leaves: a function of the path, such as :func:`purenn.regularizers.is_weight`, or a tree
of booleans like the parameters, in which one may stand for a whole subtree. (optax's function is
one of the parameters; it can be called beforehand.)"""


class MaskedState(NamedTuple):
    """The state of the inner transformation, with a MaskedNode for each leaf left alone."""

    inner_state: Any


class PartitionState(NamedTuple):
    """A MaskedState per label."""

    inner_states: dict[Any, MaskedState]


def masked(inner: GradientTransformation, mask: Mask) -> GradientTransformation:
    """Transform only some leaves; the others pass as they are.

    Args:
        inner: What is done to them.
        mask: Which.

    Raises:
        TreeError: ``init`` and the update raise it where a tree of booleans does not fit.
        DtypeError: they raise it where the mask gives anything but booleans, or is a function that
            cannot take a path; ``inner`` is no transformation, or one that needs the loss at other
            parameters, all of which are moved.
    """
    return masked_by("masked", "mask", inner, mask)


def masked_by(
    name: str, argument: str, inner: GradientTransformation, mask: Mask
) -> GradientTransformation:
    """:func:`masked`, where the mask is this argument of this function."""
    check_without_extra(name, "inner", inner)
    is_chosen = _by_path(name, argument, mask)

    def chosen(path: Path) -> bool:
        found = is_chosen(path)
        if not isinstance(found, bool | np.bool_):
            raise DtypeError(
                f"{name}: {argument} at {tree.show(path) or 'the root'} is {found!r}, expected a "
                f"bool{_OF_A_PATH if callable(mask) else ''}"
            )
        return bool(found)

    return _checked(name, argument, mask, _within(inner, chosen))


def _within(
    inner: GradientTransformation, chosen: Callable[[Path], bool]
) -> GradientTransformation:
    def init(params: Tree) -> MaskedState:
        return MaskedState(
            inner.init(
                tree.map_with_path(
                    lambda path, leaf: leaf if chosen(path) else MaskedNode(), params
                )
            )
        )

    def sweep(run: Sweep, state: MaskedState) -> MaskedState:
        check_state("masked", state, MaskedState)
        return MaskedState(advance(inner, run.within(chosen), state.inner_state))

    return swept(init, sweep)


def partition(
    transforms: Mapping[Any, GradientTransformation],
    param_labels: Callable[[Path], Hashable] | Tree,
) -> GradientTransformation:
    """Give each group of parameters a transformation of its own.

    Args:
        transforms: A transformation per label.
        param_labels: The label of each leaf: a function of the path, or a tree of labels like the
            parameters, in which one may stand for a whole subtree.

    Raises:
        DomainError: ``transforms`` is empty; ``init`` and the update raise it where a leaf has a
            label that is not in there.
        TreeError: they raise it where a tree of labels does not fit.
        DtypeError: ``transforms`` has anything but transformations, or one that needs the loss at
            other parameters; ``init`` and the update raise it where a function of labels cannot
            take a path.
    """
    if not isinstance(transforms, Mapping):
        raise DtypeError(f"partition: transforms is a {type(transforms).__name__}, expected a dict")
    if not transforms:
        raise DomainError("partition: transforms is empty, expected a transformation per label")
    for label, part in transforms.items():
        check_without_extra("partition", f"transforms[{label!r}]", part)
    label_of = _by_path("partition", "param_labels", param_labels)

    def known(path: Path) -> Any:
        label = label_of(path)
        if not isinstance(label, Hashable) or label not in transforms:
            raise DomainError(
                f"partition: params{tree.show(path)} has the label {label!r}, expected one of "
                f"{[*transforms]}"
            )
        return label

    def is_in(label: Any) -> Callable[[Path], bool]:
        return lambda path: bool(known(path) == label)

    parts = {label: _within(part, is_in(label)) for label, part in transforms.items()}

    def init(params: Tree) -> PartitionState:
        return PartitionState({label: part.init(params) for label, part in parts.items()})

    def sweep(run: Sweep, state: PartitionState) -> PartitionState:
        check_state("partition", state, PartitionState)
        if state.inner_states.keys() != parts.keys():
            raise TreeError(
                f"partition: opt_state has labels {[*state.inner_states]}, expected {[*parts]}"
            )
        return PartitionState(
            {label: advance(part, run, state.inner_states[label]) for label, part in parts.items()}
        )

    return _checked("partition", "param_labels", param_labels, swept(init, sweep))


def set_to_zero() -> GradientTransformation:
    """Take no step at all."""

    def kernel(g: Array, u: Array, t: Array, old: Blocks, new: Blocks) -> Any:
        u[...] = 0
        return u

    def sweep(run: Sweep) -> None:
        run.each(kernel)

    return stateless("set_to_zero", sweep)


def freeze(mask: Mask) -> GradientTransformation:
    """Keep the leaves that are chosen as they are.

    It belongs at the end of a chain: what comes after could move them again, as weight decay does.
    The arguments and what is raised are those of :func:`masked`.
    """
    return masked_by("freeze", "mask", set_to_zero(), mask)


def _by_path(name: str, argument: str, choice: Any) -> Callable[[Path], Any]:
    """A function of the path as it is, a tree as a function of the path."""
    if callable(choice):

        def called(path: Path) -> Any:
            try:
                return choice(path)
            except (AttributeError, TypeError) as error:
                raise DtypeError(
                    f"{name}: {argument} of the path {path} raises {error!r}{_OF_A_PATH}"
                ) from error

        return called

    def found(path: Path) -> Any:
        node: Any = choice
        for i, step in enumerate(path):
            children = None if node is None else tree.children(node)
            if children is None:
                break
            if step not in children:
                where = tree.show(path[: i + 1])
                raise TreeError(f"{name}: {argument} has nothing at {where}, where params has")
            node = children[step]
        if isinstance(node, dict | list):
            kind, where = type(node).__name__, tree.show(path) or "the root"
            raise TreeError(f"{name}: {argument} has a {kind} at {where}, where params has a leaf")
        return node

    return found


_OF_A_PATH = "; a function gets the path of one leaf, and not the tree"


def _checked(
    name: str, argument: str, choice: Any, transformation: GradientTransformation
) -> GradientTransformation:
    """Refuse in ``init`` a tree that goes on where the parameters do not."""

    def check(path: Path, node: Any, params: Tree) -> None:
        mine, theirs = tree.children(node), tree.children(params)
        if mine is None or theirs is None:
            return
        for step, child in mine.items():
            if step not in theirs:
                where = tree.show((*path, step))
                raise TreeError(
                    f"{name}: {argument} has something at {where}, where params has not"
                )
            check((*path, step), child, theirs[step])

    def init(params: Tree) -> Any:
        check((), choice, params)
        return transformation.init(params)

    return transformation._replace(init=init)
