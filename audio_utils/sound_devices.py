"""Sound devices of this machine through sounddevice: their list, and a stream in both directions.

No other module imports sounddevice. Input: numbers or names of devices. Output: `SoundDevice`s, or
an open stream that calls a function for each block. Called by `playback` and by live effects.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from audio_utils.errors import AudioError
from audio_utils.optional_packages import install_command

# frames recorded, frames to play, number of frames, times, flags
BlockCallback = Callable[[NDArray[np.float32], NDArray[np.float32], int, Any, Any], None]
Device = int | str | None


@dataclass(frozen=True)
class SoundDevice:
    """A device that records, plays, or both.

    Attributes:
        index: its number.
        name: as the system names it.
        host_api: the interface to it, such as ALSA, Core Audio or ASIO.
        inputs, outputs: channels.
        sample_rate: that it uses by default, Hz.
        latency_ms: lowest that the device promises for both directions, in ms.
        is_default_input, is_default_output: whether it is used if none is chosen.
    """

    index: int
    name: str
    host_api: str
    inputs: int
    outputs: int
    sample_rate: float
    latency_ms: float
    is_default_input: bool
    is_default_output: bool


def import_sounddevice() -> Any:
    """Return the package; None if it or its library PortAudio is missing."""
    try:
        import sounddevice
    except (ImportError, OSError):
        return None
    return sounddevice


def require_sounddevice() -> Any:
    """Return the package.

    Raises:
        AudioError: it or PortAudio is missing; the message says what to install.
    """
    package = import_sounddevice()
    if package is None:
        raise AudioError(
            "live sound needs the package sounddevice and the library PortAudio; install them with "
            f"`{install_command('live')}`, and on Debian or Ubuntu `apt install libportaudio2`"
        )
    return package


def list_sound_devices() -> list[SoundDevice]:
    """Return all sound devices.

    Raises:
        AudioError: sounddevice is missing, or the system does not answer.
    """
    package = require_sounddevice()
    try:
        devices, apis = package.query_devices(), package.query_hostapis()
        default_input, default_output = package.default.device
    except package.PortAudioError as error:
        raise AudioError(f"sound devices cannot be listed: {error}") from None
    return [
        SoundDevice(
            index,
            *(device["name"], apis[device["hostapi"]]["name"]),
            *(device["max_input_channels"], device["max_output_channels"]),
            device["default_samplerate"],
            1000 * (device["default_low_input_latency"] + device["default_low_output_latency"]),
            *(index == default_input, index == default_output),
        )
        for index, device in enumerate(devices)
    ]


def count_channels(device: Device, kind: str) -> int:
    """Return the channels of a device.

    Args:
        device: number or part of a name; None for the default.
        kind: input or output.
    Raises:
        AudioError: there is no such device.
    """
    package = require_sounddevice()
    try:
        return int(package.query_devices(device, kind)[f"max_{kind}_channels"])
    except (package.PortAudioError, ValueError) as error:
        raise AudioError(
            f"there is no {kind} device{'' if device is None else f' {device!r}'} ({error}); "
            "`wavenet effects live --list` shows the devices"
        ) from None


@contextmanager
def open_live_stream(
    callback: BlockCallback,
    sample_rate: int,
    block: int,
    devices: tuple[Device, Device] = (None, None),
    channels: tuple[int, int] = (1, 1),
) -> Iterator[Any]:
    """Yield a running stream that records and plays; it ends with the `with` block.

    Args:
        callback: fills the frames to play, in a thread of the sound system.
        sample_rate: Hz.
        block: frames per call.
        devices: input and output: numbers or parts of names; None for the default.
        channels: of input and output.
    Raises:
        AudioError: the devices cannot run in this way.
    """
    package = require_sounddevice()
    try:
        stream = package.Stream(
            samplerate=sample_rate,
            blocksize=block,
            device=devices,
            channels=channels,
            dtype="float32",
            latency="low",
            callback=callback,
        )
        stream.start()
    except (package.PortAudioError, ValueError) as error:
        raise AudioError(
            f"the sound devices cannot run at {sample_rate} Hz with blocks of {block} samples "
            f"({error}); choose others of `wavenet effects live --list`"
        ) from None
    try:
        yield stream
    finally:
        with suppress(package.PortAudioError):  # the device may be gone
            stream.abort()
            stream.close()
