"""The form of conditions: its fields for every kind of condition, and hostile messages."""

import json
import math
from pathlib import Path
from typing import Any

import pytest

from wavenet.errors import ConditionError
from wavenet.model.conditions import LabelCondition, NumberCondition
from wavenet.ui.checkpoint_library import load_checkpoint
from wavenet.ui.model_bar.condition_form import form_message, form_values, resolve_each

from .conftest import RATE, save_checkpoint
from .test_generate_events import save_conditioned


def message(root: Path, name: str, **values: Any) -> dict[str, Any]:
    return form_message(load_checkpoint(root, name).config, values)


def test_labels_are_chips_or_a_list(root: Path, tmp_path: Path) -> None:
    shown = message(root, "digits")
    assert [field["name"] for field in shown["fields"]] == ["digit", "speaker"]
    assert [field["isChips"] for field in shown["fields"]] == [True, True]
    assert shown["fields"][0]["options"] == list("0123456789")
    assert shown["values"] == {"digit": "7", "speaker": "jackson"}
    assert message(root, "notes")["values"] == {"instrument": "flute"}
    save_checkpoint(tmp_path, "many", RATE, {"letter": tuple("abcdefghijklmnop")})
    assert not message(tmp_path, "many")["fields"][0]["isChips"]


def test_every_kind_of_condition_has_a_field(tmp_path: Path) -> None:
    save_conditioned(tmp_path)
    for name in ("global", "vocoder"):
        shown = message(tmp_path, name)
        tone, level = shown["fields"]
        assert (tone["options"], tone["isOptional"]) == (["a", "b"], True)
        assert (level["title"], level["low"], level["high"]) == ("Level (-60 to 0 dB)", -60, 0)
        assert shown["values"]["level"] == -30


def test_placeholder_shows_the_default_of_a_number(tmp_path: Path) -> None:
    default = {"default": -15}
    optional = (
        ("none", {}),
        ("plain", default),
        ("derived", default | {"derived_from": "loudness"}),
    )
    for name, options in optional:
        number = NumberCondition(name="level", low=-60, high=0, dropout=0.1, **options)
        save_checkpoint(tmp_path, name, RATE, {}, number)
    required = NumberCondition(name="level", low=-60, high=0, **default)
    save_checkpoint(tmp_path, "required", RATE, {}, required)
    shown = [message(tmp_path, name) for name in ("none", "plain", "derived", "required")]
    assert [s["values"]["level"] for s in shown] == ["", "", "", -15]
    expected = ["", "-15", "-15, or as in the prompt", ""]
    assert [s["fields"][0]["placeholder"] for s in shown] == expected


def test_more_conditions_than_any_fixed_number_of_widgets(tmp_path: Path) -> None:
    labels = [LabelCondition(name=f"label{n}", values=("a", "b")) for n in range(12)]
    save_checkpoint(tmp_path, "wide", RATE, {}, *labels)
    assert len(message(tmp_path, "wide")["fields"]) == 12


@pytest.mark.parametrize(
    "value",
    [
        None,
        "x",
        3,
        math.nan,
        ["7"],
        {"a": 1},
        True,
        "\ud800",
        pytest.param("9" * 100_000, id="long"),
        [[[]]],
    ],
)
def test_unusable_kept_values_are_replaced_by_defaults(root: Path, value: Any) -> None:
    shown = message(root, "digits", digit=value, speaker="george")
    assert shown["values"] == {"digit": "7" if value != 3 else "3", "speaker": "george"}


@pytest.mark.parametrize(
    "form", [None, 3, "x", [], {}, {"values": None}, {"values": [["digit", "7"]]}]
)
def test_a_message_without_values_is_an_error(root: Path, form: Any) -> None:
    with pytest.raises(ConditionError, match="reload the page"):
        form_values(load_checkpoint(root, "digits").config.model, form)


@pytest.mark.parametrize(
    "value",
    [
        "x",
        30,
        math.nan,
        math.inf,
        ["7"],
        {"a": 1},
        True,
        "\ud800",
        pytest.param("9" * 100_000, id="long"),
        pytest.param(10**400, id="huge"),
    ],
)
def test_an_invalid_value_is_an_error_of_one_sentence(root: Path, value: Any) -> None:
    model = load_checkpoint(root, "digits").config.model
    with pytest.raises(ConditionError) as caught:
        form_values(model, {"values": {"digit": value, "speaker": "jackson"}})
    assert "digit" in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "value",
    [
        "loud",
        3,
        "3",
        math.nan,
        math.inf,
        [[1], [2, 3]],
        {"a": 1},
        "\ud800",
        pytest.param(10**400, id="huge"),
        True,
        None,
    ],
)
def test_a_number_that_does_not_fit_is_replaced_by_the_default(tmp_path: Path, value: Any) -> None:
    save_conditioned(tmp_path)
    model = load_checkpoint(tmp_path, "global").config.model
    usable, problems = resolve_each(model, {"level": value})
    assert usable == {}
    assert len(problems) == (value is not None)
    assert all("level" in problem for problem in problems)
    assert message(tmp_path, "global", level=value)["values"]["level"] == -30


def test_conditions_of_other_models_and_empty_values_are_omitted(root: Path) -> None:
    model = load_checkpoint(root, "digits").config.model
    values = {"digit": 7, "speaker": "", "instrument": "flute", "tone": [1]}
    assert form_values(model, {"values": values}) == {"digit": "7"}


def test_the_message_is_json(root: Path) -> None:
    json.dumps(message(root, "digits"), allow_nan=False)
