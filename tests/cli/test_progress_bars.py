"""Progress without a terminal: a line at intervals on stderr, and none with --quiet."""

import time
from types import SimpleNamespace

import pytest
import soundfile

from tests.conftest import RATE, sine
from wavenet.cli import progress_bars
from wavenet.cli.progress_bars import ProgressBar, status_spinner


@pytest.fixture
def no_interval(monkeypatch):
    monkeypatch.setattr(progress_bars, "LINE_SECONDS", 0.001)


def test_a_bar_prints_lines_without_a_terminal(monkeypatch, capsys):
    clock = SimpleNamespace(now=0.0, monotonic=lambda: clock.now)
    monkeypatch.setattr(progress_bars, "time", clock)
    bar, quiet = ProgressBar("samples", 4000), ProgressBar("samples", 4000, quiet=True)
    for clock.now in (10.0, 31.0, 40.0, 62.0):
        bar.advance(1000)
        quiet.advance(1000)
    assert capsys.readouterr() == (
        "",
        "2,000 of 4,000 samples\n4,000 of 4,000 samples\n",
    )


@pytest.mark.parametrize("quiet", [True, False])
def test_a_spinner_prints_lines_without_a_terminal(monkeypatch, capsys, quiet):
    monkeypatch.setattr(progress_bars, "LINE_SECONDS", 0.01)
    printed = []
    monkeypatch.setattr(progress_bars, "print_message", printed.append)
    with status_spinner("listing", quiet):
        deadline = time.monotonic() + (0.1 if quiet else 20)
        while not printed and time.monotonic() < deadline:
            time.sleep(0.01)
    assert bool(printed) != quiet
    assert all(line == "listing: 0 s so far" for line in printed[:1])
    count = len(printed)
    time.sleep(0.05)
    assert len(printed) == count  # the thread has ended
    with pytest.raises(ValueError, match="x"), status_spinner("listing", quiet):
        raise ValueError("x")


@pytest.mark.slow
def test_long_commands_show_progress_unless_they_are_quiet(
    run_command, tiny, tmp_path, no_interval
):
    folder = tmp_path / "audio"
    folder.mkdir()
    for n in range(3):
        soundfile.write(folder / f"{n}.wav", sine(0.2 + n / 10).numpy(), RATE)
    commands = {
        "samples": ("score", folder, "--checkpoint", tiny, "--set", "digit=a"),
        "files": ("data", "report", folder),
        "of 3 files": ("data", "prepare", folder, "--out", tmp_path / "corpus", "--workers", 1),
    }
    for words, command in commands.items():
        code, out, err = run_command(*command)
        assert code == 0
        assert words in err, (command, err)
        again = run_command(*command, "--quiet")
        assert again[:2] == (code, out)
        assert f"of 3 {words}" not in again[2] and "so far" not in again[2]
