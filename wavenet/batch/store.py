"""Where clips are kept: a folder of this machine, or any place that fsspec reaches.

A name and what writes a file enter; the file is there whole or not at all. Object stores show an
object only when all of it is there; elsewhere a temporary name is used. The only place that knows
fsspec.
"""

import secrets
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property, lru_cache
from pathlib import Path
from typing import Any, Protocol

from audio_utils.atomic_files import TEMPORARY_PREFIX
from wavenet.batch.folder import PARTIAL
from wavenet.batch.journal import hash_file
from wavenet.batch.names import place
from wavenet.errors import ConditionError, ConfigError, FolderError

OBJECT_STORES = {"s3", "s3a", "gs", "gcs", "az", "abfs", "abfss", "adl", "oss", "r2"}
PAUSES = (0.5, 2.0, 8.0)  # seconds before what the network lost is sent again
MAX_REASON = 300


@dataclass(frozen=True)
class Kept:
    """A file that was kept.

    Attributes:
        clipped: samples, as the writer counted; sha256: of the file; size: in bytes.
    """

    clipped: int
    sha256: str
    size: int


class Store(Protocol):
    """A place for clips."""

    def keep(self, name: str, write: Callable[[Path], int]) -> Kept:
        """Write a file under a relative name; `write` gets a path, and counts clipped samples.

        Raises:
            FolderError: the place is full, closed to us, or cannot be reached.
        """

    def holds(self, name: str, sha256: str, size: int | None) -> bool:
        """Say whether a file is there as it was kept."""

    def has(self, name: str) -> bool:
        """Say whether there is anything of that name."""

    def look(self) -> None:
        """See anew what is there."""


class Folder:
    """A folder of this machine; hashes are compared."""

    def __init__(self, folder: Path):
        self._folder = folder

    def keep(self, name: str, write: Callable[[Path], int]) -> Kept:
        """See `Store`."""
        path = place(self._folder, name)
        return _write(path, write)

    def holds(self, name: str, sha256: str, size: int | None) -> bool:
        """See `Store`."""
        try:
            return hash_file(self._folder / name) == sha256
        except OSError:
            return False

    def has(self, name: str) -> bool:
        """See `Store`."""
        path = self._folder / name
        return path.exists() or path.is_symlink()

    def look(self) -> None:
        """See `Store`."""


class Remote:
    """A place that fsspec reaches; names and sizes are compared, as they were at the last look.

    Args:
        url: as in s3://bucket/clips.
    Raises:
        ConditionError: no such kind of place is known.
        ConfigError: a package for it is missing.
    """

    def __init__(self, url: str):
        try:
            from fsspec.core import url_to_fs
        except ImportError:
            raise ConfigError(
                f"{url} needs the package fsspec, which is missing; install it with `pip install "
                "fsspec`"
            ) from None
        self._url = url
        kind = url.partition("://")[0]
        try:
            self._files, root = url_to_fs(url)
        except ImportError as error:
            raise ConfigError(
                f"{url} needs a package that is missing ({_brief(error)}); install it"
            ) from None
        except ValueError as error:
            raise ConditionError(
                f"{url} is no place that clips can be kept ({_brief(error)}); give a folder, or "
                "an address such as s3://bucket/clips"
            ) from None
        self._root = root.rstrip("/")
        self._is_object_store = kind in OBJECT_STORES

    def keep(self, name: str, write: Callable[[Path], int]) -> Kept:
        """See `Store`."""
        with tempfile.TemporaryDirectory(prefix="wavenet-") as folder:
            path = Path(folder) / f"clip{Path(name).suffix}"
            kept = _write(path, write)
            self.send(path, name)
        return kept

    def holds(self, name: str, sha256: str, size: int | None) -> bool:
        """See `Store`."""
        found = self._sizes.get(name)
        return found is not None and size in (None, found)

    def has(self, name: str) -> bool:
        """See `Store`."""
        return name in self._sizes

    def look(self) -> None:
        """See `Store`; the list is read when it is first asked for."""
        self.__dict__.pop("_sizes", None)

    def send(self, path: Path, name: str) -> None:
        """Copy a file there, whole or not at all.

        Raises:
            FolderError: it cannot be written, however often it was tried.
        """
        for pause in (*PAUSES, None):
            try:
                with self._told("written"):
                    return self._send(path, f"{self._root}/{name}")
            except FolderError:
                if pause is None:
                    raise
                time.sleep(pause)

    def sweep(self) -> None:
        """Remove what a killed process left half-written; object stores have no such thing."""
        if self._is_object_store:
            return
        for name in self._list():
            if PARTIAL.fullmatch(name.rpartition("/")[2]):
                with self._told("swept"):
                    self._files.rm_file(f"{self._root}/{name}")

    def _send(self, path: Path, target: str) -> None:
        if self._is_object_store:
            self._files.put_file(str(path), target)
            return
        above = target.rpartition("/")[0]
        self._files.makedirs(above, exist_ok=True)
        temporary = f"{above}/{TEMPORARY_PREFIX}{secrets.token_hex(6)}{path.suffix}"
        self._files.put_file(str(path), temporary)
        self._files.mv(temporary, target)

    @cached_property
    def _sizes(self) -> dict[str, int]:
        return self._list()

    def _list(self) -> dict[str, int]:
        """List what is there, in bytes by relative name."""
        with self._told("read"):
            try:
                found: dict[str, Any] = self._files.find(self._root, detail=True)
            except FileNotFoundError:
                return {}
        begin = len(self._root) + 1
        return {path[begin:]: int(entry["size"] or 0) for path, entry in found.items()}

    @contextmanager
    def _told(self, what: str) -> Iterator[None]:
        """Turn what a file system raises, which may be anything at all, into one sentence."""
        try:
            yield
        except Exception as error:
            raise FolderError(
                f"{self._url} cannot be {what}: {_brief(error)}; see to its address, the "
                "credentials and the network"
            ) from None


@lru_cache(maxsize=8)
def open_remote(url: str) -> Remote:
    """Give the place at an address, in each process once.

    Raises:
        ConditionError, ConfigError: see `Remote`.
    """
    return Remote(url)


def _write(path: Path, write: Callable[[Path], int]) -> Kept:
    clipped = write(path)
    return Kept(clipped, hash_file(path), path.stat().st_size)


def _brief(error: Exception) -> str:
    text = " ".join(str(error).split()) or type(error).__name__
    return text[:MAX_REASON].rstrip(".")
