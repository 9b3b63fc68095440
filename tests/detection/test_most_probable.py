"""Labels by Bayes' rule against single scores, and checkpoints that can be compared."""

import pytest
import torch

from tests.conftest import RATE, sine, tiny_config
from wavenet import checkpoint
from wavenet.checkpoint import AudioConfig, Checkpoint, CheckpointConfig
from wavenet.codec import MuLawCodec
from wavenet.detection.most_probable import label_probabilities, rank_checkpoints
from wavenet.errors import ConditionError
from wavenet.likelihood.score import score
from wavenet.model.conditions import LabelCondition
from wavenet.model.ngram import NGramConfig
from wavenet.model.recurrent import GRUConfig


def histogram(folder, **counts):
    """Return a histogram with a label `sound`, whose values have observed these codes."""
    label = LabelCondition(name="sound", values=tuple(counts))
    config = CheckpointConfig(
        name=folder.name,
        audio=AudioConfig(sample_rate=RATE),
        codec=MuLawCodec(bits=4),
        model=NGramConfig(
            context_bits=(), conditions=(label,), smoothing="laplace", pseudo_count=1
        ),
    )
    model = checkpoint.build(config)
    for value, codes in counts.items():
        codes = torch.tensor([codes])
        conditioning = model.conditioning([{"sound": value}], [codes.shape[1]])
        model.observe(codes, torch.ones_like(codes, dtype=torch.bool), conditioning)
    return Checkpoint(config, model, folder)


def test_the_posterior_of_a_histogram_by_hand(tmp_path):
    """16 codes and a pseudo-count of 1: p(8) is 5/20 under a, 2/20 under b."""
    loaded = histogram(tmp_path / "histogram", a=[8, 8, 8, 8], b=[8, 3, 3, 3])
    waveform = loaded.codec.decode(torch.tensor([8, 8, 3]))
    found = label_probabilities(loaded, waveform, ["sound"])
    likelihoods = {"a": 5 * 5 * 1 / 20**3, "b": 2 * 2 * 4 / 20**3}
    assert [dict(one.values) for one in found] == [{"sound": "a"}, {"sound": "b"}]
    for one in found:
        likelihood = likelihoods[one.values["sound"]]
        assert 2**-one.bits == pytest.approx(likelihood, rel=1e-4)
        assert one.probability == pytest.approx(likelihood / sum(likelihoods.values()), rel=1e-4)


def test_combinations_of_two_labels_have_the_bits_of_single_scores(make_checkpoint):
    labels = (
        LabelCondition(name="digit", values=("a", "b", "c"), channels=4),
        LabelCondition(name="voice", values=("x", "y"), channels=3, dropout=0.2),
    )
    loaded = make_checkpoint(tiny_config().model_copy(update={"conditions": labels}))
    waveform = sine(0.3)
    found = label_probabilities(loaded, waveform, ["Digit", "voice"])
    assert len(found) == 6
    assert [one.bits for one in found] == sorted(one.bits for one in found)
    assert sum(one.probability for one in found) == pytest.approx(1)
    for one in found:
        single = float(score(loaded, waveform, dict(one.values)).surprise.double().sum())
        assert one.bits == pytest.approx(single, rel=1e-5)


def test_many_windows_and_batches_change_nothing(make_checkpoint, monkeypatch):
    from wavenet.detection import most_probable

    loaded = make_checkpoint(tiny_config(conditions="both"))
    whole = label_probabilities(loaded, sine(0.2), ["digit"])
    monkeypatch.setattr(most_probable, "CPU_ROWS", 2)
    monkeypatch.setattr(most_probable, "MIN_WINDOW", 100)
    monkeypatch.setattr(most_probable, "WINDOW", 100)
    parts = label_probabilities(loaded, sine(0.2), ["digit"])
    assert [one.values for one in parts] == [one.values for one in whole]
    assert [one.bits for one in parts] == pytest.approx([one.bits for one in whole], rel=1e-5)


def test_a_model_with_a_memory_is_scored_in_rows(make_checkpoint, monkeypatch):
    from wavenet.detection import most_probable

    label = LabelCondition(name="digit", values=("a", "b"), channels=4)
    config = GRUConfig(
        hidden_channels=6, output_channels=8, conditions=(label,), condition_channels=8
    )
    loaded = make_checkpoint(config, name="gru")
    monkeypatch.setattr(most_probable, "MIN_WINDOW", 64)
    monkeypatch.setattr(most_probable, "WINDOW", 64)
    for one in label_probabilities(loaded, sine(0.05), ["digit"]):
        single = float(score(loaded, sine(0.05), dict(one.values)).surprise.double().sum())
        assert one.bits == pytest.approx(single, rel=1e-5)


@pytest.mark.parametrize(
    ("names", "conditions", "words"),
    [
        ([], {}, "no label"),
        (["digits"], {}, "did you mean 'digit'"),
        (["digit"], {"digit": "a"}, "omit one"),
        (["digit"], {"pitch": 3}, "no condition"),
    ],
)
def test_wrong_labels_are_refused(make_checkpoint, names, conditions, words):
    loaded = make_checkpoint(tiny_config(conditions="label"))
    with pytest.raises(ConditionError, match=words):
        label_probabilities(loaded, sine(0.05), names, conditions)


def test_the_checkpoint_that_has_observed_such_codes_needs_fewest_bits(tmp_path):
    quiet = histogram(tmp_path / "quiet", x=[8] * 20)
    loud = histogram(tmp_path / "loud", x=[1, 14] * 10)
    both = {"quiet": quiet, "loud": loud}
    silence, square = torch.zeros(800), torch.tensor([-0.6, 0.6]).repeat(400)
    ranked = rank_checkpoints(both, silence, {"sound": "x"})
    assert [one.name for one in ranked] == ["quiet", "loud"]
    assert ranked[0].bits_per_second == pytest.approx(RATE * ranked[0].bits_per_sample)
    assert ranked[0].seconds == pytest.approx(0.1)
    square_codes = quiet.codec.encode(square)
    loud_codes = set(square_codes.tolist())
    loud = histogram(tmp_path / "loud", x=sorted(loud_codes) * 10)
    ranked = rank_checkpoints({"quiet": quiet, "loud": loud}, square, {"sound": "x"})
    assert [one.name for one in ranked] == ["loud", "quiet"]


def test_other_codes_and_unknown_conditions_are_refused(make_checkpoint):
    label = tiny_config(conditions="label")
    eight = make_checkpoint(label, bits=8, name="eight")
    six = make_checkpoint(label, bits=6, name="six")
    with pytest.raises(ConditionError, match="different codes"):
        rank_checkpoints({"eight": eight, "six": six}, sine(0.05), {"digit": "a"})
    plain = make_checkpoint(tiny_config(conditions="none"), name="plain")
    both = {"eight": eight, "plain": plain}
    assert len(rank_checkpoints(both, sine(0.05), {"digit": "a"})) == 2
    with pytest.raises(ConditionError, match="no condition"):
        rank_checkpoints(both, sine(0.05), {"digit": "a", "mood": "b"})


def test_a_model_of_frames_cannot_be_compared(make_checkpoint):
    frames = make_checkpoint(tiny_config(conditions="frames"), name="frames")
    plain = make_checkpoint(tiny_config(conditions="none"), name="plain")
    with pytest.raises(ConditionError, match="frames of the recording"):
        rank_checkpoints({"plain": plain, "frames": frames}, sine(0.05))
