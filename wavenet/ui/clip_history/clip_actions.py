"""The actions of the listed clips: pin, delete, use in a tab, generate again.

Input: the page, and an event of the history panel. Output: updates of the page. Called by
`studio_app` after all tabs are built.
"""

from functools import partial
from typing import Any

import gradio as gr

from wavenet.errors import ConditionError, WaveNetError
from wavenet.ui.checkpoint_library import list_checkpoints, load_checkpoint
from wavenet.ui.clip_history.clip_store import Clip
from wavenet.ui.clip_history.history_panel import REPEATS, USES, show_history
from wavenet.ui.generate.generation_job import MAX_SEED
from wavenet.ui.model_bar.model_bar import show_settings
from wavenet.ui.page import Page
from wavenet.ui.page_text import convert_user_errors
from wavenet.ui.wiring import MANY, UNQUEUED, by_name


def wire_clip_actions(page: Page) -> None:
    """Connect the events of the history panel."""
    recordings = {f"recording:{name}": widget for name, widget in page.recordings.items()}
    outputs = {**page.dependents, **recordings, "tabs": page.tabs, "history": page.history}
    acted = page.history.click(
        **by_name(partial(run_clip_action, page), page.inputs, outputs), **MANY
    )
    acted.success(None, js="pageEvents.pressActionButton", **UNQUEUED)


def run_clip_action(page: Page, event: gr.EventData, token: Any) -> dict[str, Any]:
    """Run an action on a clip.

    Args:
        page: what all tabs share.
        event: its data are the action and the id of the clip, as the page sent them.
        token: of the visitor.
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
            return use_clip(page, clip, action)
        else:
            raise ConditionError("the page asked for an unknown action; reload the page")
        return show_history(page.clips, token)


def repeat_clip(page: Page, clip: Clip, is_next: bool) -> dict[str, Any]:
    """Show the settings of a clip on the Generate tab, with the next seed if `is_next`."""
    if not clip.settings:
        raise ConditionError("this clip was not generated, so it has no settings to repeat")
    load_checkpoint(page.root, clip.settings["model"])  # reports a model that is no longer here
    seed = min(MAX_SEED, clip.settings["seed"] + is_next)
    updates = show_settings(page, clip.settings | {"seed": seed})
    return {**updates, "tabs": gr.update(selected="generate")}


def use_clip(page: Page, clip: Clip, action: str) -> dict[str, Any]:
    """Put a clip into the recording input of the action's tab, and open the tab."""
    updates: dict[str, Any] = {}
    if action == "resynthesise":
        updates = show_settings(page, {"model": vocoder_name(page)})
    target = "analyse" if action == "score" else action
    updates[f"recording:{target}"] = gr.update(value=str(clip.path))
    # The same component, by its name among the dependents: one update only.
    updates.pop("source" if action == "resynthesise" else "", None)
    return {**updates, "tabs": gr.update(selected=USES[action][1])}


def vocoder_name(page: Page) -> str:
    """Return the name of the first checkpoint that resynthesises recordings.

    Raises:
        ConditionError: there is none.
    """
    for name in list_checkpoints(page.root):
        try:
            if load_checkpoint(page.root, name).config.model.locals:
                return name
        except WaveNetError:
            continue
    raise ConditionError("no model here resynthesises recordings; train one with recipe vocoder")
