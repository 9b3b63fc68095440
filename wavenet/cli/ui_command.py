"""`wavenet ui`: the studio in the browser."""

import socket
from typing import Annotated

import typer

from wavenet.cli.options import say
from wavenet.errors import ConfigError


def studio(
    port: Annotated[int, typer.Option(min=1, max=65535, help="On this machine only.")] = 7860,
    mcp: Annotated[
        bool, typer.Option("--mcp", help="Serve its functions as tools of an MCP server, too.")
    ] = False,
) -> None:
    """Open the studio at http://127.0.0.1:PORT."""
    check_port(port)
    say(f"starting the studio at http://127.0.0.1:{port} (Ctrl-C ends it)")
    from wavenet.ui.studio import build_studio, launch_options

    options = launch_options(port, mcp)
    build_studio().launch(**options)


def check_port(port: int) -> None:
    """See that the port is free, before seconds are spent on imports.

    Raises:
        ConfigError: it is not.
    """
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            raise ConfigError(
                f"the port {port} is in use; end what uses it, or choose another with --port"
            ) from None
