"""From a configuration to the functions of a run."""

import inspect
from collections import Counter
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import numpy as np

from purenn import data, initializers, layers, random, regularizers, training
from purenn.errors import DomainError, DtypeError, ShapeError, TreeError
from purenn.layers import Layer, State
from purenn.ops import losses
from purenn.regularizers import Regularizer
from purenn.runs.config import Config
from purenn.runs.expressions import ConfigError, arguments, called, evaluate, find
from purenn.runs.inputs import Inputs, Part, prepare
from purenn.runs.optimizing import optimizer_of
from purenn.schedules import ValidationSchedule
from purenn.training import Step, TrainState
from purenn.typing import Array, Key, Params, Shape, spec

REFUSED = (ShapeError, DtypeError, DomainError, TreeError)
_NO_LOSSES = ("cosine_similarity", "ntxent")  # the larger the better; one number for a batch
_SIGNS = ("hinge_loss", "perceptron_loss")  # labels are −1 and 1


class Setup(NamedTuple):
    """What a run is made of.

    Attributes:
        config: What it was made from.
        inputs: The data.
        layers: The layers of the model by name.
        model: All of them, one after the other.
        loss: Of (outputs, targets).
        targets: Labels or values of a part, as the loss wants them.
        examples: What batches are taken from: inputs and targets of the training part, and
            weights, if they have any.
        objective: The mean loss with the penalty.
        step: One step of the optimizer.
        state: Where it starts.
        rate: The learning rate of a number of updates, where a schedule says it.
        schedule: What changes the learning rate with the validation loss, and how it starts.
        order_key: The order of the examples.
        augment: What is done to the inputs of a batch, with the number of the step.
        per_epoch: Batches.
    """

    config: Config
    inputs: Inputs
    layers: dict[str, Layer]
    model: Layer
    loss: Callable[..., Array]
    targets: Callable[[Array], Array]
    examples: tuple[Array, ...]
    objective: training.Objective
    step: Step
    state: TrainState
    rate: Callable[[int], float] | None
    schedule: ValidationSchedule | None
    order_key: Key
    augment: Callable[[int, Array], Array] | None
    per_epoch: int

    def arrays(self, part: Part) -> tuple[Array, ...]:
        """A part as it goes into batches."""
        return (part.inputs, self.targets(part.targets))


def setup(config: Config) -> Setup:
    """Make all of it, or say which key is wrong.

    Raises:
        ConfigError: a value does not fit; the message begins with its key.
    """
    data_key, init_key, order_key, augment_key = random.split(random.key(config.key), 4)
    inputs = prepare(config, data_key)
    if inputs.classes and len(found := np.unique(inputs.train.targets)) < 2:
        raise ConfigError(
            f"data: all examples of the train part are of class {inputs.classes[found[0]]}, "
            "expected at least two classes"
        )
    params_key, train_key = random.split(init_key)
    parts, params, memory, outputs = _model(config, inputs, params_key)
    model = layers.serial(**parts)
    loss = _loss(config, inputs, outputs)
    if not params:
        raise ConfigError(f"model: {config.model} has no parameters, there is nothing to train")
    penalty = _regularizer(config)
    per_epoch = training.batches_per_epoch(len(inputs.train.inputs), config.batch_size)
    optimizer, rate, schedule = optimizer_of(config, per_epoch, params)
    objective = training.objective(model, loss, penalty)
    state = TrainState(params, memory, optimizer.init(params), train_key, np.zeros((), np.int32))
    targets = _targets(loss, inputs, outputs, config.dtype)
    made = Setup(
        config, inputs, parts, model, loss, targets, _examples(config, inputs, targets), objective,
        training.train_step(objective, optimizer), state, rate, schedule, order_key,
        _augment(config, augment_key, inputs.shape), per_epoch,
    )  # fmt: skip
    _try(made)
    return made


def layers_of(text: str, input_shape: Shape = ()) -> dict[str, Layer]:
    """The layers that ``model`` names: under their own names, or ``dense_0``, ``relu_0``, ….

    Images are flattened for a model that begins with a dense layer.

    Raises:
        ConfigError: one of them is no layer, or refuses its arguments.
    """
    names = _layer_names()
    unnamed, named = arguments("model", text, names)
    seen: Counter[str] = Counter()
    found: dict[str, Layer] = {}
    kinds = called("model", text)
    for kind, layer in zip(kinds[: len(unnamed)], unnamed, strict=True):
        found[f"{kind}_{seen[kind]}"] = layer
        seen[kind] += 1
    if len(input_shape) > 1 and kinds[:1] == ["dense"]:
        found = _flattened(found)
    for name in found.keys() & named.keys():
        raise ConfigError(f"model: {name} names one layer, and is what another is called")
    found |= named
    if not found:
        raise ConfigError('model: is empty, expected layers such as "dense(128), relu, dense(10)"')
    for name, layer in found.items():
        if not isinstance(layer, Layer):
            what = name.rpartition("_")[0] if name not in named else name
            raise ConfigError(
                f"model: {what} is no layer; does it need arguments, as in dense(10), or is it "
                "one for another key?"
            )
    return found


def forms_of(text: str, input_shape: Shape) -> list[dict[str, Layer]]:
    """The layers that ``model`` names, for images as they are and then flattened."""
    parts = layers_of(text, input_shape)
    if len(input_shape) < 2 or "flatten" in parts:
        return [parts]
    return [parts, _flattened(parts)]


def _flattened(parts: dict[str, Layer]) -> dict[str, Layer]:
    """The layers after one that makes a vector of an image."""
    return {"flatten": layers.flatten} | parts


def is_of_classes(outputs: Shape, count: int) -> bool:
    """Whether outputs of this shape tell so many classes apart; two may have one logit."""
    return outputs == (count,) or (count == 2 and outputs == (1,))


def _model(
    config: Config, inputs: Inputs, key: Key
) -> tuple[dict[str, Layer], Params, State, Shape]:
    """Layers whose outputs fit the data, of images as they are or else flattened."""
    faults: list[str] = []
    for parts in forms_of(config.model, inputs.shape):
        try:
            params, memory, outputs = layers.serial(**parts).init(key, inputs.shape, config.dtype)
        except REFUSED as error:
            faults.append(f"model: {error}")
            continue
        fault = _fault(inputs, outputs)
        if not fault:
            return parts, params, memory, outputs
        faults.append(fault)
    hint = "; the layer flatten makes a vector of an image" if len(inputs.shape) > 1 else ""
    raise ConfigError(f"{faults[0]}{hint}")


def _fault(inputs: Inputs, outputs: Shape) -> str:
    wide = (len(inputs.classes),) if inputs.classes else inputs.train.targets.shape[1:]
    if outputs == wide or is_of_classes(outputs, len(inputs.classes)):
        return ""
    what = f"there are {wide[0]} classes" if inputs.classes else f"targets have shape {wide}"
    also = " or (1,)" if len(inputs.classes) == 2 else ""
    return f"model: its outputs have shape {outputs}, expected {wide}{also}, as {what}"


def _layer_names() -> dict[str, Any]:
    def in_series(*unnamed: Layer, **named: Layer) -> Layer:
        numbered = {f"layer_{i}": layer for i, layer in enumerate(unnamed)}
        return layers.serial(**numbered, **named)

    def around(*inner: Layer) -> Layer:
        return layers.residual(inner[0] if len(inner) == 1 else in_series(*inner))

    other = {"Layer", "State", "activation", "vjp_of"}
    kinds = ("normal", "uniform", "orthogonal", "zeros", "ones", "variance_scaling")
    return {
        **{name: getattr(layers, name) for name in layers.__all__ if name not in other},
        **{
            name: getattr(initializers, name)
            for name in dir(initializers)
            if name.endswith(kinds) and not name.startswith("_")
        },
        "serial": in_series,
        "residual": around,
    }


def _loss(config: Config, inputs: Inputs, outputs: Shape) -> Callable[..., Array]:
    binary = len(inputs.classes) == 2 and outputs == (1,)
    name = loss_name(config.loss, bool(inputs.classes), outputs)
    fitting = {
        each: getattr(losses, each)
        for each in losses.__all__
        if not each.endswith("_vjp")
        and each not in _NO_LOSSES
        and _second(getattr(losses, each)) in ("labels", "targets")
    }
    loss: Callable[..., Array] = find("loss", name, fitting)
    if _is_of_labels(loss) and not inputs.classes:
        raise ConfigError(f"loss: {name} is one of labels, and the targets are values")
    if binary and name == "binary_cross_entropy":
        raise ConfigError(
            f"loss: {name} is of probabilities, and one output is taken for a logit; expected "
            "sigmoid_binary_cross_entropy, or a model with two outputs"
        )
    return loss


def loss_name(text: str, is_labelled: bool, outputs: Shape) -> str:
    """The name of the loss; where there is none, the one that fits."""
    if text or not is_labelled:
        return text or "squared_error"
    if outputs == (1,):
        return "sigmoid_binary_cross_entropy"
    return "softmax_cross_entropy_with_integer_labels"


def _second(loss: Any) -> str:
    found = list(inspect.signature(loss).parameters.values()) if callable(loss) else []
    positional = [p.name for p in found if p.kind is p.POSITIONAL_OR_KEYWORD]
    return positional[1] if len(positional) == 2 else ""


def _is_of_labels(loss: Callable[..., Array]) -> bool:
    hints = inspect.get_annotations(inspect.unwrap(loss))
    its = spec(hints[_second(loss)])
    return getattr(its, "kind", "") == "integer" and loss.__name__ != "sparsemax_loss"


def _targets(
    loss: Callable[..., Array], inputs: Inputs, outputs: Shape, dtype: str
) -> Callable[[Array], Array]:
    """Bring labels into the form that the loss wants."""
    if not inputs.classes:
        return lambda targets: targets.astype(dtype)
    if _is_of_labels(loss):
        return lambda labels: labels

    def coded(labels: Array) -> Array:
        if outputs == (1,):
            hot = labels[:, None].astype(dtype)
        else:
            hot = data.one_hot(labels, len(inputs.classes), dtype)
        if loss.__name__ == "sparsemax_loss":
            return hot.astype(np.int64)
        return 2 * hot - 1 if loss.__name__ in _SIGNS else hot

    return coded


def _examples(
    config: Config, inputs: Inputs, targets: Callable[[Array], Array]
) -> tuple[Array, ...]:
    part = inputs.train
    arrays = (part.inputs, targets(part.targets))
    if not config.class_weights:
        return arrays
    if not inputs.classes:
        raise ConfigError("class_weights: there are no classes, the targets are values")
    try:
        balanced = data.class_weights(part.targets, len(inputs.classes))
    except DomainError as error:  # which begins with the key
        raise ConfigError(f"{error} in the train part") from None
    return *arrays, data.example_weights(part.targets, balanced).astype(config.dtype)


def _regularizer(config: Config) -> Regularizer | None:
    if not config.regularizer:
        return None
    kinds = ("l1", "l2", "half_l2", "elastic_net")
    penalty = evaluate(
        "regularizer", config.regularizer, {name: getattr(regularizers, name) for name in kinds}
    )
    if not isinstance(penalty, Regularizer):
        raise ConfigError(f"regularizer: got {config.regularizer}, expected one as in l2(1e-4)")
    return penalty


def _augment(config: Config, key: Key, shape: Shape) -> Callable[[int, Array], Array] | None:
    if not config.augment:
        return None
    kinds = (data.random_flip, data.random_shift, data.random_crop, data.add_noise)

    def later(function: Callable[..., Array]) -> Callable[..., Any]:
        return lambda *args, **kwargs: lambda key, x: function(key, x, *args, **kwargs)

    names = {each.__name__: later(each) for each in kinds}
    found, named = arguments("augment", config.augment, names)
    if named:
        raise ConfigError(f"augment: got {config.augment}, expected one after the other")
    texts = called("augment", config.augment)
    steps = [
        each() if each is names[name] else each for name, each in zip(texts, found, strict=True)
    ]

    def augment(step: int, x: Array) -> Array:
        keys = random.split(random.fold_in(key, step), len(steps))
        for its_key, each in zip(keys, steps, strict=True):
            x = each(its_key, x)
        return x

    try:
        after = augment(0, np.zeros((2, *shape), config.dtype))
    except (TypeError, ValueError) as error:
        raise ConfigError(f"augment: {error}") from None
    if after.shape[1:] != shape:
        raise ConfigError(
            f"augment: gives inputs of shape {after.shape[1:]}, expected {shape}, as they came"
        )
    return augment


def _try(made: Setup) -> None:
    """Find out now whether the model and the loss fit the data."""
    first = next(training_batches(made, 0, 1))
    state = made.state
    key = state.key if made.objective.stochastic else None
    try:
        with np.errstate(all="ignore"):
            made.objective.loss(state.params, state.state, first, key)
    except REFUSED as error:
        raise ConfigError(f"loss: {error}") from None


def training_batches(made: Setup, start: int, epochs: int) -> Iterator[tuple[Array, ...]]:
    """The batches from number ``start`` to the end of an epoch, augmented and weighted."""
    size = made.config.batch_size
    found = training.stream(made.order_key, made.examples, size, epochs, start=start)
    for number, (inputs, *rest) in enumerate(found, start):
        if made.augment is not None:
            inputs = made.augment(number, inputs)
        yield inputs, *rest
