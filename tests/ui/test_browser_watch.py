"""The tab Watch it think in a real browser: its rules are Python's, and hands and keys move it."""

import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from wavenet.generation.generate import generate
from wavenet.generation.request import GenerationRequest
from wavenet.likelihood.step_view import view_steps
from wavenet.model.mixtures import GaussianMixture, LogisticMixture
from wavenet.sampling import SamplingConfig, inverse_cdf, probabilities
from wavenet.ui import jobs, steps

from .stage import PATIENCE
from .test_watch_tab import unpack

pytestmark = pytest.mark.browser

RULES = "document.querySelector('#steps').slow.rules"
GRID = [(1.0, 0, 1.0), (0.3, 0, 1.0), (2.0, 7, 1.0), (1.0, 0, 0.8), (0.7, 20, 0.5), (1, 256, 0.05)]


def settings(temperature: float, top_k: int, top_p: float) -> tuple[dict[str, Any], SamplingConfig]:
    """The same settings for JavaScript and for Python."""
    python = SamplingConfig(temperature=temperature, top_k=top_k or None, top_p=top_p)
    return {"temperature": temperature, "topK": top_k, "topP": top_p}, python


@pytest.fixture
def watched(page: Any) -> Any:
    """The page with the tab opened, and so with its example."""
    page.get_by_role("tab", name="Watch it think").click()
    page.wait_for_selector('#steps [data-state="ready"]')
    return page


def number(page: Any, name: str) -> str:
    term = page.locator("#steps dl div", has=page.locator(f"dt:text-is('{name}')"))
    return str(term.locator("dd").inner_text())


def step(page: Any) -> str:
    return str(page.inner_text('#steps [data-key="step"]'))


def slide(page: Any, name: str, value: float) -> None:
    page.eval_on_selector(
        f'#steps input[name="{name}"]',
        "(slider, v) => { slider.value = v;"
        " slider.dispatchEvent(new Event('input', { bubbles: true })); }",
        value,
    )


def test_a_slider_reshapes_as_python_does(watched: Any) -> None:
    """With ties, which top-k keeps and top-p takes in the order of the codes."""
    torch.manual_seed(1)
    logits = torch.randn(12, 256, dtype=torch.float64) * 4
    logits[6:] = logits[6:].round()
    uniforms = torch.rand(12, dtype=torch.float64)
    script = f"""([rows, noise, chosen]) => rows.map((row, n) => {{
      const p = {RULES}.reshape(Float64Array.from(row), chosen);
      return [Array.from(p), {RULES}.draw(p, noise[n])];
    }})"""
    for values in GRID:
        chosen, config = settings(*values)
        made = watched.evaluate(script, [logits.tolist(), uniforms.tolist(), chosen])
        p = probabilities(logits, config)
        seen = torch.tensor([row for row, _ in made], dtype=torch.float64)
        assert torch.equal(seen > 0, p > 0), values
        assert torch.allclose(seen, p, rtol=1e-12, atol=1e-15), values
        assert [code for _, code in made] == inverse_cdf(p, uniforms).tolist(), values


@pytest.mark.parametrize("kind", ["logistic-mixture", "gaussian-mixture"])
def test_the_cells_of_a_mixture_are_sums_over_its_codes(watched: Any, kind: str) -> None:
    output = LogisticMixture(3) if kind == "logistic-mixture" else GaussianMixture(3)
    torch.manual_seed(2)
    params = torch.randn(9, dtype=torch.float64)
    params[6:] = torch.tensor([-4.0, -6.0, -13.0])  # the last below the floor
    codes = torch.arange(65_536)
    edges = unpack(steps._mixture(params[None])["edges"], "<f8")
    params[5] = edges[140] - 0.5 * np.exp(-11)  # so near to an edge that the floor is seen
    cells = np.searchsorted(edges, 2 * codes.numpy() / 65_535 - 1)
    script = f"""([kind, params, t, edges]) => {{
      return Array.from({RULES}.cells({RULES}.mixture(kind, params, t), edges)); }}"""
    for temperature in (1.0, 1.5):
        warm = params.clone()
        warm[:3] /= temperature
        warm[6:] = warm[6:].clamp(min=-11) + np.log(temperature)
        p = output.log_prob(warm[None, :, None].expand(1, 9, 65_536), codes[None])[0].exp()
        expected = np.bincount(cells, p.numpy(), 256)
        seen = watched.evaluate(script, [kind, params.tolist(), temperature, edges.tolist()])
        assert np.allclose(seen, expected, atol=1e-6)
        assert sum(seen) == pytest.approx(1)


def test_what_is_shown_is_what_the_model_expected(watched: Any, root: Path) -> None:
    """All steps of the example, within the tolerance that `quantise` states."""
    checkpoint = jobs.load_named(root, "digits")
    item = GenerationRequest(4000, {"digit": "7", "speaker": "jackson"}, 0)
    codes = torch.cat([c.codes[0] for c in generate(checkpoint, [item], guard=None)])[:600]
    params = view_steps(checkpoint, item, codes, 400).params
    half = (params.amax(1) - params.amin(1)).double().numpy()[:, None] / 131_070 * 1.01 + 1e-6
    script = f"""(chosen) => Array.from({{ length: 200 }}, (_, n) => {{
      const seen = {RULES}.expect(n, chosen);
      return {{ p: Array.from(seen.p), cell: seen.cell, again: seen.again }}; }})"""
    for temperature in (1.0, 0.5):
        chosen, config = settings(temperature, 0, 1.0)
        made = watched.evaluate(script, chosen)
        exact = probabilities(params, config).numpy()
        seen = np.array([one["p"] for one in made])
        assert (np.abs(np.log(seen / exact)) <= 2 * half / temperature).all()
        assert [one["cell"] for one in made] == codes[400:].tolist()
    same = [one["again"] == one["cell"] for one in watched.evaluate(script, settings(1, 0, 1.0)[0])]
    assert all(same)


def test_sliders_act_at_once_and_ask_the_server_nothing(watched: Any) -> None:
    watched.wait_for_timeout(300)
    requests: list[str] = []
    watched.on("request", lambda request: requests.append(request.url))
    assert number(watched, "Classes left") == "256 of 256"
    assert number(watched, "Would draw") == "the same"
    before = float(number(watched, "Entropy").split()[0])
    slide(watched, "temperature", 0.3)
    assert float(number(watched, "Entropy").split()[0]) < before
    slide(watched, "topK", 4)
    assert number(watched, "Classes left") == "4 of 256"
    assert float(number(watched, "Effective choices")) <= 4
    slide(watched, "topK", 1)
    assert number(watched, "Entropy") == "0.00 bits"
    watched.click("#steps [data-do=reset]")
    assert number(watched, "Classes left") == "256 of 256"
    assert not requests


def test_keys_step_and_play_and_the_live_region_keeps_quiet(watched: Any) -> None:
    watched.focus("#steps .stage")
    assert step(watched) == "1 of 200"
    watched.keyboard.press("ArrowRight")
    watched.keyboard.press("ArrowRight")
    watched.keyboard.press("ArrowLeft")
    assert step(watched) == "2 of 200"
    watched.wait_for_function(
        "document.querySelector('#steps .spoken').textContent.startsWith('step 2 of 200, drawn')"
    )
    slide(watched, "speed", 2)
    watched.keyboard.press(" ")
    watched.wait_for_timeout(1300)  # two steps, with time to speak between them
    assert watched.inner_text("#steps .spoken") == "Playing."
    slide(watched, "speed", 60)
    watched.wait_for_function(
        "parseInt(document.querySelector('#steps [data-key=step]').value) > 9"
    )
    assert watched.inner_text("#steps .spoken") == "Playing."
    assert watched.get_attribute("#steps [data-do=play]", "aria-label") == "Pause"
    watched.keyboard.press(" ")
    held = step(watched)
    watched.wait_for_timeout(200)
    assert step(watched) == held
    watched.keyboard.press("End")
    assert step(watched) == "200 of 200"
    watched.keyboard.press("ArrowRight")
    assert step(watched) == "200 of 200"
    # A slider keeps its arrows.
    watched.focus('#steps input[name="temperature"]')
    watched.keyboard.press("ArrowLeft")
    assert step(watched) == "200 of 200"
    assert watched.inner_text('#steps [data-key="temperature"]') == "0.95"
    watched.locator("#steps .heat").first.click(position={"x": 1, "y": 20})
    assert step(watched) == "1 of 200"


def test_a_fault_is_told_in_place_and_a_label_is_only_text(watched: Any) -> None:
    def press(**numbers: str) -> None:
        for name, value in numbers.items():
            watched.fill(f"#{name} input", value)
            watched.press(f"#{name} input", "Tab")
        watched.click("#watch-press")

    press(**{"watch-steps": "401"})
    watched.wait_for_selector('#steps [data-state="error"]')
    assert "less than or equal to 400" in watched.inner_text("#steps .status")
    assert not watched.is_visible("#steps .stage")
    watched.get_by_label("Speaker").last.click()
    watched.click("[role=option]:has-text('onerror')")
    press(**{"watch-steps": "20"})
    watched.wait_for_selector('#steps [data-state="ready"]')
    assert "speaker <img src=x onerror=alert(1)>" in watched.inner_text("#steps .status")
    assert watched.locator("#steps img").count() == 0
    assert step(watched) == "1 of 20"


def test_it_fits_a_phone(url: str, browser: Any) -> None:
    sheet = browser.new_page(viewport={"width": 390, "height": 844}, reduced_motion="reduce")
    sheet.set_default_timeout(PATIENCE)
    sheet.goto(url)
    sheet.click(".overflow-menu > button")
    sheet.click(".overflow-dropdown >> text=Watch it think")
    sheet.wait_for_selector('#steps [data-state="ready"]')
    assert sheet.evaluate("document.documentElement.scrollWidth") <= 390
    for part in sheet.locator("#steps :is(.curve, .wave, .heat, dl, .settings)").all():
        box = part.bounding_box()
        assert box["x"] >= 0 and box["x"] + box["width"] <= 390
    # Who wants little motion gets a slow one, and only on a press.
    assert re.match("2 a second", sheet.inner_text('#steps [data-key="speed"]'))
    sheet.close()
