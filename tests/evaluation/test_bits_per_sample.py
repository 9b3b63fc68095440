"""Evaluation of a likelihood: bits of model and baselines, split of recordings, intervals."""

import json
import math

import numpy as np
import pytest

from tests.conftest import RATE
from tests.evaluation import DIGITS, PATTERN, SPEAKERS, labelled_config, make_word, write_words
from wavenet.cli.main import run
from wavenet.evaluation.baselines import fit_baselines
from wavenet.evaluation.bits_per_sample import (
    RecordingBits,
    bootstrap_interval,
    encode_baseline_clips,
    score_recordings,
    sum_bits,
    summarise_bits,
)
from wavenet.likelihood.score import score
from wavenet.training.segmentation import TrainingClip

LABEL_NAMES = ("digit", "speaker")


@pytest.fixture
def words(tmp_path):
    return write_words(tmp_path / "words", range(4))


def make_clips(indices):
    clips = []
    for n in indices:
        waveform = make_word("rise", "low", n)
        labels = {"digit": "rise", "speaker": "low", "index": str(n)}
        clips.append(TrainingClip(waveform, labels, 0, len(waveform), 0, f"{n}.wav"))
    return clips


@pytest.mark.parametrize("bits", [8, 16])
def test_model_and_baselines_score_the_same_codes(make_checkpoint, bits):
    from wavenet.model.model_config import LogisticOutput

    config = labelled_config()
    if bits == 16:
        config = config.model_copy(update={"output": LogisticOutput(components=2)})
    loaded = make_checkpoint(config, bits)
    baselines = fit_baselines(
        encode_baseline_clips(loaded.config, make_clips([0, 1])), loaded.config.codec
    )
    (scored,) = score_recordings(loaded, make_clips([2]), baselines, LABEL_NAMES)
    waveform = make_word("rise", "low", 2)
    labels = {"digit": "rise", "speaker": "low"}
    expected = score(loaded, waveform, labels)
    assert scored.bits["model"] == pytest.approx(expected.bits_per_sample * len(waveform))
    codes = loaded.config.codec.encode(waveform).numpy()
    for name, baseline in baselines.items():
        assert scored.bits[name] == pytest.approx(baseline.bits(codes).sum())
    assert (scored.samples, scored.labels) == (len(waveform), labels)
    # The control: the label has an effect.
    assert score(loaded, waveform, {**labels, "digit": "fall"}).bits_per_sample != pytest.approx(
        expected.bits_per_sample
    )


def recording_bits(digit, samples, bits):
    return RecordingBits("a", {"digit": digit}, samples, {"model": bits, "bigram": 2 * bits})


def test_rows_are_weighted_by_samples_and_grouped_by_label():
    rows = summarise_bits(
        [
            recording_bits("a", 10, 30.0),
            recording_bits("b", 30, 60.0),
            recording_bits("b", 10, 30.0),
        ],
        ["digit"],
    )
    assert [(r["label"], r["value"], r["clips"], r["samples"]) for r in rows] == [
        (None, None, 3, 50),
        ("digit", "a", 1, 10),
        ("digit", "b", 2, 40),
    ]
    assert [r["bits_per_sample"]["model"] for r in rows] == [120 / 50, 3.0, 90 / 40]
    assert rows[2]["bits_per_sample"]["bigram"] == 180 / 40
    assert rows[1]["interval"] is None


def test_the_interval_is_that_of_the_mean_of_many_recordings(rng):
    """For recordings of equal length it is the normal interval, mean +- 1.96 s / sqrt(n)."""
    bits = 100 * rng.normal(3, 0.5, 400)
    low, high = bootstrap_interval(bits, np.full(400, 100))
    half = 1.96 * bits.std() / 100 / math.sqrt(400)
    assert high - low == pytest.approx(2 * half, rel=0.12)
    assert low < bits.mean() / 100 < high
    assert bootstrap_interval(bits, np.full(400, 100)) == (low, high)
    assert bootstrap_interval(bits, np.full(400, 100), seed=1) != (low, high)


def test_the_interval_equals_a_bootstrap_with_numpy(rng):
    """It depends on the seed and on nothing else: published intervals stay reproducible."""
    samples = rng.integers(1000, 6000, 50)
    bits = samples * rng.normal(3.6, 0.8, 50)
    resamples = np.random.default_rng(7).integers(50, size=(1000, 50))
    means = bits[resamples].sum(1) / samples[resamples].sum(1)
    expected = np.percentile(means, [2.5, 97.5])
    assert bootstrap_interval(bits, samples, seed=7) == pytest.approx(tuple(expected), rel=1e-12)


def test_equal_bits_per_sample_have_an_interval_of_width_0():
    assert bootstrap_interval(np.array([30.0, 60.0]), np.array([10, 20])) == (3.0, 3.0)


def test_baselines_are_not_fitted_to_the_test_recordings(make_checkpoint):
    """The control: a baseline that is fitted to the test codes needs fewer bits."""
    config = make_checkpoint(labelled_config()).config
    test = encode_baseline_clips(config, make_clips([9]))
    fair = fit_baselines(encode_baseline_clips(config, make_clips(range(4))), config.codec)
    unfair = fit_baselines(test, config.codec)
    assert unfair["bigram"].bits(test[0]).mean() < fair["bigram"].bits(test[0]).mean() - 0.5


def evaluate(words, checkpoint, *options):
    return run(
        ["evaluate", "likelihood", str(words), "--checkpoint", str(checkpoint), *map(str, options)]
    )


def test_the_command_prints_a_table_and_writes_reproducible_numbers(
    make_checkpoint, words, tmp_path, capsys
):
    loaded = make_checkpoint(labelled_config())
    (words / "fall_low_9.wav").write_bytes(b"RIFF")
    options = ["--pattern", PATTERN, "--test", "index=0,1"]
    outs = [tmp_path / "one", tmp_path / "two"]
    for out in outs:
        assert evaluate(words, loaded.folder, *options, "--out", out) == 0
    stdout, stderr = capsys.readouterr()
    assert "fall_low_9.wav" in stderr
    lines = stdout.splitlines()
    assert lines[0].split()[-5:] == ["model", "histogram", "bigram", "linear", "prediction"]
    names = ["all", *(f"digit {d}" for d in DIGITS), *(f"speaker {s}" for s in SPEAKERS)]
    assert [line[:20].strip() for line in lines[1:6]] == names
    assert [int(line[20:].split()[0]) for line in lines[1:6]] == [8, 4, 4, 4, 4]
    reports = [json.loads((out / "metrics.json").read_text()) for out in outs]
    command = reports[0].pop("command")
    assert reports[1].pop("command") != command  # another --out
    assert reports[0] == reports[1]
    assert command.startswith(f"wavenet evaluate likelihood {words} --checkpoint {loaded.folder}")
    assert command.endswith(f"--test index=0,1 --out {outs[0]}")
    assert reports[0]["settings"]["baseline_recordings"] == 8
    assert len(reports[0]["recordings"]) == 8
    assert len(reports[0]["sha256"]) == 64
    assert (outs[0] / "likelihood.png").read_bytes()[:4] == b"\x89PNG"


def test_a_recipe_defines_the_held_out_recordings(make_checkpoint, tmp_path, capsys):
    """The recipe `digits` tests on index 0 to 4 and validates on 8."""
    words = write_words(tmp_path / "words", (4, 8, 9))
    folder = make_checkpoint(labelled_config()).folder
    for split, index in (("test", 4), ("validation", 8)):
        assert evaluate(words, folder, "--recipe", "digits", "--split", split, "--json") == 0
        report = json.loads(capsys.readouterr().out)
        assert {row["name"][-5:] for row in report["recordings"]} == {f"{index}.wav"}
        assert report["settings"]["baseline_recordings"] == 4


def test_a_prepared_corpus_has_the_bits_of_its_folder(make_checkpoint, words, tmp_path, capsys):
    corpus, folder = tmp_path / "corpus", make_checkpoint(labelled_config()).folder
    arguments = ["data", "prepare", words, "--out", corpus]
    arguments += ["--sample-rate", RATE, "--pattern", PATTERN]
    assert run([str(word) for word in arguments]) == 0
    capsys.readouterr()
    rows = []
    for source, options in ((words, ["--pattern", PATTERN]), (corpus, [])):
        assert evaluate(source, folder, *options, "--test", "index=0,1", "--json") == 0
        rows.append(json.loads(capsys.readouterr().out)["rows"])
    assert rows[0] == rows[1]


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        (["--pattern", PATTERN], ["held out", "--recipe", "--test"]),
        (["--pattern", PATTERN, "--test", "index=77"], ["held out for test", "index 77"]),
        (["--pattern", PATTERN, "--test", "index"], ["NAME=VALUE", "'index'"]),
        (["--recipe", "nonsense"], ["nonsense", "digits"]),
        (["--test", "index=0"], ["held out for test"]),
    ],
)
def test_invalid_splits_print_one_sentence(make_checkpoint, words, capsys, options, expected):
    code = evaluate(words, make_checkpoint(labelled_config()).folder, *options)
    stdout, stderr = capsys.readouterr()
    assert code in (1, 2) and stdout == "" and stderr.count("\n") == 1
    assert stderr.startswith("wavenet: ")
    assert [word for word in expected if word not in stderr] == []


def test_labels_come_from_a_table_with_columns_in_any_case(
    make_checkpoint, words, tmp_path, capsys
):
    """Regression: a column "Digit" was dropped, and --test held nothing out."""
    loaded = make_checkpoint(labelled_config())
    rows = ["Path;Digit;SPEAKER;Index"]
    for path in sorted(words.glob("*.wav")):
        rows.append(";".join([path.name, *path.stem.split("_")]))
    (words / "labels.csv").write_text("\n".join(rows))
    (words / "extra.tta").touch()
    out = tmp_path / "out"
    options = ["--metadata", "labels.csv", "--test", "index=0,1", "--out", out]
    assert evaluate(words, loaded.folder, *options) == 0
    assert (
        "left out: in a format that is not read (.tta): 1 file: extra.tta"
        in capsys.readouterr().err
    )
    rows = json.loads((out / "metrics.json").read_text())["rows"]
    assert [row["clips"] for row in rows] == [8, 4, 4, 4, 4]
    assert evaluate(words, loaded.folder, *options[:2], "--test", "indeex=0") == 1
    assert "has no field 'indeex', but a field 'Index'" in capsys.readouterr().err


def test_held_out_values_without_a_recording_are_named(make_checkpoint, words, capsys):
    """Regression: they were not mentioned if another value of the option had recordings."""
    folder, reports = make_checkpoint(labelled_config()).folder, []
    for test in ("index=0,1", "index=00, 1.0", "index=0,1,77"):
        options = ("--pattern", PATTERN, "--test", test, "--json")
        assert evaluate(words, folder, *options) == 0
        out, err = capsys.readouterr()
        reports.append(json.loads(out)["rows"])
        assert ("note: no recording has index '77'" in err) == ("77" in test)
    assert reports[0] == reports[1] == reports[2]
    misspelt = f"speaker={SPEAKERS[0].upper()},{SPEAKERS[1]}x"
    assert evaluate(words, folder, "--pattern", PATTERN, "--test", misspelt) == 1
    err = capsys.readouterr().err
    assert err.count("\n") == 1 and f"(did you mean '{SPEAKERS[1]}'?)" in err


@pytest.mark.parametrize("window", [1, 100, 999])
def test_bits_of_baselines_in_pieces_are_those_of_the_whole(make_checkpoint, window):
    config = make_checkpoint(labelled_config()).config
    baselines = fit_baselines(encode_baseline_clips(config, make_clips([0, 1])), config.codec)
    codes = config.codec.encode(make_word("rise", "low", 2)).numpy()[:999]
    for baseline in baselines.values():
        whole = float(baseline.bits(codes).sum())
        assert sum_bits(baseline, codes, window) == pytest.approx(whole, rel=1e-9)


def test_a_recording_longer_than_those_of_generated_clips_is_scored(
    make_checkpoint, words, capsys, monkeypatch
):
    """Only evaluations that generate clips of the same lengths limit the length."""
    monkeypatch.setattr("wavenet.evaluation.labelled_clips.MAX_SECONDS", 0.01)
    folder = make_checkpoint(labelled_config()).folder
    options = ["--checkpoint", str(folder), "--pattern", PATTERN, "--test", "index=0", "--json"]
    assert run(["evaluate", "likelihood", str(words), *options]) == 0
    report = json.loads(capsys.readouterr().out)
    assert all(recording["samples"] > 0.01 * RATE for recording in report["recordings"])
    assert run(["evaluate", "digits", str(words), *options]) == 1
    assert "longer than 0.01 s" in capsys.readouterr().err
