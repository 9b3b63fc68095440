"""Features of recordings for the training of a compressor, on disk.

Input: recordings of integers. Output: a folder of arrays, from which random parts are read without
loading all of them:

    FOLDER/clips.json       what the arrays belong to, and the start of every recording
    FOLDER/features.raw     (samples, features) float16
    FOLDER/errors.raw       (samples, 2) float32: sample minus centre in units of the scale; scale

Called by `train_compressor`.
"""

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from audio_utils.atomic_files import atomic_file
from wavenet.compression.coding_features import N_FEATURES, compute_features
from wavenet.compression.lane_kernels import LANES

_DESCRIPTION = "clips.json"


@dataclass(frozen=True)
class TrainingClips:
    """Features and errors of all samples, one recording after the other.

    Attributes:
        features: (samples, features) float16.
        errors: (samples, 2) float32.
        starts: of the recordings, and the end of the last one.
    """

    features: np.ndarray
    errors: np.ndarray
    starts: np.ndarray

    def part(self, start: int, first: int, samples: int) -> tuple[Tensor, Tensor]:
        """Return features (features, samples) and errors (2, samples) from `first` on.

        Samples before `start`, the start of their recording, are zeros, as in the network.
        """
        features = np.zeros((samples, N_FEATURES), dtype=np.float32)
        errors = np.zeros((samples, 2), dtype=np.float32)
        errors[:, 1] = 1.0
        left = max(0, start - first)
        features[left:] = self.features[first + left : first + samples]
        errors[left:] = self.errors[first + left : first + samples]
        return torch.from_numpy(features.T.copy()), torch.from_numpy(errors.T.copy())


def prepare_clips(
    folder: Path,
    names: Sequence[str],
    read: Callable[[str], np.ndarray],
    report: Callable[[int, int], None] = lambda done, total: None,
) -> TrainingClips:
    """Compute the features of recordings, unless the folder has them already.

    Args:
        folder: of the arrays.
        names: of the recordings.
        read: returns the samples of a recording, (samples,) integers without wasted bits.
        report: called with the number of recordings done and of all.
    """
    if (folder / _DESCRIPTION).is_file():
        known = json.loads((folder / _DESCRIPTION).read_text(encoding="utf-8"))
        if known["names"] == list(names):
            return _open(folder, known["starts"])
    folder.mkdir(parents=True, exist_ok=True)
    (folder / _DESCRIPTION).unlink(missing_ok=True)
    starts = [0]
    with (folder / "features.raw").open("wb") as features, (folder / "errors.raw").open("wb") as e:
        for first in range(0, len(names), LANES):
            streams = [read(name) for name in names[first : first + LANES]]
            for stream, (rows, centres, scales) in zip(
                streams, compute_features(streams), strict=True
            ):
                features.write(rows.astype(np.float16).tobytes())
                error = (stream - centres) / scales
                e.write(np.stack([error, scales], axis=1).astype(np.float32).tobytes())
                starts.append(starts[-1] + len(stream))
            report(min(first + LANES, len(names)), len(names))
    with atomic_file(folder / _DESCRIPTION) as path:
        path.write_text(json.dumps({"names": list(names), "starts": starts}), encoding="utf-8")
    return _open(folder, starts)


def _open(folder: Path, starts: list[int]) -> TrainingClips:
    samples = starts[-1]
    return TrainingClips(
        np.memmap(folder / "features.raw", np.float16, "r", shape=(samples, N_FEATURES)),
        np.memmap(folder / "errors.raw", np.float32, "r", shape=(samples, 2)),
        np.array(starts),
    )
