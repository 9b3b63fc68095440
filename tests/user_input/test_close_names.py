"""Names that differ in case, separators or a letter."""

import pytest

from wavenet.user_input.close_names import find_close_name, find_equal_name, normalise_name

KNOWN = ("id", "digit", "speaker", "speaker_id", "top_k", "file_name")


@pytest.mark.parametrize("name", ["Speaker ID", "speaker-id", "speakerId", " SPEAKER_ID "])
def test_case_and_separators_do_not_matter(name: str) -> None:
    assert normalise_name(name) == "speaker_id"
    assert find_equal_name(name, KNOWN) == "speaker_id"


def test_an_identical_name_comes_first_and_an_ambiguous_one_is_not_guessed() -> None:
    assert find_equal_name("Digit", ("digit", "Digit")) == "Digit"
    assert find_equal_name("DIGIT", ("digit", "Digit")) is None


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("digits", "digit"),
        ("digt", "digit"),
        ("speeker", "speaker"),
        ("filname", "file_name"),
        ("temperature", None),
        ("text", None),
        ("", None),
    ],
)
def test_close_names(name: str, expected: str | None) -> None:
    assert find_close_name(name, KNOWN) == expected
