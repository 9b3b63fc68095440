"""The choice of an effect: by name, by a dropped file, and hostile values."""

from pathlib import Path
from typing import Any

import pytest

from wavenet.errors import ConditionError, EffectFileError
from wavenet.ui.effects.effect_choices import (
    MAX_KNOBS,
    choose_effect,
    effect_html,
    knob_updates,
    list_studio_effects,
)
from wavenet.ui.effects.effect_events import export_effect, list_effect_choices, show_effect

from .conftest import bare_page
from .effect_folder import HOSTILE, KNOB, save_effect, save_nam


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working folder with an effect among the checkpoints, and one of a run."""
    monkeypatch.chdir(tmp_path)
    save_effect(tmp_path / "checkpoints" / "drive")
    save_effect(tmp_path / "runs" / "mine", knobs=())
    return tmp_path


def test_trained_effects_and_those_of_runs_are_listed(home: Path) -> None:
    root = home / "checkpoints"
    found = list_studio_effects(root)
    assert list(found) == ["drive", "overdrive", "mine"]  # the second is shipped
    assert found["drive"] == root / "drive"
    assert found["mine"] == home / "runs" / "mine"
    shown = list_effect_choices(bare_page(root), effect="mine")["effect"]
    assert shown["value"] == "mine"
    assert list_effect_choices(bare_page(root), effect="gone")["effect"]["value"] in found


def test_an_effect_has_its_knobs(home: Path) -> None:
    effect = choose_effect(home / "checkpoints", "drive", None)
    assert effect.knobs == {KNOB: 0.25}
    shown, *hidden = knob_updates(effect)
    assert (shown["label"], shown["value"], shown["visible"]) == (KNOB, 0.25, True)
    assert len(hidden) == MAX_KNOBS - 1
    assert not any(update["visible"] for update in hidden)
    low, setting = effect.model_at([0.0])
    assert setting == {KNOB: 0.0}
    default, setting = effect.model_at([None])
    assert setting == {KNOB: 0.25}
    assert (low.weights != default.weights).any()
    with pytest.raises(ConditionError, match="knob gain"):
        effect.model_at([1.5])


def test_a_file_comes_before_the_list(home: Path) -> None:
    path = save_nam(home / "amp.nam")
    effect = choose_effect(home / "checkpoints", "drive", str(path))
    assert (effect.name, effect.knobs, effect.folder) == ("amp", {}, None)
    text = effect_html(effect)
    assert "48,000 Hz" in text
    assert "ms" in text
    assert "&lt;i&gt;box&lt;/i&gt;" in text
    assert "belongs to its maker" in text


@pytest.mark.parametrize("name", [None, "", "gone", "../drive", 3, ["drive"]])
def test_other_names_are_one_sentence(home: Path, name: Any) -> None:
    with pytest.raises(ConditionError):
        choose_effect(home / "checkpoints", name, None)


def test_a_hostile_file_is_one_sentence_without_its_path(home: Path) -> None:
    path = home / "evil.nam"
    path.write_text(HOSTILE)
    with pytest.raises(EffectFileError) as caught:
        choose_effect(home / "checkpoints", "drive", str(path))
    assert str(caught.value).startswith("evil.nam")
    shown = show_effect(bare_page(home / "checkpoints"), effect="drive", upload=str(path))
    assert shown["upload"] is None
    assert "role='alert'" in shown["about"]
    assert "&lt;b&gt;Evil" in shown["about"]
    assert str(home) not in shown["about"]


def test_the_export_has_the_knobs_of_the_page(home: Path, uploads: Path) -> None:
    page = bare_page(home / "checkpoints")
    found = export_effect(page, effect="drive", upload=None, knob_0=0.75)["package"]["value"]
    assert Path(found).name == "drive_gain0.75.nam"
    exported = choose_effect(home, None, found).loaded.model_at()
    expected, _ = choose_effect(page.root, "drive", None).model_at([0.75])
    assert (exported.weights == expected.weights).all()
