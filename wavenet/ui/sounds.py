"""A recording as the studio knows it: read and checked, with its numbers for people and programs.

The path of an upload enters, whatever it is; a `Sound` or one sentence leaves. Callers: the Analyse
tab and the public functions.
"""

import math
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from audio_utils import analysis, io
from audio_utils.metrics import snr
from wavenet.checkpoint import Checkpoint
from wavenet.codec import MuLawCodec
from wavenet.errors import ConditionError
from wavenet.likelihood.score import Score
from wavenet.ui import jobs

MAX_SECONDS = 120.0
EIGHT_BITS = MuLawCodec()


@dataclass(frozen=True, eq=False)
class Sound:
    """A recording and what 8 bits of mu-law make of it.

    Attributes:
        recording: as read.
        name: what files made of it are called.
    """

    recording: io.Recording
    name: str

    @property
    def waveform(self) -> Tensor:
        """(T,)."""
        return self.recording.waveform

    @property
    def rate(self) -> int:
        """Hz."""
        return self.recording.sample_rate

    @property
    def seconds(self) -> float:
        """Length."""
        return self.waveform.numel() / self.rate

    @cached_property
    def codes(self) -> Tensor:
        """(T,) int64."""
        return EIGHT_BITS.encode(self.waveform)

    @cached_property
    def coarse(self) -> Tensor:
        """(T,) the waveform after 8 bits of mu-law."""
        return EIGHT_BITS.decode(self.codes)

    @cached_property
    def pitch(self) -> tuple[Tensor, float]:
        """(F,) Hz, 0 where there is none; seconds from frame to frame."""
        return analysis.track_pitch(self.waveform, self.rate)


def read_sound(path: str | None, rate: int | None = None) -> Sound:
    """Read an upload; an error names the file as the person knows it, not where we keep it.

    Args:
        rate: Hz to resample to; None keeps that of the file.
    Raises:
        AudioError: it cannot be read.
        ConditionError: there is none, or it is too long.
    """
    if path is None:
        raise ConditionError("there is no recording yet; upload or record one, or press Example")
    recording = jobs.read_upload(path, rate, MAX_SECONDS)
    stem = "".join(c if c.isalnum() or c in "-_" else "-" for c in Path(path).stem)
    # In bytes: a name of other letters than ours would else be too long for some file systems.
    return Sound(recording, stem.encode()[:100].decode(errors="ignore"))


def score_numbers(checkpoint: Checkpoint, sound: Sound, score: Score) -> dict[str, Any]:
    """Give the numbers of a score.

    Returns:
        bits_per_sample; histogram_bits, what a code would cost if only the histogram were known,
        None beyond 10 bits, where most codes do not occur; bits in all; samples; sample_rate.
    """
    alphabet = checkpoint.config.codec
    codes = alphabet.encode(sound.waveform)
    return {
        "bits_per_sample": score.bits_per_sample,
        "histogram_bits": analysis.entropy(codes) if alphabet.law == "mu-law" else None,
        "bits": score.bits_per_sample * score.samples,
        "samples": score.samples,
        "sample_rate": sound.rate,
    }


def signal_numbers(sound: Sound) -> dict[str, float | int | None]:
    """Give the numbers of a recording but for its pitch: `RecordingStats`, and what 8 bits do."""
    return {
        **asdict(analysis.measure_recording(sound.waveform, sound.rate)),
        "channels": sound.recording.channels,
        "mu_law_snr_db": _snr(sound),
        "mu_law_codes": int(sound.codes.unique().numel()),
        "mu_law_histogram_bits": analysis.entropy(sound.codes),
    }


def signal_facts(sound: Sound) -> dict[str, str]:
    """Give them as a person reads them."""
    numbers = signal_numbers(sound)
    mixed = " → 1" if sound.recording.channels > 1 else ""
    return {
        "Length": f"{sound.seconds:.2f} s",
        "Sample rate": f"{sound.rate:,} Hz",
        "Channels": f"{sound.recording.channels}{mixed}",
        "Peak": _number(numbers["peak_db"], " dBFS", none="−∞ dBFS"),
        "RMS": _number(numbers["rms_db"], " dBFS", none="−∞ dBFS"),
        "Crest": _number(numbers["crest_db"], " dB"),
        "Loudness": _number(numbers["loudness_lufs"], " LUFS"),
        "DC offset": _number(100 * (numbers["dc"] or 0), " %", 2),
        "Clipped": f"{numbers['clipped']:,} samples",
        "Below −60 dBFS": _number(100 * (numbers["silence"] or 0), " %"),
        "SNR of 8 bits": _number(numbers["mu_law_snr_db"], " dB"),
        "Codes used": f"{numbers['mu_law_codes']} of {EIGHT_BITS.n_classes}",
    }


def pitch_numbers(sound: Sound) -> dict[str, float | None]:
    """Give the median pitch in Hz, None where there is none, and the share of frames with one."""
    hertz, _ = sound.pitch
    voiced = hertz > 0
    median = float(hertz[voiced].median()) if voiced.any() else None
    return {"pitch_hz": median, "voiced": float(voiced.double().mean())}


def pitch_facts(sound: Sound) -> dict[str, str]:
    """Give them as a person reads them."""
    numbers = pitch_numbers(sound)
    voiced = 100 * (numbers["voiced"] or 0)
    return {"Pitch": _number(numbers["pitch_hz"], " Hz"), "Pitched": _number(voiced, " %")}


def pitch_arrays(sound: Sound) -> dict[str, Tensor]:
    """Give the pitch with its times, and the rate of the recording."""
    hertz, hop_seconds = sound.pitch
    seconds = torch.arange(len(hertz)) * hop_seconds
    rate = torch.tensor(sound.rate)
    return {"pitch_hz": hertz, "pitch_seconds": seconds, "sample_rate": rate}


def surprise(sound: Sound, score: Score) -> dict[str, Any]:
    """Give the mean bits of every 10 ms, and the seconds from one to the next."""
    size = round(analysis.BLOCK_SECONDS * sound.rate)
    means = analysis.group_means(score.bits, size)
    return {"surprise": [round(value, 4) for value in means.tolist()], "step": size / sound.rate}


def score_facts(name: str, numbers: dict[str, Any]) -> dict[str, str]:
    """Give the numbers of a score under a checkpoint as a person reads them."""
    return {
        "Scored under": name,
        "Per sample": _number(numbers["bits_per_sample"], " bits", 2),
        "Histogram alone": _number(numbers["histogram_bits"], " bits", 2),
        "All samples": f"{numbers['bits'] / 8000:,.1f} kB",
        "Scored at": f"{numbers['sample_rate']:,} Hz",
    }


def _snr(sound: Sound) -> float | None:
    """None for silence, and for what has been through 8 bits before."""
    if not sound.waveform.any():
        return None
    decibels = snr(sound.waveform, sound.coarse)
    return decibels if math.isfinite(decibels) else None


def _number(value: float | None, unit: str, digits: int = 1, none: str = "–") -> str:
    """Write a number with a true minus sign."""
    if value is None:
        return none
    # Adding 0.0 takes the sign from a zero.
    return f"{round(value, digits) + 0.0:,.{digits}f}{unit}".replace("-", "−")
