"""Load and save a voice: a folder with an acoustic model, and a vocoder in the folder inside.

    NAME/config.json          settings of the acoustic model
    NAME/model.safetensors    its weights
    NAME/vocoder/             a checkpoint, the WaveNet that makes sound of the frames
    NAME/README.md            the card

The weights of the acoustic model are rounded to float16, which changes its frames by 0.003 dB on
average (0.03 dB at most). The files are checked by `network_folder` and `checkpoint`. Called by the
command line, batches and the studio.
"""

import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path

import torch

from audio_utils.atomic_files import atomic_file, os_error_reason
from wavenet import checkpoint
from wavenet.checkpoint import Checkpoint
from wavenet.checkpoint_folders import (
    CONFIG,
    VOCODER,
    VOICE_MARK,
    is_voice,
    list_known,
    resolve_checkpoint,
)
from wavenet.errors import CheckpointError
from wavenet.model.conditions import MelCondition
from wavenet.network_folder import NetworkKind, load_network, save_network
from wavenet.speech.acoustic_model import AcousticConfig, AcousticModel
from wavenet.speech.voice import Voice
from wavenet.weights_file import WEIGHTS

VOICE = NetworkKind(
    "a voice",
    AcousticConfig,
    AcousticModel,
    VOICE_MARK,
    f"expected a folder with {CONFIG}, {WEIGHTS} and {VOCODER}",
    "choose a voice",
    torch.float16,
)


def save_acoustic_model(folder: Path, model: AcousticModel, replace: bool = True) -> None:
    """Write config and weights of the acoustic model; each file completely or not at all.

    Raises:
        CheckpointError: the folder cannot be written, or a weight is too large.
    """
    save_network(folder, VOICE, model.config, model, replace)


def copy_vocoder(folder: Path, vocoder: Path) -> None:
    """Copy a checkpoint into the folder of a voice.

    Raises:
        CheckpointError: a file cannot be read or written.
    """
    target = folder / VOCODER
    try:
        target.mkdir(parents=True, exist_ok=True)
        for name in (CONFIG, WEIGHTS):
            with atomic_file(target / name) as path:
                shutil.copyfile(vocoder / name, path)
    except OSError as error:
        raise CheckpointError(
            f"the vocoder {vocoder} cannot be copied to {target}: {os_error_reason(error)}"
        ) from None


def load_voice(
    folder: str | Path,
    pronunciations: Mapping[str, str | Sequence[str]] | None = None,
    device: torch.device | str = "cpu",
) -> Voice:
    """Read a voice, by the path of its folder or by a name.

    Args:
        folder: a path, or the name of a shipped or added voice.
        pronunciations: words and their phones, as in `text_to_phones`.
        device: of the vocoder; the acoustic model is fast enough on the CPU.
    Raises:
        CheckpointError: the folder or a file is missing or damaged, the weights do not fit, or the
            vocoder has other frames.
        ConditionError: a phone of `pronunciations` is unknown.
    """
    folder = resolve_checkpoint(folder)
    model = load_acoustic_model(folder)
    vocoder = checkpoint.load(folder / VOCODER, device)
    check_frames(model.config, vocoder)
    return Voice(model.config.name, model, vocoder, dict(pronunciations or {}))


def load_acoustic_model(folder: Path) -> AcousticModel:
    """Read the acoustic model of a voice.

    Raises:
        CheckpointError: a file is missing or damaged, or the weights do not fit.
    """
    if not (folder / CONFIG).is_file():
        raise CheckpointError(f"{folder} is not a voice; {VOICE.expected}{_describe_voices()}")
    return load_network(folder, VOICE)


def _describe_voices() -> str:
    """Return the end of the message on a missing voice: the voices that have a name."""
    known = [name for name, folder in list_known().items() if is_voice(folder)]
    return f", or one of {', '.join(known)}" if known else ""


def check_frames(config: AcousticConfig, vocoder: Checkpoint) -> None:
    """Check that a vocoder reads the frames of an acoustic model.

    Raises:
        CheckpointError: it has other conditions, or other frames.
    """
    conditions = vocoder.config.model.conditions
    mel = next((c for c in conditions if isinstance(c, MelCondition)), None)
    found = (vocoder.sample_rate, vocoder.config.model.condition_hop, mel)
    wanted = (config.sample_rate, config.hop, config.mel)
    if (
        len(conditions) != 1
        or found[:2] != wanted[:2]
        or mel is None
        or not have_equal_frames(mel, config.mel)
    ):
        raise CheckpointError(
            f"the vocoder {vocoder.config.name} does not read the frames of the voice "
            f"{config.name}: expected rate, hop and mel settings {_describe(*wanted)}, found "
            f"{_describe(*found)}"
        )


def have_equal_frames(a: MelCondition, b: MelCondition) -> bool:
    """Return whether two conditions have equal frames."""
    return (a.n_mels, a.win_length, a.f_min, a.f_max) == (b.n_mels, b.win_length, b.f_min, b.f_max)


def _describe(rate: int, hop: int, mel: MelCondition | None) -> str:
    if mel is None:
        return f"{rate} Hz without mel"
    return f"{rate} Hz, hop {hop}, {mel.n_mels} bands, window {mel.win_length}"
