"""One worker, and what can go wrong around it."""

import resource
from itertools import islice

import pytest
import soundfile
import torch

from tests.batch.conftest import hashes, make, records, rows_of, write
from wavenet.batch import work
from wavenet.batch.finish import CEILING, Place, normalized
from wavenet.batch.run import Wanted, run
from wavenet.batch.tasks import Settings, load_model
from wavenet.batch.work import clips_at_once
from wavenet.errors import FolderError, OutOfMemory
from wavenet.generation.generate import GeneratedClip, generate_many


def test_too_little_memory_for_one_clip_fails_that_one_alone(tiny, tmp_path, monkeypatch):
    """All that were under way failed with it once, and the last of them was made twice."""

    def small(loaded, items, *rest):
        source = enumerate(items)
        while chunk := list(islice(source, rest[-1])):
            if any(item.samples > 600 for _, item in chunk):
                raise OutOfMemory("too much")
            for n, item in chunk:
                for clip in generate_many(loaded, [item], *rest):
                    yield GeneratedClip(n, clip.waveform, clip.codes, clip.retries)

    monkeypatch.setattr(work, "generate_many", small)
    rows = rows_of(9, temperature=1.0)
    tally = make(tmp_path / "out", rows, tiny, together=3)
    long = {row["id"] for row in rows if round(row["seconds"] * 8000) > 600}
    assert 0 < len(long) < 9
    told = records(tmp_path / "out")
    assert {r["id"] for r in told if r["status"] == "failed"} == long
    assert (len(told), tally.done, tally.failed) == (9, 9 - len(long), len(long))


def test_clips_that_are_not_numbers_are_not_written(tiny, tmp_path, monkeypatch):
    def poisoned(loaded, items, *rest):
        for n, item in enumerate(items):
            wave = torch.full((item.samples,), float("nan" if n == 1 else 0.1))
            yield GeneratedClip(n, wave, torch.zeros(item.samples, dtype=torch.int64))

    monkeypatch.setattr(work, "generate_many", poisoned)
    tally = make(tmp_path / "out", rows_of(4, temperature=1.0), tiny)
    assert (tally.done, tally.failed) == (3, 1)
    (failed,) = [r for r in records(tmp_path / "out") if r["status"] == "failed"]
    assert "not finite" in failed["error"]
    assert len(hashes(tmp_path / "out")) == 3


@pytest.mark.parametrize("limit", [300, 1500])
def test_a_full_disk_is_one_sentence_and_the_same_batch_goes_on(tiny, tmp_path, limit):
    """The smaller limit stops a clip, the larger one the journal."""
    make(tmp_path / "whole", rows_of(), tiny)
    manifest = write(tmp_path / "m.jsonl", rows_of())
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, hard))
    try:
        with pytest.raises(FolderError) as caught:
            run(manifest, Settings(tiny), Wanted(), Place(tmp_path / "out", "cpu", "cpu", 1, 2))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert "written: " in str(caught.value) or "Cannot write" in str(caught.value)
    assert "\n" not in str(caught.value)
    hashes(tmp_path / "out")  # sees that nothing is half-written
    assert all(record["status"] == "done" for record in records(tmp_path / "out"))
    make(tmp_path / "out", rows_of(), tiny)
    assert hashes(tmp_path / "out") == hashes(tmp_path / "whole")


def test_a_folder_that_vanishes_is_not_made_again(tiny, tmp_path):
    def remove(seconds):
        for path in (tmp_path / "out").glob("*"):
            path.unlink()
        (tmp_path / "out" / ".lock").unlink(missing_ok=True)
        if (tmp_path / "out").exists():
            (tmp_path / "out").rmdir()

    with pytest.raises(FolderError):
        make(tmp_path / "out", rows_of(), tiny, together=2, report=remove)
    assert not (tmp_path / "out").exists()
    assert make(tmp_path / "out", rows_of(), tiny).done == 9


def test_samples_beyond_full_scale_are_warned_of(tiny, tmp_path, monkeypatch):
    def loud(loaded, items, *rest):
        for n, item in enumerate(items):
            yield GeneratedClip(
                n, torch.full((item.samples,), 1.5), torch.zeros(item.samples).long()
            )

    monkeypatch.setattr(work, "generate_many", loud)
    make(tmp_path / "out", rows_of(1), tiny)
    (record,) = records(tmp_path / "out")
    assert record["warnings"] == [f"{round(record['seconds'] * 8000)} samples clipped"]


def test_loudness(tmp_path):
    wave = 0.1 * torch.sin(torch.arange(16000) * 0.3)
    plain, peak, lufs = (
        Settings("", normalize=how, target_lufs=-30) for how in ("none", "peak", "lufs")
    )
    assert normalized(wave, 16000, plain) is wave
    assert float(normalized(wave, 16000, peak).abs().max()) == pytest.approx(CEILING)
    quiet = normalized(wave, 16000, lufs)
    assert 0 < float(quiet.abs().max()) < CEILING
    louder = normalized(wave, 16000, Settings("", normalize="lufs", target_lufs=40))
    assert float(louder.abs().max()) == pytest.approx(CEILING)
    short = normalized(wave[:100], 16000, lufs)
    assert float(short.abs().max()) == pytest.approx(CEILING)
    silent = torch.zeros(100)
    assert normalized(silent, 16000, peak) is silent


def test_float_files_keep_all_bits(tiny, tmp_path):
    settings = Settings(tiny, subtype="FLOAT")
    make(tmp_path / "out", rows_of(1), tiny, settings=settings)
    (name,) = hashes(tmp_path / "out")
    assert soundfile.info(tmp_path / "out" / name).subtype == "FLOAT"


def test_as_many_at_once_as_there_is_memory_for(tiny):
    loaded, _ = load_model(tiny)
    assert clips_at_once(loaded, 1) == work.MOST_ON_CPU
    assert clips_at_once(loaded, 1 << 40) == 1
