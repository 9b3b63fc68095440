"""Pre-emphasis: the first-order high-pass filter e_t = x_t - p x_(t-1), and its inverse.

Speech has little energy at high frequencies. A codec that quantises the emphasised signal adds
noise of about equal power at all frequencies; the inverse filter makes this noise weak where speech
is weak, so it is heard less. Both directions may begin anywhere in a clip, given the sample before.
Called by `wavenet.codec`.

Source: Valin and Skoglund 2019, "LPCNet", section 3.4.
"""

import numpy as np
import torch
from scipy.signal import lfilter
from torch import Tensor


def apply_pre_emphasis(
    waveform: Tensor, coefficient: float, previous: Tensor | float = 0.0
) -> Tensor:
    """Return e_t = x_t - p x_(t-1), limited to [-1, 1].

    Args:
        waveform: (..., T) in [-1, 1].
        coefficient: p, 0 to below 1.
        previous: (...), the sample before the first one.
    Returns:
        (..., T), float32 or float64. |e| can only exceed 1 in very loud high frequencies.
    """
    waveform = waveform.to(torch.promote_types(waveform.dtype, torch.float32))
    before = torch.as_tensor(previous, dtype=waveform.dtype, device=waveform.device)
    before = before.expand(waveform.shape[:-1])[..., None]
    delayed = torch.cat([before, waveform[..., :-1]], dim=-1)
    return (waveform - coefficient * delayed[..., : waveform.shape[-1]]).clamp(-1, 1)


def remove_pre_emphasis(
    emphasised: Tensor, coefficient: float, previous: Tensor | float = 0.0
) -> Tensor:
    """Return y_t = e_t + p y_(t-1), limited to [-1, 1] sample by sample.

    The samples are computed in order, so a clip filtered in parts, each with the last sample of the
    part before, equals the clip filtered at once, bit for bit.

    Args:
        emphasised: (..., T) in [-1, 1].
        coefficient: p, 0 to below 1.
        previous: (...), the result before the first sample.
    Returns:
        (..., T) float32.
    """
    values = emphasised.detach().cpu().numpy().astype(np.float32)
    if not values.size:
        return emphasised.float()
    rows = values.reshape(-1, values.shape[-1])
    before = np.broadcast_to(np.asarray(previous, np.float32), values.shape[:-1]).reshape(-1)
    found = [_filter_row(*pair, np.float32(coefficient)) for pair in zip(rows, before, strict=True)]
    result = torch.from_numpy(np.stack(found).reshape(values.shape))
    return result.to(emphasised.device)


def _filter_row(row: np.ndarray, previous: np.float32, p: np.float32) -> np.ndarray:
    """Return a row (T,) after the inverse filter."""
    one = np.float32(1)
    filtered, _ = lfilter([one], [one, -p], row, zi=[p * previous])
    if np.abs(filtered).max() <= 1:
        return np.asarray(filtered)
    # Rare: the limit changes all samples after it, so they are computed one by one.
    first = int(np.argmax(np.abs(filtered) > 1))
    for n in range(first, len(row)):
        before = filtered[n - 1] if n else previous
        filtered[n] = min(one, max(-one, row[n] + p * before))
    return np.asarray(filtered)
