"""The clips of all visitors, with their audio files, until they expire.

A visitor is known by a random token, which the browser keeps: the clips survive a reload of the
page. Input: waveforms with their facts. Output: `Clip` objects. Called by the tabs and by the
history panel; `studio_app` deletes expired clips regularly.
"""

import secrets
import shutil
import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from threading import RLock
from typing import Any

from gradio.utils import get_upload_folder
from torch import Tensor

from audio_utils import io
from wavenet.errors import ConditionError
from wavenet.ui.server.uploads import served_url

CLIP_SECONDS = 2 * 3600.0  # after which an unpinned clip is deleted
MAX_CLIPS = 60  # of a visitor; the oldest unpinned one is deleted first
MAX_VISITORS = 500
MAX_BYTES = 10**9  # of all clips; then the oldest unpinned clips of all visitors are deleted
FOLDER = "clips"  # in the folder of uploads and results
_TOKEN_BYTES = 24


@dataclass(frozen=True)
class Clip:
    """One clip.

    Attributes:
        clip_id: random; known only to its visitor.
        path: of the audio file.
        source: what made it: "generated", "recording", "matched", ...
        title: one line for the list.
        settings: of the Generate tab, by name; {} for a recording.
        seconds: duration.
        sample_rate: Hz.
        rms: root mean square of the samples, for playback at equal levels.
        created: time of creation, seconds since the epoch.
        is_partial: whether generation ended early.
        is_pinned: whether the clip is kept until the studio ends.
        upload: path of the upload that it is a copy of; "" if it was made here.
    """

    clip_id: str
    path: Path
    source: str
    title: str
    settings: dict[str, Any]
    seconds: float
    sample_rate: int
    rms: float
    created: float
    is_partial: bool = False
    is_pinned: bool = False
    upload: str = ""

    @property
    def url(self) -> str:
        """URL of the file on this server, relative to the page."""
        return served_url(self.path)

    @property
    def recordings(self) -> list[str]:
        """Paths of the recordings that it was generated from."""
        used = (self.settings.get(name) for name in ("prompt", "source"))
        return [path for path in used if path]

    def expires(self) -> float | None:
        """Return when the clip is deleted, seconds since the epoch; None if it is pinned."""
        return None if self.is_pinned else self.created + CLIP_SECONDS


class ClipStore:
    """Clips by visitor; safe to use from many threads."""

    def __init__(self, clock: Callable[[], float] = time.time) -> None:
        self._clock = clock
        self._lock = RLock()
        # The longest unseen visitor first; of each, the clips by id, the oldest first.
        self._visitors: OrderedDict[str, dict[str, Clip]] = OrderedDict()

    def visitor(self, token: Any) -> str:
        """Return the token of a visitor: the given one if it is known, or a new one."""
        with self._lock:
            if not (isinstance(token, str) and token in self._visitors):
                token = secrets.token_urlsafe(_TOKEN_BYTES)
                self._visitors[token] = {}
                while len(self._visitors) > MAX_VISITORS:
                    self._remove_visitor(next(iter(self._visitors)))
            self._visitors.move_to_end(token)
            return token

    def add(
        self,
        token: Any,
        waveform: Tensor,
        sample_rate: int,
        name: str,
        title: str,
        source: str = "generated",
        settings: dict[str, Any] | None = None,
        is_partial: bool = False,
        upload: str = "",
        subtype: str = "PCM_16",
    ) -> Clip:
        """Store a clip as a WAV file.

        Args:
            token: of the visitor; a visitor without clips may be unknown.
            waveform: (T,) or (channels, T) float.
            sample_rate: Hz.
            name: of the file, with suffix.
            title, source, settings, is_partial, upload: as in `Clip`.
            subtype: as in `io.write`.
        """
        clip_id = secrets.token_urlsafe(_TOKEN_BYTES)
        path = Path(get_upload_folder()) / FOLDER / clip_id / name
        path.parent.mkdir(parents=True, mode=0o700)
        io.write(path, waveform, sample_rate, subtype)
        clip = Clip(
            clip_id=clip_id,
            path=path,
            source=source,
            title=title,
            settings=settings or {},
            seconds=waveform.shape[-1] / sample_rate,
            sample_rate=sample_rate,
            rms=float(waveform.double().square().mean().sqrt()) if waveform.numel() else 0.0,
            created=self._clock(),
            is_partial=is_partial,
            upload=upload,
        )
        with self._lock:
            visitor = self._visitors[self.visitor(token)]
            visitor[clip_id] = clip
            while len(visitor) > MAX_CLIPS:
                self._delete(visitor, _oldest(visitor.values()).clip_id)
            self._keep_below_limit(clip_id)
        return clip

    def add_upload(
        self,
        token: Any,
        path: str,
        waveform: Tensor,
        sample_rate: int,
        name: str,
        title: str | None = None,
    ) -> Clip:
        """Store a recording that a visitor uploaded, unless it is one of the visitor's clips.

        Args:
            token: of the visitor.
            path: of the upload, or of a clip.
            waveform, sample_rate, name: as in `add`.
            title: as in `Clip`; None: the name of the upload.
        """
        for clip in self.clips(token):
            if path in (clip.upload, str(clip.path)):
                return clip
        title = title or Path(path).name
        return self.add(token, waveform, sample_rate, name, title, "recording", upload=path)

    def clips(self, token: Any) -> list[Clip]:
        """Return the clips of a visitor whose files exist, the newest first."""
        with self._lock:
            visitor = self._visitors.get(token) if isinstance(token, str) else None
            if visitor is None:
                return []
            for clip_id in [c.clip_id for c in visitor.values() if not c.path.is_file()]:
                del visitor[clip_id]
            return list(reversed(visitor.values()))

    def find(self, token: Any, clip_id: Any) -> Clip:
        """Return a clip of a visitor.

        Raises:
            ConditionError: it does not exist; it may have expired.
        """
        for clip in self.clips(token):
            if clip.clip_id == clip_id:
                return clip
        raise ConditionError("this clip has expired or was deleted; generate it again")

    def pin(self, token: Any, clip_id: Any) -> None:
        """Pin a clip, or unpin it."""
        with self._lock:
            clip = self.find(token, clip_id)
            self._visitors[token][clip.clip_id] = replace(clip, is_pinned=not clip.is_pinned)

    def delete(self, token: Any, clip_id: Any) -> None:
        """Delete a clip and its file."""
        with self._lock:
            self._delete(self._visitors[token], self.find(token, clip_id).clip_id)

    def delete_expired(self) -> None:
        """Delete the clips that have expired, of all visitors."""
        now = self._clock()
        with self._lock:
            for visitor in self._visitors.values():
                expired = [c for c in visitor.values() if (c.expires() or now) < now]
                for clip in expired:
                    self._delete(visitor, clip.clip_id)

    def paths(self) -> set[str]:
        """Return the paths of all stored files, and of the recordings that clips are made from."""
        with self._lock:
            visitors = self._visitors.values()
            clips = [clip for visitor in visitors for clip in visitor.values()]
            return {path for clip in clips for path in (str(clip.path), *clip.recordings)}

    def _delete(self, visitor: dict[str, Clip], clip_id: str) -> None:
        clip = visitor.pop(clip_id)
        shutil.rmtree(clip.path.parent, ignore_errors=True)

    def _remove_visitor(self, token: str) -> None:
        visitor = self._visitors.pop(token)
        for clip_id in list(visitor):
            self._delete(visitor, clip_id)

    def _keep_below_limit(self, newest: str) -> None:
        """Delete the oldest unpinned clips until all clips together need at most `MAX_BYTES`."""
        stored = [(v, clip) for v in self._visitors.values() for clip in v.values()]
        total = sum(clip.path.stat().st_size for _, clip in stored if clip.path.is_file())
        for visitor, clip in sorted(stored, key=lambda pair: (pair[1].is_pinned, pair[1].created)):
            if total <= MAX_BYTES:
                return
            if clip.clip_id != newest:
                total -= clip.path.stat().st_size if clip.path.is_file() else 0
                self._delete(visitor, clip.clip_id)


def _oldest(clips: Any) -> Clip:
    """Return the oldest unpinned clip; the oldest of all if every clip is pinned."""
    ordered: list[Clip] = sorted(clips, key=lambda clip: (clip.is_pinned, clip.created))
    return ordered[0]
