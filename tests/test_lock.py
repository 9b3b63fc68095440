"""The lock files: every package has a version and a hash, and the environment agrees with them."""

import re
import sys
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parents[1]
LOCKS = {
    "requirements.lock": ("requirements.txt", "requirements-build.txt"),
    "requirements-dev.lock": ("requirements.txt", "requirements-build.txt", "requirements-dev.txt"),
}


def read_lock(name: str) -> list[tuple[Requirement, list[str]]]:
    """Return each requirement of a lock file with its hashes."""
    lines = (ROOT / name).read_text(encoding="utf-8").splitlines()
    text = "\n".join(line for line in lines if not line.lstrip().startswith("#"))
    entries = text.replace("\\\n", " ").strip().splitlines()
    return [(Requirement(e.split(" --hash=")[0]), re.findall(r"--hash=(\S+)", e)) for e in entries]


def locked_versions(name: str) -> dict[str, str]:
    """Return the versions of a lock file that apply to this system, by package."""
    return {
        canonicalize_name(r.name): next(iter(r.specifier)).version
        for r, _ in read_lock(name)
        if r.marker is None or r.marker.evaluate()
    }


@pytest.mark.parametrize("name", LOCKS)
def test_every_package_has_one_version_and_a_hash(name):
    entries = read_lock(name)
    assert len(entries) > 90
    for requirement, hashes in entries:
        assert [s.operator for s in requirement.specifier] == ["=="], requirement
        assert hashes, requirement
        assert all(re.fullmatch(r"sha256:[0-9a-f]{64}", text) for text in hashes), requirement


@pytest.mark.parametrize(("name", "sources"), LOCKS.items())
def test_the_locks_have_the_versions_that_were_chosen(name, sources):
    locked = locked_versions(name)
    for source in sources:
        for line in (ROOT / source).read_text(encoding="utf-8").splitlines():
            if line and not line.startswith("#"):
                chosen = Requirement(line)
                (pin,) = chosen.specifier
                assert locked[canonicalize_name(chosen.name)] == pin.version, (
                    f"run make lock: {line}"
                )


def test_the_tools_are_installed_beside_the_same_packages():
    runtime, development = (locked_versions(name) for name in LOCKS)
    assert runtime.items() <= development.items()


def test_the_locks_name_no_server():
    for name in LOCKS:
        text = (ROOT / name).read_text(encoding="utf-8")
        assert "://" not in text and "index-url" not in text and "find-links" not in text


def test_make_installs_only_packages_with_hashes():
    commands = re.findall(r"\$\(PIP\) install (.*)", (ROOT / "Makefile").read_text("utf-8"))
    # the files of the index TORCH_INDEX have other hashes
    commands.remove(
        "--no-deps --index-url \"$(TORCH_INDEX)\" $$(grep -E '^torch(audio)?==' requirements.txt)"
    )
    packages = [c for c in commands if "--editable ." not in c]
    assert len(packages) == 2
    assert all(c.startswith("--require-hashes --requirement $(VENV)/req") for c in packages)
    # without isolation, so that the build uses the locked hatchling and downloads nothing
    (project,) = set(commands) - set(packages)
    assert "--no-deps" in project and "--no-build-isolation" in project


def is_environment_of_the_lock() -> bool:
    """Return whether `make` has created this environment, without another index for PyTorch."""
    index = Path(sys.prefix, ".torch-index")
    is_made = Path(sys.prefix).resolve() == (ROOT / ".venv").resolve()
    return is_made and not (index.exists() and index.read_text(encoding="utf-8").strip())


@pytest.mark.skipif(not is_environment_of_the_lock(), reason="not the environment of make")
def test_the_environment_has_the_locked_versions():
    wrong = {}
    for name, locked in locked_versions("requirements-dev.lock").items():
        try:
            found = version(name)
        except PackageNotFoundError:
            found = "missing"
        if found != locked:
            wrong[name] = (found, locked)
    assert wrong == {}
