"""A program that exceeds its limits ends, and this process continues."""

import shutil
import signal
import subprocess
import sys

import pytest

from audio_utils.limited_process import CANNOT_START, limit_command

resource = pytest.importorskip("resource", reason="this system has no limits of processes")
MEMORY = 1 << 30


def run_limited(*command, cpu_seconds=20, written_bytes=10_000, output=subprocess.PIPE):
    limited = limit_command(command, cpu_seconds, written_bytes)
    return subprocess.run(
        limited, stdout=output, stderr=subprocess.PIPE, text=True, check=False, timeout=60
    )


def run_python(code, **limits):
    return run_limited(sys.executable, "-I", "-c", code, **limits)


def test_a_program_receives_its_arguments_unchanged():
    arguments = ["-i", "a b", "$(ls)", '"', ""]
    result = run_limited(sys.executable, "-I", "-c", "import sys; print(sys.argv[1:])", *arguments)
    assert result.stdout == f"{arguments}\n"


def test_the_cpu_time_is_limited():
    assert run_python("while True: pass", cpu_seconds=1).returncode == -signal.SIGXCPU


def test_the_written_bytes_are_limited(tmp_path):
    with (tmp_path / "out").open("wb") as output:
        result = run_limited(shutil.which("head"), "-c", "20000", "/dev/zero", output=output)
    assert result.returncode == -signal.SIGXFSZ
    assert (tmp_path / "out").stat().st_size == 10_000


@pytest.mark.skipif(sys.platform == "darwin", reason="macOS does not limit memory")
def test_the_memory_is_limited():
    assert "MemoryError" in run_python(f"bytearray({MEMORY})").stderr


def test_the_open_files_are_limited():
    result = run_python("[open('/dev/null') for _ in range(40)].sort()")
    assert "Too many open files" in result.stderr


def test_a_core_file_is_never_written():
    code = "import resource; print(resource.getrlimit(resource.RLIMIT_CORE)[0])"
    assert run_python(code).stdout == "0\n"


def test_lower_limits_of_the_system_remain():
    """`ulimit` of a shell may be lower than the limits of a program."""
    start = limit_command(
        [sys.executable, "-c", "import resource as r; print(r.getrlimit(r.RLIMIT_FSIZE)[0])"],
        cpu_seconds=20,
        written_bytes=10_000,
    )
    shell = ["sh", "-c", 'ulimit -f 4; exec "$@"', "sh", *start]
    result = subprocess.run(shell, capture_output=True, text=True, check=True)
    assert int(result.stdout) < 10_000


def test_a_program_that_cannot_be_started_has_its_own_exit_code(tmp_path):
    (tmp_path / "program").write_bytes(b"\0\1")
    (tmp_path / "program").chmod(0o755)
    result = run_limited(str(tmp_path / "program"))
    assert result.returncode == CANNOT_START
    assert result.stderr == "Exec format error\n"
