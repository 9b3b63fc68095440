"""The effects that the tab offers: trained ones by name, and files that a visitor drops.

Input: a name of the list, or the path of an upload. Output: a `ChosenEffect`, and its facts. Called
by the callbacks of the tab and by the public API.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import gradio as gr

from wavenet.checkpoint_folders import list_effects
from wavenet.effects.effect_facts import describe_effect
from wavenet.effects.load_effect import LoadedEffect, load_effect
from wavenet.effects.nam_model import NamModel
from wavenet.errors import ConditionError, EffectFileError
from wavenet.sharing.card_reader import get_licence, read_card
from wavenet.ui.page_text import facts_html

MAX_KNOBS = 16  # of a trained effect
NO_EFFECT = "choose an effect, or drop a .nam file"
RUNS_DIR = "runs"  # of the working folder, as for other trainings


@dataclass(frozen=True, eq=False)
class ChosenEffect:
    """An effect with its knobs.

    Attributes:
        loaded: returns a model for a setting of the knobs.
    """

    loaded: LoadedEffect

    @property
    def name(self) -> str:
        """Name of the effect."""
        return self.loaded.name

    @property
    def folder(self) -> Path | None:
        """Folder of a trained effect; None for a file."""
        return self.loaded.folder

    @property
    def knobs(self) -> dict[str, float]:
        """Default values of the knobs by name."""
        return dict(self.loaded.knobs)

    def model_at(self, values: list[float | None]) -> tuple[NamModel, dict[str, float]]:
        """Return the model at values of the sliders, in the order of the knobs, and the setting.

        Raises:
            ConditionError: a value is out of range.
        """
        setting = {
            name: float(default if value is None else value)
            for (name, default), value in zip(self.knobs.items(), values, strict=False)
        }
        return self.loaded.model_at(setting), {**self.knobs, **setting}


def list_studio_effects(root: Path) -> dict[str, Path]:
    """Return the folders of trained effects by name: the shipped ones, then those of the runs."""
    found = list_effects(root)
    return found | {
        name: folder
        for name, folder in list_effects(Path.cwd() / RUNS_DIR).items()
        if name not in found
    }


def choose_effect(root: Path, name: Any, upload: Any) -> ChosenEffect:
    """Return the effect of a dropped file; without one, the effect of a name.

    Args:
        root: of the studio.
        name: in the list of effects.
        upload: path of a file that is stored as an upload, or None.
    Raises:
        ConditionError: none is chosen, or it is no longer there.
        EffectFileError: the file is invalid; the message has its name, not its path.
        CheckpointError: the folder is damaged.
    """
    if upload:
        return load_dropped_effect(upload)
    folder = list_studio_effects(root).get(name) if isinstance(name, str) else None
    if folder is None:
        raise ConditionError(NO_EFFECT if not name else f"there is no effect {str(name)[:100]!r}")
    return ChosenEffect(load_effect(folder))


def load_dropped_effect(path: str) -> ChosenEffect:
    """Load an uploaded file.

    Raises:
        EffectFileError: it is invalid; the message has its name, not its path.
    """
    try:
        return ChosenEffect(load_effect(Path(path)))
    except EffectFileError as error:
        raise EffectFileError(str(error).replace(path, Path(path).name)) from None


def effect_html(effect: ChosenEffect) -> str:
    """Return HTML with the facts of an effect."""
    model = effect.loaded.model_at()
    field_samples = model.receptive_field
    licence = None if effect.folder is None else get_licence(read_card(effect.folder))
    measured = describe_effect(model, measures_load=False, licence=licence)
    facts = {
        "effect": effect.name,
        "architecture": model.architecture,
        "sample rate": f"{model.rate:,.0f} Hz",
        "receptive field": (
            "recurrent: all past samples"
            if field_samples is None
            else f"{1000 * field_samples / model.rate:.1f} ms"
        ),
        "weights": f"{measured.weights:,}",
    }
    facts |= _device_facts(model)
    return facts_html(facts, [measured.licence])


def knob_updates(effect: ChosenEffect | None) -> list[Any]:
    """Return an update for each of the `MAX_KNOBS` sliders."""
    knobs = list(effect.knobs.items()) if effect else []
    updates = [gr.update(visible=True, value=value, label=name) for name, value in knobs]
    return updates + [gr.update(visible=False)] * (MAX_KNOBS - len(knobs))


def name_knobs(values: list[Any]) -> dict[str, Any]:
    """Return values of the sliders by their names."""
    return {f"knob_{n}": value for n, value in enumerate(values)}


def knob_values(values: dict[str, Any]) -> list[float | None]:
    """Return the values of the sliders in their order."""
    return [values.get(f"knob_{n}") for n in range(MAX_KNOBS)]


def _device_facts(model: NamModel) -> dict[str, str]:
    """Return what the metadata say about the device and its maker: short texts only."""
    names = {"name": "capture", "gear_make": "maker", "gear_model": "device", "modeled_by": "by"}
    metadata = model.metadata or {}
    found = {label: metadata.get(name) for name, label in names.items()}
    return {label: text[:80] for label, text in found.items() if isinstance(text, str) and text}
