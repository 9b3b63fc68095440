"""Every option of `wavenet train` on every built-in recipe: what changes, or the refusal.

Regression: `--label` replaced the conditions of a recipe, and `--sample-rate` the length in time of
all its settings in samples.
"""

from pathlib import Path
from types import SimpleNamespace

import pytest
import typer

from tests.cli.conftest import assert_refused
from wavenet import checkpoint
from wavenet.cli import train_command
from wavenet.cli.main import app
from wavenet.training.recipe import BUILT_IN, load_recipe
from wavenet.training.recipe_options import describe_replaced, use_model_of
from wavenet.training.training_setup import describe_short_training

SHIPPED = Path(__file__).parents[2] / "checkpoints"
RECIPES = sorted(path.stem for path in BUILT_IN.glob("*.toml"))
TRAIN = typer.main.get_command(app).commands["train"]
# A sample is a pixel, so their rate does not change; recipe -> part of the message.
IMAGES = {
    "pixels": "768 samples",
    "flat_pixels": "condition_hop = 1",
    "handwritten": "64 samples",
}
CODES = ("digit_codes", "digit_codes_transformer")  # a sample is a code
AT_22050 = {
    **{name: {"train.samples_per_step": 8_269, "model.condition_hop": 3} for name in CODES},
    "digits": {"train.samples_per_step": 33_075, "model.condition_hop": 220},
    "gru": {"train.samples_per_step": 176_400, "model.condition_hop": 220},
    "small": {"train.samples_per_step": 22_050},
    "strings": {"train.samples_per_step": 27_562, "model.condition_hop": 1_102},
    "tiny": {"train.samples_per_step": 5_512},
    "vocoder": {
        "train.samples_per_step": 33_075,
        "model.condition_hop": 441,
        "model.conditions.mel.win_length": 882,
    },
}


def with_speaker(recipe):
    """Return the changes by the label speaker, which some recipes have already."""
    if recipe in ("digits", "gru", "pixels", "flat_pixels", *CODES):
        return {}
    label = {"name": "speaker", "kind": "label", "values": (), "channels": 16, "dropout": 0.0}
    return {f"model.conditions.speaker.{key}": value for key, value in label.items()}


def at_rate(recipe):
    return {"audio.sample_rate": 22_050, **AT_22050[recipe]}


def same(recipe):
    return {}


def with_table(recipe):
    """A table is the only source of fields, so the pattern of a recipe is not used."""
    pattern = {"data.pattern": None} if load_recipe(recipe).data.pattern else {}
    return {"data.metadata": "M.csv", **pattern}


def changes(**values):
    return lambda recipe: {key.replace("__", "."): value for key, value in values.items()}


# option -> its value, and the changed settings of a recipe; None: see the test of --from
OPTIONS = {
    "--data": ("D", changes(data__folder="D")),
    "--pattern": ("{a}_{index}", changes(data__pattern="{a}_{index}")),
    "--metadata": ("M.csv", with_table),
    "--label": ("speaker", with_speaker),
    "--channel": ("left", changes(data__channel="left")),
    "--normalize": (None, changes(data__normalize=True)),
    "--out": ("OUT", same),
    "--resume": (None, same),
    "--accept-changes": None,
    "--from": None,
    "--vocoder": None,  # of a voice
    "--steps": ("7", changes(train__steps=7)),
    "--sample-rate": ("22050", at_rate),
    "--accumulation-steps": ("3", changes(train__accumulation_steps=3)),
    "--threads": ("1", same),
    "--device": ("cpu", same),
    "--sample-seconds": ("0.5", same),
    "--quiet": (None, same),
    "--help": None,
}


def flatten(value, prefix=""):
    """Return all settings by their dotted path; conditions are named, and their order is kept."""
    if prefix == "model.conditions.":
        value = {c.get("name", c["kind"]): c for c in value}
        yield f"{prefix}order", list(value)
    if isinstance(value, dict):
        for key, inner in value.items():
            yield from flatten(inner, f"{prefix}{key}.")
    else:
        yield prefix.removesuffix("."), value


def settings(recipe):
    return dict(flatten(recipe.model_dump()))


@pytest.fixture
def resolve(monkeypatch, run_command):
    """Return a function that resolves a command without training."""
    seen = SimpleNamespace()
    monkeypatch.setattr(
        train_command, "run", lambda setup, *rest: vars(seen).update(r=setup.recipe)
    )

    def call(recipe, *arguments):
        seen.r = None
        result = run_command("train", recipe, *arguments)
        return seen.r, result

    return call


def test_every_option_has_an_entry():
    """A new option must say here what it does to each recipe."""
    found = {name for p in TRAIN.params for name in p.opts if name.startswith("--")}
    assert sorted(found - set(OPTIONS) - {"--help"}) == []


@pytest.mark.parametrize("recipe", RECIPES)
@pytest.mark.parametrize("option", [name for name, entry in OPTIONS.items() if entry])
def test_an_option_changes_only_what_it_names(resolve, recipe, option):
    value, expected = OPTIONS[option]
    before = settings(load_recipe(recipe))
    chosen, result = resolve(recipe, *([option] if value is None else [option, value]))
    if option == "--sample-rate" and recipe in IMAGES:
        assert_refused(result, IMAGES[recipe])
        return
    assert result[0] == 0
    assert result[1].endswith("/checkpoint\n")
    after = settings(chosen)
    assert before.keys() <= after.keys(), "nothing of a recipe is dropped"
    changed = {key: after[key] for key in after if before.get(key, "absent") != after[key]}
    order = before["model.conditions.order"]
    assert changed.pop("model.conditions.order", order)[: len(order)] == order
    assert changed == expected(recipe)


def test_several_labels_are_added_in_their_order(resolve):
    chosen, _ = resolve("vocoder", "--label", "speaker", "--label", "mood", "--label", "speaker")
    assert [c.name for c in chosen.model.conditions] == ["mel", "speaker", "mood"]
    assert chosen.model.condition_hop == 160


@pytest.mark.parametrize(
    "recipe, label", [("vocoder", "mel"), ("strings", "loudness"), ("digits", "position")]
)
def test_a_label_with_the_name_of_another_condition_is_refused(resolve, recipe, label):
    chosen, result = resolve(recipe, "--label", label)
    assert chosen is None
    assert_refused(result, f"--label {label}", recipe, "of that name")


@pytest.mark.parametrize(
    "rate, hop, window, per_step",
    [(4_000, 80, 160, 6_000), (16_000, 320, 640, 24_000), (44_100, 882, 1764, 66_150)],
)
def test_another_rate_keeps_the_lengths_in_time(resolve, rate, hop, window, per_step):
    """Regression: at 22,050 Hz the hop of the vocoder was 7 ms instead of 20."""
    chosen, (_, _, err) = resolve("vocoder", "--sample-rate", rate)
    assert chosen.model.condition_hop == hop
    assert chosen.model.conditions[0].win_length == window
    assert chosen.train.samples_per_step == per_step
    assert "(20.0 ms)" in err and "(40.0 ms)" in err
    assert f"{1000 * 766 / rate:.1f} ms instead of 95.8 ms" in err
    assert f"reach {rate / 2:,g} Hz" in err


def test_the_rate_of_the_recipe_changes_and_says_nothing(resolve):
    chosen, (_, _, err) = resolve("vocoder", "--sample-rate", "8000")
    assert chosen == load_recipe("vocoder")
    assert err == ""


MEL = '[[model.conditions]]\nkind = "mel"\nwin_length = {}\nf_max = {}\n'


@pytest.mark.parametrize(
    "window, f_max, rate, words",
    [
        (320, 3_999.0, 4_000, "f_max 3999.0 Hz"),
        (16_000, 100.0, 16_000, "win_length"),
        (16, 100.0, 4_000, "win_length"),
        (320, 100.0, 3_999, "sample_rate"),
    ],
)
def test_a_setting_that_is_impossible_at_a_rate_is_refused_before_the_recordings_are_read(
    run_command, tmp_path, monkeypatch, window, f_max, rate, words
):
    def never(*args):
        pytest.fail("recordings were read")

    monkeypatch.setattr("wavenet.training.dataset.read_dataset", never)
    text = (BUILT_IN / "tiny.toml").read_text()
    path = tmp_path / "r.toml"
    path.write_text(text.replace("[data]", MEL.format(window, f_max) + "[data]"))
    code, out, err = run_command("train", path, "--data", tmp_path, "--sample-rate", rate)
    assert (code, out) == (2, "")
    assert words in err.splitlines()[-1]


@pytest.mark.parametrize("recipe", RECIPES)
def test_the_model_of_a_checkpoint_replaces_that_of_a_recipe_whose_conditions_it_has(
    resolve, recipe, tiny
):
    chosen, result = resolve(recipe, "--from", tiny)
    if recipe in ("digits", "gru", "strings", "vocoder", "pixels", "flat_pixels", *CODES):
        assert chosen is None
        assert_refused(result, f"the recipe {recipe} conditions on", "checkpoint tiny")
        return
    assert chosen.model == checkpoint.load_config(tiny).model
    samples = {"small": 8_000, "tiny": 2_000, "handwritten": 4_096}[recipe]
    assert chosen.train.samples_per_step == samples
    before = {**load_recipe(recipe).train.model_dump(), "samples_per_step": 0}
    assert {**chosen.train.model_dump(), "samples_per_step": 0} == before
    assert chosen.data == load_recipe(recipe).data


OWN_RECIPE = """
name = "mine"
[audio]
sample_rate = {rate}
{codec}
[model]
residual_channels = 12
gate_channels = 12
skip_channels = 10
dilations = [1, 2]
[train]
steps = 4
"""


def write_recipe(tmp_path, rate=8000, codec=""):
    path = tmp_path / "mine.toml"
    path.write_text(OWN_RECIPE.format(rate=rate, codec=codec))
    return path


def test_replaced_settings_of_a_recipe_are_named_in_one_line(resolve, tiny, tmp_path):
    """Regression: the settings of the recipe were ignored without a word."""
    model = checkpoint.load_config(tiny).model
    path = write_recipe(tmp_path)
    chosen, (code, _, err) = resolve(path, "--from", tiny)
    assert (code, chosen.model) == (0, model)
    (line,) = err.splitlines()
    assert "note: --from uses rate, codec and model of the checkpoint tiny" in line
    assert "model.residual_channels 12 → 8" in line
    assert f"model.dilations of 2 values → of {len(model.dilations)} values" in line
    assert "audio" not in line and "codec." not in line, "these are equal"
    assert "conditions" not in line, "the recipe omits them"
    text = path.read_text().replace("channels = 12\ngate", "channels = 8\ngate")
    path.write_text(text.replace("[1, 2]", str(list(model.dilations))))
    assert resolve(path, "--from", tiny)[1][2] == "", "nothing is replaced"


def test_labels_that_take_their_values_from_the_recordings_are_not_replaced():
    """Regression: the note said "model.conditions digit speaker .. → others"."""
    recipe, config = load_recipe("digits"), checkpoint.load_config(SHIPPED / "digits")
    assert describe_replaced(recipe, config, use_model_of(recipe, config)) is None
    other = recipe.model.model_copy(update={"conditions": recipe.model.conditions[::-1]})
    text = describe_replaced(recipe.model_copy(update={"model": other}), config, recipe)
    assert "model.conditions position speaker digit → digit speaker position" in text


@pytest.mark.parametrize(
    "values, words",
    [
        ({"rate": 16000}, "audio.sample_rate 16,000 → 8,000"),
        ({"codec": '[codec]\nlaw = "mu-law"\nbits = 7'}, "codec.bits 7 → 8"),
    ],
)
def test_another_rate_or_codec_of_an_own_recipe_is_refused(resolve, tiny, tmp_path, values, words):
    path = write_recipe(tmp_path, **values)
    chosen, result = resolve(path, "--from", tiny)
    assert chosen is None
    assert_refused(result, words, "write the values of the checkpoint in the recipe")
    chosen, (code, _, err) = resolve(path, "--from", tiny, "--resume")
    assert code == 0 and words in err, "a run that has started can be resumed"
    assert chosen.audio == checkpoint.load_config(tiny).audio


def test_a_built_in_recipe_may_have_another_rate(resolve, tiny, tmp_path):
    """The studio trains with copies of the built-in recipes under the name of the run."""
    text = (BUILT_IN / "small.toml").read_text()
    copy = tmp_path / "recipe.toml"
    copy.write_text(text.replace('name = "small"', 'name = "run7"'))
    for recipe in ("small", copy):
        chosen, (code, _, err) = resolve(recipe, "--from", tiny)
        assert code == 0 and chosen.audio == checkpoint.load_config(tiny).audio
        (line,) = err.splitlines()
        assert "model.residual_channels" in line
        assert "audio.sample_rate 16,000 → 8,000" in line
        assert line.endswith("a step has 8,000 samples, as long in time")
    copy.write_text(text.replace("max_seconds = 1.0", "max_seconds = 2.0"))
    assert_refused(resolve(copy, "--from", tiny)[1], "audio.sample_rate 16,000 → 8,000")


VOCODER = Path(__file__).parents[2] / "checkpoints/vocoder"


def test_the_shipped_vocoder_can_be_continued(resolve):
    chosen, _ = resolve("vocoder", "--from", VOCODER)
    assert chosen.model.conditions[0].name == "mel"
    assert chosen.train == load_recipe("vocoder").train


@pytest.mark.parametrize(
    "arguments, code, words",
    [
        (("tiny", "--label", "type"), 2, "cannot be named type"),
        (("tiny", "--label", "word"), 1, "has no field 'word'"),
        (("digits",), 1, "has no field 'digit'"),
        (("tiny", "--resume"), 1, "no snapshot"),
        (("tiny", "--out", "a" * 300), 1, "cannot be written"),
        (("tiny", "--out", "file/run"), 1, "cannot be written"),
        (("tiny", "--data", "none"), 1, "is not a folder"),
        (("tiny", "--device", "cuda:99"), 2, "cuda:99"),
        (("tiny", "--sample-seconds", "-1"), 2, "seconds"),
    ],
    ids=lambda value: " ".join(value)[:30] if isinstance(value, tuple) else "",
)
def test_what_is_known_without_the_recordings_is_said_before_they_are_read(
    run_command, tmp_path, monkeypatch, arguments, code, words
):
    """Regression: a label that torch reserves was refused after all recordings were read."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("wavenet.training.dataset.read_dataset", lambda *_: pytest.fail("read"))
    (tmp_path / "audio").mkdir()
    (tmp_path / "audio" / "a.wav").write_bytes(b"")
    (tmp_path / "file").write_text("in the way")
    pattern = () if words == "has no field 'word'" else ("--pattern", "{type}")
    data = () if "--data" in arguments else ("--data", "audio")
    result = run_command("train", *arguments, *pattern, *data)
    assert_refused(result, words, code=code)
    assert not list(tmp_path.glob("runs/*"))


@pytest.mark.parametrize(
    "recipe, steps, has_initial_weights, words",
    [
        ("digits", 100, False, ["in the warm-up of 200 steps", "100 steps read 15% of the"]),
        ("digits", 100, True, ["in the warm-up"]),
        ("digits", 667, False, []),
        ("small", 200, False, []),
    ],
)
def test_too_few_steps_are_noted(resolve, recipe, steps, has_initial_weights, words):
    chosen, _ = resolve(recipe, "--steps", steps)
    notes = describe_short_training(chosen, 1_000.0, has_initial_weights)
    assert len(notes) == len(words)
    for note, word in zip(notes, words, strict=True):
        assert word in note
