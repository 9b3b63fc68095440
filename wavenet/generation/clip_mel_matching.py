"""Mel matching of a vocoder's clip to the mel frames of its request.

Input: a clip and its frame features. Output: a filtered waveform (`audio_utils.mel_matching`). The
mel frames of a drawn clip have more energy than those of the request, in particular with a poorly
trained model. The filter removes the surplus and keeps the voice. Called by the command line, the
studio and the evaluation.
"""

from collections.abc import Iterable, Iterator

from torch import Tensor

from audio_utils.mel_matching import DEFAULT_ITERATIONS, match_mel, match_mel_stream
from wavenet.checkpoint import Checkpoint
from wavenet.errors import ConditionError
from wavenet.model.frame_features import mel_energies, mel_settings, select_mel


def choose_iterations(checkpoint: Checkpoint, iterations: int | None) -> int:
    """Return the number of filter passes, by default 0 without a mel condition.

    Raises:
        ConditionError: passes above 0, but the model is not conditioned on mel.
    """
    if any(condition.kind == "mel" for condition in checkpoint.config.model.locals):
        return DEFAULT_ITERATIONS if iterations is None else iterations
    if iterations:
        raise ConditionError(
            f"{checkpoint.folder} has no mel condition, which mel matching needs; omit "
            "--mel-matching-iterations (mel_matching_iterations in Python)"
        )
    return 0


def match_clip_mel(
    checkpoint: Checkpoint,
    waveform: Tensor,
    frame_features: Tensor,
    iterations: int = DEFAULT_ITERATIONS,
) -> Tensor:
    """Filter a clip until its mel frames are those of its request.

    Args:
        waveform: (T,) float32, generated from the frames.
        frame_features: (F, columns) of all local conditions.
        iterations: number of filter passes; with 0 the waveform is unchanged.
    Returns:
        (T,) float32; peaks may exceed +-1.
    Raises:
        ConditionError: the checkpoint has no mel condition.
    """
    config = checkpoint.config.model
    condition, frames = select_mel(config, frame_features, waveform.numel())
    settings = mel_settings(condition, checkpoint.sample_rate, config.condition_hop)
    return match_mel(waveform, mel_energies(frames), settings, iterations)


def match_clip_mel_stream(
    checkpoint: Checkpoint,
    chunks: Iterable[Tensor],
    frame_features: Tensor,
    samples: int,
    iterations: int,
) -> Iterator[Tensor]:
    """Filter a clip as `match_clip_mel` does, while it is generated.

    Args:
        chunks: (n,) float32 each, in order; `samples` in all.
        frame_features, iterations: as in `match_clip_mel`.
    Yields:
        (n,) float32; peaks may exceed +-1.
    """
    config = checkpoint.config.model
    condition, frames = select_mel(config, frame_features, samples)
    settings = mel_settings(condition, checkpoint.sample_rate, config.condition_hop)
    return match_mel_stream(chunks, mel_energies(frames), settings, iterations)
