"""The Models tab without a browser: its callbacks, called by the names of their inputs."""

import shutil
import zipfile
from pathlib import Path
from typing import Any

import gradio as gr
import numpy as np
import pytest

import wavenet
from audio_utils import io
from tests.speech.tiny_voice import save_voice
from wavenet.model.conditions import MelCondition
from wavenet.sharing import zip_archive
from wavenet.sharing.local_models import is_added, mark_added
from wavenet.ui.checkpoint_library import load_checkpoint
from wavenet.ui.generate.generate_events import start_here
from wavenet.ui.hub_download import ALLOW_IMPORT
from wavenet.ui.models.model_sample import SAMPLE_TEXT, make_sample, sample_path
from wavenet.ui.models.model_shelf import describe_values, shelf_html
from wavenet.ui.models.models_events import (
    CHANGE_DISABLED,
    IMPORT_DISABLED,
    import_archive,
    run_model_action,
)
from wavenet.ui.page import Page
from wavenet.ui.speak.speech_job import SpeechSettings, make_speech_job
from wavenet.ui.studio_app import build_studio

from .bare_page import bare_page, event_of, merge
from .conftest import RATE, build_page, save_checkpoint

CARD = (
    "---\nlicense: cc0-1.0\n---\n# Notes <img src=x onerror=alert(1)>\n\nTwo\n*notes*.\n\nMore.\n"
)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder of checkpoints that a test may change."""
    save_checkpoint(tmp_path / "all", "digits", RATE, {"digit": ("0", "1")})
    (tmp_path / "all" / "digits" / "README.md").write_text(CARD)
    return tmp_path / "all"


@pytest.fixture
def brass(tmp_path: Path) -> Path:
    """An archive of another checkpoint."""
    save_checkpoint(tmp_path / "theirs", "brass", 2 * RATE, {"instrument": ("horn",)})
    zip_archive.pack(tmp_path / "theirs" / "brass", tmp_path / "brass.zip")
    return tmp_path / "brass.zip"


@pytest.fixture(autouse=True)
def at_home(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv("SPACE_ID", raising=False)
    monkeypatch.delenv(ALLOW_IMPORT, raising=False)
    monkeypatch.setenv("GRADIO_TEMP_DIR", str(tmp_path / "uploads"))


@pytest.fixture
def page(folder: Path) -> Page:
    return bare_page(folder)


def act(page: Page, action: Any, name: Any, text: Any = "", chosen: str = "digits") -> Any:
    """Return the newest outputs of an action of a card."""
    event = event_of(action=action, name=name, text=text)
    return merge(run_model_action(page, start_here, event=event, chosen=chosen))


def test_card_of_a_model_has_facts_summary_and_licence(folder: Path) -> None:
    shelf = shelf_html(folder, True)
    for text in ("cc0-1.0", "8,000 Hz", "32 samples", "4.0 ms", "Condition: digit", "0, 1"):
        assert text in shelf
    model = load_checkpoint(folder, "digits").model
    assert f"{model.parameter_count:,}" in shelf
    assert "<h3>Notes &lt;img" in shelf
    assert '<p class="summary">Two notes.</p>' in shelf
    (folder / "digits" / "README.md").unlink()
    shelf = shelf_html(folder, True)
    assert "not stated" in shelf
    assert "no card" in shelf


def test_only_added_models_can_be_renamed_and_deleted(folder: Path) -> None:
    assert 'data-action="rename"' not in shelf_html(folder, True)
    mark_added(folder / "digits")
    shelf = shelf_html(folder, True)
    assert 'data-action="rename"' in shelf and 'data-action="delete"' in shelf
    assert 'data-action="train"' in shelf
    assert 'data-action="train"' not in shelf_html(folder, False)


def test_sample_is_generated_once_and_always_the_same(folder: Path, page: Page) -> None:
    assert 'data-sample=""' in shelf_html(folder, True)
    updates = act(page, "sample", "digits")
    path = sample_path(folder / "digits")
    assert f'data-sample="gradio_api/file={path}"' in updates["shelf"]
    assert updates["message"] == ""
    first = path.read_bytes()
    assert make_sample(load_checkpoint(folder, "digits"), start_here) == path
    assert path.read_bytes() == first
    save_checkpoint(folder, "digits", 2 * RATE, {"digit": ("0", "1")})
    assert sample_path(folder / "digits") != path, "the model has changed"


def test_vocoder_has_a_sample_too(folder: Path, page: Page) -> None:
    mel = MelCondition(name="mel", n_mels=8)
    save_checkpoint(folder, "speech", RATE, {}, mel)
    act(page, "sample", "speech")
    assert io.read(sample_path(folder / "speech")).waveform.numel() == 2 * RATE


def test_the_sample_of_a_voice_is_a_spoken_sentence(folder: Path, page: Page) -> None:
    save_voice(folder / "tiny")
    act(page, "sample", "tiny")
    clip = io.read(sample_path(folder / "tiny"))
    spoken = wavenet.load(folder / "tiny").speak(SAMPLE_TEXT, seed=0)
    assert clip.sample_rate == spoken.sample_rate
    np.testing.assert_allclose(clip.waveform, spoken.waveform, atol=1 / 32768)


def test_a_voice_is_downloaded_and_imported_again(folder: Path, page: Page, tmp_path: Path) -> None:
    save_voice(folder / "tiny")
    event = event_of(action="download", name="tiny", text="")
    packed = run_model_action(page, start_here, event=event, chosen="digits")
    other = tmp_path / "other"
    other.mkdir()
    updates = import_archive(bare_page(other), upload=next(packed)["package"])
    assert "tiny is imported" in updates["message"]
    job = make_speech_job(other, "tiny", SpeechSettings(text="Hello."))
    assert job.voice.name == "tiny"
    assert is_added(other, other / "tiny")


def test_sample_waits_for_its_turn(folder: Path, page: Page) -> None:
    event = event_of(action="sample", name="digits", text="")
    with page.turns.turn():
        updates = run_model_action(page, start_here, event=event, chosen="digits")
        assert "Sample of digits: Waiting: 1 job before you" in next(updates)["message"]
    assert "data-sample" in merge(updates)["shelf"]


def test_use_chooses_the_model_and_opens_generate(folder: Path, page: Page) -> None:
    save_checkpoint(folder, "brass", RATE, {"instrument": ("horn",)})
    used = act(page, "use", "brass")
    assert used["model"]["value"] == "brass"
    assert used["tabs"] == gr.update(selected="generate")
    trained = act(page, "train", "brass")
    assert trained["start_from"]["value"] == "brass"
    assert ("brass", "brass") in trained["start_from"]["choices"]
    assert trained["tabs"] == gr.update(selected="train")
    del page.model_lists["start_from"]  # training is disabled
    assert "unknown action" in error_at(act(page, "train", "brass"), "brass")


def test_rename_and_delete_update_the_page(folder: Path, page: Page) -> None:
    save_checkpoint(folder, "brass", RATE, {"instrument": ("horn",)})
    assert "stays" in error_at(act(page, "rename", "brass", "horn"), "brass")
    mark_added(folder / "brass")
    renamed = act(page, "rename", "brass", "horn", chosen="brass")
    assert renamed["model"]["value"] == "horn"
    assert "brass is now horn" in renamed["message"]
    deleted = act(page, "delete", "horn", chosen="horn")
    assert deleted["model"] == gr.update(choices=["digits"], value="digits")
    assert "horn" not in deleted["shelf"]
    assert "value" not in act(page, "delete", "digits")["model"]


@pytest.mark.parametrize("action", ["use", "sample", "download", "rename", "delete", "x", None])
@pytest.mark.parametrize("name", ["none", "../all/digits", "", None, ["digits"]])
def test_invalid_events_are_an_error_without_server_paths(
    folder: Path, page: Page, action: Any, name: Any
) -> None:
    updates = act(page, action, name, "new")
    message = updates["message"]
    assert "role='alert'" in message
    assert str(folder) not in message
    assert [path.name for path in folder.iterdir()] == ["digits"]


def error_at(updates: dict[str, Any], name: str) -> str:
    """Return the message in the card of a model; the message above all cards is empty."""
    assert updates["message"] == ""
    cards = {card.split('"')[0]: card for card in updates["shelf"].split('data-model="')[1:]}
    assert [other for other, card in cards.items() if "role='alert'" in card] == [name]
    return cards[name]


def test_messages_of_an_import_are_beside_its_buttons(folder: Path) -> None:
    studio, _ = build_page(folder)
    for name in ("import_archive", "import_from_hub"):
        (event,) = (event for event in studio.fns.values() if event.name == name)
        ids = [output.elem_id for output in event.outputs]
        assert "model-import-message" in ids
        assert "model-message" not in ids


def test_values_of_every_kind_of_condition_are_described() -> None:
    from tests.conftest import tiny_config
    from wavenet.model.conditions import LabelCondition

    config = tiny_config(conditions="all")
    assert [describe_values(condition) for condition in config.conditions] == [
        "3 numbers per frame",
        "a, b, c",
        "-40 to 0 dB",
        "4 numbers",
        "2 numbers per frame",
        "computed from the position in the clip",
    ]
    many = LabelCondition(name="word", values=tuple(str(n) for n in range(1234)))
    assert describe_values(many).endswith("19, and 1,214 more")


def test_damaged_model_or_card_is_an_error(folder: Path) -> None:
    (folder / "digits" / "README.md").write_bytes(b"\xff")
    shelf = shelf_html(folder, True)
    assert 'role="alert"' in shelf and "README.md" in shelf
    (folder / "digits" / "config.json").write_bytes(b"{}")
    shelf = shelf_html(folder, True)
    assert 'role="alert"' in shelf and "config.json" in shelf
    assert str(folder) not in shelf


def test_download_can_be_imported_again(folder: Path, page: Page, tmp_path: Path) -> None:
    (folder / "digits" / "private.txt").write_text("must not be packed")
    event = event_of(action="download", name="digits", text="")
    packed = run_model_action(page, start_here, event=event, chosen="digits")
    path = Path(next(packed)["package"])
    with zipfile.ZipFile(path) as file:
        names = ["digits/config.json", "digits/model.safetensors", "digits/README.md"]
        assert file.namelist() == names
    other = tmp_path / "other"
    other.mkdir()
    updates = import_archive(bare_page(other), upload=str(path))
    assert "digits is imported" in updates["message"]
    assert updates["model"]["choices"] == ["digits"]
    assert 'data-model="digits"' in updates["shelf"]
    assert is_added(other, other / "digits")
    assert list(packed) == []
    assert not path.exists(), "the temporary file was not deleted"


@pytest.mark.parametrize(
    ("content", "words"),
    [(b"no zip", "zip"), (None, "brass")],
)
def test_invalid_archive_is_an_error(
    folder: Path, page: Page, brass: Path, content: bytes | None, words: str
) -> None:
    if content is not None:
        brass.write_bytes(content)
    else:
        shutil.copytree(folder / "digits", folder / "brass")
    updates = import_archive(page, upload=str(brass))
    assert updates.keys() == {"upload", "message"}
    assert updates["upload"] is None
    assert "role='alert'" in updates["message"]
    assert words in updates["message"]
    assert str(folder) not in updates["message"]


def test_names_in_an_archive_are_escaped(page: Page, tmp_path: Path) -> None:
    path = tmp_path / "a.zip"
    with zipfile.ZipFile(path, "w") as file:
        file.writestr("<img src=x onerror=alert(1)>", b"")
    message = import_archive(page, upload=str(path))["message"]
    assert "&lt;img" in message
    assert "<img" not in message


def test_space_imports_and_changes_models_only_if_allowed(
    folder: Path, page: Page, brass: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def has_upload() -> bool:
        blocks = build_studio(folder).blocks.values()
        return any(block.elem_id == "model-upload" for block in blocks)

    assert has_upload()
    monkeypatch.setenv("SPACE_ID", "me/studio")
    assert not has_upload()
    assert IMPORT_DISABLED in import_archive(page, upload=str(brass))["message"]
    assert not (folder / "brass").exists()
    mark_added(folder / "digits")
    assert CHANGE_DISABLED in error_at(act(page, "delete", "digits"), "digits")
    assert (folder / "digits").exists()
    monkeypatch.setenv(ALLOW_IMPORT, "1")
    assert has_upload()
    import_archive(page, upload=str(brass))
    assert (folder / "brass").exists()
    assert import_archive(page, upload=None) == {}
