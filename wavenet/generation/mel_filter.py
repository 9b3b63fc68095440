"""Filter what a vocoder made until it has the mel frames that it was asked for.

A clip and its frames enter, a waveform leaves (`audio_utils.matching`). What was drawn is noisier
than its frames, above all from a model that has not learnt long: the filter takes away what they do
not have, and keeps the voice.
"""

from torch import Tensor

from audio_utils.matching import ITERATIONS, match_mel
from wavenet.checkpoint import Checkpoint
from wavenet.model.frame_features import mel_energies, mel_settings, select_mel


def match_request_mel(
    checkpoint: Checkpoint, waveform: Tensor, local: Tensor, iterations: int = ITERATIONS
) -> Tensor:
    """Filter one clip.

    Args:
        waveform: (T,) float32, what the model made of the frames.
        local: (F, columns) of all local conditions.
        iterations: of the filter; 0 changes nothing.
    Returns:
        (T,) float32; peaks may pass +-1.
    Raises:
        ConditionError: the checkpoint is not conditioned on mel.
    """
    config, rate = checkpoint.config.model, checkpoint.config.audio.sample_rate
    condition, frames = select_mel(config, local, waveform.numel())
    settings = mel_settings(condition, rate, config.condition_hop)
    return match_mel(waveform, mel_energies(frames), settings, iterations)
