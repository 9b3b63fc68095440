"""Held-out recordings: every value of a label is trained on, or is not offered, which is reported.

Regression: if the only recording of a speaker was held out, the speaker was offered untrained.
"""

import itertools

import numpy as np
import pytest
import soundfile
from hypothesis import given
from hypothesis import strategies as st

from wavenet.corpus.prepare import prepare_corpus
from wavenet.errors import ConfigError, DataError
from wavenet.model.conditions import LabelCondition
from wavenet.training.dataset import read_dataset
from wavenet.training.held_out import SplitInput, split_recordings
from wavenet.training.recipe import BUILT_IN, DataConfig, load_recipe
from wavenet.training.resolve_config import check_fields, resolve_config
from wavenet.training.segmentation import split_point

from . import RATE, RULES, make_config

PATTERN = "{digit}_{speaker}_{take}"


def with_conditions(*conditions):
    """Return a tiny model whose labels may have no values yet."""
    return make_config().model.model_copy(update={"conditions": conditions})


MODEL = with_conditions(LabelCondition(name="digit"), LabelCondition(name="speaker"))


def split(names, data, model=MODEL):
    """Return the use of each recording, "train" or that of its end, and the notices."""
    names = [dict(zip(("digit", "speaker", "take"), n.split("_"), strict=True)) for n in names]
    candidates = [SplitInput(fields, 1, n) for n, fields in enumerate(names)]
    found, notices = split_recordings(data, model, candidates, len(names))
    return ["train" if s.train_segments else s.rest for s in found], notices


def test_the_only_recording_of_a_value_is_trained_on_and_its_neighbour_held_out():
    names = [f"{n % 2}_{'bob' if n == 9 else 'theo'}_{n}" for n in range(20)]
    parts, notices = split(names, DataConfig(validation_fraction=0.1))
    assert [n for n, part in enumerate(parts) if part == "validation"] == [8, 19]
    assert notices == ["trained on, not held out, because no other recording has speaker 'bob'"]


def test_a_neighbour_whose_value_is_unique_is_not_held_out_instead():
    speakers = ["theo"] * 7 + ["eve", "dan", "bob"]
    names = [f"0_{speaker}_{n}" for n, speaker in enumerate(speakers)]
    parts, notices = split(names, DataConfig(validation_fraction=0.1))
    assert [n for n, part in enumerate(parts) if part == "validation"] == [6]
    assert "speaker 'bob'" in notices[0] and "eve" not in notices[0]


def test_nothing_is_held_out_if_every_value_is_unique():
    parts, _ = split([f"{n}_x{n}_0" for n in range(40)], DataConfig())
    assert set(parts) == {"train"}


@RULES
@given(
    st.lists(st.tuples(st.integers(0, 3), st.integers(0, 3)), min_size=1, max_size=60),
    st.sampled_from([0.0, 0.05, 0.2, 0.5, 0.9]),
    st.sampled_from([{}, {"digit": ("1",)}, {"take": ("0",)}]),
)
def test_a_fraction_never_holds_out_the_last_recording_of_a_value(pairs, fraction, test):
    names = [f"{digit}_s{speaker}_{n}" for n, (digit, speaker) in enumerate(pairs)]
    parts, notices = split(names, DataConfig(validation_fraction=fraction, test=test))
    for field in (0, 1):
        by_part = {part: set() for part in ("train", "validation", "test", "unused")}
        for name, part in zip(names, parts, strict=True):
            by_part[part].add(name.split("_")[field])
        assert by_part["validation"] <= by_part["train"]
        for value in by_part["test"] - by_part["train"]:
            assert any(f"{value!r}" in notice for notice in notices)
    assert "unused" not in parts


def test_a_value_that_the_settings_hold_out_is_not_offered():
    names = [f"{n % 2}_{'bob' if n in (2, 3) else 'theo'}_{n}" for n in range(8)]
    held_out = {"speaker": ("bob",), "take": ("5",)}
    parts, notices = split(names, DataConfig(validation=held_out))
    assert parts == ["train"] * 2 + ["unused"] * 2 + ["train", "validation", "train", "train"]
    assert "speaker 'bob'" in notices[0] and "2 recordings for validation" in notices[0]
    parts, notices = split(names, DataConfig(test={"speaker": ("bob",)}))
    assert parts[2:4] == ["test", "test"]
    assert "does not offer" in notices[0] and "speaker 'bob'" in notices[0]


def test_a_validation_whose_recordings_all_have_unknown_labels_is_refused():
    names = [f"0_{'bob' if n == 2 else 'theo'}_{n}" for n in range(8)]
    with pytest.raises(
        DataError, match=r"has speaker 'bob', which all recordings of data\.validation"
    ):
        split(names, DataConfig(validation={"speaker": ("bob",)}))


def test_values_that_a_checkpoint_has_learnt_are_validated():
    learnt = with_conditions(LabelCondition(name="speaker", values=("bob", "theo")))
    names = [f"0_{'bob' if n == 2 else 'theo'}_{n}" for n in range(8)]
    parts, notices = split(names, DataConfig(validation={"speaker": ("bob",)}), learnt)
    assert (parts[2], notices) == ("validation", [])


def test_a_list_that_selects_nothing_is_named():
    _, notices = split(["0_theo_0", "1_theo_1"], DataConfig(validation={"take": ("7", "8")}))
    assert notices == ["data.validation holds out nothing: no recording has take 7 or 8"]


@pytest.mark.parametrize("name", sorted(path.stem for path in BUILT_IN.glob("*.toml")))
@pytest.mark.parametrize("takes", [3, 15, 50])
def test_the_division_of_the_spoken_digits_by_the_recipes_is_as_before(name, takes):
    recipe = load_recipe(name)
    speakers = ("george", "jackson", "lucas", "nicolas", "theo", "yweweler")
    names = ("digit", "speaker", "index")
    fields = [
        dict(zip(names, (str(digit), speaker, str(take)), strict=True))
        for digit, speaker, take in itertools.product(range(10), speakers, range(takes))
    ]
    if takes == 3 and recipe.data.validation:
        fields += [{**f, "index": str(i)} for f in fields[::3] for i in (8, 9)]
    candidates = [SplitInput(f, 1 + n % 3, n) for n, f in enumerate(fields)]
    found, _ = split_recordings(recipe.data, recipe.model, candidates, len(fields))
    expected = [split_point(recipe.data, *candidate, len(fields)) for candidate in candidates]
    assert [None if s.rest == "test" else s.train_segments for s in found] == expected


@pytest.fixture
def folders(tmp_path):
    """Write 20 recordings, the tenth the only one of bob; return the folder and a corpus of it."""
    rng = np.random.default_rng(1)
    (tmp_path / "audio").mkdir()
    for n in range(20):
        speaker = "bob" if n == 9 else "theo"
        path = tmp_path / "audio" / f"{n:02}_{speaker}_{n % 4}.wav"
        soundfile.write(path, rng.integers(-9000, 9000, 100 + n, dtype=np.int16), RATE)
    pattern = "{number}_{speaker}_{take}"
    prepare_corpus(tmp_path / "audio", tmp_path / "corpus", pattern=pattern, workers=1)
    return tmp_path / "audio", tmp_path / "corpus"


SPEAKER = LabelCondition(name="speaker")


def read(folder, speaker=SPEAKER, **settings):
    data = DataConfig(folder=str(folder), pattern="{number}_{speaker}_{take}", **settings)
    return read_dataset(data, RATE, with_conditions(speaker))


def recipe_with(speaker=SPEAKER):
    recipe = load_recipe("tiny")
    model = recipe.model.model_copy(update={"conditions": (speaker,)})
    return recipe.model_copy(update={"model": model})


@pytest.mark.parametrize("kind", [0, 1], ids=["folder", "corpus"])
def test_the_value_is_learnt_and_offered(folders, kind):
    dataset = read(folders[kind], validation_fraction=0.1, speed_perturbation=(0.9,) * (1 - kind))
    assert [clip.source for clip in dataset.validation] == ["08_theo_0.wav", "19_theo_3.wav"]
    assert len(dataset.notices) == 1
    bobs = [clip for clip in dataset.train if clip.source == "09_bob_1.wav"]
    assert len(bobs) == 2 - kind, "at both speeds"
    (condition,) = resolve_config(recipe_with(), dataset).model.labels
    assert condition.values == ("bob", "theo")


@pytest.mark.parametrize("kind", [0, 1], ids=["folder", "corpus"])
def test_a_value_that_is_held_out_is_neither_learnt_nor_offered(folders, kind):
    dataset = read(folders[kind], validation={"speaker": ("bob",), "take": ("0",)})
    assert {clip.fields["speaker"] for clip in dataset.validation} == {"theo"}
    assert (len(dataset.train), len(dataset.validation)) == (14, 5)
    (condition,) = resolve_config(recipe_with(), dataset).model.labels
    assert condition.values == ("theo",)


def test_a_value_of_the_recipe_that_no_recording_has_is_refused(folders):
    speaker = LabelCondition(name="speaker", values=("bob", "eve", "theo"))
    dataset = read(folders[0], speaker)
    with pytest.raises(ConfigError, match="speaker 'eve', which no recording for training has"):
        resolve_config(recipe_with(speaker), dataset)
    trained_before = resolve_config(recipe_with(speaker), dataset, has_initial_weights=True)
    assert trained_before.model.labels[0].values == speaker.values


def refusal(folder, recipe, **data):
    settings = DataConfig(folder=str(folder), **data)
    with pytest.raises(DataError) as caught:
        check_fields(recipe.model_copy(update={"data": settings}))
    return str(caught.value)


@pytest.mark.parametrize("kind", [0, 1], ids=["folder", "corpus"])
def test_missing_fields_are_named_before_a_recording_is_read(folders, kind, monkeypatch):
    def never(*args):
        pytest.fail("a recording was read")

    monkeypatch.setattr("wavenet.training.dataset.read_dataset", never)
    pattern = "{number}_{speaker}_{take}"
    fits = DataConfig(folder=str(folders[kind]), pattern=pattern)
    check_fields(recipe_with().model_copy(update={"data": fits}))
    upper = recipe_with(LabelCondition(name="Speaker"))
    check_fields(upper.model_copy(update={"data": fits}))
    close = recipe_with(LabelCondition(name="speeker"))
    message = refusal(folders[kind], close, pattern=pattern)
    assert "has no field 'speeker', but a field 'speaker'" in message
    message = refusal(folders[kind], recipe_with(), pattern=pattern, test={"index": ("1",)})
    assert "data.test" in message and "number, speaker, take" in message
