"""One rule in one dtype: draw, ask, judge, shrink."""

import inspect
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import Any, Literal, NamedTuple

import hypothesis
import jax
import numpy as np
from hypothesis import strategies as st

from purenn.typing import Array, Shape
from purenn.verify import balls, draw, judge, oracles, properties
from purenn.verify.properties import Failure
from purenn.verify.rules import Rule

DTYPES = ("float32", "float64")


class DerivativeError(AssertionError):
    """A hand-written derivative is wrong, or breaks the contract."""


class Finding(NamedTuple):
    """What the examination of a rule in one dtype found."""

    rule: Rule
    dtype: str
    verdict: Literal["pass", "fail", "error"]
    reason: str
    worst: float
    """The worst error of a cotangent, in ULPs of |J|ᵀ|dy|."""
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
    """What to allow beyond ``scale`` for ill-conditioned inputs; costly, so asked last."""


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
    worst = {"ours": 0.0, "autodiff": 0.0}

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
        primals = data.draw(draw.arguments(rule.f_vjp, np.dtype(dtype)))
        dy = data.draw(draw.cotangents(*_output(rule, primals)))
        for x in (*primals, dy):
            x.setflags(write=False)
        try:
            for quantity in _quantities(rule, primals, dy, where):
                _judge(quantity, worst)
        except Exception as error:
            told = str(error) if isinstance(error, Failure) else f"{type(error).__name__}: {error}"
            error.args = (f"{told}\n\n{reproduce(rule, primals, dy)}",)
            raise

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


def _arguments(rule: Rule) -> list[str]:
    return list(draw.specifications(rule.f_vjp))


def _output(rule: Rule, primals: Sequence[Array]) -> tuple[Shape, np.dtype[Any]]:
    """The shape and dtype of the reference's value, those that ``dy`` must have."""
    with jax.enable_x64(True):
        y = jax.eval_shape(lambda *xs: rule.reference(*xs, **dict(rule.static)), *primals)
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
    yield Quantity(
        "y", ours.value, values, truth.value, truth.value_scale, lambda: np.zeros(dy.shape)
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
            )


def _judge(it: Quantity, worst: dict[str, float]) -> None:
    """Record the errors of a quantity, and refuse it if they are too large.

    They are measured in ULPs of the terms; where that is too strict for the rule, of the terms
    and of what rounding of the inputs alone does to an ill-conditioned result. As good as
    autodiff in the same dtype is good enough: where its formula loses digits, so may another.
    """
    scale = it.scale
    found = judge.errors(it.ours, it.truth, scale)
    if _largest(found) > judge.TOLERANCE:
        scale = scale + it.sensitivity()
        found = judge.errors(it.ours, it.truth, scale)
    rivals = [_largest(judge.errors(rival, it.truth, scale)) for rival in it.rivals.values()]
    if it.name != "y":
        worst["ours"] = max(worst["ours"], _largest(found))
        worst["autodiff"] = max(worst["autodiff"], *rivals)
    if _largest(found) > judge.TOLERANCE * max(1.0, *rivals):
        place = np.unravel_index(np.argmax(found), found.shape)
        index = f"[{', '.join(str(i) for i in place)}]" if place else ""
        told = "".join(f"; {name}: {rival[place]!s}" for name, rival in it.rivals.items())
        raise Failure(
            f"{it.name}{index}: got {it.ours[place]!s}, "
            f"expected {balls.nearest(it.truth)[place]:.17g}, "
            f"off by {found[place]:.3g} ULP{told}"
        )


def _largest(found: Array) -> float:
    return float(np.max(found, initial=0.0))
