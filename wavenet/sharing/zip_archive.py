"""Pack a checkpoint into one zip file, and unpack it.

Input of `unpack`: a zip file from any source. Output: a checkpoint folder. `pack` is the reverse.
No name in an archive is used as a path, and the number of unpacked bytes is limited to the maximum
size of a checkpoint. Called by the studio.
"""

import lzma
import re
import stat
import zipfile
import zlib
from pathlib import Path

from audio_utils.atomic_files import atomic_file, os_error_reason
from wavenet.checkpoint import CONFIG, CheckpointConfig
from wavenet.config import parse_config
from wavenet.errors import CheckpointError, ConditionError, ConfigError
from wavenet.sharing.install import MAX_BYTES, REQUIRED, check_name_is_free, staging_folder
from wavenet.weights_file import WEIGHTS

MAX_ENTRIES = 64
# Largest weights in an archive; larger checkpoints are shared on the Hub.
MAX_WEIGHTS_BYTES = 64 << 20
# macOS adds these files to every archive.
IGNORED = re.compile(r"__MACOSX/.*|([^/]*/)?\.DS_Store")
DAMAGE_ERRORS = (
    zipfile.BadZipFile,
    zlib.error,
    lzma.LZMAError,
    EOFError,
    NotImplementedError,
    RuntimeError,
    ValueError,
)


def unpack(path: Path, root: Path) -> Path:
    """Unpack an archive into a new checkpoint folder.

    Args:
        path: of the zip file; error messages contain only its name.
        root: parent of the new checkpoint folder, whose name is that in the config.
    Returns:
        The new folder.
    Raises:
        CheckpointError: the file is not an archive of a checkpoint, or it is too large.
        ConditionError: a checkpoint of this name exists, or the folder cannot be written.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            entries = _find_entries(path.name, archive.infolist())
            contents = {name: _read(path.name, archive, entries[name]) for name in entries}
    except DAMAGE_ERRORS as error:
        raise CheckpointError(f"{path.name} is damaged or not a zip file: {error}") from None
    except OSError as error:
        raise CheckpointError(f"{path.name} cannot be read: {os_error_reason(error)}") from None
    target = root / _checked_name(path.name, contents[CONFIG])
    check_name_is_free(root, target.name)
    with staging_folder(target, path.name) as folder:
        try:
            for name, content in contents.items():
                (folder / name).write_bytes(content)
        except OSError as error:
            raise ConditionError(f"cannot write {target.name}: {os_error_reason(error)}") from None
    return target


def pack(folder: Path, path: Path) -> None:
    """Write the files of a checkpoint, and no others, to a zip file for `unpack`.

    Raises:
        CheckpointError: the folder cannot be read, or the archive cannot be written.
    """
    try:
        with atomic_file(path) as temporary, zipfile.ZipFile(temporary, "w") as archive:
            for name in MAX_BYTES:
                if (folder / name).is_file():
                    # Only text compresses well.
                    method = zipfile.ZIP_STORED if name == WEIGHTS else zipfile.ZIP_DEFLATED
                    archive.write(folder / name, f"{folder.name}/{name}", method)
    except OSError as error:
        raise CheckpointError(f"cannot pack {folder.name}: {os_error_reason(error)}") from None


def _find_entries(origin: str, infos: list[zipfile.ZipInfo]) -> dict[str, zipfile.ZipInfo]:
    """Return the files of a checkpoint, at the top level or in one folder; refuse all others."""
    if len(infos) > MAX_ENTRIES:
        raise CheckpointError(f"{origin} contains {len(infos):,} files; expected a checkpoint")
    entries: dict[str, zipfile.ZipInfo] = {}
    folders = set()
    for info in infos:
        if info.is_dir() or IGNORED.fullmatch(info.filename):
            continue
        folder, _, name = info.filename.rpartition("/")
        folders.add(folder)
        kind = stat.S_IFMT(info.external_attr >> 16)
        is_misplaced = "/" in folder or info.filename.startswith(("/", "../")) or len(folders) > 1
        if (
            is_misplaced
            or kind not in (0, stat.S_IFREG)
            or name not in MAX_BYTES
            or name in entries
        ):
            raise CheckpointError(
                f"{origin} contains {info.filename[:80]!r}; expected only {', '.join(MAX_BYTES)}, "
                "each once, at the top level or in one folder"
            )
        entries[name] = info
    for name in REQUIRED:
        if name not in entries:
            raise CheckpointError(f"{origin} has no {name}; expected a complete checkpoint")
    return entries


def _read(origin: str, archive: zipfile.ZipFile, info: zipfile.ZipInfo) -> bytes:
    name = info.filename.rpartition("/")[2]
    limit = min(MAX_BYTES[name], MAX_WEIGHTS_BYTES)
    with archive.open(info) as file:
        content = file.read(limit + 1)
    if len(content) > limit:
        raise CheckpointError(f"{origin}: {name} has more than {limit:,} bytes, the limit")
    return content


def _checked_name(origin: str, text: bytes) -> str:
    """Return the name in a config; refuse a model that is too large before it is built."""
    try:
        config = parse_config(CheckpointConfig, text, f"{origin}: {CONFIG}")
    except ConfigError as error:
        raise CheckpointError(str(error)) from None
    except RecursionError:
        raise CheckpointError(f"{origin}: {CONFIG} is nested too deeply") from None
    if (count := config.model.approximate_parameters) * 4 > MAX_WEIGHTS_BYTES:
        raise CheckpointError(
            f"{origin}: about {count:,} parameters; the limit of an archive is "
            f"{MAX_WEIGHTS_BYTES // 4:,}"
        )
    return config.name
