"""One drawn input, and the function that it makes of a rule: flat arrays in, flat arrays out."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import jax
import numpy as np

from purenn.typing import Array, Shape
from purenn.verify.balls import is_number


class Example(NamedTuple):
    """What a rule is called with."""

    names: tuple[str, ...]
    """Of the positional arguments."""
    primals: tuple[Any, ...]
    """Trees of NumPy arrays and Python numbers."""
    static: tuple[tuple[str, Any], ...]
    """Keyword-only arguments that are not at their defaults."""
    cotangents: tuple[Array, ...] = ()
    """One per leaf of the value: dy."""
    dtype: str = "float64"
    """Of the floating arrays."""
    layout: str = "C"
    """How the arrays lie in memory, a key of ``draw.LAYOUTS``."""

    @property
    def arrays(self) -> list[Array]:
        """The leaves that a reference is given: arrays, and Python floats as arrays of rank 0."""
        return [
            np.asarray(leaf, self.dtype if isinstance(leaf, float) else None)
            for leaf in jax.tree.leaves(self.primals)
            if is_traced(leaf)
        ]

    @property
    def structure(self) -> "Structure":
        """All but the numbers in the arrays."""
        flat, treedef = jax.tree.flatten(self.primals)
        holes = tuple(
            (leaf if isinstance(leaf, Fixed) else Fixed(leaf))
            if not is_traced(leaf)
            else Hole((), self.dtype, is_number=True)
            if isinstance(leaf, float)
            else Hole(leaf.shape, leaf.dtype.name)
            for leaf in flat
        )
        return Structure(treedef, holes, tuple((name, Fixed(v)) for name, v in self.static))

    def moved(self, arrays: Sequence[Array]) -> "Example":
        """The same with other numbers in its arrays."""
        given = iter(arrays)
        flat, treedef = jax.tree.flatten(self.primals)
        leaves = [next(given) if is_traced(leaf) else leaf for leaf in flat]
        leaves = [
            x.item() if isinstance(old, float) else x for x, old in zip(leaves, flat, strict=True)
        ]
        return self._replace(primals=jax.tree.unflatten(treedef, leaves))

    @property
    def bits(self) -> Any:
        """What two examples share if no call can tell them apart."""
        arrays = [x.tobytes() for x in (*self.arrays, *self.cotangents)]
        return self.structure, self.layout, tuple(arrays)

    @property
    def paths(self) -> list[str]:
        """The name of each leaf that a reference is given, as ``params["hidden"]["kernel"]``."""
        found = []
        for name, primal in zip(self.names, self.primals, strict=True):
            found += [
                name + spell(path)
                for path, leaf in jax.tree_util.tree_leaves_with_path(primal)
                if is_traced(leaf)
            ]
        return found


@dataclass(frozen=True, eq=False)
class Fixed:
    """A value that is the same whenever it is written the same."""

    value: Any

    def __hash__(self) -> int:
        return hash(repr(self.value))

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Fixed) and repr(self.value) == repr(other.value)


class Hole(NamedTuple):
    """Where an array goes."""

    shape: Shape
    dtype: str
    is_number: bool = False
    """Whether a Python float goes there."""


class Structure(NamedTuple):
    """An example without the numbers in its arrays: what a function is traced for."""

    treedef: Any
    holes: tuple[Hole | Fixed, ...]
    static: tuple[tuple[str, Fixed], ...]

    @property
    def arrays(self) -> list[Hole]:
        """Where arrays go, in their order."""
        return [hole for hole in self.holes if isinstance(hole, Hole)]

    def primals(self, arrays: Sequence[Any]) -> tuple[Any, ...]:
        """The positional arguments that hold these arrays."""
        given: Iterator[Any] = iter(arrays)
        flat = []
        for hole in self.holes:
            x = hole.value if isinstance(hole, Fixed) else next(given)
            is_plain = isinstance(hole, Hole) and hole.is_number and isinstance(x, np.ndarray)
            flat.append(x.item() if is_plain else x)
        return tuple(jax.tree.unflatten(self.treedef, flat))

    def flat(self, function: Callable[..., Any]) -> Callable[..., list[Any]]:
        """``function`` of the arrays alone, with the leaves of its value in a list."""
        static = {name: fixed.value for name, fixed in self.static}

        def run(*arrays: Any) -> list[Any]:
            return jax.tree.leaves(function(*self.primals(arrays), **static))

        return run


def is_traced(leaf: Any) -> bool:
    """Whether a reference is given the leaf as an array: what else a primal holds is fixed."""
    return isinstance(leaf, float) or (hasattr(leaf, "dtype") and hasattr(leaf, "shape"))


def is_differentiable(x: Array) -> bool:
    """Whether an array has a cotangent."""
    return is_number(x)


def spell(path: Sequence[Any]) -> str:
    """The path of a leaf, as one writes it in Python."""
    parts = []
    for key in path:
        if isinstance(key, jax.tree_util.DictKey):
            parts.append(f'["{key.key}"]' if isinstance(key.key, str) else f"[{key.key!r}]")
        elif isinstance(key, jax.tree_util.SequenceKey):
            parts.append(f"[{key.idx}]")
        else:
            parts.append(f".{getattr(key, 'name', key)}")
    return "".join(parts)
