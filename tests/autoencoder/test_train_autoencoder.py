"""Training of an autoencoder: it learns, is deterministic, and continues after an interruption."""

import math

import pytest
import torch

from wavenet.autoencoder.autoencoder_folder import load_autoencoder
from wavenet.autoencoder.finite_scalar_quantizer import FiniteScalarConfig
from wavenet.autoencoder.mel_autoencoder import MelAutoencoder
from wavenet.autoencoder.train_autoencoder import (
    AutoencoderSettings,
    draw_batch,
    measure_autoencoder,
    train_autoencoder,
)
from wavenet.errors import DataError, TrainingError
from wavenet.model.frame_scales import MEL_SPAN
from wavenet.network_training import STATE


def equal_weights(first, second):
    pairs = zip(first.state_dict().values(), second.state_dict().values(), strict=True)
    return all(torch.equal(a, b) for a, b in pairs)


@pytest.mark.parametrize("quantizer", [None, FiniteScalarConfig(levels=(4, 4))])
def test_the_error_falls(config, frames, tmp_path, quantizer):
    if quantizer is not None:
        config = config.model_copy(update={"quantizer": quantizer})
    settings = AutoencoderSettings(steps=120, clips_per_step=8, frames=6, learning_rate=1e-2)
    torch.manual_seed(settings.seed)
    untrained = measure_autoencoder(MelAutoencoder(config), frames)
    model = train_autoencoder(config, settings, frames, frames, tmp_path / "a")
    trained = measure_autoencoder(model, frames)
    assert trained.error_db < 0.7 * untrained.error_db
    assert trained.used_codes > 8


def test_an_interrupted_training_continues_as_if_it_was_not(config, settings, frames, tmp_path):
    whole = train_autoencoder(config, settings, frames, frames, tmp_path / "whole")
    folder, steps = tmp_path / "parts", []

    train_autoencoder(
        config,
        settings,
        frames,
        frames,
        folder,
        lambda step, measures: steps.append(step),
        lambda: len(steps) == 2,  # called before the report of the step
    )
    assert steps == [1, 2, 3]
    assert not equal_weights(load_autoencoder(folder).model, whole)
    train_autoencoder(
        config, settings, frames, frames, folder, lambda step, measures: steps.append(step)
    )
    assert steps == [1, 2, 3, 4, 5, 6]
    assert equal_weights(load_autoencoder(folder).model, whole)


def test_a_finished_training_is_not_repeated(config, settings, frames, tmp_path):
    first = train_autoencoder(config, settings, frames, frames, tmp_path / "a")
    steps = []
    again = train_autoencoder(
        config, settings, frames, frames, tmp_path / "a", lambda step, _: steps.append(step)
    )
    assert steps == [] and equal_weights(first, again)


def test_the_folder_of_another_training_is_refused(config, settings, frames, tmp_path):
    train_autoencoder(config, settings, frames, frames, tmp_path / "a")
    other = config.model_copy(update={"codes_per_frame": 1})
    with pytest.raises(TrainingError, match="codes_per_frame 2, found 1"):
        train_autoencoder(other, settings, frames, frames, tmp_path / "a")
    longer = settings.model_copy(update={"steps": 7})
    with pytest.raises(TrainingError, match="steps 6, found 7"):
        train_autoencoder(config, longer, frames, frames, tmp_path / "a")


def test_a_damaged_state_is_refused(config, settings, frames, tmp_path):
    train_autoencoder(config, settings, frames, frames, tmp_path / "a")
    (tmp_path / "a" / STATE).write_bytes(b"damaged")
    with pytest.raises(TrainingError, match="is damaged"):
        train_autoencoder(config, settings, frames, frames, tmp_path / "a")


def test_without_recordings_there_is_no_training(config, settings, tmp_path):
    with pytest.raises(DataError, match="no recordings"):
        train_autoencoder(config, settings, [], [], tmp_path / "a")


def test_a_loss_that_is_not_finite_ends_the_training(config, settings, frames, tmp_path):
    frames[0][:] = math.nan
    with pytest.raises(TrainingError, match="lower learning rate"):
        train_autoencoder(config, settings, frames[:1], frames, tmp_path / "a")
    assert not (tmp_path / "a" / "model.safetensors").exists()


def test_short_recordings_are_continued_by_their_last_frame(settings, frames):
    batch = draw_batch(frames[:1], settings, torch.Generator().manual_seed(0))
    assert batch.shape == (4, 6, 8)
    for part in batch:
        assert torch.equal(part[:3], frames[0])
        assert torch.equal(part[3:], frames[0][2].expand(3, 8))


def test_parts_of_long_recordings_begin_anywhere(frames):
    settings = AutoencoderSettings(clips_per_step=200, frames=6)
    batch = draw_batch(frames[4:], settings, torch.Generator().manual_seed(0))
    starts = {int((frames[4] == part[0]).all(dim=1).nonzero()[0]) for part in batch}
    assert starts == set(range(15))


def test_the_measures_have_their_closed_form(config, frames):
    torch.manual_seed(0)
    model = MelAutoencoder(config).requires_grad_(False)
    measures = measure_autoencoder(model, frames)
    squares, codes = [], []
    for part in frames:
        found = model.encode(part[None])
        squares.append((model.decode(found)[0] - part).flatten() ** 2)
        codes += found.flatten().tolist()
    shares = [codes.count(code) / len(codes) for code in set(codes)]
    assert measures.error_db == pytest.approx(torch.cat(squares).mean().sqrt().item() * MEL_SPAN)
    assert measures.perplexity == pytest.approx(math.exp(-sum(p * math.log(p) for p in shares)))
    assert measures.used_codes == len(shares)
