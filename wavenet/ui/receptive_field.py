"""The Receptive field tab: which past samples one output can depend on, drawn and counted.

Kernel size, dilations and a sample rate enter; numbers and a picture that answers to pointer and
keyboard leave. All arithmetic is `ModelConfig.receptive_field`.
"""

from functools import partial
from html import escape
from pathlib import Path
from typing import Any

import gradio as gr

from wavenet.checkpoint import load_config
from wavenet.config import ModelConfig
from wavenet.errors import ConfigError, WaveNetError
from wavenet.parsing import make
from wavenet.ui.jobs import list_checkpoints, sentence
from wavenet.ui.live import fact_list

OWN = "Your own"
# Name -> kernel size, layers per cycle, cycles; dilations double within a cycle.
PRESETS = {
    "Small enough to count: kernel 2, dilations 1 to 8": (2, 4, 1),
    "The book example: kernel 3, dilations 1 to 512": (3, 10, 1),
    "The paper's stack: kernel 2, three cycles of 1 to 512": (2, 10, 3),
    "One second at 16 kHz: kernel 3, thirteen doublings": (3, 13, 1),
}
FIRST = next(iter(PRESETS))
CHECKPOINT = "Checkpoint: "
MAX_LAYERS = 1000
_HERE = Path(__file__).parent


def tab(root: Path) -> None:
    """Lay out the tab and wire it.

    Args:
        root: folder of checkpoint folders.
    """
    kernel_size, layers, cycles = PRESETS[FIRST]
    presets = [*PRESETS, *(CHECKPOINT + name for name in list_checkpoints(root)), OWN]
    facts, picture = describe(kernel_size, doublings(layers, cycles), 16_000)
    preset = gr.Dropdown(presets, value=FIRST, label="Network", elem_id="preset")
    with gr.Row():
        kernel = gr.Slider(1, 8, kernel_size, step=1, label="Kernel size", min_width=200)
        depth = gr.Slider(1, 14, layers, step=1, label="Layers per cycle", min_width=200)
        repeats = gr.Slider(1, 6, cycles, step=1, label="Cycles", min_width=200)
    with gr.Row():
        dilations = gr.Textbox(
            doublings(layers, cycles),
            label="Dilations, one per layer",
            scale=3,
            elem_id="dilations",
        )
        rate = gr.Number(16_000, label="Sample rate (Hz)", precision=0, min_width=160)
    shown = [
        gr.HTML(facts, elem_id="field-facts"),
        gr.HTML(
            picture,
            html_template="<div class='field'></div>",
            css_template=(_HERE / "receptive_field.css").read_text(encoding="utf-8"),
            js_on_load=(_HERE / "receptive_field.js").read_text(encoding="utf-8"),
            elem_id="field-picture",
        ),
    ]
    quick: dict[str, Any] = {"queue": False, "show_progress": "hidden", "api_visibility": "private"}
    numbers: list[Any] = [kernel, dilations, rate]
    preset.input(partial(choose, root), preset, [kernel, depth, repeats, dilations, rate], **quick)
    gr.on([depth.input, repeats.input], doublings, [depth, repeats], dilations, **quick)
    gr.on(
        [kernel.input, depth.input, repeats.input, dilations.input],
        lambda: OWN,
        None,
        preset,
        **quick,
    )
    gr.on([item.change for item in numbers], describe, numbers, shown, **quick)


def doublings(layers: int, cycles: int) -> str:
    """Write the dilations 1, 2, 4, .. of every cycle, one behind the other."""
    return ", ".join(str(2**n) for _ in range(int(cycles)) for n in range(int(layers)))


def choose(root: Path, name: str) -> list[Any]:
    """Set the controls to a preset or to a checkpoint's network.

    Returns:
        kernel size, layers per cycle, cycles, dilations, sample rate.
    """
    if name in PRESETS:
        kernel_size, layers, cycles = PRESETS[name]
        return [kernel_size, layers, cycles, doublings(layers, cycles), gr.skip()]
    wanted = name.removeprefix(CHECKPOINT)
    if wanted not in list_checkpoints(root):
        return [gr.skip()] * 5
    try:
        config = load_config(root / wanted)
    except WaveNetError as error:
        text = sentence(error).replace(str(root / wanted), wanted)
        raise gr.Error(text, print_exception=False) from None
    dilations = ", ".join(str(dilation) for dilation in config.model.dilations)
    # The sliders cannot say every network; the dilations can.
    return [config.model.kernel_size, gr.skip(), gr.skip(), dilations, config.audio.sample_rate]


def describe(kernel_size: int, dilations: str, sample_rate: int | None) -> tuple[str, Any]:
    """Count and draw.

    Returns:
        HTML of the numbers, or of the sentence that says what is wrong; the picture's value.
    """
    try:
        reach = reaches(kernel_size, read_dilations(dilations))
        if not sample_rate or not 1 <= sample_rate <= 1_000_000:
            raise ConfigError(f"the sample rate must be 1 to 1,000,000 Hz, found {sample_rate}")
    except WaveNetError as error:
        return f"<p role='alert'>{escape(sentence(error))}</p>", gr.skip()
    facts = {
        "Receptive field": f"{reach[-1]:,} samples",
        f"At {sample_rate:,} Hz": f"{1000 * reach[-1] / sample_rate:,.1f} ms",
        "Layers": f"{len(reach) - 1:,}",
    }
    value = {
        "kernel": kernel_size,
        "dilations": read_dilations(dilations),
        "reach": reach,
        "rate": sample_rate,
    }
    return fact_list(facts, "facts large"), value


def read_dilations(text: str) -> list[int]:
    """Read numbers between commas or spaces.

    Raises:
        ConfigError: something else stands there, or there are too many.
    """
    words = text.replace(",", " ").split()
    if not words or len(words) > MAX_LAYERS:
        raise ConfigError(
            f"expected 1 to {MAX_LAYERS} dilations such as 1, 2, 4; found {len(words)}"
        )
    for word in words:
        if not (word.isascii() and word.isdigit() and len(word) <= 9):
            raise ConfigError(f"a dilation must be a whole number, found {word[:20]!r}")
    return [int(word) for word in words]


def reaches(kernel_size: int, dilations: list[int]) -> list[int]:
    """Count the samples that a node of the input and of each layer can depend on.

    Raises:
        ConfigError: a kernel size or dilation that no model may have.
    """
    sizes = [1]
    for depth in range(1, len(dilations) + 1):
        network = make(
            ModelConfig,
            "network",
            residual_channels=1,
            gate_channels=1,
            skip_channels=1,
            kernel_size=kernel_size,
            dilations=tuple(dilations[:depth]),
        )
        sizes.append(network.receptive_field)
    return sizes
