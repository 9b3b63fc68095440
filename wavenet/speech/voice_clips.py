"""The table of the clips of a voice, `clips.jsonl`: recording, example and use of each.

It is written when all examples exist, so a resumed training continues with the same clips. It is
also the table from which the training of the vocoder reads the recordings and their parts. Called
by `train_voice.py`.
"""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Literal

from audio_utils.atomic_files import atomic_file, os_error_reason
from wavenet.config import StrictConfig, make_config, parse_config
from wavenet.errors import ConfigError, FolderError, TrainingError
from wavenet.speech.alignment_file import AlignedClip
from wavenet.training.recipe import DataConfig

FILE_NAME = "clips.jsonl"
MIN_CLIPS = 10  # from which at least one clip is held out

Part = Literal["train", "validation"]


class VoiceClip(StrictConfig):
    """A line of the table.

    Attributes:
        file_name: of the recording, relative to the corpus.
        clip: its id.
        part: its use, in the trainings of both models.
        example: key of its example.
    """

    file_name: str
    clip: str
    part: Part
    example: str


def choose_held_out(count: int, fraction: float) -> set[int]:
    """Return the positions of the held-out clips, evenly spread over all.

    Args:
        count: of all clips.
        fraction: of them that are held out; with `MIN_CLIPS` clips or more, at least one is held
            out unless the fraction is 0.
    """
    held_out = int(count * fraction + 1e-9)
    if fraction and count >= MIN_CLIPS:
        held_out = max(1, held_out)
    return {(2 * n + 1) * count // (2 * held_out) for n in range(held_out)}


def make_clips(
    clips: Sequence[AlignedClip], examples: Mapping[str, str], fraction: float
) -> list[VoiceClip]:
    """Return the table of the clips that have an example.

    Args:
        examples: keys by id.
        fraction: as in `choose_held_out`.
    """
    used = [clip for clip in clips if clip.id in examples]
    held_out = choose_held_out(len(used), fraction)
    parts: list[Part] = ["validation" if n in held_out else "train" for n in range(len(used))]
    return [
        VoiceClip(file_name=clip.audio, clip=clip.id, part=part, example=examples[clip.id])
        for clip, part in zip(used, parts, strict=True)
    ]


def write_clips(path: Path, clips: Sequence[VoiceClip]) -> None:
    """Write the table, completely or not at all.

    Raises:
        FolderError: it cannot be written.
    """
    lines = [json.dumps(clip.model_dump()) + "\n" for clip in clips]
    try:
        with atomic_file(path) as temporary:
            temporary.write_text("".join(lines), encoding="utf-8")
    except OSError as error:
        raise FolderError(f"{path} cannot be written: {os_error_reason(error)}") from None


def read_clips(path: Path) -> list[VoiceClip]:
    """Read the table.

    Raises:
        TrainingError: it is damaged.
    """
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
        return [parse_config(VoiceClip, line, str(path)) for line in lines]
    except (OSError, ValueError, ConfigError) as error:
        raise TrainingError(
            f"{path} is damaged: {error}; delete it, and resume to write it again"
        ) from None


def vocoder_data(data: DataConfig, corpus: Path, table: Path) -> DataConfig:
    """Return the settings with which the training of the vocoder reads the clips of a table.

    Args:
        data: of the recipe.
        corpus: folder of the recordings.
    """
    # a relative path would be searched in the corpus first
    own = {"folder": str(corpus), "metadata": str(table.absolute())}
    return make_config(
        DataConfig, "vocoder.data", **{**dict(data), **own, "validation": _held_out(table)}
    )


def predicted_data(data: DataConfig, folder: Path, table: Path) -> DataConfig:
    """Return the settings with which recordings with predicted frames are read.

    Args:
        data: of the recipe.
        folder: of `write_predicted_recordings`.
        table: of the clips.
    """
    own = {"folder": str(folder), "stored_frames": True, "speed_perturbation": ()}
    read = {"channel": "mix", "normalize": False, "validation": _held_out(table)}
    return make_config(DataConfig, "adaptation", **{**dict(data), **own, **read})


def _held_out(table: Path) -> dict[str, tuple[str, ...]]:
    """Return the values that hold clips out; without such clips, the ends of recordings are."""
    has_held_out = any(clip.part == "validation" for clip in read_clips(table))
    return {"part": ("validation",)} if has_held_out else {}
