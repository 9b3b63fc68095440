"""Recordings to codes, and codes to sound.

Input: a waveform, or codes. Output: codes, or a waveform that a vocoder generates from the decoded
frames. Called by the command line and by `benchmarks/discrete_codes.py`.
"""

from collections.abc import Sequence

import torch
from torch import Tensor

from wavenet.autoencoder.mel_autoencoder import AutoencoderConfig, MelAutoencoder
from wavenet.checkpoint import Checkpoint, CheckpointConfig
from wavenet.errors import ConditionError, DataError
from wavenet.generation.generate import generate_waveforms
from wavenet.generation.request import GenerationRequest
from wavenet.model.conditions import MelCondition
from wavenet.model.frame_features import compute_condition_frames


def mel_of(vocoder: CheckpointConfig) -> MelCondition:
    """Return the mel condition of a vocoder.

    Raises:
        ConditionError: the checkpoint has other conditions.
    """
    conditions = vocoder.model.conditions
    if len(conditions) != 1 or not isinstance(conditions[0], MelCondition):
        raise ConditionError(
            f"{vocoder.name} is not a vocoder; expected a checkpoint whose only condition "
            "is mel, such as vocoder"
        )
    return conditions[0]


def check_vocoder(config: AutoencoderConfig, vocoder: Checkpoint) -> None:
    """Check that a vocoder reads the frames of an autoencoder.

    Raises:
        ConditionError: it is not a vocoder, or has other frames.
    """
    model, mel = vocoder.config.model, mel_of(vocoder.config)
    found = {"sample_rate": vocoder.sample_rate, "hop": model.condition_hop, **_settings(mel)}
    wanted = {"sample_rate": config.sample_rate, "hop": config.hop, **_settings(config.mel)}
    for name, value in wanted.items():
        if found[name] != value:
            raise ConditionError(
                f"the vocoder {vocoder.config.name} has frames with {name} {found[name]}, the "
                f"autoencoder {config.name} with {value}; use the vocoder for which the "
                "autoencoder was trained"
            )


@torch.no_grad()
def encode_recording(model: MelAutoencoder, waveform: Tensor) -> Tensor:
    """Return the codes (F * G,) of a waveform (T,), which has F = 1 + T // hop frames."""
    config = model.config
    frames = compute_condition_frames(config.mel, waveform, config.sample_rate, config.hop)
    codes: Tensor = model.encode(frames[None])[0]
    return codes


@torch.no_grad()
def decode_frames(model: MelAutoencoder, codes: Tensor) -> Tensor:
    """Return the frames (F, bands) of codes (F * G,).

    Raises:
        DataError: no codes, codes out of range, or not whole frames.
    """
    per_frame, largest = model.config.codes_per_frame, model.quantizer.n_codes - 1
    if not len(codes) or len(codes) % per_frame:
        raise DataError(
            f"found {len(codes):,} codes; the autoencoder {model.config.name} expects a multiple "
            f"of {per_frame}, its codes per frame"
        )
    if int(codes.max()) > largest:
        raise DataError(
            f"found the code {int(codes.max())}; the autoencoder {model.config.name} has codes of "
            f"0 to {largest}"
        )
    frames: Tensor = model.decode(codes[None])[0]
    return frames


def generate_sounds(
    frames: Sequence[Tensor], config: AutoencoderConfig, vocoder: Checkpoint, seed: int = 0
) -> list[Tensor]:
    """Generate the sound of decoded frames.

    F frames are those of (F - 1) * hop to F * hop - 1 samples; the sounds have the middle.

    Args:
        frames: (F, bands) each, from `decode_frames`.
        config: of the autoencoder.
        vocoder: a checkpoint that reads these frames.
        seed: of the first sound; the next have the next seeds.
    Returns:
        (samples,) float32 each.
    Raises:
        ConditionError: as `check_vocoder`.
    """
    check_vocoder(config, vocoder)
    requests = [
        GenerationRequest(
            (len(part) - 1) * config.hop + config.hop // 2, seed=seed + n, frame_features=part
        )
        for n, part in enumerate(frames)
    ]
    return generate_waveforms(vocoder, requests)


def _settings(mel: MelCondition) -> dict[str, object]:
    """Return the settings that define the frames."""
    names = ("n_mels", "win_length", "f_min", "f_max")
    return {name: getattr(mel, name) for name in names}
