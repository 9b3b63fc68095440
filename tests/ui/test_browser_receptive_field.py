"""The Receptive field tab in a real browser: the cone, its selection, the influence."""

import re
from typing import Any

import pytest

pytestmark = pytest.mark.browser


@pytest.fixture
def tab(page: Any) -> Any:
    page.get_by_role("tab", name="Receptive field").click()
    page.wait_for_selector("#field-plot svg")
    return page


def highlighted_inputs(page: Any) -> list[float]:
    """Return the x coordinates of the highlighted dots in the lowest row, in pixels."""
    points = re.findall(r"M([\d.]+) ([\d.]+)", page.get_attribute("#field-plot .cone", "d"))
    lowest = max(float(y) for _, y in points)
    return [float(x) for x, y in points if float(y) == lowest]


def caption(page: Any) -> str:
    return str(page.inner_text("#field-plot p >> nth=0"))


def node(
    page: Any, layer: int, time: int, layers: int = 4, columns: int = 32
) -> tuple[float, float]:
    """Return the position of a node on the page; `columns` fits a field of 16 samples."""
    box = page.locator("#field-plot svg").bounding_box()
    assert box["width"] > 600
    step = (box["width"] - 104 - 12) / columns
    return box["x"] + 104 + (time + 0.5) * step, box["y"] + 46 * (layers - layer + 0.5)


def choose_convolution(page: Any, name: str, text: str) -> None:
    page.click(f"#convolution label:has-text('{name}')")
    page.wait_for_function(
        "text => document.querySelector('#field-plot p').textContent.includes(text)", arg=text
    )


def test_pointer_highlights_exactly_the_receptive_field_of_a_node(tab: Any) -> None:
    tab.mouse.move(*node(tab, 4, 20))
    inputs = highlighted_inputs(tab)
    assert len(inputs) == 16
    assert "sample 20 depends on 16 samples (1.0 ms)" in caption(tab)
    step = (inputs[-1] - inputs[0]) / 15
    assert inputs[-1] == pytest.approx(104 + 20.5 * step, abs=0.2)
    # Fewer for a node of a lower layer, and for one near the first sample.
    tab.mouse.move(*node(tab, 3, 20))
    assert len(highlighted_inputs(tab)) == 8
    tab.mouse.move(*node(tab, 4, 6))
    assert len(highlighted_inputs(tab)) == 7
    assert "9 of them before the first sample" in caption(tab)


@pytest.mark.slow
def test_a_long_row_label_is_not_clipped(tab: Any) -> None:
    left = "label => { label.textContent = 'output, 16,384'; return label.getBBox().x; }"
    assert tab.locator("#field-plot svg .name").last.evaluate(left) >= 0


@pytest.mark.slow
def test_click_and_keys_pin_a_node(tab: Any) -> None:
    tab.mouse.click(*node(tab, 4, 20))
    tab.mouse.move(*node(tab, 2, 25))
    assert "sample 20" in caption(tab) and "pinned" in caption(tab)
    assert len(highlighted_inputs(tab)) == 16
    tab.mouse.click(*node(tab, 4, 20))
    tab.mouse.move(*node(tab, 2, 25))
    assert len(highlighted_inputs(tab)) == 4
    plot = tab.locator("#field-plot svg")
    plot.focus()
    tab.keyboard.press("ArrowUp")
    tab.keyboard.press("ArrowUp")
    tab.keyboard.press("ArrowLeft")
    assert "The output at sample 24" in caption(tab)
    assert plot.get_attribute("aria-valuenow") == "24"
    assert plot.get_attribute("aria-valuetext") == caption(tab)
    assert len(highlighted_inputs(tab)) == 16
    tab.keyboard.press("Enter")
    tab.mouse.move(*node(tab, 2, 10))
    assert "sample 24" in caption(tab) and "pinned" in caption(tab)
    tab.keyboard.press("Escape")
    tab.mouse.move(*node(tab, 2, 12))
    assert "Layer 2 at sample 12" in caption(tab)


@pytest.mark.slow
def test_other_convolutions_highlight_other_samples(tab: Any) -> None:
    choose_convolution(tab, "Causal, undilated", "on 5 samples")
    assert len(highlighted_inputs(tab)) == 5
    choose_convolution(tab, "Non-causal, dilated", "8 of them in the future")
    inputs = highlighted_inputs(tab)
    assert len(inputs) == 16
    apex = float(tab.get_attribute("#field-plot .apex", "cx"))
    assert sum(x > apex + 1 for x in inputs) == 8
    assert "8 samples" in tab.inner_text("#field-facts")


@pytest.mark.slow
def test_speed_and_influence_of_a_checkpoint_are_measured(tab: Any) -> None:
    tab.click("#preset input")
    tab.click("[role=option]:has-text('The model above')")
    tab.wait_for_selector("#field-facts >> text=Computed for the model above")
    tab.wait_for_selector("#field-facts >> text=32 samples (4.0 ms)")
    tab.click("#model input")
    tab.click("[role=option]:has-text('notes')")
    tab.wait_for_selector("#field-facts >> text=32 samples (2.0 ms)")
    assert tab.input_value("#field-rate input") == "16000"
    tab.click("#measure-speed")
    tab.wait_for_selector("#field-speed >> text=real time")
    tab.click("#measure-influence")
    tab.wait_for_selector("#influence-plot svg")
    tab.wait_for_selector(
        "#influence-plot >> text=notes: mean of 96 predictions in 4 generated clips"
    )
    plot = tab.locator("#influence-plot svg")
    plot.focus()
    tab.keyboard.press("End")
    caption_text = tab.inner_text("#influence-plot .caption")
    assert caption_text.startswith("Sample −32 (2.0 ms") and "100.0 %" in caption_text
    tab.keyboard.press("Home")
    tab.keyboard.press("ArrowLeft")
    assert plot.get_attribute("aria-valuenow") == "2"
    tab.keyboard.press("Enter")
    box = plot.bounding_box()
    tab.mouse.move(box["x"] + 70, box["y"] + 100)
    assert tab.inner_text("#influence-plot .caption").endswith("pinned.")
    tab.keyboard.press("Escape")
    tab.mouse.move(box["x"] + 71, box["y"] + 100)
    assert plot.get_attribute("aria-valuenow") == "32"
    tab.fill("#dilations input, #dilations textarea", "1, 2, x")
    tab.wait_for_selector("#field-facts [role=alert]")
    # The curve of another model is removed.
    tab.click("#model input")
    tab.click("[role=option]:has-text('digits')")
    tab.wait_for_selector("#influence-plot >> text=Press Measure influence")


def test_tab_fits_on_a_phone(tab: Any) -> None:
    tab.set_viewport_size({"width": 375, "height": 812})
    tab.click("#measure-influence")
    tab.wait_for_selector("#influence-plot svg")
    assert tab.evaluate("document.documentElement.scrollWidth") == 375
    for name in ("field", "influence"):
        box = tab.locator(f"#{name}-plot svg").bounding_box()
        width = tab.locator(f"#{name}-plot svg").get_attribute("width")
        # One unit per pixel; otherwise the pointer would select other nodes.
        assert box["width"] == pytest.approx(float(width), abs=0.5)
        assert box["x"] >= 0 and box["x"] + box["width"] <= 375


def cone_nodes(page: Any) -> int:
    """Count the highlighted nodes that are drawn as dots."""
    return int(page.get_attribute("#field-plot .cone", "d").count("M"))


def test_cone_follows_pointer_and_keys_and_can_be_pinned(page: Any) -> None:
    page.get_by_role("tab", name="Receptive field").click()
    plot = page.wait_for_selector("#field-plot svg")
    # Kernel 2, dilations 1 to 8: one output, 2, 4 and 8 nodes, 16 inputs.
    assert cone_nodes(page) == 1 + 2 + 4 + 8 + 16
    box = plot.bounding_box()
    page.mouse.move(box["x"] + box["width"] * 0.8, box["y"] + 1.5 * 46)
    assert cone_nodes(page) == 1 + 2 + 4 + 8
    page.mouse.down()
    page.mouse.up()
    page.mouse.move(box["x"] + box["width"] * 0.8, box["y"] + 2.5 * 46)
    assert "pinned" in page.inner_text("#field-plot p >> nth=0")
    assert cone_nodes(page) == 1 + 2 + 4 + 8
    plot.focus()
    before = int(plot.get_attribute("aria-valuenow"))
    page.keyboard.press("ArrowLeft")
    page.keyboard.press("ArrowDown")
    assert int(plot.get_attribute("aria-valuenow")) == before - 1
    assert cone_nodes(page) == 1 + 2 + 4


def test_textbook_network_is_plotted_and_counted(page: Any) -> None:
    page.get_by_role("tab", name="Receptive field").click()
    page.click("#preset input")
    page.click("[role=option]:has-text('Textbook')")
    page.wait_for_selector("text=2,047 samples")
    assert "127.9 ms" in page.inner_text("#field-facts")
    page.wait_for_function(
        "document.querySelector('#field-plot p').textContent.includes('on 2,047 samples')"
    )
    page.fill("#dilations input, #dilations textarea", "1, 2, x")
    page.wait_for_selector("#field-facts [role=alert]")


def choose_model(page: Any, name: str) -> None:
    page.click("#model input")
    page.click(f"[role=option]:has-text('{name}')")


@pytest.mark.slow
def test_kernels_are_shown_for_a_state_space_model_only(tab: Any) -> None:
    kernels = tab.locator("#kernel-plot")
    assert not kernels.locator("h2").is_visible()
    choose_model(tab, "compare/state-space")
    plot = kernels.locator("svg")
    plot.wait_for()
    assert kernels.locator(".other").count() == 1
    first = kernels.locator(".curve").get_attribute("d")
    plot.focus()
    tab.keyboard.press("End")
    assert plot.get_attribute("aria-valuenow") == "4000"
    tab.keyboard.press("Home")
    text = kernels.locator(".caption").inner_text()
    assert text.startswith("Sample −1 (0.13 ms before the prediction): mean −")
    assert plot.get_attribute("aria-valuetext") == text
    tab.keyboard.press("Enter")
    assert kernels.locator(".caption").inner_text().endswith("pinned.")
    kernels.locator("input[value='0']").focus()
    tab.keyboard.press("ArrowRight")
    tab.wait_for_selector("#kernel-plot >> text=state-space, layer 2 of 2")
    assert kernels.locator(".curve").get_attribute("d") != first
    tab.set_viewport_size({"width": 375, "height": 812})
    tab.wait_for_function(
        "document.querySelector('#kernel-plot svg').getBoundingClientRect().right <= 375"
    )
    assert tab.evaluate("document.documentElement.scrollWidth") == 375
    choose_model(tab, "digits")
    kernels.locator("h2").wait_for(state="hidden")


@pytest.mark.slow
def test_kernels_appear_when_the_tab_opens(page: Any) -> None:
    """The model was chosen before the first opening of the tab, which builds the plot."""
    choose_model(page, "compare/state-space")
    page.wait_for_selector("#model-about >> text=unlimited")
    page.get_by_role("tab", name="Receptive field").click()
    page.wait_for_selector("#kernel-plot svg")
