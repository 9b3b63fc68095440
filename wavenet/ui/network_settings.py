"""Networks of the Receptive field tab: presets, checkpoints and custom ones, and their cost.

Input: values of the controls. Output: a checked network, its numbers as HTML, and the value of the
plot. `wavenet.model.convolution_geometry` and `wavenet.bench.model_cost` compute the numbers.
Called by the Receptive field tab.
"""

from dataclasses import dataclass, replace
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
from wavenet.ui.checkpoint_library import list_checkpoints
from wavenet.ui.page_text import convert_user_errors, error_note, fact_list

CUSTOM = "Custom"
# Name -> kernel size, layers per cycle, cycles; dilations double within a cycle.
PRESETS = {
    "Minimal: kernel 2, dilations 1 to 8": (2, 4, 1),
    "Textbook: kernel 3, dilations 1 to 512": (3, 10, 1),
    "WaveNet paper: kernel 2, three cycles of dilations 1 to 512": (2, 10, 3),
    "One second at 16 kHz: kernel 3, dilations 1 to 4,096": (3, 13, 1),
}
FIRST_PRESET = next(iter(PRESETS))
CHECKPOINT_PREFIX = "Checkpoint: "
WIDTHS = (64, 64, 256)  # residual, gate and skip channels of presets
BITS = 8  # of the codes of presets and custom networks
RATE = 16_000  # Hz
MAX_LAYERS = 1000
MAX_RATE = 192_000  # Hz
CONVOLUTIONS = {  # label -> (is causal, is dilated)
    "Causal, dilated": (True, True),
    "Causal, undilated": (True, False),
    "Non-causal, dilated": (False, True),
    "Non-causal, undilated": (False, False),
}
CAUSAL_DILATED = next(iter(CONVOLUTIONS))


@dataclass(frozen=True)
class NetworkSettings:
    """The checked values of the controls.

    Attributes:
        config: config of the network.
        bits: bits of its codes.
        sample_rate: Hz, for times.
        basis_note: a sentence that names the network for which the numbers are computed.
        checkpoint: name of the checkpoint folder, if the network is the unchanged network of a
            checkpoint.
    """

    config: WaveNetConfig
    bits: int
    sample_rate: int
    basis_note: str
    checkpoint: str | None = None

    @property
    def cost(self) -> ModelCost:
        """Parameters, multiply-adds and memory."""
        return compute_cost(build_meta_model(self.config, self.bits, self.sample_rate))

    @property
    def undilated(self) -> "NetworkSettings":
        """The same network with every dilation 1."""
        config = self.config.model_copy(update={"dilations": (1,) * len(self.config.dilations)})
        basis_note = "Computed for the same layers without dilation."
        return replace(self, config=config, basis_note=basis_note, checkpoint=None)

    @property
    def summary(self) -> str:
        """Kernel size, number of layers and channels as text."""
        config = self.config
        widths = (config.residual_channels, config.gate_channels, config.skip_channels)
        return (
            f"kernel {config.kernel_size}, layers {len(config.dilations):,}, channels "
            f"{' · '.join(map(str, widths))}"
        )


def network_choices(root: Path) -> list[str]:
    """Return the choices of the dropdown: the presets, the WaveNets of the studio and Custom."""
    names = [name for name in list_checkpoints(root) if _is_wavenet(root / name)]
    return [*PRESETS, *(CHECKPOINT_PREFIX + name for name in names), CUSTOM]


def _is_wavenet(folder: Path) -> bool:
    """Return whether a checkpoint is a WaveNet, or is damaged: choosing it shows the error."""
    try:
        return isinstance(load_config(folder).model, WaveNetConfig)
    except WaveNetError:
        return True


def doubling_dilations(layers: int, cycles: int) -> str:
    """Return the dilations 1, 2, 4, .. of all cycles as text."""
    return ", ".join(str(2**n) for _ in range(int(cycles)) for n in range(int(layers)))


def control_values(root: Path, choice: str | None) -> list[Any]:
    """Return the values of the controls for a preset or for a checkpoint's network.

    Returns:
        layers per cycle, cycles, kernel size, dilations, the three widths, sample rate.
    """
    if choice in PRESETS:
        kernel_size, layers, cycles = PRESETS[choice]
        dilations = doubling_dilations(layers, cycles)
        return [layers, cycles, kernel_size, dilations, *WIDTHS, gr.skip()]
    with convert_user_errors():
        config = _checkpoint_config(root, choice)
        network = None if config is None else _network_config(config)
    if config is None or network is None:
        return [gr.skip()] * 8
    return [
        *slider_values(network.dilations),
        *_model_values(network),
        config.audio.sample_rate,
    ]


def slider_values(dilations: tuple[int, ...]) -> list[Any]:
    """Return layers per cycle and cycles; no update if the dilations do not double in cycles."""
    starts = [n for n, dilation in enumerate(dilations) if dilation == 1]
    layers = starts[1] if len(starts) > 1 else len(dilations)
    cycles = len(dilations) // layers
    if doubling_dilations(layers, cycles) != ", ".join(map(str, dilations)):
        return [gr.skip(), gr.skip()]
    return [layers, cycles]


def read_network(
    root: Path,
    choice: str | None,
    kernel_size: int,
    dilations: str | None,
    residual: int,
    gate: int,
    skip: int,
    sample_rate: int | None,
) -> NetworkSettings:
    """Check the values of the controls.

    Args:
        root: folder of checkpoint folders.
        choice: value of the dropdown; a checkpoint is used only if the other controls still have
            its values.
        kernel_size: taps of a convolution.
        dilations: text, one number per layer.
        residual: residual channels.
        gate: gate channels.
        skip: skip channels.
        sample_rate: Hz.
    Raises:
        WaveNetError: an invalid network, or a damaged checkpoint.
    """
    if not sample_rate or not 1 <= sample_rate <= MAX_RATE:
        raise ConfigError(f"the sample rate must be 1 to {MAX_RATE:,} Hz, found {sample_rate}")
    known = _checkpoint_config(root, choice)
    network = None if known is None else _network_config(known)
    values = [kernel_size, dilations, residual, gate, skip]
    if known and network and _model_values(network) == values:
        folder = str(choice).removeprefix(CHECKPOINT_PREFIX)
        basis_note = "Computed for the network of the checkpoint, with its conditions."
        return NetworkSettings(network, known.codec.bits, sample_rate, basis_note, folder)
    config = make_config(
        WaveNetConfig,
        "network",
        residual_channels=residual,
        gate_channels=gate,
        skip_channels=skip,
        kernel_size=kernel_size,
        dilations=tuple(read_dilations(dilations)),
    )
    basis_note = f"Computed for {1 << BITS} classes without conditions."
    return NetworkSettings(config, BITS, sample_rate, basis_note)


def describe_network(root: Path, convolution: str, *values: Any) -> tuple[str, Any]:
    """Compute the numbers and the plot of a network.

    Args:
        root: folder of checkpoint folders.
        convolution: one of `CONVOLUTIONS`.
        values: values of the controls, in the order of `read_network`.
    Returns:
        HTML of the numbers or of an error; the value of the plot.
    """
    try:
        network = read_network(root, *values)
        is_causal, is_dilated = CONVOLUTIONS.get(convolution, CONVOLUTIONS[CAUSAL_DILATED])
        plotted = network if is_dilated else network.undilated
        stack = stack_from_config(plotted.config, is_causal)
        numbers = cost_facts(plotted, stack) + comparison_table(network)
    except WaveNetError as error:
        return error_note(error), gr.skip()
    return numbers, plot_value(stack, network.sample_rate)


def plot_value(stack: ConvolutionStack, sample_rate: int) -> dict[str, Any]:
    """Return the value for `receptive_field_plot.js`."""
    return {
        "kernel": stack.kernel_size,
        "dilations": list(stack.dilations),
        "spans": stack.spans(),
        "rate": sample_rate,
        "causal": stack.is_causal,
    }


def cost_facts(network: NetworkSettings, stack: ConvolutionStack) -> str:
    """Return the numbers of a network as HTML.

    Args:
        network: the network.
        stack: its geometry; if it is not causal, the costs of generation are omitted.
    """
    rate, cost = network.sample_rate, network.cost
    size, future = stack.sizes()[-1], stack.spans()[-1][1]
    large = {
        "Receptive field": f"{size:,} sample{'' if size == 1 else 's'}",
        f"At {rate:,} Hz": format_milliseconds(size, rate),
        "Layers": f"{len(stack.dilations):,}",
    }
    small = {
        "Parameters": f"{cost.parameters:,}",
        "Weights (float32)": format_bytes(cost.weight_bytes),
    }
    if stack.is_causal:
        small |= {
            "Cache per stream": format_bytes(cost.ring_bytes),
            "Per sample, cached": f"{cost.cached_macs:,} MACs",
            "Per sample, uncached": f"{cost.uncached_macs:,} MACs",
            "Uncached / cached": f"{cost.receptive_field:,}",
        }
        explanation = (
            "MACs are multiply-adds. Uncached: the network runs over a whole receptive "
            "field for every sample. Cached: one step with ring buffers."
        )
    else:
        large["Future samples used"] = f"{future:,} sample{'' if future == 1 else 's'}"
        explanation = (
            "A network that needs future samples cannot generate sample by sample, so it has no "
            "cache."
        )
    note = f"<p class='note'>{network.basis_note} {explanation}</p>"
    return fact_list(large, "facts large") + fact_list(small) + note


def comparison_table(network: NetworkSettings) -> str:
    """Return HTML that compares dilation patterns at this depth, and the depth for one second."""
    stack, rate = stack_from_config(network.config), network.sample_rate
    depth = len(stack.dilations)
    needed = compare_dilations(stack, rate)
    doubled = f"{1 + (stack.kernel_size - 1) * ((1 << depth) - 1):,}" if depth <= 30 else "–"
    rows = (
        ("These dilations, repeated", f"{stack.sizes()[-1]:,}", needed["repeated"]),
        ("Doubling in every layer: 1, 2, 4, …", doubled, needed["doubled"]),
        ("Undilated: every dilation 1", f"{stack.undilated.sizes()[-1]:,}", needed["undilated"]),
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


def format_milliseconds(samples: int, sample_rate: int) -> str:
    """Return a duration in ms: one decimal, or two significant digits below 1 ms."""
    milliseconds = 1000 * samples / sample_rate
    return f"{milliseconds:,.1f} ms" if milliseconds >= 1 else f"{milliseconds:.2g} ms"


def format_bytes(size: int) -> str:
    """Return a number of bytes in units of 1,000."""
    if size < 1000:
        return f"{size} bytes"
    return f"{size / 1e3:,.1f} kB" if size < 1e6 else f"{size / 1e6:,.1f} MB"


def read_dilations(text: str | None) -> list[int]:
    """Read integers separated by commas or spaces.

    Raises:
        ConfigError: the text has other content, or too many numbers.
    """
    words = (text or "").replace(",", " ").split()
    if not words or len(words) > MAX_LAYERS:
        raise ConfigError(
            f"expected 1 to {MAX_LAYERS} dilations such as 1, 2, 4; found {len(words)}"
        )
    for word in words:
        if not (word.isascii() and word.isdigit() and len(word) <= 9):
            raise ConfigError(f"a dilation must be a whole number, found {word[:20]!r}")
    return [int(word) for word in words]


def _model_values(config: WaveNetConfig) -> list[Any]:
    """Return kernel size, dilations and widths in the form of the controls."""
    dilations = ", ".join(map(str, config.dilations))
    widths = [config.residual_channels, config.gate_channels, config.skip_channels]
    return [config.kernel_size, dilations, *widths]


def _network_config(config: CheckpointConfig) -> WaveNetConfig:
    """Return the network of a checkpoint, which must be a WaveNet."""
    return require_wavenet_config(config.model, "the receptive field")


def _checkpoint_config(root: Path, choice: str | None) -> CheckpointConfig | None:
    """Read the config of the chosen checkpoint; None if the choice is not a checkpoint."""
    name = str(choice).removeprefix(CHECKPOINT_PREFIX)
    if name == choice or name not in list_checkpoints(root):
        return None
    try:
        return load_config(root / name)
    except WaveNetError as error:
        raise type(error)(str(error).replace(str(root / name), name)) from None
