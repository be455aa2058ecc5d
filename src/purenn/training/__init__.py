"""Training: a loop is an expression, its next state a pure function of this one and a batch.

    step = train_step(objective(model, loss), optimizer)
    state = init_state(model, optimizer, key(0), input_shape=(64,))
    for state, metrics in fit(step, state, stream(key(1), (inputs, targets), 32, epochs=10)):
        ...

Everything that a run depends on is in its ``TrainState`` and its batches: the same two give the
same bits. The pieces that stand around the loop are as pure:

    batches, stream                 which examples a step sees
    evaluate, predict, labels, accuracy
                                    what the model is worth
    early_stopping                  the best state, and when to stop
    cross_validate, search          which model to take
    with_hyperparams                another learning rate
    stop_at_nonfinite               an error in place of NaN
    interruptible                   Ctrl-C ends the loop, not the step

:mod:`purenn.checkpoints` saves a ``TrainState`` and loads it again.
"""

from purenn.training.batching import batches, batches_per_epoch, stream
from purenn.training.evaluation import accuracy, evaluate, labels, predict
from purenn.training.hooks import interruptible, stop_at_nonfinite, with_hyperparams
from purenn.training.objective import Batch, Objective, objective
from purenn.training.selection import Trial, cross_validate, search
from purenn.training.step import Metrics, Step, TrainState, fit, init_state, train_step
from purenn.training.stopping import Best, EarlyStopping, early_stopping

__all__ = [
    "Batch",
    "Best",
    "EarlyStopping",
    "Metrics",
    "Objective",
    "Step",
    "TrainState",
    "Trial",
    "accuracy",
    "batches",
    "batches_per_epoch",
    "cross_validate",
    "early_stopping",
    "evaluate",
    "fit",
    "init_state",
    "interruptible",
    "labels",
    "objective",
    "predict",
    "search",
    "stop_at_nonfinite",
    "stream",
    "train_step",
    "with_hyperparams",
]
