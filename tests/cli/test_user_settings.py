"""Defaults from the settings file of the user: which options, their order, and invalid files."""

import json
import sys

import pytest
import typer

from tests.cli.conftest import assert_refused
from wavenet.cli.main import app
from wavenet.cli.settings_config import UserSettings
from wavenet.cli.user_settings import USED_BY

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="other systems have other folders")


@pytest.fixture
def write_settings(tmp_path, monkeypatch):
    """Return a function that writes the settings file; the working folder is empty."""
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "settings"))
    (tmp_path / "work").mkdir()
    monkeypatch.chdir(tmp_path / "work")

    def write(text):
        path = tmp_path / "settings/wavenet-studio/config.toml"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
        return path

    return write


def test_settings_are_the_defaults_and_options_override_them(run_command, tiny, write_settings):
    write_settings(f'checkpoint = "{tiny}"\nout = "clips"\nseed = 7\nengine = "cached"\n')
    common = ("generate", "-s", "digit=a", "-t", 0.02, "--json")
    code, out, err = run_command(*common)
    assert (code, json.loads(out)["file"]) == (0, "clips/tiny_a_seed7.wav")
    assert err.splitlines()[0].endswith("engine cached in fp32")
    code, out, err = run_command(*common, "--seed", 3, "-o", "x.wav", "--engine", "cpu")
    assert (code, json.loads(out)["file"], json.loads(out)["seed"]) == (0, "x.wav", 3)
    assert err.splitlines()[0].endswith("engine cpu in fp32")
    assert json.loads(run_command("info", "--json")[1])["name"] == "tiny"


def test_the_home_folder_is_expanded(write_settings, monkeypatch, tmp_path):
    monkeypatch.setenv("HOME", str(tmp_path))
    settings = UserSettings(checkpoint="~/a", out="~/b")
    assert (settings.checkpoint, settings.out) == (str(tmp_path / "a"), str(tmp_path / "b"))


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ('checkpiont = "a"', ["the key checkpiont is not known", "did you mean checkpoint?"]),
        ("seed = -2", ["seed", "found -2"]),
        ('seed = "7"', ["seed", "found '7'"]),
        ('engine = "warp"', ["engine", "'cached'", "found 'warp'"]),
        ('device = "tpu"', ["device", "found 'tpu'"]),
        ("threads = 3", ["threads", "found 3"]),
        ('out = ""', ["out"]),
        ("seed = ", ["cannot be read as TOML"]),
        ("a." * 9 + "b = 1", ["more than 8 parts"]),
    ],
)
def test_an_invalid_file_is_one_sentence_with_its_path(run_command, write_settings, text, words):
    path = write_settings(text)
    assert_refused(run_command("generate"), str(path), *words)


def test_commands_that_measure_do_not_read_the_file(run_command, write_settings):
    write_settings("damaged")
    assert run_command("models")[0] == 0
    assert run_command("--help")[0] == 0


def test_every_setting_is_an_option_of_its_commands():
    commands = typer.main.get_command(app).commands
    for name, keys in USED_BY.items():
        options = {o.removeprefix("--") for p in commands[name].params for o in p.opts}
        assert set(keys) <= options, name
    assert {key for keys in USED_BY.values() for key in keys} == set(UserSettings.model_fields)


def test_info_names_the_file(run_command, tiny, write_settings, tmp_path):
    path = tmp_path / "settings/wavenet-studio/config.toml"
    line = f"settings file: {path}"
    assert run_command("info", tiny)[2] == f"{line}, which does not exist\n"
    write_settings("seed = 1")
    assert run_command("info", tiny)[2] == f"{line}\n"
