"""The settings of a batch: the content of the clips, the execution, and the choice of rows.

Input: values from the command line. Output: frozen dataclasses. Only `BatchSettings` and the row
determine a clip. Called by the command, and by all modules of `batch`.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from audio_utils.levels import Channel
from wavenet.batch.clip_storage import ClipStorage, LocalStorage, open_remote_storage
from wavenet.batch.manifest import WHOLE_MANIFEST, ManifestShard

DEFAULT_TARGET_LUFS = -23.0  # of the broadcast recommendation EBU R 128


@dataclass(frozen=True)
class BatchSettings:
    """Settings of all clips; a row of the manifest may override some.

    Attributes:
        checkpoint: folder.
        base_folder: folder to which the paths of prompts and condition files are relative.
        seed: default of the rows.
        seconds: default length of a clip; None for the default of the checkpoint.
        sampling: sampling settings that override those of the checkpoint, by name.
        name_template: of output files.
        file_format: wav, flac, ogg or mp3.
        subtype: PCM_16, PCM_24 or FLOAT.
        normalize: none, peak or lufs.
        target_lufs: loudness for "lufs", -70 to 0.
        ignore_unknown_columns: accept unknown columns whose names are close to known ones.
        precision: of the weights, one of `PRECISIONS`; "auto", if all workers run the engine cpu:
            the fastest one of each checkpoint whose rounding cost is low.
        guard, frames_scale: as in `wavenet generate`.
        channel, normalize_inputs: for prompts and recordings of conditions; as `channel` and
            `normalize` in `audio_utils.io.read`.
    """

    checkpoint: str
    base_folder: str = "."
    seed: int = 0
    seconds: float | None = None
    sampling: Mapping[str, Any] = field(default_factory=dict)
    name_template: str = "{id}_{seed}.{ext}"
    file_format: str = "wav"
    subtype: str = "PCM_16"
    normalize: str = "none"
    target_lufs: float = DEFAULT_TARGET_LUFS
    precision: str = "fp32"
    guard: bool = True
    ignore_unknown_columns: bool = False
    frames_scale: str | None = None
    channel: Channel = "mix"
    normalize_inputs: bool = False


@dataclass(frozen=True)
class ExecutionConfig:
    """Where and how clips are generated; the audio does not depend on it.

    Attributes:
        folder: of the journal, and of the clips unless `remote_url` is set.
        engine, device, threads: as in `make_engine`.
        batch_size: clips generated at once; None: as many as 1 GiB of state allows, at most 64 on a
            CPU and 1024 on a GPU.
        score: also score each clip by its model; this adds about half of the generation time.
        remote_url: location of the clips, such as s3://bucket/clips.
        cluster_address: of the cluster that runs the workers as Ray actors: "local", "auto" or
            HOST:PORT; None for no cluster.
    """

    folder: Path
    engine: str = "auto"
    device: str = "auto"
    threads: int | None = None
    batch_size: int | None = None
    score: bool = False
    remote_url: str | None = None
    cluster_address: str | None = None

    @property
    def storage(self) -> ClipStorage:
        """The storage of the clips."""
        if self.remote_url is None:
            return LocalStorage(self.folder)
        return open_remote_storage(self.remote_url)


@dataclass(frozen=True)
class BatchOptions:
    """Which rows are processed, and how failures are handled.

    Attributes:
        shard: the part of the manifest.
        overwrite: generate finished clips again.
        limit: maximum number of rows.
        fail_fast: stop at the first clip that fails.
        max_retries: maximum number of retries of a clip whose worker died while it generated only
            this clip.
        skip_invalid: process the valid rows even if some rows are invalid.
    """

    shard: ManifestShard = WHOLE_MANIFEST
    overwrite: bool = False
    limit: int | None = None
    fail_fast: bool = False
    max_retries: int = 2
    skip_invalid: bool = False
