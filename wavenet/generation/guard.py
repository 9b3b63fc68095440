"""Detect that a clip degenerated: saturated noise, white noise, or silence that does not end.

Input: the newest windows of a clip. Output: a reason, or None. For loud and rough windows, the
model's parallel forward decides whether they are white noise or a natural hiss. A window is
accepted if its mel frames are near those of the request, or if such windows were frequent in the
training. No samples are drawn here, and no engine is used. Called by
`window_sampler`, which draws degenerate windows again.
"""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor

from wavenet.checkpoint import Checkpoint, WindowStatistics
from wavenet.errors import ConfigError
from wavenet.model.conditioning import Conditioning
from wavenet.model.conditions import MelCondition
from wavenet.model.frame_features import compute_condition_frames, select_mel
from wavenet.model.frame_scales import MEL_MIDDLE, MEL_SPAN

SATURATED, NOISE, SILENCE = "saturated noise", "white noise", "silence"
# of full scale, either sign: codes 0, 1, 254 and 255 of 8-bit mu-law
EXTREME_AMPLITUDE = 0.95
# A window matches its request if its mel levels, raised to the floor, differ from those of the
# request by at most this on average. White noise instead of speech differs by more than 20 dB.
MAX_MEL_DIFFERENCE_DB = 8.0
MEL_FLOOR_DB = -60.0
# Fractions of the training windows from which a reason is not a degeneration. Of the windows of
# spoken digits, 0.4 % are loud and rough, and none is saturated.
EXPECTED_NOISY, EXPECTED_SATURATED, EXPECTED_SILENT = 0.05, 0.05, 0.3


@dataclass(frozen=True)
class GuardConfig:
    """Limits for degenerate clips, and the number of attempts to draw a window again.

    For comparison, recordings of spoken digits, 10,936 windows of 0.1 s: RMS up to 0.35; at most
    0.4 % of a window beyond `EXTREME_AMPLITUDE`; loud and rough windows of up to 0.79 of 8 bits per
    sample; digital silence of up to 0.03 s, and amplitudes below 1e-3 for up to 1.7 s.

    Attributes:
        window_seconds: the interval of the checks, counted from the first generated sample. Output
            is delayed by one window.
        attempts: most draws with other uniforms per degenerate window; 0: only report.
        saturated_rms, saturated_fraction: a window is saturated if its RMS and its fraction of
            samples beyond `EXTREME_AMPLITUDE` reach both limits. A full-scale sine has 0.71 and
            0.20.
        noise_rms, noise_roughness: the surprise is computed if the RMS of a window reaches the
            first limit, and its roughness the second. The roughness is the mean square of the
            differences of neighbouring samples over twice the mean square of the samples: 1 for
            white noise, 0 for a slow wave. Of the windows described above, one in 230 reaches both.
        noise_fraction: fraction of the bits of a code; a window of this surprise is white noise.
        silence_seconds, silence_peak: the clip is silent if max - min stays within twice the peak
            for this time, at any offset. The two codes of 8-bit mu-law nearest to zero lie within
            1e-4. Silence that was already output is not changed, so the clip recovers only if the
            model ends the silence by itself.
    Raises:
        ConfigError: a limit is out of range.
    """

    window_seconds: float = 0.1
    attempts: int = 3
    saturated_rms: float = 0.6
    saturated_fraction: float = 0.3
    noise_rms: float = 0.1
    noise_roughness: float = 0.5
    noise_fraction: float = 0.85
    silence_seconds: float = 1.5
    silence_peak: float = 1e-4

    def __post_init__(self) -> None:
        if not (0 < self.window_seconds < math.inf and self.window_seconds <= self.silence_seconds):
            raise ConfigError(
                "window_seconds of the guard must be above 0 s and at most silence_seconds, "
                f"{self.silence_seconds:g}; found {self.window_seconds:g}"
            )
        if self.noise_rms > self.saturated_rms:
            raise ConfigError(
                f"saturated_rms of the guard must be at least noise_rms, {self.noise_rms:g}; "
                f"found {self.saturated_rms:g}"
            )
        if self.attempts < 0:
            raise ConfigError(f"attempts of the guard must be 0 or more, found {self.attempts}")

    def window_samples(self, sample_rate: int) -> int:
        """Return the length of a window in samples."""
        return max(1, round(self.window_seconds * sample_rate))


@dataclass(frozen=True)
class Retry:
    """Degenerate windows, and the attempts to draw them again.

    Attributes:
        index: of the request.
        first, last: samples first .. last - 1, counted from the first generated sample.
        reason: `SATURATED`, `NOISE` or `SILENCE`.
        attempts: number of draws with other uniforms; 0 if greedy or if the guard only reports.
        solved: whether the last attempt succeeded; false without attempts. If not, the clip
            continues as it is and is not drawn again before it recovers by itself.
        stopped: whether the clip had too many attempts, so that the guard no longer checks it.
    """

    index: int
    first: int
    last: int
    reason: str
    attempts: int
    solved: bool
    stopped: bool = False


@dataclass(frozen=True)
class Window:
    """Consecutive samples of a clip, drawn together.

    Attributes:
        first, last: generated samples first .. last - 1.
        codes, waveform: (last - first,).
        previous: the sample of the waveform before the window; 0 at the beginning.
    """

    first: int
    last: int
    codes: Tensor
    waveform: Tensor
    previous: float = 0.0


class DegenerationDetector:
    """Detector of degeneration in one clip.

    Args:
        checkpoint: whose model generates the clip.
        conditioning: of this clip alone.
        prompt: (T,) int64 codes.
        config: the limits.
    """

    def __init__(
        self,
        checkpoint: Checkpoint,
        conditioning: Conditioning,
        prompt: Tensor,
        config: GuardConfig,
    ):
        self.config = config
        self.window_samples = config.window_samples(checkpoint.sample_rate)
        self.silence_samples = round(config.silence_seconds * checkpoint.sample_rate)
        self._model = checkpoint.model
        self._bits = checkpoint.codec.bits
        self._conditioning = conditioning
        self._prompt = prompt
        self._expected = expected_reasons(checkpoint.config.window_statistics)
        self._model_config, self._sample_rate = checkpoint.config.model, checkpoint.sample_rate
        mel = (c for c in self._model_config.locals if isinstance(c, MelCondition))
        self._mel = next(mel, None)

    @property
    def history_windows(self) -> int:
        """Length of the history, in windows, that `check` may read."""
        longest = max(self.silence_samples, self.window_samples + self._context)
        return -(-longest // self.window_samples) + 2

    def check(self, history: Sequence[Window], attempts_exhausted: bool = False) -> str | None:
        """Return the kind of degeneration of the newest window, or None.

        A clip shorter than one window is accepted.

        Args:
            history: the last `history_windows` windows, or all.
            attempts_exhausted: all attempts failed before. A loud and rough window then counts as
                noise without its surprise.
        """
        waveforms = [window.waveform for window in history]
        newest = last_samples(waveforms, self.window_samples)
        if newest.numel() < self.window_samples:
            return None
        reason = self._find_reason(history, waveforms, newest, attempts_exhausted)
        return None if reason in self._expected else reason

    def _find_reason(
        self,
        history: Sequence[Window],
        waveforms: Sequence[Tensor],
        newest: Tensor,
        attempts_exhausted: bool,
    ) -> str | None:
        """Return the kind of degeneration; None if the window matches its request."""
        lowest, highest = newest.aminmax()
        low, high = float(lowest), float(highest)
        silence_span = 2 * self.config.silence_peak
        if high - low <= silence_span:
            clip = last_samples(waveforms, self.silence_samples)
            is_silent = clip.numel() >= self.silence_samples and peak_to_peak(clip) <= silence_span
            return SILENCE if is_silent and not self._is_requested(newest, history) else None
        if max(high, -low) < self.config.noise_rms:  # the RMS is then below, too
            return None
        rms = math.sqrt(float(newest @ newest) / self.window_samples)
        if is_saturated(newest, rms, self.config):
            return None if self._is_requested(newest, history) else SATURATED
        if is_rough(newest, rms, self.config) and NOISE not in self._expected:
            if self._is_requested(newest, history):
                return None
            if attempts_exhausted:
                return NOISE
            bits = float(self.surprise(history).double().mean())
            return NOISE if bits >= self.config.noise_fraction * self._bits else None
        return None

    @cached_property
    def _requested(self) -> Tensor:
        """The mel frames of the request: (F, n_mels), scaled. Only for a model with mel."""
        frames = self._conditioning.frame_features[0].cpu()
        samples = int(self._conditioning.total_samples[0])
        return select_mel(self._model_config, frames, samples)[1]

    def _is_requested(self, newest: Tensor, history: Sequence[Window]) -> bool:
        """Return whether the mel frames of the newest window are near those of the request."""
        if self._mel is None:
            return False
        begin = self._prompt.numel() + history[-1].last - newest.numel()
        hop = self._model_config.condition_hop
        found = compute_condition_frames(self._mel, newest, self._sample_rate, hop)
        at = torch.arange(found.shape[0]) * hop
        # the analysis window of the other frames reaches beyond these samples
        half = self._mel.win_length // 2
        inside = (at >= half) & (at + half <= newest.numel())
        index = ((begin + at + hop // 2) // hop).clamp(max=len(self._requested) - 1)
        if bool(inside.any()):
            found, index = found[inside], index[inside]
        floor = (MEL_FLOOR_DB - MEL_MIDDLE) / MEL_SPAN
        difference = found.clamp(min=floor) - self._requested[index].clamp(min=floor)
        return float(difference.abs().mean()) * MEL_SPAN <= MAX_MEL_DIFFERENCE_DB

    @torch.no_grad()
    def surprise(self, history: Sequence[Window]) -> Tensor:
        """Compute the bits of each sample of the newest window, float32."""
        prompt, parts = self._prompt, [window.codes for window in history]
        end = prompt.numel() + history[0].first + sum(part.numel() for part in parts)
        if history[0].first == 0:
            parts = [prompt.cpu(), *parts]
        codes = last_samples(parts, self.window_samples + self._context)
        start = torch.tensor([end - codes.numel()], device=prompt.device)
        codes = codes[None].to(prompt.device)
        params = self._model(codes, self._conditioning, start)
        nats = -self._model.distribution.log_prob(params, codes)[0, -self.window_samples :]
        return nats.float().cpu() / math.log(2)

    @property
    def _context(self) -> int:
        """Number of samples before a window that are used to compute its surprise.

        For an unlimited receptive field, this is the length of the silence check. That is an
        approximation, sufficient to distinguish noise and sound.
        """
        return self._model.receptive_field or self.silence_samples


def expected_reasons(statistics: WindowStatistics | None) -> frozenset[str]:
    """Return the reasons that were frequent in the training."""
    if statistics is None:
        return frozenset()
    limits = {
        NOISE: statistics.noisy >= EXPECTED_NOISY,
        SATURATED: statistics.saturated >= EXPECTED_SATURATED,
        SILENCE: statistics.silent >= EXPECTED_SILENT,
    }
    return frozenset(reason for reason, is_frequent in limits.items() if is_frequent)


def measure_windows(
    waveforms: Iterable[Tensor], sample_rate: int, config: GuardConfig
) -> WindowStatistics | None:
    """Compute the fractions of the windows of recordings that are noisy, saturated or silent.

    Returns:
        None if all recordings are shorter than a window.
    """
    counts, total = {NOISE: 0, SATURATED: 0, SILENCE: 0}, 0
    size = config.window_samples(sample_rate)
    for waveform in waveforms:
        for window in waveform.split(size):
            if window.numel() < size:
                continue
            total += 1
            rms = float(window.square().mean().sqrt())
            counts[SILENCE] += peak_to_peak(window) <= 2 * config.silence_peak
            counts[SATURATED] += is_saturated(window, rms, config)
            counts[NOISE] += is_rough(window, rms, config)
    if not total:
        return None
    noisy, saturated, silent = (
        round(counts[reason] / total, 4) for reason in (NOISE, SATURATED, SILENCE)
    )
    return WindowStatistics(noisy=noisy, saturated=saturated, silent=silent)


def peak_to_peak(waveform: Tensor) -> float:
    """Return the difference of the highest and the lowest sample."""
    low, high = waveform.aminmax()
    return float(high) - float(low)


def is_saturated(waveform: Tensor, rms: float, config: GuardConfig) -> bool:
    """Return whether a waveform is loud with many samples near full scale."""
    if rms < config.saturated_rms:
        return False
    extreme = float((waveform.abs() >= EXTREME_AMPLITUDE).float().mean())
    return extreme >= config.saturated_fraction


def is_rough(waveform: Tensor, rms: float, config: GuardConfig) -> bool:
    """Return whether a waveform may be white noise: loud and rough."""
    if rms < config.noise_rms:
        return False
    return float(waveform.diff().square().mean()) >= 2 * config.noise_roughness * rms**2


def last_samples(parts: Sequence[Tensor], samples: int) -> Tensor:
    """Return the last samples of a sequence of tensors: (samples or fewer,)."""
    first, length = len(parts), 0
    while first and length < samples:
        first -= 1
        length += parts[first].numel()
    needed = parts[first:]
    joined = needed[0] if len(needed) == 1 else torch.cat(list(needed))
    return joined[-samples:]
