"""The model bar above the tabs: choose a model, set its conditions; all tabs use both.

Input: a folder of checkpoints, and the settings of the page. Output: the widgets, and the updates
of all components that depend on the model. Called by `studio_app` and by actions that choose a
model.
"""

from collections.abc import Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import gradio as gr

from wavenet.checkpoint import Checkpoint
from wavenet.checkpoint_folders import named_folder, studio_name
from wavenet.errors import WaveNetError
from wavenet.model.conditions import FramesCondition, VectorCondition
from wavenet.ui import hub_download
from wavenet.ui.checkpoint_library import find_folder, list_choices, load_checkpoint
from wavenet.ui.model_bar.condition_form import form_message, make_condition_form
from wavenet.ui.page import Page
from wavenet.ui.page_text import error_note
from wavenet.ui.templates import render
from wavenet.ui.wiring import UNQUEUED, by_name

Values = dict[str, Any]


def build_model_bar(root: Path) -> tuple[gr.Dropdown, gr.HTML, gr.HTML]:
    """Build the list of models, the description of the chosen one, and its condition form."""
    names, has_hub = list_choices(root), hub_download.import_allowed()
    with gr.Row(equal_height=False, elem_id="model-bar"):
        with gr.Column(scale=2, min_width=240):
            model = gr.Dropdown(
                names,
                value=names[0] if names else None,
                label="Model",
                info="Or OWNER/NAME of the Hugging Face Hub." if has_hub else None,
                allow_custom_value=has_hub,
                elem_id="model",
            )
        with gr.Column(scale=5, min_width=300):
            about = gr.HTML(elem_id="model-about")
            conditions = make_condition_form()
    return model, about, conditions


def wire_model_bar(page: Page) -> None:
    """Connect the events of the bar; call this after all tabs have added their dependents."""
    page.add_dependents(
        {"about": page.about, "conditions": page.conditions},
        lambda checkpoint, settings: {
            "about": describe_model(checkpoint),
            "conditions": {
                **form_message(checkpoint.config, settings.get("conditions")),
                "model": studio_name(checkpoint.folder),
                "others": settings.get("others", {}),
            },
        },
    )
    page.list_models_in("model", page.model, lambda: gr.update(choices=list_choices(page.root)))
    inputs = {"name": page.model, "form": page.conditions, "saved": page.saved}
    chosen = page.model.input(
        **by_name(partial(choose_model, page), inputs, page.dependents), **UNQUEUED
    )
    chosen.then(**page.keep_event(), **UNQUEUED)


def choose_model(
    page: Page, name: str | None, form: Any = None, saved: Any = None
) -> Iterator[Values]:
    """Show a model that the user chose; download it first if it is on the Hub.

    Args:
        page: what all tabs share.
        name: of the checkpoint, or of a repository.
        form, saved: as in `changed_settings`; these settings stay.
    Yields:
        Updates of the page.
    """
    if find_folder(page.root, name) is None and hub_download.is_hub_name(name):
        yield {"about": hub_download.download_note(str(name))}
        try:
            name, _ = hub_download.download_checkpoint(page.root, str(name))
        except WaveNetError as error:
            yield {"about": hub_download.checkpoint_error_note(page.root, error)}
            return
    yield show_settings(page, {**changed_settings(page, form, saved), "model": name})


def changed_settings(page: Page, form: Any, saved: Any) -> Values:
    """Return the settings that differ from the defaults of the shown model, and its conditions.

    Settings without a default stay as they are in the page.

    Args:
        page: what all tabs share.
        form: the message of the condition form, of any type; it names the shown model.
        saved: values of the page by name, of any type. They are not inputs of the event: an invalid
            field would end it.
    """
    form = form if isinstance(form, Mapping) else {}
    given: dict[str, Any] = {}  # also those that the shown model does not have
    for values in (form.get("others"), form.get("values")):
        given |= values if isinstance(values, Mapping) else {}
    shown = form.get("model")
    try:
        checkpoint = load_checkpoint(page.root, shown if isinstance(shown, str) else None)
    except WaveNetError:
        return {}
    defaults: Values = {}
    for applier in page.appliers:
        defaults |= applier(checkpoint, {})
    values = {name: _shown_value(update) for name, update in defaults.items()}
    current = page.read_kept(saved)
    changed = {k: v for k, v in current.items() if values.get(k) not in (None, v)}
    others = {k: v for k, v in given.items() if isinstance(v, str)}
    return {**changed, "conditions": given, "others": others}


def _shown_value(update: Any) -> Any:
    return update.get("value") if isinstance(update, dict) else update


def list_models(page: Page) -> Values:
    """Return the updates of all components that list the models."""
    return {name: update() for name, update in page.list_updates.items()}


def show_settings(page: Page, settings: Mapping[str, Any]) -> Values:
    """Return the updates of all components that depend on the model.

    Args:
        page: with the appliers of the tabs.
        settings: "model", "conditions" and settings of the tabs by name; defaults of the model
            replace missing ones.
    """
    names = list_choices(page.root)
    first = names[0] if names else None
    name = settings.get("model", first)
    try:
        checkpoint = load_checkpoint(page.root, name)
    except WaveNetError as error:
        return {**list_models(page), "about": error_note(error)}
    updates: Values = {**list_models(page), "model": gr.update(choices=names, value=name)}
    for applier in page.appliers:
        updates |= applier(checkpoint, settings)
    return updates


def describe_model(checkpoint: Checkpoint) -> str:
    """Return HTML with the size of a model, and the conditions that the page does not show."""
    model, rate = checkpoint.model, checkpoint.config.audio.sample_rate
    field = model.receptive_field
    milliseconds = None if field is None else f"{1000 * model.seconds(field):.0f} ms"
    hidden = {
        where: [c.name for c in model.config.conditions if isinstance(c, kind)]
        for kind, where in (
            (FramesCondition, "only on the command line"),
            (VectorCondition, "only from Python"),
        )
    }
    return render(
        "model_bar/model_about.html",
        is_voice=named_folder(checkpoint.folder) != checkpoint.folder,
        usage=checkpoint.config.usage,
        rate=f"{rate:,}",
        parameters=f"{model.parameter_count:,}",
        field=None if field is None else f"{field:,}",
        milliseconds=milliseconds,
        past=model.config.past_description,
        hidden={where: ", ".join(names) for where, names in hidden.items() if names},
    )
