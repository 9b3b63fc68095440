"""What only a running model can tell: its speed here, and which past samples it listens to.

What the controls hold enters; HTML, or messages for `influence.js`, leave. Called by the Receptive
field tab; both are generators, so that the page sees them advance and closing it ends them.
"""

import math
import statistics
import time
from collections.abc import Generator, Iterator
from html import escape
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from audio_utils.errors import AudioError
from audio_utils.example_sound import make_example_sound
from wavenet.bench import configurations, measurement
from wavenet.checkpoint import Checkpoint
from wavenet.engines.cpu.thread_sync import CAN_WAIT, available_cores
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
from wavenet.ui import jobs
from wavenet.ui.controls import chosen_labels
from wavenet.ui.live import fact_list
from wavenet.ui.networks import Network, memory, read_network

RUNS = 3  # of which the median is taken
RUN_SECONDS = 0.25
MAX_WEIGHT_BYTES = 100_000_000  # of a network that is measured
MAX_RING_BYTES = 100_000_000
CLIPS = 4  # that a model writes, with other labels each
MAX_CLIP_SECONDS = 4.0
FIELD_SECONDS = 20.0  # after which the predictions so far are enough
BINS = 240  # points of the curve: more than a screen shows
FLOOR = -80.0  # dB, where the curve ends
SHARES = (0.5, 0.9, 0.99)

Message = dict[str, Any]


def run_speed(root: Path, *values: Any) -> Iterator[str]:
    """Measure the compiled engine of the CPU with one stream; a fault is one sentence in the page.

    Args:
        values: as `networks.read_network` takes them.
    """
    try:
        network = read_network(root, *values)
        yield _note("Preparing the engine; the first time takes about 15 s …")
        subject = _subject(root, network)
        speeds: dict[int, list[float]] = {threads: [] for threads in _threads()}
        for threads, found in speeds.items():
            case = measurement.BenchmarkCase("cpu", subject.name, 1, "fp32", threads)
            for n in range(RUNS):
                plural = "" if threads == 1 else "s"
                yield _note(f"Measuring {threads} thread{plural}: run {n + 1} of {RUNS} …")
                found.append(measurement.measure_case(case, subject, 1, RUN_SECONDS)[0])
        yield speed_facts(network, {t: statistics.median(found) for t, found in speeds.items()})
    except WaveNetError as error:
        yield f"<p class='note' role='alert'>{escape(jobs.sentence(error))}</p>"


def speed_facts(network: Network, speeds: dict[int, float]) -> str:
    """Say what measured speeds mean.

    Args:
        speeds: samples/s by the number of threads.
    """
    threads, speed = max(speeds.items(), key=lambda pair: pair[1])
    cost = network.cost
    facts = {
        "Samples a second": f"{speed:,.0f}",
        f"At {network.sample_rate:,} Hz": f"{speed / network.sample_rate:,.2f} × real time",
        "Time for a sample": f"{1e6 / speed:,.1f} µs",
        "Work a second": f"{speed * cost.cached_macs / 1e9:,.2f} GMACs",
        "Without a cache, about": f"{speed * cost.cached_macs / cost.uncached_macs:,.1f} a second",
    }
    others = " and ".join(f"{s:,.0f} on {t}" for t, s in speeds.items() if t != threads)
    note = (
        f"Measured here ({network.summary}): one stream, engine cpu, float32, {threads} "
        f"thread{'' if threads == 1 else 's'}{f' ({others})' if others else ''}, median of {RUNS} "
        "runs. Without a cache: reckoned, as many MACs a second."
    )
    return fact_list(facts) + _note(note)


def run_field(
    root: Path, name: str | None, recording: str | None, *chosen: Any
) -> Iterator[Message]:
    """Average the influence of past samples; a fault is one sentence in the page.

    Args:
        name: of a checkpoint's folder.
        recording: path of an upload to read; None lets the model write clips, or read the example
            where it cannot without one.
        chosen: with the recording, see `controls.chosen_labels`.
    """
    try:
        yield {"busy": "Loading the checkpoint …"}
        checkpoint = jobs.load_named(root, name)
        if recording is None and not checkpoint.config.model.locals:
            source = f"{CLIPS} clips that it wrote"
            clips = yield from _write(checkpoint)
        else:
            source = "the example sound" if recording is None else Path(recording).name
            clips = [_read(checkpoint, recording, chosen)]
        began = time.monotonic()
        for field in measure_effective_field(checkpoint, clips):
            is_late = time.monotonic() - began > FIELD_SECONDS
            yield field_message(checkpoint, field, source, is_late)
            if is_late:
                return
    except (WaveNetError, AudioError) as error:
        yield {"error": jobs.sentence(error)}


def field_message(
    checkpoint: Checkpoint, field: EffectiveField, source: str, is_last: bool = False
) -> Message:
    """Say what `influence.js` is to draw.

    Returns:
        edges: (n + 1), bin k holds the samples edges[k] to edges[k + 1] - 1 before; level: (n,)
        mean influence of a sample in each bin, dB below the strongest sample; held: (n,) share of
        all influence of the samples up to the end of each bin; spans: samples by share.
    """
    edges = bin_edges(field.influence.numel())
    sums = torch.cat([torch.zeros(1), field.influence.cumsum(0)]).double()
    ends = torch.tensor(edges) - 1
    means = (sums[ends[1:]] - sums[ends[:-1]]) / (ends[1:] - ends[:-1])
    level = 20 * (means / field.influence.max()).clamp(min=10 ** (FLOOR / 20)).log10()
    return {
        "name": checkpoint.config.name,
        "rate": checkpoint.config.audio.sample_rate,
        "field": checkpoint.model.receptive_field,
        "floor": FLOOR,
        "edges": edges,
        "level": [round(x, 2) for x in level.tolist()],
        "held": [round(x, 6) for x in field.cumulative()[ends[1:] - 1].tolist()],
        "spans": [[share, field.span(share)] for share in SHARES],
        "outputs": field.predictions,
        "planned": field.predictions if is_last else field.planned,
        "source": source,
    }


def bin_edges(samples: int, bins: int = BINS) -> list[int]:
    """Divide the samples 1 to `samples` before into at most so many bins of like ratios.

    Returns:
        rising edges from 1 to samples + 1, each bin with at least one sample.
    """
    ratio = math.log(samples + 1) / bins
    return sorted({round(math.exp(ratio * n)) for n in range(bins)} | {1, samples + 1})


def _subject(root: Path, network: Network) -> configurations.BenchmarkModel:
    """Take the checkpoint's own weights, or random ones of the same sizes."""
    for what, size, most in (
        ("weights", network.cost.weight_bytes, MAX_WEIGHT_BYTES),
        ("ring buffers", network.cost.ring_bytes, MAX_RING_BYTES),
    ):
        if size > most:
            raise ConditionError(
                f"the {what} take {memory(size)}; networks up to {memory(most)} are measured here, "
                "so choose smaller widths, or use `wavenet bench`"
            )
    if network.checkpoint is None:
        rate = max(4_000, network.sample_rate)
        return configurations.build_random_model("own", network.config, network.bits, rate)
    checkpoint = jobs.on_device(jobs.load_named(root, network.checkpoint), torch.device("cpu"))
    return configurations.BenchmarkModel(network.checkpoint, checkpoint.model)


def _threads() -> tuple[int, ...]:
    """List the numbers of threads that this machine can run at once."""
    return (1, 2) if CAN_WAIT and available_cores() > 1 else (1,)


def _write(checkpoint: Checkpoint) -> Generator[Message, None, list[ScoredClip]]:
    """Let the model write clips, with labels from all over their lists; gives them at the end."""
    config, model = checkpoint.config, checkpoint.config.model
    rate = config.audio.sample_rate
    least = min_samples(require_wavenet(checkpoint.model, "the effective receptive field"))
    wanted = max(round(config.default_seconds * rate), 2 * least)
    samples = max(min(wanted, round(MAX_CLIP_SECONDS * rate)), least)
    common = example_request(model)
    items = []
    for n in range(CLIPS):
        labels = {c.name: c.values[n * len(c.values) // CLIPS] for c in model.labels}
        items.append(GenerationRequest(samples, {**common.conditions, **labels}, seed=n))
    parts: list[list[Tensor]] = [[] for _ in items]
    for chunk in generate(checkpoint, items):
        for part, codes in zip(parts, chunk.codes, strict=True):
            part.append(codes.cpu())
        share = (chunk.start + len(chunk.codes[0])) / samples
        yield {"busy": f"The model writes {CLIPS} clips: {share:.0%}"}
    return [
        ScoredClip(torch.cat(part), item.conditions)
        for part, item in zip(parts, items, strict=True)
    ]


def _read(checkpoint: Checkpoint, path: str | None, chosen: Any) -> ScoredClip:
    """Take a recording, or the example, as the model reads it."""
    config, rate = checkpoint.config, checkpoint.config.audio.sample_rate
    waveform = (
        make_example_sound(rate)
        if path is None
        else jobs.read_upload(path, rate, jobs.MAX_SECONDS).waveform
    )
    local = compute_frame_features(config.model, rate, waveform)
    labels = chosen_labels(config.model, chosen)
    codes = config.codec.encode(waveform)
    return ScoredClip(codes, labels, local)


def _note(text: str) -> str:
    return f"<p class='note' role='status'>{escape(text)}</p>"
