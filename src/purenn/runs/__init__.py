"""Runs as ``purenn train`` makes them: a configuration in, a folder of results out.

    config         the keys, their meaning and their limits
    expressions    "dense(128), relu, dense(10)" without executing anything
    inputs         data, split and scaled
    optimizing     the optimizer and its learning rate
    setup          model, loss, optimizer: the functions of a run
    train          the loop, its checkpoints, and how it is resumed
    trained        a network from its checkpoint
    pictures, report

It needs ``pip install 'purenn[train]'``.
"""
