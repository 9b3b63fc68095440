"""Names of files in the output folder: safe on every system, and never outside it.

What a manifest says enters; a relative path leaves, or a sentence.
"""

import hashlib
import os
import re
import stat
import string
import unicodedata
from collections.abc import Mapping
from pathlib import Path

from audio_utils.atomic_files import os_error_reason
from wavenet.errors import ConditionError, FolderError

MAX_BYTES = 240  # of one part of a path, a few are kept for the suffix
MAX_PATH_BYTES = 1024  # of the whole; systems take 4096 with the folders above
_RESERVED = {"con", "prn", "aux", "nul", *(f"{p}{n}" for p in ("com", "lpt") for n in range(1, 10))}
_FORBIDDEN = re.compile(r'[\x00-\x1f\x7f<>:"|?*\\]')


def check_output(text: str) -> str:
    """Take a relative path as it is, if it is safe.

    Raises:
        ConditionError: it leaves the folder, or some system could not keep it.
    """
    for part in text.split("/"):
        if why := _fault(part):
            raise ConditionError(
                f"the output {text[:200]!r} cannot be used: {why}; give a plain relative name"
            )
    if len(text.encode()) > MAX_PATH_BYTES:
        raise ConditionError(
            f"the output {text[:200]!r} is longer than {MAX_PATH_BYTES} bytes; give a shorter name"
        )
    return text


def fill_template(template: str, fields: Mapping[str, str]) -> str:
    """Put fields into a name such as "{id}_{seed}.{ext}"; what is unsafe in them is replaced.

    Two ids that differ only in what was replaced get different names: a few digits of their hash.

    Raises:
        ConditionError: an unknown field, or a name that cannot be used even so.
    """
    parts = []
    for literal, name, spec, conversion in _parse(template):
        parts.append(literal)
        if name is None:
            continue
        if name not in fields or spec or conversion:
            raise ConditionError(
                f"the name template {template!r} may hold {_braced(fields)}, found {{{name}}}"
            )
        parts.append(slug(fields[name]))
    return check_output("".join(parts))


def slug(text: str) -> str:
    """Keep letters and digits of any script, and - _ . ; what else there was shows in a hash."""
    kept = "".join(c if c.isalnum() or c in "-_." else "-" for c in text)
    kept = kept.encode()[:100].decode(errors="ignore")
    if kept == text and not _fault(kept):
        return kept
    digest = hashlib.blake2b(text.encode("utf-8", "surrogatepass"), digest_size=4).hexdigest()
    return f"{kept.replace('.', '-').strip('-') or 'clip'}-{digest}"


def twin_key(name: str) -> bytes:
    """Give what two names share that some system takes for one: case, composed letters."""
    plain = unicodedata.normalize("NFC", unicodedata.normalize("NFC", name).casefold())
    return hashlib.blake2b(plain.encode("utf-8", "surrogatepass"), digest_size=12).digest()


def place(folder: Path, name: str) -> Path:
    """Give the path of a file in the folder, whose subfolders are made.

    Raises:
        ConditionError: there is a link, or something else, where a folder or the file belongs.
        FolderError: a folder cannot be made.
    """
    path = folder
    *above, last = name.split("/")
    for part in above:
        path /= part
        try:
            # one by one, and none through a link: nothing is made outside
            if not stat.S_ISDIR(os.lstat(path).st_mode):
                raise ConditionError(f"{path} is no folder but a file or a link; remove it")
        except FileNotFoundError:
            _make_folder(path)
        except OSError as error:
            raise FolderError(
                f"the folder {path} cannot be used: {os_error_reason(error)}"
            ) from None
    path /= last
    if os.path.islink(path) or (os.path.exists(path) and not os.path.isfile(path)):
        raise ConditionError(f"{path} is a link or a folder, no file; remove it")
    return path


def _make_folder(path: Path) -> None:
    try:
        path.mkdir(exist_ok=True)  # another writer may just have made it
    except OSError as error:
        raise FolderError(f"the folder {path} cannot be made: {os_error_reason(error)}") from None


def _fault(part: str) -> str | None:
    if part in ("", ".", ".."):
        return "a part of it is empty or dots"
    if found := _FORBIDDEN.search(part):
        return f"it holds {found[0]!r}"
    if part[-1] in ". " or part[0] in " -~":
        return "a part of it begins with a space, - or ~, or ends with a dot or a space"
    if part.split(".")[0].casefold() in _RESERVED:
        return f"{part} is a device on some systems"
    if part.startswith("."):
        return "a part of it begins with a dot"
    try:
        size = len(part.encode())
    except UnicodeEncodeError:
        return "it is no valid text"
    return f"a part of it is longer than {MAX_BYTES} bytes" if size > MAX_BYTES else None


def _parse(template: str) -> list[tuple[str, str | None, str | None, str | None]]:
    try:
        return list(string.Formatter().parse(template))
    except ValueError as error:
        raise ConditionError(f"the name template {template!r} cannot be read: {error}") from None


def _braced(fields: Mapping[str, str]) -> str:
    return ", ".join(f"{{{name}}}" for name in fields)
