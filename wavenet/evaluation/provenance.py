"""The origin of evaluation results: checkpoint, software versions and settings.

Input: a checkpoint, settings and a command line. Output: the first entries of a `metrics.json`.
Called by all commands `wavenet evaluate`.
"""

import hashlib
import platform
from collections.abc import Mapping
from importlib.metadata import version
from typing import Any

import wavenet
from wavenet.checkpoint import Checkpoint
from wavenet.weights_file import WEIGHTS

PACKAGES = ("torch", "numpy", "scipy", "scikit-learn", "librosa")


def describe_provenance(
    checkpoint: Checkpoint, settings: Mapping[str, Any], command: str
) -> dict[str, Any]:
    """Return checkpoint, command, settings and versions of an evaluation, without dates."""
    with (checkpoint.folder / WEIGHTS).open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    return {
        "checkpoint": checkpoint.config.name,
        "sha256": digest,
        "command": command,
        "settings": dict(settings),
        "versions": {
            "wavenet-studio": wavenet.__version__,
            "python": platform.python_version(),
            **{name: version(name) for name in PACKAGES},
        },
    }
