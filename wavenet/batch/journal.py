"""The journal of a batch: `results.jsonl`, one record per line, append-only.

Input: records. Output: the finished clips. A clip is finished if the journal has its record, its
file exists unchanged, and everything that determines the clip is the same. An incomplete last
line, after a crash, is removed. Called by `run`.
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
from wavenet.batch.manifest import WHOLE_MANIFEST, ManifestShard
from wavenet.errors import FolderError

SYNC_SECONDS = 1.0


class Journal:
    """An append-only file of records, and the clips that it lists as finished.

    Args:
        folder: the output folder, locked by this process.
        shard: of the manifest; each has its own journal.
    Raises:
        FolderError: the journal cannot be read or written.
    """

    def __init__(self, folder: Path, shard: ManifestShard = WHOLE_MANIFEST):
        self.path = folder / journal_name(shard)
        # by digest of the id: params hash, file hash and size; compact, as there may be a million
        self._finished: dict[bytes, bytes] = {}
        self._scored: set[bytes] = set()  # digests of the ids of finished clips with a score
        self._files: set[bytes] = set()  # digests of the names of all output files
        # digests of the lines of failed clips and invalid rows, by digest of the id or of the line
        self._failed: dict[bytes, bytes] = {}
        self._synced_at = 0.0
        if self.path.is_symlink():
            raise FolderError(f"{self.path} is a link; remove it or choose another folder")
        try:
            # unbuffered: closing must not repeat a failed write
            self._file = self.path.open("a+b", buffering=0)
            self._end = self._read()
        except OSError as error:
            raise FolderError(f"{self.path} cannot be written: {os_error_reason(error)}") from None

    def __enter__(self) -> Self:
        """Return the journal."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Close the file."""
        self._file.close()

    def find_finished(self, identity: str, params_hash: str) -> tuple[str, int | None] | None:
        """Return the SHA-256 and the size of a clip's file.

        None if there is no finished record of the clip with this hash.

        The size is None in records of an earlier version.
        """
        entry = self._finished.get(_id_digest(identity), b"")
        if entry[:32] != bytes.fromhex(params_hash):
            return None
        return entry[32:64].hex(), int.from_bytes(entry[64:]) if entry[64:] else None

    def has_score(self, identity: str) -> bool:
        """Return whether the record of a finished clip has bits per sample."""
        return _id_digest(identity) in self._scored

    def has_file(self, name: str) -> bool:
        """Return whether a record describes an output file of this name."""
        return _id_digest(name) in self._files

    def append(self, record: Mapping[str, Any]) -> None:
        """Append a record, except a failure that the last record of its id describes equally.

        An invalid row may have no id (None): its record is compared with all of these.

        Raises:
            FolderError: the disk is full, or the file was removed.
        """
        # a lone surrogate, which JSON may contain, is written as its JSON escape
        text = json.dumps(record, ensure_ascii=False).encode("utf-8", "backslashreplace")
        if self._has_failure(record, text):
            return
        try:
            self._write(text + b"\n")
            if time.monotonic() - self._synced_at > SYNC_SECONDS:
                os.fsync(self._file.fileno())
                self._synced_at = time.monotonic()
        except OSError as error:
            raise FolderError(f"{self.path} cannot be written: {os_error_reason(error)}") from None

    def _has_failure(self, record: Mapping[str, Any], line: bytes) -> bool:
        """Return whether the journal has this record of a failure; note it as the last one.

        Args:
            line: the record as it is written.
        """
        identity, digest = record["id"], _digest(line)
        key = digest if identity is None else _id_digest(identity)
        previous = self._failed.pop(key, None)
        if record["status"] == "done":
            return False
        self._failed[key] = digest
        return previous == digest

    def _write(self, line: bytes) -> None:
        """Write a complete line, or nothing."""
        if not os.fstat(self._file.fileno()).st_nlink:
            raise OSError("the file was removed during the batch; run the same command again")
        try:
            if self._file.write(line) != len(line):
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        except OSError:
            self._file.truncate(self._end)
            raise
        self._end += len(line)

    def _read(self) -> int:
        """Read all complete lines, remove an incomplete one, and return the length in bytes."""
        length = 0
        with self.path.open("rb") as file:
            for line in file:
                if not line.endswith(b"\n"):
                    break
                length += len(line)
                self._add_line(line)
        self._file.truncate(length)
        return length

    def _add_line(self, line: bytes) -> None:
        try:
            record = json.loads(line)
            self._has_failure(record, line[:-1])
            if record["id"] is None:
                return
            key = _id_digest(record["id"])
            self._scored.discard(key)
            if record["status"] == "done":
                self._files.add(_id_digest(str(record.get("file"))))
                hashes = bytes.fromhex(record["params_hash"] + record["sha256"])
                size = record.get("bytes")
                self._finished[key] = hashes + (b"" if size is None else size.to_bytes(8))
                if record.get("bits_per_sample") is not None:
                    self._scored.add(key)
            else:
                self._finished.pop(key, None)
        except (ValueError, KeyError, TypeError, AttributeError, RecursionError, OverflowError):
            return  # a line of another program: it is kept and not used


def journal_name(shard: ManifestShard) -> str:
    """Return the file name of the journal of a shard."""
    if shard == WHOLE_MANIFEST:
        return "results.jsonl"
    return f"results-{shard.number}-of-{shard.count}.jsonl"


def hash_file(path: Path) -> str:
    """Return the SHA-256 of a file.

    Raises:
        OSError: the file cannot be read.
    """
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _id_digest(identity: str) -> bytes:
    return _digest(identity.encode("utf-8", "surrogatepass"))


def _digest(content: bytes) -> bytes:
    return hashlib.blake2b(content, digest_size=12).digest()
