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
from wavenet.training.held_out import SplitInput, match_held_out, split_recordings
from wavenet.training.recipe import BUILT_IN, DataConfig, load_recipe
from wavenet.training.resolve_config import check_fields, resolve_config
from wavenet.training.segmentation import split_point

from . import RATE, RULES, make_config


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


PATTERN_OF_FOLDERS = "{number}_{speaker}_{take}"


@pytest.mark.parametrize("kind", [0, 1], ids=["folder", "corpus"])
def test_held_out_values_are_compared_as_labels_are(folders, kind):
    """Regression: BOB for bob, or 02 for 2, held out nothing, and the rest was trained on."""
    exact = read(folders[kind], test={"speaker": ("bob",)}, validation={"take": ("2",)})
    loose = read(folders[kind], test={"speaker": (" BOB",)}, validation={"take": ("02", "2.0")})
    for part in ("train", "validation", "test"):
        sources = [[clip.source for clip in getattr(each, part)] for each in (exact, loose)]
        assert sources[0] == sources[1]
    assert (len(loose.test), len(loose.validation)) == (1, 5)
    assert loose.notices == exact.notices


@pytest.mark.parametrize("kind", [0, 1], ids=["folder", "corpus"])
@pytest.mark.parametrize("part", ["test", "validation"])
def test_a_misspelt_value_is_refused_and_the_known_one_named(folders, kind, part):
    """Regression: the value was not mentioned if another one of its list was found."""
    held_out = {part: {"speaker": ("bob", "teo"), "take": ("0",)}}
    for call in (
        lambda: read(folders[kind], **held_out),
        lambda: refuse(folders[kind], recipe_with(), held_out),
    ):
        with pytest.raises(DataError, match=r"speaker 'teo' \(did you mean 'theo'\?\)"):
            call()


def refuse(folder, recipe, held_out):
    data = DataConfig(folder=str(folder), pattern=PATTERN_OF_FOLDERS, **held_out)
    check_fields(recipe.model_copy(update={"data": data}))


@pytest.mark.parametrize("kind", [0, 1], ids=["folder", "corpus"])
def test_other_values_without_a_recording_are_named_in_a_notice(folders, kind):
    take = {"take": ("0", "9", "33")}
    dataset = read(folders[kind], validation=take, test={"speaker": ("bob", "eve")})
    missing = [text for text in dataset.notices if text.startswith("no recording has ")]
    assert missing == [
        "no recording has take '33', take '9', held out by data.validation; the values are 0, 1, "
        "2, 3",
        "no recording has speaker 'eve', held out by data.test; the values are bob, theo",
    ]
    refuse(folders[kind], recipe_with(), {"validation": take})


def test_a_number_in_a_name_is_no_mistake():
    """spk13 may be held out although only spk12 is here; spk012 is a mistake."""
    known = {"speaker": ["spk1", "spk12"], "take": ["100"]}
    lists = {"speaker": ("spk1", "spk13"), "take": ("10", "100")}
    _, notices = match_held_out(DataConfig(test=lists), known)
    assert len(notices) == 2 and "'spk13'" in notices[0] and "'10'" in notices[1]
    with pytest.raises(DataError, match="did you mean 'spk12'"):
        match_held_out(DataConfig(test={"speaker": ("spk1", "spk012")}), known)


@pytest.mark.parametrize("kind", [0, 1], ids=["folder", "corpus"])
def test_lists_that_hold_out_nothing_at_all_are_refused(folders, kind):
    held_out = {"validation": {"take": ("7",)}, "test": {"speaker": ("eve",)}}
    with pytest.raises(DataError) as caught:
        refuse(folders[kind], recipe_with(), held_out)
    assert "data.validation (take '7') or data.test (speaker 'eve')" in str(caught.value)
    refuse(folders[kind], recipe_with(), {**held_out, "test": {"speaker": ("bob",)}})


@pytest.mark.parametrize("kind", [0, 1], ids=["folder", "corpus"])
def test_a_validation_that_the_test_contains_is_refused(folders, kind):
    """Regression: no recording was left to validate, without a word."""
    both = {"validation": {"take": ("2",)}, "test": {"take": ("1", "2.0")}}
    with pytest.raises(DataError, match=r"all 5 recordings of data\.validation are also in data"):
        refuse(folders[kind], recipe_with(), both)
    notices = read(folders[kind], **both).notices
    assert any("none is left to validate" in text for text in notices)
    refuse(folders[kind], recipe_with(), {**both, "test": {"number": ("02",)}})
