"""Names of output files: valid on every operating system, and always inside the output folder.

Input: names and ids of a manifest. Output: a relative path, or an error of one sentence. Called by
`tasks`, `manifest_check` and `clip_storage`.
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
from audio_utils.file_names import MAX_NAME_BYTES, name_size, shorten_name
from wavenet.errors import ConditionError, FolderError
from wavenet.user_input.close_names import find_equal_name

MAX_FILLED_BYTES = MAX_NAME_BYTES - 5  # of a part from a template; leaves room for the suffix
MAX_PATH_BYTES = 1024  # of the relative path; systems allow 4096 together with the folders above
MAX_SLUG_BYTES = 100
_RESERVED = {"con", "prn", "aux", "nul", *(f"{p}{n}" for p in ("com", "lpt") for n in range(1, 10))}
_FORBIDDEN = re.compile(r'[\x00-\x1f\x7f<>:"|?*\\]')


def check_output_name(text: str) -> str:
    """Return a relative path unchanged if it is safe.

    Raises:
        ConditionError: the path leaves the folder, or some operating system does not allow it.
    """
    for part in text.split("/"):
        if problem := _part_problem(part):
            raise ConditionError(
                f"the output {text[:200]!r} cannot be used: {problem}; use a plain relative name"
            )
    if len(text.encode()) > MAX_PATH_BYTES:
        raise ConditionError(
            f"the output {text[:200]!r} is longer than {MAX_PATH_BYTES} bytes; use a shorter name"
        )
    return text


def fill_template(template: str, fields: Mapping[str, str]) -> str:
    """Insert fields into a template such as "{id}_{seed}.{ext}"; each is made safe by `slug`.

    A part of the path that is too long is shortened, and a hash is appended.

    Raises:
        ConditionError: an unknown field, one with a conversion or a format, or a result that is
            not a safe name.
    """
    parts = []
    for literal, name, spec, conversion in _parse_template(template, fields):
        parts.append(literal)
        if name is None:
            continue
        field = find_equal_name(name, fields)
        if field is None or spec or conversion:
            raise ConditionError(_template_message(template, fields))
        parts.append(slug(fields[field]))
    names = (shorten_name(part, MAX_FILLED_BYTES) for part in "".join(parts).split("/"))
    return check_output_name("/".join(names))


def slug(text: str) -> str:
    """Replace all characters except letters and digits of any script, "-", "_" and ".".

    If anything was replaced, a hash of the text is appended, so that different texts have different
    names.
    """
    name = "".join(c if c.isalnum() or c in "-_." else "-" for c in text)
    name = name.encode()[:MAX_SLUG_BYTES].decode(errors="ignore")
    if name == text and not _part_problem(name):
        return name
    digest = hashlib.blake2b(text.encode("utf-8", "surrogatepass"), digest_size=4).hexdigest()
    return f"{name.replace('.', '-').strip('-') or 'clip'}-{digest}"


def collision_key(name: str) -> bytes:
    """Return a key that is equal for names that some file system does not distinguish.

    Such names differ only in case, or in the composition of accented letters.
    """
    folded = unicodedata.normalize("NFC", unicodedata.normalize("NFC", name).casefold())
    return hashlib.blake2b(folded.encode("utf-8", "surrogatepass"), digest_size=12).digest()


def prepare_output_path(folder: Path, name: str) -> Path:
    """Create the subfolders of an output file and return its path.

    Raises:
        ConditionError: the path contains a link, or anything other than a folder or a file.
        FolderError: a folder cannot be created.
    """
    path = folder
    *parents, last = name.split("/")
    for part in parents:
        path /= part
        try:
            # one at a time, without following links: nothing may be created outside the folder
            if not stat.S_ISDIR(os.lstat(path).st_mode):
                raise ConditionError(f"{path} is a file or a link, not a folder; remove it")
        except FileNotFoundError:
            _make_folder(path)
        except OSError as error:
            raise FolderError(
                f"the folder {path} cannot be used: {os_error_reason(error)}"
            ) from None
    path /= last
    if os.path.islink(path) or (os.path.exists(path) and not os.path.isfile(path)):
        raise ConditionError(f"{path} is a link or a folder, not a file; remove it")
    return path


def _make_folder(path: Path) -> None:
    try:
        path.mkdir(exist_ok=True)  # another thread may have just created it
    except OSError as error:
        raise FolderError(
            f"the folder {path} cannot be created: {os_error_reason(error)}"
        ) from None


def _part_problem(part: str) -> str | None:
    """Return the reason why a part of a path is not safe, or None if it is safe."""
    if part in ("", ".", ".."):
        return 'a part of it is empty, "." or ".."'
    if found := _FORBIDDEN.search(part):
        return f"it contains {found[0]!r}"
    if part[-1] in ". " or part[0] in " -~":
        return "a part of it begins with a space, - or ~, or ends with a dot or a space"
    if part.split(".")[0].casefold() in _RESERVED:
        return f"{part} is the name of a device on some systems"
    if part.startswith("."):
        return "a part of it begins with a dot"
    try:
        part.encode()
    except UnicodeEncodeError:
        return "it is not valid Unicode text"
    too_long = name_size(part) > MAX_NAME_BYTES
    return f"a part of it is longer than {MAX_NAME_BYTES} bytes" if too_long else None


def _parse_template(
    template: str, fields: Mapping[str, str]
) -> list[tuple[str, str | None, str | None, str | None]]:
    try:
        return list(string.Formatter().parse(template))
    except ValueError:  # a single brace, or one that is not closed
        raise ConditionError(_template_message(template, fields)) from None


def _template_message(template: str, fields: Mapping[str, str]) -> str:
    known = ", ".join(f"{{{name}}}" for name in fields)
    return (
        f"the name template {template!r} may contain only text and {known}, with nothing else "
        "between the braces; write {{ and }} for braces in the text"
    )
