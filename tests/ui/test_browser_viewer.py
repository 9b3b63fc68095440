"""The viewer in a real browser: playback, selection, zoom, values, files, keys, phone and dark.

All tests use one recording: noise, so that each part of it sounds different, with a tone from one
second on. The audio output of the page is recorded.
"""

from collections.abc import Iterator
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
import torch
from PIL import Image

from wavenet.ui.viewer.panels import Panel, signal_panels
from wavenet.ui.viewer.viewer import colour_tables

from .conftest import RATE, VIEWPORT, fresh_visit, tone, visit, wait_for_load
from .studio_process import RECORDER_JS, TIMEOUT_MS

pytestmark = pytest.mark.browser
VIEWER = "#analysis-viewer .viewer"
SECONDS = 2.0
# The end of what has been played, and where the playhead is at the same moment, in px.
HEARD_JS = """() => new Promise((done) => requestAnimationFrame(() => {
  const samples = new Float32Array(window.meter.fftSize);
  window.meter.getFloatTimeDomainData(samples);
  const plot = document.querySelector('#analysis-viewer .u-over').getBoundingClientRect();
  const mark = document.querySelector('#analysis-viewer .playhead').getBoundingClientRect();
  done({ samples: Array.from(samples), latency: window.meter.context.outputLatency || 0,
    share: (mark.left + mark.width / 2 - plot.left) / plot.width });
}))"""
# The check boxes of the panels.
LISTED_JS = "[...document.querySelectorAll('#analysis-viewer [data-list=panels] input')]"
PIXEL_JS = """([title, x, y]) => {
  const figure = document.querySelector(`#analysis-viewer [data-panel="${title}"]`);
  const canvas = figure.querySelector('canvas');
  const box = canvas.getBoundingClientRect();
  const scale = canvas.width / box.width;
  const at = [x - box.left, y - box.top].map((v) => Math.floor(v * scale));
  return Array.from(canvas.getContext('2d').getImageData(...at, 1, 1).data).slice(0, 3);
}"""


@pytest.fixture(scope="module")
def samples() -> Any:
    """Return the recording: 16-bit values."""
    noise = np.random.default_rng(0).uniform(-0.05, 0.05, round(SECONDS * RATE))
    noise[RATE:] += tone(1.0, RATE, 900, 0.5)
    return np.rint(noise * 32768).astype(np.int16)


@pytest.fixture(scope="module")
def recording(samples: Any, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("viewer") / "sound.wav"
    soundfile.write(path, samples, RATE, subtype="PCM_16")
    return path


def analyse(page: Any, recording: Path) -> None:
    """Open the tab, upload the recording and wait until it is scored."""
    page.get_by_role("tab", name="Analyse").click()
    page.set_input_files("#recording input[type=file]", recording)
    page.wait_for_selector("#recording a[download]", state="attached")  # uploaded
    page.click("#analyse")
    page.wait_for_selector("#score-facts dl")
    page.wait_for_selector(f"{VIEWER}[data-state=shown]")
    page.wait_for_function("document.querySelector('#analysis-status p') === null")


@pytest.fixture(scope="module")
def shown(shared_url: str, browser: Any, recording: Path) -> Iterator[Any]:
    """A page that shows the recording in the viewer."""
    with visit(browser, shared_url) as page:
        analyse(page, recording)
        page.evaluate(f"window.listed = {LISTED_JS}.map((box) => box.checked)")
        yield page


@pytest.fixture
def viewer(shown: Any) -> Any:
    """The page of `shown`, paused at the start, without a selection, not zoomed."""
    shown.set_viewport_size(VIEWPORT)
    shown.emulate_media(reduced_motion="no-preference")
    shown.get_by_role("tab", name="Analyse").click()  # a test may have opened another tab
    shown.evaluate(f"{LISTED_JS}.forEach((box, n) => box.checked === listed[n] || box.click())")
    shown.evaluate("document.activeElement.blur()")
    if shown.inner_text(f"{VIEWER} [data-action=play]") == "Pause":
        shown.keyboard.press(" ")
    if shown.get_attribute(f"{VIEWER} [data-action=loop]", "aria-pressed") == "true":
        shown.keyboard.press("l")
    for key in ("Escape", "0", "Home"):
        shown.keyboard.press(key)
    shown.click(f"{VIEWER} strong")  # closes the menus
    return shown


@pytest.fixture
def phone(url: str, browser: Any, recording: Path) -> Iterator[Any]:
    """The same on a phone with a touch screen."""
    context = browser.new_context(
        viewport={"width": 375, "height": 720}, has_touch=True, is_mobile=True
    )
    page = context.new_page()
    page.set_default_timeout(TIMEOUT_MS)
    page.add_init_script(RECORDER_JS)
    page.goto(url)
    wait_for_load(page)
    analyse(page, recording)
    yield page
    context.close()


def state(page: Any, name: str) -> Any:
    """Return numbers that the viewer states: position, view or selection, s."""
    numbers = [float(text) for text in page.get_attribute(VIEWER, f"data-{name}").split()]
    return numbers[0] if name == "position" else numbers


def box_of(page: Any, title: str, part: str = ".u-over") -> Any:
    """Return the box of a part of a panel on the screen."""
    # In one step, because a change of the width replaces the elements.
    return page.locator(f'#analysis-viewer [data-panel="{title}"] {part}').evaluate(
        """async (node) => {
          node.scrollIntoView({ block: 'center', behavior: 'instant' });
          const { x, y, width, height } = node.getBoundingClientRect();
          return { x, y, width, height };
        }"""
    )


def point(page: Any, title: str, seconds: float, height: float = 0.5) -> tuple[float, float]:
    """Return the position of a time in a panel on the screen, while the whole clip is visible."""
    box = box_of(page, title)
    return box["x"] + box["width"] * seconds / SECONDS, box["y"] + box["height"] * (1 - height)


def select(page: Any, start: float, end: float) -> None:
    """Drag over a panel."""
    page.mouse.move(*point(page, "Waveform", start))
    page.mouse.down()
    page.mouse.move(*point(page, "Waveform", (start + end) / 2))
    page.mouse.move(*point(page, "Waveform", end))
    page.mouse.up()


def press(page: Any, name: str) -> None:
    page.click(f'#analysis-viewer [data-action="{name}"]')


def save(page: Any, name: str) -> bytes:
    """Press an item of the menu Save; return the file."""
    if not page.locator('#analysis-viewer [data-menu="save"][open]').count():
        page.click('#analysis-viewer [data-menu="save"] summary')
    with page.expect_download() as download:
        page.click(f'#analysis-viewer [data-menu="save"] {name}')
    return Path(download.value.path()).read_bytes()


def panel_of(samples: Any, title: str) -> Panel:
    """Return the panel as the server computes it."""
    waveform = torch.from_numpy(samples.astype(np.float32) / 32768)
    (found,) = [panel for panel in signal_panels(waveform, RATE) if panel.title == title]
    return found


def test_click_seeks_and_drag_selects(viewer: Any) -> None:
    pixel = SECONDS / box_of(viewer, "Waveform")["width"]
    viewer.mouse.click(*point(viewer, "MFCC", 0.5))
    assert state(viewer, "position") == pytest.approx(0.5, abs=pixel)
    for title in ("Waveform", "Surprise", "Mel spectrogram", "Pitch (F0)"):
        mark = box_of(viewer, title, ".playhead")
        x, _ = point(viewer, title, state(viewer, "position"))
        assert mark["x"] + mark["width"] / 2 == pytest.approx(x, abs=1)
    assert viewer.input_value(f"{VIEWER} [data-control=position]").startswith("0.5")
    select(viewer, 0.25, 1.5)
    assert state(viewer, "selection") == pytest.approx([0.25, 1.5], abs=pixel)
    assert state(viewer, "position") == pytest.approx(0.25, abs=pixel)
    marked = box_of(viewer, "Level", ".selection")
    assert marked["width"] * pixel == pytest.approx(1.25, abs=3 * pixel)
    viewer.mouse.click(*point(viewer, "Level", 1.0))  # inside: the selection stays
    assert state(viewer, "selection") and state(viewer, "position") == pytest.approx(1, abs=pixel)
    viewer.mouse.click(*point(viewer, "Level", 1.9))
    assert not state(viewer, "selection")


@pytest.mark.slow
def test_marks_follow_a_change_of_the_width(viewer: Any) -> None:
    """Regression: new plots had no size yet, and all marks were at the left edge."""
    select(viewer, 0.5, 1.5)
    width = box_of(viewer, "Level")["width"]
    viewer.set_viewport_size({"width": 1000, "height": 900})
    viewer.wait_for_function(
        f"document.querySelector('#analysis-viewer .u-over').clientWidth < {width - 20}"
    )
    # The plots are built again as long as the width changes.
    for _ in range(50):
        marked, area = box_of(viewer, "Level", ".selection"), box_of(viewer, "Level")
        if abs(marked["x"] - area["x"] - area["width"] / 4) < 2:
            break
        viewer.wait_for_timeout(100)
    assert marked["x"] == pytest.approx(area["x"] + area["width"] / 4, abs=2)
    assert marked["width"] == pytest.approx(area["width"] / 2, abs=3)
    viewer.set_viewport_size(VIEWPORT)
    viewer.wait_for_function(
        f"document.querySelector('#analysis-viewer .u-over').clientWidth > {width - 2}"
    )


def test_zoom_by_buttons_keys_and_wheel(viewer: Any) -> None:
    select(viewer, 0.5, 1.0)
    press(viewer, "selection")
    assert state(viewer, "view") == state(viewer, "selection")
    viewer.keyboard.press("0")
    assert state(viewer, "view") == [0, SECONDS]
    press(viewer, "in")
    assert state(viewer, "view") == [0.5, 1.5]
    viewer.locator(f"{VIEWER} [data-control=scroll]").fill("1")
    assert state(viewer, "view") == [1, SECONDS]
    viewer.keyboard.press("-")
    assert state(viewer, "view") == [0, SECONDS]
    viewer.mouse.move(*point(viewer, "Waveform", 0.4))
    viewer.keyboard.down("Control")
    viewer.mouse.wheel(0, -100)
    viewer.keyboard.up("Control")
    viewer.wait_for_function(f"document.querySelector('{VIEWER}').dataset.view !== '0.0000 2.0000'")
    start, end = state(viewer, "view")
    assert end - start == pytest.approx(1.6, abs=0.01)
    assert start == pytest.approx(0.4 * 0.2, abs=0.01)  # the time under the pointer stays
    for _ in range(20):
        viewer.keyboard.press("+")
    start, end = state(viewer, "view")
    assert end - start == pytest.approx(16 / RATE, abs=2e-4)


def test_value_under_the_pointer_is_that_of_the_data(viewer: Any, samples: Any) -> None:
    table = colour_tables()["magma"]
    panel = panel_of(samples, "Spectrogram")
    rows, columns = panel.values.shape
    for seconds, hertz in ((1.5, 1000), (0.5, 1000), (1.2, 3000)):
        height = (hertz / (RATE / 256) + 0.5) / rows  # the middle of a bin
        x, y = point(viewer, "Spectrogram", seconds, height)
        left = box_of(viewer, "Spectrogram", "canvas")["x"]
        x = left + np.floor(x - left) + 0.5  # the middle of a pixel
        viewer.mouse.move(x, y)
        text = viewer.inner_text('#analysis-viewer [data-panel="Spectrogram"] output')
        shown, name, value = text.split(" · ")
        time = float(shown.removesuffix(" s"))
        assert time == pytest.approx(seconds, abs=0.005)
        area = box_of(viewer, "Spectrogram")
        exact = (x - area["x"]) / area["width"] * SECONDS
        assert time == pytest.approx(exact, abs=0.0006)
        column = min(columns - 1, int((exact - panel.start) / panel.step))
        row = panel.names.index(name)
        assert row == round(hertz / (RATE / 256))
        expected = float(panel.values[row, column].clamp(min=-100))
        assert float(value.removesuffix(" dB")) == pytest.approx(expected, abs=0.06)
        red, green, blue = viewer.evaluate(PIXEL_JS, ["Spectrogram", x, y])
        index = 6 * round(255 * min(1, max(0, 1 + expected / 80)))
        digits = table[index : index + 6]
        near = [int(digits[k : k + 2], 16) for k in (0, 2, 4)]
        assert np.abs(np.subtract([red, green, blue], near)).max() <= 3
    other = viewer.inner_text('#analysis-viewer [data-panel="Waveform"] output')
    shown, value = other.split(" · ")
    nearby = samples[round(1.19 * RATE) : round(1.21 * RATE)] / 32768
    assert np.abs(nearby - float(value)).min() < 1e-4
    assert viewer.inner_text('#analysis-viewer [data-panel="Level"] output').count("dBFS") == 2
    assert viewer.inner_text('#analysis-viewer [data-panel="Pitch (F0)"] output')


def test_playhead_is_at_the_heard_position(viewer: Any, samples: Any) -> None:
    # The noise says which part of the clip has been played.
    windows = np.lib.stride_tricks.sliding_window_view(samples / 32768, 256)
    press(viewer, "loop")
    press(viewer, "play")
    viewer.wait_for_function("level() > 0.01")
    differences: list[float] = []
    while len(differences) < 9:
        heard = viewer.evaluate(HEARD_JS)
        last = np.array(heard["samples"][-256:])
        distances = np.abs(windows - last).max(1)
        if distances.min() < 1e-4:
            end = (distances.argmin() + 256) / RATE - heard["latency"]
            differences.append(heard["share"] * SECONDS - end)
    pixel = SECONDS / box_of(viewer, "Waveform")["width"]
    # A busy machine reads the two positions at different times, but not always.
    assert np.abs(differences).min() < 6 * pixel
    assert np.abs(np.median(differences)) < 20 * pixel
    press(viewer, "loop")
    viewer.wait_for_function(
        f"document.querySelector('{VIEWER} [data-action=play]').textContent === 'Play'"
    )
    assert state(viewer, "position") == 0


@pytest.mark.slow
def test_selection_is_played_in_a_loop(viewer: Any) -> None:
    select(viewer, 0.5, 0.8)
    press(viewer, "loop")
    assert viewer.get_attribute(f"{VIEWER} [data-action=loop]", "aria-pressed") == "true"
    start, end = state(viewer, "selection")
    viewer.evaluate(
        """() => {
          const viewer = document.querySelector('#analysis-viewer .viewer');
          window.positions = [];
          new MutationObserver(() => window.positions.push(Number(viewer.dataset.position)))
            .observe(viewer, { attributeFilter: ['data-position'] });
        }"""
    )
    press(viewer, "play")
    viewer.wait_for_function(
        "positions.filter((t, n) => n && t < positions[n - 1] - 0.1).length >= 2"
    )
    positions = viewer.evaluate("positions")
    assert start - 1e-3 <= min(positions) and max(positions) <= end + 1e-3
    assert viewer.evaluate("level()") > 0
    press(viewer, "loop")
    viewer.wait_for_function(
        f"document.querySelector('{VIEWER} [data-action=play]').textContent === 'Play'"
    )
    assert state(viewer, "position") == pytest.approx(start, abs=1e-3)


def test_keys_work_without_a_focus_and_are_listed(viewer: Any) -> None:
    viewer.evaluate("document.activeElement.blur()")
    viewer.keyboard.press("ArrowRight")
    viewer.keyboard.press("ArrowRight")
    assert state(viewer, "position") == pytest.approx(0.2)
    slider = viewer.locator(f"{VIEWER} [data-control=position]")
    assert slider.get_attribute("aria-valuetext") == "0.20 of 2.00 seconds"
    viewer.keyboard.press("Shift+ArrowRight")
    viewer.keyboard.press("Shift+ArrowRight")
    assert state(viewer, "selection") == pytest.approx([0.2, 0.4])
    viewer.keyboard.press("s")
    assert state(viewer, "view") == pytest.approx([0.2, 0.4])
    viewer.keyboard.press("Escape")
    assert not state(viewer, "selection")
    viewer.keyboard.press("End")
    assert state(viewer, "position") == SECONDS
    viewer.keyboard.press("Home")
    viewer.keyboard.press("l")
    assert viewer.get_attribute(f"{VIEWER} [data-action=loop]", "aria-pressed") == "true"
    slider.focus()
    viewer.keyboard.press(" ")
    assert viewer.inner_text(f"{VIEWER} [data-action=play]") == "Pause"
    viewer.keyboard.press(" ")
    assert viewer.inner_text(f"{VIEWER} [data-action=play]") == "Play"
    viewer.click(f"{VIEWER} [data-menu=keys] summary")
    listed = viewer.inner_text(f"{VIEWER} [data-menu=keys]")
    assert all(key in listed for key in ("shift ← →", "zoom to the selection", "escape"))
    assert viewer.locator(f"{VIEWER} [data-menu=keys] dt").count() == 9
    viewer.click(f"{VIEWER} [data-menu=keys] summary")
    assert not viewer.is_visible(f"{VIEWER} [data-menu=keys] dl")
    # Keys of other fields are theirs.
    viewer.get_by_role("tab", name="Generate").click()
    position = state(viewer, "position")
    viewer.click("#seconds input")
    viewer.keyboard.press("ArrowLeft")
    assert state(viewer, "position") == position


def test_escape_and_a_press_elsewhere_close_the_menus(viewer: Any) -> None:
    menu = f"{VIEWER} [data-menu=save]"
    viewer.click(f"{menu} summary")
    viewer.keyboard.press("Escape")
    assert viewer.get_attribute(menu, "open") is None
    assert viewer.evaluate("document.activeElement.tagName") == "SUMMARY"
    viewer.click(f"{menu} summary")
    viewer.click("h1")  # outside the viewer
    assert viewer.get_attribute(menu, "open") is None


@pytest.mark.slow
def test_png_contains_all_visible_panels(viewer: Any) -> None:
    def strips(data: bytes) -> list[int]:
        """Return the number of drawn pixels in each strip of 60 pixels."""
        picture = np.asarray(Image.open(BytesIO(data)).convert("RGB"), int)
        drawn = np.abs(picture - picture[0, 0]).max(2) > 40
        return [int(drawn[top : top + 60].sum()) for top in range(0, len(drawn) - 60, 60)]

    titles = viewer.locator("#analysis-viewer figure").evaluate_all(
        "figures => figures.map((figure) => figure.dataset.panel)"
    )
    assert len(titles) == 7
    viewer.evaluate(
        """() => {
          window.written = [];
          const write = CanvasRenderingContext2D.prototype.fillText;
          CanvasRenderingContext2D.prototype.fillText = function (text, ...rest) {
            window.written.push(text);
            return write.call(this, text, ...rest);
          };
        }"""
    )
    data = save(viewer, "[data-action=png]")
    assert {"recording", "8-bit quantisation error"} <= set(viewer.evaluate("window.written"))
    height = Image.open(BytesIO(data)).height
    heights = viewer.locator("#analysis-viewer canvas").evaluate_all(
        "list => list.map((canvas) => canvas.height)"
    )
    assert height == sum(heights) + len(heights) * (18 + 6) + 36
    assert min(strips(data)) > 100
    viewer.click(f"{VIEWER} [data-menu=display] summary")
    viewer.click(f"{VIEWER} label:has-text('MFCC delta-delta')")
    viewer.click(f"{VIEWER} label:has-text('Waveform')")
    changed = viewer.locator("#analysis-viewer figure").evaluate_all(
        "figures => figures.map((figure) => figure.dataset.panel)"
    )
    assert set(changed) == (set(titles) | {"MFCC delta-delta"}) - {"Waveform"}
    other = Image.open(BytesIO(save(viewer, "[data-action=png]")))
    assert other.height == height + 40  # a heat map is 40 pixels taller than a curve


@pytest.mark.slow
def test_values_and_audio_can_be_saved(viewer: Any, samples: Any) -> None:
    with np.load(BytesIO(save(viewer, "[data-action=npz]")), allow_pickle=False) as arrays:
        saved = dict(arrays)
    assert np.allclose(saved["waveform"], samples / 32768, atol=1e-4)
    assert saved["sample_rate"].tolist() == [RATE]
    for title, key in (("Spectrogram", "spectrogram"), ("MFCC", "mfcc")):
        panel = panel_of(samples, title)
        expected = panel.values.clamp(panel.low, panel.high).numpy()
        assert np.allclose(saved[key], expected, atol=0.02)
        assert saved[f"{key}_rows"].tolist() == list(panel.names)
        assert np.allclose(np.diff(saved[f"{key}_seconds"]), panel.step, atol=1e-5)
    assert saved["level"].shape[0] == 2
    assert "mfcc_delta" not in saved  # hidden
    assert np.isnan(saved["pitch_f0"]).any() and np.nanmax(saved["pitch_f0"]) > 850
    audio, rate = soundfile.read(BytesIO(save(viewer, "a")), dtype="int16")
    assert rate == RATE
    assert np.array_equal(audio, samples)


@pytest.mark.slow
def test_choices_of_the_display_survive_a_reload(page: Any, recording: Path) -> None:
    viewer = page
    analyse(viewer, recording)
    viewer.click(f"{VIEWER} [data-menu=display] summary")
    viewer.click(f"{VIEWER} label:has-text('Surprise')")
    viewer.select_option(f"{VIEWER} [data-control=colours]", "gray")
    viewer.locator(f"{VIEWER} [data-control=range]").fill("40")
    red, green, blue = viewer.evaluate(
        PIXEL_JS, ["Spectrogram", *point(viewer, "Spectrogram", 0.5)]
    )
    assert red == green == blue
    viewer.reload()
    wait_for_load(viewer)
    viewer.click("#analyse")  # the tab and the recording have survived too
    viewer.wait_for_selector(f"{VIEWER}[data-state=shown]")
    assert not viewer.locator('#analysis-viewer [data-panel="Surprise"]').count()
    assert viewer.input_value(f"{VIEWER} [data-control=colours]") == "gray"
    assert viewer.input_value(f"{VIEWER} [data-control=range]") == "40"


@pytest.mark.slow
def test_pictures_of_the_recording_before_are_dimmed(viewer: Any, recording: Path) -> None:
    viewer.click("#recording [aria-label='Clear']")
    viewer.wait_for_selector(f"{VIEWER}[data-state=old]")
    opacity = "getComputedStyle(document.querySelector('#analysis-viewer .panels')).opacity"
    assert float(viewer.evaluate(opacity)) < 0.5
    assert "recording before" in viewer.inner_text(f"{VIEWER} .stale")
    analyse(viewer, recording)
    assert float(viewer.evaluate(opacity)) == 1


def test_view_does_not_move_by_itself_with_reduced_motion(viewer: Any) -> None:
    ended = f"document.querySelector('{VIEWER} [data-action=play]').textContent === 'Play'"
    viewer.emulate_media(reduced_motion="reduce")
    press(viewer, "in")
    viewer.locator(f"{VIEWER} [data-control=scroll]").fill("0")
    press(viewer, "play")
    viewer.wait_for_function(ended)
    assert state(viewer, "view") == [0, 1]
    viewer.emulate_media(reduced_motion="no-preference")
    for _ in range(5):  # a page that is not drawn for a second never follows
        press(viewer, "play")
        viewer.wait_for_function(ended)
        if state(viewer, "view") == [1, 2]:
            break
    assert state(viewer, "view") == [1, 2]


CONTRAST_JS = """() => {
  const viewer = document.querySelector('#analysis-viewer .viewer');
  const drawing = document.createElement('canvas').getContext('2d');
  const luminance = (colour) => {
    drawing.fillStyle = colour;
    drawing.fillRect(0, 0, 1, 1);
    const linear = [...drawing.getImageData(0, 0, 1, 1).data].slice(0, 3).map((v) => v / 255)
      .map((v) => (v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4));
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2];
  };
  const style = getComputedStyle(viewer);
  const ground = luminance(style.backgroundColor);
  const texts = ['output', 'figcaption span', 'summary', 'strong'].map((name) => (
    getComputedStyle(viewer.querySelector(name)).color));
  const drawn = ['--text', '--line', '--line-2'].map((name) => style.getPropertyValue(name));
  return [...drawn, ...texts].map((colour) => {
    const [dark, light] = [ground, luminance(colour)].sort((a, b) => a - b);
    return (light + 0.05) / (dark + 0.05);
  });
}"""


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_texts_have_contrast(opener: Any, url: str, recording: Path, theme: str) -> None:
    with fresh_visit(opener, url, f"/?__theme={theme}") as page:
        analyse(page, recording)
        ground = page.evaluate(
            "getComputedStyle(document.querySelector('#analysis-viewer .viewer')).backgroundColor"
        )
        assert (ground == "rgb(255, 255, 255)") == (theme == "light")
        assert min(page.evaluate(CONTRAST_JS)) >= 4.5


def luminance(rgb: Any) -> Any:
    """Return the relative luminance of colours of 8 bits per channel, (..., 3) -> (...)."""
    share = np.asarray(rgb, float) / 255
    linear = np.where(share <= 0.04045, share / 12.92, ((share + 0.055) / 1.055) ** 2.4)
    return linear @ [0.2126, 0.7152, 0.0722]


def contrast(one: Any, other: Any) -> Any:
    """Return the contrast of colours as WCAG defines it."""
    ratio = (luminance(one) + 0.05) / (luminance(other) + 0.05)
    return np.maximum(ratio, 1 / ratio)


@pytest.mark.slow
@pytest.mark.parametrize("theme", ["light", "dark"])
def test_sliders_suit_the_theme(opener: Any, url: str, recording: Path, theme: str) -> None:
    """Regression: in the dark theme, the browser drew a white track."""
    with fresh_visit(opener, url, f"/?__theme={theme}") as page:
        analyse(page, recording)
        slider = page.locator(f"{VIEWER} [data-control=position]")
        picture = np.asarray(Image.open(BytesIO(slider.screenshot())).convert("RGB"))
        ground = picture[0, 0]
        middle = len(picture) // 2
        thumb, track = picture[middle, 8], picture[:, len(picture[0]) // 2]
        assert contrast(thumb, ground) >= 3
        # the track is darker or lighter than the background only a little
        assert contrast(track[middle], ground) < 2
        if theme == "dark":
            assert contrast(track, ground).max() >= 3  # its outline


def swipe(page: Any, *paths: tuple[tuple[float, float], tuple[float, float]]) -> None:
    """Move one finger or several on the screen, each from a start to an end."""
    session = page.context.new_cdp_session(page)

    def send(kind: str, share: float) -> None:
        points = [
            {"x": a[0] + (b[0] - a[0]) * share, "y": a[1] + (b[1] - a[1]) * share, "id": n}
            for n, (a, b) in enumerate(paths)
        ]
        touched = {"type": kind, "touchPoints": points if kind != "touchEnd" else []}
        session.send("Input.dispatchTouchEvent", touched)

    send("touchStart", 0.0)
    for share in np.linspace(0.1, 1, 10):
        send("touchMove", float(share))
    send("touchEnd", 1.0)


@pytest.mark.slow
def test_phone_shows_all_and_fingers_select_scroll_and_zoom(phone: Any) -> None:
    assert phone.evaluate("document.documentElement.scrollWidth") == 375
    for menu in ("display", "save", "keys"):
        phone.click(f"{VIEWER} [data-menu={menu}] summary")
        assert phone.evaluate("document.documentElement.scrollWidth") == 375
    phone.click(f"{VIEWER} strong")
    assert not phone.locator(f"{VIEWER} details[open]").count()
    edges = phone.locator("#analysis-viewer canvas, #analysis-viewer button").evaluate_all(
        "list => list.map((e) => e.getBoundingClientRect()).map((box) => [box.left, box.right])"
    )
    assert np.min(edges) >= 0 and np.max(edges) <= 375
    swipe(phone, (point(phone, "MFCC", 0.5), point(phone, "MFCC", 1.5)))
    pixel = SECONDS / box_of(phone, "MFCC")["width"]
    assert state(phone, "selection") == pytest.approx([0.5, 1.5], abs=3 * pixel)
    before = phone.evaluate("scrollY")
    x, y = point(phone, "MFCC", 1.0)
    swipe(phone, ((x, y), (x, y - 150)))
    phone.wait_for_function(f"scrollY > {before} + 50")
    assert state(phone, "selection") == pytest.approx([0.5, 1.5], abs=3 * pixel)
    # Two fingers zoom: the times under them stay under them.
    left, right, far_left, far_right = (point(phone, "MFCC", t) for t in (0.9, 1.1, 0.4, 1.6))
    swipe(phone, (left, far_left), (right, far_right))
    start, end = state(phone, "view")
    assert end - start == pytest.approx(SECONDS / 6, rel=0.1)
    assert (start + end) / 2 == pytest.approx(1.0, abs=0.02)
    assert state(phone, "selection") == pytest.approx([0.5, 1.5], abs=3 * pixel)
