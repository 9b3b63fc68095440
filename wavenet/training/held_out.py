"""Divide recordings into training and held-out, so that every label value is trained on.

Input: the fields of all recordings, and the settings of a recipe. Output: for each recording the
number of segments to train on and the use of the others; and sentences about values without a
recording for training. Called by `dataset` and `corpus_dataset`; `resolve_config` calls the checks
before any recording is read.
"""

import re
from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Literal, NamedTuple

from wavenet.errors import DataError
from wavenet.model.model_config import ModelConfig
from wavenet.training.recipe import DataConfig
from wavenet.training.segmentation import is_selected, split_point
from wavenet.user_input.close_names import find_close_name
from wavenet.user_input.equal_values import exact_number, find_equal_value

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


def match_held_out(
    data: DataConfig, known: Mapping[str, Collection[str]]
) -> tuple[DataConfig, list[str]]:
    """Write the held-out values of the settings as the recordings spell them.

    A value stands for one that differs in case, spaces or the spelling of a number, as the labels
    of requests do.

    Args:
        data: selects the held-out recordings.
        known: for each field all values of the recordings.
    Returns:
        The changed settings, and a sentence for each list with values that no recording has. A list
        without any value of a recording is left to `split_recordings`.
    Raises:
        DataError: no recording has a value, but a similar one.
    """
    notices, close = [], []
    changes: dict[str, dict[str, tuple[str, ...]]] = {"validation": {}, "test": {}}
    for part, chosen in _parts(data).items():
        for name, values in chosen.items():
            words = tuple(sorted(known.get(name, ())))
            found = {value: find_equal_value(value, words) for value in values}
            missing = [value for value, equal in found.items() if equal is None]
            others = [word for word in words if word not in found.values()]
            similar = {value: _find_typo(value, others) for value in missing}
            close += [
                f"{name} {value!r} (did you mean {word!r}?)"
                for value, word in similar.items()
                if word is not None
            ]
            changes[part][name] = tuple(found[value] or value for value in values)
            if missing and len(missing) < len(values):
                notices.append(
                    f"no recording has {_list_values((name, value) for value in missing)}, held "
                    f"out by data.{part}; the values are {_list_texts(words)}"
                )
    if close:
        raise DataError(
            f"no recording has {', '.join(close)}, to be held out by data.validation, data.test or "
            "--test; correct the values, because otherwise these recordings are trained on"
        )
    return data.model_copy(update=changes), notices


def check_held_out(data: DataConfig, recordings: Iterable[Mapping[str, str]]) -> None:
    """Check that the lists of the settings hold out recordings, before any of them is read.

    Args:
        data: from `match_held_out`.
        recordings: the fields of all recordings.
    Raises:
        DataError: the settings list values, but no recording has any of them; or all recordings of
            data.validation are also in data.test.
    """
    if not (data.validation or data.test):
        return
    pairs = [(is_selected(data.validation, f), is_selected(data.test, f)) for f in recordings]
    validated, tested = (sum(column) for column in zip(*pairs, strict=True)) if pairs else (0, 0)
    if not validated and not tested:
        listed = [
            f"data.{part} ({_list_values((name, v) for name in chosen for v in chosen[name])})"
            for part, chosen in _parts(data).items()
            if chosen
        ]
        raise DataError(
            f"no recording has a value of {' or '.join(listed)}, so nothing is held out; correct "
            "the values, or remove them to hold out data.validation_fraction of the recordings"
        )
    if validated and all(is_test for is_validation, is_test in pairs if is_validation):
        raise DataError(f"{_ALL_TESTED.format(validated)}; hold out others for validation")


_ALL_TESTED = (
    "all {:,} recordings of data.validation are also in data.test, so that none is left to validate"
)


def _parts(data: DataConfig) -> dict[str, dict[str, tuple[str, ...]]]:
    return {"validation": data.validation, "test": data.test}


def _find_typo(value: str, words: Sequence[str]) -> str | None:
    """Return the word that a user probably meant; other numbers are other values, not mistakes."""
    close = None if exact_number(value) is not None else find_close_name(value, words)
    return close if close is not None and _numbers_in(close) == _numbers_in(value) else None


def _numbers_in(text: str) -> list[int]:
    return [int(digits) for digits in re.findall("[0-9]+", text)]


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


def _unmatched_values(data: DataConfig, candidates: Sequence[SplitInput]) -> list[str]:
    """Return a sentence for each list of the settings that selects no recording of its own."""
    found = {
        name: {candidate.fields.get(name) for candidate in candidates}
        for name in (*data.validation, *data.test)
    }
    notices = [
        f"data.{part} holds out nothing: no recording has {name} {' or '.join(values)}"
        for part, chosen in _parts(data).items()
        for name, values in chosen.items()
        if not found[name] & set(values)
    ]
    validated = [c.fields for c in candidates if is_selected(data.validation, c.fields)]
    if validated and all(is_selected(data.test, fields) for fields in validated):
        notices.append(_ALL_TESTED.format(len(validated)))
    return notices


def _label_values(model: ModelConfig, fields: Mapping[str, str]) -> list[LabelValue]:
    return [(c.name, str(fields[c.name])) for c in model.labels if c.name in fields]


def _list_values(values: Iterable[LabelValue]) -> str:
    return _list_texts([f"{name} {value!r}" for name, value in sorted(values)])


def _list_texts(texts: Sequence[str]) -> str:
    more = f" and {len(texts) - MAX_NAMED:,} more" if len(texts) > MAX_NAMED else ""
    return ", ".join(texts[:MAX_NAMED]) + more
