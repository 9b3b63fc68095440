"""What a page shows when it opens: the settings of its link, or those of the visit before.

Input: the query of the page's address, and what the browser has kept. Output: updates of the
components that depend on the model, the visitor's clips, and the problems of the link. Called by
`studio_app`.
"""

import contextlib
import json
from collections.abc import Mapping
from functools import partial
from typing import Any

import gradio as gr

from wavenet.errors import ConditionError, WaveNetError
from wavenet.generation.generate import warm_up
from wavenet.ui.checkpoint_library import (
    find_folder,
    list_checkpoints,
    list_choices,
    load_checkpoint,
)
from wavenet.ui.clip_history.history_panel import show_history
from wavenet.ui.generate.share_settings import PAGE_PARAMETERS, read_link
from wavenet.ui.model_bar.condition_form import resolve_each
from wavenet.ui.model_bar.model_bar import show_settings
from wavenet.ui.page import Page
from wavenet.ui.page_text import error_sentence
from wavenet.ui.server.uploads import find_upload
from wavenet.ui.speak.speech_link import FIELDS, NAMES, check_speech_parts
from wavenet.ui.templates import render
from wavenet.ui.wiring import UNQUEUED, by_name
from wavenet.user_input.close_names import find_equal_name

MAX_PROBLEMS = 5  # of a link that the page shows


def wire_page_load(page: Page, studio: gr.Blocks, problems: gr.HTML) -> None:
    """Fill the page when it opens, and keep its settings in the browser when they change."""
    outputs = {**page.dependents, "token": page.token}
    outputs |= {"history": page.history, "problems": problems}
    inputs = {"token": page.token, "saved": page.saved}
    # Unqueued, because a full queue would reject this event.
    loaded = studio.load(**by_name(partial(open_page, page), inputs, outputs), **UNQUEUED)
    last = loaded.then(**by_name(partial(prepare_engine, page), page.inputs), **UNQUEUED)
    for event in page.load_events:
        last = last.then(**event, **UNQUEUED)
    recordings = [page.dependents[name] for name in set(page.recordings.values())]
    changed = [
        # Gradio 6.31: a text box does not trigger `input` for its first change.
        component.change if isinstance(component, gr.Textbox) else component.input
        for component in (page.model, page.conditions, *page.kept.values())
    ]
    changed += [recording.change for recording in recordings]
    gr.on(changed, **page.keep_event(), **UNQUEUED)
    loaded.then(**page.keep_event(), **UNQUEUED)
    js = f"() => pageEvents.openTab({json.dumps(PAGE_PARAMETERS)})"
    loaded.then(None, None, None, js=js, **UNQUEUED)
    for tab in page.tabs.children:
        assert isinstance(tab, gr.Tab)
        tab.select(None, None, None, js="() => pageEvents.keepTab()", **UNQUEUED)


def open_page(page: Page, request: gr.Request, token: Any, saved: Any) -> dict[str, Any]:
    """Return the updates of a page that opens.

    Args:
        page: what all tabs share.
        request: its query may be that of a link.
        token: of the visitor, as the browser has kept it.
        saved: settings by name, as the browser has kept them.
    """
    token = page.clips.visitor(token)
    query = str(request.query_params)
    settings, found = read_query(page, query)
    if not settings and not found:
        settings, found = read_saved(page, saved)
    shown = problems_html(found)
    return {
        **show_settings(page, settings),
        **show_history(page.clips, token),
        "token": token,
        "problems": gr.update(value=shown, visible=bool(shown)),
    }


def read_query(page: Page, query: str) -> tuple[dict[str, Any], list[str]]:
    """Return the settings of a link, and a sentence for each part of it that cannot be used."""
    values, conditions, problems = read_link(query)
    linked = values.pop("checkpoint", None)
    if linked is None:
        if conditions or values.keys() - {"seed", "variants"}:
            problems.append("the link names no checkpoint, so its other settings are not used")
            values = {k: v for k, v in values.items() if k in ("seed", "variants")}
        return values, problems
    name = find_equal_name(linked, list_choices(page.root))
    if name is None:
        known = ", ".join(list_checkpoints(page.root)[:10]) or "none"
        problems.append(
            f"the link is for the checkpoint {linked[:40]!r}, which is not here; found {known}"
        )
        return {}, problems
    resolved: dict[str, Any] = {}
    try:
        model = load_checkpoint(page.root, name).config.model
        resolved, others = resolve_each(model, conditions)
        problems += others
    except WaveNetError:  # shown with the model
        pass
    speech = {key: values.pop(key) for key in (*NAMES, *FIELDS) if key in values}
    spoken, others = check_speech_parts(page.root, name, speech)
    return {"model": name, "conditions": resolved, **values, **spoken}, problems + others


def read_saved(page: Page, saved: Any) -> tuple[dict[str, Any], list[str]]:
    """Return the usable settings among those that the browser has kept, of any type.

    Returns:
        Settings by name; a sentence for each recording that is no longer stored.
    """
    if not isinstance(saved, Mapping):
        return {}, []
    name = saved.get("model")
    if find_folder(page.root, name) is None:
        return {}, []
    settings: dict[str, Any] = {"model": name}
    form = saved.get("form")
    values = form.get("values") if isinstance(form, Mapping) else None
    if isinstance(values, Mapping):
        settings["conditions"] = values
    settings |= page.read_kept(saved)
    recordings = {key: saved[key] for key in page.recordings.values() if saved.get(key)}
    problems = []
    for key, value in recordings.items():
        try:
            settings[key] = find_upload(value)
        except ConditionError as error:
            problems.append(str(error))
    return settings, problems


def problems_html(problems: list[str]) -> str:
    """Return HTML of the first problems of a link; "" without problems."""
    if not problems:
        return ""
    shown = [error_sentence(ConditionError(text)) for text in problems[:MAX_PROBLEMS]]
    if len(problems) > len(shown):
        shown.append(f"And {len(problems) - len(shown)} more.")
    return render("templates/problems.html", problems=shown)


def prepare_engine(page: Page, name: str | None) -> None:
    """Compile the engine for a model when a page opens; the first time needs about 15 s."""
    with contextlib.suppress(WaveNetError):
        warm_up(load_checkpoint(page.root, name))
