"""Entry point of the Hugging Face Space: build the studio and launch it.

Called by the Space. On your own machine, `make app` does the same.
"""

import contextlib
import sys

# Exists only on ZeroGPU, and must be imported before any package that uses CUDA.
with contextlib.suppress(ImportError):
    import spaces  # noqa: F401

from wavenet.cli.main import exit_code


def launch() -> None:
    """Build and launch the studio; its folder and its variables are checked before the imports."""
    from wavenet.ui.server.host_check import server_address
    from wavenet.ui.server.server_port import PORT_VARIABLE, check_address, read_port
    from wavenet.ui.server.temporary_files import end_on_termination, use_private_folder

    port = read_port()
    if port is not None:
        check_address(server_address(), port, PORT_VARIABLE)
    use_private_folder()
    end_on_termination()
    from wavenet.ui.studio_app import build_studio, launch_options
    from wavenet.ui.zerogpu import choose_start

    options = launch_options(port)
    build_studio(start=choose_start()).launch(**options)


if __name__ == "__main__":
    sys.exit(exit_code(launch))
