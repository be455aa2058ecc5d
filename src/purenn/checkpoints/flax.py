"""Parameters that Flax saved, for the equivalent model."""

from collections.abc import Mapping
from os import PathLike
from pathlib import Path
from typing import Any

import numpy as np

from purenn._files import check_regular
from purenn.checkpoints import _format, _names
from purenn.errors import CheckpointError
from purenn.layers import State
from purenn.typing import Array, Params

_NDARRAY, _NUMPY_SCALAR = 1, 3
_CHUNKED = "__msgpack_chunked_array__"
_COLLECTIONS = ("params", "batch_stats")


def load_flax(
    path: str | PathLike[str], params: Params, state: State | None = None
) -> tuple[Params, State]:
    """Read parameters, and the running statistics of batch norm, that Flax saved.

    The layers must have the same names, as in ``serial(Dense_0=dense(128), act=relu,
    Dense_1=dense(10))`` for a ``flax.linen`` module with two anonymous ``Dense``.

    Args:
        path: A file of ``flax.serialization.to_bytes`` (msgpack), or a safetensors file of the
            tree flattened with ``/`` or ``.`` between the names. What it holds are variables,
            ``{"params": …, "batch_stats": …}``, or the parameters alone.
        params: Parameters of the model, as ``model.init`` gives them; their numbers do not matter.
        state: State of the model, if it has any.

    Returns:
        ``(params, state)`` as the file has them.

    Raises:
        CheckpointError: the file is none of these or damaged; or names, shapes or dtypes differ
            from those of the model: the message says which.
        OSError: it cannot be read, or is no regular file.
    """
    file = Path(path)
    check_regular(file)
    arrays = _from_safetensors(file) if _is_safetensors(file) else _from_msgpack(file)
    if not any(name.split("/")[0] in _COLLECTIONS for name in arrays):
        arrays = {f"params/{name}": array for name, array in arrays.items()}
    like = {"params": params} | ({"batch_stats": state} if state else {})
    found = _names.fitted(file, arrays, like)
    return found["params"], found.get("batch_stats", {})


def _is_safetensors(path: Path) -> bool:
    with path.open("rb") as file:
        start = file.read(9)
    return start[8:] == b"{" and int.from_bytes(start[:8], "little") <= path.stat().st_size


def _from_safetensors(file: Path) -> dict[str, Array]:
    arrays, _ = _format.decode(file)
    if any("/" in name for name in arrays):
        return arrays
    return {name.replace(".", "/"): array for name, array in arrays.items()}


def _from_msgpack(file: Path) -> dict[str, Array]:
    import msgpack

    def extension(code: int, content: bytes) -> Array:
        if code not in (_NDARRAY, _NUMPY_SCALAR):
            raise ValueError(f"an extension of type {code}, which is no array")
        shape, dtype, content = msgpack.unpackb(content, raw=False, max_ext_len=0)
        if dtype == "V2":  # the name that bfloat16 has where its package is not loaded
            dtype = "bfloat16"
        if dtype not in _format.DTYPES:
            raise ValueError(f"an array of dtype {dtype}")
        return np.frombuffer(bytearray(content), _format.dtype_of(dtype)).reshape(shape)

    size = file.stat().st_size
    try:
        with file.open("rb") as stream:
            # As much is read as the tree is long; there is no list in it.
            reader = msgpack.Unpacker(
                stream, ext_hook=extension, raw=False, max_buffer_size=max(1, size), max_array_len=0
            )
            values = reader.unpack()
            if reader.tell() != size:
                raise ValueError(f"it is {reader.tell():,} bytes long, and the file {size:,}")
        return dict(_flattened(values))
    except (ValueError, TypeError, KeyError, msgpack.UnpackException) as error:
        raise CheckpointError(f"{file}: is no tree of arrays that Flax wrote ({error})") from None


def _flattened(values: Any, path: tuple[str, ...] = ()) -> list[tuple[str, Array]]:
    if isinstance(values, np.ndarray):
        return [(_names.name(path), values)]
    if not isinstance(values, Mapping):
        raise ValueError(f"{'/'.join(path) or 'the root'} is a {type(values).__name__}")
    if values.get(_CHUNKED):
        # An array of a gigabyte or more is cut into pieces of one axis.
        chunks = [values["chunks"][str(i)] for i in range(len(values["chunks"]))]
        shape = [values["shape"][str(i)] for i in range(len(values["shape"]))]
        return [(_names.name(path), np.concatenate(chunks).reshape(shape))]
    return [
        each for step, child in values.items() for each in _flattened(child, (*path, str(step)))
    ]
