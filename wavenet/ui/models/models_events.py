"""The callbacks of the Models tab: sample, use, train, download, rename, delete, import.

Input: values of the widgets, and the events of the cards. Output: updates by name. Called by
`models_tab`.
"""

import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import gradio as gr

from audio_utils.errors import AudioError
from wavenet.checkpoint_folders import named_folder
from wavenet.errors import ConditionError, WaveNetError
from wavenet.sharing.local_models import delete_model, mark_added, rename_model
from wavenet.speech import voice_archive
from wavenet.ui import hub_download
from wavenet.ui.checkpoint_library import list_checkpoints, load_checkpoint
from wavenet.ui.generate.generate_events import Start
from wavenet.ui.model_bar.model_bar import changed_settings, list_models, show_settings
from wavenet.ui.models.model_sample import make_sample
from wavenet.ui.models.model_shelf import NO_LICENCE, shelf_html
from wavenet.ui.page import Page
from wavenet.ui.page_text import status_note
from wavenet.ui.turns import describe_place

IMPORT_DISABLED = (
    "Import is disabled on this public Space: all visitors would see the imported model. Run the "
    f"studio on your own machine, or set {hub_download.ALLOW_IMPORT}=1 in your own Space."
)
CHANGE_DISABLED = (
    "Models of this public Space cannot be renamed or deleted. Run the studio on your own machine."
)
Values = dict[str, Any]


def run_model_action(
    page: Page,
    start: Start,
    *,
    event: gr.EventData,
    chosen: str | None,
    form: Any = None,
    saved: Any = None,
) -> Iterator[Values]:
    """Run an action of a card.

    Args:
        page: what all tabs share.
        start: generates the clips of a job.
        event: its data are the action, the name of the model and a text, as the page sent them.
        chosen: the model that the page uses now.
        form, saved: as in `changed_settings`; these settings stay.
    Yields:
        Updates of the page.
    """
    data = event._data if isinstance(event._data, dict) else {}
    action, name, text = (data.get(key) for key in ("action", "name", "text"))
    try:
        if not (isinstance(name, str) and isinstance(text, str)):
            raise ConditionError("the page named no model; reload the page")
        kept = changed_settings(page, form, saved)
        if action == "sample":
            yield from play_sample(page, start, name)
        elif action == "use":
            load_checkpoint(page.root, name)
            settings = {**kept, "model": name}
            yield {**show_settings(page, settings), **_open("generate"), "message": ""}
        elif action == "train" and "start_from" in page.model_lists:
            load_checkpoint(page.root, name)
            choices = page.list_updates["start_from"]()
            yield {"start_from": {**choices, "value": name}, **_open("train"), "message": ""}
        elif action == "download":
            yield from pack_model(page, name)
        elif action in ("rename", "delete"):
            yield change_model(page, str(action), name, text, chosen, kept)
        else:
            raise ConditionError("the page asked for an unknown action; reload the page")
    except (WaveNetError, AudioError) as error:
        note = _error_note(page, error)
        if name not in list_checkpoints(page.root):
            yield {**list_models(page), "message": note}
            return
        cards = shelf_html(page.root, "start_from" in page.model_lists, {name: note})
        yield {**list_models(page), "message": "", "shelf": cards}


def play_sample(page: Page, start: Start, name: str) -> Iterator[Values]:
    """Generate the sample of a model in its turn; the page plays it when the cards have it."""
    checkpoint = load_checkpoint(page.root, name)
    with page.turns.request() as turn:
        for place, seconds in turn.wait():
            yield {"message": status_note(f"Sample of {name}: {describe_place(place, seconds)}")}
        yield {"message": status_note(f"Generating the sample of {name} …")}
        make_sample(checkpoint, start)
    yield {"shelf": page.list_updates["shelf"](), "message": ""}


def pack_model(page: Page, name: str) -> Iterator[Values]:
    """Yield the path of a zip of a model; the page keeps a copy."""
    with tempfile.TemporaryDirectory() as folder:
        source = named_folder(load_checkpoint(page.root, name).folder)
        path = Path(folder) / f"{source.name}.zip"
        voice_archive.pack_model(source, path)
        yield {"package": str(path), "message": ""}


def change_model(
    page: Page, action: str, name: str, text: str, chosen: str | None, kept: Values
) -> Values:
    """Rename or delete a model; if the page uses it, choose the new name or the first model."""
    if not hub_download.import_allowed():
        raise ConditionError(CHANGE_DISABLED)
    if action == "rename":
        new_name = rename_model(page.root, name, text)
        message, settings = f"{name} is now {new_name}.", {**kept, "model": new_name}
    else:
        delete_model(page.root, name)
        message, settings = f"{name} is deleted.", {}
    updates = show_settings(page, settings) if chosen == name else list_models(page)
    return {**updates, "message": status_note(message)}


def import_archive(page: Page, *, upload: str | None) -> Values:
    """Import an uploaded archive as a model."""
    if upload is None:
        return {}
    if not hub_download.import_allowed():
        return {"upload": None, "message": status_note(IMPORT_DISABLED)}
    try:
        folder = voice_archive.unpack_model(Path(upload), page.root)
        mark_added(folder)
    except WaveNetError as error:
        return {"upload": None, "message": _error_note(page, error)}
    return {"upload": None, **_show_imported(page, folder.name)}


def import_from_hub(page: Page, *, repository: str | None) -> Iterator[Values]:
    """Download a model from the Hub.

    Args:
        page: what all tabs share.
        repository: OWNER/NAME or OWNER/NAME@REVISION, as the user typed it.
    Yields:
        A message, and the lists with the new model.
    """
    if not hub_download.import_allowed():
        yield {"message": status_note(IMPORT_DISABLED)}
        return
    yield {"message": hub_download.download_note(repository or "")}
    try:
        name, downloaded = hub_download.download_checkpoint(page.root, repository or "")
    except WaveNetError as error:
        yield {"message": _error_note(page, error)}
        return
    licence = downloaded.licence or NO_LICENCE
    yield _show_imported(page, name, f" Commit {downloaded.commit[:12]}; licence: {licence}.")


def _show_imported(page: Page, name: str, details: str = "") -> Values:
    message = status_note(f"{name} is imported.{details} Press Use on its card to generate.")
    return {**list_models(page), "message": message}


def _open(tab: str) -> Values:
    return {"tabs": gr.update(selected=tab)}


def _error_note(page: Page, error: WaveNetError | AudioError) -> str:
    return hub_download.checkpoint_error_note(page.root, error)
