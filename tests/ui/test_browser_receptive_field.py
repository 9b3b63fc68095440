"""The Receptive field tab in a real browser: what lights up, what pins it, what is heard."""

import re
from typing import Any

import pytest

pytestmark = pytest.mark.browser


@pytest.fixture
def tab(page: Any) -> Any:
    page.get_by_role("tab", name="Receptive field").click()
    page.wait_for_selector("#field-picture svg")
    return page


def lit_inputs(page: Any) -> list[float]:
    """Give the places of the lit points of the lowest row, in pixels."""
    points = re.findall(r"M([\d.]+) ([\d.]+)", page.get_attribute("#field-picture .lit", "d"))
    lowest = max(float(y) for _, y in points)
    return [float(x) for x, y in points if float(y) == lowest]


def caption(page: Any) -> str:
    return str(page.inner_text("#field-picture p >> nth=0"))


def node(
    page: Any, layer: int, time: int, layers: int = 4, columns: int = 32
) -> tuple[float, float]:
    """Give where a node stands on the page; columns as the page draws a field of 16 samples."""
    box = page.locator("#field-picture svg").bounding_box()
    assert box["width"] > 600
    step = (box["width"] - 88 - 12) / columns
    return box["x"] + 88 + (time + 0.5) * step, box["y"] + 46 * (layers - layer + 0.5)


def draw(page: Any, drawing: str, words: str) -> None:
    page.click(f"#drawn label:has-text('{drawing}')")
    page.wait_for_function(
        "words => document.querySelector('#field-picture p').textContent.includes(words)", arg=words
    )


def test_hovering_an_output_lights_the_samples_that_it_sees_and_no_other(tab: Any) -> None:
    tab.mouse.move(*node(tab, 4, 20))
    inputs = lit_inputs(tab)
    assert len(inputs) == 16
    assert "sample 20 reaches back over 16 samples (1.0 ms)" in caption(tab)
    step = (inputs[-1] - inputs[0]) / 15
    assert inputs[-1] == pytest.approx(88 + 20.5 * step, abs=0.2)
    # a node of a lower layer sees less, and one at the beginning what there is
    tab.mouse.move(*node(tab, 3, 20))
    assert len(lit_inputs(tab)) == 8
    tab.mouse.move(*node(tab, 4, 6))
    assert len(lit_inputs(tab)) == 7
    assert "9 of them before the beginning" in caption(tab)


def test_a_click_pins_and_the_keys_do_the_same(tab: Any) -> None:
    tab.mouse.click(*node(tab, 4, 20))
    tab.mouse.move(*node(tab, 2, 25))
    assert "sample 20" in caption(tab) and "pinned" in caption(tab)
    assert len(lit_inputs(tab)) == 16
    tab.mouse.click(*node(tab, 4, 20))
    tab.mouse.move(*node(tab, 2, 25))
    assert len(lit_inputs(tab)) == 4
    picture = tab.locator("#field-picture svg")
    picture.focus()
    tab.keyboard.press("ArrowUp")
    tab.keyboard.press("ArrowUp")
    tab.keyboard.press("ArrowLeft")
    assert "The output at sample 24" in caption(tab)
    assert picture.get_attribute("aria-valuenow") == "24"
    assert picture.get_attribute("aria-valuetext") == caption(tab)
    assert len(lit_inputs(tab)) == 16
    tab.keyboard.press("Enter")
    tab.mouse.move(*node(tab, 2, 10))
    assert "sample 24" in caption(tab) and "pinned" in caption(tab)
    tab.keyboard.press("Escape")
    tab.mouse.move(*node(tab, 2, 12))
    assert "Layer 2 at sample 12" in caption(tab)


def test_other_connections_at_the_same_depth_light_other_samples(tab: Any) -> None:
    draw(tab, "Causal, plain", "over 5 samples")
    assert len(lit_inputs(tab)) == 5
    draw(tab, "Non-causal, dilated", "8 of them after it")
    inputs = lit_inputs(tab)
    assert len(inputs) == 16
    apex = float(tab.get_attribute("#field-picture .apex", "cx"))
    assert sum(place > apex + 1 for place in inputs) == 8
    assert "8 samples" in tab.inner_text("#field-facts")


def test_a_checkpoint_is_counted_measured_and_listened_to(tab: Any) -> None:
    tab.click("#preset input")
    tab.click("[role=option]:has-text('Checkpoint: notes')")
    tab.wait_for_selector("#field-facts >> text=checkpoint itself")
    tab.wait_for_selector("#field-facts >> text=32 samples")
    tab.click("#field-speed-press")
    tab.wait_for_selector("#field-speed >> text=real time")
    assert tab.input_value("#field-checkpoint input") == "notes"
    tab.click("#field-press")
    picture = tab.wait_for_selector("#field-influence svg")
    tab.wait_for_selector("#field-influence >> text=mean of 96 predictions in 4 clips")
    picture = tab.locator("#field-influence svg")
    picture.focus()
    tab.keyboard.press("End")
    words = tab.inner_text("#field-influence .caption")
    assert words.startswith("Sample 32 before (2 ms)") and "100.0 %" in words
    tab.keyboard.press("Home")
    tab.keyboard.press("ArrowLeft")
    assert picture.get_attribute("aria-valuenow") == "2"
    tab.keyboard.press("Enter")
    box = picture.bounding_box()
    tab.mouse.move(box["x"] + 70, box["y"] + 100)
    assert tab.inner_text("#field-influence .caption").endswith("pinned.")
    tab.keyboard.press("Escape")
    tab.mouse.move(box["x"] + 71, box["y"] + 100)
    assert picture.get_attribute("aria-valuenow") == "32"
    tab.fill("#dilations input, #dilations textarea", "1, 2, x")
    tab.wait_for_selector("#field-facts [role=alert]")


def test_everything_fits_on_a_phone(tab: Any) -> None:
    tab.set_viewport_size({"width": 390, "height": 844})
    tab.click("#field-press")
    tab.wait_for_selector("#field-influence svg")
    assert tab.evaluate("document.documentElement.scrollWidth") == 390
    for name in ("picture", "influence"):
        box = tab.locator(f"#field-{name} svg").bounding_box()
        width = tab.locator(f"#field-{name} svg").get_attribute("width")
        # drawn one unit a pixel, or the pointer would miss what it points at
        assert box["width"] == pytest.approx(float(width), abs=0.5)
        assert box["x"] >= 0 and box["x"] + box["width"] <= 390
