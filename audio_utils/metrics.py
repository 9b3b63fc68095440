"""Compare an estimate with its reference, sample by sample or as a listener might.

Enters: two waveforms (T,) at one rate. Leaves: one number; no time warping anywhere, so frame n
is compared with frame n. Callers: training reports, benchmarks, the command line. PESQ and STOI
need the extra `eval`; each package is imported in this file only, when it is asked for.
"""

import importlib.util
import math
import warnings

import soxr
import torch
from torch import Tensor

from audio_utils.decoding import MAX_RATE, MIN_RATE
from audio_utils.errors import AudioError
from audio_utils.features import FeatureConfig, mfcc, stft_magnitude

MCD_ORDER = 13
STFT_WINDOW_SECONDS = (0.010, 0.025, 0.050)
# That of the published code, as a power 1e-7: 100 to 120 dB below a full-scale sine at 24 kHz.
_STFT_FLOOR = 1e-7**0.5
_PESQ_RATE = 8000
_PESQ_MIN_SECONDS = 0.25
# pesq 0.0.4 has room for 50 utterances, does not check, and ends the process beyond. Each one with
# the pause after it takes 0.38 s or more, so that 18 s never hold 50.
_PESQ_MAX_SECONDS = 18.0
# 30 frames of 12.8 ms and the window of 25.6 ms.
_STOI_MIN_SECONDS = 0.42
# What pystoi returns, with a warning, where the reference is mostly pause.
_STOI_TOO_SHORT = 1e-5


def missing_packages() -> list[str]:
    """Name the packages of the extra `eval` that are not installed."""
    return [name for name in ("pesq", "pystoi") if importlib.util.find_spec(name) is None]


def snr(reference: Tensor, estimate: Tensor) -> float:
    """Return the signal-to-noise ratio; higher is better.

    10 log10(sum r² / sum (r - e)²). Blind to hearing: all errors count by their energy alone, a
    sign flip or a delay that nobody hears costs all, and loud parts outweigh quiet ones.

    Args:
        reference: (T,), float32 or float64, not silent.
        estimate: (T,).
    Returns:
        dB, any value: infinite where both are equal, 0 for silence, -6.02 for a sign flip.
    Raises:
        AudioError: an unusable pair, or a silent reference.
    Source: textbook definition, over the whole clip.
    """
    ratio = esr(reference, estimate)
    return math.inf if ratio == 0 else 0.0 - 10 * math.log10(ratio)


def esr(reference: Tensor, estimate: Tensor) -> float:
    """Return the error-to-signal ratio; lower is better.

    sum (r - e)² / sum r², without pre-emphasis; 10**(-snr / 10), and blind to the same.

    Args:
        reference: (T,), float32 or float64, not silent.
        estimate: (T,).
    Returns:
        0 or more: 0 where both are equal, 1 for silence, 4 for a sign flip.
    Raises:
        AudioError: an unusable pair, or a silent reference.
    Source: Wright et al. 2020, Real-time guitar amplifier emulation with deep learning.
    """
    reference, estimate = checked_pair(reference, estimate)
    error = (reference - estimate).square().sum() / reference.square().sum()
    return float(error)


def mel_cepstral_distance(reference: Tensor, estimate: Tensor, sample_rate: int) -> float:
    """Return the distance between spectral envelopes; lower is better.

    (10 sqrt(2) / ln 10) times the mean over frames of the Euclidean distance of the cepstra c1 to
    c13. There c belongs to the series ln A = c0 + sum c_k cos(k w) of an amplitude A. `mfcc` has
    a_k, the orthonormal DCT of 20 log10 A over M filters, so c_k = (ln 10 / 20) sqrt(2 / M) a_k,
    and the product is |a - a'| / sqrt(M): the RMS over filters, in dB, of the difference of the
    smoothed log spectra without their mean. Values of others compare only where their filters,
    order, constant and alignment are the same: the constant on librosa's MFCC as they are gives
    6.14 sqrt(M) times ours.

    Blind to level (c0 is left out), phase, and much of pitch and noisiness. It is not blind to
    delay: frames are aligned one to one, as for a vocoder. What is 80 dB below the loudest point
    of its clip counts as equal, so a silent frame has a flat spectrum.

    Args:
        reference: (T,), float32 or float64, not silent.
        estimate: (T,), not silent.
        sample_rate: Hz, 4,000 to 192,000; window, hop and filters are those of
            `FeatureConfig.default_for`.
    Returns:
        dB, 0 or more; 0 where both are equal or differ by a gain.
    Raises:
        AudioError: an unusable pair or rate, or silence.
    Source: Kubichek 1993, Mel-cepstral distance measure for objective speech quality assessment.
    """
    reference, estimate = checked_pair(reference, estimate, sample_rate)
    if not estimate.any():
        raise AudioError(
            "Expected an estimate that is not silent: silence has no spectral envelope; use "
            "another measure."
        )
    default = FeatureConfig.default_for(sample_rate)
    # At a peak of 1 both stay clear of the floor of mfcc, which does not follow the level.
    pair = torch.stack([to_peak(reference), to_peak(estimate)])
    cepstra = mfcc(pair, default)  # (2, n_mfcc, frames)
    difference = (cepstra[0] - cepstra[1])[1 : MCD_ORDER + 1]
    return float(difference.norm(dim=0).mean() / math.sqrt(default.n_mels))


def stft_distance(reference: Tensor, estimate: Tensor, sample_rate: int) -> float:
    """Return the multi-resolution distance between magnitude spectrograms; lower is better.

    For each of three Hann windows: spectral convergence |R - E| / |R| (Frobenius norms) plus the
    mean of |ln R - ln E|; then the mean of the three. Windows are 10, 25 and 50 ms with hops of a
    fifth, at 24 kHz those of the paper (but a hop of 48 for 50). One gain for both first brings
    the reference to a peak of 1; then magnitudes are floored at 3.2e-4.

    Blind to a sign flip and to most of phase, but not to level; the second term hears quiet and
    loud bins alike, so a faint hiss in pauses weighs much.

    Args:
        reference: (T,), float32 or float64, not silent.
        estimate: (T,).
        sample_rate: Hz, 4,000 to 192,000.
    Returns:
        0 or more, without unit: 0 where both are equal or differ in sign.
    Raises:
        AudioError: an unusable pair or rate, or a silent reference.
    Source: Yamamoto et al. 2020, Parallel WaveGAN, section 2.2.
    """
    reference, estimate = checked_pair(reference, estimate, sample_rate)
    pair = torch.stack([reference, estimate]) / reference.abs().max()
    total = 0.0
    for seconds in STFT_WINDOW_SECONDS:
        window = round(seconds * sample_rate)
        n_fft = 2 ** math.ceil(math.log2(window))
        config = FeatureConfig(sample_rate, n_fft, window, round(window / 5), n_mels=1, n_mfcc=1)
        of_reference, of_estimate = stft_magnitude(pair, config).clamp(min=_STFT_FLOOR)
        convergence = (of_reference - of_estimate).norm() / of_reference.norm()
        log_distance = (of_reference.log() - of_estimate.log()).abs().mean()
        total += float(convergence + log_distance)
    return total / len(STFT_WINDOW_SECONDS)


def pesq(reference: Tensor, estimate: Tensor, sample_rate: int) -> float:
    """Return the narrow-band PESQ of speech as a predicted mean opinion score; higher is better.

    Both are resampled to 8 kHz. Blind to all above 4 kHz, to level, and to a delay that cuts
    nothing off; made for coded telephone speech, so a hint only for vocoders and music.

    Args:
        reference: (T,), float32 or float64, speech of 0.25 to 18 s.
        estimate: (T,), not silent.
        sample_rate: Hz, 4,000 to 192,000.
    Returns:
        MOS-LQO, 1.02 to 4.55; 4.55 where both are equal.
    Raises:
        AudioError: an unusable pair or rate, silence, too short or long, no speech found, or the
            extra `eval` is missing.
    Source: ITU-T P.862 and P.862.1.
    """
    reference, estimate = checked_pair(reference, estimate, sample_rate)
    seconds = len(reference) / sample_rate
    if not _PESQ_MIN_SECONDS <= seconds <= _PESQ_MAX_SECONDS:
        raise AudioError(
            f"PESQ expects {_PESQ_MIN_SECONDS:g} to {_PESQ_MAX_SECONDS:g} s of speech, got "
            f"{seconds:.3g} s; cut the recording into parts."
        )
    if not estimate.any():
        raise AudioError("PESQ expects an estimate that is not silent; use another measure.")
    try:
        from pesq import pesq as score
    except (ImportError, OSError, ValueError) as error:
        raise _missing("pesq", error) from error
    pair = torch.stack([to_peak(reference), to_peak(estimate)], dim=1).numpy()  # (T, 2)
    pair = soxr.resample(pair, sample_rate, _PESQ_RATE, quality="HQ")
    try:
        value = float(score(_PESQ_RATE, pair[:, 0].copy(), pair[:, 1].copy(), "nb"))
    except (RuntimeError, ValueError, ZeroDivisionError) as error:
        raise AudioError(
            f"PESQ found no speech to compare in {seconds:.3g} s; give it a recording of speech "
            "or use another measure."
        ) from error
    if not math.isfinite(value):
        raise AudioError("PESQ gave no number for this pair; use another measure.")
    return value


def stoi(reference: Tensor, estimate: Tensor, sample_rate: int) -> float:
    """Return the short-time objective intelligibility of speech; higher is better.

    Correlation of the envelopes of 15 third-octave bands, centred on 150 Hz to 3.8 kHz, over
    0.4 s each; pauses of the reference, 40 dB below its loudest frame, are left out. Blind to all
    above 4.3 kHz, to level, phase and noise in the pauses, and near its top to quality: a hoarse
    voice is intelligible. Not blind to delay.

    Args:
        reference: (T,), float32 or float64, 0.42 s or more of it speech, not silent.
        estimate: (T,).
        sample_rate: Hz, 4,000 to 192,000; resampled to 10 kHz.
    Returns:
        -1 to 1, in practice 0 to 1: 1 where both are equal, 0 for silence.
    Raises:
        AudioError: an unusable pair or rate, a silent reference, too little speech, or the extra
            `eval` is missing.
    Source: Taal et al. 2011, An algorithm for intelligibility prediction of time-frequency
        weighted noisy speech.
    """
    reference, estimate = checked_pair(reference, estimate, sample_rate)
    try:
        from pystoi import stoi as score
    except (ImportError, OSError, ValueError) as error:
        raise _missing("pystoi", error) from error
    value = _STOI_TOO_SHORT
    if len(reference) >= _STOI_MIN_SECONDS * sample_rate:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", RuntimeWarning)
            pair = to_peak(reference).numpy(), to_peak(estimate).numpy()
            value = float(score(*pair, sample_rate))
    if value == _STOI_TOO_SHORT:
        raise AudioError(
            f"STOI expects at least {_STOI_MIN_SECONDS} s of speech without its pauses, got "
            f"{len(reference) / sample_rate:.3g} s with them; use a longer recording."
        )
    return value


def _missing(package: str, error: Exception) -> AudioError:
    return AudioError(
        f"The package {package} cannot be loaded; install it by "
        f'pip install "wavenet-studio[eval]" ({error}).'
    )


def to_peak(waveform: Tensor) -> Tensor:
    """Scale to a peak of 1, for measures blind to level; silence stays."""
    return waveform / (waveform.abs().max() or 1)


def checked_pair(
    reference: Tensor, estimate: Tensor, sample_rate: int = MIN_RATE
) -> tuple[Tensor, Tensor]:
    """Return the float32 values of both as float64 on the CPU; refuse what none is defined for."""
    if not MIN_RATE <= sample_rate <= MAX_RATE:
        raise AudioError(
            f"The sample rate must be {MIN_RATE:,} to {MAX_RATE:,} Hz, not {sample_rate:,} Hz."
        )
    reference, estimate = _one_channel(reference, "reference"), _one_channel(estimate, "estimate")
    if len(reference) != len(estimate):
        raise AudioError(
            f"Expected an estimate as long as its reference, {len(reference):,} samples, got "
            f"{len(estimate):,}; cut or pad it."
        )
    if not reference.any():
        raise AudioError(
            "Expected a reference that is not silent: nothing can be compared with silence; "
            "choose another recording."
        )
    return reference, estimate


def _one_channel(waveform: Tensor, name: str) -> Tensor:
    if waveform.ndim != 1 or not waveform.numel():
        raise AudioError(
            f"Expected a {name} of shape (T,) with at least one sample, got "
            f"{tuple(waveform.shape)}; give one channel."
        )
    if waveform.dtype not in (torch.float32, torch.float64):
        raise AudioError(
            f"Expected a {name} of float32 or float64, got {waveform.dtype}; convert it."
        )
    samples = waveform.detach().to("cpu", torch.float32)
    is_fault = ~samples.isfinite()
    if is_fault.any():
        raise AudioError(
            f"Expected finite samples, the {name} has NaN or infinity at index "
            f"{int(is_fault.int().argmax()):,}; make it again."
        )
    return samples.double()
