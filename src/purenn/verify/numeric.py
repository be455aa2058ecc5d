"""Derivatives of a plain function by numbers alone, each with a bound on its error.

A quotient of differences has two errors: of the curvature at a large step, of rounding at a small
one. Both are measured here, not assumed. Differences over a ladder of steps are extrapolated
(Richardson; Ridders 1982), the same ladder tells how much the function rounds, and of all
extrapolations the one with the smallest error counts that no finer one contradicts (Lepski 1991).
Where the function takes complex numbers and its complex step (Squire & Trapp 1998) agrees with the
differences, that has nearly all digits.

No number of samples tells everything. What bends only between the steps, or by less than a
float32 rounds, is taken for rounding; and what rounds to a constant is taken for one.
"""

import contextlib
import warnings
from collections.abc import Callable, Iterator, Sequence
from functools import lru_cache, partial
from typing import Any, NamedTuple

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view

from purenn.typing import Array, Shape

EPS, EPS32 = 2.0**-52, 2.0**-23

# Neither is a power of 2, so that no period of the function is in step with the ladder.
_COARSEST, _RATIO, _LONGEST = 0.3, 6.0, 6

# Its square is nothing beside 1, and its product with a tiny derivative is still a normal number.
_IMAGINARY = 2.0**-333

# A move that float32 rounds away, relative to what moves, and that float64 answers to.
_TWIN = 2.0**-40


class Jacobians(NamedTuple):
    """What numbers say of the derivatives of ``f`` at ``xs``.

    Attributes:
        values: ``f(xs)``, float64.
        estimates: ``estimates[i][k]`` is ∂yₖ/∂xᵢ, float64 of shape ``(*xᵢ.shape, *yₖ.shape)``.
        errors: Of the same shapes. The truth lies within ``estimate ± error``, and so does
            all between the one-sided derivatives at a kink. ∞ where nothing can be said.
    """

    values: list[Array]
    estimates: list[list[Array]]
    errors: list[list[Array]]


class Samples(NamedTuple):
    """A function of one variable with m results, on a ladder of n steps around a point.

    Attributes:
        size: |x|, or how large the numbers are that move.
        steps: (n,), falling.
        here: (m,), the results at the point itself.
        ahead: (n, m), the results a step further; not finite where there are none.
        behind: (n, m), the results a step before.
        fine: (m,), whether results answer to moves that float32 does not see.
    """

    size: float
    steps: Array
    here: Array
    ahead: Array
    behind: Array
    fine: Array


class Slope(NamedTuple):
    """Derivatives of m results, each of shape (m,): the truth lies within ``estimate ± error``.

    Where ``smooth`` is false there is a kink, an edge of the domain or nothing to be said.
    """

    estimate: Array
    error: Array
    smooth: Array


def jacobians(
    f: Callable[[list[Array]], Sequence[Any]], xs: Sequence[Array], analytic: bool = True
) -> Jacobians:
    """The derivatives of ``f`` at ``xs``, by complex step or by extrapolated differences.

    At the edge of the domain of ``f`` they are one-sided.

    Args:
        f: Takes a list of arrays and returns a list of real arrays of any dtype. It is called
            with float64 copies of ``xs``, moved in one entry, 33 times per entry (39 for a small
            one), and with complex128 copies up to 5 times. What it raises at another point than
            ``xs`` says that this is outside its domain.
        xs: Float64 arrays of any shape, small ones.
        analytic: Whether a complex step can be right, see :mod:`purenn.verify.analytic`.

    Raises:
        TypeError: ``f(xs)`` is complex.
        Exception: whatever ``f(xs)`` raises.
    """
    xs = [np.array(x, np.float64) for x in xs]
    with quiet():
        ys = f([x.copy() for x in xs])
    shapes, here = [np.shape(y) for y in ys], _real(ys)
    narrow = np.repeat(
        [np.asarray(y).dtype != np.float64 for y in ys], [int(np.prod(shape)) for shape in shapes]
    )

    def at(i: int, place: Shape, step: Any) -> Any:
        moved = [x.astype(np.result_type(x, type(step))) for x in xs]
        moved[i][place] += step
        return f(moved)

    samples = {
        (i, place): sample(partial(at, i, place), here, abs(float(x[place])))
        for i, x in enumerate(xs)
        for place in np.ndindex(x.shape)
    }
    fine = np.any([np.zeros(here.shape, bool), *(it.fine for it in samples.values())], axis=0)
    estimates, errors = ([np.zeros((*x.shape, here.size)) for x in xs] for _ in range(2))
    for (i, place), it in samples.items():
        found = slope(it, np.where(fine, EPS, EPS32), narrow)
        if analytic and np.any(found.smooth):
            sharper = _sharpen(found, it, partial(at, i, place))
            analytic, found = sharper is not None, sharper or found
        estimates[i][place], errors[i][place] = found.estimate, found.error
    values, *tables = ([_split(x, shapes) for x in it] for it in ([here], estimates, errors))
    return Jacobians(values[0], *tables)


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Without a warning, whatever overflows."""
    with warnings.catch_warnings(), np.errstate(all="ignore"):
        warnings.simplefilter("ignore")
        yield


@quiet()
def sample(line: Callable[[float], Sequence[Any]], here: Array, size: float) -> Samples:
    """The results of ``line`` at every step; NaN where it raises or has other results."""

    def at(step: float) -> Array:
        found = None
        with contextlib.suppress(Exception):
            found = _real(line(step))
        if found is None or found.shape != here.shape:
            return np.full(here.shape, np.nan)
        return np.where(np.isfinite(found), found, np.nan)

    steps = _ladder(size)
    ahead, behind = (np.array([at(sign * float(h)) for h in steps]) for sign in (1, -1))
    moves, answers = np.zeros(here.shape), np.zeros(here.shape)
    for k, sign in enumerate((1, -1, 1, -1, 1)):
        y = (ahead if sign > 0 else behind)[k]
        twin = at(sign * float(steps[k] + _TWIN * max(size, steps[k])))
        moved = np.isfinite(y) & (y != here)
        moves, answers = moves + moved, answers + (moved & (y != twin))
    return Samples(size, steps, here, ahead, behind, (moves > 0) & (2 * answers >= moves))


@np.errstate(invalid="ignore")
def _ladder(size: float) -> Array:
    """Falling distances of floats, relative to max(|x|, 1) and to |x| too where it is small."""
    steps = max(size, 1.0) * _COARSEST * _RATIO ** -np.arange(17.0)
    if size == 0 or size >= 2**-7:
        steps = steps[:14]
    elif 1e-290 < size < 1e-7:
        near = size * _COARSEST * _RATIO ** -np.arange(7.0)
        steps = np.concatenate([steps[:10][steps[:10] > size], near])
    return (size + steps) - size


@np.errstate(all="ignore")
def slope(it: Samples, rounding: Array, narrow: Array | None = None) -> Slope:
    """The derivative at the middle of the samples.

    Args:
        it: Samples on a ladder.
        rounding: The eps that the results are computed with, (m,): where no step changes a
            result, that is all there is to tell how large its derivative can be.
        narrow: Whether the results may be rounded to less than float64, (m,). If not, small
            stairs are stairs and no rounded slope, for all that is known. By default they may.
    """
    h, even = it.steps[:, None], it.ahead - 2 * it.here + it.behind
    ahead, behind = it.ahead - it.here, it.here - it.behind
    largest = _largest(np.concatenate([it.ahead, it.behind, it.here[None]]))
    steepest = _largest(np.concatenate([(ahead / h)[:6], (behind / h)[:6]]))
    unseen = 8 * rounding * (largest + it.size * steepest)
    typical = np.median(np.nan_to_num(np.abs(it.ahead - it.behind) / (2 * h)), axis=0)
    sizes = np.fmax(np.fmax(np.abs(it.ahead), np.abs(it.behind)), np.abs(it.here))
    floor = rounding * (4 * sizes + it.size * typical)

    # The even part of a smooth function falls with h²; what is left is rounding, or a kink.
    uneven = 2 * np.abs(even[:-1] * (h[1:] / h[:-1]) ** 2 - even[1:])
    uneven = np.concatenate([np.zeros_like(even[:1]), uneven])

    all_narrow = np.ones(it.here.shape, bool)

    def limit(rise: Array, moves: Array, power: int, noise: Array) -> tuple[Array, Array, Array]:
        known = noise, floor, unseen, it.fine, all_narrow if narrow is None else narrow
        return _limit(_Quotients(rise / h, moves, it.steps, it.size, power, *known))

    moves = np.maximum(np.abs(ahead), np.abs(behind))
    center = limit((it.ahead - it.behind) / 2, moves, 2, uneven)
    right = limit(ahead, np.abs(ahead), 1, 0 * uneven)
    left = limit(behind, np.abs(behind), 1, 0 * uneven)
    gap, spare = np.abs(right[0] - left[0]), np.maximum(right[1], left[1])
    kink = gap > right[1] + left[1]
    sides = (right[0] + left[0]) / 2, gap / 2 + spare, np.fmax(right[2], left[2])
    to_right, to_left = (np.isfinite(side[-3:]).all(axis=0) for side in (ahead, behind))
    which = [to_right & ~to_left, to_left & ~to_right, kink | ~(center[1] <= sides[1])]
    every = zip(right, left, sides, center, strict=True)
    estimate, error, noise = (np.select(which, [*three], rest) for *three, rest in every)

    # At a jump both sides stand still, apart from each other.
    steady = np.abs(it.ahead[-1] - it.ahead[-2]) + np.abs(it.behind[-1] - it.behind[-2])
    nothing = (
        (np.abs(even[-1]) > 2 * unseen + 32 * steady)
        | (noise > 2.0**-8 * largest)
        | (to_right & _diverges(ahead / h, floor / h))
        | (to_left & _diverges(behind / h, floor / h))
        | ~np.isfinite(it.here + estimate + error)
    )
    smooth = ~nothing & ~kink & to_right & to_left
    return Slope(np.where(nothing, 0.0, estimate), np.where(nothing, np.inf, error), smooth)


class _Quotients(NamedTuple):
    """Quotients of differences, (n, m), whose limit at step 0 goes with step^power.

    ``rise`` holds the absolute differences, ``noise`` what is known of the rounding, ``floor`` the
    least of it, (n, m) all; ``unseen`` the most that a result may have changed where it did not.
    """

    quotients: Array
    rise: Array
    steps: Array
    size: float
    power: int
    noise: Array
    floor: Array
    unseen: Array
    fine: Array
    narrow: Array


def _limit(it: _Quotients) -> tuple[Array, Array, Array]:
    """The limit, its error, and the rounding of the function at the finest steps: (m,) each."""
    count, columns = it.quotients.shape
    h = it.steps[:, None]
    if count < 4:
        return np.zeros(columns), np.full(columns, np.inf), np.zeros(columns)
    lengths = range(2, min(_LONGEST, count - 1) + 1)
    weights = [_weights(tuple(it.steps.tolist()), m, it.power) for m in lengths]
    limits = [it.quotients] + [
        np.einsum("am,acm->ac", w, sliding_window_view(it.quotients, w.shape[1], axis=0))
        for w in weights
    ]

    # Where extrapolations from neighbouring steps differ, it is by rounding, or by more.
    length = min(4 - it.power, lengths[-1])
    apart = np.abs(np.diff(limits[length - 1], axis=0)) * h[length:]
    measured = np.concatenate([it.noise[:length], np.fmax(it.noise[length:], apart)])
    least = np.fmax(it.floor, np.where(it.rise == 0, it.unseen, 0.0))
    noise = np.fmax(np.where(np.isfinite(measured), measured, 0.0), least)
    noise = np.maximum.accumulate(noise[::-1])[::-1]
    noise[-3:] = noise[-3]

    # Rounding does not grow with the step; what does is a structure that the step is too long for.
    flat = np.maximum.accumulate(it.rise[::-1], axis=0)[::-1] == 0
    changed = np.count_nonzero(~flat, axis=0)
    finest = noise[np.maximum(changed - 3, 0), range(columns)]
    resolved = noise <= 16 * np.fmax(finest, it.unseen)

    middles, radii = [it.quotients], [np.where(flat, it.unseen / h, np.inf)]
    for m, w in zip(lengths, weights, strict=True):
        limit, shorter = limits[m - 1], limits[m - 2]
        rounding = np.einsum("am,acm->ac", np.abs(w), sliding_window_view(noise / h, m, axis=0))
        spread = np.maximum(np.abs(limit - shorter[:-1]), np.abs(limit - shorter[1:]))
        radius = spread + 3 * rounding + 4 * EPS * np.abs(limit)
        radius = np.where(np.isfinite(radius) & resolved[m - 1 :], radius, np.inf)
        missing = np.full((m - 1, columns), np.inf)
        middles.append(np.concatenate([missing, limit]))
        radii.append(np.concatenate([missing, radius]))
    middle, radius = _least(np.array(middles), np.array(radii))

    # From fine to coarse, up to the first that says what those before it exclude.
    middle = np.where(np.isfinite(radius), middle, 0.0)
    low = np.maximum.accumulate((middle - radius)[::-1])[::-1]
    high = np.minimum.accumulate((middle + radius)[::-1])[::-1]
    estimate, error = _least(middle, np.where(low <= high, radius, np.inf))
    for c in np.flatnonzero(flat[-1] & (changed > 0) & ~it.fine):
        estimate[c], error[c] = _staircase(it, int(c), int(changed[c]), estimate[c], error[c])
    return estimate, error, noise[-1]


def _least(middles: Array, radii: Array) -> tuple[Array, Array]:
    """The sharpest along the first axis."""
    best = np.argmin(radii, axis=0)[None]
    return np.take_along_axis(middles, best, 0)[0], np.take_along_axis(radii, best, 0)[0]


def _staircase(
    it: _Quotients, c: int, changed: int, estimate: float, error: float
) -> tuple[float, float]:
    """The limit of a column where large steps change something, and smaller ones nothing.

    It is 0 if the function is made of stairs, or what large steps say if they round a slope:
    all between the two if they differ. The stairs are as high as the first.
    """
    part = slice(0, changed), slice(c, c + 1)
    stair, flat = float(it.rise[changed - 1, c]), float(it.steps[changed])
    if not _largest(it.rise[part])[0] > 8 * stair:
        few = 2.0**-18 * max(it.size, 1.0)
        return (0.0, max(error, stair / flat)) if stair <= few else (estimate, error)
    unseen = float(it.unseen[c])
    column = it._replace(
        quotients=it.quotients[part],
        rise=it.rise[part],
        steps=it.steps[:changed],
        noise=np.fmax(it.noise[part], stair),
        floor=np.fmax(it.floor[part], stair),
        unseen=np.array([max(unseen, stair)]),
        fine=np.array([True]),
    )
    middle, radius, _ = (float(x[0]) for x in _limit(column))
    level = unseen / flat
    if it.narrow[c] and stair <= unseen and abs(middle) - radius <= level:
        return (middle, radius) if radius <= level else (0.0, level)
    low, high = min(-level, middle - radius), max(level, middle + radius)
    return (low + high) / 2, (high - low) / 2


@lru_cache(maxsize=1024)
def _weights(steps: tuple[float, ...], length: int, power: int) -> Array:
    """Lagrange's weights at step 0, for each window of ``length`` steps: (windows, length)."""
    h = sliding_window_view(steps, length)
    factors = 1 - (h[:, :, None] / h[:, None, :]) ** power
    factors[:, range(length), range(length)] = 1.0
    return np.asarray(1 / np.prod(factors, axis=2))


def _diverges(quotients: Array, rounding: Array) -> Array:
    """Whether quotients move on by as much or more with each finer step, one way."""
    moves = np.diff(quotients[-5:], axis=0)
    size = np.abs(moves)
    one_way = np.all(moves > 0, axis=0) | np.all(moves < 0, axis=0)
    grows = np.all(size[1:] >= 0.8 * size[:-1], axis=0)
    seen = np.all(size > 8 * rounding[-4:], axis=0) & (size[-1] > 1e-3 * np.abs(quotients[-1]))
    return np.asarray(one_way & grows & seen)


@np.errstate(all="ignore")
def _sharpen(found: Slope, it: Samples, at: Callable[[complex], Any]) -> Slope | None:
    """``found``, with the complex step where it is the derivative by all that the differences say.

    How much it rounds is seen at 4 points that are a few ULP away. That it is exactly 0 may only
    mean that the imaginary part was dropped. ``None`` where complex numbers are not taken: that
    raises, or drops the imaginary part with a warning.
    """
    unit = np.spacing(it.size) if it.size else EPS
    eta = _IMAGINARY * min(1.0, 2.0 ** np.floor(np.log2(it.size)) if it.size else 1.0)
    rows = []
    for offset in (0, -5, 5, -3, 3):
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                warnings.simplefilter("error", np.exceptions.ComplexWarning)
                ys = at(complex(offset * unit, eta))
                rows.append(np.concatenate([np.ravel(y).astype(complex) for y in [[], *ys]]))
        except Exception:
            return None
    table = np.array([y if y.shape == it.here.shape else it.here * np.nan for y in rows])
    derivative, *nearby = table.imag / eta
    wrong = np.abs(table[0].real - it.here) / (np.abs(it.here) + unit * np.abs(derivative))
    luck = [np.abs(a + b - 2 * derivative) for a, b in (nearby[:2], nearby[2:])]
    error = (
        (2.0**-48 + 8 * wrong) * np.abs(derivative)
        + 16 * np.max(luck, axis=0)
        + np.max(np.abs(nearby - derivative), axis=0)
        + 2.0**-14 * found.error
        + 5e-324 / eta
    )
    scale = np.maximum(np.max(np.abs(derivative), initial=0.0), np.abs(found.estimate))
    close = np.abs(derivative - found.estimate) <= found.error
    good = found.smooth & close & (derivative != 0) & (wrong <= 1e-9)
    good &= (found.error <= 1e-3 * scale) & (error < found.error)
    best = np.where(good, (derivative, error), (found.estimate, found.error))
    return Slope(best[0], best[1], found.smooth)


def _largest(x: Array) -> Array:
    """The largest size of a finite number in each column, 0 if there is none."""
    return np.asarray(np.max(np.where(np.isfinite(x), np.abs(x), 0.0), axis=0, initial=0.0))


def _real(ys: Sequence[Any]) -> Array:
    """All results as one float64 vector."""
    if any(np.iscomplexobj(y) for y in ys):
        raise TypeError("f returned complex numbers for real ones, expected real ones")
    return np.concatenate([np.ravel(y).astype(np.float64) for y in [[], *ys]])


def _split(x: Array, shapes: Sequence[Shape]) -> list[Array]:
    """The last axis of ``x`` as arrays of ``shapes``."""
    ends = np.cumsum([int(np.prod(shape)) for shape in shapes])
    parts = np.split(x, ends, axis=-1)[:-1]
    return [part.reshape(x.shape[:-1] + shape) for part, shape in zip(parts, shapes, strict=True)]
