"""Storage of clips: a folder of this machine, or any location that fsspec supports.

Input: a relative name, and a function that writes a file. Output: the file, complete or absent. An
object store shows an object only when it is complete; elsewhere the file is written under a
temporary name and then renamed. Called by `clip_writer`, `manifest_check` and `run`. No other
module imports fsspec.
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
from wavenet.batch.journal import hash_file
from wavenet.batch.output_folder import PARTIAL_FILE
from wavenet.batch.output_names import prepare_output_path
from wavenet.errors import ConditionError, ConfigError, FolderError

OBJECT_STORES = {"s3", "s3a", "gs", "gcs", "az", "abfs", "abfss", "adl", "oss", "r2"}
RETRY_PAUSES = (0.5, 2.0, 8.0)  # seconds before each retry of a failed upload
MAX_REASON_LENGTH = 300


@dataclass(frozen=True)
class StoredFile:
    """The result of storing a file.

    Attributes:
        clipped_samples: number of samples that were clipped to full scale.
        sha256: of the file.
        size: in bytes.
    """

    clipped_samples: int
    sha256: str
    size: int


class ClipStorage(Protocol):
    """A location for clips."""

    def write(self, name: str, write_file: Callable[[Path], int]) -> StoredFile:
        """Store a file.

        Args:
            name: relative to the location.
            write_file: receives a path, writes the file there, and returns the number of
                samples that were clipped to full scale.
        Raises:
            FolderError: the location is full, not writable, or cannot be reached.
        """

    def is_unchanged(self, name: str, sha256: str, size: int | None) -> bool:
        """Return whether a file exists and is unchanged since it was stored."""

    def exists(self, name: str) -> bool:
        """Return whether a file, folder or link of this name exists."""

    def refresh(self) -> None:
        """Forget a cached listing."""


class LocalStorage:
    """A folder of this machine; files are compared by their hash."""

    def __init__(self, folder: Path):
        self._folder = folder

    def write(self, name: str, write_file: Callable[[Path], int]) -> StoredFile:
        """See `ClipStorage`."""
        return _write_and_hash(prepare_output_path(self._folder, name), write_file)

    def is_unchanged(self, name: str, sha256: str, size: int | None) -> bool:
        """See `ClipStorage`."""
        try:
            return hash_file(self._folder / name) == sha256
        except OSError:
            return False

    def exists(self, name: str) -> bool:
        """See `ClipStorage`."""
        path = self._folder / name
        return path.exists() or path.is_symlink()

    def refresh(self) -> None:
        """Do nothing, because nothing is cached."""


class RemoteStorage:
    """A location that fsspec supports; files are compared by name and size in a cached listing.

    Args:
        url: such as s3://bucket/clips.
    Raises:
        ConditionError: the protocol of the URL is unknown.
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
        protocol = url.partition("://")[0]
        try:
            self._files, root = url_to_fs(url)
        except ImportError as error:
            raise ConfigError(
                f"{url} needs a package that is missing ({_short_reason(error)}); install it"
            ) from None
        except ValueError as error:
            raise ConditionError(
                f"{_printable(url)} is not a location for clips ({_short_reason(error)}); expected "
                "a folder, or a URL such as s3://bucket/clips"
            ) from None
        self._root = root.rstrip("/")
        self._is_object_store = protocol in OBJECT_STORES

    def write(self, name: str, write_file: Callable[[Path], int]) -> StoredFile:
        """See `ClipStorage`."""
        with tempfile.TemporaryDirectory(prefix="wavenet-") as folder:
            path = Path(folder) / f"clip{Path(name).suffix}"
            stored = _write_and_hash(path, write_file)
            self.upload(path, name)
        return stored

    def is_unchanged(self, name: str, sha256: str, size: int | None) -> bool:
        """See `ClipStorage`; compares only the size, because a hash needs a download."""
        found = self._sizes.get(name)
        return found is not None and size in (None, found)

    def exists(self, name: str) -> bool:
        """See `ClipStorage`."""
        return name in self._sizes

    def refresh(self) -> None:
        """See `ClipStorage`; the next query reads the listing again."""
        self.__dict__.pop("_sizes", None)

    def upload(self, path: Path, name: str) -> None:
        """Copy a local file, completely or not at all.

        Raises:
            FolderError: all attempts to write it failed.
        """
        for pause in (*RETRY_PAUSES, None):
            try:
                with self._storage_errors("written"):
                    return self._upload_once(path, f"{self._root}/{name}")
            except FolderError:
                if pause is None:
                    raise
                time.sleep(pause)

    def remove_partial_files(self) -> None:
        """Remove incomplete files of killed processes; object stores have none."""
        if self._is_object_store:
            return
        for name in self._list_sizes():
            if PARTIAL_FILE.fullmatch(name.rpartition("/")[2]):
                with self._storage_errors("cleaned"):
                    self._files.rm_file(f"{self._root}/{name}")

    def _upload_once(self, path: Path, target: str) -> None:
        if self._is_object_store:
            self._files.put_file(str(path), target)
            return
        folder = target.rpartition("/")[0]
        self._files.makedirs(folder, exist_ok=True)
        temporary = f"{folder}/{TEMPORARY_PREFIX}{secrets.token_hex(6)}{path.suffix}"
        self._files.put_file(str(path), temporary)
        self._files.mv(temporary, target)

    @cached_property
    def _sizes(self) -> dict[str, int]:
        return self._list_sizes()

    def _list_sizes(self) -> dict[str, int]:
        """Return the sizes of all files in bytes, by relative name."""
        with self._storage_errors("read"):
            try:
                found: dict[str, Any] = self._files.find(self._root, detail=True)
            except FileNotFoundError:
                return {}
        start = len(self._root) + 1
        return {path[start:]: int(entry["size"] or 0) for path, entry in found.items()}

    @contextmanager
    def _storage_errors(self, action: str) -> Iterator[None]:
        """Convert all exceptions to FolderError, because a file system may raise any exception."""
        try:
            yield
        except Exception as error:
            raise FolderError(
                f"{self._url} cannot be {action}: {_short_reason(error)}; check the address, the "
                "credentials and the network"
            ) from None


@lru_cache(maxsize=8)
def open_remote_storage(url: str) -> RemoteStorage:
    """Return the storage at a URL; cached.

    Raises:
        ConditionError, ConfigError: as `RemoteStorage`.
    """
    return RemoteStorage(url)


def _write_and_hash(path: Path, write_file: Callable[[Path], int]) -> StoredFile:
    clipped_samples = write_file(path)
    return StoredFile(clipped_samples, hash_file(path), path.stat().st_size)


def _short_reason(error: Exception) -> str:
    text = " ".join(_printable(str(error)).split()) or type(error).__name__
    return text[:MAX_REASON_LENGTH].rstrip(".")


def _printable(text: str) -> str:
    return "".join(c if c.isprintable() else " " for c in text)
