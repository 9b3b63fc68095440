"""The evaluation of a likelihood: whose bits, of which recordings, and how sure."""

import json
import math

import numpy as np
import pytest

from tests.conftest import RATE
from tests.evaluation import DIGITS, PATTERN, SPEAKERS, labelled_config, make_word, write_words
from wavenet import codec
from wavenet.cli.main import run
from wavenet.evaluation.baselines import fit_baselines
from wavenet.evaluation.likelihood import Cost, codes_to_fit, interval, measure, summarise
from wavenet.likelihood.score import score
from wavenet.training.cuts import Clip

NAMES = ("digit", "speaker")


@pytest.fixture
def words(tmp_path):
    return write_words(tmp_path / "words", range(4))


def make_clips(indices):
    found = []
    for n in indices:
        waveform = make_word("rise", "low", n)
        labels = {"digit": "rise", "speaker": "low", "index": str(n)}
        found.append(Clip(waveform, labels, 0, len(waveform), 0, f"{n}.wav"))
    return found


@pytest.mark.parametrize("bits", [8, 16])
def test_model_and_baselines_pay_for_the_same_codes(make_checkpoint, bits):
    from wavenet.model.model_config import LogisticOutput

    config = labelled_config()
    if bits == 16:
        config = config.model_copy(update={"output": LogisticOutput(components=2)})
    loaded = make_checkpoint(config, bits)
    baselines = fit_baselines(codes_to_fit(loaded.config, make_clips([0, 1])), loaded.config.codec)
    (cost,) = measure(loaded, make_clips([2]), baselines, NAMES)
    waveform = make_word("rise", "low", 2)
    labels = {"digit": "rise", "speaker": "low"}
    expected = score(loaded, waveform, labels)
    assert cost.bits["wavenet"] == pytest.approx(expected.bits_per_sample * len(waveform))
    codes = codec.encode(waveform, bits).numpy()
    for name, baseline in baselines.items():
        assert cost.bits[name] == pytest.approx(baseline.bits(codes).sum())
    assert (cost.samples, cost.labels) == (len(waveform), labels)
    # the control: the label is heeded
    assert score(loaded, waveform, {**labels, "digit": "fall"}).bits_per_sample != pytest.approx(
        expected.bits_per_sample
    )


def cost(digit, samples, bits):
    return Cost("a", {"digit": digit}, samples, {"wavenet": bits, "bigram": 2 * bits})


def test_rows_are_weighted_by_samples_and_divided_by_label():
    rows = summarise([cost("a", 10, 30.0), cost("b", 30, 60.0), cost("b", 10, 30.0)], ["digit"])
    assert [(r["label"], r["value"], r["clips"], r["samples"]) for r in rows] == [
        (None, None, 3, 50),
        ("digit", "a", 1, 10),
        ("digit", "b", 2, 40),
    ]
    assert [r["bits_per_sample"]["wavenet"] for r in rows] == [120 / 50, 3.0, 90 / 40]
    assert rows[2]["bits_per_sample"]["bigram"] == 180 / 40
    assert rows[1]["interval"] is None


def test_the_interval_is_that_of_the_mean_of_many_recordings(rng):
    """Of equally long recordings it is the normal one, 1.96 s / sqrt(n) to each side."""
    bits = 100 * rng.normal(3, 0.5, 400)
    low, high = interval(bits, np.full(400, 100))
    half = 1.96 * bits.std() / 100 / math.sqrt(400)
    assert high - low == pytest.approx(2 * half, rel=0.12)
    assert low < bits.mean() / 100 < high
    assert interval(bits, np.full(400, 100)) == (low, high)
    assert interval(bits, np.full(400, 100), seed=1) != (low, high)


def test_recordings_that_cost_the_same_leave_no_doubt():
    assert interval(np.array([30.0, 60.0]), np.array([10, 20])) == (3.0, 3.0)


def test_what_baselines_learn_from_is_not_what_is_measured(make_checkpoint):
    """A baseline that had learnt the test codes would cost less: the control."""
    config = make_checkpoint(labelled_config()).config
    held = codes_to_fit(config, make_clips([9]))
    fair = fit_baselines(codes_to_fit(config, make_clips(range(4))), config.codec)
    cheat = fit_baselines(held, config.codec)
    assert cheat["bigram"].bits(held[0]).mean() < fair["bigram"].bits(held[0]).mean() - 0.5


def evaluate(words, checkpoint, *options):
    return run(
        ["evaluate", "likelihood", str(words), "--checkpoint", str(checkpoint), *map(str, options)]
    )


def test_the_command_prints_a_table_and_keeps_the_same_numbers_twice(
    make_checkpoint, words, tmp_path, capsys
):
    loaded = make_checkpoint(labelled_config())
    (words / "fall_low_9.wav").write_bytes(b"RIFF")
    given = ["--pattern", PATTERN, "--test", "index=0,1"]
    outs = [tmp_path / "one", tmp_path / "two"]
    for out in outs:
        assert evaluate(words, loaded.folder, *given, "--out", out) == 0
    shown, said = capsys.readouterr()
    assert "fall_low_9.wav" in said
    lines = shown.splitlines()
    assert lines[0].split()[-5:] == ["wavenet", "histogram", "bigram", "linear", "prediction"]
    names = ["all", *(f"digit {d}" for d in DIGITS), *(f"speaker {s}" for s in SPEAKERS)]
    assert [line[:20].strip() for line in lines[1:6]] == names
    assert [int(line[20:].split()[0]) for line in lines[1:6]] == [8, 4, 4, 4, 4]
    reports = [json.loads((out / "metrics.json").read_text()) for out in outs]
    command = reports[0].pop("command")
    assert reports[1].pop("command") != command  # another --out
    assert reports[0] == reports[1]
    assert command.startswith(f"wavenet evaluate likelihood {words} --checkpoint {loaded.folder}")
    assert command.endswith(f"--test index=0,1 --out {outs[0]}")
    assert reports[0]["settings"]["fitted_to"] == 8
    assert len(reports[0]["recordings"]) == 8
    assert len(reports[0]["sha256"]) == 64
    assert (outs[0] / "likelihood.png").read_bytes()[:4] == b"\x89PNG"


def test_a_recipe_says_what_is_held_out(make_checkpoint, tmp_path, capsys):
    """The recipe `digits` tests on index 0 to 4 and validates on 8."""
    words = write_words(tmp_path / "words", (4, 8, 9))
    folder = make_checkpoint(labelled_config()).folder
    for split, index in (("test", 4), ("validation", 8)):
        assert evaluate(words, folder, "--recipe", "digits", "--split", split, "--json") == 0
        report = json.loads(capsys.readouterr().out)
        assert {row["name"][-5:] for row in report["recordings"]} == {f"{index}.wav"}
        assert report["settings"]["fitted_to"] == 4


def test_a_prepared_corpus_costs_what_its_folder_costs(make_checkpoint, words, tmp_path, capsys):
    corpus, folder = tmp_path / "corpus", make_checkpoint(labelled_config()).folder
    made = ["data", "prepare", words, "--out", corpus, "--sample-rate", RATE, "--pattern", PATTERN]
    assert run([str(word) for word in made]) == 0
    capsys.readouterr()
    rows = []
    for source, given in ((words, ["--pattern", PATTERN]), (corpus, [])):
        assert evaluate(source, folder, *given, "--test", "index=0,1", "--json") == 0
        rows.append(json.loads(capsys.readouterr().out)["rows"])
    assert rows[0] == rows[1]


@pytest.mark.parametrize(
    ("options", "words_said"),
    [
        (["--pattern", PATTERN], ["held out", "--recipe", "--test"]),
        (["--pattern", PATTERN, "--test", "index=77"], ["held out for test", "index 77"]),
        (["--pattern", PATTERN, "--test", "index"], ["NAME=VALUE", "'index'"]),
        (["--recipe", "nonsense"], ["nonsense", "digits"]),
        (["--test", "index=0"], ["held out for test"]),
    ],
)
def test_what_cannot_be_measured_is_refused_in_a_sentence(
    make_checkpoint, words, capsys, options, words_said
):
    code = evaluate(words, make_checkpoint(labelled_config()).folder, *options)
    shown, said = capsys.readouterr()
    assert code in (1, 2) and shown == "" and said.count("\n") == 1
    assert said.startswith("wavenet: ")
    assert [word for word in words_said if word not in said] == []
