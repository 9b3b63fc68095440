"""What Compress and Restore do: wait for a turn, process the files, list and offer the results.

Input: the values of the widgets by name. Output: a table, a picture, a player, and the new files.
Called by `compress_tab`.
"""

import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any
from zipfile import ZIP_STORED, ZipFile

import gradio as gr

from audio_utils import io
from audio_utils.errors import AudioError
from wavenet.compression.compress_files import CompressedFile
from wavenet.compression.decode_files import DecodedFile
from wavenet.compression.file_task import FailedFile
from wavenet.errors import CompressedFileError, WaveNetError
from wavenet.ui.background_work import run_in_background
from wavenet.ui.compress.block_bits import plot_block_bits
from wavenet.ui.compress.compressed_uploads import (
    Compressed,
    Note,
    Restored,
    compress_uploads,
    prepare_compressor,
    restore_uploads,
)
from wavenet.ui.event_handling import PageJobs
from wavenet.ui.page import Page
from wavenet.ui.page_text import (
    convert_user_errors,
    error_note,
    error_sentence,
    format_duration,
    status_note,
)
from wavenet.ui.templates import render
from wavenet.ui.turns import describe_place

PREPARING = "Preparing the compressor; the first time needs about 15 s …"
COMPRESSED_NAMES = (
    *("File", "Bytes before", "Bytes after", "Size", "Bits per sample", "Length", "Check"),
)
COMPRESS_PLACEHOLDER = status_note(
    "The sizes of the compressed files appear here, and of a single file the bits of its parts."
)
RESTORE_PLACEHOLDER = status_note("The restored files appear here.")
RESTORED_NAMES = ("File", "Restored as", "Length", "Format", "Content")
Values = dict[str, Any]
Results = Sequence[Compressed] | Sequence[Restored]
# Returns the outputs of complete work, from the results, their folder and the seconds it needed.
Show = Callable[[Any, Path, float], Values]


def prepare() -> None:
    """Compile the compressor when the tab opens; an error is shown by the first job."""
    with suppress(WaveNetError):
        prepare_compressor()


def run_compress(
    page: Page,
    jobs: PageJobs,
    *,
    job_number: int,
    previous_job: int | None,
    files: list[str] | None,
) -> Iterator[Values]:
    """Compress the dropped files, verify them, and offer them.

    Args:
        page: what all tabs share.
        jobs: of this button.
        job_number, previous_job: from the browser.
        files: paths of the uploads.
    Yields:
        The status; at last the table, the picture of a single file, and the new files.
    Raises:
        gr.Error: no file can be processed; the status shows the same sentence.
    """
    jobs.replaced.add(previous_job)
    work = partial(compress_uploads, files or [])
    yield from _run(page, jobs, job_number, work, show_compressed, "Compressing")


def run_restore(
    page: Page,
    jobs: PageJobs,
    *,
    job_number: int,
    previous_job: int | None,
    files: list[str] | None,
) -> Iterator[Values]:
    """Restore the dropped files, and offer them; arguments and errors as `run_compress`."""
    jobs.replaced.add(previous_job)
    work = partial(restore_uploads, files or [])
    yield from _run(page, jobs, job_number, work, show_restored, "Restoring")


def clear_compressed() -> Values:
    """Remove the results of the previous files."""
    return {"status": "", "results": COMPRESS_PLACEHOLDER, "picture": "", "files": _no_file()}


def clear_restored() -> Values:
    """Remove the results of the previous files."""
    player = gr.update(value=None, visible=False)
    return {"status": "", "results": RESTORE_PLACEHOLDER, "player": player, "files": _no_file()}


def _run(
    page: Page,
    jobs: PageJobs,
    job_number: int,
    work: Callable[[Path, Note], Results],
    show: Show,
    verb: str,
) -> Iterator[Values]:
    """Run a job in its turn, and show its progress and its results."""
    is_wanted = partial(jobs.is_wanted, job_number)
    clear = clear_compressed() if show is show_compressed else clear_restored()
    try:
        with tempfile.TemporaryDirectory() as folder, page.turns.request() as turn:
            yield {**clear, "status": status_note("Checking the files …")}
            for place, seconds in turn.wait():
                if not is_wanted():
                    break
                yield {"status": status_note(describe_place(place, seconds))}
            began, results = time.monotonic(), list[Any]()

            def run(note: Note) -> None:
                prepare_compressor()
                results.extend(work(Path(folder), note))

            share: float | None
            for share in run_in_background(run, None, is_wanted):
                text = PREPARING if share is None else f"{verb}: {share:.0%}"
                yield {"status": status_note(text)}
            if is_wanted():
                yield {"status": "", **show(results, Path(folder), time.monotonic() - began)}
    except (WaveNetError, AudioError) as error:
        yield {"status": error_note(error)}
        with convert_user_errors():
            raise
    if job_number in jobs.stopped:
        yield {"status": status_note("Stopped.")}


def show_compressed(results: Sequence[Compressed], folder: Path, seconds: float) -> Values:
    """Return the table, the picture if there is one file, and the compressed files.

    Args:
        results: one per upload.
        folder: of the compressed files.
        seconds: of the work.
    """
    done = [result for result in results if isinstance(result, CompressedFile)]
    picture = ""
    if len(results) == len(done) == 1:
        with suppress(AudioError, CompressedFileError):
            picture = plot_block_bits(folder / done[0].target)
    before, after = (sum(sizes) for sizes in (
        [file.bytes_before for file in done], [file.bytes_after for file in done]
    ))  # fmt: skip
    summary = (
        f"{_count(done)}: {before:,} bytes became {after:,} "
        f"({100 * after / max(1, before):.1f} %). Compressed and verified in "
        f"{format_duration(seconds)}."
    )
    return {
        "results": _table(COMPRESSED_NAMES, results, _compressed_cells, summary if done else ""),
        "picture": picture,
        "files": offer_files([folder / file.target for file in done], folder / "compressed.zip"),
    }


def show_restored(results: Sequence[Restored], folder: Path, seconds: float) -> Values:
    """Return the table, the first file to play, and the restored files; see `show_compressed`."""
    done = [result for result in results if isinstance(result, DecodedFile)]
    paths = [folder / str(file.target) for file in done]
    summary = f"{_count(done)} restored and compared in {format_duration(seconds)}."
    return {
        "results": _table(RESTORED_NAMES, results, _restored_cells, summary if done else ""),
        "player": _play(paths),
        "files": offer_files(paths, folder / "restored.zip"),
    }


def offer_files(paths: Sequence[Path], archive: Path) -> Any:
    """Return the update of a download button: one file, several in a zip, or nothing."""
    if not paths:
        return _no_file()
    if len(paths) == 1:
        return gr.update(value=str(paths[0]), interactive=True)
    with ZipFile(archive, "w", ZIP_STORED) as packed:
        for path in paths:
            packed.write(path, path.name)
    return gr.update(value=str(archive), interactive=True)


def _play(paths: Sequence[Path]) -> Any:
    """Return the update of the player of the first file; browsers do not play AIFF."""
    if not paths:
        return gr.update(value=None, visible=False)
    path = paths[0]
    if path.suffix.lower() != ".wav":
        played = path.with_name(f"{path.stem}-mono.wav")
        try:
            recording = io.read(path)
            io.write(played, recording.waveform, recording.sample_rate)
        except AudioError:  # too short, or of an unusual rate
            return gr.update(value=None, visible=False)
        path = played
    return gr.update(value=str(path), visible=True, label=f"{paths[0].name}")


def _table(
    names: Sequence[str],
    results: Results,
    cells: Callable[[Any], list[str]],
    summary: str,
) -> str:
    rows = [
        (result.source, [], error_sentence(CompressedFileError(result.error)))
        if isinstance(result, FailedFile)
        else (result.source, cells(result), "")
        for result in results
    ]
    return render("compress/compressed_files.html", names=names, rows=rows, summary=summary)


def _compressed_cells(file: CompressedFile) -> list[str]:
    return [
        f"{file.bytes_before:,}",
        f"{file.bytes_after:,}",
        f"{100 * file.ratio:.1f} %",
        f"{file.bits_per_sample:.2f}",
        f"{file.samples / file.sample_rate:.2f} s",
        "verified",
    ]


def _restored_cells(file: DecodedFile) -> list[str]:
    channels = {1: "mono", 2: "stereo"}.get(file.channels, f"{file.channels} channels")
    return [
        str(file.target),
        f"{file.samples / file.sample_rate:.2f} s",
        f"{file.sample_rate:,} Hz, {file.bits} bits, {channels}",
        "the original file" if file.is_original else "the original samples",
    ]


def _count(files: Sequence[Any]) -> str:
    return "1 file" if len(files) == 1 else f"{len(files):,} files"


def _no_file() -> Any:
    return gr.update(value=None, interactive=False)
