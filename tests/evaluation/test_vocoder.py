"""The evaluation of a vocoder: both methods get the same, perfect is perfect, means are fair."""

import json
import math

import pytest
import soundfile
import torch

from audio_utils import metrics, voicing
from audio_utils.errors import AudioError
from tests.conftest import RATE, sine, tiny_config
from wavenet.cli.main import run
from wavenet.errors import ConditionError
from wavenet.evaluation import vocoder
from wavenet.evaluation.vocoder import Measure, Recorded, evaluate, measure, summarise
from wavenet.generation.request import GenerationRequest
from wavenet.generation.search import generate_with_candidates
from wavenet.model.conditions import MelCondition
from wavenet.model.frame_features import compute_frame_features
from wavenet.sampling import SamplingConfig

MEL = MelCondition(n_mels=20, win_length=256, channels=4, context=1)


@pytest.fixture
def tiny_vocoder(make_checkpoint):
    config = tiny_config(hop=80).model_copy(update={"conditions": (MEL,)})
    return make_checkpoint(config, name="vocoder")


def recordings(*seconds):
    return [Recorded("tones", f"{n}.wav", sine(s, 300.0 + 100 * n)) for n, s in enumerate(seconds)]


def test_every_recording_is_made_again_by_all_methods(tiny_vocoder):
    kept = {}
    chosen = recordings(0.5, 0.3, 0.4)
    measures = list(
        evaluate(
            tiny_vocoder,
            chosen,
            SamplingConfig(),
            seed=4,
            keep=lambda r, m: kept.update({r.name: m}),
        )
    )
    expected = [(one.name, method) for one in chosen for method in vocoder.METHODS]
    assert [(m.name, m.method) for m in measures] == expected
    for one in chosen:
        assert all(made.shape == one.waveform.shape for made in kept[one.name].values())
    # the baseline knows nothing of phase but all of the spectrum; weights at random know nothing
    by_method = {m: [one for one in measures if one.method == m] for m in vocoder.METHODS}
    for ours, matched, noise, baseline in zip(*by_method.values(), strict=True):
        assert baseline.stft < ours.stft
        assert baseline.pitch < ours.pitch
        assert max(matched.mel_cepstral, noise.mel_cepstral) < ours.mel_cepstral


def test_candidates_are_drawn_as_for_one_clip(tiny_vocoder):
    kept = {}
    (one,) = recordings(0.3)
    keep = lambda r, m: kept.update(m)  # noqa: E731
    list(evaluate(tiny_vocoder, [one], SamplingConfig(), seed=4, keep=keep, candidates=3))
    local = compute_frame_features(tiny_vocoder.config.model, RATE, one.waveform)
    item = GenerationRequest(one.waveform.numel(), seed=4, frame_features=local)
    assert torch.equal(kept["wavenet"], generate_with_candidates(tiny_vocoder, item, 3).waveform)
    assert not torch.equal(
        kept["wavenet"], generate_with_candidates(tiny_vocoder, item, 2).waveform
    )


def test_a_recording_can_be_repeated_alone_by_its_seed(tiny_vocoder, monkeypatch):
    monkeypatch.setattr(vocoder, "TOGETHER", 2)
    kept = []
    chosen = recordings(0.3, 0.25, 0.3)
    list(evaluate(tiny_vocoder, chosen, SamplingConfig(), seed=4, keep=lambda r, m: kept.append(m)))
    again = []
    list(
        evaluate(
            tiny_vocoder, chosen[2:], SamplingConfig(), seed=6, keep=lambda r, m: again.append(m)
        )
    )
    assert torch.equal(again[0]["wavenet"], kept[2]["wavenet"])
    assert not torch.equal(kept[0]["wavenet"], kept[2]["wavenet"])  # the control


def test_a_perfect_copy_measures_perfect_and_noise_does_not():
    one = recordings(0.6)[0]
    voice = voicing.track(one.waveform, RATE)
    perfect = measure(one, "wavenet", one.waveform, RATE, voice)
    assert (perfect.mel_cepstral, perfect.stft, perfect.pitch) == (0, 0, 0)
    noisy = one.waveform + 0.1 * torch.randn(one.waveform.shape)
    worse = measure(one, "wavenet", noisy, RATE, voice)
    assert worse.mel_cepstral > 1 and worse.stft > 0.1
    other = measure(one, "wavenet", sine(0.6, 450.0), RATE, voice)
    assert other.pitch > 0.8


def test_what_cannot_be_measured_is_none(monkeypatch):
    def refuse(*_):
        raise AudioError("too short")

    monkeypatch.setattr(metrics, "pesq", refuse)
    assert measure(recordings(0.3)[0], "wavenet", sine(0.3), RATE, torch.zeros(31)).pesq is None


def test_means_are_over_the_recordings_that_both_methods_have():
    measures = [
        Measure("g", "a", "wavenet", 3.0, None, 1.0, 1.0, 0.1),
        Measure("g", "a", "griffin-lim", 2.0, None, 2.0, 2.0, 0.1),
        Measure("g", "b", "wavenet", None, None, 3.0, 3.0, 0.1),
        Measure("g", "b", "griffin-lim", 1.0, None, 4.0, 4.0, 0.1),
        Measure("h", "a", "wavenet", 4.0, 0.5, 0.0, 0.0, 0.1),
        Measure("h", "a", "griffin-lim", 1.0, 0.5, 0.0, 0.0, 0.1),
    ]
    rows = {(row["group"], row["method"]): row for row in summarise(measures)}
    ours, baseline = rows["g", "wavenet"], rows["g", "griffin-lim"]
    assert (ours["pesq"], ours["pesq_clips"], baseline["pesq"]) == (3.0, 1, 2.0)
    assert (ours["stoi"], ours["mel_cepstral"], baseline["mel_cepstral"]) == (None, 2.0, 3.0)
    assert (ours["clips"], rows["h", "wavenet"]["pesq"]) == (2, 4.0)


def test_only_a_vocoder_is_evaluated_as_one(make_checkpoint):
    labelled = make_checkpoint(name="labelled")
    with pytest.raises(ConditionError, match="conditioned on label, position; a vocoder"):
        list(evaluate(labelled, recordings(0.3), SamplingConfig()))


def test_the_command_prints_a_table_and_keeps_what_it_measured(tiny_vocoder, tmp_path, capsys):
    folder = tmp_path / "tones"
    folder.mkdir()
    for one in recordings(0.3, 0.3, 0.3):
        soundfile.write(folder / one.name, one.waveform.numpy(), RATE)
    (folder / "broken.wav").write_bytes(b"RIFF")
    out = tmp_path / "out"
    given = ["evaluate", "vocoder", str(folder), "--checkpoint", str(tiny_vocoder.folder)]
    assert run([*given, "--out", str(out)]) == 0
    shown, said = capsys.readouterr()
    lines = shown.splitlines()
    assert lines[0].split() == [
        "group",
        "method",
        "clips",
        "PESQ",
        "STOI",
        "MCD",
        "dB",
        "STFT",
        "pitch",
    ]
    assert [line.split()[:3] for line in lines[1:]] == [
        ["tones", "wavenet", "3"],
        ["tones", "matched", "3"],
        ["tones", "noise", "3"],
        ["tones", "griffin-lim", "3"],
    ]
    assert "broken.wav" in said
    names = {path.name for path in out.iterdir()}
    assert names == {
        "metrics.json",
        "tones.png",
        "tones_original.wav",
        "tones_wavenet.wav",
        "tones_matched.wav",
        "tones_noise.wav",
        "tones_griffin-lim.wav",
    }
    report = json.loads((out / "metrics.json").read_text())
    assert len(report["recordings"]) == 12
    assert all(math.isfinite(row["stft"]) for row in report["groups"])
    assert run([*given, "--limit", "2", "--json"]) == 0
    assert len(json.loads(capsys.readouterr().out)["recordings"]) in (4, 8)


def test_a_measure_that_is_not_installed_is_said_once(tiny_vocoder, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(metrics, "missing_packages", lambda: ["pesq"])
    soundfile.write(tmp_path / "a.wav", sine(0.3).numpy(), RATE)
    assert (
        run(["evaluate", "vocoder", str(tmp_path), "--checkpoint", str(tiny_vocoder.folder)]) == 0
    )
    said = capsys.readouterr().err
    assert said.count("pesq is not installed, its column stays empty: pip install") == 1
    assert "pystoi" not in said


@pytest.mark.parametrize("folder", ["nowhere", "empty"])
def test_bad_folders_end_in_one_sentence(tiny_vocoder, tmp_path, capsys, folder):
    (tmp_path / "empty").mkdir()
    checkpoint = str(tiny_vocoder.folder)
    code = run(["evaluate", "vocoder", str(tmp_path / folder), "--checkpoint", checkpoint])
    shown, said = capsys.readouterr()
    assert code != 0 and shown == "" and said.count("\n") == 1
    assert said.startswith("wavenet: ") and folder in said
