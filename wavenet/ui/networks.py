"""The networks of the Receptive field tab: presets, checkpoints and one's own, and what they cost.

What the controls hold enters, whatever it is; a checked network, numbers as HTML and the value of
the picture leave. Counts: `wavenet.model.convolution_geometry` and `wavenet.bench.model_cost`.
"""

from dataclasses import dataclass, replace
from html import escape
from pathlib import Path
from typing import Any

import gradio as gr

from wavenet.bench.model_cost import ModelCost, build_meta_model, compute_cost
from wavenet.checkpoint import CheckpointConfig, load_config
from wavenet.config import make_config
from wavenet.errors import ConfigError, WaveNetError
from wavenet.model.convolution_geometry import (
    ConvolutionStack,
    compare_dilations,
    stack_from_config,
)
from wavenet.model.wavenet import WaveNetConfig, require_wavenet_config
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
WIDTHS = (64, 64, 256)  # residual, gate and skip channels of a network that is no checkpoint
BITS = 8  # of its alphabet
RATE = 16_000  # Hz
MAX_LAYERS = 1000
MAX_RATE = 192_000  # Hz
DRAWINGS = {  # label -> whether it is causal, whether it is dilated
    "Causal, dilated": (True, True),
    "Causal, plain": (True, False),
    "Non-causal, dilated": (False, True),
    "Non-causal, plain": (False, False),
}
CAUSAL = next(iter(DRAWINGS))


@dataclass(frozen=True)
class Network:
    """What the controls say.

    Attributes:
        sample_rate: at which its times are given, Hz.
        counted: a sentence that says of what its numbers are.
        checkpoint: name of the folder, if it is exactly the network of one.
    """

    config: WaveNetConfig
    bits: int
    sample_rate: int
    counted: str
    checkpoint: str | None = None

    @property
    def cost(self) -> ModelCost:
        """Count what it costs."""
        return compute_cost(build_meta_model(self.config, self.bits, self.sample_rate))

    @property
    def plain(self) -> "Network":
        """The same without dilation."""
        config = self.config.model_copy(update={"dilations": (1,) * len(self.config.dilations)})
        counted = "Counted for the same layers without dilation."
        return replace(self, config=config, counted=counted, checkpoint=None)

    @property
    def summary(self) -> str:
        """Its sizes in a few words."""
        config = self.config
        widths = (config.residual_channels, config.gate_channels, config.skip_channels)
        return (
            f"kernel {config.kernel_size}, layers {len(config.dilations):,}, channels "
            f"{' · '.join(map(str, widths))}"
        )


def names(root: Path) -> list[str]:
    """List what there is to draw: presets, the checkpoints that there are now, one's own."""
    return [*PRESETS, *(CHECKPOINT + name for name in list_checkpoints(root)), OWN]


def doublings(layers: int, cycles: int) -> str:
    """Write the dilations 1, 2, 4, .. of every cycle, one behind the other."""
    return ", ".join(str(2**n) for _ in range(int(cycles)) for n in range(int(layers)))


def choose(root: Path, name: str) -> list[Any]:
    """Set the controls to a preset or to a checkpoint's network.

    Returns:
        layers per cycle, cycles, kernel size, dilations, the three widths, sample rate.
    """
    if name in PRESETS:
        kernel_size, layers, cycles = PRESETS[name]
        return [layers, cycles, kernel_size, doublings(layers, cycles), *WIDTHS, gr.skip()]
    try:
        config = _config_of(root, name)
        model = None if config is None else _geometry(config)
    except WaveNetError as error:
        raise gr.Error(sentence(error), print_exception=False) from None
    if config is None or model is None:
        return [gr.skip()] * 8
    return [
        *sliders_for(model.dilations),
        *_settings(model),
        config.audio.sample_rate,
    ]


def sliders_for(dilations: tuple[int, ...]) -> list[Any]:
    """Give layers per cycle and cycles; the sliders stay where they cannot say these dilations."""
    starts = [n for n, dilation in enumerate(dilations) if dilation == 1]
    layers = starts[1] if len(starts) > 1 else len(dilations)
    cycles = len(dilations) // layers
    if doublings(layers, cycles) != ", ".join(map(str, dilations)):
        return [gr.skip(), gr.skip()]
    return [layers, cycles]


def read_network(
    root: Path,
    name: str | None,
    kernel_size: int,
    dilations: str,
    residual: int,
    gate: int,
    skip: int,
    sample_rate: int | None,
) -> Network:
    """Check what the controls hold.

    Args:
        name: what is chosen; a checkpoint counts as such where the other controls are still its.
    Raises:
        WaveNetError: a network that no model may be, or a damaged checkpoint.
    """
    if not sample_rate or not 1 <= sample_rate <= MAX_RATE:
        raise ConfigError(f"the sample rate must be 1 to {MAX_RATE:,} Hz, found {sample_rate}")
    known = _config_of(root, name)
    own = None if known is None else _geometry(known)
    if known and own and _settings(own) == [kernel_size, dilations, residual, gate, skip]:
        folder = str(name).removeprefix(CHECKPOINT)
        counted = "Counted of the checkpoint itself, its conditions included."
        return Network(own, known.codec.bits, sample_rate, counted, folder)
    config = make_config(
        WaveNetConfig,
        "network",
        residual_channels=residual,
        gate_channels=gate,
        skip_channels=skip,
        kernel_size=kernel_size,
        dilations=tuple(read_dilations(dilations)),
    )
    return Network(config, BITS, sample_rate, f"Counted for {1 << BITS} classes, no conditions.")


def describe(root: Path, drawing: str, *values: Any) -> tuple[str, Any]:
    """Count and draw.

    Args:
        drawing: one of `DRAWINGS`.
        values: as `read_network` takes them.
    Returns:
        HTML of the numbers, or of the sentence that says what is wrong; the picture's value.
    """
    try:
        network = read_network(root, *values)
        is_causal, is_dilated = DRAWINGS.get(drawing, DRAWINGS[CAUSAL])
        drawn = network if is_dilated else network.plain
        stack = stack_from_config(drawn.config, is_causal)
        numbers = count(drawn, stack) + compare(network)
    except WaveNetError as error:
        return f"<p class='note' role='alert'>{escape(sentence(error))}</p>", gr.skip()
    return numbers, picture(stack, network.sample_rate)


def picture(stack: ConvolutionStack, sample_rate: int) -> dict[str, Any]:
    """Say what `receptive_field.js` is to draw."""
    return {
        "kernel": stack.kernel_size,
        "dilations": list(stack.dilations),
        "spans": stack.spans(),
        "rate": sample_rate,
        "causal": stack.is_causal,
    }


def count(network: Network, stack: ConvolutionStack) -> str:
    """Put the numbers of a network into HTML.

    Args:
        stack: its geometry. What is not causal cannot be made sample by sample: no work for one.
    """
    rate, cost = network.sample_rate, network.cost
    size, ahead = stack.sizes()[-1], stack.spans()[-1][1]
    large = {
        "Receptive field": f"{size:,} sample{'' if size == 1 else 's'}",
        f"At {rate:,} Hz": milliseconds(size, rate),
        "Layers": f"{len(stack.dilations):,}",
    }
    small = {"Parameters": f"{cost.parameters:,}", "Weights in float32": memory(cost.weight_bytes)}
    if stack.is_causal:
        small |= {
            "Cache of a stream": memory(cost.ring_bytes),
            "Work a sample, cached": f"{cost.cached_macs:,} MACs",
            "Work a sample, naive": f"{cost.uncached_macs:,} MACs",
            "Saved by the cache": f"{cost.receptive_field:,} times",
        }
        words = (
            "MACs are multiply-adds; naive is the network over one receptive field for every "
            "sample, cached is one step with ring buffers."
        )
    else:
        large["Of it in the future"] = f"{ahead:,} sample{'' if ahead == 1 else 's'}"
        words = "What needs the future cannot be made sample by sample, so it has no cache."
    note = f"<p class='note'>{network.counted} {words}</p>"
    return fact_list(large, "facts large") + fact_list(small) + note


def compare(network: Network) -> str:
    """Put the same depth with other dilations, and the depth that one second needs, into HTML."""
    stack, rate = stack_from_config(network.config), network.sample_rate
    depth = len(stack.dilations)
    needed = compare_dilations(stack, rate)
    doubled = f"{1 + (stack.kernel_size - 1) * ((1 << depth) - 1):,}" if depth <= 30 else "–"
    rows = (
        ("These dilations, again and again", f"{stack.sizes()[-1]:,}", needed["given"]),
        ("Doubled without end: 1, 2, 4, …", doubled, needed["doubled"]),
        ("Plain: every dilation 1", f"{stack.plain.sizes()[-1]:,}", needed["plain"]),
    )
    cells = "".join(
        f"<tr><th scope='row'>{label}</th><td>{size}</td>"
        f"<td>{'never' if layers is None else f'{layers:,}'}</td></tr>"
        for label, size, layers in rows
    )
    plural = "" if depth == 1 else "s"
    return (
        f"<table class='compare'><thead><tr><th scope='col'>Kernel {stack.kernel_size}</th>"
        f"<th scope='col'>Samples with {depth:,} layer{plural}</th>"
        f"<th scope='col'>Layers for 1 s at {rate:,} Hz</th></tr></thead>"
        f"<tbody>{cells}</tbody></table>"
    )


def milliseconds(samples: int, sample_rate: int) -> str:
    """Write a time with as many decimals as make sense."""
    time = 1000 * samples / sample_rate
    return f"{time:,.1f} ms" if time >= 1 else f"{time:.2g} ms"


def memory(size: int) -> str:
    """Write a number of bytes in units of 1,000."""
    if size < 1000:
        return f"{size} bytes"
    return f"{size / 1e3:,.1f} kB" if size < 1e6 else f"{size / 1e6:,.1f} MB"


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


def _settings(config: WaveNetConfig) -> list[Any]:
    """Give kernel size, dilations and widths as the controls hold them."""
    dilations = ", ".join(map(str, config.dilations))
    widths = [config.residual_channels, config.gate_channels, config.skip_channels]
    return [config.kernel_size, dilations, *widths]


def _geometry(config: CheckpointConfig) -> WaveNetConfig:
    """Return the network of a checkpoint, which must be a WaveNet."""
    return require_wavenet_config(config.model, "the receptive field")


def _config_of(root: Path, name: str | None) -> CheckpointConfig | None:
    """Read the config of a checkpoint that is chosen; None where something else is."""
    wanted = str(name).removeprefix(CHECKPOINT)
    if wanted == name or wanted not in list_checkpoints(root):
        return None
    try:
        return load_config(root / wanted)
    except WaveNetError as error:
        raise type(error)(str(error).replace(str(root / wanted), wanted)) from None
