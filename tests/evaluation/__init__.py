"""Data of the tests of evaluation: synthetic spoken words, and the config of a model of them."""

import numpy as np
import soundfile
import torch

from tests.conftest import RATE, tiny_config
from wavenet.evaluation.labelled_clips import LabelledClip
from wavenet.model.conditions import LabelCondition, PositionCondition

DIGITS = ("fall", "rise")
SPEAKERS = ("high", "low")
PATTERN = "{digit}_{speaker}_{index}"
LABELS = (
    LabelCondition(name="digit", values=DIGITS, channels=4),
    LabelCondition(name="speaker", values=SPEAKERS, channels=4),
    PositionCondition(harmonics=2),
)


def make_word(digit: str, speaker: str, index: int) -> torch.Tensor:
    """Return (T,): a rising or falling tone, high or low, with small variations and noise."""
    rng = np.random.default_rng([DIGITS.index(digit), SPEAKERS.index(speaker), index])
    seconds = rng.uniform(0.14, 0.22)
    base = {"high": 900.0, "low": 300.0}[speaker] * rng.uniform(0.85, 1.15)
    progress = np.linspace(0, 1, round(seconds * RATE))
    octaves = progress if digit == "rise" else 1 - progress
    phase = 2 * np.pi * np.cumsum(base * 2**octaves) / RATE
    noise = 0.01 * rng.standard_normal(len(progress))
    tone = 0.4 * np.sin(phase) * np.sin(np.pi * progress) + noise
    return torch.from_numpy(tone.astype(np.float32))


def make_words(indices) -> list[LabelledClip]:
    """Return every digit by every speaker, once for each index."""
    return [
        LabelledClip(f"{d}_{s}_{n}", {"digit": d, "speaker": s}, make_word(d, s, n))
        for n in indices
        for d in DIGITS
        for s in SPEAKERS
    ]


def write_words(folder, indices):
    """Write the words as WAV files and return the folder."""
    folder.mkdir()
    for word in make_words(indices):
        soundfile.write(folder / f"{word.name}.wav", word.waveform.numpy(), RATE)
    return folder


def labelled_config():
    """Return the config of a tiny model of these words."""
    return tiny_config().model_copy(update={"conditions": LABELS})
