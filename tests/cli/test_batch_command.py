"""`wavenet batch`: words, exit codes, and what is left when it is stopped."""

import json
import os
import resource
import signal
import subprocess
import sys
import time

import pytest

from tests.batch.conftest import hashes, records, rows_of, write
from tests.cli.conftest import assert_refused
from tests.conftest import tiny_config
from wavenet.cli import progress_bars
from wavenet.cli.progress_bars import BatchProgress

CALL = "from wavenet.cli.main import main; main()"


@pytest.fixture
def tiny(make_checkpoint):
    return make_checkpoint(tiny_config(conditions="label")).folder


@pytest.fixture
def batch(wavenet, tiny, tmp_path):
    """Run a batch over rows into the folder out."""

    def call(rows, *options):
        manifest = write(tmp_path / "m.jsonl", rows) if isinstance(rows, list) else rows
        common = ("--out-dir", tmp_path / "out", "--checkpoint", tiny, "--engine", "cpu")
        return wavenet("batch", manifest, *common, *options)

    return call


def test_a_batch_is_made_and_told_and_done_when_asked_again(batch, tmp_path):
    code, out, err = batch(rows_of(4))
    assert (code, out) == (0, f"{tmp_path / 'out' / 'results.jsonl'}\n")
    assert "4 clips, " in err
    assert "4 clips made (" in err
    code, out, err = batch(rows_of(4), "--json")
    found = json.loads(out)
    assert (code, found["done"], found["before"], found["left"]) == (0, 0, 4, 0)
    assert "0 clips made, 4 done before" in err
    assert json.loads(batch(rows_of(4), "--json", "--overwrite")[1])["done"] == 4


def test_a_table_and_standard_input_give_the_same(batch, tmp_path, monkeypatch):
    batch(rows_of(2, temperature=1.0))
    made = hashes(tmp_path / "out")
    table = tmp_path / "m.csv"
    heads = ["id", "digit", "seconds"]
    lines = [",".join(str(row[head]) for head in heads) for row in rows_of(2)]
    table.write_text("\n".join([",".join(heads), *lines]))
    assert json.loads(batch(table, "--json", "--overwrite")[1])["done"] == 2
    assert hashes(tmp_path / "out") == made
    with table.open() as file:
        monkeypatch.setattr(sys, "stdin", file)
        assert json.loads(batch("-", "--json")[1])["before"] == 2
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    with subprocess.Popen(["cp", table, pipe]):
        assert json.loads(batch(pipe, "--json")[1])["before"] == 2


def test_all_faults_are_listed_and_nothing_is_made(batch, tmp_path):
    rows = [*rows_of(3), {"id": "clip 0", "digit": "a"}, {"id": "x", "digit": "?"}]
    for options in ((), ("--dry-run",)):
        code, out, err = batch(rows, *options)
        assert (code, out) == (2, "")
        assert "line 4: has the id 'clip 0', as line 1 has" in err
        assert "line 5: digit cannot be '?'" in err
        assert "2 of 5 rows" in err
    assert not (tmp_path / "out").exists()


def test_thousands_of_faults_are_counted(batch):
    code, _, err = batch([{"id": n, "digit": "?"} for n in range(60)])
    assert code == 2
    assert err.count("cannot be '?'") == 50
    assert "and 10 more" in err


def test_bad_rows_can_be_passed_over(batch, tmp_path):
    rows = [*rows_of(2), {"id": "x", "digit": "?"}]
    for made in (2, 0):
        code, out, _ = batch(rows, "--skip-bad", "--json")
        found = json.loads(out)
        assert (code, found["done"], found["failed"], found["left"]) == (3, made, 1, 0)
    assert len(records(tmp_path / "out")) == 3


def test_a_dry_run_writes_nothing_and_a_limit_limits(batch, tmp_path):
    code, out, err = batch(rows_of(5), "--dry-run", "--limit", 2)
    assert (code, out) == (0, "")
    assert "2 clips, " in err
    assert not (tmp_path / "out").exists()
    assert json.loads(batch(rows_of(5), "--limit", 2, "--json")[1])["done"] == 2
    assert json.loads(batch(rows_of(5), "--json")[1])["before"] == 2


def test_fail_fast_ends_at_the_first_failure(batch, tmp_path):
    (tmp_path / "out" / "clip-0-x_0.wav").mkdir(parents=True)
    rows = rows_of(9, temperature=1.0)
    rows[5]["output"] = "clip-0-x_0"  # one of the longest, which come first
    rows[5]["seconds"] = 1.0
    (tmp_path / "out" / "results.jsonl").touch()
    code, out, err = batch(rows, "--fail-fast", "--batch-size", 1, "--json")
    found = json.loads(out)
    assert (code, found["failed"]) == (3, 1)
    assert found["done"] < 8
    assert found["left"] == 8 - found["done"]
    assert "clip 5: " in err


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (("--shard", "0/4"), "--shard takes i/n"),
        (("--shard", "5/4"), "--shard takes i/n"),
        (("--batch-size", "0"), "--batch-size takes auto"),
        (("--format", "aac"), "--format takes wav"),
        (("--format", "flac", "--subtype", "FLOAT"), "for --format wav"),
        (("--normalize", "rms"), "--normalize takes none"),
        (("--temperature", "0"), "temperature"),
    ],
)
def test_options_that_cannot_be(batch, options, words):
    assert_refused(batch(rows_of(1), *options), words)


def test_what_is_not_there_is_one_sentence(batch, tmp_path):
    assert_refused(batch(tmp_path / "none.csv"), "none.csv", code=1)
    assert_refused(batch(tmp_path), "cannot be read", code=1)
    assert_refused(batch(rows_of(1), "--checkpoint", tmp_path / "gone"), "gone", code=1)
    (tmp_path / "file").touch()
    assert_refused(batch(rows_of(1), "--out-dir", tmp_path / "file"), "cannot be written", code=1)
    code, _, err = batch(rows_of(1), "--out-dir", "/proc/clips")
    assert code == 1
    assert "wavenet: the folder /proc/clips cannot be" in err
    assert not (tmp_path / "out").exists()


def test_the_journal_is_refused_as_a_manifest(batch, tmp_path):
    batch(rows_of(1))
    assert_refused(batch(tmp_path / "out" / "results.jsonl"), "copy it")


def test_rows_may_all_name_a_checkpoint_of_their_own(wavenet, tiny, tmp_path):
    manifest = write(tmp_path / "m.jsonl", rows_of(1, checkpoint=str(tiny)))
    code, out, _ = wavenet(
        "batch", manifest, "--out-dir", tmp_path / "out", "--checkpoint", tmp_path / "none",
        "--engine", "cpu", "--json",
    )  # fmt: skip
    assert (code, json.loads(out)["done"]) == (0, 1)


def test_the_command_keeps_the_journal_beside_the_manifest(wavenet, tiny, tmp_path):
    manifest = write(tmp_path / "m.jsonl", rows_of(1))
    there = f"local://{tmp_path}/there"
    common = ("--checkpoint", tiny, "--engine", "cpu", "--out-dir", there)
    code, out, _ = wavenet("batch", manifest, *common, "--json")
    found = json.loads(out)
    assert (code, found["done"]) == (0, 1)
    assert found["results"].startswith(f"{tmp_path}/m-")
    assert json.loads(wavenet("batch", manifest, *common, "--json")[1])["before"] == 1
    code, _, err = wavenet("batch", manifest, *common, "--journal-dir", tmp_path / "new")
    assert code == 2
    assert "exists, and no results.jsonl" in err
    assert_refused(wavenet("batch", "-", *common), "add --journal-dir")
    assert_refused(wavenet("batch", manifest, *common[:-1], "nope://x"), "is no place")
    assert_refused(
        wavenet("batch", manifest, *common[:-1], tmp_path / "o", "--journal-dir", "x"), "is for"
    )
    plain = wavenet("batch", manifest, *common[:-1], f"file://{tmp_path}/plain")
    assert plain[1] == f"{tmp_path}/plain/results.jsonl\n"


def test_clusters_are_asked_for_in_full(wavenet, batch, monkeypatch):
    assert_refused(batch(rows_of(1), "--cluster-address", "auto"), "add that")
    assert_refused(batch(rows_of(1), "--engine-cluster", "slurm"), "takes ray")
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    assert_refused(
        batch(rows_of(1), "--engine-cluster", "ray"), 'pip install "wavenet-studio[ray]"'
    )


def begin(tmp_path, tiny, rows, *options, **how):
    manifest = write(tmp_path / "m.jsonl", rows)
    command = [sys.executable, "-c", CALL, "batch", manifest, "--out-dir", tmp_path / "out"]
    command += ["--checkpoint", tiny, "--engine", "cpu", *options]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True} | how
    return subprocess.Popen(list(map(str, command)), start_new_session=True, **pipes)


def wait_for_results(process, tmp_path):
    deadline = time.monotonic() + 120
    journal = tmp_path / "out" / "results.jsonl"
    while not (journal.exists() and journal.stat().st_size):
        assert process.poll() is None and time.monotonic() < deadline, process.communicate()
        time.sleep(0.02)


@pytest.mark.parametrize(("workers", "times"), [(1, 1), (1, 2), (2, 1)])
def test_ctrl_c_ends_in_a_state_from_which_the_same_command_goes_on(
    batch, tiny, tmp_path, workers, times
):
    rows = [{**row, "seconds": 0.2} for row in rows_of(400, temperature=1.0)]
    process = begin(tmp_path, tiny, rows, "--workers", workers, "--batch-size", 2)
    try:
        wait_for_results(process, tmp_path)
        os.killpg(process.pid, signal.SIGINT)  # as a terminal does
        if times == 2:
            time.sleep(0.05)
            os.killpg(process.pid, signal.SIGINT)
        _, err = process.communicate(timeout=60)
    finally:
        process.kill()
    assert process.returncode == 130, err
    assert "finishing the clips under way" in err
    assert "the same command goes on" in err
    assert "Traceback" not in err
    told = records(tmp_path / "out")
    assert 0 < len(told) < 400
    assert all(record["status"] == "done" for record in told)
    files = hashes(tmp_path / "out")
    assert all(files[record["file"]] == record["sha256"] for record in told)
    if times == 1:
        assert len(files) == len(told)
    found = json.loads(batch(rows[:40], "--json")[1])
    assert found["done"] + found["before"] == 40


def test_closed_outputs_leave_no_traceback(tiny, tmp_path):
    reading, writing = os.pipe()
    os.close(reading)
    process = begin(tmp_path, tiny, rows_of(3), stdout=writing)
    os.close(writing)
    _, err = process.communicate(timeout=120)
    assert "Traceback" not in err
    assert len(records(tmp_path / "out")) == 3


def test_a_full_disk_ends_in_one_sentence(batch, tmp_path):
    manifest = write(tmp_path / "long.jsonl", rows_of(3))
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (300, hard))
    try:
        code, out, err = batch(manifest, "--batch-size", 1)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert (code, out) == (3, "")
    assert "the same command goes on" in err.splitlines()[-2]
    assert err.splitlines()[-1].startswith("wavenet: ")
    assert "writ" in err.splitlines()[-1]
    hashes(tmp_path / "out")  # sees that nothing is half-written
    assert batch(manifest)[0] == 0


def test_progress_is_lines_where_there_is_no_terminal(capsys, monkeypatch):
    monkeypatch.setattr(progress_bars, "LINE_SECONDS", -1)
    with BatchProgress(3, 4.0, quiet=False) as bar:
        bar.skip_clip(1.0)
        bar.finish_clip("a", None)
        bar.add_audio(1.5)
        bar.finish_clip("b [bold]", "no")
    lines = capsys.readouterr().err.splitlines()
    assert lines[0].startswith("2 of 3 clips, ")
    assert lines[1] == "b [bold]: no"
    with BatchProgress(3, 4.0, quiet=True) as bar:
        bar.add_audio(1.5)
    assert capsys.readouterr().err == ""


def test_ctrl_c_on_the_way_out_changes_nothing(tiny, tmp_path):
    rows = [{**row, "seconds": 0.2} for row in rows_of(400, temperature=1.0)]
    process = begin(tmp_path, tiny, rows, "--batch-size", 2)
    try:
        wait_for_results(process, tmp_path)
        process.send_signal(signal.SIGINT)
        told = next(line for line in process.stderr if "left: the same command" in line)
        time.sleep(0.01)
        process.send_signal(signal.SIGINT)
        _, rest = process.communicate(timeout=60)
    finally:
        process.kill()
    assert process.returncode == 130, told + rest
    assert "Traceback" not in rest
