"""The tasks of a batch of effects: every recording through every model.

Input: recordings, models and settings. Output: one `EffectTask` per pair, with the name of its file
and a hash of everything that determines it. Called by `effect_batch` and by the command.
"""

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, field, replace
from functools import cache
from pathlib import Path
from typing import Any

from audio_utils.errors import AudioError
from wavenet.batch.journal import hash_file
from wavenet.batch.output_names import collision_key, fill_template
from wavenet.batch.output_suffix import add_suffix
from wavenet.effects.impulse_response import read_impulse_response
from wavenet.effects.load_effect import effect_digest
from wavenet.effects.rendering.chain_settings import ChainSettings
from wavenet.effects.rendering.render_file import FileSettings, measure_seconds
from wavenet.errors import ConditionError, EffectFileError

DEFAULT_TEMPLATE = "{input}_{model}.{ext}"
# Part of every params hash. Increase it if the same task produces another file.
_HASH_VERSION = 1
_CHECK_RATE = 48_000  # Hz, at which the impulse response is read to check it


@dataclass(frozen=True)
class EffectBatchSettings:
    """Settings of all files of a batch.

    Attributes:
        chain: gains, mix, oversampling.
        knobs: values by name, for every model.
        response: path of an impulse response, or None.
        files: how files are read and written.
        file_format: wav, flac, ogg or mp3.
        name_template: of the files; `fill_fields` has its fields.
    """

    chain: ChainSettings = field(default_factory=ChainSettings)
    knobs: Mapping[str, float] = field(default_factory=dict)
    response: str | None = None
    files: FileSettings = field(default_factory=FileSettings)
    file_format: str = "wav"
    name_template: str = DEFAULT_TEMPLATE


@dataclass(frozen=True)
class EffectTask:
    """One recording through one model.

    Attributes:
        number: of the task, from 1.
        source, model: paths.
        output: path relative to the output folder.
        params_hash: hash of everything that determines the file.
        seconds: of the recording; 0 if it cannot be read.
        has_unknown_file: whether the output exists, but the journal does not describe it.
    """

    number: int
    source: str
    model: str
    output: str
    params_hash: str
    seconds: float
    has_unknown_file: bool = False

    @property
    def key(self) -> int:
        """Number of the task in a worker pool."""
        return self.number

    @property
    def identity(self) -> str:
        """The id in the journal: the name of the file."""
        return self.output


def plan_effect_tasks(
    sources: Sequence[Path], models: Sequence[Path], settings: EffectBatchSettings
) -> list[EffectTask]:
    """Return the tasks, all recordings of the first model first.

    Args:
        sources: audio files; one that cannot be read fails later, alone.
        models: the same.
        settings: of all files.
    Raises:
        ConditionError: two files would have one name, or the template is invalid.
        AudioError: the impulse response cannot be read.
    """
    shared = _hash_settings(settings)
    digest_of_model = cache(_hash_model)
    digest_of_source = cache(_hash_source)
    seconds_of = cache(_seconds)
    tasks: list[EffectTask] = []
    names: dict[bytes, EffectTask] = {}
    for model, source in _pairs(sources, models):
        number = len(tasks) + 1
        fields = fill_fields(source, model, settings.file_format, number)
        output = add_suffix(fill_template(settings.name_template, fields), settings.file_format)
        parts = (_HASH_VERSION, shared, digest_of_model(model), digest_of_source(source))
        digest = hashlib.sha256(json.dumps(parts).encode()).hexdigest()
        task = EffectTask(number, str(source), str(model), output, digest, seconds_of(source))
        other = names.setdefault(collision_key(output), task)
        if other is not task:
            raise ConditionError(
                f"{other.source} with {other.model} and {source} with {model} would both be "
                f"written to {output}; add {{number}}, which every file has for itself, or "
                "{folder} to --name-template"
            )
        tasks.append(task)
    return tasks


def fill_fields(source: Path, model: Path, file_format: str, number: int) -> dict[str, str]:
    """Return the fields of a name template."""
    return {
        "input": source.stem,
        "model": model.stem,
        "folder": source.absolute().parent.name,
        "number": str(number),
        "ext": file_format,
    }


def mark_unknown_file(task: EffectTask) -> EffectTask:
    """Return a task whose file exists although the journal does not describe it."""
    return replace(task, has_unknown_file=True)


def _hash_source(path: Path) -> str:
    """Return the SHA-256 of a recording; "" if it cannot be read, or is a pipe."""
    with suppress(OSError):
        if path.is_file():
            return hash_file(path)
    return ""


def _hash_model(path: Path) -> str:
    """Return the hash of a model; "" if it cannot be read."""
    with suppress(EffectFileError):
        return effect_digest(path)
    return ""


def _pairs(sources: Sequence[Path], models: Sequence[Path]) -> Iterator[tuple[Path, Path]]:
    return ((model, source) for model in models for source in sources)


def _seconds(source: Path) -> float:
    try:
        return measure_seconds(source)
    except AudioError:
        return 0.0


def _hash_settings(settings: EffectBatchSettings) -> str:
    values: dict[str, Any] = asdict(settings.chain) | {"knobs": dict(settings.knobs)}
    files = asdict(settings.files)
    del files["replace"]
    response = None
    if settings.response is not None:
        read_impulse_response(settings.response, _CHECK_RATE)
        response = hash_file(Path(settings.response))
    text = json.dumps([values, files, response, settings.file_format], sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()
