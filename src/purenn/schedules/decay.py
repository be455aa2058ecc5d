"""One curve, from a first value towards a last one."""

from purenn.contract import check_integer, check_number
from purenn.schedules._curves import cosine, elapsed, exponential, polynomial
from purenn.schedules._step import Schedule, scheduled


def constant_schedule(value: float) -> Schedule:
    """The same value at every step.

    Raises:
        DomainError: ``value`` is not finite.
        DtypeError: it is no number.
    """
    constant = check_number("constant_schedule", "value", value)
    return scheduled("constant_schedule", lambda step: constant)


def polynomial_schedule(
    init_value: float,
    end_value: float,
    power: float,
    transition_steps: int,
    transition_begin: int = 0,
) -> Schedule:
    """From I to E along a power: E + (I − E)·(1 − t/T)ᵖ.

    t is the step less ``transition_begin``, held between 0 and T: the value is I before, E after.

    Args:
        init_value: I, finite.
        end_value: E, finite.
        power: p > 0. With 0, as optax allows, E is never reached.
        transition_steps: T ≥ 1. With less, as optax allows, I would stay for ever, which
            :func:`constant_schedule` says.
        transition_begin: The step at which t = 0. A negative one cuts the beginning off (optax
            takes it for 0).

    Raises:
        DomainError: an argument lies outside its domain.
        DtypeError: an argument is no number, or no integer where it counts steps.
    """
    name = "polynomial_schedule"
    init = check_number(name, "init_value", init_value)
    end = check_number(name, "end_value", end_value)
    p = check_number(name, "power", power, gt=0)
    return scheduled(name, polynomial(name, init, end, transition_steps, transition_begin, p))


def linear_schedule(
    init_value: float, end_value: float, transition_steps: int, transition_begin: int = 0
) -> Schedule:
    """From I to E in a straight line, E + (I − E)·(1 − t/T).

    It is :func:`polynomial_schedule` with p = 1: its arguments are described, and what is raised,
    there. With E = 0 it is the decay η·(1 − t/T) of a budget of T steps:

    >>> schedule = linear_schedule(0.1, 0.0, transition_steps=1000)
    >>> [schedule(step) for step in (0, 500, 1000, 2000)]
    [0.1, 0.05, 0.0, 0.0]

    Li, Yumer & Ramanan, *Budgeted training: rethinking deep neural network training under resource
    constraints*, ICLR 2020, arXiv:1905.04753.
    """
    name = "linear_schedule"
    init = check_number(name, "init_value", init_value)
    end = check_number(name, "end_value", end_value)
    return scheduled(name, polynomial(name, init, end, transition_steps, transition_begin))


def exponential_decay(
    init_value: float,
    transition_steps: int,
    decay_rate: float,
    transition_begin: int = 0,
    staircase: bool = False,
    end_value: float | None = None,
) -> Schedule:
    """A factor r every T steps: η·r^(t/T), or in a staircase η·r^⌊t/T⌋.

    t is the step less ``transition_begin``, 0 before.

    Decay at a rate k, η·e⁻ᵏᵗ, is r = e⁻ᵏ with T = 1:

    >>> from math import exp
    >>> schedule = exponential_decay(0.1, transition_steps=1, decay_rate=exp(-0.05))
    >>> round(schedule(20), 12) == round(0.1 * exp(-0.05 * 20), 12)
    True

    Step decay, η·drop^⌊(1 + epoch)/period⌋ for epochs from 0, begins at −1:

    >>> schedule = exponential_decay(0.1, 10, 0.5, transition_begin=-1, staircase=True)
    >>> [schedule(epoch) for epoch in (0, 8, 9, 18, 19)]
    [0.1, 0.1, 0.05, 0.05, 0.025]

    Args:
        init_value: η, finite.
        transition_steps: T ≥ 1. With less, as optax allows, η would stay for ever, which
            :func:`constant_schedule` says.
        decay_rate: r > 0. With 0, as optax allows, η would stay for ever; a negative number has no
            real powers.
        transition_begin: The step at which t = 0. A negative one cuts the beginning off (optax
            takes it for 0).
        staircase: Whether t/T is rounded down.
        end_value: The least value if r < 1, the greatest one otherwise.

    Raises:
        DomainError: an argument lies outside its domain.
        DtypeError: an argument is no number, or no integer where it counts steps, or no bool.
    """
    name = "exponential_decay"
    init = check_number(name, "init_value", init_value)
    return scheduled(
        name,
        exponential(
            name, init, transition_steps, decay_rate, transition_begin, staircase, end_value
        ),
    )


def inverse_time_decay(
    init_value: float,
    transition_steps: int,
    decay_rate: float,
    transition_begin: int = 0,
    staircase: bool = False,
) -> Schedule:
    """Time-based decay η/(1 + k·t/T), or in a staircase η/(1 + k·⌊t/T⌋).

    t is the step less ``transition_begin``, 0 before. This is Keras' ``InverseTimeDecay``; optax
    has none. The argument ``decay`` of Keras' older optimizers is k with T = 1, and
    ``iterations``, from 0, the step:

    >>> schedule = inverse_time_decay(0.05, transition_steps=1, decay_rate=5e-7)
    >>> schedule(10_000) == 0.05 / (1 + 5e-7 * 10_000)
    True

    Args:
        init_value: η, finite.
        transition_steps: T ≥ 1.
        decay_rate: k ≥ 0.
        transition_begin: The step at which t = 0. A negative one cuts the beginning off.
        staircase: Whether t/T is rounded down.

    Raises:
        DomainError: an argument lies outside its domain.
        DtypeError: an argument is no number, or no integer where it counts steps, or no bool.
    """
    name = "inverse_time_decay"
    init = check_number(name, "init_value", init_value)
    rate = check_number(name, "decay_rate", decay_rate, ge=0)
    periods = elapsed(name, transition_steps, transition_begin, staircase)
    return scheduled(name, lambda step: init / (1 + rate * periods(step)))


def cosine_decay_schedule(
    init_value: float, decay_steps: int, alpha: float = 0.0, exponent: float = 1.0
) -> Schedule:
    """From η to αη along half a wave: αη + (1 − α)η·(½(1 + cos(πt/T)))ᵖ, and αη after T.

    Between a greatest and a least value, η_min + ½(η_max − η_min)(1 + cos(πt/T)), α is their
    ratio:

    >>> schedule = cosine_decay_schedule(0.1, decay_steps=100, alpha=0.001 / 0.1)
    >>> [round(schedule(step), 12) for step in (0, 50, 100, 200)]
    [0.1, 0.0505, 0.001, 0.001]

    Args:
        init_value: η, finite.
        decay_steps: T ≥ 1.
        alpha: α, finite.
        exponent: p > 0. With 0, as optax allows, αη is never reached.

    Raises:
        DomainError: an argument lies outside its domain.
        DtypeError: an argument is no number, or no integer where it counts steps.

    Loshchilov & Hutter, *SGDR: stochastic gradient descent with warm restarts*, ICLR 2017,
    arXiv:1608.03983.
    """
    name = "cosine_decay_schedule"
    init = check_number(name, "init_value", init_value)
    steps = check_integer(name, "decay_steps", decay_steps, least=1)
    end = check_number(name, "alpha", alpha) * init
    return scheduled(name, cosine(name, init, end, steps, exponent))
