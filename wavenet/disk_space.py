"""Check before long work that a disk has space for its files.

Input: a folder and the number of bytes to write. Output: nothing, or one sentence. Called by the
commands that generate, `batch`, `corpus` and `sharing`.
"""

import shutil
from pathlib import Path

from audio_utils.atomic_files import find_existing_folder
from wavenet.errors import FolderError

# of a sample in a WAV file
_SUBTYPE_BYTES = {"PCM_16": 2, "PCM_24": 3, "FLOAT": 4}


def audio_bytes(suffix: str, samples: int, subtype: str = "PCM_16") -> int:
    """Return the size of an audio file, at least.

    Args:
        suffix: of the file; compressed files may be smaller than any estimate, so they
            count as 0 bytes.
        samples: of its only channel.
        subtype: PCM_16, PCM_24 or FLOAT.
    """
    return samples * _SUBTYPE_BYTES[subtype] if suffix.lower() == ".wav" else 0


def check_free_space(folder: Path, needed: float, what: str, option: str = "--out") -> None:
    """Check that the disk of a folder has space.

    Args:
        folder: to write into; it need not exist.
        needed: bytes.
        what: will be written, in the plural, for the message.
        option: the option that chooses another folder.
    Raises:
        FolderError: it has too little space.
    """
    try:
        usage = shutil.disk_usage(find_existing_folder(folder))
    except OSError:  # some network file systems do not report it
        return
    # the size of a file system without a disk, such as /proc, is 0
    if usage.total and needed > usage.free:
        raise FolderError(
            f"{what} need {needed / 1e6:,.2f} MB, and the disk of {folder} has "
            f"{usage.free / 1e6:,.2f} MB; free some space or choose another {option}"
        )
