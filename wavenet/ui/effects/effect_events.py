"""What happens when an effect is chosen or dropped: its facts, its knobs, its export.

Input: values of the widgets by name. Output: updates by name. Called by `effects_tab`.
"""

import tempfile
from pathlib import Path
from typing import Any

import gradio as gr
from gradio.processing_utils import save_file_to_cache
from gradio.utils import get_upload_folder

from wavenet.effects.nam_file import SUFFIX, write_nam
from wavenet.effects.training.nam_export import export_nam
from wavenet.effects.training.trained_effect import load_effect_folder
from wavenet.effects.training.training_results import load_results
from wavenet.errors import ConditionError, WaveNetError
from wavenet.ui.effects import effect_choices
from wavenet.ui.page import Page
from wavenet.ui.page_text import convert_user_errors, error_note

Values = dict[str, Any]


def show_effect(page: Page, *, effect: str | None, upload: str | None) -> Values:
    """Return the facts and the knobs of the chosen effect; an invalid file is removed."""
    try:
        chosen = effect_choices.choose_effect(page.root, effect, upload)
        about = effect_choices.effect_html(chosen)
    except WaveNetError as error:
        updates = effect_choices.knob_updates(None)
        note = error_note(error) if upload or effect else ""
        found: Values = {"about": note, "export": gr.update(visible=False)}
        if upload:
            found["upload"] = None
        return found | effect_choices.name_knobs(updates)
    updates = effect_choices.knob_updates(chosen)
    label = "Export .nam with these knobs" if chosen.knobs else "Export .nam"
    shown = {"about": about, "export": gr.update(value=label, visible=chosen.folder is not None)}
    return shown | effect_choices.name_knobs(updates)


def use_trained_effect(page: Page, *, run: str | None) -> Values:
    """Choose the effect of a training in place of a dropped file."""
    names = list(effect_choices.list_studio_effects(page.root))
    if run not in names:
        raise gr.Error("This effect has no weights yet.", print_exception=False)
    chosen = {"effect": gr.update(choices=names, value=run), "upload": None}
    return show_effect(page, effect=run, upload=None) | chosen


def list_effect_choices(page: Page, *, effect: str | None) -> Values:
    """Return an update of the list of effects: the chosen one stays, or the first is chosen."""
    names = list(effect_choices.list_studio_effects(page.root))
    chosen = effect if effect in names else next(iter(names), None)
    return {"effect": gr.update(choices=names, value=chosen)}


def export_effect(page: Page, *, effect: str | None, upload: str | None, **knobs: Any) -> Values:
    """Write the trained effect with the knobs of the page as a `.nam` file; return its download."""
    with convert_user_errors():
        chosen = effect_choices.choose_effect(page.root, effect, upload)
        if chosen.folder is None:
            raise ConditionError("this effect is a file already; only a trained effect is exported")
        _, setting = chosen.model_at(effect_choices.knob_values(knobs))
        trained = load_effect_folder(chosen.folder)
        model = export_nam(trained, setting, results=load_results(chosen.folder))
        knob_text = "".join(f"_{name}{value:.2g}" for name, value in setting.items())
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / f"{chosen.name}{knob_text}{SUFFIX}"
            write_nam(model, path)
            stored = save_file_to_cache(path, get_upload_folder())
        return {"package": gr.update(value=stored)}
