"""Trees as one vector: how few leaves of one dtype lie one after the other."""

from itertools import accumulate, pairwise
from typing import Any, NamedTuple

import numpy as np

from purenn.contract import kinds_of
from purenn.errors import TreeError
from purenn.optimizers._blocks import Kinds, joined, kinds
from purenn.optimizers._skeleton import filled, numbered, pick
from purenn.tree import Tree
from purenn.typing import Array, Shape


class Layout(NamedTuple):
    """Where the leaves of trees that are alike are in a vector."""

    skeleton: Any
    kinds: Kinds
    spots: list[tuple[slice, Shape]]
    size: int
    dtype: np.dtype[Any]

    @property
    def nbytes(self) -> int:
        """That of the vector."""
        return self.size * self.dtype.itemsize


def layout(tree: Tree) -> Layout | None:
    """That of a tree of arrays; None if it has none, or several dtypes."""
    leaves: list[Array] = []
    skeleton = numbered(tree, leaves)
    if not leaves or len({leaf.dtype for leaf in leaves}) > 1:
        return None
    spans = [slice(*ends) for ends in pairwise(accumulate([0, *[leaf.size for leaf in leaves]]))]
    spots = [(span, leaf.shape) for span, leaf in zip(spans, leaves, strict=True)]
    return Layout(skeleton, kinds(leaves), spots, spans[-1].stop, leaves[0].dtype)


def gathered(tree: Tree, like: Layout) -> Array:
    """The vector of a tree, read-only.

    Raises:
        TreeError, KeyError: the tree does not fit.
    """
    leaves: list[Any] = [None] * len(like.spots)
    pick(like.skeleton, tree, leaves)
    if kinds_of(leaves) != like.kinds:
        raise TreeError
    return joined((*leaves,))


def spread(vector: Array, like: Layout) -> Tree:
    """The tree whose leaves are parts of a vector."""
    parts = [
        vector[span] if len(shape) == 1 else vector[span].reshape(shape)
        for span, shape in like.spots
    ]
    return filled(like.skeleton, parts)
