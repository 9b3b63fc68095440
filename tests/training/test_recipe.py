"""Recipe files: any bytes are a recipe or one sentence, in bounded time; ~ is the home folder."""

import pytest
import soundfile
from hypothesis import given
from hypothesis import strategies as st

from wavenet.config import MAX_TOML_BYTES
from wavenet.errors import ConfigError
from wavenet.training.dataset import read_dataset
from wavenet.training.recipe import BUILT_IN, RecipeConfig, load_recipe

from . import RATE, RULES, sine

TINY = (BUILT_IN / "tiny.toml").read_text()


def refusal(path, content):
    """Write a recipe, and return the sentence with which it is refused."""
    path.write_bytes(content)
    with pytest.raises(ConfigError) as caught:
        load_recipe(str(path))
    assert len(str(caught.value).splitlines()) == 1
    return str(caught.value).removeprefix(f"{path}")


@pytest.mark.timeout(20)
@pytest.mark.parametrize(
    "content, words",
    [
        (b"a." * 999 + b"a = 1", "more than 8 parts"),
        (b'"a" . ' * 999 + b"a = 1", "more than 8 parts"),
        (rb'"\"".' * 999 + b"a = 1", "more than 8 parts"),
        # tomllib needs memory in proportion to the square of the parts
        (b"a." * 500_000 + b"a = 1", "more than 8 parts"),
        (b"[" + b"'a'." * 200_000 + b"a]", "more than 8 parts"),
        (b"x = { " + b"a." * 200_000 + b"a = 1 }", "more than 8 parts"),
        (b"a = " + b"[" * 100_000, "nested too deeply"),
        (b"a = " + b"{a=" * 5_000 + b"1" + b"}" * 5_000, "nested too deeply"),
        (b"a = " + b"9" * 5_000, "cannot be read as TOML"),
        (b"#" * (MAX_TOML_BYTES + 1), "more than 1,048,576 bytes"),
        (b"\xff\xfen", "cannot be read as TOML"),
        (b"\0", "cannot be read as TOML"),
        (b"name = 2020-01-01", "name"),
        (b"name = 'x'\n[audio]\nsample_rate = nan", "sample_rate"),
        (TINY.replace("sample_rate", "sample-rate").encode(), "did you mean sample_rate?"),
    ],
    ids=range(15),
)
def test_a_file_that_is_no_recipe_is_refused_in_one_sentence(tmp_path, content, words):
    """Regression: a key of 1,000 parts raised RecursionError."""
    assert words in refusal(tmp_path / "r.toml", content)


def test_a_long_text_with_dots_is_no_long_key(tmp_path):
    text = TINY + "# a.b.c.d.e.f.g sentence ... with 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9\n"
    (tmp_path / "r.toml").write_text("\ufeff" + text, encoding="utf-8")
    assert load_recipe(str(tmp_path / "r.toml")) == load_recipe("tiny")


@RULES
@given(
    st.one_of(
        st.binary(max_size=200),
        st.text(alphabet="[]{}\".'=a1\n ,#-:", max_size=120).map(str.encode),
        st.tuples(st.integers(0, len(TINY)), st.binary(max_size=8)).map(
            lambda cut: TINY.encode()[: cut[0]] + cut[1] + TINY.encode()[cut[0] + 1 :]
        ),
    )
)
def test_any_bytes_are_a_recipe_or_one_sentence(tmp_path_factory, content):
    path = tmp_path_factory.getbasetemp() / "fuzzed.toml"
    path.write_bytes(content)
    try:
        assert isinstance(load_recipe(str(path)), RecipeConfig)
    except ConfigError as error:
        assert len(str(error).splitlines()) == 1


@pytest.mark.parametrize("name", ["a" * 300, "a\0b", "none/x.toml", "~nobody-here/x.toml", "", "/"])
def test_a_name_of_no_recipe_is_refused(name):
    """Regression: a name of 300 letters was an OSError."""
    known = "digits, flat_pixels, gru, handwritten, pixels, small"
    with pytest.raises(ConfigError, match=rf"is not a recipe file; .* {known}"):
        load_recipe(name)


@pytest.mark.parametrize("name, meant", [("Digits", "digits"), ("vocodr", "vocoder")])
def test_the_recipe_that_was_probably_meant_is_named(name, meant):
    with pytest.raises(ConfigError, match=f"did you mean {meant}"):
        load_recipe(name)


def test_the_home_folder_is_expanded_in_the_name_and_in_the_folder_of_recordings(
    tmp_path, monkeypatch
):
    """Regression: "~/x is not a folder"."""
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / "audio").mkdir()
    soundfile.write(tmp_path / "audio" / "a.wav", sine(300).numpy(), RATE)
    text = TINY.replace("[data]", '[data]\nfolder = "~/audio"')
    (tmp_path / "r.toml").write_text(text)
    recipe = load_recipe("~/r.toml")
    assert recipe.data.folder == "~/audio"
    assert read_dataset(recipe.data, RATE, recipe.model).train[0].source == "a.wav"
