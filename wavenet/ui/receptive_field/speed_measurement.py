"""Measure the speed of the compiled CPU engine for a network, with one stream.

Input: values of the controls by name. Output: HTML of the progress and of the result. Called by
`receptive_field_tab`.
"""

import statistics
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch

from wavenet.bench import configurations, measurement
from wavenet.devices import available_cores
from wavenet.engines.cpu.threads import TWO_THREADS_SUPPORTED
from wavenet.errors import ConditionError, WaveNetError
from wavenet.ui.checkpoint_library import load_checkpoint, move_to_device
from wavenet.ui.page import Page
from wavenet.ui.page_text import error_note, facts_html, status_note
from wavenet.ui.receptive_field.network_facts import count, format_bytes
from wavenet.ui.receptive_field.network_settings import NetworkSettings, read_network
from wavenet.ui.turns import describe_place

RUNS = 3  # the median is shown
RUN_SECONDS = 0.25
MAX_BYTES = 100_000_000  # of weights, and of ring buffers, of a network that is measured


def measure_speed(page: Page, **controls: Any) -> Iterator[dict[str, str]]:
    """Measure the speed of a network.

    Args:
        page: what all tabs share.
        controls: the arguments of `read_network`.
    Yields:
        HTML of the progress, then of the result or of an error.
    """
    try:
        network = read_network(page.root, **controls)
        measured = _benchmark_model(page.root, network)
        with page.turns.request() as turn:
            for place, seconds in turn.wait():
                yield {"speed": status_note(describe_place(place, seconds))}
            yield {"speed": status_note("Compiling the engine; the first time needs about 15 s …")}
            speeds: dict[int, list[float]] = {threads: [] for threads in _thread_counts()}
            for threads, found in speeds.items():
                case = measurement.BenchmarkCase("cpu", measured.name, 1, "fp32", threads)
                for n in range(RUNS):
                    text = f"Measuring {count(threads, 'thread')}: run {n + 1} of {RUNS} …"
                    yield {"speed": status_note(text)}
                    found.append(measurement.measure_case(case, measured, 1, RUN_SECONDS)[0])
        medians = {threads: statistics.median(found) for threads, found in speeds.items()}
        yield {"speed": speed_facts(network, medians)}
    except WaveNetError as error:
        yield {"speed": error_note(error)}


def speed_facts(network: NetworkSettings, speeds: dict[int, float]) -> str:
    """Return HTML of the fastest measured speed.

    Args:
        network: the measured network.
        speeds: samples/s by number of threads.
    """
    threads, speed = max(speeds.items(), key=lambda pair: pair[1])
    cost = network.cost
    uncached_speed = speed * cost.cached_macs / cost.uncached_macs
    facts = {
        "Speed": f"{speed:,.0f} samples/s",
        f"At {network.sample_rate:,} Hz": f"{speed / network.sample_rate:,.2f} × real time",
        "Time per sample": f"{1e6 / speed:,.1f} µs",
        "Throughput": f"{speed * cost.cached_macs / 1e9:,.2f} GMAC/s",
        "Without cache (estimate)": f"{uncached_speed:,.1f} samples/s",
    }
    others = " and ".join(f"{s:,.0f} on {t}" for t, s in speeds.items() if t != threads)
    note = (
        f"Measured on this machine ({network.summary}): one stream, engine cpu, float32, "
        f"{count(threads, 'thread')}{f' ({others})' if others else ''}, median of {RUNS} runs. "
        "The estimate without cache assumes the same MACs per second."
    )
    return facts_html(facts) + status_note(note)


def _benchmark_model(root: Path, network: NetworkSettings) -> configurations.BenchmarkModel:
    """Return the checkpoint with its weights, or the network with random weights.

    Raises:
        ConditionError: the network is too large.
    """
    sizes = {"weights": network.cost.weight_bytes, "ring buffers": network.cost.ring_bytes}
    for what, size in sizes.items():
        if size > MAX_BYTES:
            raise ConditionError(
                f"the {what} need {format_bytes(size)}; this page measures networks of up to "
                f"{format_bytes(MAX_BYTES)}; choose fewer or narrower layers, or smaller dilations"
            )
    if network.checkpoint is None:
        rate = max(4_000, network.sample_rate)
        return configurations.build_random_model("custom", network.config, network.bits, rate)
    loaded = load_checkpoint(root, network.checkpoint)
    checkpoint = move_to_device(loaded, torch.device("cpu"))
    return configurations.BenchmarkModel(network.checkpoint, checkpoint.model)


def _thread_counts() -> tuple[int, ...]:
    """Return the numbers of threads to measure on this machine."""
    return (1, 2) if TWO_THREADS_SUPPORTED and available_cores() > 1 else (1,)
