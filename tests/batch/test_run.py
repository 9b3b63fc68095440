"""Whole batches: the same bits however they are made, and from wherever they were left."""

import threading

import pytest
import soundfile

from tests.batch.conftest import hashes, make, records, rows_of
from tests.conftest import RATE, sine
from wavenet.batch.output_folder import (
    check_output_folder,
    lock_output_folder,
    remove_partial_files,
)
from wavenet.batch.tasks import BatchSettings
from wavenet.errors import ConditionError, FolderError, FolderInUse
from wavenet.folder_lock import lock_folder


@pytest.fixture
def alone(tiny, tmp_path):
    """The clips made one at a time."""
    make(tmp_path / "alone", rows_of(), tiny, together=1)
    return hashes(tmp_path / "alone")


@pytest.mark.parametrize("together", [2, 4, None])
def test_a_clip_is_the_same_whatever_is_made_beside_it(alone, tiny, tmp_path, together):
    make(tmp_path / "out", rows_of(), tiny, together=together)
    assert len(alone) == len(set(alone.values())) == 9
    assert hashes(tmp_path / "out") == alone


def test_order_shards_workers_and_further_rows_change_nothing(alone, tiny, tmp_path):
    make(tmp_path / "back", rows_of()[::-1], tiny, together=3)
    assert hashes(tmp_path / "back") == alone
    for part in (1, 2, 3):
        make(tmp_path / "parts", rows_of(), tiny, shard=(part, 3))
    assert hashes(tmp_path / "parts") == alone
    kept = [records(tmp_path / "parts", f"results-{part}-of-3.jsonl") for part in (1, 2, 3)]
    assert sorted(r["id"] for one in kept for r in one) == sorted(r["id"] for r in rows_of())
    assert all(kept)
    make(tmp_path / "crew", rows_of(), tiny, workers=2, together=3)
    assert hashes(tmp_path / "crew") == alone
    make(tmp_path / "more", rows_of(12), tiny)
    assert alone.items() < hashes(tmp_path / "more").items()


def test_another_seed_or_id_gives_another_clip(alone, tiny, tmp_path):
    make(tmp_path / "seed", rows_of(seed=1), tiny)
    make(tmp_path / "id", [{**row, "id": f"{row['id']}!"} for row in rows_of()], tiny)
    assert not set(alone.values()) & {*hashes(tmp_path / "seed").values()}
    assert not set(alone.values()) & {*hashes(tmp_path / "id").values()}


def test_a_batch_that_was_stopped_goes_on_where_it_was(alone, tiny, tmp_path):
    stopping = threading.Event()

    def stop(task, record):
        if record is not None:
            stopping.set()

    tally = make(tmp_path / "out", rows_of(), tiny, together=2, show=stop, stopping=stopping)
    assert 1 <= tally.done < 9
    before = []
    again = make(
        tmp_path / "out", rows_of(), tiny,
        show=lambda task, record: before.append(task.identity) if record is None else None,
    )  # fmt: skip
    assert (again.before, again.done) == (tally.done, 9 - tally.done)
    assert len(before) == again.before
    assert hashes(tmp_path / "out") == alone
    assert len(records(tmp_path / "out")) == 9


def test_what_was_changed_or_removed_is_made_again_and_nothing_else(alone, tiny, tmp_path):
    make(tmp_path / "out", rows_of(), tiny)
    (tmp_path / "out" / records(tmp_path / "out")[0]["file"]).unlink()
    (tmp_path / "out" / records(tmp_path / "out")[1]["file"]).write_bytes(b"other")
    rows = rows_of()
    rows[0]["temperature"] = 0.7
    tally = make(tmp_path / "out", rows, tiny)
    assert tally.done in (2, 3)  # the one with another temperature may be one of the two
    made = hashes(tmp_path / "out")
    assert {name for name in alone if made[name] != alone[name]} == {
        record["file"] for record in records(tmp_path / "out") if record["id"] == "clip 0"
    }
    assert make(tmp_path / "out", rows, tiny).before == 9
    assert make(tmp_path / "out", rows, tiny, overwrite=True).done == 9


def test_a_record_says_what_was_made(tiny, tmp_path):
    row = {"id": 0, "labels": {"digit": "a"}, "seconds": 0.3, "text": "é", "seed": 5}
    tally = make(tmp_path / "out", [row], tiny, score=True)
    (record,) = records(tmp_path / "out")
    info = soundfile.info(tmp_path / "out" / "0_5.wav")
    assert info.frames == 0.3 * RATE == record["seconds"] * RATE
    assert tally.seconds == record["seconds"]
    assert (record["id"], record["status"], record["file"]) == ("0", "done", "0_5.wav")
    assert (record["seed"], record["error"], record["line"]) == (5, None, 1)
    assert record["extra"] == {"text": "é"}
    assert record["sha256"] == hashes(tmp_path / "out")["0_5.wav"]
    assert 0 < record["bits_per_sample"] < 20
    assert record["rtf"] > 0


def test_bad_rows_that_are_passed_over_are_told_once(tiny, tmp_path):
    rows = [*rows_of(3), {"id": "bad", "digit": "?"}]
    for done, before in ((3, 0), (0, 3)):
        tally = make(tmp_path / "out", rows, tiny, skip_bad=True)
        assert (tally.done, tally.before, tally.failed) == (done, before, 1)
    failed = [r for r in records(tmp_path / "out") if r["status"] == "failed"]
    assert [r["line"] for r in failed] == [4]


def test_a_link_in_the_folder_fails_one_clip_and_nothing_leaves_it(tiny, tmp_path):
    (tmp_path / "outside").mkdir()
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "sub").symlink_to(tmp_path / "outside")
    rows = rows_of(3)
    rows[1]["output"] = "sub/deeper/x"
    tally = make(tmp_path / "out", rows, tiny)
    assert (tally.done, tally.failed) == (2, 1)
    assert list((tmp_path / "outside").iterdir()) == []
    (failed,) = [r for r in records(tmp_path / "out") if r["status"] == "failed"]
    assert "link" in failed["error"]
    (tmp_path / "out" / "sub").unlink()
    assert make(tmp_path / "out", rows, tiny).done == 1


def test_a_prompt_damaged_after_the_check_fails_its_clip_alone(tiny, tmp_path):
    prompt = tmp_path / "tone.wav"
    soundfile.write(prompt, sine(0.1), RATE)
    rows = rows_of(3)
    rows[2] |= {"prompt": "tone.wav", "seconds": 0.001}  # the shortest is made last
    hurt = threading.Event()

    def hurt_it(seconds):
        if not hurt.is_set():
            soundfile.write(prompt, 0 * sine(0.1), RATE)
            hurt.set()

    tally = make(tmp_path / "out", rows, tiny, together=1, report=hurt_it)
    assert (tally.done, tally.failed) == (2, 1)
    soundfile.write(prompt, sine(0.1), RATE)
    assert make(tmp_path / "out", rows, tiny).done == 1


def test_the_prompt_is_part_of_the_file(tiny, tmp_path):
    soundfile.write(tmp_path / "tone.wav", sine(0.1), RATE)
    make(tmp_path / "out", [{"digit": "a", "prompt": "tone.wav", "seconds": 0.05}], tiny)
    info = soundfile.info(tmp_path / "out" / "000001_0.wav")
    assert info.frames == 0.15 * RATE


def test_one_batch_at_a_time_writes_into_a_folder(tiny, tmp_path):
    with lock_folder(tmp_path / "out"):
        with pytest.raises(FolderInUse):
            check_output_folder(tmp_path / "out", tmp_path / "m.jsonl")
        for shard in ((1, 1), (1, 2)):
            with pytest.raises(FolderInUse):
                make(tmp_path / "out", rows_of(2), tiny, shard=shard)
    assert hashes(tmp_path / "out") == {}
    with (
        lock_output_folder(tmp_path / "out", (1, 2)),
        lock_output_folder(tmp_path / "out", (2, 2)),
        pytest.raises(FolderInUse),
        lock_output_folder(tmp_path / "out"),
    ):
        pass
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == []


def test_only_our_own_partial_files_are_swept_and_not_beside_a_shard(tmp_path):
    ours = [".partial-0123456789ab.wav", "sub/.partial-0123456789ab.flac"]
    others = [".partial-x.wav", "partial-0123456789ab.wav", ".partial-0123456789ab.pt", "a.wav"]
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "out" / "sub").mkdir(parents=True)
    (tmp_path / "out" / "link").symlink_to(tmp_path / "elsewhere")
    for name in (*ours, *others, "../elsewhere/.partial-0123456789ab.wav"):
        (tmp_path / "out" / name).touch()
    with lock_output_folder(tmp_path / "out", (1, 2)):
        (tmp_path / "out" / ours[0]).touch()
        with lock_output_folder(tmp_path / "out", (2, 2)):
            assert (tmp_path / "out" / ours[0]).exists()
    remove_partial_files(tmp_path / "out")
    left = [path.name for path in (tmp_path / "out").rglob("*") if path.is_file()]
    assert sorted(left) == sorted(others)
    assert (tmp_path / "elsewhere" / ".partial-0123456789ab.wav").exists()


def test_a_folder_that_cannot_be_written_is_told_before_anything_is_loaded(tmp_path):
    (tmp_path / "file").touch()
    for folder in (tmp_path / "file", tmp_path / "file" / "sub"):
        with pytest.raises(FolderError, match="cannot be written"):
            check_output_folder(folder, tmp_path / "m.jsonl")


def test_the_journal_is_no_manifest(tiny, tmp_path):
    """Its lines would have been read while lines were added, without an end."""
    make(tmp_path / "out", rows_of(2), tiny)
    with pytest.raises(ConditionError, match="copy it"):
        check_output_folder(tmp_path / "out", tmp_path / "out" / "results.jsonl")


def test_results_of_one_batch_are_a_manifest_of_the_next(tiny, tmp_path):
    make(tmp_path / "out", rows_of(3, temperature=1.0), tiny)
    rows = [{**row, "output": row["file"]} for row in records(tmp_path / "out")]
    make(tmp_path / "again", rows, tiny)
    assert hashes(tmp_path / "again") == hashes(tmp_path / "out")


@pytest.mark.parametrize("kind", ["flac", "ogg", "mp3"])
def test_other_formats(tiny, tmp_path, kind):
    settings = BatchSettings(tiny, format=kind, normalize="peak")
    rows = [{"id": "x", "digit": "a", "seconds": 0.3}]
    make(tmp_path / "one", rows, tiny, settings=settings)
    make(tmp_path / "two", rows, tiny, settings=settings)
    assert [*hashes(tmp_path / "one")] == [f"x_0.{kind}"]
    # an ogg file has a number of its own that is drawn at random
    one, two = (soundfile.read(tmp_path / name / f"x_0.{kind}")[0] for name in ("one", "two"))
    assert (one == two).all()
    (first,), (second,) = records(tmp_path / "one"), records(tmp_path / "two")
    assert first["audio_sha256"] == second["audio_sha256"]
    assert make(tmp_path / "one", rows, tiny, settings=settings).before == 1
