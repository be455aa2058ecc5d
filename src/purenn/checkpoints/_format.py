"""The file: safetensors, with a JSON header of ours and a checksum in its metadata."""

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from purenn.contract import check_array
from purenn.errors import DtypeError
from purenn.typing import Array

_DTYPES = {
    **{"bool": "BOOL", "uint8": "U8", "uint16": "U16", "uint32": "U32", "uint64": "U64"},
    **{"int8": "I8", "int16": "I16", "int32": "I32", "int64": "I64"},
    **{"float16": "F16", "bfloat16": "BF16", "float32": "F32", "float64": "F64"},
}
_NAMES = {code: name for name, code in _DTYPES.items()}


class CheckpointError(ValueError):
    """A file is no checkpoint, is damaged, or does not fit what it is loaded into."""


def encode(arrays: Mapping[str, Any], header: str) -> bytes:
    """The bytes of a file with this header, which is JSON.

    Raises:
        DtypeError: an array has a dtype that safetensors does not know.
    """
    from safetensors.numpy import save

    native = {}
    for name, array in arrays.items():
        check_array("save", name, array)
        code = _DTYPES.get(array.dtype.name)
        if code is None:
            raise DtypeError(
                f"save: {name} has dtype {array.dtype}, expected one of {', '.join(_DTYPES)}"
            )
        native[name] = np.asarray(array, array.dtype.newbyteorder("="), order="C")
    # One entry: several come in any order, and the same tree would not give the same bytes.
    return save(native, {"purenn": f"{_checksum(native, header)} {header}"})


def decode(path: Path, data: bytes) -> tuple[dict[str, Array], dict[str, str]]:
    """All arrays of a safetensors file and its metadata; nothing in it is executed.

    Raises:
        CheckpointError: it is none, or is damaged.
    """
    from safetensors import SafetensorError, deserialize

    try:
        entries = sorted(deserialize(data))  # type: ignore[no-untyped-call]
    except SafetensorError as error:
        raise CheckpointError(f"{path}: is no whole safetensors file ({error})") from None
    length = int.from_bytes(data[:8], "little")
    metadata = json.loads(data[8 : 8 + length]).get("__metadata__") or {}
    arrays = {}
    for name, entry in entries:
        dtype = _NAMES.get(entry["dtype"])
        if dtype is None:
            raise CheckpointError(
                f"{path}: {name} has dtype {entry['dtype']}, expected one of {', '.join(_NAMES)}"
            )
        arrays[name] = np.frombuffer(bytearray(entry["data"]), _dtype(dtype)).reshape(
            entry["shape"]
        )
    return arrays, metadata


def verify(path: Path, arrays: Mapping[str, Array], metadata: Mapping[str, str]) -> dict[str, Any]:
    """The header of a file of ours, whose checksum is right.

    Raises:
        CheckpointError: it has no header, or was changed after it was written.
    """
    if "purenn" not in metadata:
        raise CheckpointError(
            f"{path}: has no header of purenn's, expected a file written by purenn.checkpoints"
        )
    checksum, _, header = metadata["purenn"].partition(" ")
    if _checksum(arrays, header) != checksum:
        raise CheckpointError(
            f"{path}: its contents do not have the checksum in its header: it was changed or "
            "damaged after it was written"
        )
    found: dict[str, Any] = json.loads(header)
    return found


def _checksum(arrays: Mapping[str, Array], header: str) -> str:
    digest = hashlib.sha256(header.encode())
    for name in sorted(arrays):
        array = arrays[name]
        digest.update(json.dumps([name, array.dtype.name, array.shape]).encode())
        digest.update(array.tobytes())
    return digest.hexdigest()


def _dtype(name: str) -> np.dtype[Any]:
    if name == "bfloat16":
        import ml_dtypes

        return np.dtype(ml_dtypes.bfloat16)  # type: ignore[no-any-return, unused-ignore]
    return np.dtype(name).newbyteorder("<")
