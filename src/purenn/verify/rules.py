"""Rules are found by name, in any of the conventions that derivatives are written in."""

import inspect
import pkgutil
from collections.abc import Callable, Iterator
from importlib import import_module
from types import ModuleType
from typing import Any, Literal, NamedTuple

import jax

Convention = Literal["vjp", "fwd_bwd", "grad", "jvp", "custom_vjp", "custom_jvp"]

# The suffixes of hand-written derivatives, the richest first.
_SUFFIXES: dict[str, Convention] = {
    "_vjp": "vjp",
    "_fwd": "fwd_bwd",
    "_grad": "grad",
    "_jvp": "jvp",
}


# What a function that carries its derivative is made of.
_PARTS = ("fwd", "bwd", "jvp")


class DiscoveryError(LookupError):
    """A rule without its function, or no rule at all."""


class Rule(NamedTuple):
    """A hand-written derivative and what it is held against."""

    name: str
    f: Callable[..., Any] | None
    """The function itself, as its author wrote it; ``None`` if only the derivative is at hand."""
    derivative: Callable[..., Any]
    """``f_vjp``, ``f_fwd``, ``f_grad``, ``f_jvp``, or ``f`` if it carries its derivative."""
    reference: Callable[..., Any] | None = None
    """``f`` in JAX; its derivative is left to others to find. ``None``: judge it numerically."""
    convention: Convention = "vjp"
    bwd: Callable[..., Any] | None = None
    """``f_bwd``, where the derivative is ``f_fwd``."""
    jvp: Callable[..., Any] | None = None
    """``f_jvp``, which is examined too."""
    cases: tuple[dict[str, Any], ...] = ()
    """``f_cases``: sizes of dimensions and keyword-only arguments that go together."""

    def __str__(self) -> str:
        return self.name

    @property
    def f_vjp(self) -> Callable[..., Any]:
        """The derivative with the contract of ``jax.vjp``, whatever its own convention."""
        return _AS_VJP[self.convention](self)


def discover(
    module: ModuleType | str, against: ModuleType | Literal["numeric"] | str | None = None
) -> list[Rule]:
    """The rules of a module or package, in the order of their source.

    A rule is a public ``f`` with ``f_vjp`` (the contract of ``jax.vjp``), with ``f_fwd`` and
    ``f_bwd`` (that of ``jax.custom_vjp.defvjp``) or with ``f_grad`` (the gradient of a scalar
    function, or of the sum of an array); ``f_jvp`` (that of ``jax.jvp``) is examined beside them
    or alone. So is a function that carries ``jax.custom_vjp`` or ``jax.custom_jvp``.

    ``against`` is the module whose functions of the same names are the references, in JAX; the
    modules of a package are mirrored there by name. A rule that has no reference there, or
    ``"numeric"``, is examined numerically; one that carries its derivative against its own
    undecorated function.

    Raises:
        DiscoveryError: there is no rule.
        ImportError: a module cannot be imported.
    """
    numeric = isinstance(against, str) and against == "numeric"
    rules: list[Rule] = []
    for ours, theirs in _pairs(module, None if numeric else against):
        found = _rules_of(ours, theirs)
        rules += [rule._replace(reference=None) for rule in found] if numeric else found
    if not rules:
        raise DiscoveryError(
            f"{_name(module)} holds no rule: no public function whose name ends in _vjp, _fwd, "
            "_grad or _jvp, and none that carries jax.custom_vjp"
        )
    return rules


def as_rule(
    derivative: Callable[..., Any] | Rule, against: Callable[..., Any] | ModuleType | str | None
) -> Rule:
    """The rule that a function is, by its name or by what it carries.

    Raises:
        DiscoveryError: its ``f`` (or ``f_bwd``) is not beside it, or not in ``against``.
    """
    if isinstance(derivative, Rule):
        if against is None:
            return derivative
        reference, name = None, derivative.name
        rule = derivative
    else:
        home = inspect.getmodule(inspect.unwrap(derivative))
        around = {**vars(home)} if home else {}
        around |= getattr(inspect.unwrap(derivative), "__globals__", {})
        rule = _found(getattr(derivative, "__name__", "rule"), derivative, around)
        name = rule.name
    if isinstance(against, str) and against != "numeric":
        against = import_module(against)
    if isinstance(against, ModuleType):
        reference = getattr(against, name, None)
        if not callable(reference):
            raise DiscoveryError(f"{against.__name__} has no function {name}")
    elif callable(against):
        reference = against
    elif against is None:
        return rule
    else:
        reference = None
    return _against(rule, reference, inspect.getmodule(reference))


def carried(function: Any) -> Any:
    """The ``custom_vjp`` or ``custom_jvp`` that a function is or wraps, if any."""
    while function is not None:
        if isinstance(function, jax.custom_vjp | jax.custom_jvp):
            return function
        function = getattr(function, "__wrapped__", None)
    return None


def _rules_of(ours: ModuleType, theirs: ModuleType | None) -> list[Rule]:
    around = vars(ours)
    members = {
        name: member
        for name, member in around.items()
        if not name.startswith("_") and _is_at_home(member, ours)
    }
    parts = [getattr(carried(m), part, None) for m in members.values() for part in _PARTS]
    rules: dict[str, Rule] = {}
    for name, member in members.items():
        if carried(member) is None:
            suffix = next((s for s in _SUFFIXES if name.endswith(s) and name != s), None)
            if suffix is None or any(member is part for part in parts):
                continue
            base = name.removesuffix(suffix)
            beside = [s for s in _SUFFIXES if callable(around.get(base + s))]
            whole = callable(around.get(base)) or callable(getattr(theirs, base, None))
            if (
                carried(around.get(base)) is not None
                or (suffix == "_fwd" and not callable(around.get(f"{base}_bwd")))
                or (suffix == "_jvp" and beside != ["_jvp"])
                or not (whole or suffix == "_vjp")
            ):
                continue
        rule = _found(name, member, around)
        reference = getattr(theirs, rule.name, None) if theirs else None
        rule = _against(rule, reference if callable(reference) else rule.reference, theirs)
        if rule.name in rules:  # a second convention for the same function
            rule = rule._replace(name=name)
        rules[rule.name] = rule
    return list(rules.values())


def _found(name: str, derivative: Callable[..., Any], around: dict[str, Any]) -> Rule:
    """The rule with what stands around it, its reference not yet looked for."""
    custom = carried(derivative)
    if custom is not None:
        kind: Convention = "custom_vjp" if isinstance(custom, jax.custom_vjp) else "custom_jvp"
        jvp = around.get(f"{name}_jvp") if kind == "custom_vjp" else None
        return Rule(name, custom.fun, derivative, custom.fun, kind, None, jvp)
    suffix = next((s for s in _SUFFIXES if name.endswith(s) and name != s), None)
    base = name.removesuffix(suffix) if suffix else name
    convention = _SUFFIXES[suffix] if suffix else "vjp"
    f = around.get(base) if suffix else None
    rule = Rule(base, f if callable(f) else None, derivative, None, convention)
    if convention == "fwd_bwd":
        bwd = around.get(f"{base}_bwd")
        if not callable(bwd):
            raise DiscoveryError(f"{name} needs {base}_bwd beside it, which is missing")
        rule = rule._replace(bwd=bwd)
    rule = rule._replace(cases=tuple(around.get(f"{base}_cases", ())))
    jvp = around.get(f"{base}_jvp")
    return rule._replace(jvp=jvp) if callable(jvp) else rule


def _against(rule: Rule, reference: Any, home: ModuleType | None) -> Rule:
    """The rule with a reference, and with the cases that stand beside it."""
    cases = getattr(home, f"{rule.name}_cases", rule.cases)
    return rule._replace(reference=reference, cases=tuple(cases))


def _is_at_home(member: Any, module: ModuleType) -> bool:
    return callable(member) and getattr(member, "__module__", None) == module.__name__


def _pairs(
    module: ModuleType | str, against: ModuleType | str | None
) -> Iterator[tuple[ModuleType, ModuleType | None]]:
    ours = import_module(module) if isinstance(module, str) else module
    theirs = import_module(against) if isinstance(against, str) else against
    yield ours, theirs
    for part in pkgutil.iter_modules(getattr(ours, "__path__", [])):
        if not part.name.startswith("_"):
            below = None if theirs is None else f"{theirs.__name__}.{part.name}"
            yield from _pairs(f"{ours.__name__}.{part.name}", below)


def _name(module: ModuleType | str) -> str:
    return module if isinstance(module, str) else module.__name__


def _from_fwd_bwd(rule: Rule) -> Callable[..., Any]:
    fwd, bwd = rule.derivative, rule.bwd
    assert bwd is not None

    def f_vjp(*primals: Any, **static: Any) -> Any:
        result = fwd(*primals, **static)
        if not (isinstance(result, tuple) and len(result) == 2):
            return result
        y, residuals = result
        return y, lambda dy: bwd(residuals, dy)

    return f_vjp


def _from_grad(rule: Rule) -> Callable[..., Any]:
    f, f_grad = rule.f, rule.derivative

    def f_vjp(*primals: Any, **static: Any) -> Any:
        def pullback(_: Any) -> Any:
            found = f_grad(*primals, **static)
            alone = isinstance(primals[0], tuple) and len(found) == len(primals[0])
            return found if isinstance(found, tuple) and not alone else (found,)

        return (None if f is None else f(*primals, **static)), pullback

    return f_vjp


def _from_custom(rule: Rule) -> Callable[..., Any]:
    def f_vjp(*primals: Any, **static: Any) -> Any:
        fixed = fixed_arguments(rule)
        moving = [x for i, x in enumerate(primals) if i not in fixed]

        def of_moving(*xs: Any) -> Any:
            given = iter(xs)
            every = [x if i in fixed else next(given) for i, x in enumerate(primals)]
            return rule.derivative(*every, **static)

        y, pullback = jax.vjp(of_moving, *moving)

        def all_cotangents(dy: Any) -> Any:
            found = iter(pullback(dy))
            return tuple(None if i in fixed else next(found) for i in range(len(primals)))

        return y, all_cotangents

    return f_vjp


def _no_vjp(rule: Rule) -> Callable[..., Any]:
    raise TypeError(f"{rule.name} has no pullback, only {rule.name}_jvp")


def fixed_arguments(rule: Rule) -> tuple[int, ...]:
    """The arguments that a function which carries its derivative is not differentiated by."""
    custom = carried(rule.derivative)
    return tuple(custom.nondiff_argnums) if custom is not None else ()


_AS_VJP: dict[str, Callable[[Rule], Callable[..., Any]]] = {
    "vjp": lambda rule: rule.derivative,
    "fwd_bwd": _from_fwd_bwd,
    "grad": _from_grad,
    "jvp": _no_vjp,
    "custom_vjp": _from_custom,
    "custom_jvp": _from_custom,
}
