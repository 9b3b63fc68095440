"""The running studio as a browser and its terminal see it: title and icon, one printed line."""

import json
import urllib.request
from pathlib import Path
from xml.etree import ElementTree

import pytest

from wavenet.ui.studio_app import launch_options

from .studio_process import studio_process

ICON = Path(__file__).parents[2] / "wavenet/ui/icon.svg"


def test_the_page_can_be_installed_with_its_own_title_and_icon(url: str) -> None:
    with urllib.request.urlopen(f"{url}/manifest.json") as answer:
        manifest = json.load(answer)
    assert manifest["name"] == "WaveNet Studio"
    (icon,) = manifest["icons"]
    assert icon["type"] == "image/svg+xml"
    for path in (icon["src"], "/favicon.ico"):
        with urllib.request.urlopen(f"{url}/{path.removeprefix('/')}") as answer:
            assert answer.headers.get_content_type() == "image/svg+xml"
            assert answer.read() == ICON.read_bytes()
    assert ElementTree.parse(ICON).getroot().tag == "{http://www.w3.org/2000/svg}svg"
    with urllib.request.urlopen(f"{url}/config") as answer:
        assert json.load(answer)["pwa"] is True


def test_the_studio_prints_one_line_and_ends_without_another(root: Path, tmp_path: Path) -> None:
    (tmp_path / "checkpoints").symlink_to(root)
    with studio_process(tmp_path) as address:
        pass
    expected = f"starting the studio at {address} (Ctrl-C stops it)\n"
    assert (tmp_path / "studio.log").read_text() == expected


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
