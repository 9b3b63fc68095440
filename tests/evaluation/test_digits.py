"""Judges of generated clips: they hear what is there, and copies and repetitions are found out."""

import json

import numpy as np
import pytest
import soundfile
import torch
from scipy.stats import binomtest

from tests.conftest import RATE, tiny_config
from tests.evaluation import PATTERN, labelled_config, make_words, write_words
from wavenet.cli.main import run
from wavenet.errors import DataError
from wavenet.evaluation import network
from wavenet.evaluation.digits import Reference, wilson
from wavenet.evaluation.recordings import Labelled
from wavenet.generation.generate import generate_waveforms
from wavenet.generation.request import GenerationRequest

LEARNT, TEST = make_words(range(10)), make_words(range(20, 25))
STEPS = 60


@pytest.fixture(scope="module")
def reference():
    return Reference(LEARNT, TEST, RATE, STEPS)


def compare(reference, clips):
    return reference.compare(reference.measure(clips))


def changed(clips, change):
    return [Labelled(one.name, one.labels, change(one.waveform)) for one in clips]


def noise(clips, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return changed(clips, lambda w: 0.3 * torch.randn(w.shape, generator=generator))


def test_both_judges_hear_words_that_they_never_heard(reference):
    found = compare(reference, make_words(range(30, 36)))
    assert found["clips"] == {"real": 20, "generated": 24}
    for kind in ("real", "generated"):
        for judge in ("svm", "cnn"):
            for name in ("digit", "speaker", "all"):
                assert found["accuracy"][kind][judge][name]["share"] >= 0.9, (kind, judge, name)


def test_judges_hear_what_is_there_not_what_is_asked_for(reference):
    """The control: words that say the other digit, and noise that says nothing."""
    other = {"rise": "fall", "fall": "rise"}
    clips = [
        Labelled(c.name, {**c.labels, "digit": other[c.labels["digit"]]}, c.waveform)
        for c in make_words(range(30, 36))
    ]
    for judge, found in compare(reference, clips)["accuracy"]["generated"].items():
        assert found["digit"]["share"] <= 0.1, judge
        assert found["speaker"]["share"] >= 0.9, judge
        assert found["all"]["share"] <= 0.1, judge
    for found in compare(reference, noise(clips))["accuracy"]["generated"].values():
        assert found["all"]["share"] <= 0.6


def test_shares_are_told_for_each_value(reference):
    rising = [c for c in make_words(range(30, 36)) if c.labels["digit"] == "rise"]
    wrong = [Labelled("x", {**c.labels, "digit": "fall"}, c.waveform) for c in rising]
    values = compare(reference, rising + wrong)["values"]["generated"]["svm"]["digit"]
    assert values["rise"] >= 0.9 and values["fall"] <= 0.1


def test_copies_of_what_was_learnt_are_found(reference):
    copies = changed(LEARNT[:12], lambda w: w.clone())
    found = compare(reference, copies)["nearest"]
    assert found["copies"] == 12 and found["generated"]["smallest"] < 1e-6
    # softer, and a little noisier: still copies
    torch.manual_seed(0)
    hidden = changed(LEARNT[:12], lambda w: 0.5 * w + 1e-4 * torch.randn(w.shape))
    assert compare(reference, hidden)["nearest"]["copies"] >= 10


def test_clips_that_are_no_copies_are_not_called_so(reference):
    """The control: other words of the same kind. By chance about 24 / 21 of them are so near."""
    found = compare(reference, make_words(range(30, 36)))["nearest"]
    assert found["copies_by_chance"] == pytest.approx(24 / 21)
    assert found["copies"] <= 4
    assert len(found["distances"]["generated"]) == 24


def test_a_model_that_always_says_the_same_has_no_diversity(reference):
    same = [clip for clip in make_words([30]) for _ in range(5)]
    assert compare(reference, same)["diversity"]["generated"] == 0
    found = compare(reference, make_words(range(30, 35)))["diversity"]
    assert found["generated"] == pytest.approx(found["real"], rel=0.2)
    assert found["classes"] == 4
    single = compare(reference, make_words([30]))["diversity"]
    assert (single["generated"], single["classes"]) == (None, 0)


def test_a_frechet_distance_tells_words_from_noise(reference):
    words = make_words(range(30, 35))
    near, far = (compare(reference, c)["frechet"]["generated"] for c in (words, noise(words)))
    assert far > 5 * near
    assert 0 < compare(reference, words)["frechet"]["real"] < far


def test_the_same_recordings_make_the_same_judges(reference):
    """The training draws at random, from seeds of its own and not from anybody else's."""
    clips = noise(make_words(range(30, 33)))
    torch.manual_seed(99)
    before = torch.get_rng_state()
    again = Reference(LEARNT, TEST, RATE, STEPS)
    assert torch.equal(torch.get_rng_state(), before)
    assert compare(again, clips) == compare(reference, clips)
    shorter = Reference(LEARNT, TEST, RATE, STEPS // 2)
    assert compare(shorter, clips) != compare(reference, clips)


@pytest.mark.parametrize("right", [0, 3, 19, 20])
def test_the_interval_of_a_share_is_that_of_scipy(right):
    expected = binomtest(right, 20).proportion_ci(method="wilson")
    assert wilson(right, 20) == pytest.approx((expected.low, expected.high), abs=1e-6)


def test_what_cannot_be_judged_is_refused():
    with pytest.raises(DataError, match="two test recordings or more"):
        Reference(LEARNT, TEST[:1], RATE, STEPS)
    one = [c for c in LEARNT if c.labels == {"digit": "rise", "speaker": "low"}]
    with pytest.raises(DataError, match="two or more values of a label"):
        Reference(one, TEST, RATE, STEPS)


def test_a_label_with_one_value_is_not_judged():
    low = [c for c in LEARNT if c.labels["speaker"] == "low"]
    test = [c for c in TEST if c.labels["speaker"] == "low"]
    assert Reference(low, test, RATE, STEPS).judges.names == ("digit",)


def evaluate(folder, checkpoint, *options):
    given = ["--checkpoint", str(checkpoint), "--test", "index=0,1", *map(str, options)]
    return run(["evaluate", "digits", str(folder), *given])


@pytest.fixture
def words(tmp_path, monkeypatch):
    monkeypatch.setattr(network, "STEPS", 20)
    return write_words(tmp_path / "words", range(5))


def test_the_command_prints_a_table_and_the_same_seed_the_same(
    make_checkpoint, words, tmp_path, capsys
):
    loaded = make_checkpoint(labelled_config())
    given = ("--pattern", PATTERN, "--count", 6, "--temperature", 0.8)
    one, two = tmp_path / "one", tmp_path / "two"
    assert evaluate(words, loaded.folder, *given, "--out", one, "--clips") == 0
    table = capsys.readouterr().out
    assert evaluate(words, loaded.folder, *given, "--out", two) == 0
    assert capsys.readouterr().out == table
    heads = [line[:30].strip() for line in table.splitlines()]
    labels = ("digit", "speaker", "all")
    judged = [f"{judge}: {name} right, %" for judge in ("svm", "cnn") for name in labels]
    assert heads[:7] == ["measure", *judged]
    assert heads[-2:] == ["copies", "drawn again by the guard"]
    reports = [json.loads((out / "metrics.json").read_text()) for out in (one, two)]
    commands = [report.pop("command") for report in reports]
    assert reports[0] == reports[1]
    assert commands[0].endswith(f"--count 6 --temperature 0.8 --clips --out {one}")
    assert reports[0]["settings"]["seed"] == 0 and reports[0]["learnt_from"] == 12
    clips = sorted(path.name for path in (one / "clips").iterdir())
    assert [name[-9:] for name in sorted(clips, key=lambda n: n[-9:])] == [
        f"seed{n}.wav" for n in range(6)
    ]
    names = {path.name for path in two.iterdir()}
    assert names == {"metrics.json", "accuracy.png", "nearest.png"}
    # the control: another seed, other clips
    assert evaluate(words, loaded.folder, *given, "--seed", 50, "--json") == 0
    other = json.loads(capsys.readouterr().out)
    assert other["nearest"]["distances"] != reports[0]["nearest"]["distances"]


def test_a_clip_that_was_kept_can_be_generated_again(make_checkpoint, words, tmp_path):
    loaded = make_checkpoint(labelled_config())
    out = tmp_path / "out"
    assert evaluate(words, loaded.folder, "--pattern", PATTERN, "--count", 2, "--seed", 7,
                    "--out", out, "--clips") == 0  # fmt: skip
    (path,) = (out / "clips").glob("*_seed8.wav")
    _, digit, speaker, _ = path.stem.split("_")
    kept = soundfile.read(path, dtype="float32")[0]
    item = GenerationRequest(len(kept), {"digit": digit, "speaker": speaker}, 8)
    (again,) = generate_waveforms(loaded, [item])
    assert np.abs(kept - again.numpy()).max() < 1e-4  # 16 bits


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--pattern", PATTERN, "--clips"], "--clips needs a folder"),
        (["--pattern", PATTERN, "--top-p", "2"], "top_p"),
        (["--pattern", PATTERN, "--guidance", "2"], "not trained to leave any out"),
        (["--pattern", "{word}_{voice}_{index}"], "conditioned on no label that all recordings"),
    ],
)
def test_bad_options_end_in_one_sentence(make_checkpoint, words, capsys, options, said):
    assert evaluate(words, make_checkpoint(labelled_config()).folder, *options) == 2
    shown, words_said = capsys.readouterr()
    assert shown == "" and words_said.count("\n") == 1 and said in words_said


def test_a_model_without_labels_is_refused(make_checkpoint, words, capsys):
    folder = make_checkpoint(tiny_config(conditions="none")).folder
    assert evaluate(words, folder, "--pattern", PATTERN) == 2
    assert "conditioned on no label" in capsys.readouterr().err
