"""Which recordings measure a model, and which its baselines and judges learn from.

A folder or a prepared corpus, and what is held out of it, enter; whole recordings leave, divided
as training divides them.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from wavenet.checkpoint import CheckpointConfig
from wavenet.errors import DataError
from wavenet.model.conditioning import ConditionValue
from wavenet.training.cuts import Clip
from wavenet.training.data import Dataset, read_dataset
from wavenet.training.recipe import DataConfig

MAX_SECONDS = 600.0  # of a recording: nothing shorter is cut


@dataclass(frozen=True)
class Labelled:
    """A recording, or a clip that a model made.

    Attributes:
        name: of its file, or what it was made of.
        labels: by name, such as {"digit": "7"}.
        waveform: (T,) float32.
    """

    name: str
    labels: Mapping[str, str]
    waveform: Tensor


def read_whole(data: DataConfig, config: CheckpointConfig) -> Dataset:
    """Read what training would read for this checkpoint, but cut nothing, and each once.

    Raises:
        DataError: nothing to learn from, or a recording of more than `MAX_SECONDS`.
    """
    whole = data.model_copy(update={"max_seconds": MAX_SECONDS, "speeds": ()})
    dataset = read_dataset(whole, config.audio.sample_rate, config.model)
    for clips in (dataset.train, dataset.validation, dataset.test):
        for clip in clips:
            if clip.samples < clip.total:
                raise DataError(
                    f"{clip.source} is longer than {MAX_SECONDS:g} s; cut it into shorter files"
                )
    return dataset


def given_to(config: CheckpointConfig, clip: Clip) -> dict[str, ConditionValue]:
    """Take those labels, numbers and vectors of a recording that the model is conditioned on."""
    known = [c.name for c in (*config.model.labels, *config.model.globals)]
    return {name: clip.labels[name] for name in known if name in clip.labels}


def label_names(config: CheckpointConfig, clips: Sequence[Clip]) -> tuple[str, ...]:
    """List the label conditions that every one of the recordings says the value of."""
    names = [condition.name for condition in config.model.labels]
    return tuple(name for name in names if all(name in clip.labels for clip in clips))


def labelled(clips: Sequence[Clip], names: Sequence[str]) -> list[Labelled]:
    """Take waveforms and the labels named."""
    return [
        Labelled(
            clip.source,
            {name: str(clip.labels[name]) for name in names},
            clip.waveform.to(torch.float32),
        )
        for clip in clips
    ]
