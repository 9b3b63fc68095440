"""Are generated clips what their labels say, as varied as real ones, and none of them a copy?

A `Reference` is made once of real recordings: judges that learnt from some of them, and what they
say of the others. It then measures generated clips of any settings, each in a second or so, beside
the same measures of real recordings:

    accuracy   the share of clips in which a judge hears the label that was asked for
    diversity  the mean distance of two clips of a class; a class is one combination of labels
    nearest    the distance of a clip to the nearest recording that was learnt from. A clip nearer
               than any real test clip is counted as a copy; were generated clips like real ones,
               one among as many clips as there are test clips would be, by chance
    frechet    of the network's embedding to that of the real test clips; as the floor, that of as
               many recordings to learn from, which the network knows and so sees a little apart

Distances are those of statistics of MFCCs, in deviations of the recordings that were learnt from.
"""

import math
import statistics
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from wavenet.errors import DataError
from wavenet.evaluation.judges import Judges, by_name
from wavenet.evaluation.recordings import Labelled
from wavenet.evaluation.resemblance import diversity, frechet, nearest
from wavenet.evaluation.views import Views, look

ALL = "all"  # labels at once

Found = dict[str, Any]  # numbers by name, fit for JSON


class Reference:
    """Real recordings, and judges that learnt from them.

    Args:
        learnt: recordings to learn from; the model may have learnt from them, too.
        test: recordings that neither did.
        sample_rate: Hz.
        steps: of the network's training; as usual when left out.
    Raises:
        DataError: fewer than two test recordings, or no label with two values.
    """

    def __init__(
        self,
        learnt: Sequence[Labelled],
        test: Sequence[Labelled],
        sample_rate: int,
        steps: int | None = None,
    ):
        if len(test) < 2:
            raise DataError(f"two test recordings or more are needed, found {len(test)}")
        self.rate, self.learnt, self.test = sample_rate, learnt, test
        self._learnt = look([clip.waveform for clip in learnt], sample_rate)
        self._test = look([clip.waveform for clip in test], sample_rate)
        self.judges = Judges(self._learnt, by_name(learnt, list(learnt[0].labels)), steps)
        self._known = self.judges.scaled(self._learnt)
        self.real = self._measure(test, self._test)

    def measure(self, clips: Sequence[Labelled]) -> Found:
        """Measure clips that a model made, two or more; give what `report` is made of."""
        return self._measure(clips, look([clip.waveform for clip in clips], self.rate))

    def _measure(self, clips: Sequence[Labelled], views: Views) -> Found:
        points = self.judges.scaled(views)
        classes = [tuple(clip.labels.items()) for clip in clips]
        return {
            "clips": len(clips),
            "heard": self.judges.hear(views),
            "labels": by_name(clips, self.judges.names),
            "diversity": diversity(points, classes),
            "nearest": nearest(points, self._known),
            "embedding": self.judges.embed(views),
        }

    def compare(self, made: Found) -> Found:
        """Put what `measure` gave of clips beside real recordings.

        Returns:
            accuracy by judge and label (`ALL` for all at once) and by value; diversity; nearest;
            frechet: numbers by name, each for "real" and "generated" clips.
        """
        floor = self._learnt.rows(self._some(made["clips"]))
        test = self.real["embedding"]
        return {
            "clips": {"real": self.real["clips"], "generated": made["clips"]},
            "accuracy": {"real": _accuracy(self.real), "generated": _accuracy(made)},
            "values": {"real": _by_value(self.real), "generated": _by_value(made)},
            "diversity": _diversity(self.real["diversity"], made["diversity"]),
            "nearest": _nearness(self.real["nearest"], made["nearest"]),
            "frechet": {
                "real": frechet(self.judges.embed(floor), test),
                "generated": frechet(made["embedding"], test),
            },
        }

    def _some(self, count: int) -> list[int]:
        """Choose recordings to learn from, as many as given or all, evenly over their order."""
        count = min(count, len(self.learnt))
        return [n * len(self.learnt) // count for n in range(count)]


def wilson(right: int, count: int) -> tuple[float, float]:
    """Bound a share by the 95 % score interval, which holds for shares near 0 and 1, too.

    Source: Wilson 1927.
    """
    z = 1.959964
    share, room = right / count, z * z / count
    middle = (share + room / 2) / (1 + room)
    half = z * math.sqrt(share * (1 - share) / count + room / (4 * count)) / (1 + room)
    return max(0.0, middle - half), min(1.0, middle + half)


def _accuracy(found: Found) -> Found:
    """Give the share heard right with its interval, by judge and label."""
    result: Found = {}
    for judge, right in _right(found).items():
        marks = {**right, ALL: np.all(list(right.values()), axis=0)}
        result[judge] = {
            name: {"share": float(hits.mean()), "interval": wilson(int(hits.sum()), len(hits))}
            for name, hits in marks.items()
        }
    return result


def _by_value(found: Found) -> Found:
    """Give the share heard right of each value, by judge, label and value."""
    result: Found = {}
    for judge, right in _right(found).items():
        result[judge] = {}
        for name, hits in right.items():
            given = np.array(found["labels"][name])
            result[judge][name] = {
                str(value): float(hits[given == value].mean()) for value in np.unique(given)
            }
    return result


def _right(found: Found) -> dict[str, dict[str, Any]]:
    """Tell which clips were heard right (N,), by judge and label."""
    return {
        judge: {
            name: np.array(values) == np.array(found["labels"][name])
            for name, values in heard.items()
        }
        for judge, heard in found["heard"].items()
    }


def _diversity(real: Mapping[Any, float], made: Mapping[Any, float]) -> Found:
    """Average over the classes that both have; None where there are none."""
    both = [one for one in real if one in made]
    return {
        "classes": len(both),
        "real": statistics.fmean(real[one] for one in both) if both else None,
        "generated": statistics.fmean(made[one] for one in both) if both else None,
    }


def _nearness(real: Any, made: Any) -> Found:
    least = float(real.min())
    return {
        "real": {"smallest": least, "median": float(np.median(real))},
        "generated": {"smallest": float(made.min()), "median": float(np.median(made))},
        "copies": int((made < least).sum()),
        "copies_by_chance": len(made) / (len(real) + 1),
        "distances": {"real": real.tolist(), "generated": made.tolist()},
    }
