"""The checkpoints of the studio: listed by folder name, loaded once, kept in memory.

Input: a folder of checkpoint folders, and a name. Output: a `Checkpoint`. Called by all tabs and
the public API.
"""

from functools import lru_cache
from pathlib import Path
from typing import Any

import torch

from wavenet.checkpoint import CONFIG, Checkpoint, load
from wavenet.checkpoint_folders import COMPARISON, list_in_studio, list_members, vocoder_folder
from wavenet.engines.engine import Engine
from wavenet.engines.registry import device_for
from wavenet.errors import CheckpointError
from wavenet.generation.checkpoint_engine import make_checkpoint_engine
from wavenet.weights_file import WEIGHTS


def list_checkpoints(root: Path) -> list[str]:
    """Return the names of the checkpoints; the shipped checkpoint digits comes first."""
    return sorted(list_in_studio(root), key=lambda name: (name != "digits", name))


def list_choices(root: Path) -> list[str]:
    """Return the names of all models that the page can use: the members of a comparison last."""
    return [*list_checkpoints(root), *list_members(root)]


def find_folder(root: Path, name: str | None) -> Path | None:
    """Return the folder of a checkpoint by its name; None if there is none."""
    if not isinstance(name, str):
        return None
    if root.name == COMPARISON:  # a studio of the members alone lists them without the folder
        name = name.removeprefix(f"{COMPARISON}/")
    return (list_in_studio(root) | list_members(root)).get(name)


def load_checkpoint(root: Path, name: str | None) -> Checkpoint:
    """Load a checkpoint by its name, of a voice its vocoder; it is cached until its files change.

    Raises:
        CheckpointError: the checkpoint does not exist, or is damaged.
    """
    folder = find_folder(root, name)
    if folder is None:
        known = list_checkpoints(root)
        if not known:
            raise CheckpointError(
                f"the folder {root.name} has no checkpoints; train one, or copy one into it"
            )
        found = "nothing" if name is None else repr(name[:100])
        raise CheckpointError(f"expected a model here ({', '.join(known)}), found {found}")
    folder = vocoder_folder(folder)
    return _load_cached(folder, _modification_times(folder), device_for("auto"))


def move_to_device(checkpoint: Checkpoint, device: torch.device) -> Checkpoint:
    """Return a checkpoint on a device; the same object if it is already on that device."""
    if checkpoint.model.device.type == device.type:
        return checkpoint
    folder = checkpoint.folder
    return _load_cached(folder, _modification_times(folder), device)


def load_engine(checkpoint: Checkpoint, name: str) -> Engine[Any]:
    """Return the engine of a checkpoint of this library, on its device; it is kept.

    Packing the weights needs up to 50 ms, which would delay the first sound of every clip.

    Raises:
        EngineUnavailable: as `make_checkpoint_engine`.
    """
    folder, device = checkpoint.folder, checkpoint.model.device
    return _load_engine_cached(name, folder, _modification_times(folder), device)


def modification_times(folder: Path, *names: str) -> tuple[int, ...]:
    """Return when files of a folder were changed, ns; 0 for a file that does not exist."""
    files = [folder / name for name in names]
    return tuple(file.stat().st_mtime_ns if file.is_file() else 0 for file in files)


def _modification_times(folder: Path) -> tuple[int, ...]:
    return modification_times(folder, CONFIG, WEIGHTS)


# Space for two checkpoints, each on a GPU and on the CPU (engine `cpu`). The modification times are
# part of the cache key.
@lru_cache(maxsize=4)
def _load_cached(
    folder: Path, modification_times: tuple[int, ...], device: torch.device
) -> Checkpoint:
    try:
        return load(folder, device)
    except CheckpointError as error:
        raise CheckpointError(str(error).replace(str(folder), folder.name)) from None


@lru_cache(maxsize=4)
def _load_engine_cached(
    name: str, folder: Path, modification_times: tuple[int, ...], device: torch.device
) -> Engine[Any]:
    return make_checkpoint_engine(name, _load_cached(folder, modification_times, device))
