"""One rendering: settings of the tab -> checked job -> blocks of wet and dry sound.

Input: an effect, a recording and the values of the widgets. Output: a `RenderResult`, which yields
the sound while it is computed, measures the processor time, and finds the gains with which dry and
wet sound are equally loud. Called by the callbacks of the tab and by the public API.
"""

import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from audio_utils.decoding import open_stream
from audio_utils.errors import AudioError
from audio_utils.levels import decibels
from audio_utils.lufs import clip_loudness
from wavenet.effects.example_riff import make_riff
from wavenet.effects.impulse_response import ImpulseResponse, read_impulse_response
from wavenet.effects.nam_model import NamModel
from wavenet.effects.rendering.chain_settings import ChainSettings
from wavenet.effects.rendering.effect_chain import EffectChain
from wavenet.errors import ConditionError
from wavenet.ui.server.uploads import check_reader

MAX_SECONDS = 120.0  # of a recording
MAX_CHANNELS = 2
EXAMPLE = "example riff"
CLIP_SOURCE = "effect"  # of the clips in the list
CLIP_SUBTYPE = "PCM_24"
BLOCK_SAMPLES = 4096
LOWEST_RATE = 8000  # Hz, of the example for a model of a very low rate
HIGHEST_RATE = 192_000
_PEAK_LIMIT = 1.0
_FIRST_MATCH_SECONDS = (
    0.2  # of the first measurement of the loudness; each one later has twice as much
)

Rows = NDArray[np.float32]


@dataclass(frozen=True, eq=False)
class RenderJob:
    """What is rendered.

    Attributes:
        name: of the effect.
        model: without knobs.
        setting: of the knobs, by name.
        settings: of the chain.
        chain: at the rate of the recording.
        dry: (channels, T).
        recording: name of the recording.
        source: path of the recording; None for the example.
    """

    name: str
    model: NamModel
    setting: Mapping[str, float]
    settings: ChainSettings
    chain: EffectChain
    dry: Rows
    recording: str
    source: str | None

    @property
    def sample_rate(self) -> int:
        """Rate of both sounds, Hz."""
        return self.chain.sample_rate

    @property
    def samples(self) -> int:
        """Length of both sounds."""
        return self.dry.shape[1]

    @property
    def title(self) -> str:
        """One line that names the rendering."""
        knobs = [f"{name} {value:.2g}" for name, value in self.setting.items()]
        return " · ".join([self.name, *knobs, self.recording])

    @property
    def file_name(self) -> str:
        """Name of the WAV file."""
        return f"{Path(self.recording).stem.replace(' ', '_')}_{self.name}.wav"


def make_render_job(
    name: str,
    model: NamModel,
    setting: Mapping[str, float],
    settings: ChainSettings,
    source: str | None,
    cabinet: str | None = None,
) -> RenderJob:
    """Check everything and read the files.

    Args:
        name: of the effect.
        model: without knobs.
        setting: of its knobs, for the title.
        settings: of the chain.
        source: path of an uploaded recording; None for the example, at the rate of the model.
        cabinet: path of an uploaded impulse response.
    Raises:
        AudioError: a file cannot be read; the message has its name, not its path.
        ConfigError: the model cannot be used with these settings.
        ConditionError: the recording has too many channels.
    """
    if source is None:
        rate = round(min(max(model.rate, LOWEST_RATE), HIGHEST_RATE))
        dry, recording = make_riff(rate)[None], EXAMPLE
    else:
        dry, rate = read_recording(source)
        recording = Path(source).name
    response = None if cabinet is None else read_cabinet(cabinet, rate)
    chain = EffectChain(model, rate, settings, response)
    chain.start(len(dry))  # refuses a cabinet that does not fit the channels
    return RenderJob(name, model, setting, settings, chain, dry, recording, source)


def read_recording(path: str) -> tuple[Rows, int]:
    """Return all channels (channels, T) of an uploaded recording, and its rate in Hz.

    Raises:
        AudioError: it cannot be read, or is too long; the message has its name, not its path.
        ConditionError: it has too many channels.
    """
    check_reader(path)
    name = Path(path).name
    try:
        with open_stream(path, max_seconds=MAX_SECONDS) as stream:
            if stream.channels > MAX_CHANNELS:
                raise ConditionError(
                    f"{name} has {stream.channels} channels; expected mono or stereo"
                )
            rows: Rows = np.concatenate(list(stream.frame_blocks()), axis=1)
            return np.clip(rows, -1, 1), stream.original_rate
    except AudioError as error:
        raise AudioError(str(error).replace(path, name)) from None


def read_cabinet(path: str, rate: int) -> ImpulseResponse:
    """Return an uploaded impulse response, scaled so that it hardly changes the loudness.

    Raises:
        AudioError: it cannot be read; the message has its name, not its path.
    """
    check_reader(path)
    try:
        return read_impulse_response(path, rate, normalize=True)
    except AudioError as error:
        raise AudioError(str(error).replace(path, Path(path).name)) from None


@dataclass(eq=False)
class RenderResult:
    """The sound of a job, as far as it is rendered.

    Attributes:
        job: what is rendered.
        sent_chunks: number of chunks that the page has received.
        cpu_seconds: processor time of the rendering.
        gains: of wet and dry sound, with which they are equally loud and not beyond full scale.
    """

    job: RenderJob
    sent_chunks: int = 0
    cpu_seconds: float = 0.0
    gains: dict[str, float] = field(default_factory=lambda: {"wet": 1.0, "dry": 1.0})
    _wet: list[Rows] = field(default_factory=list)
    _rendered: int = 0

    @property
    def speed(self) -> float:
        """Seconds of sound per second of processor time."""
        return self.seconds / max(self.cpu_seconds, 1e-9)

    @property
    def load(self) -> float:
        """Share of one core that real time needs."""
        return self.cpu_seconds / max(self.seconds, 1e-9)

    @property
    def seconds(self) -> float:
        """Seconds of sound so far."""
        return self._rendered / self.job.sample_rate

    @property
    def wet(self) -> Rows:
        """The wet sound so far: (channels, T)."""
        empty = np.zeros((1, 0), np.float32)
        return np.concatenate(self._wet, axis=1) if self._wet else empty

    @property
    def dry(self) -> Rows:
        """The dry sound of the same length, with the channels of the wet one."""
        dry = self.job.dry[:, : self._rendered]
        channels = self.job.chain.count_outputs(len(self.job.dry))
        return np.repeat(dry, channels, axis=0) if len(dry) < channels else dry

    def stream(self) -> Iterator[Tensor]:
        """Render; yield blocks (n, channels): those of the wet sound, then those of the dry one.

        Raises:
            ConditionError: the output of the model is not finite.
        """
        job, next_match = self.job, _FIRST_MATCH_SECONDS
        state = job.chain.start(len(job.dry))
        firsts = range(0, job.samples, BLOCK_SAMPLES)
        for first in (*firsts, None):
            start = time.thread_time()
            if first is None:
                block = job.chain.finish(state)
            else:
                dry = np.ascontiguousarray(job.dry[:, first : first + BLOCK_SAMPLES])
                block = job.chain.process(state, dry)
            self.cpu_seconds += time.thread_time() - start
            if not block.shape[1]:
                continue
            if not np.isfinite(block).all():
                raise ConditionError(
                    f"the output of the effect {job.name} is not finite, so it cannot be played"
                )
            begin = self._rendered
            self._wet.append(block)
            self._rendered += block.shape[1]
            if self.seconds >= next_match or self._rendered >= job.samples:
                self.gains, next_match = self._match(), 2 * self.seconds
            dry_block = self.dry[:, begin:]
            yield torch.from_numpy(np.concatenate([block, dry_block]).T.copy())

    def complete(self) -> "RenderResult":
        """Render everything."""
        for _ in self.stream():
            pass
        return self

    def _match(self) -> dict[str, float]:
        """Return the gains for equal loudness; the louder sound is not made louder."""
        wet, dry, rate = self.wet, self.dry, self.job.sample_rate
        loudness = [clip_loudness(torch.from_numpy(rows.mean(axis=0)), rate) for rows in (wet, dry)]
        if loudness[0] is None or loudness[1] is None:  # silence
            return {"wet": 1.0, "dry": 1.0}
        dry_gain = 10 ** ((loudness[0] - loudness[1]) / 20)
        peak = max(dry_gain * float(np.abs(self.job.dry).max()), _PEAK_LIMIT)
        return {"wet": _PEAK_LIMIT / peak, "dry": dry_gain / peak}

    def loudness_gain_db(self) -> float:
        """Return by how much the wet sound is louder than the dry one, dB."""
        return decibels(self.gains["dry"] / self.gains["wet"])

    def clipping_note(self) -> str:
        """Return a sentence if the wet sound is beyond full scale; else ""."""
        peak = float(np.abs(self.wet).max(initial=0.0))
        if peak <= 1:
            return ""
        excess = decibels(peak)
        return (
            f"The wet sound is {excess:.1f} dB beyond full scale and was limited; lower the output "
            f"by {excess:.1f} dB."
        )


def make_chain_settings(
    input_gain: float | None,
    output_trim: float | None,
    mix: float | None,
    oversampling: Any,
    removes_offset: bool | None = False,
) -> ChainSettings:
    """Return the settings of the values of the widgets; an empty one has its default.

    Raises:
        ConfigError: a value is out of range.
    """
    return ChainSettings(
        input_gain_db=float(input_gain or 0),
        trim_db=float(output_trim or 0),
        mix=1.0 if mix is None else float(mix),
        oversampling=int(oversampling or 1),
        removes_offset=bool(removes_offset),
    )
