"""`wavenet ui`: start the studio, which serves this machine by default.

Input: an address and a port. The web server runs until it is interrupted. Called by `main`.
"""

import errno
import os
import socket
import sys
import time
from contextlib import suppress
from typing import Annotated

import typer

from audio_utils.atomic_files import os_error_reason
from wavenet.cli.options import print_message
from wavenet.errors import ConfigError


def ui(
    port: Annotated[
        int, typer.Option("--port", "-p", min=1, max=65535, help="Port of the server.")
    ] = 7860,
    host: Annotated[
        str | None,
        typer.Option(
            metavar="ADDRESS",
            help="Address to listen on. With 0.0.0.0, other machines can use the studio without a "
            "password. Default: 127.0.0.1, this machine only.",
        ),
    ] = None,
    allow_host: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME",
            help="Host name in the address bar of browsers, for example that of a proxy. May be "
            "repeated.",
        ),
    ] = None,
    open_: Annotated[
        bool,
        typer.Option(
            "--open/--no-open", help="Open the page in the browser, if this machine has a screen."
        ),
    ] = True,
    mcp: Annotated[
        bool,
        typer.Option(
            "--mcp",
            help="Also serve generate, continue, vocode, analyse and score as MCP tools.",
        ),
    ] = False,
) -> None:
    """Start the studio at http://127.0.0.1:PORT and open it in the browser."""
    from wavenet.ui.host_check import allowed_hosts, bracketed, is_loopback, server_address

    address = server_address(host)
    # Gradio would use it as an IPv4 address for a check of the port.
    os.environ.pop("GRADIO_SERVER_NAME", None)
    names = allowed_hosts(allow_host or ())
    check_address(address, port)
    print_message(f"starting the studio at http://{bracketed(address)}:{port} (Ctrl-C stops it)")
    if not is_loopback(address):
        print_message("WARNING: other machines can use the studio without a password")
    from wavenet.ui.studio_app import build_studio, launch_options
    from wavenet.ui.temporary_files import end_on_termination, use_private_folder

    options = launch_options(port, mcp, address, names)
    use_private_folder()
    end_on_termination()
    studio = build_studio(address=address, allow_hosts=names)
    options |= {"quiet": True, "inbrowser": open_ and has_screen(), "prevent_thread_lock": True}
    with suppress(KeyboardInterrupt):
        studio.launch(**options)
        while studio.is_running:
            time.sleep(0.1)
    studio.close(verbose=False)


def has_screen() -> bool:
    """Return whether a browser has a window here; otherwise it would run in this terminal."""
    variables = ("DISPLAY", "WAYLAND_DISPLAY")
    return sys.platform in ("darwin", "win32") or any(map(os.environ.get, variables))


def check_address(address: str, port: int) -> None:
    """Check the address and the port; called before the imports, which need seconds.

    Raises:
        ConfigError: this machine does not have the address, or the port is in use.
    """
    try:
        found = socket.getaddrinfo(address.strip("[]"), port, type=socket.SOCK_STREAM)
        family, kind, protocol, _, target = found[0]
        with socket.socket(family, kind, protocol) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind(target)
    except (OSError, UnicodeError) as error:
        if isinstance(error, OSError) and error.errno == errno.EADDRINUSE:
            raise ConfigError(
                f"the port {port} is in use; stop the program there, or choose another --port"
            ) from None
        reason = os_error_reason(error) if isinstance(error, OSError) else "it is not a name"
        raise ConfigError(
            f"the studio cannot listen on {address[:100]!r}, port {port}: {reason}; --host expects "
            "an address of this machine"
        ) from None
