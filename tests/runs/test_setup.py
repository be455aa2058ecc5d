"""From a configuration to functions that fit each other, or a message with the key."""

import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from purenn import data, layers, optimizers, random, training, tree
from purenn.ops import losses
from purenn.runs.config import Config
from purenn.runs.expressions import ConfigError
from purenn.runs.setup import layers_of, setup, training_batches
from purenn.runs.train import scores

TARGETS = {  # what each loss of labels, and of values, is given for a label
    "softmax_cross_entropy_with_integer_labels": "label",
    "multiclass_hinge_loss": "label",
    "softmax_cross_entropy": "one hot",
    "poly_loss_cross_entropy": "one hot",
    "sigmoid_binary_cross_entropy": "one hot",
    "huber_loss": "one hot",
    "sparsemax_loss": "one hot",
    "hinge_loss": "sign",
    "perceptron_loss": "sign",
}


def config(**entries: Any) -> Config:
    return Config(**{"data": "iris", "model": "dense(8), relu, dense(3)"} | entries)


@pytest.mark.parametrize("loss", TARGETS)
def test_labels_come_in_the_form_that_the_loss_wants(loss: str) -> None:
    made = setup(config(loss=loss, epochs=2))
    assert made.loss is getattr(losses, loss)
    assert made.examples[1].tolist() == made.targets(made.inputs.train.targets).tolist()
    labels = made.inputs.train.targets
    hot = np.eye(3)[labels]
    expected = {"label": labels, "one hot": hot, "sign": 2 * hot - 1}[TARGETS[loss]]
    np.testing.assert_array_equal(made.targets(labels), expected)
    for _, metrics in training.fit(made.step, made.state, training_batches(made, 0, 2)):
        assert np.isfinite(metrics["loss"])


def test_the_loss_fits_the_data_by_default() -> None:
    assert setup(config()).loss is losses.softmax_cross_entropy_with_integer_labels
    binary = setup(config(data="moons", model="dense(1)"))
    assert binary.loss is losses.sigmoid_binary_cross_entropy
    assert binary.targets(np.array([0, 1])).tolist() == [[0.0], [1.0]]
    assert setup(config(data="diabetes", model="dense(1)")).loss is losses.squared_error


def test_layers_by_kind_or_by_name() -> None:
    found = layers_of("dense(4), relu, dense(3), out=dense(2)", (5,))
    assert [*found] == ["dense_0", "relu_0", "dense_1", "out"]
    assert [*layers_of("dense(4), relu", (2, 2, 1))] == ["flatten", "dense_0", "relu_0"]
    assert [*layers_of("a=dense(4), b=relu", (2, 2, 1))] == ["flatten", "a", "b"]
    assert [*layers_of("conv(4, (3, 3)), relu", (4, 4, 1))] == ["conv_0", "relu_0"]
    assert [*layers_of("a=conv(4, (3, 3)), b=dense(2)", (4, 4, 1))] == ["a", "b"]
    model = layers.serial(**layers_of("residual(dense(5), tanh, dense(5, he_normal()))", (5,)))
    params, _, shape = model.init(random.key(0), (5,))
    assert shape == (5,)
    assert params["residual_0"]["layer_2"]["kernel"].shape == (5, 5)
    nested = layers.serial(**layers_of("serial(a=dense(2), b=dense(3))", (5,)))
    assert [*nested.init(random.key(0), (5,))[0]["serial_0"]] == ["a", "b"]


def test_the_first_step_is_that_of_the_parts() -> None:
    made = setup(
        config(
            optimizer="sgd(momentum=0.9)", schedule="linear_schedule(0.1, 0.0, steps)",
            regularizer="l2(0.01)", clip=0.5, epochs=3,
        )
    )  # fmt: skip
    steps = 3 * made.per_epoch
    optimizer = optimizers.chain(
        optimizers.clip_by_global_norm(0.5),
        optimizers.sgd(lambda step: 0.1 * (1 - step / steps), momentum=0.9),
    )
    from purenn.regularizers import l2

    step = training.train_step(training.objective(made.model, made.loss, l2(0.01)), optimizer)
    state = made.state
    expected = state._replace(opt_state=optimizer.init(state.params))
    for batch in list(training_batches(made, 0, 3)):
        state, _ = made.step(state, batch)
        expected, _ = step(expected, batch)
    tree.map(
        lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-7),
        state.params,
        expected.params,
    )
    assert made.rate is not None
    assert made.rate(steps) == 0


def test_gradients_of_several_batches_make_one_step() -> None:
    made = setup(config(accumulate=4, optimizer="sgd(0.1)"))
    state = made.state
    changed = []
    for batch in list(training_batches(made, 0, 2))[:8]:
        before, (state, _) = state.params, made.step(state, batch)
        changed.append(
            not np.array_equal(before["dense_0"]["kernel"], state.params["dense_0"]["kernel"])
        )
    assert changed == [False, False, False, True] * 2


def test_a_rate_that_follows_the_validation_loss() -> None:
    made = setup(config(optimizer="adam", schedule="reduce_on_plateau(0.05, patience=2)"))
    assert made.state.opt_state.hyperparams["rate"] == np.float32(0.05)
    assert made.schedule is not None


def test_images_are_augmented_with_the_key_of_the_step() -> None:
    plain = config(data="digits", model="flatten, dense(10)")
    made = setup(replace(plain, augment="random_flip, random_shift(2)"))
    batches = list(training_batches(made, 0, 2))
    again = list(training_batches(made, 50, 2))
    tree.map(np.testing.assert_array_equal, again, batches[50:])
    first, unchanged = batches[0][0], next(training_batches(setup(plain), 0, 1))[0]
    assert first.shape == unchanged.shape
    assert not np.array_equal(first, unchanged)
    assert made.augment is not None
    np.testing.assert_array_equal(first, made.augment(0, unchanged))


def test_rare_classes_count_for_more() -> None:
    made = setup(config(class_weights=True))
    _, labels, weights = next(training_batches(made, 0, 1))
    expected = data.class_weights(made.inputs.train.targets, 3)[labels]
    np.testing.assert_allclose(weights, expected, rtol=1e-6)


@pytest.mark.parametrize(
    ("entries", "message"),
    [
        ({"model": "dens(3)"}, "model: there is no dens; did you mean dense?"),
        ({"model": "dense(4)"}, "model: its outputs have shape (4,), expected (3,), as there"),
        ({"data": "moons", "model": "dense(4)"}, "model: its outputs have shape (4,), expected (2"),
        ({"data": "diabetes"}, "model: its outputs have shape (3,), expected (1,), as targets"),
        ({"model": "relu"}, "model: its outputs have shape (4,), expected (3,)"),
        ({"model": "dense"}, "model: dense is no layer; does it need arguments, as in dense(10)"),
        ({"model": "he_normal()"}, "model: he_normal is no layer"),
        ({"model": "conv(3, (3, 3)), dense(3)"}, "model: conv_0: conv: "),
        ({"model": " "}, "model: is empty"),
        (
            {"model": "dense(128), relu, dense_0=dense(3)"},
            "model: dense_0 names one layer, and is what another is called",
        ),
        ({"model": "a=dense(128), a=dense(3)"}, "model: a is given twice"),
        (
            {"data": "digits", "model": "flatten=dense(8), dense_0=dense(10)"},
            "model: flatten names one layer, and is what another is called",
        ),
        ({"model": "dense(3), **x"}, "model: _(dense(3), **x) has **, expected names"),
        ({"model": "-dense(3)"}, "model: -dense(3) is no arithmetic of numbers"),
        ({"model": "residual(-relu), dense(3)"}, "model: -relu is no arithmetic of numbers"),
        (
            {"data": "moons", "model": "dense(1), sigmoid", "loss": "binary_cross_entropy"},
            "loss: binary_cross_entropy is of probabilities, and one output is taken for a logit",
        ),
        ({"loss": "squared_eror"}, "loss: there is no squared_eror; did you mean squared_error?"),
        ({"loss": "triplet_margin_loss"}, "loss: there is no triplet_margin_loss"),
        (
            {"data": "diabetes", "model": "dense(1)", "loss": "multiclass_hinge_loss"},
            "loss: multiclass_hinge_loss is one of labels, and the targets are values",
        ),
        ({"optimizer": "adam"}, "optimizer: adam has no learning rate; write adam(0.001), say"),
        ({"optimizer": "adm(0.1)"}, "optimizer: there is no adm; did you mean adam"),
        ({"optimizer": "adam(-1)"}, "optimizer: adam(-1): "),
        ({"optimizer": "3"}, "optimizer: got 3, expected a name or a call"),
        ({"schedule": "steps"}, "schedule: got steps, expected a call"),
        ({"schedule": "constant_schedule"}, "schedule: got constant_schedule, expected a call"),
        (
            {"schedule": "constant_schedule(0.1)"},
            "optimizer: adam(0.001) has a learning rate, and there is a schedule; w",
        ),
        (
            {"schedule": "reduce_on_plateau(0.1)", "optimizer": "adam", "validation": 0.0},
            "schedule: reduce_on_plateau(0.1) follows the validation loss, and",
        ),
        (
            {"schedule": "constant_schedule(0.1)", "optimizer": "clip(1.0)"},
            "optimizer: clip has no learning rate for the schedule",
        ),
        ({"regularizer": "l3(1)"}, "regularizer: there is no l3; expected one of elastic"),
        ({"regularizer": "l2"}, "regularizer: got l2, expected one as in l2(1e-4)"),
        ({"augment": "random_flip"}, "augment: random_flip: images has shape (2, 4), expected (b"),
        (
            {"data": "digits", "model": "flatten, dense(10)", "augment": "random_crop((4, 4))"},
            "augment: gives inputs of shape (4, 4, 1), expected (8, 8, 1), as they came",
        ),
        ({"augment": "a=random_flip"}, "augment: got a=random_flip, expected one after the other"),
        (
            {"data": "diabetes", "model": "dense(1)", "class_weights": True},
            "class_weights: there are no classes, the targets are values",
        ),
    ],
)  # fmt: skip
@pytest.mark.usefixtures("unannotated")
def test_the_message_names_the_key(entries: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=f"^{re.escape(message)}"):
        setup(config(**entries))


@pytest.mark.parametrize(
    ("labels", "entries", "message"),
    [
        ([1] * 40, {}, "data: all examples of the train part are of class 1, expected at least tw"),
        ([0] * 40, {}, "data: all examples of the train part are of class 0, expected at least tw"),
        (
            [0, 2] * 20,
            {"class_weights": True},
            "class_weights: class 1 has no example, expected one of each of 3 classes in the train",
        ),
    ],
)
def test_classes_that_are_not_there_are_told(
    tmp_path: Path, labels: list[int], entries: dict[str, Any], message: str
) -> None:
    np.savez(tmp_path / "x.npz", x=np.arange(80.0).reshape(40, 2), y=np.array(labels))
    model = f"dense({max(labels) + 1})"
    with pytest.raises(ConfigError, match=f"^{re.escape(message)}"):
        setup(config(data=str(tmp_path / "x.npz"), model=model, **entries))


@pytest.mark.parametrize("loss", ["hinge_loss", "perceptron_loss", "sigmoid_binary_cross_entropy"])
def test_the_accuracy_of_one_output_is_that_of_its_sign(loss: str) -> None:
    made = setup(config(data="moons(points=30)", model="dense(1)", loss=loss))
    outputs = made.model.forward(made.state.params, made.state.state, made.inputs.train.inputs)
    expected = np.mean((outputs[:, 0] > 0) == (made.inputs.train.targets == 1))
    assert scores(made, made.state, made.inputs.train)["accuracy"] == expected


def test_the_state_is_the_one_that_init_state_draws() -> None:
    made = setup(config(optimizer="sgd(0.1, momentum=0.9)"))
    init_key = random.split(random.key(0), 4)[1]
    optimizer = optimizers.sgd(0.1, momentum=0.9)
    expected = training.init_state(made.model, optimizer, init_key, (4,))
    tree.map(np.testing.assert_array_equal, made.state, expected)


@pytest.mark.parametrize("loss", ["ntxent", "cosine_similarity"])
def test_what_is_no_loss_of_examples_is_not_offered(loss: str) -> None:
    with pytest.raises(ConfigError, match=f"loss: there is no {loss}"):
        setup(config(loss=loss))


@pytest.mark.parametrize(
    "model", ["relu, dense(10)", "batch_norm(), dense(10)", "dropout(0.2), a=dense(10)"]
)
def test_images_are_flattened_where_the_model_needs_it(model: str) -> None:
    made = setup(config(data="digits", model=model))
    assert next(iter(made.layers)) == "flatten"
    with pytest.raises(ConfigError, match="the layer flatten makes a vector of an image"):
        setup(config(data="digits", model="conv(2, (3, 3)), dense(10)"))
