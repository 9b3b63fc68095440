"""A voice: sentences are planned and spoken, its files are checked."""

import json
import shutil
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

import pytest
import torch
from safetensors.torch import save as to_bytes

from tests.speech.test_acoustic_model import CONFIG, tokens_of
from tests.speech.tiny_voice import save_vocoder, save_voice
from wavenet import checkpoint
from wavenet.checkpoint_folders import studio_name
from wavenet.errors import CheckpointError, ConditionError
from wavenet.generation.clip_mel_matching import match_clip_mel
from wavenet.generation.generate import generate
from wavenet.model.frame_scales import MEL_SPAN
from wavenet.speech.acoustic_model import AcousticModel
from wavenet.speech.voice import MATCHING_PASSES, SentencePlan, SpeakingStyle, Voice
from wavenet.speech.voice_folder import (
    copy_vocoder,
    load_acoustic_model,
    load_voice,
    save_acoustic_model,
)
from wavenet.weights_file import WEIGHTS, write_weights

TEXT = "Hello there, you. So it goes!"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_voice(tmp_path_factory.mktemp("voices") / "tiny")


@pytest.fixture(scope="module")
def voice(folder: Path) -> Voice:
    return load_voice(folder)


def frames_of(plans: list[SentencePlan]) -> int:
    return sum(len(plan.frames) for plan in plans)


def test_sentences_are_planned_one_by_one(voice: Voice) -> None:
    read: list[str] = []

    def lines() -> Iterator[str]:
        for n in range(500):
            read.append(f"It goes on and on to number {n}. ")
            yield read[-1]

    plans = voice.plan(lines())
    assert read == []
    for n in range(3):
        assert next(plans).sentence.text.strip() == read[n].strip()
    assert len(read) < 100


def test_the_times_of_a_plan_are_those_of_its_frames(voice: Voice) -> None:
    for plan in voice.plan(TEXT):
        assert plan.tokens[0].start == 0
        seconds = len(plan.frames) / CONFIG.frames_per_second
        assert plan.tokens[-1].end == pytest.approx(seconds)
        assert all(a.end == b.start for a, b in pairwise(plan.tokens))
        times = plan.word_times()
        assert len(times) == len(plan.sentence.read_words)
        assert all(a[1] <= b[0] for a, b in pairwise(times))
        assert all(end > start for start, end in times)


def test_the_sound_has_the_length_of_the_plan_and_depends_on_the_seed(voice: Voice) -> None:
    plan = next(voice.plan(TEXT))
    first, again, other = (
        torch.cat(list(voice.speak_sentence(plan, seed, engine="cached"))) for seed in (0, 0, 1)
    )
    assert first.shape == ((len(plan.frames) - 1) * CONFIG.hop,)
    assert torch.equal(first, again)
    assert not torch.equal(first, other)


def test_a_style_changes_times_pitch_and_level(voice: Voice) -> None:
    plain = list(voice.plan(TEXT))
    fast = list(voice.plan(TEXT, SpeakingStyle(speed=2)))
    assert frames_of(fast) == pytest.approx(frames_of(plain) / 2, rel=0.2)
    high = list(voice.plan(TEXT, SpeakingStyle(pitch=12)))
    assert high[0].tokens[1].f0 == pytest.approx(2 * plain[0].tokens[1].f0, rel=1e-4)
    loud = list(voice.plan(TEXT, SpeakingStyle(loudness=6)))
    difference = loud[0].frames - plain[0].frames
    assert (difference > 0).all()
    assert difference.std() < 1e-5
    flat = list(voice.plan(TEXT, SpeakingStyle(melody=0)))
    assert len({round(token.f0, 3) for token in flat[0].tokens}) == 1
    other = list(voice.plan(TEXT, speaker="b"))
    assert other[0].tokens[1].f0 != plain[0].tokens[1].f0


def test_notices_of_sentences_without_words_are_reported(voice: Voice) -> None:
    notices: list[str] = []
    plans = list(voice.plan("😀.\n\nHello. Привет.", notify=notices.append))
    assert [plan.sentence.text for plan in plans] == ["Hello."]
    assert [notice.split()[0] for notice in notices] == ["emoji", "letters"]


def test_equal_sentences_of_a_text_have_different_noise(voice: Voice) -> None:
    plans = list(voice.plan("Hello. Hello."))
    assert torch.equal(plans[0].frames, plans[1].frames)
    requests = [voice.make_request(plan, seed=7) for plan in plans]
    assert [(r.seed, r.noise_stream) for r in requests] == [(7, 0), (7, 1)]


@pytest.mark.parametrize(
    "style", [{"speed": 0.1}, {"speed": 5}, {"pitch": 13}, {"loudness": -20}, {"melody": -1}]
)
def test_a_style_out_of_range_is_refused(style: dict[str, float]) -> None:
    with pytest.raises(ConditionError, match=next(iter(style))):
        SpeakingStyle(**style)


def test_an_unknown_speaker_is_refused(voice: Voice) -> None:
    with pytest.raises(ConditionError, match="expected one of a, b"):
        voice.plan(TEXT, speaker="c")


def test_own_pronunciations_are_spoken(folder: Path) -> None:
    own = load_voice(folder, {"hello": "Z IH1 Z"})
    (plan,) = own.plan("Hello.")
    assert [spoken.token.symbol for spoken in plan.tokens] == ["start", "Z", "IH", "Z", "."]


def test_a_vocoder_of_other_frames_is_refused(folder: Path, tmp_path: Path) -> None:
    other = tmp_path / "other"
    shutil.copytree(folder, other)
    copy_vocoder(other, save_vocoder(tmp_path / "wavenet", hop=40))
    with pytest.raises(CheckpointError, match=r"hop 80.*found 8000 Hz, hop 40"):
        load_voice(other)


def test_a_voice_is_used_as_a_checkpoint_by_its_vocoder(folder: Path) -> None:
    loaded, vocoder = checkpoint.load(folder), checkpoint.load(folder / "vocoder")
    assert loaded.config == vocoder.config == checkpoint.load_config(folder)
    assert loaded.folder == vocoder.folder == folder / "vocoder"
    weights = vocoder.model.state_dict()
    assert all(torch.equal(value, weights[k]) for k, value in loaded.model.state_dict().items())
    assert studio_name(loaded.folder) == folder.name


def test_a_checkpoint_is_no_voice(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="not a voice but another model"):
        load_voice(folder / "vocoder")
    with pytest.raises(CheckpointError, match="is not a voice"):
        load_voice(tmp_path)
    damaged = tmp_path / "damaged"
    shutil.copytree(folder, damaged)
    content = json.loads((damaged / "config.json").read_text())
    (damaged / "config.json").write_text(json.dumps({**content, "channels": 24}, indent=2))
    with pytest.raises(CheckpointError, match="does not fit"):
        load_voice(damaged)


def test_durations_and_melody_of_a_sentence_are_changed(voice: Voice) -> None:
    plan = next(voice.plan(TEXT, SpeakingStyle(loudness=3)))
    frames = [spoken.frames for spoken in plan.tokens]
    f0 = [spoken.f0 for spoken in plan.tokens]
    same = voice.change_prosody(plan, frames, f0)
    torch.testing.assert_close(same.frames, plan.frames, rtol=0, atol=1e-4)
    assert [s.end for s in same.tokens] == [s.end for s in plan.tokens]
    longer = voice.change_prosody(plan, [2 * n for n in frames], f0)
    assert len(longer.frames) == 2 * len(plan.frames)
    higher = voice.change_prosody(plan, frames, [1.5 * hertz for hertz in f0])
    assert higher.frames.shape == plan.frames.shape
    assert not torch.allclose(higher.frames, plan.frames, atol=1e-3)
    assert [s.f0 for s in higher.tokens] == pytest.approx([1.5 * hertz for hertz in f0], rel=1e-4)


@pytest.mark.parametrize(
    ("frames", "f0", "words"),
    [
        ([1], None, "durations, one per phone or pause, found 1"),
        (None, [100.0], "F0 values, one per phone or pause, found 1"),
        ([-1], None, "durations must be 0 to"),
        ([10**9], None, "durations must be 0 to"),
        (None, [float("nan")], "F0 values must be 40 to 1000, found nan"),
    ],
)
def test_a_changed_sentence_is_checked(
    voice: Voice, frames: list[int] | None, f0: list[float] | None, words: str
) -> None:
    plan = next(voice.plan(TEXT))
    count = len(plan.tokens)
    chosen_frames = [5] * count if frames is None else frames
    chosen_f0 = [200.0] * count if f0 is None else f0
    if "must be" in words:
        chosen_frames, chosen_f0 = (v * (count // len(v)) for v in (chosen_frames, chosen_f0))
    with pytest.raises(ConditionError, match=words):
        voice.change_prosody(plan, chosen_frames, chosen_f0)


def test_stored_weights_have_half_the_bytes_and_nearly_the_same_frames(tmp_path: Path) -> None:
    torch.manual_seed(0)
    model = AcousticModel(CONFIG).eval().requires_grad_(False)
    save_acoustic_model(tmp_path, model)
    numbers = sum(tensor.numel() for tensor in model.state_dict().values())
    assert (tmp_path / WEIGHTS).stat().st_size < 2 * numbers + 10_000
    loaded = load_acoustic_model(tmp_path)
    assert {tensor.dtype for tensor in loaded.state_dict().values()} == {torch.float32}
    before, after = (frames_of_model(each) for each in (model, loaded))
    assert 0 < (before - after).abs().mean().item() * MEL_SPAN < 0.02


def frames_of_model(model: AcousticModel) -> torch.Tensor:
    tokens = tokens_of("See a dog.")[None]
    counts = torch.tensor([tokens.shape[1]])
    hidden = model.encode(tokens, torch.zeros(1, dtype=torch.int64), counts)
    zeros = torch.zeros(1, tokens.shape[1])
    return model.decode(hidden, zeros, zeros, torch.full(zeros.shape, 3))


def test_weights_of_float32_are_read_and_mixed_ones_refused(tmp_path: Path) -> None:
    model = AcousticModel(CONFIG)
    save_acoustic_model(tmp_path, model)
    weights = model.state_dict()
    write_weights(tmp_path / WEIGHTS, weights)
    loaded = load_acoustic_model(tmp_path).state_dict()
    assert all(torch.equal(value, loaded[name]) for name, value in weights.items())
    mixed = {
        name: value.half() if name == "norm.bias" else value for name, value in weights.items()
    }
    (tmp_path / WEIGHTS).write_bytes(to_bytes(mixed))
    with pytest.raises(CheckpointError, match=r"norm\.bias is .*'F16'.*expected .*'F32'"):
        load_acoustic_model(tmp_path)


def test_a_weight_beyond_the_range_of_float16_is_refused(tmp_path: Path) -> None:
    model = AcousticModel(CONFIG)
    with torch.no_grad():
        model.norm.bias[0] = 7e4
    with pytest.raises(CheckpointError, match=r"norm\.bias.*values beyond 65,504"):
        save_acoustic_model(tmp_path, model)
    assert not (tmp_path / WEIGHTS).exists()


def test_the_sound_is_filtered_to_the_planned_frames(voice: Voice) -> None:
    plan = next(voice.plan(TEXT))
    request = voice.make_request(plan, 3)
    generated = torch.cat([c.waveforms[0] for c in generate(voice.vocoder, [request])])
    matched = match_clip_mel(voice.vocoder, generated, plan.frames, MATCHING_PASSES)
    spoken = torch.cat(list(voice.speak_sentence(plan, 3)))
    torch.testing.assert_close(spoken, matched.clamp(-1, 1), atol=1e-5, rtol=1e-4)
    assert not torch.allclose(spoken, generated, atol=1e-2)  # negative control
