"""`wavenet effects live` with a fake sounddevice: devices, a stream in a thread, its end."""

import signal
import sys
import threading
import time
from types import SimpleNamespace

import numpy as np
import pytest
import soundfile

from tests.cli.conftest import assert_refused
from tests.effects.random_effects import array, encode, linear, wavenet


class PortAudioError(Exception):
    pass


class CallbackAbort(Exception):
    pass


class FakeStream:
    """Calls the callback in a thread, as PortAudio does, as fast as possible."""

    latency = (0.004, 0.006)

    def __init__(self, module, samplerate, blocksize, device, channels, dtype, latency, callback):
        if samplerate != 48_000:
            raise PortAudioError("Invalid sample rate")
        self.options = SimpleNamespace(device=device, channels=channels, block=blocksize)
        self.played, self.active, self.is_closed = [], False, False
        self._module, self._callback = module, callback
        self._thread = threading.Thread(target=self._run, daemon=True)
        module.streams.append(self)

    def start(self):
        if self._module.busy:
            raise PortAudioError("Device unavailable")
        self.active = True
        self._thread.start()

    def _run(self):
        inputs, outputs = self.options.channels
        rng = np.random.default_rng(0)
        flags = SimpleNamespace(output_underflow=True, input_overflow=False)
        for number in range(self._module.blocks):
            if not self.active:
                return
            recorded = rng.uniform(-1, 1, (self.options.block, inputs)).astype(np.float32)
            played = np.empty((self.options.block, outputs), np.float32)
            try:
                self._callback(recorded, played, len(played), None, flags if number == 3 else None)
            except CallbackAbort:
                break
            self.played.append(played)
        else:
            if self._module.ends:
                self.active = False
            return
        self.active = False

    def abort(self):
        self.active = False
        self._thread.join()

    def close(self):
        self.is_closed = True


@pytest.fixture
def sound(monkeypatch):
    """Install a fake sounddevice with an interface and a loudspeaker."""
    keys = ("name", "hostapi", "max_input_channels", "max_output_channels", "default_samplerate",
            "default_low_input_latency", "default_low_output_latency")  # fmt: skip
    devices = [
        dict(zip(keys, ("Guitar Box", 0, 2, 2, 48_000.0, 0.003, 0.004), strict=True)),
        dict(zip(keys, ("Speaker", 0, 0, 1, 44_100.0, 0.0, 0.01), strict=True)),
    ]

    def query(device=None, kind=None):
        if kind is None:
            return devices
        index = device if isinstance(device, int) else 0
        if isinstance(device, str) and device not in "Guitar Box":
            raise ValueError(f"No device matching {device!r}")
        return devices[index]

    module = SimpleNamespace(
        PortAudioError=PortAudioError, CallbackAbort=CallbackAbort, streams=[], blocks=100,
        busy=False, ends=False, query_devices=query, query_hostapis=lambda: [{"name": "ALSA"}],
        default=SimpleNamespace(device=(0, 1)),
    )  # fmt: skip
    module.Stream = lambda **options: FakeStream(module, **options)
    monkeypatch.setitem(sys.modules, "sounddevice", module)
    return module


@pytest.fixture
def amp(tmp_path):
    path = tmp_path / "amp.nam"
    path.write_bytes(encode(wavenet(array(channels=2), head_scale=50)))
    return path


def test_devices_are_listed(run_command, sound):
    code, out, err = run_command("effects", "live", "--list")
    assert (code, err) == (0, "")
    first, second = out.splitlines()
    assert "2 in  2 out  48,000 Hz    7.0 ms  Guitar Box (ALSA)  default input" in first
    assert "0 in  1 out  44,100 Hz   10.0 ms  Speaker (ALSA)  default output" in second


def test_sound_runs_limited_for_the_given_time(run_command, sound, amp, tmp_path):
    soundfile.write(tmp_path / "cab.wav", [1.0, 0.5], 48_000)
    code, out, err = run_command(
        "effects", "live", "-m", amp, "--input", "Box", "--output", "1", "--channel", 2, "--block",
        64, "--ceiling", -6, "--input-gain", 40, "--seconds", 0.3, "--mix", 0.9,
        "--ir", tmp_path / "cab.wav",
    )  # fmt: skip
    assert (code, out) == (0, "")
    assert "latency 10.0 ms: input 4.0, output 6.0, chain 0.0" in err
    assert "100 blocks; " in err
    assert "1 underruns, 0 overruns, 0 invalid samples" in err
    (stream,) = sound.streams
    assert stream.is_closed
    assert (stream.options.device, stream.options.channels) == (("Box", 1), (2, 1))
    peak = np.abs(np.concatenate(stream.played)).max()
    assert 0.3 < peak <= 10 ** (-6 / 20)


@pytest.mark.parametrize("option", ["--remove-offset", "--keep-offset", None])
def test_an_offset_is_removed_unless_it_is_kept(run_command, sound, tmp_path, option):
    path = tmp_path / "offset.nam"
    path.write_bytes(encode(linear(taps=1) | {"weights": [0.0, 0.25]}))
    options = [option] if option else []
    code, _, _ = run_command("effects", "live", "-m", path, "--seconds", 0.3, *options)
    assert code == 0
    last = np.abs(sound.streams[0].played[-1])
    assert last == pytest.approx(
        0.25 if option == "--keep-offset" else 0, abs=0.05
    )  # the limiter fades in


@pytest.mark.usefixtures("python_sigint")
def test_ctrl_c_is_the_usual_end(run_command, sound, amp):
    main, pressed = threading.main_thread().ident, []

    def interrupt():
        while not any(len(stream.played) == sound.blocks for stream in sound.streams):
            time.sleep(0.01)
        pressed.append(time.monotonic())
        signal.pthread_kill(main, signal.SIGINT)

    threading.Thread(target=interrupt, daemon=True).start()
    code, _, err = run_command("effects", "live", "-m", amp, "--seconds", 100)
    assert code == 0
    assert time.monotonic() - pressed[0] < 50
    assert "100 blocks; " in err
    assert sound.streams[0].is_closed


def test_failures_are_one_sentence(run_command, sound, amp, tmp_path, monkeypatch):
    live = ("effects", "live", "-m", amp)
    assert_refused(run_command("effects", "live"), "--model is missing")
    assert_refused(run_command(*live, "--ceiling", 3), "the ceiling: expected -60 to 0 dB")
    assert_refused(run_command(*live, "--input", "none"), "no input device 'none'", code=1)
    assert_refused(run_command(*live, "--channel", 3), "--channel 3: the input device has 2")
    other = tmp_path / "other.nam"
    other.write_bytes(encode(wavenet(array()) | {"sample_rate": 44_100}))
    result = run_command("effects", "live", "-m", other)
    assert_refused(result, "cannot run at 44100 Hz", "Invalid sample rate", code=1)
    other.write_bytes(encode(wavenet(array()) | {"sample_rate": 44_100.5}))
    assert_refused(run_command("effects", "live", "-m", other), "needs a whole number")
    sound.busy = True
    assert_refused(run_command(*live), "Device unavailable", code=1)
    sound.busy = False
    sound.ends = True
    code, _, err = run_command(*live)
    assert code == 1
    assert err.splitlines()[-1] == (
        "wavenet: the sound device ended the stream; is it still connected?"
    )


def test_an_error_in_the_callback_ends_with_one_sentence(run_command, sound, amp, monkeypatch):
    from wavenet.effects.rendering.output_limiter import OutputLimiter

    process, calls = OutputLimiter.process, []

    def fail_later(limiter, block):
        calls.append(1)
        if len(calls) > 20:
            raise ValueError("broken")
        process(limiter, block)

    monkeypatch.setattr(OutputLimiter, "process", fail_later)
    code, _, err = run_command("effects", "live", "-m", amp, "--quiet")
    assert code == 1
    assert err.splitlines()[-1] == "wavenet: live sound ended by an error: broken"
    assert sound.streams[0].is_closed


def test_without_sounddevice_the_error_says_what_to_install(run_command, amp, monkeypatch):
    monkeypatch.setitem(sys.modules, "sounddevice", None)
    for arguments in (("--list",), ("-m", amp)):
        result = run_command("effects", "live", *arguments)
        assert_refused(result, "-m pip install 'sounddevice>=", "libportaudio2", code=1)
