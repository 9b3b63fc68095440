"""Evaluation of generated clips: correct labels, copies and repetitions are detected."""

import json
import math

import numpy as np
import pytest
import soundfile
import torch

from tests.conftest import RATE, tiny_config
from tests.evaluation import PATTERN, labelled_config, make_words, write_words
from wavenet.cli.main import run
from wavenet.errors import DataError
from wavenet.evaluation import classifiers
from wavenet.evaluation.label_evaluation import ClipEvaluator, wilson_interval
from wavenet.evaluation.labelled_clips import LabelledClip
from wavenet.generation.generate import generate_waveforms
from wavenet.generation.request import GenerationRequest

TRAINING, TEST = make_words(range(10)), make_words(range(20, 25))
STEPS = 60


@pytest.fixture(scope="module")
def evaluator():
    return ClipEvaluator(TRAINING, TEST, RATE, STEPS)


def compare(evaluator, clips):
    return evaluator.compare(evaluator.measure(clips))


def changed(clips, change):
    return [LabelledClip(one.name, one.labels, change(one.waveform)) for one in clips]


def noise(clips, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return changed(clips, lambda w: 0.3 * torch.randn(w.shape, generator=generator))


def test_both_classifiers_recognise_unseen_words(evaluator):
    found = compare(evaluator, make_words(range(30, 36)))
    assert found["clips"] == {"real": 20, "generated": 24}
    for kind in ("real", "generated"):
        for classifier in ("svm", "cnn"):
            for name in ("digit", "speaker", "all"):
                assert found["accuracy"][kind][classifier][name]["fraction"] >= 0.9, (
                    kind,
                    classifier,
                    name,
                )


def test_classifiers_predict_the_sound_not_the_requested_label(evaluator):
    """The control: words with the other digit, and noise."""
    other = {"rise": "fall", "fall": "rise"}
    clips = [
        LabelledClip(c.name, {**c.labels, "digit": other[c.labels["digit"]]}, c.waveform)
        for c in make_words(range(30, 36))
    ]
    for classifier, found in compare(evaluator, clips)["accuracy"]["generated"].items():
        assert found["digit"]["fraction"] <= 0.1, classifier
        assert found["speaker"]["fraction"] >= 0.9, classifier
        assert found["all"]["fraction"] <= 0.1, classifier
    for found in compare(evaluator, noise(clips))["accuracy"]["generated"].values():
        assert found["all"]["fraction"] <= 0.6


def test_accuracy_is_reported_for_each_value(evaluator):
    rising = [c for c in make_words(range(30, 36)) if c.labels["digit"] == "rise"]
    wrong = [LabelledClip("x", {**c.labels, "digit": "fall"}, c.waveform) for c in rising]
    values = compare(evaluator, rising + wrong)["accuracy_by_value"]["generated"]["svm"]["digit"]
    assert values["rise"] >= 0.9 and values["fall"] <= 0.1


def test_copies_of_training_clips_are_detected(evaluator):
    copies = changed(TRAINING[:12], lambda w: w.clone())
    found = compare(evaluator, copies)["nearest"]
    assert found["copies"] == 12 and found["generated"]["minimum"] < 1e-6
    # At a lower level and with some noise they are still copies.
    torch.manual_seed(0)
    hidden = changed(TRAINING[:12], lambda w: 0.5 * w + 1e-4 * torch.randn(w.shape))
    assert compare(evaluator, hidden)["nearest"]["copies"] >= 10


def test_other_clips_are_not_copies(evaluator):
    """The control: other words of the same kind; by chance about 24 / 21 of them are as near."""
    found = compare(evaluator, make_words(range(30, 36)))["nearest"]
    assert found["copies_expected"] == pytest.approx(24 / 21)
    assert found["copies"] <= 4
    assert len(found["distances"]["generated"]) == 24


def test_identical_clips_have_no_diversity(evaluator):
    same = [clip for clip in make_words([30]) for _ in range(5)]
    assert compare(evaluator, same)["diversity"]["generated"] == 0
    found = compare(evaluator, make_words(range(30, 35)))["diversity"]
    assert found["generated"] == pytest.approx(found["real"], rel=0.2)
    assert found["classes"] == 4
    single = compare(evaluator, make_words([30]))["diversity"]
    assert (single["generated"], single["classes"]) == (None, 0)


def test_the_frechet_distance_of_noise_is_larger_than_that_of_words(evaluator):
    words = make_words(range(30, 35))
    near, far = (compare(evaluator, c)["frechet"]["generated"] for c in (words, noise(words)))
    assert far > 5 * near
    assert 0 < compare(evaluator, words)["frechet"]["real"] < far


def test_training_of_the_classifiers_is_reproducible(evaluator):
    """The training has its own seed, and does not change the global random state."""
    clips = noise(make_words(range(30, 33)))
    torch.manual_seed(99)
    before = torch.get_rng_state()
    again = ClipEvaluator(TRAINING, TEST, RATE, STEPS)
    assert torch.equal(torch.get_rng_state(), before)
    assert compare(again, clips) == compare(evaluator, clips)
    shorter = ClipEvaluator(TRAINING, TEST, RATE, STEPS // 2)
    assert compare(shorter, clips) != compare(evaluator, clips)


@pytest.mark.parametrize("correct", [0, 3, 19, 20])
def test_the_interval_is_the_score_interval(correct):
    """The bounds p solve |p - k / n| = z sqrt(p (1 - p) / n), with the normal quantile z."""
    fraction = correct / 20
    low, high = wilson_interval(correct, 20)
    assert 0 <= low <= fraction <= high <= 1
    for bound in (low, high):
        half = 1.959964 * math.sqrt(bound * (1 - bound) / 20)
        assert abs(bound - fraction) == pytest.approx(half, abs=1e-6)


def test_too_few_recordings_or_values_raise():
    with pytest.raises(DataError, match="two test recordings or more"):
        ClipEvaluator(TRAINING, TEST[:1], RATE, STEPS)
    one = [c for c in TRAINING if c.labels == {"digit": "rise", "speaker": "low"}]
    with pytest.raises(DataError, match="two or more values of a label"):
        ClipEvaluator(one, TEST, RATE, STEPS)


def test_a_label_with_one_value_is_ignored():
    low = [c for c in TRAINING if c.labels["speaker"] == "low"]
    test = [c for c in TEST if c.labels["speaker"] == "low"]
    assert ClipEvaluator(low, test, RATE, STEPS).classifiers.label_names == ("digit",)


def evaluate(folder, checkpoint, *options):
    arguments = ["--checkpoint", str(checkpoint), "--test", "index=0,1", *map(str, options)]
    return run(["evaluate", "digits", str(folder), *arguments])


@pytest.fixture
def words(tmp_path, monkeypatch):
    monkeypatch.setattr(classifiers, "CNN_STEPS", 20)
    return write_words(tmp_path / "words", range(5))


@pytest.mark.slow
def test_the_command_is_reproducible_by_its_seed(make_checkpoint, words, tmp_path, capsys):
    loaded = make_checkpoint(labelled_config())
    options = ("--pattern", PATTERN, "--count", 6, "--temperature", 0.8)
    one, two = tmp_path / "one", tmp_path / "two"
    assert evaluate(words, loaded.folder, *options, "--out", one, "--clips") == 0
    table = capsys.readouterr().out
    assert evaluate(words, loaded.folder, *options, "--out", two) == 0
    assert capsys.readouterr().out == table
    heads = [line[:30].strip() for line in table.splitlines()]
    labels = ("digit", "speaker", "all")
    rows = [f"{classifier}: {name} accuracy, %" for classifier in ("svm", "cnn") for name in labels]
    assert heads[:7] == ["metric", *rows]
    assert heads[-2:] == ["copies", "clips with guard retries"]
    reports = [json.loads((out / "metrics.json").read_text()) for out in (one, two)]
    commands = [report.pop("command") for report in reports]
    assert reports[0] == reports[1]
    assert commands[0].endswith(f"--count 6 --temperature 0.8 --clips --out {one}")
    assert reports[0]["settings"]["seed"] == 0 and reports[0]["training_recordings"] == 12
    clips = sorted(path.name for path in (one / "clips").iterdir())
    assert [name[-9:] for name in sorted(clips, key=lambda n: n[-9:])] == [
        f"seed{n}.wav" for n in range(6)
    ]
    names = {path.name for path in two.iterdir()}
    assert names == {"metrics.json", "accuracy.png", "nearest.png"}
    # The control: another seed generates other clips.
    assert evaluate(words, loaded.folder, *options, "--seed", 50, "--json") == 0
    other = json.loads(capsys.readouterr().out)
    assert other["nearest"]["distances"] != reports[0]["nearest"]["distances"]


def test_a_written_clip_can_be_generated_again(make_checkpoint, words, tmp_path):
    loaded = make_checkpoint(labelled_config())
    out = tmp_path / "out"
    assert evaluate(words, loaded.folder, "--pattern", PATTERN, "--count", 2, "--seed", 7,
                    "--out", out, "--clips") == 0  # fmt: skip
    (path,) = (out / "clips").glob("*_seed8.wav")
    _, digit, speaker, _ = path.stem.split("_")
    written = soundfile.read(path, dtype="float32")[0]
    request = GenerationRequest(len(written), {"digit": digit, "speaker": speaker}, 8)
    (again,) = generate_waveforms(loaded, [request])
    assert np.abs(written - again.numpy()).max() < 1e-4  # 16 bits


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--pattern", PATTERN, "--clips"], "--clips needs"),
        (["--pattern", PATTERN, "--top-p", "2"], "top_p"),
        (["--pattern", PATTERN, "--guidance", "2"], "guidance"),
        (["--pattern", "{word}_{voice}_{index}"], "no label"),
    ],
)
def test_invalid_options_print_one_sentence(make_checkpoint, words, capsys, options, message):
    assert evaluate(words, make_checkpoint(labelled_config()).folder, *options) == 2
    stdout, stderr = capsys.readouterr()
    assert stdout == "" and stderr.count("\n") == 1 and message in stderr


def test_a_model_without_labels_is_rejected(make_checkpoint, words, capsys):
    folder = make_checkpoint(tiny_config(conditions="none")).folder
    assert evaluate(words, folder, "--pattern", PATTERN) == 2
    assert "no label" in capsys.readouterr().err
