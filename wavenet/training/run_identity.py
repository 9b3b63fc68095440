"""The identity of a run: its rate, codec and recordings, saved with every snapshot.

Input: the settings and the recordings of a run. Output: a `RunIdentity`, and the differences of
two. `dataset` creates the records of recordings, `task` the identity; `snapshots` compares the
identity of a resumed run with the saved one.
"""

import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from pydantic import Field

from audio_utils.atomic_files import os_error_reason
from audio_utils.errors import AudioError
from wavenet.checkpoint import AudioConfig
from wavenet.codec import AnyCodec
from wavenet.config import StrictConfig
from wavenet.training.recipe import DataConfig

MAX_NAMED = 3  # recordings that a message names
_DIGEST_BYTES = 16


class RecordingRecord(StrictConfig):
    """A recording of a run.

    Attributes:
        samples: its length at the rate of the model.
        digest: of its file, the arrays beside it, and the fields that the model uses.
        part: its use, such as "train", "validation" or "train 38 of 40" segments.
    """

    samples: int = Field(ge=0)
    digest: str
    part: str


class RunIdentity(StrictConfig):
    """The properties that identify a run, besides its model and its training settings.

    Attributes:
        audio, codec: of the model.
        data: the settings with which the recordings were read and divided.
        recordings: by path relative to the folder; empty for a corpus.
        corpus: digest of the content of a corpus; None for a folder.
        initial_checkpoint: name and digest of the checkpoint whose weights were the initial ones;
            None: random weights.
    """

    audio: AudioConfig
    codec: AnyCodec
    data: DataConfig | None = None
    recordings: dict[str, RecordingRecord] = Field(default_factory=dict)
    corpus: str | None = None
    initial_checkpoint: str | None = None


def hash_recording(path: Path, arrays: Iterable[Path], fields: Mapping[str, str]) -> str:
    """Compute the digest of a recording from the bytes of its files.

    Args:
        path: of the recording.
        arrays: files beside it that the model uses.
        fields: values that the model uses, by name.
    Raises:
        AudioError: a file cannot be read.
    """
    digest = hashlib.blake2b(json.dumps(fields, sort_keys=True).encode(), digest_size=_DIGEST_BYTES)
    for each in (path, *arrays):
        try:
            with each.open("rb") as file:
                content = hashlib.file_digest(file, lambda: hashlib.blake2b(digest_size=32))
        except OSError as error:
            raise AudioError(f"Cannot read {each}: {os_error_reason(error)}.") from None
        digest.update(content.digest())
    return digest.hexdigest()


class Difference(NamedTuple):
    """A difference between a run and its snapshot.

    Attributes:
        summary: for the card of the checkpoint, without names of files.
        text: for a message.
        is_fixed: whether a resumed run cannot continue with it.
        changes_validation: whether the scores of earlier validations are no longer comparable.
    """

    summary: str
    text: str
    is_fixed: bool = False
    changes_validation: bool = False


def find_differences(saved: RunIdentity, current: RunIdentity) -> list[Difference]:
    """Compare the identity of a run with the saved one.

    The paths of the folder and of the table may differ. Without `data`, only rate and codec are
    compared.
    """
    found = []
    values: list[tuple[str, object, object]] = [
        ("a sample rate of {} Hz", saved.audio.sample_rate, current.audio.sample_rate),
        ("the codec {}", saved.codec, current.codec),
    ]
    if saved.data is not None:
        values.append(("--from {}", saved.initial_checkpoint, current.initial_checkpoint))
    for what, before, now in values:
        if before != now:
            text = f"{what.format(_describe(before))}, now {_describe(now)}"
            found.append(Difference(text, text, is_fixed=True))
    if saved.data is None or current.data is None:
        return found
    names = [name for name in DataConfig.model_fields if name != "folder"]
    before_data, now_data = (_without_path(data) for data in (saved.data, current.data))
    found += describe_changed_values("data", names, before_data, now_data)
    return found + _compare_recordings(saved, current)


def _without_path(data: DataConfig) -> DataConfig:
    """Return the settings with the name of the table instead of its path."""
    name = None if data.metadata is None else Path(data.metadata).name
    return DataConfig(**{**dict(data), "metadata": name})


def describe_changed_values(
    part: str, names: Iterable[str], before: StrictConfig, now: StrictConfig
) -> list[Difference]:
    """Return one difference with all unequal values of two configs; none if all are equal."""
    pairs = ((name, getattr(before, name), getattr(now, name)) for name in names)
    texts = [f"{name} ({_describe(a)}, now {_describe(b)})" for name, a, b in pairs if a != b]
    text = f"other values of {', '.join(texts)} in [{part}]"
    return [Difference(text, text, changes_validation=part == "data")] if texts else []


def _compare_recordings(saved: RunIdentity, current: RunIdentity) -> list[Difference]:
    if saved.corpus != current.corpus:
        was, is_ = (
            "a folder" if corpus is None else "a corpus"
            for corpus in (saved.corpus, current.corpus)
        )
        text = f"{was} of recordings, now {is_}" if was != is_ else "other content of the corpus"
        return [Difference(text, text, changes_validation=True)]
    before, now = saved.recordings, current.recordings
    common = [name for name in before if name in now]
    has_other_content = [
        name
        for name in common
        if (before[name].digest, before[name].samples) != (now[name].digest, now[name].samples)
    ]
    lists = {
        "added": [name for name in now if name not in before],
        "removed": [name for name in before if name not in now],
        "changed": has_other_content,
        "of another part": [name for name in common if before[name].part != now[name].part],
    }
    counts = [f"{len(names):,} {what}" for what, names in lists.items() if names]
    if not counts:
        return []
    named = [f"{len(names):,} {what} ({_list(names)})" for what, names in lists.items() if names]
    prefix = "other recordings: "
    known = [
        n for n in common if now[n].part == "validation" and before[n].part.startswith("train")
    ]
    end = f", {len(known):,} for validation were trained on before" if known else ""
    summary, text = (prefix + ", ".join(texts) + end for texts in (counts, named))
    return [Difference(summary, text, changes_validation=True)]


def _list(names: Sequence[str]) -> str:
    return ", ".join(names[:MAX_NAMED]) + (", .." if len(names) > MAX_NAMED else "")


def _describe(value: object) -> str:
    if isinstance(value, StrictConfig):
        value = value.model_dump()
    return f"{value:,}" if isinstance(value, int) else "none" if value is None else str(value)
