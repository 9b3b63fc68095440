"""What `wavenet doctor` finds, with one thing after another made wrong."""

import re
import sys
import tempfile
from pathlib import Path

import pytest

from wavenet.cache_folders import use_writable_caches
from wavenet.installation import folders, hardware, packages


def test_the_tested_installation_has_no_problem_in_its_packages():
    assert packages.check_packages() == []
    versions = packages.describe_versions()
    assert "missing" not in versions.values()
    assert versions["libsndfile"][0].isdigit()


def test_a_missing_and_a_wrong_version_are_found(monkeypatch):
    real = packages.installed_version
    found = {"numba": None, "librosa": "0.1.0"}
    monkeypatch.setattr(packages, "installed_version", lambda n: found.get(n, real(n)))
    missing, wrong = sorted(packages.check_packages(), reverse=True)
    assert wrong.startswith("the package librosa is 0.1.0, expected ")
    assert missing.startswith("the package numba is missing; install it: ")
    assert missing.endswith("-m pip install 'numba<0.69,>=0.62'")
    assert packages.describe_versions()["numba"] == "missing"


def test_a_package_that_cannot_be_imported_is_found(monkeypatch):
    monkeypatch.setitem(sys.modules, "torchaudio", None)
    (problem,) = packages.check_packages()
    assert problem.startswith("the package torchaudio cannot be imported (")
    assert "--force-reinstall" in problem


def test_hardware_is_described_without_the_compiler(monkeypatch):
    assert hardware.describe_hardware()["int8 uses"]
    monkeypatch.setitem(sys.modules, "numba", None)
    found = hardware.describe_hardware()
    assert "int8 uses" not in found and found["cores"]
    assert folders.describe_folders()["compiled code"]["path"] is None


@pytest.mark.parametrize(("cuda", "words"), [(None, "without CUDA"), ("13.0", "update the")])
def test_a_gpu_that_pytorch_cannot_use_is_found(monkeypatch, tmp_path, cuda, words):
    monkeypatch.setattr(hardware, "_list_gpus", list)
    monkeypatch.setattr("torch.version.cuda", cuda)
    monkeypatch.setattr(hardware, "NVIDIA_DRIVER", tmp_path / "version")
    assert hardware.check_hardware() == []
    (tmp_path / "version").touch()
    (problem,) = hardware.check_hardware()
    assert words in problem


def test_folders_that_cannot_be_written_are_found(monkeypatch):
    assert folders.check_folders() == []
    monkeypatch.setenv("XDG_CACHE_HOME", "/dev/null/cache")
    monkeypatch.setenv("NUMBA_CACHE_DIR", "/dev/null/numba")
    monkeypatch.setenv("GRADIO_TEMP_DIR", "/dev/null/temporary")
    caches, code, temporary = folders.check_folders()
    assert caches.startswith("the folder of caches, /dev/null/cache/wavenet-studio, cannot be")
    assert "set NUMBA_CACHE_DIR" in code and "/dev/null/numba" in code
    assert "set TMPDIR" in temporary


def test_a_temporary_folder_in_place_of_the_caches_is_found(monkeypatch, tmp_path):
    for name in ("XDG_CACHE_HOME", "NUMBA_CACHE_DIR", "MPLCONFIGDIR", "TRITON_CACHE_DIR"):
        monkeypatch.setenv(name, "x")  # so that it is restored
        monkeypatch.delenv(name)
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    monkeypatch.setenv("HOME", "/dev/null")
    use_writable_caches()
    assert "make ~/.cache writable" in folders.check_folders()[0]


def test_a_full_disk_is_found(monkeypatch):
    usage = type("Usage", (), {"free": 10**8})()
    monkeypatch.setattr(folders.shutil, "disk_usage", lambda path: usage)
    problems = folders.check_folders()
    assert len(problems) == len(folders.describe_folders())
    assert "has 0.1 GB left; free some space" in problems[0]


def test_a_misspelt_variable_is_found(monkeypatch):
    monkeypatch.setenv("WAVENET_TRIAN", "1")
    monkeypatch.setenv("WAVENET_DEVICE", "cpu")
    assert folders.describe_variables()["WAVENET_TRIAN"] == "1"
    (problem,) = folders.check_variables()
    assert problem.endswith("rename it to WAVENET_TRAIN")


def test_all_variables_of_the_program_are_known():
    """Each name with the prefix that the sources contain."""
    root = Path(packages.wavenet.__file__).parent
    texts = "".join(path.read_text(encoding="utf-8") for path in root.rglob("*.py"))
    assert set(re.findall(r'"(WAVENET_[A-Z_]+)"', texts)) <= set(folders.OWN_VARIABLES)
