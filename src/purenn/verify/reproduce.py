"""Python to paste: the input on which a rule failed, and an assertion that fails as it did."""

import re
import site
import sys
from collections.abc import Sequence
from functools import cache
from importlib.metadata import packages_distributions
from pathlib import Path
from typing import Any

import jax
import numpy as np

from purenn.verify import annotations
from purenn.verify.annotations import Signature
from purenn.verify.examples import Example, Fixed
from purenn.verify.rules import Rule, fixed_arguments


def code(
    rule: Rule,
    example: Example,
    signature: Signature,
    shows: Sequence[str],
    read_only: bool = False,
    earlier: Sequence[Example] = (),
) -> str:
    """A script that calls the rule on the example and ends with the lines of ``shows``.

    ``earlier`` are examples that it calls the rule on before, for a rule that remembers.
    """
    names = list(example.names)
    body = [
        line
        for name, primal, its in zip(
            names, example.primals, signature.positional.values(), strict=True
        )
        for line in _assignment(name, primal, example.layout, _takes_jax(its))
    ]
    takes_jax = any(_takes_jax(its) for its in signature.positional.values())
    body += _cotangent(example, takes_jax)
    if read_only and not takes_jax:
        every = ", ".join([*names, "dy"])
        body += [f"for leaf in jax.tree.leaves(({every})):", "    leaf.setflags(write=False)"]
    calls = [*earlier_calls(rule, earlier), *_call(rule, example)]
    if read_only:
        told = 'raise AssertionError(f"an argument or dy is written to: {error}")'
        calls = [
            "try:",
            *(f"    {line}" for line in calls),
            "except ValueError as error:",
            f"    {told}",
        ]
    body += calls + list(shows)
    text = "\n".join(body)
    wide = example.dtype == "float64" and (takes_jax or rule.convention.startswith("custom"))
    head = ["import jax"] if wide or "jax." in text else []
    head += ["import jax.numpy as jnp"] if "jnp." in text else []
    head += ["import contextlib"] if "contextlib." in text else []
    head += ["import ml_dtypes"] if "ml_dtypes." in text else []
    head += ["import numpy as np"]
    head += ["from numpy import inf, nan"] if re.search(r"\b(inf|nan)\b", text) else []
    head += ['jax.config.update("jax_enable_x64", True)'] if wide else []
    return (
        "\n".join([*head, *_imports(rule, text, _named_tuples(example.primals)), "", *body]) + "\n"
    )


def _takes_jax(tree: Any) -> bool:
    return any(leaf.holder is jax.Array for leaf in annotations.leaves([tree]))


def literal(x: Any, to_jax: bool = False) -> str:
    """``x`` as an expression."""
    if isinstance(x, Fixed):
        return literal(x.value)
    if isinstance(x, np.ndarray):
        if x.dtype == jax.dtypes.float0:
            return f"np.zeros({x.shape}, jax.dtypes.float0)"
        dtype = f"np.{x.dtype.name}" if x.dtype.name != "bfloat16" else "ml_dtypes.bfloat16"
        dtype = "bool" if x.dtype == bool else dtype
        values = x.astype(np.float64) if x.dtype.name == "bfloat16" else x
        made = f"np.array({values.tolist()!r}, {dtype})"
        made += "" if x.size else f".reshape({x.shape})"
        return f"jnp.asarray({made})" if to_jax else made
    if isinstance(x, dict):
        inside = ", ".join(f"{key!r}: {literal(value, to_jax)}" for key, value in x.items())
        return f"{{{inside}}}"
    if isinstance(x, tuple) and hasattr(x, "_fields"):
        return f"{type(x).__name__}({', '.join(literal(value, to_jax) for value in x)})"
    if isinstance(x, tuple):
        inside = ", ".join(literal(value, to_jax) for value in x)
        return f"({inside},)" if len(x) == 1 else f"({inside})"
    if isinstance(x, list):
        return f"[{', '.join(literal(value, to_jax) for value in x)}]"
    return repr(x)


_LAID_OUT = {
    "Fortran": "np.asfortranarray({0})",
    "negative strides": "np.flip(np.flip({0}).copy())",
    "every other entry": "np.repeat({0}, 2, axis=-1)[..., ::2]",
}


def _assignment(name: str, x: Any, layout: str, to_jax: bool) -> list[str]:
    lines = [f"{name} = {literal(x, to_jax)}"]
    arrays = isinstance(x, np.ndarray) and x.ndim > 0 and not to_jax
    if arrays and layout in _LAID_OUT:
        lines.append(f"{name} = {_LAID_OUT[layout].format(name)}")
    return lines


def _cotangent(example: Example, to_jax: bool) -> list[str]:
    if not example.cotangents:
        return []
    if len(example.cotangents) == 1:
        return _assignment("dy", example.cotangents[0], example.layout, to_jax)
    inside = ", ".join(literal(dy, to_jax) for dy in example.cotangents)
    return [f"dy = ({inside})"]


def _call(rule: Rule, example: Example) -> list[str]:
    name = _function_name(rule.derivative)
    static = "".join(f", {key}={literal(value)}" for key, value in example.static)
    arguments = ", ".join(example.names) + static
    many = len(example.cotangents) > 1
    if rule.convention == "vjp":
        lines = [f"y, pullback = {name}({arguments})", "cotangents = pullback(dy)"]
    elif rule.convention == "fwd_bwd":
        assert rule.bwd is not None
        back = _function_name(rule.bwd)
        lines = [
            f"y, residuals = {name}({arguments})",
            f"pullback = lambda dy: {back}(residuals, dy)",
            "cotangents = pullback(dy)",
        ]
    elif rule.convention == "grad":
        lines = [f"cotangents = {name}({arguments})"]
        alone = "not isinstance(cotangents, tuple)"
        if isinstance(example.primals[0], tuple):
            alone += f" or len(cotangents) == {len(example.primals[0])}"
        lines += [f"if {alone}:", "    cotangents = (cotangents,)"]
    elif rule.convention == "jvp":
        return []
    else:
        fixed = fixed_arguments(rule)
        moving = [n for i, n in enumerate(example.names) if i not in fixed]
        function = name
        if fixed or static:
            function = f"lambda {', '.join(moving)}: {name}({arguments})"
        lines = [
            f"y, pullback = jax.vjp({function}, {', '.join(moving)})",
            "cotangents = pullback(dy)",
        ]
    if many and rule.convention != "grad":
        lines.insert(1, "dy = jax.tree.unflatten(jax.tree.structure(y), dy)")
    return lines


def earlier_calls(rule: Rule, examples: Sequence[Example]) -> list[str]:
    """Lines that call the rule on examples, whatever comes of it."""
    lines = []
    for example in examples:
        arguments = ", ".join(literal(x) for x in example.primals)
        arguments += "".join(f", {key}={literal(value)}" for key, value in example.static)
        call = f"{_function_name(rule.derivative)}({arguments})"
        lines += [
            "with contextlib.suppress(Exception):",
            f"    {call}" + ("[1](dy)" if rule.convention == "vjp" else ""),
        ]
    return lines


def _function_name(function: Any) -> str:
    return str(getattr(function, "__name__", "rule"))


def _named_tuples(tree: Any) -> set[type]:
    """The types of the named tuples in a tree."""
    if isinstance(tree, dict):
        return _named_tuples(tuple(tree.values()))
    if not isinstance(tree, (tuple, list)):
        return set()
    own = {type(tree)} if hasattr(tree, "_fields") else set()
    return own.union(*map(_named_tuples, tree))


def _imports(rule: Rule, text: str, types: set[type]) -> list[str]:
    every = [rule.derivative, rule.bwd, rule.jvp, rule.f]
    used = [f for f in every if f is not None and f"{_function_name(f)}(" in text]
    used = used or [rule.derivative]
    module = getattr(rule.derivative, "__module__", "__main__")
    file = getattr(sys.modules.get(module), "__file__", None)
    lines = []
    if file and not _is_installed(module, Path(file)):
        folder = Path(file).resolve().parents[module.count(".")]
        lines = ["import sys", f"sys.path.insert(0, {str(folder)!r})"]
    names = dict.fromkeys(_function_name(function) for function in used)
    wanted = {module: names}
    for its in sorted(types, key=lambda its: its.__name__):
        wanted.setdefault(its.__module__, {})[its.__name__] = None
    return [*lines, *(f"from {source} import {', '.join(its)}" for source, its in wanted.items())]


def _is_installed(module: str, file: Path) -> bool:
    if any(file.is_relative_to(place) for place in site.getsitepackages()):
        return True
    return module.split(".")[0] in _packages()


# Reading what every distribution has takes a third of a second.
_packages = cache(packages_distributions)


def number(code: str, ball: Any, allowed: float, got: Any, told: str) -> list[str]:
    """Lines that assert a number to be in a ball, give or take what is allowed."""
    middle, radius = float(ball.mid()), float(ball.rad())
    lines = [f"got = float({code})"]
    if radius > 1e-6 * abs(middle) and radius > 1e-300:
        low, high = middle - radius, middle + radius
        lines += [
            f"print(got)  # {told}",
            f"assert {low - allowed!r} <= got <= {high + allowed!r}, got",
        ]
        return lines
    return [
        *lines,
        f"expected = {middle!r}",
        f"print(got, expected)  # {told}",
        f"assert abs(got - expected) <= {allowed!r}, (got, expected)",
    ]


def indexed(code: str, place: Sequence[int]) -> str:
    """An entry of an array that an expression gives."""
    return code + (f"[{', '.join(map(str, place))}]" if place else "")
