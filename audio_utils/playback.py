"""Play sound through sounddevice, or else through a player that is installed on the system.

Input: a waveform. Output: sound, and an error of one sentence if there is none. Called by the
command line.
"""

import shutil
import subprocess
import tempfile
from pathlib import Path

from torch import Tensor

from audio_utils import io
from audio_utils.errors import AudioError
from audio_utils.optional_packages import install_command
from audio_utils.sound_devices import import_sounddevice

# Programs that play a WAV file, with the options for doing only that.
PLAYERS: dict[str, tuple[str, ...]] = {
    "pw-play": (),
    "paplay": (),
    "aplay": ("--quiet",),
    "afplay": (),
    "ffplay": ("-nodisp", "-autoexit", "-loglevel", "error"),
}
# ffplay prints it without a sound device, and exits with code 0; aplay prints "audio open error".
_NO_DEVICE = "audio open "


def check_player() -> None:
    """Check that sound can be played.

    Raises:
        AudioError: neither sounddevice nor a player is installed.
    """
    if import_sounddevice() is None and not _find_players():
        raise AudioError(
            f"sound cannot be played: none of {', '.join(PLAYERS)} is installed; install one, or "
            f"the package sounddevice with `{install_command('live')}`"
        )


def play(waveform: Tensor, sample_rate: int) -> None:
    """Play a waveform to its end.

    Args:
        waveform: (T,), in [-1, 1].
        sample_rate: Hz.
    Raises:
        AudioError: there is no player, or none finds a sound device.
    """
    check_player()
    sounddevice = import_sounddevice()
    if sounddevice is not None:
        try:
            sounddevice.play(waveform.numpy(), sample_rate, blocking=True)
        except sounddevice.PortAudioError as error:
            raise AudioError(f"sound cannot be played: {error}; connect a sound device") from None
        return
    with tempfile.TemporaryDirectory(prefix="wavenet-") as folder:
        path = Path(folder) / "sound.wav"
        io.write(path, waveform, sample_rate)
        _play_file(path)


def _play_file(path: Path) -> None:
    """Play a WAV file with the first player that works; another may need a missing server."""
    reasons = []
    for program in _find_players():
        command = [program, *PLAYERS[Path(program).stem], str(path)]
        done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True)
        lines = done.stderr.split("\n")
        no_device = [line for line in lines if _NO_DEVICE in line]
        if done.returncode == 0 and not no_device:
            return
        last = next(filter(None, reversed(lines)), f"exit code {done.returncode}")
        reasons.append(f"{Path(program).stem}: {no_device[0] if no_device else last}")
    raise AudioError(f"sound cannot be played ({'; '.join(reasons)}); connect a sound device")


def _find_players() -> list[str]:
    return [path for name in PLAYERS if (path := shutil.which(name))]
