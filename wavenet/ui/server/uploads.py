"""Uploaded recordings: only files that this studio stores itself are accepted and read.

Input: the value of a widget or of an API argument, of any type. Output: a path, or the recording
at that path. Called by the tabs, by the public API, and by `gradio_compat`.
"""

import os
from contextlib import suppress
from pathlib import Path, PurePath
from typing import Any
from unicodedata import category
from urllib.parse import quote, unquote, urlsplit

import gradio as gr
from gradio.utils import get_upload_folder

from audio_utils import io
from audio_utils.errors import AudioError
from audio_utils.ffmpeg import (
    DECODED_BY_FFMPEG,
    find_demuxer,
)
from audio_utils.levels import describe_levels
from audio_utils.limited_process import CAN_LIMIT
from wavenet.errors import ConditionError
from wavenet.ui.server.host_check import is_only_local

# Of a file name, on all usual file systems.
MAX_NAME_BYTES = 255
_MAX_SUFFIX_BYTES = 20
_RESERVED = '<>:"/\\|?*' if os.name == "nt" else "/"
# Variable that allows or forbids ffmpeg in the studio; see `allows_ffmpeg`.
ALLOW_FFMPEG = "WAVENET_FFMPEG"
FFMPEG_IS_OFF = (
    "can be read only by the program ffmpeg, which this studio does not start; convert the file to "
    f"WAV or FLAC, or set {ALLOW_FFMPEG}=1 if all who upload files are trusted"
)
FILE_ROUTE = "/gradio_api/file="
NOT_AN_UPLOAD = (
    'recording must be an uploaded file, made with handle_file("sound.wav"), or the URL of '
    "a file that this studio serves"
)


def read_upload(
    path: str, sample_rate: int | None, max_seconds: float, warn: bool = True
) -> io.Recording:
    """Read an uploaded recording; warn about samples beyond full scale and cancelling channels.

    An error contains the file name of the user, not the path on the server.

    Args:
        path: the stored file.
        sample_rate: Hz to resample to; None keeps the rate of the file.
        max_seconds: longest accepted duration, checked before the file is decoded.
        warn: whether the page, or the program that calls the API, receives the warnings.
    Raises:
        AudioError: the file cannot be read, or is too long.
    """
    name = Path(path).name
    check_reader(path)
    try:
        recording = io.read(path, sample_rate, max_seconds=max_seconds)
    except AudioError as error:
        raise AudioError(str(error).replace(path, name)) from None
    for phrase in describe_levels(recording.levels, advise=False) if warn else ():
        if phrase != DECODED_BY_FFMPEG:
            gr.Warning(f"{name}: {phrase}.")
    return recording


def check_reader(path: str) -> None:
    """Raise AudioError if only ffmpeg can read an upload, and this studio must not start it."""
    if not allows_ffmpeg() and _needs_ffmpeg(path):
        raise AudioError(f"{Path(path).name} {FFMPEG_IS_OFF}.")


def allows_ffmpeg() -> bool:
    """Return whether the studio may start ffmpeg to read uploads.

    By default only for users of this machine: the limits of its process do not take away the rights
    of the studio, which can read the uploads of other visitors and the secrets of a Space.
    """
    setting = os.environ.get(ALLOW_FFMPEG)
    return setting == "1" or (setting != "0" and CAN_LIMIT and is_only_local())


def _needs_ffmpeg(path: str) -> bool:
    try:
        with Path(path).open("rb") as handle:
            return find_demuxer(handle) is not None
    except OSError:  # reported when it is read
        return False


def upload_path(recording: Any) -> str:
    """Return the path of a file that a program uploaded.

    Raises:
        ConditionError: the value is not an upload, for example a path that the caller typed.
    """
    path = recording.get("path") if isinstance(recording, dict) else None
    if not isinstance(path, str) or not is_stored_upload(path):
        raise ConditionError(NOT_AN_UPLOAD)
    return path


def find_upload(recording: Any) -> str:
    """Return the path of an upload of an earlier visit, as the browser has kept it.

    Raises:
        ConditionError: it is no longer stored.
    """
    with suppress(ConditionError):
        path = upload_path(recording)
        if os.path.isfile(path):
            return path
    name = recording.get("orig_name") if isinstance(recording, dict) else None
    shown = f"the recording {name[:100]!r}" if isinstance(name, str) else "a recording"
    raise ConditionError(f"{shown} is no longer stored; upload it again to use it")


def is_stored_upload(path: str) -> bool:
    """Return whether a path is inside the folder of uploads and results."""
    folder = Path(get_upload_folder()).resolve()
    return "\0" not in path and Path(path).resolve().is_relative_to(folder)


def served_url(path: Path) -> str:
    """Return the URL of a stored file on this server, relative to the page."""
    return FILE_ROUTE.lstrip("/") + quote(str(path))


def valid_file_name(name: str, max_bytes: int = MAX_NAME_BYTES) -> str:
    """Return the name of an uploaded file, unchanged if this system allows it.

    Characters that are invalid here are replaced by "-", and a long name is shortened before its
    suffix. Otherwise the name must not change: tables and patterns refer to it.
    """
    valid = ("-" if c in _RESERVED or category(c) in ("Cc", "Cs") else c for c in name)
    name = "".join(valid)
    suffix = PurePath(name).suffix
    if len(suffix.encode()) > _MAX_SUFFIX_BYTES:
        suffix = ""
    stem = name.removesuffix(suffix).encode()[: max_bytes - len(suffix.encode())]
    return stem.decode(errors="ignore") + suffix or "recording"


def resolve_served_file(url: str) -> str:
    """Return the path of a file that this studio serves, from its URL.

    Raises:
        ConditionError: any other URL.
    """
    try:
        _, found, path = unquote(urlsplit(url).path).partition(FILE_ROUTE)
    except ValueError:  # for example an invalid IPv6 address
        found, path = "", ""
    if not found or not is_stored_upload(path):
        raise ConditionError(NOT_AN_UPLOAD)
    return path
