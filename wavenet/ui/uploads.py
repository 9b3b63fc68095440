"""Recordings that programs hand over: files of ours by path or address, nothing else.

What a program calls a recording enters, of any type; the path of an uploaded file leaves. Callers:
the public functions, and Gradio itself wherever an address stands for a file.
"""

from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

import gradio as gr
from gradio import processing_utils
from gradio.utils import get_upload_folder

from wavenet.errors import ConditionError
from wavenet.ui.jobs import sentence

SERVED = "/gradio_api/file="
REFUSED = (
    'recording must be an uploaded file, as handle_file("sound.wav") makes it, or the address of '
    "a file that this studio serves"
)


def fetch_nothing() -> None:
    """Keep Gradio from asking other servers for what a program gives by its address.

    It would fetch any public address, of any size, in every input that takes a file.
    """
    processing_utils.async_ssrf_protected_download = find_served


async def find_served(url: str, cache_dir: str) -> str:
    """Give the path of a file of ours by its address, as an upload or an answer had it.

    Raises:
        gr.Error: it is none of ours.
    """
    _, found, path = unquote(urlsplit(url).path).partition(SERVED)
    if not found or not is_ours(path):
        raise gr.Error(sentence(ConditionError(REFUSED)), print_exception=False)
    return path


def uploaded(recording: Any) -> str:
    """Give the path of a file that Gradio has taken in.

    Raises:
        ConditionError: somebody typed it.
    """
    path = recording.get("path") if isinstance(recording, dict) else None
    if not isinstance(path, str) or not is_ours(path):
        raise ConditionError(REFUSED)
    return path


def is_ours(path: str) -> bool:
    """Tell whether a path leads into the folder of uploads and answers."""
    folder = Path(get_upload_folder()).resolve()
    return "\0" not in path and Path(path).resolve().is_relative_to(folder)
