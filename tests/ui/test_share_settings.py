"""Shared settings reproduce the same audio: as a command, as a link, as JSON."""

import json
import shlex
import shutil
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import soundfile
import torch

from audio_utils import io
from wavenet.cli.main import run as run_command
from wavenet.model.conditions import LabelCondition, MelCondition, NumberCondition
from wavenet.ui.checkpoint_library import load_checkpoint
from wavenet.ui.generate import share_settings
from wavenet.ui.generate.generation_job import (
    GenerateSettings,
    GenerationJob,
    GenerationResult,
    make_generation_job,
)
from wavenet.ui.page import Page
from wavenet.ui.page_load import open_page, read_query

from .conftest import RATE, bare_page, build_page, save_checkpoint

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


@pytest.fixture(scope="module")
def page(checkpoints: Path) -> Page:
    """The page of a studio with these checkpoints."""
    return build_page(checkpoints)[1]


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
    shown = values_of(shown_by(build_page(checkpoints)[1], share_settings.format_link(job)))
    assert {name: shown[name] for name in expected} == expected
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


def shown_by(page: Page, query: str) -> dict[str, Any]:
    """Return the updates of a page that opens with a link, without those of the visitor."""
    request: Any = SimpleNamespace(query_params=query.removeprefix("?"))
    updates = open_page(page, request, None, None)
    return {name: updates[name] for name in updates.keys() - {"token", "history"}}


def values_of(updates: dict[str, Any]) -> dict[str, Any]:
    """Return the values of the settings in the updates of a page."""
    names = ("model", "seconds", "seed", "variants", "temperature", "top_k", "top_p", "guidance")
    found = {n: updates[n]["value"] if isinstance(updates[n], dict) else updates[n] for n in names}
    return found | {"conditions": updates["conditions"]["values"]}


def test_link_restores_the_controls(page: Page) -> None:
    changes = {"seconds": 0.25, "temperature": 0.7, "top_k": 9, "top_p": 0.9, "guidance": 2.5}
    link = share_settings.format_link(make_job(page.root, **changes, variants=2))
    expected = {"model": "global", "seed": 4, "variants": 2, "conditions": CONDITIONS, **changes}
    assert values_of(shown_by(page, link)) == expected


@pytest.mark.parametrize(
    "query",
    [
        "checkpoint=../../etc&seed=1",
        "checkpoint=global&seed=x&top_k=&temperature=nan.&condition.level=loud&condition.tone=z",
        "checkpoint=global&engine=reference&run=3&prompt=/etc/passwd",
        "checkpoint=global&condition.level=5",
        "&&&=%00",
    ],
)
def test_invalid_link_changes_nothing(page: Page, query: str) -> None:
    expected = shown_by(page, "checkpoint=global" if "global" in query else "")
    found = shown_by(page, query)
    assert found.pop("problems")["visible"]
    expected.pop("problems")
    assert found == expected
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
        (
            "checkpoint=global&seconds=99",
            "seconds: expected a number above 0, at most 30, found 99",
        ),
        ("checkpoint=global&condition.tone=z", "tone cannot be 'z'"),
        ("checkpoint=global&condition.tones=a", "did you mean 'tone'"),
        ("checkpoint=global&condition.level=loud", "level: expected a number from -60 to 0 dB"),
        ("checkpoint=global&condition.level=5", "level: expected a number from -60 to 0 dB"),
        ("checkpoint=other&seed=1", "'other', which is not here"),
        ("seconds=0.5", "names no checkpoint"),
        ("checkpoint=global&" + "x" * 8000, "longer than 8000 characters"),
    ],
)
def test_what_a_link_cannot_set_is_reported(page: Page, query: str, words: str) -> None:
    _, problems = read_query(page, query)
    assert sum(words in problem for problem in problems) == 1
    assert len(problems) == 1


@pytest.mark.parametrize(
    "part", ["seed=99999999999999999999", "seed=1e99", "seconds=99", "temperature=-1", "top_p=2"]
)
def test_numbers_of_a_link_out_of_range_are_reported(page: Page, part: str) -> None:
    """Regression: a seed of more than 64 bits ended the load event, and nothing could be used."""
    settings, problems = read_query(page, f"checkpoint=global&{part}")
    assert [part.partition("=")[0] in problem for problem in problems] == [True]
    assert settings == {"model": "global", "conditions": {}}
    json.dumps(shown_by(page, f"checkpoint=global&{part}"), allow_nan=False)


@pytest.mark.parametrize(
    "query",
    [
        "checkpoint=global&seed=7&top_k=9&temperature=0.5&condition.tone=a&condition.level=-20",
        "Checkpoint=GLOBAL&Seed=7.0&top-k=%209&Temperature=.5&condition.Tone=A&"
        "Condition.level=%E2%88%9220%20dB&__theme=dark&view=api",
    ],
)
def test_spellings_of_a_link_do_not_matter(page: Page, query: str) -> None:
    settings, problems = read_query(page, query)
    assert problems == []
    assert settings == {
        "model": "global",
        "seed": 7,
        "top_k": 9,
        "temperature": 0.5,
        "conditions": {"tone": "a", "level": -20},
    }


def test_link_is_read_up_to_the_maximum_length(checkpoints: Path) -> None:
    assert share_settings.read_link("a=1&" * 1900 + "seed=7")[0] == {"seed": 7}
    assert share_settings.read_link("a=1&" * 2000 + "seed=7")[0] == {}


def test_json_holds_all_settings(checkpoints: Path) -> None:
    job = make_job(checkpoints, recording="prompt", temperature=0.7)
    assert json.loads(share_settings.format_json(job)) == {
        "checkpoint": "global", "conditions": CONDITIONS, "seed": 4, "seconds": 0.1,
        "temperature": 0.7, "top_k": 0, "top_p": 1.0, "guidance": 1.0, "variants": 1,
        "recording": "my recording.wav", "with_prompt": True, "engine": job.engine.name,
        "precision": job.engine.precision,
    }  # fmt: skip


def test_a_member_of_a_comparison_is_named_with_its_folder(
    checkpoints: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "checkpoints"
    shutil.copytree(checkpoints / "global", folder / "compare" / "global")
    name = "compare/global"
    job = make_job(folder, name, conditions=CONDITIONS)
    assert share_settings.settings_of(job)["checkpoint"] == name
    assert f"--checkpoint checkpoints/{name} " in share_settings.format_command(job)
    settings, problems = read_query(bare_page(folder), share_settings.format_link(job)[1:])
    assert (settings["model"], settings["conditions"], problems) == (name, CONDITIONS, [])
