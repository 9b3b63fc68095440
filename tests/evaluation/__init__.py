"""What the tests of evaluation share: spoken digits of a kind, made here, and a model of them."""

import numpy as np
import soundfile
import torch

from tests.conftest import RATE, tiny_config
from wavenet.evaluation.recordings import Labelled
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
    """Make (T,): a tone that rises or falls, high or low; each a little different, in noise."""
    rng = np.random.default_rng([DIGITS.index(digit), SPEAKERS.index(speaker), index])
    seconds = rng.uniform(0.14, 0.22)
    base = {"high": 900.0, "low": 300.0}[speaker] * rng.uniform(0.85, 1.15)
    share = np.linspace(0, 1, round(seconds * RATE))
    octaves = share if digit == "rise" else 1 - share
    phase = 2 * np.pi * np.cumsum(base * 2**octaves) / RATE
    tone = 0.4 * np.sin(phase) * np.sin(np.pi * share) + 0.01 * rng.standard_normal(len(share))
    return torch.from_numpy(tone.astype(np.float32))


def make_words(indices) -> list[Labelled]:
    """Make every digit by every speaker, once for each index."""
    return [
        Labelled(f"{d}_{s}_{n}", {"digit": d, "speaker": s}, make_word(d, s, n))
        for n in indices
        for d in DIGITS
        for s in SPEAKERS
    ]


def write_words(folder, indices):
    """Write them as files; gives the folder."""
    folder.mkdir()
    for one in make_words(indices):
        soundfile.write(folder / f"{one.name}.wav", one.waveform.numpy(), RATE)
    return folder


def labelled_config():
    """Describe a tiny model of these words."""
    return tiny_config().model_copy(update={"conditions": LABELS})
