"""The running studio from outside: title and icon, one printed line, its temporary files."""

import json
import urllib.request
from dataclasses import dataclass
from pathlib import Path
from xml.etree import ElementTree

import pytest

from wavenet.ui.server.temporary_files import FOLDER_PREFIX
from wavenet.ui.studio_app import launch_options

from .studio_process import studio_process

ICON = Path(__file__).parents[2] / "wavenet/ui/icon.svg"
ICON_PATH = "favicon.ico"


@dataclass
class Launch:
    """What a studio has shown from its start to its end.

    Attributes:
        address: of the studio.
        answers: type and body of its answers, by path.
        log: the text that it printed.
        temporary: names in the folder for temporary files, while it was running.
    """

    address: str
    answers: dict[str, tuple[str, bytes]]
    log: str
    temporary: list[str]


def fetch(address: str, path: str) -> tuple[str, bytes]:
    """Return type and body of an answer."""
    with urllib.request.urlopen(f"{address}/{path}") as answer:
        return answer.headers.get_content_type(), answer.read()


@pytest.fixture(scope="module")
def launch(root: Path, tmp_path_factory: pytest.TempPathFactory) -> Launch:
    """A studio that has started and ended, as `wavenet ui` does."""
    folder = tmp_path_factory.mktemp("launch")
    (folder / "checkpoints").symlink_to(root)
    (folder / "temporary").mkdir()
    with studio_process(folder, TMPDIR=str(folder / "temporary")) as address:
        answers = {path: fetch(address, path) for path in ("manifest.json", "config", ICON_PATH)}
        for icon in json.loads(answers["manifest.json"][1])["icons"]:
            answers[icon["src"]] = fetch(address, icon["src"].removeprefix("/"))
        names = [path.name for path in (folder / "temporary").iterdir()]
    return Launch(address, answers, (folder / "studio.log").read_text(), names)


@pytest.mark.slow
def test_the_page_can_be_installed_with_its_own_title_and_icon(launch: Launch) -> None:
    manifest = json.loads(launch.answers["manifest.json"][1])
    assert manifest["name"] == "WaveNet Studio"
    (icon,) = manifest["icons"]
    assert icon["type"] == "image/svg+xml"
    for path in (icon["src"], ICON_PATH):
        assert launch.answers[path] == ("image/svg+xml", ICON.read_bytes())
    assert ElementTree.parse(ICON).getroot().tag == "{http://www.w3.org/2000/svg}svg"
    assert json.loads(launch.answers["config"][1])["pwa"] is True


def test_the_studio_prints_one_line_and_ends_without_another(launch: Launch) -> None:
    assert launch.log == f"starting the studio at {launch.address} (Ctrl-C stops it)\n"


def test_all_temporary_files_are_in_the_private_folder(launch: Launch) -> None:
    (folder,) = launch.temporary
    assert folder.startswith(FOLDER_PREFIX)


def test_studio_serves_only_this_machine_except_on_a_space(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.delenv("SPACE_ID", raising=False)
    monkeypatch.delenv("GRADIO_SERVER_NAME", raising=False)
    options = launch_options(8000)
    assert (options["server_name"], options["server_port"]) == ("127.0.0.1", 8000)
    assert not options["share"]
    assert not options["show_error"]
    monkeypatch.setenv("SPACE_ID", "me/studio")
    assert launch_options()["server_name"] == "0.0.0.0"
