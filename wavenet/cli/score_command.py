"""`wavenet score`: bits per sample of recordings under a model.

Input: audio files and condition values. Output: one line per file, and a total, on stdout. Called
by `main`.
"""

import os
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from wavenet.cli.data_command import MetadataOption, PatternOption
from wavenet.cli.options import (
    DEFAULT_CHECKPOINT,
    ChannelChoice,
    ChannelOption,
    CheckpointOption,
    DeviceOption,
    EngineOption,
    JsonLinesOption,
    NormalizeOption,
    PrecisionOption,
    QuietOption,
    SetOption,
    parse_condition_values,
    print_left_out,
    print_message,
)
from wavenet.errors import DataError
from wavenet.terminal import print_json, print_line

if TYPE_CHECKING:
    from audio_utils.levels import Channel, Levels
    from wavenet.checkpoint import Checkpoint
    from wavenet.model.conditioning import ConditionValue
    from wavenet.recordings.audio_metadata import AudioFile


def score(
    files: Annotated[list[Path], typer.Argument(help="Audio files or folders.")],
    checkpoint: CheckpointOption = DEFAULT_CHECKPOINT,
    set_: SetOption = None,
    pattern: PatternOption = None,
    metadata: MetadataOption = None,
    channel: ChannelOption = ChannelChoice.MIX,
    normalize: NormalizeOption = False,
    engine: EngineOption = "auto",
    device: DeviceOption = "auto",
    precision: PrecisionOption = "fp32",
    quiet: QuietOption = False,
    json_: JsonLinesOption = False,
) -> None:
    """Print the bits per sample of each file and of all files together (lower is better).

    Recordings are read and scored window by window, so the memory does not depend on their length,
    except for models conditioned on MFCC or F0. With --precision bf16 or int8, they are scored with
    the rounded weights of that precision.
    """
    from audio_utils.errors import AudioError
    from audio_utils.levels import LevelSummary
    from wavenet import checkpoint as checkpoints
    from wavenet.cli.progress_bars import status_spinner
    from wavenet.engines.registry import device_for, make_engine
    from wavenet.model.condition_values import resolve_condition_values

    fixed = parse_condition_values(set_)
    with status_spinner("listing the files", quiet):
        entries = list_entries(files, pattern, metadata)
    loaded = checkpoints.load(checkpoint, device_for(engine, device))
    loaded = replace(loaded, model=make_engine(engine, loaded.model, precision).model)
    entries = rename_label_fields(entries, loaded)
    chosen = resolve_condition_values(loaded.config.model, fixed)
    label_names = [condition.name for condition in loaded.config.model.labels]
    bits, samples, failed, levels = 0.0, 0, 0, LevelSummary()
    for entry in entries:
        fields = {name: value for name, value in entry.fields.items() if name in label_names}
        try:
            values = {**fields, **chosen}
            result = score_file(loaded, entry.path, values, channel.value, normalize, quiet)
        except AudioError as error:
            print_message(f"skipped: {error}")
            failed += 1
            continue
        levels = levels.with_file(str(entry.path), result.levels)
        bits += result.bits
        samples += result.samples
        print_score(json_, str(entry.path), result.bits / result.samples, result.samples)
    for sentence in levels.sentences():
        print_message(sentence)
    if not samples:
        raise DataError(f"none of the {len(entries)} files could be read")
    print_score(json_, "total", bits / samples, samples)
    if failed:
        print_message(f"{failed} of {len(entries)} files were skipped")
        raise typer.Exit(3)


@dataclass(frozen=True)
class FileScore:
    """The score of a file.

    Attributes:
        bits: of all samples together.
        samples: number of samples.
        levels: of the file.
    """

    bits: float
    samples: int
    levels: "Levels"


def score_file(
    loaded: "Checkpoint",
    path: Path,
    conditions: Mapping[str, "ConditionValue"],
    channel: "Channel",
    normalize: bool,
    quiet: bool = False,
) -> FileScore:
    """Read and score a recording window by window, with a progress bar.

    The file is decoded twice: first for its length, its levels and its errors.

    Raises:
        AudioError: it cannot be read.
        ConditionError: a condition value is missing or unknown.
    """
    import torch

    from audio_utils.decoding import iterate_blocks, measure_file
    from wavenet.cli.progress_bars import ProgressBar, status_spinner
    from wavenet.likelihood.score import score_blocks

    rate = loaded.config.audio.sample_rate
    with status_spinner(f"reading {path}", quiet):
        measured = measure_file(path, rate, channel, normalize)
    blocks = map(torch.from_numpy, iterate_blocks(path, rate, channel, measured.levels.gain))
    bits = 0.0
    with ProgressBar("samples", measured.samples, quiet) as progress_bar:
        for window in score_blocks(loaded, blocks, measured.samples, conditions):
            bits += float(window.double().sum())
            progress_bar.advance(window.numel())
    return FileScore(bits, measured.samples, measured.levels)


def list_entries(files: list[Path], pattern: str | None, metadata: str | None) -> "list[AudioFile]":
    """List the audio files of files and folders, with labels from a pattern or a table.

    Files of a folder that are left out are printed, and files that are given more than once.

    Args:
        files: audio files, or folders of them.
        pattern: pattern of names, such as {digit}_{speaker}_{index}; None reads no labels.
        metadata: a table, as in `list_audio_files`.
    Raises:
        DataError: a file name does not fit the pattern, or the table does not list a file.
    """
    from wavenet.recordings.audio_metadata import AudioFile, find_metadata, list_audio_files
    from wavenet.recordings.name_patterns import NamePattern

    name_pattern = NamePattern(pattern) if pattern else None
    rows: dict[Path, AudioFile] = {}  # of the single files
    for parent in (
        {path.absolute().parent for path in files if not path.is_dir()} if metadata else ()
    ):
        table = find_metadata(parent, metadata)
        rows |= read_rows(table.absolute(), parent) if table else {}
    entries: list[AudioFile] = []
    for path in files:
        if path.is_dir():
            listing = list_audio_files(path, pattern, metadata)
            print_left_out(listing.left_out, len(listing.files))
            entries.extend(listing.files)
            continue
        if metadata:
            if path.resolve() not in rows:
                raise DataError(f"{metadata} does not list {path}")
            entries.append(rows[path.resolve()])
            continue
        match = name_pattern.match(path.absolute().as_posix()) if name_pattern else None
        if match is not None and match.fields is None:
            raise DataError(
                f"the file name {path.name} does not fit the pattern {pattern!r}: {match.problem}"
            )
        entries.append(AudioFile(path, match.fields or {} if match else {}))
    return remove_repeated(entries)


def remove_repeated(entries: "list[AudioFile]") -> "list[AudioFile]":
    """Return each file once, at its first place; print how many were given more than once.

    Two paths are the same file if they are equal after links are followed. Of several entries of a
    file, the first one with fields is used: a folder may have a table, which a single file lacks.
    """
    from wavenet.terminal import shorten_values

    found: dict[str, AudioFile] = {}
    repeated: dict[str, Path] = {}
    for entry in entries:
        file = os.path.realpath(entry.path)
        if file in found:
            repeated[file] = entry.path
        if file not in found or not found[file].fields:
            found[file] = entry
    if repeated:
        example = shorten_values(str(next(iter(repeated.values()))))
        files = "1 file was" if len(repeated) == 1 else f"{len(repeated):,} files were"
        print_message(f"{files} given more than once and scored once, for example {example}")
    return list(found.values())


def read_rows(table: Path, folder: Path) -> "dict[Path, AudioFile]":
    """Read a table for the files of a folder, by path; print the rows that do not fit."""
    from wavenet.recordings.audio_metadata import read_metadata
    from wavenet.recordings.left_out_files import LeftOutCollector

    unfit = LeftOutCollector()
    # the folder that contains both: rows are relative to the table or to the files
    both = table.parent if folder.is_relative_to(table.parent) else folder
    found = {entry.path: entry for entry in read_metadata(table, unfit, both)}
    print_left_out(unfit.groups, len(found))
    return found


def rename_label_fields(entries: "list[AudioFile]", loaded: "Checkpoint") -> "list[AudioFile]":
    """Return the entries, their fields with the names of the model's labels.

    Case and separators do not matter. Print a message if the model has labels, and no field is one.

    Raises:
        DataError: the name of a field is similar to that of a label.
    """
    from wavenet.recordings.audio_metadata import AudioFile, match_fields, rename_fields

    labels = [condition.name for condition in loaded.config.model.labels]
    found = {name for entry in entries for name in entry.fields}
    renamed = match_fields(found, labels, "the table or the pattern")
    if labels and found and not renamed and not found.intersection(labels):
        print_message(
            f"no field is a label of the model: found {', '.join(sorted(found))}; expected "
            f"{', '.join(labels)}"
        )
    return [AudioFile(entry.path, rename_fields(entry.fields, renamed)) for entry in entries]


def print_score(as_json: bool, name: str, bits: float, samples: int) -> None:
    """Print the score of one file, or of all."""
    record = {"file": name, "bits_per_sample": bits, "samples": samples}
    if as_json:
        print_json(record)
    else:
        print_line(f"{bits:.4f} bits/sample", samples, name)
