"""Evaluation of a vocoder: all methods have the same frames, metrics and means are correct."""

import json
import math

import pytest
import soundfile
import torch

from audio_utils import metrics
from audio_utils.errors import AudioError
from tests.conftest import RATE, sine, tiny_config
from wavenet.cli.main import run
from wavenet.errors import ConditionError
from wavenet.evaluation import vocoder
from wavenet.evaluation.vocoder import (
    ReferenceRecording,
    ResynthesisMetrics,
    compute_metrics,
    evaluate_vocoder,
    summarise_metrics,
)
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


def make_tones(*seconds):
    """Return tones of different pitch, of the given durations."""
    return [
        ReferenceRecording("tones", f"{n}.wav", sine(s, 300.0 + 100 * n))
        for n, s in enumerate(seconds)
    ]


def run_evaluation(checkpoint, recordings, seed=4, **options):
    """Return the metrics, and the resynthesised waveforms by recording name and method."""
    waveforms = {}

    def collect(recording, by_method):
        waveforms[recording.name] = dict(by_method)

    results = evaluate_vocoder(
        checkpoint, recordings, SamplingConfig(), seed=seed, on_resynthesis=collect, **options
    )
    return list(results), waveforms


def test_every_recording_is_resynthesised_by_all_methods(tiny_vocoder):
    tones = make_tones(0.5, 0.3, 0.4)
    results, waveforms = run_evaluation(tiny_vocoder, tones)
    expected = [(tone.name, method) for tone in tones for method in vocoder.METHODS]
    assert [(result.name, result.method) for result in results] == expected
    for tone in tones:
        by_method = waveforms[tone.name]
        assert all(waveform.shape == tone.waveform.shape for waveform in by_method.values())
    # Griffin-Lim uses the whole spectrum; the model has random weights.
    by_method = {m: [r for r in results if r.method == m] for m in vocoder.METHODS}
    for ours, matched, noise, baseline in zip(*by_method.values(), strict=True):
        assert baseline.stft < ours.stft
        assert baseline.pitch < ours.pitch
        assert max(matched.mel_cepstral, noise.mel_cepstral) < ours.mel_cepstral


def test_candidates_are_those_of_a_single_clip(tiny_vocoder):
    (tone,) = make_tones(0.3)
    _, waveforms = run_evaluation(tiny_vocoder, [tone], candidates=3)
    generated = waveforms[tone.name]["wavenet"]
    features = compute_frame_features(tiny_vocoder.config.model, RATE, tone.waveform)
    request = GenerationRequest(tone.waveform.numel(), seed=4, frame_features=features)
    three, two = (generate_with_candidates(tiny_vocoder, request, n).waveform for n in (3, 2))
    assert torch.equal(generated, three)
    assert not torch.equal(generated, two)


def test_a_recording_can_be_repeated_alone_by_its_seed(tiny_vocoder, monkeypatch):
    monkeypatch.setattr(vocoder, "BATCH_SIZE", 2)
    tones = make_tones(0.3, 0.25, 0.3)
    _, waveforms = run_evaluation(tiny_vocoder, tones, seed=4)
    first, _, last = (waveforms[tone.name]["wavenet"] for tone in tones)
    _, again = run_evaluation(tiny_vocoder, tones[2:], seed=6)
    assert torch.equal(again[tones[2].name]["wavenet"], last)
    assert not torch.equal(first, last)  # negative control


def test_a_perfect_copy_has_the_best_metrics_and_noise_does_not():
    (tone,) = make_tones(0.6)
    pitch = metrics.speech_f0(tone.waveform, RATE)
    perfect = compute_metrics(tone, "wavenet", tone.waveform, RATE, pitch)
    assert (perfect.mel_cepstral, perfect.stft, perfect.pitch) == (0, 0, 0)
    noisy = tone.waveform + 0.1 * torch.randn(tone.waveform.shape)
    worse = compute_metrics(tone, "wavenet", noisy, RATE, pitch)
    assert worse.mel_cepstral > 1 and worse.stft > 0.1
    other = compute_metrics(tone, "wavenet", sine(0.6, 450.0), RATE, pitch)
    assert other.pitch > 0.8


def test_an_undefined_metric_is_none(monkeypatch):
    def undefined(*_):
        raise AudioError("too short")

    monkeypatch.setattr(metrics, "pesq", undefined)
    (tone,) = make_tones(0.3)
    assert compute_metrics(tone, "wavenet", sine(0.3), RATE, torch.zeros(31)).pesq is None


def test_means_are_over_recordings_for_which_all_methods_are_defined():
    results = [
        ResynthesisMetrics("g", "a", "wavenet", 3.0, None, 1.0, 1.0, 0.1),
        ResynthesisMetrics("g", "a", "griffin-lim", 2.0, None, 2.0, 2.0, 0.1),
        ResynthesisMetrics("g", "b", "wavenet", None, None, 3.0, 3.0, 0.1),
        ResynthesisMetrics("g", "b", "griffin-lim", 1.0, None, 4.0, 4.0, 0.1),
        ResynthesisMetrics("h", "a", "wavenet", 4.0, 0.5, 0.0, 0.0, 0.1),
        ResynthesisMetrics("h", "a", "griffin-lim", 1.0, 0.5, 0.0, 0.0, 0.1),
    ]
    rows = {(row["group"], row["method"]): row for row in summarise_metrics(results)}
    ours, baseline = rows["g", "wavenet"], rows["g", "griffin-lim"]
    assert (ours["pesq"], ours["pesq_clips"], baseline["pesq"]) == (3.0, 1, 2.0)
    assert (ours["stoi"], ours["mel_cepstral"], baseline["mel_cepstral"]) == (None, 2.0, 3.0)
    assert (ours["clips"], rows["h", "wavenet"]["pesq"]) == (2, 4.0)


def test_a_checkpoint_without_mel_condition_raises(make_checkpoint):
    labelled = make_checkpoint(name="labelled")
    with pytest.raises(ConditionError, match="conditioned on digit, position"):
        list(evaluate_vocoder(labelled, make_tones(0.3), SamplingConfig()))


@pytest.mark.slow
def test_the_command_prints_a_table_and_writes_its_results(tiny_vocoder, tmp_path, capsys):
    folder = tmp_path / "tones"
    folder.mkdir()
    for tone in make_tones(0.3, 0.3, 0.3):
        soundfile.write(folder / tone.name, tone.waveform.numpy(), RATE)
    (folder / "broken.wav").write_bytes(b"RIFF")
    out = tmp_path / "out"
    command = ["evaluate", "vocoder", str(folder), "--checkpoint", str(tiny_vocoder.folder)]
    assert run([*command, "--out", str(out)]) == 0
    stdout, stderr = capsys.readouterr()
    lines = stdout.splitlines()
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
    assert "broken.wav" in stderr
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
    assert report["command"] == f"wavenet {' '.join(command)} --out {out}"
    assert report["checkpoint"] == "vocoder"
    assert len(report["sha256"]) == 64
    assert report["settings"] == {"limit": None, "precision": "fp32"}
    assert "torch" in report["versions"]
    assert all(math.isfinite(row["stft"]) for row in report["groups"])
    assert run([*command, "--limit", "2", "--json"]) == 0
    assert len(json.loads(capsys.readouterr().out)["recordings"]) in (4, 8)


def test_a_missing_package_is_reported_once(tiny_vocoder, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(metrics, "missing_packages", lambda: ["pesq"])
    soundfile.write(tmp_path / "a.wav", sine(0.3).numpy(), RATE)
    assert (
        run(["evaluate", "vocoder", str(tmp_path), "--checkpoint", str(tiny_vocoder.folder)]) == 0
    )
    stderr = capsys.readouterr().err
    assert stderr.count("pesq is not installed") == 1
    assert "pystoi is not installed" not in stderr


@pytest.mark.parametrize("folder", ["nowhere", "empty"])
def test_invalid_folders_print_one_sentence(tiny_vocoder, tmp_path, capsys, folder):
    (tmp_path / "empty").mkdir()
    checkpoint = str(tiny_vocoder.folder)
    code = run(["evaluate", "vocoder", str(tmp_path / folder), "--checkpoint", checkpoint])
    stdout, stderr = capsys.readouterr()
    assert code != 0 and stdout == "" and stderr.count("\n") == 1
    assert stderr.startswith("wavenet: ") and folder in stderr


def test_folders_that_would_be_one_group_print_one_sentence(tiny_vocoder, tmp_path, capsys):
    """A folder that was given twice counted twice."""
    checkpoint = str(tiny_vocoder.folder)
    for folders in (("a", "a"), ("a", "b/../a"), ("a", "b/a")):
        paths = [str(tmp_path / folder) for folder in folders]
        assert run(["evaluate", "vocoder", *paths, "--checkpoint", checkpoint]) == 2
        stdout, stderr = capsys.readouterr()
        assert (stdout, stderr.count("\n")) == ("", 1)
        assert "have the same name, which would be one group" in stderr
