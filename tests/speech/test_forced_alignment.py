"""The aligner on a synthetic syllable whose times are known, and on recordings of a voice."""

import builtins
import csv
from importlib import metadata
from itertools import pairwise
from pathlib import Path
from unittest.mock import MagicMock

import numpy as np
import pytest

from audio_utils import io
from tests.speech.speech_files import make_syllable
from wavenet.errors import ConfigError, DataError
from wavenet.speech import forced_alignment
from wavenet.speech.align_clip import read_words
from wavenet.speech.forced_alignment import SAMPLE_RATE, align_phones, aligner_version

VOICE = Path(__file__).parents[3] / "shared" / "data" / "kathleen"
TOLERANCE = 0.03
SA = ("S", "AA1")


@pytest.fixture
def pocketsphinx():
    return pytest.importorskip("pocketsphinx", reason='pip install -e ".[speech]"')


@pytest.mark.usefixtures("pocketsphinx")
@pytest.mark.parametrize("lead", [0.0, 0.02, 0.1, 0.3, 1.0])
def test_the_times_of_a_syllable_are_found(lead):
    """Also without silence at the beginning, which the model requires."""
    segments = align_phones(make_syllable(lead), [SA])
    hiss, vowel = (segment for segment in segments if segment.word is not None)
    for found, true in ((hiss.start, lead), (vowel.start, lead + 0.2), (vowel.end, lead + 0.5)):
        assert found == pytest.approx(true, abs=TOLERANCE)


@pytest.mark.usefixtures("pocketsphinx")
def test_segments_cover_the_recording_once_and_pauses_are_found():
    waveform = np.concatenate([make_syllable(0.1, 0.2), make_syllable(0.2, 0.3)])
    segments = align_phones(waveform, [SA, ("S", "AA0")])
    assert [segment.word for segment in segments] == [None, 0, 0, None, 1, 1, None]
    assert segments[0].start == 0
    assert segments[-1].end == len(waveform) / SAMPLE_RATE
    assert all(first.end == second.start for first, second in pairwise(segments))
    pause = segments[3]
    assert pause.end - pause.start == pytest.approx(0.4, abs=2 * TOLERANCE)


@pytest.mark.usefixtures("pocketsphinx")
def test_the_result_depends_on_the_arguments_alone_and_not_on_the_level():
    waveform = make_syllable()
    first = align_phones(waveform, [SA])
    align_phones(make_syllable(0.0), [("S", "AA1", "S")])
    assert align_phones(waveform, [SA]) == first
    quiet = align_phones(waveform / 100, [SA])
    assert [segment.start for segment in quiet] == pytest.approx(
        [segment.start for segment in first], abs=TOLERANCE
    )


@pytest.mark.usefixtures("pocketsphinx")
def test_what_does_not_fit_is_refused_in_one_sentence():
    with pytest.raises(DataError, match="the text does not match the recording"):
        align_phones(make_syllable(), [("M", "IY1")])
    with pytest.raises(DataError, match=r"1\.10 s is too short for 80 phones"):
        align_phones(make_syllable(), [SA] * 40)
    with pytest.raises(DataError, match="the recording is silent"):
        align_phones(np.zeros(SAMPLE_RATE, np.float32), [SA])


def test_a_text_that_only_the_second_pass_refuses_is_refused_in_the_same_sentence(monkeypatch):
    class SecondPassFails(MagicMock):
        passes = 0

        def end_utt(self):
            self.passes += 1
            if self.passes == 3:  # after the features and the first pass
                raise RuntimeError("Failed to stop utterance processing")

    monkeypatch.setattr(forced_alignment, "import_decoder", lambda: SecondPassFails)
    with pytest.raises(DataError, match="the text does not match the recording"):
        align_phones(make_syllable(), [SA])


@pytest.mark.usefixtures("pocketsphinx")
def test_the_level_of_a_voice_rises_where_its_first_phone_begins():
    """The first phone once absorbed the silence before it: a median error of 70 ms."""
    if not VOICE.is_dir():
        pytest.skip("the recordings of ../shared/data/kathleen are missing")
    with (VOICE / "metadata.csv").open(encoding="utf-8") as file:
        rows = list(csv.reader(file, delimiter="|", quoting=csv.QUOTE_NONE))
    errors = []
    for name, text in rows[::139]:
        waveform = io.read(VOICE / "wavs" / f"{name}.flac", SAMPLE_RATE).waveform.numpy()
        segments = align_phones(waveform, [word.phones for word in read_words(text, {})])
        first = next(segment for segment in segments if segment.word is not None)
        errors.append(abs(first.start - find_onset(waveform)))
    assert sorted(errors)[len(errors) // 2] < 0.045


def find_onset(waveform):
    """Return the start of the first 30 ms that are 10 dB above the quietest frames."""
    frames = waveform[: len(waveform) // 160 * 160].reshape(-1, 160)
    level = 10 * np.log10(np.square(frames).mean(1) + 1e-12)
    is_loud = level > max(np.quantile(level, 0.05) + 10, level.max() - 38)
    return next(n for n in range(len(level)) if is_loud[n : n + 3].all()) * 0.01


def test_a_missing_package_is_named_with_the_command_that_installs_it(monkeypatch):
    real_import = builtins.__import__

    def refuse(name, *arguments, **options):
        if name == "pocketsphinx":
            raise ImportError(name)
        return real_import(name, *arguments, **options)

    def not_found(name):
        raise metadata.PackageNotFoundError(name)

    monkeypatch.setattr(builtins, "__import__", refuse)
    monkeypatch.setattr(metadata, "version", not_found)
    for call in (lambda: align_phones(make_syllable(), [SA]), aligner_version):
        with pytest.raises(ConfigError, match=r"pip install 'pocketsphinx>=5\.0\.4,<6'"):
            call()
