"""One clip: its words, its record, and the stretch that fits worst."""

import pytest

from tests.speech.speech_files import even_segments, write_speech
from wavenet.errors import DataError
from wavenet.speech.align_clip import align_clip, compute_digest, find_poorest, read_words
from wavenet.speech.forced_alignment import Segment
from wavenet.speech.phones import Pause
from wavenet.speech.speech_corpus import list_clips
from wavenet.speech.spoken_examples import place_tokens
from wavenet.speech.text_to_phones import text_to_phones


@pytest.fixture
def folder(tmp_path):
    return write_speech(tmp_path / "voice", {"a": "It costs $5, now."})


def align(folder, aligner=even_segments):
    (clip,) = list_clips(folder).clips
    words = read_words(clip.text, {})
    return align_clip(folder, clip, words, compute_digest(folder, clip, words), aligner)


def test_words_have_their_text_pronunciation_and_pause():
    words = read_words("It costs $5, now. [[HH AH0]]", {"now": "N OW1"})
    assert [(word.written, word.read, word.pause, word.source.value) for word in words] == [
        ("It", "it", Pause.NONE, "dictionary"),
        ("costs", "costs", Pause.NONE, "dictionary"),
        ("$5", "five", Pause.NONE, "dictionary"),
        ("$5", "dollars", Pause.COMMA, "dictionary"),
        ("now", "now", Pause.SENTENCE, "user"),
        ("[[HH AH0]]", "", Pause.SENTENCE, "user"),
    ]
    assert words[4].phones == ("N", "OW1")


@pytest.mark.parametrize(
    ("text", "reason"),
    [("...", "no words that can be read"), ("😀", "no words"), ("[[QQ]]", "'QQ' is not a phone")],
)
def test_a_text_that_cannot_be_read_is_refused(text, reason):
    with pytest.raises(DataError, match=reason):
        read_words(text, {})


def test_the_record_of_a_clip(folder):
    clip = align(folder)
    assert (clip.id, clip.audio, clip.text, clip.seconds) == (
        "a",
        "wavs/a.wav",
        "It costs $5, now.",
        1.0,
    )
    assert clip.silences == ((0.0, 0.1), (0.9, 1.0))
    assert clip.spoken_seconds == pytest.approx(0.8)
    first = clip.words[0]
    step = 0.8 / clip.phone_count
    assert first.phones == (
        ("IH1", 0.1, round(0.1 + step, 4)),
        ("T", round(0.1 + step, 4), round(0.1 + 2 * step, 4)),
    )
    assert clip.times[0] == [phone[1:] for phone in first.phones]
    sentences = list(text_to_phones(clip.text))
    _, ends = place_tokens(sentences, clip.times, clip.seconds)
    assert ends[-2:] == [clip.words[-1].end, clip.seconds]
    assert (first.start, first.end) == (first.phones[0][1], first.phones[1][2])


def test_a_recording_that_cannot_be_read_is_refused(folder):
    (folder / "wavs" / "a.wav").write_bytes(b"RIFF")
    with pytest.raises(DataError, match=r"a\.wav"):
        align(folder)


def test_the_digest_depends_on_text_pronunciation_and_recording(folder):
    def digest(pronunciations=None):
        (clip,) = list_clips(folder).clips
        return compute_digest(folder, clip, read_words(clip.text, pronunciations or {}))

    first = digest()
    assert digest() == first
    digests = {first, digest({"now": "N OW1"})}
    (folder / "metadata.csv").write_text("a|It costs $5 now.\n", encoding="utf-8")
    digests.add(digest())
    with (folder / "wavs" / "a.wav").open("ab") as file:
        file.write(b"\0\0")
    digests.add(digest())
    assert len(digests) == 4


def segments(*scores, seconds=0.1, frames=10):
    return [
        Segment(0, n * seconds, (n + 1) * seconds, frames, score) for n, score in enumerate(scores)
    ]


def test_the_poorest_stretch_has_at_least_400_ms():
    poorest = find_poorest(segments(*[-1.0] * 6, -50.0, *[-1.0] * 3, seconds=0.125))
    assert (poorest.start, poorest.end) == (0.375, 0.875)
    assert poorest.score == pytest.approx(-53 / 40)


def test_a_clip_of_less_than_400_ms_is_its_poorest_stretch():
    poorest = find_poorest(segments(-1.0, -3.0))
    assert (poorest.start, poorest.end, poorest.score) == (0.0, 0.2, -0.2)


def test_a_long_phone_alone_may_be_the_poorest_stretch():
    parts = [Segment(0, 0, 0.5, 50, -50), Segment(0, 0.5, 1, 50, -100), Segment(0, 1, 2, 100, -50)]
    poorest = find_poorest(parts)
    assert (poorest.start, poorest.end, poorest.score) == (0.5, 1, -2)
