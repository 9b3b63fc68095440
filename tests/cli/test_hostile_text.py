"""Labels and file names with control characters, and closed, full or plain output streams."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import soundfile

from tests.conftest import RATE, sine, tiny_config
from wavenet.cli.main import run
from wavenet.model.conditions import LabelCondition

EVIL = "\x1b[2J\x1b]0;owned\x07\nwavenet: all is well\u202e"
SHOWN = "\\x1b[2J\\x1b]0;owned\\x07\\nwavenet: all is well\\u202e"


@pytest.fixture
def evil(make_checkpoint):
    """Return a checkpoint whose label has a value with control characters."""
    config = tiny_config(conditions="none").model_copy(
        update={"conditions": (LabelCondition(name="digit", values=("a", EVIL), channels=4),)}
    )
    return make_checkpoint(config, name="evil").folder


def assert_harmless(*texts):
    for text in texts:
        controls = [c for c in text if not c.isprintable() and c not in "\n\t"]
        assert controls == [], text
        assert not any(line.startswith("wavenet: all is well") for line in text.splitlines())


def test_a_label_with_control_characters_is_printed_as_escapes(run_command, evil, tmp_path):
    code, out, err = run_command("info", evil)
    assert code == 0
    assert SHOWN in out
    assert_harmless(out, err)
    result = run_command("generate", "--checkpoint", evil, "--out", tmp_path / "a.wav")
    assert result[0] == 2
    assert SHOWN in result[2]
    assert_harmless(*result[1:])
    code, out, _ = run_command("info", evil, "--json")
    assert json.loads(out)["conditions"]["digit"] == ["a", EVIL]


def test_a_file_name_with_control_characters_is_printed_as_escapes(run_command, tiny, tmp_path):
    folder = tmp_path / "in"
    folder.mkdir()
    names = [f"{EVIL.replace(chr(7), '')}.wav", os.fsdecode(b"\xff.wav")]
    for name in names:
        soundfile.write(os.fsencode(folder / name), sine(0.2).numpy(), RATE)
    results = [
        run_command("score", folder, "--checkpoint", tiny, "--set", "digit=a"),
        run_command("data", "report", folder),
        run_command("data", "report", folder, "--pattern", "{x}_{y}"),
        run_command("data", "prepare", folder, "--out", tmp_path / "corpus"),
        *(run_command("analyse", folder / n, "--out", tmp_path / "plots") for n in names),
    ]
    assert [result[0] for result in results[:2]] == [0, 0]
    for _, out, err in results:
        assert_harmless(out, err)
    assert "\\udcff.wav" in results[0][1]
    code, out, _ = run_command("score", folder, "--checkpoint", tiny, "--set", "digit=a", "--json")
    assert code == 0
    files = [json.loads(line)["file"] for line in out.splitlines()]
    assert sorted(files[:-1]) == sorted(str(folder / name) for name in names)


def test_batches_evaluations_and_imports_print_no_control_characters(run_command, evil, tmp_path):
    rows = [{"id": EVIL, "digit": "a"}, {"id": "b", "digit": f"x{EVIL}"}, {"id": "c", EVIL: "1"}]
    rows.append({"id": "d", "digit": "a", "checkpoint": EVIL, "prompt": EVIL})
    manifest = tmp_path / "m.jsonl"
    manifest.write_text("".join(json.dumps(row) + "\n" for row in rows))
    recordings = tmp_path / f"in{EVIL}"
    recordings.mkdir()
    for name in ("a_0", "a_1", "\x1bz_0", "\x1bz_1"):
        soundfile.write(recordings / f"{name}.wav", sine(0.2).numpy(), RATE)
    other = tmp_path / f"{EVIL}.pth"
    other.write_bytes(b"x")
    pattern = ("--pattern", "{digit}_{take}", "--test", "take=1")
    hidden = ("import", "vincentherrmann", other, "--sample-rate", 8000, "--trusted", "--out")
    evaluate = ("evaluate", "likelihood", recordings, *pattern, "--checkpoint", evil)
    batch = ("batch", manifest, "--checkpoint", evil, "--out-dir", tmp_path / "out")
    commands = [
        (*batch, "--dry-run"),
        (*batch, "--skip-invalid", "--engine", "cached"),
        (*evaluate, "--out", tmp_path / EVIL),
        (*evaluate, "--recipe", EVIL),
        (*hidden, tmp_path / f"new{EVIL}"),
        ("hub", "pull", EVIL),
        ("hub", "push", EVIL, "a/b"),
        ("bench", "--checkpoint", recordings),
        ("bench", "--configuration", EVIL),
        ("train", EVIL),
        ("train", "tiny", "--data", recordings, "--label", EVIL),
        ("vocode", EVIL),
        ("data", "report", recordings, "--pattern", "{digit}_{take}"),
    ]
    for command in commands:
        code, out, err = run_command(*command)
        assert code in (0, 1, 2, 3), (command, err)
        assert out + err != ""
        assert_harmless(out, err)


def test_a_wrong_option_is_one_sentence_without_control_characters(run_command):
    code, out, err = run_command("score", "--\x1b[31mx\nforged")
    assert (code, out) == (2, "")
    assert err.count("\n") == 1
    assert err.startswith("wavenet: no such option")
    assert "--help`" in err
    assert_harmless(err)


def run_process(arguments, **options):
    command = [sys.executable, "-m", "wavenet", *map(str, arguments)]
    environment = {**os.environ, **options.pop("env", {})}
    environment.setdefault("PYTHONPATH", str(Path(__file__).parents[2]))
    return subprocess.run(
        command, env=environment, text=True, stderr=subprocess.PIPE, timeout=120, **options
    )


def test_a_full_stdout_is_one_sentence(tiny):
    if not Path("/dev/full").exists():
        pytest.skip("this system has no /dev/full")
    with open("/dev/full", "w") as full:
        done = run_process(["info", tiny], stdout=full)
    assert done.returncode == 1
    assert done.stderr.count("\n") == 1
    assert done.stderr.startswith("wavenet: ")
    assert "full" in done.stderr


@pytest.mark.slow
def test_a_closed_pipe_prints_nothing(tiny):
    read, write = os.pipe()
    os.close(read)
    done = run_process(["info", tiny], stdout=write)
    os.close(write)
    assert (done.returncode, done.stderr) == (1, "")


@pytest.mark.slow
def test_a_letter_that_the_locale_cannot_express_is_an_escape(tmp_path, make_checkpoint):
    config = tiny_config(conditions="none").model_copy(
        update={"conditions": (LabelCondition(name="name", values=("Zoë", "東"), channels=4),)}
    )
    folder = make_checkpoint(config).folder
    environment = {"LC_ALL": "C", "PYTHONIOENCODING": "ascii", "PYTHONUTF8": "0"}
    environment["PYTHONCOERCECLOCALE"] = "0"
    done = run_process(["info", folder], stdout=subprocess.PIPE, env=environment)
    assert done.returncode == 0, done.stderr
    assert "Zo\\xeb \\u6771" in done.stdout
    done = run_process(["generate", "--help"], stdout=subprocess.PIPE, env=environment)
    assert done.returncode == 0, done.stderr


@pytest.mark.slow
def test_closed_standard_streams_receive_no_file(tiny, tmp_path):
    """Without this, the first file that is opened gets the number of stderr."""
    out = tmp_path / "out.wav"
    code = "import os, sys; os.close(1); os.close(2); os.execv(sys.executable, sys.argv[1:])"
    command = [sys.executable, "-m", "wavenet", "generate", "--checkpoint", tiny]
    command += ["--set", "digit=a", "--seconds", "0.05", "--engine", "cached", "--out", out]
    done = subprocess.run([sys.executable, "-c", code, *map(str, command)], timeout=120)
    assert done.returncode == 0
    assert soundfile.info(out).frames == 400


UNEXPECTED = [
    (OSError(36, "File name too long", "x" * 9), f"{'x' * 9} cannot be used: file name too long"),
    (OSError(36, "File name too long", "x" * 999), f"{'x' * 80}.. (999 characters) cannot be used"),
    (OSError(28, "No space left", b"a"), "a cannot be used: the disk is full; free some space"),
    (OSError(5, "Input/output error"), "input/output error"),
    (OSError(9, "Bad file descriptor", 3), "bad file descriptor"),
    (FileNotFoundError(2, "No usable temporary directory found in []"), "set TMPDIR"),
    (RuntimeError("cannot cache 'f': no locator available for 'x'"), "NUMBA_CACHE_DIR"),
]


@pytest.mark.parametrize(("error", "words"), UNEXPECTED, ids=[*"abcdefg"])
def test_an_unexpected_error_of_the_system_is_one_sentence(capsys, monkeypatch, error, words):
    def fail(*_):
        raise error

    monkeypatch.setattr("wavenet.cli.info_command.checkpoint_facts", fail)
    assert run(["info", "x"]) == 1
    out, err = capsys.readouterr()
    assert (out, err.count("\n")) == ("", 1)
    assert err.startswith("wavenet: ")
    assert words in err


def test_an_error_of_the_program_is_still_raised(monkeypatch):
    def fail(*_):
        raise RuntimeError("a bug")

    monkeypatch.setattr("wavenet.cli.info_command.checkpoint_facts", fail)
    with pytest.raises(RuntimeError, match="a bug"):
        run(["info", "x"])
