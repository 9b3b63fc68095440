"""Rows that are spoken: the column `text` and those of the style, for a voice.

All sentences of a row become the frames of one clip, so that everything else treats it as any other
clip of the vocoder. Input: the values of a row, and the folder of a voice. Output: frames. Called
by `tasks`.
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from wavenet.errors import ConditionError
from wavenet.speech.voice import SpeakingStyle, Voice
from wavenet.speech.voice_folder import load_voice
from wavenet.user_input.typed_numbers import parse_number

STYLE_COLUMNS = ("speed", "pitch", "loudness", "melody")
COLUMNS = ("text", "speaker", *STYLE_COLUMNS)
# Columns that say what the sound is, which the text says already.
UNUSED_COLUMNS = ("seconds", "prompt", "condition", "labels")


@dataclass(frozen=True)
class RowSpeech:
    """What a row speaks, and how.

    Attributes:
        text: English.
        speaker: of the voice; None: its first.
        style: speed, pitch, loudness and melody.
    """

    text: str
    speaker: str | None
    style: SpeakingStyle

    def describe(self) -> dict[str, Any]:
        """Return the values that determine the sound, by column."""
        return {"text": self.text, "speaker": self.speaker, **asdict(self.style)}


@dataclass(frozen=True)
class PlannedSpeech:
    """The frames of a row.

    Attributes:
        frames: (F, bands) of all sentences.
        samples: length of the sound.
        notices: what was left out of the text.
    """

    frames: Tensor
    samples: int
    notices: tuple[str, ...]


def read_speech(found: Mapping[str, Any], settings: Mapping[str, Any]) -> RowSpeech:
    """Read the columns of `COLUMNS`.

    Args:
        found: the values of these columns that are not empty, by name.
        settings: values of the columns that every batch knows, by name.
    Raises:
        ConditionError: there is no text, a value is invalid, or a column has no meaning for speech.
    """
    unused = [name for name in UNUSED_COLUMNS if name in settings]
    if unused:
        raise ConditionError(
            f"{unused[0]} has no meaning for a voice, which speaks the text; leave it empty"
        )
    text, speaker = found.get("text"), found.get("speaker")
    if text is None:
        raise ConditionError("a voice needs a text; add it in a column text")
    if not isinstance(text, str):
        raise ConditionError(f"text must be text, found {text!r:.100}")
    style = {n: parse_number(found[n], n, float) for n in STYLE_COLUMNS if n in found}
    return RowSpeech(text, None if speaker is None else str(speaker), SpeakingStyle(**style))


@lru_cache(maxsize=4)
def load_row_voice(folder: str) -> Voice:
    """Load a voice on the CPU; cached.

    Raises:
        CheckpointError: it is missing or damaged.
    """
    return load_voice(Path(folder))


@lru_cache(maxsize=4)
def plan_speech(folder: str, speech: RowSpeech) -> PlannedSpeech:
    """Return the frames of a text; cached, because a row is planned for each of its checks.

    Raises:
        ConditionError: the speaker is unknown, or the text cannot be read.
    """
    voice = load_row_voice(folder)
    notices: list[str] = []
    plans = list(voice.plan(speech.text, speech.style, speech.speaker, notices.append))
    if not plans:
        left_out = f": {notices[0]}" if notices else ""
        raise ConditionError(f"the text has no words that can be read{left_out}")
    frames = torch.cat([plan.frames for plan in plans])
    return PlannedSpeech(frames, (len(frames) - 1) * voice.acoustic.config.hop, tuple(notices))
