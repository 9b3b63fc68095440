"""`wavenet batch`: output, exit codes, and the files that remain after a stop."""

import json
import os
import resource
import signal
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace

import pytest
import soundfile

from tests.batch.conftest import file_hashes, make_rows, read_journal, write_manifest
from tests.cli.conftest import assert_refused
from tests.conftest import RATE, sine, tiny_config
from wavenet.cli import batch_progress
from wavenet.cli.batch_progress import BatchProgressBar
from wavenet.model.conditions import LabelCondition

CALL = "from wavenet.cli.main import main; main()"


@pytest.fixture
def tiny(make_checkpoint):
    return make_checkpoint(tiny_config(conditions="label")).folder


@pytest.fixture
def batch(run_command, tiny, tmp_path):
    """Return a function that runs a batch over rows, or a manifest, into the folder out."""

    def call(rows, *options):
        manifest = write_manifest(tmp_path / "m.jsonl", rows) if isinstance(rows, list) else rows
        common = ("--out-dir", tmp_path / "out", "--checkpoint", tiny, "--engine", "cpu")
        return run_command("batch", manifest, *common, *options)

    return call


def test_a_batch_is_generated_and_skipped_the_second_time(batch, tmp_path):
    code, out, err = batch(make_rows(4))
    assert (code, out) == (0, f"{tmp_path / 'out' / 'results.jsonl'}\n")
    assert "4 clips, " in err
    assert "4 clips generated (" in err
    code, out, err = batch(make_rows(4), "--json")
    counts = json.loads(out)
    assert (code, counts["done"], counts["already_done"], counts["remaining"]) == (0, 0, 4, 0)
    assert "0 clips generated, 4 already done" in err
    assert json.loads(batch(make_rows(4), "--json", "--overwrite")[1])["done"] == 4


def test_one_clip_is_counted_in_the_singular(batch):
    assert "\n1 clip generated (" in batch(make_rows(1))[2]


def test_scores_of_finished_clips_are_not_silently_missing(batch, tmp_path):
    assert batch(make_rows(1))[0] == 0
    journal = (tmp_path / "out" / "results.jsonl").read_text()
    code, out, err = batch(make_rows(1), "--score")
    message = err.splitlines()[-1]
    assert (code, (tmp_path / "out" / "results.jsonl").read_text()) == (2, journal)
    assert message.startswith("wavenet: 1 finished clip has no score")
    assert "--overwrite" in message and "wavenet score" in message
    code, out, err = batch(make_rows(3), "--score", "--json")
    counts = json.loads(out)
    assert (code, counts["done"], counts["already_done"], counts["unscored"]) == (0, 2, 1, 1)
    assert err.splitlines()[-1].startswith("WARNING: 1 finished clip has no score")
    code, out, err = batch(make_rows(3), "--score", "--json", "--overwrite")
    assert (code, json.loads(out)["unscored"]) == (0, 0)
    code, out, err = batch(make_rows(3), "--score", "--json")  # nothing to do, and no score missing
    counts = json.loads(out)
    assert (code, counts["already_done"], counts["unscored"]) == (0, 3, 0)


def test_a_table_stdin_and_a_pipe_give_the_same(batch, tmp_path, monkeypatch):
    batch(make_rows(2, temperature=1.0))
    before = file_hashes(tmp_path / "out")
    table = tmp_path / "m.csv"
    columns = ["id", "digit", "seconds"]
    lines = [",".join(str(row[column]) for column in columns) for row in make_rows(2)]
    table.write_text("\n".join([",".join(columns), *lines]))
    assert json.loads(batch(table, "--json", "--overwrite")[1])["done"] == 2
    assert file_hashes(tmp_path / "out") == before
    with table.open() as file:
        monkeypatch.setattr(sys, "stdin", file)
        assert json.loads(batch("-", "--json")[1])["already_done"] == 2
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    with subprocess.Popen(["cp", table, pipe]):
        assert json.loads(batch(pipe, "--json")[1])["already_done"] == 2


def test_all_invalid_rows_are_listed_and_nothing_is_generated(batch, tmp_path):
    rows = [*make_rows(3), {"id": "clip 0", "digit": "a"}, {"id": "x", "digit": "?"}]
    for options in ((), ("--dry-run",)):
        code, out, err = batch(rows, *options)
        assert (code, out) == (2, "")
        assert "line 4: has the same id as line 1: 'clip 0'" in err
        assert "line 5: digit cannot be '?'" in err
        assert "2 of 5 rows" in err
    assert not (tmp_path / "out").exists()


def test_many_invalid_rows_are_counted(batch):
    code, _, err = batch([{"id": n, "digit": "?"} for n in range(60)])
    assert code == 2
    assert err.count("cannot be '?'") == 50
    assert "and 10 more" in err


def test_invalid_rows_can_be_skipped(batch, tmp_path):
    rows = [*make_rows(2), {"id": "x", "digit": "?"}]
    assert batch(rows, "--skip-invalid", "--dry-run")[0] == 3
    for done in (2, 0):
        code, out, _ = batch(rows, "--skip-invalid", "--json")
        counts = json.loads(out)
        assert (code, counts["done"], counts["failed"]) == (3, done, 1)
        assert counts["remaining"] == 0
    assert len(read_journal(tmp_path / "out")) == 3


def test_a_manifest_without_rows_is_refused(batch, tmp_path):
    (tmp_path / "table.csv").write_text("id,digit\n")
    code, out, err = batch(tmp_path / "table.csv")
    assert (code, out) == (2, "")
    assert "shard" not in err
    assert ".jsonl, .csv or .tsv" in err


def test_a_shard_without_rows_is_no_error(batch, tmp_path):
    """Regression: it exited with 2, so a script over all shards of a short manifest failed."""
    codes, done = [], 0
    for number in (1, 2, 3):
        code, out, err = batch([{"id": "a", "digit": "a"}], "--shard", f"{number}/3", "--json")
        codes.append(code)
        count = json.loads(out)["done"]
        assert ("no rows in this shard" in err) == (count == 0)
        assert len(read_journal(tmp_path / "out", f"results-{number}-of-3.jsonl")) == count
        done += count
    assert (codes, done) == ([0, 0, 0], 1)


def test_a_dry_run_writes_nothing_and_a_limit_applies(batch, tmp_path):
    code, out, err = batch(make_rows(5), "--dry-run", "--limit", 2)
    assert (code, out) == (0, "")
    assert "2 clips, " in err
    document = json.loads(batch(make_rows(5), "--dry-run", "--limit", 2, "--json")[1])
    assert (document["rows"], document["clips"], document["invalid"]) == (2, 2, 0)
    assert not (tmp_path / "out").exists()
    assert json.loads(batch(make_rows(5), "--limit", 2, "--json")[1])["done"] == 2
    assert json.loads(batch(make_rows(5), "--json")[1])["already_done"] == 2


def test_fail_fast_stops_at_the_first_failure(batch, tmp_path):
    (tmp_path / "out" / "clip-0-x_0.wav").mkdir(parents=True)
    rows = make_rows(9, temperature=1.0)
    rows[5]["output"] = "clip-0-x_0"  # among the longest, which come first
    rows[5]["seconds"] = 1.0
    (tmp_path / "out" / "results.jsonl").touch()
    code, out, err = batch(rows, "--fail-fast", "--batch-size", 1, "--json")
    counts = json.loads(out)
    assert (code, counts["failed"]) == (3, 1)
    assert counts["done"] < 8
    assert counts["remaining"] == 8 - counts["done"]
    assert "clip 5: " in err


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (("--shard", "0/4"), "--shard must be i/n"),
        (("--shard", "5/4"), "--shard must be i/n"),
        (("--batch-size", "0"), "--batch-size must be auto"),
        (("--format", "aac"), "--format must be wav"),
        (("--format", "flac", "--subtype", "FLOAT"), "needs --format wav"),
        (("--normalize", "rms"), "--normalize must be none"),
        (("--temperature", "0"), "temperature"),
        *(
            (("--normalize", "lufs", "--target-lufs", value), "--target-lufs must be -70 to 0")
            for value in ("nan", "inf", "-inf", "500", "0.1", "-70.1")
        ),
        (("--target-lufs", "-20"), "--target-lufs is for --normalize lufs, found"),
        (("--target-lufs", "-23", "--normalize", "peak"), "found --normalize peak"),
        (("--format", "ogg", "--subtype", "PCM_24"), "needs --format wav or flac"),
        (
            ("--name-template", "{id}.mp3"),
            "'{id}.mp3' ends in .mp3, but --format is wav; use --format mp3 or another name",
        ),
    ],
)
@pytest.mark.parametrize("mode", [(), ("--dry-run",)])
def test_invalid_options_are_refused(batch, tmp_path, options, words, mode):
    assert_refused(batch(make_rows(1), *options, *mode), words)
    assert not (tmp_path / "out").exists()


def test_the_summary_counts_clips_below_the_target_loudness(batch):
    rows = make_rows(3)
    code, out, err = batch(rows, "--normalize", "lufs", "--target-lufs", 0, "--json")
    assert (code, json.loads(out)["below_target"]) == (0, 3)
    assert err.splitlines()[-1] == (
        "WARNING: 3 clips are quieter than --target-lufs; the warnings of results.jsonl say why"
    )
    code, out, err = batch(rows, "--normalize", "lufs", "--target-lufs", -60, "--json")
    assert (code, json.loads(out)["below_target"]) == (0, 0)
    assert "WARNING" not in err


def test_replaced_suffixes_are_told_once(batch, tmp_path):
    rows = [{**row, "audio_filepath": f"k/{n}.mp3"} for n, row in enumerate(make_rows(3))]
    code, _, err = batch(rows)
    assert code == 0
    assert err.count("audio_filepath") == 1
    assert (
        "'audio_filepath' has the suffix of another format in 3 of 3 rows; it is replaced by .wav"
        in err.splitlines()
    )
    assert sorted(p.name for p in (tmp_path / "out/k").iterdir()) == ["0.wav", "1.wav", "2.wav"]
    document = json.loads(batch(rows, "--dry-run", "--json")[1])
    assert document["replaced_suffixes"] == {"audio_filepath": 3}


def test_missing_files_are_one_sentence(batch, tmp_path):
    assert_refused(batch(tmp_path / "none.csv"), "none.csv", code=1)
    assert_refused(batch(tmp_path), "cannot be read", code=1)
    assert_refused(batch(make_rows(1), "--checkpoint", tmp_path / "gone"), "gone", code=1)
    (tmp_path / "file").touch()
    assert_refused(batch(make_rows(1), "--out-dir", tmp_path / "file"), "cannot be written", code=1)
    code, _, err = batch(make_rows(1), "--out-dir", "/proc/clips")
    assert code == 1
    assert "wavenet: the folder /proc/clips cannot be" in err
    assert not (tmp_path / "out").exists()


def test_the_journal_cannot_be_the_manifest(batch, tmp_path):
    batch(make_rows(1))
    assert_refused(batch(tmp_path / "out" / "results.jsonl"), "copy it")


def test_shipped_checkpoints_are_found_from_any_folder(run_command, tmp_path, monkeypatch):
    """By default, by name, by path, and in the column of a row; also beside the manifest."""
    (tmp_path / "work").mkdir()
    (tmp_path / "models").mkdir()
    shipped = Path(__file__).parents[2] / "checkpoints/digits"
    (tmp_path / "models/own").symlink_to(shipped)
    monkeypatch.chdir(tmp_path / "work")
    rows = [
        {"id": f"r{n}", "digit": "7", "speaker": "theo", "seconds": 0.01, "checkpoint": name}
        for n, name in enumerate(["", "digits", "checkpoints/digits", "models/own"])
    ]
    manifest = write_manifest(tmp_path / "m.jsonl", rows)
    for default in ((), ("--checkpoint", "digits"), ("--checkpoint", shipped)):
        code, out, err = run_command("batch", manifest, "--json", "--dry-run", *default)
        assert code == 0, err
    code, out, err = run_command("batch", manifest, "--json")
    assert (code, json.loads(out)["done"]) == (0, 4), err
    unknown = write_manifest(tmp_path / "u.jsonl", [{**rows[0], "checkpoint": "digit"}])
    code, _, err = run_command("batch", unknown)
    assert code == 2
    assert "did you mean digits?" in err


def test_the_default_checkpoint_may_be_missing_if_every_row_names_one(run_command, tiny, tmp_path):
    manifest = write_manifest(tmp_path / "m.jsonl", make_rows(1, checkpoint=str(tiny)))
    code, out, _ = run_command(
        "batch", manifest, "--out-dir", tmp_path / "out", "--checkpoint", tmp_path / "none",
        "--engine", "cpu", "--json",
    )  # fmt: skip
    assert (code, json.loads(out)["done"]) == (0, 1)


def test_a_remote_batch_has_its_journal_beside_the_manifest(run_command, tiny, tmp_path):
    manifest = write_manifest(tmp_path / "m.jsonl", make_rows(1))
    there = f"local://{tmp_path}/there"
    common = ("--checkpoint", tiny, "--engine", "cpu", "--out-dir", there)
    code, out, _ = run_command("batch", manifest, *common, "--json")
    counts = json.loads(out)
    assert (code, counts["done"]) == (0, 1)
    assert counts["results"].startswith(f"{tmp_path}/m-")
    assert json.loads(run_command("batch", manifest, *common, "--json")[1])["already_done"] == 1
    code, _, err = run_command("batch", manifest, *common, "--journal-dir", tmp_path / "new")
    assert code == 2
    assert "exists and was not" in err and "no results.jsonl" in err
    assert_refused(run_command("batch", "-", *common), "add --journal-dir")
    assert_refused(run_command("batch", manifest, *common[:-1], "nope://x"), "is not a location")
    assert_refused(
        run_command("batch", manifest, *common[:-1], tmp_path / "o", "--journal-dir", "x"),
        "needs an --out-dir",
    )
    plain = run_command("batch", manifest, *common[:-1], f"file://{tmp_path}/plain")
    assert plain[1] == f"{tmp_path}/plain/results.jsonl\n"


def test_options_of_a_cluster_are_checked(run_command, batch, monkeypatch):
    assert_refused(batch(make_rows(1), "--cluster-address", "auto"), "needs --cluster ray")
    assert_refused(batch(make_rows(1), "--cluster", "slurm"), "must be ray")
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    assert_refused(batch(make_rows(1), "--cluster", "ray"), "-m pip install 'ray>=2.52")


def start_batch(tmp_path, tiny, rows, *options, **more):
    """Start a batch as the leader of a process group."""
    manifest = write_manifest(tmp_path / "m.jsonl", rows)
    command = [sys.executable, "-c", CALL, "batch", manifest, "--out-dir", tmp_path / "out"]
    command += ["--checkpoint", tiny, "--engine", "cpu", *options]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True} | more
    return subprocess.Popen(list(map(str, command)), start_new_session=True, **pipes)


def wait_for_results(process, tmp_path):
    deadline = time.monotonic() + 120
    journal = tmp_path / "out" / "results.jsonl"
    while not (journal.exists() and journal.stat().st_size):
        assert process.poll() is None and time.monotonic() < deadline, process.communicate()
        time.sleep(0.02)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("workers", "times"), [(2, 1), *(pytest.param(1, n, marks=pytest.mark.slow) for n in (1, 2))]
)
def test_ctrl_c_stops_a_batch_that_the_same_command_resumes(batch, tiny, tmp_path, workers, times):
    rows = [{**row, "seconds": 0.2} for row in make_rows(400, temperature=1.0)]
    process = start_batch(tmp_path, tiny, rows, "--workers", workers, "--batch-size", 2)
    try:
        wait_for_results(process, tmp_path)
        os.killpg(process.pid, signal.SIGINT)  # to the whole group, as a terminal does
        if times == 2:
            time.sleep(0.05)
            os.killpg(process.pid, signal.SIGINT)
        _, err = process.communicate(timeout=60)
    finally:
        process.kill()
    assert process.returncode == 130, err
    assert "finishing the active clips" in err
    assert "the same command resumes" in err
    assert "Traceback" not in err
    journal = read_journal(tmp_path / "out")
    assert 0 < len(journal) < 400
    assert all(record["status"] == "done" for record in journal)
    files = file_hashes(tmp_path / "out")
    assert all(files[record["file"]] == record["sha256"] for record in journal)
    if times == 1:
        assert len(files) == len(journal)
    counts = json.loads(batch(rows[:40], "--json")[1])
    assert counts["done"] + counts["already_done"] == 40


@pytest.mark.slow
def test_closed_outputs_leave_no_traceback(tiny, tmp_path):
    reading, writing = os.pipe()
    os.close(reading)
    process = start_batch(tmp_path, tiny, make_rows(3), stdout=writing)
    os.close(writing)
    _, err = process.communicate(timeout=120)
    assert "Traceback" not in err
    assert len(read_journal(tmp_path / "out")) == 3


def test_a_full_disk_is_one_sentence(batch, tmp_path):
    manifest = write_manifest(tmp_path / "long.jsonl", make_rows(3))
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (300, hard))
    try:
        code, out, err = batch(manifest, "--batch-size", 1)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert (code, out) == (3, "")
    assert "the same command resumes" in err.splitlines()[-2]
    assert err.splitlines()[-1].startswith("wavenet: ")
    assert "writ" in err.splitlines()[-1]
    file_hashes(tmp_path / "out")  # checks that no file is incomplete
    assert batch(manifest)[0] == 0


def test_without_a_terminal_progress_is_printed_in_lines(capsys, monkeypatch):
    monkeypatch.setattr(batch_progress, "LINE_SECONDS", -1)
    tasks = [SimpleNamespace(identity=name, seconds=1.0) for name in ("a", "b", "c [bold]")]
    with BatchProgressBar(3, 4.0, quiet=False) as bar:
        bar.skip_clip(tasks[0])
        bar.finish_clip(tasks[1], {"error": None})
        bar.advance(1.5)
        bar.finish_clip(tasks[2], {"error": "no"})
    lines = capsys.readouterr().err.splitlines()
    assert lines[0].startswith("2 of 3 clips, ")
    assert lines[1] == "c [bold]: no"
    with BatchProgressBar(3, 4.0, quiet=True) as bar:
        bar.advance(1.5)
    assert capsys.readouterr().err == ""


@pytest.mark.slow
def test_ctrl_c_during_the_exit_changes_nothing(tiny, tmp_path):
    rows = [{**row, "seconds": 0.2} for row in make_rows(400, temperature=1.0)]
    process = start_batch(tmp_path, tiny, rows, "--batch-size", 2)
    try:
        wait_for_results(process, tmp_path)
        process.send_signal(signal.SIGINT)
        line = next(line for line in process.stderr if "remaining: the same command" in line)
        time.sleep(0.01)
        process.send_signal(signal.SIGINT)
        _, rest = process.communicate(timeout=60)
    finally:
        process.kill()
    assert process.returncode == 130, line + rest
    assert "Traceback" not in rest


def test_unknown_columns_are_printed_once_with_their_number_of_rows(batch, make_checkpoint):
    conditions = (LabelCondition(name="digit", values=("a", "b"), dropout=0.1),)
    config = tiny_config().model_copy(update={"conditions": conditions})
    folder = make_checkpoint(config).folder
    rows = [{"id": n, "ziffer": "a", "seconds": 0.01} for n in range(3)]
    code, _, err = batch(rows, "--checkpoint", folder, "--dry-run")
    assert code == 0
    assert err.count("'ziffer' (3 of 3 rows)") == err.count("WARNING: 3 of 3 rows") == 1
    assert "labels digit" in err
    rows = [{**row, "DIGIT": "a"} for row in rows]
    assert "WARNING" not in batch(rows, "--checkpoint", folder, "--dry-run")[2]


def test_a_table_with_semicolons_and_other_names_is_the_same_batch(batch, tmp_path):
    batch(make_rows(2, temperature=1.0))
    before = file_hashes(tmp_path / "out")
    table = tmp_path / "excel.csv"
    lines = [f"{row['id']};{row['digit'].upper()};{row['seconds']}" for row in make_rows(2)]
    table.write_text("\r\n".join(["sep=;", "Id;Digit;Duration", *lines]), "utf-8-sig")
    assert json.loads(batch(table, "--json", "--overwrite")[1])["done"] == 2
    assert file_hashes(tmp_path / "out") == before


def test_a_column_close_to_a_known_one_is_refused_unless_it_is_to_be_ignored(batch):
    code, _, err = batch([{"id": 1, "digit": "a", "label": 3}], "--dry-run")
    assert (code, err.count("line 1: the column 'label' is unknown")) == (2, 1)
    assert batch([{"id": 1, "digit": "a", "label": 3}], "--ignore-unknown-columns")[0] == 0


@pytest.mark.parametrize("name", ["x" * 256, "音" * 86, "/".join(["y" * 200] * 22)])
def test_a_folder_with_a_name_that_is_too_long_is_one_sentence(batch, tmp_path, name):
    result = batch(make_rows(1), "--out-dir", tmp_path / name)
    assert_refused(result, "file name too long; choose another --out-dir", code=1)


def test_names_that_are_not_utf_8_pass_through_journal_and_results(run_command, tiny, tmp_path):
    folder = tmp_path / os.fsdecode(b"in\xff")
    folder.mkdir()
    prompt = os.fsdecode(b"tone\xfe.wav")
    soundfile.write(tmp_path / "tone.wav", sine(0.1), RATE)
    (tmp_path / "tone.wav").rename(folder / prompt)
    rows = [{"id": os.fsdecode(b"\xfd"), "digit": "a", "seconds": 0.01, "prompt": prompt}]
    manifest = write_manifest(folder / os.fsdecode(b"m\xff.jsonl"), rows)
    out = tmp_path / os.fsdecode(b"out\xff")
    call = ("batch", manifest, "--out-dir", out, "--checkpoint", tiny, "--engine", "cpu", "--json")
    for counts in ({"done": 1, "already_done": 0}, {"done": 0, "already_done": 1}):
        code, printed, err = run_command(*call)
        assert code == 0, err
        assert json.loads(printed).items() >= counts.items()
    (record,) = read_journal(out)
    assert (record["id"], record["status"]) == (rows[0]["id"], "done")
    assert (out / record["file"]).is_file()
