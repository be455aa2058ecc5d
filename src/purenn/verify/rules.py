"""Rules are found by name: a public ``f_vjp``, ``f`` beside it, and ``f`` in the reference."""

import inspect
import itertools
import pkgutil
from collections.abc import Callable, Iterator
from importlib import import_module
from types import ModuleType
from typing import Any, NamedTuple


class DiscoveryError(LookupError):
    """A rule without its function, without its reference, or no rule at all."""


class Rule(NamedTuple):
    """A hand-written derivative and what it is held against."""

    name: str
    f: Callable[..., Any]
    f_vjp: Callable[..., Any]
    reference: Callable[..., Any]
    """``f`` in JAX; its derivative is left to others to find."""
    static: tuple[tuple[str, bool], ...] = ()
    """The keyword-only switches that this variant sets."""

    def __str__(self) -> str:
        switches = ", ".join(f"{name}={value}" for name, value in self.static)
        return f"{self.name}({switches})" if switches else self.name


def discover(module: ModuleType | str, against: ModuleType | str) -> list[Rule]:
    """The rules of a module or package, in the order of their source.

    The modules of a package are mirrored in the reference by name. A rule with boolean keyword
    arguments is examined once for every setting of them.

    Raises:
        DiscoveryError: an ``f_vjp`` lacks its ``f`` or its reference, or there is no rule.
        ImportError: a module cannot be imported.
    """
    rules: list[Rule] = []
    for ours, theirs in _pairs(module, against):
        for name, f_vjp in vars(ours).items():
            if not name.endswith("_vjp") or name.startswith("_"):
                continue
            if getattr(f_vjp, "__module__", None) != ours.__name__:
                continue
            base = name.removesuffix("_vjp")
            for home in (ours, theirs):
                if not callable(getattr(home, base, None)):
                    raise DiscoveryError(
                        f"{ours.__name__}.{name} needs {home.__name__}.{base}, which is missing"
                    )
            rules += [
                Rule(base, getattr(ours, base), f_vjp, getattr(theirs, base), static)
                for static in _switches(f_vjp)
            ]
    if not rules:
        raise DiscoveryError(f"{_name(module)} holds no rule: no public function ends in _vjp")
    return rules


def _pairs(
    module: ModuleType | str, against: ModuleType | str
) -> Iterator[tuple[ModuleType, ModuleType]]:
    ours = import_module(module) if isinstance(module, str) else module
    theirs = import_module(against) if isinstance(against, str) else against
    yield ours, theirs
    for part in pkgutil.iter_modules(getattr(ours, "__path__", [])):
        if not part.name.startswith("_"):
            yield from _pairs(f"{ours.__name__}.{part.name}", f"{theirs.__name__}.{part.name}")


def _switches(f_vjp: Callable[..., Any]) -> Iterator[tuple[tuple[str, bool], ...]]:
    names = [
        name
        for name, parameter in inspect.signature(f_vjp).parameters.items()
        if parameter.kind is parameter.KEYWORD_ONLY and isinstance(parameter.default, bool)
    ]
    for values in itertools.product((False, True), repeat=len(names)):
        yield tuple(zip(names, values, strict=True))


def _name(module: ModuleType | str) -> str:
    return module if isinstance(module, str) else module.__name__
