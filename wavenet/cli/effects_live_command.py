"""`wavenet effects live`: an effect between the input and the output of a sound device.

Input: a model and devices. Output: sound, and one line of levels and counts on stderr. Called by
`effects_command`.
"""

import gc
import sys
import time
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from wavenet.cli.effects_options import MODEL_HELP, ChainOptions, IrOption, load_model
from wavenet.cli.option_groups import expand_option_groups
from wavenet.cli.options import QuietOption, print_message
from wavenet.errors import ConfigError
from wavenet.terminal import print_line, print_over_line

if TYPE_CHECKING:
    from audio_utils.sound_devices import Device
    from wavenet.effects.rendering.effect_chain import EffectChain
    from wavenet.effects.rendering.live_effect import LiveEffect

METER_SECONDS = 0.1  # between two updates of the line on a terminal
LINE_SECONDS = 10.0  # between two lines elsewhere


# The first line of the docstring is the title of a group of options in --help.


@dataclass(frozen=True)
class DeviceOptions:
    """Devices."""

    input_: Annotated[
        str | None, typer.Option("--input", help="Device that records: number or part of its name.")
    ] = None
    output: Annotated[
        str | None, typer.Option("--output", help="Device that plays: number or part of its name.")
    ] = None
    channel: Annotated[
        int, typer.Option("--channel", min=1, max=256, help="Input channel of the instrument.")
    ] = 1
    block: Annotated[
        int,
        typer.Option(
            "--block", min=16, max=8192, help="Samples per block: fewer are less latency."
        ),
    ] = 128


@expand_option_groups
def live(
    chain: ChainOptions,
    devices: DeviceOptions,
    model: Annotated[Path | None, typer.Option("--model", "-m", help=MODEL_HELP)] = None,
    ir: IrOption = None,
    list_: Annotated[
        bool, typer.Option("--list", help="Print the sound devices and do nothing else.")
    ] = False,
    ceiling: Annotated[
        float, typer.Option("--ceiling", help="The output is never louder, dB re full scale.")
    ] = -3.0,
    limiter: Annotated[
        bool,
        typer.Option(
            "--limiter/--no-limiter",
            help="Keep the output below --ceiling, or only cut it off at full scale.",
        ),
    ] = True,
    seconds: Annotated[
        float | None, typer.Option("--seconds", "-t", min=0, help="End after this time.")
    ] = None,
    quiet: QuietOption = False,
) -> None:
    """Play an instrument through a model; Ctrl-C ends it.

    The device must run at the rate of the model. Use headphones: a microphone that hears the
    loudspeakers makes a howl, which the limiter only keeps from growing.
    """
    if list_:
        _print_devices()
        return
    from audio_utils.sound_devices import require_sounddevice

    if model is None:
        raise ConfigError("--model is missing; expected a .nam file, or --list")
    require_sounddevice()  # before anything is compiled
    effect_chain = _make_chain(model, chain, ir)
    effect, stream = _open_stream(effect_chain, devices, ceiling, limiter)
    with _without_collection(), stream as running:
        print_message(describe_latency(running.latency, effect_chain, devices.block))
        _watch(running, effect, seconds, quiet)
    print_message(f"{effect.status.blocks:,} blocks; {_describe_counts(effect)}")


def _open_stream(
    chain: "EffectChain", options: DeviceOptions, ceiling: float, limiter: bool
) -> "tuple[LiveEffect, AbstractContextManager[Any]]":
    """Return the callback, and the stream that will call it.

    Raises:
        AudioError: there are no such devices.
        ConfigError: the channel or the ceiling is out of range.
    """
    from audio_utils.sound_devices import count_channels, open_live_stream, require_sounddevice
    from wavenet.effects.rendering.live_effect import LiveEffect

    abort = require_sounddevice().CallbackAbort
    devices = (_device(options.input_), _device(options.output))
    found = count_channels(devices[0], "input")
    if options.channel > found:
        raise ConfigError(f"--channel {options.channel}: the input device has {found} channels")
    channels = (options.channel, min(2, count_channels(devices[1], "output")))
    effect = LiveEffect(chain, options.block, options.channel - 1, ceiling, limiter, abort)
    return effect, open_live_stream(effect, chain.sample_rate, options.block, devices, channels)


def _make_chain(model: Path, options: ChainOptions, ir: Path | None) -> "EffectChain":
    """Return the chain at the rate of the model.

    Raises:
        ConfigError: the rate is no whole number.
    """
    from wavenet.effects.impulse_response import read_impulse_response
    from wavenet.effects.rendering.effect_chain import EffectChain

    _, loaded = load_model(model, options)
    rate = round(loaded.rate)
    if rate != loaded.rate:
        raise ConfigError(f"the model has {loaded.rate} Hz; a sound device needs a whole number")
    response = None if ir is None else read_impulse_response(ir, rate)
    return EffectChain(loaded, rate, options.settings(removes_offset=True), response)


def describe_latency(latency: Any, chain: "EffectChain", block: int) -> str:
    """Return the latencies of the devices and of the chain in ms, as a sentence."""
    recorded, played = (1000 * part for part in latency)
    own = 1000 * chain.latency / chain.sample_rate
    return (
        f"running at {chain.sample_rate} Hz in blocks of {block} samples "
        f"({1000 * block / chain.sample_rate:.1f} ms); latency {recorded + played + own:.1f} ms: "
        f"input {recorded:.1f}, output {played:.1f}, chain {own:.1f}; Ctrl-C ends it"
    )


def _watch(stream: Any, effect: "LiveEffect", seconds: float | None, quiet: bool) -> None:
    """Show levels until the time is over, Ctrl-C is pressed, or the stream ends.

    Raises:
        AudioError: the callback failed, or the device ended the stream.
    """
    from audio_utils.errors import AudioError

    is_terminal = sys.stderr.isatty()
    start = last_line = time.monotonic()
    try:
        while seconds is None or time.monotonic() - start < seconds:
            time.sleep(METER_SECONDS)
            if effect.error is not None:
                raise AudioError(f"live sound ended by an error: {effect.error}") from effect.error
            if not stream.active:
                raise AudioError("the sound device ended the stream; is it still connected?")
            if quiet:
                continue
            if is_terminal:
                print_over_line(effect.status.line())
            elif time.monotonic() - last_line >= LINE_SECONDS:
                last_line = time.monotonic()
                print_message(effect.status.line())
    except KeyboardInterrupt:
        pass  # the usual end
    finally:
        if is_terminal and not quiet:
            print_over_line("")


def _describe_counts(effect: "LiveEffect") -> str:
    found = effect.status
    return (
        f"{found.late_blocks:,} late, {found.underruns:,} underruns, {found.overruns:,} overruns, "
        f"{found.invalid_samples:,} invalid samples"
    )


def _device(text: str | None) -> "Device":
    """Return a number, or a part of a name."""
    return int(text) if text is not None and text.isascii() and text.isdecimal() else text


def _print_devices() -> None:
    """Print a table of the devices."""
    from audio_utils.sound_devices import list_sound_devices

    devices = list_sound_devices()
    if not devices:
        print_message("no sound devices")
    for device in devices:
        default = [
            name
            for name, is_default in (
                ("input", device.is_default_input),
                ("output", device.is_default_output),
            )
            if is_default
        ]
        marks = f"  default {' and '.join(default)}" if default else ""
        print_line(
            f"{device.index:3}  {device.inputs} in  {device.outputs} out  "
            f"{device.sample_rate:,.0f} Hz  {device.latency_ms:5.1f} ms  "
            f"{device.name} ({device.host_api}){marks}"
        )


@contextmanager
def _without_collection() -> Iterator[None]:
    """Switch the collection of garbage off, which could interrupt the callback."""
    was_enabled = gc.isenabled()
    gc.collect()
    gc.disable()
    try:
        yield
    finally:
        if was_enabled:
            gc.enable()
