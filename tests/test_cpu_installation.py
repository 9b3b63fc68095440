"""`make app TORCH_INDEX=URL`: PyTorch from another index, and the rest of the lock without CUDA."""

import hashlib
import os
import shutil
import subprocess
import sys
import threading
import zipfile
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from packaging.utils import canonicalize_name

from .repository import ROOT
from .test_lock import LOCKS, locked_versions, read_lock

MAKE = shutil.which("make")
pytestmark = pytest.mark.skipif(MAKE is None, reason="make is not installed")


def make(*arguments: str, folder: Path = ROOT, text: str | None = None, **variables: str) -> str:
    done = subprocess.run(
        ["make", "--no-print-directory", *arguments],
        cwd=folder,
        input=text,
        env={**os.environ, **variables},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.mark.parametrize("lock", LOCKS)
def test_only_pytorch_and_the_packages_of_cuda_are_omitted(lock, tmp_path):
    """All packages that the lock has for Linux alone are those of CUDA."""
    rule = f"include Makefile\nselect:\n\t@$(SELECT) {lock}\n"
    selected = make("-f", "-", "select", "TORCH_INDEX=x", text=rule)
    (tmp_path / lock).write_text(selected, encoding="utf-8")
    kept, every = read_lock(tmp_path / lock), read_lock(lock)
    omitted = [r for r, _ in every if r.name not in {r.name for r, _ in kept}]
    assert [entry for entry in every if entry[0] not in omitted] == kept
    of_linux = {r.name for r, _ in every if str(r.marker) == 'sys_platform == "linux"'}
    assert "triton" in of_linux and "nvidia-cublas" in of_linux
    assert {r.name for r in omitted} == {"torch", "torchaudio"} | of_linux
    assert make("-f", "-", "select", "TORCH_INDEX=", text=rule) == (ROOT / lock).read_text("utf-8")


def write_wheel(folder: Path, name: str, version: str) -> str:
    """Write a wheel without modules, and return its hash."""
    folder.mkdir(parents=True, exist_ok=True)
    info = f"{name}-{version}.dist-info"
    files = {
        "METADATA": f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n",
        "WHEEL": "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
    }
    files["RECORD"] = "".join(f"{info}/{file},,\n" for file in (*files, "RECORD"))
    path = folder / f"{name}-{version}-py3-none-any.whl"
    with zipfile.ZipFile(path, "w") as archive:
        for file, text in files.items():
            archive.writestr(f"{info}/{file}", text)
    return hashlib.sha256(path.read_bytes()).hexdigest()


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A project with two locked packages besides PyTorch, of which one belongs to CUDA."""
    entries = ["# written by make lock"]
    for name in ("nvidia_cublas", "sympy", "torch", "torchaudio"):
        version = locked_versions("requirements.lock")[canonicalize_name(name)]
        digest = write_wheel(tmp_path / "usual" / canonicalize_name(name), name, version)
        entries.append(f"{canonicalize_name(name)}=={version} \\\n    --hash=sha256:{digest}")
        if name.startswith("torch"):
            write_wheel(tmp_path / "cpu" / name, name, f"{version}+cpu")
    project = tmp_path / "project"
    project.mkdir()
    for name in ("Makefile", "requirements.txt"):
        shutil.copyfile(ROOT / name, project / name)
    (project / "requirements.lock").write_text("\n".join(entries) + "\n", encoding="utf-8")
    return project


class QuietHandler(SimpleHTTPRequestHandler):
    def log_message(self, *_: object) -> None:
        """Print nothing."""


@pytest.mark.slow  # it creates two environments
def test_make_installs_the_cpu_build_from_its_index_and_nothing_of_cuda(project: Path) -> None:
    handler = partial(QuietHandler, directory=project.parent)
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        url = f"http://127.0.0.1:{server.server_port}"
        usual = {
            "PIP_INDEX_URL": f"{url}/usual",
            "PIP_EXTRA_INDEX_URL": "",
            "PIP_CONFIG_FILE": "/dev/null",
        }

        def install(*arguments: str) -> list[str]:
            python = f"PYTHON={sys.executable}"
            make(".venv/.runtime", python, *arguments, folder=project, **usual)
            pip = project / ".venv/bin/pip"
            done = subprocess.run(
                [pip, "freeze"], capture_output=True, text=True, check=True, env=os.environ | usual
            )
            return done.stdout.split()

        cpu = install(f"TORCH_INDEX={url}/cpu")
        assert [line.partition("==")[0] for line in cpu] == ["sympy", "torch", "torchaudio"]
        assert [line.endswith("+cpu") for line in cpu] == [False, True, True]
        # a later call keeps the index, and an empty one returns to the usual packages
        (project / "requirements.lock").touch()
        assert install() == cpu
        everything = install("TORCH_INDEX=")
        assert len(everything) == 4 and "+cpu" not in "".join(everything)
        server.shutdown()
