"""The Watch sampling tab in a real browser: its rules equal Python's; sliders and keys work."""

import re
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from wavenet.codec import LinearCodec
from wavenet.generation.generate import generate
from wavenet.generation.request import GenerationRequest
from wavenet.likelihood.step_view import view_steps
from wavenet.model.mixtures import GaussianMixture, LogisticMixture
from wavenet.sampling import SamplingConfig, inverse_cdf, probabilities
from wavenet.ui.checkpoint_library import load_checkpoint
from wavenet.ui.watch import step_viewer

from .conftest import fresh_visit
from .studio_process import TIMEOUT_MS
from .test_watch_tab import unpack

pytestmark = pytest.mark.browser

RULES = "document.querySelector('#step-viewer').stepViewer.rules"
GRID = [(1.0, 0, 1.0), (0.3, 0, 1.0), (2.0, 7, 1.0), (1.0, 0, 0.8), (0.7, 20, 0.5), (1, 256, 0.05)]


def settings(temperature: float, top_k: int, top_p: float) -> tuple[dict[str, Any], SamplingConfig]:
    """Return the same settings for JavaScript and for Python."""
    python = SamplingConfig(temperature=temperature, top_k=top_k or None, top_p=top_p)
    return {"temperature": temperature, "topK": top_k, "topP": top_p}, python


@pytest.fixture
def watched(page: Any) -> Any:
    """The page with the opened tab, which shows its example."""
    page.get_by_role("tab", name="Watch sampling").click()
    page.wait_for_selector('#step-viewer [data-state="ready"]')
    return page


def fact(page: Any, name: str) -> str:
    term = page.locator("#step-viewer dl div", has=page.locator(f"dt:text-is('{name}')"))
    return str(term.locator("dd").inner_text())


def step(page: Any) -> str:
    return str(page.inner_text('#step-viewer [data-key="step"]'))


def wait_for_announcement(page: Any, start: str) -> None:
    page.wait_for_function(
        "text => document.querySelector('#step-viewer .announcement').textContent.startsWith(text)",
        arg=start,
    )


def wait_for_step(page: Any, number: int) -> None:
    page.wait_for_function(
        "n => parseInt(document.querySelector('#step-viewer [data-key=step]').value) >= n",
        arg=number,
    )


def move_slider(page: Any, name: str, value: float) -> None:
    page.eval_on_selector(
        f'#step-viewer input[name="{name}"]',
        "(slider, v) => { slider.value = v;"
        " slider.dispatchEvent(new Event('input', { bubbles: true })); }",
        value,
    )


@pytest.mark.slow
@pytest.mark.parametrize(("theme", "levels"), [("light", (200, 256)), ("dark", (0, 100))])
def test_box_of_the_log_scale_suits_the_theme(
    opener: Any, url: str, theme: str, levels: tuple[int, int]
) -> None:
    """Regression: in the dark theme, the browser drew a white box."""
    with fresh_visit(opener, url, f"/?__theme={theme}") as page:
        page.get_by_role("tab", name="Watch sampling").click()
        page.wait_for_selector('#step-viewer [data-state="ready"]')
        picture = page.locator("#step-viewer input[name=log]").screenshot()
        box = np.asarray(Image.open(BytesIO(picture)).convert("L"))
        assert levels[0] <= box[len(box) // 2, len(box[0]) // 2] < levels[1]


def test_sliders_reshape_as_python_does(watched: Any) -> None:
    """Ties: top-k keeps them, top-p includes them in the order of the codes."""
    torch.manual_seed(1)
    logits = torch.randn(12, 256, dtype=torch.float64) * 4
    logits[6:] = logits[6:].round()
    uniforms = torch.rand(12, dtype=torch.float64)
    script = f"""([rows, noise, chosen]) => rows.map((row, n) => {{
      const p = {RULES}.reshape(Float64Array.from(row), chosen);
      return [Array.from(p), {RULES}.selectCode(p, noise[n])];
    }})"""
    for values in GRID:
        chosen, config = settings(*values)
        result = watched.evaluate(script, [logits.tolist(), uniforms.tolist(), chosen])
        p = probabilities(logits, config)
        seen = torch.tensor([row for row, _ in result], dtype=torch.float64)
        assert torch.equal(seen > 0, p > 0), values
        assert torch.allclose(seen, p, rtol=1e-12, atol=1e-15), values
        assert [code for _, code in result] == inverse_cdf(p, uniforms).tolist(), values


@pytest.mark.parametrize("kind", ["logistic-mixture", "gaussian-mixture"])
def test_bins_of_a_mixture_are_sums_over_its_codes(watched: Any, kind: str) -> None:
    output = LogisticMixture(3) if kind == "logistic-mixture" else GaussianMixture(3)
    torch.manual_seed(2)
    params = torch.randn(9, dtype=torch.float64)
    params[6:] = torch.tensor([-4.0, -6.0, -13.0])  # the last is below the floor
    codes = torch.arange(65_536)
    edges = unpack(step_viewer._pack_mixture(params[None], LinearCodec())["edges"], "<f8")
    params[5] = edges[140] - 0.5 * np.exp(-11)  # so close to an edge that the floor matters
    bins = np.searchsorted(edges, 2 * codes.numpy() / 65_535 - 1)
    script = f"""([kind, params, t, edges]) => {{
      const cdf = {RULES}.mixtureCdf(kind, params, t);
      return Array.from({RULES}.binProbabilities(cdf, edges)); }}"""
    for temperature in (1.0, 1.5):
        scaled = params.clone()
        scaled[:3] /= temperature
        scaled[6:] = scaled[6:].clamp(min=-11) + np.log(temperature)
        p = output.log_prob(scaled[None, :, None].expand(1, 9, 65_536), codes[None])[0].exp()
        expected = np.bincount(bins, p.numpy(), 256)
        seen = watched.evaluate(script, [kind, params.tolist(), temperature, edges.tolist()])
        assert np.allclose(seen, expected, atol=1e-6)
        assert sum(seen) == pytest.approx(1)


def test_shown_prediction_is_that_of_the_model(watched: Any, root: Path) -> None:
    """All steps of the example, within the tolerance that `quantise_rows` states."""
    checkpoint = load_checkpoint(root, "digits")
    request = GenerationRequest(4000, {"digit": "7", "speaker": "jackson"}, 0)
    codes = torch.cat([c.codes[0] for c in generate(checkpoint, [request], guard=None)])[:600]
    params = view_steps(checkpoint, request, codes, 400).params
    half = (params.amax(1) - params.amin(1)).double().numpy()[:, None] / 131_070 * 1.01 + 1e-6
    script = f"""(chosen) => Array.from({{ length: 200 }}, (_, n) => {{
      const seen = {RULES}.predict(n, chosen);
      return {{ p: Array.from(seen.p), bin: seen.bin, resampled: seen.resampled }}; }})"""
    for temperature in (1.0, 0.5):
        chosen, config = settings(temperature, 0, 1.0)
        steps = watched.evaluate(script, chosen)
        exact = probabilities(params, config).numpy()
        seen = np.array([step["p"] for step in steps])
        assert (np.abs(np.log(seen / exact)) <= 2 * half / temperature).all()
        assert [step["bin"] for step in steps] == codes[400:].tolist()
    unchanged = watched.evaluate(script, settings(1, 0, 1.0)[0])
    assert all(step["resampled"] == step["bin"] for step in unchanged)


def test_sliders_act_at_once_without_the_server(watched: Any) -> None:
    requests: list[str] = []
    watched.on("request", lambda request: requests.append(request.url))
    assert fact(watched, "Possible codes") == "256 of 256"
    assert fact(watched, "Drawn with these settings") == "the same"
    before = float(fact(watched, "Entropy").split()[0])
    move_slider(watched, "temperature", 0.3)
    assert float(fact(watched, "Entropy").split()[0]) < before
    move_slider(watched, "topK", 4)
    assert fact(watched, "Possible codes") == "4 of 256"
    assert float(fact(watched, "Perplexity")) <= 4
    move_slider(watched, "topK", 1)
    assert fact(watched, "Entropy") == "0.00 bits"
    watched.click("#step-viewer [data-action=reset]")
    assert fact(watched, "Possible codes") == "256 of 256"
    # The events of a page that opens may still run.
    assert [url for url in requests if "/run/predict" not in url] == []


def test_keys_step_and_play_and_playing_is_not_announced(watched: Any) -> None:
    watched.focus("#step-viewer .panel")
    assert step(watched) == "1 of 200"
    watched.keyboard.press("ArrowRight")
    watched.keyboard.press("ArrowRight")
    watched.keyboard.press("ArrowLeft")
    assert step(watched) == "2 of 200"
    wait_for_announcement(watched, "step 2 of 200, drawn")
    move_slider(watched, "speed", 2)
    watched.keyboard.press(" ")
    # Two steps, each shown so long that it is announced.
    wait_for_step(watched, 4)
    assert watched.inner_text("#step-viewer .announcement") == "Playing."
    move_slider(watched, "speed", 60)
    wait_for_step(watched, 10)
    assert watched.inner_text("#step-viewer .announcement") == "Playing."
    assert watched.get_attribute("#step-viewer [data-action=play]", "aria-label") == "Pause"
    watched.keyboard.press(" ")
    paused = step(watched)
    # A step is announced only after a pause.
    wait_for_announcement(watched, f"step {paused}, ")
    assert step(watched) == paused
    watched.keyboard.press("End")
    assert step(watched) == "200 of 200"
    watched.keyboard.press("ArrowRight")
    assert step(watched) == "200 of 200"
    # Sliders handle the arrow keys themselves.
    watched.focus('#step-viewer input[name="temperature"]')
    watched.keyboard.press("ArrowLeft")
    assert step(watched) == "200 of 200"
    assert watched.inner_text('#step-viewer [data-key="temperature"]') == "0.95"
    watched.locator("#step-viewer .heat").first.click(position={"x": 1, "y": 20})
    assert step(watched) == "1 of 200"


@pytest.mark.slow
def test_the_longest_amplitude_is_not_clipped(watched: Any) -> None:
    """The + of a clipped label looked like a -."""
    left = "label => { label.textContent = '+0.0050'; return label.getBBox().x; }"
    assert watched.locator("#step-viewer .waveform .end").first.evaluate(left) >= 0


@pytest.mark.slow
def test_error_replaces_the_steps_and_labels_are_escaped(watched: Any) -> None:
    def press_watch(**numbers: str) -> None:
        for name, value in numbers.items():
            watched.fill(f"#{name} input", value)
            watched.press(f"#{name} input", "Tab")
        watched.click("#watch-button")

    press_watch(**{"watch-start": "0.6"})
    watched.wait_for_selector('#step-viewer [data-state="error"]')
    assert "end of the clip at 0.5 s" in watched.inner_text("#step-viewer .status")
    assert not watched.is_visible("#step-viewer .panel")
    watched.click("#conditions label:has-text('onerror')")
    press_watch(**{"watch-start": "0.05", "watch-steps": "20"})
    watched.wait_for_selector('#step-viewer [data-state="ready"]')
    assert "speaker <img src=x onerror=alert(1)>" in watched.inner_text("#step-viewer .status")
    assert watched.locator("#step-viewer img").count() == 0
    assert step(watched) == "1 of 20"


@pytest.mark.slow
def test_a_clip_of_the_history_is_predicted(page: Any) -> None:
    """The action opens the tab, whose first opening must not start a second job."""
    page.wait_for_selector("#history li")
    page.evaluate("""() => {
      window.titles = [];
      new MutationObserver(() => {
        titles.push(document.querySelector('#step-viewer .status')?.textContent ?? '');
      }).observe(document.body, { childList: true, subtree: true });
    }""")
    page.click("#history li summary")
    page.click("#history li [data-action=watch]")
    page.wait_for_selector('#step-viewer [data-state="ready"]')
    assert "recording digits_" in page.inner_text("#step-viewer .status")
    assert page.is_visible("#watch-recording")
    assert page.inner_text('#step-viewer [data-key="origin"]') == "recorded"
    assert not any(title.startswith("Generating") for title in page.evaluate("titles"))


def test_tab_stays_open_while_the_page_loads_and_fits_on_a_phone(url: str, browser: Any) -> None:
    page = browser.new_page(viewport={"width": 375, "height": 812}, reduced_motion="reduce")
    page.set_default_timeout(TIMEOUT_MS)

    held: list[Any] = []  # until the tab is pressed; among them, the event that fills the page
    is_pressed = False
    page.route(
        "**/run/predict", lambda route: route.continue_() if is_pressed else held.append(route)
    )
    page.goto(url)
    page.click(".overflow-menu > button")
    page.click(".overflow-dropdown >> text=Watch sampling")
    is_pressed = True
    assert held
    for route in held:
        route.continue_()
    page.wait_for_selector('#step-viewer [data-state="ready"]')
    assert page.evaluate("document.documentElement.scrollWidth") <= 375
    for part in page.locator(
        "#step-viewer :is(.probabilities, .waveform, .heat, dl, .settings)"
    ).all():
        box = part.bounding_box()
        assert box["x"] >= 0 and box["x"] + box["width"] <= 375
    # With reduced motion it is slow, and plays only on a press.
    assert re.match("2 steps/s", page.inner_text('#step-viewer [data-key="speed"]'))
    page.close()


@pytest.mark.slow
def test_the_attention_map_follows_the_step_and_the_keys(page: Any) -> None:
    """It has the rows of two blocks of two heads, and columns of the window of 12 samples."""
    page.click("#model input")
    page.click("[role=option]:has-text('compare/transformer')")
    page.wait_for_selector("#model-about >> text=23 samples")
    page.get_by_role("tab", name="Watch sampling").click()
    page.wait_for_selector('#step-viewer [data-state="ready"]')
    page.fill("#watch-start input", "0")
    page.press("#watch-start input", "Enter")
    page.wait_for_selector("#step-viewer [data-key=time] >> text=to sample 0,")
    page.wait_for_selector("#step-viewer .attention canvas")
    attention = page.locator("#step-viewer .attention")
    assert attention.locator(".layers span").all_inner_texts() == ["block 1", "block 2"]
    weights, now = attention.locator(".weights"), attention.locator(".now")

    def column(number: int) -> list[int]:
        """Return a pixel of a column in the lowest row, counted from the right."""
        return list(
            weights.locator("canvas").evaluate(
                "(c, n) => [...c.getContext('2d').getImageData(c.width - 1 - n, c.height - 2, 1, 1)"
                ".data]",
                number,
            )
        )

    # the first prediction reads the start code only
    assert column(0)[:3] == [253, 231, 37] and column(0)[3] == 255
    assert column(1)[3] == 0
    assert "sample −1 (0.13 ms before the predicted one), weight 1." in now.inner_text()
    watched_panel = page.locator("#step-viewer .panel")
    watched_panel.focus()
    page.keyboard.press("ArrowRight")
    assert step(page) == "2 of 200"
    assert column(1)[3] == 255 and column(2)[3] == 0
    assert "weight 1." not in now.inner_text()
    page.keyboard.press("End")
    weights.focus()
    page.keyboard.press("ArrowUp")
    page.keyboard.press("ArrowLeft")
    assert step(page) == "200 of 200"  # the keys of the map do not step
    assert now.inner_text().startswith("Block 2, head 2: sample −2 (0.25 ms")
    assert weights.get_attribute("aria-valuetext") == now.inner_text()
    page.keyboard.press("End")
    assert "sample −12 (1.5 ms" in now.inner_text()
    box = weights.bounding_box()
    page.mouse.move(box["x"] + box["width"] * 10.5 / 12, box["y"] + box["height"] - 2)
    assert now.inner_text().startswith("Block 1, head 1: sample −2 ")
    # A model without attention has no map.
    page.click("#model input")
    page.click("[role=option]:has-text('digits')")
    page.wait_for_selector("#model-about >> text=32 samples")
    page.click("#watch-button")
    page.wait_for_selector("#step-viewer .maps:not([hidden])")
    assert not attention.is_visible()
