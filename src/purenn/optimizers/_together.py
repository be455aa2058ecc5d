"""A sweep over few parameters, which lie in one vector: what is to be done is done at once."""

from typing import Any, NamedTuple, TypeAlias

import numpy as np

from purenn.errors import TreeError
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


class Vector(NamedTuple):
    """The leaves of a tree in one array."""

    values: Array
    is_ours: bool
    """Whether the leaves are parts of it, and may be written to."""


def vector_of(tree: Tree, like: Layout, memory: Memory | None = None) -> Vector:
    """That of a tree.

    Raises:
        TreeError, KeyError: the tree does not fit.
    """
    known = None if memory is None else memory.vector(tree)
    return Vector(gathered(tree, like), False) if known is None else Vector(known, True)


class Gradient(NamedTuple):
    """A gradient in one vector, which is written to again by the next step."""

    vector: Array
    tree: Tree
    """Parts of the vector."""
    layout: Layout
    room: list[Array]
    """More such vectors, for whatever a step needs on its way."""


class Together(Sweep):
    """A sweep in which no leaf is told from another.

    The trees are dicts. Nothing is written to before ``apply``. What asks for the leaves, raises
    NotTogetherError.
    """

    def __init__(
        self, gradient: Gradient, params: Tree, vector: Vector, memory: Memory | None = None
    ) -> None:
        """A sweep that begins with a gradient; trees in the memory may be written to.

        Args:
            gradient: The gradient.
            params: The parameters.
            vector: The same in one array.
            memory: Which trees are known.
        """
        self._g, self._layout = gradient.vector, gradient.layout
        self._params_tree, self._params_vector, self._memory = params, vector, memory
        self._room, self._taken = gradient.room, 0
        self._first, self._second, self._spare = self._take(), self._take(), self._take()
        self.donate, self.extra = False, {}
        self._pending = 1.0
        self._made: list[tuple[Tree, Array]] = []
        self._renewed: list[tuple[Tree, Array, Array]] = []

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
        try:
            found = [vector_of(slot, self._layout, self._memory) for slot in slots]
        except (TreeError, KeyError):
            raise NotTogetherError from None
        old = [vector.values for vector in found]
        new = [self._take() if vector.is_ours else self._fresh_vector() for vector in found]
        ins = [*old, self._params_vector.values] if reads_params else old
        self._g = kernel(self._g, self._free(), self._spare, ins, new)
        self._pending = scale
        return [self._tree(*its) for its in zip(slots, found, new, strict=True)]

    def scale(self, factor: float) -> None:
        """As ``Sweep.scale``."""
        self._pending *= factor

    def apply(self) -> Tree:
        """As ``Sweep.apply``."""
        self._settle()
        values, is_ours = self._params_vector
        new = np.add(values, self._g, out=values if is_ours else None)
        tree = self._tree(self._params_tree, self._params_vector, new)
        for _, known, renewed in self._renewed:
            if known is not renewed:
                np.copyto(known, renewed)
        if self._memory is not None and self._made:
            self._memory.keep(self._made + [(old, known) for old, known, _ in self._renewed])
        return tree

    def _apart(self, *args: Any, **kwargs: Any) -> Any:
        raise NotTogetherError

    within = dtypes = values = updates = replace = params = params_tree = _apart

    def _tree(self, old: Tree, vector: Vector, new: Array) -> Tree:
        """The tree of what has been computed."""
        if vector.is_ours:
            self._renewed.append((old, vector.values, new))
            return old
        tree = spread(new, self._layout)
        self._made.append((tree, new))
        return tree

    def _take(self) -> Array:
        """One that nobody will see."""
        if self._taken == len(self._room):
            self._room.append(self._fresh_vector())
        self._taken += 1
        return self._room[self._taken - 1]

    def _fresh_vector(self) -> Array:
        return np.empty(self._layout.size, self._layout.dtype)

    def _free(self) -> Array:
        free: Array = self._second if self._g is self._first else self._first
        return free

    def _settle(self) -> None:
        """Multiply by what is pending."""
        if self._pending != 1:
            self._g = np.multiply(self._g, self._pending, out=self._free())
            self._pending = 1.0
