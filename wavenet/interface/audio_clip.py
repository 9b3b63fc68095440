"""A generated clip, as the public Python interface returns it.

Input: the checkpoint, the request and the result of a generation. Output: samples as a numpy array,
their surprise, a file, sound, or a player in a notebook. Created by `loaded_model`.
"""

import base64
import html
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import accumulate
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from audio_utils import io, playback
from audio_utils.atomic_files import os_error_reason
from audio_utils.errors import AudioError
from wavenet.checkpoint import Checkpoint
from wavenet.generation.generate import GeneratedClip
from wavenet.generation.request import GenerationRequest, with_defaults
from wavenet.interface.argument_checks import check_path
from wavenet.likelihood.score import score_clip
from wavenet.model.conditioning import ConditionValue
from wavenet.speech.spoken_times import TimedSentence, time_sentence
from wavenet.speech.voice import SentencePlan, Voice


@dataclass(frozen=True, eq=False, repr=False)
class AudioClip:
    """A generated clip.

    Attributes:
        waveform: (T,) float32 in [-1, 1]; begins with the prompt, if there is one and it is kept.
        sample_rate: Hz.
        conditions: the values that generated it, by name; also those that the model added.
        seed: the same seed and precision generate the same clip.
        precision: of the weights: "fp32", "bf16" or "int8".
        sentences: of speech (`Model.speak`), with the times of their words and phones.
        notices: what was left out of the text of speech, such as emoji.
    """

    waveform: NDArray[np.float32]
    sample_rate: int
    conditions: Mapping[str, ConditionValue]
    seed: int
    precision: str
    _checkpoint: Checkpoint
    _parts: tuple[tuple[GenerationRequest, GeneratedClip], ...]
    sentences: tuple[TimedSentence, ...] = ()
    notices: tuple[str, ...] = ()

    @property
    def seconds(self) -> float:
        """Duration of the waveform."""
        return len(self.waveform) / self.sample_rate

    @cached_property
    def surprise(self) -> NDArray[np.float32]:
        """Bits of every generated sample under the model, (samples without prompt,).

        Computed at the first access, by one pass through the model. Of a clip that was filtered
        (`Model.vocode`), these are the bits of the samples before the filter.
        """
        return np.concatenate([self._compute_surprise(*part) for part in self._parts])

    def _compute_surprise(
        self, request: GenerationRequest, clip: GeneratedClip
    ) -> NDArray[np.float32]:
        score = score_clip(
            self._checkpoint,
            clip.waveform,
            clip.codes,
            request.prompt,
            request.conditions,
            request.frame_features,
        )
        return score.surprise[-clip.codes.numel() :].numpy()

    @property
    def bits_per_sample(self) -> float:
        """Mean surprise of the generated samples; lower is more likely."""
        return float(self.surprise.mean(dtype=np.float64))

    def save(self, path: str | Path, overwrite: bool = True) -> Path:
        """Write the clip to a file completely or not at all, and return the path.

        Args:
            path: ends in .wav, .flac, .ogg or .mp3; its folder is created if necessary.
            overwrite: whether an existing file may be replaced.
        Raises:
            AudioError: the file cannot be written.
        """
        path = Path(check_path("the name of the file", path))
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise AudioError(f"cannot create {path.parent}: {os_error_reason(error)}") from None
        io.write(path, self.waveform, self.sample_rate, replace=overwrite)
        return path

    def play(self) -> None:
        """Play the clip to its end through this machine's sound device.

        Raises:
            AudioError: there is no player or no sound device.
        """
        playback.play(torch.from_numpy(self.waveform), self.sample_rate)

    def __repr__(self) -> str:
        values = ", ".join(f"{name}={value}" for name, value in self.conditions.items())
        return f"<AudioClip {self.seconds:.2f} s at {self.sample_rate} Hz, seed {self.seed}" + (
            f", {values}>" if values else ">"
        )

    def _repr_html_(self) -> str:
        """Return a player for a notebook; it contains the audio and loads nothing."""
        audio = base64.b64encode(io.encode_wav(self.waveform, self.sample_rate)).decode("ascii")
        return (
            f'<audio controls src="data:audio/wav;base64,{audio}"></audio>'
            f"<div>{html.escape(repr(self)[1:-1])}</div>"
        )


def make_clip(
    checkpoint: Checkpoint,
    request: GenerationRequest,
    generated: GeneratedClip,
    keep_prompt: bool = True,
    waveform: torch.Tensor | None = None,
) -> AudioClip:
    """Join the parts of a result.

    Args:
        keep_prompt: whether the waveform begins with the prompt.
        waveform: (T,) in place of the generated one, such as a filtered one.
    """
    samples = generated.waveform.cpu() if waveform is None else waveform
    if request.prompt is not None and keep_prompt:
        samples = torch.cat([request.prompt, samples])
    facts: dict[str, Any] = {
        "conditions": with_defaults(request, checkpoint.config.model).conditions,
        "seed": request.seed,
        "precision": generated.precision,
    }
    return AudioClip(
        samples.float().numpy(),
        checkpoint.sample_rate,
        **facts,
        _checkpoint=checkpoint,
        _parts=((request, generated),),
    )


def make_spoken_clip(
    voice: Voice,
    parts: Sequence[tuple[GenerationRequest, GeneratedClip]],
    plans: Sequence[SentencePlan],
    notices: Sequence[str],
) -> AudioClip:
    """Join the sentences of a text.

    Args:
        voice: that speaks.
        parts: request and result of each sentence.
        plans: of the same sentences.
        notices: what was left out of the text.
    """
    rate = voice.sample_rate
    ends = list(accumulate(clip.waveform.numel() / rate for _, clip in parts))
    sounds = [
        sound
        for plan, (_, clip) in zip(plans, parts, strict=True)
        for sound in voice.match(plan, [clip.waveform.cpu().float()])
    ]
    return AudioClip(
        torch.cat(sounds).numpy(),
        rate,
        conditions={},
        seed=parts[0][0].seed,
        precision=parts[0][1].precision,
        _checkpoint=voice.vocoder,
        _parts=tuple(parts),
        sentences=tuple(map(time_sentence, plans, [0.0, *ends], ends)),
        notices=tuple(notices),
    )
