"""Noise on the input codes: targets do not change, and the noise depends on seed and step only."""

from itertools import islice

import pytest
import torch
import torch.nn.functional as F

from wavenet.training.batches import Batch, training_batches
from wavenet.training.prefetch import encode_batch

from . import (
    CODEC,
    MODEL,
    batch_nll,
    build_model,
    make_clip,
    make_config,
    make_dataset,
    make_settings,
    train,
)

CLIPS = [make_clip(60 + 7 * n, n) for n in range(9)]


def stream(noise: float, count: int = 12, first_step: int = 0, **parts: object) -> list[Batch]:
    steps = training_batches(
        CLIPS, CODEC, MODEL, 300, 6.0, 3, first_step, input_noise=noise, **parts
    )  # type: ignore[arg-type]
    return [batch for step in islice(steps, count) for batch in step.batches]


def input_by_clip(batches: list[Batch]) -> dict[tuple[int, ...], list[int]]:
    """Return the input codes of every clip, by its codes."""
    return {
        tuple(codes[mask].tolist()): input_codes[mask].tolist()
        for batch in batches
        for codes, input_codes, mask in zip(batch.codes, batch.input_codes, batch.mask, strict=True)
    }


def test_targets_do_not_change_and_input_codes_have_normal_noise():
    plain, noisy = stream(0), stream(5.0, 200)
    for one, other in zip(plain, noisy, strict=False):
        assert one.input_codes is None
        assert torch.equal(one.codes, other.codes)
        assert torch.equal(other.input_codes[~other.mask], other.codes[~other.mask])  # the padding
    noises = [
        (input_codes - codes)[mask].float()
        for batch in noisy
        for codes, input_codes, mask in zip(batch.codes, batch.input_codes, batch.mask, strict=True)
    ]
    assert abs(float(torch.cat(noises).mean())) < 0.05
    deviations = torch.stack([noise.std() for noise in noises])
    assert float(deviations.max()) < 5 * 1.3  # of a clip of 60 samples
    assert float(deviations.mean()) == pytest.approx(2.5, abs=0.25)
    assert float(deviations.quantile(0.1)) < 1  # some clips have almost no noise


def test_input_codes_stay_between_0_and_n_classes():
    codes = torch.cat([batch.input_codes[batch.mask] for batch in stream(10_000.0)])
    assert (int(codes.min()), int(codes.max())) == (0, 255)


def test_noise_does_not_depend_on_the_first_step_or_the_parts_of_a_step():
    whole = stream(5.0)
    rest = stream(5.0, 8, first_step=4)
    pairs = zip(whole[4:], rest, strict=True)
    assert all(torch.equal(a.input_codes, b.input_codes) for a, b in pairs)
    divided = stream(5.0, parts=3, own_parts=range(3))
    assert len(divided) > len(whole)
    assert input_by_clip(divided) == input_by_clip(whole)


def test_the_loss_is_of_the_codes_given_the_input_codes():
    model = build_model(make_config())
    batch = stream(20.0)[0]
    conditioning = encode_batch(batch, model).conditioning
    params = model(batch.input_codes, conditioning, batch.start).transpose(1, 2)
    expected = F.cross_entropy(params[batch.mask], batch.codes[batch.mask]).item()
    assert batch_nll(model, batch).item() == pytest.approx(expected, abs=1e-5)
    plain = Batch(batch.codes, batch.mask, batch.start, batch.conditions, batch.total_samples)
    assert abs(batch_nll(model, plain).item() - expected) > 1e-3  # negative control


def test_a_training_with_noise_is_validated_without(tmp_path):
    dataset, bits = make_dataset(), []
    for noise in (0.0, 60.0):
        folder = tmp_path / f"{noise}"
        settings = make_settings(steps=4, input_noise=noise, learning_rate=1e-9)
        records: list[dict[str, float]] = []
        train(make_config(), settings, dataset, folder, on_record=records.append)
        bits.append([r["bits_per_sample"] for r in records if "bits_per_sample" in r])
    assert bits[0] == pytest.approx(bits[1], abs=1e-4)
