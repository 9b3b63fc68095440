"""Training of the acoustic model: it learns, continues exactly, and reports its errors."""

import math
from pathlib import Path

import pytest
import torch

from tests.speech.test_acoustic_model import CONFIG, tokens_of
from wavenet.errors import DataError, TrainingError
from wavenet.speech.acoustic_model import AcousticModel
from wavenet.speech.spoken_examples import SpokenExample
from wavenet.speech.train_acoustic_model import (
    AcousticErrors,
    AcousticSettings,
    collate_examples,
    decode_example,
    match_variance,
    measure_errors,
    measure_f0,
    train_acoustic_model,
)

SETTINGS = AcousticSettings(steps=60, clips_per_step=4, learning_rate=5e-3)


def make_examples(count: int = 8) -> list[SpokenExample]:
    """Return sentences whose durations, F0, energy and frames depend on their phones."""
    examples = []
    for n in range(count):
        tokens = tokens_of(["Go on.", "See a dog.", "So it is.", "Me too."][n % 4])
        symbols = tokens[:, 0]
        durations = 2 + symbols % 4
        f0 = 5 + 0.2 * (symbols % 3 - 1).float()
        energy = (symbols % 5).float() / 5
        frames = (symbols[:, None] * torch.arange(1, 7)).float().sin() + energy[:, None]
        frames = torch.repeat_interleave(frames, durations, 0)
        voiced = symbols % 2 == 0
        examples.append(
            SpokenExample(f"c{n}", n % 2, tokens, durations, f0, voiced, energy, frames)
        )
    return examples


def run(folder: Path, **more: object) -> tuple[AcousticModel, list[AcousticErrors]]:
    found: list[AcousticErrors] = []

    def report(step: int, errors: AcousticErrors | None) -> None:
        if errors is not None:
            found.append(errors)

    examples = make_examples()
    arguments = {"settings": SETTINGS, **more}
    settings = arguments.pop("settings")
    model = train_acoustic_model(
        CONFIG, settings, examples, examples[:2], folder, lambda model: None, report, **arguments
    )
    return model, found


def test_training_lowers_all_errors(tmp_path: Path) -> None:
    torch.manual_seed(0)
    before = measure_errors(AcousticModel(CONFIG), make_examples()[:2])
    _, (after,) = run(tmp_path)
    assert after.frames_db < 0.75 * before.frames_db
    assert after.duration_ms < 0.75 * before.duration_ms
    assert after.f0_semitones < before.f0_semitones
    assert after.energy_db < before.energy_db


def test_an_interrupted_training_continues_exactly(tmp_path: Path) -> None:
    whole, _ = run(tmp_path / "whole")
    steps = iter([False] * 19 + [True])
    run(tmp_path / "part", should_stop=lambda: next(steps))
    resumed, _ = run(tmp_path / "part")
    expected = whole.state_dict()
    assert all(torch.equal(value, expected[name]) for name, value in resumed.state_dict().items())
    other = SETTINGS.model_copy(update={"seed": 1})
    with pytest.raises(TrainingError, match="seed"):
        run(tmp_path / "part", settings=other)


def test_batches_are_padded_and_f0_is_relative_to_the_speaker() -> None:
    examples = make_examples(2)
    config = CONFIG.model_copy(update={"f0_mean": (5.0, 4.0), "f0_deviation": (0.2, 0.5)})
    batch = collate_examples(config, examples)
    lengths = [len(e.durations) for e in examples]
    assert lengths[0] != lengths[1]
    assert batch.counts.tolist() == lengths
    shorter = lengths.index(min(lengths))
    assert batch.durations[shorter, min(lengths) :].abs().sum() == 0
    assert batch.prosody.f0[shorter, min(lengths) :].abs().sum() == 0
    torch.testing.assert_close(batch.prosody.f0[1, : lengths[1]], (examples[1].f0 - 4) / 0.5)
    assert batch.frames.shape[1] == max(int(e.durations.sum()) for e in examples)


def test_f0_is_measured_per_speaker() -> None:
    examples = make_examples()
    means, deviations = measure_f0(examples, 2)
    values = torch.cat([e.f0[e.is_voiced] for e in examples if e.speaker == 1])
    assert means[1] == pytest.approx(values.mean().item())
    assert deviations[1] == pytest.approx(values.std().item())
    with pytest.raises(DataError, match="speaker 2"):
        measure_f0(examples, 3)


def test_errors_are_zero_for_a_perfect_model(monkeypatch: pytest.MonkeyPatch) -> None:
    (example,) = make_examples(1)
    batch = collate_examples(CONFIG, [example])
    model = AcousticModel(CONFIG)
    monkeypatch.setattr(model, "decode", lambda *_: example.frames[None])
    monkeypatch.setattr(model, "predict_prosody", lambda *_: batch.prosody)
    perfect = measure_errors(model, [example])
    assert perfect.frames_db == perfect.f0_semitones == perfect.energy_db == 0
    assert perfect.duration_ms == pytest.approx(0, abs=1e-3)
    higher = batch.prosody._replace(f0=batch.prosody.f0 + math.log(2) / 12 / 0.2)
    monkeypatch.setattr(model, "predict_prosody", lambda *_: higher)
    assert measure_errors(model, [example]).f0_semitones == pytest.approx(1, abs=1e-4)


def test_a_training_without_recordings_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no recordings"):
        train_acoustic_model(CONFIG, SETTINGS, [], [], tmp_path, lambda model: None)


def test_predicted_frames_vary_as_those_of_recordings() -> None:
    torch.manual_seed(0)
    model = AcousticModel(CONFIG).eval()
    examples = [
        example.with_frames(1.2 * decode_example(model, example) + 0.3)
        for example in make_examples(8)
    ]
    before = torch.cat([decode_example(model, example) for example in examples])
    recorded = torch.cat([example.frames for example in examples])
    match_variance(model, examples)
    after = torch.cat([decode_example(model, example) for example in examples])
    torch.testing.assert_close(after.std(0), recorded.std(0), rtol=1e-3, atol=1e-4)
    torch.testing.assert_close(after.mean(0), before.mean(0), rtol=1e-3, atol=1e-4)
    assert not torch.allclose(before.std(0), recorded.std(0), rtol=0.1)  # negative control
    quiet = [example.with_frames(0.1 * example.frames) for example in examples]
    match_variance(model, quiet)  # a smaller variance is left as it is
    torch.testing.assert_close(decode_example(model, examples[0]), after[: len(examples[0].frames)])
