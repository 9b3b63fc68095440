"""The widgets of the Models tab, and which callback each of their events calls.

Input: the page. Output: widgets with their events. Called by `studio_app`.
"""

from functools import partial
from typing import Any

import gradio as gr

from wavenet.ui.generate.generate_events import Start
from wavenet.ui.hub_download import import_allowed
from wavenet.ui.models.model_shelf import make_shelf, shelf_html
from wavenet.ui.models.models_events import (
    IMPORT_DISABLED,
    import_archive,
    import_from_hub,
    run_model_action,
)
from wavenet.ui.page import Page
from wavenet.ui.page_text import status_note
from wavenet.ui.templates import render
from wavenet.ui.wiring import PRIVATE, REPEATABLE, UNQUEUED, by_name


def build_models_tab(page: Page) -> dict[str, Any]:
    """Build the widgets, and return them by name; call this after the Train tab is built."""
    can_train = "start_from" in page.model_lists
    widgets: dict[str, Any] = {}
    with gr.Column():
        widgets["message"] = gr.HTML(elem_id="model-message")
        widgets["shelf"] = make_shelf(page.root, can_train)
        widgets["package"] = gr.DownloadButton("Archive", visible="hidden", elem_id="package")
        widgets |= _import()
        gr.HTML(render("models/about_studio.html"))
    page.list_models_in("shelf", widgets["shelf"], partial(shelf_html, page.root, can_train))
    return widgets


def wire_models_tab(page: Page, widgets: dict[str, Any], start: Start) -> None:
    """Connect the events of the widgets; call this after all tabs are built.

    Args:
        page: what all tabs share.
        widgets: those of `build_models_tab`.
        start: generates the clips of a job.
    """
    shown = {"message": widgets["message"], **page.model_lists}
    outputs = {**page.dependents, **shown, "tabs": page.tabs, "package": widgets["package"]}
    inputs = {"chosen": page.model, "form": page.conditions, "saved": page.saved}
    acted = widgets["shelf"].click(
        **by_name(partial(run_model_action, page, start), inputs, outputs), **REPEATABLE
    )
    acted.success(**page.keep_event(), **UNQUEUED)
    acted.success(None, js="pageEvents.openDownload", **UNQUEUED)
    listed = by_name(lambda: {"shelf": page.list_updates["shelf"]()}, {}, shown)
    page.load_events.append(listed)
    if "upload" not in widgets:
        return
    upload, repository = widgets["upload"], widgets["repository"]
    imports = {**page.model_lists, "message": widgets["import_message"]}
    imported = by_name(
        partial(import_archive, page), {"upload": upload}, {"upload": upload, **imports}
    )
    upload.upload(**imported, **PRIVATE)
    fetched = by_name(partial(import_from_hub, page), {"repository": repository}, imports)
    gr.on([widgets["fetch"].click, repository.submit], **fetched, **PRIVATE)


def _import() -> dict[str, Any]:
    """Build the widgets that import a model, or show the reason why import is disabled."""
    with gr.Accordion("Import a model", open=False, elem_id="model-import"):
        if not import_allowed():
            gr.HTML(status_note(IMPORT_DISABLED))
            return {}
        gr.HTML(
            status_note(
                "A zip of config.json, model.safetensors and README.md, of a voice also of its "
                "folder vocoder, as Download creates it. No code in it is executed."
            )
        )
        upload = gr.File(
            file_types=[".zip"],
            type="filepath",
            label="A .zip, up to 20 MB",
            height=170,
            elem_id="model-upload",
        )
        repository = gr.Textbox(
            label="Or a repository of the Hugging Face Hub",
            info="The Hub is contacted only when you press the button.",
            placeholder="OWNER/NAME, or OWNER/NAME@REVISION",
            max_length=300,
            elem_id="model-repository",
        )
        fetch = gr.Button("Download from Hub", elem_id="model-fetch")
        message = gr.HTML(elem_id="model-import-message")
    widgets = {"upload": upload, "repository": repository, "fetch": fetch}
    return {**widgets, "import_message": message}
