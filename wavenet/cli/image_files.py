"""Files of images: audio files whose samples are the pixels, row by row.

The 16 levels of a pixel are codes of 4 bits (`code_files`). Called by `wavenet images`.
"""

from pathlib import Path
from typing import TYPE_CHECKING

from audio_utils.sound_images import IMAGE_BITS, ImageSettings, resample_log_mel
from wavenet.cli.code_files import read_codes, write_codes
from wavenet.errors import ConditionError, DataError
from wavenet.generation.generate import generate_waveforms
from wavenet.generation.request import GenerationRequest
from wavenet.model.conditions import MelCondition
from wavenet.model.frame_features import compute_frame_features, mel_settings

if TYPE_CHECKING:
    from torch import Tensor

    from wavenet.checkpoint import Checkpoint


def write_image(path: Path, levels: "Tensor", overwrite: bool) -> None:
    """Write an image (bands, frames), 0 to 15, as an audio file.

    Raises:
        AudioError: the file cannot be written.
    """
    write_codes(path, levels.flatten(), IMAGE_BITS, overwrite)


def read_image(path: Path, rows: int, columns: int) -> "Tensor":
    """Read an image: (rows, columns) int64, 0 to 15; the bands and frames of an image of sound.

    Raises:
        AudioError: the file cannot be read.
        DataError: it is not an image of this size.
    """
    levels = read_codes(path, IMAGE_BITS)
    if len(levels) != rows * columns:
        raise DataError(
            f"{path} has {len(levels):,} samples; expected an image of {rows} bands x "
            f"{columns} frames, {rows * columns:,} samples: use the --bands and --frames with "
            "which the images were written"
        )
    image: Tensor = levels.unflatten(0, (rows, columns))
    return image


def vocode_image(
    decibels: "Tensor", settings: ImageSettings, vocoder: "Checkpoint", seed: int
) -> "Tensor":
    """Generate the sound of an image by a vocoder.

    Args:
        decibels: (bands, frames), from `decode_image`.
        settings: of the image.
        vocoder: a checkpoint with one mel condition.
        seed: of the clip.
    Returns:
        (samples,) float32.
    Raises:
        ConditionError: the vocoder has other conditions or another sample rate.
    """
    config, rate = vocoder.config.model, vocoder.sample_rate
    mel = config.locals[0] if len(config.locals) == 1 else None
    if not isinstance(mel, MelCondition):
        raise ConditionError(
            f"--vocoder needs a checkpoint whose only local condition is mel, such as vocoder; "
            f"found {vocoder.config.name}"
        )
    if rate != settings.sample_rate:
        raise ConditionError(
            f"the vocoder {vocoder.config.name} has {rate:,} Hz, the images "
            f"{settings.sample_rate:,} Hz; encode the images with --sample-rate {rate}"
        )
    target = mel_settings(mel, rate, config.condition_hop)
    frames = {mel.name: resample_log_mel(decibels, settings, target).T}
    features = compute_frame_features(config, rate, None, frames, "db")
    request = GenerationRequest(settings.samples, seed=seed, frame_features=features)
    return generate_waveforms(vocoder, [request])[0]
