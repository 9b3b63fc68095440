"""One worker and its errors: memory, disk, clips that are not finite."""

import resource
from dataclasses import replace
from itertools import islice

import pytest
import soundfile
import torch

from audio_utils.lufs import clip_loudness
from tests.batch.conftest import (
    CallbackBatchProgress,
    file_hashes,
    make_rows,
    read_journal,
    run_rows,
    write_manifest,
)
from tests.conftest import overflow, tiny_config
from wavenet.batch import clip_worker
from wavenet.batch.batch_config import BatchOptions, BatchSettings, ExecutionConfig
from wavenet.batch.clip_writer import retry_warning
from wavenet.batch.run import run_batch
from wavenet.errors import FolderError, OutOfMemory
from wavenet.generation.generate import GeneratedClip, generate_many
from wavenet.generation.guard import Retry


def test_a_clip_that_needs_too_much_memory_fails_alone(tiny, tmp_path, monkeypatch):
    """Regression: all active clips failed with it, and the last was generated twice."""

    def generate_with_little_memory(loaded, requests, *rest):
        source = enumerate(requests)
        while chunk := list(islice(source, rest[-1])):
            if any(request.samples > 600 for _, request in chunk):
                raise OutOfMemory("too much")
            for n, request in chunk:
                for clip in generate_many(loaded, [request], *rest):
                    yield replace(clip, index=n)

    monkeypatch.setattr(clip_worker, "generate_many", generate_with_little_memory)
    rows = make_rows(9, temperature=1.0)
    result = run_rows(tmp_path / "out", rows, tiny, batch_size=3)
    too_long = {row["id"] for row in rows if round(row["seconds"] * 8000) > 600}
    assert 0 < len(too_long) < 9
    journal = read_journal(tmp_path / "out")
    assert {r["id"] for r in journal if r["status"] == "failed"} == too_long
    counts = (len(journal), result.done, result.failed)
    assert counts == (9, 9 - len(too_long), len(too_long))


@pytest.mark.parametrize("workers", [1, 2])
def test_the_clips_of_weights_that_overflow_fail_alone(
    tiny, make_checkpoint, tmp_path, workers, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    other = make_checkpoint(tiny_config(conditions="label"), name="other").folder
    overflow(other)
    rows = make_rows(6, temperature=1.0)
    for row in rows[::2]:
        row["checkpoint"] = str(other)
    result = run_rows(tmp_path / "out", rows, tiny, workers)
    assert (result.done, result.failed) == (3, 3)
    failed = {r["id"]: r["error"] for r in read_journal(tmp_path / "out") if r["error"]}
    assert failed.keys() == {row["id"] for row in rows[::2]}
    assert all("not finite" in error for error in failed.values())
    assert len(file_hashes(tmp_path / "out")) == 3


def test_clips_that_are_not_finite_are_not_written(tiny, tmp_path, monkeypatch):
    def generate_a_nan(loaded, requests, *rest):
        for n, request in enumerate(requests):
            wave = torch.full((request.samples,), float("nan" if n == 1 else 0.1))
            yield GeneratedClip(n, torch.zeros(request.samples, dtype=torch.int64), wave)

    monkeypatch.setattr(clip_worker, "generate_many", generate_a_nan)
    result = run_rows(tmp_path / "out", make_rows(4, temperature=1.0), tiny)
    assert (result.done, result.failed) == (3, 1)
    (failed,) = [r for r in read_journal(tmp_path / "out") if r["status"] == "failed"]
    assert "not finite" in failed["error"]
    assert len(file_hashes(tmp_path / "out")) == 3


@pytest.mark.parametrize("limit", [300, 1500])
def test_a_full_disk_is_one_sentence_and_the_batch_resumes(tiny, tmp_path, limit):
    """The smaller limit stops the first clip, the larger one the journal."""
    run_rows(tmp_path / "whole", make_rows(), tiny)
    manifest = write_manifest(tmp_path / "m.jsonl", make_rows())
    execution = ExecutionConfig(tmp_path / "out", "cpu", "cpu", 1, 2)
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, hard))
    try:
        with pytest.raises(FolderError) as caught:
            run_batch(manifest, BatchSettings(tiny), BatchOptions(), execution)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert "\n" not in str(caught.value)
    file_hashes(tmp_path / "out")  # checks that no file is incomplete
    assert all(record["status"] == "done" for record in read_journal(tmp_path / "out"))
    run_rows(tmp_path / "out", make_rows(), tiny)
    assert file_hashes(tmp_path / "out") == file_hashes(tmp_path / "whole")


def test_an_output_folder_that_is_removed_is_not_recreated(tiny, tmp_path):
    def remove(seconds):
        for path in (tmp_path / "out").glob("*"):
            path.unlink()
        (tmp_path / "out" / ".lock").unlink(missing_ok=True)
        if (tmp_path / "out").exists():
            (tmp_path / "out").rmdir()

    progress = CallbackBatchProgress(on_advance=remove)
    with pytest.raises(FolderError):
        run_rows(tmp_path / "out", make_rows(), tiny, batch_size=2, progress=progress)
    assert not (tmp_path / "out").exists()
    assert run_rows(tmp_path / "out", make_rows(), tiny).done == 9


def test_clipped_samples_are_a_warning(tiny, tmp_path, monkeypatch):
    def generate_too_loud(loaded, requests, *rest):
        for n, request in enumerate(requests):
            yield GeneratedClip(
                n, torch.zeros(request.samples).long(), torch.full((request.samples,), 1.5)
            )

    monkeypatch.setattr(clip_worker, "generate_many", generate_too_loud)
    run_rows(tmp_path / "out", make_rows(1), tiny)
    (record,) = read_journal(tmp_path / "out")
    assert record["warnings"] == [f"{round(record['seconds'] * 8000)} samples clipped"]


def test_the_warning_about_a_retry_states_its_outcome():
    def warning(attempts, solved):
        return retry_warning(Retry(0, 0, 80, "white noise", attempts, solved))

    assert warning(2, True) == "white noise, drawn again"
    assert warning(0, False) == "white noise, not drawn again"
    assert warning(1, False) == "white noise, drawn again once without success"
    assert warning(3, False) == "white noise, drawn again 3 times without success"


def test_clips_below_the_target_loudness_are_a_warning_and_are_counted(tiny, tmp_path, monkeypatch):
    """Also clips shorter than 0.4 s; they had a peak of -1 dBFS, whatever the target."""

    def generate_a_sine_and_a_click(loaded, requests, *rest):
        for n, request in enumerate(requests):
            wave = 0.01 * torch.sin(torch.arange(request.samples) * 0.5)
            if n % 2:
                wave[0] = 1.0
            yield GeneratedClip(n, torch.zeros(request.samples).long(), wave)

    monkeypatch.setattr(clip_worker, "generate_many", generate_a_sine_and_a_click)
    rows = [{"id": n, "digit": "a", "seconds": 0.2} for n in range(4)]
    settings = BatchSettings(tiny, normalize="lufs", target_lufs=-25)
    result = run_rows(tmp_path / "out", rows, tiny, settings=settings)
    assert (result.done, result.below_target) == (4, 2)
    for record in read_journal(tmp_path / "out"):
        wave = torch.from_numpy(soundfile.read(tmp_path / "out" / record["file"])[0])
        loudness = clip_loudness(wave, 8000)
        if record["below_target"]:
            assert loudness < -30
            (warning,) = record["warnings"]
            assert warning.startswith(f"{loudness:.1f} LUFS instead of -25 LUFS")
        else:
            assert loudness == pytest.approx(-25, abs=0.01)
            assert record["warnings"] == []


def test_float_files_keep_all_bits(tiny, tmp_path):
    settings = BatchSettings(tiny, subtype="FLOAT")
    run_rows(tmp_path / "out", make_rows(1), tiny, settings=settings)
    (name,) = file_hashes(tmp_path / "out")
    assert soundfile.info(tmp_path / "out" / name).subtype == "FLOAT"
