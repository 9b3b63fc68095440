"""Judges of clips: two classifiers that learnt from real recordings alone, and know no model.

    svm   a support-vector machine for each label, on statistics of MFCCs
    cnn   a small convolutional network for all labels, on log-mel pictures

Views and labels of recordings enter; for other clips, the labels that the judges hear in them.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.svm import SVC
from torch import Tensor

from wavenet.errors import DataError
from wavenet.evaluation.network import PictureJudge
from wavenet.evaluation.recordings import Labelled
from wavenet.evaluation.views import Views

PENALTY = 10.0  # of the support-vector machine


class Judges:
    """Both judges, trained.

    Args:
        views: of real recordings.
        labels: of these, by name; a name with a single value is not judged.
        steps: of the network's training; as usual when left out.
    Raises:
        DataError: no label has two values.
    """

    def __init__(self, views: Views, labels: Mapping[str, Sequence[str]], steps: int | None = None):
        told = {name: values for name, values in labels.items() if len(set(values)) > 1}
        if not told:
            named = ", ".join(labels) or "none"
            raise DataError(
                "judges need recordings with two or more values of a label; found labels with one "
                f"value at most: {named}"
            )
        self.names = tuple(told)
        self._scaler = StandardScaler().fit(views.statistics)
        self._machines = {
            name: make_pipeline(StandardScaler(), SVC(C=PENALTY)).fit(views.statistics, values)
            for name, values in told.items()
        }
        self._network = PictureJudge(views.pictures, told, steps)

    def scaled(self, views: Views) -> NDArray[Any]:
        """Give statistics (N, D) in deviations of the recordings that were learnt from."""
        return np.asarray(self._scaler.transform(views.statistics))

    def embed(self, views: Views) -> Tensor:
        """Give the network's embedding of clips, (N, WIDTH)."""
        return self._network.look(views.pictures)[0]

    def hear(self, views: Views) -> dict[str, dict[str, list[str]]]:
        """Name the labels of clips: by judge and label, N values."""
        machines = {
            name: [str(value) for value in machine.predict(views.statistics)]
            for name, machine in self._machines.items()
        }
        return {"svm": machines, "cnn": self._network.look(views.pictures)[1]}


def by_name(clips: Sequence[Labelled], names: Sequence[str]) -> dict[str, list[str]]:
    """Put labels of clips side by side: by name, one value a clip."""
    return {name: [clip.labels[name] for clip in clips] for name in names}
