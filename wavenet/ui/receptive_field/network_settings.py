"""Networks of the Receptive field tab: presets, the model of the page, and custom ones.

Input: values of the controls by name. Output: a checked network, or values of the controls. Called
by `receptive_field_tab`, `network_facts` and `speed_measurement`.
"""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from wavenet.bench.model_cost import ModelCost, build_meta_model, compute_cost
from wavenet.checkpoint import CheckpointConfig, load_config
from wavenet.config import make_config
from wavenet.errors import ConfigError, WaveNetError
from wavenet.model.wavenet import WaveNetConfig, require_wavenet_config
from wavenet.ui.checkpoint_library import find_folder

MODEL_ABOVE = "The model above"
CUSTOM = "Custom"
# Name -> kernel size, layers per cycle, cycles; dilations double within a cycle.
PRESETS = {
    "Minimal: kernel 2, dilations 1 to 8": (2, 4, 1),
    "Textbook: kernel 3, dilations 1 to 512": (3, 10, 1),
    "WaveNet paper: kernel 2, three cycles of dilations 1 to 512": (2, 10, 3),
    "One second at 16 kHz: kernel 3, dilations 1 to 4,096": (3, 13, 1),
}
FIRST_PRESET = next(iter(PRESETS))
CHOICES = (MODEL_ABOVE, *PRESETS, CUSTOM)
WIDTHS = {"residual": 64, "gate": 64, "skip": 256}  # channels of presets
BITS = 8  # of the codes of presets and custom networks
RATE = 16_000  # Hz
MAX_LAYERS = 1000
MAX_DILATION = 65_536
# Control -> its label and its largest value; the smallest is 1.
LIMITS = {
    "kernel_size": ("Kernel size", 64),
    "residual": ("Residual channels", 4096),
    "gate": ("Gate channels", 4096),
    "skip": ("Skip channels", 4096),
    "sample_rate": ("Sample rate", 192_000),
}


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


def doubling_dilations(layers: int, cycles: int) -> str:
    """Return the dilations 1, 2, 4, .. of all cycles as text."""
    return ", ".join(str(2**n) for _ in range(int(cycles)) for n in range(int(layers)))


def choose_network(root: Path, *, choice: str | None, name: str | None) -> dict[str, Any]:
    """Return the values of the controls for a preset, or for the model of the page.

    Args:
        root: folder of checkpoint folders.
        choice: one of `CHOICES`.
        name: the model of the page.
    Returns:
        Values by name; {} for a custom network, and for a model without one: `read_network` raises
        its error.
    """
    if choice in PRESETS:
        kernel_size, layers, cycles = PRESETS[choice]
        dilations = doubling_dilations(layers, cycles)
        sliders = {"layers": layers, "cycles": cycles}
        return {**sliders, "kernel_size": kernel_size, "dilations": dilations, **WIDTHS}
    if choice != MODEL_ABOVE:
        return {}
    try:
        config, network = _model_network(root, name)
    except WaveNetError:
        return {}
    rate = config.audio.sample_rate
    return {**slider_values(network.dilations), **_network_values(network), "sample_rate": rate}


def slider_values(dilations: tuple[int, ...]) -> dict[str, int]:
    """Return layers per cycle and cycles; {} if the dilations do not double in cycles."""
    starts = [n for n, dilation in enumerate(dilations) if dilation == 1]
    layers = starts[1] if len(starts) > 1 else len(dilations)
    cycles = len(dilations) // layers
    if doubling_dilations(layers, cycles) != ", ".join(map(str, dilations)):
        return {}
    return {"layers": layers, "cycles": cycles}


def read_network(
    root: Path,
    *,
    choice: str | None,
    name: str | None,
    dilations: str | None,
    **numbers: int | None,
) -> NetworkSettings:
    """Check the values of the controls.

    Args:
        root: folder of checkpoint folders.
        choice: one of `CHOICES`; the model of the page is used only if the other controls still
            have its values.
        name: the model of the page.
        dilations: text, one number per layer.
        numbers: the values of `LIMITS` by name.
    Raises:
        WaveNetError: an invalid network, or a damaged checkpoint.
    """
    chosen = _model_network(root, name) if choice == MODEL_ABOVE else None
    for key, (label, highest) in LIMITS.items():
        value = numbers[key]
        if value is None or not 1 <= value <= highest:
            found = "nothing" if value is None else f"{value:,}"
            raise ConfigError(f"{label}: expected a number from 1 to {highest:,}, found {found}")
    rate = int(numbers.pop("sample_rate") or 0)
    if chosen:
        checkpoint, network = chosen
        if _network_values(network) == {**numbers, "dilations": dilations}:
            basis_note = "Computed for the model above, with its conditions."
            return NetworkSettings(network, checkpoint.codec.bits, rate, basis_note, name)
    config = make_config(
        WaveNetConfig,
        "network",
        residual_channels=numbers["residual"],
        gate_channels=numbers["gate"],
        skip_channels=numbers["skip"],
        kernel_size=numbers["kernel_size"],
        dilations=tuple(read_dilations(dilations)),
    )
    basis_note = f"Computed for {1 << BITS} classes without conditions."
    return NetworkSettings(config, BITS, rate, basis_note)


def read_dilations(text: str | None) -> list[int]:
    """Read integers separated by commas or spaces.

    Raises:
        ConfigError: the text has other content, or too many numbers.
    """
    words = (text or "").replace(",", " ").split()
    if not words or len(words) > MAX_LAYERS:
        raise ConfigError(
            f"Dilations: expected 1 to {MAX_LAYERS:,} numbers such as 1, 2, 4; found {len(words):,}"
        )
    for word in words:
        is_short = word.isascii() and word.isdigit() and len(word) <= 9
        if not (is_short and 1 <= int(word) <= MAX_DILATION):
            raise ConfigError(
                f"Dilations: expected whole numbers from 1 to {MAX_DILATION:,}, found {word[:20]!r}"
            )
    return [int(word) for word in words]


def _network_values(config: WaveNetConfig) -> dict[str, Any]:
    """Return kernel size, dilations and widths in the form of the controls."""
    return {
        "kernel_size": config.kernel_size,
        "dilations": ", ".join(map(str, config.dilations)),
        "residual": config.residual_channels,
        "gate": config.gate_channels,
        "skip": config.skip_channels,
    }


def _model_network(root: Path, name: str | None) -> tuple[CheckpointConfig, WaveNetConfig]:
    """Read the config of a checkpoint, and its network, which must be a WaveNet."""
    folder = find_folder(root, name)
    if folder is None:
        raise ConfigError("no model is chosen; choose one above, or a preset of this list")
    try:
        config = load_config(folder)
    except WaveNetError as error:
        raise type(error)(str(error).replace(str(folder), folder.name)) from None
    return config, require_wavenet_config(config.model, "the receptive field")
