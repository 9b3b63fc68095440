"""Pack a checkpoint into one zip file, and unpack it.

Input of `unpack`: a zip file from any source. Output: a checkpoint folder. `pack` is the reverse.
No name in an archive is used as a path, and the number of unpacked bytes is limited to the maximum
size of a checkpoint. Called by the studio, and by `speech.voice_archive` for a folder that contains
another one.
"""

import lzma
import re
import stat
import zipfile
import zlib
from collections.abc import Callable, Collection, Mapping
from pathlib import Path

from audio_utils.atomic_files import atomic_file, os_error_reason
from wavenet.checkpoint import CONFIG, CheckpointConfig, load
from wavenet.config import ConfigT, parse_config
from wavenet.errors import CheckpointError, ConditionError, ConfigError
from wavenet.sharing.install import MAX_BYTES, REQUIRED, check_name_is_free, staging_folder
from wavenet.weights_file import WEIGHTS

MAX_ENTRIES = 64
# Largest weights in an archive; larger checkpoints are shared on the Hub.
MAX_WEIGHTS_BYTES = 64 << 20
# macOS adds these files to every archive.
IGNORED = re.compile(r"__MACOSX/.*|(.*/)?\.DS_Store")
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
    contents = read_files(path, MAX_BYTES)
    return install_files(path.name, contents, root, check_config(path.name, contents[CONFIG]))


def read_files(path: Path, limits: Mapping[str, int]) -> dict[str, bytes]:
    """Return the files of an archive by name, without the folder that may contain them all.

    Args:
        path: of the zip file; error messages contain only its name.
        limits: the largest size of each file that the archive may contain, by name, such as
            `config.json`.
    Raises:
        CheckpointError: the file is no zip file, or it contains other files, or too large ones, or
            it lacks the config or the weights.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            entries = _find_entries(path.name, archive.infolist(), limits)
            return {
                name: _read(path.name, archive, info, name, limits[name])
                for name, info in entries.items()
            }
    except DAMAGE_ERRORS as error:
        raise CheckpointError(f"{path.name} is damaged or not a zip file: {error}") from None
    except OSError as error:
        raise CheckpointError(f"{path.name} cannot be read: {os_error_reason(error)}") from None


def install_files(
    origin: str,
    contents: Mapping[str, bytes],
    root: Path,
    name: str,
    load_model: Callable[[Path], object] = load,
) -> Path:
    """Write files into a new folder, and return it once it has been loaded as a model.

    Args:
        origin: name of the archive in error messages.
        contents: of `read_files`.
        root: parent of the new folder.
        name: of the new folder, from a checked config.
        load_model: as in `staging_folder`.
    Raises:
        CheckpointError: the files are not those of a model.
        ConditionError: a checkpoint of this name exists, or the folder cannot be written.
    """
    target = root / name
    check_name_is_free(root, target.name)
    with staging_folder(target, origin, load_model=load_model) as folder:
        try:
            for file_name, content in contents.items():
                (folder / file_name).parent.mkdir(exist_ok=True)
                (folder / file_name).write_bytes(content)
        except OSError as error:
            raise ConditionError(f"cannot write {target.name}: {os_error_reason(error)}") from None
    return target


def pack(folder: Path, path: Path, names: Collection[str] = MAX_BYTES) -> None:
    """Write the files of a checkpoint, and no others, to a zip file for `unpack`.

    Args:
        folder: of the checkpoint.
        path: of the zip file.
        names: of the files; those that do not exist are left out.
    Raises:
        CheckpointError: the folder cannot be read, or the archive cannot be written.
    """
    try:
        with atomic_file(path) as temporary, zipfile.ZipFile(temporary, "w") as archive:
            for name in names:
                if (folder / name).is_file():
                    # Only text compresses well.
                    is_weights = name.endswith(WEIGHTS)
                    method = zipfile.ZIP_STORED if is_weights else zipfile.ZIP_DEFLATED
                    archive.write(folder / name, f"{folder.name}/{name}", method)
    except OSError as error:
        raise CheckpointError(f"cannot pack {folder.name}: {os_error_reason(error)}") from None


def check_config(origin: str, text: bytes, name: str = CONFIG) -> str:
    """Return the name in the config of a checkpoint; refuse a model that is too large to unpack.

    Args:
        origin: name of the archive in error messages.
        text: the config; no model is built from it.
        name: of its file.
    """
    config = read_config(origin, CheckpointConfig, text, name)
    check_parameters(origin, config.model.approximate_parameters)
    return config.name


def read_config(origin: str, kind: type[ConfigT], text: bytes, name: str = CONFIG) -> ConfigT:
    """Return a config of an archive.

    Raises:
        CheckpointError: it is invalid.
    """
    try:
        return parse_config(kind, text, f"{origin}: {name}")
    except ConfigError as error:
        raise CheckpointError(str(error)) from None
    except RecursionError:
        raise CheckpointError(f"{origin}: {name} is nested too deeply") from None


def check_parameters(origin: str, count: int) -> None:
    """Raise `CheckpointError` if the weights of so many parameters are too large to unpack."""
    if count * 4 > MAX_WEIGHTS_BYTES:
        raise CheckpointError(
            f"{origin}: about {count:,} parameters; the limit of an archive is "
            f"{MAX_WEIGHTS_BYTES // 4:,}"
        )


def _find_entries(
    origin: str, infos: list[zipfile.ZipInfo], names: Collection[str]
) -> dict[str, zipfile.ZipInfo]:
    """Return the files of a checkpoint, at the top level or in one folder; refuse all others."""
    if len(infos) > MAX_ENTRIES:
        raise CheckpointError(f"{origin} contains {len(infos):,} files; expected a checkpoint")
    infos = [i for i in infos if not (i.is_dir() or IGNORED.fullmatch(i.filename))]
    tops = {info.filename.partition("/")[0] for info in infos}
    # of a single file at the top level, the name has no folder
    has_folder = len(tops) == 1 and all("/" in info.filename for info in infos)
    entries: dict[str, zipfile.ZipInfo] = {}
    for info in infos:
        name = info.filename.partition("/")[2] if has_folder else info.filename
        kind = stat.S_IFMT(info.external_attr >> 16)
        if (
            info.filename.startswith(("/", "../"))
            or kind not in (0, stat.S_IFREG)
            or name not in names
            or name in entries
        ):
            raise CheckpointError(
                f"{origin} contains {info.filename[:80]!r}; expected only {', '.join(names)}, "
                "each once, at the top level or in one folder"
            )
        entries[name] = info
    for name in REQUIRED:
        if name not in entries:
            raise CheckpointError(f"{origin} has no {name}; expected a complete checkpoint")
    return entries


def _read(
    origin: str, archive: zipfile.ZipFile, info: zipfile.ZipInfo, name: str, limit: int
) -> bytes:
    limit = min(limit, MAX_WEIGHTS_BYTES)
    with archive.open(info) as file:
        content = file.read(limit + 1)
    if len(content) > limit:
        raise CheckpointError(f"{origin}: {name} has more than {limit:,} bytes, the limit")
    return content
