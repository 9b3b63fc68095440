"""Decode and check audio files, without torch, so that worker processes need little memory.

Input: a path. Output: samples in numpy, and properties of the file. Formats: those of
`audio_formats.FORMATS`. Resampling is soxr HQ. Called by `audio_utils.io` and by the workers that
prepare a corpus.
"""

import contextlib
import math
import os
import stat
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import BinaryIO

import numpy as np
import soundfile
import soxr
from numpy.typing import NDArray

from audio_utils.atomic_files import os_error_reason
from audio_utils.errors import AudioError
from audio_utils.levels import Channel, LevelMeter, Levels, check_channel, peak_of, select_channel
from audio_utils.verified_file import VerifiedFile, open_verified

MIN_RATE, MAX_RATE = 4_000, 192_000
MAX_CHANNELS = 8
# One hour at 48 kHz, 690 MB as float32: the limit of a waveform in memory.
MAX_SAMPLES = 60 * 60 * 48_000
# 24 dB above full scale. No decoder overshoots this far; integers stored as floats do.
MAX_PEAK = 16.0
# Small enough to limit memory; one large write overflows the stack of libsndfile's Vorbis encoder.
BLOCK_FRAMES = 65_536


@dataclass(frozen=True, eq=False)
class DecodedAudio:
    """A decoded audio file, resampled and mixed to mono, as a numpy array.

    Attributes:
        samples: (T,) float32 in [-1, 1], T >= 1.
        sample_rate, original_rate, channels, clipped_samples, levels: as in `io.Recording`.
    """

    samples: NDArray[np.float32]
    sample_rate: int
    original_rate: int
    channels: int
    clipped_samples: int
    levels: Levels = field(default_factory=Levels)


@dataclass(frozen=True)
class MeasuredAudio:
    """The properties of an audio file that was decoded once without keeping its samples.

    Attributes:
        samples: T, at `sample_rate`.
        sample_rate, original_rate, channels, clipped_samples, levels: as in `io.Recording`.
    """

    samples: int
    sample_rate: int
    original_rate: int
    channels: int
    clipped_samples: int
    levels: Levels


def decode_file(
    path: str | Path,
    sample_rate: int | None = None,
    max_samples: int = MAX_SAMPLES,
    channel: Channel = "mix",
    normalize: bool = False,
    max_seconds: float | None = None,
) -> DecodedAudio:
    """Read an audio file as mono float32; arguments and errors are those of `io.read`."""
    # A bytearray grows in place: its memory is that of the result, not twice as much.
    content = bytearray()
    with open_stream(
        path, sample_rate, channel, max_samples, max_seconds, check_peak=not normalize
    ) as stream:
        for block in stream.blocks():
            content += block.tobytes()
        samples = np.frombuffer(content, np.float32)
        gain = stream.gain(normalize)
        if gain != 1:
            samples *= np.float32(gain)
        np.clip(samples, -1, 1, out=samples)
        found = stream.measured(len(samples), gain)
        return DecodedAudio(
            samples,
            *(found.sample_rate, found.original_rate, found.channels, found.clipped_samples),
            found.levels,
        )


def measure_file(
    path: str | Path,
    sample_rate: int | None = None,
    channel: Channel = "mix",
    normalize: bool = False,
) -> MeasuredAudio:
    """Decode an audio file once for its properties, in constant memory; errors as in `io.read`."""
    with open_stream(path, sample_rate, channel, check_peak=not normalize) as stream:
        samples = sum(len(block) for block in stream.blocks())
        return stream.measured(samples, stream.gain(normalize))


def iterate_blocks(
    path: str | Path, sample_rate: int | None = None, channel: Channel = "mix", gain: float = 1.0
) -> Iterator[NDArray[np.float32]]:
    """Yield the samples of `decode_file` block by block, in constant memory; errors as there.

    Args:
        gain: `levels.gain` of `measure_file`.
    """
    with open_stream(path, sample_rate, channel, check_peak=gain == 1) as stream:
        yield from stream.limited_blocks(gain)


@contextlib.contextmanager
def open_stream(
    path: str | Path,
    sample_rate: int | None = None,
    channel: Channel = "mix",
    max_samples: int | None = None,
    max_seconds: float | None = None,
    check_peak: bool = True,
) -> Iterator["AudioStream"]:
    """Open an audio file to decode it block by block; errors are those of `io.read`.

    Args:
        path, sample_rate, channel: as in `io.read`.
        max_samples, max_seconds: as in `io.read`; None: no limit.
        check_peak: whether values above `MAX_PEAK` are an error.
    """
    if sample_rate is not None:
        check_sample_rate(sample_rate, "the requested sample rate")
    check_channel(channel)
    with open_regular_file(Path(path)) as handle:
        try:
            with open_verified(path, handle, max_seconds) as file:
                _check_header(path, file, sample_rate, max_samples, max_seconds)
                yield AudioStream(path, file, sample_rate, channel, check_peak)
        except soundfile.LibsndfileError as error:
            raise AudioError(
                f"{path} cannot be decoded{libsndfile_message(error)}; it is damaged or of an "
                "unsupported kind, so export it again as 16-bit WAV."
            ) from error


class AudioStream:
    """An open audio file; its properties are complete after the last block.

    Attributes:
        sample_rate, original_rate, channels: as in `io.Recording`.
        frames: of the file, by its header.
        clipped_samples: number of samples beyond +-1 so far.
        peak: largest magnitude of the blocks so far.

    Args:
        path: for messages.
        file: the open file.
        sample_rate, channel: as in `io.read`.
        check_peak: as in `open_stream`.
    """

    def __init__(
        self,
        path: str | Path,
        file: VerifiedFile,
        sample_rate: int | None,
        channel: Channel,
        check_peak: bool,
    ):
        self.original_rate, self.channels = file.samplerate, file.channels
        self.frames = file.frames
        self.sample_rate = sample_rate or file.samplerate
        self.clipped_samples, self.peak = 0, 0.0
        self._path, self._file, self._channel = path, file, channel
        self._meter, self._check_peak = LevelMeter(channel), check_peak

    def blocks(self) -> Iterator[NDArray[np.float32]]:
        """Yield the mono samples at `sample_rate`, not yet limited to [-1, 1].

        Raises:
            AudioError: as in `io.read`; some errors are found only after the last block.
        """
        found = 0
        for block in self._resample(_read_mono(self._path, self._file, self._meter, self._channel)):
            if not len(block):
                continue
            found += len(block)
            peak = peak_of(block)
            self.peak = max(self.peak, peak)
            if peak > 1:
                self.clipped_samples += int(np.count_nonzero(np.abs(block) > 1))
            yield block
        self._refuse_peak(self.levels().peak)
        if not found:
            raise AudioError(f"{self._path} is too short to be resampled to {self.sample_rate} Hz.")
        if self._meter.is_silent_mix():
            raise AudioError(
                f"{self._path}: its channels cancel each other, so their mix is silence; use "
                "one channel (--channel left), or half the difference (--channel side)."
            )

    def frame_blocks(self) -> Iterator[NDArray[np.float32]]:
        """Yield all channels (channels, T), at the rate of the file and not limited.

        Raises:
            AudioError: as in `blocks`, but for channels that cancel each other.
        """
        for block in _read_frames(self._path, self._file):
            peak = float(np.abs(block).max())
            self.peak = max(self.peak, peak)
            if peak > 1:
                self.clipped_samples += int(np.count_nonzero(np.abs(block) > 1))
            yield np.ascontiguousarray(block.T)
        self._refuse_peak(self.peak)

    def limited_blocks(self, gain: float = 1.0) -> Iterator[NDArray[np.float32]]:
        """Yield the blocks after a gain, limited to [-1, 1]."""
        for block in self.blocks():
            scaled = block if gain == 1 else block * np.float32(gain)
            yield np.clip(scaled, -1, 1)

    def levels(self) -> Levels:
        """Return the levels of the blocks so far."""
        return self._meter.levels()

    def gain(self, normalize: bool) -> float:
        """Return the factor that scales the peak to full scale; 1 if it is not beyond it."""
        return 1 / self.peak if normalize and self.peak > 1 else 1.0

    def measured(self, samples: int, gain: float) -> MeasuredAudio:
        """Return the properties of the file, after its last block.

        Args:
            samples: number of samples of all blocks.
            gain: the factor that is applied to them.
        """
        return MeasuredAudio(
            samples,
            *(self.sample_rate, self.original_rate, self.channels),
            self.clipped_samples if gain == 1 else 0,
            replace(self.levels(), gain=gain, notes=self._file.notes),
        )

    def _refuse_peak(self, largest: float) -> None:
        """Raise AudioError if the values are not those of a waveform."""
        if self._check_peak and largest > MAX_PEAK:
            raise AudioError(
                f"{self._path} has values up to {largest:.3g}, expected -1 to 1; scale it and "
                "export it again, or use --normalize."
            )

    def _resample(self, blocks: Iterator[NDArray[np.float32]]) -> Iterator[NDArray[np.float32]]:
        """Resample block by block; the result is that of one call, bit for bit."""
        if self.sample_rate == self.original_rate:
            yield from blocks
            return
        resampler = soxr.ResampleStream(
            self.original_rate, self.sample_rate, 1, dtype="float32", quality="HQ"
        )
        for block in blocks:
            yield resampler.resample_chunk(block)
        yield resampler.resample_chunk(np.zeros(0, np.float32), last=True)


def check_sample_rate(rate: int, what: str) -> None:
    """Raise AudioError if a sample rate is out of range; `what` names it in the message."""
    if not MIN_RATE <= rate <= MAX_RATE:
        raise AudioError(f"{what} must be {MIN_RATE:,} to {MAX_RATE:,} Hz, not {rate:,} Hz.")


@contextlib.contextmanager
def open_regular_file(path: Path, expected: str = "an audio file") -> Iterator[BinaryIO]:
    """Open a regular file; a FIFO is opened without blocking, then rejected.

    Args:
        path: of the file.
        expected: what it should be, for the message.
    Raises:
        AudioError: it cannot be read, or is not a regular file.
    """
    try:
        descriptor = os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0))
    except OSError as error:
        raise AudioError(f"Cannot read {path}: {os_error_reason(error)}.") from error
    # Checked before fdopen, whose message for a folder is less clear.
    mode = os.fstat(descriptor).st_mode
    if not stat.S_ISREG(mode):
        os.close(descriptor)
        what = "a folder" if stat.S_ISDIR(mode) else "a pipe or a device"
        raise AudioError(f"{path} is {what}; expected {expected}.")
    with os.fdopen(descriptor, "rb") as handle:
        yield handle


def libsndfile_message(error: soundfile.LibsndfileError) -> str:
    """Return libsndfile's message in brackets.

    Return "" for the message "does not exist": it is wrong, because the file is open.
    """
    text: str = error.error_string.removeprefix("Error : ").rstrip(".")
    return "" if "does not exist" in text else f" ({text})"


def _check_header(
    path: str | Path,
    file: VerifiedFile,
    target_rate: int | None,
    max_samples: int | None,
    max_seconds: float | None,
) -> None:
    rate, channels, frames = file.samplerate, file.channels, file.frames
    check_sample_rate(rate, f"{path}: the sample rate")
    if not 1 <= channels <= MAX_CHANNELS:
        raise AudioError(f"{path} has {channels} channels; expected 1 to {MAX_CHANNELS}.")
    if frames < 1:
        raise AudioError(f"{path} has no samples; expected at least one.")
    if max_seconds is not None and frames > max_seconds * rate:
        raise AudioError(
            f"{path} lasts {math.ceil(frames / rate):,} s; at most {max_seconds:g} s are accepted; "
            "trim it."
        )
    resampled = frames * (target_rate or rate) // rate
    if max_samples is not None and resampled > max_samples:
        raise AudioError(
            f"{path} is too long: {frames:,} frames at {rate} Hz are {resampled:,} samples in "
            f"memory, the limit is {max_samples:,} samples; split it into shorter files."
        )


def _read_mono(
    path: str | Path, file: VerifiedFile, meter: LevelMeter, channel: Channel
) -> Iterator[NDArray[np.float32]]:
    """Yield the chosen channel of every block."""
    for block in _read_frames(path, file):
        try:
            mono = select_channel(block, channel)
        except AudioError as error:
            raise AudioError(f"{path} {error}.") from None
        meter.add(block, mono)
        yield mono


def _read_frames(path: str | Path, file: VerifiedFile) -> Iterator[NDArray[np.float32]]:
    """Decode block by block: memory depends on the real length, not on the count in the header."""
    invalid, first_invalid, found = 0, 0, 0
    while found <= file.frames:
        block = file.read(BLOCK_FRAMES)
        if not len(block):
            break
        is_invalid = ~np.isfinite(block).all(axis=1)
        if is_invalid.any():
            first_invalid = first_invalid if invalid else found + int(is_invalid.argmax())
            invalid += int(np.count_nonzero(is_invalid))
        else:
            yield block
        found += len(block)
    if found != file.frames:
        raise AudioError(
            f"{path} is damaged or cut short: its header declares {file.frames:,} frames, "
            f"{found:,} could be read; download the file again."
        )
    if invalid:
        raise AudioError(
            f"{path} has {invalid:,} frames that are not finite (NaN or infinite), the first at "
            f"index {first_invalid:,}; export it again."
        )
