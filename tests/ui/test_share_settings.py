"""Shared settings reproduce the same audio: as a command, as a link, as JSON."""

import json
import shlex
import shutil
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import gradio as gr
import numpy as np
import pytest
import soundfile
import torch

from audio_utils import io
from wavenet.cli.main import run as run_command
from wavenet.model.conditions import LabelCondition, MelCondition, NumberCondition
from wavenet.ui import generate_tab, share_settings
from wavenet.ui.checkpoint_controls import MAX_LABELS, MAX_NUMBERS
from wavenet.ui.checkpoint_library import load_checkpoint
from wavenet.ui.generate_tab import LINK_FIELDS, describe_problems, open_link, show_page
from wavenet.ui.generation_job import (
    GenerateSettings,
    GenerationJob,
    GenerationResult,
    make_generation_job,
)

from .conftest import RATE, save_checkpoint

CONDITIONS: dict[str, str | float] = {"tone": "b & c=1", "level": -12.5}


@pytest.fixture(scope="module")
def checkpoints(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of checkpoints: one with a label and a number, and a vocoder."""
    folder = tmp_path_factory.mktemp("shared") / "checkpoints"
    conditions = (
        LabelCondition(name="tone", values=("a", "b & c=1"), dropout=0.1),
        NumberCondition(name="level", low=-60, high=0, unit="dB"),
    )
    save_checkpoint(folder, "global", RATE, {}, *conditions)
    save_checkpoint(folder, "vocoder", RATE, {}, MelCondition(n_mels=4, win_length=64))
    wave = 0.5 * torch.sin(torch.arange(2000) * 0.3)
    io.write(folder.parent / "my recording.wav", wave, RATE)
    return folder


def make_job(
    checkpoints: Path, name: str = "global", recording: str = "", **changes: Any
) -> GenerationJob:
    """Build a job; `recording` is the use of the recording: prompt, source, or none."""
    default = {"seconds": 0.1, "seed": 4, "conditions": CONDITIONS if name == "global" else {}}
    path = str(checkpoints.parent / "my recording.wav")
    return make_generation_job(
        load_checkpoint(checkpoints, name),
        GenerateSettings(**(default | changes)),
        prompt=path if recording.startswith("prompt") else None,
        with_prompt=recording != "prompt excluded",
        source=path if recording == "source" else None,
    )


@pytest.mark.parametrize(
    ("name", "recording", "changes"),
    [
        ("global", "", {}),
        ("global", "", {"temperature": 0.7, "top_k": 9, "top_p": 0.9, "guidance": 2.5}),
        ("global", "", {"variants": 3, "seconds": 1 / 3}),
        ("global", "", {"conditions": {"level": -3.0}}),
        ("global", "prompt", {}),
        ("global", "prompt excluded", {}),
        ("vocoder", "source", {"top_p": 0.5}),
        ("vocoder", "source", {"variants": 2}),
    ],
)
def test_command_line_writes_the_same_files(
    checkpoints: Path,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    name: str,
    recording: str,
    changes: dict[str, Any],
) -> None:
    job = make_job(checkpoints, name, recording, **changes)
    result = GenerationResult(job)
    list(result.stream())
    (tmp_path / "checkpoints").symlink_to(checkpoints)
    (tmp_path / "my recording.wav").symlink_to(checkpoints.parent / "my recording.wav")
    monkeypatch.chdir(tmp_path)
    for line in share_settings.format_command(job).splitlines():
        program, *words = shlex.split(line)
        assert program == "wavenet"
        assert run_command(words) == 0
    for n, file_name in enumerate(job.file_names):
        io.write(tmp_path / "ours.wav", result.waveform(n), RATE)
        theirs, rate = soundfile.read(tmp_path / file_name, dtype="int16")
        assert rate == RATE
        assert np.array_equal(theirs, soundfile.read(tmp_path / "ours.wav", dtype="int16")[0])


def set_sampling_defaults(folder: Path, **sampling: Any) -> None:
    """Write sampling defaults into the config of a checkpoint."""
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | {"sampling": sampling}))


DEFAULTS = {"temperature": 0.8, "top_k": 7, "top_p": 0.9, "guidance": 1.5}


@pytest.mark.parametrize(
    "changes",
    [{}, {"temperature": 1.0, "top_k": 0, "top_p": 1.0, "guidance": 1.0}, {"guidance": 2.5}],
)
def test_sampling_defaults_of_a_checkpoint_can_be_used_and_overridden(
    checkpoints: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, changes: dict[str, Any]
) -> None:
    checkpoints = Path(shutil.copytree(checkpoints, tmp_path / "checkpoints"))
    set_sampling_defaults(checkpoints / "global", **DEFAULTS)
    job = make_job(checkpoints, **changes)
    expected = DEFAULTS | changes
    sampling = job.sampling
    assert (sampling.temperature, sampling.guidance) == (
        expected["temperature"],
        expected["guidance"],
    )
    assert (sampling.top_k or 0, sampling.top_p or 1) == (expected["top_k"], expected["top_p"])
    shown = show_page(checkpoints, share_settings.format_link(job).removeprefix("?"))
    found = dict(zip(("temperature", "top_k", "top_p"), shown[7:10], strict=True))
    assert found | {"guidance": shown[4]["value"]} == expected
    result = GenerationResult(job)
    list(result.stream())
    monkeypatch.chdir(tmp_path)
    assert run_command(shlex.split(share_settings.format_command(job))[1:]) == 0
    io.write(tmp_path / "ours.wav", result.waveform(0), RATE)
    theirs = soundfile.read(tmp_path / job.file_names[0], dtype="int16")[0]
    assert np.array_equal(theirs, soundfile.read(tmp_path / "ours.wav", dtype="int16")[0])
    set_sampling_defaults(checkpoints / "global")
    without_defaults = make_job(checkpoints).first_waveform()
    is_same = np.array_equal(without_defaults.numpy(), result.waveform(0).numpy())
    assert is_same == (changes.get("temperature") == 1.0)


def test_link_restores_the_controls(checkpoints: Path) -> None:
    changes = {"seconds": 0.25, "temperature": 0.7, "top_k": 9, "top_p": 0.9, "guidance": 2.5}
    link = share_settings.format_link(make_job(checkpoints, **changes, variants=2))
    dropdown, _, seconds, _, guidance, *rest = show_page(checkpoints, link.removeprefix("?"))
    assert dropdown["value"] == "global"
    assert (seconds["value"], guidance["value"]) == (0.25, 2.5)
    assert rest[2:5] == [0.7, 9, 0.9]
    at = len(rest) - len(LINK_FIELDS)
    numbers = rest[at - MAX_LABELS - MAX_NUMBERS : at]
    assert numbers[0]["value"] == -12.5
    assert numbers[MAX_NUMBERS]["value"] == "b & c=1"
    assert dict(zip(LINK_FIELDS, rest[at:], strict=True)) == {
        "seed": 4, "variants": 2,
    }  # fmt: skip


@pytest.mark.parametrize(
    "query",
    [
        "checkpoint=../../etc&seed=1",
        "checkpoint=global&seed=x&top_k=&temperature=nan.&condition.level=loud&condition.tone=z",
        "checkpoint=global&engine=reference&run=3&prompt=/etc/passwd",
        "&&&=%00",
    ],
)
def test_invalid_link_changes_nothing(checkpoints: Path, query: str) -> None:
    expected = show_page(checkpoints, "checkpoint=global" if "global" in query else "")
    found = show_page(checkpoints, query)
    same = [a == b for a, b in zip(expected[:-5], found[:-5], strict=True)]
    assert all(same)
    assert "passwd" not in str(found)


@pytest.mark.parametrize(
    ("query", "words"),
    [
        ("checkpoint=global&tempreature=0.5", "'tempreature', did you mean 'temperature'"),
        ("checkpoint=global&engine=cpu", "unknown setting 'engine'"),
        ("checkpoint=global&seed=x", "seed must be a whole number"),
        ("checkpoint=global&seed=1.5", "seed must be a whole number"),
        ("checkpoint=global&top_k=", "top_k must be a whole number"),
        ("checkpoint=global&temperature=0,5", "such as 0.5"),
        ("checkpoint=global&temperature=nan", "temperature: expected a finite number, found nan"),
        ("checkpoint=global&condition.tone=z", "tone cannot be 'z'"),
        ("checkpoint=global&condition.tones=a", "did you mean 'tone'"),
        ("checkpoint=global&condition.level=loud", "level: expected a number from -60 to 0 dB"),
        ("checkpoint=other&seed=1", "'other', which is not here"),
        ("seconds=0.5", "names no checkpoint"),
        ("checkpoint=global&" + "x" * 4000, "longer than 4000 characters"),
    ],
)
def test_what_a_link_cannot_set_is_reported(checkpoints: Path, query: str, words: str) -> None:
    _, problems = open_link(checkpoints, query)
    assert sum(words in problem for problem in problems) == 1
    assert len(problems) == (2 if "xxx" in query else 1)


def test_the_page_shows_what_a_link_cannot_set(checkpoints: Path) -> None:
    shown = []
    with gr.Blocks() as page:
        generate_tab.tab(checkpoints)
    functions = [event.fn for event in page.fns.values()]
    (show_link,) = [f for f in functions if f and getattr(f, "__name__", "") == "show_link"]
    for query in ("checkpoint=global&seed=1", "checkpoint=global&tops=1"):
        shown.append(show_link(SimpleNamespace(query_params=query))[-1])
    assert [update["visible"] for update in shown] == [False, True]
    assert "&#x27;tops&#x27;" in shown[1]["value"]


@pytest.mark.parametrize(
    "part", ["seed=99999999999999999999", "seed=1e99", "seconds=99", "temperature=-1", "top_p=2"]
)
def test_numbers_of_a_link_out_of_range_are_reported(checkpoints: Path, part: str) -> None:
    """Regression: a seed of more than 64 bits ended the load event, and nothing could be used."""
    updates, problems = open_link(checkpoints, f"checkpoint=global&{part}")
    assert [part.partition("=")[0] in problem for problem in problems] == [True]
    json.dumps(updates, default=str)


def test_the_page_shows_the_first_problems_as_text() -> None:
    shown = describe_problems([f"<b> {n}" for n in range(9)]).split("<br>")
    assert shown[0] == "&lt;b&gt; 0."
    assert (len(shown), shown[-1]) == (6, "And 4 more.")


@pytest.mark.parametrize(
    "query",
    [
        "checkpoint=global&seed=7&top_k=9&temperature=0.5&condition.tone=a&condition.level=-20",
        "Checkpoint=GLOBAL&Seed=7.0&top-k=%209&Temperature=.5&condition.Tone=A&"
        "Condition.level=%E2%88%9220%20dB&__theme=dark&view=api",
    ],
)
def test_spellings_of_a_link_do_not_matter(checkpoints: Path, query: str) -> None:
    expected = "checkpoint=global&seed=7&top_k=9&temperature=0.5&condition.tone=a"
    expected += "&condition.level=-20"
    updates, problems = open_link(checkpoints, query)
    assert problems == []
    assert updates == show_page(checkpoints, expected)
    assert updates[0]["value"] == "global"
    assert updates[7:9] == [0.5, 9]
    numbers = updates[10 : 10 + MAX_NUMBERS]
    assert numbers[0]["value"] == -20
    assert updates[10 + MAX_NUMBERS]["value"] == "a"
    assert updates[-2] == 7


def test_link_is_read_up_to_the_maximum_length(checkpoints: Path) -> None:
    assert share_settings.read_link("a=1&" * 900 + "seed=7")[0] == {"seed": 7}
    assert share_settings.read_link("a=1&" * 1000 + "seed=7")[0] == {}


def test_json_holds_all_settings(checkpoints: Path) -> None:
    job = make_job(checkpoints, recording="prompt", temperature=0.7)
    assert json.loads(share_settings.format_json(job)) == {
        "checkpoint": "global", "conditions": CONDITIONS, "seed": 4, "seconds": 0.1,
        "temperature": 0.7, "top_k": 0, "top_p": 1.0, "guidance": 1.0, "variants": 1,
        "recording": "my recording.wav", "with_prompt": True, "engine": job.engine.name,
    }  # fmt: skip
