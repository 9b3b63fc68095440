"""Lengths of file names: file systems limit the bytes of each part of a path, not its letters.

Input: a name in any script. Output: the name, shortened if it is too long. Called by all code that
builds a file name from text of a user.
"""

import hashlib
from pathlib import PurePath

MAX_NAME_BYTES = 255  # of one part of a path, on all common file systems


def name_size(name: str) -> int:
    """Return the bytes of a name in UTF-8; a byte that was not UTF-8 counts as at most 3."""
    return len(name.encode("utf-8", "surrogatepass"))


def shorten_name(name: str, max_bytes: int = MAX_NAME_BYTES) -> str:
    """Return a name unchanged if it fits, otherwise its beginning and a hash of the whole name.

    Different names stay different.

    Args:
        name: without suffix, because the end is cut off.
        max_bytes: of the result, at least 16.
    """
    if name_size(name) <= max_bytes:
        return name
    content = name.encode("utf-8", "surrogatepass")
    digest = hashlib.blake2b(content, digest_size=4).hexdigest()
    # a letter of several bytes is kept or removed as a whole
    beginning = content[: max_bytes - len(digest) - 1].decode("utf-8", "ignore")
    return f"{beginning.rstrip(' .-_')}-{digest}"


def find_long_part(path: PurePath) -> str | None:
    """Return the first part of a path that is too long for a file name, or None."""
    return next((part for part in path.parts if name_size(part) > MAX_NAME_BYTES), None)
