"""Compare a vocoder with Griffin-Lim: every method resynthesises the same mel spectrograms.

Input: a vocoder and recordings in named groups. Output: `ResynthesisMetrics` per recording and
method, and their means per group. The input of every method is only the frames of the checkpoint's
mel condition: the same bands, window and hop. Called by `wavenet evaluate vocoder`. The methods:

    wavenet      output of the model
    matched      the same, filtered to the mel frames (`generation.clip_mel_matching`)
    noise        white noise, filtered in the same way: a control for the effect of the filter
    griffin-lim  the baseline
"""

import statistics
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from torch import Tensor

from audio_utils import metrics
from audio_utils.errors import AudioError
from audio_utils.griffin_lim import griffin_lim
from wavenet.checkpoint import Checkpoint
from wavenet.engines.engine import Engine
from wavenet.errors import ConditionError
from wavenet.generation.clip_mel_matching import match_clip_mel
from wavenet.generation.generate import generate_many
from wavenet.generation.noise import uniform_noise
from wavenet.generation.request import GenerationRequest
from wavenet.generation.search import generate_with_candidates
from wavenet.model.conditions import MelCondition
from wavenet.model.frame_features import compute_frame_features, mel_settings
from wavenet.progress import Progress
from wavenet.sampling import SamplingConfig

METHODS = ("wavenet", "matched", "noise", "griffin-lim")
BATCH_SIZE = 16  # recordings that are resynthesised at the same time
GRIFFIN_LIM_ITERATIONS = 60
METRICS = ("pesq", "stoi", "mel_cepstral", "stft", "pitch")


@dataclass(frozen=True)
class ReferenceRecording:
    """A recording to resynthesise: waveform (T,) at the sample rate of the model."""

    group: str
    name: str
    waveform: Tensor


@dataclass(frozen=True)
class ResynthesisMetrics:
    """Metrics of one recording and one method; None if a metric is undefined for the recording.

    Attributes:
        pesq: opinion score of narrow-band speech, 1 to 4.5, higher is better.
        stoi: intelligibility, 0 to 1, higher is better.
        mel_cepstral: distance in dB, lower is better.
        stft: multi-resolution distance, lower is better.
        pitch: fraction of frames with wrong voicing or pitch, 0 to 1, lower is better.
    """

    group: str
    name: str
    method: str
    pesq: float | None
    stoi: float | None
    mel_cepstral: float | None
    stft: float | None
    pitch: float | None


def evaluate_vocoder(
    checkpoint: Checkpoint,
    recordings: Sequence[ReferenceRecording],
    sampling: SamplingConfig,
    engine: str | Engine[Any] = "auto",
    seed: int = 0,
    on_resynthesis: Callable[[ReferenceRecording, Mapping[str, Tensor]], None] = lambda *_: None,
    candidates: int = 1,
    progress: Progress | None = None,
) -> Iterator[ResynthesisMetrics]:
    """Resynthesise every recording with all methods, and compute the metrics.

    Args:
        checkpoint: conditioned on mel frames only.
        recordings: at the sample rate of the model.
        sampling: sampling settings.
        engine: as for `generate_many`.
        seed: of the first recording; seeds are consecutive, so each recording can be repeated
            alone.
        on_resynthesis: called with each recording and the waveforms by method.
        candidates: above 1, see `generate_with_candidates`.
        progress: counts generated samples.
    Yields:
        The metrics of each recording and method, in the order of `recordings`.
    Raises:
        ConditionError: the checkpoint is not a vocoder.
    """
    condition = require_mel_condition(checkpoint)
    sample_rate, config = checkpoint.config.audio.sample_rate, checkpoint.config.model
    feature_config = mel_settings(condition, sample_rate, config.condition_hop)
    for begin in range(0, len(recordings), BATCH_SIZE):
        batch = recordings[begin : begin + BATCH_SIZE]
        requests = [
            GenerationRequest(
                recording.waveform.numel(),
                seed=seed + begin + n,
                frame_features=compute_frame_features(config, sample_rate, recording.waveform),
            )
            for n, recording in enumerate(batch)
        ]
        generated = _generate_batch(checkpoint, requests, sampling, engine, candidates, progress)
        for recording, request, waveform in zip(batch, requests, generated, strict=True):
            assert request.frame_features is not None
            noise = uniform_noise(request.seed, 1, 0, request.samples) - 0.5
            reference = recording.waveform
            waveforms = {
                "wavenet": waveform,
                "matched": match_clip_mel(checkpoint, waveform, request.frame_features),
                "noise": match_clip_mel(checkpoint, noise, request.frame_features),
                "griffin-lim": griffin_lim(
                    reference, sample_rate, feature_config, GRIFFIN_LIM_ITERATIONS
                ),
            }
            on_resynthesis(recording, waveforms)
            pitch = metrics.speech_f0(reference, sample_rate)
            for method in METHODS:
                yield compute_metrics(recording, method, waveforms[method], sample_rate, pitch)


def _generate_batch(
    checkpoint: Checkpoint,
    requests: list[GenerationRequest],
    sampling: SamplingConfig,
    engine: str | Engine[Any],
    candidates: int,
    progress: Progress | None,
) -> list[Tensor]:
    """Generate the waveforms of a batch, in the order of the requests."""
    if candidates == 1:
        clips = generate_many(checkpoint, requests, sampling, engine, progress=progress)
        return [clip.waveform for clip in sorted(clips, key=lambda clip: clip.index)]
    return [
        generate_with_candidates(
            checkpoint, request, candidates, sampling, engine, progress
        ).waveform
        for request in requests
    ]


def require_mel_condition(checkpoint: Checkpoint) -> MelCondition:
    """Return the only condition of a vocoder.

    Raises:
        ConditionError: the checkpoint has other conditions, or none.
    """
    conditions = checkpoint.config.model.conditions
    if len(conditions) != 1 or not isinstance(conditions[0], MelCondition):
        found = (
            ", ".join(getattr(condition, "name", condition.kind) for condition in conditions)
            or "nothing"
        )
        raise ConditionError(
            f"{checkpoint.folder} is conditioned on {found}; a vocoder is conditioned on mel only"
        )
    return conditions[0]


def compute_metrics(
    recording: ReferenceRecording,
    method: str,
    estimate: Tensor,
    sample_rate: int,
    reference_pitch: Tensor,
) -> ResynthesisMetrics:
    """Compute the metrics of a method's output; `reference_pitch` is that of the recording."""
    reference = recording.waveform

    def compute(metric: Callable[..., float], *rate: int) -> float | None:
        try:
            return metric(reference, estimate, *rate)
        except AudioError:  # too short or too quiet for this metric
            return None

    def pitch_error(reference: Tensor, estimate: Tensor, rate: int) -> float:
        return metrics.f0_frame_error(reference_pitch, metrics.speech_f0(estimate, rate))

    return ResynthesisMetrics(
        recording.group,
        recording.name,
        method,
        pesq=compute(metrics.pesq, sample_rate),
        stoi=compute(metrics.stoi, sample_rate),
        mel_cepstral=compute(metrics.mel_cepstral_distance, sample_rate),
        stft=compute(metrics.stft_distance, sample_rate),
        pitch=compute(pitch_error, sample_rate),
    )


def summarise_metrics(results: Sequence[ResynthesisMetrics]) -> list[dict[str, Any]]:
    """Return means per group and method, over recordings for which all methods have the metric.

    Returns:
        Per group and method: group, method, clips, and for each metric its mean (None if no
        recording has it) and the number of recordings in the mean.
    """
    rows: list[dict[str, Any]] = []
    groups = dict.fromkeys(result.group for result in results)
    for group in groups:
        for method in METHODS:
            members = [asdict(r) for r in results if (r.group, r.method) == (group, method)]
            row: dict[str, Any] = {"group": group, "method": method, "clips": len(members)}
            for metric in METRICS:
                undefined = {
                    r.name for r in results if r.group == group and vars(r)[metric] is None
                }
                values = [m[metric] for m in members if m["name"] not in undefined]
                row[metric] = statistics.fmean(values) if values else None
                row[f"{metric}_clips"] = len(values)
            rows.append(row)
    return rows
