"""A checkpoint that somebody names, OWNER/NAME, is fetched from the Hub into the folder of all.

What was typed enters; the name of a new folder leaves, or one sentence. Callers: the Models tab,
and the picker of the Generate tab.
"""

import os
from html import escape
from pathlib import Path
from typing import Any

import gradio as gr

from wavenet.errors import WaveNetError
from wavenet.sharing import hub
from wavenet.sharing.install import check_name_is_free
from wavenet.ui import jobs
from wavenet.ui.controls import SHOWN, show_checkpoint

# Allows strangers to add checkpoints to a Space, which everybody there then sees.
ALLOW_IMPORT = "WAVENET_ALLOW_IMPORT"


def import_allowed() -> bool:
    """Tell whether visitors may add checkpoints: on one's own machine, or where a Space says so."""
    return "SPACE_ID" not in os.environ or os.environ.get(ALLOW_IMPORT) == "1"


def is_of_hub(name: str | None) -> bool:
    """Tell whether a name is meant for the Hub; folders of checkpoints have no slash."""
    return bool(name and "/" in name and import_allowed())


def asking(wish: str) -> str:
    """Say in HTML that the Hub is being asked."""
    return f"<p class='note' role='status'>Asking the Hub for {escape(wish.strip())} …</p>"


def fetch(root: Path, wish: str) -> tuple[str, hub.PulledCheckpoint]:
    """Fetch a checkpoint, and give it the name of its repository.

    Args:
        root: folder of checkpoint folders.
        wish: OWNER/NAME or OWNER/NAME@REVISION, as it was typed.
    Raises:
        WaveNetError: there is one of that name already, or the Hub does not give it.
    """
    repository, _, revision = wish.strip().partition("@")
    name = repository.rpartition("/")[2]
    check_name_is_free(root, name)
    # What is there for all must not come by the token of one.
    strangers = "SPACE_ID" in os.environ
    return name, hub.pull(repository, root / name, revision or None, anonymous=strangers)


def refused(root: Path, error: WaveNetError) -> str:
    """Put an error into HTML, without our paths and in the words of the page."""
    words = jobs.sentence(error).replace(f"{root}{os.sep}", "").replace("--revision", "@REVISION")
    return f"<p class='note' role='alert'>{escape(words)}</p>"


def choose(root: Path, name: str | None) -> list[Any]:
    """Show a checkpoint that was chosen, or say that it is asked for; see `show_checkpoint`."""
    if is_of_hub(name):
        return [asking(str(name)), *[gr.skip()] * (SHOWN - 1)]
    return show_checkpoint(root, name)


def fetch_chosen(root: Path, name: str | None) -> list[Any]:
    """Fetch a checkpoint of the Hub that was named, and show it; another stays as it is shown.

    Returns:
        the update of the checkpoint, those of `show_checkpoint`.
    """
    if not is_of_hub(name):
        return [gr.skip()] * (1 + SHOWN)
    try:
        fetched, _ = fetch(root, str(name))
    except WaveNetError as error:
        return [gr.skip(), refused(root, error), *[gr.skip()] * (SHOWN - 1)]
    names = gr.update(choices=jobs.list_checkpoints(root), value=fetched)
    return [names, *show_checkpoint(root, fetched)]
