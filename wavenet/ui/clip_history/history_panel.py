"""The list of a visitor's clips: play, compare, download, pin, delete, and use in the tabs.

Input: the clip store. Output: one component, whose value is the HTML of the list; a press triggers
the event `click` with an action and the id of a clip. Called by `studio_app` and all tabs that
make clips.
"""

import time
from typing import Any

import gradio as gr

from wavenet.ui.clip_history.clip_store import Clip, ClipStore
from wavenet.ui.page_text import format_duration
from wavenet.ui.templates import render, scripted_html

ELEMENT_ID = "history"
# Actions of a clip: text of the button; the tab that it opens; ids of buttons there, of which it
# presses the one that is shown.
USES = {
    "analyse": ("Analyse", "analyse", "analyse"),
    "continue": ("Continue", "generate", ""),
    "watch": ("Watch", "watch", "watch-button"),
    "resynthesise": ("Resynthesise", "generate", "generate resynthesise"),
    "score": ("Score", "analyse", "analyse"),
    "effect": ("Through the effect", "effects", "effects-render"),
    "compare": ("Predict with all", "compare", "predict-members"),
}
# Actions that generate again with the settings of the clip, with the text of their buttons.
REPEATS = {"again": "Again", "next-seed": "Next seed"}


def make_history() -> gr.HTML:
    """Build the component."""
    return scripted_html("clip_history/history_panel", ELEMENT_ID, history_html([]))


def history_html(clips: list[Clip]) -> str:
    """Return the HTML of the list, the newest clip first."""
    rows = [describe_clip(clip) for clip in clips]
    return render("clip_history/clip_list.html", clips=rows, uses=USES, repeats=REPEATS)


def show_history(store: ClipStore, token: Any) -> dict[str, Any]:
    """Return the list of a visitor as the output `history`."""
    return {"history": history_html(store.clips(token))}


def describe_clip(clip: Clip) -> dict[str, Any]:
    """Return the values of one clip for the template."""
    expires = clip.expires()
    left = "" if expires is None else format_duration(max(0.0, expires - time.time()))
    return {
        "id": clip.clip_id,
        "title": clip.title,
        "name": clip.path.name,
        "url": clip.url,
        "seconds": f"{clip.seconds:.2f} s",
        "rms": f"{clip.rms:.6f}",
        "is_partial": clip.is_partial,
        "is_pinned": clip.is_pinned,
        "is_generated": bool(clip.settings),
        "repeat_button": _repeat_button(clip),
        "expires": f"kept for {left}" if left else "kept until the studio ends",
    }


def _repeat_button(clip: Clip) -> str:
    """Return the id of the button that generates a clip of the same kind."""
    if "text" in clip.settings:
        return "speak"
    return "say" if "number" in clip.settings else "generate"
