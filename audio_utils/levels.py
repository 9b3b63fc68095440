"""Choice of a channel, and the level of a recording: beyond full scale, or channels that cancel.

Input: decoded blocks of a file. Output: mono blocks, `Levels`, and sentences about them. Only this
module decides what is reported about the level of a recording: samples of the file beyond full
scale by more than `OVER_TOLERANCE`. Excess that only resampling causes is limited without a
message, because it is not in the file. Called by `decoding`, the commands, the reports and the
studio.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, get_args

import numpy as np
from numpy.typing import NDArray

from audio_utils.errors import AudioError

Channel = Literal["mix", "left", "right", "mid", "side"]
CHANNELS: tuple[Channel, ...] = get_args(Channel)

OVER_TOLERANCE = 1e-3  # 0.009 dB
# The mix of independent channels is 10 log10(channels) dB below them, 3 dB for stereo; that of
# recorded music 0 to 2 dB. A correlation below -0.9 loses 13 dB.
MAX_MIX_LOSS_DB = -10.0  # re the mix of independent channels
SILENT_LOSS_DB = -60.0
SILENT_RMS = 1 / 32_768  # rounding of 16 bits
SILENCE_DB = -60.0  # a block below this RMS re full scale is silence
BLOCK_SECONDS = 0.010
FULL_SCALE = 1 - 2**-15  # the largest value of 16-bit PCM
# Normalised recordings reach full scale in single samples; clipping causes runs of samples.
MIN_CLIPPED_RUN = 3  # samples
MAX_LISTED = 20  # names of files: enough to see the problem
_TINY_POWER = 1e-20


@dataclass(frozen=True)
class Levels:
    """The level of a whole file, in its chosen channel, before resampling.

    Attributes:
        peak: largest magnitude; 1 is full scale.
        over_samples: number of samples beyond full scale by more than `OVER_TOLERANCE`.
        mix_loss_db: power of the mix relative to the mean power of the mixed channels, both without
            DC; None if nothing is mixed, or the channels are silent.
        gain: factor by which the recording was scaled; 1 if it was not.
        is_cancelled: whether the mixed channels nearly cancel each other.
        notes: phrases about unusual properties of the container, as in `VerifiedFile`.
    """

    peak: float = 0.0
    over_samples: int = 0
    mix_loss_db: float | None = None
    gain: float = 1.0
    is_cancelled: bool = False
    notes: tuple[str, ...] = ()


def check_channel(channel: str) -> None:
    """Raise AudioError for an unknown choice of a channel."""
    if channel not in CHANNELS:
        raise AudioError(f"the channel must be one of {', '.join(CHANNELS)}; found {channel!r}.")


def select_channel(frames: NDArray[np.float32], channel: Channel) -> NDArray[np.float32]:
    """Return one channel of a block, or a combination of channels.

    Args:
        frames: (T, channels); with one channel, every choice except `side` returns it.
        channel: mix: the mean of all; mid: the mean of the first two; side: half their difference.
    Raises:
        AudioError: `side` of a single channel.
    """
    single = frames.shape[1] == 1
    chosen: NDArray[Any]
    if single and channel == "side":
        raise AudioError("has one channel, but the channel side is the difference of two")
    match channel:
        case "left":
            chosen = frames[:, 0]
        case "right":
            chosen = frames[:, 0 if single else 1]
        case "side":
            chosen = (frames[:, 0] - frames[:, 1]) / 2
        case "mid":
            chosen = frames[:, :2].mean(axis=1)
        case _:
            chosen = frames.mean(axis=1)
    selected: NDArray[np.float32] = np.ascontiguousarray(chosen, np.float32)
    return selected


class LevelMeter:
    """Measures a file block by block.

    Args:
        channel: the choice that the blocks were mixed by.
    """

    def __init__(self, channel: Channel):
        self._mixed = {"mix": None, "mid": 2}.get(channel, 1)  # number of channels, None: all
        self._peak, self._over, self._count, self._channels = 0.0, 0, 0, 1
        # sum and sum of squares of the mix and of each channel
        self._mix = np.zeros(2)
        self._each: NDArray[np.float64] = np.zeros((2, 1))

    def add(self, frames: NDArray[np.float32], mono: NDArray[np.float32]) -> None:
        """Add a block: its frames (T, channels), and the mono samples (T,) made from them."""
        peak = peak_of(mono)
        self._peak = max(self._peak, peak)
        if peak > 1 + OVER_TOLERANCE:
            self._over += int(np.count_nonzero(np.abs(mono) > 1 + OVER_TOLERANCE))
        mixed = frames[:, : self._mixed]
        if mixed.shape[1] == 1:
            return
        self._channels, self._count = mixed.shape[1], self._count + len(mixed)
        self._mix += sum_powers(mono[None])[:, 0]
        self._each = self._each + sum_powers(mixed.T)

    def levels(self) -> Levels:
        """Return the levels of all blocks so far."""
        loss, is_cancelled = None, False
        powers = self._powers()
        if powers is not None and powers[1] > _TINY_POWER:
            loss = 10 * math.log10(max(powers[0], _TINY_POWER) / powers[1])
            is_cancelled = loss < MAX_MIX_LOSS_DB - 10 * math.log10(self._channels)
        return Levels(self._peak, self._over, loss, is_cancelled=is_cancelled)

    def is_silent_mix(self) -> bool:
        """Return whether the mix is silence within rounding although its channels are not."""
        levels, powers = self.levels(), self._powers()
        if powers is None or levels.mix_loss_db is None or not levels.is_cancelled:
            return False
        return levels.mix_loss_db < SILENT_LOSS_DB or math.sqrt(max(powers[0], 0)) < SILENT_RMS

    def _powers(self) -> tuple[float, float] | None:
        """Return the power of the mix and the mean power of the channels, both without DC."""
        if not self._count:
            return None
        mix = self._mix / self._count
        each = self._each / self._count
        return float(mix[1] - mix[0] ** 2), float((each[1] - each[0] ** 2).mean())


@dataclass
class SampleStatistics:
    """Clipping and silence of a waveform that arrives in blocks.

    The result is that of `analysis.is_clipped` and `analysis.silent_fraction`, without torch.

    Attributes:
        sample_rate: Hz.
        samples: number of samples so far.
        is_clipped: whether `MIN_CLIPPED_RUN` consecutive samples are at full scale.
    """

    sample_rate: int
    samples: int = 0
    is_clipped: bool = False
    _silent: int = 0  # complete blocks of silence
    _blocks: int = 0
    _rest: NDArray[np.float32] = field(default_factory=lambda: np.zeros(0, np.float32))
    _end: NDArray[np.bool_] = field(default_factory=lambda: np.zeros(0, np.bool_))

    def add(self, block: NDArray[np.float32]) -> None:
        """Add the next samples (T,), in [-1, 1]."""
        self.samples += len(block)
        if not self.is_clipped and peak_of(block) < FULL_SCALE:
            self._end = np.zeros(0, np.bool_)
        elif not self.is_clipped:
            full = np.concatenate([self._end, np.abs(block) >= FULL_SCALE])
            self.is_clipped = bool((full[2:] & full[1:-1] & full[:-2]).any())
            self._end = full[1 - MIN_CLIPPED_RUN :]
        size = round(BLOCK_SECONDS * self.sample_rate)
        waiting = np.concatenate([self._rest, block])
        whole = len(waiting) // size * size
        self._blocks += whole // size
        self._silent += _count_silent(waiting[:whole].reshape(-1, size))
        self._rest = waiting[whole:]

    @property
    def silent_seconds(self) -> float:
        """The length in samples times the fraction of blocks of 10 ms that are silent."""
        blocks = self._blocks + bool(len(self._rest))
        silent = self._silent + (_count_silent(self._rest[None]) if len(self._rest) else 0)
        return silent / blocks * self.samples / self.sample_rate if blocks else 0.0


def measure_levels(samples: NDArray[np.float32]) -> Levels:
    """Return the levels of samples (T,) that will be limited, such as those of an output."""
    over = int(np.count_nonzero(np.abs(samples) > 1 + OVER_TOLERANCE))
    return Levels(peak_of(samples), over)


def describe_levels(levels: Levels, advise: bool = True) -> list[str]:
    """Return what a user must know about the level of a recording, as phrases.

    Args:
        advise: also name the options of the commands that change it.
    """
    phrases = []
    excess = decibels(levels.peak)
    if levels.gain != 1:
        phrases.append(
            f"scaled by {decibels(levels.gain):.1f} dB, because its peak was {excess:.1f} dB over "
            "full scale"
        )
    elif levels.over_samples:
        advice = "; --normalize scales the recording instead" if advise else ""
        phrases.append(
            f"limited {levels.over_samples:,} samples beyond full scale, the largest by "
            f"{excess:.1f} dB{advice}"
        )
    if levels.is_cancelled and levels.mix_loss_db is not None:
        advice = "; use --channel left, or --channel side" if advise else ""
        phrases.append(
            f"its channels nearly cancel each other: their mix is {-levels.mix_loss_db:.0f} dB "
            f"below them{advice}"
        )
    return [*phrases, *levels.notes]


@dataclass(frozen=True)
class LevelSummary:
    """The levels of many files: counts, and the names of the first files.

    Attributes:
        over, over_count: files with samples beyond full scale.
        peak: largest magnitude of all files.
        scaled_count: files that were scaled to full scale; not counted in `over_count`.
        cancelled, cancelled_count: files whose mixed channels nearly cancel each other.
        odd, odd_count: names and notes of files with an unusual container.
    """

    over: tuple[str, ...] = ()
    over_count: int = 0
    peak: float = 0.0
    scaled_count: int = 0
    cancelled: tuple[str, ...] = ()
    cancelled_count: int = 0
    odd: tuple[str, ...] = ()
    odd_count: int = 0

    def with_file(self, name: str, levels: Levels) -> "LevelSummary":
        """Return the summary with one more file."""
        is_scaled = levels.gain != 1
        is_over = bool(levels.over_samples) and not is_scaled
        return self.merged(
            LevelSummary(
                (name,) * is_over,
                int(is_over),
                levels.peak,
                int(is_scaled),
                (name,) * levels.is_cancelled,
                int(levels.is_cancelled),
                (f"{name}: {', '.join(levels.notes)}",) * bool(levels.notes),
                int(bool(levels.notes)),
            )
        )

    def merged(self, other: "LevelSummary") -> "LevelSummary":
        """Return the summary of the files of both."""
        return LevelSummary(
            (*self.over, *other.over)[:MAX_LISTED],
            self.over_count + other.over_count,
            max(self.peak, other.peak),
            self.scaled_count + other.scaled_count,
            (*self.cancelled, *other.cancelled)[:MAX_LISTED],
            self.cancelled_count + other.cancelled_count,
            (*self.odd, *other.odd)[:MAX_LISTED],
            self.odd_count + other.odd_count,
        )

    def sentences(self, advise: bool = True, normalize_option: str = "--normalize") -> list[str]:
        """Return what a user must know, in at most four sentences.

        Args:
            advise: also name the options of the commands that change it.
            normalize_option: the name of the option that scales recordings.
        """
        sentences, excess = [], decibels(self.peak)
        if self.over_count:
            advice = f"; {normalize_option} scales such recordings instead" if advise else ""
            sentences.append(
                f"{_count_files(self.over_count)} samples beyond full scale, the largest by "
                f"{excess:.1f} dB; they are limited ({_list_names(self.over, self.over_count)})"
                f"{advice}"
            )
        if self.scaled_count:
            sentences.append(
                f"{_count_files(self.scaled_count)} samples beyond full scale, the largest by "
                f"{excess:.1f} dB; scaled so that the peak is full scale"
            )
        if self.cancelled_count:
            names = _list_names(self.cancelled, self.cancelled_count)
            advice = "; use --channel left, or --channel side" if advise else ""
            sentences.append(
                f"{_count_files(self.cancelled_count)} channels that nearly cancel each other when "
                f"they are mixed ({names}){advice}"
            )
        if self.odd_count:
            sentences.append(
                f"{_count_files(self.odd_count)} an unusual container "
                f"({_list_names(self.odd, self.odd_count)})"
            )
        return sentences


def decibels(factor: float) -> float:
    """Return an amplitude factor in dB; the smallest factor counts as 1e-10."""
    return 20 * math.log10(max(factor, 1e-10))


def peak_of(samples: NDArray[np.float32]) -> float:
    """Return the largest magnitude of samples (T,), T >= 1."""
    return max(float(samples.max()), -float(samples.min()))


def sum_powers(rows: NDArray[np.float32]) -> NDArray[np.float64]:
    """Return the sums of rows (N, T), and of their squares: (2, N)."""
    wide = np.ascontiguousarray(rows, np.float64)
    # not a matrix product, whose threads would compete with other processes
    return np.stack([wide.sum(axis=1), np.einsum("ij,ij->i", wide, wide)])


def _count_silent(blocks: NDArray[np.float32]) -> int:
    power = np.square(blocks, dtype=np.float64).mean(axis=1)
    return int(np.count_nonzero(power < 10 ** (SILENCE_DB / 10)))


def _count_files(count: int) -> str:
    return "1 file has" if count == 1 else f"{count:,} files have"


def _list_names(names: Sequence[str], count: int, shown: int = 3) -> str:
    return ", ".join(names[:shown]) + (" .." if count > shown else "")
