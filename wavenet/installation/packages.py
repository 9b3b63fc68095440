"""The packages of this environment: versions, and those that are missing, wrong or damaged.

Output: versions by name; for each problem one sentence, which says what to do. Called by `wavenet
doctor`.
"""

import importlib
import platform
import shlex
import sys
from importlib import metadata
from typing import Any

from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet

import wavenet
from audio_utils.optional_packages import EXTRAS, install_command

PROJECT = "wavenet-studio"
SHOWN_PACKAGES = ("torch", "torchaudio", "gradio", "numba", "numpy", "librosa", "soundfile")
# Packages with compiled code, which may be installed and yet fail.
_COMPILED_PACKAGES = ("torch", "torchaudio", "numba", "soundfile")


def describe_versions() -> dict[str, str]:
    """Return the versions of the project, of Python and of the main packages."""
    found = {PROJECT: wavenet.__version__, "python": platform.python_version()}
    found |= {name: installed_version(name) or "missing" for name in SHOWN_PACKAGES}
    # it names the kind of build, such as 2.11.0+cpu
    found["torch"] = getattr(import_package("torch"), "__version__", found["torch"])
    soundfile = import_package("soundfile")
    return found | {"libsndfile": getattr(soundfile, "__libsndfile_version__", "missing")}


def describe_optional_packages() -> dict[str, str]:
    """Return the version of each optional package, or the command that installs its extra."""
    found = {}
    for extra, texts in EXTRAS.items():
        for name in (Requirement(text).name for text in texts):
            missing = f"missing; extra {extra}: {install_command(extra)}"
            found[name] = installed_version(name) or missing
    return found


def installed_version(name: str) -> str | None:
    """Return the version of a package, or None if it is not installed."""
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return None


def check_packages() -> list[str]:
    """Return the problems of Python and of the packages that the project requires."""
    try:
        project = metadata.distribution(PROJECT)
    except metadata.PackageNotFoundError:  # such as on a Space
        return _check_imports()
    problems = []
    range_ = project.metadata["Requires-Python"] or ""
    if not SpecifierSet(range_).contains(platform.python_version()):
        problems.append(
            f"Python {platform.python_version()} is not tested with this project, which expects "
            f"{range_}; install such a version and create the environment again"
        )
    required = map(Requirement, project.requires or ())
    for wanted in (r for r in required if r.marker is None or r.marker.evaluate({"extra": ""})):
        version = installed_version(wanted.name)
        if version is None:
            found = f"the package {wanted.name} is missing"
        elif not wanted.specifier.contains(version, prereleases=True):
            found = f"the package {wanted.name} is {version}, expected {wanted.specifier}"
        else:
            continue
        problems.append(f"{found}; install it: {_pip_install(str(wanted))}")
    return problems + _check_imports()


def _check_imports() -> list[str]:
    problems = []
    for name in filter(installed_version, _COMPILED_PACKAGES):
        error = import_package(name)
        if isinstance(error, Exception):
            reason = str(error).split("\n")[0][:200] or type(error).__name__
            command = _pip_install("--force-reinstall", "--no-deps", f"{name}==VERSION")
            command = command.replace("VERSION", str(installed_version(name)))
            problems.append(
                f"the package {name} cannot be imported ({reason}); install it again: {command}"
            )
    return problems


def can_import(*names: str) -> bool:
    """Return whether all of some packages can be imported."""
    return not any(isinstance(import_package(name), Exception) for name in names)


def import_package(name: str) -> Any:
    """Return a package, or the error of its import, if it is missing or damaged."""
    try:
        return importlib.import_module(name)
    except Exception as error:  # OSError of a shared library, too
        return error


def _pip_install(*arguments: str) -> str:
    return shlex.join([sys.executable, "-m", "pip", "install", *arguments])
