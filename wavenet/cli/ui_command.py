"""`wavenet ui`: start the studio, which serves this machine by default.

Input: a port. The web server runs until it is interrupted. Called by `main`.
"""

import socket
from typing import Annotated

import typer

from wavenet.cli.options import print_message
from wavenet.errors import ConfigError


def ui(
    port: Annotated[int, typer.Option(min=1, max=65535, help="Port on this machine.")] = 7860,
    mcp: Annotated[
        bool,
        typer.Option(
            "--mcp",
            help="Also serve generate, continue, vocode, analyse and score as MCP tools.",
        ),
    ] = False,
) -> None:
    """Start the studio at http://127.0.0.1:PORT."""
    check_port(port)
    print_message(f"starting the studio at http://127.0.0.1:{port} (Ctrl-C stops it)")
    from wavenet.ui.studio_app import build_studio, launch_options

    options = launch_options(port, mcp)
    build_studio().launch(**options)


def check_port(port: int) -> None:
    """Check that the port is free; called before the imports, which need seconds.

    Raises:
        ConfigError: it is in use.
    """
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            raise ConfigError(
                f"the port {port} is in use; stop the program there, or choose another --port"
            ) from None
