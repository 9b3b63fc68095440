"""A page without components, for tests that call callbacks by the names of their inputs."""

from collections.abc import Iterable
from functools import partial
from pathlib import Path
from typing import Any

import gradio as gr

from wavenet.ui.checkpoint_library import list_checkpoints
from wavenet.ui.clip_history.clip_store import ClipStore
from wavenet.ui.models.model_shelf import shelf_html
from wavenet.ui.page import Page
from wavenet.ui.train.train_events import initial_choices
from wavenet.ui.turns import Turns

Values = dict[str, Any]


def bare_page(root: Path) -> Page:
    """Return a page whose lists of models are updated as those of the studio."""
    names = ("token", "saved", "tabs", "model", "about", "conditions", "history")
    page = Page(root=root, clips=ClipStore(), turns=Turns(), **dict.fromkeys(names))  # type: ignore[arg-type]
    page.list_models_in("model", None, lambda: gr.update(choices=list_checkpoints(root)))
    page.list_models_in("start_from", None, partial(initial_choices, root))
    page.list_models_in("shelf", None, partial(shelf_html, root, True))
    return page


def event_of(**data: Any) -> Any:
    """Return what Gradio provides as an event of a component."""
    return gr.EventData(None, data)


def merge(updates: Iterable[Values]) -> Values:
    """Return the newest value of each output of a generator."""
    shown: Values = {}
    for update in updates:
        shown |= update
    return shown
