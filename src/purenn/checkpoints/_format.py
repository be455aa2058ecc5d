"""The file: safetensors, with a JSON header of ours and a checksum in its metadata."""

import hashlib
import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from purenn._files import check_regular
from purenn.contract import check_array
from purenn.errors import CheckpointError, DomainError, DtypeError
from purenn.typing import Array

DTYPES = {
    **{"bool": "BOOL", "uint8": "U8", "uint16": "U16", "uint32": "U32", "uint64": "U64"},
    **{"int8": "I8", "int16": "I16", "int32": "I32", "int64": "I64"},
    **{"float16": "F16", "bfloat16": "BF16", "float32": "F32", "float64": "F64"},
}
_NAMES = {code: name for name, code in DTYPES.items()}

_LONGEST_HEADER = 100_000_000  # as safetensors has it


def encode(arrays: Mapping[str, Any], header: str) -> bytes:
    """The bytes of a file with this header, which is JSON.

    Raises:
        DtypeError: an array has a dtype that safetensors does not know.
        DomainError: a name cannot be in the file, or names and header are too long for it.
    """
    from safetensors import SafetensorError
    from safetensors.numpy import save

    native = {}
    for name, array in arrays.items():
        check_array("save", name, array)
        if name == "__metadata__" or any("\ud800" <= c <= "\udfff" for c in name):
            raise DomainError(f"save: a leaf has the name {name!r}, which safetensors cannot have")
        code = DTYPES.get(array.dtype.name)
        if code is None:
            raise DtypeError(
                f"save: {name} has dtype {array.dtype}, expected one of {', '.join(DTYPES)}"
            )
        native[name] = np.asarray(array, array.dtype.newbyteorder("="), order="C")
    # One entry: several come in any order, and the same tree would not give the same bytes.
    try:
        return save(native, {"purenn": f"{_checksum(native, header)} {header}"})
    except SafetensorError as error:
        raise DomainError(
            f"save: metadata is of {len(header):,} characters, with which the names of the leaves "
            f"make a header that safetensors refuses: {error}"
        ) from None


def decode(path: Path) -> tuple[dict[str, Array], dict[str, str]]:
    """All arrays of a safetensors file and its metadata; nothing in it is executed.

    Raises:
        CheckpointError: it is none, or is damaged.
        OSError: it is no regular file, or cannot be read.
    """
    from safetensors import SafetensorError, deserialize

    data, metadata = _contents(path)
    try:
        entries = sorted(deserialize(data))  # type: ignore[no-untyped-call]
    except SafetensorError as error:
        raise CheckpointError(f"{path}: is no whole safetensors file ({error})") from None
    arrays = {}
    for name, entry in entries:
        dtype = _NAMES.get(entry["dtype"])
        if dtype is None:
            raise CheckpointError(
                f"{path}: {name} has dtype {entry['dtype']}, expected one of {', '.join(_NAMES)}"
            )
        flat = np.frombuffer(bytearray(entry["data"]), dtype_of(dtype))
        try:
            arrays[name] = flat.reshape(entry["shape"])
        except ValueError as error:
            raise CheckpointError(f"{path}: {name} is no array that NumPy has: {error}") from None
    return arrays, metadata


def _contents(path: Path) -> tuple[bytes, dict[str, str]]:
    """All bytes and the metadata; it is as long as its header says before they are read."""
    check_regular(path)
    with path.open("rb") as file:
        size = os.fstat(file.fileno()).st_size
        length = int.from_bytes(file.read(8), "little")
        if size < 8 or length > min(size - 8, _LONGEST_HEADER):
            raise CheckpointError(
                f"{path}: is no whole safetensors file (a header of {length:,} bytes in a file of "
                f"{size:,})"
            )
        try:
            entries = json.loads(file.read(length))
            metadata = entries.pop("__metadata__", None) or {}
            ends = [its["data_offsets"][1] for its in entries.values()]
            expected = 8 + length + max(ends, default=0)
        except (ValueError, TypeError, LookupError, AttributeError, RecursionError) as error:
            told = " ".join(str(error).split())[:200]
            raise CheckpointError(
                f"{path}: is no whole safetensors file (its header: {told})"
            ) from None
        if expected != size:
            raise CheckpointError(
                f"{path}: is no whole safetensors file ({size:,} bytes, expected {expected:,})"
            )
        file.seek(0)
        return file.read(), metadata


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
    try:
        found = json.loads(header)
    except (ValueError, RecursionError):
        found = None
    if not isinstance(found, dict):
        raise CheckpointError(f"{path}: its header {header[:40]!r} is no JSON object")
    return found


def _checksum(arrays: Mapping[str, Array], header: str) -> str:
    digest = hashlib.sha256(header.encode())
    for name in sorted(arrays):
        array = arrays[name]
        digest.update(json.dumps([name, array.dtype.name, array.shape]).encode())
        digest.update(array.tobytes())
    return digest.hexdigest()


def dtype_of(name: str) -> np.dtype[Any]:
    """The dtype of this name, little-endian as in the file."""
    if name == "bfloat16":
        import ml_dtypes

        return np.dtype(ml_dtypes.bfloat16)  # type: ignore[no-any-return, unused-ignore]
    return np.dtype(name).newbyteorder("<")
