"""A guitar riff that is computed, to try an effect without a recording.

Each note is a plucked string by the algorithm of Karplus and Strong: noise of one period runs
through a delay, whose output is averaged with its neighbour and fed back, so that high partials
decay first:

    y[n] = x[n] + g (y[n - N] + y[n - N - 1]) / 2        period N + 1/2 samples

N is a whole number, so a note is at most 6 cents off its pitch at 44.1 kHz. The picking position
cancels some partials of the noise. Output: a waveform. Called by the studio.

Source: Karplus and Strong, Digital Synthesis of Plucked-String and Drum Timbres, 1983.
"""

import numpy as np
from numpy.typing import NDArray
from scipy.signal import lfilter

BEAT_SECONDS = 0.25  # an eighth note at 120 beats per minute
PEAK = 0.4  # of the riff, about -8 dB re full scale: a usual level of a recorded guitar
_TUNING_HZ = 440.0  # of A4, the MIDI note 69
_DECAY_SECONDS = 1.6  # until a string is 60 dB lower, without the losses of high partials
_PICKING_POSITION = 0.17  # share of the string
# Beat, length in beats, MIDI notes; 40 is the lowest string of a guitar.
_RIFF: tuple[tuple[float, float, tuple[int, ...]], ...] = (
    (0, 2, (40, 47, 52)),
    (2, 1, (40,)),
    (3, 1, (43,)),
    (4, 2, (45, 52, 57)),
    (6, 1, (45,)),
    (7, 1, (46,)),
    (8, 2, (40, 47, 52)),
    (10, 1, (55,)),
    (11, 1, (57,)),
    (12, 1, (59,)),
    (13, 1, (62,)),
    (14, 2, (64,)),
    (16, 8, (40, 47, 52, 56, 59, 64)),
)


def make_riff(sample_rate: int) -> NDArray[np.float32]:
    """Return the riff: (6 * sample_rate,), always the same.

    Args:
        sample_rate: Hz, 4,000 or more.
    """
    generator = np.random.default_rng(0)
    last_beat = max(beat + length for beat, length, _ in _RIFF)
    riff = np.zeros(round(last_beat * BEAT_SECONDS * sample_rate))
    for beat, length, notes in _RIFF:
        for n, note in enumerate(notes):
            # The strings of a chord are picked one after the other.
            start = round((beat * BEAT_SECONDS + 0.012 * n) * sample_rate)
            end = min(len(riff), start + round(length * BEAT_SECONDS * sample_rate))
            riff[start:end] += pluck(note, end - start, sample_rate, generator)
    samples: NDArray[np.float32] = (riff * (PEAK / np.abs(riff).max())).astype(np.float32)
    return samples


def pluck(
    note: int, samples: int, sample_rate: int, generator: np.random.Generator
) -> NDArray[np.float64]:
    """Return the sound of one string: (samples,), faded out at its end.

    Args:
        note: MIDI number; 69 is A4, 440 Hz.
        samples: length.
        sample_rate: Hz.
        generator: of the noise.
    """
    hertz = _TUNING_HZ * 2 ** ((note - 69) / 12)
    period = max(2, round(sample_rate / hertz - 0.5))
    noise = np.zeros(samples)
    count = min(period, samples)
    noise[:count] = generator.uniform(-1, 1, count)
    noise -= np.roll(noise, max(1, round(_PICKING_POSITION * period)))
    feedback = np.zeros(period + 2)
    feedback[0] = 1
    feedback[period:] = -0.5 * 10 ** (-3 / (_DECAY_SECONDS * hertz))
    sound: NDArray[np.float64] = lfilter([1.0], feedback, noise)
    fade = min(samples, round(0.01 * sample_rate))
    sound[samples - fade :] *= np.linspace(1, 0, fade)
    return sound
