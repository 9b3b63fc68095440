"""Whole batches: the bits do not depend on the workers, and a stopped batch resumes."""

import json
import threading

import pytest
import soundfile

from tests.batch.conftest import (
    CallbackBatchProgress,
    file_hashes,
    make_rows,
    read_journal,
    run_rows,
)
from tests.batch.test_local_workers import ProcessKiller
from tests.conftest import RATE, sine
from wavenet.batch import manifest_check
from wavenet.batch.batch_config import BatchSettings
from wavenet.batch.manifest import ManifestShard
from wavenet.batch.output_folder import (
    check_output_folder,
    lock_output_folder,
    remove_partial_files,
)
from wavenet.batch.tasks import make_task
from wavenet.errors import ConditionError, FolderError, FolderInUse
from wavenet.folder_lock import lock_folder


@pytest.fixture
def single_hashes(tiny, tmp_path):
    """The hashes of clips that were generated one at a time."""
    run_rows(tmp_path / "single", make_rows(), tiny, batch_size=1)
    return file_hashes(tmp_path / "single")


@pytest.mark.parametrize("batch_size", [2, 4, None])
def test_a_clip_does_not_depend_on_clips_beside_it(single_hashes, tiny, tmp_path, batch_size):
    run_rows(tmp_path / "out", make_rows(), tiny, batch_size=batch_size)
    assert len(single_hashes) == len(set(single_hashes.values())) == 9
    assert file_hashes(tmp_path / "out") == single_hashes


def test_clips_do_not_depend_on_order_shards_workers_or_further_rows(single_hashes, tiny, tmp_path):
    run_rows(tmp_path / "reversed", make_rows()[::-1], tiny, batch_size=3)
    assert file_hashes(tmp_path / "reversed") == single_hashes
    for number in (1, 2, 3):
        run_rows(tmp_path / "shards", make_rows(), tiny, shard=ManifestShard(number, 3))
    assert file_hashes(tmp_path / "shards") == single_hashes
    journals = [read_journal(tmp_path / "shards", f"results-{n}-of-3.jsonl") for n in (1, 2, 3)]
    assert sorted(r["id"] for one in journals for r in one) == sorted(r["id"] for r in make_rows())
    assert all(journals)
    run_rows(tmp_path / "workers", make_rows(), tiny, workers=2, batch_size=3)
    assert file_hashes(tmp_path / "workers") == single_hashes
    run_rows(tmp_path / "more", make_rows(12), tiny)
    assert single_hashes.items() < file_hashes(tmp_path / "more").items()


def test_another_seed_or_id_gives_another_clip(single_hashes, tiny, tmp_path):
    run_rows(tmp_path / "seed", make_rows(seed=1), tiny)
    run_rows(tmp_path / "id", [{**row, "id": f"{row['id']}!"} for row in make_rows()], tiny)
    assert not set(single_hashes.values()) & {*file_hashes(tmp_path / "seed").values()}
    assert not set(single_hashes.values()) & {*file_hashes(tmp_path / "id").values()}


def test_a_stopped_batch_resumes(single_hashes, tiny, tmp_path):
    stop = threading.Event()
    progress = CallbackBatchProgress(on_finish=lambda task, record: stop.set())
    first = run_rows(
        tmp_path / "out", make_rows(), tiny, batch_size=2, progress=progress, stop=stop
    )
    assert 1 <= first.done < 9
    skipped = []
    progress = CallbackBatchProgress(on_skip=lambda task: skipped.append(task.identity))
    second = run_rows(tmp_path / "out", make_rows(), tiny, progress=progress)
    assert (second.already_done, second.done) == (first.done, 9 - first.done)
    assert len(skipped) == second.already_done
    assert file_hashes(tmp_path / "out") == single_hashes
    assert len(read_journal(tmp_path / "out")) == 9


def test_only_changed_or_removed_clips_are_generated_again(single_hashes, tiny, tmp_path):
    run_rows(tmp_path / "out", make_rows(), tiny)
    (tmp_path / "out" / read_journal(tmp_path / "out")[0]["file"]).unlink()
    (tmp_path / "out" / read_journal(tmp_path / "out")[1]["file"]).write_bytes(b"other")
    rows = make_rows()
    rows[0]["temperature"] = 0.7
    result = run_rows(tmp_path / "out", rows, tiny)
    assert result.done in (2, 3)  # the row with another temperature may be one of the two files
    hashes = file_hashes(tmp_path / "out")
    assert {name for name in single_hashes if hashes[name] != single_hashes[name]} == {
        record["file"] for record in read_journal(tmp_path / "out") if record["id"] == "clip 0"
    }
    assert run_rows(tmp_path / "out", rows, tiny).already_done == 9
    assert run_rows(tmp_path / "out", rows, tiny, overwrite=True).done == 9


def test_a_record_describes_the_clip(tiny, tmp_path):
    row = {"id": 0, "labels": {"digit": "a"}, "seconds": 0.3, "mood": "é", "seed": 5}
    result = run_rows(tmp_path / "out", [row], tiny, score=True)
    (record,) = read_journal(tmp_path / "out")
    info = soundfile.info(tmp_path / "out" / "0_5.wav")
    assert info.frames == 0.3 * RATE == record["seconds"] * RATE
    assert result.seconds == record["seconds"]
    assert (record["id"], record["status"], record["file"]) == ("0", "done", "0_5.wav")
    assert (record["seed"], record["error"], record["line"]) == (5, None, 1)
    assert record["extra"] == {"mood": "é"}
    assert record["sha256"] == file_hashes(tmp_path / "out")["0_5.wav"]
    assert 0 < record["bits_per_sample"] < 20
    assert record["rtf"] > 0


def test_the_keys_of_records_are_those_that_programs_read(tiny, tmp_path):
    run_rows(tmp_path / "out", [*make_rows(1), {"digit": "?"}], tiny, skip_invalid=True)
    invalid, done = sorted(read_journal(tmp_path / "out"), key=lambda record: record["status"])[
        ::-1
    ]
    assert list(done) == [
        "id", "status", "file", "seconds", "rtf", "seed", "labels", "bytes", "sha256",
        "audio_sha256", "params_hash", "bits_per_sample", "warnings", "error", "line", "extra",
        "below_target", "precision",
    ]  # fmt: skip
    assert list(invalid) == ["id", "status", "line", "error"]


def test_a_skipped_invalid_row_is_recorded_once(tiny, tmp_path):
    rows = [*make_rows(3), {"id": "bad", "digit": "?"}]
    for done, already_done in ((3, 0), (0, 3)):
        result = run_rows(tmp_path / "out", rows, tiny, skip_invalid=True)
        assert (result.done, result.already_done, result.failed) == (done, already_done, 1)
    failed = [r for r in read_journal(tmp_path / "out") if r["status"] == "failed"]
    assert [r["line"] for r in failed] == [4]


def test_the_record_of_a_corrected_row_replaces_that_of_the_invalid_one(tiny, tmp_path):
    rows = [{"id": 7, "digit": "?"}, {"digit": "?"}]
    run_rows(tmp_path / "out", rows, tiny, skip_invalid=True)
    run_rows(tmp_path / "out", [{**row, "digit": "a"} for row in rows], tiny)
    found = [(record["id"], record["status"]) for record in read_journal(tmp_path / "out")]
    assert found[:2] == [("7", "failed"), ("000002", "failed")]
    assert dict(found) == {"7": "done", "000002": "done"}


def test_an_invalid_row_has_no_id_that_is_invalid_or_of_another_row(tiny, tmp_path):
    rows = [{"id": "x", "digit": "?"}, {"id": "x", "digit": "a"}, {"id": [1], "digit": "a"}]
    for _ in range(2):
        run_rows(tmp_path / "out", rows, tiny, skip_invalid=True)
    found = [(record["id"], record["line"]) for record in read_journal(tmp_path / "out")]
    assert found == [("x", 1), (None, 2), (None, 3)]


@pytest.mark.parametrize("number", [1, 2])
def test_an_invalid_row_is_in_the_same_shard_after_its_correction(tiny, tmp_path, number):
    shard = ManifestShard(number, 2)
    rows = [{"id": f"clip {n}", "digit": "?"} for n in range(8)]
    lines = []
    for digit in "?a":
        rows = [{**row, "digit": digit} for row in rows]
        run_rows(tmp_path / digit, rows, tiny, skip_invalid=True, shard=shard)
        journal = tmp_path / digit / f"results-{number}-of-2.jsonl"
        lines.append({json.loads(line)["id"] for line in journal.read_text().splitlines()})
    assert lines[0] == lines[1] != set()


def test_a_link_in_the_output_folder_fails_one_clip_and_is_not_followed(tiny, tmp_path):
    (tmp_path / "outside").mkdir()
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "sub").symlink_to(tmp_path / "outside")
    rows = make_rows(3)
    rows[1]["output"] = "sub/deeper/x"
    result = run_rows(tmp_path / "out", rows, tiny)
    assert (result.done, result.failed) == (2, 1)
    assert list((tmp_path / "outside").iterdir()) == []
    (failed,) = [r for r in read_journal(tmp_path / "out") if r["status"] == "failed"]
    assert "link" in failed["error"]
    (tmp_path / "out" / "sub").unlink()
    assert run_rows(tmp_path / "out", rows, tiny).done == 1


def test_a_prompt_damaged_after_the_check_fails_only_its_clip(tiny, tmp_path):
    prompt = tmp_path / "tone.wav"
    soundfile.write(prompt, sine(0.1), RATE)
    rows = make_rows(3)
    rows[2] |= {"prompt": "tone.wav", "seconds": 0.001}  # the shortest is generated last
    is_damaged = threading.Event()

    def damage(seconds):
        if not is_damaged.is_set():
            soundfile.write(prompt, 0 * sine(0.1), RATE)
            is_damaged.set()

    progress = CallbackBatchProgress(on_advance=damage)
    result = run_rows(tmp_path / "out", rows, tiny, batch_size=1, progress=progress)
    assert (result.done, result.failed) == (2, 1)
    soundfile.write(prompt, sine(0.1), RATE)
    assert run_rows(tmp_path / "out", rows, tiny).done == 1


def test_a_clip_that_kills_its_workers_is_recorded_as_failed(tiny, tmp_path, monkeypatch):
    def make_task_with_killer(row, settings):
        task = make_task(row, settings)
        if task.identity == "clip 2":
            task.conditions["killer"] = ProcessKiller()
        return task

    rows = make_rows(5)
    with monkeypatch.context() as patch:
        patch.setattr(manifest_check, "make_task", make_task_with_killer)
        result = run_rows(tmp_path / "out", rows, tiny, workers=2, batch_size=2, max_retries=1)
    assert (result.done, result.failed) == (4, 1)
    (failed,) = [r for r in read_journal(tmp_path / "out") if r["status"] == "failed"]
    assert failed["id"] == "clip 2"
    assert "died 2 times" in failed["error"]
    result = run_rows(tmp_path / "out", rows, tiny)
    assert (result.done, result.already_done) == (1, 4)


def test_the_file_begins_with_the_prompt(tiny, tmp_path):
    soundfile.write(tmp_path / "tone.wav", sine(0.1), RATE)
    run_rows(tmp_path / "out", [{"digit": "a", "prompt": "tone.wav", "seconds": 0.05}], tiny)
    info = soundfile.info(tmp_path / "out" / "000001_0.wav")
    assert info.frames == 0.15 * RATE


def test_one_batch_at_a_time_writes_to_a_folder(tiny, tmp_path):
    with lock_folder(tmp_path / "out"):
        with pytest.raises(FolderInUse):
            check_output_folder(tmp_path / "out", tmp_path / "m.jsonl")
        for shard in (ManifestShard(1, 1), ManifestShard(1, 2)):
            with pytest.raises(FolderInUse):
                run_rows(tmp_path / "out", make_rows(2), tiny, shard=shard)
    assert file_hashes(tmp_path / "out") == {}
    with (
        lock_output_folder(tmp_path / "out", ManifestShard(1, 2)),
        lock_output_folder(tmp_path / "out", ManifestShard(2, 2)),
        pytest.raises(FolderInUse),
        lock_output_folder(tmp_path / "out"),
    ):
        pass
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == []


def test_only_partial_files_of_batches_are_removed_and_not_beside_another_shard(tmp_path):
    partial = [".partial-0123456789ab.wav", "sub/.partial-0123456789ab.flac"]
    others = [".partial-x.wav", "partial-0123456789ab.wav", ".partial-0123456789ab.pt", "a.wav"]
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "out" / "sub").mkdir(parents=True)
    (tmp_path / "out" / "link").symlink_to(tmp_path / "elsewhere")
    for name in (*partial, *others, "../elsewhere/.partial-0123456789ab.wav"):
        (tmp_path / "out" / name).touch()
    with lock_output_folder(tmp_path / "out", ManifestShard(1, 2)):
        (tmp_path / "out" / partial[0]).touch()
        with lock_output_folder(tmp_path / "out", ManifestShard(2, 2)):
            assert (tmp_path / "out" / partial[0]).exists()
    remove_partial_files(tmp_path / "out")
    left = [path.name for path in (tmp_path / "out").rglob("*") if path.is_file()]
    assert sorted(left) == sorted(others)
    assert (tmp_path / "elsewhere" / ".partial-0123456789ab.wav").exists()


def test_a_folder_that_is_not_writable_is_reported_before_anything_is_loaded(tmp_path):
    (tmp_path / "file").touch()
    for folder in (tmp_path / "file", tmp_path / "file" / "sub"):
        with pytest.raises(FolderError, match="cannot be written"):
            check_output_folder(folder, tmp_path / "m.jsonl")


def test_the_journal_cannot_be_the_manifest(tiny, tmp_path):
    """Otherwise the batch would endlessly append lines to the file that it reads."""
    run_rows(tmp_path / "out", make_rows(2), tiny)
    with pytest.raises(ConditionError, match="copy it"):
        check_output_folder(tmp_path / "out", tmp_path / "out" / "results.jsonl")


def test_results_of_one_batch_are_a_manifest_of_the_next(tiny, tmp_path):
    run_rows(tmp_path / "out", make_rows(3, temperature=1.0), tiny)
    rows = [{**row, "output": row["file"]} for row in read_journal(tmp_path / "out")]
    run_rows(tmp_path / "again", rows, tiny)
    assert file_hashes(tmp_path / "again") == file_hashes(tmp_path / "out")


@pytest.mark.parametrize("file_format", ["flac", "ogg", "mp3"])
def test_other_file_formats(tiny, tmp_path, file_format):
    settings = BatchSettings(tiny, file_format=file_format, normalize="peak")
    rows = [{"id": "x", "digit": "a", "seconds": 0.3}]
    run_rows(tmp_path / "one", rows, tiny, settings=settings)
    run_rows(tmp_path / "two", rows, tiny, settings=settings)
    name = f"x_0.{file_format}"
    assert [*file_hashes(tmp_path / "one")] == [name]
    # an ogg file contains a random serial number
    one, two = (soundfile.read(tmp_path / folder / name)[0] for folder in ("one", "two"))
    assert (one == two).all()
    (first,), (second,) = read_journal(tmp_path / "one"), read_journal(tmp_path / "two")
    assert first["audio_sha256"] == second["audio_sha256"]
    assert run_rows(tmp_path / "one", rows, tiny, settings=settings).already_done == 1


def test_a_file_that_no_batch_wrote_is_kept_beside_a_journal(tiny, tmp_path):
    """A file that a killed batch left is the clip itself, and is accepted."""
    rows = make_rows(3)
    run_rows(tmp_path / "all", rows, tiny)
    out = tmp_path / "out"
    run_rows(out, rows[:1], tiny)
    names = sorted(file_hashes(tmp_path / "all"))
    (out / names[1]).write_bytes(b"my own")
    (out / names[2]).write_bytes((tmp_path / "all" / names[2]).read_bytes())
    result = run_rows(out, rows, tiny)
    assert (result.done, result.already_done, result.failed) == (1, 1, 1)
    assert (out / names[1]).read_bytes() == b"my own"
    (failed,) = [record for record in read_journal(out) if record["status"] == "failed"]
    assert "--overwrite" in failed["error"]
    run_rows(out, rows, tiny, overwrite=True)
    assert file_hashes(out) == file_hashes(tmp_path / "all")
