"""`wavenet score`: bits per sample of recordings under a model."""

import json
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from wavenet.cli.options import (
    DEFAULT_CHECKPOINT,
    CheckpointOption,
    DeviceOption,
    EngineOption,
    JsonOption,
    PrecisionOption,
    SetOption,
    parse_labels,
    say,
)
from wavenet.errors import DataError

if TYPE_CHECKING:
    from wavenet.manifest import Entry


def score(
    files: Annotated[list[Path], typer.Argument(help="Audio files, or folders of them.")],
    checkpoint: CheckpointOption = DEFAULT_CHECKPOINT,
    set_: SetOption = None,
    pattern: Annotated[
        str | None, typer.Option(help="Labels from file names, as {digit}_{speaker}_{index}.")
    ] = None,
    csv: Annotated[
        Path | None, typer.Option(help="Labels from a table with a column file_name.")
    ] = None,
    engine: EngineOption = "auto",
    device: DeviceOption = "auto",
    precision: PrecisionOption = "fp32",
    json_: JsonOption = False,
) -> None:
    """Print bits per sample for each file and over all of them (lower is better).

    What is scored is the model that the engine runs: with --precision bf16 the rounded weights.
    """
    from audio_utils import io
    from audio_utils.errors import AudioError
    from wavenet import checkpoint as checkpoints
    from wavenet.engines.registry import device_for, make_engine
    from wavenet.likelihood.score import score as score_waveform

    fixed = parse_labels(set_)
    entries = list_entries(files, pattern, csv)
    loaded = checkpoints.load(checkpoint, device_for(engine, device))
    loaded = replace(loaded, model=make_engine(engine, loaded.model, precision).model)
    known = [condition.name for condition in loaded.config.model.labels]
    bits, samples, failed = 0.0, 0, 0
    for entry in entries:
        fields = {name: value for name, value in entry.fields.items() if name in known}
        try:
            waveform = io.read(entry.path, loaded.config.audio.sample_rate).waveform
        except AudioError as error:
            say(f"skipped: {error}")
            failed += 1
            continue
        result = score_waveform(loaded, waveform, {**fields, **fixed})
        bits += result.bits_per_sample * result.samples
        samples += result.samples
        show(json_, str(entry.path), result.bits_per_sample, result.samples)
    if not samples:
        raise DataError(f"none of {len(entries)} files could be read")
    show(json_, "total", bits / samples, samples)
    if failed:
        say(f"{failed} of {len(entries)} files were skipped")
        raise typer.Exit(3)


def list_entries(files: list[Path], pattern: str | None, csv: Path | None) -> "list[Entry]":
    """Gather files and folders with the labels that a pattern or a table gives them.

    Raises:
        DataError: a file name that does not fit the pattern, a file that the table does not list.
    """
    from wavenet.manifest import Entry, find_entries, match, read_table

    table = {entry.path: entry for entry in read_table(csv)} if csv else None
    entries: list[Entry] = []
    for path in files:
        if path.is_dir():
            entries.extend(find_entries(path, pattern))
            continue
        fields = match(pattern, path.stem) if pattern else {}
        if fields is None:
            raise DataError(f"the file name {path.name} does not fit the pattern {pattern!r}")
        entries.append(Entry(path, fields))
    if table is None:
        return entries
    for entry in entries:
        if entry.path.resolve() not in table:
            raise DataError(f"{csv} does not list {entry.path}")
    return [table[entry.path.resolve()] for entry in entries]


def show(as_json: bool, name: str, bits: float, samples: int) -> None:
    """Print one line."""
    record = {"file": name, "bits_per_sample": bits, "samples": samples}
    typer.echo(json.dumps(record) if as_json else f"{bits:.4f} bits/sample\t{samples}\t{name}")
