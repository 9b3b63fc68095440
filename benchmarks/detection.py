"""Measure how many planted faults are found, and how many labels are recognised by likelihood.

    python benchmarks/detection.py faults recordings/ [--write]
    python benchmarks/detection.py labels recordings/

The recordings are those of the recipe `digits`. The last line is one JSON document.

faults: the detectors are calibrated on the recordings for training and validation, and count the
faults that are planted into those for test: each of ten kinds with five strengths into 30 clips.
The detectors are the likelihood of a checkpoint, jumps of the energy, and the residual of linear
prediction. `--write` writes the calibration of the checkpoint into its folder.

labels: digit and speaker of the recordings for test by Bayes' rule, beside a support-vector machine
on MFCCs.
"""

import argparse
import json
import sys
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from wavenet import checkpoint
from wavenet.checkpoint import Checkpoint
from wavenet.detection.calibration import calibrate, write_calibration
from wavenet.detection.events import Event, select_events
from wavenet.detection.most_probable import label_probabilities
from wavenet.detection.plain_detectors import energy_jump, prediction_residual
from wavenet.detection.planted_faults import FAULTS, STRENGTHS, PlantedFault, plant_fault
from wavenet.detection.surprise_excess import compute_excess
from wavenet.detection.tail_thresholds import interpolate_threshold, measure_thresholds
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
TOLERANCE_SECONDS = 0.01  # an event this near a fault finds it

Detector = Callable[[Tensor], Tensor]


def main() -> None:
    """Print one line per row and one JSON document."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("task", choices=("faults", "labels"))
    parser.add_argument("folder", type=Path, help="recordings, named as in the recipe digits")
    parser.add_argument("--checkpoint", default="digits")
    parser.add_argument("--false-alarms-per-hour", type=float, default=60.0)
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
    if options.write:
        clean = (clip.waveform.float() for clip in (*dataset.train, *dataset.validation))
        write_calibration(loaded.folder, calibrate(loaded, clean))
    print(json.dumps(measure_faults(loaded, dataset, options.false_alarms_per_hour)))


def measure_faults(loaded: Checkpoint, dataset: Dataset, alarms: float) -> dict[str, Any]:
    """Return recall and precision of each detector, in total and by kind and strength."""
    rate = loaded.sample_rate
    detectors: dict[str, Detector] = {
        "likelihood": partial(compute_excess, loaded),
        "energy jump": lambda waveform: energy_jump(waveform, rate),
        "prediction residual": lambda waveform: prediction_residual(waveform, rate),
    }
    clean = [clip.waveform.float() for clip in (*dataset.train, *dataset.validation)]
    test = [clip.waveform.float() for clip in dataset.test]
    faults = plant_all(test, rate)
    rows: dict[str, Any] = {"faults": len(faults), "false_alarms_per_hour": alarms}
    for name, detect in detectors.items():
        found = measure_thresholds(map(detect, clean), rate)
        thresholds = {
            seconds: interpolate_threshold(found.rates, values, scale, alarms)
            for seconds, values, scale in zip(
                WINDOW_SECONDS, found.thresholds, found.scales, strict=True
            )
        }

        def find(waveform: Tensor, detect=detect, thresholds=thresholds) -> list[Event]:
            return select_events(detect(waveform), rate, thresholds)

        rows[name] = count_found(faults, find, rate) | clean_alarms(test, find, rate)
        print(name, {k: v for k, v in rows[name].items() if k != "by_kind"}, flush=True)
    return rows


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
    faults: Sequence[PlantedFault], find: Callable[[Tensor], list[Event]], rate: int
) -> dict[str, Any]:
    """Return recall with its interval, precision, and recall by kind and strength."""
    hits: dict[str, list[list[bool]]] = {k: [[] for _ in range(STRENGTHS)] for k in FAULTS}
    true = events = 0
    for fault in faults:
        found = find(torch.from_numpy(fault.waveform))
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
    clips: Sequence[Tensor], find: Callable[[Tensor], list[Event]], rate: int
) -> dict[str, Any]:
    """Return the events an hour in recordings without planted faults."""
    events = sum(len(find(clip)) for clip in clips)
    hours = sum(clip.numel() for clip in clips) / rate / 3600
    return {"clean_events": events, "clean_events_per_hour": events / hours}


def measure_labels(loaded: Checkpoint, dataset: Dataset) -> dict[str, Any]:
    """Return the accuracy of Bayes' rule and of the support-vector machine."""
    test = to_labelled_clips(dataset.test, LABELS)
    right = dict.fromkeys(("digit", "speaker", "digit, given the speaker"), 0)
    for clip in test:
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
