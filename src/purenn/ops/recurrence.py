"""Recurrent cells and their sequences: backpropagation through time, by hand.

Parameters are those of Flax's cells: a kernel ``i·`` per gate for the input, ``h·`` for the hidden
state, and a bias with one of the two. A sequence is its cell step by step, but the inputs of all
steps are projected in one product, and so are the cotangents of all kernels. All of it is computed
in float64 (half precision in float32): in a state that is rounded at each step errors add up.

In ONNX kernels are transposed and stacked, time comes first, and the gates' order is i, o, f, c in
LSTM and z, r, h in GRU, which is this one with ``linear_before_reset=1``. Where it (as PyTorch) has
two biases for a sum, the one here is theirs added.
"""

from typing import TypeAlias, TypedDict

import numpy as np

from purenn.contract import rule, unchecked
from purenn.ops import _linear, activations
from purenn.ops._recurrence import Cell, Step, cell_vjp, dense, sequence, sequence_vjp
from purenn.typing import Array, Float, Pullback

__all__ = [
    "GRUParams",
    "HiddenDense",
    "HiddenKernel",
    "InputDense",
    "InputKernel",
    "LSTMParams",
    "RNNParams",
    "gru",
    "gru_cell",
    "gru_cell_vjp",
    "gru_vjp",
    "lstm",
    "lstm_cell",
    "lstm_cell_vjp",
    "lstm_vjp",
    "rnn",
    "rnn_cell",
    "rnn_cell_vjp",
    "rnn_vjp",
]


class InputKernel(TypedDict):
    """Parameters of a dense map of the input, without bias."""

    kernel: Float[Array, "in features"]


class InputDense(TypedDict):
    """Parameters of a dense map of the input."""

    kernel: Float[Array, "in features"]
    bias: Float[Array, " features"]


class HiddenKernel(TypedDict):
    """Parameters of a dense map of the hidden state, without bias."""

    kernel: Float[Array, "features features"]


class HiddenDense(TypedDict):
    """Parameters of a dense map of the hidden state."""

    kernel: Float[Array, "features features"]
    bias: Float[Array, " features"]


class RNNParams(TypedDict):
    """Parameters as in ``flax.linen.SimpleCell``."""

    i: InputDense
    h: HiddenKernel


LSTMParams = TypedDict(
    "LSTMParams",
    {
        "ii": InputKernel,
        "if": InputKernel,
        "ig": InputKernel,
        "io": InputKernel,
        "hi": HiddenDense,
        "hf": HiddenDense,
        "hg": HiddenDense,
        "ho": HiddenDense,
    },
)
"""Parameters as in ``flax.linen.LSTMCell`` and ``OptimizedLSTMCell``."""

GRUParams = TypedDict(
    "GRUParams",
    {
        "ir": InputDense,
        "iz": InputDense,
        "in": InputDense,
        "hr": HiddenKernel,
        "hz": HiddenKernel,
        "hn": HiddenDense,
    },
)
"""Parameters as in ``flax.linen.GRUCell``."""

Hidden: TypeAlias = Float[Array, "*batch features"]
Memory: TypeAlias = tuple[Hidden, Hidden]
Input: TypeAlias = Float[Array, "*batch in"]
Inputs: TypeAlias = Float[Array, "*batch time in"]
Outputs: TypeAlias = Float[Array, "*batch time features"]

_sigmoid, _sigmoid_vjp = unchecked(activations.sigmoid), unchecked(activations.sigmoid_vjp)
_tanh_vjp = unchecked(activations.tanh_vjp)


@rule
def rnn_cell(params: RNNParams, carry: Hidden, inputs: Input) -> Hidden:
    """h′ = tanh(x·Wᵢ + bᵢ + h·Wₕ), the carry being h (Elman 1990, "Finding structure in time").

    As ``flax.linen.SimpleCell``, which returns h′ twice.
    """
    return cell_vjp(_RNN, params, carry, inputs)[0]


@rule
def rnn_cell_vjp(params: RNNParams, carry: Hidden, inputs: Input) -> tuple[Hidden, Pullback]:
    """``rnn_cell`` with its pullback, bottom up: tanh′, then two dense maps.

    With z what tanh is taken of: dz = tanh′(z)⊙dh′, and as for ``dense`` dx = dz·Wᵢᵀ, dh = dz·Wₕᵀ,
    dWᵢ = xᵀ·dz, dWₕ = hᵀ·dz, dbᵢ = 1ᵀ·dz. tanh′ is 1/cosh², not 1 − h′², which is 0 in saturation.
    """
    return cell_vjp(_RNN, params, carry, inputs)


@rule
def rnn(
    params: RNNParams,
    carry: Hidden,
    inputs: Inputs,
    *,
    reverse: bool = False,
    keep_order: bool = False,
) -> tuple[Hidden, Outputs]:
    """The last carry and the h′ of all steps, time second to last.

    As ``flax.linen.RNN`` with ``return_carry=True``: with ``reverse`` the last step comes first,
    also in what is returned, unless ``keep_order`` puts that back. Without steps the last carry is
    the first.
    """
    return sequence(_RNN, params, carry, inputs, reverse, keep_order)


@rule
def rnn_vjp(
    params: RNNParams,
    carry: Hidden,
    inputs: Inputs,
    *,
    reverse: bool = False,
    keep_order: bool = False,
) -> tuple[tuple[Hidden, Outputs], Pullback]:
    """``rnn`` with its pullback: backpropagation through time (Werbos 1990).

    h is used twice, by the output of its step and by the next one, so its cotangents add up, step
    by step from the last to the first: dhₜ = dyₜ + (the cell's pullback at t + 1). All steps have
    the same parameters: dW = Σₜ xₜᵀ·dzₜ, which is one product over time and batch. What rounding
    does to x·Wᵢ + h·Wₕ is relative to its terms, but tanh′ and σ′ see it as absolute: where those
    are large, the derivative is off by about as many ULP as they have units, in autodiff too.
    """
    return sequence_vjp(_RNN, params, carry, inputs, reverse, keep_order)


@rule
def lstm_cell(params: LSTMParams, carry: Memory, inputs: Input) -> Memory:
    """c′ = f⊙c + i⊙g and h′ = o⊙tanh(c′), the carry being (c, h).

    i, f, o = σ(x·Wᵢ + h·Wₕ + bₕ), each with its own parameters, and g = tanh of such a sum
    (Hochreiter & Schmidhuber 1997; with forget gates, Gers, Schmidhuber & Cummins 2000). As
    ``flax.linen.LSTMCell`` and ``OptimizedLSTMCell``, which return h′ once more.
    """
    return cell_vjp(_LSTM, params, carry, inputs)[0]


@rule
def lstm_cell_vjp(params: LSTMParams, carry: Memory, inputs: Input) -> tuple[Memory, Pullback]:
    """``lstm_cell`` with its pullback, bottom up: tanh′, the products, σ′ and tanh′, dense.

    do = dh′⊙tanh(c′), and c′ is used twice: dc″ = dc′ + tanh′(c′)⊙o⊙dh′. Then di = dc″⊙g,
    df = dc″⊙c, dg = dc″⊙i, dc = dc″⊙f. σ′ is σ(z)σ(−z) and tanh′ 1/cosh²: the usual i(1 − i) and
    1 − g² are 0 once a gate is open all the way, and it never closes again.
    """
    return cell_vjp(_LSTM, params, carry, inputs)


@rule
def lstm(
    params: LSTMParams,
    carry: Memory,
    inputs: Inputs,
    *,
    reverse: bool = False,
    keep_order: bool = False,
) -> tuple[Memory, Outputs]:
    """The last carry and the h′ of all steps of :func:`lstm_cell`, else as :func:`rnn`."""
    return sequence(_LSTM, params, carry, inputs, reverse, keep_order)


@rule
def lstm_vjp(
    params: LSTMParams,
    carry: Memory,
    inputs: Inputs,
    *,
    reverse: bool = False,
    keep_order: bool = False,
) -> tuple[tuple[Memory, Outputs], Pullback]:
    """``lstm`` with its pullback: that of the cell, backwards in time; see :func:`rnn_vjp`.

    c goes from step to step through a product with f alone: dcₜ = f⊙dc″ₜ₊₁ does not vanish while
    the gate is open.
    """
    return sequence_vjp(_LSTM, params, carry, inputs, reverse, keep_order)


@rule
def gru_cell(params: GRUParams, carry: Hidden, inputs: Input) -> Hidden:
    """h′ = (1 − z)⊙n + z⊙h, the carry being h (Cho et al. 2014, arXiv:1406.1078).

    r, z = σ(x·Wᵢ + bᵢ + h·Wₕ), each with its own parameters, and
    n = tanh(x·Wᵢₙ + bᵢₙ + r⊙(h·Wₕₙ + bₕₙ)). As ``flax.linen.GRUCell``, which returns h′ twice; in
    the paper r multiplies h before the product.
    """
    return cell_vjp(_GRU, params, carry, inputs)[0]


@rule
def gru_cell_vjp(params: GRUParams, carry: Hidden, inputs: Input) -> tuple[Hidden, Pullback]:
    """``gru_cell`` with its pullback, bottom up: the mean, tanh′, the product, σ′, dense.

    dz = dh′⊙(h − n), and with a what tanh is taken of, da = tanh′(a)⊙(1 − z)⊙dh′: that is the
    cotangent of what x gives to n, r⊙da that of what h gives, and dr = da⊙(h·Wₕₙ + bₕₙ). h is used
    twice: dh = z⊙dh′ + (dense's pullback). 1 − z is computed as σ(−·): the difference is 0 where
    the gate is shut, and n would learn nothing. Where h and n are equal but for rounding, as where
    both are saturated, h − n has no digits, here as in autodiff: in a sequence h is rounded itself.
    """
    return cell_vjp(_GRU, params, carry, inputs)


@rule
def gru(
    params: GRUParams,
    carry: Hidden,
    inputs: Inputs,
    *,
    reverse: bool = False,
    keep_order: bool = False,
) -> tuple[Hidden, Outputs]:
    """The last carry and the h′ of all steps of :func:`gru_cell`, else as :func:`rnn`."""
    return sequence(_GRU, params, carry, inputs, reverse, keep_order)


@rule
def gru_vjp(
    params: GRUParams,
    carry: Hidden,
    inputs: Inputs,
    *,
    reverse: bool = False,
    keep_order: bool = False,
) -> tuple[tuple[Hidden, Outputs], Pullback]:
    """``gru`` with its pullback: that of the cell, backwards in time; see :func:`rnn_vjp`."""
    return sequence_vjp(_GRU, params, carry, inputs, reverse, keep_order)


def _rnn_step_vjp(projected: Array, h: Array, kernel: Array, bias: Array) -> Step:
    new_h, tanh_pullback = _tanh_vjp(projected + dense(h, kernel, bias))

    def pullback(dh: Array) -> tuple[Array, Array, Array]:
        (dz,) = tanh_pullback(dh)
        return dz, dz, _linear.dense_input_cotangent(kernel, dz)

    return new_h, pullback


def _lstm_step_vjp(projected: Array, carry: Memory, kernel: Array, bias: Array) -> Step:
    c, h = carry
    z = projected + dense(h, kernel, bias)
    of_gates = slice(3 * c.shape[-1])
    of_g = slice(3 * c.shape[-1], None)
    gates, sigmoid_pullback = _sigmoid_vjp(z[..., of_gates])
    g, tanh_pullback = _tanh_vjp(z[..., of_g])
    i, f, o = np.split(gates, 3, axis=-1)
    new_c = f * c + i * g
    squashed, squash_pullback = _tanh_vjp(new_c)

    def pullback(dcarry: Memory) -> tuple[Array, Array, Memory]:
        dc, dh = dcarry
        dc = dc + squash_pullback(dh * o)[0]
        dgates = np.concatenate([dc * g, dc * c, dh * squashed], axis=-1)
        dz = np.concatenate([*sigmoid_pullback(dgates), *tanh_pullback(dc * i)], axis=-1)
        return dz, dz, (dc * f, _linear.dense_input_cotangent(kernel, dz))

    return (new_c, o * squashed), pullback


def _gru_step_vjp(projected: Array, h: Array, kernel: Array, bias: Array) -> Step:
    hidden = dense(h, kernel, bias)
    of_gates, of_n = slice(2 * h.shape[-1]), slice(2 * h.shape[-1], None)
    before = projected[..., of_gates] + hidden[..., of_gates]
    gates, sigmoid_pullback = _sigmoid_vjp(before)
    r, z = np.split(gates, 2, axis=-1)
    _, rest = np.split(_sigmoid(-before), 2, axis=-1)
    n, tanh_pullback = _tanh_vjp(projected[..., of_n] + r * hidden[..., of_n])

    def pullback(dh: Array) -> tuple[Array, Array, Array]:
        (da,) = tanh_pullback(dh * rest)
        dgates = np.concatenate([da * hidden[..., of_n], dh * (h - n)], axis=-1)
        (dbefore,) = sigmoid_pullback(dgates)
        dprojected = np.concatenate([dbefore, da], axis=-1)
        dhidden = np.concatenate([dbefore, da * r], axis=-1)
        return dprojected, dhidden, dh * z + _linear.dense_input_cotangent(kernel, dhidden)

    return rest * n + z * h, pullback


_RNN = Cell(("",), _rnn_step_vjp)
_LSTM = Cell(("i", "f", "o", "g"), _lstm_step_vjp)
_GRU = Cell(("r", "z", "n"), _gru_step_vjp)
