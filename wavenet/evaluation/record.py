"""What stands beside every number: which checkpoint, which programs, which settings."""

import hashlib
import platform
from collections.abc import Mapping
from importlib.metadata import version
from typing import Any

import wavenet
from wavenet.checkpoint import WEIGHTS, Checkpoint

PACKAGES = ("torch", "numpy", "scikit-learn", "librosa")


def describe(checkpoint: Checkpoint, settings: Mapping[str, Any], command: str) -> dict[str, Any]:
    """Make the head of a metrics.json: all that is needed to repeat it; no times, no dates."""
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
