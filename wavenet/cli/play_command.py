"""`wavenet play`: play audio files.

Input: audio files. Output: sound. Called by `main`; `generate` and `vocode` play their clips.
"""

from collections.abc import Iterable
from pathlib import Path
from typing import Annotated

import typer

from wavenet.cli.options import ChannelChoice, ChannelOption, print_conversions, print_message

PlayOption = Annotated[bool, typer.Option("--play", help="Then play the files written.")]


def play(
    files: Annotated[list[Path], typer.Argument(help="Audio files.")],
    channel: ChannelOption = ChannelChoice.MIX,
) -> None:
    """Play audio files in all formats that the other commands read.

    Uses the package sounddevice or, if it is missing, the first of these programs that works:
    pw-play, paplay, aplay, afplay, ffplay.
    """
    from audio_utils.playback import check_player

    check_player()
    play_files(files, channel)


def play_files(files: Iterable[Path], channel: ChannelChoice = ChannelChoice.MIX) -> None:
    """Play audio files one after the other.

    Raises:
        AudioError: a file cannot be read, or there is no sound device.
    """
    from audio_utils import io, playback

    for path in files:
        recording = io.read(path, channel=channel.value)
        print_conversions(path, recording, channel)
        seconds = recording.waveform.numel() / recording.sample_rate
        print_message(f"playing {path}, {seconds:.2f} s")
        playback.play(recording.waveform, recording.sample_rate)
