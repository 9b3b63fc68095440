"""Open an audio file with libsndfile, and check what libsndfile does not check.

Input: an open file. Output: a `VerifiedFile`, which is read like a `soundfile.SoundFile`. Called by
`audio_utils.decoding`.
"""

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

import numpy as np
import soundfile
from numpy.typing import NDArray

from audio_utils.audio_formats import check_container
from audio_utils.containers.declared_sizes import ContainerError, ContainerReport
from audio_utils.containers.flac import SampleDigest
from audio_utils.errors import AudioError


@contextlib.contextmanager
def open_verified(path: str | Path, handle: BinaryIO) -> Iterator["VerifiedFile"]:
    """Open an audio file whose container is complete.

    Args:
        path: for messages.
        handle: the open file.
    Raises:
        AudioError: the container is damaged or of an unknown format; while reading, too, if the
            decoded samples are not those that the container promises.
        soundfile.LibsndfileError: libsndfile cannot decode it.
    """
    try:
        report = check_container(handle, os.fstat(handle.fileno()).st_size)
        os.lseek(handle.fileno(), 0, os.SEEK_SET)
        with soundfile.SoundFile(handle.fileno(), closefd=False) as file:
            # Reads through the handle move the position of the descriptor that libsndfile uses.
            digest = SampleDigest(file, report.md5)
            yield VerifiedFile(file, report, digest)
    except ContainerError as error:
        raise AudioError(f"{path} {error}.") from None


class VerifiedFile:
    """An open audio file.

    Attributes:
        samplerate, channels: as libsndfile reads them from the header.
        frames: number of frames that the file must have.
        notes: phrases about oddities of the container.
    """

    def __init__(self, file: soundfile.SoundFile, report: ContainerReport, digest: SampleDigest):
        self.samplerate, self.channels = file.samplerate, file.channels
        self.frames = file.frames if report.frames is None else report.frames
        self.notes = report.notes
        self._file, self._digest = file, digest
        # libsndfile reads W64 and SPHERE files to their end, also what follows the sound.
        self._left = report.frames

    def read(self, frames: int) -> NDArray[np.float32]:
        """Return the next frames, (T, channels) float32; none at the end.

        Raises:
            ContainerError: this is the end, and the samples differ from those that were encoded.
        """
        if self._left is not None:
            frames = min(frames, self._left)
        block: NDArray[np.float32] = self._file.read(frames, dtype="float32", always_2d=True)
        if self._left is not None:
            self._left -= len(block)
        self._digest.update(block)
        if not len(block):
            self._digest.check()
        return block
