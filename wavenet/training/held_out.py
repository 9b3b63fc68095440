"""Divide recordings into training and held-out, so that every label value is trained on.

Input: the fields of all recordings, and the settings of a recipe. Output: for each recording the
number of segments to train on and the use of the others; and sentences about values without a
recording for training. Called by `dataset` and `corpus_dataset`.
"""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Literal, NamedTuple

from wavenet.errors import DataError
from wavenet.model.model_config import ModelConfig
from wavenet.training.recipe import DataConfig
from wavenet.training.segmentation import split_point

MAX_NAMED = 10  # values that a sentence names

LabelValue = tuple[str, str]  # of a recording: name of the label condition, and its value


class SplitInput(NamedTuple):
    """A recording that can be read.

    Attributes:
        fields: its values by name.
        segments: number of its segments.
        file_index: its position among all files, counted from 0.
    """

    fields: Mapping[str, str]
    segments: int
    file_index: int


class RecordingSplit(NamedTuple):
    """The use of a recording.

    Attributes:
        train_segments: number of segments at its beginning for training.
        rest: use of the other segments; "unused": the model cannot predict them, because it does
            not learn one of their labels.
    """

    train_segments: int
    rest: Literal["validation", "test", "unused"]


def split_recordings(
    data: DataConfig, model: ModelConfig, candidates: Sequence[SplitInput], files: int
) -> tuple[list[RecordingSplit], list[str]]:
    """Divide recordings by the settings, but train on each value of a label at least once.

    A fraction holds out a recording only if others have its values. If the settings list the
    recordings to hold out, a value may remain untrained: a model whose values come from the data
    then does not offer it, and recordings for validation with this value are unused.

    Args:
        data: selects the held-out recordings.
        model: its label conditions. If one has values already, these were chosen by a recipe or
            learnt by the checkpoint from which the training starts.
        files: number of all files.
    Returns:
        The use of each recording, and sentences on what a user may not expect.
    Raises:
        DataError: no recording that the settings hold out for validation can be used.
    """
    splits = []
    for candidate in candidates:
        fields, segments, index = candidate
        point = split_point(data, fields, segments, index, files)
        splits.append(
            RecordingSplit(0, "test") if point is None else RecordingSplit(point, "validation")
        )
    notices = _unmatched_values(data, candidates)
    labels = [_label_values(model, candidate.fields) for candidate in candidates]
    pairs = zip(splits, labels, strict=True)
    trained = Counter(value for split, own in pairs if split.train_segments for value in own)
    if not data.validation:
        notices += _keep_every_value(splits, candidates, labels, trained)
    learned_here = {c.name for c in model.labels if not c.values}
    untrained = [
        {value for value in own if not trained[value] and value[0] in learned_here}
        for own in labels
    ]
    is_validated = [split.rest == "validation" and not split.train_segments for split in splits]
    for n, missing in enumerate(untrained):
        if is_validated[n] and missing:
            splits[n] = RecordingSplit(0, "unused")
    unused = sum(split.rest == "unused" for split in splits)
    values = set().union(*untrained)
    if unused and unused == sum(is_validated):
        raise DataError(
            f"no recording for training has {_list_values(values)}, which all recordings of "
            "data.validation have; hold out others, or train without this label"
        )
    if values:
        notices.append(
            f"the model does not offer {_list_values(values)}, because all recordings with it are "
            f"held out; {unused} recordings for validation are therefore not used"
        )
    return splits, notices


def _keep_every_value(
    splits: list[RecordingSplit],
    candidates: Sequence[SplitInput],
    labels: Sequence[Sequence[LabelValue]],
    trained: Counter[LabelValue],
) -> list[str]:
    """Train on held-out recordings that alone have a value; return a sentence about them, if any.

    Instead of each, the nearest recording before it is held out whose values others have, too.
    """
    kept: set[LabelValue] = set()
    for n, own in enumerate(labels):
        missing = [value for value in own if not trained[value]]
        if not missing or splits[n] != (0, "validation"):
            continue
        splits[n] = RecordingSplit(candidates[n].segments, "validation")
        trained.update(own)
        kept.update(missing)
        for other in range(n - 1, -1, -1):
            if not splits[other].train_segments:
                break  # at the previous held-out recording: they stay distributed over the files
            if all(trained[value] > 1 for value in labels[other]):
                splits[other] = RecordingSplit(0, "validation")
                trained.subtract(labels[other])
                break
    if not kept:
        return []
    return [f"trained on, not held out, because no other recording has {_list_values(kept)}"]


def _unmatched_values(data: DataConfig, candidates: Iterable[SplitInput]) -> list[str]:
    """Return a sentence for each list of the settings that selects no recording."""
    found = {
        name: {candidate.fields.get(name) for candidate in candidates}
        for name in (*data.validation, *data.test)
    }
    return [
        f"data.{part} holds out nothing: no recording has {name} {' or '.join(values)}"
        for part, chosen in (("validation", data.validation), ("test", data.test))
        for name, values in chosen.items()
        if not found[name] & set(values)
    ]


def _label_values(model: ModelConfig, fields: Mapping[str, str]) -> list[LabelValue]:
    return [(c.name, str(fields[c.name])) for c in model.labels if c.name in fields]


def _list_values(values: Iterable[LabelValue]) -> str:
    texts = [f"{name} {value!r}" for name, value in sorted(values)]
    more = f" and {len(texts) - MAX_NAMED:,} more" if len(texts) > MAX_NAMED else ""
    return ", ".join(texts[:MAX_NAMED]) + more
