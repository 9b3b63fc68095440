"""Uploaded recordings: only files that this studio stores itself are accepted and read.

Input: the value of a widget or of an API argument, of any type. Output: a path, or the recording
at that path. Called by the tabs, by the public API, and by Gradio if a file is given as a URL.
"""

from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

import gradio as gr
from gradio import processing_utils
from gradio.utils import get_upload_folder

from audio_utils import io
from audio_utils.audio_formats import FFMPEG_SUFFIXES
from audio_utils.errors import AudioError
from wavenet.errors import ConditionError
from wavenet.ui.page_text import error_sentence

FILE_ROUTE = "/gradio_api/file="
NOT_AN_UPLOAD = (
    'recording must be an uploaded file, made with handle_file("sound.wav"), or the URL of '
    "a file that this studio serves"
)


def read_upload(path: str, sample_rate: int | None, max_seconds: float) -> io.Recording:
    """Read an uploaded recording.

    An error contains the file name of the user, not the path on the server.

    Args:
        path: the stored file.
        sample_rate: Hz to resample to; None keeps the rate of the file.
        max_seconds: longest accepted duration, checked before the file is decoded.
    Raises:
        AudioError: the file cannot be read, or is too long.
    """
    name = Path(path).name
    # ffmpeg would read them; see audio_utils.ffmpeg.
    if Path(path).suffix.lower() in FFMPEG_SUFFIXES:
        raise AudioError(f"{name} is not in a format of the studio; convert it to WAV or FLAC.")
    try:
        return io.read(path, sample_rate, max_seconds=max_seconds)
    except AudioError as error:
        raise AudioError(str(error).replace(path, name)) from None


def upload_path(recording: Any) -> str:
    """Return the path of a file that a program uploaded.

    Raises:
        ConditionError: the value is not an upload, for example a path that the caller typed.
    """
    path = recording.get("path") if isinstance(recording, dict) else None
    if not isinstance(path, str) or not is_stored_upload(path):
        raise ConditionError(NOT_AN_UPLOAD)
    return path


def is_stored_upload(path: str) -> bool:
    """Return whether a path is inside the folder of uploads and results."""
    folder = Path(get_upload_folder()).resolve()
    return "\0" not in path and Path(path).resolve().is_relative_to(folder)


def block_remote_downloads() -> None:
    """Stop Gradio from downloading URLs that programs pass as files.

    Otherwise every file input would download any public URL, of any size.
    """
    processing_utils.async_ssrf_protected_download = resolve_served_file


async def resolve_served_file(url: str, cache_dir: str) -> str:
    """Return the path of a file that this studio serves, from its URL.

    Raises:
        gr.Error: any other URL.
    """
    _, found, path = unquote(urlsplit(url).path).partition(FILE_ROUTE)
    if not found or not is_stored_upload(path):
        raise gr.Error(error_sentence(ConditionError(NOT_AN_UPLOAD)), print_exception=False)
    return path
