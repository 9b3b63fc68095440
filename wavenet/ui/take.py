"""The clips of a job as far as they are made: what is heard now, what is shown in the end."""

import time
from collections.abc import Iterator

import torch
from torch import Tensor

from wavenet.generation.guard import Retry
from wavenet.generation.mel_filter import match_request_mel
from wavenet.generation.request import with_defaults
from wavenet.likelihood.score import score_clip
from wavenet.ui.jobs import Job


class Take:
    """See the module.

    Attributes:
        worked: seconds the model took so far; neither the page nor the prompt, which is given,
            counts.
        rescues: what the guard had drawn again, with the number of the clip.
    """

    def __init__(self, job: Job) -> None:
        self.job = job
        self.worked = 0.0
        self.rescues: list[Retry] = []
        self._made = 0
        self._waveforms: list[list[Tensor]] = [[job.opening] for _ in job.items]
        self._codes: list[list[Tensor]] = [[] for _ in job.items]

    def play(self) -> Iterator[Tensor]:
        """Make all clips; the sound of the first leaves piece by piece."""
        chunks = self.job.start()
        if self.job.opening.numel():
            yield self.job.opening
        while True:
            began = time.perf_counter()
            chunk = next(chunks, None)
            self.worked += time.perf_counter() - began
            if chunk is None:
                return
            self.rescues += chunk.retries
            for n, waveform in enumerate(chunk.waveforms):
                self._waveforms[n].append(waveform.cpu())
                self._codes[n].append(chunk.codes[n].cpu())
            self._made += chunk.waveforms[0].numel()
            yield chunk.waveforms[0].cpu()

    @property
    def speed(self) -> float:
        """Seconds of audio made of the first clip per second of work: times real time."""
        return self._made / self.job.rate / max(self.worked, 1e-9)

    def waveform(self, n: int = 0) -> Tensor:
        """Give a clip as it is heard, (T,), after the opening."""
        return torch.cat(self._waveforms[n])

    def bits(self) -> Tensor:
        """Score every sample of the first clip as it is heard, (T,), by the model that made it."""
        item = with_defaults(self.job.items[0], self.job.checkpoint.config.model)
        clip = self.waveform()[self.job.opening.numel() :]
        codes = torch.cat(self._codes[0])
        checkpoint = self.job.checkpoint
        score = score_clip(
            checkpoint, clip, codes, item.prompt, item.conditions, item.frame_features
        )
        return score.bits[-self.job.samples :]


def match(job: Job, waveform: Tensor) -> Tensor | None:
    """Filter a clip (T,) until it has the mel frames that it was made from; None without such."""
    local, conditions = job.items[0].frame_features, job.checkpoint.config.model.locals
    if local is None or all(condition.kind != "mel" for condition in conditions):
        return None
    return match_request_mel(job.checkpoint, waveform, local).clamp(-1, 1)
