"""Everything that handles codes uses the codec of the config, with its start code."""

import math
from dataclasses import replace

import pytest
import torch

from tests.conftest import RATE, sine, tiny_config, tiny_model
from tests.training import make_config, make_dataset, make_settings, train
from wavenet import checkpoint
from wavenet.checkpoint import AudioConfig, CheckpointConfig
from wavenet.codec import LinearCodec, MuLawCodec, Pcm16Codec
from wavenet.generation.generate import generate
from wavenet.generation.guard import GuardConfig
from wavenet.generation.request import GenerationRequest
from wavenet.generation.search import beam_search
from wavenet.likelihood.score import score, score_blocks
from wavenet.model.model_config import LogisticOutput
from wavenet.sampling import SamplingConfig
from wavenet.training.batches import collate
from wavenet.training.dataset import cut_recording
from wavenet.training.segmentation import TrainingClip
from wavenet.training.task import bits_per_sample

ROUNDINGS = ["half-up", "down", "down-256"]


def save_and_load(folder, codec, model_config, model=None):
    """Save a checkpoint with this codec, and load it."""
    config = CheckpointConfig(
        name="tiny", audio=AudioConfig(sample_rate=RATE), codec=codec, model=model_config
    )
    if model is None:
        torch.manual_seed(0)
        model = checkpoint.build(config)
        assert model.start_code == codec.silence_code
        with torch.no_grad():
            model.output.weight.mul_(100)  # other codes then have other probabilities
    checkpoint.save(folder, config, model)
    return checkpoint.load(folder)


def score_whole(loaded, codes):
    """Return the bits of all codes by one forward pass, without windows."""
    conditioning = loaded.model.conditioning([{}], [codes.numel()], [torch.zeros(0, 0)])
    params = loaded.model(codes[None], conditioning)
    return -loaded.model.distribution.log_prob(params, codes[None])[0] / math.log(2)


@pytest.mark.parametrize("rounding", ROUNDINGS)
def test_generation_beam_search_scores_and_validation_use_the_codec(tmp_path, rounding):
    codec = MuLawCodec(rounding=rounding)
    loaded = save_and_load(tmp_path / "tiny", codec, tiny_config(conditions="none"))
    assert loaded.model.start_code == codec.silence_code

    tone = sine(0.02)
    codes = codec.encode(tone)
    greedy = SamplingConfig(greedy=True)
    (chunk,) = generate(loaded, [GenerationRequest(30, prompt=tone)], greedy, "cached", guard=None)
    assert torch.equal(chunk.waveforms[0], codec.decode(chunk.codes[0]))
    whole = torch.cat([codes, chunk.codes[0]])[None]
    conditioning = loaded.model.conditioning([{}], [whole.numel()], [torch.zeros(0, 0)])
    likeliest = loaded.model(whole, conditioning).argmax(dim=1)[0, codes.numel() :]
    assert torch.equal(likeliest, chunk.codes[0])

    found = beam_search(loaded, GenerationRequest(5, prompt=tone), 1)
    assert torch.equal(found.codes, chunk.codes[0][:5])  # one beam is greedy
    assert torch.equal(found.waveform, codec.decode(found.codes))

    bits = score_whole(loaded, codes)
    torch.testing.assert_close(score(loaded, tone).surprise, bits, atol=1e-4, rtol=1e-4)
    if rounding != "half-up":  # negative control: with another rounding, the bits differ
        others = score_whole(loaded, MuLawCodec().encode(tone))
        assert (others - bits).abs().max() > 0.01

    clip = TrainingClip(tone, {}, 0, tone.numel(), 0, "x")
    validated = bits_per_sample(loaded.model, loaded.config, [clip])
    assert validated == pytest.approx(bits.mean().item(), abs=1e-3)
    batch = collate([clip], codec, loaded.config.model, [1.0])
    assert torch.equal(batch.codes[0, : codes.numel()], codes)


@pytest.mark.parametrize("codec", [Pcm16Codec(), LinearCodec()], ids=lambda codec: codec.law)
def test_generation_and_scores_of_16_bits_use_the_codec(tmp_path, codec):
    config = tiny_config(conditions="none", output=LogisticOutput(components=2))
    loaded = save_and_load(tmp_path / "tiny", codec, config, tiny_model(config, 16))
    assert loaded.codec == codec
    assert loaded.model.start_code == 32_768
    tone = sine(0.02)
    request = GenerationRequest(30, prompt=tone, seed=1)
    (chunk,) = generate(loaded, [request], engine="cached", guard=None)
    assert torch.equal(chunk.waveforms[0], codec.decode(chunk.codes[0]))
    bits = score_whole(loaded, codec.encode(tone))
    torch.testing.assert_close(score(loaded, tone).surprise, bits, atol=1e-3, rtol=1e-4)
    # negative control: the two laws differ
    other = LinearCodec() if codec.law == "pcm16" else Pcm16Codec()
    assert not torch.equal(other.decode(chunk.codes[0]), chunk.waveforms[0])
    assert not torch.equal(other.encode(tone), codec.encode(tone))


def test_pre_emphasis_continues_from_window_to_window(tmp_path):
    codec = MuLawCodec(pre_emphasis=0.9)
    loaded = save_and_load(tmp_path / "tiny", codec, tiny_config(conditions="none"))
    tone = sine(0.02)
    codes = codec.encode(tone)
    request = GenerationRequest(1000, prompt=tone, seed=3)
    guard = GuardConfig(
        window_seconds=0.02, noise_rms=0.05, saturated_rms=0.05, saturated_fraction=0
    )
    chunks = list(generate(loaded, [request], engine="cached", guard=guard, chunk_samples=100))
    drawn = torch.cat([chunk.codes[0] for chunk in chunks])
    waveform = torch.cat([chunk.waveforms[0] for chunk in chunks])
    assert torch.equal(waveform, codec.decode(torch.cat([codes, drawn]))[codes.numel() :])
    assert any(chunk.retries for chunk in chunks)  # windows were drawn again
    restarted = codec.decode(drawn)  # negative control
    assert not torch.equal(waveform, restarted)

    found = beam_search(loaded, GenerationRequest(5, prompt=tone), 2)
    whole = codec.decode(torch.cat([codes, found.codes]))
    assert torch.equal(found.waveform, whole[codes.numel() :])

    bits = score_whole(loaded, codes)
    for parts in ([tone], tone.split(33)):
        scored = torch.cat(list(score_blocks(loaded, parts, tone.numel(), window=50)))
        torch.testing.assert_close(scored, bits, atol=1e-4, rtol=1e-4)


def test_the_codes_of_a_segment_are_those_of_its_recording():
    """With pre-emphasis, all but its first one, which is only read."""
    codec = MuLawCodec(pre_emphasis=0.9)
    config, tone = tiny_config(conditions="none"), sine(0.05)
    clips = cut_recording(tone, {}, 100, config, "x", torch.zeros(0, 0))
    assert len(clips) > 1
    batch = collate(clips, codec, config, [1.0] * len(clips))
    for row, clip in zip(batch.codes, clips, strict=True):
        expected = codec.encode(tone)[clip.start :][: clip.samples]
        first = min(1, clip.start)
        assert torch.equal(row[first : clip.samples], expected[first:])
        assert clip.context >= first


@pytest.mark.parametrize("rounding", ROUNDINGS)
def test_a_run_trains_on_the_codes_of_its_codec(tmp_path, monkeypatch, rounding):
    batches = []

    def spy(*arguments, **named):
        batches.append(collate(*arguments, **named))
        return batches[-1]

    monkeypatch.setattr("wavenet.training.batches.collate", spy)
    codec = MuLawCodec(rounding=rounding)
    config = CheckpointConfig(**dict(make_config()) | {"codec": codec})
    clip = TrainingClip(sine(0.05), {}, 0, 400, 0, "x")
    dataset = replace(make_dataset(), train=[clip] * 3, validation=[])
    train(config, make_settings(steps=1, gain_db=0.0), dataset, tmp_path)
    card = (tmp_path / "checkpoint" / "README.md").read_text()
    assert f"| codec | mu-law, 8 bits, rounded {rounding} |" in card
    expected = codec.encode(sine(0.05))
    assert batches
    assert all(torch.equal(row[:400], expected) for row in batches[0].codes)
    if rounding != "half-up":  # negative control
        assert not torch.equal(MuLawCodec().encode(sine(0.05)), expected)
