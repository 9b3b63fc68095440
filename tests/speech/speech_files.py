"""Synthetic sounds, a corpus of noise, aligners without an acoustic model, an aligned clip."""

import os
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import soundfile
from numpy.typing import NDArray
from scipy.signal import lfilter

from wavenet.errors import DataError
from wavenet.speech.alignment_file import AlignedClip, AlignedWord, AlignmentHeader, PoorStretch
from wavenet.speech.forced_alignment import SAMPLE_RATE, Segment
from wavenet.speech.pronunciation import PhoneSource

VOWEL = ((730, 80), (1090, 90), (2440, 120), (3500, 200))  # formants of AA: Hz, bandwidth
TEXTS = {"one": "See saw.", "two": "A saw|A saw", "three": "Zzyblorp!"}

HEADER = AlignmentHeader(aligner="even 1", program="0", clips=2, failed=1)


def make_syllable(lead: float = 0.3, tail: float = 0.3) -> NDArray[np.float32]:
    """Return "sa" at 16 kHz: silence, noise at 5.2 kHz for 0.2 s, a vowel of 0.3 s, silence."""
    rng = np.random.default_rng(0)
    noise = resonate(rng.normal(0, 1, int(0.2 * SAMPLE_RATE)), 5200, 1200)
    noise = np.diff(noise, prepend=0)
    vowel = np.zeros(int(0.3 * SAMPLE_RATE))
    vowel[:: SAMPLE_RATE // 120] = 1
    for frequency, width in VOWEL:
        vowel = resonate(vowel, frequency, width)
    parts = [0.03 * noise / noise.std(), 0.3 * vowel / np.abs(vowel).max()]
    silences = [np.zeros(int(seconds * SAMPLE_RATE)) for seconds in (lead, tail)]
    samples = np.concatenate([silences[0], *parts, silences[1]])
    samples += rng.normal(0, 3e-4, len(samples))
    return samples.astype(np.float32)


def resonate(samples: np.ndarray, frequency: float, width: float) -> np.ndarray:
    """Apply a resonance; frequency and width in Hz."""
    radius = np.exp(-np.pi * width / SAMPLE_RATE)
    angle = 2 * np.pi * frequency / SAMPLE_RATE
    return lfilter([1 - radius], [1, -2 * radius * np.cos(angle), radius**2], samples)


def write_speech(folder: Path, texts: dict[str, str] = TEXTS, seconds: float = 1.0) -> Path:
    """Write a corpus of noise in the layout of LJSpeech, and return the folder."""
    (folder / "wavs").mkdir(parents=True)
    rng = np.random.default_rng(0)
    for n, name in enumerate(texts):
        samples = rng.normal(0, 0.1, int(SAMPLE_RATE * (seconds + 0.1 * n)))
        soundfile.write(folder / "wavs" / f"{name}.wav", samples, SAMPLE_RATE)
    lines = [f"{name}|{text}\n" for name, text in texts.items()]
    (folder / "metadata.csv").write_text("".join(lines), encoding="utf-8")
    return folder


def even_segments(waveform: NDArray[np.float32], words: Sequence[Sequence[str]]) -> list[Segment]:
    """Return phones of equal length between silences of 0.1 s; the score is that of the level."""
    seconds = len(waveform) / SAMPLE_RATE
    owners = [n for n, word in enumerate(words) for _ in word]
    times = np.linspace(0.1, seconds - 0.1, len(owners) + 1).tolist()
    score = -10 * float(np.abs(waveform).mean())
    phones = [
        Segment(n, start, end, 10, score)
        for n, start, end in zip(owners, times[:-1], times[1:], strict=True)
    ]
    silences = [Segment(None, 0.0, 0.1, 10, -1.0), Segment(None, times[-1], seconds, 10, -1.0)]
    return [silences[0], *phones, silences[1]]


def slow_segments(waveform: NDArray[np.float32], words: Sequence[Sequence[str]]) -> list[Segment]:
    """Return the same after 0.3 s."""
    time.sleep(0.3)
    return even_segments(waveform, words)


def refuse_short_texts(
    waveform: NDArray[np.float32], words: Sequence[Sequence[str]]
) -> list[Segment]:
    """Refuse texts of fewer than two words."""
    if len(words) < 2:
        raise DataError("the text does not match the recording; correct one of them")
    return even_segments(waveform, words)


def crash_on_short_texts(
    waveform: NDArray[np.float32], words: Sequence[Sequence[str]]
) -> list[Segment]:
    """End the process for texts of fewer than two words."""
    if len(words) < 2:
        os._exit(1)
    return even_segments(waveform, words)


def never_called(waveform: NDArray[np.float32], words: Sequence[Sequence[str]]) -> list[Segment]:
    """Refuse every clip."""
    raise DataError("this aligner must not be called")


def fake_version() -> str:
    """Return the name of an aligner."""
    return "even 1"


def make_clip(name: str = "a", **changes: object) -> AlignedClip:
    """Return a clip of one word of two phones."""
    phones = (("HH", 0.1, 0.2), ("AY1", 0.2, 0.5))
    word = AlignedWord(
        written="Hi",
        read="hi",
        start=0.1,
        end=0.5,
        source=PhoneSource.DICTIONARY,
        pause="sentence",
        phones=phones,
    )
    values = {
        "id": name,
        "audio": f"wavs/{name}.wav",
        "text": "Hi \u2028 |",
        "seconds": 0.6,
        "score": -1.5,
        "poorest": PoorStretch(score=-2.0, start=0.1, end=0.5),
        "words": (word,),
        "silences": ((0.0, 0.1), (0.5, 0.6)),
        "digest": "0" * 32,
    }
    return AlignedClip(**(values | changes))
