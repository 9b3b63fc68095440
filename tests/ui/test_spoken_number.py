"""Say a number: the digits of one voice, joined; what cannot be said is one sentence."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import gradio as gr
import numpy as np
import pytest
import soundfile
import torch

from wavenet.generation.generate import Chunk
from wavenet.generation.spoken_number import FADE_SECONDS, can_say_numbers, join_clips
from wavenet.ui.checkpoint_library import load_checkpoint
from wavenet.ui.generate.generate_events import say_number, start_here
from wavenet.ui.generate.generation_job import GenerationJob
from wavenet.ui.page import Page

from .conftest import RATE, bare_page
from .test_generate_events import LABELS, played_samples

pytestmark = pytest.mark.usefixtures("uploads")
VALUES: dict[str, Any] = {
    "job_number": 5,
    "name": "digits",
    "form": {"values": LABELS},
    "seed": 3,
    "engine": "auto",
}


def say(page: Page, number: Any, token: Any = None, start: Any = start_here, **changes: Any) -> Any:
    return say_number(page, start, number=number, **VALUES | {"token": token} | changes)


@pytest.mark.slow
def test_the_digits_are_generated_together_and_joined(root: Path) -> None:
    jobs: list[GenerationJob] = []

    def start(job: GenerationJob) -> Iterator[Chunk]:
        jobs.append(job)
        return job.start()

    page = bare_page(root)
    token = page.clips.visitor(None)
    outputs = list(say(page, " 19 84", token, start))
    (job,) = jobs
    assert [r.conditions for r in job.requests] == [LABELS | {"digit": d} for d in "1984"]
    assert [r.seed for r in job.requests] == [3, 4, 5, 6]
    (clip,) = page.clips.clips(token)
    assert (clip.path.name, clip.title) == ("1984_seed3.wav", "digits · 1984 · jackson · seed 3")
    saved, rate = soundfile.read(clip.path, dtype="int16")
    assert rate == RATE
    assert np.array_equal(saved, played_samples(outputs))
    assert outputs[-1]["viewer"]["samples"] == len(saved)
    assert "end" in outputs[-2]["player"]
    assert clip.clip_id in outputs[-2]["history"]


@pytest.mark.parametrize("number", ["", None, "  ", "12a", "-1", "1.5", "1" * 13, "１９", "\ud800"])
def test_what_is_no_number_is_a_sentence(root: Path, number: Any) -> None:
    page = bare_page(root)
    outputs = say(page, number)
    shown = next(outputs)["player"]["error"]
    assert shown.startswith("Number to say: expected 1 to 12 digits, found ")
    assert shown.endswith("found nothing.") == (not (number or "").strip())
    with pytest.raises(gr.Error) as caught:
        next(outputs)
    assert caught.value.message == shown


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"seed": -2}, "seed: expected a number from -1 to"),
        ({"seed": 1.5}, "seed: expected a whole number"),
        ({"form": None}, "reload the page"),
        ({"engine": "warp"}, "'warp'"),
        ({"name": "notes"}, "no condition 'digit'"),
        ({"name": "none"}, "found 'none'"),
    ],
)
def test_invalid_settings_are_a_sentence(root: Path, changes: dict[str, Any], words: str) -> None:
    outputs = say(bare_page(root), "1984", **changes)
    assert words in next(outputs)["player"]["error"]
    with pytest.raises(gr.Error):
        next(outputs)


def test_an_empty_seed_is_any(root: Path) -> None:
    page = bare_page(root)
    token = page.clips.visitor(None)
    for _ in range(2):
        list(say(page, "7", token, seed=None))
    first, second = page.clips.clips(token)
    assert first.path.read_bytes() != second.path.read_bytes()


def test_only_models_of_all_digits_can_say_numbers(root: Path) -> None:
    assert can_say_numbers(load_checkpoint(root, "digits").config.model)
    assert not can_say_numbers(load_checkpoint(root, "notes").config.model)


def test_clips_overlap_without_the_silence_around_them() -> None:
    fade = round(FADE_SECONDS * RATE)
    silence = torch.zeros(2000)
    sound = 0.5 * torch.sin(torch.arange(4096) * 0.5)
    clip = torch.cat([silence, sound, silence])
    joined = join_clips([clip] * 3, RATE)
    alone = join_clips([clip], RATE)
    assert len(sound) + 2 * fade <= len(alone) < len(sound) + 2 * fade + 4 * 512
    assert len(joined) == 3 * len(alone) - 2 * fade
    assert joined.abs().max() <= 0.5 + 1e-6
    torch.testing.assert_close(joined[: len(alone) - fade], alone[: len(alone) - fade])


def test_silent_clips_are_joined_too() -> None:
    joined = join_clips([torch.zeros(1000), torch.zeros(1000)], RATE)
    assert joined.abs().max() == 0
