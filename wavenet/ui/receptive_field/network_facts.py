"""The numbers and the plot of a network: receptive field, cost, other dilations of equal depth.

Input: a checked network. Output: HTML, and the value of `receptive_field_plot.js`.
`wavenet.model.convolution_geometry` and `wavenet.bench.model_cost` compute the numbers. Called by
`receptive_field_tab`.
"""

from typing import Any

from wavenet.model.convolution_geometry import (
    ConvolutionStack,
    compare_dilations,
    stack_from_config,
)
from wavenet.ui.receptive_field.network_settings import NetworkSettings
from wavenet.ui.templates import render

CONVOLUTIONS = {  # label -> (is causal, is dilated)
    "Causal, dilated": (True, True),
    "Causal, undilated": (True, False),
    "Non-causal, dilated": (False, True),
    "Non-causal, undilated": (False, False),
}
CAUSAL_DILATED = next(iter(CONVOLUTIONS))


def describe_network(network: NetworkSettings, convolution: str) -> tuple[str, dict[str, Any]]:
    """Return the numbers of a network as HTML, and the value of the plot.

    Args:
        network: the network.
        convolution: one of `CONVOLUTIONS`.
    """
    is_causal, is_dilated = CONVOLUTIONS.get(convolution, CONVOLUTIONS[CAUSAL_DILATED])
    plotted = network if is_dilated else network.undilated
    stack = stack_from_config(plotted.config, is_causal)
    large, small, explanation = cost_facts(plotted, stack)
    html = render(
        "receptive_field/network_facts.html",
        large=large,
        small=small,
        note=f"{plotted.basis_note} {explanation}",
        kernel_size=network.config.kernel_size,
        depth=count(len(network.config.dilations), "layer"),
        rate=f"{network.sample_rate:,}",
        rows=dilation_patterns(network),
    )
    plot = {
        "kernel": stack.kernel_size,
        "dilations": list(stack.dilations),
        "spans": stack.spans(),
        "rate": network.sample_rate,
        "causal": stack.is_causal,
    }
    return html, plot


def cost_facts(
    network: NetworkSettings, stack: ConvolutionStack
) -> tuple[dict[str, str], dict[str, str], str]:
    """Return the main numbers of a network, the others, and a sentence that explains them.

    Args:
        network: the network.
        stack: its geometry; if it is not causal, the costs of generation are omitted.
    """
    cost, size, future = network.cost, stack.sizes()[-1], stack.spans()[-1][1]
    milliseconds = format_milliseconds(size, network.sample_rate)
    large = {
        "Receptive field": f"{count(size, 'sample')} ({milliseconds})",
        "Layers": f"{len(stack.dilations):,}",
    }
    small = {
        "Parameters": f"{cost.parameters:,}",
        "Weights (float32)": format_bytes(cost.weight_bytes),
    }
    if not stack.is_causal:
        return (
            large | {"Future samples used": count(future, "sample")},
            small,
            "A network that needs future samples cannot generate sample by sample, so it has no "
            "cache.",
        )
    small |= {
        "Cache per stream": format_bytes(cost.ring_bytes),
        "Per sample, cached": f"{cost.cached_macs:,} MACs",
        "Per sample, uncached": f"{cost.uncached_macs:,} MACs",
        "Uncached / cached": f"{cost.receptive_field:,}",
    }
    explanation = (
        "MACs are multiply-adds. Uncached: the network runs over a whole receptive field for "
        "every sample. Cached: one step with ring buffers."
    )
    return large, small, explanation


def dilation_patterns(network: NetworkSettings) -> list[tuple[str, str, str]]:
    """Return for each dilation pattern its name, its receptive field, and its layers for 1 s."""
    stack = stack_from_config(network.config)
    depth = len(stack.dilations)
    needed = compare_dilations(stack, network.sample_rate)
    doubled = f"{1 + (stack.kernel_size - 1) * ((1 << depth) - 1):,}" if depth <= 30 else "–"
    patterns = (
        ("These dilations, repeated", f"{stack.sizes()[-1]:,}", needed["repeated"]),
        ("Doubling in every layer: 1, 2, 4, …", doubled, needed["doubled"]),
        ("Undilated: every dilation 1", f"{stack.undilated.sizes()[-1]:,}", needed["undilated"]),
    )
    return [
        (label, size, "never" if layers is None else f"{layers:,}")
        for label, size, layers in patterns
    ]


def count(number: int, noun: str) -> str:
    """Return a number with its noun."""
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


def format_milliseconds(samples: int, sample_rate: int) -> str:
    """Return a duration in ms: one decimal, or two significant digits below 1 ms."""
    milliseconds = 1000 * samples / sample_rate
    return f"{milliseconds:,.1f} ms" if milliseconds >= 1 else f"{milliseconds:.2g} ms"


def format_bytes(size: int) -> str:
    """Return a number of bytes in units of 1,000."""
    if size < 1000:
        return f"{size} bytes"
    return f"{size / 1e3:,.1f} kB" if size < 1e6 else f"{size / 1e6:,.1f} MB"
