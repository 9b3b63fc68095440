"""Classifiers of clips: features, a support-vector machine and a convolutional network.

Input: labelled recordings for training. Output: predicted labels of other clips, and an embedding.
The classifiers are trained on real recordings only, and do not use the generative model. Called by
`label_evaluation`. The classifiers:

    svm   a support-vector machine per label, on statistics of MFCCs
    cnn   one small convolutional network for all labels, on log-mel spectrograms
"""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from itertools import islice
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.svm import SVC
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from audio_utils.features import FeatureConfig, log_mel, mfcc
from wavenet.errors import DataError

MFCC_FRAMES = 16
MEL_FRAMES = 48
MEL_BANDS = 40
MEL_RANGE_DB = 80.0
# Lower bound of the peak by which a clip is divided, so that near-silence is not fully amplified.
MIN_PEAK = 1e-3
SVM_PENALTY = 10.0
CNN_STEPS = 1200
CNN_BATCH_SIZE = 32
CNN_MAX_LEARNING_RATE = 3e-3  # of a one-cycle schedule
CNN_WEIGHT_DECAY = 0.01
CNN_DROPOUT = 0.3
CNN_WIDTH = 64  # channels of every layer, and size of the embedding
CNN_MAX_SHIFT = 3  # frames; augmentation in training
CNN_NOISE = 0.1  # standard deviation, in units of the normalised inputs; augmentation in training


@dataclass(frozen=True)
class ClipFeatures:
    """The inputs of the classifiers, for N clips of any length.

    Attributes:
        mfcc_statistics: (N, D) float32: MFCCs resampled to `MFCC_FRAMES`, their mean and deviation.
        log_mels: (N, MEL_BANDS, MEL_FRAMES) float32: dB, limited to a range of `MEL_RANGE_DB`.
    """

    mfcc_statistics: NDArray[Any]
    log_mels: Tensor

    def select(self, clips: Sequence[int] | NDArray[Any]) -> "ClipFeatures":
        """Return the features of the clips with these indices."""
        index = np.asarray(clips)
        return ClipFeatures(self.mfcc_statistics[index], self.log_mels[torch.from_numpy(index)])


def extract_features(waveforms: Sequence[Tensor], sample_rate: int) -> ClipFeatures:
    """Compute the features of clips (T,), which are scaled to a peak of 0.5.

    The features are resampled to a fixed number of frames.

    Raises:
        AudioError: a clip without samples.
    """
    mfcc_config = FeatureConfig.default_for(sample_rate)
    mel_config = replace(mfcc_config, n_mels=MEL_BANDS)
    statistics, log_mels = [], []
    for waveform in waveforms:
        normalised = waveform / waveform.abs().max().clamp(min=MIN_PEAK) / 2
        statistics.append(_mfcc_statistics(mfcc(normalised, mfcc_config)))
        decibels = log_mel(normalised, mel_config)
        decibels = decibels.clamp(min=float(decibels.max()) - MEL_RANGE_DB)
        log_mels.append(_resample_frames(decibels, MEL_FRAMES))
    return ClipFeatures(torch.stack(statistics).numpy(), torch.stack(log_mels))


def _mfcc_statistics(coefficients: Tensor) -> Tensor:
    """Return resampled MFCCs, mean and deviation of (C, F) as one vector (D,)."""
    mean, deviation = coefficients.mean(1), coefficients.std(1, correction=0)
    return torch.cat([_resample_frames(coefficients, MFCC_FRAMES).flatten(), mean, deviation])


def _resample_frames(rows: Tensor, frames: int) -> Tensor:
    """Resample (rows, F) linearly to (rows, frames)."""
    return torch.nn.functional.interpolate(rows[None], frames, mode="linear")[0]


class SpectrogramCNN(nn.Module):
    """Convolutions over time with bands as channels, an embedding, and one linear head per label.

    Args:
        bands, frames: of the spectrograms.
        classes: number of values of each label.
    """

    def __init__(self, bands: int, frames: int, classes: Sequence[int]):
        super().__init__()
        width = CNN_WIDTH
        layers: list[nn.Module] = []
        for channels in (bands, width, width):
            layers += [nn.Conv1d(channels, width, 5, padding=2, bias=False), nn.BatchNorm1d(width)]
            layers += [nn.ReLU(), nn.MaxPool1d(2)]
        self.convolutions = nn.Sequential(*layers, nn.Flatten(), nn.Dropout(CNN_DROPOUT))
        self.embedding = nn.Sequential(nn.Linear(width * (frames // 8), width), nn.ReLU())
        self.heads = nn.ModuleList(nn.Linear(width, number) for number in classes)

    def forward(self, spectrograms: Tensor) -> tuple[Tensor, list[Tensor]]:
        """Return the embedding (N, CNN_WIDTH) and the logits (N, classes) of each label."""
        embedding = self.embedding(self.convolutions(spectrograms))
        return embedding, [head(embedding) for head in self.heads]


class CnnClassifier:
    """A `SpectrogramCNN`, trained on the CPU by one thread from fixed seeds: reproducible.

    Args:
        spectrograms: (N, bands, frames) of the training clips.
        labels: N values of each label, by name.
        steps: of the training; None for `CNN_STEPS`.
    """

    def __init__(
        self, spectrograms: Tensor, labels: Mapping[str, Sequence[str]], steps: int | None = None
    ):
        self.values = {name: sorted(set(values)) for name, values in labels.items()}
        self._mean = spectrograms.mean((0, 2), keepdim=True)
        self._deviation = spectrograms.std((0, 2), keepdim=True, correction=0).clamp(min=1e-3)
        targets = [
            torch.tensor([values.index(value) for value in labels[name]])
            for name, values in self.values.items()
        ]
        classes = [len(values) for values in self.values.values()]
        _, bands, frames = spectrograms.shape
        with single_thread(), torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            self._network = SpectrogramCNN(bands, frames, classes)
            _train(self._network, self._normalise(spectrograms), targets, steps or CNN_STEPS)
        self._network.requires_grad_(False).eval()

    def predict(self, spectrograms: Tensor) -> tuple[Tensor, dict[str, list[str]]]:
        """Return the embedding (N, CNN_WIDTH), and N predicted values of each label, by name."""
        with single_thread():
            embedding, logits = self._network(self._normalise(spectrograms))
        heads = zip(self.values.items(), logits, strict=True)
        return embedding, {
            name: [values[n] for n in rows.argmax(1).tolist()] for (name, values), rows in heads
        }

    def _normalise(self, spectrograms: Tensor) -> Tensor:
        return (spectrograms - self._mean) / self._deviation


def _train(
    network: SpectrogramCNN, spectrograms: Tensor, targets: Sequence[Tensor], steps: int
) -> None:
    optimizer = torch.optim.AdamW(
        network.parameters(), lr=CNN_MAX_LEARNING_RATE, weight_decay=CNN_WEIGHT_DECAY
    )
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimizer, CNN_MAX_LEARNING_RATE, total_steps=steps
    )
    network.train()
    for indices in islice(_shuffled_batches(len(spectrograms)), steps):
        batch = spectrograms[indices]
        batch = torch.roll(batch, int(torch.randint(-CNN_MAX_SHIFT, CNN_MAX_SHIFT + 1, ())), 2)
        _, logits = network(batch + CNN_NOISE * torch.randn(batch.shape))
        pairs = zip(logits, targets, strict=True)
        loss = torch.stack([cross_entropy(rows, target[indices]) for rows, target in pairs]).sum()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()


def _shuffled_batches(count: int) -> Iterator[Tensor]:
    """Yield indices of batches without end, shuffled in every epoch."""
    while True:
        yield from torch.randperm(count).split(CNN_BATCH_SIZE)


@contextmanager
def single_thread() -> Iterator[None]:
    """Run torch on one thread, so that the result does not depend on the number of threads."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


class Classifiers:
    """Both classifiers, trained.

    Args:
        features: of real recordings.
        labels: of these, by name; a label with a single value is ignored.
        steps: of the network's training; None for `CNN_STEPS`.
    Raises:
        DataError: no label has two values.
    """

    def __init__(
        self,
        features: ClipFeatures,
        labels: Mapping[str, Sequence[str]],
        steps: int | None = None,
    ):
        varied = {name: values for name, values in labels.items() if len(set(values)) > 1}
        if not varied:
            names = ", ".join(labels) or "none"
            raise DataError(
                "the classifiers need recordings with two or more values of a label; every label "
                f"has at most one: {names}"
            )
        self.label_names = tuple(varied)
        statistics = features.mfcc_statistics
        self._scaler = StandardScaler().fit(statistics)
        self._svms = {
            name: make_pipeline(StandardScaler(), SVC(C=SVM_PENALTY)).fit(statistics, values)
            for name, values in varied.items()
        }
        self._cnn = CnnClassifier(features.log_mels, varied, steps)

    def standardise(self, features: ClipFeatures) -> NDArray[Any]:
        """Return MFCC statistics (N, D) in standard deviations of the training recordings."""
        return np.asarray(self._scaler.transform(features.mfcc_statistics))

    def embed(self, features: ClipFeatures) -> Tensor:
        """Return the embedding (N, CNN_WIDTH) of the network."""
        return self._cnn.predict(features.log_mels)[0]

    def predict(self, features: ClipFeatures) -> dict[str, dict[str, list[str]]]:
        """Return N predicted values, by classifier and label."""
        by_svm = {
            name: [str(value) for value in svm.predict(features.mfcc_statistics)]
            for name, svm in self._svms.items()
        }
        return {"svm": by_svm, "cnn": self._cnn.predict(features.log_mels)[1]}
