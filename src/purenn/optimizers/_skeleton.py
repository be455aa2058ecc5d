"""Trees without their leaves: a number stands for each."""

from typing import Any

import numpy as np

from purenn import tree
from purenn.errors import TreeError
from purenn.optimizers._blocks import Column
from purenn.tree import Tree


def numbered(like: Tree, leaves: list[Any]) -> Any:
    """Collect the leaves, and give the tree with their numbers in their place."""
    if type(like) is dict:
        skeleton = {}
        for step, child in like.items():
            if type(child) is np.ndarray:
                skeleton[step] = len(leaves)
                leaves.append(child)
            else:
                skeleton[step] = numbered(child, leaves)
        return skeleton

    def number(leaf: Any) -> int:
        leaves.append(leaf)
        return len(leaves) - 1

    return tree.map(number, like)


def pick(skeleton: Any, other: Tree, leaves: list[Any]) -> None:
    """Put the leaves of a tree in the order of the numbers.

    Raises:
        TreeError, KeyError: it has another structure.
    """
    if type(skeleton) is not dict:
        tree.map(lambda i, leaf: leaves.__setitem__(i, leaf), skeleton, other)
    elif type(other) is dict and len(other) == len(skeleton):
        for step, child in skeleton.items():
            if type(child) is int:
                leaves[child] = other[step]
            else:
                pick(child, other[step], leaves)
    else:
        raise TreeError


def filled(skeleton: Any, leaves: Column) -> Tree:
    """The tree with leaves in the place of their numbers."""
    if type(skeleton) is not dict:
        return tree.map(leaves.__getitem__, skeleton)
    whole = {}
    for step, child in skeleton.items():
        whole[step] = leaves[child] if type(child) is int else filled(child, leaves)
    return whole
