"""Training of effects in the tab: the report comes first; the states of a run, and its process.

A real process is tested in a browser, in `test_browser_effects`.
"""

import os
import signal
import sys
import time
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import gradio as gr
import numpy as np
import pytest
import soundfile
from scipy.signal import lfilter

from wavenet import folder_lock
from wavenet.effects.training.train_effect import write_metrics
from wavenet.effects.training.training_results import (
    PairResult,
    TrainingResults,
    save_results,
)
from wavenet.errors import TrainingError
from wavenet.ui.effects import effect_run, pair_training_events
from wavenet.ui.effects.effect_choices import list_studio_effects
from wavenet.ui.effects.effect_events import use_trained_effect
from wavenet.ui.effects.effect_run import (
    EffectRunPlan,
    list_effect_runs,
    read_effect_run,
    resume_effect_run,
    start_effect_run,
    stop_effect_run,
)

from .conftest import bare_page
from .effect_folder import save_effect

RATE = 8000


def write_pair(folder: Path, is_silent: bool = False) -> tuple[str, str]:
    """Write a dry recording of 4 s, and the same through a filter and a soft clipper."""
    rng = np.random.default_rng(0)
    dry = (
        0.3
        * lfilter([1], [1, -0.9], rng.normal(0, 0.4, 4 * RATE))
        * np.sin(np.arange(4 * RATE) / 4000)
    )
    dry = np.clip(dry, -0.8, 0.8)
    wet = np.zeros_like(dry) if is_silent else 0.5 * np.tanh(2 * dry)
    paths = (str(folder / "dry.wav"), str(folder / "wet.wav"))
    for path, samples in zip(paths, (dry, wet), strict=True):
        soundfile.write(path, samples, RATE, subtype="PCM_24")
    return paths


@pytest.mark.slow
def test_the_report_comes_before_the_training(tmp_path: Path) -> None:
    dry, wet = write_pair(tmp_path)
    _, sentences, plots = pair_training_events.check_pair(dry=dry, wet=wet)
    assert sentences["start"]["interactive"]
    assert "latency" in sentences["report"]
    assert "data:image/png" not in sentences["report"]
    assert plots["report"].count("data:image/png") == plots["report"].count("<details>")


@pytest.mark.slow
def test_a_failed_check_refuses_the_training(tmp_path: Path) -> None:
    dry, wet = write_pair(tmp_path, is_silent=True)
    first, sentences, _ = pair_training_events.check_pair(dry=dry, wet=wet)
    assert not first["start"]["interactive"]
    assert not sentences["start"]["interactive"]
    assert sentences["report"].index("the wet recording is silent") < sentences["report"].index(
        "pass"
    )
    (tmp_path / "no.wav").write_bytes(b"RIFF")
    *_, last = pair_training_events.check_pair(dry=dry, wet=str(tmp_path / "no.wav"))
    assert "role='alert'" in last["report"]
    assert str(tmp_path) not in last["report"]
    (only,) = pair_training_events.check_pair(dry=dry, wet=None)
    assert not only["start"]["interactive"]


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A run whose process ends at once, as if it had been lost."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(effect_run, "COMMAND", (sys.executable, "-c", ""))
    plan = EffectRunPlan(name="mine", model="nano", minutes=1)
    found = start_effect_run(plan, tmp_path / "runs", *map(Path, write_pair(tmp_path)))
    wait_for_end(found)
    return found


def wait_for_end(folder: Path) -> None:
    while read_effect_run(folder).is_active:
        time.sleep(0.05)


def log(folder: Path, text: str) -> None:
    (folder / effect_run.LOG_FILE).write_text(text)


def test_a_run_has_copies_of_its_recordings_and_a_command(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    dry, wet = (folder / effect_run.RECORDINGS / name for name in ("dry", "wet"))
    assert soundfile.info(dry).frames == soundfile.info(wet).frames == 4 * RATE
    commands = []

    def spawn(command: Any, *others: Any) -> Any:
        commands.append(command)
        return SimpleNamespace(pid=os.getpid())

    monkeypatch.setattr(effect_run, "spawn_detached", spawn)
    resume_effect_run(folder)
    assert commands == [
        (
            *(*effect_run.COMMAND, str(dry), str(wet), f"--out={folder}"),
            *("--model=nano", "--minutes=1", "--resume"),
        )
    ]
    assert not read_effect_run(folder).is_active  # this process has another command line
    with pytest.raises(TrainingError, match="already"):
        start_effect_run(EffectRunPlan(name="mine"), folder.parent, dry, wet)
    with pytest.raises(TrainingError, match="not running"):
        stop_effect_run(folder)


def test_a_running_run_is_stopped_by_an_interrupt(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sent = []
    monkeypatch.setattr(effect_run.os, "kill", lambda *values: sent.append(values))
    with folder_lock.lock_folder(folder):
        assert read_effect_run(folder).state == "running"
        with pytest.raises(TrainingError, match="running already"):
            resume_effect_run(folder)
        pair_training_events.stop_run(folder.parent, run="mine")
    assert sent == [(os.getpid(), signal.SIGINT)]


def test_the_states_of_an_ended_run(folder: Path) -> None:
    show = partial(pair_training_events.show_run, folder.parent, run="mine")
    log(folder, "step 3: ESR 0.5\nstopped; continue with the same command and --resume\n")
    assert read_effect_run(folder).state == "stopped"
    assert show()["resume"]["interactive"]
    assert not show()["timer"]["active"]
    log(folder, f"wavenet: {folder}/recordings/wet: silence: it is silent; or add --no-check\n")
    assert "Wet: silence: it is silent." in show()["state"]
    assert 'class="error"' in show()["state"]
    rows = [{"step": n, "loss": 1.0, "mean_esr": 0.5 / n, "esr": [0.1]} for n in (1, 2)]
    write_metrics(folder, rows)
    assert show()["state"].count("<polyline") == 1
    assert "0.2500" in show()["state"]
    pair = PairResult(
        name="wet", setting={}, latency=0, training_seconds=1, linear_validation_esr=0.4
    )
    save_results(folder, TrainingResults(best_step=2, steps=2, seconds=1, pairs=(pair,)))
    assert read_effect_run(folder).state == "finished"
    assert "0.4000" in show()["state"]


def test_a_run_is_listed_with_the_effects(folder: Path) -> None:
    assert not list_studio_effects(folder / "none")
    with pytest.raises(gr.Error, match="no weights yet"):
        use_trained_effect(bare_page(folder), run="mine")
    save_effect(folder, knobs=())
    assert list_studio_effects(folder / "none") == {"mine": folder}
    assert use_trained_effect(bare_page(folder), run="mine")["effect"]["value"] == "mine"


def test_the_settings_of_a_run_are_checked(tmp_path: Path) -> None:
    page = bare_page(tmp_path / "checkpoints")
    given: Any = {"dry": "a", "wet": "b", "name": "mine", "model": "nano", "minutes": 1}
    for name, value in (("wet", None), ("name", "../x"), ("name", ""), ("minutes", 0)):
        with pytest.raises(gr.Error):
            pair_training_events.start_run(page, tmp_path / "runs", **given | {name: value})
    assert not (tmp_path / "runs").exists()


def test_the_newest_run_is_first_and_names_are_checked(tmp_path: Path) -> None:
    runs = tmp_path / "runs"
    for n, name in enumerate(("old", "new")):
        (runs / name).mkdir(parents=True)
        path = runs / name / effect_run.PLAN_FILE
        path.write_text(EffectRunPlan(name=name).model_dump_json())
        os.utime(path, (n, n))
    assert list_effect_runs(runs) == ["new", "old"]
    shown = pair_training_events.list_runs(runs, run="gone")["run"]
    assert shown["value"] == "new"
    assert "no longer exists" in pair_training_events.show_run(runs, run="../x")["state"]
    (runs / "new" / effect_run.PLAN_FILE).write_text("{")
    assert "role='alert'" in pair_training_events.show_run(runs, run="new")["state"]
