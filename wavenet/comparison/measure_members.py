"""Measure the trained members of a comparison: bits, speed, and generated clips.

Input: an entry with its checkpoint, and the recordings. Output: `measures.json` and WAV files in
the folder of the entry. Called by the command line.

    bits        per sample of the test recordings, with a 95 % interval over recordings
    perplexity  2^bits: from so many equally likely codes the model would have to choose
    speed       samples/s of one clip on one thread: naive (the forward pass over all context for
                every sample), cached (with the memory of the model, in Python), and the fastest
                engine
    cost        seconds per sample after a past of some lengths, naive and cached
    labels      fraction of generated clips whose label a classifier recognises; the classifier is
                trained on real recordings
"""

import statistics
import time
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import torch

from audio_utils import io
from wavenet import checkpoint as checkpoints
from wavenet.bench.configurations import BenchmarkModel
from wavenet.bench.machine import torch_threads
from wavenet.bench.measurement import BenchmarkCase, measure_case
from wavenet.checkpoint import Checkpoint
from wavenet.comparison.plan import Entry
from wavenet.comparison.source import Source
from wavenet.comparison.train_members import read_training, write_json
from wavenet.engines.registry import make_engine
from wavenet.evaluation.bits_per_sample import MODEL_METHOD, score_recordings, summarise_bits
from wavenet.evaluation.label_evaluation import ClipEvaluator
from wavenet.evaluation.labelled_clips import (
    LabelledClip,
    generate_clips,
    plan_requests,
    to_labelled_clips,
)
from wavenet.generation.request import GenerationRequest
from wavenet.model.frame_features import example_conditions
from wavenet.sampling import SamplingConfig

CLIPS = 60  # generated per member
CLASSIFIER = "cnn"
SPEED_SECONDS = 0.3  # of a run
SPEED_RUNS = 3
SAVED_CLIPS = 6
PASTS = (64, 256, 1024, 4096)  # samples before those whose cost is measured
COST_SECONDS = 0.2  # of one measurement


def make_evaluator(source: Source) -> ClipEvaluator | None:
    """Train the classifiers of the labels; None if the recipe has no label."""
    if not source.labels:
        return None
    names = [label.name for label in source.labels]
    training = [*source.dataset.train, *source.dataset.validation]
    return ClipEvaluator(
        to_labelled_clips(training, names),
        to_labelled_clips(source.dataset.test, names),
        source.recipe.audio.sample_rate,
    )


def measure_entry(entry: Entry, source: Source, evaluator: ClipEvaluator | None) -> None:
    """Measure a trained member; do nothing if its measures exist.

    Args:
        entry: its training is finished.
        source: the recordings.
        evaluator: from `make_evaluator`.
    """
    if entry.measures_file.exists():
        return
    loaded = checkpoints.load(entry.checkpoint)
    training = read_training(entry)
    recordings = list(score_recordings(loaded, source.dataset.test, {}, []))
    (row,) = summarise_bits(recordings, [])
    bits = row["bits_per_sample"][MODEL_METHOD]
    model, config = loaded.model, loaded.config.model
    measures = {
        **training,
        "title": entry.member.title,
        "architecture": config.architecture,
        "macs_per_sample": model.macs_per_sample,
        "receptive_field": model.receptive_field,
        "memory_values": config.memory_values,
        "bits_per_sample": bits,
        "interval": row["interval"],
        "perplexity": 2**bits,
        "samples_per_second": measure_speeds(loaded),
        "cost_by_past": [measure_cost(loaded, past) for past in PASTS],
        "clips": _generate(entry, loaded, source, evaluator),
    }
    write_json(entry.measures_file, measures)


def measure_speeds(loaded: Checkpoint) -> dict[str, Any]:
    """Return the speed of one clip in samples/s: naive, cached, and of the fastest engine."""
    model = BenchmarkModel(loaded.config.name, loaded.model)
    fastest = make_engine("auto", loaded.model).name
    speeds = {}
    for name, engine in (("naive", "reference"), ("cached", "cached"), ("fastest", fastest)):
        if engine in speeds:
            continue
        case = BenchmarkCase(engine, loaded.config.name, 1, "fp32", 1)
        speeds[name] = round(measure_case(case, model, SPEED_RUNS, SPEED_SECONDS)[0], 1)
    return {**speeds, "engine": fastest}


def measure_cost(loaded: Checkpoint, past: int) -> dict[str, float]:
    """Return the seconds per sample after a past of `past` samples, naive and cached."""
    model = loaded.model
    labels, frame = example_conditions(model.config)
    conditioning = model.conditioning([labels], [2 * past], [frame])
    prompt = torch.full((past,), model.start_code)
    costs: dict[str, float] = {"past": past}
    for name, engine_name in (("naive", "reference"), ("cached", "cached")):
        engine = make_engine(engine_name, model)
        state = engine.start(conditioning)
        engine.prefill(state, [prompt])
        durations: list[float] = []
        with torch_threads(1):
            while len(durations) < 2 or sum(durations[1:]) < COST_SECONDS:
                # the past grows by one sample at a time; a copy would keep it exact, but is slow
                start = time.perf_counter()
                engine.run(state, 1, SamplingConfig(), torch.full((1, 1), 0.5))
                durations.append(time.perf_counter() - start)
                if len(durations) > past // 8:
                    break
        costs[name] = statistics.median(durations[1:])
    return costs


def _generate(
    entry: Entry, loaded: Checkpoint, source: Source, evaluator: ClipEvaluator | None
) -> dict[str, Any]:
    """Generate and save clips; return the fraction whose labels are recognised.

    A model without labels generates the same number of clips; the wanted labels are then compared
    with clips that it made without knowing them, which shows what chance achieves.
    """
    if evaluator is None:
        return {}
    requests = plan_requests(evaluator.training, CLIPS, seed=0)
    clips = generate_clips(loaded, known_labels(loaded, requests), SamplingConfig()).clips
    wanted = [
        LabelledClip(clip.name, {k: str(v) for k, v in request.conditions.items()}, clip.waveform)
        for clip, request in zip(clips, requests, strict=True)
    ]
    entry.clips.mkdir(exist_ok=True)
    for clip in clips[:SAVED_CLIPS]:
        path = entry.clips / f"{clip.name}.wav"
        io.write(path, clip.waveform, loaded.sample_rate)
    compared = evaluator.compare(evaluator.measure(wanted))
    return {
        "count": len(clips),
        "accuracy": compared["accuracy"]["generated"][CLASSIFIER],
        "accuracy_of_recordings": compared["accuracy"]["real"][CLASSIFIER],
        "frechet": compared["frechet"],
        "copies": compared["nearest"]["copies"],
    }


def known_labels(
    loaded: Checkpoint, requests: Sequence[GenerationRequest]
) -> list[GenerationRequest]:
    """Return the requests with only the labels that the model has."""
    names = {label.name for label in loaded.config.model.labels}
    return [
        replace(
            request,
            conditions={name: v for name, v in request.conditions.items() if name in names},
        )
        for request in requests
    ]
