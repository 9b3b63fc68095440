"""Find checkpoint folders by path or by name, for all commands and the studio.

Input: text of a user, such as `runs/a/checkpoint`, `checkpoints/digits` or `digits`. Output: a
folder, or the known names for an error. Called by `checkpoint.load`, which all commands use, and by
code that needs the folder before it is loaded. The studio adds checkpoints to one of the folders of
named checkpoints, and reads all of them. No large package is imported here.
"""

import os
import re
import shlex
import zipfile
from collections.abc import Iterable
from pathlib import Path

from wavenet.program_folders import CHECKPOINTS, is_installed, program_folder
from wavenet.user_input.close_names import find_close_name
from wavenet.user_input.user_folders import checkpoints_folder

CONFIG = "config.json"
AUTOENCODER_MARK = b'"mel-autoencoder"'  # in the config of an autoencoder, and in no other
EFFECT_MARK = b'"trained-effect"'  # in the config of a trained effect, and in no other
COMPRESSOR_MARK = b'"architecture": "compressor"'  # in the config of a compressor, and no other
VOICE_MARK = b'"kind": "voice"'  # in the config of a voice, and in no other
MAX_MARKED_BYTES = 1 << 18  # of the config of a voice or of an effect
VOCODER = "vocoder"  # folder of the checkpoint of a voice, in the folder of the voice
COMPARISON = "compare"  # folder of the members of a comparison, among the checkpoints
# OWNER/NAME of the Hugging Face Hub
REPOSITORY = re.compile(r"[A-Za-z0-9][\w.-]{0,95}/[A-Za-z0-9][\w.-]{0,95}", re.ASCII)


def resolve_checkpoint(name: str | Path, base_folder: str | Path = "") -> Path:
    """Return the folder of a checkpoint.

    A path is relative to the working folder, then to `base_folder`, then to the program, then to
    the folders `checkpoints` of the working folder, of the program and of the user: so digits and
    compare/gru are names of shipped checkpoints.

    Args:
        name: a path or a name; `~` is the home folder.
        base_folder: such as the folder of a manifest.
    Returns:
        The first folder that exists; if none does, the path itself.
    """
    given = Path(os.path.expanduser(name))
    places = [given, base_folder / given, program_folder() / given]
    if not given.is_absolute():
        places += [folder / given for folder in _roots()]
    if len(given.parts) == 1:
        # A folder of recordings may have the name of a checkpoint.
        return next(filter(_is_checkpoint, places), given)
    # not pathlib, which raises for a name that is too long or a folder without permission
    return next(filter(os.path.isdir, places), given)


def default_root() -> Path:
    """Return the folder to which the studio adds checkpoints.

    Returns:
        The first of `_roots` that exists, or else the last one; never that of an installed package.
    """
    roots = [root for root in _roots() if not (is_installed() and root == _shipped())]
    return next(filter(os.path.isdir, roots), roots[-1]).absolute()


def list_known() -> dict[str, Path]:
    """Return the checkpoint folders that can be named, by name and in this order."""
    return _list_in(_roots())


def list_in_studio(root: Path) -> dict[str, Path]:
    """Return the checkpoint folders of a studio, by name and in this order.

    Args:
        root: the folder to which the studio adds checkpoints, absolute. If it is one of the folders
            of named checkpoints, all of these are listed, as on the command line; or else only it.
    Returns:
        Absolute paths, if `root` is one.
    """
    return _list_in(_studio_roots(root))


def list_members(root: Path) -> dict[str, Path]:
    """Return the checkpoint folders of the members of a comparison in a studio, by compare/NAME.

    Args:
        root: as in `list_in_studio`.
    """
    found = _list_in(folder / COMPARISON for folder in _studio_roots(root))
    return {f"{COMPARISON}/{name}": path for name, path in found.items()}


def is_voice(folder: Path) -> bool:
    """Return whether a folder is that of a voice, which contains a checkpoint, its vocoder."""
    return _has_mark(folder, VOICE_MARK)


def is_effect(folder: Path) -> bool:
    """Return whether a folder is that of a trained effect."""
    return _has_mark(folder, EFFECT_MARK)


def list_effects(root: Path | None = None) -> dict[str, Path]:
    """Return the folders of trained effects, by name and in this order.

    Args:
        root: as in `list_in_studio`; None for all folders of named checkpoints.
    """
    return _list_marked(EFFECT_MARK, root)


def is_compressor(folder: Path) -> bool:
    """Return whether a folder is that of a compressor."""
    return _has_mark(folder, COMPRESSOR_MARK)


def list_compressors(root: Path | None = None) -> dict[str, Path]:
    """Return the folders of compressors, by name and in this order.

    Args:
        root: as in `list_effects`.
    """
    return _list_marked(COMPRESSOR_MARK, root)


def vocoder_folder(folder: Path) -> Path:
    """Return the folder of the checkpoint in a folder: of a voice, that of its vocoder."""
    return folder / VOCODER if is_voice(folder) else folder


def weight_folders(folder: Path) -> tuple[Path, ...]:
    """Return the folders with weights of a model: of a voice, its own and that of its vocoder."""
    return (folder, folder / VOCODER) if is_voice(folder) else (folder,)


def named_folder(folder: Path) -> Path:
    """Return the folder that has the name of a checkpoint: of a vocoder, that of its voice."""
    is_part = folder.name == VOCODER and is_voice(folder.parent)
    return folder.parent if is_part else folder


def studio_name(folder: Path) -> str:
    """Return the name of a checkpoint folder in the studio: NAME, of a member compare/NAME."""
    folder = named_folder(folder)
    return f"{COMPARISON}/{folder.name}" if folder.parent.name == COMPARISON else folder.name


def describe_known(name: str | Path) -> str:
    """Return the end of the message on a missing checkpoint: known names and the closest."""
    known = list(list_known())
    if not known:
        return ""
    close = find_close_name(Path(name).name, known)
    return f", or one of {', '.join(known)}" + (f"; did you mean {close}?" if close else "")


def describe_remedy(path: Path) -> str:
    """Return what to do with a zip file or the name of a repository; "" for any other path.

    Args:
        path: of a checkpoint that was not found.
    """
    if os.path.isfile(path) and zipfile.is_zipfile(path):
        return (
            f"; this is a zip file: unpack it with `python -m zipfile -e {shlex.quote(str(path))} "
            "FOLDER` and name the folder of the checkpoint in FOLDER"
        )
    name = path.as_posix()
    # a path in an existing folder is probably misspelt
    is_local = any(os.path.isdir(base / path.parent) for base in (Path(), program_folder()))
    if REPOSITORY.fullmatch(name) and not is_local:
        return f"; to download it from the Hugging Face Hub, use `wavenet hub pull {name}`"
    return ""


def is_run(folder: Path) -> bool:
    """Return whether a folder is that of a run, which contains a checkpoint."""
    return not _is_checkpoint(folder) and _is_checkpoint(folder / "checkpoint")


def _roots() -> list[Path]:
    """Return the folders of named checkpoints: of the working folder, the program and the user."""
    own = checkpoints_folder()
    return [Path(CHECKPOINTS), _shipped(), *([own] if own is not None else [])]


def _studio_roots(root: Path) -> list[Path]:
    """Return the folders of `list_in_studio`."""
    # a deleted working folder has no absolute path
    roots = [path.absolute() for path in _roots() if path.is_absolute() or path.is_dir()]
    return roots if root in roots else [root]


def _shipped() -> Path:
    return program_folder() / CHECKPOINTS


def _list_in(roots: Iterable[Path]) -> dict[str, Path]:
    """Return the checkpoint folders in some folders, sorted; of equal names the first counts.

    Trained effects and compressors, which do not generate, are left out.
    """
    found: dict[str, Path] = {}
    for folder in (path.parent for root in roots for path in root.glob(f"*/{CONFIG}")):
        if not is_effect(folder) and not is_compressor(folder):
            found.setdefault(folder.name, folder)
    return dict(sorted(found.items()))


def _list_marked(mark: bytes, root: Path | None) -> dict[str, Path]:
    """Return the folders whose config has a mark, of the folders of named checkpoints."""
    found: dict[str, Path] = {}
    for base in _roots() if root is None else _studio_roots(root):
        for folder in (path.parent for path in base.glob(f"*/{CONFIG}")):
            if _has_mark(folder, mark):
                found.setdefault(folder.name, folder)
    return dict(sorted(found.items()))


def _has_mark(folder: Path, mark: bytes) -> bool:
    if not _is_checkpoint(folder):  # also a pipe, which would block
        return False
    try:
        with (folder / CONFIG).open("rb") as file:
            return mark in file.read(MAX_MARKED_BYTES)
    except OSError:
        return False


def _is_checkpoint(folder: Path) -> bool:
    return os.path.isfile(folder / CONFIG)
