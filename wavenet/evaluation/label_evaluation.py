"""Evaluate generated clips: label accuracy, diversity, copies of training clips, Fréchet distance.

Input: real recordings for training and test, and sets of generated clips. Output: metrics of each
set beside those of the real test clips. Any labels are possible, not only digits. A `ClipEvaluator`
trains the classifiers once; after that each set of clips takes about a second. Called by `wavenet
evaluate digits` and `trade_off`. The metrics:

    accuracy   fraction of clips for which a classifier predicts the requested label
    diversity  mean distance of two clips of a class; a class is one combination of labels
    nearest    distance of a clip to the nearest training clip. A clip that is nearer than all real
               test clips is suspected to be a copy. If generated clips were distributed like the
               test clips, N / (M + 1) copies would be expected for N generated and M test clips
    frechet    distance of the network's embeddings to those of the real test clips. The reference
               is the distance of equally many training clips. It is above 0, because the network
               was trained on them and both sets are finite

Distances are those of MFCC statistics, in standard deviations of the training recordings.
"""

import statistics
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from scipy.stats import binomtest

from wavenet.errors import DataError
from wavenet.evaluation.classifiers import Classifiers, extract_features
from wavenet.evaluation.distances import diversity, frechet_distance, nearest_distances
from wavenet.evaluation.labelled_clips import LabelledClip, labels_by_name

ALL = "all"  # all labels of a clip at once

Metrics = dict[str, Any]  # by name; the result of `compare` can be written as JSON


class ClipEvaluator:
    """Real recordings, and classifiers that are trained on them.

    Args:
        training: recordings for the classifiers; the model may be trained on them, too.
        test: recordings on which neither the classifiers nor the model are trained.
        sample_rate: Hz.
        steps: of the network's training; None for the default.
    Raises:
        DataError: fewer than two test recordings, or no label with two values.
    """

    def __init__(
        self,
        training: Sequence[LabelledClip],
        test: Sequence[LabelledClip],
        sample_rate: int,
        steps: int | None = None,
    ):
        if len(test) < 2:
            raise DataError(f"two test recordings or more are needed, found {len(test)}")
        self.sample_rate, self.training, self.test = sample_rate, training, test
        self._training_features = extract_features([c.waveform for c in training], sample_rate)
        labels = labels_by_name(training, list(training[0].labels))
        self.classifiers = Classifiers(self._training_features, labels, steps)
        self._training_points = self.classifiers.standardise(self._training_features)
        self.real = self.measure(test)

    def measure(self, clips: Sequence[LabelledClip]) -> Metrics:
        """Compute the metrics of two clips or more, as input of `compare`."""
        features = extract_features([clip.waveform for clip in clips], self.sample_rate)
        points = self.classifiers.standardise(features)
        classes = [tuple(clip.labels.items()) for clip in clips]
        return {
            "clips": len(clips),
            "predictions": self.classifiers.predict(features),
            "labels": labels_by_name(clips, self.classifiers.label_names),
            "diversity": diversity(points, classes),
            "nearest": nearest_distances(points, self._training_points),
            "embedding": self.classifiers.embed(features),
        }

    def compare(self, generated: Metrics) -> Metrics:
        """Return metrics of generated clips, from `measure`, beside those of the real test clips.

        Returns:
            clips; accuracy by classifier and label (`ALL` for all at once); accuracy_by_value, by
            classifier, label and value; diversity; nearest; frechet: each for "real" and
            "generated" clips.
        """
        reference = self._training_features.select(self._select_training(generated["clips"]))
        test = self.real["embedding"]
        return {
            "clips": {"real": self.real["clips"], "generated": generated["clips"]},
            "accuracy": {"real": _accuracy(self.real), "generated": _accuracy(generated)},
            "accuracy_by_value": {
                "real": _accuracy_by_value(self.real),
                "generated": _accuracy_by_value(generated),
            },
            "diversity": _compare_diversity(self.real["diversity"], generated["diversity"]),
            "nearest": _compare_nearest(self.real["nearest"], generated["nearest"]),
            "frechet": {
                "real": frechet_distance(self.classifiers.embed(reference), test),
                "generated": frechet_distance(generated["embedding"], test),
            },
        }

    def _select_training(self, count: int) -> list[int]:
        """Return indices of `count` evenly spaced training recordings, or of all."""
        count = min(count, len(self.training))
        return [n * len(self.training) // count for n in range(count)]


def wilson_interval(correct: int, count: int) -> tuple[float, float]:
    """Return the 95 % score interval of a fraction, which is valid near 0 and 1, too.

    Source: Wilson 1927.
    """
    bounds = binomtest(correct, count).proportion_ci(confidence_level=0.95, method="wilson")
    return float(bounds.low), float(bounds.high)


def _accuracy(measured: Metrics) -> Metrics:
    """Return the fraction of correct predictions with its interval, by classifier and label."""
    result: Metrics = {}
    for classifier, by_label in _correct(measured).items():
        correct = {**by_label, ALL: np.all(list(by_label.values()), axis=0)}
        result[classifier] = {
            name: {
                "fraction": float(hits.mean()),
                "interval": wilson_interval(int(hits.sum()), len(hits)),
            }
            for name, hits in correct.items()
        }
    return result


def _accuracy_by_value(measured: Metrics) -> Metrics:
    """Return the fraction of correct predictions, by classifier, label and value."""
    result: Metrics = {}
    for classifier, by_label in _correct(measured).items():
        result[classifier] = {}
        for name, hits in by_label.items():
            labels = np.array(measured["labels"][name])
            result[classifier][name] = {
                str(value): float(hits[labels == value].mean()) for value in np.unique(labels)
            }
    return result


def _correct(measured: Metrics) -> dict[str, dict[str, Any]]:
    """Return which predictions are correct (N,), by classifier and label."""
    return {
        classifier: {
            name: np.array(values) == np.array(measured["labels"][name])
            for name, values in predictions.items()
        }
        for classifier, predictions in measured["predictions"].items()
    }


def _compare_diversity(real: Mapping[Any, float], generated: Mapping[Any, float]) -> Metrics:
    """Return the means over the classes that both have; None if there is no common class."""
    shared = [name for name in real if name in generated]
    return {
        "classes": len(shared),
        "real": statistics.fmean(real[name] for name in shared) if shared else None,
        "generated": statistics.fmean(generated[name] for name in shared) if shared else None,
    }


def _compare_nearest(real: Any, generated: Any) -> Metrics:
    """Return minima, medians and copies of distances (N,) to the nearest training clip."""
    minimum = float(real.min())
    return {
        "real": {"minimum": minimum, "median": float(np.median(real))},
        "generated": {
            "minimum": float(generated.min()),
            "median": float(np.median(generated)),
        },
        "copies": int((generated < minimum).sum()),
        "copies_expected": len(generated) / (len(real) + 1),
        "distances": {"real": real.tolist(), "generated": generated.tolist()},
    }
