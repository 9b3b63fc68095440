"""Uploads that only ffmpeg reads: decoded if visitors are trusted, refused by one sentence."""

import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from audio_utils.errors import AudioError
from tests.ui.conftest import RATE, tone
from tests.ui.studio_process import free_port
from wavenet.cli.main import run
from wavenet.ui.server import uploads
from wavenet.ui.server.uploads import ALLOW_FFMPEG, allows_ffmpeg, read_upload

MP4 = b"\x00\x00\x00\x20ftypM4A " + bytes(99)
NOT_STARTED = r"^a\.m4a can be read only by the program ffmpeg, which this studio does not start; "

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="needs a script with a #! line")


@pytest.fixture(autouse=True)
def local_studio(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("SPACE_ID", "SPACE_HOST", ALLOW_FFMPEG):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def folders_with_ffmpeg(tmp_path: Path, save_wav: Callable[..., str]) -> str:
    """Return a value for PATH: a program ffmpeg, which writes a tone for every input, is first."""
    program = tmp_path / "bin/ffmpeg"
    program.parent.mkdir()
    sound = save_wav(tone(0.5), name="decoded")
    program.write_text(
        f"#!{sys.executable}\nimport sys\nsys.stdout.buffer.write(open({sound!r}, 'rb').read())\n"
    )
    program.chmod(0o755)
    return f"{program.parent}:{os.environ['PATH']}"


@pytest.fixture
def m4a(tmp_path: Path) -> str:
    (tmp_path / "a.m4a").write_bytes(MP4)
    return str(tmp_path / "a.m4a")


def test_an_upload_is_decoded_without_a_warning(
    m4a: str, folders_with_ffmpeg: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", folders_with_ffmpeg)
    monkeypatch.setattr(uploads.gr, "Warning", lambda text: pytest.fail(text))
    assert np.allclose(read_upload(m4a, None, 10).waveform, tone(0.5), atol=1e-4)
    with pytest.raises(AudioError, match=r"^a\.m4a lasts more than 0\.1 s; trim it\.$"):
        read_upload(m4a, None, 0.1)


@pytest.mark.parametrize(
    ("variables", "is_allowed"),
    [
        ({}, True),
        ({"SPACE_ID": "me/x"}, False),
        ({"GRADIO_SERVER_NAME": "0.0.0.0"}, False),
        ({"WAVENET_ALLOW_HOSTS": "studio.example.org"}, False),
        ({"WAVENET_ALLOW_HOSTS": "localhost:9000"}, True),
        ({"SPACE_ID": "me/x", ALLOW_FFMPEG: "1"}, True),
        ({ALLOW_FFMPEG: "0"}, False),
    ],
)
def test_only_a_studio_for_this_machine_starts_ffmpeg(
    m4a: str,
    folders_with_ffmpeg: str,
    monkeypatch: pytest.MonkeyPatch,
    variables: dict[str, str],
    is_allowed: bool,
) -> None:
    monkeypatch.setenv("PATH", folders_with_ffmpeg)
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    if is_allowed:
        assert read_upload(m4a, None, 10).sample_rate == RATE
    else:
        with pytest.raises(AudioError, match=NOT_STARTED):
            read_upload(m4a, None, 10)


def test_the_option_for_other_hosts_forbids_ffmpeg(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(ALLOW_FFMPEG, "")
    monkeypatch.delenv(ALLOW_FFMPEG)  # restored afterwards, because the command sets it
    found: list[bool] = []
    for name in ("use_private_folder", "end_on_termination"):
        monkeypatch.setattr(f"wavenet.ui.server.temporary_files.{name}", lambda: None)
    monkeypatch.setattr(
        "wavenet.ui.studio_app.build_studio",
        lambda **_: found.append(allows_ffmpeg()) or Launched(),
    )
    for options in ([], ["--allow-host", "studio.example.org"]):
        run(["ui", "--no-open", "--port", str(free_port()), *options])
    assert found == [True, False]


class Launched:
    """Instead of a studio."""

    is_running = False

    def close(self, verbose: bool) -> None:
        """Do nothing."""

    def launch(self, **options: Any) -> None:
        """Do nothing."""


@pytest.mark.slow
@pytest.mark.browser
def test_the_page_accepts_videos_for_their_sound(page: Any, tmp_path: Path) -> None:
    """Without the script of the page, gr.Audio refuses files of type video/mp4."""
    video = tmp_path / "clip.mp4"
    video.write_bytes(MP4)
    page.get_by_role("button", name="Continue a recording").click()
    chosen = page.locator("#prompt input[type=file]")
    chosen.wait_for(state="attached")
    page.evaluate(DROP_JS)
    chosen.wait_for(state="detached")
    page.locator("#prompt").get_by_label("Clear").click()
    chosen.wait_for(state="attached")
    chosen.set_input_files(str(video))
    chosen.wait_for(state="detached")
    page.click("#generate")
    # It has no valid content.
    page.get_by_text("clip.mp4 can").first.wait_for()


DROP_JS = """() => {
  const dataTransfer = new DataTransfer();
  const options = { type: "video/x-matroska" };
  dataTransfer.items.add(new File([new Uint8Array(200)], "dropped.mkv", options));
  const zone = document.querySelector('#prompt input[type=file]').closest('button');
  zone.dispatchEvent(new DragEvent('drop', { bubbles: true, cancelable: true, dataTransfer }));
}"""
