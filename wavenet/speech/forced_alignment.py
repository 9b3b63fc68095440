"""Forced alignment: the times of given phones in a recording, with the package pocketsphinx.

Input: a waveform and the phones of each word. Output: segments, which are phones and silences. They
cover the recording without gaps. Called by `align_clip.py`. No other file imports pocketsphinx;
`recogniser.py` gets it from here.

The acoustic model has hidden Markov models of phones in context. For a known sequence of phones the
Viterbi algorithm finds the most likely state of each frame of 10 ms. It runs twice:

1. words, with an optional silence between them: this finds the pauses;
2. the phones of each word, between the boundaries of the first pass.

Three details, measured on recordings whose onset is known:

- The model begins and ends with a silence that is not optional. Without it, the first phone absorbs
  the silence before it. A clip without silence would then lose its first phones, so the first and
  last 30 ms are repeated, mirrored, outside the clip. 30 ms are the shortest silence of the model.
- The features are computed once before, because the noise reduction estimates the noise floor from
  the frames before. In the first pass over a clip, its beginning is not reduced.
- A frame is a window of 25.6 ms. The boundary of two frames is between their centres, 7.8 ms after
  the start of the second one.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from audio_utils.optional_packages import install_command
from wavenet.errors import ConfigError, DataError
from wavenet.speech.phones import without_stress

if TYPE_CHECKING:
    from pocketsphinx import Decoder

SAMPLE_RATE = 16_000  # Hz, of the acoustic model
MAX_SECONDS = 60.0
_FRAME_SECONDS = 0.01
_WINDOW_SECONDS = 0.0256
_MARGIN_SAMPLES = 480  # mirrored at each end, 30 ms
# from the start of the window of a frame to the boundary before the frame
_BOUNDARY_SECONDS = _WINDOW_SECONDS / 2 - _FRAME_SECONDS / 2
# pocketsphinx counts in units of 1024 ln(1.0001) nats
_NATS = 1024 * float(np.log(1.0001))
# of a silence between words. The default, 0.005, missed 4 of 24 pauses of synthetic speech; 0.5
# missed one and added none, 0.9 added four.
_SILENCE_PROBABILITY = 0.5
_SILENCE = "<sil>"


@dataclass(frozen=True)
class Segment:
    """A phone or a silence.

    Attributes:
        word: index of the word; None for a silence.
        start, end: seconds; each segment starts where the one before it ends.
        frames: of the acoustic model.
        score: nats, the sum over the frames of the log-likelihood of the state, relative to the
            best of the states that were compared; 0 or less.
    """

    word: int | None
    start: float
    end: float
    frames: int
    score: float


def aligner_version() -> str:
    """Return the name, the version and the settings of the aligner.

    Raises:
        ConfigError: pocketsphinx is not installed.
    """
    from importlib.metadata import PackageNotFoundError, version

    try:
        return (
            f"pocketsphinx {version('pocketsphinx')}, silence probability {_SILENCE_PROBABILITY}, "
            f"margin {_MARGIN_SAMPLES / SAMPLE_RATE} s"
        )
    except PackageNotFoundError:
        raise _missing_package() from None


def align_phones(waveform: NDArray[np.float32], words: Sequence[Sequence[str]]) -> list[Segment]:
    """Return the segments of a recording: one per phone, in order, and silences.

    The result depends on the arguments only, because each call has its own decoder.

    Args:
        waveform: (T,) in [-1, 1], at 16 kHz; no tensor, so that workers do not load PyTorch.
        words: the phones of each word, symbols of `phones.SYMBOLS`; the stress is ignored.
    Raises:
        ConfigError: pocketsphinx is not installed.
        DataError: the recording is shorter than the phones, or does not contain them.
    """
    phones = sum(map(len, words))
    if len(waveform) < phones * 3 * _FRAME_SECONDS * SAMPLE_RATE:
        raise DataError(
            f"the recording of {len(waveform) / SAMPLE_RATE:.2f} s is too short for {phones} "
            "phones, of at least 0.03 s each; correct its text"
        )
    names = [" ".join(map(without_stress, word)) for word in words]
    content = _encode_samples(waveform)
    decoder = _make_decoder()
    # one entry per pronunciation, because the names must be unique
    entries = {name: f"w{n}" for n, name in enumerate(dict.fromkeys(names))}
    for name, entry in entries.items():
        decoder.add_word(entry, name, False)
    decoder.set_align_text(" ".join([_SILENCE, *(entries[name] for name in names), _SILENCE]))
    _decode(decoder, content, no_search=True)
    _decode(decoder, content)
    alignment = None
    if decoder.hyp() is not None:
        decoder.set_alignment()
        _decode(decoder, content)
        # not hyp(), which would end the process here
        alignment = decoder.get_alignment()
    if alignment is None:
        raise _mismatch()
    return _read_segments(alignment, [entries[name] for name in names], names, waveform)


def _read_segments(
    alignment: Any, entries: Sequence[str], names: Sequence[str], waveform: NDArray[np.float32]
) -> list[Segment]:
    """Return the segments of an alignment, with their times in the recording.

    Args:
        entries: the names of the words in the decoder.
        names: their phones.
    """
    seconds = len(waveform) / SAMPLE_RATE
    segments: list[Segment] = []
    rows = list(_flatten(alignment, entries))
    found = [phone for word, phone, *_ in rows if word is not None]
    if found != " ".join(names).split():
        raise _mismatch()
    for n, (word, _, start_frame, frames, score) in enumerate(rows):
        start = segments[-1].end if segments else 0.0
        end = _frame_to_seconds(start_frame + frames) if n < len(rows) - 1 else seconds
        end = min(max(end, start), seconds)
        if word is None and segments and segments[-1].word is None:
            # two silences in a row are one
            last = segments.pop()
            start, frames, score = last.start, last.frames + frames, last.score + score
        segments.append(Segment(word, start, end, frames, min(0.0, score)))
    return [
        segment for segment in segments if segment.word is not None or segment.end > segment.start
    ]


def _flatten(
    alignment: Any, entries: Sequence[str]
) -> Iterator[tuple[int | None, str, int, int, float]]:
    """Yield (word, phone, first frame, frames, score) of each phone and silence."""
    position = 0
    for word in alignment:
        index = None
        if position < len(entries) and word.name == entries[position]:
            index, position = position, position + 1
        for phone in word:
            yield index, phone.name, phone.start, phone.duration, phone.score * _NATS


def _frame_to_seconds(frame: int) -> float:
    """Return the time of the boundary before a frame, from the start of the clip."""
    return frame * _FRAME_SECONDS + _BOUNDARY_SECONDS - _MARGIN_SAMPLES / SAMPLE_RATE


def _encode_samples(waveform: NDArray[np.float32]) -> bytes:
    """Return 16-bit samples with mirrored margins."""
    scaled = scale_samples(waveform)
    margin = _MARGIN_SAMPLES
    content: bytes = np.concatenate(
        [scaled[:margin][::-1], scaled, scaled[-margin:][::-1]]
    ).tobytes()
    return content


def scale_samples(waveform: NDArray[np.float32]) -> NDArray[np.int16]:
    """Return 16-bit samples (T,) at a level that uses the 16 bits.

    Raises:
        DataError: the recording is silent.
    """
    samples = waveform.astype(np.float64)
    peak = float(np.abs(samples).max())
    if peak == 0:
        raise DataError("the recording is silent; it has no phones")
    return np.rint(samples * (0.5 * 32767 / peak)).astype("<i2")


def _decode(decoder: "Decoder", content: bytes, no_search: bool = False) -> None:
    """Search the most likely states; raise DataError if there are none."""
    decoder.start_utt()
    try:
        decoder.process_raw(content, no_search=no_search, full_utt=True)
        decoder.end_utt()
    except RuntimeError:
        # the second pass fails for some wrong texts that the first pass aligned
        raise _mismatch() from None


def _mismatch() -> DataError:
    return DataError("the text does not match the recording; correct one of them")


def _make_decoder() -> "Decoder":
    """Return a decoder without a language model and without words; it needs 8 ms and 5 MB."""
    return import_decoder()(
        samprate=SAMPLE_RATE,
        lm=None,
        dict=None,
        bestpath=False,
        silprob=_SILENCE_PROBABILITY,
        loglevel="FATAL",
    )


def import_decoder() -> "type[Decoder]":
    """Return the class of decoders of pocketsphinx.

    Raises:
        ConfigError: it is not installed.
    """
    try:
        from pocketsphinx import Decoder
    except (ImportError, OSError) as error:
        raise _missing_package() from error
    decoder: type[Decoder] = Decoder
    return decoder


def _missing_package() -> ConfigError:
    return ConfigError(
        "pocketsphinx is not installed; it aligns and recognises speech: "
        f"{install_command('speech')}"
    )
