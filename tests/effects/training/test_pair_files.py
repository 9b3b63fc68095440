"""Tables of pairs, and their recordings without latency."""

import numpy as np
import pytest
import soundfile
import torch

from tests.effects.pair_sounds import RATE, delayed, overdrive, plucked
from tests.effects.training.training_data import make_effect_config
from wavenet.effects.effect_engine import load_engine
from wavenet.effects.training.effect_pairs import PairPart
from wavenet.effects.training.pair_files import (
    PairFiles,
    make_knobs,
    read_pair_table,
    read_pairs,
    render_teacher,
)
from wavenet.effects.training.trained_effect import TrainedEffect
from wavenet.errors import DataError


@pytest.fixture
def folder(tmp_path):
    dry = plucked(4)
    soundfile.write(tmp_path / "dry.wav", dry, RATE, subtype="FLOAT")
    for name, lag in (("a", 5), ("b", 6), ("c", 40)):
        wet = delayed(overdrive(dry), lag)
        soundfile.write(tmp_path / f"{name}.wav", wet, RATE, subtype="FLOAT")
    return tmp_path


def pairs_of(folder, *names):
    return [PairFiles(folder / "dry.wav", folder / f"{name}.wav") for name in names]


def write_table(folder, text):
    path = folder / "pairs.csv"
    path.write_text(text)
    return path


def test_a_table_has_a_row_per_pair(tmp_path):
    text = "dry,wet,gain,tone,part,weight\nd.wav,w.wav,0.25,1,,2\nd.wav,v.wav,0,0,validation,\n"
    first, second = read_pair_table(write_table(tmp_path, text))
    assert first == PairFiles(
        tmp_path / "d.wav", tmp_path / "w.wav", {"gain": 0.25, "tone": 1.0}, None, 2.0
    )
    assert (second.part, second.weight) == (PairPart.VALIDATION, 1.0)
    knobs = make_knobs([first, second])
    assert [(knob.name, knob.settings) for knob in knobs] == [
        ("gain", (0.0, 0.25)),
        ("tone", (0.0, 1.0)),
    ]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "no column dry"),
        ("dry,gain\na.wav,1\n", "no column wet"),
        ("dry,wet\n", "no rows"),
        ("dry,wet,gain\na.wav,b.wav,5\n", "line 2: the knob gain: expected a number from 0 to 1"),
        ("dry,wet,gain\na.wav,b.wav,\n", "found nothing"),
        ("dry,wet\na.wav,\n", "line 2: the column wet is empty"),
        ("dry,wet,part\na.wav,b.wav,exam\n", "training, validation, test"),
        ("dry,wet,weight\na.wav,b.wav,-1\n", "weight"),
        ("dry,wet\na.wav\n", "line 2 has 1 cell"),
        ("dry,dry,wet\n", "twice"),
    ],
)
def test_tables_that_are_refused(tmp_path, text, words):
    with pytest.raises(DataError, match=words):
        read_pair_table(write_table(tmp_path, text))


def test_knobs_that_are_refused(tmp_path):
    def files(name, *values):
        return [PairFiles(tmp_path, tmp_path, {name: value}) for value in values]

    with pytest.raises(DataError, match=r"value 0\.5 in all pairs"):
        make_knobs(files("gain", 0.5, 0.5))
    with pytest.raises(DataError, match="no name of a knob"):
        make_knobs(files("the gain", 0.1, 0.5))


def test_the_latency_is_removed(folder):
    read = read_pairs(pairs_of(folder, "a", "c"))
    assert read.sample_rate == RATE
    assert len(read.reports) == 2
    assert [pair.latency for pair in read.pairs] == [5, 40]
    expected = torch.from_numpy(overdrive(plucked(4))).float()
    for pair in read.pairs:
        assert torch.allclose(pair.wet, expected[: len(pair.wet)], atol=1e-6)
        assert len(pair.dry) == len(pair.wet)


def test_latencies_that_differ_little_become_the_smallest(folder):
    for is_checked in (True, False):
        read = read_pairs(pairs_of(folder, "a", "b"), is_checked=is_checked)
        assert [pair.latency for pair in read.pairs] == [5, 5]
        assert len(read.reports) == 2 * is_checked


def test_a_given_latency_is_used(folder):
    read = read_pairs(pairs_of(folder, "a", "c"), latency=3, is_checked=False)
    assert [pair.latency for pair in read.pairs] == [3, 3]
    with pytest.raises(DataError, match="nothing is left"):
        read_pairs(pairs_of(folder, "a"), latency=10**6, is_checked=False)


def test_recordings_that_do_not_belong_together_need_a_latency(folder):
    noise = 0.1 * np.random.default_rng(0).standard_normal(4 * RATE)
    soundfile.write(folder / "noise.wav", noise, RATE)
    with pytest.raises(DataError, match=r"noise\.wav does not follow"):
        read_pairs(pairs_of(folder, "noise"), is_checked=False)
    assert read_pairs(pairs_of(folder, "noise"), 0, is_checked=False).pairs[0].latency == 0


def test_a_teacher_makes_the_wet_recording(folder):
    model = TrainedEffect(make_effect_config(sample_rate=2 * RATE)).nam_model()
    read = render_teacher(folder / "dry.wav", model)
    (pair,) = read.pairs
    assert read.sample_rate == 2 * RATE
    assert len(pair.dry) == 8 * RATE
    engine = load_engine(model)
    expected = engine.process(engine.initial_state(), pair.dry.numpy())
    assert np.array_equal(pair.wet.numpy(), expected)
