"""`wavenet play`, and the option --play of the commands that generate."""

import numpy as np
import pytest
import soundfile

from audio_utils import playback
from audio_utils.errors import AudioError
from tests.cli.conftest import assert_refused
from tests.conftest import RATE, sine, tiny_config


@pytest.fixture
def played(monkeypatch):
    """Record what is played: the number of samples and the rate."""
    calls = []
    monkeypatch.setattr(playback, "check_player", lambda: None)
    monkeypatch.setattr(playback, "play", lambda wave, rate: calls.append((wave.numel(), rate)))
    return calls


@pytest.fixture
def no_player(monkeypatch):
    """Leave no player; fail if a clip is generated."""

    def fail(*_, **__):
        raise AssertionError("a sample was generated")

    monkeypatch.setattr(playback, "import_sounddevice", lambda: None)
    monkeypatch.setattr(playback, "_find_players", lambda: [])
    monkeypatch.setattr("wavenet.generation.generate.generate_many", fail)


def test_files_are_played_in_order_at_their_own_rate(run_command, tone, tmp_path, played):
    stereo = tmp_path / "stereo.flac"
    soundfile.write(stereo, np.stack([sine(0.1, rate=44_100)] * 2, axis=1), 44_100)
    code, out, err = run_command("play", stereo, tone)
    assert (code, out) == (0, "")
    assert played == [(4410, 44_100), (2400, RATE)]
    assert err.splitlines() == [
        f"{stereo}: mixed 2 channels to one",
        f"playing {stereo}, 0.10 s",
        f"playing {tone}, 0.30 s",
    ]


def test_a_file_that_is_no_audio_is_an_error(run_command, tmp_path, played):
    (tmp_path / "a.wav").write_text("text")
    assert_refused(run_command("play", tmp_path / "a.wav"), "a.wav", code=1)
    assert played == []


def test_generate_and_vocode_play_what_they_wrote(
    run_command, tiny, make_checkpoint, tmp_path, played
):
    options = ("-s", "digit=a", "-t", 0.02, "-n", 2, "--play")
    code, out, _ = run_command("generate", "-c", tiny, *options, "-o", tmp_path / "clips")
    assert (code, len(out.splitlines())) == (0, 2)
    assert played == [(160, RATE)] * 2
    curve = make_checkpoint(tiny_config(conditions="frames"), name="curve").folder
    np.save(tmp_path / "c.npy", np.zeros((5, 3), np.float32))
    code, out, _ = run_command("vocode", tmp_path / "c.npy", "-c", curve, "-o", tmp_path, "--play")
    assert (code, len(out.splitlines())) == (0, 1)
    assert played[2:] == [(28, RATE)]


@pytest.mark.usefixtures("no_player")
def test_without_a_player_nothing_is_generated(run_command, tiny, tone, tmp_path):
    for command in (
        ("play", tone),
        ("generate", "-c", tiny, "-s", "digit=a", "--play", "-o", tmp_path / "x.wav"),
        ("vocode", tone, "-c", tiny, "--play", "-o", tmp_path / "x.wav"),
    ):
        assert_refused(run_command(*command), "sound cannot be played", "sounddevice", code=1)
    assert not (tmp_path / "x.wav").exists()
    with pytest.raises(AudioError):
        playback.check_player()
