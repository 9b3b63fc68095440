"""The audio formats that can be read: names, suffixes, first bytes, and checks of the container.

Input: an open file. Output: a `ContainerReport`, and the texts and suffixes that come from the
table `FORMATS`. Called by `audio_utils.decoding`, by the code that lists files, and by all code
that prints the names of the formats. libsndfile reads incomplete and inconsistent files without an
error: a WAV with a wrong size, an Ogg stream without its end, half an MP3. The checks detect them.
"""

import struct
from collections.abc import Callable
from dataclasses import dataclass
from typing import BinaryIO

from audio_utils.containers.declared_sizes import REMEDY, ContainerError, ContainerReport
from audio_utils.containers.flac import check_flac
from audio_utils.containers.mp3 import check_mp3, id3_tag_size, is_mp3_frame
from audio_utils.containers.ogg import check_ogg
from audio_utils.containers.riff import check_rf64, check_w64, check_wav
from audio_utils.containers.studio_formats import check_aiff, check_au, check_caf, check_nist
from audio_utils.ffmpeg import find_ffmpeg

_HEAD_BYTES = 32
_W64_HEAD = b"riff\x2e\x91\xcf\x11\xa5\xd6\x28\xdb"


@dataclass(frozen=True)
class AudioFormat:
    """A container that libsndfile reads.

    Attributes:
        name: as in messages.
        suffixes: of file names, in lower case. The content decides the format, not the suffix.
        begins: whether the first bytes are of this format.
        check: of the whole file; arguments are the open file and its size.
    """

    name: str
    suffixes: tuple[str, ...]
    begins: Callable[[bytes], bool]
    check: Callable[[BinaryIO, int], ContainerReport]


def _chunk_form(*pairs: tuple[bytes, bytes]) -> Callable[[bytes], bool]:
    """Return a check for four letters, a size of 32 bits, and four more letters."""
    return lambda head: (head[:4], head[8:12]) in pairs


FORMATS = (
    AudioFormat(
        "WAV", (".wav", ".wave"), _chunk_form((b"RIFF", b"WAVE"), (b"RIFX", b"WAVE")), check_wav
    ),
    AudioFormat("FLAC", (".flac",), lambda head: head[:4] == b"fLaC", check_flac),
    AudioFormat("OGG", (".ogg", ".oga", ".opus"), lambda head: head[:4] == b"OggS", check_ogg),
    AudioFormat("MP3", (".mp3",), is_mp3_frame, check_mp3),
    AudioFormat(
        "AIFF",
        (".aif", ".aiff", ".aifc"),
        _chunk_form((b"FORM", b"AIFF"), (b"FORM", b"AIFC")),
        check_aiff,
    ),
    AudioFormat("AU", (".au", ".snd"), lambda head: head[:4] in (b".snd", b"dns."), check_au),
    AudioFormat("CAF", (".caf",), lambda head: head[:4] == b"caff", check_caf),
    AudioFormat("W64", (".w64",), lambda head: head[:12] == _W64_HEAD, check_w64),
    AudioFormat("RF64", (".rf64",), _chunk_form((b"RF64", b"WAVE")), check_rf64),
    AudioFormat("SPHERE", (".sph", ".nist"), lambda head: head[:7] == b"NIST_1A", check_nist),
)
AUDIO_SUFFIXES = tuple(suffix for form in FORMATS for suffix in form.suffixes)
# Of files that the program ffmpeg reads if it is installed; of a video, its sound.
FFMPEG_SUFFIXES = (
    *(".m4a", ".m4b", ".mp4", ".m4v", ".mov", ".3gp", ".aac", ".wma", ".wmv", ".webm", ".mka"),
    *(".mkv", ".amr", ".ape", ".wv"),
)
READABLE_FORMATS = ", ".join(form.name for form in FORMATS[:-1]) + f" or {FORMATS[-1].name}"
FFMPEG_FORMATS = "M4A, AAC, WMA, WebM or the sound of a video"


def check_container(handle: BinaryIO, size: int) -> ContainerReport:
    """Check that an audio file is complete.

    Args:
        handle: the file, binary, seekable; its position is changed.
        size: bytes in the file.
    Raises:
        ContainerError: an error that a decoder would ignore, or an unknown format.
    """
    handle.seek(0)
    head = handle.read(_HEAD_BYTES)
    try:
        return _find_check(handle, head)(handle, size)
    except struct.error:
        raise ContainerError(f"is cut short: its header is not complete; {REMEDY}") from None


def readable_formats() -> str:
    """Return the names of the formats for labels; those for ffmpeg only if it is installed."""
    if not find_ffmpeg():
        return READABLE_FORMATS
    return f"{', '.join(form.name for form in FORMATS)}, {FFMPEG_FORMATS}"


def readable_suffixes() -> tuple[str, ...]:
    """Return the suffixes of all readable files; those for ffmpeg only if it is installed."""
    return AUDIO_SUFFIXES + FFMPEG_SUFFIXES if find_ffmpeg() else AUDIO_SUFFIXES


def _find_check(handle: BinaryIO, head: bytes) -> Callable[[BinaryIO, int], ContainerReport]:
    if not head:
        raise ContainerError(f"is empty; expected audio in {READABLE_FORMATS}")
    if head[:3] == b"ID3":
        tag_bytes = id3_tag_size(handle)
        handle.seek(tag_bytes)
        return check_flac if handle.read(4) == b"fLaC" else check_mp3
    form = next((form for form in FORMATS if form.begins(head)), None)
    if form is None:
        raise ContainerError(_describe_unknown_format(head))
    return form.check


def _describe_unknown_format(head: bytes) -> str:
    if head.startswith(b"version https://git-lfs"):
        return "is a Git LFS pointer, not the recording; fetch the files with git lfs pull"
    return f"is not audio in a known format; expected {READABLE_FORMATS}, so convert it first"
