"""Uploads keep the names of the user's files, in every tab and for programs."""

from pathlib import Path
from urllib.parse import quote

import httpx
import pytest
from gradio_client import Client, handle_file

from wavenet.ui.server.uploads import valid_file_name

NAMES = [
    *("ZOOM0001.WAV", "it's 5:00!.wav", "a?b#c%41&$.wav", "<b>{x}|`y`.Wav", "Ä\u202f日本 .wav"),
    *(".hidden.wav", "-rf.wav", "CON.wav", "a.b.c.wav", "trailing .wav", "back\\slash.wav"),
]


@pytest.mark.parametrize("name", NAMES)
def test_names_are_stored_and_served_unchanged(url: str, name: str) -> None:
    content = b"RIFF" + name.encode()
    files = {"files": ("placeholder", content)}
    request = httpx.Request("POST", f"{url}/gradio_api/upload", files=files)
    # Browsers quote a name differently from httpx.
    quoted = name.replace('"', "%22").encode()
    body = request.read().replace(b"placeholder", quoted.replace(b"\\", b"\\\\"))
    headers = {"Content-Type": request.headers["Content-Type"]}
    (path,) = httpx.post(f"{url}/gradio_api/upload", content=body, headers=headers).json()
    assert Path(path).name == name
    assert httpx.get(f"{url}/gradio_api/file={quote(path)}").content == content


@pytest.mark.parametrize(
    ("name", "valid"),
    [
        ("a/b.wav", "a-b.wav"),
        ("a\0\n\x1b\udcff.wav", "a----.wav"),
        ("é" * 200 + ".wav", "é" * 125 + ".wav"),
        ("a." + "b" * 300, "a." + "b" * 253),
        ("", "recording"),
        ("..", ".."),  # Gradio refuses it
    ],
)
def test_only_what_no_system_allows_is_replaced(name: str, valid: str) -> None:
    assert valid_file_name(name) == valid
    assert len(valid.encode()) <= 255


def test_programs_read_the_name_in_an_error(url: str, tmp_path: Path) -> None:
    path = tmp_path / "it's 5:00!.WAV"
    path.write_bytes(b"no audio")
    with pytest.raises(Exception, match=r"it's 5:00!\.WAV"):
        Client(url, verbose=False).predict(handle_file(str(path)), api_name="/analyse")
