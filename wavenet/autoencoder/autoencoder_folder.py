"""Load and save an autoencoder: a folder with config.json and model.safetensors.

The files are checked as those of a checkpoint: nothing in them is code, the config is checked
before anything is built, and the weights must fit it exactly. Called by the command line.
"""

from dataclasses import dataclass
from pathlib import Path

from audio_utils.atomic_files import atomic_file, os_error_reason
from wavenet.autoencoder.mel_autoencoder import AutoencoderConfig, MelAutoencoder
from wavenet.checkpoint_folders import AUTOENCODER_MARK, CONFIG, resolve_checkpoint
from wavenet.config import parse_config
from wavenet.errors import CheckpointError, ConfigError
from wavenet.weights_file import WEIGHTS, read_bytes, read_weights, write_weights

MAX_CONFIG_BYTES = 1 << 16


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
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with atomic_file(folder / CONFIG, replace) as path:
            path.write_text(model.config.model_dump_json(indent=2) + "\n", encoding="utf-8")
    except OSError as error:
        raise CheckpointError(
            f"the autoencoder {folder} cannot be written: {os_error_reason(error)}"
        ) from None
    write_weights(folder / WEIGHTS, model.state_dict(), replace)


def load_autoencoder(folder: str | Path) -> LoadedAutoencoder:
    """Read the folder of an autoencoder, by its path or by a name such as checkpoints/codes/vector.

    Raises:
        CheckpointError: the folder or a file is missing or damaged, or the weights do not fit.
    """
    folder = resolve_checkpoint(folder)
    if not (folder / CONFIG).is_file():
        raise CheckpointError(
            f"{folder} is not an autoencoder; expected a folder with {CONFIG} and {WEIGHTS}, which "
            "`wavenet autoencoder train` writes"
        )
    text = read_bytes(folder / CONFIG, MAX_CONFIG_BYTES)
    if AUTOENCODER_MARK not in text:
        raise CheckpointError(
            f"{folder} is not an autoencoder but another model; use the folder that `wavenet "
            "autoencoder train` wrote"
        )
    try:
        config = parse_config(AutoencoderConfig, text, str(folder / CONFIG))
    except ConfigError as error:
        raise CheckpointError(str(error)) from None
    model = MelAutoencoder(config)
    model.load_state_dict(read_weights(folder / WEIGHTS, model.state_dict()))
    return LoadedAutoencoder(model.requires_grad_(False).eval(), folder)
