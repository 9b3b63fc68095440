"""`wavenet batch`: generate the clips of a manifest, or resume an interrupted batch."""

import os
import shutil
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from wavenet.cli.batch_options import (
    ClipOptions,
    FileOptions,
    OutputOptions,
    RowOptions,
    WorkerOptions,
    make_execution,
    make_settings,
)
from wavenet.cli.batch_progress import BatchProgressBar, join_counts, set_event_on_interrupt
from wavenet.cli.option_groups import expand_option_groups
from wavenet.cli.options import print_message
from wavenet.cli.unused_options import refuse_unused_threads
from wavenet.errors import ConditionError, DataError, FolderError
from wavenet.terminal import print_json, print_line

if TYPE_CHECKING:
    from wavenet.batch.manifest_check import ManifestSummary
    from wavenet.batch.run import BatchResult

SOME_FAILED = 3  # exit code
INTERRUPTED = 130  # exit code


@expand_option_groups
def batch(
    context: typer.Context,
    manifest: Annotated[
        str, typer.Argument(help="A .jsonl, .csv or .tsv file with a row per clip; - is stdin.")
    ],
    clips: ClipOptions,
    files: FileOptions,
    rows: RowOptions,
    workers: WorkerOptions,
    output: OutputOptions,
) -> None:
    """Generate a clip for each row of a manifest; the same command resumes an interrupted batch.

    Columns: id, conditions of the model, seconds, seed, prompt, condition, temperature, top_k,
    top_p, greedy, guidance, output, checkpoint; of a voice text, speaker, speed, pitch, loudness,
    melody; all others are copied to the results. The audio of a clip depends only on its row and
    the settings, not on other clips, workers or machines.
    """
    files.check()
    refuse_unused_threads(context, workers.engine)
    options = rows.to_batch_options()
    execution = make_execution(manifest, files, workers, output.score)
    settings = make_settings(manifest, clips, files, rows, execution)

    from wavenet.batch.journal import journal_name
    from wavenet.batch.output_folder import check_output_folder

    check_output_folder(execution.folder, Path(manifest), options.shard)
    _prepare_workers(workers.workers, execution.cluster_address)

    from wavenet.batch.manifest_check import check_manifest
    from wavenet.batch.run import run_batch
    from wavenet.cli.progress_bars import status_spinner
    from wavenet.config import make_config
    from wavenet.disk_space import check_free_space
    from wavenet.sampling import SamplingConfig

    make_config(SamplingConfig, "sampling", **settings.sampling)  # checks the options
    with _as_file(manifest) as path:
        with status_spinner("checking the manifest", output.quiet):
            summary = check_manifest(path, settings, options, execution)
        _print_summary(summary, manifest, options.skip_invalid, files.format_)
        if rows.dry_run:
            if output.json_:
                print_json(_describe_dry_run(summary))
            if summary.invalid_count:
                raise typer.Exit(SOME_FAILED)
            return
        if execution.remote_url is None:
            check_free_space(execution.folder, summary.new_bytes, "the clips", "--out-dir")
        start = time.perf_counter()
        progress = BatchProgressBar(summary.valid_count, summary.seconds, output.quiet)
        with set_event_on_interrupt() as stop, _exit_if_disk_fails(progress), progress:
            result = run_batch(path, settings, options, execution, workers.workers, progress, stop)
        results = execution.folder / journal_name(options.shard)
        _print_result(result, summary, results, time.perf_counter() - start, output)
        if stop.is_set() and not (options.fail_fast and result.failed):
            raise typer.Exit(INTERRUPTED)
        if result.failed:
            raise typer.Exit(SOME_FAILED)
        _check_scores(result)


def _check_scores(result: "BatchResult") -> None:
    """Report finished clips that --score leaves without a score.

    Raises:
        ConditionError: nothing else was to be done, so the option had no effect.
    """
    if result.unscored:
        count = result.unscored
        clips = "1 finished clip has" if count == 1 else f"{count:,} finished clips have"
        text = (
            f"{clips} no score, because --score is computed while a clip is generated; add "
            "--overwrite to generate and score all clips, or use `wavenet score`"
        )
        if not result.done:
            raise ConditionError(text)
        print_message(f"WARNING: {text}")


def _prepare_workers(count: int | None, cluster_address: str | None) -> None:
    """Check that the cluster can be reached, or start the forkserver.

    The forkserver loads the libraries of the workers while the manifest is checked.
    """
    if cluster_address is not None:
        from wavenet.batch.ray_driver import check_ray_address

        check_ray_address(cluster_address)
    elif count is not None and count > 1:
        from wavenet.batch.forkserver import start_forkserver

        start_forkserver()


def _describe_dry_run(summary: "ManifestSummary") -> dict[str, Any]:
    """Return the JSON document of a dry run."""
    return {
        "rows": summary.rows,
        "clips": summary.valid_count,
        "seconds": summary.seconds,
        "invalid": summary.invalid_count,
        "unknown_columns": dict(summary.unknown_columns),
        "unlabelled": summary.unlabelled_count,
        "replaced_suffixes": dict(summary.replaced_suffixes),
    }


def _print_summary(
    summary: "ManifestSummary", manifest: str, skip_invalid: bool, file_format: str
) -> None:
    """Print the numbers of the manifest, and its invalid rows.

    Raises:
        ConditionError: rows are invalid and must not be skipped, or there are no rows.
    """
    for row in summary.invalid_rows:
        print_message(f"line {row.line}: {row.reason}")
    if summary.invalid_count > len(summary.invalid_rows):
        print_message(f"and {summary.invalid_count - len(summary.invalid_rows):,} more")
    if summary.invalid_count and not skip_invalid:
        raise ConditionError(
            f"{summary.invalid_count:,} of {summary.rows:,} rows of {manifest} are invalid, so "
            "nothing was generated; correct them, or add --skip-invalid"
        )
    if summary.is_empty:
        raise ConditionError(
            f"{manifest} has no rows; expected .jsonl, .csv or .tsv with a row per clip"
        )
    if not summary.rows:
        print_message("no rows in this shard")
    for sentence in summary.input_levels.sentences(normalize_option="--normalize-inputs"):
        print_message(sentence)
    clips = "1 clip" if summary.valid_count == 1 else f"{summary.valid_count:,} clips"
    print_message(f"{clips}, {summary.seconds:,.1f} s of audio")
    for column, count in summary.replaced_suffixes.items():
        print_message(
            f"{column[:100]!r} has the suffix of another format in {count:,} of "
            f"{summary.valid_count:,} rows; it is replaced by .{file_format}"
        )
    _print_unknown_columns(summary)


def _print_unknown_columns(summary: "ManifestSummary") -> None:
    """Print the unused columns, and the number of rows with such columns but without a label."""
    counts = summary.unknown_columns
    if counts:
        columns = ", ".join(
            f"{name[:100]!r} ({count:,} of {summary.valid_count:,} rows)"
            for name, count in counts.items()
        )
        print_message(f"unknown columns, which are only copied to the results: {columns}")
    if summary.unlabelled_count:
        print_message(
            f"WARNING: {summary.unlabelled_count:,} of {summary.valid_count:,} rows set none of "
            f"the labels {', '.join(summary.labels)}, so these clips have no label; if columns "
            "contain the labels, give the columns these names"
        )


def _print_result(
    result: "BatchResult",
    summary: "ManifestSummary",
    results: Path,
    elapsed: float,
    output: OutputOptions,
) -> None:
    """Print the counts of a batch on stderr, and the path of its journal or a JSON document."""
    remaining = summary.rows - result.done - result.already_done - result.failed
    plural = "" if result.done == 1 else "s"
    written = f"{result.done:,} clip{plural} generated"
    if result.done:
        written += f" ({result.seconds:,.1f} s of audio in {elapsed:,.1f} s, "
        written += f"{result.seconds / elapsed:,.1f} times real time)"
    print_message(join_counts(written, result.already_done, result.failed, remaining))
    if result.below_target:
        clips = "1 clip is" if result.below_target == 1 else f"{result.below_target:,} clips are"
        print_message(
            f"WARNING: {clips} quieter than --target-lufs; the warnings of results.jsonl say why"
        )
    if not output.json_:
        print_line(results)
        return
    counts = {"elapsed_seconds": elapsed, "remaining": remaining, **vars(result)}
    print_json({"results": str(results), **counts})


@contextmanager
def _as_file(manifest: str) -> Iterator[Path]:
    """Yield the manifest as a file that can be read twice; a pipe is copied to a file.

    Raises:
        FolderError: there is no space for a copy.
        DataError: the manifest is a folder, or stdin is closed.
    """
    if manifest != "-" and (os.path.isfile(manifest) or not os.path.exists(manifest)):
        yield Path(manifest)
        return
    if os.path.isdir(manifest) or (manifest == "-" and sys.stdin is None):
        raise DataError(f"{manifest} cannot be read; expected a .jsonl, .csv or .tsv file")
    with tempfile.NamedTemporaryFile(prefix="wavenet-") as copy:
        try:
            with nullcontext(sys.stdin.buffer) if manifest == "-" else open(manifest, "rb") as pipe:
                shutil.copyfileobj(pipe, copy)
            copy.flush()
        except OSError as error:
            raise FolderError(f"{manifest} cannot be copied to {copy.name}: {error}") from None
        yield Path(copy.name)


@contextmanager
def _exit_if_disk_fails(progress: BatchProgressBar) -> Iterator[None]:
    """Exit with `SOME_FAILED` if the disk fails after audio was generated."""
    try:
        yield
    except FolderError as error:
        if not progress.generated_seconds:
            raise
        print_message("finished clips are kept; the same command resumes")
        print_message(f"wavenet: {error}")
        raise typer.Exit(SOME_FAILED) from None
