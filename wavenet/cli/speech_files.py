"""The files of `wavenet speak` beside the sound: subtitles, and the times of words and phones.

Input: sentences, while they are spoken. Output: files, written line by line, complete or absent.
Called by `speak_command`.
"""

import json
from contextlib import ExitStack
from dataclasses import asdict
from pathlib import Path
from typing import IO, TYPE_CHECKING

from audio_utils.atomic_files import atomic_file, os_error_reason
from wavenet.errors import FolderError

if TYPE_CHECKING:
    from wavenet.speech.spoken_times import TimedSentence


class SpeechFiles:
    """Writes subtitles and times of sentences while they are spoken.

    Args:
        stack: closes the files; after an error it removes them.
        subtitles, timings: paths; None: no such file.
        overwrite: whether existing files may be replaced.
    """

    def __init__(
        self, stack: ExitStack, subtitles: Path | None, timings: Path | None, overwrite: bool
    ):
        from wavenet.speech.subtitles import subtitle_header

        self._subtitles = _open_lines(stack, subtitles, overwrite)
        self._timings = _open_lines(stack, timings, overwrite)
        self._suffix = "" if subtitles is None else subtitles.suffix.lower()
        self._cues = 0
        _write(self._subtitles, subtitle_header(self._suffix))

    def add(self, sentence: "TimedSentence") -> None:
        """Add a sentence.

        Raises:
            FolderError: a file cannot be written.
        """
        from wavenet.speech.subtitles import format_cue, split_cues

        for start, end, text in split_cues(sentence) if self._subtitles else ():
            self._cues += 1
            _write(self._subtitles, format_cue(self._suffix, self._cues, start, end, text))
        if self._timings:
            _write(self._timings, json.dumps(asdict(sentence)) + "\n")


def _open_lines(stack: ExitStack, path: Path | None, overwrite: bool) -> IO[str] | None:
    if path is None:
        return None
    temporary = stack.enter_context(atomic_file(path, overwrite))
    # a lone surrogate, of an argument that is not UTF-8, becomes a question mark
    return stack.enter_context(open(temporary, "w", encoding="utf-8", errors="replace"))


def _write(file: IO[str] | None, text: str) -> None:
    if file is None:
        return
    try:
        file.write(text)
    except OSError as error:
        raise FolderError(f"{file.name} cannot be written: {os_error_reason(error)}") from None
