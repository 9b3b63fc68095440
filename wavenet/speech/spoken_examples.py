"""Examples for the training of an acoustic model, from aligned recordings.

Input: a recording, its sentences and the times of its phones. Output: tokens, their durations in
frames, their F0 and energy, and the mel frames. Silence at both ends is shortened. Called by the
training of voices.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from audio_utils.features import f0
from wavenet.errors import DataError
from wavenet.model.frame_features import compute_condition_frames
from wavenet.speech.acoustic_model import AcousticConfig
from wavenet.speech.phones import Pause
from wavenet.speech.text_to_phones import SpokenSentence
from wavenet.speech.tokens import (
    GAP,
    PAUSES,
    START,
    Token,
    encode_tokens,
    end_symbol,
    word_tokens,
)

Times = Sequence[tuple[float, float]]  # start and end of each phone of a word, s
SHORTEST_GAP = 0.03  # s; a shorter silence between words belongs to the phone before it
LONGEST_START, LONGEST_END = 0.1, 0.2  # s
F0_MIN, F0_MAX = 65.0, 500.0  # Hz


@dataclass(frozen=True)
class SpokenExample:
    """A recording as an acoustic model reads it.

    Attributes:
        clip: its name.
        speaker: index of the speaker.
        tokens: (N, 4) int64, of `encode_tokens`.
        durations: (N,) int64 frames.
        f0: (N,) mean log F0 of the voiced frames, Hz; interpolated where there are none.
        is_voiced: (N,) bool, whether F0 was measured.
        energy: (N,) mean of the frames.
        frames: (F, bands) float32, scaled; F is the sum of the durations.
        start: number of frames of the recording before them.
    """

    clip: str
    speaker: int
    tokens: Tensor
    durations: Tensor
    f0: Tensor
    is_voiced: Tensor
    energy: Tensor
    frames: Tensor
    start: int = 0

    def with_frames(self, frames: Tensor) -> "SpokenExample":
        """Return the example with other frames."""
        return replace(self, frames=frames)


def place_tokens(
    sentences: Sequence[SpokenSentence], times: Sequence[Times], seconds: float
) -> tuple[list[Token], list[float]]:
    """Return the tokens of a recording and the time at which each ends, s.

    Args:
        sentences: of its text.
        times: of the phones, word by word.
        seconds: duration of the recording.
    Raises:
        DataError: the words of the sentences are not those of the times.
    """
    words = [(word, sentence) for sentence in sentences for word in sentence.read_words]
    if [len(word.phones) for word, _ in words] != [len(word) for word in times]:
        raise DataError(
            f"the alignment has {len(times)} words with other phones than the {len(words)} words "
            "of the text; align the recording again"
        )
    tokens, ends = [Token(START)], [times[0][0][0] if times else 0.0]
    for n, ((word, sentence), phones) in enumerate(zip(words, times, strict=True)):
        tokens += word_tokens(word.phones, n)
        ends += [end for _, end in phones]
        is_last = n == len(words) - 1
        following = seconds if is_last else times[n + 1][0][0]
        if is_last or words[n + 1][1] is not sentence:
            tokens.append(Token(end_symbol(sentence)))
            ends.append(following)
        elif word.pause != Pause.NONE:
            tokens.append(Token(PAUSES[word.pause]))
            ends.append(following)
        elif following - ends[-1] >= SHORTEST_GAP:
            tokens.append(Token(GAP))
            ends.append(following)
        else:
            ends[-1] = following
    return tokens, ends


def make_example(
    config: AcousticConfig,
    clip: str,
    speaker: int,
    waveform: Tensor,
    sentences: Sequence[SpokenSentence],
    times: Sequence[Times],
) -> SpokenExample:
    """Compute the example of a recording.

    Args:
        config: of the acoustic model.
        clip: its name; speaker: its index.
        waveform: (T,) float32 in [-1, 1], at the rate of the model.
        sentences, times: as in `place_tokens`.
    Raises:
        DataError: the words of the sentences are not those of the times.
    """
    frames = compute_condition_frames(config.mel, waveform, config.sample_rate, config.hop)
    tokens, ends = place_tokens(sentences, times, waveform.numel() / config.sample_rate)
    bounds = [min(len(frames), round(end * config.frames_per_second)) for end in ends]
    bounds[-1] = len(frames)
    first = max(0, bounds[0] - round(LONGEST_START * config.frames_per_second))
    last = min(len(frames), bounds[-2] + round(LONGEST_END * config.frames_per_second))
    bounds = [first, *bounds[:-1], last]
    durations = torch.tensor(bounds).diff().clamp(min=0)
    hertz = f0(waveform, config.sample_rate, config.hop, F0_MIN, F0_MAX)[first:last]
    frames = frames[first:last]
    owners = torch.repeat_interleave(torch.arange(len(tokens)), durations)
    pitch, is_voiced = _mean_log_f0(hertz, owners, len(tokens))
    sums = torch.zeros(len(tokens)).index_add_(0, owners, frames.mean(1))
    return SpokenExample(
        clip,
        speaker,
        encode_tokens(tokens),
        durations,
        pitch,
        is_voiced,
        sums / durations.clamp(min=1),
        frames,
        first,
    )


def _mean_log_f0(hertz: Tensor, owners: Tensor, count: int) -> tuple[Tensor, Tensor]:
    """Return the mean log F0 of each token, interpolated, and whether it was measured.

    Args:
        hertz: (F,), 0 where unvoiced; owners: (F,) the token of each frame.
        count: number of tokens.
    """
    voiced = hertz > 0
    logs = hertz.clamp(min=1).log() * voiced
    counts = torch.zeros(count).index_add_(0, owners, voiced.float())
    sums = torch.zeros(count).index_add_(0, owners, logs)
    measured = counts > 0
    if not bool(measured.any()):
        return torch.zeros(count), measured
    known = measured.nonzero()[:, 0].numpy()
    means = (sums[measured] / counts[measured]).numpy()
    filled = np.interp(np.arange(count), known, means)
    return torch.from_numpy(filled).float(), measured
