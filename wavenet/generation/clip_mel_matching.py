"""Mel matching of a vocoder's clip to the mel frames of its request.

Input: a clip and its frame features. Output: a filtered waveform (`audio_utils.mel_matching`). The
mel frames of a drawn clip have more energy than those of the request, in particular with a poorly
trained model. The filter removes the surplus and keeps the voice. Called by the command line, the
studio and the evaluation.
"""

from torch import Tensor

from audio_utils.mel_matching import DEFAULT_ITERATIONS, match_mel
from wavenet.checkpoint import Checkpoint
from wavenet.model.frame_features import mel_energies, mel_settings, select_mel


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
