"""`wavenet effects`: amplifiers and effects. The commands are in files of their own."""

import typer

from wavenet.cli.effects_check_command import check

app = typer.Typer(help="Check recordings of amplifiers and effects.", no_args_is_help=True)


@app.callback()
def effects() -> None:
    """Check recordings of amplifiers and effects."""


app.command()(check)
