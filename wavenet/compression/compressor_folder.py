"""Load and save a compressor: a folder with config.json and model.safetensors.

The files are checked by `network_folder`. A compressed file names the first half of the SHA-256 of
the weights, by which the compressor is found among those that are installed. Called by the command
line, the Python interface and the studio.
"""

import hashlib
from functools import lru_cache
from pathlib import Path

import numpy as np

from wavenet.checkpoint_folders import (
    COMPRESSOR_MARK,
    CONFIG,
    list_compressors,
    resolve_checkpoint,
)
from wavenet.compression.block_coder import NetworkBlockCoder
from wavenet.compression.blocks import Block, BlockCoder
from wavenet.compression.compression_network import CompressionNetwork, CompressionNetworkConfig
from wavenet.errors import CheckpointError, CompressedFileError
from wavenet.network_folder import NetworkKind, load_network, save_network
from wavenet.weights_file import WEIGHTS, read_bytes

DEFAULT = "lossless"
MAX_WEIGHTS_BYTES = 1 << 28

COMPRESSOR = NetworkKind(
    "a compressor",
    CompressionNetworkConfig,
    CompressionNetwork,
    COMPRESSOR_MARK,
    f"expected a folder with {CONFIG} and {WEIGHTS}, such as {DEFAULT}",
    f"use the folder of a compressor, such as {DEFAULT}",
)


def save_compressor(folder: Path, network: CompressionNetwork) -> None:
    """Write config and weights; each file is written completely or not at all.

    Raises:
        CheckpointError: the folder cannot be written.
    """
    save_network(folder, COMPRESSOR, network.config, network)


def weights_hash(folder: Path) -> str:
    """Return the SHA-256 of the file of the weights, hexadecimal.

    Raises:
        CheckpointError: it cannot be read.
    """
    return hashlib.sha256(read_bytes(folder / WEIGHTS, MAX_WEIGHTS_BYTES)).hexdigest()


def load_compressor(
    folder: str | Path = DEFAULT, adapts: bool = True, threads: int | None = None
) -> NetworkBlockCoder:
    """Read the folder of a compressor, by its path or its name, to compress new files.

    Args:
        adapts: whether adaptive predictors take part in the distribution, for encoding.
        threads: None for all cores.
    Raises:
        CheckpointError: the folder or a file is missing or damaged, or the weights do not fit.
    """
    path = resolve_checkpoint(folder)
    network = load_network(path, COMPRESSOR)
    return NetworkBlockCoder(network, path.name, weights_hash(path), adapts, threads)


def compile_coder(coder: BlockCoder) -> None:
    """Code a few samples, so that compiled code exists: once per machine it takes 15 seconds."""
    coder.encode([Block(np.arange(16, dtype=np.int32)[np.newaxis], 16)])


@lru_cache(maxsize=4)
def load_block_coder(sha256: str) -> NetworkBlockCoder:
    """Return the coder of a compressed file.

    Args:
        sha256: of the weights, or its first 32 digits.
    Raises:
        CompressedFileError: no compressor with these weights is installed.
    """
    for folder in list_compressors().values():
        try:
            if weights_hash(folder).startswith(sha256):
                return load_compressor(folder)
        except CheckpointError:
            continue
    raise CompressedFileError(
        f"no installed compressor has the weights with the SHA-256 {sha256[:12]}...; put the "
        "folder of the compressor that wrote the file into ./checkpoints"
    )
