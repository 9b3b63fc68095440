"""`wavenet doctor`: describe the installation, and say what is wrong.

Output: facts and problems on stdout, as lines or JSON; the exit code 1 if there is a problem.
Called by `main`.
"""

from typing import Any

import typer

from wavenet.cli.options import DEFAULT_CHECKPOINT, JsonOption
from wavenet.terminal import print_json, print_line
from wavenet.user_input.user_paths import shorten_home

PORT = 7860
HAS_PROBLEMS = 1  # exit code


def doctor(json_: JsonOption = False) -> None:
    """Print versions, hardware, engines and folders, and what is wrong with them.

    Contacts no other machine. Paths in the home folder begin with ~, so the output can be part of a
    report. The exit code is 1 if something is wrong.
    """
    report = _shorten_paths(make_report())
    if json_:
        print_json(report)
    else:
        print_report(report)
    if report["problems"]:
        raise typer.Exit(HAS_PROBLEMS)


def make_report() -> dict[str, Any]:
    """Return the facts by section; the section `problems` has one sentence for each."""
    from audio_utils.ffmpeg import find_ffmpeg
    from wavenet.installation import folders, hardware, packages

    problems = packages.check_packages() + hardware.check_hardware()
    engines, engine_problems = describe_available_engines()
    port, port_problems = describe_port()
    problems += engine_problems + folders.check_folders() + folders.check_variables()
    return {
        "versions": packages.describe_versions(),
        "machine": hardware.describe_hardware(),
        "engines": engines,
        "optional packages": packages.describe_optional_packages()
        | {"ffmpeg": find_ffmpeg() or "missing; only needed for AAC, WMA and videos"},
        "folders": folders.describe_folders(),
        "variables": folders.describe_variables(),
        "studio": {f"port {PORT}": port},
        "problems": problems + port_problems,
    }


def describe_available_engines() -> tuple[dict[str, Any], list[str]]:
    """Return whether each engine can run the shipped checkpoint, and the problems."""
    from wavenet.errors import WaveNetError

    try:
        from wavenet.cli.info_command import describe_engines

        return describe_engines(DEFAULT_CHECKPOINT), []
    except WaveNetError as error:
        return {}, [f"the shipped checkpoint cannot be used: {error}"]
    except (ImportError, OSError):  # a problem of a package, which is reported
        return {}, []


def describe_port() -> tuple[str, list[str]]:
    """Return whether the port of the studio is free, and the problem if it is not."""
    from wavenet.errors import ConfigError
    from wavenet.ui.server.server_port import check_address

    try:
        check_address("127.0.0.1", PORT)
        return "free", []
    except ConfigError as error:
        return "in use", [f"{error}, such as `wavenet ui --port {PORT + 1}`"]


def print_report(report: dict[str, Any]) -> None:
    """Print the sections, one fact a line, and the problems at the end."""
    for section, facts in report.items():
        if section != "problems" and facts:
            print_line(section)
            for name, value in facts.items():
                print_line(f"  {name:20} {_format_fact(value)}")
    problems = report["problems"]
    print_line("problems" if problems else "no problems were found")
    for problem in problems:
        print_line(f"  {problem}")


def _format_fact(value: Any) -> str:
    if isinstance(value, dict):  # of a folder
        if value["path"] is None:
            return "none"
        free = "" if value["free_gb"] is None else f", {value['free_gb']} GB free"
        return f"{value['path']}, {'writable' if value['writable'] else 'NOT WRITABLE'}{free}"
    if isinstance(value, list):
        return ", ".join(value) or "none"
    return str(value)


def _shorten_paths(value: Any) -> Any:
    """Return a report with ~ in place of the home folder, in all its texts."""
    if isinstance(value, dict):
        return {name: _shorten_paths(part) for name, part in value.items()}
    if isinstance(value, list):
        return [_shorten_paths(part) for part in value]
    return shorten_home(value) if isinstance(value, str) else value
