"""Load an effect from a path, whatever its kind; the only place that knows the kinds.

Input: a path, or the name of a trained effect. Output: a `LoadedEffect`, which returns a `NamModel`
for a setting of its knobs. Called by the commands, the batches of effects and the studio.
"""

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from wavenet.checkpoint_folders import CONFIG, is_effect, list_effects, resolve_checkpoint
from wavenet.effects.nam_file import SUFFIX, parse_effect_json, parse_nam, read_effect_bytes
from wavenet.effects.nam_model import NamModel
from wavenet.effects.pedalnet_file import is_pedalnet, parse_pedalnet
from wavenet.effects.training.trained_effect import load_effect_folder
from wavenet.errors import ConditionError, EffectFileError
from wavenet.weights_file import WEIGHTS

NO_VALUES: Mapping[str, float] = {}


@dataclass(frozen=True, eq=False)
class LoadedEffect:
    """An effect and its knobs.

    Attributes:
        name: of the file or folder, without suffix.
        file_format: nam, pedalnet or trained.
        knobs: default values by name; values are from 0 to 1.
        folder: of a trained effect; None for a file.
        make_model: the model at a complete setting of the knobs.
    """

    name: str
    file_format: str
    make_model: Callable[[Mapping[str, float]], NamModel]
    knobs: Mapping[str, float] = field(default_factory=dict)
    folder: Path | None = None

    def model_at(self, values: Mapping[str, float] = NO_VALUES) -> NamModel:
        """Return the model at a setting of the knobs; a knob without a value has its default.

        Raises:
            ConditionError: a knob is unknown, or its value is out of range.
        """
        for name, value in values.items():
            if name not in self.knobs:
                known = (
                    f"its knobs are {', '.join(self.knobs)}" if self.knobs else "it has no knobs"
                )
                raise ConditionError(f"the effect {self.name} has no knob {name}; {known}")
            if not 0 <= value <= 1:
                raise ConditionError(
                    f"the knob {name}: expected a number from 0 to 1, found {value:g}"
                )
        return self.make_model({**self.knobs, **values})


def load_effect(path: Path) -> LoadedEffect:
    """Load an effect.

    Args:
        path: a `.nam` file, a JSON file of PedalNetRT, the folder of a trained effect, or the name
            of one, such as overdrive.
    Raises:
        EffectFileError: one sentence: what was expected, what was found.
        CheckpointError: the folder of a trained effect is damaged.
    """
    if (folder := _effect_folder(path)) is not None:
        return _load_trained(folder)
    if not path.exists():
        raise EffectFileError(_missing(path))
    if path.is_dir():
        raise EffectFileError(
            f"the folder {path} has no trained effect: its {CONFIG} is missing, damaged or of "
            "another model"
        )
    content = read_effect_bytes(path)
    if is_pedalnet(parse_effect_json(content, str(path))):
        return _without_knobs(path, "pedalnet", parse_pedalnet(content, str(path)))
    return _without_knobs(path, "nam", parse_nam(content, str(path)))


def find_effects(path: Path) -> list[Path]:
    """Return the effects at a path: itself, or of another folder all `.nam` files in it.

    Raises:
        EffectFileError: there is nothing, or the folder has no effect.
    """
    if (folder := _effect_folder(path)) is not None:
        return [folder]
    if path.is_file():
        return [path]
    if not path.is_dir():
        raise EffectFileError(_missing(path))
    found = sorted(file for file in path.rglob(f"*{SUFFIX}") if file.is_file())
    if not found:
        raise EffectFileError(f"the folder {path} has no {SUFFIX} files")
    return found


def effect_digest(path: Path) -> str:
    """Return a hash of everything that determines an effect.

    Raises:
        EffectFileError: it cannot be read.
    """
    if (folder := _effect_folder(path)) is None:
        return hashlib.sha256(read_effect_bytes(path)).hexdigest()
    files = [read_effect_bytes(folder / name) for name in (CONFIG, WEIGHTS)]
    return hashlib.sha256(b"".join(hashlib.sha256(file).digest() for file in files)).hexdigest()


def _effect_folder(path: Path) -> Path | None:
    """Return the folder of a trained effect by its path or name; None for anything else."""
    folder = resolve_checkpoint(path)
    return folder if is_effect(folder) else None


def _missing(path: Path) -> str:
    known = ", ".join(list_effects())
    return (
        f"{path} does not exist; expected a {SUFFIX} file, a JSON file of PedalNetRT, the folder "
        "of a trained effect" + (f", or a name: {known}" if known else "")
    )


def _load_trained(folder: Path) -> LoadedEffect:
    effect = load_effect_folder(folder)
    knobs = {knob.name: knob.default for knob in effect.config.knobs}
    return LoadedEffect(folder.name, "trained", effect.nam_model, knobs, folder)


def _without_knobs(path: Path, file_format: str, model: NamModel) -> LoadedEffect:
    return LoadedEffect(path.stem, file_format, lambda values: model)
