"""The identity of a run: what it is trained on and how it samples, saved with every snapshot.

Input: the settings and the recordings of a run. Output: a `RunIdentity`, which a resumed run
compares with its own. `dataset` creates the records of recordings, `task` the identity, and
`resuming` compares identities.
"""

import hashlib
import json
from collections.abc import Iterable, Mapping
from pathlib import Path

from pydantic import Field

from audio_utils.atomic_files import os_error_reason
from audio_utils.errors import AudioError
from wavenet.checkpoint import AudioConfig
from wavenet.codec import AnyCodec
from wavenet.config import StrictConfig
from wavenet.training.recipe import DataConfig

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
    """All that makes a run what it is, besides its model and its training settings.

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
