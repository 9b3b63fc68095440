"""One meaning, all spellings: names and values of conditions from any program."""

from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from tests.conftest import tiny_config
from wavenet.errors import ConditionError
from wavenet.model.condition_values import resolve_condition_values
from wavenet.model.conditions import LabelCondition, NumberCondition, VectorCondition

SPEAKERS = ("theo", "George", "De Marco", "Jos\u00e9", "ann", "Ann")
CONDITIONS = (
    LabelCondition(name="digit", values=tuple("0123456789"), dropout=0.1),
    LabelCondition(name="speaker_id", values=SPEAKERS, dropout=0.1),
    LabelCondition(name="minute", values=("00", "07", "11", "1.5"), dropout=0.1),
    NumberCondition(name="level", low=-60, high=0, unit="dB", dropout=0.1),
    VectorCondition(name="voice", size=2, dropout=0.1),
)
CONFIG = tiny_config().model_copy(update={"conditions": CONDITIONS})


@pytest.mark.parametrize(
    "value", [7, 7.0, "7", " 7", "7 ", "7.0", "07", "+7", np.int64(7), np.float32(7)]
)
def test_all_spellings_of_a_number_are_one_label(value: Any) -> None:
    assert resolve_condition_values(CONFIG, {"digit": value}) == {"digit": "7"}


@pytest.mark.parametrize(
    ("name", "value", "expected"),
    [
        ("Digit", "7", {"digit": "7"}),
        ("Speaker ID", "THEO", {"speaker_id": "theo"}),
        ("speaker-id", " george", {"speaker_id": "George"}),
        ("speakerId", "de  marco", {"speaker_id": "De Marco"}),
        ("speaker_id", "jose\u0301", {"speaker_id": "Jos\u00e9"}),
        ("speaker_id", "Ann", {"speaker_id": "Ann"}),
        ("minute", 7, {"minute": "07"}),
        ("minute", 0.0, {"minute": "00"}),
        ("minute", 1.5, {"minute": "1.5"}),
        ("level", "-20", {"level": -20.0}),
        ("level", "\u221220", {"level": -20.0}),
        ("level", " -20 db", {"level": -20.0}),
        ("Level", -20, {"level": -20.0}),
        ("level", np.float32(-20), {"level": -20.0}),
        ("digit", None, {}),
    ],
)
def test_names_and_values_of_people_are_those_of_the_model(
    name: str, value: Any, expected: dict[str, Any]
) -> None:
    found = resolve_condition_values(CONFIG, {name: value})
    assert found == expected
    assert list(map(type, found.values())) == list(map(type, expected.values()))


@pytest.mark.parametrize(
    ("name", "value", "words"),
    [
        ("digti", 7, "did you mean 'digit'"),
        ("speaker", "theo", "did you mean 'speaker_id'"),
        ("color", 7, "has no condition 'color'; it has digit"),
        ("speaker_id", "teo", "did you mean 'theo'"),
        ("speaker_id", "ANN", "choose one of theo, George"),
        ("digit", True, "text or a number"),
        ("digit", [7], "text or a number"),
        ("digit", 7.5, "cannot be '7.5'"),
        ("digit", 12, "cannot be '12'"),
        ("digit", float("nan"), "cannot be 'nan'"),
        ("digit", "", "cannot be ''"),
        ("level", True, "text or a number"),
        ("level", "-20,5", "such as -20.5"),
        ("level", "loud", "from -60 to 0 dB"),
    ],
)
def test_an_unknown_name_or_value_is_refused_with_a_hint(name: str, value: Any, words: str) -> None:
    with pytest.raises(ConditionError) as caught:
        resolve_condition_values(CONFIG, {name: value})
    assert words in str(caught.value)


def test_two_spellings_of_one_name_contradict() -> None:
    with pytest.raises(ConditionError, match="digit is set twice"):
        resolve_condition_values(CONFIG, {"digit": "7", "Digit": "8"})


def test_two_spellings_of_one_name_and_value_are_one_value() -> None:
    assert resolve_condition_values(CONFIG, {"digit": 7, "Digit": "7.0"}) == {"digit": "7"}
    assert resolve_condition_values(CONFIG, {"level": -20, "Level": "-20 dB"}) == {"level": -20.0}


def test_a_number_that_two_words_write_is_not_guessed() -> None:
    words = LabelCondition(name="take", values=("1", "01", "001"))
    config = CONFIG.model_copy(update={"conditions": (words,)})
    assert resolve_condition_values(config, {"take": 1.0}) == {"take": "1"}
    with pytest.raises(ConditionError, match="'0001', did you mean"):
        resolve_condition_values(config, {"take": "0001"})


def test_resolved_values_and_tensors_stay_unchanged() -> None:
    vector = torch.ones(2)
    values = {"digit": "7", "level": torch.zeros(5), "voice": vector}
    found = resolve_condition_values(CONFIG, values)
    assert found == values
    assert found["voice"] is vector


@given(st.text() | st.floats() | st.integers() | st.booleans() | st.binary(), st.text())
def test_any_value_is_resolved_or_one_sentence(value: Any, name: str) -> None:
    for given_name in ("digit", "level", name):
        try:
            resolve_condition_values(CONFIG, {given_name: value})
        except ConditionError as error:
            assert len(str(error)) < 1000
