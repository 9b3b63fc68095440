"""`wavenet effects batch`: many recordings through many models, or resume such a batch.

Input: recordings and models, as files or folders. Output: a folder of files and `results.jsonl`,
whose path is printed. Called by `effects_command`.
"""

import os
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from wavenet.cli.batch_command import INTERRUPTED, SOME_FAILED
from wavenet.cli.batch_options import FORMATS
from wavenet.cli.batch_progress import BatchProgressBar, join_counts, set_event_on_interrupt
from wavenet.cli.effects_options import (
    MODEL_HELP,
    ChainOptions,
    WetFileOptions,
)
from wavenet.cli.option_groups import expand_option_groups
from wavenet.cli.options import JsonOption, QuietOption, print_message
from wavenet.errors import ConditionError, ConfigError
from wavenet.terminal import print_json, print_line

if TYPE_CHECKING:
    from wavenet.batch.effect_batch import EffectBatchResult
    from wavenet.batch.effect_tasks import EffectBatchSettings, EffectTask

_TYPICAL_RATE = 44_100  # Hz, for the space that is needed at least


@expand_option_groups
def batch(
    inputs: Annotated[
        list[Path], typer.Argument(metavar="DI...", help="Dry recordings, or folders of them.")
    ],
    models: Annotated[
        list[Path],
        typer.Option("--model", "-m", help=f"{MODEL_HELP} Or a folder of .nam files. Repeatable."),
    ],
    chain: ChainOptions,
    files: WetFileOptions,
    out_dir: Annotated[
        Path, typer.Option("--out-dir", "-o", help="Folder for the files and results.jsonl.")
    ] = Path("wet"),
    name_template: Annotated[
        str, typer.Option(help="File names: {input}, {model}, {folder}, {number}, {ext}.")
    ] = "{input}_{model}.{ext}",
    format_: Annotated[str, typer.Option("--format", help="wav, flac, ogg or mp3.")] = "wav",
    workers: Annotated[
        int, typer.Option(min=1, max=256, help="Processes; each uses one core.")
    ] = 1,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Print the names of the files and write nothing.")
    ] = False,
    overwrite: Annotated[
        bool, typer.Option("--overwrite/--resume", help="Render finished files again or skip them.")
    ] = False,
    quiet: QuietOption = False,
    json_: JsonOption = False,
) -> None:
    """Play every recording through every model; the same command resumes an interrupted batch.

    Files are like those of `wavenet effects render`. A recording or a model that is damaged costs
    only its own files; the exit code is then 3. One that does not exist is refused at once.
    """
    from wavenet.batch.effect_batch import run_effect_batch

    for folder in inputs:
        if folder.is_dir() and out_dir.exists() and folder.samefile(out_dir):
            raise ConfigError(
                f"--out-dir {out_dir} is also a folder of recordings: its files would be rendered "
                "again by the next batch; choose another folder"
            )
    sources = find_recordings(inputs)
    settings = _make_settings(chain, files, format_, name_template)
    tasks = _plan(sources, models, settings, out_dir)
    if dry_run:
        for task in tasks:
            print_line(out_dir / task.output)
        return
    start = time.perf_counter()
    progress = BatchProgressBar(len(tasks), sum(task.seconds for task in tasks), quiet)
    with set_event_on_interrupt() as stop, progress:
        result = run_effect_batch(tasks, settings, out_dir, workers, overwrite, progress, stop)
    _print_result(result, tasks, out_dir, time.perf_counter() - start, json_)
    if stop.is_set():
        raise typer.Exit(INTERRUPTED)
    if result.failed:
        raise typer.Exit(SOME_FAILED)


def _make_settings(
    chain: ChainOptions, files: WetFileOptions, file_format: str, template: str
) -> "EffectBatchSettings":
    """Return the settings of all files.

    Raises:
        ConfigError, ConditionError: an option is invalid.
    """
    from wavenet.batch.effect_tasks import EffectBatchSettings
    from wavenet.batch.output_suffix import check_suffix

    if file_format not in FORMATS:
        raise ConfigError(f"--format must be {', '.join(FORMATS)}; found {file_format!r}")
    check_suffix(template, file_format, "--name-template")
    return EffectBatchSettings(
        chain=chain.settings(files.rate_policy.value),
        knobs=chain.knob_values(),
        response=None if files.ir is None else str(files.ir),
        files=files.settings(f".{file_format}", overwrite=True),
        file_format=file_format,
        name_template=template,
    )


def _plan(
    sources: Sequence[Path], models: Sequence[Path], settings: "EffectBatchSettings", folder: Path
) -> "list[EffectTask]":
    """Return the tasks, after checking the folder and its disk.

    Raises:
        FolderError: the folder cannot be written, or its disk has too little space.
        EffectFileError: a model is missing.
    """
    from wavenet.batch.effect_tasks import plan_effect_tasks
    from wavenet.batch.output_folder import check_output_folder
    from wavenet.disk_space import audio_bytes, check_free_space
    from wavenet.effects.load_effect import find_effects

    check_output_folder(folder, sources[0])
    effects = [found for path in models for found in find_effects(path)]
    tasks = plan_effect_tasks(sources, effects, settings)
    samples = sum(round(_TYPICAL_RATE * task.seconds) for task in tasks)
    needed = audio_bytes(f".{settings.file_format}", samples, settings.files.subtype)
    check_free_space(folder, needed, "the files", "--out-dir")
    return tasks


def find_recordings(inputs: Sequence[Path]) -> list[Path]:
    """Return the audio files of a command line; of folders all audio files in them.

    Raises:
        ConditionError: a path does not exist.
        DataError: a folder has no audio.
    """
    from wavenet.recordings.audio_metadata import list_audio_files

    found: list[Path] = []
    for path in inputs:
        if os.path.isdir(path):
            found += [file.path for file in list_audio_files(path).files]
        elif os.path.exists(path):
            found.append(path)
        else:
            raise ConditionError(f"{path} does not exist; expected a recording or a folder of them")
    return list(dict.fromkeys(found))


def _print_result(
    result: "EffectBatchResult",
    tasks: "Sequence[EffectTask]",
    folder: Path,
    elapsed: float,
    json_: bool,
) -> None:
    """Print the counts on stderr, and the path of the journal or a JSON document."""
    from wavenet.batch.journal import journal_name
    from wavenet.batch.manifest import WHOLE_MANIFEST

    remaining = len(tasks) - result.done - result.already_done - result.failed
    written = f"{result.done:,} file{'' if result.done == 1 else 's'} written"
    if result.done:
        speed = result.seconds / max(elapsed, 1e-9)
        written += f" ({result.seconds:,.1f} s of sound, {speed:,.1f} times real time)"
    print_message(join_counts(written, result.already_done, result.failed, remaining))
    if result.clipped:
        print_message(
            f"WARNING: {result.clipped:,} of them were limited to full scale; the warnings of "
            "results.jsonl say by how much to lower --trim"
        )
    results = folder / journal_name(WHOLE_MANIFEST)
    if json_:
        counts = {"elapsed_seconds": elapsed, "remaining": remaining, **vars(result)}
        print_json({"results": str(results), **counts})
    else:
        print_line(results)
