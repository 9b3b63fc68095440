"""Candidates: the nearest frame by frame goes on, and nothing else changes."""

import pytest
import torch

from tests.conftest import RATE, tiny_config
from wavenet import codec
from wavenet.engines.registry import make_engine
from wavenet.errors import ConditionError
from wavenet.generation.decoder import RETRY_NOISE_OFFSET
from wavenet.generation.generate import generate_waveforms
from wavenet.generation.noise import uniform_noise
from wavenet.generation.request import GenerationRequest
from wavenet.generation.search import generate_with_candidates
from wavenet.model.conditions import FramesCondition, LabelCondition, MelCondition
from wavenet.model.frame_features import compute_condition_frames, compute_frame_features
from wavenet.sampling import SamplingConfig

HOP = 40


@pytest.fixture
def vocoder(make_checkpoint):
    """Make a tiny vocoder whose mel window reaches `window` samples."""

    def make(window=96, extra=()):
        mel = MelCondition(n_mels=20, win_length=window, channels=4, context=1)
        config = tiny_config(hop=HOP).model_copy(update={"conditions": (*extra, mel)})
        return make_checkpoint(config)

    return make


def item_for(loaded, samples, seed=0, **more):
    """Ask for the frames of noise that swells."""
    generator = torch.Generator().manual_seed(7)
    noise = torch.randn(samples, generator=generator) * torch.linspace(0.02, 0.3, samples)
    waveform = noise.clamp(-1, 1)
    return GenerationRequest(
        samples,
        seed=seed,
        frame_features=compute_frame_features(loaded.config.model, RATE, waveform),
        **more,
    )


def written_out(loaded, item, candidates, window):
    """Do the same with whole waveforms and a state made anew for every candidate."""
    model, bits = loaded.model, loaded.config.codec.bits
    condition = loaded.config.model.locals[0]
    kept, frame = torch.zeros(0, dtype=torch.int64), 0
    while kept.numel() < item.samples:
        last = next(n for n in range(HOP, 10**6, HOP) if n >= frame * HOP + window / 2)
        whole = last < item.samples
        last = last if whole else item.samples
        found = []
        for n in range(candidates):
            engine = make_engine("cached", model)
            state = engine.start(model.conditioning([{}], [item.samples], [item.frame_features]))
            engine.prefill(state, [kept])
            noise = uniform_noise(
                item.seed,
                item.noise_stream,
                kept.numel() + n * RETRY_NOISE_OFFSET,
                last - kept.numel(),
            )
            new = engine.run(state, last - kept.numel(), SamplingConfig(), noise[None])[0]
            codes = torch.cat([kept, new])
            mel = compute_condition_frames(condition, codec.decode(codes, bits), RATE, HOP)
            stop = frame + 1 if whole else mel.shape[0]
            off = (mel[frame:stop] - item.frame_features[frame:stop]).square().mean()
            found.append((float(off), n, codes))
        kept = min(found)[2]
        frame += 1
    return kept


@pytest.mark.parametrize("window", [64, 96, 160, 250])
@pytest.mark.parametrize("samples", [30, 330, 360])
def test_the_nearest_candidate_of_every_frame_goes_on(vocoder, window, samples):
    loaded = vocoder(window)
    item = item_for(loaded, samples)
    made = generate_with_candidates(loaded, item, 3, engine="cached")
    assert made.codes.tolist() == written_out(loaded, item, 3, window).tolist()
    torch.testing.assert_close(
        made.waveform, codec.decode(made.codes, loaded.config.codec.bits), atol=0, rtol=0
    )


def test_one_candidate_is_the_plain_clip_and_more_come_nearer(vocoder):
    loaded = vocoder()
    item, told = item_for(loaded, 800), []
    (plain,) = generate_waveforms(loaded, [item], engine="cpu", guard=None)
    one = generate_with_candidates(loaded, item, 1, engine="cpu", report=told.append)
    assert torch.equal(one.waveform, plain)
    assert sum(told) == 800
    condition = loaded.config.model.locals[0]

    def distance(waveform):
        return float(
            (compute_condition_frames(condition, waveform, RATE, HOP) - item.frame_features)
            .square()
            .mean()
        )

    many = [generate_with_candidates(loaded, item, n, engine="cpu").waveform for n in (8, 32)]
    again = generate_with_candidates(loaded, item, 8, engine="cpu").waveform
    assert torch.equal(again, many[0])
    assert distance(many[1]) < distance(many[0]) < distance(plain)


def test_the_columns_of_mel_are_found_beside_others(vocoder):
    other = FramesCondition(name="curve", columns=2, channels=4, context=0)
    loaded = vocoder(extra=(other,))
    config, generator = loaded.config.model, torch.Generator().manual_seed(1)
    curve = torch.randn(6, 2, generator=generator)
    waveform = torch.randn(200, generator=generator).mul(0.2).clamp(-1, 1)
    item = GenerationRequest(
        200, frame_features=compute_frame_features(config, RATE, waveform, {"curve": curve})
    )
    near = generate_with_candidates(loaded, item, 16, engine="cached").waveform
    mel = config.locals[1]
    wanted = item.frame_features[:, 2:]
    plain = generate_with_candidates(loaded, item, 1, engine="cached").waveform
    far, close = (
        (compute_condition_frames(mel, w, RATE, HOP) - wanted).square().mean()
        for w in (plain, near)
    )
    assert close < far


@pytest.mark.parametrize("count", [0, 65])
def test_numbers_out_of_range_are_refused(vocoder, count):
    loaded = vocoder()
    with pytest.raises(ConditionError, match=f"candidates must be 1 to 64, found {count}"):
        generate_with_candidates(loaded, item_for(loaded, 100), count)


def test_what_does_not_go_together_is_refused(vocoder, make_checkpoint):
    loaded = vocoder()
    item = item_for(loaded, 100)
    with pytest.raises(ConditionError, match="candidates and guidance"):
        generate_with_candidates(loaded, item, 2, SamplingConfig(guidance=2.0))
    with pytest.raises(ConditionError, match="leave the prompt out"):
        generate_with_candidates(loaded, item_for(loaded, 100, prompt=torch.ones(200)), 2)
    with pytest.raises(ConditionError, match="need 3 frames x 20"):
        generate_with_candidates(
            loaded, GenerationRequest(100, frame_features=item.frame_features[:1]), 2
        )
    label = LabelCondition(name="digit", values=("a",))
    plain = make_checkpoint(tiny_config().model_copy(update={"conditions": (label,)}))
    with pytest.raises(ConditionError, match="not conditioned on mel, which this needs"):
        generate_with_candidates(plain, GenerationRequest(100, {"digit": "a"}), 2)
