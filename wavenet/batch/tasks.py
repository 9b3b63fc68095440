"""Convert rows of a manifest to tasks, with all checks of a clip.

Input: a row and the settings of the batch. Output: a `ClipTask`, which can be sent to another
process, or an error of one sentence. Called by `manifest_check`; workers call `make_request`.
"""

import hashlib
import json
import os
from collections.abc import Mapping
from dataclasses import astuple, dataclass, field, replace
from functools import lru_cache
from pathlib import Path
from typing import Any

from torch import Tensor

from audio_utils import io
from audio_utils.decoding import measure_file
from audio_utils.levels import Channel, LevelSummary
from wavenet.batch.batch_config import BatchSettings
from wavenet.batch.journal import hash_file
from wavenet.batch.manifest import ManifestRow
from wavenet.batch.manifest_columns import (
    find_column,
    input_path,
    is_own_name,
    read_columns,
    read_conditions,
    read_settings,
    row_id,
    sampling_options,
)
from wavenet.batch.output_names import check_output_name, fill_template
from wavenet.batch.output_suffix import (
    add_suffix,
    check_suffix,
    find_other_suffix,
    replace_suffix,
)
from wavenet.batch.speech_rows import COLUMNS as SPEECH_COLUMNS
from wavenet.batch.speech_rows import RowSpeech, load_row_voice, plan_speech, read_speech
from wavenet.checkpoint import CONFIG, Checkpoint, load
from wavenet.checkpoint_folders import is_voice, resolve_checkpoint
from wavenet.devices import AUTO
from wavenet.errors import ConditionError
from wavenet.generation.checkpoint_engine import auto_precisions
from wavenet.generation.generate import DEFAULT_GUARD
from wavenet.generation.request import (
    GenerationRequest,
    check_request,
    prepare_clips,
    samples_from_seconds,
)
from wavenet.model.conditions import FramesCondition
from wavenet.model.frame_features import compute_frame_features, read_array
from wavenet.sampling import SamplingConfig, resolve_sampling
from wavenet.user_input.typed_numbers import parse_number
from wavenet.weights_file import WEIGHTS

# Part of every params hash. Increase it if the same task produces another file: all clips are then
# generated again.
_HASH_VERSION = 1
# The names of the guard's settings in the params hash, in their order. Some are old names, kept on
# purpose: another name here would change every hash, and all clips would be generated again.
_HASHED_GUARD = (
    "window",
    "attempts",
    "saturated_rms",
    "saturated_share",
    "noise_rms",
    "noise_roughness",
    "noise_share",
    "silence_seconds",
    "silence_peak",
)


@dataclass(frozen=True)
class ClipTask:
    """A clip to generate.

    Attributes:
        line: of the manifest.
        identity: the id, which selects the noise stream.
        checkpoint: folder.
        conditions: condition values by name.
        samples: length of the clip without the prompt.
        prompt_file: path of a recording to continue.
        condition_file: path of frames, or of a recording to compute them from.
        output: path relative to the output folder.
        params_hash: hash of everything that determines the file.
        extra: columns of the manifest that neither the batch nor the model uses; they are copied
            into the record.
        frames_scale: of a `.npy` condition file, as for `compute_frame_features`.
        channel, normalize_inputs: as in `BatchSettings`.
        input_levels: levels of the recordings that the task reads.
        has_unknown_file: whether the output file exists, but the journal does not describe it. It
            is replaced only by an equal one, which a killed batch left.
        suffix_column: the column whose name has the suffix of another format, which is replaced.
        speech: what a voice speaks; None for any other model.
        notices: what was left out of its text.
    """

    line: int
    identity: str
    checkpoint: str
    conditions: Mapping[str, str | float]
    samples: int
    seed: int
    prompt_file: str | None
    condition_file: str | None
    sampling: SamplingConfig
    output: str
    params_hash: str
    extra: Mapping[str, Any]
    frames_scale: str | None = None
    channel: Channel = "mix"
    normalize_inputs: bool = False
    input_levels: LevelSummary = field(default_factory=LevelSummary)
    has_unknown_file: bool = False
    suffix_column: str | None = None
    speech: RowSpeech | None = None
    notices: tuple[str, ...] = ()

    @property
    def key(self) -> int:
        """Number of the task in a worker pool."""
        return self.line

    @property
    def group(self) -> tuple[str, str]:
        """Key that is equal for clips that can be generated in one batch."""
        return self.checkpoint, self.sampling.model_dump_json()

    @property
    def seconds(self) -> float:
        """Length of the clip without the prompt."""
        return self.samples / load_checkpoint(self.checkpoint)[0].config.audio.sample_rate


def make_task(row: ManifestRow, settings: BatchSettings) -> ClipTask:
    """Check a row and convert it.

    Raises:
        ConditionError, ConfigError, CheckpointError, AudioError: the clip cannot be generated.
    """
    values = read_settings(row.values)
    own = values.get("checkpoint")
    if not isinstance(own, str | None):
        raise ConditionError(f"checkpoint must be a folder or a name, found {own!r}")
    named = own or settings.checkpoint
    folder = str(resolve_checkpoint(named, settings.base_folder))
    checkpoint, _ = load_checkpoint(folder)
    seed = values.get("seed")
    seconds = values.get("seconds")
    chosen = settings.seconds if seconds is None else parse_number(seconds, "seconds", float)
    conditions, speech, extra = _read_content(row, values, folder, checkpoint, settings)
    plan = None if speech is None else plan_speech(folder, speech)
    sampling = {**settings.sampling, **sampling_options(values)}
    condition_file = input_path(values, "condition", settings.base_folder)
    task = ClipTask(
        line=row.line,
        identity=row_id(values, row.line),
        checkpoint=folder,
        conditions=conditions,
        samples=plan.samples
        if plan
        else _clip_samples(checkpoint, chosen, condition_file, settings),
        seed=parse_number(settings.seed if seed is None else seed, "seed", int),
        prompt_file=input_path(values, "prompt", settings.base_folder),
        condition_file=condition_file,
        sampling=resolve_sampling(checkpoint.config.sampling, **sampling),
        output="",
        params_hash="",
        extra=extra,
        frames_scale=settings.frames_scale if _is_array(condition_file) else None,
        channel=settings.channel,
        normalize_inputs=settings.normalize_inputs,
        speech=speech,
        notices=plan.notices if plan else (),
    )
    column = find_column(row.values, "output")
    output, suffix_column = _output_name(values, column, task, checkpoint, settings)
    task = replace(task, output=output, suffix_column=suffix_column)
    _check_format(settings.file_format, checkpoint.config.audio.sample_rate, settings.subtype)
    levels = _check(task, checkpoint)
    return replace(task, params_hash=_hash_params(task, settings), input_levels=levels)


def _read_content(
    row: ManifestRow,
    values: Mapping[str, Any],
    folder: str,
    checkpoint: Checkpoint,
    settings: BatchSettings,
) -> tuple[dict[str, Any], RowSpeech | None, dict[str, Any]]:
    """Return condition values, or what a voice speaks; and the columns that nothing uses.

    Args:
        values: from `read_settings`.
    """
    ignore = settings.ignore_unknown_columns
    if _is_voice(folder):
        found, extra = read_columns(SPEECH_COLUMNS, row.values, values, ignore)
        if settings.seconds is not None:
            raise ConditionError("the length of speech is that of its text; omit --seconds")
        return {}, read_speech(found, values), extra
    conditions, extra = read_conditions(checkpoint.config.model, row.values, values, ignore)
    if extra.get("text") and not ignore:
        raise ConditionError(
            f"{checkpoint.config.name} is not a voice, and speaks no text; choose a voice with "
            "--checkpoint, or add --ignore-unknown-columns"
        )
    return conditions, None, extra


def _output_name(
    values: Mapping[str, Any],
    column: str | None,
    task: ClipTask,
    checkpoint: Checkpoint,
    settings: BatchSettings,
) -> tuple[str, str | None]:
    """Return the attributes `output` and `suffix_column`, from the row or else from the template.

    A column with another name than "output" comes from another data set, whose names have the
    suffixes of its recordings.

    Args:
        column: of the row that sets the output, or None.
    """
    file_format = settings.file_format
    if column is None:
        fields = {name: str(value) for name, value in task.conditions.items()}
        fields |= {"id": task.identity, "seed": str(task.seed), "ext": file_format}
        fields |= {"line": str(task.line), "checkpoint": checkpoint.config.name}
        given, what = fill_template(settings.name_template, fields), "the name from the template"
    else:
        given, what = values["output"], column
        if not isinstance(given, str):
            raise ConditionError(f"output must be the name of a file, found {given!r}")
        check_output_name(given)
        if not is_own_name(column, "output") and find_other_suffix(given, file_format):
            return check_output_name(replace_suffix(given, file_format)), column
    check_suffix(given, file_format, what)
    return check_output_name(add_suffix(given, file_format)), None


@lru_cache(maxsize=64)
def _is_voice(folder: str) -> bool:
    """Return whether a folder is a voice; cached, because all rows ask."""
    return is_voice(Path(folder))


def make_request(task: ClipTask) -> GenerationRequest:
    """Read the files of a task and return the request for the generator.

    Raises:
        AudioError, ConditionError: a file is damaged or missing, or does not fit the model.
    """
    return _read_request(task)[0]


def _read_request(task: ClipTask) -> tuple[GenerationRequest, LevelSummary]:
    """Return the request, and the levels of the recordings that were read for it."""
    levels = LevelSummary()

    def read_waveform(path: str) -> Tensor:
        nonlocal levels
        recording = io.read(path, rate, channel=task.channel, normalize=task.normalize_inputs)
        levels = levels.with_file(path, recording.levels)
        return recording.waveform

    checkpoint, _ = load_checkpoint(task.checkpoint)
    rate, model = checkpoint.config.audio.sample_rate, checkpoint.config.model
    prompt = None if task.prompt_file is None else read_waveform(task.prompt_file)
    frame_features = None
    if task.speech is not None:
        frame_features = plan_speech(task.checkpoint, task.speech).frames
    elif model.locals and task.condition_file is not None:
        path = Path(task.condition_file)
        if _is_array(task.condition_file):
            own = [c.name for c in model.locals if isinstance(c, FramesCondition)]
            only = [model.locals[0].name] if len(model.locals) == 1 else own[:1]
            arrays = {name: read_array(path) for name in only}
            statistics = checkpoint.config.frame_statistics
            frame_features = compute_frame_features(
                model, rate, None, arrays, task.frames_scale, statistics
            )
        else:
            waveform = read_waveform(task.condition_file)
            frame_features = compute_frame_features(model, rate, waveform)
    elif task.condition_file is not None:
        raise ConditionError(
            f"{checkpoint.config.name} has no local condition; leave the column condition empty"
        )
    request = GenerationRequest(
        task.samples,
        task.conditions,
        task.seed,
        noise_stream(task.identity),
        prompt,
        frame_features,
    )
    return request, levels


def _check(task: ClipTask, checkpoint: Checkpoint) -> LevelSummary:
    """Check a task; return the levels of its recordings."""
    request, levels = _read_request(task)
    checkpoint.model.distribution.check(task.sampling)
    if request.prompt is None and request.frame_features is None:
        check_request(request, checkpoint.config)
        _check_conditions(task.checkpoint, tuple(task.conditions.items()), task.sampling)
    else:
        prepare_clips(checkpoint, [request], task.sampling, None)
    return levels


@lru_cache(maxsize=4096)
def _check_conditions(
    folder: str, conditions: tuple[tuple[str, str | float], ...], sampling: SamplingConfig
) -> None:
    """Check condition values and sampling; cached, because thousands of rows may have the same."""
    checkpoint, _ = load_checkpoint(folder)
    prepare_clips(checkpoint, [GenerationRequest(1, dict(conditions))], sampling, None)


@lru_cache(maxsize=64)
def _check_format(file_format: str, sample_rate: int, subtype: str) -> None:
    """Check that clips of this sample rate can be written; cached, because all rows share it."""
    io.check_format(f"a clip.{file_format}", sample_rate, subtype)


def noise_stream(identity: str) -> int:
    """Return the noise stream of a clip, 64 bits, from its id."""
    text = identity.encode("utf-8", "surrogatepass")
    return int.from_bytes(hashlib.blake2b(text, digest_size=8).digest(), "big")


@lru_cache(maxsize=4)
def load_checkpoint(folder: str) -> tuple[Checkpoint, str]:
    """Load a checkpoint on the CPU and compute the hash of its files; cached.

    Of a voice, the checkpoint is its vocoder, and the hash that of all its files.

    Raises:
        CheckpointError: it is missing or damaged.
    """
    path = Path(folder)
    checkpoint = load_row_voice(folder).vocoder if is_voice(path) else load(path)
    folders = [path, checkpoint.folder] if is_voice(path) else [checkpoint.folder]
    digests = [hash_file(each / name) for each in folders for name in (CONFIG, WEIGHTS)]
    return checkpoint, hashlib.sha256("".join(digests).encode()).hexdigest()


@lru_cache(maxsize=4096)
def _hash_input_version(path: str, modified_ns: int, size: int) -> str:
    """Return the hash of a file; cached while its time and size are the same."""
    return hash_file(Path(path))


def _hash_input(path: str | None) -> str | None:
    if path is None:
        return None
    status = os.stat(path)
    return _hash_input_version(path, status.st_mtime_ns, status.st_size)


def _hash_params(task: ClipTask, settings: BatchSettings) -> str:
    """Return the hash of everything that determines the file of a task."""
    guard = (
        dict(zip(_HASHED_GUARD, astuple(DEFAULT_GUARD), strict=True)) if settings.guard else None
    )
    reading = (settings.channel, settings.normalize_inputs)
    has_inputs = task.prompt_file is not None or task.condition_file is not None
    checkpoint, checkpoint_hash = load_checkpoint(task.checkpoint)
    precision = settings.precision
    if precision == AUTO:
        precision = auto_precisions(AUTO, checkpoint.config, checkpoint.model.device)[0]
    content = {
        "version": _HASH_VERSION,
        "checkpoint": checkpoint_hash,
        "id": task.identity,
        "labels": dict(task.conditions),
        "samples": task.samples,
        "seed": task.seed,
        "inputs": [_hash_input(task.prompt_file), _hash_input(task.condition_file)],
        "sampling": task.sampling.model_dump(),
        "output": task.output,
        "guard": guard,
        "file": [settings.subtype, settings.normalize, settings.target_lufs, precision],
    }
    if settings.normalize == "lufs":
        # Earlier versions scaled clips without a loudness to the peak ceiling.
        content["loudness"] = 2
    if task.frames_scale is not None:  # without it, the hash is that of earlier versions
        content["frames_scale"] = task.frames_scale
    if task.speech is not None:
        content["speech"] = task.speech.describe()
    if has_inputs and reading != ("mix", False):
        # Omitted if it is the default, so that earlier hashes stay valid.
        content["reading"] = reading
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


def _is_array(condition_file: str | None) -> bool:
    """Return whether a condition file contains frames."""
    return condition_file is not None and Path(condition_file).suffix.lower() == ".npy"


def _clip_samples(
    checkpoint: Checkpoint,
    seconds: float | None,
    condition_file: str | None,
    settings: BatchSettings,
) -> int:
    """Return the length of a clip in samples; by default that of its condition file, if any."""
    rate, model = checkpoint.config.audio.sample_rate, checkpoint.config.model
    if seconds is None and condition_file is not None and model.locals:
        if _is_array(condition_file):
            shape = read_array(Path(condition_file)).shape
            return max(1, ((shape[0] if shape else 0) - 1) * model.condition_hop)
        return measure_file(
            condition_file, rate, settings.channel, settings.normalize_inputs
        ).samples
    return samples_from_seconds(
        checkpoint.config.default_seconds if seconds is None else seconds, rate
    )
