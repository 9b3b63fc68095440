"""`wavenet ui`: start the studio, which serves this machine by default.

Input: an address and a port. The web server runs until it is interrupted. Called by `main`.
"""

import os
from typing import Annotated

import typer

from wavenet.cli.options import print_message


def ui(
    port: Annotated[int, typer.Option(min=1, max=65535, help="Port of the server.")] = 7860,
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
    mcp: Annotated[
        bool,
        typer.Option(
            "--mcp",
            help="Also serve generate, continue, vocode, analyse and score as MCP tools.",
        ),
    ] = False,
) -> None:
    """Start the studio at http://127.0.0.1:PORT."""
    from wavenet.ui.server.host_check import allowed_hosts, bracketed, is_only_local, server_address
    from wavenet.ui.server.server_port import check_address, read_port
    from wavenet.ui.server.temporary_files import end_on_termination, use_private_folder

    address = server_address(host)
    # Gradio would use it as an IPv4 address for a check of the port.
    os.environ.pop("GRADIO_SERVER_NAME", None)
    names = allowed_hosts(allow_host or ())
    read_port()  # not used, but gradio would fail on a wrong one
    check_address(address, port)
    print_message(f"starting the studio at http://{bracketed(address)}:{port} (Ctrl-C stops it)")
    # Before gradio is imported, which stores the path of its folder.
    use_private_folder()
    end_on_termination()
    from wavenet.ui.server.uploads import ALLOW_FFMPEG
    from wavenet.ui.studio_app import build_studio, launch_options

    if not is_only_local(address, names):
        os.environ.setdefault(ALLOW_FFMPEG, "0")
    options = launch_options(port, mcp, address, names)
    build_studio(address=address, allow_hosts=names).launch(**options)
