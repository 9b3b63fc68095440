"""Noise on what the network hears: the targets stay, and a run is a function of seed and step."""

from itertools import islice

import pytest
import torch
import torch.nn.functional as F

from wavenet.training.batches import Batch, training_batches
from wavenet.training.loop import fed_nll, masked_nll, train
from wavenet.training.prefetch import make_device_batch

from . import CPU, MODEL, make_clip, make_config, make_dataset, make_settings, model_of

CLIPS = [make_clip(60 + 7 * n, n) for n in range(9)]


def stream(noise: float, count: int = 12, first_step: int = 0, **parts: object) -> list[Batch]:
    found = training_batches(CLIPS, 8, MODEL, 300, 6.0, 3, first_step, input_noise=noise, **parts)  # type: ignore[arg-type]
    return [part for step in islice(found, count) for part in step.parts]


def heard_by_clip(steps: list[Batch]) -> dict[tuple[int, ...], list[int]]:
    """Give what is heard of every clip, by its codes."""
    return {
        tuple(codes[mask].tolist()): heard[mask].tolist()
        for batch in steps
        for codes, heard, mask in zip(batch.codes, batch.heard, batch.mask, strict=True)
    }


def test_targets_stay_and_what_is_heard_is_off_by_a_normal_deviation():
    plain, noisy = stream(0), stream(5.0, 200)
    for one, other in zip(plain, noisy, strict=False):
        assert one.heard is None
        assert torch.equal(one.codes, other.codes)
        assert torch.equal(other.heard[~other.mask], other.codes[~other.mask])  # the padding
    off = [
        (heard - codes)[mask].float()
        for batch in noisy
        for codes, heard, mask in zip(batch.codes, batch.heard, batch.mask, strict=True)
    ]
    assert abs(float(torch.cat(off).mean())) < 0.05
    deviations = torch.stack([x.std() for x in off])
    assert float(deviations.max()) < 5 * 1.3  # of a clip of 60 samples
    assert float(deviations.mean()) == pytest.approx(2.5, abs=0.25)
    assert float(deviations.quantile(0.1)) < 1  # some clips are heard almost as they are


def test_it_stays_within_the_alphabet():
    heard = torch.cat([batch.heard[batch.mask] for batch in stream(10_000.0)])
    assert (int(heard.min()), int(heard.max())) == (0, 255)


def test_it_goes_on_from_any_step_and_does_not_depend_on_how_a_step_is_divided():
    whole = stream(5.0)
    rest = stream(5.0, 8, first_step=4)
    assert all(torch.equal(a.heard, b.heard) for a, b in zip(whole[4:], rest, strict=True))
    divided = stream(5.0, parts=3, mine=range(3))
    assert len(divided) > len(whole)
    assert heard_by_clip(divided) == heard_by_clip(whole)


def test_the_loss_is_of_the_codes_given_what_is_heard():
    model = model_of(make_config())
    batch = stream(20.0)[0]
    fed = make_device_batch(batch, model)
    params = model(batch.heard, fed.conditioning, batch.start).transpose(1, 2)
    expected = F.cross_entropy(params[batch.mask], batch.codes[batch.mask]).item()
    assert masked_nll(model, batch, CPU).item() == pytest.approx(expected, abs=1e-5)
    assert fed_nll(model, fed.to(CPU)).item() == pytest.approx(expected, abs=1e-5)
    plain = Batch(batch.codes, batch.mask, batch.start, batch.labels, batch.totals)
    assert abs(masked_nll(model, plain, CPU).item() - expected) > 1e-3  # the control


def test_a_training_with_noise_is_validated_without(tmp_path):
    dataset, bits = make_dataset(), []
    for noise in (0.0, 60.0):
        folder = tmp_path / f"{noise}"
        settings = make_settings(steps=4, input_noise=noise, learning_rate=1e-9)
        records: list[dict[str, float]] = []
        train(make_config(), settings, dataset, folder, report=records.append)
        bits.append([r["bits_per_sample"] for r in records if "bits_per_sample" in r])
    assert bits[0] == pytest.approx(bits[1], abs=1e-4)
