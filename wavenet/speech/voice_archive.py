"""Pack a voice into one zip file, and unpack a zip file of a voice or of a checkpoint.

    NAME/config.json, NAME/model.safetensors, NAME/README.md    the acoustic model and the card
    NAME/vocoder/config.json, NAME/vocoder/model.safetensors    its vocoder, which may have a card

Both models are checked as `zip_archive` checks a checkpoint, and the voice is loaded once before
its folder appears. Called by the studio.
"""

from pathlib import Path

import torch

from wavenet.checkpoint_folders import CONFIG, VOCODER, VOICE_MARK, is_voice
from wavenet.errors import CheckpointError
from wavenet.sharing import zip_archive
from wavenet.sharing.install import MAX_BYTES, REQUIRED
from wavenet.speech.acoustic_model import AcousticConfig, AcousticModel
from wavenet.speech.voice_folder import load_voice

VOICE_FILES = MAX_BYTES | {f"{VOCODER}/{name}": limit for name, limit in MAX_BYTES.items()}


def unpack_model(path: Path, root: Path) -> Path:
    """Unpack an archive of a checkpoint or of a voice into a new folder.

    Args:
        path: of the zip file; error messages contain only its name.
        root: parent of the new folder, whose name is that in the config.
    Returns:
        The new folder.
    Raises:
        CheckpointError: the file is not an archive of a checkpoint or a voice, or it is too large.
        ConditionError: a checkpoint of this name exists, or the folder cannot be written.
    """
    origin, contents = path.name, zip_archive.read_files(path, VOICE_FILES)
    if VOICE_MARK in contents[CONFIG]:
        name = _check_configs(origin, contents)
        return zip_archive.install_files(origin, contents, root, name, load_voice)
    other = next((name for name in contents if name not in MAX_BYTES), None)
    if other is not None:
        raise CheckpointError(
            f"{origin} contains {other}, but {CONFIG} is not that of a voice; expected a voice, or "
            "a checkpoint without other folders"
        )
    name = zip_archive.check_config(origin, contents[CONFIG])
    return zip_archive.install_files(origin, contents, root, name)


def pack_model(folder: Path, path: Path) -> None:
    """Write the files of a checkpoint or of a voice, and no others, to a zip file.

    Raises:
        CheckpointError: the folder cannot be read, or the archive cannot be written.
    """
    zip_archive.pack(folder, path, VOICE_FILES if is_voice(folder) else MAX_BYTES)


def _check_configs(origin: str, contents: dict[str, bytes]) -> str:
    """Return the name of a voice; refuse missing files, and models that are too large to unpack."""
    for name in REQUIRED:
        if f"{VOCODER}/{name}" not in contents:
            raise CheckpointError(f"{origin} has no {VOCODER}/{name}; expected a complete voice")
    zip_archive.check_config(origin, contents[f"{VOCODER}/{CONFIG}"], f"{VOCODER}/{CONFIG}")
    config = zip_archive.read_config(origin, AcousticConfig, contents[CONFIG])
    with torch.device("meta"):  # shapes without data
        model = AcousticModel(config)
    zip_archive.check_parameters(origin, sum(p.numel() for p in model.parameters()))
    return config.name
