"""Settings that leave the page make the same audio again: as a command, as a link, as JSON."""

import json
import shlex
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
import torch

from audio_utils import io
from wavenet.cli.main import run as run_command
from wavenet.model.conditions import LabelCondition, MelCondition, NumberCondition
from wavenet.ui import controls, jobs, sharing
from wavenet.ui.generate import LINKED, show_page
from wavenet.ui.take import Take

from .conftest import RATE, save_checkpoint

LABELS: dict[str, str | float] = {"tone": "b & c=1", "level": -12.5}


@pytest.fixture(scope="module")
def shelf(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of checkpoints: one of labels and a number, and one that says recordings again."""
    folder = tmp_path_factory.mktemp("shared") / "checkpoints"
    conditions = (
        LabelCondition(name="tone", values=("a", "b & c=1"), dropout=0.1),
        NumberCondition(name="level", low=-60, high=0, unit="dB"),
    )
    save_checkpoint(folder, "rich", RATE, {}, *conditions)
    save_checkpoint(folder, "again", RATE, {}, MelCondition(n_mels=4, win_length=64))
    wave = 0.5 * torch.sin(torch.arange(2000) * 0.3)
    io.write(folder.parent / "my recording.wav", wave, RATE)
    return folder


def make_job(shelf: Path, name: str = "rich", given: str = "", **wish: Any) -> jobs.Job:
    """A job, with the recording as what `given` says: prompt, source or nothing."""
    usual = {"seconds": 0.1, "seed": 4, "labels": LABELS if name == "rich" else {}}
    recording = str(shelf.parent / "my recording.wav")
    return jobs.make_job(
        jobs.load_named(shelf, name),
        jobs.Wish(**(usual | wish)),
        prompt=recording if given.startswith("prompt") else None,
        with_prompt=given != "prompt left out",
        source=recording if given == "source" else None,
    )


@pytest.mark.parametrize(
    ("name", "given", "wish"),
    [
        ("rich", "", {}),
        ("rich", "", {"temperature": 0.7, "top_k": 9, "top_p": 0.9, "guidance": 2.5}),
        ("rich", "", {"variants": 3, "seconds": 1 / 3}),
        ("rich", "", {"labels": {"level": -3.0}}),
        ("rich", "prompt", {}),
        ("rich", "prompt left out", {}),
        ("again", "source", {"top_p": 0.5}),
        ("again", "source", {"variants": 2}),
    ],
)
def test_the_command_line_writes_the_same_files(
    shelf: Path,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    name: str,
    given: str,
    wish: dict[str, Any],
) -> None:
    job = make_job(shelf, name, given, **wish)
    take = Take(job)
    list(take.play())
    (tmp_path / "checkpoints").symlink_to(shelf)
    (tmp_path / "my recording.wav").symlink_to(shelf.parent / "my recording.wav")
    monkeypatch.chdir(tmp_path)
    for line in sharing.as_command(job).splitlines():
        program, *words = shlex.split(line)
        assert program == "wavenet"
        assert run_command(words) == 0
    for n, file_name in enumerate(job.file_names):
        io.write(tmp_path / "ours.wav", take.waveform(n), RATE)
        theirs, rate = soundfile.read(tmp_path / file_name, dtype="int16")
        assert rate == RATE
        assert np.array_equal(theirs, soundfile.read(tmp_path / "ours.wav", dtype="int16")[0])


def draw_by_default(folder: Path, **sampling: Any) -> None:
    """Give a checkpoint a way of drawing of its own."""
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | {"sampling": sampling}))


OWN = {"temperature": 0.8, "top_k": 7, "top_p": 0.9, "guidance": 1.5}


@pytest.mark.parametrize(
    "wish",
    [{}, {"temperature": 1.0, "top_k": 0, "top_p": 1.0, "guidance": 1.0}, {"guidance": 2.5}],
)
def test_what_a_checkpoint_draws_by_can_be_left_out_and_taken_back(
    shelf: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, wish: dict[str, Any]
) -> None:
    shelf = Path(shutil.copytree(shelf, tmp_path / "checkpoints"))
    draw_by_default(shelf / "rich", **OWN)
    job = make_job(shelf, **wish)
    wanted = OWN | wish
    sampling = job.sampling
    assert (sampling.temperature, sampling.guidance) == (wanted["temperature"], wanted["guidance"])
    assert (sampling.top_k or 0, sampling.top_p or 1) == (wanted["top_k"], wanted["top_p"])
    shown = show_page(shelf, sharing.as_link(job).removeprefix("?"))
    found = dict(zip(("temperature", "top_k", "top_p"), shown[7:10], strict=True))
    assert found | {"guidance": shown[4]["value"]} == wanted
    take = Take(job)
    list(take.play())
    monkeypatch.chdir(tmp_path)
    assert run_command(shlex.split(sharing.as_command(job))[1:]) == 0
    io.write(tmp_path / "ours.wav", take.waveform(0), RATE)
    theirs = soundfile.read(tmp_path / job.file_names[0], dtype="int16")[0]
    assert np.array_equal(theirs, soundfile.read(tmp_path / "ours.wav", dtype="int16")[0])
    draw_by_default(shelf / "rich")
    plain = make_job(shelf)
    same = np.array_equal(plain.waveform().numpy(), take.waveform(0).numpy())
    assert same == (wish.get("temperature") == 1.0)


def test_a_link_brings_the_controls_back(shelf: Path) -> None:
    wish = {"seconds": 0.25, "temperature": 0.7, "top_k": 9, "top_p": 0.9, "guidance": 2.5}
    link = sharing.as_link(make_job(shelf, **wish, variants=2))
    picker, _, seconds, _, guidance, *rest = show_page(shelf, link.removeprefix("?"))
    assert picker["value"] == "rich"
    assert (seconds["value"], guidance["value"]) == (0.25, 2.5)
    assert rest[2:5] == [0.7, 9, 0.9]
    at = len(rest) - len(LINKED)
    numbers = rest[at - controls.MAX_LABEL_SETS - controls.MAX_NUMBERS : at]
    assert numbers[0]["value"] == -12.5
    assert numbers[controls.MAX_NUMBERS]["value"] == "b & c=1"
    assert dict(zip(LINKED, rest[at:], strict=True)) == {
        "seed": 4, "variants": 2,
    }  # fmt: skip


@pytest.mark.parametrize(
    "query",
    [
        "checkpoint=../../etc&seed=1",
        "checkpoint=rich&seed=x&top_k=&temperature=nan.&label.level=loud&label.tone=z",
        "checkpoint=rich&engine=reference&run=3&prompt=/etc/passwd",
        "&&&=%00",
    ],
)
def test_a_hostile_link_changes_nothing(shelf: Path, query: str) -> None:
    plain = show_page(shelf, "checkpoint=rich" if "rich" in query else "")
    found = show_page(shelf, query)
    same = [a == b for a, b in zip(plain[:-5], found[:-5], strict=True)]
    assert all(same)
    assert "passwd" not in str(found)


def test_a_link_is_read_up_to_its_longest(shelf: Path) -> None:
    assert sharing.read_link("a=1&" * 900 + "seed=7")[0] == {"seed": 7}
    assert sharing.read_link("a=1&" * 1000 + "seed=7")[0] == {}


def test_the_json_says_all_that_was_chosen(shelf: Path) -> None:
    job = make_job(shelf, given="prompt", temperature=0.7)
    assert json.loads(sharing.as_json(job)) == {
        "checkpoint": "rich", "labels": LABELS, "seed": 4, "seconds": 0.1, "temperature": 0.7,
        "top_k": 0, "top_p": 1.0, "guidance": 1.0, "variants": 1,
        "recording": "my recording.wav", "engine": job.engine.name,
    }  # fmt: skip
