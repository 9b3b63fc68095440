"""Metrics that compare an estimated waveform with its reference.

Input: two waveforms (T,) at one sample rate. Output: one number. There is no time warping: frame n
is compared with frame n. PESQ and STOI need the extra `eval`; each package is imported in this
file only, at the first call. Called by the evaluation of vocoders and by the studio.
"""

import importlib.util
import math
import warnings

import soxr
import torch
from torch import Tensor

from audio_utils.decoding import MAX_RATE, MIN_RATE
from audio_utils.errors import AudioError
from audio_utils.features import FeatureConfig, f0, mfcc, stft_magnitude
from audio_utils.optional_packages import install_command

MEL_CEPSTRAL_ORDER = 13
STFT_WINDOW_SECONDS = (0.010, 0.025, 0.050)
# The floor of the published code, a power of 1e-7: 100 to 120 dB below a full-scale sine at 24 kHz.
_STFT_FLOOR = 1e-7**0.5
_PESQ_RATES = {"nb": 8000, "wb": 16_000}
_PESQ_MIN_SECONDS = 0.25
# pesq 0.0.4 has memory for 50 utterances, does not check the limit, and crashes the process beyond.
# An utterance with its pause lasts at least 0.38 s, so 18 s contain fewer than 50.
_PESQ_MAX_SECONDS = 18.0
# 30 frames of 12.8 ms and the window of 25.6 ms.
_STOI_MIN_SECONDS = 0.42
# The value that pystoi returns, with a warning, if the reference is mostly pauses.
_STOI_TOO_SHORT = 1e-5
PITCH_HOP_SECONDS = 0.010
SPEECH_PITCH_RANGE_HZ = (65.0, 500.0)
MAX_PITCH_DEVIATION = 0.2  # relative; a larger deviation is an error


def missing_packages() -> list[str]:
    """Return the names of the packages of the extra `eval` that are not installed."""
    return [name for name in ("pesq", "pystoi") if importlib.util.find_spec(name) is None]


def snr(reference: Tensor, estimate: Tensor) -> float:
    """Return the signal-to-noise ratio; higher is better.

    10 log10(sum r² / sum (r - e)²). It does not model hearing: only the energy of the error counts.
    An inaudible sign flip or delay ruins the value, and loud passages outweigh quiet ones.

    Args:
        reference: (T,), float32 or float64, not silent.
        estimate: (T,).
    Returns:
        dB, any value: infinite for an equal pair, 0 for silence, -6.02 for a sign flip.
    Raises:
        AudioError: an invalid pair, or a silent reference.
    Source: textbook definition, over the whole clip.
    """
    ratio = esr(reference, estimate)
    return math.inf if ratio == 0 else 0.0 - 10 * math.log10(ratio)


def esr(reference: Tensor, estimate: Tensor) -> float:
    """Return the error-to-signal ratio; lower is better.

    sum (r - e)² / sum r², without pre-emphasis; equal to 10**(-snr / 10), with the same limits.

    Args:
        reference: (T,), float32 or float64, not silent.
        estimate: (T,).
    Returns:
        0 or more: 0 for an equal pair, 1 for silence, 4 for a sign flip.
    Raises:
        AudioError: an invalid pair, or a silent reference.
    Source: Wright et al. 2020, Real-time guitar amplifier emulation with deep learning.
    """
    reference, estimate = check_pair(reference, estimate)
    error = (reference - estimate).square().sum() / reference.square().sum()
    return float(error)


def mel_cepstral_distance(reference: Tensor, estimate: Tensor, sample_rate: int) -> float:
    """Return the distance between spectral envelopes (mel-cepstral distortion); lower is better.

    The value is the mean over frames of |a - a'| / sqrt(M), where a are the coefficients 1 to 13 of
    `mfcc`, the orthonormal DCT of 20 log10 A over M filters of amplitude A. It is the RMS over
    filters, in dB, of the difference of the smoothed log spectra without their mean.

    The usual definition has the same value: (10 sqrt(2) / ln 10) times the Euclidean distance of
    the cepstra c1 to c13, where ln A = c0 + sum c_k cos(k w) and c_k = (ln 10 / 20) sqrt(2/M) a_k.
    Published values are comparable only with the same filters, order, constant and alignment: the
    constant applied to librosa's MFCC gives 6.14 sqrt(M) times our value.

    Insensitive to level (c0 is left out), phase, and largely to pitch and noisiness. Sensitive to
    delay: frames are aligned one to one, as for a vocoder. Everything more than 80 dB below the
    maximum of its clip counts as equal, so a silent frame has a flat spectrum.

    Args:
        reference: (T,), float32 or float64, not silent.
        estimate: (T,), not silent.
        sample_rate: Hz, 4,000 to 192,000; window, hop and filters are those of
            `FeatureConfig.default_for`.
    Returns:
        dB, 0 or more; 0 for a pair that is equal or differs by a gain.
    Raises:
        AudioError: an invalid pair or sample rate, or silence.
    Source: Kubichek 1993, Mel-cepstral distance measure for objective speech quality assessment.
    """
    reference, estimate = check_pair(reference, estimate, sample_rate)
    if not estimate.any():
        raise AudioError(
            "Expected an estimate that is not silent: silence has no spectral envelope; use "
            "another metric."
        )
    default = FeatureConfig.default_for(sample_rate)
    # At a peak of 1 both are above the floor of mfcc, which does not depend on the level.
    pair = torch.stack([scale_to_peak(reference), scale_to_peak(estimate)])
    cepstra = mfcc(pair, default)  # (2, n_mfcc, frames)
    difference = (cepstra[0] - cepstra[1])[1 : MEL_CEPSTRAL_ORDER + 1]
    return float(difference.norm(dim=0).mean() / math.sqrt(default.n_mels))


def stft_distance(reference: Tensor, estimate: Tensor, sample_rate: int) -> float:
    """Return the multi-resolution distance between magnitude spectrograms; lower is better.

    For each of three Hann windows: spectral convergence |R - E| / |R| (Frobenius norms) plus the
    mean of |ln R - ln E|; then the mean of the three. Windows are 10, 25 and 50 ms with hops of a
    fifth; at 24 kHz they are those of the paper (except a hop of 48 instead of 50). First, one gain
    for both brings the reference to a peak of 1; then magnitudes are limited to at least 3.2e-4.

    Insensitive to a sign flip and to most of phase, sensitive to level. The second term weights
    quiet and loud bins equally, so that faint noise in pauses has a large effect.

    Args:
        reference: (T,), float32 or float64, not silent.
        estimate: (T,).
        sample_rate: Hz, 4,000 to 192,000.
    Returns:
        0 or more, without unit: 0 for a pair that is equal or differs in sign.
    Raises:
        AudioError: an invalid pair or sample rate, or a silent reference.
    Source: Yamamoto et al. 2020, Parallel WaveGAN, section 2.2.
    """
    reference, estimate = check_pair(reference, estimate, sample_rate)
    pair = torch.stack([reference, estimate]) / reference.abs().max()
    total = 0.0
    for seconds in STFT_WINDOW_SECONDS:
        window = round(seconds * sample_rate)
        n_fft = 2 ** math.ceil(math.log2(window))
        config = FeatureConfig(sample_rate, n_fft, window, round(window / 5), n_mels=1, n_mfcc=1)
        reference_magnitude, estimate_magnitude = stft_magnitude(pair, config).clamp(
            min=_STFT_FLOOR
        )
        difference = reference_magnitude - estimate_magnitude
        convergence = difference.norm() / reference_magnitude.norm()
        log_distance = (reference_magnitude.log() - estimate_magnitude.log()).abs().mean()
        total += float(convergence + log_distance)
    return total / len(STFT_WINDOW_SECONDS)


def pesq(reference: Tensor, estimate: Tensor, sample_rate: int, wide_band: bool = False) -> float:
    """Return the PESQ of speech as a predicted mean opinion score; higher is better.

    Both are resampled to 8 kHz, or to 16 kHz for the wide band. Insensitive to everything above
    half that rate, to level, and to a delay that cuts nothing off. It was designed for coded
    telephone speech: only a hint for vocoders and music.

    Args:
        reference: (T,), float32 or float64, speech of 0.25 to 18 s.
        estimate: (T,), not silent.
        sample_rate: Hz, 4,000 to 192,000.
        wide_band: up to 8 kHz, for a sample rate of at least 16,000 Hz.
    Returns:
        MOS-LQO, 1.02 to 4.55 (wide band 1.04 to 4.64); the largest for an equal pair.
    Raises:
        AudioError: an invalid pair or sample rate, silence, too short or too long, no speech
            found, or the extra `eval` is missing.
    Source: ITU-T P.862 and P.862.1; P.862.2 for the wide band.
    """
    reference, estimate = check_pair(reference, estimate, sample_rate)
    seconds = len(reference) / sample_rate
    if not _PESQ_MIN_SECONDS <= seconds <= _PESQ_MAX_SECONDS:
        raise AudioError(
            f"PESQ expects {_PESQ_MIN_SECONDS:g} to {_PESQ_MAX_SECONDS:g} s of speech, got "
            f"{seconds:.3g} s; split the recording."
        )
    if not estimate.any():
        raise AudioError("PESQ expects an estimate that is not silent; use another metric.")
    try:
        from pesq import pesq as score
    except (ImportError, OSError, ValueError) as error:
        raise _missing_package_error("pesq", error) from error
    pair = torch.stack([scale_to_peak(reference), scale_to_peak(estimate)], dim=1).numpy()  # (T, 2)
    mode = "wb" if wide_band else "nb"
    rate = _PESQ_RATES[mode]
    pair = soxr.resample(pair, sample_rate, rate, quality="HQ")
    try:
        value = float(score(rate, pair[:, 0].copy(), pair[:, 1].copy(), mode))
    except (RuntimeError, ValueError, ZeroDivisionError) as error:
        raise AudioError(
            f"PESQ found no speech to compare in {seconds:.3g} s; use a recording of speech or "
            "another metric."
        ) from error
    if not math.isfinite(value):
        raise AudioError("PESQ returned no finite number for this pair; use another metric.")
    return value


def stoi(reference: Tensor, estimate: Tensor, sample_rate: int) -> float:
    """Return the short-time objective intelligibility of speech; higher is better.

    Correlation of the envelopes of 15 third-octave bands, centred on 150 Hz to 3.8 kHz, over
    segments of 0.4 s. Frames of the reference more than 40 dB below its loudest frame are left out,
    as pauses. Insensitive to everything above 4.3 kHz, to level, phase and noise in the pauses. It
    is near 1 for intelligible speech of any quality, such as a hoarse voice. Sensitive to delay.

    Args:
        reference: (T,), float32 or float64, 0.42 s or more of it speech, not silent.
        estimate: (T,).
        sample_rate: Hz, 4,000 to 192,000; resampled to 10 kHz.
    Returns:
        -1 to 1, in practice 0 to 1: 1 for an equal pair, 0 for silence.
    Raises:
        AudioError: an invalid pair or sample rate, a silent reference, too little speech, or the
            extra `eval` is missing.
    Source: Taal et al. 2011, An algorithm for intelligibility prediction of time-frequency
        weighted noisy speech.
    """
    reference, estimate = check_pair(reference, estimate, sample_rate)
    try:
        from pystoi import stoi as score
    except (ImportError, OSError, ValueError) as error:
        raise _missing_package_error("pystoi", error) from error
    value = _STOI_TOO_SHORT
    if len(reference) >= _STOI_MIN_SECONDS * sample_rate:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", RuntimeWarning)
            pair = scale_to_peak(reference).numpy(), scale_to_peak(estimate).numpy()
            value = float(score(*pair, sample_rate))
    if value == _STOI_TOO_SHORT:
        raise AudioError(
            f"STOI expects at least {_STOI_MIN_SECONDS} s of speech without pauses, got "
            f"{len(reference) / sample_rate:.3g} s with pauses; use a longer recording."
        )
    return value


def speech_f0(waveform: Tensor, sample_rate: int) -> Tensor:
    """Return the pitch of speech every 10 ms.

    Args:
        waveform: (T,), float32 or float64, not silent.
        sample_rate: Hz, 4,000 to 192,000.
    Returns:
        (F,) Hz from 65 to 500; 0 for unvoiced frames.
    Raises:
        AudioError: an invalid waveform or sample rate, or silence.
    """
    samples, _ = check_pair(waveform, waveform, sample_rate)
    hop_length = round(PITCH_HOP_SECONDS * sample_rate)
    return f0(scale_to_peak(samples), sample_rate, hop_length, *SPEECH_PITCH_RANGE_HZ)


def f0_frame_error(reference: Tensor, estimate: Tensor) -> float:
    """Return the fraction of frames with wrong voicing or pitch (F0 frame error); lower is better.

    A frame is wrong if only one of the two is voiced, or if the pitch deviates by more than 20 %.
    The metric detects a whisper in place of a voice, which metrics of the spectral envelope do not,
    and is insensitive to the envelope.

    Args:
        reference, estimate: (F,), from `speech_f0`.
    Returns:
        0 to 1.
    Raises:
        AudioError: different numbers of frames.
    Source: Chu and Alwan 2009, Reducing F0 frame error of F0 tracking algorithms under noisy
        conditions.
    """
    if reference.shape != estimate.shape:
        raise AudioError(
            f"Expected the same number of frames in both, got {len(reference)} and "
            f"{len(estimate)}; cut or pad the estimate."
        )
    is_voiced, estimate_is_voiced = reference > 0, estimate > 0
    ratio = estimate / torch.where(is_voiced, reference, 1.0)
    deviates = is_voiced & estimate_is_voiced & ((ratio - 1).abs() > MAX_PITCH_DEVIATION)
    return float(((is_voiced != estimate_is_voiced) | deviates).double().mean())


def _missing_package_error(package: str, error: Exception) -> AudioError:
    return AudioError(
        f"The package {package} cannot be loaded; install it with "
        f"`{install_command('eval')}` ({error})."
    )


def scale_to_peak(waveform: Tensor) -> Tensor:
    """Return a waveform scaled to a peak of 1, for metrics that ignore the level.

    Silence is unchanged.
    """
    return waveform / (waveform.abs().max() or 1)


def check_pair(
    reference: Tensor, estimate: Tensor, sample_rate: int = MIN_RATE
) -> tuple[Tensor, Tensor]:
    """Return both waveforms, rounded to float32, as float64 on the CPU.

    Raises:
        AudioError: waveforms or a sample rate for which no metric is defined.
    """
    if not MIN_RATE <= sample_rate <= MAX_RATE:
        raise AudioError(
            f"The sample rate must be {MIN_RATE:,} to {MAX_RATE:,} Hz, not {sample_rate:,} Hz."
        )
    reference, estimate = (
        _check_waveform(reference, "reference"),
        _check_waveform(estimate, "estimate"),
    )
    if len(reference) != len(estimate):
        raise AudioError(
            f"Expected an estimate as long as its reference, {len(reference):,} samples, got "
            f"{len(estimate):,}; cut or pad it."
        )
    if not reference.any():
        raise AudioError(
            "Expected a reference that is not silent: metrics are undefined for silence; choose "
            "another recording."
        )
    return reference, estimate


def _check_waveform(waveform: Tensor, name: str) -> Tensor:
    if waveform.ndim != 1 or not waveform.numel():
        raise AudioError(
            f"Expected a {name} of shape (T,) with at least one sample, got "
            f"{tuple(waveform.shape)}; pass one channel."
        )
    if waveform.dtype not in (torch.float32, torch.float64):
        raise AudioError(
            f"Expected a {name} of float32 or float64, got {waveform.dtype}; convert it."
        )
    samples = waveform.detach().to("cpu", torch.float32)
    is_invalid = ~samples.isfinite()
    if is_invalid.any():
        raise AudioError(
            f"Expected finite samples, the {name} has NaN or infinity at index "
            f"{int(is_invalid.int().argmax()):,}; recreate it."
        )
    return samples.double()
