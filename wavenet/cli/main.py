"""The command `wavenet`: all subcommands, and errors as one sentence.

Input: command-line arguments. Output: data on stdout, messages on stderr, and an exit code: 0 done,
1 failed, 2 wrong usage, 3 some items failed, 130 interrupted. No large package is imported here, so
that `wavenet --help` is fast. Called by `wavenet.__main__`; `app.py` uses `exit_code`.
"""

import errno
import os
import re
import sys
from collections.abc import Callable
from functools import partial
from typing import Any

import typer

import wavenet
from wavenet.cache_folders import use_writable_caches
from wavenet.cli import (
    analyse_command,
    autoencoder_command,
    batch_command,
    bench_command,
    compare_command,
    compress_command,
    data_command,
    doctor_command,
    effects_command,
    evaluate_command,
    generate_command,
    hub_command,
    images_command,
    import_command,
    info_command,
    models_command,
    phones_command,
    play_command,
    score_command,
    speak_command,
    surprise_command,
    train_command,
    ui_command,
    vocode_command,
    which_command,
)
from wavenet.cli.command_classes import set_classes
from wavenet.cli.numeric_options import accept_typed_numbers
from wavenet.cli.user_settings import read_defaults
from wavenet.errors import ConditionError, ConfigError, EngineUnavailable, WaveNetError
from wavenet.terminal import print_line, print_message, protect_streams
from wavenet.user_input.user_paths import expand_home

INTERRUPTED = "wavenet: interrupted"
# Base class of the errors of typer on the command line; typer does not export it.
_UsageError: type[Any] = typer.BadParameter.__bases__[0]

app = typer.Typer(
    name="wavenet",
    help="Train, run and measure WaveNets.",
    no_args_is_help=True,
    context_settings={"help_option_names": ["-h", "--help"]},
    pretty_exceptions_enable=False,
)
app.command("generate")(generate_command.generate)
app.command("batch")(batch_command.batch)
app.command("vocode")(vocode_command.vocode)
app.command("play")(play_command.play)
app.command("score")(score_command.score)
app.command("surprise")(surprise_command.surprise)
app.command("which")(which_command.which)
app.command("train")(train_command.train)
app.command("models")(models_command.models)
app.command("info")(info_command.info)
app.command("analyse")(analyse_command.analyse)
app.command("bench")(bench_command.bench)
app.command("import")(import_command.import_)
app.command("compress")(compress_command.compress)
app.command("decompress")(compress_command.decompress)
app.command("verify")(compress_command.verify)
app.command("ui")(ui_command.ui)
app.command("doctor")(doctor_command.doctor)
app.command("phones")(phones_command.phones)
app.command("speak")(speak_command.speak)
app.add_typer(data_command.app, name="data")
app.add_typer(evaluate_command.app, name="evaluate")
app.add_typer(compare_command.app, name="compare")
app.add_typer(images_command.app, name="images")
app.add_typer(autoencoder_command.app, name="autoencoder")
app.add_typer(effects_command.app, name="effects")
app.add_typer(hub_command.app, name="hub")
set_classes(app)


def _print_version(requested: bool) -> None:
    if requested:
        print_line(wavenet.__version__)
        raise typer.Exit


@app.callback()
def options(
    context: typer.Context,
    version: bool = typer.Option(
        False,
        "--version",
        callback=_print_version,
        is_eager=True,
        help="Print the version and exit.",
    ),
) -> None:
    """Train, run and measure WaveNets."""
    context.default_map = read_defaults(context)


def main() -> None:
    """Run a command and exit the process with its exit code."""
    _open_standard_streams()
    protect_streams()
    use_writable_caches()
    code = run()
    sys.exit(_flush_stdout() or code)


def run(arguments: list[str] | None = None) -> int:
    """Run a command and return its exit code.

    Args:
        arguments: command-line arguments; by default those of this process.
    """
    # click expands the arguments of a process itself on Windows, where shells do not expand globs
    if arguments is not None or os.name != "nt":
        arguments = expand_home_arguments(sys.argv[1:] if arguments is None else arguments)
    command: Any = typer.main.get_command(app)
    accept_typed_numbers(command)
    command.make_context = partial(_report_interrupt, command.make_context)
    command.invoke = partial(_report_interrupt, command.invoke)
    return exit_code(lambda: command(arguments, prog_name="wavenet", standalone_mode=False))


def exit_code(action: Callable[[], object]) -> int:
    """Call a function and return the exit code of the process.

    Errors that a user can cause are printed on stderr as one sentence.

    Args:
        action: returns an exit code, or anything else for 0.
    """
    try:
        code = action()
        return code if isinstance(code, int) else 0
    except _UsageError as error:
        return _print_usage_error(error)
    except WaveNetError as error:
        print_message(f"wavenet: {error}")
        is_usage = isinstance(error, ConditionError | ConfigError | EngineUnavailable)
        return 2 if is_usage else 1
    except KeyboardInterrupt as stop:
        print_message(_describe_interrupt(stop))
        return 130
    except SystemExit as stop:
        return stop.code if isinstance(stop.code, int) else int(stop.code is not None)
    except OSError as error:
        print_message(f"wavenet: {_describe_os_error(error)}")
        return 1
    except Exception as error:
        # Imported here because the audio package imports numpy and torch.
        from audio_utils.errors import AudioError

        if "no locator available" in str(error):  # numba, in another library
            error = AudioError(
                "compiled code cannot be stored in the home folder or a temporary folder; set "
                "NUMBA_CACHE_DIR to a folder that can be written"
            )
        if not isinstance(error, AudioError):
            raise
        print_message(f"wavenet: {error}")
        return 1


def _report_interrupt(call: Callable[..., Any], *values: Any, **named: Any) -> Any:
    """Call a part of typer, which itself ends silently after Ctrl-C."""
    try:
        return call(*values, **named)
    except KeyboardInterrupt as stop:
        print_message(_describe_interrupt(stop))
        raise typer.Exit(130) from None


def _describe_interrupt(stop: KeyboardInterrupt) -> str:
    """Return one line: that the command was interrupted, and the result that the error names."""
    return f"{INTERRUPTED}; {stop}" if str(stop) else INTERRUPTED


def _print_usage_error(error: Any) -> int:
    """Print an error of typer as one sentence; without a command, typer prints the help."""
    if type(error).__name__ != "NoArgsIsHelpError":
        text = error.format_message().rstrip(".")
        command = error.ctx.command_path if error.ctx else "wavenet"
        hint = _condition_hint(text, error)
        print_message(f"wavenet: {text[:1].lower()}{text[1:]}{hint}; see `{command} --help`")
    return int(error.exit_code)


def _condition_hint(text: str, error: Any) -> str:
    """Return how to set a condition, if an unexpected argument may be the value of one."""
    match = re.match(r"Got unexpected extra argument\S* \((\S*)", text)
    if not match:
        return ""
    parameters = error.ctx.command.params
    has_conditions = any(parameter.name == "set_" for parameter in parameters)
    if not has_conditions or any(p.param_type_name == "argument" for p in parameters):
        return ""  # a further argument of `wavenet vocode` is probably a file
    word = match[1].rstrip(")")
    example = word if "=" in word else f"digit={word if word.isdecimal() else 7}"
    return f"; conditions are set with an option, such as `--set {example}`"


def _describe_os_error(error: OSError) -> str:
    """Return one sentence for a failed file operation that no command expected."""
    from audio_utils.atomic_files import os_error_reason

    reason, name = os_error_reason(error), error.filename
    if "temporary directory found" in reason:
        return f"{reason}; set TMPDIR to a folder that can be written"
    if not isinstance(name, str | bytes):
        return reason
    return f"{os.fsdecode(name)} cannot be used: {reason}"


def _open_standard_streams() -> None:
    """Open closed standard streams on the null device.

    Otherwise the output of libraries would go to the first file that a command opens.
    """
    for number in range(3):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # the lowest number that is free


def _flush_stdout() -> int:
    """Flush stdout; return the exit code 1 if that fails, otherwise 0."""
    try:
        if sys.stdout is not None:
            sys.stdout.flush()
        return 0
    except OSError as error:
        if error.errno != errno.EPIPE:
            print_message(f"wavenet: stdout cannot be written: {error.strerror}")
        # Python flushes again when it ends: the rest goes to the null device.
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        return 1


def expand_home_arguments(arguments: list[str]) -> list[str]:
    """Return the arguments with the home folder in place of ~.

    A shell does that in `--out ~/x`, but not in `--out=~/x`, and no shell does it for a program
    that starts this one.
    """
    expanded = []
    for text in arguments:
        option, equals, path = text.partition("=") if text.startswith("--") else ("", "", text)
        is_path = path == "~" or path.startswith("~/")
        expanded.append(f"{option}{equals}{expand_home(path)}" if is_path else text)
    return expanded
