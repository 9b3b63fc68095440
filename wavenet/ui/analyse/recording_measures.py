"""Measures of an uploaded recording and of its score, as numbers and as text.

Input: the path of an upload. Output: a `MeasuredRecording` or an error of one sentence; numbers by
name, facts to show, and arrays to save. Called by the Analyse tab and the public API.
"""

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from audio_utils import analysis, io
from audio_utils.levels import BLOCK_SECONDS, decibels, describe_levels
from audio_utils.metrics import snr
from wavenet.checkpoint import Checkpoint
from wavenet.codec import MuLawCodec
from wavenet.errors import ConditionError
from wavenet.likelihood.score import Score
from wavenet.model.conditioning import ConditionValue
from wavenet.ui.server.uploads import read_upload

MAX_SECONDS = 120.0
EIGHT_BIT_CODEC = MuLawCodec()


@dataclass(frozen=True, eq=False)
class MeasuredRecording:
    """A recording; the values computed from it are cached.

    Attributes:
        recording: the recording as read.
        name: beginning of the names of files that are made from it.
    """

    recording: io.Recording
    name: str

    @property
    def waveform(self) -> Tensor:
        """(T,)."""
        return self.recording.waveform

    @property
    def sample_rate(self) -> int:
        """Hz."""
        return self.recording.sample_rate

    @property
    def seconds(self) -> float:
        """Duration."""
        return self.waveform.numel() / self.sample_rate

    @cached_property
    def codes(self) -> Tensor:
        """(T,) int64, 8-bit mu-law."""
        return EIGHT_BIT_CODEC.encode(self.waveform)

    @cached_property
    def quantised(self) -> Tensor:
        """(T,) the waveform after 8-bit mu-law."""
        return EIGHT_BIT_CODEC.decode(self.codes)

    @cached_property
    def pitch(self) -> tuple[Tensor, float]:
        """(F,) Hz, 0 where unvoiced; seconds from frame to frame."""
        return analysis.recording_f0(self.waveform, self.sample_rate)


def read_recording(path: str | None, sample_rate: int | None = None) -> MeasuredRecording:
    """Read an upload; an error contains the file name of the user, not the path on the server.

    Args:
        path: path of an upload, or None.
        sample_rate: Hz to resample to; None keeps the rate of the file.
    Raises:
        AudioError: the file cannot be read, or is too long.
        ConditionError: there is no recording.
    """
    if path is None:
        raise ConditionError("there is no recording; upload or record one, or press Example")
    recording = read_upload(path, sample_rate, MAX_SECONDS)
    stem = "".join(c if c.isalnum() or c in "-_" else "-" for c in Path(path).stem)
    # The limit is in bytes: some file systems count the bytes of non-Latin letters.
    return MeasuredRecording(recording, stem.encode()[:100].decode(errors="ignore"))


def score_numbers(
    checkpoint: Checkpoint, recording: MeasuredRecording, score: Score
) -> dict[str, Any]:
    """Return the numbers of a score.

    Returns:
        bits_per_sample; histogram_bits, the entropy of the histogram of codes, None for 16-bit
        codes, most of which do not occur; bits, the total; samples; sample_rate; notes, as in
        `signal_numbers`.
    """
    codec = checkpoint.config.codec
    codes = codec.encode(recording.waveform)
    return {
        "bits_per_sample": score.bits_per_sample,
        "histogram_bits": analysis.entropy(codes) if codec.law == "mu-law" else None,
        "bits": score.bits_per_sample * score.samples,
        "samples": score.samples,
        "sample_rate": recording.sample_rate,
        "notes": describe_levels(recording.recording.levels, advise=False),
    }


def signal_numbers(recording: MeasuredRecording) -> dict[str, Any]:
    """Return the numbers of a recording except its pitch: `RecordingStats`, levels, 8-bit mu-law.

    Returns:
        Of the file: over_full_scale_samples, whose largest is at file_peak_db, None for silence;
        mix_loss_db, the level of the mix relative to its channels, None if nothing is mixed; notes,
        what a user must know about them.
    """
    levels = recording.recording.levels
    return {
        **asdict(analysis.measure_recording(recording.waveform, recording.sample_rate)),
        "channels": recording.recording.channels,
        "over_full_scale_samples": levels.over_samples,
        "file_peak_db": decibels(levels.peak) if levels.peak else None,
        "mix_loss_db": levels.mix_loss_db,
        "notes": describe_levels(levels, advise=False),
        "mu_law_snr_db": _mu_law_snr(recording),
        "mu_law_codes": int(recording.codes.unique().numel()),
        "mu_law_histogram_bits": analysis.entropy(recording.codes),
    }


def signal_facts(recording: MeasuredRecording) -> dict[str, str]:
    """Return `signal_numbers` as text with units."""
    numbers = signal_numbers(recording)
    mixed = " → 1" if recording.recording.channels > 1 else ""
    notes = {"Level": "; ".join(numbers["notes"])} if numbers["notes"] else {}
    return notes | {
        "Length": f"{recording.seconds:.2f} s",
        "Sample rate": f"{recording.sample_rate:,} Hz",
        "Channels": f"{recording.recording.channels}{mixed}",
        "Peak": _format_number(numbers["peak_db"], " dBFS", none="−∞ dBFS"),
        "RMS": _format_number(numbers["rms_db"], " dBFS", none="−∞ dBFS"),
        "Crest factor": _format_number(numbers["crest_db"], " dB"),
        "Loudness": _format_number(numbers["loudness_lufs"], " LUFS"),
        "DC offset": _format_number(100 * (numbers["dc"] or 0), " %", 2),
        "At full scale": f"{numbers['full_scale_samples']:,} samples",
        "Below −60 dBFS": _format_number(100 * (numbers["silent_fraction"] or 0), " %"),
        "SNR of 8-bit mu-law": _format_number(numbers["mu_law_snr_db"], " dB"),
        "Codes used": f"{numbers['mu_law_codes']} of {EIGHT_BIT_CODEC.n_classes}",
    }


def pitch_numbers(recording: MeasuredRecording) -> dict[str, float | None]:
    """Return the median pitch in Hz, None if unvoiced, and the share of voiced frames."""
    hertz, _ = recording.pitch
    voiced = hertz > 0
    median = float(hertz[voiced].median()) if voiced.any() else None
    return {"pitch_hz": median, "voiced": float(voiced.double().mean())}


def pitch_facts(recording: MeasuredRecording) -> dict[str, str]:
    """Return `pitch_numbers` as text with units."""
    numbers = pitch_numbers(recording)
    voiced = 100 * (numbers["voiced"] or 0)
    pitch = _format_number(numbers["pitch_hz"], " Hz")
    low, high = analysis.PITCH_RANGE_HZ
    return {
        "Pitch": pitch,
        "Pitch searched": f"{low:,.0f} to {high:,.0f} Hz",
        "Voiced": _format_number(voiced, " %"),
    }


def pitch_arrays(recording: MeasuredRecording) -> dict[str, Tensor]:
    """Return the pitch contour with its times, and the sample rate of the recording."""
    hertz, hop_seconds = recording.pitch
    seconds = torch.arange(len(hertz)) * hop_seconds
    rate = torch.tensor(recording.sample_rate)
    return {"pitch_hz": hertz, "pitch_seconds": seconds, "sample_rate": rate}


def surprise_numbers(recording: MeasuredRecording, score: Score) -> dict[str, Any]:
    """Return the mean surprise of each 10 ms, and the exact length of these intervals.

    Returns:
        mean_surprise: bits, one number per interval; interval_seconds.
    """
    size = round(BLOCK_SECONDS * recording.sample_rate)
    means = analysis.group_means(score.surprise, size)
    return {
        "mean_surprise": [round(value, 4) for value in means.tolist()],
        "interval_seconds": size / recording.sample_rate,
    }


def score_facts(
    name: str, conditions: Mapping[str, ConditionValue], numbers: dict[str, Any]
) -> dict[str, str]:
    """Return `score_numbers` as text with units, and what the recording was scored with.

    Args:
        name: of the checkpoint.
        conditions: values by condition name.
        numbers: as returned by `score_numbers`.
    """
    return {
        "Scored with": ", ".join([name, *(f"{key} {value}" for key, value in conditions.items())]),
        "Bits per sample": _format_number(numbers["bits_per_sample"], " bits", 2),
        "Histogram alone": _format_number(numbers["histogram_bits"], " bits", 2),
        "Code length": f"{numbers['bits'] / 8000:,.1f} kB",
        "Scored at": f"{numbers['sample_rate']:,} Hz",
    }


def _mu_law_snr(recording: MeasuredRecording) -> float | None:
    """Return the SNR in dB; None for silence, and for audio that was already 8-bit mu-law."""
    if not recording.waveform.any():
        return None
    decibels = snr(recording.waveform, recording.quantised)
    return decibels if math.isfinite(decibels) else None


def _format_number(value: float | None, unit: str, digits: int = 1, none: str = "–") -> str:
    """Return a number with its unit and a true minus sign."""
    if value is None:
        return none
    # Adding 0.0 removes the sign of a negative zero.
    return f"{round(value, digits) + 0.0:,.{digits}f}{unit}".replace("-", "−")
