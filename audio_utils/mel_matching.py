"""Mel matching: filter a waveform a few times, so that its mel spectrogram approaches a given one.

Input: an approximate waveform, such as the output of a vocoder, and target mel energies. Output:
the waveform with its own harmonics, noise and phases, and almost the target spectral envelope.
Nothing is trained, and no reference waveform is used. Called by generation from mel frames and by
the evaluation of vocoders.

The filter works on any input: filtered white noise is whispered speech, and metrics of the spectral
envelope, including PESQ, rate it highly. A filtered vocoder must therefore be compared with noise
that is filtered in the same way.
"""

from collections.abc import Iterable, Iterator

import torch
import torch.nn.functional as F
from torch import Tensor

from audio_utils.errors import AudioError
from audio_utils.features import FLOOR_POWER, FeatureConfig, mel_filters, mel_spectrogram

DEFAULT_ITERATIONS = 8  # one is not enough: each frame's filter leaks into the adjacent frames
_BLOCK_HOPS = 8  # of a stream, at least
MAX_GAIN_DB = 15.0  # per iteration; a band without energy would need an unlimited gain


def match_mel(
    waveform: Tensor, target: Tensor, config: FeatureConfig, iterations: int = DEFAULT_ITERATIONS
) -> Tensor:
    """Filter a waveform to target mel energies, by one gain per frame and frequency.

    Args:
        waveform: (T,) float32 or float64, finite.
        target: (n_mels, 1 + T // hop_length), energies as returned by `mel_spectrogram`.
        config: settings of the target; the hop is at most half of the window.
        iterations: number of times to filter; 0 returns the waveform unchanged.
    Returns:
        (T,) of the same dtype; peaks may exceed +-1.
    Raises:
        AudioError: the hop is too long, or the energies have another shape, are negative or not
            finite.
    """
    _check(waveform, target, config, iterations)
    window = torch.hann_window(config.win_length, dtype=waveform.dtype)
    filters = mel_filters(config).to(waveform)  # (n_mels, bins)
    bin_weight = filters.sum(0)
    # Each bin gets the weighted mean gain of its bands; a bin outside all bands is unchanged.
    bands_to_bins = torch.where(bin_weight > 0, filters / bin_weight.clamp(min=1e-12), 0.0).T
    target = target.to(waveform).clamp(min=FLOOR_POWER)
    samples, frames = len(waveform), target.shape[1]
    # Pad with further frames: samples that only the edge of one window covers are divided by
    # almost 0 in the overlap-add.
    waveform = F.pad(waveform, (0, -samples % config.hop_length + config.win_length))
    for _ in range(iterations):
        current = mel_spectrogram(waveform, config)[:, :frames].clamp(min=FLOOR_POWER)
        gains_db = (10 * (target / current).log10()).clamp(-MAX_GAIN_DB, MAX_GAIN_DB)
        gains_db = bands_to_bins @ gains_db  # (bins, frames)
        spectrum = torch.stft(
            waveform,
            config.n_fft,
            config.hop_length,
            config.win_length,
            window,
            center=True,
            pad_mode="constant",
            return_complex=True,
        )
        padding = gains_db[:, -1:].expand(-1, spectrum.shape[1] - frames)
        waveform = torch.istft(
            spectrum * 10 ** (torch.cat([gains_db, padding], dim=1) / 20),
            config.n_fft,
            config.hop_length,
            config.win_length,
            window,
            center=True,
            length=len(waveform),
        )
        waveform[samples:] = 0
    return waveform[:samples]


def match_mel_stream(
    chunks: Iterable[Tensor], target: Tensor, config: FeatureConfig, iterations: int = 1
) -> Iterator[Tensor]:
    """Filter a waveform as `match_mel` does, while it is generated.

    The samples are those of `match_mel`, up to rounding. They do not depend on the lengths of the
    chunks: all are filtered in equal blocks, because the rounding of a Fourier transform depends on
    the number of frames. Each sample waits for those that it depends on (one window, rounded up to
    hops, per iteration), and for its block.

    Args:
        chunks: (n,) each, in order.
        target, config, iterations: as in `match_mel`, of the whole waveform.
    Yields:
        Filtered samples, (n,) each, until all are filtered.
    Raises:
        AudioError: as `match_mel`.
    """
    hop = config.hop_length
    context = iterations * -(-config.win_length // hop) * hop
    kept = torch.empty(0)  # from the sample `start` on
    start = done = 0

    def match(end: int, ready: int) -> Tensor:
        frames = target[:, start // hop : 1 + end // hop]
        matched = match_mel(kept[: end - start], frames, config, iterations)
        return matched[done - start : ready - start]

    for block in _equal_blocks(chunks, max(context, _BLOCK_HOPS * hop)):
        kept = torch.cat([kept.to(block), block])
        end = (start + len(kept)) // hop * hop
        if end - context > done:
            yield match(end, end - context)
            done = end - context
            first = max(0, done - context)
            kept, start = kept[first - start :], first
    if start + len(kept) > done:
        yield match(start + len(kept), start + len(kept))


def _equal_blocks(chunks: Iterable[Tensor], size: int) -> Iterator[Tensor]:
    """Yield the samples of all chunks in blocks of one size; the last one may be shorter."""
    waiting: list[Tensor] = []
    length = 0
    for chunk in chunks:
        waiting.append(chunk)
        length += len(chunk)
        if length >= size:
            *blocks, rest = torch.cat(waiting).split(size)
            if len(rest) == size:
                blocks, rest = [*blocks, rest], rest[:0]
            yield from blocks
            waiting, length = [rest], len(rest)
    if length:
        yield torch.cat(waiting)


def _check(waveform: Tensor, target: Tensor, config: FeatureConfig, iterations: int) -> None:
    if 2 * config.hop_length > config.win_length:
        raise AudioError(
            f"hop_length {config.hop_length} must not exceed half of win_length "
            f"{config.win_length}: filtered frames must overlap."
        )
    if iterations < 0:
        raise AudioError(f"iterations must be at least 0, not {iterations}.")
    if waveform.ndim != 1 or not waveform.numel() or not bool(waveform.isfinite().all()):
        raise AudioError("Expected a waveform of shape (T,), finite, with at least one sample.")
    expected = (config.n_mels, 1 + len(waveform) // config.hop_length)
    if tuple(target.shape) != expected:
        raise AudioError(
            f"Expected energies of {expected[0]} filters x {expected[1]} frames for "
            f"{len(waveform):,} samples, got {' x '.join(map(str, target.shape))}."
        )
    if not bool(((target >= 0) & target.isfinite()).all()):
        raise AudioError("Expected finite energies of 0 or more; compute the spectrogram again.")
