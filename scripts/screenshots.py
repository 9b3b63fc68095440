"""Take screenshots of every tab of the studio: light and dark, wide and on a phone.

python scripts/screenshots.py                    # writes docs/screenshots/TAB-SCHEME-WIDTH.png
python scripts/screenshots.py --tab models --out build/shots

Each tab is first filled with example input. `attention` and `kernels` are parts of tabs, with
members of the comparison as the model; they are taken only light and wide. The studio runs in its
own process on a free port of this machine, with the checkpoints of the project. This needs Chromium
or Chrome and the packages of `make test`.
"""

import argparse
import shutil
import sys
import tempfile
import time
from collections.abc import Callable
from io import BytesIO
from pathlib import Path
from typing import Any

import torch
from PIL import Image

sys.path.insert(0, str(Path(__file__).parents[1]))
from audio_utils.example_sound import make_note
from audio_utils.io import write
from tests.ui.studio_process import FLAGS, ROOT, find_browser, studio_process

WIDTHS = {"wide": (1280, 900), "phone": (390, 844)}
SCHEMES = ("light", "dark")
COLOURS = 256
NO_DITHER = Image.Dither.NONE
IMAGES_LOADED = """() => [...document.images].filter((i) => i.offsetParent).every(
  (i) => i.complete && i.naturalWidth > 0)"""


def main() -> None:
    """Take the screenshots of all selected tabs."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, default=ROOT / "docs" / "screenshots")
    parser.add_argument(
        "--tab", action="append", help="id of a tab, such as receptive-field; by default all"
    )
    options = parser.parse_args()
    path = find_browser()
    if path is None:
        raise SystemExit("Chromium or Chrome is not installed; install one of them")
    from playwright.sync_api import sync_playwright

    options.out.mkdir(parents=True, exist_ok=True)
    size = 0
    with (
        tempfile.TemporaryDirectory() as folder,
        studio_process(copy_checkpoints(Path(folder))) as url,
        sync_playwright() as driver,
    ):
        browser = driver.chromium.launch(executable_path=path, args=list(FLAGS))
        page = open_page(browser, url, SCHEMES[0], next(iter(WIDTHS)))
        fill_generate(page)  # the first clip after a start is slower than all later ones
        page.close()
        for width in WIDTHS:
            for scheme in SCHEMES:
                page = open_page(browser, url, scheme, width)
                for name in options.tab or [*list_tabs(page), *PARTS]:
                    if name in PARTS and (scheme, width) != ("light", "wide"):
                        continue
                    file = options.out / f"{name}-{scheme}-{width}.png"
                    size += (
                        take_part(page, name, file) if name in PARTS else take_tab(page, name, file)
                    )
                    print(file, flush=True)
                page.close()
        browser.close()
    print(f"{size / 1e6:.1f} MB in total")


def copy_checkpoints(folder: Path) -> Path:
    """Copy the checkpoints, because the example of the Train tab adds one; return the folder."""
    shutil.copytree(ROOT / "checkpoints", folder / "checkpoints")
    return folder


def open_page(browser: Any, url: str, scheme: str, width: str) -> Any:
    """Open the studio with a colour scheme and a width."""
    pixels, height = WIDTHS[width]
    page = browser.new_page(viewport={"width": pixels, "height": height}, color_scheme=scheme)
    page.set_default_timeout(120_000)
    page.goto(f"{url}/?__theme={scheme}")
    page.wait_for_selector("#generate:not([disabled])")
    page.wait_for_selector('#viewer .viewer[data-state="shown"]')  # the first clip is ready
    return page


def list_tabs(page: Any) -> list[str]:
    """Return the ids of the tabs that have an example in this file."""
    ids = page.evaluate("window.gradio_config.components.map((c) => c.props?.id ?? '')")
    return [name for name in EXAMPLES if name in ids]


def open_tab(page: Any, name: str) -> None:
    """Open a tab, from the overflow menu if there is no space for it."""
    label = NAMES[name]
    tab = page.get_by_role("tab", name=label, exact=True)
    if not tab.is_visible():
        page.click(".overflow-menu > button")
        tab = page.locator(".overflow-dropdown button", has_text=label)
    tab.click()


def take_tab(page: Any, name: str, file: Path) -> int:
    """Fill a tab and save a screenshot of the page; return the size of the file in bytes."""
    open_tab(page, name)
    EXAMPLES[name](page)
    return save_screenshot(page, file)


def take_part(page: Any, name: str, file: Path) -> int:
    """Save a screenshot of a part of a tab; return the size of the file in bytes."""
    tab, model, selector = PARTS[name]
    page.click("#model input")
    page.fill("#model input", model)
    page.click(f"[role=option]:has-text('{model}')")
    open_tab(page, tab)
    if tab == "watch":
        title = f"{model.rpartition('/')[2]}, "
        page.wait_for_selector('#step-viewer [data-state="ready"]')
        if not page.inner_text("#step-viewer .status").startswith(title):
            page.click("#watch-button")
            page.wait_for_selector(f'#step-viewer [data-state="ready"] >> text={title}')
        fill_watch(page)
    page.wait_for_selector(f"{selector} svg")
    return save_screenshot(page, file, page.locator(selector))


def save_screenshot(page: Any, file: Path, part: Any = None) -> int:
    """Save a screenshot in few colours; return the size of the file in bytes.

    Args:
        page: the page.
        file: to write.
        part: an element; None: the whole page.
    """
    page.wait_for_function(IMAGES_LOADED)
    page.evaluate("window.scrollTo(0, 0); document.activeElement?.blur()")
    page.mouse.move(1, 1)  # no button is highlighted
    time.sleep(0.5)  # animations have ended
    picture = page.screenshot(full_page=True) if part is None else part.screenshot()
    image = Image.open(BytesIO(picture)).convert("RGB")
    reduced = image.quantize(COLOURS, method=Image.Quantize.MAXCOVERAGE, kmeans=3, dither=NO_DITHER)
    reduced.save(file, optimize=True)
    return file.stat().st_size


def fill_generate(page: Any) -> None:
    """Generate a clip and wait for its plots."""
    page.fill("#seed input", "7")
    page.press("#seed input", "Tab")
    page.click("#generate")
    page.wait_for_function(
        "document.querySelector('#live-player .status').textContent.startsWith('Finished')"
    )
    page.wait_for_selector('#results:not(.old) #viewer .viewer[data-state="shown"]')


def fill_analyse(page: Any) -> None:
    """Analyse and score the example."""
    page.click("#example")
    page.wait_for_selector("#score-facts dl")
    page.wait_for_selector("#analysis-viewer .viewer[data-state=shown]")
    page.click("#find-button:not([disabled])")
    page.click("#place-list [data-start]")
    page.press("#analysis-viewer .viewer", "Space")  # pause


def fill_compress(page: Any) -> None:
    """Compress a loud and a quiet note, and restore the file."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "notes.wav"
        note = make_note(220.0, 2.0, 16_000)
        write(path, torch.cat([0.5 * note, 0.01 * note, 0.2 * note]), 16_000)
        page.set_input_files("#compress-uploads input[type=file]", path)
        page.wait_for_selector("#compress-uploads >> text=notes")
        page.click("#compress-start")
        page.wait_for_selector("#compress-picture svg")
        with page.expect_download() as download:
            page.click("#compress-files")
        packed = Path(folder) / "notes.wnc"
        download.value.save_as(packed)
        page.set_input_files("#restore-uploads input[type=file]", packed)
        page.wait_for_selector("#restore-uploads >> text=notes")
        page.click("#restore-start")
        page.wait_for_selector("#restore-player audio, #restore-player canvas", state="attached")


def fill_effects(page: Any) -> None:
    """Render the example with the first effect, if there is one, and measure it."""
    page.wait_for_timeout(1000)  # the page requests the list of effects
    if not page.query_selector("#effects-about dl"):
        return
    page.click("#effects-render")
    page.wait_for_selector("#effects-viewer .viewer[data-state=shown]")
    page.click("#effects-measure-box > button")
    page.click("#effects-measure")
    page.wait_for_selector("#effects-measured svg")


def fill_watch(page: Any) -> None:
    """Go some steps forward in the example."""
    page.wait_for_selector('#step-viewer [data-state="ready"]')
    page.focus("#step-viewer .panel")
    for _ in range(24):
        page.keyboard.press("ArrowRight")


def fill_receptive_field(page: Any) -> None:
    """Measure speed and influence; select an output, so that its receptive field is highlighted."""
    page.click("#measure-speed")
    page.wait_for_selector("#field-speed dl")
    page.click("#measure-influence")
    page.wait_for_selector("#influence-plot svg")
    picture = page.locator("#field-plot svg")
    picture.focus()
    page.keyboard.press("Enter")


def fill_compare(page: Any) -> None:
    """Predict the clip of digits with all members, if there is a comparison."""
    page.wait_for_selector('#comparison [data-state="ready"], #comparison [data-state="error"]')
    if page.query_selector('#comparison [data-state="ready"]'):
        page.wait_for_selector("#comparison-viewer .viewer[data-state=shown]")
        page.click("#predict-members")
        page.wait_for_selector('#member-predictions [data-state="ready"]')


def fill_models(page: Any) -> None:
    """Wait for the cards."""
    page.wait_for_selector("#model-shelf h3")


def fill_train(page: Any) -> None:
    """Train the example once; the other pages show the same run."""
    page.wait_for_selector("#train-example")
    page.wait_for_timeout(1000)  # the page requests the list of runs
    if not page.input_value("#train-run input"):
        page.click("#train-example")
    page.wait_for_selector("#train-clip-1 >> text=Step", timeout=300_000)
    page.wait_for_selector("#train-curves >> text=validation clips")
    page.wait_for_selector("#train-state >> text=Finished")


NAMES = {
    "generate": "Generate",
    "analyse": "Analyse",
    "effects": "Effects",
    "compress": "Compress",
    "watch": "Watch sampling",
    "receptive-field": "Receptive field",
    "compare": "Compare",
    "train": "Train",
    "models": "Models",
}
EXAMPLES: dict[str, Callable[[Any], None]] = {
    "generate": fill_generate,
    "analyse": fill_analyse,
    "effects": fill_effects,
    "compress": fill_compress,
    "watch": fill_watch,
    "receptive-field": fill_receptive_field,
    "compare": fill_compare,
    "train": fill_train,
    "models": fill_models,
}
# Name -> tab, model, element.
PARTS = {
    "attention": ("watch", "compare/transformer", "#step-viewer .attention"),
    "kernels": ("receptive-field", "compare/state-space", "#kernel-plot"),
}


if __name__ == "__main__":
    main()
