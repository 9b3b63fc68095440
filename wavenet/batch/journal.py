"""The journal of a batch: `results.jsonl`, a line for each item that ended, only appended to.

Records enter; what is done leaves. An item is done when the journal says so, its file is there as
it was kept, and what determines it is the same. A line that was torn by a crash is cut off.
"""

import errno
import hashlib
import json
import os
import time
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from audio_utils.atomic_files import os_error_reason
from wavenet.errors import FolderError

SYNC_SECONDS = 1.0


class Journal:
    """See the module.

    Args:
        folder: the output folder, held by this process.
        shard: (k, n), the k-th of n parts, each of which has a journal of its own.
    Raises:
        FolderError: it cannot be read or written.
    """

    def __init__(self, folder: Path, shard: tuple[int, int] = (1, 1)):
        self.path = folder / journal_name(shard)
        self._done: dict[bytes, bytes] = {}  # small: there may be a million
        self._nameless: set[bytes] = set()
        self._synced = 0.0
        if self.path.is_symlink():
            raise FolderError(f"{self.path} is a link; remove it or choose another folder")
        try:
            # not buffered: what could not be written must not be tried again on closing
            self._file = self.path.open("a+b", buffering=0)
            self._end = self._read()
        except OSError as error:
            raise FolderError(f"{self.path} cannot be written: {os_error_reason(error)}") from None

    def __enter__(self) -> Self:
        """Give itself."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Close the file."""
        self._file.close()

    def recall(self, identity: str, params_hash: str) -> tuple[str, int | None] | None:
        """Give the hash and the size of what was made of an item; None where it would differ now.

        The size is None where an earlier version did not note it.
        """
        found = self._done.get(_key(identity), b"")
        if found[:32] != bytes.fromhex(params_hash):
            return None
        return found[32:64].hex(), int.from_bytes(found[64:]) if found[64:] else None

    def append(self, record: Mapping[str, Any]) -> None:
        """Write a line; that of a row which cannot be used, only once.

        Raises:
            FolderError: the disk is full, or the file is gone.
        """
        # half a character, which JSON can hold, becomes the escape that JSON has for it
        text = json.dumps(record, ensure_ascii=False).encode("utf-8", "backslashreplace")
        if record["id"] is None:
            if _digest(text) in self._nameless:
                return
            self._nameless.add(_digest(text))
        try:
            self._write(text + b"\n")
            if time.monotonic() - self._synced > SYNC_SECONDS:
                os.fsync(self._file.fileno())
                self._synced = time.monotonic()
        except OSError as error:
            raise FolderError(f"{self.path} cannot be written: {os_error_reason(error)}") from None

    def _write(self, line: bytes) -> None:
        """Write a line whole or not at all."""
        if not os.fstat(self._file.fileno()).st_nlink:
            raise OSError("it was removed while clips were made; run the same command again")
        try:
            if self._file.write(line) != len(line):
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        except OSError:
            self._file.truncate(self._end)
            raise
        self._end += len(line)

    def _read(self) -> int:
        whole = 0
        with self.path.open("rb") as file:
            for line in file:
                if not line.endswith(b"\n"):
                    break
                whole += len(line)
                self._note(line)
        self._file.truncate(whole)
        return whole

    def _note(self, line: bytes) -> None:
        try:
            record = json.loads(line)
            if record["id"] is None:
                self._nameless.add(_digest(line[:-1]))
                return
            key = _key(record["id"])
            if record["status"] == "done":
                hashes = bytes.fromhex(record["params_hash"] + record["sha256"])
                size = record.get("bytes")
                self._done[key] = hashes + (b"" if size is None else size.to_bytes(8))
            else:
                self._done.pop(key, None)
        except (ValueError, KeyError, TypeError, AttributeError, RecursionError, OverflowError):
            return  # not one of ours; it stays, and nothing is taken from it


def journal_name(shard: tuple[int, int]) -> str:
    """Name the journal of a part; of the only one it is results.jsonl."""
    part, parts = shard
    return "results.jsonl" if parts == 1 else f"results-{part}-of-{parts}.jsonl"


def hash_file(path: Path) -> str:
    """Give the SHA-256 of a file.

    Raises:
        OSError: it cannot be read.
    """
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _key(identity: str) -> bytes:
    return _digest(identity.encode("utf-8", "surrogatepass"))


def _digest(content: bytes) -> bytes:
    return hashlib.blake2b(content, digest_size=12).digest()
