"""The audio formats that can be read: names, suffixes of file names, and first bytes.

Output: the table `FORMATS`, and the texts and suffixes that come from it. Called by
`audio_utils.decoding`, by the code that lists files, and by every text that names the formats.
"""

from dataclasses import dataclass


@dataclass(frozen=True)
class AudioFormat:
    """A container that libsndfile reads.

    Attributes:
        name: as in messages.
        suffixes: of file names, in lower case. The content decides the format, not the suffix.
    """

    name: str
    suffixes: tuple[str, ...]


FORMATS = (
    AudioFormat("WAV", (".wav", ".wave")),
    AudioFormat("FLAC", (".flac",)),
    AudioFormat("OGG", (".ogg", ".oga", ".opus")),
    AudioFormat("MP3", (".mp3",)),
    AudioFormat("AIFF", (".aif", ".aiff", ".aifc")),
    AudioFormat("AU", (".au", ".snd")),
    AudioFormat("CAF", (".caf",)),
    AudioFormat("W64", (".w64",)),
    AudioFormat("RF64", (".rf64",)),
    AudioFormat("NIST SPHERE", (".sph", ".nist")),
)
AUDIO_SUFFIXES = tuple(suffix for form in FORMATS for suffix in form.suffixes)
# Read by the program ffmpeg if it is installed, only from files with these suffixes.
FFMPEG_SUFFIXES = (".m4a", ".m4b", ".mp4", ".aac", ".wma", ".webm", ".amr", ".ape", ".wv")
READABLE_FORMATS = ", ".join(form.name for form in FORMATS[:-1]) + f" or {FORMATS[-1].name}"
