"""A sweep over few parameters, which lie in one vector: what is to be done is done at once."""

from typing import Any, TypeAlias

import numpy as np

from purenn.errors import TreeError
from purenn.optimizers._blocks import PACK
from purenn.optimizers._layout import Layout, gathered, spread
from purenn.optimizers._sweep import Kernel, Sweep
from purenn.tree import Tree
from purenn.typing import Array


class NotTogetherError(Exception):
    """The leaves must be told apart: a Sweep can do it. Nothing has been written to."""


class Memory:
    """Trees that may be written to, with the vectors that their leaves are parts of.

    One is known only as long as each leaf is where it was.
    """

    def __init__(self) -> None:
        """No tree is known."""
        self._known: dict[int, tuple[list[_Step], list[_Node], Array]] = {}

    def vector(self, tree: Tree) -> Array | None:
        """That of a known tree."""
        known = self._known.get(id(tree))
        if known is None:
            return None
        steps, nodes, vector = known
        is_same = False not in [node.get(step) is child for node, step, child in steps]
        return vector if is_same and False not in [len(x) == n for x, n in nodes] else None

    def keep(self, trees: list[tuple[Tree, Array]]) -> None:
        """Know these trees, and no others."""
        self._known = {}
        for tree, vector in trees:
            steps: list[_Step] = []
            nodes: list[_Node] = []
            _walk(tree, steps, nodes)
            self._known[id(tree)] = steps, nodes, vector


_Step: TypeAlias = tuple[dict[Any, Any], Any, Any]
_Node: TypeAlias = tuple[dict[Any, Any], int]


def _walk(tree: dict[Any, Any], steps: list[_Step], nodes: list[_Node]) -> None:
    nodes.append((tree, len(tree)))
    for step, child in tree.items():
        steps.append((tree, step, child))
        if isinstance(child, dict):
            _walk(child, steps, nodes)


class Together(Sweep):
    """A sweep in which no leaf is told from another.

    The trees are dicts. Nothing is written to before ``apply``. What asks for the leaves, raises
    NotTogetherError.
    """

    def __init__(
        self, grads: Array, params: Tree, like: Layout, memory: Memory | None = None
    ) -> None:
        """A sweep that begins with gradients; trees in the memory may be written to."""
        if like.nbytes > PACK or type(params) is not dict:
            raise NotTogetherError
        self._g, self._params_tree, self._layout, self._memory = grads, params, like, memory
        self._first, self._second, self._spare = np.empty((3, like.size), like.dtype)
        self.donate, self.extra = False, {}
        self._pending = 1.0
        self._made: list[tuple[Tree, Array]] = []
        self._renewed: list[tuple[Tree, Array, Array]] = []
        self._vector_of_params, self._known_params = self._vector(params)

    def each(
        self,
        kernel: Kernel,
        *slots: Tree,
        reads_params: bool = False,
        reads: Tree = None,
        scale: float = 1.0,
        cast: bool = False,
    ) -> list[Tree]:
        """As ``Sweep.each``."""
        if cast or reads is not None:
            raise NotTogetherError
        self._settle()
        found = [self._vector(slot) for slot in slots]
        old = [vector for vector, _ in found]
        new = [np.empty(self._layout.size, self._layout.dtype) for _ in slots]
        ins = [*old, self._vector_of_params] if reads_params else old
        self._g = kernel(self._g, self._free(), self._spare, ins, new)
        self._pending = scale
        return [
            self._tree(slot, known, vector)
            for slot, (_, known), vector in zip(slots, found, new, strict=True)
        ]

    def scale(self, factor: float) -> None:
        """As ``Sweep.scale``."""
        self._pending *= factor

    def apply(self) -> Tree:
        """As ``Sweep.apply``."""
        self._settle()
        new_params = self._vector_of_params + self._g
        tree = self._tree(self._params_tree, self._known_params, new_params)
        for _, known, new in self._renewed:
            np.copyto(known, new)
        if self._memory is not None and self._made:
            self._memory.keep(self._made + [(old, known) for old, known, _ in self._renewed])
        return tree

    def _apart(self, *args: Any, **kwargs: Any) -> Any:
        raise NotTogetherError

    within = dtypes = values = updates = replace = params = params_tree = _apart

    def _vector(self, tree: Tree) -> tuple[Array, Array | None]:
        """The vector of a tree, and once more if it may be written to."""
        known = None if self._memory is None else self._memory.vector(tree)
        if known is not None:
            return known, known
        try:
            return gathered(tree, self._layout), None
        except (TreeError, KeyError):
            raise NotTogetherError from None

    def _tree(self, old: Tree, known: Array | None, new: Array) -> Tree:
        """The tree of what has been computed."""
        if known is not None:
            self._renewed.append((old, known, new))
            return old
        tree = spread(new, self._layout)
        self._made.append((tree, new))
        return tree

    def _free(self) -> Array:
        free: Array = self._second if self._g is self._first else self._first
        return free

    def _settle(self) -> None:
        """Multiply by what is pending."""
        if self._pending != 1:
            self._g = np.multiply(self._g, self._pending, out=self._free())
            self._pending = 1.0
