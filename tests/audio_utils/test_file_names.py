"""File names have at most 255 bytes, whatever letters they have."""

from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from audio_utils.file_names import MAX_NAME_BYTES, find_long_part, name_size, shorten_name


def test_a_name_that_fits_is_unchanged():
    assert shorten_name("音" * 85) == "音" * 85
    assert shorten_name("a" * 255) == "a" * 255


def test_a_long_name_keeps_its_beginning_and_whole_letters():
    name = shorten_name("音" * 100, 100)
    beginning, _, digest = name.rpartition("-")
    assert beginning == "音" * 30  # 90 of the 91 bytes that the hash leaves
    assert len(digest) == 8
    assert name != shorten_name("音" * 101, 100)


@given(st.text(st.characters(codec=None), max_size=400), st.integers(16, 300))
def test_any_name_is_short_enough_and_can_be_a_file(text, max_bytes):
    short = shorten_name(text, max_bytes)
    assert name_size(short) <= max_bytes
    assert short == text or text.startswith(short.rpartition("-")[0])


def test_the_long_part_of_a_path_is_found_by_bytes(tmp_path):
    part = "音" * 86
    assert find_long_part(tmp_path / part / "x.wav") == part
    assert find_long_part(tmp_path / ("音" * 85)) is None
    (tmp_path / ("音" * 85)).touch()
    assert find_long_part(Path("a" * (MAX_NAME_BYTES + 1))) == "a" * 256
