"""Playing sound: through sounddevice, through the players of the system, or an error."""

import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
import soundfile
import torch

from audio_utils.errors import AudioError
from audio_utils.playback import PLAYERS, check_player, play

WAVE = torch.linspace(-0.5, 0.5, 800)


@pytest.fixture
def players(tmp_path, monkeypatch):
    """Return a function that installs players, scripts; there are no others and no sounddevice."""
    monkeypatch.setitem(sys.modules, "sounddevice", None)
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    monkeypatch.setattr(
        "shutil.which", lambda name: str(p) if (p := tmp_path / name).exists() else None
    )

    def install(name, script):
        path = tmp_path / name
        path.write_text(f"#!/bin/sh\n{script}\n")
        path.chmod(0o755)
        return path

    return install


@pytest.mark.parametrize("name", PLAYERS)
def test_a_player_of_the_system_gets_a_complete_file(players, tmp_path, name):
    heard, arguments = tmp_path / "heard.wav", tmp_path / "arguments"
    players(name, f'for last; do :; done\ncp "$last" {heard}\necho "$@" > {arguments}')
    play(WAVE, 8000)
    samples, rate = soundfile.read(heard, dtype="float32")
    assert rate == 8000
    assert torch.allclose(torch.from_numpy(samples), WAVE, atol=1 / 32768)
    *options, path = arguments.read_text().split()
    assert tuple(options) == PLAYERS[name]
    assert not Path(path).exists()  # it was temporary


def test_the_next_player_is_used_if_one_has_no_server(players, tmp_path):
    players("pw-play", "echo 'error: no server' >&2; exit 1")
    players("aplay", f"touch {tmp_path / 'played'}")
    play(WAVE, 8000)
    assert (tmp_path / "played").exists()


def test_without_a_device_the_error_has_the_reasons(players):
    players("paplay", "echo first >&2; echo Connection refused >&2; exit 1")
    players("aplay", "exit 3")
    with pytest.raises(AudioError, match=r"\(paplay: Connection refused; aplay: exit code 3\)"):
        play(WAVE, 8000)


def test_the_player_that_succeeds_without_a_device_is_noticed(players):
    """As ffplay does: on a machine without sound, a user would otherwise wait for it in vain."""
    players("ffplay", "echo 'No more combinations, audio open failed' >&2; echo more >&2; exit 0")
    with pytest.raises(AudioError, match=r"\(ffplay: No more combinations, audio open failed\)"):
        play(WAVE, 8000)


@pytest.mark.usefixtures("players")
def test_without_a_player_the_error_says_what_to_install():
    for call in (check_player, lambda: play(WAVE, 8000)):
        with pytest.raises(AudioError, match=r"none of pw-play, .*-m pip install 'sounddevice>="):
            call()


def test_sounddevice_comes_first(players, monkeypatch):
    players("aplay", "exit 1")
    calls = []

    class PortAudioError(Exception):
        pass

    def play_array(samples, rate, blocking):
        calls.append((samples.copy(), rate, blocking))
        if len(calls) == 2:
            raise PortAudioError("no default output device")

    module = SimpleNamespace(play=play_array, PortAudioError=PortAudioError)
    monkeypatch.setitem(sys.modules, "sounddevice", module)
    play(WAVE, 8000)
    (samples, rate, blocking) = calls[0]
    assert (samples.tolist(), rate, blocking) == (WAVE.tolist(), 8000, True)
    with pytest.raises(AudioError, match="no default output device"):
        play(WAVE, 8000)
