"""Filter a vocoder's output until it has the mel frames of its request.

A clip and its frames enter, a waveform leaves (`audio_utils.mel_matching`). A drawn clip is noisier
than its frames, most of all from a model that is not fully trained. The filter removes what the
frames do not have, and keeps the voice.
"""

from torch import Tensor

from audio_utils.mel_matching import DEFAULT_ITERATIONS, match_mel
from wavenet.checkpoint import Checkpoint
from wavenet.model.frame_features import mel_energies, mel_settings, select_mel


def match_request_mel(
    checkpoint: Checkpoint,
    waveform: Tensor,
    frame_features: Tensor,
    iterations: int = DEFAULT_ITERATIONS,
) -> Tensor:
    """Filter one clip.

    Args:
        waveform: (T,) float32, what the model generated from the frames.
        frame_features: (F, columns) of all local conditions.
        iterations: of the filter; 0 changes nothing.
    Returns:
        (T,) float32; peaks may exceed +-1.
    Raises:
        ConditionError: the checkpoint has no mel condition.
    """
    config = checkpoint.config.model
    condition, frames = select_mel(config, frame_features, waveform.numel())
    settings = mel_settings(condition, checkpoint.sample_rate, config.condition_hop)
    return match_mel(waveform, mel_energies(frames), settings, iterations)
