"""The command `wavenet`: gathers the commands and turns errors into one sentence.

Nothing heavy is imported here, so that `wavenet --help` answers at once. stdout carries data,
stderr words. Exit codes: 0 done, 1 failed, 2 wrong usage, 3 some items failed, 130 interrupted.
"""

import sys

import typer

import wavenet
from wavenet.cli import (
    analyse,
    batch_command,
    bench,
    data_command,
    evaluate,
    generate,
    hub,
    import_,
    info,
    score,
    studio,
    train,
    vocode,
)
from wavenet.errors import ConditionError, ConfigError, EngineUnavailable, WaveNetError
from wavenet.interrupts import redeliver_sigint

app = typer.Typer(
    name="wavenet",
    help="WaveNet you can run, hear, see and trust.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
app.command("generate")(generate.generate)
app.command("batch")(batch_command.batch)
app.command("vocode")(vocode.vocode)
app.command("score")(score.score)
app.command("train")(train.train)
app.command("info")(info.info)
app.command("analyse")(analyse.analyse)
app.command("bench")(bench.bench)
app.command("import")(import_.import_)
app.command("ui")(studio.studio)
app.add_typer(data_command.app, name="data")
app.add_typer(evaluate.app, name="evaluate")
app.add_typer(hub.app, name="hub")


def _version(wanted: bool) -> None:
    if wanted:
        typer.echo(wavenet.__version__)
        raise typer.Exit


@app.callback()
def options(
    version: bool = typer.Option(
        False, "--version", callback=_version, is_eager=True, help="Print the version and end."
    ),
) -> None:
    """WaveNet you can run, hear, see and trust."""


def main() -> None:
    """Run a command; a fault that a user can meet ends as one sentence on stderr."""
    sys.unraisablehook = redeliver_sigint
    sys.exit(run())


def run(arguments: list[str] | None = None) -> int:
    """Run a command and give its exit code."""
    try:
        app(arguments)
    except WaveNetError as error:
        typer.echo(f"wavenet: {error}", err=True)
        usage = isinstance(error, ConditionError | ConfigError | EngineUnavailable)
        return 2 if usage else 1
    except KeyboardInterrupt:
        typer.echo("wavenet: interrupted", err=True)
        return 130
    except SystemExit as end:
        return end.code if isinstance(end.code, int) else int(end.code is not None)
    except Exception as error:
        # imported only now: the audio package brings numpy and torch
        from audio_utils.errors import AudioError

        if not isinstance(error, AudioError):
            raise
        typer.echo(f"wavenet: {error}", err=True)
        return 1
    return 0
