"""Measure how many planted faults are found, and how many labels are recognised by likelihood.

    python benchmarks/detection.py faults recordings/ [--write]
    python benchmarks/detection.py labels recordings/

The recordings are those of the recipe `digits`. The last line is one JSON document.

faults: the detectors are calibrated on the recordings for training, with those for validation as
held-out ones, and count the faults that are planted into those for test: each of ten kinds with
five strengths into 30 clips, at several rates of false alarms.
The detectors are the likelihood of a checkpoint, jumps of the energy, and the residual of linear
prediction. `--write` writes the calibration of the checkpoint into its folder.

labels: digit and speaker of the recordings for test by Bayes' rule, beside a support-vector machine
on MFCCs.
"""

import argparse
import json
import sys
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from wavenet import checkpoint
from wavenet.checkpoint import Checkpoint
from wavenet.detection.calibration import make_calibration, write_calibration
from wavenet.detection.events import select_events
from wavenet.detection.most_probable import label_probabilities
from wavenet.detection.plain_detectors import energy_jump, prediction_residual
from wavenet.detection.planted_faults import FAULTS, STRENGTHS, PlantedFault, plant_fault
from wavenet.detection.surprise_excess import compute_excess
from wavenet.detection.tail_thresholds import (
    TailThresholds,
    interpolate_threshold,
    measure_thresholds,
)
from wavenet.detection.window_means import WINDOW_SECONDS
from wavenet.errors import DataError
from wavenet.evaluation.classifiers import Classifiers, extract_features
from wavenet.evaluation.label_evaluation import wilson_interval
from wavenet.evaluation.labelled_clips import labels_by_name, read_uncut_dataset, to_labelled_clips
from wavenet.training.dataset import Dataset
from wavenet.training.recipe import load_recipe
from wavenet.training.training_setup import RecipeOptions, apply_options

LABELS = ("digit", "speaker")
CLIPS_PER_FAULT = 30
RATES = (6, 20, 60, 200, 600)  # false alarms an hour
TOLERANCE_SECONDS = 0.01  # an event this near a fault finds it

Detector = Callable[[Tensor], Tensor]


def main() -> None:
    """Print one line per row and one JSON document."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("task", choices=("faults", "labels"))
    parser.add_argument("folder", type=Path, help="recordings, named as in the recipe digits")
    parser.add_argument("--checkpoint", default="digits")
    parser.add_argument("--write", action="store_true", help="write surprise.json")
    options = parser.parse_args()
    if not options.folder.is_dir():
        sys.exit(f"{options.folder} is no folder; expected the Free Spoken Digit Dataset")
    loaded = checkpoint.load(options.checkpoint)
    recipe = apply_options(load_recipe("digits"), RecipeOptions(data=str(options.folder)))
    dataset = read_uncut_dataset(recipe.data, loaded.config)
    if options.task == "labels":
        print(json.dumps(measure_labels(loaded, dataset)))
        return
    print(json.dumps(measure_faults(loaded, dataset, options.write)))


def measure_faults(loaded: Checkpoint, dataset: Dataset, write: bool) -> dict[str, Any]:
    """Return recall and precision by detector and rate; write the calibration if requested."""
    rate = loaded.sample_rate
    detectors: dict[str, Detector] = {
        "likelihood": partial(compute_excess, loaded),
        "energy jump": lambda waveform: energy_jump(waveform, rate),
        "prediction residual": lambda waveform: prediction_residual(waveform, rate),
    }
    train, held_out, test = (
        [clip.waveform.float() for clip in clips]
        for clips in (dataset.train, dataset.validation, dataset.test)
    )
    faults = plant_all(test, rate)
    rows: dict[str, Any] = {"faults": len(faults)}
    for name, detect in detectors.items():
        found = measure_thresholds(map(detect, train), rate, held_out=map(detect, held_out))
        if name == "likelihood" and write:
            write_calibration(loaded.folder, make_calibration(loaded, found))
        faulty = [detect(torch.from_numpy(fault.waveform)) for fault in faults]
        clean = [detect(clip) for clip in test]
        rows[name] = {}
        for alarms in RATES:
            thresholds = thresholds_for(found, alarms)
            row = count_found(faults, faulty, thresholds, rate)
            rows[name][alarms] = row | clean_alarms(clean, thresholds, rate)
            print(name, alarms, {k: v for k, v in row.items() if k != "by_kind"}, flush=True)
    return rows


def thresholds_for(found: TailThresholds, alarms: float) -> dict[float, float]:
    """Return the threshold of every window length for a rate of false alarms."""
    return {
        seconds: interpolate_threshold(found.rates, values, scale, alarms)
        for seconds, values, scale in zip(
            WINDOW_SECONDS, found.thresholds, found.scales, strict=True
        )
    }


def plant_all(clips: Sequence[Tensor], rate: int) -> list[PlantedFault]:
    """Plant every kind and strength into clips, one fault per copy of a clip."""
    rng = np.random.default_rng(0)
    faults = []
    for kind in FAULTS:
        for strength in range(STRENGTHS):
            planted = 0
            for n in rng.permutation(len(clips)):
                try:
                    faults.append(plant_fault(clips[n].numpy(), kind, strength, rate, rng))
                except DataError:
                    continue
                planted += 1
                if planted == CLIPS_PER_FAULT:
                    break
    return faults


def count_found(
    faults: Sequence[PlantedFault],
    excesses: Sequence[Tensor],
    thresholds: Mapping[float, float],
    rate: int,
) -> dict[str, Any]:
    """Return recall with its interval, precision, and recall by kind and strength."""
    hits: dict[str, list[list[bool]]] = {k: [[] for _ in range(STRENGTHS)] for k in FAULTS}
    true = events = 0
    for fault, excess in zip(faults, excesses, strict=True):
        found = select_events(excess, rate, thresholds)
        low, high = fault.start / rate - TOLERANCE_SECONDS, fault.end / rate + TOLERANCE_SECONDS
        near = [event for event in found if event.start <= high and event.end >= low]
        hits[fault.kind][fault.strength].append(bool(near))
        true, events = true + len(near), events + len(found)
    every = [hit for rows in hits.values() for row in rows for hit in row]
    return {
        "recall": float(np.mean(every)),
        "interval": wilson_interval(sum(every), len(every)),
        "precision": true / max(events, 1),
        "by_kind": {kind: [float(np.mean(row)) for row in rows] for kind, rows in hits.items()},
    }


def clean_alarms(
    excesses: Sequence[Tensor], thresholds: Mapping[float, float], rate: int
) -> dict[str, Any]:
    """Return the events, and the events an hour, in recordings without planted faults."""
    events = sum(len(select_events(excess, rate, thresholds)) for excess in excesses)
    hours = sum(excess.numel() for excess in excesses) / rate / 3600
    return {"clean_events": events, "clean_events_per_hour": events / hours}


def measure_labels(loaded: Checkpoint, dataset: Dataset) -> dict[str, Any]:
    """Return the accuracy of Bayes' rule and of the support-vector machine."""
    test = to_labelled_clips(dataset.test, LABELS)
    right = dict.fromkeys(("digit", "speaker", "digit, given the speaker"), 0)
    for n, clip in enumerate(test):
        if n % 50 == 0:
            print(n, right, flush=True)
        for name in right:
            label, _, given = name.partition(", given the ")
            conditions = {given: clip.labels[given]} if given else {}
            best = label_probabilities(loaded, clip.waveform, [label], conditions)[0]
            right[name] += best.values[label] == clip.labels[label]
    training = to_labelled_clips([*dataset.train, *dataset.validation], LABELS)
    features = extract_features([clip.waveform for clip in training], loaded.sample_rate)
    svm = Classifiers(features, labels_by_name(training, LABELS), steps=1)
    predicted = svm.predict(
        extract_features([clip.waveform for clip in test], loaded.sample_rate)
    )["svm"]
    rows = {f"likelihood, {name}": count for name, count in right.items()}
    for name in LABELS:
        wanted = [clip.labels[name] for clip in test]
        rows[f"svm, {name}"] = sum(a == b for a, b in zip(predicted[name], wanted, strict=True))
    return {
        "clips": len(test),
        **{
            name: {"accuracy": count / len(test), "interval": wilson_interval(count, len(test))}
            for name, count in rows.items()
        },
    }


if __name__ == "__main__":
    main()
