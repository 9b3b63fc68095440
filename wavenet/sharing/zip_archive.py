"""A checkpoint as one zip file, for people without a command line.

A path of a zip from anywhere enters, a checkpoint folder leaves; and back. No name in an archive
is ever used as a path, and no more is unpacked than a checkpoint may have. Caller: the studio.
"""

import re
import stat
import zipfile
import zlib
from pathlib import Path

from audio_utils.files import atomic_file, reason
from wavenet.checkpoint import CONFIG, WEIGHTS
from wavenet.config import CheckpointConfig
from wavenet.errors import CheckpointError, ConditionError, ConfigError
from wavenet.parsing import parse
from wavenet.sharing.install import MAX_BYTES, REQUIRED, check_new, staged

MAX_ENTRIES = 64
# Of the weights in an archive: float32 hardly shrinks, so that a small zip never needs more.
MAX_WEIGHTS_BYTES = 64 << 20
# Macs put these beside what a person compresses.
IGNORED = re.compile(r"__MACOSX/.*|([^/]*/)?\.DS_Store")
DAMAGES = (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, RuntimeError, ValueError)


def unpack(path: Path, root: Path) -> Path:
    """Make a checkpoint folder from an archive.

    Args:
        path: of the zip; messages call it by its name.
        root: folder of checkpoint folders; the config names the new one.
    Returns:
        the new folder.
    Raises:
        CheckpointError: it is no archive of a checkpoint, or too large.
        ConditionError: there is a checkpoint of that name, or no room.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            entries = _entries(path.name, archive.infolist())
            contents = {name: _read(path.name, archive, entries[name]) for name in entries}
    except DAMAGES as error:
        raise CheckpointError(f"{path.name} is damaged, or no zip file: {error}") from None
    except OSError as error:
        raise CheckpointError(f"{path.name} cannot be read: {reason(error)}") from None
    target = root / _name(path.name, contents[CONFIG])
    check_new(root, target.name)
    with staged(target, path.name) as folder:
        try:
            for name, content in contents.items():
                (folder / name).write_bytes(content)
        except OSError as error:
            raise ConditionError(f"{target.name} cannot be written: {reason(error)}") from None
    return target


def pack(folder: Path, path: Path) -> None:
    """Write the files of a checkpoint, and no others, to a zip that `unpack` reads.

    Raises:
        CheckpointError: the folder cannot be read or the archive not be written.
    """
    try:
        with atomic_file(path) as temporary, zipfile.ZipFile(temporary, "w") as archive:
            for name in MAX_BYTES:
                if (folder / name).is_file():
                    # Only text shrinks.
                    how = zipfile.ZIP_STORED if name == WEIGHTS else zipfile.ZIP_DEFLATED
                    archive.write(folder / name, f"{folder.name}/{name}", how)
    except OSError as error:
        raise CheckpointError(f"{folder.name} cannot be packed: {reason(error)}") from None


def _entries(origin: str, infos: list[zipfile.ZipInfo]) -> dict[str, zipfile.ZipInfo]:
    """Find the files of a checkpoint, at the top or all in one folder, and refuse all others."""
    if len(infos) > MAX_ENTRIES:
        raise CheckpointError(f"{origin} holds {len(infos):,} files; expected a checkpoint")
    found: dict[str, zipfile.ZipInfo] = {}
    folders = set()
    for info in infos:
        if info.is_dir() or IGNORED.fullmatch(info.filename):
            continue
        folder, _, name = info.filename.rpartition("/")
        folders.add(folder)
        kind = stat.S_IFMT(info.external_attr >> 16)
        is_apart = "/" in folder or info.filename.startswith(("/", "../")) or len(folders) > 1
        if is_apart or kind not in (0, stat.S_IFREG) or name not in MAX_BYTES or name in found:
            raise CheckpointError(
                f"{origin} holds {info.filename[:80]!r}; expected nothing but "
                f"{', '.join(MAX_BYTES)}, each once, at the top or in one folder"
            )
        found[name] = info
    for name in REQUIRED:
        if name not in found:
            raise CheckpointError(f"{origin} has no {name}; it holds no complete checkpoint")
    return found


def _read(origin: str, archive: zipfile.ZipFile, info: zipfile.ZipInfo) -> bytes:
    name = info.filename.rpartition("/")[2]
    limit = min(MAX_BYTES[name], MAX_WEIGHTS_BYTES)
    with archive.open(info) as file:
        content = file.read(limit + 1)
    if len(content) > limit:
        raise CheckpointError(f"{origin}: {name} has more than {limit:,} bytes, the limit")
    return content


def _name(origin: str, text: bytes) -> str:
    """Give the name in a config; a network that is too large is refused before it is built."""
    try:
        config = parse(CheckpointConfig, text, f"{origin}: {CONFIG}")
    except ConfigError as error:
        raise CheckpointError(str(error)) from None
    except RecursionError:
        raise CheckpointError(f"{origin}: {CONFIG} is nested too deeply") from None
    if (count := config.model.approximate_parameters) * 4 > MAX_WEIGHTS_BYTES:
        raise CheckpointError(
            f"{origin}: about {count:,} parameters; an archive may have {MAX_WEIGHTS_BYTES // 4:,}"
        )
    return config.name
