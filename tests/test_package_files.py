"""The files of the wheel and of the source distribution, compared with the folders of the project.

The builder lists the files; no archive is written, which would need several seconds.
"""

import tomllib
from pathlib import Path

import pytest
from hatchling.builders.sdist import SdistBuilder
from hatchling.builders.wheel import WheelBuilder

import wavenet

from .repository import ROOT, tracked_files

SHIPPED = (
    *("codes", "compare", "digits", "images", "kathleen", "lossless"),
    *("overdrive", "strings", "vocoder"),
)
MAX_BYTES = 35_000_000  # before compression, by which weights hardly shrink


def wheel_files() -> dict[str, Path]:
    """Return the files of the wheel by their paths in the installation."""
    files = WheelBuilder(str(ROOT)).recurse_included_files()
    return {file.distribution_path: Path(file.path) for file in files}


def package_files(folder: Path) -> set[str]:
    """Return all files of a folder of the project, except compiled Python code."""
    files = (path for path in folder.rglob("*") if path.is_file())
    return {str(p.relative_to(ROOT)) for p in files if "__pycache__" not in p.parts}


def test_the_wheel_has_every_file_of_the_packages_and_the_shipped_checkpoints():
    expected = package_files(ROOT / "wavenet") | package_files(ROOT / "audio_utils")
    for name in SHIPPED:
        expected |= {f"wavenet/{path}" for path in package_files(ROOT / "checkpoints" / name)}
    assert set(wheel_files()) == expected


def test_the_wheel_is_small_enough():
    sizes = [path.stat().st_size for path in wheel_files().values()]
    assert 5_000_000 < sum(sizes) < MAX_BYTES


def test_the_source_distribution_has_every_file_of_the_repository():
    tracked = tracked_files()
    if tracked is None:
        pytest.skip("this folder is not a Git repository")
    files = SdistBuilder(str(ROOT)).recurse_included_files()
    assert set(tracked) - {file.distribution_path for file in files} == set()


def test_the_version_is_written_in_one_place():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    assert project["dynamic"] == ["version"]
    assert WheelBuilder(str(ROOT)).metadata.version == wavenet.__version__
