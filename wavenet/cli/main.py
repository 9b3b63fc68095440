"""The command `wavenet`: all subcommands, and errors as one sentence.

Input: command-line arguments. Output: data on stdout, messages on stderr, and an exit code: 0 done,
1 failed, 2 wrong usage, 3 some items failed, 130 interrupted. No large package is imported here, so
that `wavenet --help` is fast. Called by the script `wavenet` and by `python -m wavenet`.
"""

import os
import sys

import typer

import wavenet
from wavenet.cli import (
    analyse_command,
    batch_command,
    bench_command,
    data_command,
    evaluate_command,
    generate_command,
    hub_command,
    import_command,
    info_command,
    score_command,
    train_command,
    ui_command,
    vocode_command,
)
from wavenet.errors import ConditionError, ConfigError, EngineUnavailable, WaveNetError
from wavenet.interrupts import redeliver_sigint
from wavenet.user_paths import expand_home

app = typer.Typer(
    name="wavenet",
    help="Train, run and measure WaveNets.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
app.command("generate")(generate_command.generate)
app.command("batch")(batch_command.batch)
app.command("vocode")(vocode_command.vocode)
app.command("score")(score_command.score)
app.command("train")(train_command.train)
app.command("info")(info_command.info)
app.command("analyse")(analyse_command.analyse)
app.command("bench")(bench_command.bench)
app.command("import")(import_command.import_)
app.command("ui")(ui_command.ui)
app.add_typer(data_command.app, name="data")
app.add_typer(evaluate_command.app, name="evaluate")
app.add_typer(hub_command.app, name="hub")


def _print_version(requested: bool) -> None:
    if requested:
        typer.echo(wavenet.__version__)
        raise typer.Exit


@app.callback()
def options(
    version: bool = typer.Option(
        False,
        "--version",
        callback=_print_version,
        is_eager=True,
        help="Print the version and exit.",
    ),
) -> None:
    """Train, run and measure WaveNets."""


def main() -> None:
    """Run a command and exit the process with its exit code."""
    sys.unraisablehook = redeliver_sigint
    sys.exit(run())


def run(arguments: list[str] | None = None) -> int:
    """Run a command and return its exit code.

    Errors that a user can cause are printed on stderr as one sentence.

    Args:
        arguments: command-line arguments; by default those of this process.
    """
    # click expands the arguments of a process itself on Windows, where shells do not expand globs
    if arguments is not None or os.name != "nt":
        arguments = expand_home_arguments(sys.argv[1:] if arguments is None else arguments)
    try:
        app(arguments)
    except WaveNetError as error:
        typer.echo(f"wavenet: {error}", err=True)
        is_usage = isinstance(error, ConditionError | ConfigError | EngineUnavailable)
        return 2 if is_usage else 1
    except KeyboardInterrupt:
        typer.echo("wavenet: interrupted", err=True)
        return 130
    except SystemExit as stop:
        return stop.code if isinstance(stop.code, int) else int(stop.code is not None)
    except Exception as error:
        # Imported here because the audio package imports numpy and torch.
        from audio_utils.errors import AudioError

        if not isinstance(error, AudioError):
            raise
        typer.echo(f"wavenet: {error}", err=True)
        return 1
    return 0


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
