"""Read and write a folder with a small network: its config and its weights.

    FOLDER/config.json          settings of the network
    FOLDER/model.safetensors    its weights

The files are checked as those of a checkpoint: nothing in them is code, the config is checked
before anything is built, and the weights must fit it exactly. Called by `autoencoder`, `effects`
and `speech`; models of samples have `checkpoint`.
"""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Generic, TypeVar

import torch
from torch import nn

from audio_utils.atomic_files import atomic_file, os_error_reason
from wavenet.checkpoint_folders import CONFIG
from wavenet.config import StrictConfig, parse_config
from wavenet.errors import CheckpointError, ConfigError
from wavenet.weights_file import WEIGHTS, read_bytes, read_weights, write_weights

MAX_CONFIG_BYTES = 1 << 18

ConfigT = TypeVar("ConfigT", bound=StrictConfig)
NetworkT = TypeVar("NetworkT", bound=nn.Module)


@dataclass(frozen=True)
class NetworkKind(Generic[ConfigT, NetworkT]):
    """A kind of network that has folders of its own.

    Attributes:
        name: for messages, with its article, such as "an autoencoder".
        config: class of the config; build: returns the network of a config.
        mark: bytes in every config of this kind, and in no other.
        expected: the end of the message if a folder has no config.
        advice: the end of the message if a folder has another model.
        dtype: of the stored weights: float32, or float16 in half the bytes.
    """

    name: str
    config: type[ConfigT]
    build: Callable[[ConfigT], NetworkT]
    mark: bytes
    expected: str
    advice: str
    dtype: torch.dtype = torch.float32


def save_network(
    folder: Path,
    kind: NetworkKind[ConfigT, NetworkT],
    config: ConfigT,
    network: NetworkT,
    replace: bool = True,
) -> None:
    """Write config and weights; each file is written completely or not at all.

    Raises:
        CheckpointError: the folder cannot be written, or a weight is too large for the dtype.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with atomic_file(folder / CONFIG, replace) as path:
            path.write_text(config.model_dump_json(indent=2) + "\n", encoding="utf-8")
    except OSError as error:
        raise CheckpointError(
            f"the folder {folder} of {kind.name} cannot be written: {os_error_reason(error)}"
        ) from None
    write_weights(folder / WEIGHTS, network.state_dict(), replace, kind.dtype)


def load_network(folder: Path, kind: NetworkKind[ConfigT, NetworkT]) -> NetworkT:
    """Read a network, for evaluation.

    Raises:
        CheckpointError: a file is missing or damaged, the folder has another model, or the weights
            do not fit.
    """
    if not (folder / CONFIG).is_file():
        raise CheckpointError(f"{folder} is not {kind.name}; {kind.expected}")
    text = read_bytes(folder / CONFIG, MAX_CONFIG_BYTES)
    if kind.mark not in text:
        raise CheckpointError(f"{folder} is not {kind.name} but another model; {kind.advice}")
    try:
        config = parse_config(kind.config, text, str(folder / CONFIG))
    except ConfigError as error:
        raise CheckpointError(str(error)) from None
    network = kind.build(config)
    weights = read_weights(folder / WEIGHTS, network.state_dict(), (torch.float32, kind.dtype))
    network.load_state_dict(weights)
    return network.requires_grad_(False).eval()
