"""The Receptive field tab without a browser."""

from pathlib import Path

import gradio as gr
import pytest

from wavenet.ui import receptive_field as tab

from .conftest import RATE


def test_the_book_example_counts_2047_samples() -> None:
    kernel_size, layers, cycles = tab.PRESETS["The book example: kernel 3, dilations 1 to 512"]
    facts, value = tab.describe(kernel_size, tab.doublings(layers, cycles), 16_000)
    assert "2,047 samples" in facts
    assert "127.9 ms" in facts
    assert value["dilations"] == [2**n for n in range(10)]
    assert value["reach"] == [2 ** (n + 1) - 1 for n in range(11)]


def test_thirteen_doublings_reach_one_second() -> None:
    facts, value = tab.describe(3, tab.doublings(13, 1), 16_000)
    assert value["reach"][-1] == 16_383
    assert "1,023.9 ms" in facts


def test_cycles_add_and_do_not_multiply() -> None:
    assert tab.doublings(3, 2) == "1, 2, 4, 1, 2, 4"
    assert tab.describe(2, tab.doublings(3, 2), 8000)[1]["reach"][-1] == 15


@pytest.mark.parametrize(
    ("kernel_size", "dilations", "rate", "words"),
    [
        (2, "", 8000, "dilations"),
        (2, "1, x", 8000, "&#x27;x&#x27;"),
        (2, "<b>", 8000, "&lt;b&gt;"),
        (2, "1, 0", 8000, "dilations"),
        (2, "-1", 8000, "whole number"),
        (0, "1, 2", 8000, "kernel_size"),
        (2, "1 " * 1001, 8000, "1001"),
        (64, "65536 " * 1000, 8000, "limit"),
        (2, "1, 2", 0, "sample rate"),
        (2, "1, 2", None, "sample rate"),
    ],
)
def test_a_fault_is_a_sentence_and_the_picture_stays(
    kernel_size: int, dilations: str, rate: int | None, words: str
) -> None:
    facts, value = tab.describe(kernel_size, dilations, rate)
    assert "role='alert'" in facts
    assert words in facts
    assert value == gr.skip()


def test_a_checkpoint_brings_its_own_network(root: Path) -> None:
    kernel_size, _, _, dilations, rate = tab.choose(root, tab.CHECKPOINT + "digits")
    assert (kernel_size, dilations, rate) == (2, "1, 2, 4, 8, 16", RATE)
    assert tab.choose(root, tab.CHECKPOINT + "../digits") == [gr.skip()] * 5


def test_a_damaged_checkpoint_is_refused_in_a_sentence(tmp_path: Path) -> None:
    (tmp_path / "bad").mkdir()
    (tmp_path / "bad" / "config.json").write_text("{")
    with pytest.raises(gr.Error) as caught:
        tab.choose(tmp_path, tab.CHECKPOINT + "bad")
    assert caught.value.message.startswith("bad/config.json")
