"""`wavenet compress`, `decompress` and `verify`: recordings without loss in smaller files.

Input: audio files or compressed files, folders of them, or stdin. Output: files or stdout; a line
per file on stdout, or a JSON document. Called by `main`.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from wavenet.cli.batch_command import SOME_FAILED
from wavenet.cli.compressed_paths import (
    PIPE,
    InputFile,
    check_tasks,
    find_inputs,
    list_compressed,
    plan_tasks,
)
from wavenet.cli.options import (
    JsonOption,
    OverwriteOption,
    QuietOption,
    create_folder,
    print_message,
)
from wavenet.errors import CheckpointError, CompressedFileError, ConfigError, WaveNetError
from wavenet.terminal import print_json, print_line

if TYPE_CHECKING:
    from wavenet.compression.block_windows import FindCoder
    from wavenet.compression.compress_files import CompressedFile
    from wavenet.compression.compressed_header import CompressedHeader
    from wavenet.compression.decode_files import DecodedFile
    from wavenet.compression.file_task import FailedFile, FileTask
    from wavenet.progress import Progress

PREPARING = "preparing the compressor (compiled once per machine, about 15 seconds)"
COMPRESSED = "compressed files (.wnc)"


class FormatChoice(StrEnum):
    """The choices of `decode_files.OutputFormat`."""

    ORIGINAL = "original"
    WAV = "wav"
    FLAC = "flac"


OutOption = Annotated[
    Path | None,
    typer.Option(
        "--out",
        "-o",
        help="Folder, file for a single input, or - for stdout; default: this folder, from stdin "
        "stdout.",
    ),
]


def compress(
    inputs: Annotated[
        list[Path],
        typer.Argument(metavar="IN...", help="Audio files, folders of them, or - for stdin."),
    ],
    out: OutOption = None,
    block_seconds: Annotated[
        float, typer.Option("--block-seconds", help="Length of a block, at most 10 seconds.")
    ] = 5.0,
    verify: Annotated[
        bool,
        typer.Option(
            "--verify/--no-verify",
            help="Decode each file and compare it with the original before it appears.",
        ),
    ] = True,
    drop_metadata: Annotated[
        bool,
        typer.Option(
            "--drop-metadata", help="Keep only the samples, without titles, marks and other chunks."
        ),
    ] = False,
    store_name: Annotated[
        bool, typer.Option("--store-name", help="Store the name of the original file.")
    ] = False,
    no_adaptive: Annotated[
        bool,
        typer.Option("--no-adaptive", help="Use the network alone, without adaptive predictors."),
    ] = False,
    compressor: Annotated[
        str,
        typer.Option(
            "--compressor",
            metavar="NAME|FOLDER",
            help="Compressor to use; it must be installed also where the files are decompressed.",
        ),
    ] = "lossless",
    overwrite: OverwriteOption = False,
    quiet: QuietOption = False,
    json_: JsonOption = False,
) -> None:
    """Compress recordings without loss, into files that end in .wnc.

    WAV and AIFF files with integer samples of 8, 16 or 24 bits are restored byte for byte; of FLAC
    and other formats the samples. The exit code is 3 if some files cannot be compressed.
    """
    from wavenet.cli.progress_bars import status_spinner
    from wavenet.compression.compress_files import CompressionSettings, compress_files
    from wavenet.compression.compressed_file import SUFFIX
    from wavenet.compression.compressor_folder import compile_coder, load_compressor
    from wavenet.recordings.audio_metadata import list_audio_paths

    settings = CompressionSettings(block_seconds, verify, not drop_metadata, store_name, overwrite)
    files = find_inputs(inputs, list_audio_paths, "audio files")
    tasks = plan_tasks(files, out, lambda file: file.stem + SUFFIX, overwrite)
    coder = load_compressor(compressor, adapts=not no_adaptive)
    _prepare_output(tasks, json_)
    with status_spinner(PREPARING, quiet):
        compile_coder(coder)
    with _percent_bar(len(tasks), quiet) as progress:
        results = compress_files(tasks, coder, settings, progress)
    _print_results(results, tasks, _describe_compressed, json_)


def decompress(
    inputs: Annotated[
        list[Path],
        typer.Argument(metavar="IN...", help="Compressed files, folders of them, or - for stdin."),
    ],
    out: OutOption = None,
    format_: Annotated[
        FormatChoice,
        typer.Option("--format", help="original: the same file, if it was WAV or AIFF; else WAV."),
    ] = FormatChoice.ORIGINAL,
    recover: Annotated[
        bool,
        typer.Option(
            "--recover", help="Of damaged files keep what is whole; damaged blocks become silence."
        ),
    ] = False,
    overwrite: OverwriteOption = False,
    quiet: QuietOption = False,
    json_: JsonOption = False,
) -> None:
    """Restore recordings from compressed files.

    A file appears only if its samples are those that were compressed. The exit code is 3 if some
    files are damaged, also if they were recovered in part.
    """
    from wavenet.compression.decode_files import decompress_files, restored_name

    files = find_inputs(inputs, list_compressed, COMPRESSED)
    headers = _read_headers(files)

    def name_target(file: InputFile) -> str:
        # the error of a header that cannot be read is reported with the others
        return restored_name(headers.get(file), file.stem, format_.value)

    tasks = plan_tasks(files, out, name_target, overwrite)
    _prepare_output(tasks, json_)
    find_coder = _load_coders(files, headers, quiet)
    with _percent_bar(len(tasks), quiet) as progress:
        results = decompress_files(tasks, find_coder, format_.value, recover, overwrite, progress)
    _print_results(results, tasks, _describe_decoded, json_)


def verify(
    inputs: Annotated[
        list[Path],
        typer.Argument(metavar="IN...", help="Compressed files, folders of them, or - for stdin."),
    ],
    quiet: QuietOption = False,
    json_: JsonOption = False,
) -> None:
    """Decode compressed files and compare them with their checksums, without writing anything.

    The exit code is 3 if some files are damaged.
    """
    from wavenet.compression.decode_files import verify_files

    files = find_inputs(inputs, list_compressed, COMPRESSED)
    tasks = check_tasks(files)
    find_coder = _load_coders(files, _read_headers(files), quiet)
    with _percent_bar(len(tasks), quiet) as progress:
        results = verify_files(tasks, find_coder, progress)
    _print_results(results, tasks, _describe_decoded, json_)


def _read_headers(files: Sequence[InputFile]) -> "dict[InputFile, CompressedHeader]":
    """Return the headers of the files whose header can be read."""
    from audio_utils.errors import AudioError
    from wavenet.compression.decode_files import read_header

    headers = {}
    for file in files:
        if file.path != PIPE:
            with suppress(AudioError, WaveNetError, OSError):
                headers[file] = read_header(file.path)
    return headers


def _load_coders(
    files: Sequence[InputFile], headers: "dict[InputFile, CompressedHeader]", quiet: bool
) -> "FindCoder":
    """Load and compile the coders of files; return a function that finds them, and loads others."""
    from wavenet.cli.progress_bars import status_spinner
    from wavenet.compression.compressor_folder import (
        compile_coder,
        load_block_coder,
        load_compressor,
    )

    wanted = {header.coder.sha256 for header in headers.values() if header.coder}
    # reported for each of its files
    with suppress(CompressedFileError, CheckpointError):
        # the header of a file from a pipe is not yet known
        coders = [load_compressor()] if any(file.path == PIPE for file in files) else []
        coders += [load_block_coder(sha256) for sha256 in sorted(wanted)]
        with status_spinner(PREPARING, quiet):
            for coder in coders:
                compile_coder(coder)
    return load_block_coder


def _prepare_output(tasks: "Sequence[FileTask]", as_json: bool) -> None:
    """Create the folders of the targets; refuse a document on stdout beside a file.

    Raises:
        ConfigError: both would be written to stdout, or a folder cannot be created.
    """
    for task in tasks:
        if isinstance(task.target, Path):
            create_folder(task.target.parent)
        elif as_json:
            raise ConfigError("--json and a file cannot both be written to stdout; choose --out")


@contextmanager
def _percent_bar(files: int, quiet: bool) -> "Iterator[Progress]":
    """Show a progress bar for fractions of files."""
    from wavenet.cli.progress_bars import ProgressBar
    from wavenet.progress import CallbackProgress

    with ProgressBar("%", 100, quiet) as bar:
        yield CallbackProgress(lambda fraction: bar.advance(100 * fraction / files), bar.message)


def _print_results(
    results: "Sequence[CompressedFile | DecodedFile | FailedFile]",
    tasks: "Sequence[FileTask]",
    describe: Callable[[Any], tuple[dict[str, Any], list[object]]],
    as_json: bool,
) -> None:
    """Print the results, unless a file was written to stdout; exit if some failed.

    Args:
        results: one per task.
        tasks: of the command.
        describe: returns the JSON document and the cells of a result that did not fail.
        as_json: whether one document is printed.
    Raises:
        CompressedFileError: the only file failed.
        typer.Exit: some failed.
    """
    from wavenet.compression.decode_files import DecodedFile
    from wavenet.compression.file_task import FailedFile

    failed = [result for result in results if isinstance(result, FailedFile)]
    done = [result for result in results if not isinstance(result, FailedFile)]
    if as_json:
        documents = [describe(result)[0] for result in done]
        print_json({"files": documents, "failed": [vars(result) for result in failed]})
    is_pipe = any(not isinstance(task.target, Path | None) for task in tasks)
    for result in () if as_json or is_pipe else done:
        print_line(*describe(result)[1])
    is_damaged = False
    for result in done:
        for sentence in result.sentences() if isinstance(result, DecodedFile) else ():
            is_damaged = True
            print_message(f"{result.source}: {sentence}")
    if len(failed) == len(tasks) == 1 and not as_json:
        raise CompressedFileError(failed[0].error.rstrip("."))
    for failure in failed:
        print_message(f"failed: {failure.error}")
    if failed and len(tasks) > 1:
        print_message(f"{len(failed):,} of {len(tasks):,} files failed")
    if failed or is_damaged:
        raise typer.Exit(1 if len(failed) == len(tasks) else SOME_FAILED)


def _describe_compressed(result: "CompressedFile") -> tuple[dict[str, Any], list[object]]:
    """Return the JSON document and the cells of a compressed file."""
    document = {
        **vars(result),
        "ratio": result.ratio,
        "bits_per_sample": result.bits_per_sample,
    }
    cells = [
        result.target,
        f"{result.bytes_before:,} bytes",
        f"{result.bytes_after:,} bytes",
        f"{100 * result.ratio:.1f} %",
        f"{result.bits_per_sample:.3f} bits/sample",
    ]
    return document, list(cells)


def _describe_decoded(result: "DecodedFile") -> tuple[dict[str, Any], list[object]]:
    """Return the JSON document and the cells of a decoded file."""
    document = {**vars(result), "damaged": [vars(part) for part in result.damaged]}
    return document, [result.target or f"{result.source}: ok"]
