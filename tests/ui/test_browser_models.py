"""The Models tab in a real browser, with a card that tries to run scripts."""

import shutil
import zipfile
from collections.abc import Iterator
from io import BytesIO
from pathlib import Path
from typing import Any

import pytest

from wavenet.sharing import zip_archive

from .conftest import RATE, save_checkpoint

pytestmark = pytest.mark.browser

ATTACKS = (
    "<script>window.attacked = 1</script>",
    "<img src=x onerror='window.attacked = 2'>",
    "<svg onload='window.attacked = 3'></svg>",
    "${window.attacked = 4}",
    "`${window.attacked = 5}`",
    "{{#with (lookup this 'constructor')}}{{this}}{{/with}} {{value}}",
    "[press](javascript:window.attacked=6)",
    "![pixel](https://example.org/pixel.png)",
    "@children",
)


@pytest.fixture(autouse=True)
def folder(root: Path) -> Iterator[Path]:
    """The checkpoints, one with that card; they are restored at the end."""
    before = set(root.iterdir())
    card = "---\nlicense: cc0-1.0\n---\n# A card\n\n" + "\n\n".join(ATTACKS)
    (root / "digits" / "README.md").write_text(card + "\n\nThe end of the card.\n")
    yield root
    (root / "digits" / "README.md").unlink()
    for added in set(root.iterdir()) - before:
        shutil.rmtree(added)


def open_tab(page: Any) -> None:
    page.get_by_role("tab", name="Models").click()
    page.wait_for_selector("[data-model=digits] [data-action=use]")


def test_card_is_shown_and_runs_no_script(page: Any) -> None:
    open_tab(page)
    assert not page.is_visible("[data-model=digits] .card")
    page.click("[data-model=digits] summary:has-text('Card')")
    card = page.wait_for_selector("[data-model=digits] .card >> text=The end of the card.")
    assert card.is_visible()
    text = page.inner_text("[data-model=digits] .card")
    for attack in (ATTACKS[0], ATTACKS[1], ATTACKS[3], ATTACKS[5]):
        assert attack in text
    assert "[image: pixel]" in text
    assert (
        page.query_selector_all("#model-shelf .card :is(script, img, svg, iframe, [onerror])") == []
    )
    # An image that is inserted later has run its own handler: those of the card would have run too.
    page.evaluate(
        """() => document.body.insertAdjacentHTML(
          'beforeend', '<img src="x" onerror="window.control = true" hidden>')"""
    )
    page.wait_for_function("window.control === true")
    assert page.evaluate("window.attacked") is None
    assert "cc0-1.0" in page.inner_text("[data-model=digits]")


@pytest.mark.slow
def test_checkpoint_is_downloaded_and_another_imported(
    page: Any, url: str, folder: Path, tmp_path: Path
) -> None:
    open_tab(page)
    with page.expect_download() as download:
        page.click("[data-model=digits] [data-action=download]")
    assert download.value.suggested_filename == "digits.zip"
    data = Path(download.value.path()).read_bytes()
    with zipfile.ZipFile(BytesIO(data)) as file:
        weights = (folder / "digits" / "model.safetensors").read_bytes()
        assert file.read("digits/model.safetensors") == weights
    bad = tmp_path / "bad.zip"
    with zipfile.ZipFile(bad, "w") as file:
        file.writestr("../evil.py", b"1/0")
    page.click("text=Import a model")
    page.set_input_files("#model-upload input[type=file]", bad)
    page.wait_for_selector("#model-import-message [role=alert] >> text=bad.zip")
    import_brass(page, tmp_path)
    page.click("#model input")
    page.wait_for_selector("[role=option]:has-text('brass')")


def import_brass(page: Any, tmp_path: Path) -> None:
    save_checkpoint(tmp_path, "brass", 2 * RATE, {"instrument": ("horn",)})
    zip_archive.pack(tmp_path / "brass", tmp_path / "brass.zip")
    page.set_input_files("#model-upload input[type=file]", tmp_path / "brass.zip")
    page.wait_for_selector("#model-import-message [role=status] >> text=brass is imported")
    page.wait_for_selector("[data-model=brass]")


def wait_for_model(page: Any, name: str) -> None:
    page.wait_for_function(
        "name => document.querySelector('#model input').value === name", arg=name
    )


def test_imported_model_is_used_renamed_and_deleted(
    page: Any, folder: Path, tmp_path: Path
) -> None:
    open_tab(page)
    page.click("text=Import a model")
    import_brass(page, tmp_path)
    page.click("[data-model=brass] [data-action=use]")
    wait_for_model(page, "brass")
    page.wait_for_selector("#generate", state="visible")
    open_tab(page)
    assert page.query_selector_all("[data-model=digits] [data-action=delete]") == []
    page.click("[data-model=brass] summary:has-text('Rename')")
    page.fill("[data-model=brass] input", "digits")
    page.press("[data-model=brass] input", "Enter")
    page.wait_for_selector("[data-model=brass] [role=alert] >> text=digits exists already")
    page.fill("[data-model=brass] input", "horn")
    page.press("[data-model=brass] input", "Enter")
    page.wait_for_selector("#model-message >> text=brass is now horn")
    wait_for_model(page, "horn")
    assert not page.is_visible("[data-model=horn] [data-action=delete]"), "it asks once"
    page.click("[data-model=horn] summary:has-text('Delete')")
    page.click("[data-model=horn] [data-action=delete]")
    page.wait_for_selector("#model-message >> text=horn is deleted")
    wait_for_model(page, "digits")
    assert {path.name for path in folder.iterdir()} == {
        "compare",
        "digits",
        "notes",
        "overdrive",
    }


@pytest.mark.slow
def test_sample_is_played_and_parts_of_the_card_stay_open(page: Any) -> None:
    open_tab(page)
    page.click("[data-model=digits] summary:has-text('Facts')")
    page.click("[data-model=digits] [data-action=sample]")
    page.wait_for_selector("[data-model=digits][data-sample*=sample]")
    assert page.is_visible("[data-model=digits] .facts")
    clip = page.get_attribute("[data-model=digits]", "data-sample")
    assert page.request.get(page.url + clip, max_retries=2).body()[:4] == b"RIFF"
    page.wait_for_selector("[data-model=digits] [data-action=sample]:not([disabled])")


@pytest.mark.slow
def test_training_can_start_from_a_model(page: Any) -> None:
    open_tab(page)
    page.click("[data-model=notes] [data-action=train]")
    page.wait_for_selector("#train-about >> text=Continues the model notes")
    assert page.input_value("#train-start-from input") == "notes"
