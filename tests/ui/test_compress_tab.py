"""The Compress tab without a browser, and the public functions of compression."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from zipfile import ZipFile

import gradio as gr
import pytest

from tests.compression.audio_files import DeltaCoder, find_deltas
from wavenet.ui.compress import compress_events, compressed_uploads
from wavenet.ui.compress.compress_api import make_compress, make_decompress
from wavenet.ui.compress.compress_events import run_compress, run_restore
from wavenet.ui.event_handling import PageJobs
from wavenet.ui.studio_api import _keep_file
from wavenet.ui.turns import Turns

from .conftest import RATE, bare_page, tone
from .test_studio_api import upload

Values = dict[str, Any]


@pytest.fixture(autouse=True)
def _small_coder(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(compressed_uploads, "load_block_coder", find_deltas)
    monkeypatch.setattr(compressed_uploads, "load_compressor", DeltaCoder)
    monkeypatch.setattr(compress_events, "prepare_compressor", lambda: None)


def run(
    root: Path,
    files: list[str] | None,
    callback: Callable[..., Iterator[Values]] = run_compress,
    jobs: PageJobs | None = None,
) -> Values:
    """Return the last value of every output; files are read before they are deleted."""
    shown: Values = {}
    for update in callback(
        bare_page(root), jobs or PageJobs(), job_number=1, previous_job=None, files=files
    ):
        shown |= update
        path = update.get("files", {}).get("value")
        if path:
            shown["name"] = Path(path).name
            shown["content"] = Path(path).read_bytes()
            shown["members"] = ZipFile(path).namelist() if path.endswith(".zip") else None
    return shown


def test_one_file_has_a_picture_and_two_become_a_zip(
    root: Path, save_wav: Callable[..., str]
) -> None:
    one = save_wav(tone())
    shown = run(root, [one])
    assert shown["status"] == ""
    assert shown["results"].count("verified</td>") == 1
    assert "<svg" in shown["picture"]
    assert shown["name"] == "tone.wnc"
    shown = run(root, [one, save_wav(tone(0.5), name="other")])
    assert shown["picture"] == ""
    assert (shown["name"], shown["members"]) == ("compressed.zip", ["tone.wnc", "other.wnc"])


def test_a_restored_file_is_offered_and_played(
    root: Path, save_wav: Callable[..., str], tmp_path: Path
) -> None:
    source = save_wav(tone())
    packed = tmp_path / "tone.wnc"
    packed.write_bytes(run(root, [source])["content"])
    shown = run(root, [str(packed), source], run_restore)
    assert shown["content"] == Path(source).read_bytes()
    assert shown["player"]["visible"] and shown["player"]["label"] == "tone.wav"
    assert shown["results"].count('role="alert"') == 1  # the original is no compressed file
    damaged = packed.read_bytes()[:-1]
    packed.write_bytes(damaged)
    shown = run(root, [str(packed)], run_restore)
    assert not shown["player"]["visible"] and not shown["files"]["interactive"]
    assert "tone.wnc is cut short" in shown["results"]


def test_errors_of_all_files_are_raised_and_shown(root: Path) -> None:
    updates = run_compress(
        bare_page(root), PageJobs(), job_number=1, previous_job=None, files=None
    )
    shown: Values = {}
    with pytest.raises(gr.Error, match="There are no files"):
        for update in updates:
            shown |= update
    assert "There are no files" in shown["status"]


def test_a_stopped_job_shows_no_results_and_a_replaced_one_nothing_more(
    root: Path, save_wav: Callable[..., str]
) -> None:
    path, jobs = save_wav(tone()), PageJobs()
    jobs.stopped.add(1)
    shown = run(root, [path], jobs=jobs)
    assert "Stopped." in shown["status"]
    assert "name" not in shown
    jobs = PageJobs()
    jobs.replaced.add(1)
    assert "name" not in run(root, [path], jobs=jobs)


def test_programs_compress_and_restore(uploads: Path, save_wav: Callable[..., str]) -> None:
    turns, source = Turns(), save_wav(tone())
    compress, decompress = make_compress(turns, _keep_file), make_decompress(turns, _keep_file)
    packed = compress(upload(source))
    assert Path(packed["path"]).name == "tone.wnc"
    restored = decompress(upload(packed["path"]))
    assert Path(restored["path"]).name == "tone.wav"
    assert Path(restored["path"]).read_bytes() == Path(source).read_bytes()
    with pytest.raises(gr.Error, match="no compressed file"):
        decompress(upload(source))
    with pytest.raises(gr.Error, match="uploaded file"):
        compress({"path": source})


@pytest.mark.slow
def test_the_shipped_compressor_compresses_a_tone(
    root: Path, save_wav: Callable[..., str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.undo()
    shown = run(root, [save_wav(tone(2))])
    assert 44 < len(shown["content"]) < RATE
