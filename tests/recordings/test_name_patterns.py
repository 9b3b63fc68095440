"""Fields from names: unique divisions only, folders, limits, and a time that is linear."""

import itertools
import re
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wavenet.errors import DataError
from wavenet.recordings.audio_metadata import find_audio_files, parse_file_name
from wavenet.recordings.name_patterns import MAX_FIELDS, NamePattern


def all_divisions(pattern, text):
    """Return all ways to divide a text, by trying every position."""
    parts = re.split(r"\{(\w+)\}", pattern)
    names, literals = parts[1::2], parts[::2]
    found = []
    for lengths in itertools.product(range(1, len(text) + 1), repeat=len(names)):
        position, values = 0, {}
        for literal, name, length in zip(literals, names, lengths, strict=False):
            if not text.startswith(literal, position):
                break
            position += len(literal)
            values[name] = text[position : position + length]
            position += length
        else:
            if text[position:] == literals[-1] and position <= len(text):
                found.append(values)
    return found


@given(
    st.lists(st.text("ab_", min_size=1, max_size=2), min_size=0, max_size=2),
    st.text("ab_", max_size=2),
    st.text("ab_", max_size=1),
    st.text("ab_", min_size=1, max_size=8),
)
def test_a_name_fits_if_there_is_exactly_one_division(between, first, last, text):
    fields = [f"{{f{n}}}" for n in range(len(between) + 1)]
    pattern = first + "".join(map("".join, zip(fields, [*between, last], strict=True)))
    divisions = all_divisions(pattern, text)
    expected = divisions[0] if len(divisions) == 1 else None
    assert NamePattern(pattern).match(f"{text}.wav").fields == expected


@pytest.mark.parametrize(
    "pattern, path, fields",
    [
        ("{label}/{take}", "cat/1.wav", {"label": "cat", "take": "1"}),
        ("{label}/{take}", "animals/cat/1.2.wav", {"label": "cat", "take": "1.2"}),
        ("{speaker}/{n}_{take}", "theo/7_0.flac", {"speaker": "theo", "n": "7", "take": "0"}),
        ("{speaker}/wavs/{id}", "theo/wavs/a.wav", {"speaker": "theo", "id": "a"}),
        ("{speaker}/wavs/{id}", "theo/raw/a.wav", None),
        ("{label}/{take}", "1.wav", None),
        ("set-{n}/{a}_{b}", "set-3/x_y.wav", {"n": "3", "a": "x", "b": "y"}),
        ("{digit}_{speaker}.wav", "7_theo.wav", {"digit": "7", "speaker": "theo"}),
        ("{digit}_{speaker}_{index}", "7_theo_x_y_3.wav", None),
        ("{digit}_{name}_{n}", "7_theo_0.wav", {"digit": "7", "name": "theo", "n": "0"}),
        ("{a}_{b}", "a__b.wav", None),
        ("{digit}_*_{take}", "7_theo_0.wav", {"digit": "7", "take": "0"}),
        ("*_{digit}_*", "a_7_0.wav", {"digit": "7"}),
        ("*/{label}/*", "x/cat/1_2.wav", {"label": "cat"}),
        ("take*-{label}.*", "take12-cat.v2.wav", {"label": "cat"}),
        ("{digit}_*", "7_theo_0.wav", None),
        ("{digit}_*", "7_.wav", None),
    ],
)  # fmt: skip
def test_the_end_of_a_path_is_matched(pattern, path, fields):
    assert NamePattern(pattern).match(path).fields == fields


@pytest.mark.parametrize(
    "pattern, path, problem",
    [
        ("{a}_{b}_{c}", "x/7_theo_x_y_3.wav", "5 parts separated by '_', expected 3"),
        ("{a}_{b}", "seven.wav", "1 part separated by '_', expected 2"),
        ("{a}_{b}-{c}", "x_y_z.wav", "'x_y_z' does not fit"),
        ("{a}_*", "x_y_z.wav", "3 parts separated by '_', expected 2"),
        ("{a}_{b}", "_b.wav", "'_b' does not fit"),
        ("{a}/{b}/{c}", "x/y.wav", "1 folders above the name, expected 2"),
        ("{a}/{b}", "y.wav", "0 folders above the name, expected 1"),
    ],
)
def test_what_does_not_fit_is_described(pattern, path, problem):
    match = NamePattern(pattern).match(path)
    assert (match.fields, match.problem) == (None, problem)


@pytest.mark.parametrize(
    "pattern, words",
    [
        ("{a}{b}", "without a text between"),
        ("x_{a}{b}_{c}", "without a text between"),
        ("{a}{b}{c}{d}{e}{f}X", "without a text between"),
        ("_".join(f"{{f{n}}}" for n in range(9)), "9 fields; at most 8"),
        ("{a}/{b}_{a}", "name each field once"),
        ("*/*", "name each field once"),
        ("{a}*", "without a text between"),
        ("**_{a}", "without a text between"),
        ("wavs/x", "name each field once"),
    ],
)
def test_patterns_without_a_unique_meaning_are_refused(pattern, words, tmp_path):
    with pytest.raises(DataError, match=words) as error:
        NamePattern(pattern)
    assert len(str(error.value).splitlines()) == 1
    # before the folder is read
    with pytest.raises(DataError, match=words):
        find_audio_files(tmp_path, pattern)


def test_no_pattern_needs_more_than_milliseconds():
    """Regression: six fields on a name of 100 letters needed 15 s, each further one 20 times more.

    One backtracking match of these would take hours. A false alarm needs a pause of 2 s.
    """
    letters = [chr(ord("a") + n) for n in range(MAX_FIELDS)]
    patterns = ["a".join(f"{{{c}}}" for c in letters) + end for end in ("", "X", "aX")]
    patterns += ["a".join(["*"] * count + ["{b}", "X"]) for count in (7, 100)]
    patterns.append("aa".join(f"{{{c}}}" for c in letters) + "X")
    start = time.perf_counter()
    for pattern in patterns:
        for name in ("a" * 100, "a" * 250, "ab" * 120, "a" * 100_000):
            assert parse_file_name(pattern, name) is None
    assert time.perf_counter() - start < 2
