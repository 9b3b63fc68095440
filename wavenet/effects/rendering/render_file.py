"""Filter an audio file of any length by an effect, in constant memory.

Input: a file, a `NamModel` and settings. Output: a file of the same length and alignment, and a
`RenderedFile` with what happened. Both files are read and written block by block; the new one
appears complete or not at all. Called by the commands and by the batches of effects.
"""

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from audio_utils.audio_stream import BlockWriter, open_block_writer
from audio_utils.decoding import AudioStream, open_stream
from audio_utils.levels import Channel, decibels
from wavenet.effects.impulse_response import read_impulse_response
from wavenet.effects.nam_model import NamModel
from wavenet.effects.rendering.chain_settings import ChainSettings
from wavenet.effects.rendering.effect_chain import Block, EffectChain
from wavenet.errors import ConditionError
from wavenet.progress import NoProgress, Progress

OFFSET_LIMIT = 1e-3  # -60 dB; a larger offset at silence is reported
BLOCK_SAMPLES = 8192  # of one call of the chain; progress and cancel are checked after each


@dataclass(frozen=True)
class FileSettings:
    """How a file is read and written.

    Attributes:
        channel: of the input; None for all channels, each filtered separately.
        subtype: of the output, as in `audio_utils.io.write`.
        with_tail: keep the sound of the cabinet after the end of the input.
        replace: whether an existing file may be replaced.
    """

    channel: Channel | None = None
    subtype: str = "PCM_24"
    with_tail: bool = False
    replace: bool = True


@dataclass(frozen=True)
class RenderedFile:
    """A file that was written.

    Attributes:
        frames: of the output.
        sample_rate: Hz, of both files.
        channels: of the output.
        input_channels: of the input file.
        model_rate: Hz.
        peak: largest magnitude of the output before it was limited.
        clipped_samples: values beyond full scale, which were limited.
        seconds: of sound.
        elapsed: time of the rendering in seconds.
        offset: output at silence, which the model makes.
    """

    frames: int
    sample_rate: int
    channels: int
    input_channels: int
    model_rate: float
    peak: float
    clipped_samples: int
    seconds: float
    elapsed: float
    offset: float

    def sentences(self) -> list[str]:
        """Return what a user must know about the conversion and the level."""
        found = []
        if self.sample_rate != self.model_rate:
            found.append(
                f"resampled from {self.sample_rate} Hz to the {self.model_rate:g} Hz of the model "
                "and back"
            )
        if abs(self.offset) > OFFSET_LIMIT:
            level = decibels(abs(self.offset))
            found.append(
                f"the model has an offset of {self.offset:.2g} ({level:.0f} dB) at silence; "
                "--remove-offset filters it"
            )
        if self.clipped_samples:
            excess = decibels(self.peak)
            found.append(
                f"limited {self.clipped_samples:,} samples beyond full scale, the largest by "
                f"{excess:.1f} dB; lower --trim by {excess:.1f} dB, or use --subtype FLOAT"
            )
        return found


class _StoppedError(Exception):
    """The caller wants no file."""


def render_file(
    source: Path,
    target: Path,
    model: NamModel,
    settings: ChainSettings | None = None,
    response: Path | None = None,
    files: FileSettings | None = None,
    progress: Progress | None = None,
    should_stop: Callable[[], bool] = lambda: False,
) -> RenderedFile | None:
    """Filter a file.

    Args:
        source: an audio file in any format that is read, 1 to 8 channels.
        target: .wav, .flac, .ogg or .mp3, in an existing folder.
        model: without knobs.
        settings: of the chain.
        response: an impulse response of a cabinet or a room.
        files: how the files are read and written.
        progress: receives seconds of sound.
        should_stop: is asked after each block.
    Returns:
        The properties of the written file; None if it was stopped, and nothing was written.
    Raises:
        AudioError: a file cannot be read or written.
        ConfigError: the model cannot be used with these settings.
        ConditionError: the output of the model is not finite.
    """
    files, progress = files or FileSettings(), progress or NoProgress()
    start = time.perf_counter()
    with open_stream(source, channel=files.channel or "mix") as stream:
        rate = stream.original_rate
        loaded = None if response is None else read_impulse_response(response, rate)
        chain = EffectChain(model, rate, settings, loaded)
        channels = 1 if files.channel else stream.channels
        outputs = chain.count_outputs(channels)
        chain.start(channels)  # refuses channels that do not fit, before the file is created
        try:
            with open_block_writer(
                target, rate, outputs, files.subtype, files.replace, stream.frames
            ) as writer:
                blocks = _report(_read_blocks(stream, files.channel), rate, progress, should_stop)
                with np.errstate(over="ignore", invalid="ignore"):
                    for block in chain.render_blocks(blocks, channels, files.with_tail):
                        _check_finite(block)
                        writer.write(block)
                _check_length(writer, stream, chain, files)
        except _StoppedError:
            return None
    return RenderedFile(
        *(writer.frames, rate, outputs, stream.channels, model.rate),
        *(writer.peak, writer.clipped_samples, writer.frames / rate),
        *(time.perf_counter() - start, chain.offset),
    )


def _read_blocks(stream: AudioStream, channel: Channel | None) -> Iterator[Block]:
    """Yield blocks (channels, n) of at most `BLOCK_SAMPLES`."""
    rows = stream.frame_blocks() if channel is None else (b[None] for b in stream.blocks())
    for block in rows:
        for first in range(0, block.shape[1], BLOCK_SAMPLES):
            yield block[:, first : first + BLOCK_SAMPLES]


def _report(
    blocks: Iterator[Block], rate: int, progress: Progress, should_stop: Callable[[], bool]
) -> Iterator[Block]:
    """Yield the blocks; report each when the next one is requested.

    Raises:
        _StoppedError: the caller wants no file.
    """
    for block in blocks:
        if should_stop():
            raise _StoppedError
        yield block
        progress.advance(block.shape[1] / rate)


def _check_finite(block: Block) -> None:
    """Raise ConditionError if the model computed numbers that are not finite."""
    if not np.isfinite(block).all():
        raise ConditionError(
            "the output of the model is not finite for this sound; lower --input-gain and --trim, "
            "or use another model: the weights of this one may be damaged"
        )


def _check_length(
    writer: BlockWriter, stream: AudioStream, chain: EffectChain, files: FileSettings
) -> None:
    """Check that the output is as long as the input and the tail."""
    expected = stream.frames + (chain.tail if files.with_tail else 0)
    assert writer.frames == expected, (writer.frames, expected)


def measure_seconds(source: Path) -> float:
    """Return the length of a file by its header, for the total of a progress bar.

    Raises:
        AudioError: it cannot be read.
    """
    with open_stream(source) as stream:
        return float(np.float64(stream.frames) / stream.original_rate)
