"""Models that Flax initialized and saved give the same outputs here."""

import re
from contextlib import suppress
from pathlib import Path
from typing import Any

import flax.linen as nn
import flax.serialization
import flax.traverse_util
import hypothesis.strategies as st
import jax
import jax.numpy as jnp
import msgpack
import numpy as np
import pytest
import safetensors.flax
from hypothesis import given

from purenn import checkpoints, layers, random, tree
from purenn.checkpoints import CheckpointError
from purenn.ops import activations


class Net(nn.Module):
    """A convolutional network with batch norm, its layers named by Flax."""

    @nn.compact
    def __call__(self, x: Any) -> Any:
        x = nn.Conv(4, (3, 3))(x)
        x = nn.BatchNorm(use_running_average=True)(x)
        x = nn.relu(x)
        x = nn.max_pool(x, (2, 2), (2, 2))  # type: ignore[no-untyped-call]
        x = x.reshape(x.shape[0], -1)
        x = nn.Dense(5)(x)
        x = nn.LayerNorm()(nn.gelu(x, approximate=False))
        return nn.Dense(3)(x)


OURS = layers.serial(
    Conv_0=layers.conv(4, (3, 3)),
    BatchNorm_0=layers.batch_norm(),
    relu=layers.relu,
    pool=layers.max_pool((2, 2), strides=(2, 2)),
    flatten=layers.flatten,
    Dense_0=layers.dense(5),
    gelu=layers.activation(activations.gelu, approximate=False),
    LayerNorm_0=layers.layer_norm(),
    Dense_1=layers.dense(3),
)


def variables() -> Any:
    drawn = Net().init(jax.random.key(0), jnp.zeros((1, 6, 6, 2)))
    # Statistics that training would leave, instead of 0 and 1.
    rng = np.random.default_rng(0)
    return jax.tree.map(lambda x: np.asarray(x + rng.uniform(0.1, 0.5, x.shape), np.float64), drawn)


@pytest.mark.parametrize("form", ["msgpack", "/", "."])
def test_the_same_outputs(tmp_path: Path, form: str) -> None:
    theirs = variables()
    file = tmp_path / "flax"
    if form == "msgpack":
        file.write_bytes(flax.serialization.to_bytes(theirs))
    else:
        flat = flax.traverse_util.flatten_dict(theirs, sep=form)  # type: ignore[no-untyped-call]
        safetensors.flax.save_file({k: jnp.asarray(v) for k, v in flat.items()}, file)
    like, like_state, _ = OURS.init(random.key(1), (6, 6, 2), np.float64)
    params, state = checkpoints.load_flax(file, like, like_state)
    tree.map(np.testing.assert_array_equal, params, theirs["params"])
    tree.map(np.testing.assert_array_equal, state, theirs["batch_stats"])
    x = np.random.default_rng(1).normal(size=(7, 6, 6, 2))
    expected: Any = Net().apply(jax.tree.map(jnp.asarray, theirs), jnp.asarray(x))
    np.testing.assert_allclose(OURS.forward(params, state, x), expected, rtol=1e-11)


@pytest.mark.parametrize("dtype", [jnp.float32, jnp.bfloat16, jnp.float16])
def test_parameters_alone(tmp_path: Path, dtype: Any) -> None:
    module = nn.Dense(3, param_dtype=dtype)
    theirs = module.init(jax.random.key(0), jnp.zeros((1, 4)))["params"]
    model = layers.dense(3)
    like, _, _ = model.init(random.key(1), (4,))
    like = tree.map(lambda x: x.astype(dtype), like)
    (tmp_path / "x").write_bytes(flax.serialization.to_bytes(theirs))
    params, state = checkpoints.load_flax(tmp_path / "x", like)
    assert state == {}
    tree.map(np.testing.assert_array_equal, params, jax.tree.map(np.asarray, theirs))
    assert params["kernel"].flags.writeable


def test_an_array_in_pieces(tmp_path: Path) -> None:
    kernel = np.arange(6, dtype=np.float32)

    def pack(x: Any) -> Any:
        content = msgpack.packb((x.shape, x.dtype.name, x.tobytes()))
        return msgpack.ExtType(1, content)

    whole = {
        "kernel": {
            "__msgpack_chunked_array__": True,
            "shape": {"0": 2, "1": 3},
            "chunks": {"0": pack(kernel[:4]), "1": pack(kernel[4:])},
        },
        "bias": pack(np.zeros(3, np.float32)),
    }
    (tmp_path / "x").write_bytes(msgpack.packb(whole))
    restored = flax.serialization.msgpack_restore((tmp_path / "x").read_bytes())
    like, _, _ = layers.dense(3).init(random.key(0), (2,))
    params, _ = checkpoints.load_flax(tmp_path / "x", like)
    tree.map(np.testing.assert_array_equal, params, restored)


def test_what_differs_is_named(tmp_path: Path) -> None:
    theirs = nn.Dense(3).init(jax.random.key(0), jnp.zeros((1, 4)))
    (tmp_path / "x").write_bytes(flax.serialization.to_bytes(theirs))
    like, _, _ = layers.dense(2).init(random.key(0), (4,))
    with pytest.raises(
        CheckpointError, match=re.escape("x: params/bias has shape (3,), expected (2,); params/ker")
    ):
        checkpoints.load_flax(tmp_path / "x", like)
    like, _, _ = layers.serial(hidden=layers.dense(3)).init(random.key(0), (4,))
    with pytest.raises(CheckpointError, match="x: lacks params/hidden/bias; lacks params/hidden/k"):
        checkpoints.load_flax(tmp_path / "x", like)


@given(st.data())
def test_garbage_is_refused(tmp_path_factory: pytest.TempPathFactory, data: st.DataObject) -> None:
    theirs = nn.Dense(3).init(jax.random.key(0), jnp.zeros((1, 4)))
    content = bytearray(flax.serialization.to_bytes(theirs))
    place = data.draw(st.integers(0, len(content) - 1))
    if data.draw(st.booleans()):
        content[place] ^= data.draw(st.integers(1, 255))
    else:
        content = content[:place] + data.draw(st.binary(max_size=9))
    file = tmp_path_factory.mktemp("flax") / "x"
    file.write_bytes(content)
    like, _, _ = layers.dense(3).init(random.key(0), (4,))
    with suppress(CheckpointError):  # msgpack has no checksum: another number is a number
        params, _ = checkpoints.load_flax(file, like)
        tree.check_like("params", params, like)


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"\x93\x01\x02\x03",
        msgpack.packb({"a": 1}),
        msgpack.packb({"a": msgpack.ExtType(9, b"")}),
    ],
)
def test_what_is_no_tree_of_arrays_is_refused(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "x").write_bytes(content)
    with pytest.raises(CheckpointError, match="x: is no tree of arrays that Flax wrote"):
        checkpoints.load_flax(tmp_path / "x", {"a": np.zeros(3)})
