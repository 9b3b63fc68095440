"""Check address, port and the package for MCP before gradio is imported, which needs seconds.

Input: an address and a port, and the numbers in the variables of gradio. Output: the port, or an
error of one sentence. Called by `app.py` and `wavenet ui`.
"""

import errno
import importlib.util
import os
import socket

from audio_utils.atomic_files import os_error_reason
from audio_utils.optional_packages import install_command
from wavenet.errors import ConfigError
from wavenet.user_input.typed_numbers import parse_number

PORT_VARIABLE = "GRADIO_SERVER_PORT"
MAX_PORT = 65535
# The variables that gradio reads as numbers, and their least values.
_NUMBERS = {
    PORT_VARIABLE: 1,
    "GRADIO_NUM_PORTS": 1,
    "GRADIO_NODE_SERVER_PORT": 1,
    "GRADIO_NODE_NUM_PORTS": 1,
    "GRADIO_ANALYTICS_MAX_EVENTS": 0,
    "GRADIO_DEBUG": 0,
}


def check_mcp() -> None:
    """Check that the package for MCP is installed.

    Raises:
        ConfigError: it is missing.
    """
    if importlib.util.find_spec("mcp") is None:
        raise ConfigError(
            "serving MCP needs the package mcp, which is missing; install it with "
            f"`{install_command('mcp')}`"
        )


def read_port() -> int | None:
    """Check the numbers in the variables of gradio, and write them as gradio reads them.

    Returns:
        The port of GRADIO_SERVER_PORT; None: it is not set.
    Raises:
        ConditionError: a variable is not a whole number.
        ConfigError: a number is out of range.
    """
    port = None
    for name, least in _NUMBERS.items():
        text = os.environ.pop(name, "").strip()
        if not text:
            continue
        number = parse_number(text, f"the variable {name}", int)
        if not least <= number <= MAX_PORT:
            raise ConfigError(f"the variable {name} must be {least} to {MAX_PORT}, found {number}")
        os.environ[name] = str(number)
        port = number if name == PORT_VARIABLE else port
    return port


def check_address(address: str, port: int, port_name: str = "--port") -> None:
    """Check that the studio can listen on an address and a port.

    Args:
        address: of this machine.
        port: 1 to 65535.
        port_name: the option or variable that selects the port, for the message.
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
                f"the port {port} is in use; stop the program there, or choose another {port_name}"
            ) from None
        reason = os_error_reason(error) if isinstance(error, OSError) else "it is not a name"
        name = "--host" if port_name == "--port" else "GRADIO_SERVER_NAME"
        raise ConfigError(
            f"the studio cannot listen on {address[:100]!r}, port {port}: {reason}; {name} expects "
            "an address of this machine"
        ) from None
