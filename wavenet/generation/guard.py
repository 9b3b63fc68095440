"""Notice that a clip has run away: into saturated or white noise, or into dead silence for good.

The newest stretches of a clip enter, one phrase or nothing leaves. Called by `stretches`, which
goes back and draws with other noise. Nothing here draws, and the engine is not asked: whether loud
noise is more than a loud hiss is told by the model's parallel forward, and only where the level
makes it a question.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from wavenet.checkpoint import Checkpoint
from wavenet.errors import ConfigError
from wavenet.model.conditioning import Conditioning

SATURATED, NOISE, SILENCE = "saturated noise", "white noise", "dead silence"
EXTREME_AMPLITUDE = (
    0.95  # of full scale, either sign: codes 0, 1, 254 and 255 of the alphabet of 8 bits
)


@dataclass(frozen=True)
class Guard:
    """When a clip counts as run away, and how often it is drawn again.

    For comparison the recordings of spoken digits, 10,936 windows of 0.1 s: RMS up to 0.35, up to
    0.4 % of a window beyond the extreme amplitude, rough windows of up to 0.79 of 8 bits, dead
    silence of up to 0.03 s (and nothing above 1e-3 for up to 1.7 s, which is not dead).

    Attributes:
        window: s, how often a clip is looked at, counted from its first generated sample. What is
            heard lags one window behind what is made.
        attempts: 0 or more, with other noise before it goes on as it is; 0 only reports.
        saturated_rms, saturated_share: RMS of a window and its share of extreme samples, from
            which it is saturated. A sine at full scale has 0.71 and 0.20.
        noise_rms, noise_roughness: RMS of a window and the mean square of its steps over twice its
            mean square (white noise 1, a slow wave 0), from which its surprise is computed. One in
            230 of those windows gets there.
        noise_share: of the bits of a code, from which that surprise is white noise.
        silence_seconds, silence_peak: a span of at most twice the peak for so long is dead silence,
            at whatever offset. 1e-4 is the pair of codes around zero of 8 bits. What was heard of
            it stays, so only a model that begins again by itself now and then is brought back.
    Raises:
        ConfigError: a limit out of range.
    """

    window: float = 0.1
    attempts: int = 3
    saturated_rms: float = 0.6
    saturated_share: float = 0.3
    noise_rms: float = 0.1
    noise_roughness: float = 0.5
    noise_share: float = 0.85
    silence_seconds: float = 1.5
    silence_peak: float = 1e-4

    def __post_init__(self) -> None:
        if not (0 < self.window < math.inf and self.window <= self.silence_seconds):
            raise ConfigError(
                "the guard's window must be above 0 s and at most silence_seconds, "
                f"{self.silence_seconds:g}; found {self.window:g}"
            )
        if self.noise_rms > self.saturated_rms:
            raise ConfigError(
                "what is saturated must be loud: the guard's saturated_rms must be noise_rms, "
                f"{self.noise_rms:g}, or more; found {self.saturated_rms:g}"
            )
        if self.attempts < 0:
            raise ConfigError(f"the guard's attempts must be 0 or more, found {self.attempts}")

    def samples(self, rate: int) -> int:
        """Give the length of a window at a rate in Hz."""
        return max(1, round(self.window * rate))


@dataclass(frozen=True)
class Retry:
    """What was drawn again.

    Attributes:
        item: its index among the items.
        first, last: samples first .. last - 1 were, counted as generated.
        reason: `SATURATED`, `NOISE` or `SILENCE`.
        attempts: with other noise.
        solved: whether the last of them was fine; if not, the clip goes on as it is and is let be
            until it is fine by itself.
    """

    item: int
    first: int
    last: int
    reason: str
    attempts: int
    solved: bool


@dataclass(frozen=True)
class Window:
    """Some samples of a clip.

    Attributes:
        first, last: generated samples first .. last - 1.
        codes, waveform: (last - first,).
    """

    first: int
    last: int
    codes: Tensor
    waveform: Tensor


class DegenerationDetector:
    """Looks at the newest window of a clip.

    Args:
        checkpoint: of which the clip is made.
        conditioning: of this clip alone.
        prompt: (T,) int64 codes.
        guard: the limits.
    """

    def __init__(
        self,
        checkpoint: Checkpoint,
        conditioning: Conditioning,
        prompt: Tensor,
        guard: Guard,
    ):
        rate = checkpoint.config.audio.sample_rate
        self.guard = guard
        self.window = guard.samples(rate)
        self.silence = round(guard.silence_seconds * rate)
        self._model = checkpoint.model
        self._bits = checkpoint.config.codec.bits
        self._conditioning = conditioning
        self._prompt = prompt

    @property
    def depth(self) -> int:
        """Count the stretches that `fault` looks back on, one to spare."""
        longest = max(self.silence, self.window + self._model.receptive_field)
        return -(-longest // self.window) + 2

    def fault(self, line: Sequence[Window], lost: bool = False) -> str | None:
        """Say what is wrong at the end of a line of stretches, the last `depth` ones.

        A clip that is not yet a window long is fine. One that was lost before
        is so while it is as loud and rough as noise: its surprise is not worth computing.
        """
        parts = [stretch.waveform for stretch in line]
        newest = last_samples(parts, self.window)
        if newest.numel() < self.window:
            return None
        lowest, highest = newest.aminmax()
        low, high = float(lowest), float(highest)
        if high - low <= 2 * self.guard.silence_peak:
            clip = last_samples(parts, self.silence)
            lasted = (
                clip.numel() >= self.silence and peak_to_peak(clip) <= 2 * self.guard.silence_peak
            )
            return SILENCE if lasted else None
        if max(high, -low) < self.guard.noise_rms:  # then so is the RMS; most windows are
            return None
        rms = math.sqrt(float(newest @ newest) / self.window)
        if is_saturated(newest, rms, self.guard):
            return SATURATED
        if is_rough(newest, rms, self.guard):
            if lost:
                return NOISE
            bits = float(self.surprise(line).double().mean())
            return NOISE if bits >= self.guard.noise_share * self._bits else None
        return None

    @torch.no_grad()
    def surprise(self, line: Sequence[Window]) -> Tensor:
        """Give the bits of each sample of the newest window, (window,) float32."""
        prompt, parts = self._prompt, [stretch.codes for stretch in line]
        end = prompt.numel() + line[0].first + sum(part.numel() for part in parts)
        if line[0].first == 0:
            parts = [prompt.cpu(), *parts]
        codes = last_samples(parts, self.window + self._model.receptive_field)
        start = torch.tensor([end - codes.numel()], device=prompt.device)
        given = codes[None].to(prompt.device)
        params = self._model(given, self._conditioning, start)
        nats = -self._model.distribution.log_prob(params, given)[0, -self.window :]
        return nats.float().cpu() / math.log(2)


def peak_to_peak(waveform: Tensor) -> float:
    """Give how far apart the lowest and the highest sample are."""
    low, high = waveform.aminmax()
    return float(high) - float(low)


def is_saturated(waveform: Tensor, rms: float, guard: Guard) -> bool:
    """Tell whether a waveform is loud and much of it at the ends of the alphabet."""
    if rms < guard.saturated_rms:
        return False
    return float((waveform.abs() >= EXTREME_AMPLITUDE).float().mean()) >= guard.saturated_share


def is_rough(waveform: Tensor, rms: float, guard: Guard) -> bool:
    """Tell whether a waveform is so loud and so rough that it may be white noise."""
    if rms < guard.noise_rms:
        return False
    return float(waveform.diff().square().mean()) >= 2 * guard.noise_roughness * rms**2


def last_samples(parts: Sequence[Tensor], samples: int) -> Tensor:
    """Join as many of the last parts as hold so many samples: (samples or fewer,)."""
    wanted, held = len(parts), 0
    while wanted and held < samples:
        wanted -= 1
        held += parts[wanted].numel()
    needed = parts[wanted:]
    joined = needed[0] if len(needed) == 1 else torch.cat(list(needed))
    return joined[-samples:]
