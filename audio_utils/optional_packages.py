"""Packages that only some features need, and the command that installs them.

Input: the name of an extra of `pyproject.toml`. Output: a command for this Python. The project is
not published, so the command contains the names of the packages. Called by the features, for the
message on a missing package.
"""

import shlex
import sys

# A test compares them with pyproject.toml.
EXTRAS = {
    "eval": (
        "pesq>=0.0.4,<0.1",
        "pystoi>=0.4.1,<0.5",
        "speechmos>=0.0.1,<0.1",
        "onnxruntime>=1.20,<2",
        "requests>=2.32,<3",
    ),
    "ray": ("ray>=2.52,<3", "fsspec>=2024.6"),
    "tensorboard": ("tensorboard>=2.20,<3",),
    "live": ("sounddevice>=0.5,<0.6",),
    "desktop": (
        'pywebview>=6,<7; sys_platform != "linux"',
        'pywebview[qt]>=6,<7; sys_platform == "linux"',
    ),
    "mcp": ("mcp>=1.21,<2",),
    "speech": ("pocketsphinx>=5.0.4,<6",),
}


def install_command(extra: str) -> str:
    """Return the command that installs the packages of an extra, for a shell."""
    return shlex.join([sys.executable, "-m", "pip", "install", *EXTRAS[extra]])
