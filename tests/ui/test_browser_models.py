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
    page.wait_for_selector("#model-facts >> text=8,000 Hz")


def test_card_is_shown_and_runs_no_script(page: Any) -> None:
    open_tab(page)
    card = page.wait_for_selector("#model-card >> text=The end of the card.")
    assert card.is_visible()
    text = page.inner_text("#model-card")
    for attack in (ATTACKS[0], ATTACKS[1], ATTACKS[3], ATTACKS[5]):
        assert attack in text
    assert "[image: pixel]" in text
    assert page.query_selector_all("#model-card :is(script, img, svg, iframe, [onerror])") == []
    # An image that is inserted later has run its own handler: those of the card would have run too.
    page.evaluate(
        """() => document.body.insertAdjacentHTML(
          'beforeend', '<img src="x" onerror="window.control = true" hidden>')"""
    )
    page.wait_for_function("window.control === true")
    assert page.evaluate("window.attacked") is None
    assert "cc0-1.0" in page.inner_text("#model-facts")


def test_checkpoint_is_downloaded_and_another_imported(
    page: Any, url: str, folder: Path, tmp_path: Path
) -> None:
    open_tab(page)
    with page.expect_download() as download:
        page.click("#model-download")
    assert download.value.suggested_filename == "digits.zip"
    data = Path(download.value.path()).read_bytes()
    with zipfile.ZipFile(BytesIO(data)) as file:
        weights = (folder / "digits" / "model.safetensors").read_bytes()
        assert file.read("digits/model.safetensors") == weights
    bad = tmp_path / "bad.zip"
    with zipfile.ZipFile(bad, "w") as file:
        file.writestr("../evil.py", b"1/0")
    page.click("text=Import a checkpoint")
    page.set_input_files("#model-upload input[type=file]", bad)
    page.wait_for_selector("#model-message [role=alert] >> text=bad.zip")
    save_checkpoint(tmp_path, "brass", 2 * RATE, {"instrument": ("horn",)})
    zip_archive.pack(tmp_path / "brass", tmp_path / "brass.zip")
    page.set_input_files("#model-upload input[type=file]", tmp_path / "brass.zip")
    page.wait_for_selector("#model-message [role=status] >> text=brass is imported")
    page.wait_for_selector("#model-facts >> text=16,000 Hz")
    assert page.input_value("#model-choice input") == "brass"
    page.goto(url)
    page.wait_for_selector("#generate:not([disabled])")
    page.click("#checkpoint input")
    page.wait_for_selector("[role=option]:has-text('brass')")
