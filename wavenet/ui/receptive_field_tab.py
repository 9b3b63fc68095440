"""The Receptive field tab: which past samples an output can depend on, and how much it does.

A folder of checkpoints enters; widgets and their wiring leave. Below the layout are the callbacks
that run a model: they measure the speed of a network on this machine, and the influence of past
samples on the predictions of a checkpoint. Both are generators, so the page shows their progress,
and closing it ends them. Called by the studio app.
"""

import math
import statistics
import time
from collections.abc import Generator, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import gradio as gr
import torch
from torch import Tensor

from audio_utils.errors import AudioError
from audio_utils.example_sound import make_example_sound
from wavenet.bench import configurations, measurement
from wavenet.checkpoint import Checkpoint
from wavenet.devices import available_cores
from wavenet.engines.cpu.threads import TWO_THREADS_SUPPORTED
from wavenet.errors import ConditionError, WaveNetError
from wavenet.generation.generate import generate
from wavenet.generation.request import GenerationRequest, example_request
from wavenet.likelihood.effective_field import (
    EffectiveField,
    ScoredClip,
    measure_effective_field,
    min_samples,
)
from wavenet.model.frame_features import compute_frame_features
from wavenet.model.wavenet import require_wavenet
from wavenet.ui import network_settings
from wavenet.ui.checkpoint_controls import (
    MAX_LABELS,
    MAX_NUMBERS,
    condition_values,
    show_conditions,
)
from wavenet.ui.checkpoint_library import list_checkpoints, load_checkpoint, move_to_device
from wavenet.ui.event_handling import MODEL_QUEUE
from wavenet.ui.generation_job import MAX_SECONDS
from wavenet.ui.network_settings import (
    CHECKPOINT_PREFIX,
    NetworkSettings,
    describe_network,
    format_bytes,
    read_network,
)
from wavenet.ui.page_text import error_note, error_sentence, fact_list, status_note
from wavenet.ui.uploads import read_upload

SPEED_RUNS = 3  # the median is shown
RUN_SECONDS = 0.25
MAX_WEIGHT_BYTES = 100_000_000  # of a network whose speed is measured
MAX_RING_BYTES = 100_000_000
CLIPS = 4  # that the model generates, with different labels
MAX_CLIP_SECONDS = 4.0
INFLUENCE_SECONDS = 20.0  # then the measurement stops with the predictions so far
BINS = 240  # points of the curve: more than a screen shows
FLOOR_DB = -80.0  # lowest level of the curve
SHARES = (0.5, 0.9, 0.99)
SPEED_PLACEHOLDER = (
    "<p class='note'>Measures how fast the compiled CPU engine runs this network on this machine. "
    "Takes a few seconds.</p>"
)
ABOUT_INFLUENCE = (
    "<h2>Influence of past samples</h2><p class='note'>The plot above shows which samples an "
    "output can depend on. This measurement shows how much a trained model depends on each: the "
    "magnitude of the gradient of a prediction's log-probability with respect to that sample, "
    "averaged over many predictions.</p>"
)
Message = dict[str, Any]
_HERE = Path(__file__).parent


def tab(root: Path) -> None:
    """Build the tab and wire its events.

    Args:
        root: folder of checkpoint folders.
    """
    preset, cycles, values = _controls(root)
    convolution = gr.Radio(
        list(network_settings.CONVOLUTIONS),
        value=network_settings.CAUSAL_DILATED,
        label="Convolution",
        elem_id="convolution",
    )
    first_values = [item.value for item in values]
    facts, plot = describe_network(root, network_settings.CAUSAL_DILATED, *first_values)
    shown = [
        _plot(plot, "receptive_field_plot", "field-plot"),
        gr.HTML(facts, elem_id="field-facts"),
    ]
    with gr.Row(elem_classes="measurement"):
        measure = gr.Button(
            "Measure speed", elem_id="measure-speed", scale=0, min_width=210, size="md"
        )
        speed = gr.HTML(SPEED_PLACEHOLDER, elem_id="field-speed")
    gr.HTML(ABOUT_INFLUENCE, elem_classes="section")
    checkpoint, conditions = _influence(root)
    private: dict[str, Any] = {"show_progress": "hidden", "api_visibility": "private"}
    unqueued: dict[str, Any] = {"queue": False, **private}
    preset.input(
        partial(choose_network, root), preset, [*cycles, *values[1:], checkpoint], **unqueued
    )
    gr.on(
        [item.input for item in cycles],
        network_settings.doubling_dilations,
        cycles,
        values[2],
        **unqueued,
    )
    edits = [item.input for item in (*cycles, *values[1:-1])]
    gr.on(edits, lambda: network_settings.CUSTOM, None, preset, **unqueued)
    # One press changes many controls; the plot shows their final values.
    gr.on(
        [item.change for item in (convolution, *values)],
        partial(show_network, root),
        [convolution, *values],
        [*shown, speed],
        trigger_mode="always_last",
        **unqueued,
    )
    measure.click(partial(measure_speed, root), values, speed, **MODEL_QUEUE, **private)
    page = gr.context.Context.root_block
    assert page is not None
    page.load(partial(show_page, root), None, [preset, checkpoint, *conditions], **unqueued)


def _controls(root: Path) -> tuple[gr.Dropdown, list[Any], list[Any]]:
    """Build the controls of a network.

    Returns:
        The dropdown of networks; layers per cycle and cycles; the inputs of `read_network` in its
        order.
    """
    kernel_size, layers, cycles = network_settings.PRESETS[network_settings.FIRST_PRESET]
    with gr.Row():
        preset = gr.Dropdown(
            network_settings.network_choices(root),
            value=network_settings.FIRST_PRESET,
            label="Network",
            elem_id="preset",
            scale=3,
            min_width=260,
        )
        rate = _number(network_settings.RATE, "Sample rate (Hz)", "field-rate")
    with gr.Row():
        kernel = gr.Slider(
            1, 8, kernel_size, step=1, label="Kernel size", min_width=200, elem_id="field-kernel"
        )
        depth = gr.Slider(1, 14, layers, step=1, label="Layers per cycle", min_width=200)
        repeats = gr.Slider(1, 6, cycles, step=1, label="Cycles", min_width=200)
    with gr.Row():
        dilations = gr.Textbox(
            network_settings.doubling_dilations(layers, cycles),
            label="Dilations, one per layer",
            scale=3,
            min_width=300,
            elem_id="dilations",
        )
        labels = ("Residual channels", "Gate channels", "Skip channels")
        pairs = zip(network_settings.WIDTHS, labels, strict=True)
        widths = [_number(width, label) for width, label in pairs]
    return preset, [depth, repeats], [preset, kernel, dilations, *widths, rate]


def _number(value: int, label: str, elem_id: str | None = None) -> gr.Number:
    return gr.Number(value, label=label, precision=0, min_width=110, elem_id=elem_id)


def _influence(root: Path) -> tuple[gr.Dropdown, list[Any]]:
    """Build and wire the part that measures the influence of past samples.

    Returns:
        The dropdown of checkpoints, and the widgets of the conditions.
    """
    names = list_checkpoints(root)
    with gr.Row(elem_classes="measurement"):
        checkpoint = gr.Dropdown(
            names,
            value=names[0] if names else None,
            label="Checkpoint",
            elem_id="field-checkpoint",
            scale=3,
        )
        measure = gr.Button(
            "Measure influence",
            variant="primary",
            elem_id="measure-influence",
            scale=0,
            min_width=210,
        )
    with gr.Accordion("Measure on a recording", open=False):
        recording = gr.Audio(
            type="filepath",
            sources=["upload", "microphone"],
            format=None,
            buttons=["download"],
            label=f"Recording: WAV, FLAC, OGG or MP3, up to {MAX_SECONDS:.0f} s",
            elem_id="field-recording",
        )
        with gr.Row():
            labels = [gr.Dropdown(visible=False, min_width=120) for _ in range(MAX_LABELS)]
            numbers = [gr.Number(visible=False, min_width=120) for _ in range(MAX_NUMBERS)]
    conditions: list[Any] = [*numbers, *labels]
    curve = _plot({}, "effective_field_plot", "influence-plot")
    private: dict[str, Any] = {"show_progress": "hidden", "api_visibility": "private"}
    inputs = [checkpoint, recording, *conditions]
    measure.click(partial(measure_influence, root), inputs, curve, **MODEL_QUEUE, **private)
    show = partial(show_conditions, root)
    checkpoint.change(show, checkpoint, conditions, queue=False, **private)
    return checkpoint, conditions


def _plot(value: Any, name: str, elem_id: str) -> gr.HTML:
    """Build a plot that the script and the style sheet of that name draw."""
    return gr.HTML(
        value,
        html_template="<div class='plot'></div>",
        css_template=(_HERE / f"{name}.css").read_text(encoding="utf-8"),
        js_on_load=(_HERE / f"{name}.js").read_text(encoding="utf-8"),
        elem_id=elem_id,
    )


def show_page(root: Path) -> list[Any]:
    """List the current checkpoints, and show the conditions of the first."""
    found = list_checkpoints(root)
    first = found[0] if found else None
    networks = gr.update(choices=network_settings.network_choices(root))
    return [networks, gr.update(choices=found, value=first), *show_conditions(root, first)]


def choose_network(root: Path, choice: str) -> list[Any]:
    """Set the controls to a network; a checkpoint is also chosen for the influence."""
    folder = choice.removeprefix(CHECKPOINT_PREFIX)
    is_checkpoint = folder != choice and folder in list_checkpoints(root)
    values = network_settings.control_values(root, choice)
    return [*values, folder if is_checkpoint else gr.skip()]


def show_network(root: Path, convolution: str, *values: Any) -> tuple[Any, str, str]:
    """Update the plot and the numbers; remove the speed, which was that of another network."""
    facts, plot = describe_network(root, convolution, *values)
    return plot, facts, SPEED_PLACEHOLDER


def measure_speed(root: Path, *values: Any) -> Iterator[str]:
    """Measure the compiled CPU engine with one stream.

    Args:
        root: folder of checkpoint folders.
        values: of the controls, in the order of `read_network`.
    Yields:
        HTML of the progress, then of the result or of an error.
    """
    try:
        network = read_network(root, *values)
        yield status_note("Preparing the engine; the first time takes about 15 s …")
        measured = _benchmark_model(root, network)
        speeds: dict[int, list[float]] = {threads: [] for threads in _thread_counts()}
        for threads, found in speeds.items():
            case = measurement.BenchmarkCase("cpu", measured.name, 1, "fp32", threads)
            for n in range(SPEED_RUNS):
                plural = "" if threads == 1 else "s"
                yield status_note(f"Measuring {threads} thread{plural}: run {n + 1}/{SPEED_RUNS} …")
                found.append(measurement.measure_case(case, measured, 1, RUN_SECONDS)[0])
        yield speed_facts(network, {t: statistics.median(found) for t, found in speeds.items()})
    except WaveNetError as error:
        yield error_note(error)


def speed_facts(network: NetworkSettings, speeds: dict[int, float]) -> str:
    """Return HTML of the fastest measured speed.

    Args:
        network: that was measured.
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
        f"Measured on this machine ({network.summary}): one stream, engine cpu, float32, {threads} "
        f"thread{'' if threads == 1 else 's'}{f' ({others})' if others else ''}, median of "
        f"{SPEED_RUNS} runs. The estimate without cache assumes the same MACs per second."
    )
    return fact_list(facts) + status_note(note)


def _benchmark_model(root: Path, network: NetworkSettings) -> configurations.BenchmarkModel:
    """Return the checkpoint with its weights, or the network with random ones.

    Raises:
        ConditionError: the network is too large.
    """
    for what, size, limit in (
        ("weights", network.cost.weight_bytes, MAX_WEIGHT_BYTES),
        ("ring buffers", network.cost.ring_bytes, MAX_RING_BYTES),
    ):
        if size > limit:
            raise ConditionError(
                f"the {what} need {format_bytes(size)}; this page measures networks of up to "
                f"{format_bytes(limit)}, so choose smaller widths, or use `wavenet bench`"
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


def measure_influence(
    root: Path, name: str | None, recording: str | None, *conditions: Any
) -> Iterator[Message]:
    """Average the influence of past samples over many predictions.

    Args:
        root: folder of checkpoint folders.
        name: of a checkpoint's folder.
        recording: path of an upload; None uses clips that the model generates, or the example
            recording if the model has local conditions.
        conditions: of the recording, values of number fields and dropdowns, see
            `condition_values`.
    Yields:
        Messages for `effective_field_plot.js`: progress, then the curve so far, or an error.
    """
    try:
        yield {"busy": "Loading the checkpoint …"}
        checkpoint = load_checkpoint(root, name)
        if recording is None and not checkpoint.config.model.locals:
            source = f"{CLIPS} generated clips"
            clips = yield from _generate_clips(checkpoint)
        else:
            source = "the example recording" if recording is None else Path(recording).name
            clips = [_read_clip(checkpoint, recording, conditions)]
        began = time.monotonic()
        for field in measure_effective_field(checkpoint, clips):
            is_late = time.monotonic() - began > INFLUENCE_SECONDS
            yield influence_message(checkpoint, field, source, is_late)
            if is_late:
                return
    except (WaveNetError, AudioError) as error:
        yield {"error": error_sentence(error)}


def influence_message(
    checkpoint: Checkpoint, field: EffectiveField, source: str, is_last: bool = False
) -> Message:
    """Return what `effective_field_plot.js` draws.

    Args:
        checkpoint: the measured model.
        field: the average so far.
        source: what the predictions were made on.
        is_last: whether the measurement ends early.
    Returns:
        edges: (n + 1), bin k holds the samples edges[k] to edges[k + 1] - 1 before the prediction;
        level: (n,) mean influence of a sample in each bin, dB relative to the strongest sample;
        cumulative: (n,) share of all influence of the samples up to the end of each bin; spans:
        samples by share; predictions and planned: their numbers.
    """
    edges = bin_edges(field.influence.numel())
    sums = torch.cat([torch.zeros(1), field.influence.cumsum(0)]).double()
    ends = torch.tensor(edges) - 1
    means = (sums[ends[1:]] - sums[ends[:-1]]) / (ends[1:] - ends[:-1])
    level = 20 * (means / field.influence.max()).clamp(min=10 ** (FLOOR_DB / 20)).log10()
    return {
        "name": checkpoint.config.name,
        "rate": checkpoint.config.audio.sample_rate,
        "field": checkpoint.model.receptive_field,
        "floor": FLOOR_DB,
        "edges": edges,
        "level": [round(x, 2) for x in level.tolist()],
        "cumulative": [round(x, 6) for x in field.cumulative()[ends[1:] - 1].tolist()],
        "spans": [[share, field.span(share)] for share in SHARES],
        "predictions": field.predictions,
        "planned": field.predictions if is_last else field.planned,
        "source": source,
    }


def bin_edges(samples: int, bins: int = BINS) -> list[int]:
    """Divide the samples 1 to `samples` before a prediction into bins of equal ratio.

    Returns:
        Rising edges from 1 to samples + 1 of at most `bins` + 1 bins, each with at least one
        sample.
    """
    ratio = math.log(samples + 1) / bins
    return sorted({round(math.exp(ratio * n)) for n in range(bins)} | {1, samples + 1})


def _generate_clips(checkpoint: Checkpoint) -> Generator[Message, None, list[ScoredClip]]:
    """Generate clips with labels spread over their lists; yield progress, return the clips."""
    config, model = checkpoint.config, checkpoint.config.model
    rate = config.audio.sample_rate
    least = min_samples(require_wavenet(checkpoint.model, "the effective receptive field"))
    desired = max(round(config.default_seconds * rate), 2 * least)
    samples = max(min(desired, round(MAX_CLIP_SECONDS * rate)), least)
    common = example_request(model)
    requests = []
    for n in range(CLIPS):
        labels = {c.name: c.values[n * len(c.values) // CLIPS] for c in model.labels}
        requests.append(GenerationRequest(samples, {**common.conditions, **labels}, seed=n))
    parts: list[list[Tensor]] = [[] for _ in requests]
    for chunk in generate(checkpoint, requests):
        for part, codes in zip(parts, chunk.codes, strict=True):
            part.append(codes.cpu())
        share = (chunk.start + len(chunk.codes[0])) / samples
        yield {"busy": f"Generating {CLIPS} clips: {share:.0%}"}
    pairs = zip(parts, requests, strict=True)
    return [ScoredClip(torch.cat(part), request.conditions) for part, request in pairs]


def _read_clip(checkpoint: Checkpoint, path: str | None, conditions: Any) -> ScoredClip:
    """Read a recording, or the example, as codes and frame features of the model."""
    config, rate = checkpoint.config, checkpoint.config.audio.sample_rate
    waveform = (
        make_example_sound(rate) if path is None else read_upload(path, rate, MAX_SECONDS).waveform
    )
    frame_features = compute_frame_features(config.model, rate, waveform)
    values = condition_values(config.model, conditions)
    codes = config.codec.encode(waveform)
    return ScoredClip(codes, values, frame_features)
