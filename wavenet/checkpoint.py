"""A checkpoint is a folder: model.safetensors, config.json and a README.md card.

A path enters, a model ready to run leaves, and back. Nothing in the folder is code; the config is
checked, and the sizes it asks for are counted, before anything is built; the weights must fit it
exactly.
"""

import json
import os
import struct
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load as load_tensors
from safetensors.torch import save as save_tensors
from torch import Tensor, nn

from audio_utils.files import atomic_file
from wavenet.config import CheckpointConfig
from wavenet.devices import device_errors
from wavenet.errors import CheckpointError, ConfigError
from wavenet.model.wavenet import WaveNet
from wavenet.parsing import parse

WEIGHTS = "model.safetensors"
CONFIG = "config.json"
CARD = "README.md"
MAX_CONFIG_BYTES = 1 << 20
MAX_HEADER_BYTES = 1 << 20


@dataclass(frozen=True)
class Checkpoint:
    """A loaded model and all that is known about it."""

    config: CheckpointConfig
    model: WaveNet
    folder: Path


def build(config: CheckpointConfig) -> WaveNet:
    """Make the network of a config, with fresh weights.

    Raises:
        ConfigError: a condition bears a name that torch has taken, such as "type".
    """
    taken = nn.ModuleDict()
    for condition in config.model.labels:
        if hasattr(taken, condition.name):
            raise ConfigError(f"a condition cannot be named {condition.name}; choose another name")
    codec = config.codec
    return WaveNet(config.model, codec.bits, config.audio.sample_rate, codec.silence_code)


def save(folder: Path, config: CheckpointConfig, model: WaveNet) -> None:
    """Write weights and config, each file complete or not at all.

    Raises:
        CheckpointError: the folder cannot be written.
    """
    tensors = {name: tensor.contiguous() for name, tensor in model.state_dict().items()}
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with atomic_file(folder / CONFIG) as path:
            path.write_text(config.model_dump_json(indent=2) + "\n", encoding="utf-8")
        with atomic_file(folder / WEIGHTS) as path:
            path.write_bytes(save_tensors(tensors))
    except OSError as error:
        raise CheckpointError(f"the checkpoint {folder} cannot be written: {error}") from None


def load(folder: str | Path, device: str | torch.device = "cpu") -> Checkpoint:
    """Read a checkpoint folder.

    Raises:
        CheckpointError: no such folder, a file missing or damaged, a config out of bounds, or
            weights that do not fit the config.
        OutOfMemory, DeviceError: they do not fit the device, or it is lost.
    """
    folder = find(folder)
    config = load_config(folder)
    try:
        model = build(config)
    except ConfigError as error:
        raise CheckpointError(f"{folder / CONFIG}: {error}") from None
    tensors = _read_weights(folder / WEIGHTS, model.state_dict())
    model.load_state_dict(tensors)
    model.requires_grad_(False)
    with device_errors():
        return Checkpoint(config, model.eval().to(device), folder)


def find(folder: str | Path) -> Path:
    """Look a folder up in the working folder, else beside the packages, where ours are."""
    beside = Path(__file__).parents[1] / folder
    # not pathlib's, which raise for a name too long or a folder closed to us
    return beside if os.path.isdir(beside) and not os.path.exists(folder) else Path(folder)


def load_config(folder: str | Path) -> CheckpointConfig:
    """Read the config of a checkpoint folder alone.

    Raises:
        CheckpointError: as `load`.
    """
    path = find(folder) / CONFIG
    try:
        found = path.parent.is_dir()
    except OSError as error:
        raise CheckpointError(f"{path.parent} cannot be read: {error.strerror}") from None
    if not found:
        raise CheckpointError(
            f"{path.parent} is not a checkpoint folder; expected one with {CONFIG} and {WEIGHTS}"
        )
    text = _read_bytes(path, MAX_CONFIG_BYTES)
    try:
        return parse(CheckpointConfig, text, str(path))
    except ConfigError as error:
        raise CheckpointError(str(error)) from None
    except RecursionError:
        raise CheckpointError(f"{path} is nested too deeply to be a config") from None


def _read_bytes(path: Path, limit: int) -> bytes:
    try:
        if not path.is_file():
            raise CheckpointError(f"{path.parent} has no {path.name}; it is no complete checkpoint")
        size = path.stat().st_size
        if size > limit:
            raise CheckpointError(f"{path} has {size:,} bytes; at most {limit:,} were expected")
        return path.read_bytes()
    except OSError as error:
        raise CheckpointError(f"{path} cannot be read: {error}") from None


def _read_weights(path: Path, expected: dict[str, Tensor]) -> dict[str, Tensor]:
    """Read tensors whose names, shapes and dtypes must be the expected ones, all finite."""
    body = sum(t.numel() * t.element_size() for t in expected.values())
    data = _read_bytes(path, body + MAX_HEADER_BYTES)
    found = _header(path, data)
    wanted = {name: (tuple(t.shape), "F32") for name, t in expected.items()}
    if found != wanted:
        raise CheckpointError(f"{path} does not fit its {CONFIG}: {_difference(found, wanted)}")
    try:
        tensors = load_tensors(data)
    except (SafetensorError, ValueError) as error:
        raise CheckpointError(f"{path} is damaged: {error}") from None
    for name, tensor in tensors.items():
        if not bool(torch.isfinite(tensor).all()):
            raise CheckpointError(f"{path} is damaged: the tensor {name} holds NaN or infinity")
    return tensors


def _header(path: Path, data: bytes) -> dict[str, tuple[tuple[int, ...], str]]:
    """Give shape and dtype by name: 8 bytes of length, then JSON, begin a safetensors file."""
    try:
        (length,) = struct.unpack_from("<Q", data)
        if length > min(MAX_HEADER_BYTES, len(data) - 8):
            raise ValueError("its header is longer than the file")
        header = json.loads(data[8 : 8 + length], object_pairs_hook=_unique)
        header.pop("__metadata__", None)
        return {name: (tuple(h["shape"]), str(h["dtype"])) for name, h in header.items()}
    except (struct.error, ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        # only now: the length of a sound header can begin with the same two bytes
        if data[:2] in (b"PK", b"\x80\x02", b"\x80\x03", b"\x80\x04", b"\x80\x05"):
            raise CheckpointError(
                f"{path} is a pickle, which could run code when it is read; expected safetensors"
            ) from None
        raise CheckpointError(f"{path} is truncated or no safetensors file: {error}") from None


def _unique(pairs: list[tuple[str, object]]) -> dict[str, object]:
    """Refuse a name that occurs twice, of which JSON readers would keep either."""
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
    return f"the tensor {extra!r} is not known"
