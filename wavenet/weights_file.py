"""Read and write the weights of a model: a safetensors file whose tensors are known in advance.

Input of `read_weights`: a path, and the names and shapes that the config of the model defines.
Output: tensors. A file that does not have exactly these tensors, or that contains other values than
finite numbers, is refused with one sentence. Called by `checkpoint` and `network_folder`.
"""

import json
import struct
from collections.abc import Collection, Mapping
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load as load_tensors
from safetensors.torch import save as save_tensors
from torch import Tensor

from audio_utils.atomic_files import atomic_file, os_error_reason
from wavenet.errors import CheckpointError
from wavenet.user_input.separated_text import LFS_START

WEIGHTS = "model.safetensors"
MAX_HEADER_BYTES = 1 << 20
_DTYPES = {torch.float32: "F32", torch.float16: "F16"}  # their names in the file


def write_weights(
    path: Path,
    tensors: Mapping[str, Tensor],
    replace: bool = True,
    dtype: torch.dtype = torch.float32,
) -> None:
    """Write tensors by name, completely or not at all.

    Args:
        path: of the file; its folder exists.
        tensors: float32.
        replace: whether an existing file may be replaced.
        dtype: of the values in the file: float32 or float16, to which they are rounded.
    Raises:
        CheckpointError: the file cannot be written, or a value is too large for the dtype.
    """
    contiguous = {name: tensor.to(dtype).contiguous() for name, tensor in tensors.items()}
    for name, tensor in contiguous.items():
        if not torch.equal(tensor.isfinite(), tensors[name].isfinite()):
            raise CheckpointError(
                f"the tensor {name} of {path} has values beyond {torch.finfo(dtype).max:,.0f}, the "
                "largest number that is stored; train with a lower learning rate"
            )
    try:
        with atomic_file(path, replace) as temporary:
            temporary.write_bytes(save_tensors(contiguous))
    except OSError as error:
        raise CheckpointError(
            f"the checkpoint {path.parent} cannot be written: {os_error_reason(error)}"
        ) from None


def read_weights(
    path: Path, expected: dict[str, Tensor], dtypes: Collection[torch.dtype] = (torch.float32,)
) -> dict[str, Tensor]:
    """Read tensors; names and shapes must be the expected ones, and all values finite.

    Args:
        path: of the file.
        expected: tensors with these names and shapes, float32.
        dtypes: that the file may have, all tensors the same one.
    Returns:
        Tensors of dtype float32.
    Raises:
        CheckpointError: the file is missing, damaged, or does not fit.
    """
    body = sum(t.numel() * t.element_size() for t in expected.values())
    data = read_bytes(path, body + MAX_HEADER_BYTES)
    found = _header(path, data)
    stored = [_DTYPES[dtype] for dtype in dtypes]
    used = next((d for _, d in found.values() if d in stored), stored[0])
    wanted = {name: (tuple(t.shape), used) for name, t in expected.items()}
    if found != wanted:
        raise CheckpointError(f"{path} does not fit its config.json: {_difference(found, wanted)}")
    try:
        tensors = load_tensors(data)
    except (SafetensorError, ValueError) as error:
        raise CheckpointError(f"{path} is damaged: {error}") from None
    for name, tensor in tensors.items():
        if not bool(torch.isfinite(tensor).all()):
            raise CheckpointError(f"{path} is damaged: the tensor {name} contains NaN or infinity")
    return {name: tensor.float() for name, tensor in tensors.items()}


def read_bytes(path: Path, limit: int) -> bytes:
    """Read a file of a checkpoint.

    Args:
        limit: largest size, bytes.
    Raises:
        CheckpointError: the file is missing, too large, or cannot be read.
    """
    try:
        if not path.is_file():
            raise CheckpointError(f"{path.parent} has no {path.name}; the checkpoint is incomplete")
        size = path.stat().st_size
        if size > limit:
            raise CheckpointError(f"{path} has {size:,} bytes; expected at most {limit:,}")
        return path.read_bytes()
    except OSError as error:
        raise CheckpointError(f"{path} cannot be read: {error}") from None


def _header(path: Path, data: bytes) -> dict[str, tuple[tuple[int, ...], str]]:
    """Return shape and dtype by name; the file begins with 8 bytes of length, then JSON."""
    try:
        (length,) = struct.unpack_from("<Q", data)
        if length > min(MAX_HEADER_BYTES, len(data) - 8):
            raise ValueError("its header is longer than the file")
        header = json.loads(data[8 : 8 + length], object_pairs_hook=_unique)
        header.pop("__metadata__", None)
        return {name: (tuple(h["shape"]), str(h["dtype"])) for name, h in header.items()}
    except (struct.error, ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        # checked last: the length of a valid header can begin with the same two bytes
        if data[:2] in (b"PK", b"\x80\x02", b"\x80\x03", b"\x80\x04", b"\x80\x05"):
            raise CheckpointError(
                f"{path} is a pickle, which could run code when it is read; expected safetensors"
            ) from None
        if data.startswith(LFS_START):
            raise CheckpointError(
                f"{path} is a Git LFS pointer, not the weights; run `git lfs pull`"
            ) from None
        raise CheckpointError(f"{path} is truncated, or is no safetensors file: {error}") from None


def _unique(pairs: list[tuple[str, object]]) -> dict[str, object]:
    """Raise if a name occurs twice; JSON readers differ in which one they keep."""
    result = dict(pairs)
    if len(result) != len(pairs):
        raise ValueError("a name occurs twice in its header")
    return result


def _difference(
    found: Mapping[str, tuple[tuple[int, ...], str]],
    wanted: Mapping[str, tuple[tuple[int, ...], str]],
) -> str:
    for name in wanted:
        if name not in found:
            return f"the tensor {name} is missing"
        if found[name] != wanted[name]:
            return f"the tensor {name} is {found[name]}, expected {wanted[name]}"
    extra = next(name for name in found if name not in wanted)
    return f"the tensor {extra!r} is unknown"
