"""`wavenet effects`: amplifiers and effects. The commands are in files of their own."""

import typer

from wavenet.cli.effects_batch_command import batch
from wavenet.cli.effects_check_command import check
from wavenet.cli.effects_export_command import export
from wavenet.cli.effects_info_command import info
from wavenet.cli.effects_live_command import live
from wavenet.cli.effects_render_command import render
from wavenet.cli.effects_train_command import train

app = typer.Typer(
    help="Play sound through models of amplifiers and effects; train, export and check them.",
    no_args_is_help=True,
)


@app.callback()
def effects() -> None:
    """Play sound through models of amplifiers and effects; train, export and check them."""


app.command()(render)
app.command()(batch)
app.command()(live)
app.command()(info)
app.command()(check)
app.command()(train)
app.command()(export)
