"""`wavenet data`: reports and corpora of a folder, for people and for programs."""

import json

import numpy as np
import pytest
import soundfile

from tests.cli.conftest import assert_refused
from tests.conftest import RATE, sine
from wavenet.cli import data_command


@pytest.fixture
def folder(tmp_path):
    """Return a folder of five recordings by two voices."""
    for n, voice in enumerate(("ann", "bob", "ann", "bob", "ann")):
        rate = RATE if n else 16_000
        samples = np.ones(800) if n == 4 else sine(0.5, rate=rate)
        soundfile.write(tmp_path / f"{voice}_{n}.wav", samples, rate)
    return tmp_path


def test_a_report_for_people_has_a_line_for_each_fact(run_command, folder):
    code, out, err = run_command("data", "report", folder, "--pattern", "{voice}_{take}")
    assert (code, err) == (0, "")
    lines = {line[:14].strip(): line[15:] for line in out.splitlines()}
    assert lines == {
        "recordings": "5, 5 of them readable",
        "length": "2.1 s in all",
        "shortest": "0.10 s",
        "median": "0.50 s",
        "longest": "0.50 s",
        "sample rate": "8000 Hz (4 files), 16000 Hz (1 file)",
        "channels": "1",
        "silence": "0.0% of the time",
        "clipped": "1 file: ann_4.wav",
        "fields from": "file names",
        "voice": "2: ann bob",
        "take": "5: 0 1 2 3 4",
        "doubtful": "voice: 2 values in 5 recordings: 'ann', 'bob'",
        "": "take: 5 values in 5 recordings: '0', '1', '2', '3', '4'",
    }


def test_a_report_for_programs_is_one_json_document(run_command, folder):
    code, out, _ = run_command("data", "report", folder, "--pattern", "{voice}_{take}", "--json")
    assert code == 0
    facts = json.loads(out)
    assert facts["folder"] == str(folder)
    assert facts["rates"] == {"8000": 4, "16000": 1}
    assert facts["fields"]["voice"] == ["ann", "bob"]
    assert (facts["clipped"], facts["clipped_count"]) == (["ann_4.wav"], 1)
    assert facts["done"] == facts["files"] == 5


def test_merged_numbers_are_told_in_one_line(run_command, folder, tmp_path):
    for n, path in enumerate(sorted(folder.glob("*.wav"))):
        path.rename(folder / f"{'3' if n % 2 else '3.0'}_{n}.wav")
    code, out, err = run_command("data", "report", folder, "--pattern", "{digit}_{take}")
    line = "digit has equal numbers in several spellings: '3.0' is used as '3'"
    assert (code, err) == (0, "")
    assert f"merged         {line}\n" in out and "digit        1: 3\n" in out
    corpus = ("--out", tmp_path / "corpus", "--workers", "1", "--pattern", "{digit}_{take}")
    code, _, err = run_command("data", "prepare", folder, *corpus)
    assert code == 0 and f"note: {line}\n" in err
    _, out, _ = run_command("data", "report", tmp_path / "corpus", "--json")
    assert json.loads(out)["merged"] == {"digit": {"3.0": "3"}}


def test_a_folder_without_fields_gets_a_suggestion(run_command, folder):
    code, out, err = run_command("data", "report", folder)
    assert code == 0
    assert "fields from    none\n" in out
    assert '--pattern "{field1}_{field2}"' in err
    (folder / "bob_1.wav").rename(folder / "bob.wav")
    assert run_command("data", "report", folder)[2] == ""


def test_a_large_part_that_is_left_out_is_a_warning(run_command, folder):
    """Regression: formats that are not read were in no count."""
    for n in range(3):
        (folder / f"x{n}.tta").touch()
    (folder / "ann_1_2.wav").touch()
    command = ("data", "report", folder, "--pattern", "{voice}_{take}")
    code, out, err = run_command(*command)
    assert code == 3
    assert "1 of 6 names does not fit the pattern, for example ann_1_2.wav (3 parts" in err
    assert (
        "left out       in a format that is not read (.tta): 3 files: x0.tta, x1.tta, x2.tta" in out
    )
    assert "ann_1_2.wav (3 parts separated by '_', expected 2)" in out
    assert "WARNING: 4 of 9 audio files (44%) are left out" in err
    facts = json.loads(run_command(*command, "--json")[1])
    assert (facts["left_out_audio"], facts["left_out_share"]) == (4, 4 / 9)
    assert [group["count"] for group in facts["left_out"]] == [3, 1]
    assert {doubt["field"]: doubt["kind"] for doubt in facts["doubts"]} == {
        "voice": "many values",
        "take": "many values",
    }


def test_names_that_do_not_fit_the_pattern_get_another_one(run_command, folder):
    for path in folder.glob("*.wav"):
        voice, take = path.stem.split("_")
        path.rename(folder / f"{voice}_la_{take}.wav")
    command = ("data", "report", folder, "--pattern", "{voice}_{take}")
    code, _, err = run_command(*command)
    assert code == 1
    assert "the names fit '{voice}_{take}_{field3}'" in err
    (folder / "ann_la_0.wav").rename(folder / "ann_0.wav")
    code, _out, err = run_command(*command)
    assert code == 3
    assert "4 of 5 names do not fit the pattern, for example ann_la_" in err
    assert 'try --pattern "{voice}_{take}_{field3}" for them' in err
    assert run_command("data", "report", folder, "--pattern", "{voice}_{take}_{field3}")[0] == 3


def test_folders_that_group_recordings_are_suggested(run_command, folder):
    for voice in ("ann", "bob"):
        (folder / voice).mkdir()
        for path in folder.glob(f"{voice}_*.wav"):
            path.rename(folder / voice / f"take{path.stem[-1]}.wav")
    code, _, err = run_command("data", "report", folder)
    assert (code, '--pattern "{label}/{take}"' in err) == (0, True)
    code, out, _ = run_command("data", "report", folder, "--pattern", "{label}/{take}")
    assert (code, "  label        2: ann bob" in out) == (0, True)


def test_files_that_cannot_be_read_are_named_and_counted(run_command, folder):
    (folder / "bad_9.wav").write_bytes(b"RIFF nothing")
    code, out, _ = run_command("data", "report", folder)
    assert code == 3
    assert "6, 5 of them readable" in out
    assert "unreadable     1 file\n" in out
    assert str(folder / "bad_9.wav") in out.splitlines()[-1]
    code, out, _ = run_command("data", "report", folder, "--json")
    assert code == 3
    assert json.loads(out)["unreadable_count"] == 1
    for path in folder.glob("*_[0-4].wav"):
        path.unlink()
    code, out, _ = run_command("data", "report", folder)
    assert code == 3
    assert "1, 0 of them readable" in out


def test_long_lists_of_values_are_shortened(run_command, folder):
    rows = [f"{p.name},{'word ' * 20},{n}" for n, p in enumerate(sorted(folder.iterdir()))]
    (folder / "list.csv").write_text("\n".join(["file_name,text,n", *rows]) + "\n")
    code, out, _ = run_command("data", "report", folder, "--metadata", "list.csv")
    assert code == 0
    assert "fields from    list.csv" in out
    assert max(map(len, out.splitlines())) < 80
    assert data_command.format_files(30, ["a", "b"]) == "30 files: a b .."
    assert [data_command.format_length(n) for n in (59, 90, 7200)] == [
        "59.0 s",
        "1.5 minutes",
        "2.0 hours",
    ]


def test_folders_that_cannot_be_used_are_refused(run_command, folder, tmp_path):
    assert_refused(run_command("data", "report", tmp_path / "none"), "is not a folder", code=1)
    command = ("data", "report", folder, "--pattern", "{a}-{b}")
    assert_refused(run_command(*command), "no file name in", code=1)
    table = ("--metadata", "no.csv")
    assert_refused(run_command("data", "report", folder, *table), "no file no.csv", code=1)


def test_ctrl_c_ends_a_report(run_command, folder, monkeypatch):
    def interrupted(*arguments, **options):
        raise KeyboardInterrupt

    monkeypatch.setattr("wavenet.training.dataset_report.open_stream", interrupted)
    code, out, err = run_command("data", "report", folder)
    assert (code, out) == (130, "")
    assert "Traceback" not in err


def test_help_names_the_commands_of_the_group(run_command):
    code, out, _ = run_command("data", "--help")
    assert code == 0
    assert "report" in out


def test_a_folder_is_prepared_and_reported(run_command, folder, tmp_path):
    out = tmp_path / "corpus"
    command = ("data", "prepare", folder, "--out", out, "--workers", 1)
    code, printed, err = run_command(*command, "--pattern", "{voice}_{take}", "--sample-rate", RATE)
    assert (code, printed) == (0, f"{out}\n")
    assert "5 of 5 recordings, 2.1 s from 8000 Hz (4 files), 16000 Hz (1 file)" in err
    assert "clipped: 1 file; silence: 0.0% of the time" in err
    # the report on the corpus is that of a folder
    code, printed, _ = run_command("data", "report", out)
    assert code == 0
    assert "voice        2: ann bob" in printed
    assert "clipped        1 file: ann_4.wav" in printed
    assert_refused(run_command(*command), "was prepared with", "--overwrite")
    assert_refused(
        run_command("data", "report", out, "--pattern", "{a}"), "was prepared with pattern"
    )


def test_files_that_cannot_be_prepared_are_named_and_listed(run_command, folder, tmp_path):
    (folder / "bad_9.wav").write_bytes(b"RIFF nothing")
    out = tmp_path / "corpus"
    command = ("data", "prepare", folder, "--out", out, "--workers", 1, "--json")
    code, printed, err = run_command(*command)
    assert code == 3
    facts = json.loads(printed)
    assert (facts["corpus"], facts["readable"], facts["unreadable_count"]) == (str(out), 5, 1)
    assert f"skipped: {folder}/bad_9.wav" in err
    assert (out / "skipped.txt").read_text().count("bad_9.wav") == 1


def test_ctrl_c_stops_a_preparation_that_the_same_command_resumes(
    run_command, folder, tmp_path, monkeypatch
):
    def interrupted(*arguments):
        raise KeyboardInterrupt

    monkeypatch.setattr("wavenet.corpus.prepare.write_shards", interrupted)
    command = ("data", "prepare", folder, "--out", tmp_path / "corpus", "--workers", 1)
    code, out, err = run_command(*command)
    assert (code, out) == (130, "")
    assert "stopped; the same command resumes" in err
    code, _, err = run_command("train", "--data", tmp_path / "corpus", "--out", tmp_path / "run")
    assert code == 1
    assert "is not finished; run the same `wavenet data prepare` again" in err
    monkeypatch.undo()
    assert run_command(*command)[0] == 0
