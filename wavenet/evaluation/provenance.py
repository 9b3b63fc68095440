"""The origin of evaluation results: checkpoint, software versions and settings.

Input: a checkpoint or a voice, settings and a command line. Output: the first entries of a
`metrics.json`. Called by all commands `wavenet evaluate`.
"""

import hashlib
import platform
from collections.abc import Mapping
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import wavenet
from wavenet.checkpoint import Checkpoint
from wavenet.checkpoint_folders import VOCODER
from wavenet.weights_file import WEIGHTS

PACKAGES = ("torch", "numpy", "scipy", "scikit-learn", "librosa")
JUDGE_PACKAGES = (
    "pocketsphinx",
    "speechmos",
    "onnxruntime",
    "resemblyzer",
    "webrtcvad-wheels",
    "pesq",
    "pystoi",
)


def describe_provenance(
    checkpoint: Checkpoint, settings: Mapping[str, Any], command: str
) -> dict[str, Any]:
    """Return checkpoint, command, settings and versions of an evaluation, without dates."""
    return {
        "checkpoint": checkpoint.config.name,
        "sha256": _hash_weights(checkpoint.folder),
        **_describe_run(settings, command),
    }


def describe_voice_provenance(
    name: str, folder: Path, settings: Mapping[str, Any], command: str
) -> dict[str, Any]:
    """Return the same for a voice: its hashes, command, settings and versions.

    Args:
        name: of the voice.
        folder: of its files.
    """
    return {
        "voice": name,
        "sha256": _hash_weights(folder),
        "vocoder_sha256": _hash_weights(folder / VOCODER),
        **_describe_run(settings, command),
        "judges": {package: _find_version(package) for package in JUDGE_PACKAGES},
    }


def _hash_weights(folder: Path) -> str:
    with (folder / WEIGHTS).open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _describe_run(settings: Mapping[str, Any], command: str) -> dict[str, Any]:
    return {
        "command": command,
        "settings": dict(settings),
        "versions": {
            "wavenet-studio": wavenet.__version__,
            "python": platform.python_version(),
            **{name: version(name) for name in PACKAGES},
        },
    }


def _find_version(package: str) -> str | None:
    """Return the version of a package; None if it is not installed."""
    try:
        return version(package)
    except PackageNotFoundError:
        return None
