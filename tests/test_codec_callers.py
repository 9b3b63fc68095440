"""Whoever meets codes keeps the convention of the config: its rounding and its silence code."""

import math
from dataclasses import replace

import pytest
import torch

from tests.conftest import RATE, sine, tiny_config
from tests.training import make_config, make_dataset, make_settings, train
from wavenet import checkpoint
from wavenet.checkpoint import AudioConfig, CheckpointConfig
from wavenet.codec import MuLawCodec
from wavenet.generation.generate import generate
from wavenet.generation.request import GenerationRequest
from wavenet.generation.search import beam_search
from wavenet.likelihood.score import score
from wavenet.sampling import SamplingConfig
from wavenet.training.batches import collate
from wavenet.training.segmentation import TrainingClip
from wavenet.training.task import bits_per_sample

ROUNDINGS = ["half-up", "down", "down-256"]


@pytest.mark.parametrize("rounding", ROUNDINGS)
def test_generation_beams_scores_and_validation_keep_the_convention(tmp_path, rounding):
    codec = MuLawCodec(rounding=rounding)
    config = CheckpointConfig(
        name="tiny",
        audio=AudioConfig(sample_rate=RATE),
        codec=codec,
        model=tiny_config(conditions="none"),
    )
    torch.manual_seed(0)
    model = checkpoint.build(config)
    with torch.no_grad():
        model.output.weight.mul_(100)  # other codes then have other probabilities
    assert model.start_code == codec.silence_code
    checkpoint.save(tmp_path / "tiny", config, model)
    loaded = checkpoint.load(tmp_path / "tiny")
    assert loaded.model.start_code == model.start_code

    tone = sine(0.02)
    codes = codec.encode(tone)
    greedy = SamplingConfig(greedy=True)
    (chunk,) = generate(loaded, [GenerationRequest(30, prompt=tone)], greedy, "cached", guard=None)
    assert torch.equal(chunk.waveforms[0], codec.decode(chunk.codes[0]))
    whole = torch.cat([codes, chunk.codes[0]])[None]
    given = loaded.model.conditioning([{}], [whole.numel()], [torch.zeros(0, 0)])
    likeliest = loaded.model(whole, given).argmax(dim=1)[0, codes.numel() :]
    assert torch.equal(likeliest, chunk.codes[0])

    found = beam_search(loaded, GenerationRequest(5, prompt=tone), 1)
    assert torch.equal(found.codes, chunk.codes[0][:5])  # one beam is greedy
    assert torch.equal(found.waveform, codec.decode(found.codes))

    given = loaded.model.conditioning([{}], [codes.numel()], [torch.zeros(0, 0)])
    params = loaded.model(codes[None], given)
    bits = -loaded.model.distribution.log_prob(params, codes[None])[0] / math.log(2)
    torch.testing.assert_close(score(loaded, tone).bits, bits, atol=1e-4, rtol=1e-4)

    clip = TrainingClip(tone, {}, 0, tone.numel(), 0, "x")
    assert bits_per_sample(loaded.model, config, [clip]) == pytest.approx(
        bits.mean().item(), abs=1e-3
    )
    batch = collate([clip], codec, config.model, [1.0])
    assert torch.equal(batch.codes[0, : codes.numel()], codes)


@pytest.mark.parametrize("rounding", ROUNDINGS)
def test_a_run_trains_on_the_codes_of_its_config(tmp_path, monkeypatch, rounding):
    seen = []

    def spy(*arguments, **named):
        seen.append(collate(*arguments, **named))
        return seen[-1]

    monkeypatch.setattr("wavenet.training.batches.collate", spy)
    codec = MuLawCodec(rounding=rounding)
    config = make_config()
    config = CheckpointConfig(**dict(config) | {"codec": codec})
    clip = TrainingClip(sine(0.05), {}, 0, 400, 0, "x")
    dataset = replace(make_dataset(), train=[clip] * 3, validation=[])
    train(config, make_settings(steps=1, gain_db=0.0), dataset, tmp_path)
    expected = codec.encode(sine(0.05))
    card = (tmp_path / "checkpoint" / "README.md").read_text()
    assert f"| codec | mu-law, 8 bits, rounded {rounding} |" in card
    assert seen
    assert all(torch.equal(row[:400], expected) for row in seen[0].codes)
