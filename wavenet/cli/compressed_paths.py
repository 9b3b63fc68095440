"""The files of `wavenet compress`, `decompress` and `verify`: from arguments to tasks.

Input: files, folders and "-" for stdin, and the value of --out. Output: a source with its name
within the output folder, and the tasks with their targets. Called by `compress_command`.
"""

import os
import sys
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, BinaryIO

from wavenet.cli.output_paths import check_outputs
from wavenet.errors import ConditionError, ConfigError

if TYPE_CHECKING:
    from wavenet.compression.file_task import FileTask

PIPE = Path("-")
STDIN, STDOUT = "stdin", "stdout"


@dataclass(frozen=True)
class InputFile:
    """A file that a command reads.

    Attributes:
        path: of the file; `PIPE` for stdin.
        name: relative to the folder that was named, or only the name of the file.
    """

    path: Path
    name: str

    @property
    def stem(self) -> str:
        """The name without folders and suffix."""
        return PurePosixPath(self.name).stem

    @property
    def label(self) -> str:
        """The name for messages."""
        return STDIN if self.path == PIPE else str(self.path)


def find_inputs(
    paths: Sequence[Path], list_folder: Callable[[Path], list[str]], expected: str
) -> list[InputFile]:
    """Return the files of arguments; of folders all files that a command reads, in subfolders too.

    Args:
        paths: files, folders, or `PIPE`.
        list_folder: returns the relative names of these files.
        expected: what they are, for messages.
    Raises:
        ConditionError: a path does not exist, or a folder has no such file.
    """
    found: list[InputFile] = []
    for path in paths:
        if path == PIPE:
            found.append(InputFile(path, STDIN))
        elif os.path.isdir(path):
            names = list_folder(path)
            if not names:
                raise ConditionError(f"{path} has no {expected}; name another folder")
            found += [InputFile(path / name, name) for name in names]
        elif os.path.lexists(path):
            found.append(InputFile(path, path.name))
        else:
            raise ConditionError(f"{path} does not exist; expected {expected}, or a folder of them")
    if sum(file.path == PIPE for file in found) and len(found) > 1:
        raise ConditionError("stdin (-) cannot be combined with other files; process it separately")
    return list(dict.fromkeys(found))


def list_compressed(folder: Path) -> list[str]:
    """Return the names of the compressed files in a folder, without hidden ones."""
    from wavenet.compression.compressed_file import SUFFIX

    found = (path.relative_to(folder) for path in folder.rglob(f"*{SUFFIX}"))
    names = (path.as_posix() for path in found if not any(p.startswith(".") for p in path.parts))
    return sorted(names)


def plan_tasks(
    inputs: Sequence[InputFile],
    out: Path | None,
    name: Callable[[InputFile], str],
    overwrite: bool,
) -> "list[FileTask]":
    """Return the tasks of a command, after checking that their targets can be written.

    Args:
        inputs: the sources.
        out: a folder, a file for a single source, or `PIPE`; None: this folder, for stdin stdout.
        name: returns the name of the target of a source, without folders.
        overwrite: whether existing files may be replaced.
    Raises:
        ConfigError: a target exists, cannot be written or is a source, or two have one name.
    """
    from wavenet.compression.file_task import FileTask

    if out is None and inputs[0].path == PIPE:
        out = PIPE
    if out == PIPE:
        if len(inputs) > 1:
            raise ConfigError(f"{len(inputs)} files cannot be written to stdout; name a folder")
        if sys.stdout.isatty():
            raise ConfigError("stdout is a terminal; write to a file with --out, or to a pipe")
        return [FileTask(_source(inputs[0]), sys.stdout.buffer, inputs[0].label, STDOUT)]
    targets = _name_targets(inputs, out, name)
    check_outputs(targets, overwrite)
    _check_sources_kept(inputs, targets)
    return [
        FileTask(_source(file), target, file.label, str(target))
        for file, target in zip(inputs, targets, strict=True)
    ]


def _check_sources_kept(inputs: Sequence[InputFile], targets: Sequence[Path]) -> None:
    """Raise ConfigError if a target is one of the sources, also through a link."""
    sources = {os.path.realpath(file.path): file.label for file in inputs if file.path != PIPE}
    for target in targets:
        label = sources.get(os.path.realpath(target))
        if label is not None:
            raise ConfigError(f"{target} would replace the input {label}; choose another --out")


def check_tasks(inputs: Sequence[InputFile]) -> "list[FileTask]":
    """Return tasks without targets."""
    from wavenet.compression.file_task import FileTask

    return [FileTask(_source(file), None, file.label, "") for file in inputs]


def _source(file: InputFile) -> Path | BinaryIO:
    return sys.stdin.buffer if file.path == PIPE else file.path


def _name_targets(
    inputs: Sequence[InputFile], out: Path | None, name: Callable[[InputFile], str]
) -> list[Path]:
    is_file = out is not None and out.suffix and not os.path.isdir(out)
    if out is not None and is_file:
        if len(inputs) > 1:
            raise ConfigError(f"{len(inputs)} files need a folder for --out; found the file {out}")
        return [out]
    folder = out or Path()
    targets = [folder / PurePosixPath(file.name).with_name(name(file)) for file in inputs]
    target, count = Counter(targets).most_common(1)[0]
    if count > 1:
        raise ConfigError(
            f"{count} files would be written as {target}; rename them, or process them separately"
        )
    return targets

