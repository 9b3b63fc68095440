"""`wavenet doctor`: sections, problems, exit codes."""

import json
import os
import socket
import sys

import pytest

from wavenet.cli import doctor_command
from wavenet.user_input.user_paths import shorten_home


@pytest.fixture(autouse=True)
def port(monkeypatch):
    """Use a free port in place of 7860, where a studio may run."""
    for name in [name for name in os.environ if name.startswith("WAVENET_")]:
        monkeypatch.delenv(name)
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        number = probe.getsockname()[1]
    monkeypatch.setattr(doctor_command, "PORT", number)
    return number


def test_a_working_installation_is_described_and_has_no_problem(run_command, monkeypatch, port):
    monkeypatch.setenv("NUMBA_CACHE_DIR", os.path.expanduser("~/compiled"))
    code, out, err = run_command("doctor", "--json")
    report = json.loads(out)
    assert (code, report["problems"], err) == (0, [], "")
    assert report["engines"]["cpu, int8"].startswith("available (")
    assert report["folders"]["compiled code"]["path"].startswith("~/compiled/kernels-")
    assert report["variables"]["NUMBA_CACHE_DIR"] == "~/compiled"
    assert report["studio"] == {f"port {port}": "free"}
    code, out, _ = run_command("doctor")
    assert (code, out.splitlines()[-1]) == (0, "no problems were found")
    assert os.path.expanduser("~") + "/" not in out


def test_an_occupied_port_and_an_unknown_variable_are_problems(run_command, monkeypatch, port):
    monkeypatch.setenv("WAVENET_DEVISE", "cpu")
    with socket.socket() as other:
        other.bind(("127.0.0.1", port))
        other.listen()
        code, out, _ = run_command("doctor")
    assert code == 1
    assert out.splitlines()[-3:] == [
        "problems",
        "  the variable WAVENET_DEVISE is not one of this program; rename it to WAVENET_DEVICE",
        f"  the port {port} is in use; stop the program there, or choose another --port, such as "
        f"`wavenet ui --port {port + 1}`",
    ]


def test_a_damaged_package_does_not_stop_the_description(run_command, monkeypatch):
    monkeypatch.setitem(sys.modules, "soundfile", None)
    code, out, _ = run_command("doctor", "--json")
    report = json.loads(out)
    assert code == 1
    assert report["versions"]["libsndfile"] == "missing"
    assert "the package soundfile cannot be imported" in report["problems"][0]


def test_without_a_shipped_checkpoint_there_is_a_problem(run_command, monkeypatch, tmp_path):
    monkeypatch.setattr("wavenet.program_folders._PACKAGE", tmp_path / "wavenet")
    monkeypatch.chdir(tmp_path)
    code, out, _ = run_command("doctor", "--json")
    assert code == 1
    assert json.loads(out)["problems"][0].startswith("the shipped checkpoint cannot be used: ")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("/h/me", "~"),
        ("in /h/me/a, /h/me/b", "in ~/a, ~/b"),
        ("'/h/me/a b'", "'~/a b'"),
        ("/h/mean /x/h/me/a", "/h/mean /x/h/me/a"),
    ],
)
def test_the_home_folder_is_written_as_a_tilde(monkeypatch, text, expected):
    monkeypatch.setenv("HOME", "/h/me")
    assert shorten_home(text) == expected
