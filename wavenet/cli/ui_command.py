"""`wavenet ui`: start the studio, which serves this machine by default.

Input: an address and a port. The web server runs until it is interrupted. Called by `main`.
"""

import os
import sys
import time
from contextlib import suppress
from typing import Annotated

import typer

from wavenet.cli.options import print_message


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
    window: Annotated[
        bool,
        typer.Option(
            "--window",
            help="Open the page in a window of its own, which ends the studio when it is closed. "
            "Needs the extra desktop.",
        ),
    ] = False,
    mcp: Annotated[
        bool,
        typer.Option(
            "--mcp",
            help="Also serve generate, continue, vocode, speak, analyse and score as MCP tools.",
        ),
    ] = False,
) -> None:
    """Start the studio at http://127.0.0.1:PORT and open it in the browser."""
    from wavenet.ui.server.host_check import (
        allowed_hosts,
        bracketed,
        is_loopback,
        is_only_local,
        server_address,
    )
    from wavenet.ui.server.server_port import check_address, check_mcp, read_port
    from wavenet.ui.server.temporary_files import end_on_termination, use_private_folder

    address = server_address(host)
    # Gradio would use it as an IPv4 address for a check of the port.
    os.environ.pop("GRADIO_SERVER_NAME", None)
    names = allowed_hosts(allow_host or ())
    read_port()  # not used, but gradio would fail on a wrong one
    check_address(address, port)
    if window:
        from wavenet.ui.window import check_window

        check_window(has_screen())
    if mcp:
        check_mcp()
    print_message(f"starting the studio at http://{bracketed(address)}:{port} (Ctrl-C stops it)")
    if not is_loopback(address):
        print_message("WARNING: other machines can use the studio without a password")
    # Before gradio is imported, which stores the path of its folder.
    use_private_folder()
    end_on_termination()
    from wavenet.ui.server.uploads import ALLOW_FFMPEG
    from wavenet.ui.studio_app import build_studio, launch_options

    if not is_only_local(address, names):
        os.environ.setdefault(ALLOW_FFMPEG, "0")
    options = launch_options(port, mcp, address, names)
    studio = build_studio(address=address, allow_hosts=names)
    opens_browser = open_ and not window and has_screen()
    options |= {"quiet": True, "inbrowser": opens_browser, "prevent_thread_lock": True}
    try:
        with suppress(KeyboardInterrupt):
            studio.launch(**options)
            if window:
                show_studio_window(str(studio.local_url))
            else:
                while studio.is_running:
                    time.sleep(0.1)
    finally:
        studio.close(verbose=False)


def show_studio_window(url: str) -> None:
    """Show the studio in a window until the user closes it; the page's settings are kept."""
    from wavenet.ui.window import show_window
    from wavenet.user_input.user_folders import window_folder

    show_window(url, "WaveNet Studio", window_folder())


def has_screen() -> bool:
    """Return whether a browser has a window here; otherwise it would run in this terminal."""
    variables = ("DISPLAY", "WAYLAND_DISPLAY")
    return sys.platform in ("darwin", "win32") or any(map(os.environ.get, variables))
