"""Load and save an autoencoder: a folder with config.json and model.safetensors.

The files are checked by `network_folder`. Called by the command line.
"""

from dataclasses import dataclass
from pathlib import Path

from wavenet.autoencoder.mel_autoencoder import AutoencoderConfig, MelAutoencoder
from wavenet.checkpoint_folders import AUTOENCODER_MARK, CONFIG, resolve_checkpoint
from wavenet.network_folder import NetworkKind, load_network, save_network
from wavenet.weights_file import WEIGHTS

AUTOENCODER = NetworkKind(
    "an autoencoder",
    AutoencoderConfig,
    MelAutoencoder,
    AUTOENCODER_MARK,
    f"expected a folder with {CONFIG} and {WEIGHTS}, which `wavenet autoencoder train` writes",
    "use the folder that `wavenet autoencoder train` wrote",
)


@dataclass(frozen=True)
class LoadedAutoencoder:
    """An autoencoder, ready to run, and its folder."""

    model: MelAutoencoder
    folder: Path

    @property
    def config(self) -> AutoencoderConfig:
        """The config of the autoencoder."""
        return self.model.config


def save_autoencoder(folder: Path, model: MelAutoencoder, replace: bool = True) -> None:
    """Write config and weights; each file is written completely or not at all.

    Raises:
        CheckpointError: the folder cannot be written.
    """
    save_network(folder, AUTOENCODER, model.config, model, replace)


def load_autoencoder(folder: str | Path) -> LoadedAutoencoder:
    """Read the folder of an autoencoder, by its path or by a name such as checkpoints/codes/vector.

    Raises:
        CheckpointError: the folder or a file is missing or damaged, or the weights do not fit.
    """
    folder = resolve_checkpoint(folder)
    return LoadedAutoencoder(load_network(folder, AUTOENCODER), folder)
