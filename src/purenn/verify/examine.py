"""One rule in one dtype: draw, ask, judge, shrink."""

import inspect
import traceback
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import Any, Literal, NamedTuple

import hypothesis
import jax
import numpy as np
from hypothesis import strategies as st

from purenn.typing import Array, Shape
from purenn.verify import draw, judge, oracles, properties
from purenn.verify.primitives import UnknownPrimitiveError
from purenn.verify.properties import Failure
from purenn.verify.rules import Rule

DTYPES = ("float32", "float64")


class DerivativeError(AssertionError):
    """A hand-written derivative is wrong, or breaks the contract."""


class RuleError(Exception):
    """A rule that raises, with the input that it raises on."""


class Finding(NamedTuple):
    """What the examination of a rule in one dtype found."""

    rule: Rule
    dtype: str
    verdict: Literal["pass", "fail", "error"]
    reason: str
    worst: float
    """The worst error of a cotangent, in ULPs of |J|ᵀ|dy|; NaN if none could be measured."""
    autodiff_worst: float
    """The same of JAX's autodiff in the same dtype, compiled or not, on any device."""


class Quantity(NamedTuple):
    """The value or one cotangent, in everybody's telling."""

    name: str
    ours: Array
    rivals: dict[str, Array]
    truth: Array
    scale: Array
    sensitivity: Callable[[], Array]
    """What to allow beyond ``scale`` for ill-conditioned inputs; costly, so asked late."""
    nearby: Callable[[], list[Array]]
    """What autodiff gives for inputs a few ULPs away, where it may be less lucky; asked last."""
    rounding: float = 0.0
    """The rounding error of a number as large as dy: what a formula that cancels is left with."""


def examine(
    rule: Rule,
    dtype: str,
    *,
    devices: Sequence[Any] | None = None,
    examples: int = 40,
    seed: int = 0,
) -> Finding:
    """Examine ``rule`` in ``dtype`` on ``examples`` drawn inputs.

    ``devices`` are the JAX devices of the compiled equivalent, by default the CPU alone.
    A failure is shrunk to the plainest input and told with code that reproduces it. Whatever the
    rule raises is a verdict, never the end of the run.
    """
    where = jax.devices("cpu")[:1] if devices is None else devices
    worst = {"ours": np.nan, "autodiff": np.nan}

    @hypothesis.seed(seed)
    @hypothesis.settings(
        max_examples=examples,
        database=None,
        deadline=None,
        phases=[hypothesis.Phase.generate, hypothesis.Phase.shrink],
        suppress_health_check=list(hypothesis.HealthCheck),
        report_multiple_bugs=False,
        verbosity=hypothesis.Verbosity.quiet,
    )
    @hypothesis.given(st.data())
    def trial(data: st.DataObject) -> None:
        drawn = data.draw(draw.arguments(rule.f_vjp, np.dtype(dtype)))
        lay_out = data.draw(draw.LAYOUTS)
        primals = tuple(lay_out(x) for x in drawn)
        dy = data.draw(draw.cotangents(*_output(rule, primals)))
        for x in (*primals, dy):
            x.setflags(write=False)
        try:
            for quantity in _quantities(rule, primals, dy, where):
                _judge(quantity, worst)
        except Failure as failure:
            raise Failure(f"{failure}\n\n{reproduce(rule, primals, dy)}") from failure
        except UnknownPrimitiveError:
            raise
        except Exception as error:
            raise RuleError(f"{_where(error)}\n\n{reproduce(rule, primals, dy)}") from error

    def finding(verdict: Literal["pass", "fail", "error"], reason: str) -> Finding:
        return Finding(rule, dtype, verdict, reason, worst["ours"], worst["autodiff"])

    try:
        trial()
    except Failure as failure:
        return finding("fail", str(failure))
    except Exception as error:
        return finding("error", str(error))
    return finding("pass", "")


def check(rule: Rule, dtypes: Sequence[str] = DTYPES, **options: Any) -> list[Finding]:
    """Examine ``rule`` in every dtype; ``options`` are those of :func:`examine`.

    Raises:
        DerivativeError: the rule does not pass; the message is the reason and a reproduction.
    """
    findings = [examine(rule, dtype, **options) for dtype in dtypes]
    for finding in findings:
        if finding.verdict != "pass":
            raise DerivativeError(f"{rule} in {finding.dtype}: {finding.reason}")
    return findings


def devices(choice: Literal["cpu", "gpu", "all"] = "all") -> list[Any]:
    """The first JAX device of each platform chosen; all are those that JAX sees, the CPU always.

    Raises:
        RuntimeError: JAX sees no such device.
    """
    every = sorted({device.platform for device in jax.devices()} | {"cpu"})
    return [jax.devices(platform)[0] for platform in (every if choice == "all" else [choice])]


def reproduce(rule: Rule, primals: Sequence[Array], dy: Array) -> str:
    """Code that calls the rule on these inputs."""
    names = _arguments(rule)
    lines = [
        f"{name} = np.array({x.tolist()!r}, np.{x.dtype})"
        + ("" if x.size else f".reshape({x.shape})")
        for name, x in zip((*names, "dy"), (*primals, dy), strict=True)
    ]
    switches = "".join(f", {name}={value}" for name, value in rule.static)
    function = inspect.unwrap(rule.f_vjp)
    return "\n".join(
        [
            "import numpy as np",
            f"from {function.__module__} import {function.__name__}",
            *lines,
            f"y, pullback = {function.__name__}({', '.join(names)}{switches})",
            "print(pullback(dy))",
        ]
    )


def _where(error: Exception) -> str:
    """What was raised, and the line that raised it."""
    frame = traceback.extract_tb(error.__traceback__)[-1]
    return f"{type(error).__name__}: {error} ({frame.filename}:{frame.lineno})"


def _arguments(rule: Rule) -> list[str]:
    return list(draw.specifications(rule.f_vjp))


def _output(rule: Rule, primals: Sequence[Array]) -> tuple[Shape, np.dtype[Any]]:
    """The shape and dtype of the reference's value, those that ``dy`` must have."""
    try:
        with jax.enable_x64(True):
            y = jax.eval_shape(lambda *xs: rule.reference(*xs, **dict(rule.static)), *primals)
    except Exception as error:
        raise ReferenceError(f"the reference raised {_where(error)}") from error
    if not hasattr(y, "shape"):
        raise ReferenceError(f"the reference returned a {type(y).__name__}, expected one array")
    return tuple(y.shape), np.dtype(y.dtype)


def _quantities(
    rule: Rule, primals: Sequence[Array], dy: Array, devices: Sequence[Any]
) -> Iterator[Quantity]:
    def f_vjp(*xs: Array) -> Any:
        return rule.f_vjp(*xs, **dict(rule.static))

    with np.errstate(all="ignore"):
        ours = properties.call(f_vjp, primals, dy)
    rivals = {"jax.vjp": oracles.autodiff(rule, primals, dy, devices[0], jit=False)} | {
        f"jit on {d.platform}": oracles.autodiff(rule, primals, dy, d) for d in devices
    }
    truth = oracles.truth(rule, primals, dy)
    values = {name: answer.value for name, answer in rivals.items()}
    with np.errstate(all="ignore"):
        forward = np.asarray(rule.f(*primals, **dict(rule.static)))
    properties.check_like("the value of " + rule.f.__name__, forward, dy)
    for name, value in (("f", forward), ("y", ours.value)):
        yield Quantity(
            name,
            value,
            values,
            truth.value,
            truth.value_scale,
            partial(np.zeros, dy.shape),
            list,
        )
    for i, name in enumerate(_arguments(rule)):
        dx, exact_dx, scale = ours.cotangents[i], truth.cotangents[i], truth.cotangent_scales[i]
        theirs = {name: answer.cotangents[i] for name, answer in rivals.items()}
        if dx is not None and exact_dx is not None and scale is not None:
            yield Quantity(
                f"d{name}",
                dx,
                {name: rival for name, rival in theirs.items() if rival is not None},
                exact_dx,
                scale,
                partial(oracles.sensitivity, rule, primals, dy, i),
                partial(oracles.nearby, rule, primals, dy, devices[0], i),
                float(2 * np.finfo(dy.dtype).eps * np.max(np.abs(dy), initial=0.0)),
            )


def _judge(it: Quantity, worst: dict[str, float]) -> None:
    """Record the errors of a quantity, and refuse it if they are too large.

    They are measured in ULPs of the terms; where that is too strict for the rule, of the terms
    and of what rounding of the inputs alone does to an ill-conditioned result. Where autodiff in
    the same dtype loses digits, the rule may lose as many, up to all of them.
    """
    scale = it.scale
    found = judge.errors(it.ours, it.truth, scale)
    if _largest(found) > judge.TOLERANCE:
        scale = scale + it.sensitivity()
        found = judge.errors(it.ours, it.truth, scale)
    rivals = np.max([judge.errors(r, it.truth, scale) for r in it.rivals.values()], axis=0)
    if it.name not in ("f", "y"):
        worst["ours"] = np.fmax(worst["ours"], _largest(found))
        worst["autodiff"] = np.fmax(worst["autodiff"], _largest(rivals))
    if _largest(found) <= judge.TOLERANCE:
        return
    everybody = [rivals, *(judge.errors(r, it.truth, scale) for r in it.nearby())]
    all_digits = judge.errors(np.zeros_like(it.ours), it.truth, scale)
    with np.errstate(over="ignore"):
        one_rounding = it.rounding / judge.ulp(scale, it.ours.dtype)
    nothing_left = np.maximum(all_digits, one_rounding)
    excused = np.minimum(judge.TOLERANCE * np.max(everybody, axis=0), nothing_left)
    if np.any(found > np.maximum(judge.TOLERANCE, excused)):
        place = np.unravel_index(np.argmax(found - excused), found.shape)
        index = f"[{', '.join(str(i) for i in place)}]" if place else ""
        told = "".join(f"; {name}: {rival[place]!s}" for name, rival in it.rivals.items())
        raise Failure(
            f"{it.name}{index}: got {it.ours[place]!s}, expected {_expected(it.truth[place])}, "
            f"off by {found[place]:.3g} ULP{told}"
        )


def _expected(ball: Any) -> str:
    """The number, or at a kink the ends of what is right."""
    middle, radius = float(ball.mid()), float(ball.rad())
    if radius <= 1e-6 * abs(middle):
        return f"{middle:.17g}"
    return f"{middle - radius:.6g} to {middle + radius:.6g} (a kink)"


def _largest(found: Array) -> float:
    return float(np.max(found, initial=0.0))
