"""Is a gradient the gradient of that loss, for a whole model?

Gradient and loss are often written apart. Then one is a mean and the other a sum, or one has the
regularizer and the other has not (scikit-learn's issue 8349). The loss alone tells: its
differences in float64, extrapolated as in :mod:`purenn.verify.numeric`, along directions in every
leaf and along single entries.
"""

import contextlib
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, Literal, NamedTuple

import jax
import numpy as np

from purenn.typing import Array, Shape
from purenn.verify import numeric


class GradientReport(NamedTuple):
    """What the comparison of a gradient with its loss found.

    Attributes:
        verdict: "undecided" if the loss does not tell the derivative at more than half the points.
        worst: The point where the two differ most, as ``params["kernel"][3, 0]``.
        got: The gradient there.
        expected: The derivative of the loss there.
        error: How far ``expected`` may be from the truth.
        relative_error: |got − expected| / max(|got|, |expected|).
        slope: Of log r against log h, r being the Taylor remainder |L(θ + hv) − L(θ) − h⟨g, v⟩|
            along a random direction v: 2 or more if the gradient is right, 1 if it is wrong, NaN
            if r vanishes.
        decided: How many derivatives were compared.
        undecided: How many the loss does not tell.
    """

    verdict: Literal["pass", "undecided"]
    worst: str
    got: float
    expected: float
    error: float
    relative_error: float
    slope: float
    decided: int
    undecided: int

    def __str__(self) -> str:
        it = self
        return (
            f"{it.verdict}: {it.decided} derivatives compared, {it.undecided} undecided; Taylor "
            f"slope {it.slope:.2f}; worst at {it.worst}: got {it.got:.9g}, expected "
            f"{it.expected:.9g} ± {it.error:.2g}, relative error {it.relative_error:.2g}"
        )


class _Model(NamedTuple):
    """Loss and gradient of float64 leaves, ``wide`` if called so; ``eps`` is that of the loss."""

    loss: Callable[..., Any]
    grad: Callable[..., Any]
    paths: list[str]
    values: list[Any]
    structure: Any
    batch: Any
    wide: bool = False
    eps: float = numeric.EPS32

    def call(self, function: Callable[..., Any], leaves: Sequence[Array]) -> Any:
        """``function`` of parameters that nobody else has, and of the batch."""
        with jax.enable_x64(True) if self.wide else contextlib.nullcontext():
            dtypes = [np.float64 if self.wide else value.dtype for value in self.values]
            params = jax.tree.unflatten(self.structure, map(_like, self.values, leaves, dtypes))
            with numeric.quiet():
                return function(params, *([] if self.batch is None else [self.batch]))

    def value(self, leaves: Sequence[Array]) -> Array:
        """The loss, in the dtype that it has."""
        value = np.asarray(self.call(self.loss, leaves))
        if value.shape or np.iscomplexobj(value):
            got = f"{value.dtype} of shape {value.shape}"
            raise ValueError(f"loss is {got}, expected a real scalar")
        return value if _is_floating(value) else value.astype(np.float64)


class _Leaf(NamedTuple):
    """``rounding`` is how far the gradient is from itself in float64."""

    path: str
    value: Array
    grad: Array
    eps: float
    rounding: Array


class _Point(NamedTuple):
    """A derivative of the loss along a direction in some leaves, and what the gradient says."""

    where: str
    directions: dict[int, Array]
    samples: numeric.Samples
    got: float
    scale: float
    tolerance: float
    expected: float = 0.0
    error: float = np.inf

    @property
    def distance(self) -> float:
        return abs(self.got - self.expected)

    @property
    def off(self) -> float:
        """The distance relative to the gradient around."""
        return self.distance / max(self.scale, abs(self.expected)) if self.distance else 0.0

    @property
    def spare(self) -> float:
        """The distance that is right."""
        return self.error * (1 if self.decided else 10) + self.tolerance

    @property
    def decided(self) -> bool:
        """Whether the error is at most a thousandth of the gradient around."""
        both_vanish = self.got == self.expected == 0
        enough = 1e-5 * abs(float(self.samples.here[0])) if both_vanish else 0.0
        return self.error <= max(1e-3 * max(self.scale, abs(self.expected)), enough)

    @property
    def wrong(self) -> bool:
        return self.distance > self.spare

    @property
    def entries(self) -> int:
        return sum(int(np.count_nonzero(v)) for v in self.directions.values())


def check_gradient(
    grad: Callable[..., Any],
    loss: Callable[..., Any],
    params: Any,
    batch: Any = None,
    *,
    entries: int = 8,
    seed: int = 0,
) -> GradientReport:
    """Compare ``grad`` at ``params`` with the derivatives of ``loss`` by numbers.

    The loss is called with float64 copies of the parameters and of the batch's floating arrays;
    if it fails on them, or is another one, with their own dtypes. Compared are its derivatives
    leaf by leaf, along a random direction, the gradient and single entries; where only a direction
    is wrong, halving it finds the entry. Kinks and what differences do not tell well are
    undecided. The Taylor remainder is a second witness that needs no choice of a step (Higham
    2002, Accuracy and Stability of Numerical Algorithms).

    Args:
        grad: ``grad(params, batch)``, or ``grad(params)`` without a batch: a tree like ``params``,
            of the same shapes and dtypes.
        loss: ``loss(params, batch)`` or ``loss(params)``, a scalar, called 33 to 39 times for each.
        params: Nested dicts, lists, tuples or named tuples of floating NumPy or JAX arrays.
        batch: What both take besides.
        entries: How many single entries of each leaf are compared, the largest among them.
        seed: Of the random directions and entries.

    Raises:
        DerivativeError: the gradient is wrong, not finite or no tree like ``params``; the message
            says where, and by which factor if there is one in common.
        TypeError: a parameter is not floating.
        ValueError: the loss is no real scalar.
    """
    paths, values, structure = _flatten("params", params)
    for path, value in zip(paths, values, strict=True):
        if not _is_floating(value):
            kind = getattr(value, "dtype", type(value).__name__)
            raise TypeError(f"{path} is {kind}, expected an array of a floating dtype")
    leaves = [_to_float64(value) for value in values]
    own = _Model(loss, grad, paths, values, structure, batch)
    model = _widest(own, leaves)
    here = np.array([float(model.value(leaves))])
    nothing = np.nan, np.nan, np.inf, np.nan, np.nan
    if not np.isfinite(here[0]) or not any(leaf.size for leaf in leaves):
        return GradientReport("undecided", "params", *nothing, 0, 0)
    gradient = _gradient(own, model, leaves)
    measure = partial(_measure, model, here, gradient)
    rng = np.random.default_rng(seed)
    randomly = {i: np.asarray(rng.standard_normal(x.shape)) for i, x in enumerate(leaves)}
    points = [measure("params along a random direction", randomly)]
    for i, leaf in enumerate(gradient):
        if leaf.value.size > 1:
            randomly = {i: np.asarray(rng.standard_normal(leaf.value.shape))}
            points.append(measure(f"{leaf.path} along a random direction", randomly))
        if leaf.value.size > 1 and np.any(leaf.grad):
            direction = leaf.grad / np.max(np.abs(leaf.grad))
            points.append(measure(f"{leaf.path} along its gradient", {i: direction}))
        for place in _places(rng, leaf.grad, entries):
            unit = np.zeros(leaf.value.shape)
            unit[place] = 1.0
            points.append(measure(leaf.path + _index(place), {i: unit}))
    fine = any(bool(point.samples.fine[0]) for point in points)
    rounding = numeric.EPS if fine else model.eps
    points = [_estimate(point, rounding) for point in points]
    if any(point.wrong for point in points):
        _accuse(points, gradient, measure, rounding, batch)
    known = [point for point in points if point.decided]
    worst = max(known or points, key=lambda point: point.off)
    relative = worst.distance / max(abs(worst.got), abs(worst.expected), 5e-324)
    slope, undecided = _taylor_slope(points[0], rounding), len(points) - len(known)
    return GradientReport(
        "pass" if undecided <= len(known) else "undecided",
        *(worst.where, worst.got, worst.expected, worst.error, relative),
        *(slope, len(known), undecided),
    )


def _widest(model: _Model, leaves: Sequence[Array]) -> _Model:
    """The model in float64, unless it fails there or has another loss.

    Random numbers, say, that a model draws in its own dtype are others in float64.
    """
    own, widened = model.value(leaves), np.asarray(np.nan)
    with contextlib.suppress(Exception), jax.enable_x64(True):
        wide = model._replace(wide=True, batch=jax.tree.map(_widened, model.batch))
        widened = wide.value(leaves)
    eps = max(map(_eps, model.values), default=0.0)
    close = np.abs(widened - own) <= np.sqrt(eps) * (np.abs(widened) + np.abs(own))
    if np.isfinite(widened) and (close or not np.isfinite(own)):
        return wide._replace(eps=max(numeric.EPS32, _eps(widened)))
    return model._replace(eps=max(numeric.EPS32, _eps(own), eps))


def _gradient(model: _Model, wide: _Model, leaves: Sequence[Array]) -> list[_Leaf]:
    """The gradient leaf by leaf, refused unless it looks like the parameters."""
    from purenn.verify.examine import DerivativeError

    paths, found, structure = _flatten("params", model.call(model.grad, leaves))
    if structure != model.structure:
        less = [f"has no {path}" for path in model.paths if path not in paths]
        more = [f"has {p}, which the parameters have not" for p in paths if p not in model.paths]
        other = f"is {structure}, expected {model.structure}"
        raise DerivativeError(f"the gradient {[*less, *more, other][0]}")
    for path, value, got in zip(paths, model.values, found, strict=True):
        dtype = str(getattr(got, "dtype", type(got).__name__))
        pairs = ("shape", np.shape(got), value.shape), ("dtype", dtype, str(value.dtype))
        wrong = [f"{path} has {what} {a}, expected {b}" for what, a, b in pairs if a != b]
        if not wrong:
            g = _to_float64(got)
            lost = np.argwhere(~np.isfinite(g))[:1]
            wrong = [f"{path}{_index(place)} is {g[tuple(place)]}" for place in lost]
        if wrong:
            raise DerivativeError(f"the gradient of {wrong[0]}")
    again = found
    if wide.wide and any(value.dtype != np.float64 for value in model.values):
        with contextlib.suppress(Exception):
            again = _flatten("params", wide.call(model.grad, leaves))[1]
    grads = [_to_float64(got) for got in found]
    rounding = [np.nan_to_num(g - _to_float64(x)) for g, x in zip(grads, again, strict=True)]
    return [*map(_Leaf, paths, leaves, grads, map(_eps, model.values), rounding)]


def _measure(
    model: _Model, here: Array, gradient: Sequence[_Leaf], where: str, directions: dict[int, Array]
) -> _Point:
    """The loss along a direction, and what the gradient says."""

    def line(step: float) -> list[Array]:
        leaves = [leaf.value for leaf in gradient]
        for i, direction in directions.items():
            leaves[i] = leaves[i] + step * direction
        return [model.value(leaves)]

    along = [(gradient[i], v) for i, v in directions.items()]
    size = max(_largest(leaf.value[v != 0]) for leaf, v in along)
    got = sum(float(np.vdot(leaf.grad, v)) for leaf, v in along)
    rounded = abs(sum(float(np.vdot(leaf.rounding, v)) for leaf, v in along))
    terms = float(np.linalg.norm([np.linalg.norm(leaf.grad * v) for leaf, v in along]))
    scale = max(terms, *(_largest(leaf.grad) for leaf, _ in along))
    eps = max(leaf.eps for leaf, _ in along)
    rounded += max(_largest(leaf.rounding) for leaf, _ in along)
    # A derivative that is 0, as of a bias before a normalization, keeps rounding of others' size.
    others = 8 * eps * max(_largest(leaf.grad) for leaf in gradient)
    tolerance = min(64 * eps, max(4 * eps, 1e-3)) * scale
    tolerance += min(8 * rounded, max(1e-2 * scale, others))
    return _Point(where, directions, numeric.sample(line, here, size), got, scale, tolerance)


def _estimate(point: _Point, rounding: float) -> _Point:
    """The point with its derivative; none at a kink, where one-sided ones bound no gradient."""
    (estimate,), (error,), (smooth,) = numeric.slope(point.samples, np.array([rounding]))
    return point._replace(expected=float(estimate), error=float(error) if smooth else np.inf)


def _accuse(
    points: Sequence[_Point],
    gradient: Sequence[_Leaf],
    measure: Callable[[str, dict[int, Array]], _Point],
    rounding: float,
    batch: Any,
) -> None:
    """Raise with what is wrong where; halving a direction finds its entry, if it is only one."""
    from purenn.verify.examine import DerivativeError

    wrong = [p for p in points if p.wrong]
    it = max(wrong, key=lambda p: (-len(p.directions), p.entries == 1, p.off))
    while len(it.directions) == 1 and it.entries > 1:
        [(i, direction)] = it.directions.items()
        for places in np.array_split(np.flatnonzero(direction), 2):
            half = np.zeros(direction.size)
            half[places] = direction.flat[places]
            place = np.unravel_index(places[0], direction.shape)
            where = gradient[i].path + _index(place) if len(places) == 1 else it.where
            part = _estimate(measure(where, {i: half.reshape(direction.shape)}), rounding)
            if part.wrong:
                it = part
                break
        else:
            break
    raise DerivativeError(
        f"{it.where}: got {it.got:.9g}, expected {it.expected:.9g} ± {it.error:.2g}; "
        f"Taylor slope {_taylor_slope(it, rounding):.2f} (2 if right, 1 if wrong); "
        f"{len(wrong)} of {len(points)} derivatives are wrong{_common_factor(points, batch)}"
    )


def _common_factor(points: Sequence[_Point], batch: Any) -> str:
    """The factor that all of the gradient is off by, if it is one, and what it may come from."""
    known = [p for p in points if p.decided and p.expected]
    best = min(known, key=lambda p: p.spare / abs(p.expected), default=points[0])
    factor = best.got / best.expected + 0.0 if best.expected else 1.0
    for p in points:
        off = abs(p.got - factor * p.expected)
        if off > 4 * p.spare * max(1.0, abs(factor)) or (p.wrong and off > p.distance / 2):
            return ""
    names = {-1.0: "the sign", 2.0: "2", 0.5: "1/2"}
    for n in {np.shape(x)[0] for x in jax.tree.leaves(batch) if np.ndim(x)} - {0, 1}:
        axis = f"{n}, the size of the batch's first axis"
        names |= {float(n): axis, 1 / n: f"1/{axis}"}
    nearest, name = min(names.items(), key=lambda item: abs(item[0] - factor))
    close = abs(nearest - factor) <= max(1e-3, 4 * best.spare / abs(best.expected)) * abs(factor)
    told = f"{nearest if close else factor:.6g}"
    because = f": {told} = {name}" if close else ""
    return f"; the gradient is {told} times the derivative of the loss{because}"


def _taylor_slope(point: _Point, rounding: float) -> float:
    """Slope of log r against log h over the four finest steps where r is not rounding."""
    it = point.samples
    ahead, behind = it.ahead[:, 0] - it.here[0], it.behind[:, 0] - it.here[0]
    moved = it.steps * point.got
    remainder = (np.abs(ahead - moved) + np.abs(behind + moved)) / 2
    sizes = np.maximum(np.abs(it.ahead[:, 0]), np.abs(it.behind[:, 0])) + abs(it.here[0])
    window = np.flatnonzero(remainder > 128 * rounding * sizes)[-4:]
    steps, found = np.log(it.steps[window]), np.log(remainder[window])
    return float(np.polyfit(steps, found, 1)[0]) if len(window) > 2 else np.nan


def _places(rng: np.random.Generator, grad: Array, entries: int) -> list[Shape]:
    """Which entries are compared: all if they are few, else the largest and some others."""
    order = np.argsort(-np.abs(grad), axis=None, kind="stable")
    if grad.size > entries:
        largest = order[: (entries + 1) // 2]
        others = rng.choice(order[len(largest) :], entries // 2, replace=False)
        order = np.concatenate([largest, others])
    return [tuple(int(i) for i in np.unravel_index(place, grad.shape)) for place in order]


def _index(place: Sequence[int]) -> str:
    return f"[{', '.join(str(i) for i in place)}]" if len(place) else ""


def _flatten(name: str, tree: Any) -> tuple[list[str], list[Any], Any]:
    """Paths as they are written in code, leaves, and the structure."""
    leaves, structure = jax.tree_util.tree_flatten_with_path(tree)
    paths = [name + jax.tree_util.keystr(path).replace("'", '"') for path, _ in leaves]
    return paths, [leaf for _, leaf in leaves], structure


def _is_floating(x: Any) -> bool:
    return hasattr(x, "dtype") and bool(jax.numpy.issubdtype(x.dtype, np.floating))


def _eps(x: Any) -> float:
    return float(jax.numpy.finfo(x.dtype).eps)  # type: ignore[no-untyped-call]


def _largest(x: Array) -> float:
    return float(np.max(np.abs(x), initial=0.0))


def _to_float64(x: Any) -> Array:
    return np.asarray(x).astype(np.float64)


def _like(value: Any, leaf: Array, dtype: Any) -> Any:
    """``leaf`` as a new array of the kind that ``value`` is."""
    array = np.array(leaf, dtype)
    return jax.numpy.asarray(array) if isinstance(value, jax.Array) else array


def _widened(x: Any) -> Any:
    """A floating array in float64, anything else as it is."""
    if isinstance(x, np.ndarray | np.generic | jax.Array) and _is_floating(x):
        return _like(x, _to_float64(x), np.float64)
    return x
