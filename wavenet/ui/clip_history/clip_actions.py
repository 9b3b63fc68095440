"""The actions of the listed clips: pin, delete, use in a tab, generate again.

Input: the page, and an event of the history panel. Output: updates of the page. Called by
`studio_app` after all tabs are built.
"""

from collections.abc import Mapping
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any

import gradio as gr

from wavenet.errors import ConditionError, WaveNetError
from wavenet.ui.checkpoint_library import find_folder, list_choices, load_checkpoint
from wavenet.ui.clip_history.clip_store import Clip
from wavenet.ui.clip_history.history_panel import REPEATS, USES, show_history
from wavenet.ui.generate.generation_job import MAX_SEED
from wavenet.ui.model_bar.model_bar import changed_settings, show_settings
from wavenet.ui.page import Page
from wavenet.ui.page_text import convert_user_errors
from wavenet.ui.wiring import MANY, UNQUEUED, by_name


def wire_clip_actions(page: Page) -> None:
    """Connect the events of the history panel."""
    outputs = {**page.dependents, "tabs": page.tabs, "history": page.history}
    inputs = {**page.inputs, "saved": page.saved}
    acted = page.history.click(**by_name(partial(run_clip_action, page), inputs, outputs), **MANY)
    acted.success(None, js="pageEvents.pressActionButton", **UNQUEUED)
    acted.success(**page.keep_event(), **UNQUEUED)


def run_clip_action(
    page: Page,
    event: gr.EventData,
    token: Any,
    name: str | None = None,
    form: Any = None,
    saved: Any = None,
) -> dict[str, Any]:
    """Run an action on a clip.

    Args:
        page: what all tabs share.
        event: its data are the action and the id of the clip, as the page sent them.
        token: of the visitor.
        name: of the shown model.
        form, saved: as in `changed_settings`.
    Raises:
        gr.Error: the clip or the action does not exist.
    """
    data = event._data if isinstance(event._data, dict) else {}
    action = str(data.get("action"))
    with convert_user_errors():
        clip = page.clips.find(token, data.get("id"))
        if action == "pin":
            page.clips.pin(token, clip.clip_id)
        elif action == "delete":
            page.clips.delete(token, clip.clip_id)
        elif action in REPEATS:
            return repeat_clip(page, clip, is_next=action == "next-seed")
        elif action in USES:
            shown = changed_settings(page, form, saved) | ({"model": name} if name else {})
            return use_clip(page, clip, action, shown)
        else:
            raise ConditionError("the page asked for an unknown action; reload the page")
        return show_history(page.clips, token)


def repeat_clip(page: Page, clip: Clip, is_next: bool) -> dict[str, Any]:
    """Show the settings of a clip on the Generate tab, with the next seed if `is_next`."""
    if not clip.settings:
        raise ConditionError("this clip was not generated, so it has no settings to repeat")
    # Reports a model that is no longer here.
    model = load_checkpoint(page.root, clip.settings["model"]).config.model
    empty = {condition.name: "" for condition in (*model.labels, *model.globals)}
    conditions = {**empty, **clip.settings["conditions"]}
    for recording in map(Path, clip.recordings):
        if not recording.is_file():
            raise ConditionError(
                f"the recording {recording.name!r} is no longer stored; upload it again and press "
                "Generate"
            )
    seed = min(MAX_SEED, clip.settings["seed"] + is_next)
    changed = {"seed": seed, "conditions": conditions}
    updates = show_settings(page, {"prompt": None, **clip.settings, **changed})
    return {**updates, "tabs": gr.update(selected="generate")}


def use_clip(page: Page, clip: Clip, action: str, shown: Mapping[str, Any]) -> dict[str, Any]:
    """Put a clip into the recording input of the action's tab, and open the tab.

    A clip that was generated is scored, watched and continued with its own model and conditions.

    Args:
        page: what all tabs share.
        clip: the clip.
        action: one of `USES`.
        shown: settings of the page that stay.
    """
    settings = {**shown, page.recordings[action]: str(clip.path)}
    own = clip.settings.get("model")
    if action != "resynthesise" and find_folder(page.root, own) is not None:
        conditions = {**shown.get("conditions", {}), **clip.settings["conditions"]}
        settings |= {"model": own, "conditions": conditions}
    if action in ("continue", "resynthesise"):
        settings["model"] = find_model(page, settings.get("model"), action == "resynthesise")
    return {**show_settings(page, settings), "tabs": gr.update(selected=USES[action][1])}


def find_model(page: Page, chosen: str | None, is_vocoder: bool) -> str:
    """Return the first checkpoint that resynthesises recordings, or that does not.

    Args:
        page: what all tabs share.
        chosen: this one is preferred.
        is_vocoder: whether the checkpoint resynthesises recordings.
    Raises:
        ConditionError: there is none.
    """
    names = list_choices(page.root)
    for name in sorted(names, key=lambda name: name != chosen):
        with suppress(WaveNetError):
            if bool(load_checkpoint(page.root, name).config.model.locals) == is_vocoder:
                return name
    action, recipe = ("resynthesises", "vocoder") if is_vocoder else ("continues", "digits")
    raise ConditionError(f"no model here {action} recordings; train one with recipe {recipe}")
