"""Checkpoints of the Hugging Face Hub, downloaded by name into the folder of checkpoints.

Input: OWNER/NAME, typed by the user. Output: the name of a new folder, or an error of one sentence.
Called by the model bar and the Models tab.
"""

import os
from pathlib import Path

from wavenet.sharing import hub
from wavenet.sharing.install import check_name_is_free
from wavenet.sharing.local_models import mark_added
from wavenet.ui.page_text import error_note, error_sentence, status_note

# Variable that allows visitors of a Space to add checkpoints, which all visitors then see.
ALLOW_IMPORT = "WAVENET_ALLOW_IMPORT"


def import_allowed() -> bool:
    """Return whether visitors may add checkpoints: on a Space, only if a variable allows it."""
    return "SPACE_ID" not in os.environ or os.environ.get(ALLOW_IMPORT) == "1"


def is_hub_name(name: str | None) -> bool:
    """Return whether a name of no checkpoint is that of a repository of the Hub."""
    return bool(name and "/" in name and import_allowed())


def download_note(repository: str) -> str:
    """Return HTML with the message that a download is starting."""
    return status_note(f"Downloading {repository.strip()} from the Hub …")


def download_checkpoint(root: Path, repository: str) -> tuple[str, hub.PulledCheckpoint]:
    """Download a checkpoint into a folder with the name of its repository.

    Args:
        root: folder of checkpoint folders.
        repository: OWNER/NAME or OWNER/NAME@REVISION, as the user typed it.
    Returns:
        The name of the folder, and the facts of the download.
    Raises:
        WaveNetError: the name exists already, or the Hub does not return a checkpoint.
    """
    repository, _, revision = repository.strip().partition("@")
    name = repository.rpartition("/")[2]
    check_name_is_free(root, name)
    # On a Space all visitors see the result, so the owner's token must not be used.
    is_shared = "SPACE_ID" in os.environ
    pulled = hub.pull(repository, root / name, revision or None, anonymous=is_shared)
    mark_added(root / name)
    return name, pulled


def checkpoint_error_note(root: Path, error: Exception) -> str:
    """Return HTML of an error, without server paths, and with @REVISION instead of --revision."""
    text = str(error).replace(f"{root}{os.sep}", "").replace("--revision", "@REVISION")
    return error_note(error_sentence(type(error)(text)))
