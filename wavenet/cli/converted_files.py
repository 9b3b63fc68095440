"""Names of files that a command writes, one per recording of a folder or per given file.

Called by `wavenet autoencoder` and `wavenet images`.
"""

from collections import Counter
from pathlib import Path, PurePosixPath

from wavenet.errors import ConfigError


def name_converted_files(folder: Path) -> list[tuple[Path, str]]:
    """Return the path of each recording, and the name of its converted file: NAME.wav.

    Raises:
        ConfigError: two recordings would be written under one name.
        DataError: the folder has no recordings.
    """
    from wavenet.recordings.audio_metadata import find_audio_files

    paths = [file.path for file in find_audio_files(folder)]
    names = [str(path.relative_to(folder).with_suffix(".wav")) for path in paths]
    check_distinct(names)
    return list(zip(paths, names, strict=True))


def check_distinct(names: list[str]) -> None:
    """Raise ConfigError if two files would be written under one name."""
    name, count = Counter(str(PurePosixPath(name)) for name in names).most_common(1)[0]
    if count > 1:
        raise ConfigError(
            f"{count} files would be written as {name}; rename them, or convert them separately"
        )
