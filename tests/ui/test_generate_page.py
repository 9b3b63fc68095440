"""The page around the Generate tab: its controls, its checkpoints, and the way to the player."""

import time
from collections.abc import Iterator
from pathlib import Path

import gradio as gr
import numpy as np
import pytest
import soundfile
import torch

from audio_utils import io
from wavenet.ui import controls, generate, jobs
from wavenet.ui.controls import show_checkpoint
from wavenet.ui.player import pcm16
from wavenet.ui.studio import build_studio, launch_options

from .conftest import RATE, save_checkpoint


def test_the_controls_follow_the_checkpoint(root: Path) -> None:
    about, seconds, player, guidance, source, prompt, *rest = show_checkpoint(root, "digits")
    drawing, rest = rest[:3], rest[3:]
    assert drawing == [1.0, 0, 1.0]
    numbers, dropdowns = rest[: controls.MAX_NUMBERS], rest[controls.MAX_NUMBERS :]
    assert "8,000 Hz" in about
    assert "32 samples" in about
    assert (seconds["value"], player) == (0.5, {"rate": RATE})
    assert (seconds["visible"], prompt["visible"]) == (True, True)
    assert not any(update["visible"] for update in (guidance, source, *numbers))
    assert [d["value"] for d in dropdowns[:2]] == ["7", "jackson"]
    assert [d["visible"] for d in dropdowns] == [True] * 2 + [False] * 6
    _, _, player, *rest = show_checkpoint(root, "notes")
    dropdowns = rest[-controls.MAX_LABEL_SETS :]
    assert player == {"rate": 2 * RATE}
    assert dropdowns[0]["choices"] == [("flute", "flute"), ("horn", "horn")]
    assert [d["visible"] for d in dropdowns] == [True] + [False] * 7


def test_a_changed_checkpoint_is_loaded_anew(tmp_path: Path) -> None:
    save_checkpoint(tmp_path, "one", RATE, {"digit": ("a", "b")})
    before = jobs.load_named(tmp_path, "one")
    assert jobs.load_named(tmp_path, "one") is before
    save_checkpoint(tmp_path, "one", 2 * RATE, {"digit": ("a", "b")})
    assert jobs.load_named(tmp_path, "one").config.audio.sample_rate == 2 * RATE


@pytest.mark.parametrize("is_damaged", [False, True])
def test_the_studio_opens_without_a_usable_checkpoint(tmp_path: Path, is_damaged: bool) -> None:
    if is_damaged:
        (tmp_path / "bad").mkdir()
        (tmp_path / "bad" / "config.json").write_text("{}")
    build_studio(tmp_path)
    about = generate.show_page(tmp_path, "")[1]
    assert "role='alert'" in about
    assert str(tmp_path) + "/" not in about
    generate.prepare(tmp_path, "bad")
    assert generate.tell(tmp_path, "bad") == gr.skip()


def test_chunks_that_come_fast_are_joined_and_none_is_lost() -> None:
    pieces = list(torch.arange(12.0).split(2))
    joined = list(jobs.paced(iter(pieces), seconds=60))
    assert [len(piece) for piece in joined] == [2, 10]
    assert torch.equal(torch.cat(joined), torch.arange(12.0))
    for first, expected in ((3, [4, 8]), (99, [12])):
        found = [len(piece) for piece in jobs.paced(iter(pieces), seconds=60, first=first)]
        assert found == expected

    def slow() -> Iterator[torch.Tensor]:
        for piece in pieces:
            time.sleep(0.01)
            yield piece

    assert len(list(jobs.paced(slow(), seconds=0.001))) == len(pieces)


def test_the_player_gets_the_samples_that_the_file_gets(tmp_path: Path) -> None:
    waveform = torch.cat([torch.linspace(-1, 1, 70_001), torch.tensor([0.5 / 32768, 1.5 / 32768])])
    io.write(tmp_path / "a.wav", waveform, RATE)
    saved, _ = soundfile.read(tmp_path / "a.wav", dtype="int16")
    assert np.array_equal(np.frombuffer(pcm16(waveform), "<i2"), saved)


def test_the_studio_stays_on_this_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("SPACE_ID", raising=False)
    monkeypatch.delenv("GRADIO_SERVER_NAME", raising=False)
    options = launch_options(8000)
    assert (options["server_name"], options["server_port"]) == ("127.0.0.1", 8000)
    assert not options["share"]
    assert not options["show_error"]
    monkeypatch.setenv("SPACE_ID", "me/studio")
    assert launch_options()["server_name"] == "0.0.0.0"
