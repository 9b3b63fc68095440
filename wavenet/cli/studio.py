"""`wavenet ui`: the studio in the browser."""

from typing import Annotated

import typer

from wavenet.cli.options import say


def studio(
    port: Annotated[int, typer.Option(min=1, max=65535, help="On this machine only.")] = 7860,
) -> None:
    """Open the studio at http://127.0.0.1:PORT."""
    say(f"starting the studio at http://127.0.0.1:{port} (Ctrl-C ends it)")
    from wavenet.ui.studio import build_studio, launch_options

    build_studio().launch(**launch_options(port))
