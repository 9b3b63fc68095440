"""A vocoder beside Griffin-Lim: all methods turn the same mel spectrograms back into recordings.

Recordings in named groups enter; one `Measure` per recording and method leaves, and their means
per group. The methods get what the checkpoint's mel condition holds of a recording, and nothing
else: same bands, same window, same hop.

    wavenet      as drawn by the model
    matched      the same, filtered to the mel frames (`synthesis.matching`)
    noise        white noise filtered the same way, the control: what the filter does by itself
    griffin-lim  the baseline
"""

import statistics
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from torch import Tensor

from audio_utils import metrics, voicing
from audio_utils.errors import AudioError
from audio_utils.griffin_lim import griffin_lim
from wavenet.checkpoint import Checkpoint
from wavenet.engines.base import Engine
from wavenet.errors import ConditionError
from wavenet.generation.generate import generate_many
from wavenet.generation.mel_filter import match_request_mel
from wavenet.generation.noise import uniform_noise
from wavenet.generation.request import GenerationRequest
from wavenet.generation.search import generate_with_candidates
from wavenet.model.conditions import MelCondition
from wavenet.model.frame_features import compute_frame_features, mel_settings
from wavenet.progress import CallbackProgress
from wavenet.sampling import SamplingConfig

METHODS = ("wavenet", "matched", "noise", "griffin-lim")
TOGETHER = 16  # recordings that are generated at once
ITERATIONS = 60  # of Griffin-Lim


@dataclass(frozen=True)
class Measure:
    """One recording made again by one method; None where a measure is not defined for it.

    Attributes:
        pesq: opinion score of narrow-band speech, 1 to 4.5, higher is better.
        stoi: intelligibility, 0 to 1, higher is better.
        mel_cepstral: distance in dB, lower is better.
        stft: multi-resolution distance, lower is better.
        pitch: share of frames with wrong voicing or pitch, 0 to 1, lower is better.
    """

    group: str
    name: str
    method: str
    pesq: float | None
    stoi: float | None
    mel_cepstral: float | None
    stft: float | None
    pitch: float | None


MEASURES = ("pesq", "stoi", "mel_cepstral", "stft", "pitch")


@dataclass(frozen=True)
class Recorded:
    """A recording to be made again: waveform (T,) at the model's rate."""

    group: str
    name: str
    waveform: Tensor


def evaluate(
    checkpoint: Checkpoint,
    recordings: Sequence[Recorded],
    sampling: SamplingConfig,
    engine: str | Engine[Any] = "auto",
    seed: int = 0,
    keep: Callable[[Recorded, Mapping[str, Tensor]], None] = lambda recorded, made: None,
    candidates: int = 1,
    warn: Callable[[str], None] = lambda sentence: None,
) -> Iterator[Measure]:
    """Make every recording again by all methods, and measure.

    Args:
        checkpoint: conditioned on mel frames alone.
        recordings: at the model's rate.
        sampling: how the model draws.
        engine: as for `generate`.
        seed: of the first recording; the others count up, so that each can be repeated alone.
        keep: called with each recording and what the methods made of it.
        candidates: above 1, see `generate_with_candidates`.
        warn: called with a sentence when memory is too little for as many clips at once.
    Yields:
        a `Measure` for each recording and method, in the order given.
    Raises:
        ConditionError: the checkpoint is no vocoder.
    """
    condition = mel_condition(checkpoint)
    rate, config = checkpoint.config.audio.sample_rate, checkpoint.config.model
    settings = mel_settings(condition, rate, config.condition_hop)
    for begin in range(0, len(recordings), TOGETHER):
        chosen = recordings[begin : begin + TOGETHER]
        items = [
            GenerationRequest(
                one.waveform.numel(),
                seed=seed + begin + n,
                frame_features=compute_frame_features(config, rate, one.waveform),
            )
            for n, one in enumerate(chosen)
        ]
        if candidates == 1:
            clips = generate_many(
                checkpoint, items, sampling, engine, progress=CallbackProgress(on_message=warn)
            )
            waveforms = [clip.waveform for clip in sorted(clips, key=lambda clip: clip.index)]
        else:
            waveforms = [
                generate_with_candidates(checkpoint, item, candidates, sampling, engine).waveform
                for item in items
            ]
        for one, item, waveform in zip(chosen, items, waveforms, strict=True):
            assert item.frame_features is not None
            hiss = uniform_noise(item.seed, 1, 0, item.samples) - 0.5
            made = {
                "wavenet": waveform,
                "matched": match_request_mel(checkpoint, waveform, item.frame_features),
                "noise": match_request_mel(checkpoint, hiss, item.frame_features),
                "griffin-lim": griffin_lim(one.waveform, rate, settings, ITERATIONS),
            }
            keep(one, made)
            voice = voicing.track(one.waveform, rate)
            for method in METHODS:
                yield measure(one, method, made[method], rate, voice)


def mel_condition(checkpoint: Checkpoint) -> MelCondition:
    """Give the one condition of a vocoder.

    Raises:
        ConditionError: the checkpoint has others, or none.
    """
    conditions = checkpoint.config.model.conditions
    if len(conditions) != 1 or not isinstance(conditions[0], MelCondition):
        found = ", ".join(condition.kind for condition in conditions) or "nothing"
        raise ConditionError(
            f"{checkpoint.folder} is conditioned on {found}; a vocoder is conditioned on mel alone"
        )
    return conditions[0]


def measure(
    recorded: Recorded, method: str, estimate: Tensor, sample_rate: int, voice: Tensor
) -> Measure:
    """Compare what a method made with the recording, whose pitch is `voice`."""
    reference = recorded.waveform

    def value(function: Callable[..., float], *rate: int) -> float | None:
        try:
            return function(reference, estimate, *rate)
        except AudioError:  # too short or too quiet for this measure
            return None

    def pitch(reference: Tensor, estimate: Tensor, rate: int) -> float:
        return voicing.pitch_error(voice, voicing.track(estimate, rate))

    return Measure(
        recorded.group,
        recorded.name,
        method,
        pesq=value(metrics.pesq, sample_rate),
        stoi=value(metrics.stoi, sample_rate),
        mel_cepstral=value(metrics.mel_cepstral_distance, sample_rate),
        stft=value(metrics.stft_distance, sample_rate),
        pitch=value(pitch, sample_rate),
    )


def summarise(measures: Sequence[Measure]) -> list[dict[str, Any]]:
    """Average per group and method, over the recordings that all methods could be measured on.

    Returns:
        per group and method: group, method, clips, and for each measure its mean (None without
        any) and how many recordings it is over.
    """
    rows: list[dict[str, Any]] = []
    groups = dict.fromkeys(one.group for one in measures)
    for group in groups:
        for method in METHODS:
            mine = [asdict(m) for m in measures if (m.group, m.method) == (group, method)]
            row: dict[str, Any] = {"group": group, "method": method, "clips": len(mine)}
            for name in MEASURES:
                undefined = {m.name for m in measures if m.group == group and vars(m)[name] is None}
                values = [m[name] for m in mine if m["name"] not in undefined]
                row[name] = statistics.fmean(values) if values else None
                row[f"{name}_clips"] = len(values)
            rows.append(row)
    return rows
