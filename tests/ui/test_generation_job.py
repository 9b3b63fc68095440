"""Jobs of the Generate tab: surprise, defaults of conditions and lengths, cached checkpoints."""

from pathlib import Path
from typing import Any

import pytest
import torch

from wavenet.likelihood.score import score
from wavenet.model.conditions import MelCondition, NumberCondition
from wavenet.ui.checkpoint_library import load_checkpoint
from wavenet.ui.generate.generation_job import (
    MAX_SECONDS,
    GenerateSettings,
    GenerationResult,
    default_seconds,
    make_generation_job,
)
from wavenet.ui.server.uploads import read_upload

from .conftest import RATE, save_checkpoint
from .test_generate_events import LABELS, save_prompt


def test_surprise_is_the_score_of_the_output(root: Path, tmp_path: Path) -> None:
    checkpoint = load_checkpoint(root, "digits")
    settings = GenerateSettings(seconds=0.15, seed=3, conditions=LABELS)
    prompt = save_prompt(tmp_path, "sine")
    for with_prompt in (True, False):
        result = GenerationResult(
            make_generation_job(checkpoint, settings, "auto", prompt, with_prompt)
        )
        list(result.stream())
        assert result.surprise().shape == result.waveform().shape
        continuation = result.waveform()[-1200:]
        whole = torch.cat([read_upload(prompt, RATE, 10).waveform, continuation])
        expected = score(checkpoint, whole, LABELS).surprise[-result.job.samples :]
        torch.testing.assert_close(result.surprise(), expected)


def test_empty_number_field_uses_the_default_for_audio_and_score(tmp_path: Path) -> None:
    number = NumberCondition(name="level", low=-60, high=0, default=-15)
    save_checkpoint(tmp_path, "numbered", RATE, {}, number)
    checkpoint = load_checkpoint(tmp_path, "numbered")
    results = []
    for conditions in ({}, {"level": -15.0}, {"level": -50.0}):
        settings = GenerateSettings(seconds=0.1, seed=1, conditions=conditions)
        results.append(GenerationResult(make_generation_job(checkpoint, settings)))
        list(results[-1].stream())
    empty, same, other = (result.surprise() for result in results)
    assert torch.equal(empty, same)
    assert not torch.equal(empty, other)


@pytest.mark.parametrize(("seconds", "expected"), [("0.5", 0.5), ("45.0", MAX_SECONDS)])
def test_default_length_stays_within_the_limit_of_the_page(
    tmp_path: Path, seconds: str, expected: float
) -> None:
    save_checkpoint(tmp_path, "vocoder", RATE, {}, MelCondition(n_mels=4, win_length=64))
    config = tmp_path / "vocoder" / "config.json"
    text = config.read_text()
    assert '"default_seconds": 0.5' in text
    config.write_text(text.replace('"default_seconds": 0.5', f'"default_seconds": {seconds}'))
    assert default_seconds(load_checkpoint(tmp_path, "vocoder")) == expected


def test_an_omitted_length_is_the_default_of_the_checkpoint(root: Path) -> None:
    settings = GenerateSettings(seed=3, conditions=LABELS)
    job = make_generation_job(load_checkpoint(root, "digits"), settings)
    assert job.samples == 0.5 * RATE


def test_changed_checkpoint_is_loaded_again(tmp_path: Path) -> None:
    save_checkpoint(tmp_path, "one", RATE, {"digit": ("a", "b")})
    before = load_checkpoint(tmp_path, "one")
    assert load_checkpoint(tmp_path, "one") is before
    save_checkpoint(tmp_path, "one", 2 * RATE, {"digit": ("a", "b")})
    assert load_checkpoint(tmp_path, "one").config.audio.sample_rate == 2 * RATE


def test_a_job_that_fails_midway_has_the_samples_so_far(root: Path) -> None:
    def start(job: Any) -> Any:
        yield next(job.start())
        raise RuntimeError

    settings = GenerateSettings(seconds=20, seed=3, conditions=LABELS)
    result = GenerationResult(make_generation_job(load_checkpoint(root, "digits"), settings), start)
    with pytest.raises(RuntimeError):
        list(result.stream())
    assert 0 < result.generated_samples == result.waveform().numel() < result.job.samples
